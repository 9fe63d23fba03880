//! One write transaction of the index. Keeps the Merkle nodes, the content lookup and the sums in
//! step with the rows, so that no caller can forget them.

use super::{
    error::CatalogError,
    records::{DamageRecord, DamageTotals, HoldingRecord, LogRecord, MissingRecord, ScrubRecord, Totals},
    snapshot::{INNER_BASE, merkle_children},
    tables,
};
use crate::domain::{
    name::{FileName, FolderName},
    state::{BUCKETS, BucketHasher, FANOUT, Namespace, NodeHash, bucket_of, inner_hash, inner_of},
};
use redb::{ReadableTable, Table, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

pub(super) const HEAD_KEY: &str = "head";
pub(super) const LOG_BASE_KEY: &str = "log_base";
pub(super) const DAMAGE_KEY: &str = "damage";
pub(super) const SCRUB_KEY: &str = "scrub";

type FileTable<'t> = Table<'t, tables::FileKey, &'static [u8]>;

/// Changes that are committed together.
pub struct Batch<'t> {
    meta: Table<'t, &'static str, &'static [u8]>,
    entries: Table<'t, (&'static str, u16, &'static [u8]), &'static [u8]>,
    nodes: Table<'t, (&'static str, u16), &'static [u8; 32]>,
    log: Table<'t, u64, &'static [u8]>,
    holdings: FileTable<'t>,
    by_root: Table<'t, (&'static [u8; 32], &'static str, &'static str), ()>,
    missing: FileTable<'t>,
    totals: Table<'t, &'static str, &'static [u8]>,
    intents: Table<'t, tables::FileKey, ()>,
    leaving: Table<'t, tables::FileKey, ()>,
    damaged: FileTable<'t>,
    /// Files with damage whose rows changed; none are noted where nothing is damaged.
    touched: BTreeSet<(FolderName, FileName)>,
    sums: BTreeMap<FolderName, Totals>,
    dirty: BTreeMap<Namespace, BTreeSet<u16>>,
}

