//! Files that enter a folder together: an edition, and the SHA-1 that stands beside it.
//!
//! Order of events: all are synced; what is under their names gets a second name where it is to rest or to be
//! kept, and is what hosts get until the end; the rows go; the renames, each of which leaves a file under its
//! name; the directories are synced; one commit names all of them. After a power cut in between the tree has
//! some of both, and what it has is adopted like what anybody put there.

use super::{
    error::RepositoryError,
    find::{Found, holds, is_absent},
    open::Repository,
};
use crate::{
    catalog::{ContentSha1, HoldingRecord},
    domain::{
        digest::{Root, Sha1},
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
    },
    store::{
        disk::{Kind, Replace},
        hash::hash_file,
        staging::Staged,
    },
};

/// What becomes of the file that was verified under a name. One that nobody verified rests in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It goes for good.
    Dropped,
    /// It rests in the trash.
    Rests,
    /// It is kept, in the place of what was kept before under this name.
    Kept,
}

/// Verified bytes in staging that are to take a name.
pub struct Entrant<'a> {
    /// The name.
    pub name: &'a FileName,
    /// The bytes.
    pub staged: &'a Staged,
    /// What they are.
    pub file: FileRecord,
    /// What becomes of the file before.
    pub before: Before,
}

/// A cabinet, and the file beside it that has its SHA-1, in hex alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The folder of both.
    pub folder: FolderName,
    /// The cabinet.
    pub cab: FileName,
    /// Its SHA-1, where that is wanted.
    pub sidecar: Option<FileName>,
}

