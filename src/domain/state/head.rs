//! Heads: what the main signs.

use super::{Namespace, NodeHash};
use crate::domain::key::LineKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

const VERSION: u8 = 1;
/// Put before the signed bytes, so that no other message of a line key passes for a head.
const CONTEXT: &[u8] = b"wuasync head v1\0";
/// Most bytes in a head: a few hundred namespaces fit.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// One signed state: the roots of all namespaces at a point of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Whose line.
    pub line: LineKey,
    /// Grows with every restart of numbering (a restore, a rebuild).
    pub epoch: u64,
    /// Drawn with the epoch; tells apart two mains that drew the same one.
    pub epoch_nonce: [u8; 16],
    /// The last change that the roots include; grows by one with each.
    pub seq: u64,
    /// The Merkle root of each namespace that has entries.
    pub roots: BTreeMap<Namespace, NodeHash>,
    /// BLAKE3 of the head before this one; zero for a line's first.
    pub previous: [u8; 32],
    /// When it was signed, in seconds since 1970 UTC.
    pub signed_at: u64,
}

/// Why bytes are no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// A newer or unknown form.
    #[error("a head of version {0}")]
    Version(u8),
    /// No head at all.
    #[error("malformed head")]
    Malformed,
}

/// Why a signed head is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyHeadError {
    /// It can't be read.
    #[error("unreadable head")]
    Unreadable(#[from] HeadError),
    /// It names another line than the one that is followed.
    #[error("a head of line {found}, not of {expected}")]
    OtherLine {
        /// Whose line is followed.
        expected: LineKey,
        /// Whose head it is.
        found: LineKey,
    },
    /// The signature is not the line key's.
    #[error("wrong signature on a head")]
    Signature,
}

/// A head as it is stored and sent: the bytes that were signed, and the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedHead {
    head: Head,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl SignedHead {
    /// The head inside.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// BLAKE3 of the signed bytes: what the next head calls `previous`.
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.bytes).as_bytes()
    }

    /// Signature, then the signed bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.signature[..], &self.bytes].concat()
    }

    /// The line that such bytes name; nothing is verified.
    pub fn line_in(bytes: &[u8]) -> Option<LineKey> {
        let signed = bytes.get(64..).filter(|_| bytes.len() <= MAX_HEAD_BYTES)?;
        decode(signed).ok().map(|head| head.line)
    }

    /// Reads and verifies what [`Self::to_bytes`] wrote; `line` is the only key that is believed.
    pub fn verify(bytes: &[u8], line: &LineKey) -> Result<Self, VerifyHeadError> {
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(HeadError::Malformed.into());
        }
        let (signature, signed) = bytes.split_first_chunk::<64>().ok_or(HeadError::Malformed)?;
        let head = decode(signed)?;
        if head.line != *line {
            return Err(VerifyHeadError::OtherLine { expected: *line, found: head.line });
        }
        let key = VerifyingKey::from_bytes(&line.0).map_err(|_| VerifyHeadError::Signature)?;
        key.verify_strict(&message(signed), &Signature::from_bytes(signature))
            .map_err(|_| VerifyHeadError::Signature)?;
        Ok(Self { head, bytes: signed.to_vec(), signature: *signature })
    }
}

impl fmt::Debug for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}

/// Holds the line key's secret half; only a main has one.
pub struct LineSigner(SigningKey);

impl LineSigner {
    /// From the 32 secret bytes.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The 32 secret bytes, to be stored with mode 0600.
    pub fn secret(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half: the line's name.
    pub fn line(&self) -> LineKey {
        LineKey(self.0.verifying_key().to_bytes())
    }

    /// Signs; the head's `line` becomes this key.
    pub fn sign(&self, mut head: Head) -> Result<SignedHead, HeadError> {
        head.line = self.line();
        let bytes = postcard::to_extend(&head, vec![VERSION]).map_err(|_| HeadError::Malformed)?;
        if bytes.len() + 64 > MAX_HEAD_BYTES {
            return Err(HeadError::Malformed); // nobody would follow it
        }
        let signature = self.0.sign(&message(&bytes)).to_bytes();
        Ok(SignedHead { head, bytes, signature })
    }
}

impl fmt::Debug for LineSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineSigner({})", self.line())
    }
}

fn message(signed: &[u8]) -> Vec<u8> {
    [CONTEXT, signed].concat()
}

fn decode(signed: &[u8]) -> Result<Head, HeadError> {
    match signed.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((head, [])) => Ok(head),
            _ => Err(HeadError::Malformed),
        },
        Some((version, _)) => Err(HeadError::Version(*version)),
        None => Err(HeadError::Malformed),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn head(epoch: u64, seq: u64) -> Head {
        Head {
            line: LineKey([0; 32]),
            epoch,
            epoch_nonce: [7; 16],
            seq,
            roots: BTreeMap::from([(Namespace::members(), [5; 32])]),
            previous: [0; 32],
            signed_at: 1_700_000_000,
        }
    }

    fn signer() -> LineSigner {
        LineSigner::from_secret(&[42; 32])
    }

    #[test]
    fn a_signed_head_verifies_with_its_line_key_alone() {
        let signed = signer().sign(head(3, 9)).unwrap();
        let back = SignedHead::verify(&signed.to_bytes(), &signer().line()).unwrap();
        assert_eq!(back, signed);
        assert_eq!(SignedHead::line_in(&signed.to_bytes()), Some(signer().line()));
        assert_eq!(SignedHead::line_in(&signed.to_bytes()[..70]), None);
        let other = LineSigner::from_secret(&[43; 32]).line();
        assert!(matches!(SignedHead::verify(&signed.to_bytes(), &other), Err(VerifyHeadError::OtherLine { .. })));
    }

    #[test]
    fn a_head_signed_by_another_key_in_the_lines_name_is_refused() {
        let mut forged = LineSigner::from_secret(&[43; 32]).sign(head(3, 9)).unwrap();
        forged.head.line = signer().line();
        forged.bytes = postcard::to_extend(&forged.head, vec![VERSION]).unwrap();
        let refused = SignedHead::verify(&forged.to_bytes(), &signer().line());
        assert!(matches!(refused, Err(VerifyHeadError::Signature)));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = signer().sign(head(3, 9)).unwrap().to_bytes();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1;
            assert!(SignedHead::verify(&wrong, &signer().line()).is_err(), "byte {at}");
        }
        assert!(SignedHead::verify(&bytes[..bytes.len() - 1], &signer().line()).is_err());
        assert!(SignedHead::verify(&[&bytes[..], &[0]].concat(), &signer().line()).is_err());
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let fixture = include_str!("../../../fixtures/head-v1.hex");
        let signed = signer().sign(head(3, 9)).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&signed.to_bytes()), fixture.trim());
    }
}