impl<'t> Batch<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Result<Self, CatalogError> {
        Ok(Self {
            meta: transaction.open_table(tables::META)?,
            entries: transaction.open_table(tables::ENTRIES)?,
            nodes: transaction.open_table(tables::NODES)?,
            log: transaction.open_table(tables::LOG)?,
            holdings: transaction.open_table(tables::HOLDINGS)?,
            by_root: transaction.open_table(tables::BY_ROOT)?,
            missing: transaction.open_table(tables::MISSING)?,
            totals: transaction.open_table(tables::TOTALS)?,
            intents: transaction.open_table(tables::INTENTS)?,
            leaving: transaction.open_table(tables::LEAVING)?,
            damaged: transaction.open_table(tables::DAMAGED)?,
            touched: BTreeSet::new(),
            sums: BTreeMap::new(),
            dirty: BTreeMap::new(),
        })
    }

    /// Writes what is derived: Merkle nodes, sums, and which damage is over.
    pub(super) fn finish(mut self) -> Result<(), CatalogError> {
        self.rehash()?;
        self.settle_damage()?;
        for (folder, totals) in &self.sums {
            let bytes = totals.encode().map_err(|source| CatalogError::Row { table: "totals", source })?;
            self.totals.insert(folder.as_str(), bytes.as_slice())?;
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

    /// The body of an entry.
    pub fn entry(&self, namespace: &Namespace, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        let place = (namespace.as_str(), bucket_of(key), key);
        Ok(self.entries.get(place)?.map(|body| body.value().to_vec()))
    }

    /// Writes an entry, or drops it with `None`; answers with the body before.
    pub fn put_entry(
        &mut self,
        namespace: &Namespace,
        key: &[u8],
        body: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        let bucket = bucket_of(key);
        let place = (namespace.as_str(), bucket, key);
        let before = match body {
            Some(body) => self.entries.insert(place, body)?,
            None => self.entries.remove(place)?,
        };
        match self.dirty.get_mut(namespace) {
            Some(dirty) => dirty.insert(bucket),
            None => self.dirty.entry(namespace.clone()).or_default().insert(bucket),
        };
        Ok(before.map(|body| body.value().to_vec()))
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
        self.by_root.insert((record.root.as_bytes(), folder.as_str(), name.as_str()), ())?;
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
        self.by_root.remove((removed.root.as_bytes(), folder.as_str(), name.as_str()))?;
        let totals = self.totals_mut(folder)?;
        let (files, bytes) = held_sums(totals, removed.listed);
        *files = files.saturating_sub(1);
        *bytes = bytes.saturating_sub(removed.size);
        Ok(())
    }

    /// What the index wants under a name and this disk lacks.
    pub fn missing(&self, folder: &FolderName, name: &FileName) -> Result<Option<MissingRecord>, CatalogError> {
        let Some(value) = self.missing.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        decode_missing(value.value()).map(Some)
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
            let bytes = record.encode().map_err(|source| CatalogError::Row { table: "damaged", source })?;
            self.damaged.insert((folder.as_str(), name.as_str()), bytes.as_slice())?;
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

    fn touch(&mut self, folder: &FolderName, name: &FileName) -> Result<(), CatalogError> {
        if self.damaged.get((folder.as_str(), name.as_str()))?.is_some() {
            self.touched.insert((folder.clone(), name.clone()));
        }
        Ok(())
    }

    /// Damage is over where the content is held again, or where nothing is missing any more.
    fn settle_damage(&mut self) -> Result<(), CatalogError> {
        for (folder, name) in std::mem::take(&mut self.touched) {
            let key = (folder.as_str(), name.as_str());
            let Some(damage) = self.damaged.get(key)?.map(|value| decode_damage(value.value())).transpose()? else {
                continue;
            };
            let healed = self.holding(&folder, &name)?.is_some_and(|holding| holding.root == damage.root);
            if healed {
                let mut totals = self.damage_totals()?;
                totals.healed_files += 1;
                totals.healed_groups += damage.groups;
                self.set_damage_totals(&totals)?;
            }
            if healed || self.missing(&folder, &name)?.is_none() {
                self.damaged.remove(key)?;
            }
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
        if leaving {
            self.leaving.insert(key, ()).map(drop)?
        } else {
            self.leaving.remove(key).map(drop)?
        }
        Ok(())
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

    /// The Merkle roots as of the changes so far, of every namespace that has entries.
    pub fn roots(&mut self) -> Result<BTreeMap<Namespace, NodeHash>, CatalogError> {
        self.rehash()?;
        let mut roots = BTreeMap::new();
        let mut from = String::new();
        loop {
            let Some(row) = self.nodes.range((from.as_str(), 0)..)?.next() else { break };
            let name = row?.0.value().0.to_owned();
            let namespace = Namespace::new(&name).map_err(|_| CatalogError::Damaged("nodes"))?;
            let root = inner_hash(&merkle_children(&self.nodes, &namespace, INNER_BASE)?);
            if root != [0; 32] {
                roots.insert(namespace, root);
            }
            from = name + "\0";
        }
        Ok(roots)
    }

    fn rehash(&mut self) -> Result<(), CatalogError> {
        for (namespace, buckets) in std::mem::take(&mut self.dirty) {
            let mut inner = BTreeSet::new();
            for bucket in buckets {
                let hash = self.bucket_hash(&namespace, bucket)?;
                self.set_node(&namespace, bucket, hash)?;
                inner.insert(inner_of(bucket));
            }
            for node in inner {
                let children = merkle_children(&self.nodes, &namespace, u16::from(node) * FANOUT as u16)?;
                self.set_node(&namespace, INNER_BASE + u16::from(node), inner_hash(&children))?;
            }
        }
        Ok(())
    }

    fn bucket_hash(&self, namespace: &Namespace, bucket: u16) -> Result<NodeHash, CatalogError> {
        let mut hasher = BucketHasher::default();
        for row in self.entries.range(bucket_range(namespace, bucket))? {
            let (key, body) = row?;
            let (_, at, key) = key.value();
            if at != bucket {
                break;
            }
            hasher.push(key, body.value());
        }
        Ok(hasher.finish())
    }

    fn set_node(&mut self, namespace: &Namespace, node: u16, hash: NodeHash) -> Result<(), CatalogError> {
        if hash == [0; 32] {
            self.nodes.remove((namespace.as_str(), node))?;
        } else {
            self.nodes.insert((namespace.as_str(), node), &hash)?;
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
}

pub(super) fn bucket_range(namespace: &Namespace, bucket: u16) -> RangeInclusive<(&str, u16, &[u8])> {
    debug_assert!(bucket < BUCKETS);
    (namespace.as_str(), bucket, &[][..])..=(namespace.as_str(), bucket + 1, &[][..])
}

pub(super) fn decode_seq(bytes: &[u8]) -> Result<u64, CatalogError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| CatalogError::Damaged("meta"))
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

pub(super) fn decode_damage_totals(bytes: &[u8]) -> Result<DamageTotals, CatalogError> {
    DamageTotals::decode(bytes).map_err(|source| CatalogError::Row { table: "damage", source })
}

pub(super) fn decode_scrub(bytes: &[u8]) -> Result<ScrubRecord, CatalogError> {
    ScrubRecord::decode(bytes).map_err(|source| CatalogError::Row { table: "scrub", source })
}

fn held_sums(totals: &mut Totals, listed: bool) -> (&mut u64, &mut u64) {
    if listed {
        (&mut totals.held_files, &mut totals.held_bytes)
    } else {
        (&mut totals.unlisted_files, &mut totals.unlisted_bytes)
    }
}
