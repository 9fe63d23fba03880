//! One node's folders: the owner of the order of bytes and rows.
//!
//! A holding obeys *bytes first, then the row; the row goes first, then the bytes*:
//!
//! * arriving: stage, verify, sync, rename, sync the directory, commit;
//! * leaving: commit the row's removal with an intent, rename to the trash, clear the intent.
//!
//! On a main, other programs write the folder: files are adopted where they lie, and the index
//! follows the tree. On a secondary the tree follows the index, which follows the main's signed
//! heads. Nothing here talks to the network.

mod apart;
mod asked_rows;
mod asks;
mod attention;
mod author;
mod backup;
mod blob;
mod bury;
mod check;
mod cleanup;
mod contradictions;
mod deletions;
mod editions;
mod enter;
mod error;
mod evict;
mod examine;
mod find;
mod follow;
mod frozen;
mod hashers;
mod hosts;
mod in_order;
mod later;
mod log_limit;
mod members;
mod mend;
mod nearest;
mod obtain;
mod open;
mod order;
#[cfg(test)]
mod power_cuts;
mod prune;
mod publish;
mod quarantine;
mod receive;
mod remove;
mod renamed;
mod room;
mod rules;
mod scan;
mod scrub;
mod state_dir;
mod tables;
mod tend;
#[cfg(test)]
pub(crate) mod testing;
mod together;
mod wants;

pub use attention::{Alarm, Attention, Standing, Trouble, TroubleCounts, Troubles};
pub use backup::{ExportError, members_of};
pub use blob::Blob;
pub use check::{CheckSummary, Finding, LeftAlone};
pub use cleanup::{LetGo, Undone};
pub use deletions::{DeletionCap, DeletionPlan, plan_deletions};
pub use editions::Kept;
pub use error::RepositoryError;
pub use examine::{Adoptable, Examined};
pub use find::Found;
pub use follow::{Change, FollowError};
pub use in_order::Turn;
pub use log_limit::LogLimit;
pub use members::Admission;
pub use obtain::LocalSource;
pub use open::{AdoptionProgress, FolderConfig, OpenRepositoryError, Repository, RepositoryConfig};
pub use prune::{PrunePlan, PruneRefusal};
pub use receive::{Arrival, PUBLISHING};
pub use rules::ChangeRulesError;
pub use scan::ScanSummary;
pub use scrub::{Load, Rest, Scrub, ScrubFinding, ScrubProgress, Scrubbed, Sums};
pub use state_dir::{Epoch, OpenStateError, SmallFileError, StateDir};
pub use tend::{Tend, TendConfig};
pub use together::{Before, Entrant, Pair};
pub use wants::{Prospect, WantCounts, WantedFile};
