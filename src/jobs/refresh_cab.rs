//! `refresh-cab`: Microsoft's index of updates, fetched when there is another edition, verified, read, published.
//!
//! Runs on the main. Order of events: Microsoft is asked for length and date; the same as published is the end.
//! Else the cabinet arrives in staging, its signature is proven, its structure is read; then it takes its name,
//! with Microsoft's date, its `.sha1` follows, and last the rows say what it tells. A cabinet that somebody else
//! puts into the folder is proven and read the same way. A bad edition leaves all that was published as it was.

use super::{
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::{chain::chain, future::BoxFuture, read_at::ReadAt, tasks},
    catalog::{EditionRecord, RefreshOutcome, RefreshRecord},
    domain::{
        digest::{Root, Sha1},
        file::FileRecord,
        name::{FileName, FolderName},
    },
    policy::{
        due::{Last, Next},
        patch_tuesday::{self, Past},
    },
    repository::{Alarm, Found, OtherContent, Repository, RepositoryError},
    upstream::{Demand, Fetched, Promise, Upstream, UpstreamError, Wanted},
    wsusscn::{self, Edition, Options},
};
use jiff::tz::TimeZone;
use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The name of the edition in its folder.
const CAB: &str = "wsusscn2.cab";
/// What stands beside it: its SHA-1, in hex alone.
const SIDECAR: &str = "wsusscn2.cab.sha1";
/// The alarm about an edition that is not published, or not believed.
const EDITION: Alarm = Alarm::Failing("refreshing the edition");
/// So many attempts in which Microsoft could not be asked are worth an alarm.
const ALARM_AFTER: usize = 3;
/// The folder is looked at no more often, whatever changes there.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Proves the signature of a cabinet of so many bytes, at a time in seconds since 1970 UTC; or says in one line
/// why it is not believed, and what to do.
pub type Prove = Arc<dyn Fn(&dyn ReadAt, u64, u64) -> Result<(), Unproven> + Send + Sync>;

/// Why a signature is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// In one line.
    pub why: String,
    /// What to do about it.
    pub cure: String,
}

/// What is refreshed, and how.
#[derive(Clone)]
pub struct CabSettings {
    /// Where Microsoft has it.
    pub url: String,
    /// The folder that it goes to.
    pub folder: FolderName,
    /// Between two askings that nobody wanted.
    pub every: Duration,
    /// Whether its SHA-1 stands beside it.
    pub has_sidecar: bool,
    /// None where an unsigned edition is taken.
    pub prove: Option<Prove>,
    /// A number of this node's own.
    pub node: u64,
}

/// Keeps the edition fresh.
pub struct RefreshCab {
    repository: Arc<Repository>,
    upstream: Arc<Upstream>,
    settings: CabSettings,
    /// One refresh at a time.
    turn: tokio::sync::Mutex<()>,
    /// The cabinet in the folder that was looked at last.
    seen: Mutex<Option<Root>>,
}

/// Why an edition was not published.
struct Refused {
    why: String,
    cure: String,
    /// Microsoft could not be asked: that is worth an alarm only when it goes on.
    is_transient: bool,
}

impl Refused {
    fn by_upstream(error: &UpstreamError) -> Self {
        Self { is_transient: error.is_transient(), ..Self::of(chain(error)) }
    }

    fn of(why: String) -> Self {
        let cure =
            "look at the log and at `upstream.cab_url`; the edition before stays published, and it is tried again";
        Self { why, cure: cure.to_owned(), is_transient: false }
    }
}

impl From<RepositoryError> for Refused {
    fn from(error: RepositoryError) -> Self {
        let cure = "repair the state folder, the folder or their disk".to_owned();
        Self { why: chain(&error), cure, is_transient: false }
    }
}

impl RefreshCab {
    /// Refreshes nothing yet.
    pub fn new(repository: Arc<Repository>, upstream: Arc<Upstream>, settings: CabSettings) -> Arc<Self> {
        let (turn, seen) = (tokio::sync::Mutex::new(()), Mutex::default());
        Arc::new(Self { repository, upstream, settings, turn, seen })
    }

