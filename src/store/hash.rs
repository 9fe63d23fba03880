//! Hashing a file once: BLAKE3 root, outboard and, where wanted, SHA-1; or Microsoft's digests alone.
//!
//! Where SHA-1 is wanted, long files are read and given to it on a second thread while this one computes the tree.
//! Else the tree's groups are read straight to where they are hashed.

use super::{
    disk::DiskFile,
    sha::GrowingShas,
    tree::{Positioned, tree},
};
use crate::{
    base::read_at::ReadAt,
    domain::digest::{Root, Sha1, Sha256},
};
use bao_tree::io::{
    outboard::{EmptyOutboard, PreOrderOutboard},
    sync,
};
use sha1::Digest;
use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// One read; large enough that system calls cost nothing beside hashing.
const BLOCK_BYTES: u64 = 1 << 20;
/// From here on a second thread pays for itself.
const PIPELINE_FROM: u64 = 4 << 20;
/// Blocks on their way between the threads: enough that neither waits for a short stall of the other.
const PIPELINE_BLOCKS: usize = 4;

/// What a file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    /// BLAKE3 of the bytes.
    pub root: Root,
    /// SHA-1 of the bytes, if it was wanted.
    pub sha1: Option<Sha1>,
    /// How many bytes.
    pub size: u64,
}

/// A file that grew or shrank while it was hashed; found inside an [`io::Error`] by [`Changed::is`].
#[derive(Debug, thiserror::Error)]
#[error("the file changed its length while it was hashed")]
pub struct Changed;

impl Changed {
    /// Whether `error` says that the file changed its length.
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }

    fn error() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self)
    }
}

/// Reads `file` once, which must be exactly `size` bytes long. Its tree is written to `outboard`, which
/// need not be synced. `on_progress` is told how many bytes are hashed so far.
pub fn hash_file(
    file: &dyn ReadAt,
    size: u64,
    want_sha1: bool,
    outboard: Option<&dyn DiskFile>,
    on_progress: &mut dyn FnMut(u64),
) -> io::Result<Hashed> {
    let reader = Reader { file, size, sha1: sha1::Sha1::new() };
    let (root, sha1) = match size {
        _ if !want_sha1 => (hash_tree(Straight { file, size, at: 0, on_progress }, size, outboard)?, None),
        PIPELINE_FROM.. => hash_on_two_threads(reader, outboard, on_progress).map(|(root, sha1)| (root, Some(sha1)))?,
        _ => hash_on_this_thread(reader, outboard, on_progress).map(|(root, sha1)| (root, Some(sha1)))?,
    };
    if file.read_at(&mut [0], size)? != 0 {
        return Err(Changed::error());
    }
    Ok(Hashed { root, sha1, size })
}

/// Reads `file`, which is `size` bytes long, for those of Microsoft's digests that are wanted; not at all for none.
pub fn sha_digests(
    file: &dyn ReadAt,
    size: u64,
    want_sha1: bool,
    want_sha256: bool,
) -> io::Result<(Option<Sha1>, Option<Sha256>)> {
    let mut shas = GrowingShas::new(want_sha1, want_sha256);
    let (mut at, mut block) = (0, Vec::new());
    while at < size && (want_sha1 || want_sha256) {
        block.resize(usize::try_from(BLOCK_BYTES.min(size - at)).unwrap_or(usize::MAX), 0);
        file.read_exact_at(&mut block, at)?;
        shas.update(&block);
        at += block.len() as u64;
    }
    Ok(shas.finish())
}

fn hash_on_this_thread(
    mut reader: Reader<'_>,
    outboard: Option<&dyn DiskFile>,
    on_progress: &mut dyn FnMut(u64),
) -> io::Result<(Root, Sha1)> {
    let size = reader.size;
    let mut next = |offset, spent| reader.read_block(offset, spent);
    let root = hash_tree(Blocks::new(size, &mut next, on_progress), size, outboard)?;
    Ok((root, reader.finish()))
}

