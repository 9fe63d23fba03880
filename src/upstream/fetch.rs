//! One file, from wherever it was left to its last verified byte.

use super::{
    answer::{From, Held},
    attempts::Attempts,
    client::Upstream,
    error::{Fault, UpstreamError, Verdict},
    growth::Growth,
    promise::Promise,
    rules::shown,
    transfer::Transfer,
};
use crate::{
    base::{chain::chain, tasks::blocking},
    domain::{name::FileName, origin::OriginUrl},
    store::download::{Digests, Download, DownloadKey, Downloads, Origin},
};
use reqwest::Url;
use std::io;
use tokio::{sync::watch, time::sleep};

/// A file that somebody wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where Microsoft has it.
    pub url: String,
    /// What its download is known by.
    pub key: DownloadKey,
    /// What it has to be.
    pub promise: Promise,
}

impl Wanted {
    /// The file of this name, at this address.
    pub fn of(url: &OriginUrl, name: &FileName, promise: Promise) -> Self {
        Self { url: url.as_str().to_owned(), key: DownloadKey::of(name), promise }
    }
}

/// A file that is whole and what was promised.
pub struct Fetched {
    /// The bytes; its origin has the date.
    pub download: Download,
    /// What they are.
    pub digests: Digests,
}

impl Upstream {
    /// Fetches a file, going on with what an earlier run left of it. Attempts that fail are repeated, apart and
    /// a few times, while that can help. `growth` is told of everything that arrives, once the origin has
    /// answered: the digests are compared only at the end.
    ///
    /// Dropped or failed, it leaves what arrived for the next fetch; of a file that is not what was
    /// promised, and where the disk is full, nothing is left.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        downloads: &Downloads,
        growth: &watch::Sender<Option<Growth>>,
    ) -> Result<Fetched, UpstreamError> {
        let attempts = Attempts::new(&self.limits);
        let mut fetch = Fetch {
            upstream: self,
            wanted,
            downloads,
            growth,
            attempts,
            held: None,
            start: growth.borrow().as_ref().map_or(0, |growth| growth.start),
            is_told: false,
            furthest: 0,
            answers: 0,
            with_ranges: true,
        };
        let fetched = fetch.run().await;
        let attempts = fetch.attempts.made().max(1);
        fetched.map_err(|fault| UpstreamError { url: shown(&wanted.url), attempts, fault })
    }
}

/// One fetch while it lasts.
struct Fetch<'a> {
    upstream: &'a Upstream,
    wanted: &'a Wanted,
    downloads: &'a Downloads,
    growth: &'a watch::Sender<Option<Growth>>,
    attempts: Attempts,
    held: Option<Download>,
    /// Which beginning of the file is told of.
    start: u32,
    /// Whether this fetch told of anything.
    is_told: bool,
    /// The most that was here, whatever it was.
    furthest: u64,
    /// How many answers, of this run and of earlier ones, what is held comes from.
    answers: u32,
    /// Whether the origin is still believed to understand ranges.
    with_ranges: bool,
}

