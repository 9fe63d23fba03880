//! Content arrives at a secondary: first from what lies on this disk already, else over the network.

use super::{
    adopt::{Adoptable, Examined},
    error::RepositoryError,
    find::holds,
    open::{Folder, Repository},
};
use crate::{
    catalog::{HoldingRecord, MissingRecord},
    domain::{
        digest::Root,
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

/// Verified bytes in staging that are to take a name.
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

/// What this disk can do for a missing file.
pub enum LocalSource {
    /// It was there; the rows say so now.
    Settled,
    /// A copy or a second name of it is staged.
    Staged(Staged),
    /// Nothing: it must be fetched.
    Nothing,
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

    /// The staging of a folder, where arriving bytes are put.
    pub fn staging(&self, folder: &FolderName) -> Result<&Staging, RepositoryError> {
        Ok(&self.folder(folder)?.staging)
    }

    /// Looks for wanted content on this disk: under its own name (seeded by hand, or with another
    /// mtime), or under another name of the folder. Blocks; may hash the file.
    pub fn obtain_locally(
        &self,
        folder: &FolderName,
        name: &FileName,
        wanted: &MissingRecord,
    ) -> Result<LocalSource, RepositoryError> {
        let open = self.folder(folder)?;
        if let Ok(stat) = open.staging.stat(name)
            && stat.size == wanted.size
            && self.settle_in_place(open, name, wanted)?
        {
            return Ok(LocalSource::Settled);
        }
        let snapshot = self.state.index.read()?;
        let both_immutable = |other: &FileName| name.is_immutable() && other.is_immutable();
        for (_, other) in snapshot.holders(&wanted.root, 8)?.iter().filter(|(of, other)| of == folder && other != name)
        {
            let Some(holding) = snapshot.holding(folder, other)? else { continue };
            if self.open_holding(folder, other, &holding)?.is_none() {
                continue;
            }
            let linked = both_immutable(other);
            let staged = open.staging.link_or_copy(other, wanted.modified, linked);
            return Ok(LocalSource::Staged(staged.map_err(RepositoryError::io("copying", other))?));
        }
        Ok(LocalSource::Nothing)
    }

    /// A file that lies under its name with the wanted content needs at most another mtime.
    fn settle_in_place(&self, open: &Folder, name: &FileName, wanted: &MissingRecord) -> Result<bool, RepositoryError> {
        let known = self.state.index.read()?.holding(&open.name, name)?;
        let stat = open.staging.stat(name).map_err(RepositoryError::io("looking at", name))?;
        let found = match known.filter(|holding| holds(&stat, holding)) {
            Some(holding) => Some(holding.root),
            None => self.root_of_file(&open.name, name)?,
        };
        if found != Some(wanted.root) {
            return Ok(false);
        }
        let stat = open.staging.set_modified(name, wanted.modified).map_err(RepositoryError::io("dating", name))?;
        open.staging.sync_in_place(&[name]).map_err(RepositoryError::io("syncing", name))?;
        self.commit_arrivals(&open.name, &[(name.clone(), *wanted, stat)])?;
        self.note_change();
        Ok(true)
    }

    fn root_of_file(&self, folder: &FolderName, name: &FileName) -> Result<Option<Root>, RepositoryError> {
        match self.examine(folder, name)? {
            Examined::Ready(file) => Ok(Some(Adoptable::root(&file))),
            _ => Ok(None),
        }
    }

    /// Gives arrived bytes their names: sync, rename, sync the directories, commit. One that the index
    /// no longer wants is dropped.
    pub fn receive(&self, arrivals: Vec<Arrival>) -> Result<(), RepositoryError> {
        let mut by_folder: BTreeMap<FolderName, Vec<Arrival>> = BTreeMap::new();
        for arrival in arrivals {
            by_folder.entry(arrival.folder.clone()).or_default().push(arrival);
        }
        by_folder.into_iter().try_for_each(|(folder, arrivals)| self.receive_into(&folder, arrivals))
    }

    fn receive_into(&self, folder: &FolderName, arrivals: Vec<Arrival>) -> Result<(), RepositoryError> {
        let open = self.folder(folder)?;
        let staged: Vec<&Staged> = arrivals.iter().map(|arrival| &arrival.staged).collect();
        open.staging.sync_staged(&staged).map_err(RepositoryError::io("syncing arrivals in", folder))?;
        let writer = self.writer();
        let wanted = self.drop_unwanted(open, arrivals)?;
        let replaced = self.forget_replaced(folder, &wanted)?;
        let mut published: Vec<(FileName, MissingRecord, Stat)> = Vec::with_capacity(wanted.len());
        for arrival in &wanted {
            let stat = self.publish_arrival(open, arrival, replaced.contains(&arrival.name))?;
            published.push((arrival.name.clone(), arrival.wanted, stat));
        }
        let names: Vec<_> = wanted.iter().map(|arrival| &arrival.name).collect();
        open.staging
            .sync_published(names.iter().copied())
            .map_err(RepositoryError::io("syncing directories of", folder))?;
        self.commit_arrivals(folder, &published)?;
        drop(writer);
        self.note_change();
        Ok(())
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
    fn forget_replaced(&self, folder: &FolderName, wanted: &[Arrival]) -> Result<BTreeSet<FileName>, RepositoryError> {
        let snapshot = self.state.index.read()?;
        let mut replaced = BTreeSet::new();
        for arrival in wanted {
            if snapshot.holding(folder, &arrival.name)?.is_some() {
                replaced.insert(arrival.name.clone());
            }
        }
        if !replaced.is_empty() {
            self.state
                .index
                .write(|batch| replaced.iter().try_for_each(|name| batch.remove_holding(folder, name).map(drop)))?;
        }
        Ok(replaced)
    }

    /// A version that was verified here is replaced; a file that nobody verified goes to the trash first.
    fn publish_arrival(&self, open: &Folder, arrival: &Arrival, replaces: bool) -> Result<Stat, RepositoryError> {
        let publish = |replace| open.staging.publish(&arrival.staged, &arrival.name, replace);
        let published = match publish(if replaces { Replace::Yes } else { Replace::No }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open.staging.trash(&arrival.name, self.clock.unix_seconds()).and_then(|()| publish(Replace::No))
            }
            other => other,
        };
        published.map_err(RepositoryError::io("publishing", &arrival.name))
    }

    fn commit_arrivals(
        &self,
        folder: &FolderName,
        published: &[(FileName, MissingRecord, Stat)],
    ) -> Result<(), RepositoryError> {
        self.state.index.write(|batch| {
            for (name, wanted, stat) in published {
                if batch.missing(folder, name)? == Some(*wanted) {
                    batch.set_missing(folder, name, None)?;
                }
                let listed = batch.entry(&Namespace::folder(folder), name.as_str().as_bytes())?;
                let listed = listed.is_some_and(|body| Body::value_of(&body).is_some());
                let (root, size) = (wanted.root, wanted.size);
                let holding = HoldingRecord { root, size, modified_ns: stat.modified_ns, inode: stat.inode, listed };
                batch.put_holding(folder, name, &holding)?;
            }
            Ok::<_, RepositoryError>(())
        })
    }
}