    /// Looks at what others put into the folder, until `cancel`.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut changes = self.repository.changes();
        let work = async {
            loop {
                self.look_at_folder().await;
                tokio::time::sleep(LOOK_EVERY).await;
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        cancel.run_until_cancelled(Box::pin(work)).await;
    }

    /// Asks Microsoft now. `forced` fetches and publishes even what seems to be the published one.
    pub async fn refresh(&self, forced: bool) -> Result<RefreshRecord, RepositoryError> {
        let _turn = self.turn.lock().await;
        let started_at = self.repository.clock().unix_seconds();
        let mut record = RefreshRecord {
            started_at,
            finished_at: started_at,
            forced,
            cab_modified: None,
            cab_size: None,
            outcome: RefreshOutcome::Skipped,
        };
        let refreshed = self.fetch_and_publish(forced, &mut record).await;
        record.finished_at = self.repository.clock().unix_seconds();
        match refreshed {
            Ok(outcome) => {
                tracing::info!(?outcome, "the edition was asked for");
                self.repository.attention.clear(&EDITION);
                record.outcome = outcome;
            }
            Err(Refused { why, cure, is_transient }) => {
                tracing::warn!(why, "no edition is published");
                if !is_transient || self.failed_lately()? {
                    self.repository.attention.raise(EDITION, format!("no newer edition is published: {why}"), cure);
                }
                record.outcome = RefreshOutcome::Failed(why);
            }
        }
        let row = record.clone();
        self.blocking(move |repository| repository.put_refresh(&row)).await?;
        Ok(record)
    }

    /// What came of it, as a run of the job.
    pub fn outcome(record: &RefreshRecord) -> Result<String, JobFailed> {
        match &record.outcome {
            RefreshOutcome::Skipped => Ok("Microsoft has the published edition".to_owned()),
            RefreshOutcome::Published => Ok("another edition is published".to_owned()),
            RefreshOutcome::Failed(why) => Err(JobFailed(why.clone())),
        }
    }

    /// Whether the last attempts failed, all of them.
    fn failed_lately(&self) -> Result<bool, RepositoryError> {
        let last = self.repository.last_refreshes(ALARM_AFTER)?;
        let failed = last.iter().all(|refresh| matches!(refresh.outcome, RefreshOutcome::Failed(_)));
        Ok(last.len() == ALARM_AFTER && failed)
    }

    async fn fetch_and_publish(&self, forced: bool, record: &mut RefreshRecord) -> Result<RefreshOutcome, Refused> {
        let url = &self.settings.url;
        let described = self.upstream.head(url).await.map_err(|error| Refused::by_upstream(&error))?;
        (record.cab_modified, record.cab_size) = (described.modified, Some(described.size));
        let current = self.blocking(|repository| repository.edition()).await?;
        let held = self.held().await?;
        let published = current.filter(|current| held.as_ref().is_some_and(|(_, _, root)| *root == current.root));
        let is_same = |published: &EditionRecord| {
            published.origin_size == described.size
                && published.origin_modified == described.modified
                && described.modified.is_some()
        };
        if !forced && published.as_ref().is_some_and(is_same) {
            return Ok(RefreshOutcome::Skipped);
        }
        let name = cab();
        let downloads = self.repository.staging(&self.settings.folder).map_err(Refused::from)?.downloads().clone();
        let (growth, _) = watch::channel(None);
        let wanted = Wanted::at(url.clone(), &name, Promise::default());
        let fetched = self.upstream.fetch(&wanted, &downloads, &growth, &Demand::none()).await;
        let Fetched { download, digests } = fetched.map_err(|error| Refused::by_upstream(&error))?;
        let origin = download.origin();
        (record.cab_modified, record.cab_size) = (origin.modified, Some(origin.size));
        if held.as_ref().is_some_and(|(_, _, root)| *root == digests.root) && published.is_some() {
            let dropped = tasks::blocking(move || download.discard()).await;
            if let Ok(Err(error)) = dropped {
                tracing::warn!(%error, "an edition that is here can't be removed from staging");
            }
            return Ok(RefreshOutcome::Skipped);
        }
        let bytes = download.data();
        let last_updates = published.map(|published| usize::try_from(published.updates).unwrap_or(usize::MAX));
        let edition = match self.read(bytes, origin.size, last_updates).await {
            Ok(edition) => edition,
            Err(refused) => {
                let dropped = tasks::blocking(move || download.discard()).await;
                if let Ok(Err(error)) = dropped {
                    tracing::warn!(%error, "a bad edition can't be removed from staging");
                }
                return Err(refused);
            }
        };
        let modified = origin.modified.unwrap_or_else(|| self.now());
        let (folder, has_sidecar) = (self.settings.folder.clone(), self.settings.has_sidecar);
        let row =
            edition_row(&edition, digests.root, origin.size, origin.modified, self.repository.clock().unix_seconds());
        self.blocking(move |repository| {
            let staged = download.finish(modified, &repository.state().outboards);
            let staged = staged.map_err(RepositoryError::io("finishing", CAB))?;
            let file = FileRecord { root: digests.root, size: digests.size, modified };
            repository.enter(&folder, &name, &staged, file, OtherContent::Goes)?;
            if has_sidecar {
                put_sidecar(repository, &folder, digests.sha1, modified)?;
            }
            repository.put_edition(&row, edition.updates(), edition.files())
        })
        .await?;
        *self.seen() = Some(digests.root);
        Ok(RefreshOutcome::Published)
    }

    /// A cabinet that is not the one that was read: a WAPT server put it there, or a crash came before the rows.
    async fn look_at_folder(&self) {
        let _turn = self.turn.lock().await;
        let looked = async {
            let current = self.blocking(|repository| repository.edition()).await?;
            let Some((bytes, size, root)) = self.held().await? else { return Ok(()) };
            if current.as_ref().is_some_and(|current| current.root == root) || self.seen().replace(root) == Some(root) {
                return Ok(());
            }
            tracing::info!(%root, "another edition lies in the folder: it is read");
            let last_updates = current.map(|current| usize::try_from(current.updates).unwrap_or(usize::MAX));
            let edition = self.read(bytes, size, last_updates).await?;
            let row = edition_row(&edition, root, size, None, self.repository.clock().unix_seconds());
            self.blocking(move |repository| repository.put_edition(&row, edition.updates(), edition.files())).await?;
            self.repository.attention.clear(&EDITION);
            Ok::<_, Refused>(())
        };
        if let Err(Refused { why, cure, .. }) = looked.await {
            let what = format!(
                "{}/{CAB} in the folder is not believed, and what it tells is not used: {why}",
                self.settings.folder
            );
            self.repository.attention.raise(EDITION, what, cure);
        }
    }

    /// The cabinet that hosts get, and which content it is.
    async fn held(&self) -> Result<Option<(Arc<dyn ReadAt>, u64, Root)>, Refused> {
        let folder = self.settings.folder.clone();
        let found = self.blocking(move |repository| repository.find(&folder, &cab())).await?;
        Ok(match found {
            Found::Held { file, size, root: Some(root), .. } => Some((file, size, root)),
            _ => None,
        })
    }

    /// Proves the signature and reads the structure.
    async fn read(&self, bytes: Arc<dyn ReadAt>, size: u64, last_updates: Option<usize>) -> Result<Edition, Refused> {
        let (prove, now) = (self.settings.prove.clone(), self.repository.clock().unix_seconds());
        let read = tasks::blocking(move || {
            if let Some(prove) = prove {
                let refused = |Unproven { why, cure }| Refused { why, cure, is_transient: false };
                prove(&*bytes, size, now).map_err(refused)?;
            }
            let options = Options { last_updates, ..Options::default() };
            wsusscn::read(InOrder { bytes, at: 0, block: Vec::new(), used: 0 }, &options)
                .map_err(|error| Refused::of(chain(&error)))
        });
        read.await.unwrap_or_else(|panic| Err(Refused::of(format!("reading it was cut short: {panic}"))))
    }

    fn now(&self) -> i64 {
        as_time(self.repository.clock().unix_seconds())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Root>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        self.repository.apart("the edition", work).await
    }
}

impl Job for RefreshCab {
    fn name(&self) -> JobName {
        JobName::RefreshCab
    }

