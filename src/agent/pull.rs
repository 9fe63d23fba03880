//! Pulls one file: from the nearest repository, and from the next one where it left off when that one dies or lags.

use super::{
    client::{AgentClient, Rest},
    course::{Course, Fault, Place},
    partial::{About, FinishError, Partial, is_whole},
};
use crate::{
    base::clock::Clock,
    domain::{
        name::{FileName, FolderName},
        nearest::{NearestQuery, NearestReply, RepositoryUrl},
    },
};
use serde::Serialize;
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// A repository that lives may be silent for so many times as one of which that is not known.
const LIVING_STALLS: u32 = 10;
/// How often it is looked whether a repository is slow.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Whole files that turned out wrong before nobody is believed any longer.
const MAX_WRONG: u32 = 3;

/// How a file is pulled.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Repositories that are asked which one is nearest, best first; also the last to be pulled from.
    pub from: Vec<RepositoryUrl>,
    /// What this host tells of itself.
    pub host: NearestQuery,
    /// Nothing came for so long: it is looked whether the repository lives. One that does may be fetching the file
    /// itself, and gets ten times as long.
    pub stall: Duration,
    /// Bytes per second below which somebody else is tried, if there is one.
    pub least_rate: u64,
    /// Nobody gave a byte for so long: it is given up.
    pub patience: Duration,
}

/// Bytes that came from one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leg {
    /// Its address.
    pub url: String,
    /// Its name.
    pub name: Option<String>,
    /// Where the bytes begin in the file.
    pub from: u64,
    /// Where they end, exclusive.
    pub to: u64,
    /// Why it was left; `None` for the one that gave the end.
    pub left: Option<String>,
}

/// A file that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// BLAKE3; `None` for a file that was here before.
    pub root: Option<String>,
    /// Whether its SHA-1 was compared with the one in its name.
    pub is_proven: bool,
    /// Whether it was here before.
    pub was_here: bool,
    /// Bytes that an earlier run had left.
    pub resumed: u64,
    /// Bytes that came more than once, or for nothing.
    pub wasted: u64,
    /// Who gave what, in order.
    pub legs: Vec<Leg>,
}

/// Why a file is not here.
#[derive(Debug, thiserror::Error)]
pub enum PullFileError {
    /// The disk of this host.
    #[error("writing {}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody has it, or nobody can be reached.
    #[error("no repository gives it; the last one that was tried: {last}")]
    Nobody {
        /// Whom, and why not.
        last: String,
        /// The same for what somebody can do about it; `None` where nobody was tried.
        fault: Option<Fault>,
    },
    /// Whatever came was not what its name or its ETag promises.
    #[error("what repositories give is not what was promised")]
    Wrong(#[source] FinishError),
}

/// What is told while a file comes.
pub trait Watch {
    /// So much is here, of so much.
    fn on_bytes(&mut self, have: u64, size: Option<u64>);
    /// Somebody was left.
    fn on_left(&mut self, place: &Place, fault: &Fault);
    /// Nobody can be asked for so long; given up in `patience` if nothing comes.
    fn on_wait(&mut self, wait: Duration, patience: Duration);
}

/// Pulls one file into a directory.
pub async fn pull(
    client: &AgentClient,
    clock: &dyn Clock,
    settings: &Settings,
    (folder, name): (&FolderName, &FileName),
    directory: &Path,
    watch: &mut dyn Watch,
) -> Result<Pulled, PullFileError> {
    let target = directory.join(name.as_str());
    let disk = |source| PullFileError::Disk { path: target.clone(), source };
    let mut pulled = Pulled {
        folder: folder.clone(),
        name: name.to_string(),
        path: target.clone(),
        size: 0,
        root: None,
        is_proven: name.promised_sha1().is_some(),
        was_here: false,
        resumed: 0,
        wasted: 0,
        legs: Vec::new(),
    };
    if is_whole(&target, name).map_err(disk)? {
        pulled.size = std::fs::metadata(&target).map_err(disk)?.len();
        pulled.was_here = true;
        return Ok(pulled);
    }
    let partial = Partial::open(target.clone(), name).map_err(disk)?;
    pulled.resumed = partial.have();
    let query =
        NearestQuery { file: Some(name.to_string()), folder: Some(folder.to_string()), ..settings.host.clone() };
    let now = clock.monotonic();
    let mut run = Run { client, clock, settings, query, partial, pulled, course: Course::default(), watch, came: now };
    run.ask((folder, name)).await;
    run.go_on_to_the_end((folder, name), &target).await?;
    Ok(run.pulled)
}

/// One file on its way.
struct Run<'r> {
    client: &'r AgentClient,
    clock: &'r dyn Clock,
    settings: &'r Settings,
    query: NearestQuery,
    partial: Partial,
    pulled: Pulled,
    course: Course,
    watch: &'r mut dyn Watch,
    /// When the last byte came.
    came: Instant,
}

