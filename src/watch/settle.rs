//! When a file has settled: a machine with virtual time. Pure.
//!
//! Any program may write into the folder, so no single event means "done": an immutable name is
//! looked at as soon as it may be whole (its digest decides), a mutable one after its last writer
//! closed it and a time of quiet. Removals are gathered, so that a replace by unlink and create is
//! no removal and `rm -rf` is one batch.

use crate::domain::name::{FileName, NameError};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Most names that wait at one time; beyond it a rescan finds the others. A folder of WAPT holds a
/// few tens of thousands of files, a waiting name costs about 300 bytes.
pub const MAX_PENDING: usize = 100_000;
/// Quiet after which an immutable name that nobody closed is looked at for the first time.
const QUIET_OPEN_IMMUTABLE: Duration = Duration::from_secs(2);
/// Quiet after which a mutable name that nobody closed counts as settled (a hard link is never
/// closed); also the longest wait between two looks at an immutable one.
const QUIET_OPEN: Duration = Duration::from_secs(600);
/// Least time between two rescans: one reads the whole tree.
const RESCAN_GAP: Duration = Duration::from_secs(60);

/// Something happened to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    /// It came to exist, empty or as a link.
    Created(FileName),
    /// Bytes changed.
    Written(FileName),
    /// A program that had it open for writing closed it.
    Closed(FileName),
    /// It came with its bytes: moved here, or a hard link to a file.
    Arrived(FileName),
    /// It was removed or moved away.
    Gone(FileName),
    /// A scan found that it exists and differs from what is known.
    Seen(FileName),
    /// A directory appeared: whatever is in it came unseen.
    Directory(FileName),
    /// Something that can't be mirrored appeared, with the reason, or went (`None`). The name is made
    /// printable.
    Refused(String, Option<NameError>),
    /// Events were lost, or the watched folder itself.
    Overflow,
}

/// What the receiver should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The file behind this name may be whole. An immutable one is told again when its writer goes
    /// on, so a wrong digest means "incomplete so far". It may also have vanished meanwhile.
    Arrived(FileName),
    /// These names are gone, in order, each told once. One may have been a directory: what was
    /// beneath it went with it. The receiver checks that they are absent before it acts.
    Gone(Vec<FileName>),
    /// The same while events are missing: others may be gone with them, so nobody should judge how many
    /// they are. A rescan follows.
    Doubtful(Vec<FileName>),
    /// A directory appeared: names beneath it that differ from what is known are told by `Seen`.
    Directory(FileName),
    /// What can't be mirrored as it is by now, each name once; `None` is gone.
    Refused(Vec<(String, Option<NameError>)>),
    /// The folder must be compared with what is known: names that differ are told by `Seen`.
    Rescan,
}

/// What is known of a name that waits.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// Some program may still write: told at `due`, and told `looks` times before.
    Open { due: Instant, looks: u32 },
    /// Its last writer closed it, or it came with its bytes: told at `due`.
    Whole { due: Instant },
    /// Told while open; kept until `due` so that the next look waits longer than the last.
    Looked { due: Instant, looks: u32 },
}

impl Wait {
    fn due(self) -> Instant {
        match self {
            Self::Open { due, .. } | Self::Whole { due } | Self::Looked { due, .. } => due,
        }
    }

    fn looks(self) -> u32 {
        match self {
            Self::Open { looks, .. } | Self::Looked { looks, .. } => looks,
            Self::Whole { .. } => 0,
        }
    }
}

/// The machine: events go in, settled names come out. Equal inputs give equal outputs.
#[derive(Debug)]
pub struct Settle {
    quiet_mutable: Duration,
    quiet_removed: Duration,
    waits: BTreeMap<FileName, Wait>,
    /// The same waits by time: `(due, name)`.
    by_due: BTreeSet<(Instant, FileName)>,
    gone: BTreeSet<FileName>,
    /// When the batch of removals is told; has a meaning while `gone` is not empty.
    gone_due: Option<Instant>,
    /// Directories to be looked through, in order: what is above comes before what is beneath.
    directories: BTreeSet<FileName>,
    directories_due: Option<Instant>,
    refused: BTreeMap<String, Option<NameError>>,
    /// When those are told: a name that a program uses for a moment is never told of.
    refused_due: Option<Instant>,
    /// Since when a rescan is owed.
    rescan_owed: Option<Instant>,
    last_rescan: Option<Instant>,
}

