//! One read transaction of the index.

use super::{
    batch::{DAMAGE_KEY, HEAD_KEY, LOG_BASE_KEY, SCRUB_KEY, decode_damage_totals, decode_scrub, decode_seq},
    entry_rows::bucket_range,
    error::CatalogError,
    file_rows::{decode_damage, decode_holding, decode_missing},
    records::{DamageRecord, DamageTotals, HoldingRecord, LogRecord, MissingRecord, ScrubRecord, Totals},
    tables,
};
use crate::domain::{
    digest::Root,
    name::{FileName, FolderName},
    state::{BUCKETS, FANOUT, Namespace, NodeHash, bucket_of, inner_hash},
};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

/// Inner nodes follow the buckets in the table of nodes.
pub(super) const INNER_BASE: u16 = BUCKETS;

/// An entry's key and its encoded body.
pub type KeyAndBody = (Vec<u8>, Vec<u8>);

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// The change's number.
    pub seq: u64,
    /// What it wrote.
    pub record: LogRecord,
}

type FileTable = ReadOnlyTable<tables::FileKey, &'static [u8]>;

/// The index as of one commit.
pub struct Snapshot {
    meta: ReadOnlyTable<&'static str, &'static [u8]>,
    entries: ReadOnlyTable<(&'static str, u16, &'static [u8]), &'static [u8]>,
    nodes: ReadOnlyTable<(&'static str, u16), &'static [u8; 32]>,
    log: ReadOnlyTable<u64, &'static [u8]>,
    holdings: FileTable,
    by_root: ReadOnlyTable<(&'static [u8; 32], &'static str, &'static str), ()>,
    missing: FileTable,
    totals: ReadOnlyTable<&'static str, &'static [u8]>,
    intents: ReadOnlyTable<tables::FileKey, ()>,
    leaving: ReadOnlyTable<tables::FileKey, ()>,
    damaged: FileTable,
}

impl Snapshot {
    pub(super) fn new(transaction: &ReadTransaction) -> Result<Self, CatalogError> {
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
        })
    }

    /// The stored head, as it was signed.
    pub fn head(&self) -> Result<Option<Vec<u8>>, CatalogError> {
        self.meta(HEAD_KEY)
    }

