//! What needs a person: alarms about the node, and files that are left alone with the reason.

use crate::{
    base::clock::SharedClock,
    domain::name::{FileName, FolderName},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most file troubles that are listed; the rest is counted.
const MAX_LISTED: usize = 10_000;

/// What is wrong with the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// A folder lost more files than the cap lets go.
    DeletionsWithheld(FolderName),
    /// A cleanup would let more files go than the cap lets it.
    CleanupWithheld,
    /// A night passed without its cleanup.
    CleanupMissed,
    /// A folder's place is another device or directory than before.
    FolderReplaced(FolderName),
    /// A folder can't be read.
    FolderUnreadable(FolderName),
    /// A folder, or a part of it, can't be watched: changes are seen only by scans.
    FolderUnwatched(FolderName),
    /// The parent, or somebody in its place, shows a state that must not be followed.
    StateRefused,
    /// A member has a newer state of the line than this main.
    Overtaken(String),
    /// The parent can't be reached.
    ParentUnreachable,
    /// A site will not hold everything in time.
    SiteLate(String),
    /// A disk is full.
    DiskFull(FolderName),
    /// New certificates for hosts can't be used; the old ones stay.
    CertificatesRefused,
    /// A list of packages of the main names what the main does not have.
    ListAhead(FolderName),
    /// The configuration can't be read again; what was read at the start stays.
    ConfigurationRefused,
    /// A file's bytes are not what was verified, though nobody wrote to it.
    ContentDamaged(FolderName, FileName),
    /// More files of a folder are damaged than have an alarm of their own.
    ManyDamaged(FolderName),
    /// An operation on bytes or rows failed.
    Failing(&'static str),
}

/// An alarm as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is wrong, in words.
    pub what: String,
    /// What to do about it.
    pub cure: String,
    /// Since when, in seconds since 1970 UTC.
    pub since: u64,
}

/// The alarms that stand.
pub struct Attention {
    clock: SharedClock,
    standing: Mutex<BTreeMap<Alarm, Standing>>,
}

impl Attention {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { clock, standing: Mutex::default() }
    }

    /// Raises an alarm, or renews its words; logged when it is new.
    pub fn raise(&self, alarm: Alarm, what: impl Into<String>, cure: impl Into<String>) {
        let (what, cure) = (what.into(), cure.into());
        let mut standing = lock(&self.standing);
        let since = match standing.get(&alarm) {
            Some(before) => before.since,
            None => {
                tracing::warn!(%what, %cure, "needs attention");
                self.clock.unix_seconds()
            }
        };
        standing.insert(alarm, Standing { what, cure, since });
    }

    /// The cause is gone.
    pub fn clear(&self, alarm: &Alarm) {
        if let Some(standing) = lock(&self.standing).remove(alarm) {
            tracing::info!(what = %standing.what, "no longer needs attention");
        }
    }

    /// Whether an alarm stands.
    pub fn stands(&self, alarm: &Alarm) -> bool {
        lock(&self.standing).contains_key(alarm)
    }

    /// How many alarms of a kind stand.
    pub(super) fn count(&self, is: impl Fn(&Alarm) -> bool) -> usize {
        lock(&self.standing).keys().filter(|alarm| is(alarm)).count()
    }

    /// Every alarm that stands.
    pub fn standing(&self) -> Vec<Standing> {
        lock(&self.standing).values().cloned().collect()
    }
}

/// Why a file is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its content is not yet what its name promises.
    Incomplete,
    /// Its name can't be mirrored.
    Refused(String),
    /// A link, socket, pipe or device.
    NotAFile,
    /// It can't be read.
    Unreadable(String),
}

/// Files that are left alone, by folder and by the name on disk (made printable).
#[derive(Default)]
pub struct Troubles {
    listed: Mutex<BTreeMap<(FolderName, String), Trouble>>,
    unlisted: Mutex<BTreeMap<FolderName, TroubleCounts>>,
}

/// How many files of a folder are left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TroubleCounts {
    /// Those whose content is not yet what their name promises.
    pub incomplete: u64,
    /// All others.
    pub refused: u64,
}

impl TroubleCounts {
    fn count(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Incomplete => self.incomplete += 1,
            _ => self.refused += 1,
        }
    }
}

impl Troubles {
    /// Notes one; beyond 10,000 new ones are only counted, until the next scan counts anew.
    pub fn note(&self, folder: &FolderName, name: &str, trouble: Trouble) {
        let mut listed = lock(&self.listed);
        let key = (folder.clone(), name.to_owned());
        if listed.len() < MAX_LISTED || listed.contains_key(&key) {
            if listed.get(&key) != Some(&trouble) {
                tracing::info!(%folder, name, ?trouble, "a file is left alone");
            }
            listed.insert(key, trouble);
        } else {
            lock(&self.unlisted).entry(folder.clone()).or_default().count(&trouble);
        }
    }

