//! A secondary tells its parent what its hosts ask for, one day for each file, so that the main knows what is in use
//! anywhere.
//!
//! Order of events: the parent is there; what was asked for since the day of the last telling and not told yet goes out,
//! with the names of everybody whose askings that covers: this node, and its own children that told it theirs. Only when the
//! parent has noted it, the ledger has this day as the last. What was asked for while the parent was away counts as asked for
//! on the day that it is told: files stay too long rather than too short. Nothing to tell is told, too: who is silent counts
//! as asking for everything.

use super::parent::{PullError, patiently};
use crate::{
    base::tasks,
    domain::{
        key::NodeKey,
        name::{FileName, FolderName},
    },
    repository::RepositoryError,
    sync::{
        bounded::Text,
        frames::{Askings, MAX_ASKED_NAMES},
        shared::Shared,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::Connection;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const DAY: u64 = 86_400;
/// Between two tellings while the parent is there.
const EVERY: Duration = Duration::from_secs(3_600);

/// Tells until `cancel`; `own` is this node's key.
pub async fn carry_askings(shared: Arc<Shared>, own: NodeKey, cancel: CancellationToken) {
    cancel.run_until_cancelled(carry(&shared, own)).await;
}

/// What was told of one day.
#[derive(Default)]
struct Told {
    day: u64,
    files: BTreeSet<(FolderName, FileName)>,
}

async fn carry(shared: &Arc<Shared>, own: NodeKey) {
    let mut parent = shared.parent_connection();
    let mut told = Told::default();
    loop {
        let Ok(connected) = parent.wait_for(Option::is_some).await.map(|parent| parent.clone()) else { return };
        let Some(connected) = connected else { continue };
        if let Err(error) = tell(shared, &connected.connection, own, &mut told).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "what hosts ask for is told later");
        }
        tokio::select! {
            changed = parent.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn tell(shared: &Arc<Shared>, connection: &Connection, own: NodeKey, told: &mut Told) -> Result<(), PullError> {
    let day = shared.clock().unix_seconds() / DAY * DAY;
    if told.day != day {
        *told = Told { day, files: BTreeSet::new() };
    }
    let repository = shared.repository.clone();
    let known = tasks::blocking(move || {
        // This node's own row says when its parent was told last.
        let last = repository.heard_at(&own)?.map_or(0, |at| at / DAY * DAY);
        let asked = repository.asked_since(last.min(day))?;
        Ok::<_, RepositoryError>((asked, repository.heard_since(day.saturating_sub(DAY))?))
    });
    let (asked, mut members) = known.await??;
    members.insert(own);
    let news: Vec<_> = asked.into_iter().filter(|place| !told.files.contains(place)).collect();
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    for folder in shared.repository.folder_names() {
        let names = news.iter().filter(|(of, _)| of == folder);
        let names: Vec<_> = names.filter_map(|(_, name)| Text::new(name.as_str())).collect();
        for names in names.chunks(MAX_ASKED_NAMES) {
            let Some(folder) = Text::new(folder.as_str()) else { continue };
            patiently(writer.write_frame(Askings { folder, day, names: names.to_vec(), members: Vec::new() })).await?;
        }
    }
    let Some(none) = Text::new("") else { return Ok(()) };
    let members = members.into_iter().collect();
    patiently(writer.write_frame(Askings { folder: none, day, names: Vec::new(), members })).await?;
    writer.get_mut().finish().ok();
    // The parent ends the stream once it has noted all of it.
    if let Some(frame) = patiently(reader.read_frame()).await? {
        return Err(PullError::OutOfPlace(frame.name()));
    }
    let repository = shared.repository.clone();
    tasks::blocking(move || repository.note_heard(&[own])).await??;
    told.files.extend(news);
    Ok(())
}
