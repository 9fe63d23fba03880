//! Why an edition is not published.

use crate::{
    base::{chain::chain, read_at::ReadAt},
    repository::RepositoryError,
    upstream::UpstreamError,
};
use std::sync::Arc;

/// Proves the signature of a cabinet of so many bytes, at a time in seconds since 1970 UTC; or says in one line
/// why it is not believed, and what to do.
pub type Prove = Arc<dyn Fn(&dyn ReadAt, u64, u64) -> Result<(), Unproven> + Send + Sync>;

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// In one line.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

/// Why an edition was not published.
#[derive(Debug)]
pub(in crate::jobs) struct Refused {
    pub(in crate::jobs) why: String,
    pub(in crate::jobs) cure: String,
    /// Microsoft could not be asked: that is worth an alarm only when it goes on.
    pub(in crate::jobs) is_transient: bool,
}

impl Refused {
    pub(in crate::jobs) fn by_upstream(error: &UpstreamError) -> Self {
        Self { is_transient: error.is_transient(), ..Self::of(chain(error)) }
    }

    pub(in crate::jobs) fn of(why: String) -> Self {
        let cure =
            "look at the log and at `upstream.cab_url`; the edition before stays published, and it is tried again";
        Self { why, cure: cure.to_owned(), is_transient: false }
    }
}

impl From<Unproven> for Refused {
    fn from(Unproven { why, cure }: Unproven) -> Self {
        Self { why, cure, is_transient: false }
    }
}

impl From<RepositoryError> for Refused {
    fn from(error: RepositoryError) -> Self {
        let cure = "repair the state folder, the folder or their disk".to_owned();
        Self { why: chain(&error), cure, is_transient: false }
    }
}