impl Settle {
    /// A machine without waiting names. A mutable name settles `quiet_mutable` after its last writer
    /// closed it, a batch of removals `quiet_removed` after the last of them.
    pub fn new(quiet_mutable: Duration, quiet_removed: Duration) -> Self {
        Self {
            quiet_mutable,
            quiet_removed,
            waits: BTreeMap::new(),
            by_due: BTreeSet::new(),
            gone: BTreeSet::new(),
            gone_due: None,
            directories: BTreeSet::new(),
            directories_due: None,
            refused: BTreeMap::new(),
            refused_due: None,
            rescan_owed: None,
            last_rescan: None,
        }
    }

    /// Takes in one event that was read at `now`.
    pub fn on_event(&mut self, event: FileEvent, now: Instant) {
        match event {
            FileEvent::Created(name) => {
                self.gone.remove(&name);
                self.on_open(name, now);
            }
            FileEvent::Arrived(name) => {
                self.gone.remove(&name);
                self.on_whole(name, now);
            }
            // A removed file is still written and closed by whoever has it open.
            FileEvent::Written(name) if !self.gone.contains(&name) => self.on_open(name, now),
            FileEvent::Closed(name) if !self.gone.contains(&name) => self.on_whole(name, now),
            FileEvent::Seen(name) => self.on_seen(name, now),
            FileEvent::Written(_) | FileEvent::Closed(_) => {}
            FileEvent::Gone(name) => self.on_gone(name, now),
            FileEvent::Directory(name) => self.on_directory(name, now),
            FileEvent::Refused(name, why) => self.on_refused(name, why, now),
            FileEvent::Overflow => self.owe_rescan(now),
        }
    }

