//! `refresh-cab`: Microsoft's index of updates, fetched when there is another edition.
//!
//! Runs on a main that may fetch. Order of events: Microsoft is asked for length and date; the same as published,
//! or those of an edition that a person took back, is the end. Else the cabinet arrives in staging, is proven and
//! read ([`EditionDesk`]), takes its name together with its sidecar, and last the rows say what it tells. The
//! edition before is kept.

use super::{
    edition::{EditionDesk, REFRESHING, Refused, as_time},
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::{future::BoxFuture, tasks},
    catalog::{EditionRecord, RefreshOutcome, RefreshRecord, WithdrawnRecord},
    domain::file::FileRecord,
    policy::{
        due::{Last, Next},
        patch_tuesday::{self, Past},
    },
    repository::{Before, RepositoryError},
    upstream::{Demand, Fetched, Promise, Upstream, Wanted},
};
use jiff::tz::TimeZone;
use std::{io, sync::Arc, time::Duration};
use tokio::sync::watch;

/// So many attempts in which Microsoft could not be asked are worth an alarm.
const ALARM_AFTER: usize = 3;
/// Past attempts that the next one depends on: those of a Patch Tuesday, and what came between.
const PAST: usize = 128;

/// Where an edition comes from, and how often it is asked for.
#[derive(Clone)]
pub struct CabSettings {
    /// Where Microsoft has it.
    pub url: String,
    /// Between two askings that nobody wanted.
    pub every: Duration,
    /// A number of this node's own.
    pub node: u64,
}

/// Keeps the edition fresh.
pub struct RefreshCab {
    desk: Arc<EditionDesk>,
    upstream: Arc<Upstream>,
    settings: CabSettings,
}

impl RefreshCab {
    /// Refreshes nothing yet.
    pub fn new(desk: Arc<EditionDesk>, upstream: Arc<Upstream>, settings: CabSettings) -> Arc<Self> {
        Arc::new(Self { desk, upstream, settings })
    }

    /// Asks Microsoft now. `forced` fetches and publishes even what seems to be the published one, or was taken
    /// back.
    pub async fn refresh(&self, forced: bool) -> Result<RefreshRecord, RepositoryError> {
        let _turn = self.desk.turn().await;
        let repository = &self.desk.repository;
        let started_at = repository.clock().unix_seconds();
        let mut record = RefreshRecord {
            started_at,
            finished_at: started_at,
            forced,
            cab_modified: None,
            cab_size: None,
            outcome: RefreshOutcome::Skipped,
            oddities: Vec::new(),
        };
        let refreshed = self.fetch_and_publish(forced, &mut record).await;
        record.finished_at = repository.clock().unix_seconds();
        match refreshed {
            Ok(outcome) => {
                tracing::info!(?outcome, "the edition was asked for");
                repository.attention.clear(&REFRESHING);
                record.outcome = outcome;
            }
            Err(Refused { why, cure, is_transient }) => {
                tracing::warn!(why, "no edition is published");
                if !is_transient || self.failed_lately()? {
                    repository.attention.raise(REFRESHING, format!("no newer edition is published: {why}"), cure);
                }
                record.outcome = RefreshOutcome::Failed(why);
            }
        }
        let row = record.clone();
        self.desk.blocking(move |repository| repository.put_refresh(&row)).await?;
        Ok(record)
    }

    /// What came of it, as a run of the job.
    pub fn outcome(record: &RefreshRecord) -> Result<String, JobFailed> {
        match &record.outcome {
            RefreshOutcome::Skipped => Ok("Microsoft has the published edition".to_owned()),
            RefreshOutcome::Withheld => Ok("Microsoft has the edition that was taken back".to_owned()),
            RefreshOutcome::Published => Ok("another edition is published".to_owned()),
            RefreshOutcome::RolledBack => Ok("the edition before is published again".to_owned()),
            RefreshOutcome::Found => Ok("an edition that lay in the folder was read".to_owned()),
            RefreshOutcome::Failed(why) => Err(JobFailed(why.clone())),
        }
    }

