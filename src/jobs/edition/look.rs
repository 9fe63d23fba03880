//! What lies in the folder: a WAPT server may put an edition there, and a crash may come between a cabinet, its
//! sidecar and its rows.
//!
//! Order of events: a cabinet that is not the one that was read is proven, its sidecar is made to fit, and it is read.
//! The sidecar of one that is not believed is whoever put it there's.

use super::{
    Refused,
    desk::{EditionDesk, FOUND},
};
use crate::{
    catalog::{RefreshOutcome, RefreshRecord},
    domain::{edition::CABINET, member::Role},
    repository::RepositoryError,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The folder is looked at no more often, whatever changes there.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// And no more seldom, though nothing is told to have changed: an alarm's cause may be gone.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(600);

impl EditionDesk {
    /// Looks at once and whenever rows change, until `cancel`.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut changes = self.repository.changes();
        let work = async {
            if let Err(error) = self.recall().await {
                tracing::error!(error = &error as &dyn std::error::Error, "looking at past refreshes failed");
            }
            loop {
                self.look().await;
                tokio::time::sleep(LOOK_EVERY).await;
                tokio::select! {
                    () = tokio::time::sleep(LOOK_AT_LEAST_EVERY) => {}
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
        };
        cancel.run_until_cancelled(Box::pin(work)).await;
    }

    async fn look(&self) {
        let _turn = self.turn().await;
        if let Err(Refused { why, cure, .. }) = self.look_at_pair().await {
            if self.repository.role() == Role::Secondary {
                // What is in the folder is the main's: an alarm stands there.
                tracing::info!(why, "the edition in the folder is not read");
                return;
            }
            let what = format!(
                "{}/{CABINET} in the folder is not believed, and what it tells is not used: {why}",
                self.settings.folder
            );
            self.repository.attention.raise(FOUND, what, cure);
        }
    }

    async fn look_at_pair(&self) -> Result<(), Refused> {
        let Some(held) = self.held().await? else {
            let pair = self.pair.clone();
            if self.blocking(move |repository| repository.indexed(&pair.folder, &pair.cab)).await?.is_none() {
                self.forget_doubts();
            }
            return Ok(());
        };
        let current = self.blocking(|repository| repository.edition()).await?;
        let root = held.file.root;
        if current.is_some_and(|current| current.root == root) {
            self.forget_doubts();
            return Ok(self.mend(true).await?);
        }
        if self.doubts(root) {
            return Ok(());
        }
        tracing::info!(%root, "another edition lies in the folder: it is read");
        let started_at = self.repository.clock().unix_seconds();
        self.mend(false).await?;
        self.prove(&held.bytes, held.file.size).await?;
        // Reading takes a while, and hosts ask for the sidecar meanwhile.
        self.mend(true).await?;
        let mut good = self.read(held.bytes, current.as_ref()).await?;
        let withdrawn = self.blocking(|repository| repository.withdrawn_edition()).await?;
        if withdrawn.is_some_and(|mark| mark.root == root) {
            good.odd.push("it is the one that was taken back, and another program put it into the folder".to_owned());
        }
        let row = RefreshRecord {
            started_at,
            finished_at: self.repository.clock().unix_seconds(),
            forced: false,
            cab_modified: Some(held.file.modified),
            cab_size: Some(held.file.size),
            outcome: RefreshOutcome::Found,
            oddities: good.odd.clone(),
        };
        self.put_rows(good, root, held.file.size, None).await?;
        Ok(self.blocking(move |repository| repository.put_refresh(&row)).await?)
    }

    /// The sidecar, which only a main writes.
    async fn mend(&self, write: bool) -> Result<(), RepositoryError> {
        let pair = self.pair.clone();
        self.blocking(move |repository| repository.mend_pair(&pair, write)).await
    }
}
