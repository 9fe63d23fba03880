//! Extras go when an administrator says so: files of a secondary that the index does not name, left
//! over by a change of epoch or put there by hand.
//!
//! Order of events: all folders are counted and judged against the cap, then each group of rows goes
//! with its intents in one commit, then the bytes go to the trash. A file that the index names
//! meanwhile stays.

use super::{
    deletions::{DeletionCap, DeletionPlan, plan_deletions},
    error::RepositoryError,
    open::Repository,
    remove::signed_lately,
};
use crate::domain::{
    member::Role,
    name::{FileName, FolderName},
};

/// Files that are looked through in one go, and that leave in one commit at most.
const PAGE: usize = 1_000;
/// Examples that a plan names.
const EXAMPLES: usize = 100;

/// The extras of a node, and whether they may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Files on this disk that the index does not name.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first of them, at most 100.
    pub examples: Vec<(FolderName, FileName)>,
    /// Folders where they are more than the cap lets go at once.
    pub refused: Vec<PruneRefusal>,
}

/// A folder whose extras are too many to go without being asked for twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneRefusal {
    /// Which one.
    pub folder: FolderName,
    /// Its extras.
    pub asked: u64,
    /// How many of them the cap lets go.
    pub allowed: u64,
}

impl Repository {
    /// Counts the extras of every folder and judges them against the cap. Changes nothing.
    pub fn plan_prune(&self) -> Result<PrunePlan, RepositoryError> {
        if self.role == Role::Main {
            return Err(RepositoryError::NotSecondary);
        }
        let mut plan = PrunePlan::default();
        let cap = self.deletion_cap;
        for folder in self.folders.keys() {
            let totals = self.state.index.read()?.totals(folder)?;
            plan.files += totals.unlisted_files;
            plan.bytes += totals.unlisted_bytes;
            plan.refused.extend(self.judge_prune(folder, totals.unlisted_files, totals.held_files, cap));
            self.each_unlisted(folder, &mut |names| {
                let room = EXAMPLES.saturating_sub(plan.examples.len());
                plan.examples.extend(names.into_iter().take(room).map(|name| (folder.clone(), name)));
                Ok(plan.examples.len() < EXAMPLES)
            })?;
        }
        Ok(plan)
    }

    /// Moves every extra to the trash; with `force` also more than the cap lets go. Nothing is moved
    /// where the plan names a refusal and nobody forces it. Answers with what went.
    pub fn prune(&self, force: bool) -> Result<PrunePlan, RepositoryError> {
        let plan = self.plan_prune()?;
        if plan.files == 0 || (!plan.refused.is_empty() && !force) {
            return Ok(plan);
        }
        let mut gone = PrunePlan::default();
        for folder in self.folders.keys() {
            let before = gone.files;
            self.each_unlisted(folder, &mut |names| {
                self.forget_unlisted(folder, &names, &mut gone)?;
                Ok(true)
            })?;
            let count = gone.files - before;
            if count > 0 {
                let now = self.clock.unix_seconds();
                self.writer().deletions.entry(folder.clone()).or_default().push_back((now, count));
            }
        }
        self.bury()?;
        self.note_change();
        Ok(gone)
    }

    fn judge_prune(&self, folder: &FolderName, asked: u64, held: u64, cap: DeletionCap) -> Option<PruneRefusal> {
        let lately = signed_lately(&mut self.writer(), folder, self.clock.unix_seconds());
        match plan_deletions(asked, lately, asked.saturating_add(held), cap) {
            DeletionPlan::Withhold { allowed } if asked > 0 => {
                Some(PruneRefusal { folder: folder.clone(), asked, allowed })
            }
            DeletionPlan::Withhold { .. } | DeletionPlan::Sign => None,
        }
    }

