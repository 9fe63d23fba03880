//! A cabinet that can be read at any position: verified in one pass, with one buffer.

use super::{
    digest::{CabDigest, DigestedCab},
    error::Refusal,
    hash::HashAlgorithm,
    layout::{self, HEADER_BYTES},
    roots::Trust,
    verify::{self, Verified},
};
use crate::base::read_at::ReadAt;
use std::io;

/// Stays in a core's first cache between reading and digesting: a mebibyte costs a quarter more time.
const BUFFER_BYTES: usize = 32 << 10;

/// Why a file does not count as signed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("reading the cabinet")]
    Read(#[from] io::Error),
    /// It is not what it should be.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Digests the `len` bytes of `file` with the algorithm that its signature is over. `progress` hears how many
/// bytes were read so far, after each read. Blocks; takes memory for one buffer and the signature.
pub fn digest_file(file: &dyn ReadAt, len: u64, progress: &mut dyn FnMut(u64)) -> Result<DigestedCab, FileError> {
    let mut digest = CabDigest::new(len, signed_algorithm(file, len)?);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    loop {
        // One byte more than there should be, so that a file that has grown shows it.
        let wanted = buffer.len().min(usize::try_from((len - at).saturating_add(1)).unwrap_or(usize::MAX));
        let read = match file.read_at(&mut buffer[..wanted], at) {
            Ok(0) => return Ok(digest.finish()?),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        digest.update(&buffer[..read])?;
        at += read as u64;
        progress(at);
    }
}

/// [`digest_file`], then [`verify`](super::verify()). `now` in seconds since 1970.
pub fn verify_file(
    file: &dyn ReadAt,
    len: u64,
    trust: &Trust,
    now: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, FileError> {
    Ok(verify::verify(&digest_file(file, len, progress)?, trust, now)?)
}

/// The algorithm that the signature at the end names, so that the content is read once.
fn signed_algorithm(file: &dyn ReadAt, len: u64) -> Result<HashAlgorithm, FileError> {
    if len < HEADER_BYTES as u64 {
        return Err(Refusal::NoCabinet.into());
    }
    let mut header = [0; HEADER_BYTES];
    read(file, &mut header, 0, len)?;
    let place = layout::signature_range(&header, len)?;
    let mut signature = vec![0; usize::try_from(place.end - place.start).unwrap_or(0)];
    read(file, &mut signature, place.start, len)?;
    Ok(verify::signed_algorithm(&signature)?)
}

fn read(file: &dyn ReadAt, buffer: &mut [u8], at: u64, len: u64) -> Result<(), FileError> {
    file.read_exact_at(buffer, at).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Refusal::Truncated { len, at }.into(),
        _ => error.into(),
    })
}