fn hash_on_two_threads(
    mut reader: Reader<'_>,
    outboard: Option<&dyn DiskFile>,
    on_progress: &mut dyn FnMut(u64),
) -> io::Result<(Root, Sha1)> {
    let size = reader.size;
    let (filled, blocks) = sync_channel(PIPELINE_BLOCKS);
    let (spent, empty) = sync_channel(PIPELINE_BLOCKS);
    thread::scope(|scope| {
        let reading = thread::Builder::new().name("hash-read".to_owned()).spawn_scoped(scope, move || {
            reader.read_all(&filled, &empty);
            reader.finish()
        })?;
        let root = hash_received(blocks, spent, size, outboard, on_progress)?;
        let sha1 = reading.join().map_err(|_| io::Error::other("the reading thread panicked"))?;
        Ok((root, sha1))
    })
}

/// Owns its ends of the channels: when hashing fails, dropping them stops the reading thread.
fn hash_received(
    blocks: Receiver<io::Result<Vec<u8>>>,
    spent: SyncSender<Vec<u8>>,
    size: u64,
    outboard: Option<&dyn DiskFile>,
    on_progress: &mut dyn FnMut(u64),
) -> io::Result<Root> {
    let mut next = |_, block| {
        // Only saves an allocation: the reader may be done, or have enough.
        let _ = spent.try_send(block);
        blocks.recv().map_err(|_| io::Error::other("the reading thread stopped"))?
    };
    hash_tree(Blocks::new(size, &mut next, on_progress), size, outboard)
}

fn hash_tree(blocks: impl Read, size: u64, outboard: Option<&dyn DiskFile>) -> io::Result<Root> {
    let (tree, root) = (tree(size), blake3::hash(b""));
    let Some(outboard) = outboard else {
        return sync::outboard(blocks, tree, EmptyOutboard { tree, root }).map(Root::from);
    };
    outboard.set_len(tree.outboard_size())?;
    sync::outboard(blocks, tree, PreOrderOutboard { root, tree, data: Positioned(outboard) }).map(Root::from)
}

/// Reads blocks in order, with SHA-1 on the way.
struct Reader<'a> {
    file: &'a dyn ReadAt,
    size: u64,
    sha1: sha1::Sha1,
}

impl Reader<'_> {
    /// Reads the block at `offset` into what is left of a spent one.
    fn read_block(&mut self, offset: u64, mut block: Vec<u8>) -> io::Result<Vec<u8>> {
        let len = BLOCK_BYTES.min(self.size - offset);
        block.resize(usize::try_from(len).unwrap_or(0), 0);
        self.file.read_exact_at(&mut block, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Changed::error(),
            _ => e,
        })?;
        self.sha1.update(&block);
        Ok(block)
    }

    /// Sends every block, or the error that ends them; stops when nobody listens.
    fn read_all(&mut self, filled: &SyncSender<io::Result<Vec<u8>>>, empty: &Receiver<Vec<u8>>) {
        for offset in (0..self.size).step_by(BLOCK_BYTES as usize) {
            let read = self.read_block(offset, empty.try_recv().unwrap_or_default());
            let failed = read.is_err();
            if filled.send(read).is_err() || failed {
                return;
            }
        }
    }

    fn finish(self) -> Sha1 {
        Sha1(self.sha1.finalize().into())
    }
}

/// Gives the block at an offset for a spent one.
type NextBlock<'a> = dyn FnMut(u64, Vec<u8>) -> io::Result<Vec<u8>> + 'a;

/// Blocks as one stream, for bao-tree.
struct Blocks<'a> {
    size: u64,
    next: &'a mut NextBlock<'a>,
    on_progress: &'a mut dyn FnMut(u64),
    block: Vec<u8>,
    /// What of `block` has been read.
    taken: usize,
    /// Where in the file `block` ends.
    end: u64,
}

impl<'a> Blocks<'a> {
    fn new(size: u64, next: &'a mut NextBlock<'a>, on_progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { size, next, on_progress, block: Vec::new(), taken: 0, end: 0 }
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() && self.end < self.size {
            self.block = (self.next)(self.end, std::mem::take(&mut self.block))?;
            self.taken = 0;
            self.end += self.block.len() as u64;
        }
        let n = (&self.block[self.taken..]).read(buf)?;
        self.taken += n;
        if n > 0 && self.taken == self.block.len() {
            (self.on_progress)(self.end);
        }
        Ok(n)
    }
}

