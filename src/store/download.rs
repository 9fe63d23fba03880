//! A file of unknown root on its way: bytes in staging at any position, and the digests of its beginning.
//!
//! Owns `downloads` in staging. Order of events: [`Downloads::begin`] (or [`Downloads::take_up`] after a
//! restart), [`Download::write`] until all of it is here, [`Download::catch_up`] until
//! [`Download::digests`] answers, then [`Download::finish`] or [`Download::discard`]. Never compares digests
//! with what was promised, and never syncs what arrives: there is no record of what has arrived, after a
//! restart it is as much of the beginning as the hash tree beside the bytes still proves.

pub use super::sha::Shas;
use super::{
    disk::{DiskFile, Open, RootId, SharedDisk},
    growing::GrowingTree,
    layout,
    outboards::Outboards,
    room::Room,
    sha::{GrowingShas, HandedShas},
    staging::Staged,
    tree::{GROUP_BYTES, PAIR_BYTES, outboard_len},
};
use crate::{
    base::{ranges::Ranges, read_at::ReadAt},
    domain::{
        digest::{Root, Sha1, Sha256},
        name::FileName,
        versioned,
    },
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
};

const VERSION: u8 = 1;
/// What stands before the hash tree: a length, [`Origin`], zeros, and a checksum from here on.
const HEADER_BYTES: usize = 64;
const CHECKED_BYTES: usize = 48;
/// How often the room on the disk is looked at, in bytes that arrived.
const CLAIM_EVERY: u64 = 16 << 20;
/// One read of what is hashed from the disk; a multiple of [`PROVEN_BYTES`].
const BLOCK_BYTES: u64 = 1 << 20;
/// What one [`Download::catch_up`] hashes at most: some milliseconds of work.
const CATCH_UP_BYTES: u64 = 4 << 20;
/// What the lowest inner nodes speak of.
const PROVEN_BYTES: u64 = 2 * GROUP_BYTES;

/// What a whole file's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Length in bytes.
    pub size: u64,
    /// What names the content here.
    pub root: Root,
    /// What Microsoft's names promise; where it was asked for.
    pub sha1: Option<Sha1>,
    /// What Microsoft's metadata promise; where it was asked for.
    pub sha256: Option<Sha256>,
}

/// What one download is known by, for as long as it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DownloadKey(Root);

impl DownloadKey {
    /// The key of the file that is to have this name.
    pub fn of(name: &FileName) -> Self {
        Self(blake3::hash(name.as_str().as_bytes()).into())
    }
}

/// What the source says of its file: other bytes have another of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Length in bytes.
    pub size: u64,
    /// Its Last-Modified in seconds since 1970 UTC; without one nothing is resumed.
    pub modified: Option<i64>,
}

impl Origin {
    fn encode(&self) -> io::Result<[u8; HEADER_BYTES]> {
        let bytes = versioned::encode(VERSION, self).map_err(io::Error::other)?;
        let len = u8::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut header = [0; HEADER_BYTES];
        header[0] = len;
        header.get_mut(1..=bytes.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(&bytes);
        let checksum = blake3::hash(&header[..CHECKED_BYTES]);
        header[CHECKED_BYTES..].copy_from_slice(&checksum.as_bytes()[..HEADER_BYTES - CHECKED_BYTES]);
        Ok(header)
    }

    /// None for what was not written whole, or by a newer program.
    fn decode(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let checksum = blake3::hash(&header[..CHECKED_BYTES]);
        let is_whole = header[CHECKED_BYTES..] == checksum.as_bytes()[..HEADER_BYTES - CHECKED_BYTES];
        let bytes = header.get(1..=usize::from(header[0])).filter(|_| is_whole)?;
        versioned::decode(VERSION, bytes).ok()
    }
}

/// The downloads of one folder. Clones are the same.
#[derive(Clone)]
pub struct Downloads {
    disk: SharedDisk,
    stage: RootId,
    room: Arc<Room>,
    open: Arc<Mutex<BTreeSet<DownloadKey>>>,
}

impl Downloads {
    pub(super) fn new(disk: SharedDisk, stage: RootId, room: Arc<Room>) -> Self {
        Self { disk, stage, room, open: Arc::default() }
    }

