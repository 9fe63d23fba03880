//! A file while it arrives, for those who pass its bytes on.

use crate::{base::read_at::ReadAt, store::download::Origin};
use std::{io, sync::Arc};

/// How far a file has come. The bytes that it gives stay the same for ever: a file that is begun again
/// has another `start`, and whoever passed bytes of an earlier one on has to end short.
#[derive(Clone)]
pub struct Growth {
    /// Which beginning of the file this is, from 1.
    pub start: u32,
    /// Length and date, as the origin says.
    pub origin: Origin,
    /// How many bytes from the first are here and can be read.
    pub arrived: u64,
    pub(super) bytes: Arc<dyn ReadAt>,
}

impl ReadAt for Growth {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let here = usize::try_from(self.arrived.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        if here == 0 { Ok(0) } else { self.bytes.read_at(&mut buf[..here], offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_arrived_can_not_be_read() {
        let origin = Origin { size: 9, modified: None };
        let growth = Growth { start: 1, origin, arrived: 4, bytes: Arc::new(b"123456".to_vec()) };
        let mut buf = [0; 6];
        assert_eq!((growth.read_at(&mut buf, 1).unwrap(), &buf), (3, b"234\0\0\0"));
        for beyond in [4, 5, u64::MAX] {
            assert_eq!(growth.read_at(&mut buf, beyond).unwrap(), 0);
        }
    }
}
