//! The main's own copy of the rules, which are entries of the signed state: a lost index gets them back from here.

use super::{error::CatalogError, ledger::Ledger, snapshot::KeyAndBody, tables};
use redb::ReadableTable;

impl Ledger {
    /// Every row, by key.
    pub fn rules(&self) -> Result<Vec<KeyAndBody>, CatalogError> {
        let table = self.reading()?.open_table(tables::RULES)?;
        table
            .iter()?
            .map(|row| row.map(|(key, body)| (key.value().to_vec(), body.value().to_vec())))
            .map(|row| Ok(row?))
            .collect()
    }

    /// Writes and removes rows, in one commit.
    pub fn put_rules(&self, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::RULES)?;
            for (key, body) in rows {
                match body {
                    Some(body) => table.insert(key.as_slice(), body.as_slice())?,
                    None => table.remove(key.as_slice())?,
                };
            }
            Ok(())
        })
    }
}
