//! One write transaction of the index.

use super::{
    entry_rows::EntryRows,
    error::CatalogError,
    file_rows::FileRows,
    records::{DamageRecord, DamageTotals, LogRecord, ScrubRecord},
    tables,
};
use crate::domain::name::{FileName, FolderName};
use redb::{ReadableTable, Table, WriteTransaction};

pub(super) const HEAD_KEY: &str = "head";
pub(super) const LOG_BASE_KEY: &str = "log_base";
pub(super) const DAMAGE_KEY: &str = "damage";
pub(super) const SCRUB_KEY: &str = "scrub";

/// Changes that are committed together.
pub struct Batch<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    log: Table<'t, u64, &'static [u8]>,
    /// The signed state.
    pub entries: EntryRows<'t>,
    /// What is here, and what is missing.
    pub files: FileRows<'t>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            meta: transaction.open_table(tables::META)?,
            log: transaction.open_table(tables::LOG)?,
            entries: EntryRows::open(transaction)?,
            files: FileRows::open(transaction)?,
        })
    }

    /// Writes what is derived: Merkle nodes, sums, and which damage is over.
    pub(super) fn finish(mut self) -> Result<(), CatalogError> {
        self.entries.rehash()?;
        let healed = self.files.finish()?;
        if !healed.is_empty() {
            let mut totals = self.damage_totals()?;
            totals.healed_files += healed.len() as u64;
            totals.healed_groups += healed.iter().map(|damage| damage.groups).sum::<u64>();
            self.set_damage_totals(&totals)?;
        }
        Ok(())
    }

    /// The stored head, as it was signed.
    pub fn head(&self) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.meta.get(HEAD_KEY)?.map(|value| value.value().to_vec()))
    }

    /// Stores a signed head.
    pub fn set_head(&mut self, head: &[u8]) -> Result<(), CatalogError> {
        self.meta.insert(HEAD_KEY, head)?;
        Ok(())
    }

    /// Forgets the head: the entries stay, and nobody vouches for them.
    pub fn clear_head(&mut self) -> Result<(), CatalogError> {
        self.meta.remove(HEAD_KEY)?;
        Ok(())
    }

    /// A small value of its own.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.meta.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Stores a small value of its own.
    pub fn set_meta(&mut self, key: &str, value: &[u8]) -> Result<(), CatalogError> {
        self.meta.insert(key, value)?;
        Ok(())
    }

    /// Appends to the log.
    pub fn append_log(&mut self, seq: u64, record: &LogRecord) -> Result<(), CatalogError> {
        let bytes = record.encode().map_err(|source| CatalogError::Row { table: "log", source })?;
        self.log.insert(seq, bytes.as_slice())?;
        Ok(())
    }

    /// Keeps only changes after `base`, if the log reaches back further.
    pub fn trim_log(&mut self, base: u64) -> Result<(), CatalogError> {
        let before = match self.meta.get(LOG_BASE_KEY)? {
            Some(value) => decode_seq(value.value())?,
            None => 0,
        };
        if base > before {
            self.log.retain_in(..=base, |_, _| false)?;
            self.meta.insert(LOG_BASE_KEY, base.to_be_bytes().as_slice())?;
        }
        Ok(())
    }

    /// Forgets the whole log; changes after `base` will follow.
    pub fn clear_log(&mut self, base: u64) -> Result<(), CatalogError> {
        self.log.retain(|_, _| false)?;
        self.meta.insert(LOG_BASE_KEY, base.to_be_bytes().as_slice())?;
        Ok(())
    }

    /// Counts a file that was found bad. Where its content is wanted, the damage stands until a holding has
    /// that content again, or the content is wanted no longer.
    pub fn put_damage(
        &mut self,
        folder: &FolderName,
        name: &FileName,
        record: &DamageRecord,
        wanted: bool,
    ) -> Result<(), CatalogError> {
        if wanted {
            self.files.put_damage(folder, name, record)?;
        }
        let mut totals = self.damage_totals()?;
        totals.found_files += 1;
        totals.found_groups += record.groups;
        self.set_damage_totals(&totals)
    }

    /// Where the pass over all holdings stands.
    pub fn scrub(&self) -> Result<Option<ScrubRecord>, CatalogError> {
        self.meta.get(SCRUB_KEY)?.map(|value| decode_scrub(value.value())).transpose()
    }

    /// Keeps where the pass over all holdings stands.
    pub fn set_scrub(&mut self, record: &ScrubRecord) -> Result<(), CatalogError> {
        let bytes = record.encode().map_err(|source| CatalogError::Row { table: "scrub", source })?;
        self.set_meta(SCRUB_KEY, &bytes)
    }

    fn damage_totals(&self) -> Result<DamageTotals, CatalogError> {
        self.meta.get(DAMAGE_KEY)?.map_or(Ok(DamageTotals::default()), |value| decode_damage_totals(value.value()))
    }

    fn set_damage_totals(&mut self, totals: &DamageTotals) -> Result<(), CatalogError> {
        let bytes = totals.encode().map_err(|source| CatalogError::Row { table: "damage", source })?;
        self.set_meta(DAMAGE_KEY, &bytes)
    }
}

pub(super) fn decode_seq(bytes: &[u8]) -> Result<u64, CatalogError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| CatalogError::Damaged("meta"))
}

pub(super) fn decode_damage_totals(bytes: &[u8]) -> Result<DamageTotals, CatalogError> {
    DamageTotals::decode(bytes).map_err(|source| CatalogError::Row { table: "damage", source })
}

pub(super) fn decode_scrub(bytes: &[u8]) -> Result<ScrubRecord, CatalogError> {
    ScrubRecord::decode(bytes).map_err(|source| CatalogError::Row { table: "scrub", source })
}
