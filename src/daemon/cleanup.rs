//! Cleanups over the API, and how this node's configuration sets them up.

use super::{
    api::{ApiError, CleanupReply, CleanupRequest, ErrorCode, LeavingFile, StayingFiles, UndoReply},
    config::{Config, Keep, Mode, Switch},
    control::Peer,
    router::{Answer, Api, audit, blocking},
    upstream::server_ini,
};
use crate::{
    base::{chain::chain, units},
    domain::key::NodeKey,
    jobs::{Cleaned, Cleanup, CleanupRules, CleanupWish, JobFailed, JobName},
    policy::{
        night::Nights,
        retention::{self, Staying},
    },
    repository::{Repository, Undone},
    supply::{Asked, Flights},
};
use axum::{
    Extension, Json,
    extract::{ConnectInfo, State},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often what hosts asked for is written down. Days are what counts, so little is lost with the process.
const NOTE_EVERY: Duration = Duration::from_secs(600);

/// What lets files go.
pub(super) fn cleanup(
    config: &Config,
    repository: &Arc<Repository>,
    flights: Option<Arc<Flights>>,
    asked: Arc<Asked>,
    key: &NodeKey,
) -> Arc<Cleanup> {
    let keep = match config.cleanup.keep {
        Keep::InstalledOrNeeded => retention::Keep::InstalledOrNeeded,
        Keep::Needed => retention::Keep::Needed,
        Keep::Asked(within) => retention::Keep::Asked(within.as_secs()),
    };
    let most_held = config.mirror.max_size.filter(|_| config.mirror.mode == Mode::OnMiss);
    let (grace, trash) = (config.cleanup.grace.as_secs(), config.cleanup.trash.as_secs());
    let rules = CleanupRules { keep, grace, most_held, trash };
    let window = config.cleanup.window;
    let node = key.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let nights = Nights { from: window.from, to: window.to, node };
    let enabled = config.cleanup.enabled;
    let is_enabled = move || match enabled {
        Switch::On => true,
        Switch::Off => false,
        Switch::Auto => server_ini().and_then(|ini| ini.cleanup_kbs).unwrap_or(true),
    };
    Cleanup::new(repository.clone(), flights, asked, rules, nights, Box::new(is_enabled))
}

/// Writes down what hosts ask for now and then, and once more at the end.
pub(super) async fn note_asked(cleanup: Arc<Cleanup>, cancel: CancellationToken) {
    let mut every = tokio::time::interval(NOTE_EVERY);
    loop {
        let is_over = tokio::select! {
            () = cancel.cancelled() => true,
            _ = every.tick() => false,
        };
        if let Err(error) = cleanup.note_asked().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what hosts asked for can't be written down");
        }
        if is_over {
            return;
        }
    }
}

pub(super) async fn run(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<CleanupRequest>,
) -> Answer<CleanupReply> {
    let CleanupRequest { dry_run, force, free, unknown } = request;
    let wish = CleanupWish { dry_run, force, free, unowned_too: unknown, let_trash_rest: false };
    let node = api.node.clone();
    // Goes on when the one who asked has left.
    let cleaned = tokio::spawn(async move {
        if wish.dry_run {
            return node.cleanup.run_once(wish).await;
        }
        let work = async {
            let cleaned = node.cleanup.run_once(wish).await;
            let outcome = match &cleaned {
                Ok(cleaned) => Ok(outcome(cleaned)),
                Err(error) => Err(JobFailed(chain(error))),
            };
            (cleaned, outcome)
        };
        match node.jobs.run_as(JobName::Cleanup, work).await? {
            Some(cleaned) => cleaned,
            None => node.cleanup.run_once(wish).await,
        }
    });
    let failed = |why: String| ApiError::new(ErrorCode::Failed, why);
    let cleaned = cleaned.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(chain(&error)))?;
    if cleaned.files > 0 || cleaned.trash_files > 0 && !dry_run {
        audit(&api, peer, format!("cleaned up: {}{}", outcome(&cleaned), if force { ", forced" } else { "" })).await?;
    }
    Ok(Json(reply(cleaned, dry_run)))
}

fn outcome(cleaned: &Cleaned) -> String {
    match cleaned.withheld {
        Some(allowed) => {
            format!("{} files would go, and no more than {allowed} may at once", cleaned.plan.leaving.len())
        }
        None => format!("{} files with {} went to the trash", cleaned.files, units::bytes(cleaned.bytes)),
    }
}

fn reply(cleaned: Cleaned, dry_run: bool) -> CleanupReply {
    let leaving = cleaned.plan.leaving.into_iter().map(|file| LeavingFile {
        name: file.name.to_string(),
        size: file.size,
        why: file.why.to_string(),
        last_use: file.last_use,
    });
    let staying = Staying::ALL.iter().zip(cleaned.plan.staying).filter(|(_, (files, _))| *files > 0);
    let staying = staying.map(|(why, (files, bytes))| StayingFiles { why: why.to_string(), files, bytes });
    CleanupReply {
        dry_run,
        hosts: cleaned.hosts,
        leaving: leaving.collect(),
        staying: staying.collect(),
        files: cleaned.files,
        bytes: cleaned.bytes,
        trash_files: cleaned.trash_files,
        trash_bytes: cleaned.trash_bytes,
        withheld: cleaned.withheld,
    }
}

pub(super) async fn undo(State(api): State<Api>, peer: Option<Extension<ConnectInfo<Peer>>>) -> Answer<UndoReply> {
    let repository = api.node.repository.clone();
    let Json(undone) = blocking(move || repository.undo_cleanup()).await?;
    let Undone { at, files, bytes, lost } = undone;
    if files > 0 {
        audit(&api, peer, format!("undid a cleanup: {files} files with {} are back", units::bytes(bytes))).await?;
    }
    Ok(Json(UndoReply { at, files, bytes, lost }))
}
