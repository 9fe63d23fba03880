//! Rows of what is known of files and who wants them. One transaction for all that is told at once;
//! what a claim changes is decided in [`crate::domain::wants`].

use super::{
    error::CatalogError,
    ledger::{Ledger, row_of},
    records::ConflictsRecord,
    snapshot::file_key,
    tables::{self, FileKey},
};
use crate::domain::{
    name::{FileName, FolderName},
    update::UpdateId,
    wants::{Asker, Conflict, FileClaim, FileFacts, KnownFile, MergeError, Want, merge},
};
use redb::{ReadOnlyTable, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};

/// Most conflicting contents that are kept of one file; the first stay.
const FILE_CONFLICTS: usize = 8;
/// Most files with conflicts that are kept.
const CONFLICT_FILES: u64 = 10_000;

/// A file's folder and its name there.
pub type FilePlace = (FolderName, FileName);

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantLimit {
    /// Files that somebody told of.
    pub files: u64,
    /// Files that somebody wants.
    pub wants: u64,
}

impl Default for WantLimit {
    /// As many as one edition of Microsoft's index names (97,300 files). A ledger that is full of both has
    /// some 150 MB, which still passes into a backup.
    fn default() -> Self {
        Self { files: 100_000, wants: 100_000 }
    }
}

/// What became of one claim of somebody who wants its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskOutcome {
    /// It is wanted.
    Wanted {
        /// Nobody wanted it before.
        is_new: bool,
        /// What is known of it.
        facts: FileFacts,
    },
    /// It is known, and wanted once somebody asks for it.
    Told {
        /// What is known of it.
        facts: FileFacts,
    },
    /// The claim was not taken.
    Refused(MergeError),
    /// No more files, or wants, are remembered.
    Full,
}

/// Which files are wanted, as of one commit.
pub struct Wanted {
    wants: ReadOnlyTable<FileKey, &'static [u8]>,
}

impl Wanted {
    /// Whether somebody wants a file.
    pub fn has(&self, folder: &FolderName, name: &FileName) -> Result<bool, CatalogError> {
        Ok(self.wants.get((folder.as_str(), name.as_str()))?.is_some())
    }
}

/// A want with what is known of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantRow {
    /// The file.
    pub file: KnownFile,
    /// Who wants it.
    pub want: Want,
    /// Claims about it that were not taken.
    pub conflicts: Vec<Conflict>,
}

/// What went when an update was forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Files that nobody wants any more.
    pub files: Vec<FilePlace>,
    /// Files that stay, since other updates share them.
    pub shared: Vec<FilePlace>,
}

impl Ledger {
    /// `asker` wants these files, at `now` (seconds since 1970 UTC). One answer for each claim, in order.
    pub fn ask(
        &self,
        claims: &[(FolderName, FileClaim)],
        asker: &Asker,
        now: u64,
        limit: WantLimit,
    ) -> Result<Vec<AskOutcome>, CatalogError> {
        self.write(|transaction| {
            let mut rows = Rows::open(transaction)?;
            claims.iter().map(|(folder, claim)| rows.ask(folder, claim, asker, now, limit)).collect()
        })
    }

    /// `who` tells of these files, which nobody has to want yet. One answer for each claim, in order.
    pub fn tell(
        &self,
        claims: &[(FolderName, FileClaim)],
        who: &Asker,
        now: u64,
        limit: WantLimit,
    ) -> Result<Vec<AskOutcome>, CatalogError> {
        self.write(|transaction| {
            let mut rows = Rows::open(transaction)?;
            let tell = |(folder, claim): &(FolderName, FileClaim)| {
                Ok(match rows.take(folder, claim, who, now, limit)? {
                    Ok(facts) => AskOutcome::Told { facts },
                    Err(refused) => refused,
                })
            };
            claims.iter().map(tell).collect()
        })
    }

    /// `askers` want a file that is known already; `false` if it is not, or no more wants are remembered.
    pub fn ask_known(
        &self,
        folder: &FolderName,
        name: &FileName,
        askers: &[Asker],
        now: u64,
        limit: WantLimit,
    ) -> Result<bool, CatalogError> {
        self.write(|transaction| {
            let mut rows = Rows::open(transaction)?;
            if rows.files.get((folder.as_str(), name.as_str()))?.is_none() {
                return Ok(false);
            }
            let mut is_noted = true;
            for asker in askers {
                is_noted &= rows.want(folder, name, asker, now, limit)?.is_some();
            }
            Ok(is_noted)
        })
    }