    /// What an earlier run left of the beginning of a download, as far as it proves itself; none if that is
    /// nothing. Reads and hashes all of it. `ResourceBusy` while somebody has it.
    pub fn take_up(&self, key: DownloadKey, shas: Shas) -> io::Result<Option<Download>> {
        let only = self.claim_key(key)?;
        let open = |path: &str| match self.disk.open(self.stage.at(path), Open::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        };
        let (data, tree) = (open(&layout::download_data(key.0))?, open(&layout::download_tree(key.0))?);
        let (Some(data), Some(tree)) = (data, tree) else { return Ok(None) };
        let mut header = [0; HEADER_BYTES];
        match tree.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some(origin) = Origin::decode(&header) else { return Ok(None) };
        let (prefix, shas) = proven(&*data, &*tree, origin.size, shas)?;
        let claim_at = prefix.position();
        if claim_at == 0 {
            return Ok(None);
        }
        data.set_len(claim_at)?;
        let here = Ranges::of(0..claim_at);
        let shas = HandedShas::new(shas);
        Ok(Some(Download { downloads: self.clone(), only, key, origin, data, tree, here, prefix, shas, claim_at }))
    }

    /// Begins a download of which nothing is here, whatever was left of an earlier one. Refused with
    /// [`NoRoom`](super::room::NoRoom) where it would not fit; `ResourceBusy` while somebody has it.
    pub fn begin(&self, key: DownloadKey, origin: Origin, shas: Shas) -> io::Result<Download> {
        let only = self.claim_key(key)?;
        self.remove(key)?;
        self.room.claim(origin.size)?;
        let create = |path: &str| self.room.note(origin.size, self.disk.open(self.stage.at(path), Open::CreateNew));
        let (data, tree) = (create(&layout::download_data(key.0))?, create(&layout::download_tree(key.0))?);
        self.room.note(origin.size, tree.write_all_at(&origin.encode()?, 0))?;
        let (here, prefix) = (Ranges::default(), GrowingTree::new(origin.size));
        let (shas, claim_at) = (HandedShas::new(shas.growing()), CLAIM_EVERY);
        Ok(Download { downloads: self.clone(), only, key, origin, data, tree, here, prefix, shas, claim_at })
    }

    /// Removes what is left of a download. `ResourceBusy` while somebody has it.
    pub fn discard(&self, key: DownloadKey) -> io::Result<()> {
        let _only = self.claim_key(key)?;
        self.remove(key)
    }

    /// Removes every download that nobody has and `keep` does not want.
    pub fn sweep(&self, keep: &dyn Fn(DownloadKey) -> bool) -> io::Result<()> {
        let mut left = BTreeSet::new();
        self.disk.list(self.stage.at(layout::DOWNLOADS), &mut |name, _| {
            left.extend(layout::download_key(name).map(DownloadKey).filter(|key| !keep(*key)));
        })?;
        for key in left {
            if let Ok(_only) = self.claim_key(key) {
                self.remove(key)?;
            }
        }
        Ok(())
    }

    /// Durably, so that after a power cut no bytes of one origin are beside the tree of another.
    fn remove(&self, key: DownloadKey) -> io::Result<()> {
        let mut removed = false;
        for path in [layout::download_data(key.0), layout::download_tree(key.0)] {
            match self.disk.remove(self.stage.at(&path)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => {
                    done?;
                    removed = true;
                }
            }
        }
        if removed { self.disk.sync_directory(self.stage.at(layout::DOWNLOADS)) } else { Ok(()) }
    }

