//! Whether a verified head may follow the one that was accepted last. Pure.

use super::{Head, SignedHead};
use crate::domain::key::LineKey;
use serde::{Deserialize, Serialize};

/// The last accepted state, kept outside the database so that losing that does not open the door
/// to replayed heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The line that is followed.
    pub line: LineKey,
    /// Its epoch.
    pub epoch: u64,
    /// The epoch's nonce.
    pub epoch_nonce: [u8; 16],
    /// Its last change.
    pub seq: u64,
}

impl From<&SignedHead> for Accepted {
    fn from(signed: &SignedHead) -> Self {
        let Head { line, epoch, epoch_nonce, seq, .. } = *signed.head();
        Self { line, epoch, epoch_nonce, seq }
    }
}

/// How a verified head relates to the accepted one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ahead: follow it.
    Newer,
    /// The same point of the line, perhaps signed again.
    Same,
    /// Behind: somebody replays, or was restored from a backup without a new epoch.
    Older,
    /// One epoch, two nonces: two mains sign the same line.
    Forked,
    /// Not the line that is followed.
    OtherLine,
}

/// Compares `head` with what was `accepted` last; a first head is always newer.
pub fn judge(accepted: Option<&Accepted>, head: &Head) -> Verdict {
    let Some(accepted) = accepted else { return Verdict::Newer };
    if head.line != accepted.line {
        return Verdict::OtherLine;
    }
    if head.epoch == accepted.epoch && head.epoch_nonce != accepted.epoch_nonce {
        return Verdict::Forked;
    }
    match (head.epoch, head.seq).cmp(&(accepted.epoch, accepted.seq)) {
        std::cmp::Ordering::Greater => Verdict::Newer,
        std::cmp::Ordering::Equal => Verdict::Same,
        std::cmp::Ordering::Less => Verdict::Older,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::head::tests::head, *};

    #[test]
    fn a_line_is_followed_only_forwards() {
        let accepted = Accepted { line: LineKey([0; 32]), epoch: 5, epoch_nonce: [7; 16], seq: 100 };
        for (epoch, seq, verdict) in [
            (5, 101, Verdict::Newer),
            (6, 0, Verdict::Newer),
            (5, 100, Verdict::Same),
            (5, 99, Verdict::Older),
            (4, 1_000, Verdict::Older),
        ] {
            assert_eq!(judge(Some(&accepted), &head(epoch, seq)), verdict, "{epoch} {seq}");
        }
        assert_eq!(judge(None, &head(0, 0)), Verdict::Newer);
        assert_eq!(judge(Some(&Accepted { epoch_nonce: [8; 16], ..accepted.clone() }), &head(5, 101)), Verdict::Forked);
        assert_eq!(judge(Some(&Accepted { line: LineKey([1; 32]), ..accepted }), &head(9, 9)), Verdict::OtherLine);
    }
}
