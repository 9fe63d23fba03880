//! The digest of a cabinet that passes by, with its signature kept for later. Memory: the signature, no more.

use super::{
    error::Refusal,
    hash::{HashAlgorithm, Hasher},
    layout::{self, HEADER_BYTES},
};
use std::ops::Range;

/// Digests a cabinet while it arrives, from its first byte on, in pieces of any size.
#[derive(Debug, Clone)]
pub struct CabDigest {
    len: u64,
    algorithm: HashAlgorithm,
    at: u64,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    Header(Vec<u8>),
    Content { hasher: Box<Hasher>, place: Range<u64>, signature: Vec<u8> },
    Refused(Refusal),
}

/// A whole cabinet: what it is, and what it says that it is.
#[derive(Debug, Clone)]
pub struct DigestedCab {
    pub(super) algorithm: HashAlgorithm,
    pub(super) digest: Vec<u8>,
    /// PKCS#7 and padding.
    pub(super) signature: Vec<u8>,
}

impl CabDigest {
    /// For a cabinet of `len` bytes, signature included, which is expected to be signed over an `algorithm`
    /// digest: [`HashAlgorithm::Sha256`] unless something else is known. [`verify`](super::verify()) says when
    /// the signature is over another.
    pub fn new(len: u64, algorithm: HashAlgorithm) -> Self {
        Self { len, algorithm, at: 0, state: State::Header(Vec::with_capacity(HEADER_BYTES)) }
    }

    /// Takes the next bytes. The first refusal stays: a cabinet that begins wrong need not be read on.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        if let State::Header(header) = &mut self.state {
            let (more, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - header.len()));
            header.extend_from_slice(more);
            bytes = rest;
            self.at += more.len() as u64;
            if let Ok(header) = <[u8; HEADER_BYTES]>::try_from(&header[..]) {
                self.state = begin(&header, self.len, self.algorithm);
            }
        }
        let is_too_long = self.at + bytes.len() as u64 > self.len;
        match &mut self.state {
            State::Refused(refusal) => Err(refusal.clone()),
            _ if is_too_long => self.refuse(Refusal::Appended { len: self.len }),
            State::Header(_) => Ok(()),
            State::Content { hasher, place, signature } => {
                let content = usize::try_from(place.start.saturating_sub(self.at)).unwrap_or(usize::MAX);
                let (content, rest) = bytes.split_at(content.min(bytes.len()));
                hasher.update(content);
                signature.extend_from_slice(rest);
                self.at += bytes.len() as u64;
                Ok(())
            }
        }
    }

    /// The digest, once every byte was there.
    pub fn finish(self) -> Result<DigestedCab, Refusal> {
        match self.state {
            State::Refused(refusal) => Err(refusal),
            State::Content { hasher, signature, .. } if self.at == self.len => {
                Ok(DigestedCab { algorithm: self.algorithm, digest: hasher.finish(), signature })
            }
            State::Header(_) if self.at == self.len => Err(Refusal::NoCabinet),
            State::Header(_) | State::Content { .. } => Err(Refusal::Truncated { len: self.len, at: self.at }),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        self.state = State::Refused(refusal.clone());
        Err(refusal)
    }
}

fn begin(header: &[u8; HEADER_BYTES], len: u64, algorithm: HashAlgorithm) -> State {
    let mut hasher = Hasher::new(algorithm);
    for covered in layout::COVERED {
        hasher.update(&header[covered]);
    }
    match layout::signature_range(header, len) {
        Ok(place) => State::Content { hasher: Box::new(hasher), place, signature: Vec::new() },
        Err(refusal) => State::Refused(refusal),
    }
}