    fn claim_key(&self, key: DownloadKey) -> io::Result<Only> {
        let is_new = self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        if is_new { Ok(Only { open: self.open.clone(), key }) } else { Err(io::ErrorKind::ResourceBusy.into()) }
    }
}

/// Keeps everybody else away from a download.
struct Only {
    open: Arc<Mutex<BTreeSet<DownloadKey>>>,
    key: DownloadKey,
}

impl Drop for Only {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// A file on its way. Dropped, it stays on disk for the next [`Downloads::take_up`].
pub struct Download {
    downloads: Downloads,
    #[expect(dead_code, reason = "lets go when it is dropped")]
    only: Only,
    key: DownloadKey,
    origin: Origin,
    data: Arc<dyn DiskFile>,
    tree: Arc<dyn DiskFile>,
    here: Ranges,
    /// Of the beginning; behind what is here of it where that was written as an island.
    prefix: GrowingTree,
    /// Of the same bytes.
    shas: HandedShas,
    /// When so many bytes are here, the room on the disk is to be looked at again.
    claim_at: u64,
}

impl Download {
    /// What the source said of the file whose bytes these are.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Which bytes are here and can be read.
    pub fn here(&self) -> &Ranges {
        &self.here
    }

    /// How many bytes from the first are here.
    pub fn arrived(&self) -> u64 {
        self.here.run_end(0)
    }

    /// Whether all bytes are here; they may still have to be hashed.
    pub fn is_whole(&self) -> bool {
        self.arrived() == self.origin.size
    }

    /// The bytes, for readers of what has arrived; elsewhere is nothing, or zeros. Stays good after
    /// publishing and after discarding.
    pub fn data(&self) -> Arc<dyn ReadAt> {
        self.data.clone()
    }

    /// Takes bytes, one part after the other, of which the first belongs at `at`; those that are here already stay what
    /// they are. `InvalidInput` beyond the length; `StorageFull` where the rest would touch what is kept free. After an
    /// error the download is good for nothing but to be discarded, or dropped and taken up. Blocks.
    pub fn write(&mut self, mut at: u64, parts: Vec<Bytes>) -> io::Result<()> {
        let len = parts.iter().map(|part| part.len() as u64).sum();
        at.checked_add(len).filter(|end| *end <= self.origin.size).ok_or(io::ErrorKind::InvalidInput)?;
        let here = self.here.len();
        if here >= self.claim_at {
            self.downloads.room.claim(self.origin.size - here)?;
            self.claim_at = here + CLAIM_EVERY;
        }
        let mut hashed = Vec::with_capacity(parts.len());
        for part in parts {
            let whole = at..at + part.len() as u64;
            while let Some(gap) = self.here.first_gap(&whole) {
                let within = |position: u64| usize::try_from(position - at).map_err(io::Error::other);
                let new = part.slice(within(gap.start)?..within(gap.end)?);
                self.downloads.room.note(self.origin.size, self.data.write_all_at(&new, gap.start))?;
                // What follows what is hashed is hashed with it; what comes behind another gap is not.
                if gap.start == self.prefix.position() {
                    self.grow(&new)?;
                    hashed.push(new);
                }
                self.here.insert(gap);
            }
            at = whole.end;
        }
        self.hand_over(hashed)
    }

    /// As [`Download::write`], of bytes in one part.
    #[cfg(test)]
    pub(crate) fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(at, vec![Bytes::copy_from_slice(bytes)])
    }

    /// The tree over the next bytes.
    fn grow(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (room, tree, rest) = (&self.downloads.room, &self.tree, self.origin.size - self.prefix.position());
        let mut on_pair =
            |offset, pair: [u8; PAIR_BYTES]| room.note(rest, tree.write_all_at(&pair, HEADER_BYTES as u64 + offset));
        self.prefix.update(bytes, &mut on_pair)
    }