    /// A scan begins, and meets again what is not listed.
    pub(super) fn count_anew(&self, folder: &FolderName) {
        lock(&self.unlisted).remove(folder);
    }

    /// How many there are in a folder, listed or not.
    pub fn counts(&self, folder: &FolderName) -> TroubleCounts {
        let mut counts = lock(&self.unlisted).get(folder).copied().unwrap_or_default();
        lock(&self.listed).iter().filter(|((of, _), _)| of == folder).for_each(|(_, trouble)| counts.count(trouble));
        counts
    }

    /// The file is fine, or gone.
    pub fn clear(&self, folder: &FolderName, name: &FileName) {
        lock(&self.listed).remove(&(folder.clone(), name.as_str().to_owned()));
    }

    /// A scan did not meet these again.
    pub fn forget(&self, folder: &FolderName, names: &BTreeSet<String>) {
        lock(&self.listed).retain(|(of, name), _| of != folder || !names.contains(name));
    }

    /// The names beneath a directory that are in trouble, its own among them.
    pub(super) fn beneath(&self, folder: &FolderName, directory: &FileName) -> BTreeSet<String> {
        let is_beneath = |name: &String| {
            let rest = name.strip_prefix(directory.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let from = (folder.clone(), directory.as_str().to_owned());
        let listed = lock(&self.listed);
        // Between a directory and what is beneath it others may be, `d.x` before `d/x`.
        let near = listed
            .range(from..)
            .map_while(|((of, name), _)| (of == folder && name.starts_with(directory.as_str())).then_some(name));
        near.filter(|name| is_beneath(name)).cloned().collect()
    }

    /// The trouble with one file.
    pub fn of(&self, folder: &FolderName, name: &str) -> Option<Trouble> {
        lock(&self.listed).get(&(folder.clone(), name.to_owned())).cloned()
    }

    /// Every trouble of a folder.
    pub fn listed(&self, folder: &FolderName) -> Vec<(String, Trouble)> {
        let listed = lock(&self.listed);
        listed.iter().filter(|((of, _), _)| of == folder).map(|((_, name), why)| (name.clone(), why.clone())).collect()
    }
}

/// A lock whose holder panicked guards data that every statement leaves whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, StandingClock, folder, name};
    use super::*;

    #[test]
    fn an_alarm_stands_since_it_was_first_raised_until_it_is_cleared() {
        let clock = StandingClock::new();
        let attention = Attention::new(clock.clone());
        attention.raise(Alarm::StateRefused, "first", "cure");
        clock.set(NOW + 5);
        attention.raise(Alarm::StateRefused, "second", "cure");
        let standing = Standing { what: "second".into(), cure: "cure".into(), since: NOW };
        assert_eq!(attention.standing(), [standing]);
        attention.clear(&Alarm::ParentUnreachable);
        assert!(attention.stands(&Alarm::StateRefused));
        attention.clear(&Alarm::StateRefused);
        assert_eq!(attention.standing(), []);
    }

    #[test]
    fn troubles_are_listed_by_folder_and_bounded() {
        let (troubles, other) = (Troubles::default(), FolderName::new("other").unwrap());
        (0..MAX_LISTED + 5).for_each(|n| troubles.note(&folder(), &format!("f{n}"), Trouble::Incomplete));
        troubles.note(&other, "g", Trouble::Incomplete);
        assert_eq!((troubles.listed(&folder()).len(), troubles.listed(&other)), (MAX_LISTED, vec![]));
        assert_eq!(troubles.counts(&folder()).incomplete, MAX_LISTED as u64 + 5, "the rest is counted");
        assert_eq!(troubles.counts(&other), TroubleCounts { incomplete: 1, refused: 0 });
        troubles.count_anew(&folder());
        assert_eq!(troubles.counts(&folder()).incomplete, MAX_LISTED as u64);
        troubles.note(&folder(), "f1", Trouble::Unreadable("why".into()));
        assert_eq!(troubles.of(&folder(), "f1"), Some(Trouble::Unreadable("why".into())));
        troubles.clear(&folder(), &name("f1"));
        troubles.forget(&folder(), &["f2".to_owned()].into());
        troubles.note(&other, "g", Trouble::Incomplete);
        assert_eq!((troubles.of(&folder(), "f1"), troubles.of(&folder(), "f2")), (None, None));
        assert_eq!(troubles.listed(&other), [("g".to_owned(), Trouble::Incomplete)]);
    }
}
