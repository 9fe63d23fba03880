//! The blocks of a growing file that were read last, shared by readers that go side by side.
//!
//! For what the kernel can't send by itself: over TLS, and where bytes have left its memory. Fifty hosts that ask for
//! one file at once read it in step: each block is read from the disk once, and all of them send the same memory.
//! Bounded; a reader that lags reads for itself.

use super::sight::Sight;
use crate::base::{read_at::ReadAt, tasks::blocking};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// Bytes of one block: a thousand slow readers that hold one each stay below 64 MiB.
pub(super) const BLOCK_BYTES: u64 = 64 * 1024;
/// Bytes of a large block, which costs a quarter of the wake-ups and calls, while there is memory for it.
pub(super) const LARGE_BYTES: u64 = 4 * BLOCK_BYTES;
/// Large blocks of all flights together that are in memory at once, remembered or being sent: 32 MiB.
pub(super) const LARGE_BLOCKS: usize = 128;
/// Bytes that are remembered of one flight.
pub(super) const REMEMBERED_BYTES: u64 = 32 * BLOCK_BYTES;

type Block = Arc<OnceCell<Bytes>>;
/// The beginning of the file that a block belongs to, where the block starts and how long it is.
type Key = (u32, u64, u64);

/// What all flights may have of large blocks.
#[derive(Clone)]
pub(super) struct LargeBlocks(Arc<Semaphore>);

impl Default for LargeBlocks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BLOCKS)))
    }
}

/// Recently read blocks.
pub(super) struct Blocks {
    recent: Mutex<VecDeque<(Key, Block)>>,
    large: LargeBlocks,
}

/// Memory that counts as a large block for as long as anybody has it.
struct Counted(Vec<u8>, #[expect(dead_code, reason = "it counts until it goes")] Option<OwnedSemaphorePermit>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Blocks {
    pub(super) fn new(large: LargeBlocks) -> Self {
        Self { recent: Mutex::default(), large }
    }

    /// Reads what comes next of `wanted`, of the bytes that `sight` shows. What is here of `wanted` is here
    /// from its beginning on.
    pub(super) async fn read(&self, sight: &Sight, wanted: Range<u64>) -> io::Result<Bytes> {
        let around = |len: u64| {
            let first = wanted.start / len * len;
            first..(first + len).min(sight.size)
        };
        // A large one that nobody has read is begun at its start alone: who follows what arrives has read the rest.
        let large = around(LARGE_BYTES);
        let is_new = || wanted.start - large.start < BLOCK_BYTES && sight.here.contains(&large);
        if let Some(block) = self.known(key(sight, &large)) {
            return self.share(block, sight, large, wanted, None).await;
        }
        if is_new()
            && let Ok(permit) = self.large.0.clone().try_acquire_owned()
        {
            return self.share(self.block(key(sight, &large)), sight, large, wanted, Some(permit)).await;
        }
        let small = around(BLOCK_BYTES);
        if sight.here.contains(&small) {
            return self.share(self.block(key(sight, &small)), sight, small, wanted, None).await;
        }
        // Only a whole block is worth sharing.
        read(sight.bytes.clone(), wanted.start..wanted.end.min(small.end), None).await
    }

    async fn share(
        &self,
        block: Block,
        sight: &Sight,
        whole: Range<u64>,
        wanted: Range<u64>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> io::Result<Bytes> {
        let all = block.get_or_try_init(|| read(sight.bytes.clone(), whole.clone(), permit)).await?;
        let at = |position: u64| usize::try_from(position - whole.start).unwrap_or(usize::MAX);
        Ok(all.slice(at(wanted.start)..at(wanted.end.min(whole.end))))
    }

    fn known(&self, key: Key) -> Option<Block> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|(known, _)| *known == key).map(|(_, block)| block.clone())
    }

    fn block(&self, key: Key) -> Block {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = recent.iter().rev().find(|(known, _)| *known == key) {
            return block.clone();
        }
        let block = Block::default();
        recent.push_back((key, block.clone()));
        while recent.iter().map(|((_, _, len), _)| len).sum::<u64>() > REMEMBERED_BYTES {
            recent.pop_front();
        }
        block
    }
}

