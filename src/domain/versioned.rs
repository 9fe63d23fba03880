//! versioned
