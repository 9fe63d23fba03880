//! Rules: which updates an administrator lets through. What they are, not what follows from them.

mod book;
mod change;
mod criterion;
mod ini;
mod label;
mod name;
mod pattern;
mod set;

pub use book::RuleBook;
pub use change::{CHANGES_KEPT, RuleChange, SetEdit, SetEditError};
pub use criterion::{Criterion, ParseCriterionError};
pub use ini::IniRules;
pub use label::{Label, LabelError};
pub use name::{SetName, SetNameError};
pub use pattern::{ParsePatternError, UpdatePattern};
pub use set::{MAX_SET_BYTES, Origin, PackageSignature, RuleSet, RuleSetError};
