//! SHA-1 and SHA-256 of the same bytes in one go.
//!
//! Each step of a SHA waits for the one before it. With a block for each in turn, a processor with instructions for
//! them is at both at once: a quarter less time than one after the other.
//!
//! They take as long as everything else that a download costs. So they have a thread of their own, which may be behind
//! by what was written in one go: [`HandedShas`].

use crate::domain::digest::{Sha1, Sha256};
use bytes::Bytes;
use sha1::Digest;
use std::{
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

/// From so many bytes in one go on a thread pays for itself: it takes some 20 µs to begin.
const APART_FROM: usize = 256 << 10;
/// What was written in one go and waits for the thread.
const QUEUED: usize = 1;

/// A block of both; what is given at once has to be no longer for the two to overlap.
const BLOCK_BYTES: usize = 64;

/// Which of Microsoft's digests are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shas {
    /// Neither: the root is to be told by somebody who has verified them.
    Neither,
    /// SHA-1, which names promise.
    Sha1,
    /// SHA-256 as well, which metadata promise.
    Both,
}

impl Shas {
    /// Those, of no bytes.
    pub(super) fn growing(self) -> GrowingShas {
        GrowingShas::new(self != Self::Neither, self == Self::Both)
    }
}

/// Those of Microsoft's digests that are wanted, over the bytes so far.
#[derive(Clone)]
pub(super) struct GrowingShas {
    sha1: Option<sha1::Sha1>,
    sha256: Option<sha2::Sha256>,
    /// Where both are wanted: how many bytes are in the last block, which is not full.
    in_block: usize,
}

impl GrowingShas {
    /// Of no bytes.
    pub(super) fn new(want_sha1: bool, want_sha256: bool) -> Self {
        Self { sha1: want_sha1.then(sha1::Sha1::new), sha256: want_sha256.then(sha2::Sha256::new), in_block: 0 }
    }

    /// Whether neither is wanted.
    pub(super) fn are_none(&self) -> bool {
        self.sha1.is_none() && self.sha256.is_none()
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match (&mut self.sha1, &mut self.sha256) {
            (Some(sha1), Some(sha256)) => {
                let (rest, blocks) = bytes.split_at(bytes.len().min((BLOCK_BYTES - self.in_block) % BLOCK_BYTES));
                for block in std::iter::once(rest).chain(blocks.chunks(BLOCK_BYTES)) {
                    sha1.update(block);
                    sha256.update(block);
                }
                self.in_block = (self.in_block + bytes.len()) % BLOCK_BYTES;
            }
            (Some(sha1), None) => sha1.update(bytes),
            (None, Some(sha256)) => sha256.update(bytes),
            (None, None) => {}
        }
    }

    /// Those that were wanted.
    pub(super) fn finish(&self) -> (Option<Sha1>, Option<Sha256>) {
        let sha1 = self.sha1.clone().map(|sha1| Sha1(sha1.finalize().into()));
        (sha1, self.sha256.clone().map(|sha256| Sha256(sha256.finalize().into())))
    }
}

/// Those digests over bytes that are handed over: computed at once, or, as soon as many come in one go, by a thread of
/// their own while the caller goes on. The thread ends when this is dropped.
pub(super) struct HandedShas {
    /// Not the newest while there is a thread.
    here: GrowingShas,
    apart: Option<Apart>,
}

struct Apart {
    parts: SyncSender<Vec<Bytes>>,
    thread: JoinHandle<GrowingShas>,
}

impl HandedShas {
    /// Goes on from `shas`.
    pub(super) fn new(shas: GrowingShas) -> Self {
        Self { here: shas, apart: None }
    }

    /// Takes the next bytes. Blocks while the thread is behind.
    pub(super) fn take(&mut self, parts: Vec<Bytes>) -> io::Result<()> {
        let is_little = || parts.iter().map(Bytes::len).sum::<usize>() < APART_FROM;
        if self.here.are_none() || self.apart.is_none() && is_little() {
            parts.iter().for_each(|part| self.here.update(part));
            return Ok(());
        }
        let apart = match &mut self.apart {
            Some(apart) => apart,
            none => none.insert(Apart::start(self.here.clone())?),
        };
        apart.parts.send(parts).map_err(|_| panicked())
    }

    /// Waits until everything that was handed over is in.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if let Some(Apart { parts, thread }) = self.apart.take() {
            drop(parts);
            self.here = thread.join().map_err(|_| panicked())?;
        }
        Ok(())
    }

    /// Those that were wanted; none before they have settled.
    pub(super) fn finish(&self) -> Option<(Option<Sha1>, Option<Sha256>)> {
        self.apart.is_none().then(|| self.here.finish())
    }
}

impl Apart {
    fn start(mut shas: GrowingShas) -> io::Result<Self> {
        let (parts, handed) = sync_channel::<Vec<Bytes>>(QUEUED);
        let thread = Builder::new().name("sha".to_owned()).spawn(move || {
            handed.iter().flatten().for_each(|part| shas.update(&part));
            shas
        })?;
        Ok(Self { parts, thread })
    }
}

fn panicked() -> io::Error {
    io::Error::other("the hashing thread panicked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tree::tests::blob;

    #[test]
    fn bytes_in_pieces_of_any_length_have_the_digests_that_they_have_in_one() {
        for size in [0, 1, 63, 64, 65, 1_000, 100_001] {
            let data = blob(3, size);
            let sha1 = Sha1(sha1::Sha1::digest(&data).into());
            let sha256 = Sha256(sha2::Sha256::digest(&data).into());
            for piece in [1, 17, 63, 64, 65, 1_000, 65_536] {
                for (want_sha1, want_sha256) in [(true, true), (true, false), (false, true), (false, false)] {
                    let mut shas = GrowingShas::new(want_sha1, want_sha256);
                    data.chunks(piece).for_each(|bytes| shas.update(bytes));
                    assert_eq!(
                        shas.finish(),
                        (want_sha1.then_some(sha1), want_sha256.then_some(sha256)),
                        "{size} {piece}"
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_handed_over_have_the_digests_that_they_have_in_one() {
        let data = Bytes::from(blob(4, 3 << 20));
        let (sha1, sha256) = (sha1::Sha1::digest(&data).into(), sha2::Sha256::digest(&data).into());
        for sizes in [&[1_000, APART_FROM - 1, APART_FROM, 5, 1 << 20][..], &[777], &[1 << 20]] {
            let mut handed = HandedShas::new(Shas::Both.growing());
            let (mut rest, mut sizes) = (data.clone(), sizes.iter().cycle());
            while !rest.is_empty() {
                let mut part = rest.split_to(rest.len().min(*sizes.next().unwrap()));
                handed.take(vec![part.split_to(part.len() / 3), part]).unwrap();
            }
            handed.settle().unwrap();
            assert_eq!(handed.finish(), Some((Some(Sha1(sha1)), Some(Sha256(sha256)))));
        }
    }

    #[test]
    fn digests_are_told_only_when_everything_is_in() {
        let mut handed = HandedShas::new(Shas::Sha1.growing());
        let bytes = Bytes::from(vec![0; APART_FROM]);
        handed.take(vec![bytes.clone()]).unwrap();
        assert_eq!(handed.finish(), None);
        handed.settle().unwrap();
        assert_eq!(handed.finish(), Some((Some(Sha1(sha1::Sha1::digest(&bytes).into())), None)));
    }
}
