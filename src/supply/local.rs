//! What this repository holds.

use super::source::HeldFile;
use crate::{
    domain::{
        file::FileRecord,
        name::{FileName, FolderName},
    },
    repository::{Found, Repository},
};
use std::sync::Arc;

/// What is here of a name.
pub enum Here {
    /// The whole file.
    Held(HeldFile),
    /// Nothing: the index names it with this content, and it has not arrived.
    Missing(FileRecord),
    /// Nothing that can be served yet: it is being written, hashed or healed.
    NotYet,
    /// Nothing.
    Unknown,
}

/// Looks into holdings.
#[derive(Clone)]
pub struct Local(Arc<Repository>);

impl Local {
    /// A source of what `repository` holds.
    pub fn new(repository: Arc<Repository>) -> Self {
        Self(repository)
    }

    /// Looks a file up.
    pub async fn look(&self, folder: &FolderName, name: &FileName) -> Here {
        let (repository, folder, name) = (self.0.clone(), folder.clone(), name.clone());
        let looked = tokio::task::spawn_blocking(move || look(&repository, &folder, &name)).await;
        looked.unwrap_or(Here::NotYet)
    }
}

fn look(repository: &Repository, folder: &FolderName, name: &FileName) -> Here {
    match repository.find(folder, name) {
        Ok(Found::Held { file, size, modified, root }) => Here::Held(HeldFile { size, modified, root, bytes: file }),
        Ok(Found::Missing(file)) => Here::Missing(file),
        Ok(Found::NotYet) => Here::NotYet,
        Ok(Found::Unknown) => Here::Unknown,
        Err(error) => {
            tracing::error!(%folder, %name, error = &error as &dyn std::error::Error, "looking for a file failed");
            Here::NotYet
        }
    }
}