    /// By what was asked of Microsoft, also by a person.
    fn next(&self, _: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        let refreshes = self.repository.last_refreshes(64)?;
        let past = Past {
            asked: refreshes.first().map(|last| as_time(last.started_at)),
            changed: refreshes
                .iter()
                .find(|refresh| refresh.outcome == RefreshOutcome::Published)
                .map(|published| as_time(published.finished_at)),
            failed: refreshes.first().is_some_and(|last| matches!(last.outcome, RefreshOutcome::Failed(_))),
        };
        let every = i64::try_from(self.settings.every.as_secs()).unwrap_or(i64::MAX / 4);
        Ok(Some(patch_tuesday::next(&past, every, self.settings.node, now)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async { Self::outcome(&self.refresh(false).await?) })
    }
}

fn as_time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[expect(clippy::expect_used, reason = "a constant that is a name")]
fn cab() -> FileName {
    FileName::new(CAB).expect("a name")
}

fn edition_row(edition: &Edition, root: Root, size: u64, modified: Option<i64>, now: u64) -> EditionRecord {
    EditionRecord {
        id: edition.id(),
        root,
        origin_size: size,
        origin_modified: modified,
        updates: edition.update_count() as u64,
        files: edition.file_count() as u64,
        indexed_at: now,
    }
}

fn put_sidecar(repository: &Repository, folder: &FolderName, sha1: Sha1, modified: i64) -> Result<(), RepositoryError> {
    let text = sha1.to_string();
    let Ok(name) = FileName::new(SIDECAR) else { return Ok(()) };
    let staged = repository.staging(folder)?.stage_bytes(text.as_bytes(), modified);
    let staged = staged.map_err(RepositoryError::io("staging", &name))?;
    let root = Root::from(blake3::hash(text.as_bytes()));
    repository.enter(folder, &name, &staged, FileRecord { root, size: text.len() as u64, modified }, OtherContent::Goes)
}

/// Bytes at positions, one after the other, in blocks.
struct InOrder {
    bytes: Arc<dyn ReadAt>,
    at: u64,
    block: Vec<u8>,
    used: usize,
}

impl Read for InOrder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            self.block.resize(BLOCK_BYTES, 0);
            let read = self.bytes.read_at(&mut self.block, self.at)?;
            self.block.truncate(read);
            (self.at, self.used) = (self.at + read as u64, 0);
        }
        let rest = &self.block[self.used..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.used += n;
        Ok(n)
    }
}
