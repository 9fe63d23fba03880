//! A blob that arrives in pieces: sparse bytes in staging and as much of its hash tree as is known.
//!
//! Takes only what a segment proved, in any order and from several streams at once. There is no record
//! of what has arrived: after a restart it is whatever still proves itself. One flight has one partial;
//! never two of one blob in one folder.

use super::{
    disk::{DiskFile, Open, RootId, SharedDisk},
    layout,
    outboards::Outboards,
    room::Room,
    segment::{GroupSink, Hash, TreeNode, pair_offset},
    staging::{Staged, Staging},
    tree::{gaps, outboard_len, pair_to_bytes, proven, tree},
};
use crate::{base::read_at::ReadAt, domain::digest::Root};
use bao_tree::ByteRanges;
use std::{
    collections::BTreeSet,
    io,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How often the room on the disk is looked at, in bytes that arrived.
const CLAIM_EVERY: u64 = 16 << 20;

/// A blob on its way.
pub struct Partial {
    disk: SharedDisk,
    stage: RootId,
    root: Root,
    size: u64,
    data: Arc<dyn DiskFile>,
    /// None for a blob of one group.
    outboard: Option<Arc<dyn DiskFile>>,
    room: Arc<Room>,
    /// What is known to be here: proven on arrival, or by [`Partial::valid_ranges`].
    held: Mutex<ByteRanges>,
    /// How many bytes are here, as far as is known.
    here: AtomicU64,
}

impl Partial {
    /// Creates the partial of a blob, or takes up what an earlier run left of it. Refused with
    /// [`NoRoom`](super::room::NoRoom) where the whole blob would not fit.
    pub fn open(staging: &Staging, root: Root, size: u64) -> io::Result<Self> {
        let (disk, stage) = (staging.disk().clone(), staging.stage_root());
        let (path, room) = (layout::partial_data(root), staging.room().clone());
        // What is there already takes up an unknown part of its room.
        room.claim(if disk.stat(stage.at(&path)).is_ok() { 0 } else { size })?;
        let data = room.note(size, disk.open(stage.at(&path), Open::Create))?;
        if data.stat()?.size != size {
            data.set_len(size)?;
        }
        let outboard = match outboard_len(size) {
            0 => None,
            _ => Some(disk.open(stage.at(&layout::partial_outboard(root)), Open::Create)?),
        };
        Ok(Self {
            disk,
            stage,
            root,
            size,
            data,
            outboard,
            room,
            held: Mutex::new(ByteRanges::empty()),
            here: AtomicU64::new(0),
        })
    }

    /// The blob that this will be.
    pub fn root(&self) -> Root {
        self.root
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The bytes, for readers of what has arrived; elsewhere are zeros. Stays good after publishing.
    pub fn data(&self) -> Arc<dyn ReadAt> {
        self.data.clone()
    }

    /// The hash tree, as far as it has arrived; none for a blob of one group.
    pub fn outboard(&self) -> Option<Arc<dyn ReadAt>> {
        self.outboard.clone().map(|outboard| outboard as Arc<dyn ReadAt>)
    }

    /// What proves itself, in order. Reads and hashes all of it: meant for the start of a flight.
    pub fn valid_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        let outboard: &dyn ReadAt = match &self.outboard {
            Some(outboard) => &**outboard,
            None => &Vec::new(),
        };
        let mut valid = proven(&*self.data, outboard, self.root, self.size)?;
        valid.retain(|range| !range.is_empty());
        valid.iter().for_each(|range| self.hold(range.clone()));
        self.here.store(valid.iter().map(|range| range.end - range.start).sum(), Relaxed);
        Ok(valid)
    }

    /// What is still to be fetched, in whole groups and in order. As costly as [`Partial::valid_ranges`].
    pub fn missing_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        Ok(gaps(&self.valid_ranges()?, self.size))
    }

    /// Hands the whole blob over for publishing, with its modification time in seconds since 1970 UTC,
    /// and its hash tree to `outboards`. Not synced. `InvalidData` if it is not whole: then what is here
    /// stays for the next flight. Until it is published or discarded, a restart finds it whole again.
    pub fn finish(self, modified: i64, outboards: &Outboards) -> io::Result<Staged> {
        if !self.is_whole()? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is not whole"));
        }
        if let Some(outboard) = &self.outboard {
            outboards.write(self.root, self.size, &**outboard)?;
        }
        self.data.set_modified(modified)?;
        let companion = self.outboard.is_some().then(|| layout::partial_outboard(self.root));
        Ok(Staged { path: layout::partial_data(self.root), size: self.size, companion, stat: None })
    }

    /// Removes everything that has arrived.
    pub fn discard(self) -> io::Result<()> {
        self.disk.remove(self.stage.at(&layout::partial_data(self.root)))?;
        if self.outboard.is_some() {
            self.disk.remove(self.stage.at(&layout::partial_outboard(self.root)))?;
        }
        Ok(())
    }

    fn is_whole(&self) -> io::Result<bool> {
        if self.size == 0 {
            return Ok(self.root == blake3::hash(b"").into());
        }
        let all = ByteRanges::from(0..self.size);
        let known = self.held.lock().unwrap_or_else(PoisonError::into_inner).is_superset(&all);
        Ok(known || self.missing_ranges()?.is_empty())
    }

    /// Others take up room too: now and then it is looked whether the rest still fits.
    fn claim(&self, bytes: u64) -> io::Result<()> {
        let before = self.here.fetch_add(bytes, Relaxed);
        if before / CLAIM_EVERY == (before + bytes) / CLAIM_EVERY {
            return Ok(());
        }
        self.room.claim(self.size.saturating_sub(before))
    }

    fn hold(&self, range: Range<u64>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).union_with(&ByteRanges::from(range));
    }
}

