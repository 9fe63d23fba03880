//! Rules over the API, from packages, and from the configuration file of an agent.

mod ask;
mod handlers;
mod ini;
mod package;

pub use crate::wapt::package::PackageParts;
pub use ini::{IniChangeError, ini_problems, ini_with};
pub use package::{ReadPackageError, package_parts};

pub(super) use handlers::{changes, changing, list};
pub(super) use ini::{follow_ini, ini_problem};
pub(super) use package::trust_problem;
