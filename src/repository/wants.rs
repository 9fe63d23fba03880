//! What is wanted and not held: the ledger's wants beside the holdings of the index.
//!
//! Whether a want is held is read from the holdings whenever somebody asks, and stored nowhere: a file
//! that is published ends its want, one that is lost is wanted again. Fetches nothing.

use super::{error::RepositoryError, open::Repository};
use crate::{
    catalog::{AskOutcome, FilePlace, Forgotten, Snapshot, TaskLimit, WantRow},
    domain::{
        edition::CABINET,
        name::{FileName, FolderName},
        origin::OriginUrl,
        update::UpdateId,
        wants::{Asker, FileClaim, KnownFile, TaskKind, TaskResult, WantState, merge},
    },
    store::download::DownloadKey,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::atomic::Ordering,
};

/// The folder of the updates that an edition tells of.
const UPDATES_FOLDER: &str = "waptwua";
/// Wants that go at once when no more are remembered: the held ones that were asked for longest ago.
const SWEEP: usize = 10_000;

/// A want, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// The file, who wants it, and what was told of it and not taken.
    pub row: WantRow,
    /// Where it stands.
    pub state: WantState,
}

/// Whether a file may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// Nobody told of it.
    Unknown,
    /// No digest vouches for its content.
    Unvouched,
    /// It is held here.
    Held,
    /// Not before this moment, in seconds since 1970 UTC: it failed.
    Waiting {
        /// When it is tried again.
        until: u64,
    },
    /// At once.
    Now,
}

/// How many files are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WantCounts {
    /// In all.
    pub files: u64,
    /// Of these, held here.
    pub held: u64,
    /// Files of which several contents were told.
    pub conflicts: u64,
}

impl Repository {
    /// `asker` wants the files of these claims; one answer for each, in order. Where no more wants are
    /// remembered, held ones that no administrator asked for make room.
    pub fn ask(&self, claims: &[(FolderName, FileClaim)], asker: &Asker) -> Result<Vec<AskOutcome>, RepositoryError> {
        let ask = |claims: &[_]| self.state.ledger.ask(claims, asker, self.clock.unix_seconds(), self.want_limit);
        let mut outcomes = ask(claims)?;
        let full: Vec<usize> = (0..outcomes.len()).filter(|at| outcomes[*at] == AskOutcome::Full).collect();
        if !full.is_empty() && self.sweep_wants()? {
            let again: Vec<_> = full.iter().map(|at| claims[*at].clone()).collect();
            for (at, outcome) in full.into_iter().zip(ask(&again)?) {
                outcomes[at] = outcome;
            }
        }
        Ok(outcomes)
    }

    /// `who` tells of files that are fetched once somebody asks for them; one answer for each, in order.
    pub fn tell(&self, claims: &[(FolderName, FileClaim)], who: &Asker) -> Result<Vec<AskOutcome>, RepositoryError> {
        Ok(self.state.ledger.tell(claims, who, self.clock.unix_seconds(), self.want_limit)?)
    }

    /// `askers` want a file by its name; `false` if nobody told of it, or no more wants are remembered.
    pub fn ask_known(&self, folder: &FolderName, name: &FileName, askers: &[Asker]) -> Result<bool, RepositoryError> {
        Ok(self.state.ledger.ask_known(folder, name, askers, self.clock.unix_seconds(), self.want_limit)?)
    }

    /// Forgets who wants a file and what was told of it; whether there was anything. A held file stays.
    pub fn forget_file(&self, folder: &FolderName, name: &FileName) -> Result<bool, RepositoryError> {
        Ok(self.state.ledger.forget_file(folder, name)?)
    }

    /// Forgets an update, and the files that no other update shares.
    pub fn forget_update(&self, update: UpdateId) -> Result<Forgotten, RepositoryError> {
        Ok(self.state.ledger.forget_update(update)?)
    }

    /// What is known of a file: what somebody told, else what the published edition tells.
    pub fn known_file(&self, folder: &FolderName, name: &FileName) -> Result<Option<KnownFile>, RepositoryError> {
        if let Some(known) = self.state.ledger.known_file(folder, name)? {
            return Ok(Some(known));
        }
        let Some(claim) = self.edition_claim(name)?.filter(|_| folder.as_str() == UPDATES_FOLDER) else {
            return Ok(None);
        };
        let facts = merge(None, &claim, self.clock.unix_seconds()).ok();
        Ok(facts.map(|facts| KnownFile { folder: folder.clone(), name: name.clone(), facts }))
    }

