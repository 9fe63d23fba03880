//! Values with a notation of their own: each parses from its text and is written back as it.

pub(super) mod rate;
pub(super) mod url;
pub(super) mod window;
