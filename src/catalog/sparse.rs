//! A table that is empty most of the time: then no key has to be made to look into it.

use super::tables::FileKey;
use redb::{
    AccessGuard, ReadableTable, ReadableTableMetadata, StorageError, Table, TableDefinition, TableError, Value,
    WriteTransaction,
};

/// As the table itself, within one transaction.
pub(super) struct Sparse<'t, V: Value + 'static> {
    table: Table<'t, FileKey, V>,
    /// Stays `false` when the last row goes.
    is_empty: bool,
}

impl<'t, V: Value + 'static> Sparse<'t, V> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        definition: TableDefinition<'_, FileKey, V>,
    ) -> Result<Self, TableError> {
        let table = transaction.open_table(definition)?;
        let is_empty = table.is_empty()?;
        Ok(Self { table, is_empty })
    }

    pub(super) fn get(&self, key: (&str, &str)) -> Result<Option<AccessGuard<'_, V>>, StorageError> {
        if self.is_empty { Ok(None) } else { self.table.get(key) }
    }

    pub(super) fn insert<'v>(
        &mut self,
        key: (&str, &str),
        value: impl std::borrow::Borrow<V::SelfType<'v>>,
    ) -> Result<(), StorageError> {
        self.is_empty = false;
        self.table.insert(key, value).map(drop)
    }

    pub(super) fn remove(&mut self, key: (&str, &str)) -> Result<(), StorageError> {
        if self.is_empty { Ok(()) } else { self.table.remove(key).map(drop) }
    }
}