impl Run<'_> {
    /// Asks for the order of repositories; those that were asked come last in any case.
    async fn ask(&mut self, (folder, name): (&FolderName, &FileName)) {
        let mut places = Vec::new();
        for from in &self.settings.from {
            match self.client.nearest(from, &self.query).await {
                Ok(reply) => {
                    places.extend(places_of(reply, folder, name));
                    break;
                }
                Err(fault) => tracing::info!(%from, %fault, "which repository is nearest is asked elsewhere"),
            }
        }
        places.extend(self.settings.from.iter().map(|url| Place {
            url: url.to_string(),
            file_url: url.of_file(folder, name),
            name: None,
            proxy: None,
        }));
        self.course.set_places(places);
    }

    async fn go_on_to_the_end(&mut self, file: (&FolderName, &FileName), target: &Path) -> Result<(), PullFileError> {
        let disk = |source| PullFileError::Disk { path: target.to_owned(), source };
        let (mut last, mut last_fault, mut wrong) = (String::from("nobody"), None, 0);
        loop {
            if self.partial.is_full() {
                match self.partial.finish() {
                    Ok(root) => {
                        (self.pulled.size, self.pulled.root) = (self.partial.have(), Some(root.to_string()));
                        return Ok(());
                    }
                    Err(FinishError::Io(source)) => return Err(disk(source)),
                    Err(error) if wrong == MAX_WRONG => return Err(PullFileError::Wrong(error)),
                    Err(error) => {
                        wrong += 1;
                        (last, last_fault) = (error.to_string(), Some(Fault::OtherContent));
                        self.give_up_bytes().map_err(disk)?;
                    }
                }
            }
            let now = self.clock.monotonic();
            let Some(place) = self.course.next(now).cloned() else {
                let given_up = self.came + self.settings.patience;
                let free_at = self.course.free_at(now).filter(|at| *at < given_up);
                let Some(free_at) = free_at else { return Err(PullFileError::Nobody { last, fault: last_fault }) };
                let wait = free_at.saturating_duration_since(now);
                self.watch.on_wait(wait, given_up.saturating_duration_since(now));
                tokio::time::sleep(wait).await;
                continue;
            };
            let from = self.partial.have();
            let left = self.pull_from(&place).await.map_err(disk)?;
            let to = self.partial.have();
            if to > from {
                let left = left.as_ref().map(ToString::to_string);
                self.pulled.legs.push(Leg { url: place.url.clone(), name: place.name.clone(), from, to, left });
            }
            if let Some(fault) = left {
                last = format!("{}: {fault}", place.url);
                self.watch.on_left(&place, &fault);
                let now = self.clock.monotonic();
                self.course.on_fault(&place.url, &fault, now);
                last_fault = Some(fault);
                // Where somebody else is known, nothing is waited for: who is asked may be who died.
                if self.course.next(now).is_none() {
                    self.ask(file).await;
                }
            }
        }
    }

    /// What came is not what was promised: it may be anybody's fault who gave a part of it.
    fn give_up_bytes(&mut self) -> io::Result<()> {
        self.pulled.wasted += self.partial.have();
        let now = self.clock.monotonic();
        // One giver alone is known to have lied; of several, the last is left first.
        if let Some(last) = self.pulled.legs.last() {
            self.course.on_fault(&last.url, &Fault::OtherContent, now);
        }
        self.pulled.legs.clear();
        self.partial.restart()
    }

    /// Appends what one repository gives; why it was left, or `None` at the end of the file.
    async fn pull_from(&mut self, place: &Place) -> io::Result<Option<Fault>> {
        let have = self.partial.have();
        // A name that says what its bytes are goes on whether or not a repository has hashed them yet.
        let etag = self.partial.about().etag.clone().filter(|_| !self.partial.is_promised());
        let asked = self.client.rest(place, have, etag.as_deref());
        let rest = match self.while_it_lives(place, asked).await.and_then(|rest| rest) {
            Ok(rest) => rest,
            Err(fault) => return Ok(Some(fault)),
        };
        if let Some(fault) = self.take_head(&rest)? {
            return Ok(Some(fault));
        }
        self.take_body(place, rest).await
    }

    /// Compares what is told of the file with what is known of it.
    fn take_head(&mut self, rest: &Rest) -> io::Result<Option<Fault>> {
        let (known, have) = (self.partial.about().clone(), self.partial.have());
        let is_same = |one: &About, other: &About| match (&one.etag, &other.etag) {
            (Some(one), Some(other)) => one == other,
            _ => self.partial.is_promised() || have == 0,
        };
        let fits = known.size.is_none_or(|size| rest.about.size == Some(size)) && is_same(&known, &rest.about);
        if fits {
            let etag = known.etag.or_else(|| rest.about.etag.clone());
            self.partial.set_about(About { etag, ..rest.about.clone() })?;
            return Ok(None);
        }
        // Of a name that promises nothing the newest content counts; it comes whole.
        if !self.partial.is_promised() && rest.from == 0 {
            self.pulled.wasted += have;
            self.pulled.legs.clear();
            self.partial.restart()?;
            self.partial.set_about(rest.about.clone())?;
            return Ok(None);
        }
        Ok(Some(Fault::OtherContent))
    }

    /// Waits for something from a repository, as long as that lives and is not silent for too long.
    async fn while_it_lives<T>(&self, place: &Place, step: impl Future<Output = T>) -> Result<T, Fault> {
        let mut step = std::pin::pin!(step);
        let mut silent = Duration::ZERO;
        loop {
            if let Ok(done) = tokio::time::timeout(self.settings.stall, step.as_mut()).await {
                return Ok(done);
            }
            silent += self.settings.stall;
            if silent >= self.settings.stall * LIVING_STALLS || !self.client.is_alive(place).await {
                return Err(Fault::Stalled(silent));
            }
        }
    }

    async fn take_body(&mut self, place: &Place, mut rest: Rest) -> io::Result<Option<Fault>> {
        // Whoever does not know ranges begins at the beginning.
        let mut skip = self.partial.have().saturating_sub(rest.from);
        let (mut looked, mut since_look) = (self.clock.monotonic(), 0);
        loop {
            let chunk = match self.while_it_lives(place, rest.response.chunk()).await {
                Err(fault) => return Ok(Some(fault)),
                Ok(Err(error)) => return Ok(Some(super::client::died(error))),
                Ok(Ok(None)) if self.partial.is_full() => return Ok(None),
                Ok(Ok(None)) => return Ok(Some(Fault::Died("it ended too early".to_owned()))),
                Ok(Ok(Some(chunk))) => chunk,
            };
            let skipped = skip.min(chunk.len() as u64);
            (skip, self.pulled.wasted) = (skip - skipped, self.pulled.wasted + skipped);
            let new = chunk.get(usize::try_from(skipped).unwrap_or(usize::MAX)..).unwrap_or_default();
            let size = self.partial.about().size;
            if size.is_some_and(|size| self.partial.have() + new.len() as u64 > size) {
                return Ok(Some(Fault::OtherContent));
            }
            self.partial.write(new)?;
            let now = self.clock.monotonic();
            self.came = now;
            self.course.on_progress(&place.url);
            self.watch.on_bytes(self.partial.have(), size);
            since_look += chunk.len() as u64;
            let looked_for = now.saturating_duration_since(looked);
            if looked_for >= LOOK_EVERY {
                let rate = since_look / looked_for.as_secs().max(1);
                if rate < self.settings.least_rate && self.course.has_other(&place.url, now) {
                    return Ok(Some(Fault::Slow(rate)));
                }
                (looked, since_look) = (now, 0);
            }
        }
    }
}

fn places_of(reply: NearestReply, folder: &FolderName, name: &FileName) -> Vec<Place> {
    let place = |place: crate::domain::nearest::PlaceReply| {
        // The address of the file is made here: nobody leads elsewhere by it.
        let url = RepositoryUrl::new(&place.url).ok()?;
        let proxy = place.proxy.filter(|proxy| RepositoryUrl::new(proxy).is_ok());
        Some(Place { file_url: url.of_file(folder, name), url: url.to_string(), name: place.name, proxy })
    };
    reply.places.into_iter().filter_map(place).collect()
}
