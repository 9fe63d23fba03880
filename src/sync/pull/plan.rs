//! What to fetch next. Pure: given what is missing and what is under way, it answers with jobs.

use crate::{
    catalog::MissingRecord,
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// Small files that share one request.
const BATCH_FILES: usize = 256;
/// Bytes of small files that share one request.
const BATCH_BYTES: u64 = 1 << 20;
/// First wait before a file that the parent did not have is asked for again.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest such wait.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Failures of one file, other than that the parent lacks it, that are worth a person's attention.
const WARN_AFTER: u32 = 4;
/// Waiting files that are asked for again at once when the parent has new content: it fetches in the
/// order of names too, so the first ones tell.
const PROBED: usize = 1_024;
/// What may not travel waits until that changes.
const UNTIL_LET: Duration = Duration::from_secs(100 * 365 * 86_400);

/// One file that is to arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) folder: FolderName,
    pub(super) name: FileName,
    pub(super) wanted: MissingRecord,
}

/// A file by its folder and name.
type Key = (FolderName, FileName);

/// Why a file did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The parent does not have it yet, or another file of the same request failed.
    Absent,
    /// What came is not what the signed state names.
    Lied,
    /// The parent broke off, or went silent.
    Broken,
    /// It may not travel now.
    PutOff,
    /// It is here, and its name comes after those of others.
    Waits,
    /// This disk is full.
    Full,
    /// It can't be written or read here.
    Here,
}

impl Failure {
    /// In words, after a file's name.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Absent => "is not at the parent yet",
            Self::Lied => "does not verify: the parent sends other bytes than the main signed",
            Self::PutOff => "may not travel now",
            Self::Waits => "waits for others",
            Self::Broken => "breaks off at the parent",
            Self::Full => "finds no room on this disk",
            Self::Here => "can't be written here",
        }
    }
}

struct Retry {
    wanted: Root,
    at: Instant,
    wait: Duration,
    why: Failure,
    /// Failures in a row that are worth attention.
    serious: u32,
    /// The last pass over what is missing that met the file.
    met_in: u64,
}

impl Retry {
    /// A file that broke its request must not break that of others again.
    fn is_alone(&self) -> bool {
        matches!(self.why, Failure::Lied | Failure::Broken)
    }
}

/// What is under way, and what has to wait.
#[derive(Default)]
pub(super) struct Plan {
    /// What is under way, by name and by content.
    names: HashMap<Key, MissingRecord>,
    roots: HashSet<Root>,
    /// Whether a file was left for later because its name or content is under way.
    held_back: bool,
    retries: BTreeMap<Key, Retry>,
    /// Passes over what is missing that have begun.
    passes: u64,
}

impl Plan {
    /// Takes a job out of `queue`: one large file, or small ones together. What is under way already, or
    /// has to wait, is dropped from the queue; a later pass over what is missing meets it again.
    /// `small` is the size in bytes up to which a file is small.
    pub(super) fn next_job(&mut self, queue: &mut VecDeque<Item>, small: u64, now: Instant) -> Vec<Item> {
        let mut job: Vec<Item> = Vec::new();
        let mut set_aside = Vec::new();
        let mut bytes = 0;
        while job.len() < BATCH_FILES && bytes < BATCH_BYTES {
            let Some(item) = queue.pop_front() else { break };
            if !self.may_begin(&item, now) {
                continue;
            }
            let large = item.wanted.size > small || self.is_alone(&item);
            if large && !job.is_empty() {
                set_aside.push(item);
                continue;
            }
            bytes += item.wanted.size;
            self.names.insert((item.folder.clone(), item.name.clone()), item.wanted);
            self.roots.insert(item.wanted.root);
            job.push(item);
            if large {
                break;
            }
        }
        set_aside.into_iter().rev().for_each(|item| queue.push_front(item));
        job
    }

    /// A pass over what is missing begins.
    pub(super) fn on_pass_began(&mut self) {
        self.passes += 1;
    }

    /// It has met every file that is missing: failures of others are forgotten. Answers with whether there
    /// were any.
    pub(super) fn on_pass_ended(&mut self) -> bool {
        let (before, passes) = (self.retries.len(), self.passes);
        self.retries.retain(|_, retry| retry.met_in == passes);
        self.retries.len() != before
    }