    /// What has settled by `now`, one at a time until `None`: a rescan first (with the removals that it
    /// makes doubtful before it), then removals, directories, what is refused, and names in the order of
    /// their times.
    pub fn poll(&mut self, now: Instant) -> Option<Settled> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let rescan = is_due(self.rescan_due());
        if !self.gone.is_empty() && (rescan || is_due(self.removals_due())) {
            let gone = std::mem::take(&mut self.gone).into_iter().collect();
            return Some(if self.rescan_owed.is_some() { Settled::Doubtful(gone) } else { Settled::Gone(gone) });
        }
        if rescan {
            self.rescan_owed = None;
            self.last_rescan = Some(now);
            return Some(Settled::Rescan);
        }
        if let Some(directory) = self.directories.pop_first() {
            return Some(Settled::Directory(directory));
        }
        if is_due(self.refusals_due()) {
            return Some(Settled::Refused(std::mem::take(&mut self.refused).into_iter().collect()));
        }
        self.poll_name(now)
    }

    /// When [`poll`](Self::poll) should be asked next; `None` while nothing waits.
    pub fn next_timeout(&self) -> Option<Instant> {
        let name = self.by_due.first().map(|(due, _)| *due);
        let directory = self.directories_due.filter(|_| !self.directories.is_empty());
        [name, self.removals_due(), directory, self.refusals_due(), self.rescan_due()].into_iter().flatten().min()
    }

    fn on_open(&mut self, name: FileName, now: Instant) {
        let looks = self.waits.get(&name).map_or(0, |wait| wait.looks());
        let quiet = if name.is_immutable() { quiet_before_look(looks) } else { QUIET_OPEN };
        self.set(name, Wait::Open { due: now + quiet, looks }, now);
    }

    fn on_whole(&mut self, name: FileName, now: Instant) {
        let quiet = if name.is_immutable() { Duration::ZERO } else { self.quiet_mutable };
        self.set(name, Wait::Whole { due: now + quiet }, now);
    }

    fn on_gone(&mut self, name: FileName, now: Instant) {
        self.forget(&name);
        if !self.has_room_for(&name) {
            return self.lose_count(now);
        }
        self.gone.insert(name);
        self.gone_due = Some(now + self.quiet_removed);
    }

    /// Events know more of a name than a scan that went by; but a name that was seen is there again.
    fn on_seen(&mut self, name: FileName, now: Instant) {
        self.gone.remove(&name);
        if !matches!(self.waits.get(&name), Some(Wait::Open { .. } | Wait::Whole { .. })) {
            self.on_whole(name, now);
        }
    }

    /// Looking through a directory covers what is beneath it.
    fn on_directory(&mut self, name: FileName, now: Instant) {
        self.gone.remove(&name);
        if name.as_str().match_indices('/').any(|(at, _)| self.waits_for_directory(&name.as_str()[..at])) {
            return;
        }
        if self.pending() >= MAX_PENDING {
            return self.lose_count(now);
        }
        if self.directories.is_empty() {
            self.directories_due = Some(now);
        }
        self.directories.insert(name);
    }

    fn waits_for_directory(&self, above: &str) -> bool {
        FileName::new(above).is_ok_and(|above| self.directories.contains(&above))
    }

    fn on_refused(&mut self, name: String, why: Option<NameError>, now: Instant) {
        if self.pending() >= MAX_PENDING {
            return self.lose_count(now);
        }
        if self.refused.is_empty() {
            self.refused_due = Some(now + self.quiet_removed);
        }
        self.refused.insert(name, why);
    }

    /// There is no room for everything. A batch of removals in part is worse than none: the rescan
    /// finds all of them.
    fn lose_count(&mut self, now: Instant) {
        self.gone.clear();
        self.owe_rescan(now);
    }

    fn owe_rescan(&mut self, now: Instant) {
        self.rescan_owed.get_or_insert(now);
    }

    fn poll_name(&mut self, now: Instant) -> Option<Settled> {
        while self.by_due.first().is_some_and(|(due, _)| *due <= now) {
            let (_, name) = self.by_due.pop_first()?;
            match self.waits.remove(&name)? {
                Wait::Looked { .. } => continue,
                Wait::Open { looks, .. } if name.is_immutable() => {
                    let looked = Wait::Looked { due: now + QUIET_OPEN, looks: looks.saturating_add(1) };
                    self.set(name.clone(), looked, now);
                    return Some(Settled::Arrived(name));
                }
                Wait::Open { .. } | Wait::Whole { .. } => return Some(Settled::Arrived(name)),
            }
        }
        None
    }

    fn set(&mut self, name: FileName, wait: Wait, now: Instant) {
        if !self.has_room_for(&name) {
            return self.lose_count(now);
        }
        self.forget(&name);
        self.by_due.insert((wait.due(), name.clone()));
        self.waits.insert(name, wait);
    }

    fn forget(&mut self, name: &FileName) {
        if let Some(wait) = self.waits.remove(name) {
            self.by_due.remove(&(wait.due(), name.clone()));
        }
    }

    fn has_room_for(&self, name: &FileName) -> bool {
        self.pending() < MAX_PENDING || self.waits.contains_key(name) || self.gone.contains(name)
    }

    fn pending(&self) -> usize {
        self.waits.len() + self.gone.len() + self.directories.len() + self.refused.len()
    }

    fn removals_due(&self) -> Option<Instant> {
        self.gone_due.filter(|_| !self.gone.is_empty())
    }

    fn refusals_due(&self) -> Option<Instant> {
        self.refused_due.filter(|_| !self.refused.is_empty())
    }

    /// While more than half of the room is taken a rescan would mostly find what waits already, and
    /// lose the rest again; after a while it comes anyway.
    fn rescan_due(&self) -> Option<Instant> {
        let owed = self.rescan_owed?;
        let crowded = self.pending() > MAX_PENDING / 2;
        let earliest = if crowded { owed + QUIET_OPEN } else { owed };
        Some(self.last_rescan.map_or(earliest, |last| earliest.max(last + RESCAN_GAP)))
    }
}

