//! The blocks of a growing file that were read last, shared by readers that go side by side.
//!
//! Fifty hosts that ask for one file at once read it in step: each block is read from the disk once, and all
//! of them send the same memory. Bounded; a reader that lags reads for itself.

use crate::base::{read_at::ReadAt, tasks::blocking};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OnceCell;

/// Bytes of one block: a thousand slow readers that hold one each stay below 64 MiB.
pub(super) const BLOCK_BYTES: u64 = 64 * 1024;
/// Blocks that are remembered of one flight.
const BLOCKS: usize = 32;

type Block = Arc<OnceCell<Bytes>>;

/// Recently read blocks, by the beginning of the file that they belong to and their number.
#[derive(Default)]
pub(super) struct Blocks(Mutex<VecDeque<((u32, u64), Block)>>);

impl Blocks {
    /// Reads `range`, which is here and lies within one block, of the bytes of beginning `start`. `is_whole`
    /// says that all of the block is here: only then is it worth sharing.
    pub(super) async fn read(
        &self,
        bytes: &Arc<dyn ReadAt>,
        start: u32,
        range: Range<u64>,
        whole: Option<Range<u64>>,
    ) -> io::Result<Bytes> {
        let Some(whole) = whole else { return read(bytes.clone(), range).await };
        let block = self.block((start, whole.start / BLOCK_BYTES));
        let all = block.get_or_try_init(|| read(bytes.clone(), whole.clone())).await?;
        let at = |position: u64| usize::try_from(position - whole.start).unwrap_or(usize::MAX);
        Ok(all.slice(at(range.start)..at(range.end)))
    }

    fn block(&self, key: (u32, u64)) -> Block {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = blocks.iter().rev().find(|(known, _)| *known == key) {
            return block.clone();
        }
        if blocks.len() == BLOCKS {
            blocks.pop_front();
        }
        let block = Block::default();
        blocks.push_back((key, block.clone()));
        block
    }
}

async fn read(bytes: Arc<dyn ReadAt>, range: Range<u64>) -> io::Result<Bytes> {
    let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let read = move || {
        let mut block = vec![0; len];
        bytes.read_exact_at(&mut block, range.start).map(|()| Bytes::from(block))
    };
    blocking(read).await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    struct Counted(Vec<u8>, AtomicUsize);

    impl ReadAt for Counted {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.fetch_add(1, SeqCst);
            self.0.read_at(buf, offset)
        }
    }

    #[tokio::test]
    async fn readers_in_step_read_each_block_once_and_what_is_forgotten_is_read_again() {
        let data: Vec<u8> = (0..40 * BLOCK_BYTES).map(|at| (at / 7) as u8).collect();
        let counted = Arc::new(Counted(data.clone(), AtomicUsize::new(0)));
        let (blocks, bytes) = (Blocks::default(), counted.clone() as Arc<dyn ReadAt>);
        let read = async |start, number: u64| {
            let whole = number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES;
            let range = whole.start + 5..whole.end - 5;
            let got = blocks.read(&bytes, start, range.clone(), Some(whole)).await.unwrap();
            assert!(got == data[range.start as usize..range.end as usize]);
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
        let part = blocks.read(&bytes, 1, 3..9, None).await.unwrap();
        assert_eq!(part, data[3..9]);
    }
}
