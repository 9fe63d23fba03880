//! Bytes from front to back, counted, and not beyond the cabinet's end.

use super::error::{CabinetError, Fault};
use std::io::{self, Read};

/// A reader that knows how far it is.
#[derive(Debug)]
pub(super) struct Source<R> {
    inner: R,
    position: u64,
    end: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, position: 0, end: u64::MAX }
    }

    /// Bytes since the cabinet's beginning.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Nothing is read at or beyond `end` from here on.
    pub(super) fn set_end(&mut self, end: u64) {
        self.end = end;
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    /// What follows.
    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], CabinetError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CabinetError> {
        self.read_with(bytes.len(), |inner| inner.read_exact(bytes).map_err(Fault::of_read))
    }

    /// Lets `read` take exactly `len` bytes from the reader behind.
    pub(super) fn read_with(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut R) -> Result<(), Fault>,
    ) -> Result<(), CabinetError> {
        let next = self.position.saturating_add(len as u64);
        if next > self.end {
            return Err(Fault::BeyondCabinet(self.end).at(self.position));
        }
        read(&mut self.inner).map_err(|fault| fault.at(self.position))?;
        self.position = next;
        Ok(())
    }

    /// Reads and drops what lies before `offset`, where `what` begins.
    pub(super) fn skip_to(&mut self, offset: u64, what: &'static str) -> Result<(), CabinetError> {
        let Some(gap) = offset.checked_sub(self.position) else {
            return Err(Fault::Backwards { what, offset }.at(self.position));
        };
        if offset > self.end {
            return Err(Fault::BeyondCabinet(self.end).at(self.position));
        }
        let skipped = io::copy(&mut self.inner.by_ref().take(gap), &mut io::sink());
        let skipped = skipped.map_err(|error| Fault::of_read(error).at(self.position))?;
        self.position += skipped;
        if skipped < gap { Err(Fault::Truncated.at(self.position)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end_nor_backwards() {
        let mut source = Source::new(&b"0123456789"[..]);
        assert_eq!(&source.array::<2>().unwrap(), b"01");
        source.set_end(6);
        source.skip_to(4, "x").unwrap();
        assert!(matches!(source.skip_to(3, "x").unwrap_err().fault, Fault::Backwards { what: "x", offset: 3 }));
        let error = source.array::<3>().unwrap_err();
        assert!(matches!(error.fault, Fault::BeyondCabinet(6)) && error.offset == 4);
        assert!(matches!(source.skip_to(7, "x").unwrap_err().fault, Fault::BeyondCabinet(6)));
        assert_eq!(&source.array::<2>().unwrap(), b"45");
        source.set_end(20);
        assert!(matches!(source.skip_to(15, "x").unwrap_err().fault, Fault::Truncated));
    }
}