impl Repository {
    /// Gives staged bytes their names and signs what they are, all in one commit; `sha1` is noted before hosts get
    /// them. Only on a main. Blocks while the disk syncs. After an error the staged bytes are the caller's.
    pub fn enter_together(
        &self,
        folder: &FolderName,
        entrants: &[Entrant<'_>],
        sha1: Option<&ContentSha1>,
    ) -> Result<(), RepositoryError> {
        if self.role != Role::Main {
            return Err(RepositoryError::NotMain);
        }
        let open = self.folder(folder)?;
        let staged: Vec<_> = entrants.iter().map(|entrant| entrant.staged).collect();
        let unsynced = |source| RepositoryError::Unsynced { folder: folder.clone(), source };
        open.staging.sync_staged(&staged).map_err(unsynced)?;
        let _frozen = self.freeze(folder, entrants.iter().map(|entrant| entrant.name))?;
        for entrant in entrants {
            self.set_aside(folder, entrant)?;
        }
        self.state.index.write(|batch| {
            entrants.iter().try_for_each(|entrant| batch.files.remove_holding(folder, entrant.name).map(drop))
        })?;
        let mut holdings = Vec::with_capacity(entrants.len());
        for Entrant { name, staged, file, .. } in entrants {
            let stat = open.staging.publish(staged, name, Replace::Yes);
            let stat = stat.map_err(RepositoryError::io("publishing", name))?;
            let (FileRecord { root, size, .. }, modified_ns, inode) = (*file, stat.modified_ns, stat.inode);
            holdings.push((*name, file, HoldingRecord { root, size, modified_ns, inode, listed: true }));
        }
        let synced = open.staging.sync_published(entrants.iter().map(|entrant| entrant.name));
        synced.map_err(RepositoryError::io("syncing directories of", folder))?;
        self.author(|changes| {
            holdings.iter().try_for_each(|(name, file, holding)| {
                changes.batch.files.put_holding(folder, name, holding)?;
                changes.batch.files.set_missing(folder, name, None)?;
                changes.put_file(folder, name, file)
            })
        })?;
        if let Some(sha1) = sha1 {
            self.state.editions.note_sha1(sha1)?;
        }
        let kept = entrants.iter().filter(|entrant| entrant.before == Before::Kept);
        kept.map(|entrant| entrant.name).try_for_each(|name| {
            open.staging.settle_kept(name).map_err(RepositoryError::io("keeping what was before", name))
        })
    }

    /// Gives what is under a name a second one, if it is to stay.
    fn set_aside(&self, folder: &FolderName, entrant: &Entrant<'_>) -> Result<(), RepositoryError> {
        let (open, name) = (self.folder(folder)?, entrant.name);
        let stat = match open.staging.stat(name) {
            Err(error) if is_absent(&error) => return Ok(()),
            stat => stat.map_err(RepositoryError::io("looking at", name))?,
        };
        let holding = self.state.index.read()?.holding(folder, name)?;
        let is_verified = holding.is_some_and(|holding| holds(&stat, &holding));
        let (before, now) = (if is_verified { entrant.before } else { Before::Rests }, self.clock.unix_seconds());
        let set_aside = match before {
            _ if stat.kind != Kind::File => open.staging.trash(name, now).map(drop),
            Before::Dropped => Ok(()),
            Before::Rests => open.staging.rest_copy(name, now),
            Before::Kept => open.staging.keep(name),
        };
        set_aside.map_err(RepositoryError::io("setting aside", name))
    }

    /// Gives a staged cabinet its name, and its SHA-1 the one beside it, as one. Only on a main. After an error the
    /// staged cabinet is the caller's.
    pub fn enter_pair(
        &self,
        pair: &Pair,
        staged: &Staged,
        file: FileRecord,
        sha1: Sha1,
        before: Before,
    ) -> Result<(), RepositoryError> {
        let cab = Entrant { name: &pair.cab, staged, file, before };
        let Some(sidecar) = &pair.sidecar else { return self.enter_together(&pair.folder, &[cab], None) };
        self.enter_sidecar(pair, sidecar, &ContentSha1 { root: file.root, sha1 }, file.modified, Some(cab))
    }

    /// Notes which SHA-1 the cabinet has that is held, so that a sidecar is answered if it tells that; with `write`
    /// sees to it that there is one that does. Only on a main. Blocks, and hashes a cabinet that was never seen.
    pub fn mend_pair(&self, pair: &Pair, write: bool) -> Result<(), RepositoryError> {
        let Some(sidecar) = &pair.sidecar else { return Ok(()) };
        let Found::Held { file, size, root: Some(root), modified } = self.find(&pair.folder, &pair.cab)? else {
            return Ok(());
        };
        let known = match self.state.editions.sha1()? {
            Some(known) if known.root == root => known,
            _ => {
                let hashed = hash_file(&*file, size, true, None, &mut |_| {});
                let hashed = hashed.map_err(RepositoryError::io("hashing", &pair.cab))?;
                let Some(sha1) = hashed.sha1.filter(|_| hashed.root == root) else { return Ok(()) };
                let known = ContentSha1 { root, sha1 };
                self.state.editions.note_sha1(&known)?;
                known
            }
        };
        let holding = self.state.index.read()?.holding(&pair.folder, sidecar)?;
        let stat = self.folder(&pair.folder)?.stat_file(sidecar)?;
        let right = holding.filter(|holding| holding.root == root_of_sidecar(&known));
        if !write || right.zip(stat).is_some_and(|(holding, stat)| holds(&stat, &holding)) {
            return Ok(());
        }
        tracing::info!(name = %sidecar, "it is written for the cabinet beside it");
        self.enter_sidecar(pair, sidecar, &known, modified, None)
    }

    /// Writes a sidecar, and enters it, alone or with its cabinet.
    fn enter_sidecar(
        &self,
        pair: &Pair,
        sidecar: &FileName,
        known: &ContentSha1,
        modified: i64,
        cab: Option<Entrant<'_>>,
    ) -> Result<(), RepositoryError> {
        let text = known.sha1.to_string();
        let staging = self.staging(&pair.folder)?;
        let staged = staging.stage_bytes(text.as_bytes(), modified).map_err(RepositoryError::io("staging", sidecar))?;
        let file = FileRecord { root: root_of_sidecar(known), size: text.len() as u64, modified };
        // Alone it takes the place of somebody else's.
        let before = if cab.is_some() { Before::Dropped } else { Before::Rests };
        let beside = Entrant { name: sidecar, staged: &staged, file, before };
        let entrants: Vec<_> = cab.into_iter().chain([beside]).collect();
        let entered = self.enter_together(&pair.folder, &entrants, Some(known));
        if entered.is_err() {
            staging.discard(&staged).map_err(RepositoryError::io("discarding", sidecar))?;
        }
        entered
    }

    /// From here on the sidecar is answered only beside the cabinet that it was made from. The first pair counts.
    pub fn set_pair(&self, pair: Pair) {
        self.pair.get_or_init(|| pair);
    }

    /// The pair of a sidecar.
    pub(super) fn pair_of_sidecar(&self, folder: &FolderName, name: &FileName) -> Option<&Pair> {
        self.pair.get().filter(|pair| pair.sidecar.as_ref() == Some(name) && pair.folder == *folder)
    }

    /// Whether `name` is a sidecar that is known to belong to another cabinet than the one that is held.
    pub(super) fn is_anothers_sidecar(
        &self,
        folder: &FolderName,
        name: &FileName,
        sidecar: Root,
    ) -> Result<bool, RepositoryError> {
        let Some(pair) = self.pair_of_sidecar(folder, name) else { return Ok(false) };
        let cab = self.state.index.read()?.holding(folder, &pair.cab)?;
        let (Some(cab), Some(known)) = (cab, self.state.editions.sha1()?) else { return Ok(false) };
        Ok(cab.root != known.root || sidecar != root_of_sidecar(&known))
    }
}

/// BLAKE3 of a sidecar's content.
fn root_of_sidecar(known: &ContentSha1) -> Root {
    blake3::hash(known.sha1.to_string().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, OLD, Place, adopt, bytes_of, folder, indexed, name, root_of, seq};
    use super::*;
    use sha1::Digest;
    use std::{collections::BTreeSet, fs};

    const CAB: &str = "wsusscn2.cab";
    const SIDECAR: &str = "wsusscn2.cab.sha1";

    fn pair() -> Pair {
        Pair { folder: folder(), cab: name(CAB), sidecar: Some(name(SIDECAR)) }
    }

    fn sha1_of(bytes: &[u8]) -> Sha1 {
        Sha1(sha1::Sha1::digest(bytes).into())
    }

    fn enter(main: &Repository, bytes: &[u8], before: Before) -> Result<(), RepositoryError> {
        let modified = 1_600_000_000;
        let staged = main.staging(&folder()).unwrap().stage_bytes(bytes, modified).unwrap();
        let file = FileRecord { root: root_of(bytes), size: bytes.len() as u64, modified };
        main.enter_pair(&pair(), &staged, file, sha1_of(bytes), before)
    }

    fn found(of: &Repository, text: &str) -> Option<Vec<u8>> {
        match of.find(&folder(), &name(text)).unwrap() {
            Found::Held { file, size, .. } => Some(bytes_of(&*file, size)),
            _ => None,
        }
    }

    #[test]
    fn a_pair_enters_in_one_commit_and_what_was_before_is_kept() {
        let place = Place::new();
        let main = place.main();
        main.set_pair(pair());
        enter(&main, b"first", Before::Kept).unwrap();
        let head = main.head().unwrap();
        enter(&main, b"second", Before::Kept).unwrap();
        assert_eq!(main.head().unwrap().head().previous, head.hash(), "one head for both");
        assert_eq!((seq(&main), found(&main, CAB).unwrap()), (4, b"second".to_vec()));
        assert_eq!(found(&main, SIDECAR).unwrap(), sha1_of(b"second").to_string().as_bytes());
        assert_eq!(indexed(&main, SIDECAR).unwrap().modified, 1_600_000_000);
        let kept = main.staging(&folder()).unwrap().kept(&name(CAB)).unwrap().unwrap();
        assert_eq!(bytes_of(&*kept.file, kept.stat.size), b"first");
        enter(&main, b"third", Before::Rests).unwrap();
        assert_eq!((place.trashed(), found(&main, CAB).unwrap()), (vec![b"second".to_vec()], b"third".to_vec()));
        assert_eq!(fs::read_dir(place.stage("incoming")).unwrap().count(), 0);
    }

    #[test]
    fn what_nobody_verified_rests_in_the_trash_whatever_else_is_kept() {
        let place = Place::new();
        let main = place.main();
        place.write(CAB, b"unknown");
        enter(&main, b"edition", Before::Kept).unwrap();
        assert_eq!((place.trashed(), found(&main, CAB).unwrap()), (vec![b"unknown".to_vec()], b"edition".to_vec()));
        assert!(main.staging(&folder()).unwrap().kept(&name(CAB)).unwrap().is_none());
    }

    #[test]
    fn a_frozen_name_is_answered_as_it_was_until_it_is_let_go() {
        let place = Place::new();
        let main = place.main();
        enter(&main, b"old", Before::Kept).unwrap();
        let names = [name(CAB), name(SIDECAR), name("other")];
        let freeze = main.freeze(&folder(), names.iter()).unwrap();
        assert!(main.find_at_once(&folder(), &name(CAB)).is_none());
        place.write_at(CAB, b"new", NOW);
        fs::remove_file(place.path(SIDECAR)).unwrap();
        assert_eq!(found(&main, SIDECAR).unwrap(), sha1_of(b"old").to_string().as_bytes());
        assert_eq!(found(&main, "other"), None);
        drop(freeze);
        assert_eq!((found(&main, CAB), found(&main, SIDECAR)), (None, None));
    }

    #[test]
    fn hosts_that_ask_without_end_get_both_of_one_pair_or_neither() {
        let place = Place::new();
        let main = place.main();
        main.set_pair(pair());
        let editions: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 100_000]).collect();
        enter(&main, &editions[0], Before::Kept).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let (mut asked, mut seen) = (0, BTreeSet::new());
                while !done.load(std::sync::atomic::Ordering::Acquire) {
                    // Whoever gets the same sidecar before and after has the cabinet that belongs to it.
                    let (before, cab, after) = (found(&main, SIDECAR), found(&main, CAB), found(&main, SIDECAR));
                    let (before, cab) = (before.expect("it is never away"), cab.expect("it is never away"));
                    if Some(&before) == after.as_ref() {
                        assert_eq!(before, sha1_of(&cab).to_string().as_bytes());
                    }
                    seen.insert(cab[0]);
                    asked += 1;
                }
                (asked, seen.len())
            });
            editions[1..].iter().for_each(|edition| enter(&main, edition, Before::Kept).unwrap());
            done.store(true, std::sync::atomic::Ordering::Release);
            let (asked, seen) = asking.join().unwrap();
            assert!(asked > 10 && seen > 1, "{asked} askings saw {seen} editions");
        });
    }

    #[test]
    fn a_sidecar_is_never_answered_beside_another_cabinet_and_is_mended() {
        let place = Place::new();
        let main = place.main();
        main.set_pair(pair());
        enter(&main, b"old", Before::Kept).unwrap();
        // What a crash between two renames leaves, once the tree was looked at.
        place.write_at(CAB, b"new", OLD + 5);
        adopt(&main, &[CAB]).unwrap();
        assert_eq!((found(&main, CAB).unwrap(), found(&main, SIDECAR)), (b"new".to_vec(), None));
        let names = [name(SIDECAR)];
        let freeze = main.freeze(&folder(), names.iter()).unwrap();
        assert_eq!(found(&main, SIDECAR), None, "what was not answered is not frozen");
        drop(freeze);
        main.mend_pair(&pair(), false).unwrap();
        assert_eq!(found(&main, SIDECAR), None);
        main.mend_pair(&pair(), true).unwrap();
        assert_eq!(found(&main, SIDECAR).unwrap(), sha1_of(b"new").to_string().as_bytes());
        assert_eq!(indexed(&main, SIDECAR).unwrap().modified, OLD as i64 + 5);
        let head = main.head().unwrap();
        main.mend_pair(&pair(), true).unwrap();
        assert_eq!(main.head().unwrap(), head, "what is right stays");
        place.write_at(SIDECAR, b"0000", OLD + 9);
        adopt(&main, &[SIDECAR]).unwrap();
        assert_eq!(found(&main, SIDECAR), None);
        main.mend_pair(&pair(), true).unwrap();
        assert_eq!(found(&main, SIDECAR).unwrap(), sha1_of(b"new").to_string().as_bytes());
        assert!(place.trashed().contains(&b"0000".to_vec()));
    }

    #[test]
    fn a_sidecar_that_somebody_else_puts_beside_a_cabinet_is_answered_if_it_is_right() {
        let place = Place::new();
        let main = place.main();
        main.set_pair(pair());
        place.write(CAB, b"cab");
        place.write(SIDECAR, sha1_of(b"cab").to_string().as_bytes());
        adopt(&main, &[CAB, SIDECAR]).unwrap();
        let head = main.head().unwrap();
        assert!(found(&main, SIDECAR).is_some(), "nothing is known against it");
        main.mend_pair(&pair(), false).unwrap();
        main.mend_pair(&pair(), true).unwrap();
        assert!(found(&main, SIDECAR).is_some() && main.head().unwrap() == head);
    }
}
