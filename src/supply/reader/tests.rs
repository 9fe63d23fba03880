//! Many readers, and slow ones: what they cost, and whom they hold back.

use super::*;
use crate::{
    base::{ranges::Ranges, read_at::ReadAt},
    domain::{
        digest::GROUP_BYTES,
        name::{FileName, FolderName},
    },
    supply::{
        blocks::{BLOCK_BYTES, LARGE_BLOCKS, LARGE_BYTES, LargeBlocks, REMEMBERED_BYTES},
        flight::Client,
    },
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

const FLIGHTS: usize = 10;
const READERS: usize = 100;
const SIZE: u64 = 50 * BLOCK_BYTES + 5;

/// Bytes whose reading is counted.
struct Counted {
    bytes: Vec<u8>,
    read: AtomicU64,
    is_sendable: bool,
}

impl ReadAt for Counted {
    fn is_sendable(&self, range: &Range<u64>) -> bool {
        self.is_sendable && range.end <= SIZE
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.bytes.read_at(buf, offset)?;
        self.read.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

struct Arriving {
    flight: Arc<Flight>,
    counted: Arc<Counted>,
    sight: Sight,
}

impl Arriving {
    fn new(number: usize, large: &LargeBlocks) -> Self {
        Self::with(number, large, false)
    }

    fn with(number: usize, large: &LargeBlocks, is_sendable: bool) -> Self {
        let (folder, name) = (FolderName::new("waptwua").unwrap(), FileName::new(&format!("f{number}")).unwrap());
        let flight = Arc::new(Flight::new(folder, name, Client::Background, 0, large.clone()));
        let bytes = (0..SIZE).map(|at| (at / 251 + at + number as u64) as u8).collect();
        let counted = Arc::new(Counted { bytes, read: AtomicU64::new(0), is_sendable });
        let sight = Sight {
            start: 1,
            size: SIZE,
            modified: None,
            root: None,
            may_flow: true,
            here: Arc::default(),
            bytes: counted.clone(),
            outboard: None,
        };
        flight.tell(sight.clone());
        Self { flight, counted, sight }
    }

    fn arrives(&self, bytes: u64) {
        self.flight.tell(Sight { here: Arc::new(Ranges::of(0..bytes)), ..self.sight.clone() });
    }

    fn reader(&self) -> Reader {
        Reader::new(self.flight.clone(), &self.sight, 0..SIZE)
    }

    fn read(&self) -> u64 {
        self.counted.read.load(Relaxed)
    }
}

/// Files on their way at one node.
fn arriving() -> Vec<Arriving> {
    let large = LargeBlocks::default();
    (0..FLIGHTS).map(|number| Arriving::new(number, &large)).collect()
}

/// The memory behind all these, each piece counted once.
fn memory<'a>(held: impl Iterator<Item = &'a Bytes>) -> u64 {
    held.map(|bytes| (bytes.as_ptr(), bytes.len() as u64)).collect::<BTreeMap<_, _>>().values().sum()
}

async fn next(reader: &mut Reader) -> Bytes {
    reader.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_thousand_readers_in_step_share_what_is_read_once() {
    let arriving: Vec<_> = arriving();
    let mut readers: Vec<_> =
        arriving.iter().map(|one| (0..READERS).map(|_| one.reader()).collect::<Vec<_>>()).collect();
    for block in 1..=4 {
        for (one, readers) in arriving.iter().zip(&mut readers) {
            one.arrives(block * BLOCK_BYTES);
            let mut held = Vec::new();
            for reader in readers {
                held.push(next(reader).await);
            }
            assert_eq!(memory(held.iter()), BLOCK_BYTES, "a hundred bodies are one block");
            assert_eq!(one.read(), block * BLOCK_BYTES, "each block is read once");
        }
    }
}

#[tokio::test]
async fn slow_readers_hold_a_block_each_and_nobody_back() {
    let arriving: Vec<_> = arriving();
    let mut slow: Vec<_> = Vec::new();
    let mut held = Vec::new();
    for one in &arriving {
        one.arrives(SIZE);
        for n in 0..READERS {
            let mut reader = one.reader();
            let first = n as u64 % 49 * BLOCK_BYTES + n as u64;
            reader.seek(first..SIZE);
            held.push(next(&mut reader).await);
            slow.push(reader);
        }
    }
    assert!(held.iter().any(|bytes| bytes.len() as u64 > BLOCK_BYTES), "there is memory for some large blocks");
    let before: u64 = arriving.iter().map(Arriving::read).sum();
    let most = (FLIGHTS * READERS) as u64 * BLOCK_BYTES + LARGE_BLOCKS as u64 * LARGE_BYTES;
    assert!(before <= most, "nobody reads ahead: {before}");
    assert!(before + FLIGHTS as u64 * REMEMBERED_BYTES < 120 << 20, "{before}");

    for one in &arriving {
        let (mut quick, mut at) = (one.reader(), 0);
        while at < SIZE / BLOCK_BYTES * BLOCK_BYTES {
            let bytes = next(&mut quick).await;
            assert!(*bytes == one.counted.bytes[at as usize..at as usize + bytes.len()]);
            at += bytes.len() as u64;
        }
        one.flight.tell_verified(&one.sight);
        assert_eq!(next(&mut quick).await.len(), 5);
        assert!(quick.next().await.is_none());
    }
    // Whoever was slow goes on where it was, by itself.
    let one = &arriving[0];
    let (mut reader, mut at) = (slow.swap_remove(0), held[0].len() as u64);
    while let Some(bytes) = reader.next().await {
        let bytes = bytes.unwrap();
        assert!(*bytes == one.counted.bytes[at as usize..at as usize + bytes.len()]);
        at += bytes.len() as u64;
    }
    assert_eq!(at, SIZE);
    drop((reader, slow));
    assert!(arriving.iter().all(|one| one.flight.readers() == 0));
}

#[tokio::test]
async fn what_can_be_sent_unread_is_not_read_and_the_last_group_waits_all_the_same() {
    let one = Arriving::with(3, &LargeBlocks::default(), true);
    let (mut reader, mut at) = (one.reader(), 0);
    reader.seek(7..SIZE);
    one.arrives(300_000);
    let mut next_range = async || match reader.next_part().await.unwrap().unwrap() {
        Part::Lies(bytes, range) => {
            assert!(std::ptr::addr_eq(Arc::as_ptr(&bytes), Arc::as_ptr(&one.counted)));
            range
        }
        Part::Read(bytes) => panic!("{} bytes were read", bytes.len()),
    };
    assert_eq!((next_range().await, next_range().await), (7..262_151, 262_151..300_000));
    one.arrives(SIZE);
    let held_back = SIZE.saturating_sub(1) / GROUP_BYTES * GROUP_BYTES;
    while at < held_back {
        let range = next_range().await;
        assert!(range.end - range.start <= 262_144 && range.start >= at);
        at = range.end;
    }
    assert_eq!(at, held_back);
    {
        let waits = next_range();
        tokio::select! {
            biased;
            _ = waits => panic!("the last group was let go"),
            () = tokio::task::yield_now() => {}
        }
    }
    one.flight.tell_verified(&one.sight);
    assert_eq!(next_range().await, held_back..SIZE);
    assert!(reader.next_part().await.is_none());
    assert_eq!(one.read(), 0);
    let plain = Arriving::new(0, &LargeBlocks::default());
    plain.arrives(SIZE);
    assert!(matches!(plain.reader().next_part().await, Some(Ok(Part::Read(_)))));
}

#[tokio::test]
async fn a_reader_that_waits_is_told_of_and_one_that_leaves_is_not() {
    let one = Arriving::new(0, &LargeBlocks::default());
    one.arrives(BLOCK_BYTES);
    let mut demand = one.flight.demand();
    let mut far = one.reader();
    far.seek(40 * BLOCK_BYTES..SIZE);
    let mut near = one.reader();
    near.seek(BLOCK_BYTES..SIZE);
    {
        let (waits_far, waits_near) = (far.readable(), near.readable());
        tokio::select! {
            biased;
            _ = waits_far => panic!("nothing is there"),
            _ = waits_near => panic!("nothing is there"),
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(*demand.borrow_and_update(), [40 * BLOCK_BYTES].into(), "the beginning comes anyway");
    drop((far, near));
    assert!(demand.borrow_and_update().is_empty());
    assert_eq!(one.flight.readers(), 0);
}
