//! Content arrives at a secondary: verified bytes in staging take their names.

use super::{
    attention::Alarm,
    error::RepositoryError,
    find::holds,
    open::{Folder, Repository},
};
use crate::{
    catalog::{HoldingRecord, Index, MissingRecord},
    domain::{
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::{
        disk::{Replace, Stat},
        staging::{Staged, Staging},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// The alarm about arrivals that can't be published; it ends when some are.
pub const PUBLISHING: Alarm = Alarm::Failing("publishing arrivals");

/// Verified bytes in staging that are to take a name.
#[derive(Clone)]
pub struct Arrival {
    /// The folder.
    pub folder: FolderName,
    /// The name.
    pub name: FileName,
    /// What the index wanted when the bytes were asked for.
    pub wanted: MissingRecord,
    /// The bytes.
    pub staged: Staged,
}

impl Repository {
    /// At most `most` missing files of a folder after a name.
    pub fn missing_after(
        &self,
        folder: &FolderName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<(FileName, MissingRecord)>, RepositoryError> {
        Ok(self.state.index.read()?.missing_after(folder, after, most)?)
    }

    /// Whether any content is held under a name, the wanted one or an older one.
    pub fn holds_any(&self, folder: &FolderName, name: &FileName) -> Result<bool, RepositoryError> {
        Ok(self.state.index.read()?.holding(folder, name)?.is_some())
    }

    /// Whether the index still wants this content under this name.
    pub fn is_wanted(
        &self,
        folder: &FolderName,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<bool, RepositoryError> {
        Ok(self.state.index.read()?.missing(folder, name)? == Some(*wanted))
    }

    /// The staging of a folder, where arriving bytes are put.
    pub fn staging(&self, folder: &FolderName) -> Result<&Staging, RepositoryError> {
        let open = self.folder(folder)?;
        self.judge_room(open);
        Ok(&open.staging)
    }

    /// Gives arrived bytes their names: sync, rename, sync the directories, commit; until then hosts get what
    /// mutable names had. One that the index wants no longer is dropped; one that fails is dropped too, the others
    /// still arrive, and the failure is the answer.
    pub fn receive(&self, arrivals: Vec<Arrival>) -> Result<(), RepositoryError> {
        let mut by_folder: BTreeMap<FolderName, Vec<Arrival>> = BTreeMap::new();
        for arrival in arrivals {
            by_folder.entry(arrival.folder.clone()).or_default().push(arrival);
        }
        by_folder.into_iter().try_for_each(|(folder, arrivals)| self.receive_into(&folder, arrivals))?;
        self.attention.clear(&PUBLISHING);
        Ok(())
    }

    fn receive_into(&self, folder: &FolderName, arrivals: Vec<Arrival>) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let staged: Vec<&Staged> = arrivals.iter().map(|arrival| &arrival.staged).collect();
        let unsynced = |source| RepositoryError::Unsynced { folder: folder.clone(), source };
        open.staging.sync_staged(&staged).map_err(unsynced)?;
        let writer = self.writer();
        let wanted = self.drop_unwanted(open, arrivals)?;
        let mutable = wanted.iter().map(|arrival| &arrival.name).filter(|name| !name.is_immutable());
        let _frozen = self.freeze(folder, mutable)?;
        let replaced = self.forget_replaced(open, &wanted)?;
        let mut published: Vec<(FileName, MissingRecord, Stat)> = Vec::with_capacity(wanted.len());
        let mut failed = None;
        for arrival in &wanted {
            open.own.expect(&arrival.name, self.clock.monotonic());
            match self.publish_staged(open, &arrival.staged, &arrival.name, replaced.contains(&arrival.name)) {
                Ok(stat) => published.push((arrival.name.clone(), arrival.wanted, stat)),
                Err(error) => {
                    open.own.withdraw(&arrival.name);
                    open.staging.discard(&arrival.staged).map_err(RepositoryError::io("discarding", &arrival.name))?;
                    failed = Some(error);
                }
            }
        }
        open.staging
            .sync_published(published.iter().map(|(name, ..)| name))
            .map_err(RepositoryError::io("syncing directories of", folder))?;
        commit_arrivals(&self.state.index, folder, &published)?;
        drop(writer);
        self.note_change();
        failed.map_or(Ok(()), Err)
    }

    fn drop_unwanted(&self, open: &Folder, arrivals: Vec<Arrival>) -> Result<Vec<Arrival>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut wanted = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            if snapshot.missing(&open.name, &arrival.name)? == Some(arrival.wanted) {
                wanted.push(arrival);
            } else {
                open.staging.discard(&arrival.staged).map_err(RepositoryError::io("discarding", &arrival.name))?;
            }
        }
        Ok(wanted)
    }

    /// The row goes first, then the bytes: a name that is about to get other bytes holds nothing.
    /// Answers with the names whose bytes are what was verified, and may simply be replaced.
    fn forget_replaced(&self, open: &Folder, wanted: &[Arrival]) -> Result<BTreeSet<FileName>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let (mut held, mut verified) = (Vec::new(), BTreeSet::new());
        for Arrival { name, .. } in wanted {
            let Some(holding) = snapshot.holding(&open.name, name)? else { continue };
            held.push(name);
            if open.stat_file(name)?.is_some_and(|stat| holds(&stat, &holding)) {
                verified.insert(name.clone());
            }
        }
        if !held.is_empty() {
            let forget = |name: &&FileName| (*name).clone();
            self.state.index.write(|batch| {
                held.iter().map(forget).try_for_each(|name| batch.files.remove_holding(&open.name, &name).map(drop))
            })?;
        }
        Ok(verified)
    }

    /// A version that was verified here is replaced; a file that nobody verified goes to the trash first.
    pub(super) fn publish_staged(
        &self,
        open: &Folder,
        staged: &Staged,
        name: &FileName,
        replaces: bool,
    ) -> Result<Stat, RepositoryError> {
        let publish = |replace| open.staging.publish(staged, name, replace);
        let published = match publish(if replaces { Replace::Yes } else { Replace::No }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open.staging.trash(name, self.clock.unix_seconds()).and_then(|_| publish(Replace::No))
            }
            other => other,
        };
        published.map_err(RepositoryError::io("publishing", name))
    }
}

