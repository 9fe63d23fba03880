//! Compares the whole tree with the rows: at start, now and then, and when the watcher lost events.

use super::{
    attention::{Alarm, Trouble},
    error::RepositoryError,
    find::{holds, is_absent},
    open::{Folder, Repository, adopted_key},
};
use crate::{
    catalog::JobRecord,
    domain::{
        member::Role,
        name::{FileName, FolderName, NameError},
    },
    store::{
        disk::{Kind, Stat},
        layout,
        walk::{RefusedWhy, Walked},
    },
};
use std::{collections::BTreeSet, io, sync::atomic::Ordering};

/// Rows that are compared with the disk in one go.
const PAGE: usize = 1_000;

/// Calls its argument for everything that is to be compared.
type Walk<'a> = dyn Fn(&mut dyn FnMut(Walked)) -> io::Result<()> + 'a;

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanSummary {
    /// Ordinary files with a name that can be mirrored.
    pub files: u64,
    /// Those that differ from the rows.
    pub differing: u64,
    /// Rows whose file was gone.
    pub gone: u64,
}

impl Repository {
    /// Walks a folder; `on_differing` gets every file that is not the known holding. Then rows whose file
    /// is gone are settled: signed as removed or withheld on a main, missing on a secondary. Blocks;
    /// reads no file's content.
    pub fn scan(
        &self,
        folder: &FolderName,
        on_differing: &mut dyn FnMut(FileName, Stat),
    ) -> Result<ScanSummary, RepositoryError> {
        let open = self.folder(folder)?;
        let started_at = self.clock.unix_seconds();
        let alarm = Alarm::FolderUnreadable(folder.clone());
        let walked = self.walk(open, on_differing);
        match &walked {
            Ok(_) => self.attention.clear(&alarm),
            Err(error) => self.attention.raise(
                alarm,
                format!("{} can't be read: {error}", open.path.display()),
                "check that the folder exists and that the daemon may read it",
            ),
        }
        let mut summary = walked?;
        summary.gone = match self.role {
            Role::Main => self.remove_all_gone(folder)?,
            Role::Secondary => self.lose_all_gone(folder)?,
        };
        self.judge_identity(open, summary.gone)?;
        self.note_scan(folder, started_at, &summary)?;
        Ok(summary)
    }

    fn note_scan(&self, folder: &FolderName, started_at: u64, found: &ScanSummary) -> Result<(), RepositoryError> {
        let outcome = format!("{} files, {} differed, {} were gone", found.files, found.differing, found.gone);
        let job = JobRecord { started_at, finished_at: Some(self.clock.unix_seconds()), outcome, failed: false };
        Ok(self.state.ledger.put_job(&scan_job(folder), &job)?)
    }

    /// When a folder was last compared with its rows, in seconds since 1970 UTC.
    pub fn last_scan(&self, folder: &FolderName) -> Result<Option<u64>, RepositoryError> {
        Ok(self.state.ledger.job(&scan_job(folder))?.and_then(|job| job.finished_at))
    }

    fn walk(
        &self,
        open: &Folder,
        on_differing: &mut dyn FnMut(FileName, Stat),
    ) -> Result<ScanSummary, RepositoryError> {
        let stale = self.troubles.listed(&open.name).into_iter().map(|(name, _)| name).collect();
        self.compare(open, stale, on_differing, &|each| open.staging.walk(each))
    }

