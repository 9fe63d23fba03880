//! Content arrives at a secondary: verified bytes in staging take their names.

use super::{
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
        let open = self.folder(folder)?;
        self.judge_room(open);
        Ok(&open.staging)
    }

    /// Gives arrived bytes their names: sync, rename, sync the directories, commit. One that the index
    /// wants no longer is dropped; one that fails is dropped too, the others still arrive, and the
    /// failure is the answer.
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
        let replaced = self.forget_replaced(open, &wanted)?;
        let mut published: Vec<(FileName, MissingRecord, Stat)> = Vec::with_capacity(wanted.len());
        let mut failed = None;
        for arrival in &wanted {
            match self.publish_arrival(open, arrival, replaced.contains(&arrival.name)) {
                Ok(stat) => published.push((arrival.name.clone(), arrival.wanted, stat)),
                Err(error) => {
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
                held.iter().map(forget).try_for_each(|name| batch.remove_holding(&open.name, &name).map(drop))
            })?;
        }
        Ok(verified)
    }

    /// A version that was verified here is replaced; a file that nobody verified goes to the trash first.
    fn publish_arrival(&self, open: &Folder, arrival: &Arrival, replaces: bool) -> Result<Stat, RepositoryError> {
        let publish = |replace| open.staging.publish(&arrival.staged, &arrival.name, replace);
        let published = match publish(if replaces { Replace::Yes } else { Replace::No }) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open.staging.trash(&arrival.name, self.clock.unix_seconds()).and_then(|_| publish(Replace::No))
            }
            other => other,
        };
        published.map_err(RepositoryError::io("publishing", &arrival.name))
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
