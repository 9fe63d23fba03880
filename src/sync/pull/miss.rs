//! The flights of a secondary: a file that somebody waits for, from the parent by its name, through any number
//! of tiers, while it arrives there.
//!
//! Where the signed state names the content, every group is proven before anybody sees it (a [`Partial`]).
//! Where it does not yet, plain bytes arrive and are hashed (a [`Download`]); the last group is held back until
//! a head signed by the main names the root that was computed on the way: the parent's word is a hint. A lost
//! connection is waited for; what has arrived stays, for this flight or for the next. Who lies is told of damage,
//! and asked again by a later flight.

mod pieces;
mod plain;
mod proven;
mod trip;

use super::parent::PullError;
use crate::{
    base::{backoff::Backoff, chain::chain, future::BoxFuture, tasks},
    domain::name::{FileName, FolderName},
    repository::RepositoryError,
    supply::{
        Client, Ending, Flight,
        spring::{Description, Outlook, Spring},
    },
    sync::shared::{ParentConnection, Shared},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use trip::Trip;

/// How long a flight waits for a parent that is away, and goes on without any progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// When to ask again while the parent is away.
const AWAY: Duration = Duration::from_secs(15);
/// When to ask again for what has no name before others have theirs.
const IN_ORDER: Duration = Duration::from_secs(5);
/// When to ask again after something failed here.
const FAILED: Duration = Duration::from_secs(30);
/// First and longest wait between two tries of one flight.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Why a try of a flight ended.
#[derive(Debug, thiserror::Error)]
enum MissError {
    #[error("the parent is away")]
    Away,
    #[error("the parent's version gives no files by their names: install the same version there")]
    Old,
    #[error("nobody knows it")]
    Unknown,
    #[error("the parent can't give it now")]
    NotNow(Duration),
    #[error("its content is known now")]
    Named,
    #[error("what arrived is not what its name promises or the main signed: it is dropped")]
    Wrong,
    #[error(transparent)]
    Pull(#[from] PullError),
}

impl From<RepositoryError> for MissError {
    fn from(error: RepositoryError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<tokio::task::JoinError> for MissError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Pull(error.into())
    }
}

impl From<quinn::ConnectionError> for MissError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Pull(error.into())
    }
}

/// Brings files from the parent.
pub struct FromParent {
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

impl FromParent {
    /// Brings files until `cancel`.
    pub fn new(shared: Arc<Shared>, cancel: CancellationToken) -> Self {
        Self { shared, cancel }
    }

    /// A file that can't be had is asked for again when that makes sense, by nobody's leave.
    async fn keep(&self, folder: &FolderName, name: &FileName) {
        let (repository, folder, name) = (self.shared.repository.clone(), folder.clone(), name.clone());
        let kept = tasks::blocking(move || repository.note_ask(&folder, &name)).await;
        if let Ok(Err(error)) = kept {
            tracing::error!(error = &error as &dyn std::error::Error, "what hosts ask for can't be noted");
        }
    }

    async fn fly(&self, flight: &Arc<Flight>) -> Ending {
        let ending = tokio::select! {
            () = self.cancel.cancelled() => later(AWAY, "this repository is stopping"),
            ending = self.try_again_and_again(flight) => ending,
        };
        if let (Ending::Later { .. }, true) = (&ending, flight.first != Client::Background) {
            self.keep(&flight.folder, &flight.name).await;
        }
        // Whoever mirrors left it to this flight.
        self.shared.content_may_be_there.notify_one();
        ending
    }

    async fn try_again_and_again(&self, flight: &Arc<Flight>) -> Ending {
        let (folder, name) = (&flight.folder, &flight.name);
        let mut trip = Trip::new(&self.shared, flight);
        let mut backoff = Backoff::new(RETRY.0, RETRY.1);
        loop {
            let moved_at = trip.moved_at;
            let error = match trip.once().await {
                Ok(()) => return Ending::Published,
                Err(error) => error,
            };
            let now = self.shared.clock().monotonic();
            if is_full(&error) {
                trip.make_room().await;
            }
            match error {
                MissError::Named => continue,
                MissError::Unknown => return Ending::Unknown,
                MissError::NotNow(wait) => return later(wait, &MissError::NotNow(wait).to_string()),
                MissError::Away => return later(AWAY, &MissError::Away.to_string()),
                error @ (MissError::Old | MissError::Wrong) => {
                    tracing::warn!(%folder, %name, error = &error as &dyn std::error::Error, "a file can't be had");
                    return later(FAILED, &chain(&error));
                }
                error if now.saturating_duration_since(trip.moved_at) > PATIENCE || is_final(&error) => {
                    tracing::warn!(%folder, %name, error = &error as &dyn std::error::Error, "a file can't be had");
                    return later(FAILED, &chain(&error));
                }
                error => {
                    tracing::info!(%folder, %name, error = &error as &dyn std::error::Error, "asking for a file again");
                }
            }
            if trip.moved_at != moved_at {
                backoff.on_success();
            }
            sleep(backoff.on_failure(u64::MAX / 2)).await;
        }
    }
}

fn later(retry_after: Duration, why: &str) -> Ending {
    Ending::Later { retry_after, why: why.to_owned() }
}

/// Whether another try at once is in vain: it failed here, or the parent says what no honest one says.
fn is_final(error: &MissError) -> bool {
    match error {
        MissError::Pull(PullError::Repository(_)) => true,
        MissError::Pull(error) => error.is_violation(),
        _ => false,
    }
}

fn is_full(error: &MissError) -> bool {
    matches!(error, MissError::Pull(PullError::Repository(RepositoryError::NoRoom { .. })))
}

impl Spring for FromParent {
    fn outlook<'a>(&'a self, folder: &'a FolderName, name: &'a FileName, client: &'a Client) -> BoxFuture<'a, Outlook> {
        Box::pin(async move {
            if self.shared.repository.folder_path(folder).is_none() {
                return Outlook::Unknown;
            }
            let (repository, place) = (self.shared.repository.clone(), (folder.clone(), name.clone()));
            let in_order = tasks::blocking(move || repository.comes_in_order(&place.0, &place.1)).await;
            if matches!(in_order, Ok(Ok(true))) {
                return Outlook::Later(IN_ORDER);
            }
            if self.shared.connection_to_parent().is_some() {
                return Outlook::Good;
            }
            if *client != Client::Background {
                self.keep(folder, name).await;
            }
            Outlook::Later(AWAY)
        })
    }

    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending> {
        Box::pin(self.fly(flight))
    }

    fn describe<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Option<Description>> {
        Box::pin(async move {
            let parent = connected(&self.shared).await.ok()?;
            let (_, _, coming) = pieces::ask(&self.shared, &parent, folder, name, true, 0).await.ok()?;
            Some(Description { size: coming.size, modified: coming.modified })
        })
    }
}

/// The parent, once it is there.
async fn connected(shared: &Shared) -> Result<ParentConnection, MissError> {
    let mut watch = shared.parent_connection();
    let there = timeout(PATIENCE, watch.wait_for(Option::is_some)).await;
    let parent = there.ok().and_then(Result::ok).and_then(|parent| parent.clone()).ok_or(MissError::Away)?;
    if parent.gives_on_miss { Ok(parent) } else { Err(MissError::Old) }
}
