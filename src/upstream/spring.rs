//! The flights of a main: a file that somebody told of, from the first address that gives what was promised,
//! into its folder.
//!
//! Order of events: the fetch begins, and meanwhile who wants the file and its task are noted; what arrives is
//! told to the flight; the digests are compared; the flight is verified, the file enters its folder, and the
//! task ends. A failure ends the task with its reason, and the want waits.

use super::{
    client::Upstream,
    demand::Demand,
    fetch::{Fetched, Wanted},
    growth::Growth,
    promise::Promise,
};
use crate::{
    base::{chain::chain, future::BoxFuture},
    domain::{
        file::FileRecord,
        member::HostName,
        name::{FileName, FolderName},
        wants::{Asker, FileFacts, KnownFile, TaskKind, TaskResult},
    },
    repository::{Alarm, Prospect, Repository, RepositoryError},
    supply::{
        Client, Ending, Flight, Sight,
        spring::{Description, Outlook, Spring},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The alarm about rows of wants and tasks that can't be written.
const NOTING: Alarm = Alarm::Failing("noting what is fetched");
/// When to ask again where nothing says when that makes sense.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// Brings files from Microsoft, or from what stands in for it.
pub struct FromUpstream {
    repository: Arc<Repository>,
    upstream: Arc<Upstream>,
    cancel: CancellationToken,
}

impl FromUpstream {
    /// Brings files into `repository` until `cancel`; what has arrived stays for the next run.
    pub fn new(repository: Arc<Repository>, upstream: Arc<Upstream>, cancel: CancellationToken) -> Self {
        Self { repository, upstream, cancel }
    }

    async fn prospect(&self, folder: &FolderName, name: &FileName) -> Outlook {
        let (folder, name) = (folder.clone(), name.clone());
        let now = self.repository.clock().unix_seconds();
        match self.blocking(move |repository| repository.prospect(&folder, &name)).await {
            Ok(Prospect::Unknown | Prospect::Unvouched) => Outlook::Unknown,
            Ok(Prospect::Held | Prospect::Now) => Outlook::Good,
            Ok(Prospect::Waiting { until }) => Outlook::Later(Duration::from_secs(until.saturating_sub(now).max(1))),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "looking at what is wanted failed");
                Outlook::Later(ASK_AGAIN)
            }
        }
    }

    async fn known(&self, folder: &FolderName, name: &FileName) -> Result<Option<KnownFile>, RepositoryError> {
        let (folder, name) = (folder.clone(), name.clone());
        self.blocking(move |repository| match repository.prospect(&folder, &name)? {
            Prospect::Held => Ok(None),
            _ => repository.known_file(&folder, &name),
        })
        .await
    }

    async fn fly(&self, flight: &Arc<Flight>) -> Ending {
        let (folder, name) = (&flight.folder, &flight.name);
        let facts = match self.known(folder, name).await {
            Ok(Some(file)) if file.facts.is_vouched() => file.facts,
            Ok(Some(_)) => return Ending::Unknown,
            // Held, or forgotten since.
            Ok(None) => return Ending::Published,
            Err(error) => return self.on_rows_failed(&error),
        };
        tracing::info!(%folder, %name, first = ?flight.first, "fetching");
        let (growth, seen) = watch::channel(None);
        let (noted, result) = tokio::join!(self.begin(flight, &facts), async {
            tokio::select! {
                () = self.cancel.cancelled() => TaskResult::Interrupted,
                () = pass_on(flight, &facts, seen.clone()) => TaskResult::Interrupted,
                brought = self.bring(flight, &facts, &growth) => match brought {
                    Ok(()) => TaskResult::Done,
                    Err(why) => TaskResult::failed(&why),
                },
            }
        });
        let received = seen.borrow().as_ref().map_or(0, |growth: &Growth| growth.here.len());
        let ended = match noted {
            Ok(task) => self.end(flight, task, result.clone(), received).await,
            Err(error) => Err(error),
        };
        match &ended {
            Ok(()) => self.repository.attention.clear(&NOTING),
            Err(error) => _ = self.on_rows_failed(error),
        }
        match result {
            TaskResult::Done => {
                tracing::info!(%folder, %name, askers = flight.asked(), "a fetched file is here");
                Ending::Published
            }
            TaskResult::Failed(why) => {
                tracing::warn!(%folder, %name, why, "a file can't be fetched");
                // Told at once where it is for lack of room.
                let judged = self.blocking(|repository| {
                    repository.judge_rooms();
                    Ok(())
                });
                judged.await.ok();
                let retry_after = match self.prospect(folder, name).await {
                    Outlook::Later(wait) => wait,
                    Outlook::Good | Outlook::Unknown => ASK_AGAIN,
                };
                Ending::Later { retry_after, why }
            }
            TaskResult::Interrupted => Ending::Later { retry_after: ASK_AGAIN, why: "interrupted".to_owned() },
        }
    }

    /// Notes who asked first, and the task.
    async fn begin(&self, flight: &Flight, facts: &FileFacts) -> Result<Option<u64>, RepositoryError> {
        let Some(first) = facts.urls_by_freshness().first().map(|url| (*url).clone()) else { return Ok(None) };
        let (folder, name) = (flight.folder.clone(), flight.name.clone());
        let kind = if flight.first == Client::Background { TaskKind::Want } else { TaskKind::Miss };
        let asker = asker_of(&flight.first);
        self.blocking(move |repository| {
            if let Some(asker) = asker {
                repository.tell_of_indexed(&folder, &name, &asker)?;
                repository.ask_known(&folder, &name, &[asker])?;
            }
            repository.begin_task(kind, &folder, &name, &first)
        })
        .await
    }

    /// Notes who asked meanwhile, and how the task ended.
    async fn end(
        &self,
        flight: &Flight,
        task: Option<u64>,
        result: TaskResult,
        received: u64,
    ) -> Result<(), RepositoryError> {
        let (folder, name) = (flight.folder.clone(), flight.name.clone());
        let others = flight.askers().into_iter().filter(|client| *client != flight.first);
        let others: Vec<_> = others.filter_map(|client| asker_of(&client)).collect();
        self.blocking(move |repository| {
            if !others.is_empty() {
                repository.ask_known(&folder, &name, &others)?;
            }
            task.map_or(Ok(()), |id| repository.end_task(id, &result, received))
        })
        .await
    }

    /// From the first address that gives what was promised into the folder; or why not, in words.
    async fn bring(
        &self,
        flight: &Arc<Flight>,
        facts: &FileFacts,
        growth: &watch::Sender<Option<Growth>>,
    ) -> Result<(), String> {
        let (folder, name) = (&flight.folder, &flight.name);
        let downloads = self.repository.staging(folder).map_err(|error| chain(&error))?.downloads().clone();
        let promise = Promise { size: facts.size, sha1: facts.sha1, sha256: facts.sha256 };
        let demand = Demand::from(flight.demand());
        let mut why = String::new();
        for url in facts.urls_by_freshness() {
            let wanted = Wanted::of(url, name, promise);
            match self.upstream.fetch(&wanted, &downloads, growth, &demand).await {
                Ok(fetched) => {
                    if let Some(growth) = &*growth.borrow() {
                        flight.tell_verified(&sight(growth, facts));
                    }
                    return self.enter(folder, name, fetched).await.map_err(|error| chain(&error));
                }
                Err(error) => why = chain(&error),
            }
        }
        Err(why)
    }

    async fn enter(&self, folder: &FolderName, name: &FileName, fetched: Fetched) -> Result<(), RepositoryError> {
        let (folder, name) = (folder.clone(), name.clone());
        let enter = move |repository: &Repository| {
            let Fetched { download, digests, .. } = fetched;
            let now = i64::try_from(repository.clock().unix_seconds()).unwrap_or(i64::MAX);
            let modified = download.origin().modified.unwrap_or(now);
            let staged = download.finish(modified, &repository.state().outboards);
            let staged = staged.map_err(RepositoryError::io("finishing", &name))?;
            let file = FileRecord { root: digests.root, size: digests.size, modified };
            repository.enter(&folder, &name, &staged, file)
        };
        self.blocking(enter).await
    }

    fn on_rows_failed(&self, error: &RepositoryError) -> Ending {
        let what = format!("wants and tasks can't be read or noted: {}", chain(error));
        self.repository.attention.raise(NOTING, what, "repair the state folder or its disk");
        Ending::Later { retry_after: ASK_AGAIN, why: chain(error) }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        self.repository.apart("a want", work).await
    }
}

