//! Fetches what is missing: several streams at once, each with one large file or a batch of small
//! ones; arrivals are published in groups.
//!
//! What `mirroring` does not let travel is only looked for on this disk, and put off until that changes.

use super::{
    desk::{Desk, Outcome},
    parent::PullError,
    plan::{Failure, Item, Plan},
    stream::Stream,
};
use crate::{
    base::tasks,
    domain::name::{FileName, FolderName},
    repository::{Alarm, Repository},
    sync::{serve::SMALL_BYTES, shared::Shared},
};
use quinn::Connection;
use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// Streams that carry content at once.
const STREAMS: usize = 8;
/// Missing files that are looked at in one go.
const PAGE: usize = 1_000;
/// A connection with nothing to fetch looks again this often, whatever it was told.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The alarm about files that fail again and again.
const TROUBLES: Alarm = Alarm::Failing("fetching files");

/// Fetches until the connection ends. `tasks` has everything that may outlast it for a moment: blocking
/// work, and the publication of what has arrived.
pub(super) async fn run(
    shared: &Arc<Shared>,
    connection: &Connection,
    tasks: &TaskTracker,
) -> Result<Infallible, PullError> {
    let (desk, publishing, mut outcomes) = Desk::open(shared.repository.clone());
    tasks.spawn(publishing);
    let mut fetcher = Fetcher {
        shared,
        plan: Plan::default(),
        queue: VecDeque::new(),
        cursor: Some(Cursor::default()),
        pass_began: shared.clock().monotonic(),
        again: false,
        swept: false,
        streams: JoinSet::new(),
    };
    // Marked as seen only where it is acted on: another arm may win while a change waits.
    let mut changes = shared.repository.changes();
    let mut mirroring = shared.mirroring();
    loop {
        while fetcher.streams.len() < STREAMS {
            let job = fetcher.next_job().await?;
            if job.is_empty() {
                break;
            }
            let stream = Stream {
                shared: shared.clone(),
                connection: connection.clone(),
                desk: desk.clone(),
                tasks: tasks.clone(),
            };
            fetcher.streams.spawn(tasks.track_future(stream.fetch(job)));
        }
        if fetcher.streams.is_empty() {
            desk.on_all_came();
        }
        let idle = fetcher.idle_until(shared.clock().monotonic());
        tokio::select! {
            Some(ended) = fetcher.streams.join_next() => ended??,
            Some(outcome) = outcomes.recv() => fetcher.on_outcome(outcome),
            Ok(()) = changes.changed() => fetcher.start_over(),
            Ok(()) = mirroring.changed() => fetcher.on_mirroring_changed(),
            () = shared.content_may_be_there.notified() => fetcher.on_new_content(),
            () = tokio::time::sleep_until(idle.into()) => fetcher.start_over(),
        }
    }
}

/// A place in the list of missing files.
#[derive(Default)]
struct Cursor {
    folder: Option<FolderName>,
    name: Option<FileName>,
}

struct Fetcher<'s> {
    shared: &'s Arc<Shared>,
    plan: Plan,
    queue: VecDeque<Item>,
    /// `None` when the pass over the list is over.
    cursor: Option<Cursor>,
    pass_began: Instant,
    /// Another pass follows the one that is under way: it may have gone by what changed.
    again: bool,
    /// Whether partials that nobody wants were removed after the last pass.
    swept: bool,
    streams: JoinSet<Result<(), PullError>>,
}

