//! What runs when.

mod scan_wants;

pub use scan_wants::{ScanLimits, ScanWants};