/// Each stream writes through a reference of its own.
impl GroupSink for &Partial {
    fn pair(&mut self, node: TreeNode, pair: &(Hash, Hash)) -> io::Result<()> {
        let Some(outboard) = &self.outboard else { return Err(io::ErrorKind::InvalidInput.into()) };
        outboard.write_all_at(&pair_to_bytes(pair), pair_offset(tree(self.size), node)?)
    }

    fn group(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.claim(bytes.len() as u64)?;
        self.room.note(self.size, self.data.write_all_at(bytes, offset))?;
        self.hold(offset..offset.saturating_add(bytes.len() as u64));
        Ok(())
    }
}

/// The blobs of which something lies in partials.
pub fn partial_roots(staging: &Staging) -> io::Result<BTreeSet<Root>> {
    let mut roots = BTreeSet::new();
    let place = staging.stage_root().at(layout::PARTIALS);
    staging.disk().list(place, &mut |name, _| roots.extend(layout::partial_root(name)))?;
    Ok(roots)
}

/// Removes every partial that `keep` does not want.
pub fn sweep_partials(staging: &Staging, keep: &dyn Fn(Root) -> bool) -> io::Result<()> {
    let (disk, stage) = (staging.disk(), staging.stage_root());
    let mut left = Vec::new();
    disk.list(stage.at(layout::PARTIALS), &mut |name, _| {
        let unwanted = layout::partial_root(name).is_some_and(|root| !keep(root));
        left.extend(std::str::from_utf8(name).ok().filter(|_| unwanted).map(str::to_owned));
    })?;
    left.iter().try_for_each(|name| staging.remove_if_there(&format!("{}/{name}", layout::PARTIALS)))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use super::*;
    use crate::store::{
        disk::Replace,
        outboards::tests::outboards_in,
        segment::{SegmentDecoder, SegmentEncoder},
        staging::tests::{Place, name, place},
        tree::tests::{blob, outboard_of},
    };
    use std::fs;

    const SIZE: u64 = 500_000;

    fn fetch(partial: &Partial, data: &[u8], range: Range<u64>) {
        let outboard: Arc<dyn ReadAt> = Arc::new(outboard_of(data).0);
        let mut encoder =
            SegmentEncoder::new(data.len() as u64, range.clone(), Arc::new(data.to_vec()), Some(outboard));
        let mut decoder = SegmentDecoder::new(partial.root(), partial.size(), range);
        let mut sink = partial;
        while let Some(batch) = encoder.next_batch(50_000).unwrap() {
            decoder.feed(&batch, &mut sink).unwrap();
        }
        assert!(decoder.is_done());
    }

    fn partial_of(place: &Place, data: &[u8]) -> Partial {
        Partial::open(&place.staging, blake3::hash(data).into(), data.len() as u64).unwrap()
    }

    fn partials(place: &Place) -> usize {
        fs::read_dir(place.stage("partials")).unwrap().count()
    }

    #[test]
    fn a_partial_resumes_from_what_proves_itself() {
        let (place, data) = (place(), blob(1, SIZE as usize));
        fetch(&partial_of(&place, &data), &data, 100_000..200_000);
        let partial = partial_of(&place, &data);
        assert_eq!(partial.valid_ranges().unwrap(), [65_536..262_144]);
        assert_eq!(partial.missing_ranges().unwrap(), [0..65_536, 262_144..SIZE]);
        for range in partial.missing_ranges().unwrap() {
            fetch(&partial, &data, range);
        }
        assert_eq!(partial.missing_ranges().unwrap(), []);
    }

    #[test]
    fn bytes_that_rotted_in_a_partial_are_fetched_again() {
        let (place, data) = (place(), blob(2, SIZE as usize));
        let partial = partial_of(&place, &data);
        fetch(&partial, &data, 0..SIZE);
        let path = place.stage(&layout::partial_data(partial.root()));
        let mut bytes = fs::read(&path).unwrap();
        bytes[70_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(partial.missing_ranges().unwrap(), [65_536..131_072]);
    }

    #[test]
    fn a_whole_partial_is_published_and_its_outboard_kept() {
        let (place, data) = (place(), blob(3, SIZE as usize));
        let outboards = outboards_in(&place.directory.path().join("state"));
        let partial = partial_of(&place, &data);
        fetch(&partial, &data, 0..SIZE);
        let staged = partial.finish(1_600_000_000, &outboards).unwrap();
        // A restart in between loses nothing.
        assert_eq!(partial_of(&place, &data).missing_ranges().unwrap(), []);
        place.staging.sync_staged(&[&staged]).unwrap();
        let stat = place.staging.publish(&staged, &name("f"), Replace::Yes).unwrap();
        assert_eq!(stat.modified_ns, 1_600_000_000_000_000_000);
        assert_eq!(fs::read(place.folder("f")).unwrap(), data);
        assert_eq!(partials(&place), 0);
        assert!(outboards.read(blake3::hash(&data).into(), SIZE).unwrap().is_some());
    }

    #[test]
    fn a_partial_with_a_hole_is_never_finished() {
        let (place, data) = (place(), blob(4, SIZE as usize));
        let outboards = outboards_in(&place.directory.path().join("state"));
        let partial = partial_of(&place, &data);
        fetch(&partial, &data, 0..400_000);
        let refused = partial.finish(0, &outboards).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        assert_eq!(partial_of(&place, &data).missing_ranges().unwrap(), [458_752..SIZE]);
    }

    #[test]
    fn several_streams_write_one_partial() {
        let (place, data) = (place(), blob(5, SIZE as usize));
        let partial = partial_of(&place, &data);
        std::thread::scope(|scope| {
            for at in (0..SIZE).step_by(65_536) {
                let (partial, data) = (&partial, &data);
                scope.spawn(move || fetch(partial, data, at..at + 1));
            }
        });
        let outboards = outboards_in(&place.directory.path().join("state"));
        partial.finish(0, &outboards).unwrap();
    }

    #[test]
    fn a_partial_that_would_not_fit_is_refused_and_one_that_was_begun_goes_on() {
        let (place, data) = (place(), blob(10, SIZE as usize));
        partial_of(&place, &data);
        place.staging.keep_free(place.staging.space().unwrap().available / 2);
        let other = Partial::open(&place.staging, Root([9; 32]), place.staging.space().unwrap().available);
        assert_eq!(other.err().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(place.staging.shortage().unwrap().is_some());
        fetch(&partial_of(&place, &data), &data, 0..SIZE);
    }

    #[test]
    fn the_reserve_is_kept_while_a_partial_grows() {
        let place = place();
        let partial = Partial::open(&place.staging, Root([9; 32]), 40_000_000).unwrap();
        let (mut sink, group) = (&partial, vec![1; 65_536]);
        (0..255).for_each(|n| sink.group(n * 65_536, &group).unwrap());
        place.staging.keep_free(u64::MAX);
        assert_eq!(sink.group(255 * 65_536, &group).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(place.staging.shortage().unwrap().is_some());
    }

    #[test]
    fn blobs_of_one_group_and_of_nothing_need_no_outboard() {
        let place = place();
        let outboards = outboards_in(&place.directory.path().join("state"));
        for size in [0, 1, 65_536] {
            let data = blob(6, size);
            let partial = partial_of(&place, &data);
            fetch(&partial, &data, 0..size as u64);
            let staged = partial.finish(0, &outboards).unwrap();
            place.staging.publish(&staged, &name("f"), Replace::Yes).unwrap();
            assert_eq!(fs::read(place.folder("f")).unwrap(), data);
        }
        let wrong = Partial::open(&place.staging, Root([1; 32]), 0).unwrap();
        assert!(wrong.finish(0, &outboards).is_err());
    }

    #[test]
    fn discarded_and_unwanted_partials_leave_nothing() {
        let place = place();
        let (kept, swept, discarded) = (blob(7, 100_000), blob(8, 100_000), blob(9, 100_000));
        for data in [&kept, &swept] {
            partial_of(&place, data);
        }
        partial_of(&place, &discarded).discard().unwrap();
        assert_eq!(partials(&place), 4);
        let root = blake3::hash(&kept).into();
        assert_eq!(partial_roots(&place.staging).unwrap(), [root, blake3::hash(&swept).into()].into());
        sweep_partials(&place.staging, &|candidate| candidate == root).unwrap();
        assert_eq!(partials(&place), 2);
        assert!(place.stage(&layout::partial_data(root)).exists());
    }
}
