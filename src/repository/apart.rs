//! Work on bytes and rows for those who must not wait for a disk.

use super::{error::RepositoryError, open::Repository};
use crate::base::tasks;
use std::{io, sync::Arc};

impl Repository {
    /// Does `work` on a thread that may block; `with` says what it is about, for the error where it panics. Needs
    /// a tokio runtime.
    pub async fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        with: &'static str,
        work: impl FnOnce(&Self) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        let repository = self.clone();
        let done = tasks::blocking(move || work(&repository)).await;
        done.unwrap_or_else(|panic| Err(RepositoryError::io("working on", with)(io::Error::other(panic))))
    }
}
