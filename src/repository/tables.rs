//! Tables of the signed state that are no folder and not the members: rows that the main writes on an
//! administrator's word, and a copy of them in the ledger, so that a lost index does not lose them.

use super::{error::RepositoryError, open::Repository};
use crate::domain::state::{Body, Namespace};
use std::collections::BTreeMap;

impl Repository {
    /// Signs rows of `table` in one commit; `None` removes one. What is there already, or not, is no change.
    /// The ledger first: it survives a lost index.
    pub(super) fn put_rows(
        &self,
        table: &Namespace,
        rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<(), RepositoryError> {
        let removed_at = self.clock.unix_seconds();
        let there = self.state.index.read()?;
        let mut changed = Vec::new();
        for (key, value) in rows {
            let before = there.entry(table, &key)?;
            match value {
                Some(value) => changed.push((key, Body::Value(value).encode())),
                None if before.is_some_and(|body| Body::value_of(&body).is_some()) => {
                    changed.push((key, Body::Tombstone { removed_at }.encode()));
                }
                None => {}
            }
        }
        self.author(|changes| {
            self.state.ledger.put_signed_rows(table, &changed)?;
            Ok(changed.into_iter().try_for_each(|(key, body)| changes.put_bytes(table, &key, body))?)
        })
    }

    /// Every row of `table` that was not removed: its key and its value.
    pub(super) fn each_row(
        &self,
        table: &Namespace,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), RepositoryError> {
        self.state.index.read()?.each_entry(table, |key, body| {
            if let Some(value) = Body::value_of(body) {
                each(key, value);
            }
            Ok::<_, RepositoryError>(())
        })
    }

    /// Brings index and ledger in step after one of them was lost or put back from a copy: where the epoch goes on,
    /// the index is the newest that there is, else the ledger knows best. What only one of them has, both get.
    pub(super) fn restore_table(&self, table: &Namespace, epoch_goes_on: bool) -> Result<(), RepositoryError> {
        let kept = self.state.ledger.signed_rows(table)?;
        let mut indexed = BTreeMap::new();
        self.state.index.read()?.each_entry(table, |key, body| {
            indexed.insert(key.to_vec(), body.to_vec());
            Ok::<_, RepositoryError>(())
        })?;
        let unlike = |one: &BTreeMap<Vec<u8>, Vec<u8>>, other: &BTreeMap<Vec<u8>, Vec<u8>>, wins: bool| {
            let rows = one.iter().filter(|(key, body)| other.get(*key).is_none_or(|there| wins && there != *body));
            rows.map(|(key, body)| (key.clone(), body.clone())).collect::<Vec<_>>()
        };
        let to_ledger = unlike(&indexed, &kept, epoch_goes_on);
        if !to_ledger.is_empty() {
            self.state.ledger.put_signed_rows(table, &to_ledger)?;
        }
        let to_index = unlike(&kept, &indexed, !epoch_goes_on);
        self.author(|changes| {
            Ok(to_index.into_iter().try_for_each(|(key, body)| changes.put_bytes(table, &key, body))?)
        })
    }
}
