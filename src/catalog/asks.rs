//! Rows of files that hosts of a secondary asked for while they could not be had.

use super::{
    error::CatalogError,
    ledger::{Ledger, row_of},
    records::AskRecord,
    snapshot::file_key,
    tables,
    wants::FilePlace,
};
use crate::domain::name::{FileName, FolderName};
use redb::{ReadableTable, ReadableTableMetadata};

/// Most files that are remembered; those that were asked for first stay, until nobody asked for them for long.
const MAX_ASKS: u64 = 10_000;
/// A file that is asked for again within so many seconds costs no commit.
const NOTED_EVERY: u64 = 60;

impl Ledger {
    /// A file was asked for at `now` (seconds since 1970 UTC) and could not be had. Askings within a minute count
    /// as one.
    pub fn note_ask(&self, folder: &FolderName, name: &FileName, now: u64) -> Result<(), CatalogError> {
        let asks = self.reading()?.open_table(tables::ASKS)?;
        let known = asks.get((folder.as_str(), name.as_str()))?;
        let known = known.map(|value| AskRecord::decode(value.value()).map_err(row_of("asks"))).transpose()?;
        let is_noted = match known {
            Some(known) => (known.last..known.last.saturating_add(NOTED_EVERY)).contains(&now),
            None => asks.len()? >= MAX_ASKS,
        };
        if is_noted {
            return Ok(());
        }
        self.write(|transaction| {
            let mut asks = transaction.open_table(tables::ASKS)?;
            let place = (folder.as_str(), name.as_str());
            let known = asks.get(place)?.map(|value| AskRecord::decode(value.value()).map_err(row_of("asks")));
            let record = match known.transpose()? {
                Some(known) => AskRecord { last: now, times: known.times.saturating_add(1), ..known },
                None if asks.len()? >= MAX_ASKS => return Ok(()),
                None => AskRecord { first: now, last: now, times: 1 },
            };
            asks.insert(place, record.encode().map_err(row_of("asks"))?.as_slice())?;
            Ok(())
        })
    }

    /// At most `most` files that were asked for in vain, those first that were asked for first.
    pub fn asks(&self, most: usize) -> Result<Vec<(FilePlace, AskRecord)>, CatalogError> {
        let table = self.reading()?.open_table(tables::ASKS)?;
        let mut asks = Vec::new();
        for row in table.iter()? {
            let (key, value) = row?;
            let record = AskRecord::decode(value.value()).map_err(row_of("asks"))?;
            asks.push((file_key("asks", key.value().0, key.value().1)?, record));
        }
        asks.sort_by_key(|(_, record)| record.first);
        asks.truncate(most);
        Ok(asks)
    }

    /// What is remembered of one file that was asked for in vain.
    pub fn ask_of(&self, folder: &FolderName, name: &FileName) -> Result<Option<AskRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::ASKS)?;
        let value = table.get((folder.as_str(), name.as_str()))?;
        value.map(|value| AskRecord::decode(value.value()).map_err(row_of("asks"))).transpose()
    }

    /// Forgets what nobody asked for at `since` (seconds since 1970 UTC) or later; answers with how many files.
    pub fn forget_asks(&self, since: u64) -> Result<u64, CatalogError> {
        let is_over = |bytes: &[u8]| AskRecord::decode(bytes).is_ok_and(|record| record.last < since);
        let is_any = self
            .reading()?
            .open_table(tables::ASKS)?
            .iter()?
            .try_fold(false, |is_any, row| Ok::<_, CatalogError>(is_any || is_over(row?.1.value())))?;
        if !is_any {
            return Ok(0);
        }
        self.write(|transaction| {
            let mut asks = transaction.open_table(tables::ASKS)?;
            let before = asks.len()?;
            asks.retain(|_, bytes| !is_over(bytes))?;
            Ok(before - asks.len()?)
        })
    }

    /// A file that was asked for in vain is here, or nobody knows it.
    pub fn drop_ask(&self, folder: &FolderName, name: &FileName) -> Result<(), CatalogError> {
        self.write(|transaction| {
            transaction.open_table(tables::ASKS)?.remove((folder.as_str(), name.as_str()))?;
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
    fn what_was_asked_for_in_vain_is_remembered_once_until_it_is_dropped() {
        let ledger = Ledger::open(Arc::new(Memory::default())).unwrap();
        let folder = FolderName::new("waptwua").unwrap();
        for (text, at) in [("b", 10), ("a", 20), ("b", 69), ("b", 70), ("a", 21)] {
            ledger.note_ask(&folder, &name(text), at).unwrap();
        }
        let asks = ledger.asks(9).unwrap();
        assert_eq!(asks[0], ((folder.clone(), name("b")), AskRecord { first: 10, last: 70, times: 2 }));
        assert_eq!(ledger.asks(1).unwrap().len(), 1);
        assert_eq!(ledger.forget_asks(20).unwrap(), 0);
        assert_eq!(
            (ledger.forget_asks(21).unwrap(), ledger.asks(9).unwrap().len()),
            (1, 1),
            "a was asked for at 20 last"
        );
        ledger.note_ask(&folder, &name("a"), 90).unwrap();
        ledger.drop_ask(&folder, &name("b")).unwrap();
        assert_eq!(ledger.ask_of(&folder, &name("b")).unwrap(), None);
        assert_eq!(ledger.ask_of(&folder, &name("a")).unwrap().unwrap().times, 1);
    }
}