    /// Forgets who wants a file and all that was told of it; whether there was anything.
    pub fn forget_file(&self, folder: &FolderName, name: &FileName) -> Result<bool, CatalogError> {
        self.write(|transaction| Rows::open(transaction)?.forget(folder, name))
    }

    /// Forgets an update: the files that no other update shares, and that the others are a part of it.
    pub fn forget_update(&self, update: UpdateId) -> Result<Forgotten, CatalogError> {
        self.write(|transaction| {
            let mut rows = Rows::open(transaction)?;
            let mut forgotten = Forgotten::default();
            for (folder, name) in places_of(&rows.of_update, &update.to_bytes(), "update_files", usize::MAX)? {
                if rows.leave_update(&folder, &name, update)? {
                    rows.forget(&folder, &name)?;
                    forgotten.files.push((folder, name));
                } else {
                    forgotten.shared.push((folder, name));
                }
            }
            Ok(forgotten)
        })
    }

    /// Drops these wants; what is known of their files stays.
    pub fn drop_wants(&self, places: &[FilePlace]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut wants = transaction.open_table(tables::WANTS)?;
            for (folder, name) in places {
                wants.remove((folder.as_str(), name.as_str()))?;
            }
            Ok(())
        })
    }

    /// What is known of a file.
    pub fn known_file(&self, folder: &FolderName, name: &FileName) -> Result<Option<KnownFile>, CatalogError> {
        let files = self.reading()?.open_table(tables::FILES)?;
        let Some(value) = files.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        let facts = FileFacts::decode(value.value()).map_err(row_of("files"))?;
        Ok(Some(KnownFile { folder: folder.clone(), name: name.clone(), facts }))
    }

    /// At most `most` files of an update.
    pub fn files_of_update(&self, update: UpdateId, most: usize) -> Result<Vec<FilePlace>, CatalogError> {
        let table = self.reading()?.open_table(tables::UPDATE_FILES)?;
        places_of(&table, &update.to_bytes(), "update_files", most)
    }

    /// Which files are wanted, as of this moment.
    pub fn wanted(&self) -> Result<Wanted, CatalogError> {
        Ok(Wanted { wants: self.reading()?.open_table(tables::WANTS)? })
    }

    /// The want for a file with what is known of it.
    pub fn want_row(&self, folder: &FolderName, name: &FileName) -> Result<Option<WantRow>, CatalogError> {
        let transaction = self.reading()?;
        let (files, conflicts) = (transaction.open_table(tables::FILES)?, transaction.open_table(tables::CONFLICTS)?);
        let wants = transaction.open_table(tables::WANTS)?;
        let place = (folder.as_str(), name.as_str());
        let want = wants.get(place)?;
        want.map(|want| want_row(place, want.value(), &files, &conflicts)).transpose()
    }

    /// At most `most` wants, by folder and name, after `after`.
    pub fn wants_after(&self, after: Option<&FilePlace>, most: usize) -> Result<Vec<WantRow>, CatalogError> {
        let mut rows = Vec::new();
        self.each_want_after(after, |row| {
            rows.push(row);
            Ok::<_, CatalogError>(rows.len() < most)
        })?;
        Ok(rows)
    }

    /// Every want after `after`, by folder and name, as of one commit, while `each` says to go on.
    pub fn each_want_after<E: From<CatalogError>>(
        &self,
        after: Option<&FilePlace>,
        mut each: impl FnMut(WantRow) -> Result<bool, E>,
    ) -> Result<(), E> {
        let transaction = self.reading()?;
        let open = |table| transaction.open_table(table).map_err(CatalogError::from);
        let (wants, files, conflicts) = (open(tables::WANTS)?, open(tables::FILES)?, open(tables::CONFLICTS)?);
        let from = after.map_or(("", ""), |(folder, name)| (folder.as_str(), name.as_str()));
        for row in wants.range(from..).map_err(CatalogError::from)? {
            let (key, value) = row.map_err(CatalogError::from)?;
            if after.is_some() && key.value() == from {
                continue;
            }
            let row = want_row(key.value(), value.value(), &files, &conflicts)?;
            if !each(row)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The place of every want, by folder and name, as of one commit.
    pub fn each_wanted_place<E: From<CatalogError>>(
        &self,
        mut each: impl FnMut(&FolderName, &FileName) -> Result<(), E>,
    ) -> Result<(), E> {
        let wants = self.reading()?.open_table(tables::WANTS).map_err(CatalogError::from)?;
        for row in wants.iter().map_err(CatalogError::from)? {
            let key = row.map_err(CatalogError::from)?.0;
            let (folder, name) = file_key("wants", key.value().0, key.value().1)?;
            each(&folder, &name)?;
        }
        Ok(())
    }

    /// How many files have claims about them that were not taken.
    pub fn conflicting_files(&self) -> Result<u64, CatalogError> {
        Ok(self.reading()?.open_table(tables::CONFLICTS)?.len()?)
    }
}

fn want_row(
    (folder, name): (&str, &str),
    want: &[u8],
    files: &impl ReadableTable<FileKey, &'static [u8]>,
    conflicts: &impl ReadableTable<FileKey, &'static [u8]>,
) -> Result<WantRow, CatalogError> {
    let facts = files.get((folder, name))?.ok_or(CatalogError::Damaged("wants"))?;
    let facts = FileFacts::decode(facts.value()).map_err(row_of("files"))?;
    let want = Want::decode(want).map_err(row_of("wants"))?;
    let conflicts = match conflicts.get((folder, name))? {
        Some(value) => ConflictsRecord::decode(value.value()).map_err(row_of("conflicts"))?.0,
        None => Vec::new(),
    };
    let (folder, name) = file_key("wants", folder, name)?;
    Ok(WantRow { file: KnownFile { folder, name, facts }, want, conflicts })
}

/// The files behind one update or one digest.
fn places_of(
    table: &impl ReadableTable<(&'static [u8; 20], &'static str, &'static str), ()>,
    key: &[u8; 20],
    named: &'static str,
    most: usize,
) -> Result<Vec<FilePlace>, CatalogError> {
    let mut places = Vec::new();
    for row in table.range((key, "", "")..)? {
        let found = row?.0;
        let (of, folder, name) = found.value();
        if of != key || places.len() == most {
            break;
        }
        places.push(file_key(named, folder, name)?);
    }
    Ok(places)
}

/// The tables of one change.
struct Rows<'t> {
    files: Table<'t, FileKey, &'static [u8]>,
    of_update: Table<'t, (&'static [u8; 20], &'static str, &'static str), ()>,
    conflicts: Table<'t, FileKey, &'static [u8]>,
    wants: Table<'t, FileKey, &'static [u8]>,
}

