//! One file, from wherever it was left to its last verified byte.

use super::{
    answer::{From, Held},
    attempts::Attempts,
    client::Upstream,
    demand::Demand,
    error::{Fault, UpstreamError, Verdict},
    growth::{Growth, Teller},
    promise::Promise,
    rules::shown,
    transfer::{Around, Transfer},
};
use crate::{
    base::{chain::chain, tasks::blocking},
    domain::{digest::Sha1, name::FileName, origin::OriginUrl},
    store::download::{Digests, Download, DownloadKey, Downloads, Origin, Shas},
    supply::course::Course,
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
    /// The file of this name, at an address whose last part is another.
    pub fn at(url: String, name: &FileName, promise: Promise) -> Self {
        Self { url, key: DownloadKey::of(name), promise }
    }

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
    /// Their SHA-1, promised or not.
    pub sha1: Sha1,
}

impl Upstream {
    /// Fetches a file, going on with what an earlier run left of it. Attempts that fail are repeated, apart and
    /// a few times, while that can help. `growth` is told of everything that arrives, once the origin has
    /// answered: the digests are compared only at the end.
    ///
    /// It is one answer from the first missing byte to the last, unless `demand` tells of a reader that waits
    /// more than 8 MiB beyond where that answer is: then it is left, at most four times, the bytes from there
    /// on come first, and what was left out comes afterwards.
    ///
    /// Dropped or failed, it leaves what arrived for the next fetch; of a file that is not what was
    /// promised, and where the disk is full, nothing is left.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        downloads: &Downloads,
        growth: &watch::Sender<Option<Growth>>,
        demand: &Demand,
    ) -> Result<Fetched, UpstreamError> {
        let attempts = Attempts::new(&self.limits);
        let mut fetch = Fetch {
            upstream: self,
            wanted,
            downloads,
            growth,
            demand: demand.clone(),
            attempts,
            course: Course::default(),
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
    demand: Demand,
    attempts: Attempts,
    course: Course,
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
            let attempted = self.attempt(&first).await;
            let fault = match attempted.and_then(|()| self.verify()) {
                Ok((digests, sha1)) => {
                    if let Some(download) = self.held.take() {
                        return Ok(Fetched { download, digests, sha1 });
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
        let (downloads, key, shas) = (self.downloads.clone(), self.wanted.key, self.shas());
        let take_up = move || downloads.take_up(key, shas);
        self.held = on_disk("reading what an earlier run left", take_up).await?;
        self.answers = u32::from(self.held.is_some());
        self.furthest = self.arrived();
        Ok(())
    }

    /// `Ok` if the file is whole.
    async fn attempt(&mut self, first: &Url) -> Result<(), Fault> {
        if self.arrived() > 0 && self.held.as_ref().is_some_and(Download::is_whole) {
            self.confirm().await?;
        } else {
            self.answer(first).await?;
        }
        while self.held.as_ref().is_some_and(|held| !held.is_whole()) {
            self.answer(first).await?;
        }
        self.catch_up().await
    }

    /// One answer, to its end or until it is left.
    async fn answer(&mut self, first: &Url) -> Result<(), Fault> {
        let held = self.next();
        let (response, body) = self.upstream.get(first, held.as_ref(), self.with_ranges, &self.wanted.promise).await?;
        let size = body.origin.size;
        let (asked, end) = match (body.from, held) {
            (From::Asked { end }, Some(held)) => (held.from..held.until, end),
            // Never judged so.
            (From::Asked { .. }, None) => return Err(Fault::Changed),
            (From::Anew, _) => {
                self.begin(body.origin).await?;
                (0..size, size)
            }
            (From::First, _) => {
                // The origin does not understand ranges: what is far ahead comes no sooner.
                self.course.stop_jumping();
                (0..size, size)
            }
        };
        let Some(download) = self.held.take() else { return Err(Fault::Changed) };
        self.answers += 1;
        self.start += u32::from(self.answers == 1 || !self.is_told);
        self.is_told = true;
        let mut teller = Teller::new(self.growth, self.start);
        teller.on_growth(&download, self.upstream.clock.monotonic());
        let around = Around { course: &mut self.course, demand: &mut self.demand, teller };
        let transfer = Transfer::new(self.upstream, response, asked, end, &download);
        let (download, transferred) = transfer.run(download, around).await;
        self.held = download;
        transferred
    }

    /// What to ask for; none if that is the whole file, as if nothing was known of it.
    fn next(&mut self) -> Option<Held> {
        let held = self.held.as_ref().filter(|held| held.origin().modified.is_some())?;
        let (origin, course) = (held.origin(), &mut self.course);
        let piece = self.demand.look(|waiting| course.next(origin.size, held.here(), waiting))?;
        let is_all = piece == (0..origin.size);
        (!is_all).then_some(Held { from: piece.start, until: piece.end, origin })
    }

    async fn begin(&mut self, origin: Origin) -> Result<(), Fault> {
        if self.arrived() > 0 && !self.attempts.on_start_over() {
            return Err(Fault::Changed);
        }
        // Let go of, so that it can be begun again.
        self.held = None;
        self.course.begin_anew();
        let (downloads, key, shas) = (self.downloads.clone(), self.wanted.key, self.shas());
        let begin = move || downloads.begin(key, origin, shas);
        self.held = Some(on_disk("beginning a download", begin).await?);
        self.answers = 0;
        if origin.modified.is_none() {
            self.course.stop_jumping();
        }
        Ok(())
    }

    /// A whole file that an earlier run, or an answer without an end, left: its digests tell, else its origin.
    async fn confirm(&mut self) -> Result<(), Fault> {
        if !self.wanted.promise.names_bytes() {
            let described = self.upstream.describe(&self.wanted.url).await?;
            let is_same = self.held.as_ref().is_some_and(|held| held.origin() == described);
            if !is_same || described.modified.is_none() {
                return Err(Fault::Changed);
            }
        }
        if let Some(download) = self.held.as_ref().filter(|_| !self.is_told) {
            self.growth.send_replace(Some(Growth::of(download, self.start + 1)));
        }
        Ok(())
    }

    /// Hashes what of a whole file is not hashed yet.
    async fn catch_up(&mut self) -> Result<(), Fault> {
        while let Some(mut download) = self.held.take_if(|held| held.is_behind()) {
            let caught_up = move || download.catch_up().map(|()| download);
            self.held = Some(on_disk("hashing what has arrived", caught_up).await?);
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(Digests, Sha1), Fault> {
        let computed = self.held.as_ref().and_then(Download::digests).and_then(|all| Some((all, all.sha1?)));
        let Some((digests, sha1)) = computed else { return Err(Fault::Changed) };
        self.wanted.promise.check(&digests)?;
        Ok((digests, sha1))
    }

    /// What has to go goes; the fault comes back if there may be another attempt.
    async fn settle(&mut self, fault: Fault) -> Result<Fault, Fault> {
        match (&fault, fault.verdict()) {
            // Pieces of two files that an origin took for one: once more, from one answer.
            (Fault::WrongDigest { .. }, _) if self.answers > 1 && self.attempts.on_start_over() => {
                self.course.stop_jumping();
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
                self.course.stop_jumping();
                Ok(fault)
            }
            (_, Verdict::Again) => Ok(fault),
            (_, Verdict::Later | Verdict::Never) => Err(fault),
        }
    }

    /// SHA-1 always: who fetches an edition writes it beside it.
    fn shas(&self) -> Shas {
        if self.wanted.promise.sha256.is_some() { Shas::Both } else { Shas::Sha1 }
    }

    /// How many bytes are here, wherever they belong.
    fn arrived(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.here().len())
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

async fn on_disk<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let done = blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| Fault::Disk { doing, source })
}
