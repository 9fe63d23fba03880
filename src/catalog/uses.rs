//! Rows of what became of files over time: since when they are here, when hosts asked for them last, and what
//! cleanups let go.

use super::{
    error::CatalogError,
    ledger::{Ledger, row_of},
    records::{CleanupRecord, HeardRecord, UseRecord},
    snapshot::file_key,
    tables,
    wants::FilePlace,
};
use crate::domain::{
    key::NodeKey,
    name::{FileName, FolderName},
};
use redb::ReadableTable;
use std::collections::{BTreeMap, BTreeSet};

/// Cleanups that are remembered: what nights before these let go has left the trash.
const CLEANUP_ROWS: u64 = 14;

impl Ledger {
    /// What is known of a folder's files.
    pub fn uses(&self, folder: &FolderName) -> Result<BTreeMap<FileName, UseRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::USES)?;
        let mut uses = BTreeMap::new();
        for row in table.range((folder.as_str(), "")..)? {
            let (key, value) = row?;
            if key.value().0 != folder.as_str() {
                break;
            }
            let (_, name) = file_key("uses", key.value().0, key.value().1)?;
            uses.insert(name, UseRecord::decode(value.value()).map_err(row_of("uses"))?);
        }
        Ok(uses)
    }

    /// Writes down what is known of some of a folder's files, and forgets others.
    pub fn put_uses(
        &self,
        folder: &FolderName,
        known: &[(FileName, UseRecord)],
        forgotten: &[FileName],
    ) -> Result<(), CatalogError> {
        if known.is_empty() && forgotten.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::USES)?;
            for (name, record) in known {
                let bytes = record.encode().map_err(row_of("uses"))?;
                table.insert((folder.as_str(), name.as_str()), bytes.as_slice())?;
            }
            for name in forgotten {
                table.remove((folder.as_str(), name.as_str()))?;
            }
            Ok(())
        })
    }

    /// Files were asked for at these times; of two askings the later counts. One that nothing is known of
    /// counts as here since `now`.
    pub fn note_asked(&self, asked: &BTreeMap<FilePlace, u64>, now: u64) -> Result<(), CatalogError> {
        if asked.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::USES)?;
            for ((folder, name), at) in asked {
                let place = (folder.as_str(), name.as_str());
                let known = table.get(place)?.map(|value| UseRecord::decode(value.value()).map_err(row_of("uses")));
                let known = known.transpose()?.unwrap_or(UseRecord { arrived_at: now, asked_at: None });
                if known.asked_at.is_some_and(|known| known >= *at) {
                    continue;
                }
                let record = UseRecord { asked_at: Some(*at), ..known };
                table.insert(place, record.encode().map_err(row_of("uses"))?.as_slice())?;
            }
            Ok(())
        })
    }

    /// Members told at `at` (seconds since 1970 UTC) what their hosts ask for.
    pub fn note_heard(&self, members: &[NodeKey], at: u64) -> Result<(), CatalogError> {
        if members.is_empty() {
            return Ok(());
        }
        let bytes = HeardRecord { at }.encode().map_err(row_of("heard"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::HEARD)?;
            members.iter().try_for_each(|member| Ok(table.insert(&member.0, bytes.as_slice()).map(drop)?))
        })
    }

    /// The members that told at `since` (seconds since 1970 UTC) or later what their hosts ask for.
    pub fn heard_since(&self, since: u64) -> Result<BTreeSet<NodeKey>, CatalogError> {
        let table = self.reading()?.open_table(tables::HEARD)?;
        let mut heard = BTreeSet::new();
        for row in table.iter()? {
            let (key, value) = row?;
            if HeardRecord::decode(value.value()).map_err(row_of("heard"))?.at >= since {
                heard.insert(NodeKey(*key.value()));
            }
        }
        Ok(heard)
    }

    /// When a member told last what its hosts ask for, in seconds since 1970 UTC.
    pub fn heard_at(&self, member: &NodeKey) -> Result<Option<u64>, CatalogError> {
        let table = self.reading()?.open_table(tables::HEARD)?;
        let value = table.get(&member.0)?;
        value.map(|value| Ok(HeardRecord::decode(value.value()).map_err(row_of("heard"))?.at)).transpose()
    }

    /// Writes down what a cleanup is about to let go; answers with its number.
    pub fn put_cleanup(&self, record: &CleanupRecord) -> Result<u64, CatalogError> {
        let bytes = record.encode().map_err(row_of("cleanups"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::CLEANUPS)?;
            let next = table.last()?.map_or(0, |(key, _)| key.value() + 1);
            table.insert(next, bytes.as_slice())?;
            if let Some(oldest_kept) = next.checked_sub(CLEANUP_ROWS) {
                table.retain_in(..oldest_kept, |_, _| false)?;
            }
            Ok(next)
        })
    }

    /// The last cleanup that let anything go and was not undone.
    pub fn last_cleanup(&self) -> Result<Option<(u64, CleanupRecord)>, CatalogError> {
        let table = self.reading()?.open_table(tables::CLEANUPS)?;
        for row in table.iter()?.rev() {
            let (key, value) = row?;
            let record = CleanupRecord::decode(value.value()).map_err(row_of("cleanups"))?;
            if record.undone_at.is_none() {
                return Ok(Some((key.value(), record)));
            }
        }
        Ok(None)
    }

    /// A cleanup was undone at `at` (seconds since 1970 UTC).
    pub fn end_cleanup(&self, number: u64, at: u64) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::CLEANUPS)?;
            let known = table.get(number)?.map(|value| CleanupRecord::decode(value.value()));
            let Some(known) = known.transpose().map_err(row_of("cleanups"))? else { return Ok(()) };
            let record = CleanupRecord { undone_at: Some(at), ..known };
            table.insert(number, record.encode().map_err(row_of("cleanups"))?.as_slice())?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::Memory;
    use std::sync::Arc;

    fn name(text: &str) -> FileName {
        FileName::new(text).unwrap()
    }

    #[test]
    fn arrivals_and_askings_are_kept_by_folder_and_the_later_asking_counts() {
        let ledger = Ledger::open(Arc::new(Memory::default())).unwrap();
        let (wua, wapt) = (FolderName::new("waptwua").unwrap(), FolderName::new("wapt").unwrap());
        let here = |arrived_at| UseRecord { arrived_at, asked_at: None };
        ledger.put_uses(&wapt, &[(name("p"), here(1))], &[]).unwrap();
        ledger.put_uses(&wua, &[(name("a"), here(5)), (name("b"), here(6))], &[]).unwrap();
        let asked = |file, at| BTreeMap::from([((wua.clone(), name(file)), at)]);
        for (file, at) in [("a", 50), ("a", 40), ("new", 60)] {
            ledger.note_asked(&asked(file, at), 99).unwrap();
        }
        ledger.put_uses(&wua, &[], &[name("b")]).unwrap();
        let expected = [
            (name("a"), UseRecord { arrived_at: 5, asked_at: Some(50) }),
            (name("new"), UseRecord { arrived_at: 99, asked_at: Some(60) }),
        ];
        assert_eq!(ledger.uses(&wua).unwrap(), BTreeMap::from(expected));
        assert_eq!(ledger.uses(&wapt).unwrap().len(), 1);
        ledger.note_heard(&[NodeKey([1; 32]), NodeKey([2; 32])], 10).unwrap();
        ledger.note_heard(&[NodeKey([2; 32])], 20).unwrap();
        assert_eq!(ledger.heard_since(11).unwrap(), BTreeSet::from([NodeKey([2; 32])]));
        assert_eq!(ledger.heard_at(&NodeKey([2; 32])).unwrap(), Some(20));
        assert_eq!(ledger.heard_at(&NodeKey([3; 32])).unwrap(), None);
    }

    #[test]
    fn the_last_cleanup_that_was_not_undone_is_found() {
        let ledger = Ledger::open(Arc::new(Memory::default())).unwrap();
        assert_eq!(ledger.last_cleanup().unwrap(), None);
        let cleanup = |at| CleanupRecord { at, files: Vec::new(), undone_at: None };
        let first = ledger.put_cleanup(&cleanup(1)).unwrap();
        let second = ledger.put_cleanup(&cleanup(2)).unwrap();
        ledger.end_cleanup(second, 9).unwrap();
        assert_eq!(ledger.last_cleanup().unwrap(), Some((first, cleanup(1))));
        (0..2 * CLEANUP_ROWS).for_each(|at| _ = ledger.put_cleanup(&cleanup(at)).unwrap());
        ledger.end_cleanup(first, 9).unwrap();
    }
}