    /// Two names of one content are fetched one after the other: the second finds it on disk. So are two
    /// contents of one name: they would end in one place.
    fn may_begin(&mut self, item: &Item, now: Instant) -> bool {
        let key = (item.folder.clone(), item.name.clone());
        let waits = self.retries.get_mut(&key).is_some_and(|retry| {
            retry.met_in = self.passes;
            retry.wanted == item.wanted.root && retry.at > now
        });
        let under_way = self.names.get(&key);
        let in_the_way = under_way.is_some() || self.roots.contains(&item.wanted.root);
        self.held_back |= !waits && in_the_way && under_way != Some(&item.wanted);
        !waits && !in_the_way
    }

    /// Whether files were held back by what has ended since; they are met again by a new pass.
    pub(super) fn take_held_back(&mut self) -> bool {
        std::mem::take(&mut self.held_back)
    }

    /// The file arrived and is committed, or is no longer wanted.
    pub(super) fn on_done(&mut self, item: &Item) {
        self.end(item);
        self.retries.remove(&(item.folder.clone(), item.name.clone()));
    }

    /// Content that is under way.
    pub(super) fn roots(&self) -> &HashSet<Root> {
        &self.roots
    }

    fn is_alone(&self, item: &Item) -> bool {
        self.retries.get(&(item.folder.clone(), item.name.clone())).is_some_and(Retry::is_alone)
    }

    /// The file did not arrive; it waits, longer each time.
    pub(super) fn on_failed(&mut self, item: &Item, why: Failure, now: Instant) {
        self.end(item);
        let key = (item.folder.clone(), item.name.clone());
        let before = self.retries.get(&key).filter(|retry| retry.wanted == item.wanted.root);
        let wait = match (why, before) {
            (Failure::Waits, _) => RETRY_MOST,
            (Failure::PutOff, before) => before.map_or(RETRY_FIRST / 2, |retry| retry.wait),
            (_, before) => before.map_or(RETRY_FIRST, |retry| (retry.wait * 2).min(RETRY_MOST)),
        };
        let serious = match why {
            Failure::Absent | Failure::PutOff | Failure::Waits => 0,
            _ => before.map_or(0, |retry| retry.serious) + 1,
        };
        let at = now + if why == Failure::PutOff { UNTIL_LET } else { wait };
        let (wanted, met_in) = (item.wanted.root, self.passes);
        self.retries.insert(key, Retry { wanted, at, wait, why, serious, met_in });
    }

    fn end(&mut self, item: &Item) {
        self.names.remove(&(item.folder.clone(), item.name.clone()));
        self.roots.remove(&item.wanted.root);
    }

    /// The parent has new content: what it lacked may be there.
    pub(super) fn on_new_content(&mut self, now: Instant) {
        let absent = self.retries.values_mut().filter(|retry| retry.why == Failure::Absent);
        absent.take(PROBED).for_each(|retry| retry.at = retry.at.min(now));
    }

    /// What may travel is another.
    pub(super) fn on_mirroring_changed(&mut self, now: Instant) {
        let put_off = self.retries.values_mut().filter(|retry| retry.why == Failure::PutOff);
        put_off.for_each(|retry| retry.at = now);
    }

    /// The files that failed so often that somebody should know: how many, and the first of them.
    pub(super) fn troubles(&self) -> Option<(usize, &Key, Failure)> {
        let mut troubles = self.retries.iter().filter(|(_, retry)| retry.serious >= WARN_AFTER);
        let (key, retry) = troubles.next()?;
        Some((troubles.count() + 1, key, retry.why))
    }