/// The rows of files that are whole and durable under their names.
pub(super) fn commit_arrivals(
    index: &Index,
    folder: &FolderName,
    published: &[(FileName, MissingRecord, Stat)],
) -> Result<(), RepositoryError> {
    index.write(|batch| {
        for (name, wanted, stat) in published {
            let listed = match batch.files.set_missing(folder, name, None)? {
                // What is missing is missing because the index names it.
                Some(missing) if missing == *wanted => true,
                missing => {
                    if let Some(other) = missing {
                        batch.files.set_missing(folder, name, Some(&other))?;
                    }
                    let entry = batch.entries.get(&Namespace::folder(folder), name.as_str().as_bytes())?;
                    entry.is_some_and(|body| Body::value_of(&body).is_some())
                }
            };
            let (root, size) = (wanted.root, wanted.size);
            let holding = HoldingRecord { root, size, modified_ns: stat.modified_ns, inode: stat.inode, listed };
            batch.files.put_holding(folder, name, &holding)?;
        }
        Ok::<_, RepositoryError>(())
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, fetch, folder, follow, is_held, is_missing, name, root_of};
    use super::*;
    use crate::repository::Alarm;
    use std::fs;

    fn pair(files: &[&str]) -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        files.iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, files).unwrap();
        follow(&main, &child).unwrap();
        (place, main, below, child)
    }

    #[test]
    fn a_file_that_is_replaced_is_answered_without_a_gap() {
        let (place, main, _below, child) = pair(&["f", "g"]);
        fetch(&main, &child).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut asked = 0;
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    for text in ["f", "g"] {
                        let found = child.find(&folder(), &name(text)).unwrap();
                        assert!(matches!(found, crate::repository::Found::Held { .. }), "{text}");
                    }
                    asked += 1;
                }
                asked
            });
            for n in 0..20 {
                for text in ["f", "g"] {
                    place.write_at(text, format!("{text}{n}").as_bytes(), super::super::testing::OLD + n);
                }
                adopt(&main, &["f", "g"]).unwrap();
                follow(&main, &child).unwrap();
                fetch(&main, &child).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
            assert!(asking.join().unwrap() > 10);
        });
    }

    fn arrival(child: &Repository, text: &str, bytes: &[u8]) -> Arrival {
        let wanted = MissingRecord { root: root_of(bytes), size: bytes.len() as u64, modified: 1_700_000_000 };
        let staged = child.staging(&folder()).unwrap().stage_bytes(bytes, wanted.modified).unwrap();
        Arrival { folder: folder(), name: name(text), wanted, staged }
    }

    fn staged_files(place: &Place) -> usize {
        fs::read_dir(place.stage("incoming")).unwrap().count()
    }

    #[test]
    fn what_arrives_is_held_and_no_longer_missing() {
        let (_place, _main, below, child) = pair(&["a", "sub/b"]);
        child.receive(vec![arrival(&child, "a", b"a"), arrival(&child, "sub/b", b"sub/b")]).unwrap();
        assert_eq!(below.read("sub/b").unwrap(), b"sub/b");
        assert!(is_held(&child, "a") && is_held(&child, "sub/b"));
        assert!(child.missing_after(&folder(), None, 9).unwrap().is_empty());
    }

    #[test]
    fn what_is_wanted_no_longer_is_dropped() {
        let (_place, _main, below, child) = pair(&["a"]);
        child.receive(vec![arrival(&child, "a", b"other"), arrival(&child, "unknown", b"u")]).unwrap();
        assert_eq!((below.read("a"), below.read("unknown"), staged_files(&below)), (None, None, 0));
        assert!(is_missing(&child, "a") && !is_held(&child, "unknown"));
    }

    #[test]
    fn a_file_that_nobody_verified_goes_to_the_trash_first() {
        let (_place, _main, below, child) = pair(&["a"]);
        below.write("a", b"in the way");
        child.receive(vec![arrival(&child, "a", b"a")]).unwrap();
        assert_eq!(below.read("a").unwrap(), b"a");
        assert_eq!(below.trashed(), [b"in the way"]);
    }

    #[test]
    fn a_verified_version_is_swapped_and_an_edited_one_goes_to_the_trash() {
        for edited in [false, true] {
            let (place, main, below, child) = pair(&["a"]);
            fetch(&main, &child).unwrap();
            if edited {
                below.write("a", b"edited");
            }
            place.write("a", b"newer");
            adopt(&main, &["a"]).unwrap();
            follow(&main, &child).unwrap();
            fetch(&main, &child).unwrap();
            assert_eq!(below.read("a").unwrap(), b"newer");
            assert_eq!(below.trashed().len(), usize::from(edited));
            assert!(is_held(&child, "a"));
        }
    }

    #[test]
    fn one_that_fails_is_dropped_and_the_others_arrive() {
        let (_place, _main, below, child) = pair(&["sub/a", "b"]);
        below.write("sub", b"a file where a directory should be");
        let failed = child.receive(vec![arrival(&child, "sub/a", b"sub/a"), arrival(&child, "b", b"b")]);
        assert!(matches!(failed, Err(RepositoryError::Io { .. })), "{failed:?}");
        assert!(is_held(&child, "b") && is_missing(&child, "sub/a"));
        let own = child.folders.values().map(|folder| folder.own.names()).next().unwrap();
        assert_eq!(own, ["b".to_owned()].into(), "what took its name comes as this node's own");
        assert_eq!(staged_files(&below), 0);
    }

    #[test]
    fn a_full_disk_is_an_alarm_until_there_is_room() {
        let (_place, _main, _below, child) = pair(&["a"]);
        let staging = child.staging(&folder()).unwrap();
        staging.keep_free(u64::MAX);
        let refused = staging.stage_bytes(b"a", 0).map_err(RepositoryError::io("staging", "a"));
        assert!(matches!(refused, Err(RepositoryError::NoRoom { .. })));
        child.judge_rooms();
        assert!(child.attention.stands(&Alarm::DiskFull(folder())));
        staging.keep_free(0);
        child.judge_rooms();
        assert!(!child.attention.stands(&Alarm::DiskFull(folder())));
    }
}
