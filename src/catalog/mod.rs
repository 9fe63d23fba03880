//! Rows: what exists, what is here, what happened, who belongs.
//!
//! Two databases with one writer each. The index (`index.redb`) can be rebuilt from the tree; the
//! ledger (`ledger.redb`) can't and is backed up. Knows nothing of files or paths: the bytes of
//! both come through [`crate::base::random_access::RandomAccess`].

mod asks;
mod backend;
mod batch;
mod editions;
mod entry_rows;
mod error;
mod file_rows;
mod home;
mod host_keys;
mod hosts;
mod index;
mod ledger;
mod overlay;
mod records;
mod snapshot;
mod sparse;
mod tables;
mod tasks;
#[cfg(test)]
mod tests;
mod uses;
mod wants;

pub use batch::Batch;
pub use editions::Editions;
pub use entry_rows::EntryRows;
pub use error::{CatalogError, OpenCatalogError};
pub use file_rows::FileRows;
pub use host_keys::Admitted;
pub use hosts::{Hosts, KeptHost, OutboxLimit};
pub use index::Index;
pub use ledger::{InviteState, Ledger};
pub use records::{
    AskRecord, AuditRecord, CleanupRecord, ConflictsRecord, ContentSha1, DamageRecord, DamageTotals, EditionRecord,
    FactsFrom, HeardRecord, HoldingRecord, HostKeyRecord, HostRecord, HostStanding, HostTokenRecord, InviteRecord,
    JobRecord, LogRecord, MissingRecord, RefreshOutcome, RefreshRecord, ScrubRecord, Totals, UseRecord,
    WithdrawnRecord,
};
pub use snapshot::{KeyAndBody, LogRow, Snapshot};
pub use tasks::TaskLimit;
pub use wants::{AskOutcome, FilePlace, Forgotten, WantLimit, WantRow, Wanted};