    /// What the edition tells of a file is told, if nobody has yet: from then on it can be wanted.
    pub fn tell_of_indexed(&self, folder: &FolderName, name: &FileName, who: &Asker) -> Result<(), RepositoryError> {
        if self.state.ledger.known_file(folder, name)?.is_none()
            && let Some(claim) = self.edition_claim(name)?
        {
            self.tell(&[(folder.clone(), claim)], who)?;
        }
        Ok(())
    }

    /// The want for a file, if somebody wants it.
    pub fn want_of(&self, folder: &FolderName, name: &FileName) -> Result<Option<WantedFile>, RepositoryError> {
        let Some(row) = self.state.ledger.want_row(folder, name)? else { return Ok(None) };
        stand(&*self.state.index.read()?, row, self.clock.unix_seconds()).map(Some)
    }

    /// At most `most` wants, by folder and name, after `after`.
    pub fn wants_after(&self, after: Option<&FilePlace>, most: usize) -> Result<Vec<WantedFile>, RepositoryError> {
        let rows = self.state.ledger.wants_after(after, most)?;
        let (index, now) = (self.state.index.read()?, self.clock.unix_seconds());
        rows.into_iter().map(|row| stand(&index, row, now)).collect()
    }

    /// What is to be fetched at `now` (seconds since 1970 UTC): at most `limit` wants of mirrored folders
    /// that are not held, not being fetched and not waiting, the oldest and most wanted first.
    pub fn wants_due(&self, now: u64, limit: usize) -> Result<Vec<WantRow>, RepositoryError> {
        let index = self.state.index.read()?;
        let mut best = BTreeSet::new();
        self.state.ledger.each_want_after(None, |row| {
            let row = stand(&index, row, now)?;
            if row.state == WantState::Due && self.folders.contains_key(&row.row.file.folder) {
                let WantRow { file, want, .. } = row.row;
                best.insert((Reverse(want.weight(now)), want.first_asked, file.folder, file.name));
                if best.len() > limit {
                    best.pop_last();
                }
            }
            Ok::<_, RepositoryError>(true)
        })?;
        let mut due = Vec::new();
        for (.., folder, name) in best {
            due.extend(self.state.ledger.want_row(&folder, &name)?);
        }
        Ok(due)
    }

    /// Whether a file that somebody told of may be fetched at this moment.
    pub fn prospect(&self, folder: &FolderName, name: &FileName) -> Result<Prospect, RepositoryError> {
        let now = self.clock.unix_seconds();
        if let Some(row) = self.state.ledger.want_row(folder, name)? {
            return Ok(match stand(&*self.state.index.read()?, row, now)?.state {
                WantState::Held => Prospect::Held,
                WantState::Unvouched => Prospect::Unvouched,
                WantState::Waiting { until } => Prospect::Waiting { until },
                WantState::Fetching | WantState::Due => Prospect::Now,
            });
        }
        let Some(known) = self.known_file(folder, name)? else { return Ok(Prospect::Unknown) };
        if self.state.index.read()?.holding(folder, name)?.is_some() {
            return Ok(Prospect::Held);
        }
        Ok(if known.facts.is_vouched() { Prospect::Now } else { Prospect::Unvouched })
    }

    /// Begins a task; `None` while another one serves the same want. Whoever is to be counted among those
    /// that want the file asks first: a want that comes later knows nothing of the task.
    pub fn begin_task(
        &self,
        kind: TaskKind,
        folder: &FolderName,
        name: &FileName,
        url: &OriginUrl,
    ) -> Result<Option<u64>, RepositoryError> {
        let now = self.clock.unix_seconds();
        Ok(self.state.ledger.begin_task(kind, folder, name, url, now, TaskLimit::default())?)
    }

    /// A task has ended, with `received` bytes. After a failure its want waits, longer each time.
    pub fn end_task(&self, id: u64, result: &TaskResult, received: u64) -> Result<(), RepositoryError> {
        Ok(self.state.ledger.end_task(id, result, received, self.clock.unix_seconds())?)
    }