    /// Whether the last attempts failed, all of them.
    fn failed_lately(&self) -> Result<bool, RepositoryError> {
        let last = self.desk.repository.last_refreshes(PAST)?;
        let last: Vec<_> = last.iter().filter(|refresh| is_asking(&refresh.outcome)).take(ALARM_AFTER).collect();
        let failed = last.iter().all(|refresh| matches!(refresh.outcome, RefreshOutcome::Failed(_)));
        Ok(last.len() == ALARM_AFTER && failed)
    }

    async fn fetch_and_publish(&self, forced: bool, record: &mut RefreshRecord) -> Result<RefreshOutcome, Refused> {
        let (desk, url) = (&self.desk, &self.settings.url);
        let described = self.upstream.head(url).await.map_err(|error| Refused::by_upstream(&error))?;
        (record.cab_modified, record.cab_size) = (described.modified, Some(described.size));
        let held = desk.held().await?;
        let published = desk.published(held.as_ref()).await?;
        let withdrawn = desk.blocking(|repository| repository.withdrawn_edition()).await?.filter(|_| !forced);
        let is_same = |published: &EditionRecord| {
            published.origin_size == described.size
                && published.origin_modified == described.modified
                && described.modified.is_some()
        };
        if !forced && published.as_ref().is_some_and(is_same) {
            return Ok(RefreshOutcome::Skipped);
        }
        if withdrawn.is_some_and(|mark| (mark.size, Some(mark.modified)) == (described.size, described.modified)) {
            return Ok(RefreshOutcome::Withheld);
        }
        let downloads = desk.repository.staging(&desk.pair.folder).map_err(Refused::from)?.downloads().clone();
        let (growth, _) = watch::channel(None);
        let wanted = Wanted::at(url.clone(), &desk.pair.cab, Promise::default());
        let fetched = self.upstream.fetch(&wanted, &downloads, &growth, &Demand::none()).await;
        let Fetched { download, digests, sha1 } = fetched.map_err(|error| Refused::by_upstream(&error))?;
        let origin = download.origin();
        (record.cab_modified, record.cab_size) = (origin.modified, Some(origin.size));
        if published.is_some() && held.as_ref().is_some_and(|held| held.file.root == digests.root) {
            let again = if forced { Some(desk.read(download.data(), None).await) } else { None };
            dropped(move || download.discard()).await;
            if let Some(good) = again {
                // Nothing is published; its rows may be wanted otherwise, with titles in another language.
                let good = good?;
                record.oddities.clone_from(&good.odd);
                desk.put_rows(good, digests.root, origin.size, origin.modified).await?;
            }
            return Ok(RefreshOutcome::Skipped);
        }
        if let Some(mark) = withdrawn.filter(|mark| mark.root == digests.root) {
            dropped(move || download.discard()).await;
            self.remember(mark, origin.size, origin.modified).await?;
            return Ok(RefreshOutcome::Withheld);
        }
        let proven = desk.prove(&download.data(), origin.size).await;
        let good = match proven {
            Ok(()) => desk.read(download.data(), published.as_ref()).await,
            Err(refused) => Err(refused),
        };
        let good = match good {
            Ok(good) => good,
            Err(refused) => {
                dropped(move || download.discard()).await;
                return Err(refused);
            }
        };
        record.oddities.clone_from(&good.odd);
        let file = FileRecord {
            root: digests.root,
            size: digests.size,
            modified: origin.modified.unwrap_or_else(|| desk.now()),
        };
        let (pair, before) = (desk.pair.clone(), if published.is_some() { Before::Kept } else { Before::Rests });
        let entered = desk.blocking(move |repository| {
            let staged = download.finish(file.modified, &repository.state().outboards);
            let staged = staged.map_err(RepositoryError::io("finishing", &pair.cab))?;
            let entered = repository.enter_pair(&pair, &staged, file, sha1, before);
            if entered.is_err() {
                let discarded = repository.staging(&pair.folder)?.discard(&staged);
                discarded.map_err(RepositoryError::io("discarding", &pair.cab))?;
            }
            entered
        });
        entered.await?;
        desk.put_rows(good, digests.root, origin.size, origin.modified).await?;
        desk.blocking(|repository| repository.set_withdrawn_edition(None)).await?;
        Ok(RefreshOutcome::Published)
    }

