//! Runs passes for as long as the daemon does: reads in steps on a blocking thread, keeps where it stands
//! after each, and waits in between.

use super::{
    super::{
        attention::{Alarm, lock},
        error::RepositoryError,
        open::Repository,
    },
    plan::{self, Load, Next, Sums, plan_next, plan_rest},
    read::Scrubbed,
};
use crate::{
    catalog::{DamageTotals, HoldingRecord, ScrubRecord},
    domain::{
        member::Role,
        name::{FileName, FolderName},
    },
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};
use tokio_util::sync::CancellationToken;

/// Files of one step at most: what a kill makes to be read again.
const STEP_FILES: usize = 256;
/// Bytes after which a step is over.
const STEP_BYTES: u64 = 64 << 20;
/// Work between two rests: long enough that resting costs nothing, short enough that nobody waits for it.
const SLICE: Duration = Duration::from_millis(50);
/// The longest rest within a file: a disk that hung for a minute is no reason to stand still for an hour.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After a failure of rows or disk.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// Findings that are named: a person reads no more.
const MAX_FINDINGS: usize = 1_000;
const FAILING: Alarm = Alarm::Failing("verifying files");

/// Something that a pass found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubFinding {
    /// The folder.
    pub folder: FolderName,
    /// The file.
    pub name: FileName,
    /// What is wrong.
    pub what: String,
    /// What is done about it, or can be.
    pub cure: &'static str,
}

/// Where verifying stands.
#[derive(Debug, Clone)]
pub struct ScrubProgress {
    /// Within which every file is read; zero if only when somebody asks.
    pub every: Duration,
    /// The pass that is under way, or the last one.
    pub pass: Option<ScrubRecord>,
    /// All that there is to read.
    pub all: Sums,
    /// Whether somebody waits for a pass.
    pub hurry: bool,
    /// Damage over the life of the index.
    pub damage: DamageTotals,
    /// Damaged files that are not whole again.
    pub damaged_files: u64,
    /// Bytes that were read since start.
    pub read_bytes: u64,
}

#[derive(Default)]
struct State {
    /// A pass is asked for and has not begun.
    begin: bool,
    /// A person waits for the pass.
    hurry: bool,
    findings: Vec<ScrubFinding>,
    unnamed: u64,
}

/// Reads every holding of a repository again and again.
pub struct Scrub {
    repository: Arc<Repository>,
    every: Duration,
    busy: Box<dyn Fn() -> bool + Send + Sync>,
    cancel: CancellationToken,
    asked: Notify,
    /// A pass that was asked for has begun.
    begun: Notify,
    /// Work between two rests.
    slice: Duration,
    one_file: Semaphore,
    state: Mutex<State>,
    read_bytes: AtomicU64,
}

