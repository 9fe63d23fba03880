//! What runs when. Each job says when it is due and what it does ([`Job`]); the registry alone begins it ([`Jobs`]).

mod ask_again;
mod cleanup;
mod copy_ledger;
pub mod fleet;
mod job;
mod name;
mod refresh_cab;
mod registry;
mod scan_wants;
mod scrub;

pub use ask_again::AskAgain;
pub use cleanup::{Cleaned, Cleanup, CleanupRules, CleanupWish, IsEnabled};
pub use copy_ledger::CopyLedger;
pub use job::{Job, JobFailed};
pub use name::{JobName, UnknownJob};
pub use refresh_cab::{CabSettings, Prove, RefreshCab, Unproven};
pub use registry::{Jobs, Ran, Standing, When};
pub use scan_wants::{ScanLimits, ScanWants};
pub use scrub::BeginScrub;