    /// Hands over the names of extras, page by page, as long as `each` wants more.
    fn each_unlisted(
        &self,
        folder: &FolderName,
        each: &mut dyn FnMut(Vec<FileName>) -> Result<bool, RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut after = None;
        loop {
            let page = self.state.index.read()?.holdings_after(folder, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let extras: Vec<_> = page.into_iter().filter(|(_, held)| !held.listed).map(|(name, _)| name).collect();
            if !extras.is_empty() && !each(extras)? {
                return Ok(());
            }
        }
    }

    /// The rows go with their intents; one that is listed or gone by then stays as it is.
    fn forget_unlisted(
        &self,
        folder: &FolderName,
        names: &[FileName],
        gone: &mut PrunePlan,
    ) -> Result<(), RepositoryError> {
        let writer = self.writer();
        let removed = self.state.index.write(|batch| {
            let mut removed = Vec::new();
            for name in names {
                let Some(holding) = batch.files.holding(folder, name)?.filter(|holding| !holding.listed) else {
                    continue;
                };
                batch.files.remove_holding(folder, name)?;
                batch.files.put_intent(folder, name)?;
                removed.push((name.clone(), holding.size));
            }
            Ok::<_, RepositoryError>(removed)
        })?;
        drop(writer);
        for (name, size) in removed {
            gone.files += 1;
            gone.bytes += size;
            if gone.examples.len() < EXAMPLES {
                gone.examples.push((folder.clone(), name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, adopt, fetch, folder, follow, is_held, is_listed, name, rescan};
    use super::*;

    /// A secondary with `listed` files of the index and `extras` of its own.
    fn with_extras(listed: usize, extras: usize) -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        let names: Vec<_> = (0..listed).map(|n| format!("f{n}")).collect();
        names.iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        (0..extras).for_each(|n| below.write(&format!("extra{n}"), b"extra"));
        rescan(&child);
        (place, main, below, child)
    }

    #[test]
    fn extras_go_to_the_trash_and_files_of_the_index_stay() {
        let (_place, _main, below, child) = with_extras(20, 2);
        let plan = child.plan_prune().unwrap();
        assert_eq!((plan.files, plan.bytes, plan.refused.len()), (2, 10, 0));
        assert_eq!(plan.examples, [(folder(), name("extra0")), (folder(), name("extra1"))]);
        assert!(is_held(&child, "extra0") && below.read("extra0").is_some(), "a plan changes nothing");
        assert_eq!(child.prune(false).unwrap(), plan);
        assert_eq!((below.read("extra0"), below.trashed().len()), (None, 2));
        assert!((0..20).all(|n| is_listed(&child, &format!("f{n}"))));
        assert_eq!(child.plan_prune().unwrap(), PrunePlan::default());
    }

    #[test]
    fn more_than_the_cap_stay_until_they_are_forced() {
        let (_place, _main, below, child) = with_extras(4, 5);
        let refused = PruneRefusal { folder: folder(), asked: 5, allowed: 3 };
        assert_eq!(child.prune(false).unwrap().refused, [refused]);
        assert!(below.trashed().is_empty() && is_held(&child, "extra4"));
        assert_eq!(child.prune(true).unwrap().files, 5);
        assert_eq!(below.trashed().len(), 5);
    }

    #[test]
    fn what_was_pruned_within_the_hour_counts_against_the_cap() {
        let (_place, _main, below, child) = with_extras(4, 3);
        assert_eq!(child.prune(false).unwrap().files, 3);
        below.write("late", b"late");
        rescan(&child);
        assert_eq!(child.prune(false).unwrap().refused, [PruneRefusal { folder: folder(), asked: 1, allowed: 0 }]);
        assert!(below.read("late").is_some());
    }

    #[test]
    fn a_main_has_no_extras_to_prune() {
        let place = Place::new();
        assert!(matches!(place.main().prune(true), Err(RepositoryError::NotSecondary)));
    }

    #[test]
    fn a_prune_that_was_cut_short_is_carried_out_at_the_next_start() {
        let (_place, _main, below, child) = with_extras(20, 1);
        child.forget_unlisted(&folder(), &[name("extra0"), name("f1")], &mut PrunePlan::default()).unwrap();
        assert!(below.read("extra0").is_some());
        drop(child);
        let child = below.secondary();
        assert_eq!((below.read("extra0"), below.trashed().len()), (None, 1));
        assert!(is_listed(&child, "f1"));
    }
}