    /// Removes what arrived of files that nobody wants any more.
    pub fn sweep_downloads(&self) -> Result<(), RepositoryError> {
        let mut wanted: BTreeMap<FolderName, BTreeSet<DownloadKey>> = BTreeMap::new();
        self.state.ledger.each_wanted_place(|folder, name| {
            wanted.entry(folder.clone()).or_default().insert(DownloadKey::of(name));
            Ok::<_, RepositoryError>(())
        })?;
        self.folders.values().try_for_each(|open| {
            // The edition is fetched though nobody wants it.
            let edition = FileName::new(CABINET).ok().map(|name| DownloadKey::of(&name));
            let keep = |key| Some(key) == edition || wanted.get(&open.name).is_some_and(|keys| keys.contains(&key));
            open.staging.downloads().sweep(&keep).map_err(RepositoryError::io("sweeping downloads of", &open.name))
        })
    }

    /// How many files are wanted.
    pub fn want_counts(&self) -> Result<WantCounts, RepositoryError> {
        let index = self.state.index.read()?;
        let mut counts = WantCounts { conflicts: self.state.ledger.conflicting_files()?, ..WantCounts::default() };
        self.state.ledger.each_wanted_place(|folder, name| {
            counts.files += 1;
            counts.held += u64::from(index.holding(folder, name)?.is_some());
            Ok::<_, RepositoryError>(())
        })?;
        Ok(counts)
    }

    /// Drops held wants, those first that were asked for longest ago; whether any went. Where none could,
    /// it is not tried again before something else is held.
    fn sweep_wants(&self) -> Result<bool, RepositoryError> {
        let as_of = *self.changed.borrow();
        if self.swept_in_vain.load(Ordering::Relaxed) == as_of {
            return Ok(false);
        }
        let (index, now) = (self.state.index.read()?, self.clock.unix_seconds());
        let mut oldest = BTreeSet::new();
        self.state.ledger.each_want_after(None, |row| {
            let row = stand(&index, row, now)?;
            if row.state == WantState::Held && !row.row.want.is_of_an_administrator() {
                oldest.insert((row.row.want.last_asked, row.row.file.folder, row.row.file.name));
                if oldest.len() > SWEEP {
                    oldest.pop_last();
                }
            }
            Ok::<_, RepositoryError>(true)
        })?;
        let places: Vec<_> = oldest.into_iter().map(|(_, folder, name)| (folder, name)).collect();
        if places.is_empty() {
            self.swept_in_vain.store(as_of, Ordering::Relaxed);
            return Ok(false);
        }
        self.state.ledger.drop_wants(&places)?;
        Ok(true)
    }
}

