//! What runs when.

mod ask_again;
mod scan_wants;

pub use ask_again::AskAgain;
pub use scan_wants::{ScanLimits, ScanWants};
