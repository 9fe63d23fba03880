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

    /// Looks a file up: what lies in memory at once, the rest on a thread that may block.
    pub async fn look(&self, folder: &FolderName, name: &FileName) -> Here {
        if let Some(found) = self.0.find_at_once(folder, name) {
            return here(found);
        }
        let (repository, folder, name) = (self.0.clone(), folder.clone(), name.clone());
        let looked = tokio::task::spawn_blocking(move || look(&repository, &folder, &name)).await;
        looked.unwrap_or(Here::NotYet)
    }
}

fn look(repository: &Repository, folder: &FolderName, name: &FileName) -> Here {
    repository.find(folder, name).map_or_else(
        |error| {
            tracing::error!(%folder, %name, error = &error as &dyn std::error::Error, "looking for a file failed");
            Here::NotYet
        },
        here,
    )
}

fn here(found: Found) -> Here {
    match found {
        Found::Held { file, size, modified, root } => Here::Held(HeldFile { size, modified, root, bytes: file }),
        Found::Missing(file) => Here::Missing(file),
        Found::NotYet => Here::NotYet,
        Found::Unknown => Here::Unknown,
    }
}
