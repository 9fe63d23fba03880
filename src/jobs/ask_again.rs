//! What hosts of a secondary asked for while it could not be had is asked for again.
//!
//! Whenever the parent is there, and now and then: the files fly like anything that a host asks for, after
//! whatever hosts wait for. What is here by then, or known to nobody, is forgotten, and what had arrived of it
//! is removed.

use crate::{
    base::tasks,
    catalog::FilePlace,
    repository::Repository,
    supply::{Client, Ending, Flights, Joined, Phase},
    sync::shared::ParentConnection,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two looks while the parent is there.
const EVERY: Duration = Duration::from_secs(60);
/// Files that are asked for in one look, one after the other: hosts come first.
const MOST_AT_ONCE: usize = 1_000;

/// Asks again for what could not be had.
pub struct AskAgain {
    repository: Arc<Repository>,
    flights: Arc<Flights>,
    parent: watch::Receiver<Option<ParentConnection>>,
}

impl AskAgain {
    /// Asks for nothing yet; `parent` tells whether it is there.
    pub fn new(
        repository: Arc<Repository>,
        flights: Arc<Flights>,
        parent: watch::Receiver<Option<ParentConnection>>,
    ) -> Self {
        Self { repository, flights, parent }
    }

    /// Asks whenever the parent comes, and now and then while it is there, until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let again = async {
            loop {
                if self.parent.wait_for(Option::is_some).await.is_err() {
                    return;
                }
                self.ask_all().await;
                tokio::select! {
                    changed = self.parent.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        };
        cancel.run_until_cancelled(again).await;
    }

    async fn ask_all(&self) {
        let repository = self.repository.clone();
        let asks = match tasks::blocking(move || repository.asks(MOST_AT_ONCE)).await {
            Ok(Ok(asks)) => asks,
            Ok(Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "what hosts asked for can't be read");
                return;
            }
            Err(_) => return,
        };
        for (place, _) in asks {
            if self.is_settled(&place).await {
                let repository = self.repository.clone();
                let dropped = tasks::blocking(move || repository.drop_ask(&place.0, &place.1)).await;
                if let Ok(Err(error)) = dropped {
                    tracing::error!(error = &error as &dyn std::error::Error, "what hosts asked for can't be noted");
                }
            }
            if self.parent.borrow().is_none() {
                return;
            }
        }
        self.sweep().await;
    }

    async fn sweep(&self) {
        let flights = self.flights.list();
        let flying = flights.iter().map(|flight| (flight.folder.clone(), flight.name.clone())).collect();
        let repository = self.repository.clone();
        if let Ok(Err(error)) = tasks::blocking(move || repository.sweep_unasked(&flying)).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "what arrived and nobody wants can't be removed");
        }
    }

    /// Whether the file is here after its flight, or nobody knows it.
    async fn is_settled(&self, (folder, name): &FilePlace) -> bool {
        match self.flights.join(folder, name, &Client::Background).await {
            Joined::Unknown => true,
            Joined::Later(_) | Joined::OverQuota(_) => false,
            Joined::Flight(flight) => {
                let mut progress = flight.watch();
                let ended = progress.wait_for(|progress| matches!(progress.phase, Phase::Ended(_))).await;
                let is_settled = |phase: &Phase| matches!(phase, Phase::Ended(Ending::Published | Ending::Unknown));
                ended.is_ok_and(|progress| is_settled(&progress.phase))
            }
        }
    }
}