    /// Looks through one directory of a folder, such as one that has just appeared; `on_differing` gets
    /// every file that is not the known holding. Blocks; reads no file's content.
    pub(super) fn scan_beneath(
        &self,
        folder: &FolderName,
        directory: &FileName,
        on_differing: &mut dyn FnMut(FileName, Stat),
    ) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let stale = self.troubles.beneath(folder, directory);
        self.compare(open, stale, on_differing, &|each| open.staging.walk_beneath(directory, each)).map(drop)
    }

    /// What was in trouble and is not met again is `stale`.
    fn compare(
        &self,
        open: &Folder,
        mut stale: BTreeSet<String>,
        on_differing: &mut dyn FnMut(FileName, Stat),
        walk: &Walk<'_>,
    ) -> Result<ScanSummary, RepositoryError> {
        let mut summary = ScanSummary::default();
        self.troubles.count_anew(&open.name);
        let mut failed = None;
        let walked = walk(&mut |met| match met {
            Walked::File(name, stat) => {
                summary.files += 1;
                // Asked anew each time: whoever waits in `on_differing` with a snapshot in hand keeps the pages of every
                // commit since.
                match self.state.index.read().and_then(|index| index.holding(&open.name, &name)) {
                    Ok(Some(holding)) if holds(&stat, &holding) => {}
                    Ok(_) => {
                        summary.differing += 1;
                        stale.remove(name.as_str());
                        on_differing(name, stat);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            Walked::Refused { name, why } => {
                self.troubles.note(&open.name, &name, trouble_of(why));
                stale.remove(&name);
            }
        });
        walked.map_err(RepositoryError::io("walking", &open.name))?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        self.troubles.forget(&open.name, &stale);
        Ok(summary)
    }

    /// What can't be mirrored came, each with the reason, or went.
    pub(super) fn note_refused(&self, folder: &FolderName, names: Vec<(String, Option<NameError>)>) {
        let mut gone = BTreeSet::new();
        for (name, why) in names {
            match why {
                _ if layout::is_reserved(name.as_bytes()) => {}
                Some(why) => self.troubles.note(folder, &name, Trouble::Refused(RefusedWhy::Name(why).to_string())),
                None => _ = gone.insert(name),
            }
        }
        self.troubles.forget(folder, &gone);
    }

    /// No ordinary file has this name: what else has it is listed.
    pub(super) fn note_absent(&self, open: &Folder, name: &FileName) {
        match open.staging.stat(name) {
            Ok(stat) if stat.kind == Kind::Other => {
                let why = RefusedWhy::NotAFile.to_string();
                self.troubles.note(&open.name, name.as_str(), Trouble::Refused(why));
            }
            _ => self.troubles.clear(&open.name, name),
        }
    }

    /// Raises the alarm over a part of the folder that is not watched, or clears it.
    pub(super) fn judge_unwatched(&self, folder: &FolderName, part: Option<String>) {
        let alarm = Alarm::FolderUnwatched(folder.clone());
        match part {
            Some(why) => {
                let what = format!("part of folder {folder} is not watched, changes there are seen by rescans: {why}");
                let cure = "raise the limit: `sysctl -w fs.inotify.max_user_watches=1048576`; it is tried every minute";
                self.attention.raise(alarm, what, cure);
            }
            None => self.attention.clear(&alarm),
        }
    }

    /// Of what could not be read: the files that can be, and whether a directory can. Blocks; reads no
    /// file's content.
    pub(super) fn readable_again(&self, folder: &FolderName) -> Result<(Vec<FileName>, bool), RepositoryError> {
        let open = self.folder(folder)?;
        let (mut files, mut directory) = (Vec::new(), false);
        for (name, trouble) in self.troubles.listed(folder) {
            let (Trouble::Unreadable(_), Ok(name)) = (trouble, FileName::new(&name)) else { continue };
            match open.staging.stat(&name).map(|stat| stat.kind) {
                Ok(Kind::Directory) => directory |= open.staging.is_readable(&name).unwrap_or(false),
                Ok(Kind::File) if open.staging.is_readable(&name).unwrap_or(false) => files.push(name),
                Ok(_) => {}
                Err(error) if is_absent(&error) => self.troubles.clear(folder, &name),
                Err(_) => {}
            }
        }
        Ok((files, directory))
    }

    /// Hands over, page by page, the holdings beneath a directory whose file is gone.
    pub(super) fn each_gone_beneath(
        &self,
        open: &Folder,
        directory: &FileName,
        each: &mut dyn FnMut(&[FileName]) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut after = None;
        loop {
            let page = self.state.index.read()?.held_beneath(&open.name, directory, after.as_ref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut gone = Vec::new();
            for name in page {
                if open.stat_file(&name)?.is_none() {
                    gone.push(name);
                }
            }
            if !gone.is_empty() {
                each(&gone)?;
            }
        }
    }

    /// Hands over, page by page, the holdings whose file is gone.
    pub(super) fn each_gone(
        &self,
        open: &Folder,
        each: &mut dyn FnMut(&[FileName]) -> Result<(), RepositoryError>,
    ) -> Result<(), RepositoryError> {
        let mut after = None;
        loop {
            let page = self.state.index.read()?.holdings_after(&open.name, after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut gone = Vec::new();
            for (name, _) in page {
                if open.stat_file(&name)?.is_none() {
                    gone.push(name);
                }
            }
            if !gone.is_empty() {
                each(&gone)?;
            }
        }
    }

    /// Whether the folder is the directory, on the device, that it was when its state was last signed.
    pub(super) fn identity_is_known(&self, open: &Folder) -> Result<bool, RepositoryError> {
        Ok(self.opened_is_known(open)? && self.is_in_place(open)?)
    }

    /// The same for the directory that was opened, wherever it is by now.
    pub(super) fn opened_is_known(&self, open: &Folder) -> Result<bool, RepositoryError> {
        let (known, identity) = (self.state.index.read()?.meta(&identity_key(&open.name))?, identity_bytes(open)?);
        Ok(known.is_none_or(|known| known == identity))
    }

    /// A folder in which nothing is gone is the right one, wherever it was moved.
    fn judge_identity(&self, open: &Folder, gone: u64) -> Result<(), RepositoryError> {
        if gone == 0 && self.is_in_place(open)? {
            return self.accept_identity(&open.name);
        }
        if self.identity_is_known(open)? {
            self.attention.clear(&Alarm::FolderReplaced(open.name.clone()));
        } else {
            self.raise_replaced(open)?;
        }
        Ok(())
    }

    /// Whether the folder's path still leads to the directory that was opened.
    pub(super) fn is_in_place(&self, open: &Folder) -> Result<bool, RepositoryError> {
        let opened = open.staging.identity().map_err(RepositoryError::io("looking at folder", &open.name))?;
        let there = self.disk.stat_path(&open.path).map(|stat| (stat.device, stat.inode));
        Ok(there.is_ok_and(|there| there == opened))
    }

    /// From here on the folder's present directory and device are the right ones.
    pub(super) fn accept_identity(&self, folder: &FolderName) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let identity = identity_bytes(open)?;
        if self.state.index.read()?.meta(&identity_key(folder))?.as_ref() != Some(&identity) {
            self.state.index.write(|batch| batch.set_meta(&identity_key(folder), &identity))?;
        }
        self.attention.clear(&Alarm::FolderReplaced(folder.clone()));
        Ok(())
    }

    /// Every file of the first scan has been looked at: from here on only holdings are served.
    pub(super) fn finish_adoption(&self, folder: &FolderName) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        if !open.adopted.load(Ordering::Acquire) {
            self.state.index.write(|batch| batch.set_meta(&adopted_key(folder), &[1]))?;
            open.adopted.store(true, Ordering::Release);
            tracing::info!(%folder, "the folder is adopted");
        }
        Ok(())
    }
}

pub(super) fn trouble_of(why: RefusedWhy) -> Trouble {
    match why {
        RefusedWhy::Name(why) => Trouble::Refused(why.to_string()),
        RefusedWhy::NotAFile => Trouble::NotAFile,
        RefusedWhy::Unreadable(why) => Trouble::Unreadable(why.to_string()),
    }
}

fn scan_job(folder: &FolderName) -> String {
    format!("scan/{folder}")
}

fn identity_key(folder: &FolderName) -> String {
    format!("identity/{folder}")
}

fn identity_bytes(open: &Folder) -> Result<Vec<u8>, RepositoryError> {
    let (device, inode) = open.staging.identity().map_err(RepositoryError::io("looking at folder", &open.name))?;
    Ok([device.to_be_bytes(), inode.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Place, folder, is_held, name, rescan, seq};
    use super::*;
    use std::fs;

    #[test]
    fn a_scan_names_what_differs_and_nothing_else() {
        let place = Place::new();
        let main = place.main();
        ["a", "sub/b"].iter().for_each(|name| place.write(name, b"x"));
        assert_eq!(main.last_scan(&folder()).unwrap(), None);
        rescan(&main);
        assert!(main.last_scan(&folder()).unwrap().is_some());
        place.write("sub/b", b"yy");
        place.write("c", b"z");
        let mut differing = Vec::new();
        let summary = main.scan(&folder(), &mut |name, _| differing.push(name)).unwrap();
        assert_eq!(differing, [name("c"), name("sub/b")]);
        assert_eq!(summary, ScanSummary { files: 3, differing: 2, gone: 0 });
    }

    #[test]
    fn refused_names_are_listed_until_they_are_gone() {
        let place = Place::new();
        let main = place.main();
        place.write("con.cab", b"x");
        place.write("fine", b"x");
        std::os::unix::fs::symlink("fine", place.path("link")).unwrap();
        rescan(&main);
        let listed = main.troubles.listed(&folder());
        assert!(
            matches!(listed.as_slice(), [(name, Trouble::Refused(_)), (link, Trouble::NotAFile)]
                if name == "con.cab" && link == "link"),
            "{listed:?}"
        );
        assert!(is_held(&main, "fine"));
        fs::remove_file(place.path("con.cab")).unwrap();
        fs::remove_file(place.path("link")).unwrap();
        rescan(&main);
        assert_eq!(main.troubles.listed(&folder()), []);
    }

    #[test]
    fn a_file_in_whose_place_a_directory_is_counts_as_gone() {
        let place = Place::new();
        let main = place.main();
        place.write("a", b"a");
        rescan(&main);
        fs::remove_file(place.path("a")).unwrap();
        place.write("a/b", b"b");
        assert_eq!(rescan(&main), 1);
        assert!(!is_held(&main, "a") && is_held(&main, "a/b"));
        assert_eq!(seq(&main), 3);
    }

    #[test]
    fn an_adopted_folder_stays_adopted_over_a_restart() {
        let place = Place::new();
        let main = place.main();
        let adopted = |main: &Repository| main.folder(&folder()).unwrap().adopted.load(Ordering::Acquire);
        assert!(!adopted(&main));
        rescan(&main);
        assert!(adopted(&main));
        drop(main);
        assert!(adopted(&place.main()));
    }
}