    /// A small value of its own.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.meta.get(key)?.map(|value| value.value().to_vec()))
    }

    /// The body of an entry.
    pub fn entry(&self, namespace: &Namespace, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        let place = (namespace.as_str(), bucket_of(key), key);
        Ok(self.entries.get(place)?.map(|body| body.value().to_vec()))
    }

    /// Every entry of a namespace, in the order of buckets.
    pub fn each_entry<E: From<CatalogError>>(
        &self,
        namespace: &Namespace,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let all = (namespace.as_str(), 0, &[][..])..=(namespace.as_str(), u16::MAX, &[][..]);
        for row in self.entries.range(all).map_err(CatalogError::from)? {
            let (key, body) = row.map_err(CatalogError::from)?;
            each(key.value().2, body.value())?;
        }
        Ok(())
    }

    /// Every namespace that has entries or had some, by name.
    pub fn namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let (mut namespaces, mut from) = (Vec::new(), String::new());
        while let Some(row) = self.nodes.range((from.as_str(), 0)..)?.next() {
            let name = row?.0.value().0.to_owned();
            namespaces.push(Namespace::new(&name).map_err(|_| CatalogError::Damaged("nodes"))?);
            from = name + "\0";
        }
        Ok(namespaces)
    }

    /// The entries of one bucket, in the order of their keys.
    pub fn bucket(&self, namespace: &Namespace, bucket: u16) -> Result<Vec<KeyAndBody>, CatalogError> {
        let mut entries = Vec::new();
        for row in self.entries.range(bucket_range(namespace, bucket))? {
            let (key, body) = row?;
            let (_, at, key) = key.value();
            if at != bucket {
                break;
            }
            entries.push((key.to_vec(), body.value().to_vec()));
        }
        Ok(entries)
    }

    /// The hashes of the 64 inner nodes of a namespace.
    pub fn inner_nodes(&self, namespace: &Namespace) -> Result<[NodeHash; FANOUT], CatalogError> {
        merkle_children(&self.nodes, namespace, INNER_BASE)
    }

    /// The hashes of the 64 buckets below an inner node.
    pub fn buckets_of(&self, namespace: &Namespace, inner: u8) -> Result<[NodeHash; FANOUT], CatalogError> {
        merkle_children(&self.nodes, namespace, u16::from(inner) * FANOUT as u16)
    }

    /// The Merkle root of a namespace; zero where it has no entry.
    pub fn root_of(&self, namespace: &Namespace) -> Result<NodeHash, CatalogError> {
        Ok(inner_hash(&self.inner_nodes(namespace)?))
    }

    /// Every change after this one is in the log.
    pub fn log_base(&self) -> Result<u64, CatalogError> {
        self.meta.get(LOG_BASE_KEY)?.map_or(Ok(0), |value| decode_seq(value.value()))
    }

    /// At most `most` changes after `seq`.
    pub fn log_after(&self, seq: u64, most: usize) -> Result<Vec<LogRow>, CatalogError> {
        let mut rows = Vec::new();
        for row in self.log.range(seq.saturating_add(1)..)?.take(most) {
            let (seq, bytes) = row?;
            let record =
                LogRecord::decode(bytes.value()).map_err(|source| CatalogError::Row { table: "log", source })?;
            rows.push(LogRow { seq: seq.value(), record });
        }
        Ok(rows)
    }

    /// What is on this disk under a name.
    pub fn holding(&self, folder: &FolderName, name: &FileName) -> Result<Option<HoldingRecord>, CatalogError> {
        let Some(value) = self.holdings.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        decode_holding(value.value()).map(Some)
    }

    /// At most `most` holdings of a folder, by name, after `after`.
    pub fn holdings_after(
        &self,
        folder: &FolderName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<(FileName, HoldingRecord)>, CatalogError> {
        files_after(&self.holdings, folder, after, most, decode_holding)
    }

    /// At most `most` names of holdings beneath a directory of a folder, in order, after `after`.
    pub fn held_beneath(
        &self,
        folder: &FolderName,
        directory: &FileName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<FileName>, CatalogError> {
        let beneath = format!("{directory}/");
        let mut names = Vec::new();
        for row in self.holdings.range((folder.as_str(), after.map_or(beneath.as_str(), FileName::as_str))..)? {
            let key = row?.0;
            let (found, name) = key.value();
            if found != folder.as_str() || !name.starts_with(&beneath) || names.len() == most {
                break;
            }
            if after.is_none_or(|after| after.as_str() != name) {
                names.push(FileName::new(name).map_err(|_| CatalogError::Damaged("file names"))?);
            }
        }
        Ok(names)
    }

    /// Who holds a content: the first of its names on this disk, in order.
    pub fn holders(&self, root: &Root, most: usize) -> Result<Vec<(FolderName, FileName)>, CatalogError> {
        let mut holders = Vec::new();
        for row in self.by_root.range((root.as_bytes(), "", "")..)? {
            let key = row?.0;
            let (found, folder, name) = key.value();
            if found != root.as_bytes() || holders.len() == most {
                break;
            }
            let damaged = || CatalogError::Damaged("by_root");
            holders
                .push((FolderName::new(folder).map_err(|_| damaged())?, FileName::new(name).map_err(|_| damaged())?));
        }
        Ok(holders)
    }

    /// At most `most` files whose bytes have to go to the trash, in order, after `after`.
    pub fn intents_after(
        &self,
        after: Option<&(FolderName, FileName)>,
        most: usize,
    ) -> Result<Vec<(FolderName, FileName)>, CatalogError> {
        let from = after.map_or(("", ""), |(folder, name)| (folder.as_str(), name.as_str()));
        let mut intents = Vec::new();
        for row in self.intents.range(from..)? {
            let key = row?.0;
            if intents.len() == most {
                break;
            }
            if after.is_none() || key.value() != from {
                let (folder, name) = key.value();
                intents.push(file_key("intents", folder, name)?);
            }
        }
        Ok(intents)
    }

    /// The files of a folder that are to go once nothing here names them.
    pub fn leaving(&self, folder: &FolderName) -> Result<Vec<FileName>, CatalogError> {
        let mut leaving = Vec::new();
        for row in self.leaving.range((folder.as_str(), "")..)? {
            let key = row?.0;
            let (found, name) = key.value();
            if found != folder.as_str() {
                break;
            }
            leaving.push(file_key("leaving", found, name)?.1);
        }
        Ok(leaving)
    }

    /// What the index wants under a name and this disk lacks.
    pub fn missing(&self, folder: &FolderName, name: &FileName) -> Result<Option<MissingRecord>, CatalogError> {
        let Some(value) = self.missing.get((folder.as_str(), name.as_str()))? else { return Ok(None) };
        decode_missing(value.value()).map(Some)
    }

    /// At most `most` missing files of a folder, by name, after `after`.
    pub fn missing_after(
        &self,
        folder: &FolderName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<(FileName, MissingRecord)>, CatalogError> {
        files_after(&self.missing, folder, after, most, decode_missing)
    }

    /// At most `most` damaged files of a folder that are not whole again, by name, after `after`.
    pub fn damaged_after(
        &self,
        folder: &FolderName,
        after: Option<&FileName>,
        most: usize,
    ) -> Result<Vec<(FileName, DamageRecord)>, CatalogError> {
        files_after(&self.damaged, folder, after, most, decode_damage)
    }

    /// How many damaged files of a folder are not whole again, and when the first was found, in seconds
    /// since 1970 UTC.
    pub fn damaged(&self, folder: &FolderName) -> Result<(u64, Option<u64>), CatalogError> {
        let (mut files, mut since) = (0, None);
        for row in self.damaged.range((folder.as_str(), "")..)? {
            let (key, value) = row?;
            if key.value().0 != folder.as_str() {
                break;
            }
            let found_at = decode_damage(value.value())?.found_at;
            files += 1;
            since = Some(since.map_or(found_at, |since: u64| since.min(found_at)));
        }
        Ok((files, since))
    }

    /// Damage over the life of this index.
    pub fn damage_totals(&self) -> Result<DamageTotals, CatalogError> {
        self.meta.get(DAMAGE_KEY)?.map_or(Ok(DamageTotals::default()), |value| decode_damage_totals(value.value()))
    }

    /// Where the pass over all holdings stands.
    pub fn scrub(&self) -> Result<Option<ScrubRecord>, CatalogError> {
        self.meta.get(SCRUB_KEY)?.map(|value| decode_scrub(value.value())).transpose()
    }

    /// The sums of a folder.
    pub fn totals(&self, folder: &FolderName) -> Result<Totals, CatalogError> {
        match self.totals.get(folder.as_str())? {
            Some(value) => {
                Totals::decode(value.value()).map_err(|source| CatalogError::Row { table: "totals", source })
            }
            None => Ok(Totals::default()),
        }
    }
}

fn files_after<T>(
    table: &FileTable,
    folder: &FolderName,
    after: Option<&FileName>,
    most: usize,
    decode: fn(&[u8]) -> Result<T, CatalogError>,
) -> Result<Vec<(FileName, T)>, CatalogError> {
    let mut rows = Vec::new();
    let from = after.map_or("", FileName::as_str);
    for row in table.range((folder.as_str(), from)..)? {
        let (key, value) = row?;
        let (found, name) = key.value();
        if found != folder.as_str() || rows.len() == most {
            break;
        }
        if after.is_some_and(|after| after.as_str() == name) {
            continue;
        }
        let name = FileName::new(name).map_err(|_| CatalogError::Damaged("file names"))?;
        rows.push((name, decode(value.value())?));
    }
    Ok(rows)
}

pub(super) fn file_key(table: &'static str, folder: &str, name: &str) -> Result<(FolderName, FileName), CatalogError> {
    match (FolderName::new(folder), FileName::new(name)) {
        (Ok(folder), Ok(name)) => Ok((folder, name)),
        _ => Err(CatalogError::Damaged(table)),
    }
}

/// 64 neighbouring nodes of the Merkle table; absent ones are zero.
pub(super) fn merkle_children(
    nodes: &impl ReadableTable<(&'static str, u16), &'static [u8; 32]>,
    namespace: &Namespace,
    first: u16,
) -> Result<[NodeHash; FANOUT], CatalogError> {
    let mut children = [[0; 32]; FANOUT];
    let last = first + FANOUT as u16 - 1;
    for row in nodes.range((namespace.as_str(), first)..=(namespace.as_str(), last))? {
        let (key, hash) = row?;
        children[usize::from(key.value().1 - first)] = *hash.value();
    }
    Ok(children)
}