    /// Microsoft has the edition that was taken back under another date.
    async fn remember(&self, mark: WithdrawnRecord, size: u64, modified: Option<i64>) -> Result<(), RepositoryError> {
        let Some(modified) = modified else { return Ok(()) };
        let mark = WithdrawnRecord { size, modified, ..mark };
        self.desk.blocking(move |repository| repository.set_withdrawn_edition(Some(&mark))).await
    }
}

impl Job for RefreshCab {
    fn name(&self) -> JobName {
        JobName::RefreshCab
    }

    /// By what was asked of Microsoft, also by a person.
    fn next(&self, _: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        let past = past(&self.desk.repository.last_refreshes(PAST)?);
        let every = i64::try_from(self.settings.every.as_secs()).unwrap_or(i64::MAX / 4);
        Ok(Some(patch_tuesday::next(&past, every, self.settings.node, now)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async { Self::outcome(&self.refresh(false).await?) })
    }
}

/// An edition that is not wanted leaves nothing in staging.
async fn dropped(discard: impl FnOnce() -> io::Result<()> + Send + 'static) {
    if let Ok(Err(error)) = tasks::blocking(discard).await {
        tracing::warn!(%error, "an edition that is not published can't be removed from staging");
    }
}

/// Whether Microsoft was asked.
fn is_asking(outcome: &RefreshOutcome) -> bool {
    match outcome {
        RefreshOutcome::Skipped | RefreshOutcome::Published | RefreshOutcome::Failed(_) | RefreshOutcome::Withheld => {
            true
        }
        RefreshOutcome::RolledBack | RefreshOutcome::Found => false,
    }
}

/// What the next asking depends on, of attempts, the newest first.
fn past(refreshes: &[RefreshRecord]) -> Past {
    let asked = refreshes.iter().find(|refresh| is_asking(&refresh.outcome));
    let is_change =
        |refresh: &&RefreshRecord| matches!(refresh.outcome, RefreshOutcome::Published | RefreshOutcome::Found);
    Past {
        asked: asked.map(|last| as_time(last.started_at)),
        changed: refreshes.iter().find(is_change).map(|published| as_time(published.finished_at)),
        failed: asked.is_some_and(|last| matches!(last.outcome, RefreshOutcome::Failed(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: u64, outcome: RefreshOutcome) -> RefreshRecord {
        RefreshRecord {
            started_at: at,
            finished_at: at + 1,
            forced: false,
            cab_modified: None,
            cab_size: None,
            outcome,
            oddities: Vec::new(),
        }
    }

    #[test]
    fn the_next_asking_depends_on_the_last_one_and_on_the_last_change_whoever_made_it() {
        assert_eq!(past(&[]), Past::default());
        let rows = [
            row(9, RefreshOutcome::RolledBack),
            row(8, RefreshOutcome::Failed("x".to_owned())),
            row(7, RefreshOutcome::Found),
            row(6, RefreshOutcome::Published),
        ];
        assert_eq!(past(&rows), Past { asked: Some(8), changed: Some(8), failed: true });
        assert_eq!(past(&rows[2..]), Past { asked: Some(6), changed: Some(8), failed: false });
        assert_eq!(past(&[row(5, RefreshOutcome::Withheld)]), Past { asked: Some(5), changed: None, failed: false });
    }
}
