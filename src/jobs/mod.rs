//! What runs when. Each job says when it is due and what it does ([`Job`]); the registry alone begins it ([`Jobs`]).

mod ask_again;
mod cleanup;
mod copy_ledger;
mod edition;
pub mod fleet;
mod job;
mod name;
mod pull;
mod refresh_cab;
mod registry;
mod scan_wants;
mod scrub;

pub use ask_again::AskAgain;
pub use cleanup::{Cleaned, Cleanup, CleanupRules, CleanupWish, IsEnabled};
pub use copy_ledger::CopyLedger;
pub use edition::{EditionDesk, EditionSettings, Prove, RollBack, RollBackRefused, Unproven};
pub use job::{Job, JobFailed};
pub use name::{JobName, UnknownJob};
pub use pull::Pull;
pub use refresh_cab::{CabSettings, RefreshCab};
pub use registry::{Jobs, Ran, Standing, When};
pub use scan_wants::{ScanLimits, ScanWants};
pub use scrub::BeginScrub;