impl Spring for FromUpstream {
    fn outlook<'a>(&'a self, folder: &'a FolderName, name: &'a FileName, _: &'a Client) -> BoxFuture<'a, Outlook> {
        Box::pin(self.prospect(folder, name))
    }

    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending> {
        Box::pin(self.fly(flight))
    }

    fn describe<'a>(&'a self, folder: &'a FolderName, name: &'a FileName) -> BoxFuture<'a, Option<Description>> {
        Box::pin(async move {
            let known = self.known(folder, name).await.ok().flatten()?;
            let url = known.facts.urls_by_freshness().first().map(|url| (*url).clone())?;
            let origin = self.upstream.head(url.as_str()).await.ok()?;
            Some(Description { size: origin.size, modified: origin.modified })
        })
    }
}

/// Tells the flight whatever the fetch tells; ends with the fetch.
async fn pass_on(flight: &Flight, facts: &FileFacts, mut seen: watch::Receiver<Option<Growth>>) {
    while seen.changed().await.is_ok() {
        let sight = seen.borrow_and_update().as_ref().map(|growth| sight(growth, facts));
        if let Some(sight) = sight {
            flight.tell(sight);
        }
    }
    std::future::pending().await
}

/// Bytes may flow early where a SHA-1 vouches for them: agents check it too.
fn sight(growth: &Growth, facts: &FileFacts) -> Sight {
    Sight {
        start: growth.start,
        size: growth.origin.size,
        modified: growth.origin.modified,
        root: None,
        may_flow: facts.sha1.is_some(),
        here: growth.here.clone(),
        bytes: Arc::new(growth.clone()),
        outboard: None,
    }
}

/// Who is noted among those that want a file. Of a host that asks for a file nothing but its address is known.
fn asker_of(client: &Client) -> Option<Asker> {
    match client {
        Client::Host(address) => {
            let name = HostName::new(&address.to_string()).ok()?;
            Some(Asker::Host { name, site: None })
        }
        Client::Member(name) => Some(Asker::Member { name: name.clone() }),
        Client::Background => None,
    }
}