impl Scrub {
    /// Verifies the holdings of `repository` within `every` (zero: only when asked) until `cancel`. `busy`
    /// says whether others need the disk, since it was asked before.
    pub fn new(
        repository: Arc<Repository>,
        every: Duration,
        busy: impl Fn() -> bool + Send + Sync + 'static,
        cancel: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            repository,
            every,
            busy: Box::new(busy),
            cancel,
            asked: Notify::new(),
            begun: Notify::new(),
            slice: SLICE,
            one_file: Semaphore::new(1),
            state: Mutex::default(),
            read_bytes: AtomicU64::new(0),
        })
    }

    /// Begins a pass at once, and hurries; one that hurries already goes on.
    pub fn begin_pass(&self) {
        let mut state = lock(&self.state);
        if !state.hurry {
            state.begin = true;
            state.hurry = true;
        }
        drop(state);
        self.asked.notify_one();
    }

    /// Begins a pass that takes its time; over when it has begun.
    pub async fn begin_quiet_pass(&self) {
        lock(&self.state).begin = true;
        self.asked.notify_one();
        loop {
            let begun = self.begun.notified();
            if !lock(&self.state).begin {
                return;
            }
            begun.await;
        }
    }

    /// When the next pass is to begin, in seconds since 1970 UTC; `None` where only a person begins one.
    pub fn begins_at(&self) -> Result<Option<u64>, RepositoryError> {
        let pass = self.repository.state().index.read()?.scrub()?;
        Ok(plan::begins_at(pass.as_ref(), self.every, self.repository.clock().unix_seconds()))
    }

    /// Reads one file at once, without rests; one at a time.
    pub async fn read_file(
        self: &Arc<Self>,
        folder: &FolderName,
        name: &FileName,
    ) -> Result<Scrubbed, RepositoryError> {
        let _one = self.one_file.acquire().await;
        let (scrub, folder, name) = (self.clone(), folder.clone(), name.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut rest = |bytes| {
                scrub.read_bytes.fetch_add(bytes, Relaxed);
                !scrub.cancel.is_cancelled()
            };
            scrub.repository.scrub_file(&folder, &name, &mut rest)
        });
        read.await.unwrap_or(Ok(Scrubbed::Stopped))
    }

    /// Where verifying stands.
    pub fn progress(&self) -> Result<ScrubProgress, RepositoryError> {
        let snapshot = self.repository.state().index.read()?;
        let mut damaged_files = 0;
        for folder in self.repository.folder_names() {
            damaged_files += snapshot.damaged(folder)?.0;
        }
        Ok(ScrubProgress {
            every: self.every,
            pass: snapshot.scrub()?,
            all: self.sums()?,
            hurry: lock(&self.state).hurry,
            damage: snapshot.damage_totals()?,
            damaged_files,
            read_bytes: self.read_bytes.load(Relaxed),
        })
    }

    /// What the pass that is under way, or the last one since start, has found: at most 1,000 findings,
    /// and how many more there are.
    pub fn findings(&self) -> (Vec<ScrubFinding>, u64) {
        let state = lock(&self.state);
        (state.findings.clone(), state.unnamed)
    }

    /// Runs until it is cancelled.
    pub async fn run(self: Arc<Self>) {
        while !self.cancel.is_cancelled() {
            let scrub = self.clone();
            let stepped = tokio::task::spawn_blocking(move || scrub.step(&Handle::current())).await;
            let wait = match stepped {
                Ok(Ok(wait)) => {
                    self.repository.attention.clear(&FAILING);
                    wait
                }
                Ok(Err(error)) => self.on_failed(&error),
                Err(error) => {
                    tracing::error!(%error, "verifying files was cut short");
                    TRY_AGAIN
                }
            };
            if !wait.is_zero() {
                self.wait(wait).await;
            }
        }
    }

    fn on_failed(&self, error: &RepositoryError) -> Duration {
        tracing::error!(error = error as &dyn std::error::Error, "verifying files failed");
        let what = format!("verifying files failed: {error}");
        self.repository.attention.raise(FAILING, what, "look at the log and at the disk; it is tried again");
        TRY_AGAIN
    }

    async fn wait(&self, wait: Duration) {
        tokio::select! {
            () = self.cancel.cancelled() => {}
            () = self.asked.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Does what is due; answers with how long to wait after it.
    fn step(&self, handle: &Handle) -> Result<Duration, RepositoryError> {
        let index = &self.repository.state().index;
        let pass = index.read()?.scrub()?;
        let (all, now) = (self.sums()?, self.repository.clock().unix_seconds());
        let (begin, hurry) = {
            let state = lock(&self.state);
            (state.begin, state.hurry)
        };
        if begin {
            let before_ended_at = pass.and_then(|before| before.ended_at.or(before.before_ended_at));
            let pass = ScrubRecord { began_at: now, before_ended_at, ..ScrubRecord::default() };
            index.write(|batch| batch.set_scrub(&pass))?;
            let mut state = lock(&self.state);
            (state.begin, state.findings, state.unnamed) = (false, Vec::new(), 0);
            self.begun.notify_waiters();
            return Ok(Duration::ZERO);
        }
        match (plan_next(pass.as_ref(), self.every, all, hurry, now), pass) {
            (Next::Wait(wait), _) => return Ok(wait),
            (Next::Read, Some(mut pass)) => {
                let late = plan::is_late(&pass, self.every, all, now);
                let read = self.read_on(&mut pass, Pacer::new(self, handle, late));
                // What was read is kept, whatever ended the step.
                index.write(|batch| batch.set_scrub(&pass))?;
                read?;
                if pass.ended_at.is_some() {
                    self.on_ended(&pass);
                }
            }
            (Next::Read, None) => {}
        }
        Ok(Duration::ZERO)
    }

    fn on_ended(&self, pass: &ScrubRecord) {
        let mut state = lock(&self.state);
        // Another pass may have been asked for in the last moment.
        state.hurry = state.begin;
        drop(state);
        tracing::info!(files = pass.files, bytes = pass.bytes, bad = pass.bad_files, "every file was verified");
    }

    /// Reads on where the pass stands, up to a step's size.
    fn read_on(&self, pass: &mut ScrubRecord, mut pacer: Pacer<'_>) -> Result<(), RepositoryError> {
        let (files, bytes) = (pass.files, pass.bytes);
        while pass.files - files < STEP_FILES as u64 && pass.bytes - bytes < STEP_BYTES {
            let Some((folder, name, holding)) = self.next_file(pass)? else {
                pass.ended_at = Some(self.repository.clock().unix_seconds());
                return Ok(());
            };
            let read = self.repository.scrub_file(&folder, &name, &mut |bytes| pacer.rest(bytes));
            match read {
                Ok(Scrubbed::Stopped) => return Ok(()),
                Ok(scrubbed) => self.note(pass, &folder, &name, &scrubbed),
                // One file that can't be read must not keep the pass from the others.
                Err(error @ RepositoryError::Io { .. }) => {
                    self.note(pass, &folder, &name, &Scrubbed::Unopened(error.to_string()));
                    tracing::warn!(%folder, %name, error = &error as &dyn std::error::Error, "a file can't be verified");
                }
                Err(error) => return Err(error),
            }
            (pass.files, pass.bytes) = (pass.files + 1, pass.bytes + holding.size);
            pass.last = Some((folder, name));
        }
        Ok(())
    }

    /// The first holding behind the last one that was read.
    fn next_file(&self, pass: &ScrubRecord) -> Result<Option<(FolderName, FileName, HoldingRecord)>, RepositoryError> {
        let snapshot = self.repository.state().index.read()?;
        let last = pass.last.as_ref();
        for folder in self.repository.folder_names() {
            if last.is_some_and(|(last, _)| folder < last) {
                continue;
            }
            let after = last.filter(|(last, _)| last == folder).map(|(_, name)| name);
            if let Some((name, holding)) = snapshot.holdings_after(folder, after, 1)?.pop() {
                return Ok(Some((folder.clone(), name, holding)));
            }
        }
        Ok(None)
    }

    fn note(&self, pass: &mut ScrubRecord, folder: &FolderName, name: &FileName, scrubbed: &Scrubbed) {
        let Some((what, cure)) = words(scrubbed, self.repository.role()) else { return };
        // A file that is being written is nothing to tell: it is looked at when it settles.
        if *scrubbed == Scrubbed::Changed {
            return;
        }
        if matches!(scrubbed, Scrubbed::Damaged { .. }) {
            pass.bad_files += 1;
        }
        let mut state = lock(&self.state);
        if state.findings.len() < MAX_FINDINGS {
            state.findings.push(ScrubFinding { folder: folder.clone(), name: name.clone(), what, cure });
        } else {
            state.unnamed += 1;
        }
    }

    fn sums(&self) -> Result<Sums, RepositoryError> {
        let snapshot = self.repository.state().index.read()?;
        let mut sums = Sums::default();
        for folder in self.repository.folder_names() {
            let totals = snapshot.totals(folder)?;
            sums.files += totals.held_files + totals.unlisted_files;
            sums.bytes += totals.held_bytes + totals.unlisted_bytes;
        }
        Ok(sums)
    }

    fn load(&self, late: bool) -> Load {
        let adopting = self.repository.folder_names().any(|folder| self.repository.adoption(folder).is_some());
        // Asked each time: it tells what moved since it was asked before.
        let busy = (self.busy)();
        Load { busy: busy || adopting, late, hurry: lock(&self.state).hurry }
    }

    /// Whether what is under way is to end: for good, or because a person wants another pass.
    fn is_to_stop(&self) -> bool {
        self.cancel.is_cancelled() || lock(&self.state).begin
    }
}

impl ScrubFinding {
    /// What a reading found, as a finding; `None` if all is well.
    pub fn of(scrubbed: &Scrubbed, folder: &FolderName, name: &FileName, role: Role) -> Option<Self> {
        let (what, cure) = words(scrubbed, role)?;
        Some(Self { folder: folder.clone(), name: name.clone(), what, cure })
    }
}

fn words(scrubbed: &Scrubbed, role: Role) -> Option<(String, &'static str)> {
    Some(match scrubbed {
        Scrubbed::Whole { .. } => return None,
        Scrubbed::NotHeld => ("it is not here".to_owned(), "nothing: a file that is missing is fetched"),
        Scrubbed::Changed => {
            ("it was changed since it was verified".to_owned(), "nothing: it is looked at when it has settled")
        }
        Scrubbed::Stopped => ("the reading was stopped".to_owned(), "ask again"),
        Scrubbed::Unopened(why) => (format!("it can't be read: {why}"), "let the daemon's user read it"),
        Scrubbed::Damaged { groups, wanted, .. } => {
            let cure = match (wanted, role) {
                (false, _) => "the index does not name it, so nobody has it: the damaged file is in the trash",
                (true, Role::Main) => "it is taken from a secondary that has it; the damaged file is in the trash",
                (true, Role::Secondary) => "it is fetched again; the damaged file is in the trash",
            };
            (format!("{groups} groups of 64 KiB were damaged"), cure)
        }
    })
}

/// Rests while files are read, in proportion to the time that reading took.
struct Pacer<'s> {
    scrub: &'s Scrub,
    handle: &'s Handle,
    late: bool,
    since: Instant,
}

impl<'s> Pacer<'s> {
    fn new(scrub: &'s Scrub, handle: &'s Handle, late: bool) -> Self {
        Self { scrub, handle, late, since: scrub.repository.clock().monotonic() }
    }

    /// Notes a piece that was read; blocks for a rest once enough was. `false` if reading is to stop.
    fn rest(&mut self, bytes: u64) -> bool {
        self.scrub.read_bytes.fetch_add(bytes, Relaxed);
        let clock = self.scrub.repository.clock();
        let worked = clock.monotonic().saturating_duration_since(self.since);
        if worked >= self.scrub.slice {
            let rest = plan_rest(worked, self.scrub.load(self.late)).min(LONGEST_REST);
            self.handle.block_on(self.scrub.wait(rest));
            self.since = clock.monotonic();
        }
        !self.scrub.is_to_stop()
    }
}

#[cfg(test)]
mod tests;
