//! What is here and what is missing in a write transaction. Keeps the content lookup and the sums in step with the
//! rows, so that no caller can forget them.

use super::{
    error::CatalogError,
    records::{DamageRecord, HoldingRecord, MissingRecord, Totals},
    sparse::Sparse,
    tables,
};
use crate::domain::{
    digest::Root,
    name::{FileName, FolderName},
};
use redb::{ReadableTable, Table, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};

type FileTable<'t> = Table<'t, tables::FileKey, &'static [u8]>;

/// Rows of files.
pub struct FileRows<'t> {
    holdings: FileTable<'t>,
    by_root: Table<'t, (&'static [u8; 32], &'static str, &'static str), ()>,
    /// What is to come into `by_root`: many rows in their order meet each page once.
    new_roots: Vec<(Root, FolderName, FileName)>,
    missing: FileTable<'t>,
    totals: Table<'t, &'static str, &'static [u8]>,
    intents: Sparse<'t, ()>,
    leaving: Sparse<'t, ()>,
    damaged: Sparse<'t, &'static [u8]>,
    /// Files with damage whose rows changed; none are noted where nothing is damaged.
    touched: BTreeSet<(FolderName, FileName)>,
    sums: BTreeMap<FolderName, Totals>,
}

impl<'t> FileRows<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            holdings: transaction.open_table(tables::HOLDINGS)?,
            by_root: transaction.open_table(tables::BY_ROOT)?,
            new_roots: Vec::new(),
            missing: transaction.open_table(tables::MISSING)?,
            totals: transaction.open_table(tables::TOTALS)?,
            intents: Sparse::open(transaction, tables::INTENTS)?,
            leaving: Sparse::open(transaction, tables::LEAVING)?,
            damaged: Sparse::open(transaction, tables::DAMAGED)?,
            touched: BTreeSet::new(),
            sums: BTreeMap::new(),
        })
    }

    /// Writes what is derived; answers with damage that is healed.
    pub(super) fn finish(&mut self) -> Result<Vec<DamageRecord>, CatalogError> {
        self.insert_roots()?;
        let healed = self.settle_damage()?;
        for (folder, totals) in &self.sums {
            let bytes = totals.encode().map_err(|source| CatalogError::Row { table: "totals", source })?;
            self.totals.insert(folder.as_str(), bytes.as_slice())?;
        }
        Ok(healed)
    }

    /// What is on this disk under a name.
    pub fn holding(&self, folder: &FolderName, name: &FileName) -> Result<Option<HoldingRecord>, CatalogError> {
        let Some(value) = self.holdings.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        decode_holding(value.value()).map(Some)
    }

    /// Records that a file is here, whole and durable. Whatever was to go from under that name is gone:
    /// an intent that outlived its bytes must not take these along.
    pub fn put_holding(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        record: &HoldingRecord,
    ) -> Result<(), CatalogError> {
        self.clear_intent(folder, name)?;
        let bytes = record.encode().map_err(|source| CatalogError::Row { table: "holdings", source })?;
        let before = self.holdings.insert((folder.as_str(), name.as_str()), bytes.as_slice())?;
        if let Some(before) = before.map(|value| decode_holding(value.value())).transpose()? {
            self.forget_holding(folder, name, &before)?;
        }
        self.new_roots.push((record.root, folder.clone(), name.clone()));
        let totals = self.totals_mut(folder)?;
        let (files, bytes) = held_sums(totals, record.listed);
        *files += 1;
        *bytes += record.size;
        self.touch(folder, name)
    }

    /// Records that a file is no longer here; answers with what was.
    pub fn remove_holding(
        &mut self,
        folder: &FolderName,
        name: &FileName,
    ) -> Result<Option<HoldingRecord>, CatalogError> {
        let removed = match self.holdings.remove((folder.as_str(), name.as_str()))? {
            Some(value) => decode_holding(value.value())?,
            None => return Ok(None),
        };
        self.forget_holding(folder, name, &removed)?;
        Ok(Some(removed))
    }

    /// What is derived from a holding goes with it.
    fn forget_holding(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        removed: &HoldingRecord,
    ) -> Result<(), CatalogError> {
        self.insert_roots()?;
        self.by_root.remove((removed.root.as_bytes(), folder.as_str(), name.as_str()))?;
        let totals = self.totals_mut(folder)?;
        let (files, bytes) = held_sums(totals, removed.listed);
        *files = files.saturating_sub(1);
        *bytes = bytes.saturating_sub(removed.size);
        Ok(())
    }

    fn insert_roots(&mut self) -> Result<(), CatalogError> {
        self.new_roots.sort_unstable();
        for (root, folder, name) in self.new_roots.drain(..) {
            self.by_root.insert((root.as_bytes(), folder.as_str(), name.as_str()), ())?;
        }
        Ok(())
    }

    /// What the index wants under a name and this disk lacks.
    pub fn missing(&self, folder: &FolderName, name: &FileName) -> Result<Option<MissingRecord>, CatalogError> {
        let Some(value) = self.missing.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        decode_missing(value.value()).map(Some)
    }

    fn touch(&mut self, folder: &FolderName, name: &FileName) -> Result<(), CatalogError> {
        if self.damaged.get((folder.as_str(), name.as_str()))?.is_some() {
            self.touched.insert((folder.clone(), name.clone()));
        }
        Ok(())
    }

    /// Remembers, over a power cut, that a file's bytes have to follow its row to the trash.
    pub fn put_intent(&mut self, folder: &FolderName, name: &FileName) -> Result<(), CatalogError> {
        self.intents.insert((folder.as_str(), name.as_str()), ())?;
        Ok(())
    }

    /// The bytes are gone too.
    pub fn clear_intent(&mut self, folder: &FolderName, name: &FileName) -> Result<(), CatalogError> {
        self.intents.remove((folder.as_str(), name.as_str()))?;
        Ok(())
    }

    /// Remembers that a file is to go once nothing here names it, or with `false` that it is not.
    pub fn set_leaving(&mut self, folder: &FolderName, name: &FileName, leaving: bool) -> Result<(), CatalogError> {
        let key = (folder.as_str(), name.as_str());
        let changed = if leaving { self.leaving.insert(key, ()) } else { self.leaving.remove(key) };
        Ok(changed?)
    }

    /// Records that the index names content that is not here, or with `None` that nothing is missing; answers with
    /// what was missing before.
    pub fn set_missing(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        record: Option<&MissingRecord>,
    ) -> Result<Option<MissingRecord>, CatalogError> {
        let key = (folder.as_str(), name.as_str());
        let before = match record {
            Some(record) => {
                let bytes = record.encode().map_err(|source| CatalogError::Row { table: "missing", source })?;
                self.missing.insert(key, bytes.as_slice())?
            }
            None => self.missing.remove(key)?,
        };
        let before = before.map(|value| decode_missing(value.value())).transpose()?;
        let totals = self.totals_mut(folder)?;
        if let Some(before) = &before {
            totals.missing_files = totals.missing_files.saturating_sub(1);
            totals.missing_bytes = totals.missing_bytes.saturating_sub(before.size);
        }
        if let Some(record) = record {
            totals.missing_files += 1;
            totals.missing_bytes += record.size;
        }
        self.touch(folder, name)?;
        Ok(before)
    }

    /// Records that the index names a file of `after` bytes where it named one of `before`.
    pub fn note_indexed(
        &mut self,
        folder: &FolderName,
        before: Option<u64>,
        after: Option<u64>,
    ) -> Result<(), CatalogError> {
        let totals = self.totals_mut(folder)?;
        if let Some(size) = before {
            totals.files = totals.files.saturating_sub(1);
            totals.bytes = totals.bytes.saturating_sub(size);
        }
        if let Some(size) = after {
            totals.files += 1;
            totals.bytes += size;
        }
        Ok(())
    }

    fn totals_mut(&mut self, folder: &FolderName) -> Result<&mut Totals, CatalogError> {
        if !self.sums.contains_key(folder) {
            let stored = match self.totals.get(folder.as_str())? {
                Some(value) => {
                    Totals::decode(value.value()).map_err(|source| CatalogError::Row { table: "totals", source })?
                }
                None => Totals::default(),
            };
            self.sums.insert(folder.clone(), stored);
        }
        self.sums.get_mut(folder).ok_or(CatalogError::Damaged("totals"))
    }

    /// Where content that is wanted was found bad, the damage stands until a holding has that content again, or the
    /// content is wanted no longer.
    pub(super) fn put_damage(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        record: &DamageRecord,
    ) -> Result<(), CatalogError> {
        let bytes = record.encode().map_err(|source| CatalogError::Row { table: "damaged", source })?;
        Ok(self.damaged.insert((folder.as_str(), name.as_str()), bytes.as_slice())?)
    }

    /// Damage is over where the content is held again, or where nothing is missing any more.
    fn settle_damage(&mut self) -> Result<Vec<DamageRecord>, CatalogError> {
        let mut all_healed = Vec::new();
        for (folder, name) in std::mem::take(&mut self.touched) {
            let key = (folder.as_str(), name.as_str());
            let Some(damage) = self.damaged.get(key)?.map(|value| decode_damage(value.value())).transpose()? else {
                continue;
            };
            let healed = self.holding(&folder, &name)?.is_some_and(|holding| holding.root == damage.root);
            if healed || self.missing(&folder, &name)?.is_none() {
                self.damaged.remove(key)?;
            }
            all_healed.extend(healed.then_some(damage));
        }
        Ok(all_healed)
    }
}

pub(super) fn decode_holding(bytes: &[u8]) -> Result<HoldingRecord, CatalogError> {
    HoldingRecord::decode(bytes).map_err(|source| CatalogError::Row { table: "holdings", source })
}

pub(super) fn decode_missing(bytes: &[u8]) -> Result<MissingRecord, CatalogError> {
    MissingRecord::decode(bytes).map_err(|source| CatalogError::Row { table: "missing", source })
}

pub(super) fn decode_damage(bytes: &[u8]) -> Result<DamageRecord, CatalogError> {
    DamageRecord::decode(bytes).map_err(|source| CatalogError::Row { table: "damaged", source })
}

fn held_sums(totals: &mut Totals, listed: bool) -> (&mut u64, &mut u64) {
    if listed {
        (&mut totals.held_files, &mut totals.held_bytes)
    } else {
        (&mut totals.unlisted_files, &mut totals.unlisted_bytes)
    }
}
