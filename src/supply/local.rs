//! What this repository holds.

use super::source::{Answer, HeldFile, Source};
use crate::{
    base::future::BoxFuture,
    domain::name::{FileName, FolderName},
    repository::{Found, Repository},
};
use std::{sync::Arc, time::Duration};

/// When a host should ask again for a file that is on its way.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Serves holdings.
pub struct Local(Arc<Repository>);

impl Local {
    /// A source of what `repository` holds.
    pub fn new(repository: Arc<Repository>) -> Self {
        Self(repository)
    }

    fn look(repository: &Repository, folder: &FolderName, name: &FileName) -> Answer {
        match repository.find(folder, name) {
            Ok(found) => answer(found),
            Err(error) => {
                tracing::error!(%folder, %name, error = &error as &dyn std::error::Error, "looking for a file failed");
                Answer::NotYet { retry_after: ASK_AGAIN }
            }
        }
    }
}

fn answer(found: Found) -> Answer {
    match found {
        Found::Held { file, size, modified, root } => Answer::Held(HeldFile { size, modified, root, bytes: file }),
        Found::NotYet => Answer::NotYet { retry_after: ASK_AGAIN },
        Found::Unknown => Answer::Unknown,
    }
}

impl Source for Local {
    fn find<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            if let Some(found) = self.0.find_at_once(folder, name) {
                return answer(found);
            }
            let (repository, folder, name) = (self.0.clone(), folder.clone(), name.clone());
            let looked = tokio::task::spawn_blocking(move || Self::look(&repository, &folder, &name)).await;
            looked.unwrap_or(Answer::NotYet { retry_after: ASK_AGAIN })
        })
    }
}
