//! What hosts of a member, and of its children, ask for.

use super::connection::{ServeError, patiently};
use crate::{
    base::tasks,
    domain::name::{FileName, FolderName},
    repository::RepositoryError,
    sync::{
        frames::{Askings, Frame},
        shared::Shared,
        wire::FrameReader,
    },
};
use quinn::RecvStream;
use std::{collections::BTreeMap, sync::Arc};

const DAY: u64 = 86_400;

/// Serves one stream, to its end.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    mut askings: Askings,
    reader: &mut FrameReader<RecvStream>,
) -> Result<(), ServeError> {
    loop {
        note(shared, askings).await?;
        askings = match patiently(reader.read_frame()).await? {
            Some(Frame::Askings(next)) => next,
            Some(other) => return Err(ServeError::OutOfPlace(other.name())),
            None => return Ok(()),
        };
    }
}

/// A day that is not over here yet counts as this one; names that can't be are passed over.
async fn note(shared: &Arc<Shared>, askings: Askings) -> Result<(), ServeError> {
    let repository = shared.repository.clone();
    let noted = tasks::blocking(move || {
        let today = repository.clock().unix_seconds() / DAY * DAY;
        let day = askings.day.min(today);
        if let Ok(folder) = FolderName::new(askings.folder.as_str()) {
            let names = askings.names.iter().filter_map(|name| FileName::new(name.as_str()).ok());
            let asked: BTreeMap<_, _> = names.map(|name| ((folder.clone(), name), day)).collect();
            repository.note_known_asked(&asked)?;
        }
        repository.note_heard(&askings.members)?;
        Ok::<_, RepositoryError>(())
    });
    Ok(noted.await??)
}