impl Fetcher<'_> {
    async fn next_job(&mut self) -> Result<Vec<Item>, PullError> {
        loop {
            let now = self.shared.clock().monotonic();
            let job = self.plan.next_job(&mut self.queue, SMALL_BYTES, now);
            if !job.is_empty() {
                return Ok(job);
            }
            if self.cursor.is_none() {
                self.sweep().await?;
                self.end_pass();
            }
            let Some(cursor) = self.cursor.take() else { return Ok(Vec::new()) };
            let repository = self.shared.repository.clone();
            let (page, cursor) = tasks::blocking(move || next_page(&repository, cursor)).await??;
            (self.queue, self.cursor) = (page, cursor);
            // Whoever waits for it brings it, and tells when that is over.
            self.queue.retain(|item| !self.shared.is_flying(&item.folder, &item.name));
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let now = self.shared.clock().monotonic();
        match outcome {
            Outcome::Done(items) => items.iter().for_each(|item| self.plan.on_done(item)),
            Outcome::Failed(items, why) => items.iter().for_each(|item| self.plan.on_failed(item, why, now)),
        }
        if self.plan.take_held_back() {
            self.start_over();
        }
        self.tell_troubles();
    }

    /// Once after each pass. Streams begin only here, so that none can begin meanwhile.
    async fn sweep(&mut self) -> Result<(), PullError> {
        if std::mem::replace(&mut self.swept, true) {
            return Ok(());
        }
        let (repository, under_way) = (self.shared.repository.clone(), self.plan.roots().clone());
        let swept = tasks::blocking(move || (repository.enter_waiting(), repository.sweep_unwanted(&under_way)));
        let (entered, swept) = swept.await?;
        if let Err(error) = entered {
            tracing::warn!(error = &error as &dyn std::error::Error, "what waits for others can't take its name");
        }
        if let Err(error) = swept {
            tracing::warn!(error = &error as &dyn std::error::Error, "partials that nobody wants can't be removed");
        }
        Ok(())
    }

    fn tell_troubles(&self) {
        let attention = &self.shared.repository.attention;
        let Some((count, (folder, name), why)) = self.plan.troubles() else { return attention.clear(&TROUBLES) };
        let others = if count > 1 { format!(" ({} more files are in trouble)", count - 1) } else { String::new() };
        attention.raise(TROUBLES, format!("{folder}/{name} {}{others}", why.words()), cure(why));
    }

    /// Goes over what is missing once more, after the pass that is under way.
    fn start_over(&mut self) {
        self.again = true;
    }

    /// The next pass begins at once if one is owed.
    fn end_pass(&mut self) {
        if self.plan.on_pass_ended() {
            self.tell_troubles();
        }
        if std::mem::take(&mut self.again) {
            self.cursor = Some(Cursor::default());
            self.swept = false;
            self.pass_began = self.shared.clock().monotonic();
            self.plan.on_pass_began();
        }
    }

    fn on_new_content(&mut self) {
        self.plan.on_new_content(self.shared.clock().monotonic());
        self.start_over();
    }

    /// What was put off may be fetched.
    fn on_mirroring_changed(&mut self) {
        self.plan.on_mirroring_changed(self.shared.clock().monotonic());
        self.start_over();
    }

    /// In the past where a file's wait ended behind the back of the last pass.
    fn idle_until(&self, now: Instant) -> Instant {
        let look_again = now + LOOK_AGAIN;
        if self.again || self.cursor.is_some() || !self.queue.is_empty() {
            return look_again;
        }
        self.plan.next_retry(self.pass_began).map_or(look_again, |retry| retry.min(look_again))
    }
}

fn next_page(repository: &Repository, cursor: Cursor) -> Result<(VecDeque<Item>, Option<Cursor>), PullError> {
    let folders: Vec<_> = repository.folder_names().cloned().collect();
    let Some(folder) = cursor.folder.or_else(|| folders.first().cloned()) else { return Ok((VecDeque::new(), None)) };
    let page = repository.missing_after(&folder, cursor.name.as_ref(), PAGE)?;
    let next = match page.last() {
        Some((last, _)) => Some(Cursor { folder: Some(folder.clone()), name: Some(last.clone()) }),
        None => {
            let next = folders.iter().find(|other| **other > folder).cloned();
            next.map(|folder| Cursor { folder: Some(folder), name: None })
        }
    };
    let items = page.into_iter().map(|(name, wanted)| Item { folder: folder.clone(), name, wanted });
    Ok((items.collect(), next))
}

fn cure(why: Failure) -> &'static str {
    match why {
        Failure::Lied | Failure::Broken => "look at the parent's disk and status; the file is tried again",
        Failure::Full => "make room on the disk; the file is tried again",
        Failure::Here => "look at the log, and repair the disk or the folder; the file is tried again",
        Failure::Absent | Failure::PutOff | Failure::Waits => "nothing: it comes later",
    }
}