impl Fetch<'_> {
    async fn run(&mut self) -> Result<Fetched, Fault> {
        let first = self.upstream.first(&self.wanted.url)?;
        self.take_up().await?;
        loop {
            let fault = match self.attempt(&first).await.and_then(|()| self.verify()) {
                Ok(digests) => {
                    if let Some(download) = self.held.take() {
                        return Ok(Fetched { download, digests });
                    }
                    Fault::Changed
                }
                Err(fault) => fault,
            };
            let is_further = self.arrived() > self.furthest;
            self.furthest = self.furthest.max(self.arrived());
            let fault = self.settle(fault).await?;
            let random = (self.upstream.random)();
            let Some(wait) = self.attempts.on_failure(is_further, fault.retry_after(), random) else {
                return Err(fault);
            };
            tracing::info!(url = shown(&self.wanted.url), fault = chain(&fault), ?wait, "fetching again");
            sleep(wait).await;
        }
    }

    async fn take_up(&mut self) -> Result<(), Fault> {
        let (downloads, key) = (self.downloads.clone(), self.wanted.key);
        self.held = on_disk("reading what an earlier run left", move || downloads.take_up(key)).await?;
        self.answers = u32::from(self.held.is_some());
        self.furthest = self.arrived();
        Ok(())
    }

    /// `Ok` if the file is whole.
    async fn attempt(&mut self, first: &Url) -> Result<(), Fault> {
        let held = self.held();
        if held.is_some_and(|held| held.bytes == held.origin.size) {
            return self.confirm().await;
        }
        let held = held.filter(|held| held.origin.modified.is_some());
        let (response, body) = self.upstream.get(first, held.as_ref(), self.with_ranges, &self.wanted.promise).await?;
        let skip = match body.from {
            From::GoOn { skip } => skip,
            From::Anew => {
                self.begin(body.origin).await?;
                0
            }
        };
        let Some(download) = self.held.take() else { return Err(Fault::Changed) };
        self.answers += 1;
        self.start += u32::from(self.answers == 1 || !self.is_told);
        self.is_told = true;
        let (start, growth) = (self.start, self.growth);
        let mut tell = move |download: &Download| tell(growth, start, download);
        tell(&download);
        let transfer = Transfer::new(self.upstream, response, skip, &download);
        let (download, transferred) = transfer.run(download, &mut tell).await;
        self.held = download;
        transferred
    }

    async fn begin(&mut self, origin: Origin) -> Result<(), Fault> {
        if self.held().is_some() && !self.attempts.on_start_over() {
            return Err(Fault::Changed);
        }
        // Let go of, so that it can be begun again.
        self.held = None;
        let (downloads, key) = (self.downloads.clone(), self.wanted.key);
        self.held = Some(on_disk("beginning a download", move || downloads.begin(key, origin)).await?);
        self.answers = 0;
        Ok(())
    }

    /// A whole file that an earlier run, or an answer without an end, left: its digests tell, else its origin.
    async fn confirm(&mut self) -> Result<(), Fault> {
        if !self.wanted.promise.names_bytes() {
            let described = self.upstream.describe(&self.wanted.url).await?;
            let is_same = self.held().is_some_and(|held| held.origin == described && described.modified.is_some());
            if !is_same {
                return Err(Fault::Changed);
            }
        }
        if let Some(download) = self.held.as_ref().filter(|_| !self.is_told) {
            tell(self.growth, self.start + 1, download);
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<Digests, Fault> {
        let Some(digests) = self.held.as_ref().and_then(Download::digests) else { return Err(Fault::Changed) };
        self.wanted.promise.check(&digests)?;
        Ok(digests)
    }

    /// What has to go goes; the fault comes back if there may be another attempt.
    async fn settle(&mut self, fault: Fault) -> Result<Fault, Fault> {
        match (&fault, fault.verdict()) {
            // Pieces of two files that an origin took for one: once more, from one answer.
            (Fault::WrongDigest { .. }, _) if self.answers > 1 && self.attempts.on_start_over() => {
                self.discard().await?;
                Ok(fault)
            }
            (Fault::WrongDigest { .. } | Fault::WrongSize { .. } | Fault::TooLarge { .. }, _) => {
                self.discard().await?;
                Err(fault)
            }
            (Fault::Disk { source, .. }, _) => {
                if source.kind() == io::ErrorKind::StorageFull {
                    self.clear().await?;
                }
                Err(fault)
            }
            (Fault::Changed, _) => {
                let may_go_on = self.held.is_none() || self.attempts.on_start_over();
                self.discard().await?;
                if may_go_on { Ok(fault) } else { Err(fault) }
            }
            (Fault::Malformed(_), Verdict::Again) => {
                self.with_ranges = false;
                Ok(fault)
            }
            (_, Verdict::Again) => Ok(fault),
            (_, Verdict::Later | Verdict::Never) => Err(fault),
        }
    }

    fn held(&self) -> Option<Held> {
        let download = self.held.as_ref().filter(|download| download.arrived() > 0)?;
        Some(Held { bytes: download.arrived(), origin: download.origin() })
    }

    fn arrived(&self) -> u64 {
        self.held.as_ref().map_or(0, Download::arrived)
    }

    async fn discard(&mut self) -> Result<(), Fault> {
        match self.held.take() {
            Some(download) => on_disk("discarding a download", move || download.discard()).await,
            None => Ok(()),
        }
    }

    /// As [`Fetch::discard`], where writing took the download along.
    async fn clear(&mut self) -> Result<(), Fault> {
        self.held = None;
        let (downloads, key) = (self.downloads.clone(), self.wanted.key);
        on_disk("discarding a download", move || downloads.discard(key)).await
    }
}

fn tell(growth: &watch::Sender<Option<Growth>>, start: u32, download: &Download) {
    let (origin, arrived) = (download.origin(), download.arrived());
    growth.send_replace(Some(Growth { start, origin, arrived, bytes: download.data() }));
}

async fn on_disk<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| Fault::Disk { doing, source })
}
