//! What runs when.

mod ask_again;
mod refresh_cab;
mod scan_wants;

pub use ask_again::AskAgain;
pub use refresh_cab::{CabSettings, Prove, RefreshCab, Unproven};
pub use scan_wants::{ScanLimits, ScanWants};