    /// The SHAs of what the tree has taken; with the last byte they are waited for.
    fn hand_over(&mut self, parts: Vec<Bytes>) -> io::Result<()> {
        self.shas.take(parts)?;
        if self.prefix.position() == self.origin.size { self.shas.settle() } else { Ok(()) }
    }

    /// Whether more of the beginning is here than is hashed.
    pub fn is_behind(&self) -> bool {
        self.arrived() > self.prefix.position()
    }

    /// Hashes some of what is here of the beginning and not hashed yet, read back from the disk. As for
    /// [`Download::write`] after an error.
    pub fn catch_up(&mut self) -> io::Result<()> {
        let end = self.arrived().min(self.prefix.position().saturating_add(CATCH_UP_BYTES));
        while let at = self.prefix.position()
            && at < end
        {
            let mut block = vec![0; usize::try_from(BLOCK_BYTES.min(end - at)).map_err(io::Error::other)?];
            self.data.read_exact_at(&mut block, at)?;
            self.grow(&block)?;
            self.hand_over(vec![block.into()])?;
        }
        Ok(())
    }

    /// What the bytes are; none before the last one is hashed.
    pub fn digests(&self) -> Option<Digests> {
        let (root, (sha1, sha256)) = self.prefix.finish().zip(self.shas.finish())?;
        Some(Digests { size: self.origin.size, root, sha1, sha256 })
    }

    /// Hands the whole file over for publishing, with its modification time in seconds since 1970 UTC,
    /// and its hash tree to `outboards`. Not synced. `InvalidData` if it is not whole: then what is here
    /// stays. Until it is published or discarded, a restart finds it again.
    pub fn finish(self, modified: i64, outboards: &Outboards) -> io::Result<Staged> {
        let Some(digests) = self.digests() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not whole"));
        };
        let outboard = Outboard(&*self.tree);
        if outboard_len(digests.size) > 0 {
            outboards.write(digests.root, digests.size, &outboard)?;
        }
        self.data.set_modified(modified)?;
        let companion = Some(layout::download_tree(self.key.0));
        Ok(Staged { path: layout::download_data(self.key.0), size: digests.size, companion, stat: None })
    }

    /// Removes everything that has arrived.
    pub fn discard(self) -> io::Result<()> {
        self.downloads.remove(self.key)
    }
}

/// The hash tree behind the header.
struct Outboard<'a>(&'a dyn DiskFile);

impl ReadAt for Outboard<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset.saturating_add(HEADER_BYTES as u64))
    }
}

/// The longest prefix whose tree is the one that was written beside it.
fn proven(data: &dyn DiskFile, tree: &dyn DiskFile, size: u64, shas: Shas) -> io::Result<(GrowingTree, GrowingShas)> {
    let (len, stored) = (data.stat()?.size.min(size), Outboard(tree));
    let (mut prefix, mut block) = ((GrowingTree::new(size), shas.growing()), Vec::new());
    let (mut good, mut largest) = (prefix.clone(), BLOCK_BYTES);
    while let Some(n) = next_step(prefix.0.position(), len, size, largest) {
        block.resize(n, 0);
        match data.read_exact_at(&mut block, prefix.0.position()) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        // Each step ends with an inner node; a file of one group has none, and proves nothing.
        let mut proves = size > GROUP_BYTES;
        let mut on_pair = |offset, pair: [u8; PAIR_BYTES]| {
            let mut beside = [0; PAIR_BYTES];
            let is_there = stored.read_exact_at(&mut beside, offset).is_ok();
            proves &= is_there && beside == pair;
            Ok(())
        };
        prefix.0.update(&block, &mut on_pair)?;
        if proves {
            prefix.1.update(&block);
            good = prefix.clone();
        } else if n as u64 > PROVEN_BYTES {
            // What is proven may end within the step, before a gap.
            (prefix, largest) = (good.clone(), PROVEN_BYTES);
        } else {
            break;
        }
    }
    Ok(good)
}

