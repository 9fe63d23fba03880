//! A file while it arrives, for those who pass its bytes on.

use crate::{
    base::{ranges::Ranges, read_at::ReadAt},
    store::download::{Download, Origin},
};
use std::{
    io,
    ops::Range,
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Between two tellings while bytes arrive; a reader notices no such delay, and waking many costs little.
const TELL_EVERY: Duration = Duration::from_millis(4);

/// What is here of a file. The bytes that it gives stay the same for ever: a file that is begun again
/// has another `start`, and whoever passed bytes of an earlier one on has to end short.
///
/// It is told when the origin has answered, then whenever bytes have been written, at once after a
/// silence and at most every 4 ms (250 times a second), and always once more after the last bytes of a
/// body. Clones share everything.
#[derive(Clone)]
pub struct Growth {
    /// Which beginning of the file this is, from 1.
    pub start: u32,
    /// Length and date, as the origin says.
    pub origin: Origin,
    /// Which bytes are here and can be read: its beginning, and what readers far ahead waited for.
    pub here: Arc<Ranges>,
    bytes: Arc<dyn ReadAt>,
}

impl Growth {
    pub(super) fn of(download: &Download, start: u32) -> Self {
        let here = Arc::new(download.here().clone());
        Self { start, origin: download.origin(), here, bytes: download.data() }
    }

    /// How many bytes from the first are here.
    pub fn arrived(&self) -> u64 {
        self.here.run_end(0)
    }
}

/// Reads what is here, up to the end of its run.
impl ReadAt for Growth {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let here = self.here.run_end(offset) - offset;
        let here = usize::try_from(here).unwrap_or(usize::MAX).min(buf.len());
        if here == 0 { Ok(0) } else { self.bytes.read_at(&mut buf[..here], offset) }
    }

    fn is_sendable(&self, range: &Range<u64>) -> bool {
        self.here.contains(range) && self.bytes.is_sendable(range)
    }

    fn send_at(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        let here = self.here.run_end(offset) - offset;
        let len = usize::try_from(here).unwrap_or(usize::MAX).min(len);
        if len == 0 { Ok(0) } else { self.bytes.send_at(socket, offset, len) }
    }
}

/// Tells of one beginning of a file, not too often.
pub(super) struct Teller<'a> {
    growth: &'a watch::Sender<Option<Growth>>,
    start: u32,
    told_at: Option<Instant>,
    untold: Option<Growth>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(growth: &'a watch::Sender<Option<Growth>>, start: u32) -> Self {
        Self { growth, start, told_at: None, untold: None }
    }

    /// Tells of what is here, or keeps it until [`Teller::due`].
    pub(super) fn on_growth(&mut self, download: &Download, now: Instant) {
        self.keep(Growth::of(download, self.start), now);
    }

    fn keep(&mut self, growth: Growth, now: Instant) {
        self.untold = Some(growth);
        if self.due().is_none_or(|due| now >= due) {
            self.told_at = Some(now);
            self.tell();
        }
    }

    /// When to [`Teller::tell`] what is kept; none if nothing is kept, or nothing was told before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.untold.as_ref().and(self.told_at).map(|at| at + TELL_EVERY)
    }

    /// Tells what is kept.
    pub(super) fn tell(&mut self) {
        if let Some(growth) = self.untold.take() {
            self.growth.send_replace(Some(growth));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn growth(here: Ranges) -> Growth {
        let origin = Origin { size: 9, modified: None };
        Growth { start: 1, origin, here: Arc::new(here), bytes: Arc::new(b"123456789".to_vec()) }
    }

    #[test]
    fn what_arrives_is_told_at_once_and_what_follows_closely_a_little_later() {
        let (sender, told) = watch::channel(None);
        let told = move || told.borrow().as_ref().map(Growth::arrived);
        let (mut teller, start) = (Teller::new(&sender, 1), Instant::now());
        let keep = |teller: &mut Teller<'_>, ms, bytes| {
            teller.keep(growth(Ranges::of(0..bytes)), start + Duration::from_millis(ms));
        };
        keep(&mut teller, 0, 1);
        assert_eq!((told(), teller.due()), (Some(1), None));
        keep(&mut teller, 1, 2);
        keep(&mut teller, 3, 3);
        assert_eq!((told(), teller.due()), (Some(1), Some(start + TELL_EVERY)));
        teller.tell();
        assert_eq!((told(), teller.due()), (Some(3), None));
        keep(&mut teller, 4, 4);
        assert_eq!((told(), teller.due()), (Some(4), None));
    }

    #[test]
    fn what_has_not_arrived_can_not_be_read() {
        let mut here = Ranges::of(0..4);
        here.insert(7..8);
        let growth = growth(here);
        let mut buf = [0; 6];
        assert_eq!((growth.arrived(), growth.read_at(&mut buf, 1).unwrap(), &buf), (4, 3, b"234\0\0\0"));
        assert_eq!((growth.read_at(&mut buf, 7).unwrap(), &buf), (1, b"834\0\0\0"));
        for beyond in [4, 5, 6, 8, u64::MAX] {
            assert_eq!(growth.read_at(&mut buf, beyond).unwrap(), 0);
        }
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(growth.send_at(socket.as_fd(), 4, 9).unwrap(), 0, "not even asked for");
        assert!(!growth.is_sendable(&(2..5)));
    }
}