/// Each look at an immutable name reads the whole file, so a writer that pauses often is looked at
/// in doubling intervals.
fn quiet_before_look(looks: u32) -> Duration {
    QUIET_OPEN_IMMUTABLE.saturating_mul(1 << looks.min(16)).min(QUIET_OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FileEvent::*;
    use proptest::prelude::*;

    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    /// A machine and its time; `at` is in milliseconds from the start.
    struct Bench {
        settle: Settle,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let settle = Settle::new(Duration::from_secs(30), Duration::from_secs(2));
            Self { settle, start: Instant::now() }
        }

        fn event(&mut self, at: u64, event: FileEvent) -> &mut Self {
            self.settle.on_event(event, self.start + Duration::from_millis(at));
            self
        }

        /// Everything told up to `until`, each with its time, asked exactly when the machine wants.
        fn run(&mut self, until: u64) -> Vec<(u64, Settled)> {
            let mut told = Vec::new();
            while let Some(due) = self.settle.next_timeout() {
                let at = due.saturating_duration_since(self.start).as_millis() as u64;
                if at > until {
                    break;
                }
                while let Some(settled) = self.settle.poll(due) {
                    told.push((at, settled));
                }
            }
            told
        }

        fn run_all(&mut self) -> Vec<(u64, Settled)> {
            let told = self.run(u64::MAX);
            assert_eq!(self.settle.pending(), 0);
            told
        }
    }

    fn name(name: &str) -> FileName {
        FileName::new(name).unwrap()
    }

    fn cab() -> FileName {
        name("wsusscn2.cab")
    }

    fn kb() -> FileName {
        name(&format!("kb1_{SHA1}.cab"))
    }

    fn arrived(name: FileName) -> Settled {
        Settled::Arrived(name)
    }

    #[test]
    fn an_immutable_name_is_told_at_once_when_it_is_closed_or_moved_in() {
        let mut bench = Bench::new();
        bench.event(0, Created(kb())).event(10, Written(kb())).event(20, Closed(kb()));
        assert_eq!(bench.run_all(), [(20, arrived(kb()))]);
        bench.event(50, Arrived(kb()));
        assert_eq!(bench.run_all(), [(50, arrived(kb()))]);
    }

    #[test]
    fn an_immutable_name_that_nobody_closes_is_looked_at_after_quiet_in_doubling_intervals() {
        let mut bench = Bench::new();
        bench.event(0, Created(kb())).event(1_000, Written(kb()));
        assert_eq!(bench.run(10_000), [(3_000, arrived(kb()))]);
        bench.event(10_000, Written(kb()));
        assert_eq!(bench.run(20_000), [(14_000, arrived(kb()))]);
        bench.event(20_000, Written(kb())).event(27_999, Written(kb()));
        assert_eq!(bench.run(40_000), [(35_999, arrived(kb()))]);
        bench.event(40_000, Closed(kb()));
        assert_eq!(bench.run_all(), [(40_000, arrived(kb()))]);
    }

    #[test]
    fn looks_at_a_name_that_was_long_quiet_start_over() {
        let mut bench = Bench::new();
        bench.event(0, Written(kb()));
        assert_eq!(bench.run_all(), [(2_000, arrived(kb()))]);
        bench.event(700_000, Written(kb()));
        assert_eq!(bench.run_all(), [(702_000, arrived(kb()))]);
    }

    #[test]
    fn the_interval_between_looks_has_an_end() {
        assert_eq!(quiet_before_look(8), Duration::from_secs(512));
        assert_eq!(quiet_before_look(9), QUIET_OPEN);
        assert_eq!(quiet_before_look(u32::MAX), QUIET_OPEN);
    }

    #[test]
    fn a_mutable_name_is_told_thirty_seconds_after_its_last_close() {
        let mut bench = Bench::new();
        bench
            .event(0, Created(cab()))
            .event(10, Closed(cab()))
            .event(29_000, Written(cab()))
            .event(29_500, Closed(cab()));
        assert_eq!(bench.run_all(), [(59_500, arrived(cab()))]);
        bench.event(100_000, Arrived(cab()));
        assert_eq!(bench.run_all(), [(130_000, arrived(cab()))]);
    }

    #[test]
    fn a_write_after_the_close_postpones_until_the_next_close() {
        let mut bench = Bench::new();
        bench.event(0, Closed(cab())).event(29_999, Written(cab()));
        assert_eq!(bench.run(500_000), []);
        bench.event(500_000, Closed(cab()));
        assert_eq!(bench.run_all(), [(530_000, arrived(cab()))]);
    }

    #[test]
    fn a_mutable_name_that_nobody_closes_is_told_after_ten_minutes_of_quiet() {
        let mut bench = Bench::new();
        bench.event(0, Created(cab())).event(599_999, Written(cab()));
        assert_eq!(bench.run_all(), [(1_199_999, arrived(cab()))]);
    }

    #[test]
    fn a_replace_by_unlink_and_create_is_no_removal() {
        let mut bench = Bench::new();
        bench.event(0, Gone(cab())).event(1_999, Created(cab())).event(2_500, Closed(cab()));
        assert_eq!(bench.run_all(), [(32_500, arrived(cab()))]);
        bench.event(50_000, Gone(kb())).event(50_001, Arrived(kb()));
        assert_eq!(bench.run_all(), [(50_001, arrived(kb()))]);
    }

    #[test]
    fn many_removals_in_a_row_are_one_batch_in_order() {
        let mut bench = Bench::new();
        bench.event(0, Gone(name("b"))).event(1_900, Gone(name("c"))).event(3_800, Gone(name("a")));
        assert_eq!(bench.run_all(), [(5_800, Settled::Gone(vec![name("a"), name("b"), name("c")]))]);
    }

    #[test]
    fn removals_apart_are_two_batches() {
        let mut bench = Bench::new();
        bench.event(0, Gone(name("a")));
        assert_eq!(bench.run(5_000), [(2_000, Settled::Gone(vec![name("a")]))]);
        bench.event(5_000, Gone(name("b")));
        assert_eq!(bench.run_all(), [(7_000, Settled::Gone(vec![name("b")]))]);
    }

    #[test]
    fn a_removed_file_that_is_still_written_stays_removed() {
        let mut bench = Bench::new();
        bench.event(0, Gone(kb())).event(1, Written(kb())).event(2, Closed(kb()));
        assert_eq!(bench.run_all(), [(2_000, Settled::Gone(vec![kb()]))]);
    }

    #[test]
    fn a_file_removed_before_it_settled_is_only_told_as_gone() {
        let mut bench = Bench::new();
        bench.event(0, Created(cab())).event(1, Closed(cab())).event(2, Gone(cab()));
        assert_eq!(bench.run_all(), [(2_002, Settled::Gone(vec![cab()]))]);
    }

    #[test]
    fn a_name_that_a_scan_saw_is_told_like_one_that_arrived() {
        let mut bench = Bench::new();
        bench.event(0, Seen(kb())).event(0, Seen(cab()));
        assert_eq!(bench.run_all(), [(0, arrived(kb())), (30_000, arrived(cab()))]);
    }

    #[test]
    fn a_scan_does_not_hasten_a_writer_and_undoes_a_removal() {
        let mut bench = Bench::new();
        bench.event(0, Written(cab())).event(1_000, Seen(cab()));
        bench.event(0, Gone(kb())).event(1_000, Seen(kb()));
        assert_eq!(bench.run_all(), [(1_000, arrived(kb())), (600_000, arrived(cab()))]);
    }

    #[test]
    fn a_directory_is_told_at_once_and_covers_what_is_beneath_it() {
        let mut bench = Bench::new();
        for text in ["d/e", "d", "d/e/f", "d-x"] {
            bench.event(5, Directory(name(text)));
        }
        let told: Vec<_> = ["d", "d-x", "d/e"].iter().map(|text| (5, Settled::Directory(name(text)))).collect();
        assert_eq!(bench.run_all(), told);
    }

    #[test]
    fn what_is_refused_is_told_in_one_batch_as_it_is_by_then() {
        let mut bench = Bench::new();
        let why = NameError::LeadingDot;
        bench.event(0, Refused(".a".into(), Some(why))).event(1_000, Refused(".b".into(), Some(why)));
        bench.event(1_500, Refused(".a".into(), None));
        let batch = vec![(".a".to_owned(), None), (".b".to_owned(), Some(why))];
        assert_eq!(bench.run_all(), [(2_000, Settled::Refused(batch))]);
    }

    #[test]
    fn a_name_that_was_looked_at_is_told_again_when_a_scan_sees_it() {
        let mut bench = Bench::new();
        bench.event(0, Written(kb()));
        assert_eq!(bench.run(5_000), [(2_000, arrived(kb()))]);
        bench.event(5_000, Seen(kb()));
        assert_eq!(bench.run_all(), [(5_000, arrived(kb()))]);
    }

    #[test]
    fn rescans_are_told_at_once_the_first_time_and_then_once_a_minute() {
        let mut bench = Bench::new();
        bench.event(5, Overflow).event(6, Overflow);
        assert_eq!(bench.run(10), [(5, Settled::Rescan)]);
        bench.event(10, Overflow).event(30_000, Overflow);
        assert_eq!(bench.run_all(), [(60_005, Settled::Rescan)]);
        bench.event(200_000, Overflow);
        assert_eq!(bench.run_all(), [(200_000, Settled::Rescan)]);
    }

    #[test]
    fn removals_around_lost_events_are_told_in_time_as_doubtful() {
        let mut bench = Bench::new();
        bench.event(0, Overflow);
        assert_eq!(bench.run(0), [(0, Settled::Rescan)]);
        bench.event(1_000, Gone(kb())).event(1_001, Overflow).event(1_002, Gone(cab()));
        let doubtful = |names| Settled::Doubtful(names);
        assert_eq!(bench.run(58_000), [(3_002, doubtful(vec![kb(), cab()]))]);
        assert_eq!(bench.run_all(), [(60_000, Settled::Rescan)]);
        bench.event(200_000, Gone(kb())).event(200_001, Overflow);
        assert_eq!(bench.run_all(), [(200_001, doubtful(vec![kb()])), (200_001, Settled::Rescan)]);
    }

    #[test]
    fn names_beyond_the_limit_become_one_rescan_once_half_of_the_others_are_told() {
        let mut bench = Bench::new();
        for n in 0..MAX_PENDING {
            bench.event(n as u64 % 2, Closed(name(&n.to_string())));
        }
        bench.event(2, Closed(name("1")));
        assert_eq!(bench.settle.rescan_due(), None, "a name that waits already needs no room");
        bench.event(2, Closed(name("one-more"))).event(2, Gone(name("and-another")));
        assert_eq!(bench.settle.pending(), MAX_PENDING);

        let told = bench.run_all();
        let rescans: Vec<_> = told.iter().filter(|(_, settled)| *settled == Settled::Rescan).collect();
        assert_eq!(rescans, [&(30_000, Settled::Rescan)]);
        assert_eq!(told.len(), MAX_PENDING + 1);
    }

    #[test]
    fn a_rescan_is_not_put_off_for_ever_by_names_that_never_settle() {
        let mut bench = Bench::new();
        for n in 0..=MAX_PENDING {
            bench.event(1, Created(name(&n.to_string())));
        }
        bench.event(590_000, Overflow);
        for n in 0..MAX_PENDING {
            bench.event(600_000, Written(name(&n.to_string())));
        }
        assert_eq!(bench.run(600_001), [(600_001, Settled::Rescan)]);
    }

    #[test]
    fn a_batch_of_removals_beyond_the_limit_is_never_told_in_part() {
        let mut bench = Bench::new();
        for n in 0..=MAX_PENDING {
            bench.event(0, Gone(name(&n.to_string())));
        }
        assert_eq!(bench.run_all(), [(0, Settled::Rescan)]);
    }

    #[derive(Debug, Clone, Copy)]
    enum Act {
        Create,
        Write,
        Close,
        MoveIn,
        Remove,
        See,
    }

    fn act() -> impl Strategy<Value = Act> {
        use Act::*;
        prop_oneof![Just(Create), Just(Write), Just(Close), Just(MoveIn), Just(Remove), Just(See)]
    }

    fn names() -> Vec<FileName> {
        let immutable = |n: u32| name(&format!("kb{n}_{SHA1}.cab"));
        vec![immutable(1), immutable(2), name("a.cab"), name("sub/b.cab")]
    }

    /// What one name went through, as a reader of the events would write it down.
    #[derive(Debug, Default, Clone)]
    struct History {
        exists: bool,
        last: Option<(u64, Act)>,
        last_write: Option<u64>,
        told_since: usize,
    }

    proptest! {
        #[test]
        fn what_was_closed_is_told_once_after_quiet_and_nothing_is_told_too_early(
            steps in proptest::collection::vec((0u64..40_000, 0usize..4, act()), 1..60),
        ) {
            let names = names();
            let mut bench = Bench::new();
            let mut histories = vec![History::default(); names.len()];
            let mut at = 0;
            for (pause, which, act) in steps {
                let told = bench.run((at + pause).saturating_sub(1));
                check(&names, &mut histories, told)?;
                at += pause;
                let history = &mut histories[which];
                // Only what exists is written, closed, seen and removed.
                if !history.exists && !matches!(act, Act::Create | Act::MoveIn) {
                    continue;
                }
                let event = match act {
                    Act::Create => Created(names[which].clone()),
                    Act::Write => Written(names[which].clone()),
                    Act::Close => Closed(names[which].clone()),
                    Act::MoveIn => Arrived(names[which].clone()),
                    Act::Remove => Gone(names[which].clone()),
                    Act::See => Seen(names[which].clone()),
                };
                bench.event(at, event);
                history.told_since = 0;
                if matches!(act, Act::See) {
                    continue;
                }
                history.exists = !matches!(act, Act::Remove);
                history.last = Some((at, act));
                if matches!(act, Act::Create | Act::Write) {
                    history.last_write = Some(at);
                }
            }
            let told = bench.run_all();
            check(&names, &mut histories, told)?;
            for (name, history) in names.iter().zip(&histories) {
                if matches!(history.last, Some((_, Act::Close | Act::MoveIn))) && history.told_since == 0 {
                    prop_assert!(false, "{name} was never told: {history:?}");
                }
            }
        }

        #[test]
        fn no_order_of_events_makes_it_wait_for_ever_or_grow(
            steps in proptest::collection::vec((0u64..100_000, 0usize..4, 0u8..9), 0..60),
        ) {
            let names = names();
            let mut bench = Bench::new();
            let mut at = 0;
            for (pause, which, kind) in steps {
                at += pause;
                let name = names[which].clone();
                bench.event(at, match kind {
                    0 => Created(name),
                    1 => Written(name),
                    2 => Closed(name),
                    3 => Arrived(name),
                    4 => Gone(name),
                    5 => Seen(name),
                    6 => Directory(name),
                    7 => Refused(name.to_string(), None),
                    _ => Overflow,
                });
                prop_assert!(bench.settle.pending() <= 3 * names.len());
                prop_assert_eq!(bench.settle.waits.len(), bench.settle.by_due.len());
            }
            bench.run_all();
            prop_assert_eq!(bench.settle.next_timeout(), None);
        }
    }

    /// Holds everything told against the histories.
    fn check(names: &[FileName], histories: &mut [History], told: Vec<(u64, Settled)>) -> Result<(), TestCaseError> {
        for (at, settled) in told {
            match settled {
                Settled::Arrived(name) => {
                    let history = &mut histories[names.iter().position(|n| *n == name).unwrap()];
                    prop_assert!(history.exists, "{name} is gone");
                    let quiet = history.last_write.map_or(u64::MAX, |write| at - write);
                    prop_assert!(name.is_immutable() || quiet >= 30_000, "{name} was told after {quiet} ms");
                    history.told_since += 1;
                    prop_assert!(history.told_since == 1, "{name} was told twice");
                }
                Settled::Gone(gone) => {
                    for name in gone {
                        let history = &histories[names.iter().position(|n| *n == name).unwrap()];
                        prop_assert!(!history.exists, "{name} exists");
                    }
                }
                other => prop_assert!(false, "nothing was lost: {other:?}"),
            }
        }
        Ok(())
    }
}