/// How many bytes to look at next: steps of two groups and of many end with an inner node, and so does
/// the file.
fn next_step(position: u64, len: u64, size: u64, largest: u64) -> Option<usize> {
    let rest = len - position;
    let step = match rest {
        0 => return None,
        _ if rest >= largest => largest,
        _ if len == size => rest,
        PROVEN_BYTES.. => PROVEN_BYTES,
        _ => return None,
    };
    usize::try_from(step).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::digest::{Sha1, Sha256},
        store::{
            disk::Replace,
            outboards::tests::outboards_in,
            staging::tests::{Place, name, place},
            tree::tests::blob,
        },
    };
    use sha1::Digest;
    use std::{fs, path::PathBuf};

    const NAME: &str = "kb.cab";
    const STAMP: Option<i64> = Some(1_600_000_000);

    fn key() -> DownloadKey {
        DownloadKey::of(&name(NAME))
    }

    fn begin(place: &Place, size: u64) -> Download {
        place.staging.downloads().begin(key(), Origin { size, modified: STAMP }, Shas::Both).unwrap()
    }

    fn take_up(place: &Place) -> Option<Download> {
        place.staging.downloads().take_up(key(), Shas::Both).unwrap()
    }

    fn data_path(place: &Place) -> PathBuf {
        place.stage(&layout::download_data(key().0))
    }

    fn left(place: &Place) -> usize {
        fs::read_dir(place.stage("downloads")).unwrap().count()
    }

    fn digests_of(data: &[u8]) -> Digests {
        let (sha1, sha256) = (Sha1(sha1::Sha1::digest(data).into()), Sha256(sha2::Sha256::digest(data).into()));
        Digests { size: data.len() as u64, root: blake3::hash(data).into(), sha1: Some(sha1), sha256: Some(sha256) }
    }

    #[test]
    fn a_file_that_arrived_in_pieces_is_published_with_its_digests_and_its_tree() {
        for size in [0, 1, 65_536, 65_537, 3_000_000] {
            let (place, data) = (place(), blob(1, size));
            let outboards = outboards_in(&place.directory.path().join("state"));
            let mut download = begin(&place, size as u64);
            for (n, piece) in data.chunks(100_000).enumerate() {
                assert_eq!(download.digests(), None);
                download.write_at(n as u64 * 100_000, piece).unwrap();
            }
            assert_eq!(download.digests(), Some(digests_of(&data)));
            let staged = download.finish(1_600_000_000, &outboards).unwrap();
            place.staging.sync_staged(&[&staged]).unwrap();
            let stat = place.staging.publish(&staged, &name(NAME), Replace::No).unwrap();
            assert_eq!(stat.modified_ns, 1_600_000_000_000_000_000);
            assert_eq!((fs::read(place.folder(NAME)).unwrap(), left(&place)), (data.clone(), 0));
            let outboard = outboards.read(blake3::hash(&data).into(), size as u64).unwrap();
            assert_eq!(outboard.is_some(), size > 65_536);
        }
    }

    #[test]
    fn pieces_in_any_order_make_one_file_and_what_is_here_stays_what_it_is() {
        let (place, data) = (place(), blob(7, 12_000_000));
        let outboards = outboards_in(&place.directory.path().join("state"));
        let mut download = begin(&place, 12_000_000);
        let mut here = Ranges::default();
        for (at, len) in [(11_900_000, 100_000), (5_000_000, 2_000_000), (0, 70_000), (6_999_999, 3), (70_000, 0)] {
            download.write_at(at as u64, &data[at..at + len]).unwrap();
            here.insert(at as u64..(at + len) as u64);
            assert_eq!((download.here(), download.is_behind()), (&here, false));
        }
        // Whatever comes again is passed over.
        let mut other = data[60_000..5_100_000].to_vec();
        other[..10_000].fill(0);
        other[4_940_000..].fill(0);
        download.write_at(60_000, &other).unwrap();
        assert!(download.is_behind(), "two million bytes are to be read back");
        download.write_at(7_000_002, &data[7_000_002..]).unwrap();
        assert!(download.is_whole() && download.digests().is_none());
        let mut steps = 0;
        while download.is_behind() {
            download.catch_up().unwrap();
            steps += 1;
        }
        assert_eq!(steps, 2, "7,000,000 bytes, 4 MiB at a time");
        assert_eq!(download.digests(), Some(digests_of(&data)));
        let staged = download.finish(0, &outboards).unwrap();
        place.staging.publish(&staged, &name(NAME), Replace::No).unwrap();
        assert!(fs::read(place.folder(NAME)).unwrap() == data);
        assert!(outboards.read(blake3::hash(&data).into(), 12_000_000).unwrap().is_some());
    }

    #[test]
    fn after_a_restart_islands_are_forgotten() {
        let (place, data) = (place(), blob(8, 3_000_000));
        let mut download = begin(&place, 3_000_000);
        download.write_at(2_900_000, &data[2_900_000..]).unwrap();
        download.write_at(0, &data[..400_000]).unwrap();
        drop(download);
        let mut download = take_up(&place).unwrap();
        assert_eq!((download.here(), download.arrived()), (&Ranges::of(0..393_216), 393_216));
        assert_eq!(fs::metadata(data_path(&place)).unwrap().len(), 393_216);
        download.write_at(393_216, &data[393_216..]).unwrap();
        assert_eq!(download.digests(), Some(digests_of(&data)));
        drop(download);
        begin(&place, 3_000_000).write_at(2_900_000, &data[2_900_000..]).unwrap();
        assert!(take_up(&place).is_none());
    }

    #[test]
    fn sha256_is_computed_where_it_is_asked_for() {
        let (place, data) = (place(), blob(9, 300_000));
        let origin = Origin { size: 300_000, modified: STAMP };
        let downloads = place.staging.downloads();
        let mut download = downloads.begin(key(), origin, Shas::Sha1).unwrap();
        download.write_at(0, &data).unwrap();
        assert_eq!(download.digests(), Some(Digests { sha256: None, ..digests_of(&data) }));
        drop(download);
        assert_eq!(take_up(&place).unwrap().digests(), Some(digests_of(&data)));
        let without = downloads.take_up(key(), Shas::Sha1).unwrap().unwrap();
        assert_eq!(without.digests().unwrap().sha256, None);
    }

    #[test]
    fn after_a_restart_what_proves_itself_is_there_and_the_digests_go_on() {
        let (place, data) = (place(), blob(2, 3_000_000));
        for (arrived, kept) in [(3_000_000, 3_000_000), (2_500_000, 2_490_368), (131_071, 0)] {
            begin(&place, 3_000_000).write_at(0, &data[..arrived]).unwrap();
            let Some(mut download) = take_up(&place) else {
                assert_eq!(kept, 0);
                continue;
            };
            assert_eq!(download.origin(), Origin { size: 3_000_000, modified: STAMP });
            assert_eq!(download.arrived(), kept as u64, "of {arrived}");
            download.write_at(kept as u64, &data[kept..]).unwrap();
            assert_eq!(download.digests(), Some(digests_of(&data)));
        }
    }

    #[test]
    fn bytes_that_rotted_meanwhile_are_not_gone_on_with() {
        let (place, data) = (place(), blob(3, 3_000_000));
        begin(&place, 3_000_000).write_at(0, &data[..2_900_000]).unwrap();
        let mut bytes = fs::read(data_path(&place)).unwrap();
        bytes[2_200_000] ^= 1;
        fs::write(data_path(&place), bytes).unwrap();
        let mut download = take_up(&place).unwrap();
        assert_eq!(download.arrived(), 2_097_152);
        download.write_at(2_097_152, &data[2_097_152..]).unwrap();
        assert_eq!(download.digests(), Some(digests_of(&data)));
        drop(download);
        let tree = place.stage(&layout::download_tree(key().0));
        let mut bytes = fs::read(&tree).unwrap();
        bytes[HEADER_BYTES + 7] ^= 1;
        fs::write(&tree, &bytes).unwrap();
        assert_eq!(take_up(&place).unwrap().arrived(), 2_883_584, "the node at the top is complete with the file only");
        bytes[3] ^= 1;
        fs::write(&tree, &bytes).unwrap();
        assert!(take_up(&place).is_none());
    }

    #[test]
    fn a_download_that_is_not_whole_is_never_finished_and_stays() {
        let (place, data) = (place(), blob(4, 400_000));
        let outboards = outboards_in(&place.directory.path().join("state"));
        let mut download = begin(&place, 400_000);
        download.write_at(0, &data[..399_999]).unwrap();
        assert_eq!(download.finish(0, &outboards).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut download = take_up(&place).unwrap();
        let beyond = download.write_at(393_216, &data).unwrap_err();
        assert_eq!(beyond.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn one_file_has_one_download_at_a_time() {
        let place = place();
        let mut first = begin(&place, 200_000);
        first.write_at(0, &blob(5, 150_000)).unwrap();
        let downloads = place.staging.downloads();
        assert_eq!(downloads.take_up(key(), Shas::Both).err().unwrap().kind(), io::ErrorKind::ResourceBusy);
        let origin = Origin { size: 1, modified: None };
        assert_eq!(downloads.begin(key(), origin, Shas::Both).err().unwrap().kind(), io::ErrorKind::ResourceBusy);
        downloads.sweep(&|_| false).unwrap();
        assert_eq!(left(&place), 2, "what somebody has is not swept");
        drop(first);
        assert_eq!(take_up(&place).unwrap().arrived(), 131_072);
    }

    #[test]
    fn beginning_again_leaves_nothing_of_the_old_bytes_and_their_readers_keep_them() {
        let place = place();
        let mut old = begin(&place, 300_000);
        old.write_at(0, &blob(6, 300_000)).unwrap();
        let reader = old.data();
        drop(old);
        let mut new = begin(&place, 200_000);
        assert_eq!(new.arrived(), 0);
        new.write_at(0, b"new").unwrap();
        let mut bytes = vec![0; 300_000];
        reader.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, blob(6, 300_000));
        assert_eq!(fs::read(data_path(&place)).unwrap(), b"new");
    }

    #[test]
    fn discarded_and_unwanted_downloads_leave_nothing() {
        let place = place();
        begin(&place, 10).discard().unwrap();
        assert_eq!(left(&place), 0);
        drop(begin(&place, 10));
        place.staging.downloads().sweep(&|candidate| candidate == key()).unwrap();
        assert_eq!(left(&place), 2);
        place.staging.downloads().sweep(&|_| false).unwrap();
        assert_eq!(left(&place), 0);
    }

    #[test]
    fn the_reserve_is_kept_before_and_during_a_download() {
        let place = place();
        let available = place.staging.space().unwrap().available;
        place.staging.keep_free(available / 2);
        let refused = place.staging.downloads().begin(key(), Origin { size: available, modified: STAMP }, Shas::Both);
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::StorageFull);
        assert_eq!(left(&place), 0);
        let mut download = begin(&place, 40_000_000);
        download.write_at(0, &vec![0; 17 << 20]).unwrap();
        place.staging.keep_free(u64::MAX);
        assert_eq!(download.write_at(17 << 20, b"more").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(place.staging.shortage().unwrap().is_some());
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let origin = Origin { size: 300, modified: Some(-2) };
        let header = origin.encode().unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&header[..8]), "0501ac0201030000");
        assert_eq!(Origin::decode(&header), Some(origin));
        for at in 0..HEADER_BYTES {
            let mut broken = header;
            broken[at] ^= 4;
            assert_eq!(Origin::decode(&broken), None, "byte {at}");
        }
    }
}
