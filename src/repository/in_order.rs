//! A secondary gives files that speak of each other their names in order: packages, then their list, then what
//! the list before named goes; an edition and its sidecar at once.
//!
//! Order of events: what arrived out of order waits in staging, under no name; each time something arrived, and
//! after each pass over what is missing, what may takes its name. A file that the index names no longer, and the
//! list here does, stays as it is (`leaving`, over a power cut) until another list is here. What waited when the
//! daemon ended is fetched again, or found whole in its partial.

use super::{
    attention::{Alarm, lock},
    error::RepositoryError,
    find::holds,
    follow::Change,
    open::{Folder, Repository},
    order::{self, Half, Part},
    receive::Arrival,
};
use crate::{
    catalog::{MissingRecord, Snapshot},
    domain::{
        digest::{Root, Sha1},
        edition::{CABINET, SIDECAR},
        member::Role,
        name::{FileName, FolderName},
        state::{Body, Namespace},
    },
    store::{disk::DiskFile, hash::hash_file},
    wapt::packages,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

/// Most bytes of a sidecar that are looked at.
const SIDECAR_BYTES: u64 = 1 << 10;

/// What has arrived and may not take its name yet.
#[derive(Default)]
pub(super) struct Waiting {
    arrivals: BTreeMap<(FolderName, FileName), (Arrival, Instant)>,
    /// The digest of the cabinet that was hashed last.
    hashed: Option<(Root, Sha1)>,
}

/// How a missing file may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// However it likes.
    Any,
    /// By a transfer: if it lies here already, its name would come too early.
    Fetched,
    /// It is here, and waits for others.
    Waits,
}

impl Repository {
    /// Whether lists of packages are kept in order: on a node that fetches what they name before anybody asks.
    pub fn keep_lists_in_order(&self, keeps: bool) {
        self.keeps_lists.store(keeps, Ordering::Relaxed);
    }

    /// Whether a file has no name before others have theirs, so that nobody may bring it by itself.
    pub fn comes_in_order(&self, folder: &FolderName, name: &FileName) -> Result<bool, RepositoryError> {
        match self.part_of(name) {
            Part::Alone => Ok(false),
            Part::List => Ok(true),
            Part::Edition => self.holds_half(&*self.state.index.read()?, folder),
        }
    }

    /// How a missing file may come.
    pub fn turn(&self, folder: &FolderName, name: &FileName, wanted: &MissingRecord) -> Result<Turn, RepositoryError> {
        let part = self.part_of(name);
        if part == Part::Alone {
            return Ok(Turn::Any);
        }
        let waiting = lock(&self.waiting);
        let known = waiting.arrivals.get(&(folder.clone(), name.clone()));
        if known.is_some_and(|(arrival, _)| arrival.wanted == *wanted) {
            return Ok(Turn::Waits);
        }
        let snapshot = self.state.index.read()?;
        // A half that was seeded by hand has its name already: it is dated, and nothing changes for hosts.
        let is_there =
            || Ok::<_, RepositoryError>(snapshot.holding(folder, name)?.is_some_and(|held| held.root == wanted.root));
        let any = part == Part::Edition && (!self.holds_half(&snapshot, folder)? || is_there()?);
        Ok(if any { Turn::Any } else { Turn::Fetched })
    }

    /// As [`Repository::receive`], in order. Answers with what has to wait for others.
    pub fn receive_in_order(
        &self,
        arrivals: Vec<Arrival>,
    ) -> Result<BTreeSet<(FolderName, FileName)>, RepositoryError> {
        let is_alone = |arrival: &Arrival| self.part_of(&arrival.name) == Part::Alone;
        let (alone, ordered): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(is_alone);
        self.receive(alone)?;
        let mut names = BTreeSet::new();
        for arrival in ordered {
            let key = (arrival.folder.clone(), arrival.name.clone());
            names.insert(key.clone());
            let now = self.clock.monotonic();
            let before = lock(&self.waiting).arrivals.insert(key, (arrival.clone(), now));
            if let Some((before, _)) = before.filter(|(before, _)| before.staged != arrival.staged) {
                self.discard(&before)?;
            }
        }
        self.enter_waiting()?;
        let waiting = lock(&self.waiting);
        names.retain(|key| waiting.arrivals.contains_key(key));
        Ok(names)
    }