fn stand(index: &Snapshot, row: WantRow, now: u64) -> Result<WantedFile, RepositoryError> {
    let is_held = index.holding(&row.file.folder, &row.file.name)?.is_some();
    let state = row.want.state(&row.file.facts, is_held, now);
    Ok(WantedFile { row, state })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, adopt, folder, name, rescan};
    use super::*;
    use crate::{
        catalog::WantLimit,
        domain::{digest::Sha1, member::NodeName},
    };
    use std::fs;

    fn claim(file: &str) -> (FolderName, FileClaim) {
        let url = OriginUrl::new(&format!("http://h/{file}")).unwrap();
        (folder(), FileClaim { sha1: Some(Sha1([1; 20])), ..FileClaim::of_url(url) })
    }

    fn member(n: usize) -> Asker {
        Asker::Member { name: NodeName::new(&format!("node{n}")).unwrap() }
    }

    fn ask(repository: &Repository, file: &str, who: usize) {
        let outcomes = repository.ask(&[claim(file)], &member(who)).unwrap();
        assert!(matches!(outcomes[..], [AskOutcome::Wanted { .. }]), "{outcomes:?}");
    }

    fn due(repository: &Repository, now: u64, limit: usize) -> Vec<String> {
        let due = repository.wants_due(now, limit).unwrap();
        due.into_iter().map(|row| row.file.name.to_string()).collect()
    }

    fn state(repository: &Repository, file: &str) -> WantState {
        let wants = repository.wants_after(None, 99).unwrap();
        wants.into_iter().find(|want| want.row.file.name == name(file)).unwrap().state
    }

    #[test]
    fn a_published_file_is_wanted_no_longer_and_a_lost_one_is_wanted_again() {
        let place = Place::new();
        let main = place.main();
        ask(&main, "a.cab", 1);
        ask(&main, "b.cab", 1);
        assert_eq!(due(&main, NOW, 9), ["a.cab", "b.cab"]);
        place.write("a.cab", b"bytes");
        adopt(&main, &["a.cab"]).unwrap();
        assert_eq!((state(&main, "a.cab"), due(&main, NOW, 9)), (WantState::Held, vec!["b.cab".to_owned()]));
        assert_eq!(main.want_counts().unwrap(), WantCounts { files: 2, held: 1, conflicts: 0 });
        fs::remove_file(place.path("a.cab")).unwrap();
        rescan(&main);
        assert_eq!(due(&main, NOW, 9), ["a.cab", "b.cab"]);
    }

    #[test]
    fn the_oldest_and_most_wanted_are_due_first_and_no_more_than_asked_for() {
        let place = Place::new();
        let main = place.main();
        ask(&main, "old", 1);
        place.clock.set(NOW + 3_600);
        (0..9).for_each(|n| ask(&main, "popular", n));
        ask(&main, "new", 1);
        assert_eq!(due(&main, NOW + 3_600, 9), ["popular", "old", "new"]);
        assert_eq!(due(&main, NOW + 3_600, 2), ["popular", "old"]);
        assert_eq!(due(&main, NOW + 3_600, 0), [""; 0]);
        let elsewhere = FolderName::new("removed").unwrap();
        main.ask(&[(elsewhere, claim("file").1)], &member(1)).unwrap();
        assert_eq!(due(&main, NOW + 3_600, 9), ["popular", "old", "new"]);
    }

    #[test]
    fn a_file_that_failed_waits_longer_each_time_and_one_that_is_fetched_is_not_due() {
        let place = Place::new();
        let main = place.main();
        ask(&main, "a", 1);
        let (folder, file, url) = (folder(), name("a"), claim("a").1.url);
        let mut now = NOW;
        for wait in [300, 600, 1_200] {
            let id = main.begin_task(TaskKind::Want, &folder, &file, &url).unwrap().unwrap();
            assert_eq!(main.begin_task(TaskKind::Miss, &folder, &file, &url).unwrap(), None);
            assert_eq!((state(&main, "a"), due(&main, now, 9).len()), (WantState::Fetching, 0));
            main.end_task(id, &TaskResult::failed("HTTP 503"), 0).unwrap();
            assert_eq!(state(&main, "a"), WantState::Waiting { until: now + wait });
            assert_eq!(due(&main, now + wait - 1, 9).len(), 0);
            now += wait;
            assert_eq!(due(&main, now, 9), ["a"]);
            place.clock.set(now);
        }
    }

    #[test]
    fn a_task_that_a_restart_cut_short_is_due_again_at_once() {
        let place = Place::new();
        let main = place.main();
        ask(&main, "a", 1);
        main.begin_task(TaskKind::Want, &folder(), &name("a"), &claim("a").1.url).unwrap().unwrap();
        drop(main);
        assert_eq!(due(&place.main(), NOW, 9), ["a"]);
    }

    #[test]
    fn at_the_limit_held_wants_make_room_and_those_of_administrators_stay() {
        let place = Place::new();
        let mut main = place.main();
        main.want_limit = WantLimit { files: 99, wants: 3 };
        let admin = Asker::Administrator { uid: Some(0) };
        main.ask(&[claim("admin")], &admin).unwrap();
        ask(&main, "held", 1);
        ask(&main, "open", 1);
        let more = |main: &Repository| main.ask(&[claim("open"), claim("more")], &member(2)).unwrap();
        for _ in 0..2 {
            assert!(matches!(more(&main)[..], [AskOutcome::Wanted { .. }, AskOutcome::Full]));
            assert_eq!(main.swept_in_vain.load(Ordering::Relaxed), *main.changed.borrow());
        }
        for file in ["admin", "held"] {
            place.write(file, b"bytes");
            adopt(&main, &[file]).unwrap();
        }
        assert!(matches!(more(&main)[..], [_, AskOutcome::Wanted { is_new: true, .. }]));
        let wants = main.wants_after(None, 9).unwrap();
        let names: Vec<_> = wants.iter().map(|want| want.row.file.name.as_str()).collect();
        assert_eq!(names, ["admin", "more", "open"]);
        assert!(main.known_file(&folder(), &name("held")).unwrap().is_some());
    }
}