    /// When the next file may be asked for that had to wait when a pass began at `since`.
    pub(super) fn next_retry(&self, since: Instant) -> Option<Instant> {
        self.retries.values().map(|retry| retry.at).filter(|at| *at > since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, size: u64) -> Item {
        Item {
            folder: FolderName::new("waptwua").unwrap(),
            name: FileName::new(name).unwrap(),
            wanted: MissingRecord { root: blake3::hash(name.as_bytes()).into(), size, modified: 0 },
        }
    }

    fn names(job: &[Item]) -> Vec<&str> {
        job.iter().map(|item| item.name.as_str()).collect()
    }

    #[test]
    fn small_files_share_a_job_and_a_large_one_has_its_own() {
        let mut queue = VecDeque::from([item("a", 10), item("b", 100_000), item("c", 10)]);
        let (mut plan, now) = (Plan::default(), Instant::now());
        let mut next = || plan.next_job(&mut queue, 65_536, now);
        assert_eq!(names(&next()), ["a", "c"]);
        assert_eq!(names(&next()), ["b"]);
        assert!(next().is_empty());
    }

    #[test]
    fn a_job_ends_at_its_limits() {
        let many: Vec<_> = (0..300).map(|i| item(&format!("{i}"), 1)).collect();
        let (mut plan, now) = (Plan::default(), Instant::now());
        assert_eq!(plan.next_job(&mut many.iter().cloned().collect(), 65_536, now).len(), BATCH_FILES);
        let heavy: Vec<_> = (0..300).map(|i| item(&format!("h{i}"), 65_536)).collect();
        assert_eq!(plan.next_job(&mut heavy.iter().cloned().collect(), 65_536, now).len(), 16);
    }

    #[test]
    fn one_content_under_two_names_is_fetched_once() {
        let twin = Item { name: FileName::new("twin").unwrap(), ..item("a", 100_000) };
        let missing = [item("a", 100_000), twin];
        let (mut plan, now) = (Plan::default(), Instant::now());
        let job = plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now);
        assert_eq!(names(&job), ["a"]);
        assert!(plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now).is_empty());
        assert!(plan.take_held_back() && !plan.take_held_back());
        plan.on_done(&job[0]);
        assert_eq!(names(&plan.next_job(&mut missing[1..].iter().cloned().collect(), 65_536, now)), ["twin"]);
    }

    #[test]
    fn what_stands_back_behind_a_file_under_way_is_told_when_something_ends() {
        let file = item("a", 10);
        let twin = Item { name: FileName::new("twin").unwrap(), ..file.clone() };
        let next = Item { wanted: MissingRecord { modified: 1, ..file.wanted }, ..file.clone() };
        for (met, stands_back) in [(file.clone(), false), (item("b", 10), false), (twin, true), (next, true)] {
            let (mut plan, now) = (Plan::default(), Instant::now());
            plan.next_job(&mut VecDeque::from([file.clone()]), 65_536, now);
            plan.next_job(&mut VecDeque::from([met.clone()]), 65_536, now);
            assert_eq!(plan.take_held_back(), stands_back, "{met:?}");
            assert!(!plan.take_held_back());
        }
    }

    #[test]
    fn a_file_that_the_parent_lacks_waits_longer_each_time_until_there_is_news() {
        let missing = [item("a", 10)];
        let (mut plan, start) = (Plan::default(), Instant::now());
        let mut now = start;
        for wait in [250, 500, 1_000] {
            let job = plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now);
            assert_eq!(names(&job), ["a"]);
            plan.on_failed(&job[0], Failure::Absent, now);
            assert!(plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now).is_empty());
            assert_eq!(plan.next_retry(now), Some(now + Duration::from_millis(wait)));
            now += Duration::from_millis(wait);
        }
        let job = plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now);
        plan.on_failed(&job[0], Failure::Absent, now);
        plan.on_new_content(now);
        assert_eq!(names(&plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now)), ["a"]);
    }

    #[test]
    fn what_may_not_travel_waits_until_that_changes_and_its_wait_after_a_failure_stays() {
        let missing = [item("a", 10)];
        let (mut plan, mut now) = (Plan::default(), Instant::now());
        let job = |plan: &mut Plan, now| plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now);
        let file = job(&mut plan, now).remove(0);
        plan.on_failed(&file, Failure::Absent, now);
        now += RETRY_FIRST;
        assert_eq!(names(&job(&mut plan, now)), ["a"]);
        plan.on_failed(&file, Failure::PutOff, now);
        plan.on_new_content(now);
        assert!(job(&mut plan, now + Duration::from_secs(86_400)).is_empty());
        plan.on_mirroring_changed(now);
        assert_eq!(names(&job(&mut plan, now)), ["a"]);
        plan.on_failed(&file, Failure::Absent, now);
        assert_eq!(plan.next_retry(now), Some(now + RETRY_FIRST * 2));
    }

    #[test]
    fn a_wait_that_ended_while_a_pass_went_by_is_still_told() {
        let (mut plan, begun) = (Plan::default(), Instant::now());
        let job = plan.next_job(&mut VecDeque::from([item("a", 10)]), 65_536, begun);
        plan.on_failed(&job[0], Failure::Absent, begun);
        let due = begun + RETRY_FIRST;
        assert!(plan.next_job(&mut VecDeque::from([item("a", 10)]), 65_536, due - Duration::from_nanos(1)).is_empty());
        assert_eq!(plan.next_retry(due - Duration::from_nanos(1)), Some(due));
        assert_eq!(plan.next_retry(due), None);
    }

    #[test]
    fn the_failure_of_a_file_that_is_missing_no_longer_is_forgotten_after_a_whole_pass() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let missing = [item("a", 10), item("b", 10)];
        let job = plan.next_job(&mut missing.iter().cloned().collect(), 65_536, now);
        job.iter().for_each(|item| plan.on_failed(item, Failure::Here, now));
        assert!(!plan.on_pass_ended());
        plan.on_pass_began();
        plan.next_job(&mut missing[1..].iter().cloned().collect(), 65_536, now);
        assert!(plan.on_pass_ended());
        assert_eq!(plan.retries.keys().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_file_that_changed_at_the_main_does_not_wait_for_its_old_content() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let old = item("a", 10);
        let job = plan.next_job(&mut VecDeque::from([old.clone()]), 65_536, now);
        plan.on_failed(&job[0], Failure::Absent, now);
        let new = Item { wanted: MissingRecord { root: Root([9; 32]), ..old.wanted }, ..old };
        assert_eq!(names(&plan.next_job(&mut VecDeque::from([new]), 65_536, now)), ["a"]);
    }

    #[test]
    fn other_content_for_a_name_that_is_under_way_is_asked_for_after_it_ends() {
        let (mut plan, now) = (Plan::default(), Instant::now());
        let old = item("a", 10);
        plan.next_job(&mut VecDeque::from([old.clone()]), 65_536, now);
        plan.next_job(&mut VecDeque::from([old.clone()]), 65_536, now);
        assert!(!plan.take_held_back(), "the same content is on its way");
        let new = Item { wanted: MissingRecord { root: Root([9; 32]), ..old.wanted }, ..old.clone() };
        assert!(plan.next_job(&mut VecDeque::from([new.clone()]), 65_536, now).is_empty());
        plan.on_done(&old);
        assert!(plan.take_held_back() && !plan.take_held_back());
        assert_eq!(names(&plan.next_job(&mut VecDeque::from([new]), 65_536, now)), ["a"]);
    }

    #[test]
    fn a_file_that_does_not_verify_is_asked_for_alone_and_becomes_a_trouble_the_fourth_time() {
        let missing = [item("a", 10), item("bad", 10), item("c", 10)];
        let (mut plan, mut now) = (Plan::default(), Instant::now());
        for serious in 1..=4 {
            assert_eq!(plan.troubles(), None);
            let mut queue: VecDeque<_> = missing.iter().cloned().collect();
            let first = plan.next_job(&mut queue, 65_536, now);
            if serious > 1 {
                assert_eq!(names(&first), ["a", "c"]);
                assert_eq!(names(&plan.next_job(&mut queue, 65_536, now)), ["bad"]);
            }
            [&missing[0], &missing[2]].into_iter().for_each(|item| plan.on_done(item));
            plan.on_failed(&missing[1], Failure::Lied, now);
            now += RETRY_MOST;
        }
        let key = (missing[1].folder.clone(), missing[1].name.clone());
        assert_eq!(plan.troubles(), Some((1, &key, Failure::Lied)));
        plan.on_new_content(now - RETRY_MOST);
        assert!(plan.next_job(&mut missing[1..2].iter().cloned().collect(), 65_536, now - RETRY_MOST).is_empty());
        plan.on_done(&missing[1]);
        assert_eq!(plan.troubles(), None);
    }
}