    /// Gives what waits its names, as far as its turn has come; what was to leave leaves.
    pub fn enter_waiting(&self) -> Result<(), RepositoryError> {
        let mut waiting = lock(&self.waiting);
        if !waiting.arrivals.is_empty() {
            self.drop_stale(&mut waiting)?;
            for open in self.folders.values() {
                self.enter_edition(open, &mut waiting)?;
                self.enter_list(open, &mut waiting)?;
            }
        }
        self.let_leave()
    }

    fn part_of(&self, name: &FileName) -> Part {
        match order::part_of(name) {
            _ if self.role != Role::Secondary => Part::Alone,
            Part::List if !self.keeps_lists.load(Ordering::Relaxed) => Part::Alone,
            part => part,
        }
    }

    fn holds_half(&self, snapshot: &Snapshot, folder: &FolderName) -> Result<bool, RepositoryError> {
        for half in [CABINET, SIDECAR].into_iter().filter_map(|half| FileName::new(half).ok()) {
            if snapshot.holding(folder, &half)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the index wants no longer.
    fn drop_stale(&self, waiting: &mut Waiting) -> Result<(), RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut stale = Vec::new();
        for (key, (arrival, _)) in &waiting.arrivals {
            if snapshot.missing(&arrival.folder, &arrival.name)? != Some(arrival.wanted) {
                stale.push(key.clone());
            }
        }
        let stale: Vec<_> = stale.iter().filter_map(|key| waiting.arrivals.remove(key)).collect();
        stale.iter().try_for_each(|(arrival, _)| self.discard(arrival))
    }

    fn discard(&self, arrival: &Arrival) -> Result<(), RepositoryError> {
        let staging = &self.folder(&arrival.folder)?.staging;
        staging.discard(&arrival.staged).map_err(RepositoryError::io("discarding", &arrival.name))
    }

    /// What waits takes its name; what could not be synced is dropped.
    fn take_names(&self, arrivals: Vec<Arrival>) -> Result<(), RepositoryError> {
        let received = self.receive(arrivals.clone());
        if let Err(RepositoryError::Unsynced { .. }) = &received {
            arrivals.iter().try_for_each(|arrival| self.discard(arrival))?;
        }
        received
    }

    fn enter_edition(&self, open: &Folder, waiting: &mut Waiting) -> Result<(), RepositoryError> {
        let (Ok(cab), Ok(sidecar)) = (FileName::new(CABINET), FileName::new(SIDECAR)) else { return Ok(()) };
        let keys = [cab, sidecar].map(|name| (open.name.clone(), name));
        let since = keys.iter().filter_map(|key| waiting.arrivals.get(key)).map(|(_, since)| *since).min();
        let Some(since) = since else { return Ok(()) };
        let snapshot = self.state.index.read()?;
        let mut halves = [Half::Unnamed; 2];
        for (half, key) in halves.iter_mut().zip(&keys) {
            *half = self.half(&snapshot, waiting, key)?;
        }
        let waited = self.clock.monotonic().saturating_duration_since(since);
        if order::pair_changes(halves, waited, || self.fits(open, waiting, &keys))? {
            let arrivals = keys.iter().filter_map(|key| waiting.arrivals.remove(key)).map(|(arrival, _)| arrival);
            // Hosts get the pair before until both are there.
            let _frozen = self.freeze(&open.name, keys.iter().map(|(_, name)| name))?;
            self.take_names(arrivals.collect())?;
        }
        Ok(())
    }

    fn half(
        &self,
        snapshot: &Snapshot,
        waiting: &Waiting,
        key: &(FolderName, FileName),
    ) -> Result<Half, RepositoryError> {
        if waiting.arrivals.contains_key(key) {
            return Ok(Half::Arrived);
        }
        let (folder, name) = key;
        Ok(match (snapshot.missing(folder, name)?, snapshot.holding(folder, name)?) {
            (Some(_), _) => Half::Coming,
            (None, Some(_)) => Half::Held,
            (None, None) => Half::Unnamed,
        })
    }

    /// Whether the sidecar that would be beside the cabinet tells its SHA-1.
    fn fits(
        &self,
        open: &Folder,
        waiting: &mut Waiting,
        [cab, sidecar]: &[(FolderName, FileName); 2],
    ) -> Result<bool, RepositoryError> {
        let (bytes, root) = self.content(open, waiting, cab)?;
        let sha1 = match waiting.hashed.filter(|(of, _)| Some(*of) == root) {
            Some((_, sha1)) => Some(sha1),
            None => {
                let size = bytes.stat().and_then(|stat| hash_file(bytes.as_ref(), stat.size, true, None, &mut |_| {}));
                size.map_err(RepositoryError::io("hashing", &cab.1))?.sha1
            }
        };
        waiting.hashed = root.zip(sha1);
        let (bytes, _) = self.content(open, waiting, sidecar)?;
        let text = read(bytes.as_ref(), SIDECAR_BYTES).map_err(RepositoryError::io("reading", &sidecar.1))?;
        Ok(sha1.is_some_and(|sha1| order::tells(&text, &sha1.to_string())))
    }

    /// What has arrived under a name, else what is held, and its root.
    fn content(
        &self,
        open: &Folder,
        waiting: &Waiting,
        key: &(FolderName, FileName),
    ) -> Result<(Arc<dyn DiskFile>, Option<Root>), RepositoryError> {
        let opening = RepositoryError::io("opening", &key.1);
        match waiting.arrivals.get(key) {
            Some((arrival, _)) => {
                Ok((open.staging.open_staged(&arrival.staged).map_err(opening)?, Some(arrival.wanted.root)))
            }
            None => {
                let holding = self.state.index.read()?.holding(&key.0, &key.1)?;
                Ok((open.staging.open_file(&key.1).map_err(opening)?, holding.map(|holding| holding.root)))
            }
        }
    }

    fn enter_list(&self, open: &Folder, waiting: &mut Waiting) -> Result<(), RepositoryError> {
        let Ok(list) = FileName::new(packages::LIST) else { return Ok(()) };
        let key = (open.name.clone(), list);
        let Some((arrival, _)) = waiting.arrivals.get(&key) else { return Ok(()) };
        let file = open.staging.open_staged(&arrival.staged);
        let bytes = file.and_then(|file| read(file.as_ref(), u64::MAX));
        let bytes = bytes.map_err(RepositoryError::io("reading", &key.1))?;
        if let Some(lacking) = self.lacking(open, &key.1, &bytes)? {
            tracing::debug!(folder = %open.name, %lacking, "a list of packages waits");
            return Ok(());
        }
        let arrival = waiting.arrivals.remove(&key).map(|(arrival, _)| arrival);
        let _frozen = self.freeze(&open.name, std::iter::once(&key.1))?;
        self.take_names(arrival.into_iter().collect())
    }

    /// The first file that a list waits for: one that it names, or, where it can't be read, any that is missing.
    fn lacking(&self, open: &Folder, list: &FileName, bytes: &[u8]) -> Result<Option<String>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let alarm = Alarm::ListAhead(open.name.clone());
        let named = match packages::named_files(bytes) {
            Ok(named) => named,
            Err(error) => {
                tracing::warn!(folder = %open.name, error = &error as &dyn std::error::Error, "a list of packages can't be read: it comes after everything else");
                let others = snapshot.missing_after(&open.name, None, 2)?.into_iter();
                return Ok(others.map(|(name, _)| name).find(|name| name != list).map(|name| name.to_string()));
            }
        };
        let is_here = |text: &str| match FileName::new(text) {
            Ok(name) => {
                let held = snapshot.holding(&open.name, &name)?.is_some();
                Ok::<_, RepositoryError>(held && snapshot.missing(&open.name, &name)?.is_none())
            }
            Err(_) => Ok(false),
        };
        let lacking = order::first_lacking(&named, is_here)?.cloned();
        // It is on its way, or nobody has it.
        let comes = match lacking.as_deref().map(FileName::new) {
            Some(Ok(name)) => snapshot.missing(&open.name, &name)?.is_some(),
            Some(Err(_)) => false,
            None => true,
        };
        match &lacking {
            Some(name) if !comes => self.attention.raise(
                alarm,
                format!(
                    "the main's {list} of folder {} names {name}, which the main does not have: the one before stays",
                    open.name
                ),
                "on the main, put the file back, or have WAPT write its list anew (`wapt-scanpackages`)",
            ),
            _ => self.attention.clear(&alarm),
        }
        Ok(lacking)
    }