fn key(sight: &Sight, block: &Range<u64>) -> Key {
    (sight.start, block.start, block.end - block.start)
}

async fn read(bytes: Arc<dyn ReadAt>, range: Range<u64>, permit: Option<OwnedSemaphorePermit>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let read = move || {
        let mut block = vec![0; len];
        bytes.read_exact_at(&mut block, range.start).map(|()| Bytes::from_owner(Counted(block, permit)))
    };
    blocking(read).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ranges::Ranges;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    struct Counting(Vec<u8>, AtomicUsize);

    impl ReadAt for Counting {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.fetch_add(1, SeqCst);
            self.0.read_at(buf, offset)
        }
    }

    fn data() -> Vec<u8> {
        (0..40 * BLOCK_BYTES).map(|at| (at / 7) as u8).collect()
    }

    fn sight(counted: &Arc<Counting>, start: u32, here: Range<u64>) -> Sight {
        Sight {
            start,
            size: counted.0.len() as u64,
            modified: None,
            root: None,
            may_flow: true,
            here: Arc::new(Ranges::of(here)),
            bytes: counted.clone(),
            outboard: None,
        }
    }

    #[tokio::test]
    async fn readers_in_step_read_each_block_once_and_what_is_forgotten_is_read_again() {
        let counted = Arc::new(Counting(data(), AtomicUsize::new(0)));
        let blocks = Blocks::new(LargeBlocks(Arc::new(Semaphore::new(0))));
        let read = async |start, number: u64| {
            let wanted = number * BLOCK_BYTES + 5..(number + 1) * BLOCK_BYTES - 5;
            let got = blocks.read(&sight(&counted, start, 0..counted.0.len() as u64), wanted.clone()).await.unwrap();
            assert!(got == counted.0[wanted.start as usize..wanted.end as usize]);
        };
        for number in [0, 1, 0, 1] {
            read(1, number).await;
        }
        assert_eq!(counted.1.load(SeqCst), 2);
        read(2, 0).await;
        assert_eq!(counted.1.load(SeqCst), 3, "another beginning is other bytes");
        for number in 2..40 {
            read(1, number).await;
        }
        read(1, 0).await;
        assert_eq!(counted.1.load(SeqCst), 3 + 38 + 1);
        let part = blocks.read(&sight(&counted, 1, 0..9), 3..9).await.unwrap();
        assert_eq!(part, counted.0[3..9]);
    }

    #[tokio::test]
    async fn large_blocks_are_read_from_their_start_on_while_there_is_memory_for_them() {
        let counted = Arc::new(Counting(data(), AtomicUsize::new(0)));
        let large = LargeBlocks(Arc::new(Semaphore::new(2)));
        let (one, other) = (Blocks::new(large.clone()), Blocks::new(large.clone()));
        let size = counted.0.len() as u64;
        let len = async |blocks: &Blocks, at: u64, here: u64| {
            let got = blocks.read(&sight(&counted, 1, 0..here), at..size).await.unwrap();
            assert!(got == counted.0[at as usize..at as usize + got.len()]);
            (got.len() as u64, got)
        };
        assert_eq!(len(&one, 0, LARGE_BYTES - 1).await.0, BLOCK_BYTES, "not all of the large one is here");
        assert_eq!(len(&one, BLOCK_BYTES, size).await.0, BLOCK_BYTES, "its start was read before");
        let (first, second) = (len(&one, 0, size).await, len(&other, LARGE_BYTES + 7, size).await);
        assert_eq!((first.0, second.0), (LARGE_BYTES, LARGE_BYTES - 7));
        assert_eq!(len(&one, BLOCK_BYTES + 1, size).await.0, LARGE_BYTES - BLOCK_BYTES - 1, "it is known by now");
        assert_eq!(len(&one, 2 * LARGE_BYTES, size).await.0, BLOCK_BYTES, "no memory is left for another");
        drop((second, other));
        assert_eq!(len(&one, 3 * LARGE_BYTES, size).await.0, LARGE_BYTES, "one has gone");
        drop((first, one));
        assert_eq!(large.0.available_permits(), 2);
    }
}
