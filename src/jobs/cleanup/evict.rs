//! What a secondary that keeps only what hosts ask for lets go: the least recently asked above its bound.

use crate::{
    domain::{
        edition::is_edition,
        name::{FileName, FolderName},
    },
    policy::eviction::{HeldFile, plan_eviction},
    repository::{Repository, RepositoryError},
};

/// What goes so that no more than `most` bytes are held.
pub(super) fn plan(
    repository: &Repository,
    most: u64,
    is_busy: &dyn Fn(&FolderName, &FileName) -> bool,
) -> Result<Vec<(FolderName, FileName)>, RepositoryError> {
    let mut files = Vec::new();
    for folder in repository.folder_names().cloned().collect::<Vec<_>>() {
        let held = repository.held_files(&folder)?;
        let uses = repository.uses_of(&folder, &held)?;
        files.extend(held.into_iter().map(|(name, size)| {
            let asked_at = uses.get(&name).map_or(u64::MAX, |known| known.asked_at.unwrap_or(known.arrived_at));
            let stays = is_edition(&name) || is_busy(&folder, &name);
            HeldFile { folder: folder.clone(), name, size, asked_at, stays }
        }));
    }
    Ok(plan_eviction(files, most).into_iter().map(|file| (file.folder, file.name)).collect())
}