    /// The files of changed folders that lists here name, and that therefore stay for now.
    pub(super) fn named_here(
        &self,
        changes: &[Change],
    ) -> Result<BTreeMap<FolderName, BTreeSet<String>>, RepositoryError> {
        let mut named = BTreeMap::new();
        for open in self.folders.values() {
            let Ok(list) = FileName::new(packages::LIST) else { continue };
            let is_removal =
                |change: &Change| change.body.as_deref().is_some_and(|body| Body::value_of(body).is_none());
            let namespace = Namespace::folder(&open.name);
            let of_it = |change: &&Change| change.namespace == namespace;
            let mut removed = changes.iter().filter(of_it).filter(|change| is_removal(change)).peekable();
            if self.part_of(&list) != Part::List || removed.peek().is_none() {
                continue;
            }
            // A list that goes names nothing.
            if removed.all(|change| change.key != list.as_str().as_bytes()) {
                named.insert(open.name.clone(), self.named_by_list(open)?);
            }
        }
        Ok(named)
    }

    /// What the list that is held names; nothing where there is none, or one that can't be read.
    fn named_by_list(&self, open: &Folder) -> Result<BTreeSet<String>, RepositoryError> {
        let Ok(list) = FileName::new(packages::LIST) else { return Ok(BTreeSet::new()) };
        let Some(holding) = self.state.index.read()?.holding(&open.name, &list)? else { return Ok(BTreeSet::new()) };
        let Ok(file) = open.staging.open_file(&list) else { return Ok(BTreeSet::new()) };
        let reading = RepositoryError::io("reading", &list);
        let bytes = match file.stat() {
            Ok(stat) if holds(&stat, &holding) => read(file.as_ref(), u64::MAX).map_err(reading)?,
            _ => return Ok(BTreeSet::new()),
        };
        Ok(packages::named_files(&bytes).unwrap_or_default())
    }