/// A file as a stream, for bao-tree, which asks for a group at a time.
struct Straight<'a> {
    file: &'a dyn ReadAt,
    size: u64,
    at: u64,
    on_progress: &'a mut dyn FnMut(u64),
}

impl Read for Straight<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..len], self.at)?;
        if n == 0 && len > 0 {
            return Err(Changed::error());
        }
        self.at += n as u64;
        if n > 0 && (self.at == self.size || self.at.is_multiple_of(BLOCK_BYTES)) {
            (self.on_progress)(self.at);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        disk::{Disk, Open, real::RealDisk},
        tree::tests::{blob, outboard_of},
    };
    use proptest::prelude::*;
    use std::sync::Arc;

    fn hashed(data: &[u8], size: u64) -> io::Result<Hashed> {
        hash_file(&data.to_vec(), size, true, None, &mut |_| {})
    }

    fn expect_digests_of(data: &[u8]) {
        let expected = Hashed {
            root: blake3::hash(data).into(),
            sha1: Some(Sha1(sha1::Sha1::digest(data).into())),
            size: data.len() as u64,
        };
        assert_eq!(hashed(data, data.len() as u64).unwrap(), expected);
        let alone = hash_file(&data.to_vec(), data.len() as u64, false, None, &mut |_| {}).unwrap();
        assert_eq!(alone, Hashed { sha1: None, ..expected });
    }

    #[test]
    fn a_file_of_any_length_has_the_digests_that_other_tools_compute() {
        let (block, pipeline) = (BLOCK_BYTES as usize, PIPELINE_FROM as usize);
        for size in [0, 1, 1024, 65_535, 65_536, 65_537, block, block + 1, pipeline - 1, pipeline, 3 * pipeline + 1] {
            expect_digests_of(&blob(1, size));
        }
    }

    #[test]
    fn a_file_of_another_length_has_changed() {
        for size in [0, 1, 65_537, PIPELINE_FROM as usize, PIPELINE_FROM as usize + 1000] {
            let data = blob(2, size);
            assert!(Changed::is(&hashed(&data, size as u64 + 1).unwrap_err()), "{size} shrank");
            let alone = hash_file(&data, size as u64 + 1, false, None, &mut |_| {});
            assert!(Changed::is(&alone.unwrap_err()), "{size} shrank");
            if let Some(less) = (size as u64).checked_sub(1) {
                assert!(Changed::is(&hashed(&data, less).unwrap_err()), "{size} grew");
            }
        }
    }

    #[test]
    fn the_outboard_is_written_whole_over_whatever_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::new();
        let root = disk.open_root(directory.path(), false).unwrap();
        for size in [5_000_000, 200_000, 65_536, 65_537] {
            let data = blob(3, size);
            let file: Arc<dyn DiskFile> = disk.open(root.at("outboard"), Open::Create).unwrap();
            hash_file(&data, size as u64, false, Some(&*file), &mut |_| {}).unwrap();
            let (expected, _) = outboard_of(&data);
            assert_eq!(std::fs::read(directory.path().join("outboard")).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn progress_goes_up_to_the_size() {
        for (size, want_sha1) in [1, 3_000_000, 9_000_000].into_iter().flat_map(|size| [(size, true), (size, false)]) {
            let mut seen = vec![0];
            hash_file(&blob(4, size), size as u64, want_sha1, None, &mut |done| seen.push(done)).unwrap();
            assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
            assert_eq!(seen.last(), Some(&(size as u64)));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_that_error_on_either_path() {
        struct Broken;
        impl ReadAt for Broken {
            fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
                if offset > 500_000 { Err(io::Error::from_raw_os_error(5)) } else { Ok(buf.len().min(100_000)) }
            }
        }
        for (size, want_sha1) in [(1_000_000, true), (100_000_000, true), (1_000_000, false)] {
            let error = hash_file(&Broken, size, want_sha1, None, &mut |_| {}).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_bytes_have_the_digests_that_other_tools_compute(seed in any::<u64>(), size in 0..6_000_000usize) {
            expect_digests_of(&blob(seed, size));
        }
    }
}