impl<'t> Rows<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            files: transaction.open_table(tables::FILES)?,
            of_update: transaction.open_table(tables::UPDATE_FILES)?,
            conflicts: transaction.open_table(tables::CONFLICTS)?,
            wants: transaction.open_table(tables::WANTS)?,
        })
    }

    fn facts(&self, folder: &FolderName, name: &FileName) -> Result<Option<FileFacts>, CatalogError> {
        let value = self.files.get((folder.as_str(), name.as_str()))?;
        value.map(|value| FileFacts::decode(value.value()).map_err(row_of("files"))).transpose()
    }

    fn ask(
        &mut self,
        folder: &FolderName,
        claim: &FileClaim,
        asker: &Asker,
        now: u64,
        limit: WantLimit,
    ) -> Result<AskOutcome, CatalogError> {
        let is_wanted = self.wants.get((folder.as_str(), claim.name().as_str()))?.is_some();
        if !is_wanted && self.wants.len()? >= limit.wants {
            return Ok(AskOutcome::Full);
        }
        match self.take(folder, claim, asker, now, limit)? {
            Ok(facts) => {
                self.want(folder, claim.name(), asker, now, limit)?;
                Ok(AskOutcome::Wanted { is_new: !is_wanted, facts })
            }
            Err(refused) => Ok(refused),
        }
    }

    /// What is known of a file with this claim; or why it was not taken.
    fn take(
        &mut self,
        folder: &FolderName,
        claim: &FileClaim,
        who: &Asker,
        now: u64,
        limit: WantLimit,
    ) -> Result<Result<FileFacts, AskOutcome>, CatalogError> {
        let name = claim.name();
        let known = self.facts(folder, name)?;
        let facts = match merge(known.as_ref(), claim, now) {
            Ok(facts) => facts,
            Err(refused) => {
                if let MergeError::Conflict { .. } = refused {
                    self.note_conflict(folder, name, Conflict::new(claim, who, now))?;
                }
                return Ok(Err(AskOutcome::Refused(refused)));
            }
        };
        if known.is_none() && self.files.len()? >= limit.files {
            return Ok(Err(AskOutcome::Full));
        }
        if known.as_ref() != Some(&facts) {
            self.put_facts(folder, name, &facts)?;
        }
        Ok(Ok(facts))
    }

    /// Whether the want is new; `None` if no more are remembered.
    fn want(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        asker: &Asker,
        now: u64,
        limit: WantLimit,
    ) -> Result<Option<bool>, CatalogError> {
        let place = (folder.as_str(), name.as_str());
        let known = self.wants.get(place)?.map(|value| Want::decode(value.value()).map_err(row_of("wants")));
        let known = known.transpose()?;
        let is_new = known.is_none();
        let want = match known {
            Some(mut want) => {
                want.ask(asker, now);
                want
            }
            None if self.wants.len()? >= limit.wants => return Ok(None),
            None => Want::new(asker, now),
        };
        self.wants.insert(place, want.encode().map_err(row_of("wants"))?.as_slice())?;
        Ok(Some(is_new))
    }

    fn put_facts(&mut self, folder: &FolderName, name: &FileName, facts: &FileFacts) -> Result<(), CatalogError> {
        let (folder, name) = (folder.as_str(), name.as_str());
        self.files.insert((folder, name), facts.encode().map_err(row_of("files"))?.as_slice())?;
        for update in &facts.updates {
            self.of_update.insert((&update.to_bytes(), folder, name), ())?;
        }
        Ok(())
    }

    fn note_conflict(&mut self, folder: &FolderName, name: &FileName, conflict: Conflict) -> Result<(), CatalogError> {
        let place = (folder.as_str(), name.as_str());
        let stored = self.conflicts.get(place)?.map(|value| ConflictsRecord::decode(value.value()));
        let stored = stored.transpose().map_err(row_of("conflicts"))?;
        if stored.is_none() && self.conflicts.len()? >= CONFLICT_FILES {
            return Ok(());
        }
        let mut record = stored.unwrap_or_default();
        let is_full = record.0.len() >= FILE_CONFLICTS;
        match record.0.iter_mut().find(|known| known.is_same_content(&conflict)) {
            Some(known) => *known = Conflict { first_at: known.first_at, ..conflict },
            None if is_full => return Ok(()),
            None => record.0.push(conflict),
        }
        self.conflicts.insert(place, record.encode().map_err(row_of("conflicts"))?.as_slice())?;
        Ok(())
    }

    fn forget(&mut self, folder: &FolderName, name: &FileName) -> Result<bool, CatalogError> {
        let place = (folder.as_str(), name.as_str());
        let facts = self.facts(folder, name)?;
        for update in facts.iter().flat_map(|facts| &facts.updates) {
            self.of_update.remove((&update.to_bytes(), place.0, place.1))?;
        }
        self.wants.remove(place)?;
        self.conflicts.remove(place)?;
        Ok(self.files.remove(place)?.is_some())
    }

    /// The file is a part of `update` no longer; whether it is a part of none.
    fn leave_update(&mut self, folder: &FolderName, name: &FileName, update: UpdateId) -> Result<bool, CatalogError> {
        let mut facts = self.facts(folder, name)?.ok_or(CatalogError::Damaged("update_files"))?;
        if facts.updates.iter().eq([&update]) {
            return Ok(true);
        }
        facts.updates.remove(&update);
        self.of_update.remove((&update.to_bytes(), folder.as_str(), name.as_str()))?;
        self.put_facts(folder, name, &facts)?;
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
