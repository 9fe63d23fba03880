//! Rows of holdings that were asked for lately, so that a file which many hosts want costs one look into the index.
//!
//! Never outlives a write: rows are kept for one count of [`Index::writes`](crate::catalog::Index::writes), and
//! forgotten together when that has grown. Whoever reads a row asks for the count first.

use super::attention::lock;
use crate::{catalog::HoldingRecord, domain::name::FileName};
use std::{collections::BTreeMap, sync::Mutex};

/// Most rows that are kept: about a megabyte. A full memory is begun anew.
const MAX_ROWS: usize = 4_096;

/// The rows of one folder.
#[derive(Default)]
pub(super) struct AskedRows(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    writes: u64,
    rows: BTreeMap<FileName, HoldingRecord>,
}

impl AskedRows {
    /// The row, if it was remembered at this count of writes.
    pub(super) fn get(&self, writes: u64, name: &FileName) -> Option<HoldingRecord> {
        let known = lock(&self.0);
        if known.writes == writes { known.rows.get(name).copied() } else { None }
    }

    /// Remembers a row that was read after this count of writes was asked for.
    pub(super) fn remember(&self, writes: u64, name: &FileName, row: HoldingRecord) {
        let mut known = lock(&self.0);
        if known.writes > writes {
            return;
        }
        if known.writes < writes || known.rows.len() >= MAX_ROWS {
            known.rows.clear();
            known.writes = writes;
        }
        known.rows.insert(name.clone(), row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Root;

    fn name(number: usize) -> FileName {
        FileName::new(&format!("f{number}")).unwrap()
    }

    fn row(size: u64) -> HoldingRecord {
        HoldingRecord { root: Root([0; 32]), size, modified_ns: 0, inode: 0, listed: true }
    }

    #[test]
    fn a_row_is_known_until_the_next_write_and_an_older_one_does_not_come_back() {
        let rows = AskedRows::default();
        rows.remember(1, &name(0), row(1));
        assert_eq!((rows.get(1, &name(0)), rows.get(1, &name(1))), (Some(row(1)), None));
        assert_eq!((rows.get(2, &name(0)), rows.get(0, &name(0))), (None, None));
        rows.remember(2, &name(1), row(2));
        rows.remember(1, &name(0), row(1));
        assert_eq!((rows.get(2, &name(0)), rows.get(2, &name(1))), (None, Some(row(2))));
    }

    #[test]
    fn rows_are_bounded() {
        let rows = AskedRows::default();
        (0..MAX_ROWS).for_each(|number| rows.remember(1, &name(number), row(1)));
        assert_eq!(rows.get(1, &name(0)), Some(row(1)));
        rows.remember(1, &name(MAX_ROWS), row(1));
        assert_eq!((rows.get(1, &name(0)), rows.get(1, &name(MAX_ROWS))), (None, Some(row(1))));
    }
}
