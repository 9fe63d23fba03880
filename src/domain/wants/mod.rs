//! What somebody needs: what is told of files (claims), what is known of them by that, who wants them,
//! and what was tried to get them. Pure: rows and bytes are others' business.
//!
//! A claim is checked in itself, then merged into what is known of its file; a file is one however many
//! updates share it, addresses lead to it or askers want it.

mod claim;
mod facts;
mod task;
mod want;

pub use claim::{ClaimError, FileClaim, MAX_CLAIM_UPDATES};
pub use facts::{Conflict, FileFacts, KnownFile, MAX_FILE_UPDATES, MAX_FILE_URLS, MergeError, merge};
pub use task::{DownloadTask, MAX_ERROR_BYTES, TaskEnd, TaskKind, TaskResult};
pub use want::{Asker, MAX_ASKERS, Want, WantState, next_try};