    /// What was to leave and is named no longer loses its row, and then goes to the trash.
    fn let_leave(&self) -> Result<(), RepositoryError> {
        let mut left = false;
        for open in self.folders.values() {
            let leaving = self.state.index.read()?.leaving(&open.name)?;
            if leaving.is_empty() {
                continue;
            }
            let writer = self.writer();
            let named = self.named_by_list(open)?;
            let gone: Vec<_> = leaving.into_iter().filter(|name| !named.contains(name.as_str())).collect();
            self.state.index.write(|batch| {
                for name in &gone {
                    batch.files.set_leaving(&open.name, name, false)?;
                    // One that is listed was named anew meanwhile.
                    if batch.files.holding(&open.name, name)?.is_some_and(|holding| !holding.listed) {
                        batch.files.remove_holding(&open.name, name)?;
                        batch.files.put_intent(&open.name, name)?;
                    }
                }
                Ok::<_, RepositoryError>(())
            })?;
            drop(writer);
            left |= !gone.is_empty();
        }
        if left {
            self.bury()?;
            self.note_change();
        }
        Ok(())
    }
}

/// The beginning of a file, at most so many bytes.
fn read(file: &dyn DiskFile, most: u64) -> io::Result<Vec<u8>> {
    let size = file.stat()?.size.min(most).min(packages::MAX_LIST_BYTES as u64 + 1);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, bytes_of, folder, follow, is_held, is_listed, is_missing, name};
    use super::*;
    use crate::repository::Found;
    use sha1::Digest;
    use std::fs;

    fn list(names: &[&str]) -> Vec<u8> {
        names.iter().map(|name| format!("package : x\nfilename : {name}\n\n")).collect::<String>().into_bytes()
    }

    /// A main with these files, and a child that has followed and got nothing.
    fn pair(files: &[(&str, &[u8])]) -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        put(&place, &main, &child, files);
        (place, main, below, child)
    }

    fn put(place: &Place, main: &Repository, child: &Repository, files: &[(&str, &[u8])]) {
        for (name, bytes) in files {
            // Another content has another time, as on any disk.
            let [first, second, ..] = *blake3::hash(bytes).as_bytes();
            place.write_at(name, bytes, 1_700_000_000 + u64::from(first) * 256 + u64::from(second));
        }
        adopt(main, &files.iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap();
        follow(main, child).unwrap();
    }

    fn remove(place: &Place, main: &Repository, child: &Repository, names: &[&str]) {
        names.iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
        main.remove_gone(&folder(), &names.iter().map(|text| name(text)).collect::<Vec<_>>()).unwrap();
        follow(main, child).unwrap();
    }

    /// What is missing under these names arrives, together. Answers with what waits.
    fn bring(main: &Repository, child: &Repository, names: &[&str]) -> Vec<String> {
        let arrivals = names.iter().map(|text| {
            let wanted = child.state.index.read().unwrap().missing(&folder(), &name(text)).unwrap().unwrap();
            let blob = main.open_blob(&wanted.root).unwrap().unwrap();
            let bytes = bytes_of(&*blob.data, blob.size);
            let staged = child.staging(&folder()).unwrap().stage_bytes(&bytes, wanted.modified).unwrap();
            Arrival { folder: folder(), name: name(text), wanted, staged }
        });
        let waits = child.receive_in_order(arrivals.collect()).unwrap();
        waits.into_iter().map(|(_, name)| name.to_string()).collect()
    }

    fn found(of: &Repository, text: &str) -> Option<Vec<u8>> {
        match of.find(&folder(), &name(text)).unwrap() {
            Found::Held { file, size, .. } => Some(bytes_of(&*file, size)),
            _ => None,
        }
    }

    fn sidecar_of(bytes: &[u8]) -> Vec<u8> {
        data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)).into_bytes()
    }

    #[test]
    fn a_list_waits_for_the_files_that_it_names_and_enters_with_the_last_of_them() {
        let names = list(&["a.wapt", "b.wapt"]);
        let files: [(&str, &[u8]); 4] = [("Packages", &names), ("a.wapt", b"a"), ("b.wapt", b"b"), ("c", b"c")];
        let (_place, main, below, child) = pair(&files);
        assert_eq!(bring(&main, &child, &["Packages"]), ["Packages"]);
        assert_eq!(bring(&main, &child, &["a.wapt"]), [""; 0]);
        assert!(below.read("Packages").is_none() && is_held(&child, "a.wapt"));
        let wanted = child.state.index.read().unwrap().missing(&folder(), &name("Packages")).unwrap().unwrap();
        assert_eq!(child.turn(&folder(), &name("Packages"), &wanted).unwrap(), Turn::Waits);
        bring(&main, &child, &["b.wapt"]);
        assert_eq!((found(&child, "Packages"), is_missing(&child, "c")), (Some(names), true));
        assert_eq!(fs::read_dir(below.stage("incoming")).unwrap().count(), 0);
    }

    #[test]
    fn what_the_list_here_names_stays_until_another_list_is_here_and_other_files_go_at_once() {
        let (first, second) = (list(&["a.wapt", "b.wapt"]), list(&["b.wapt", "c.wapt"]));
        let files: [(&str, &[u8]); 4] = [("Packages", &first), ("a.wapt", b"a"), ("b.wapt", b"b"), ("other", b"o")];
        let (place, main, below, child) = pair(&files);
        bring(&main, &child, &["Packages", "a.wapt", "b.wapt", "other"]);
        remove(&place, &main, &child, &["a.wapt", "other"]);
        assert!(is_held(&child, "a.wapt") && !is_listed(&child, "a.wapt") && below.read("a.wapt").is_some());
        assert_eq!((below.trashed(), is_held(&child, "other")), (vec![b"o".to_vec()], false));
        child.enter_waiting().unwrap();
        assert!(found(&child, "a.wapt").is_some(), "the list here names it still");

        put(&place, &main, &child, &[("c.wapt", b"c"), ("Packages", &second)]);
        assert_eq!(bring(&main, &child, &["Packages"]), ["Packages"]);
        assert_eq!(found(&child, "Packages").unwrap(), first);
        bring(&main, &child, &["c.wapt"]);
        assert_eq!(found(&child, "Packages").unwrap(), second);
        assert!(below.read("a.wapt").is_none() && !is_held(&child, "a.wapt"));
        assert!(below.trashed().contains(&b"a".to_vec()));
    }

    #[test]
    fn a_file_that_comes_back_before_it_has_left_stays() {
        let (first, second) = (list(&["a.wapt"]), b"nothing\n");
        let (place, main, below, child) = pair(&[("Packages", &first), ("a.wapt", b"a")]);
        bring(&main, &child, &["Packages", "a.wapt"]);
        remove(&place, &main, &child, &["a.wapt"]);
        put(&place, &main, &child, &[("a.wapt", b"a"), ("Packages", second)]);
        bring(&main, &child, &["Packages"]);
        assert!(is_listed(&child, "a.wapt") && below.read("a.wapt").is_some());
    }

    #[test]
    fn a_list_ahead_of_its_main_is_an_alarm_and_never_enters() {
        let (first, second) = (list(&["a.wapt"]), list(&["a.wapt", "nobody.wapt"]));
        let (place, main, _below, child) = pair(&[("Packages", &first), ("a.wapt", b"a")]);
        bring(&main, &child, &["Packages", "a.wapt"]);
        put(&place, &main, &child, &[("Packages", &second)]);
        assert_eq!(bring(&main, &child, &["Packages"]), ["Packages"]);
        assert!(child.attention.stands(&Alarm::ListAhead(folder())));
        assert_eq!(found(&child, "Packages").unwrap(), first);
        put(&place, &main, &child, &[("nobody.wapt", b"somebody")]);
        bring(&main, &child, &["nobody.wapt"]);
        assert_eq!(found(&child, "Packages").unwrap(), second);
        assert!(!child.attention.stands(&Alarm::ListAhead(folder())));
    }

    #[test]
    fn a_list_that_can_not_be_read_comes_after_everything_else() {
        let (_place, main, below, child) = pair(&[("Packages", b"PK no zip"), ("a.wapt", b"a")]);
        assert_eq!(bring(&main, &child, &["Packages"]), ["Packages"]);
        bring(&main, &child, &["a.wapt"]);
        assert!(below.read("Packages").is_some());
    }

    #[test]
    fn where_nothing_is_mirrored_lists_come_as_they_like() {
        let names = list(&["a.wapt"]);
        let (_place, main, _below, child) = pair(&[("Packages", &names), ("a.wapt", b"a")]);
        assert!(child.comes_in_order(&folder(), &name("Packages")).unwrap());
        child.keep_lists_in_order(false);
        assert!(!child.comes_in_order(&folder(), &name("Packages")).unwrap());
        assert_eq!(bring(&main, &child, &["Packages"]), [""; 0]);
    }

    #[test]
    fn an_edition_and_its_sidecar_change_together_in_whatever_order_they_come() {
        for order in [[CABINET, SIDECAR], [SIDECAR, CABINET]] {
            let (old, new) = (sidecar_of(b"old"), sidecar_of(b"newer"));
            let (place, main, _below, child) = pair(&[(CABINET, b"old"), (SIDECAR, &old)]);
            bring(&main, &child, &order);
            put(&place, &main, &child, &[(CABINET, b"newer"), (SIDECAR, &new)]);
            assert!(child.comes_in_order(&folder(), &name(CABINET)).unwrap());
            assert_eq!(bring(&main, &child, &order[..1]), [order[0]]);
            let before = (found(&child, CABINET), found(&child, SIDECAR));
            assert_eq!(before, (Some(b"old".to_vec()), Some(old)));
            assert_eq!(bring(&main, &child, &order[1..]), [""; 0]);
            assert_eq!((found(&child, CABINET), found(&child, SIDECAR)), (Some(b"newer".to_vec()), Some(new)));
        }
    }

    #[test]
    fn hosts_of_a_secondary_that_ask_without_end_get_both_of_one_pair() {
        let editions: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; 50_000 + usize::from(n)]).collect();
        let text = |edition: &[u8]| sidecar_of(edition);
        let (place, main, _below, child) = pair(&[(CABINET, &editions[0]), (SIDECAR, &text(&editions[0]))]);
        bring(&main, &child, &[CABINET, SIDECAR]);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut seen = BTreeSet::new();
                // Bounded, so that a failure on the other side ends the test.
                for _ in 0..1_000_000 {
                    if done.load(Ordering::Acquire) {
                        break;
                    }
                    let (before, cab, after) = (found(&child, SIDECAR), found(&child, CABINET), found(&child, SIDECAR));
                    let (before, cab) = (before.expect("it is never away"), cab.expect("it is never away"));
                    // Whoever gets the same sidecar before and after has the cabinet that belongs to it.
                    assert!(Some(&before) != after.as_ref() || before == text(&cab));
                    seen.insert(cab[0]);
                }
                seen.len()
            });
            for edition in &editions[1..] {
                put(&place, &main, &child, &[(CABINET, edition), (SIDECAR, &text(edition))]);
                bring(&main, &child, &[SIDECAR]);
                bring(&main, &child, &[CABINET]);
            }
            done.store(true, Ordering::Release);
            assert!(asking.join().unwrap() > 1);
        });
    }

    #[test]
    fn a_cabinet_whose_sidecar_lags_waits_for_one_that_fits() {
        let (old, new) = (sidecar_of(b"old"), sidecar_of(b"newer"));
        let (place, main, below, child) = pair(&[(CABINET, b"old"), (SIDECAR, &old)]);
        bring(&main, &child, &[CABINET, SIDECAR]);
        put(&place, &main, &child, &[(CABINET, b"newer")]);
        assert_eq!(bring(&main, &child, &[CABINET]), [CABINET]);
        put(&place, &main, &child, &[(SIDECAR, &new)]);
        bring(&main, &child, &[SIDECAR]);
        assert_eq!((found(&child, CABINET), found(&child, SIDECAR)), (Some(b"newer".to_vec()), Some(new)));
        // Another cabinet that waits, and one more before its sidecar comes.
        put(&place, &main, &child, &[(CABINET, b"third one")]);
        bring(&main, &child, &[CABINET]);
        let (last, text) = (b"the last one", sidecar_of(b"the last one"));
        put(&place, &main, &child, &[(CABINET, last), (SIDECAR, &text)]);
        bring(&main, &child, &[CABINET, SIDECAR]);
        assert_eq!(found(&child, CABINET).unwrap(), last);
        assert_eq!(fs::read_dir(below.stage("incoming")).unwrap().count(), 0, "what was overtaken is dropped");
    }

    #[test]
    fn what_lies_here_is_taken_only_where_no_half_of_an_edition_is_held() {
        let text = sidecar_of(b"cab");
        let (_place, main, _below, child) = pair(&[(CABINET, b"cab"), (SIDECAR, &text), ("Packages", b"")]);
        let turn = |text: &str| {
            let wanted = child.state.index.read().unwrap().missing(&folder(), &name(text)).unwrap().unwrap();
            child.turn(&folder(), &name(text), &wanted).unwrap()
        };
        assert_eq!([turn(CABINET), turn(SIDECAR), turn("Packages")], [Turn::Any, Turn::Any, Turn::Fetched]);
        bring(&main, &child, &[CABINET]);
        assert_eq!(turn(CABINET), Turn::Waits);
        child.enter_waiting().unwrap();
        assert!(!is_held(&child, CABINET));
    }
}
