//! What can be read of a file that is on its way, and what may be passed on. Pure.

use crate::{
    base::{ranges::Ranges, read_at::ReadAt},
    domain::digest::{GROUP_BYTES, Root},
};
use std::{ops::Range, sync::Arc, time::Duration};

/// A file on its way, as it stands. The bytes that it gives stay the same for ever: a file that is begun
/// again has another `start`.
#[derive(Clone)]
pub struct Sight {
    /// Which beginning of the file this is.
    pub start: u32,
    /// Exact length in bytes.
    pub size: u64,
    /// Microsoft's Last-Modified in seconds since 1970 UTC, where it told one.
    pub modified: Option<i64>,
    /// The content that a signed head names: then each byte that is here was proven against it.
    pub root: Option<Root>,
    /// Whether bytes may be passed on before the whole is verified: something vouches for them that
    /// whoever asks can check too.
    pub may_flow: bool,
    /// What is here and can be read.
    pub here: Arc<Ranges>,
    /// The bytes.
    pub bytes: Arc<dyn ReadAt>,
    /// The hash tree over what is here, where the content is known and has more than one group.
    pub outboard: Option<Arc<dyn ReadAt>>,
}

impl Sight {
    /// The same, once all of it is here.
    pub fn whole(&self) -> Self {
        Self { here: Arc::new(Ranges::of(0..self.size)), ..self.clone() }
    }

    /// Up to where bytes are passed on before the whole is verified: the last group is held back, so that
    /// nobody has the whole of a file that is not what it should be.
    fn released(&self) -> u64 {
        match (self.root, self.may_flow) {
            (Some(_), _) => self.size,
            (None, true) => self.size.saturating_sub(1) / GROUP_BYTES * GROUP_BYTES,
            (None, false) => 0,
        }
    }
}

/// How a flight ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The file is held here under its name.
    Published,
    /// Nobody knows such a file.
    Unknown,
    /// It can't be had for now.
    Later {
        /// When asking again makes sense.
        retry_after: Duration,
        /// In words.
        why: String,
    },
}

/// Where a flight stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Others go first.
    Queued,
    /// Its source is being asked, or sends.
    Flying,
    /// Every byte is here and is what it should be; its name is being given.
    Verified,
    /// It is over.
    Ended(Ending),
}

/// All that a flight tells.
#[derive(Clone)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// What can be read; none before its source has answered.
    pub sight: Option<Sight>,
}

impl Progress {
    /// Before anything happened.
    pub(super) const QUEUED: Self = Self { phase: Phase::Queued, sight: None };

    /// Whether every byte was found to be what it should be.
    pub fn is_verified(&self) -> bool {
        matches!(self.phase, Phase::Verified | Phase::Ended(Ending::Published))
    }
}

/// What a reader may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read up to this position, exclusive.
    Read(u64),
    /// Wait: what it wants is not here yet, or is held back.
    Wait,
    /// End short: the rest will not come, or not the rest of these bytes.
    Cut,
}

/// What a reader at the beginning of `wanted` may do that began with `start`. `wanted` is not empty.
pub fn next_step(progress: &Progress, start: u32, wanted: &Range<u64>) -> Step {
    let Some(sight) = progress.sight.as_ref().filter(|sight| sight.start == start) else { return Step::Cut };
    let released = match &progress.phase {
        _ if progress.is_verified() => sight.size,
        Phase::Ended(_) => return Step::Cut,
        _ => sight.released(),
    };
    let end = sight.here.run_end(wanted.start).min(released).min(wanted.end);
    if end > wanted.start { Step::Read(end) } else { Step::Wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 3 * GROUP_BYTES + 5;

    fn sight(here: Range<u64>) -> Sight {
        let here = Arc::new(Ranges::of(here));
        let bytes = Arc::new(Vec::new());
        Sight { start: 1, size: SIZE, modified: None, root: None, may_flow: true, here, bytes, outboard: None }
    }

    fn step(phase: Phase, sight: Sight, wanted: Range<u64>) -> Step {
        next_step(&Progress { phase, sight: Some(sight) }, 1, &wanted)
    }

    #[test]
    fn the_last_group_is_held_back_until_all_is_verified() {
        let held_from = 3 * GROUP_BYTES;
        let whole = || sight(0..SIZE);
        assert_eq!(step(Phase::Flying, whole(), 0..SIZE), Step::Read(held_from));
        assert_eq!(step(Phase::Flying, whole(), held_from..SIZE), Step::Wait);
        assert_eq!(step(Phase::Verified, whole(), held_from..SIZE), Step::Read(SIZE));
        assert_eq!(step(Phase::Ended(Ending::Published), whole(), held_from..SIZE), Step::Read(SIZE));
        for size in [1, GROUP_BYTES] {
            let small = Sight { size, ..sight(0..size) };
            assert_eq!(step(Phase::Flying, small, 0..size), Step::Wait, "a file of one group waits");
        }
        let two = Sight { size: 2 * GROUP_BYTES, ..sight(0..2 * GROUP_BYTES) };
        assert_eq!(step(Phase::Flying, two, 0..2 * GROUP_BYTES), Step::Read(GROUP_BYTES));
    }

    #[test]
    fn what_a_signed_head_names_is_passed_on_as_it_is_proven() {
        let proven = Sight { root: Some(Root([7; 32])), may_flow: false, ..sight(GROUP_BYTES..SIZE) };
        assert_eq!(step(Phase::Flying, proven.clone(), GROUP_BYTES..SIZE), Step::Read(SIZE));
        assert_eq!(step(Phase::Flying, proven, 0..SIZE), Step::Wait);
    }

    #[test]
    fn what_nobody_vouches_for_is_passed_on_once_it_is_verified() {
        let quiet = Sight { may_flow: false, ..sight(0..SIZE) };
        assert_eq!(step(Phase::Flying, quiet.clone(), 0..SIZE), Step::Wait);
        assert_eq!(step(Phase::Verified, quiet, 0..SIZE), Step::Read(SIZE));
    }

    #[test]
    fn a_reader_gets_what_it_asked_for_as_far_as_it_is_here() {
        assert_eq!(step(Phase::Flying, sight(0..100), 0..SIZE), Step::Read(100));
        assert_eq!(step(Phase::Flying, sight(0..100), 0..50), Step::Read(50));
        assert_eq!(step(Phase::Flying, sight(0..100), 100..200), Step::Wait);
        let islands = Sight {
            here: Arc::new([0..10, 500..900].into_iter().fold(Ranges::default(), |mut all, part| {
                all.insert(part);
                all
            })),
            ..sight(0..0)
        };
        assert_eq!(step(Phase::Flying, islands, 600..SIZE), Step::Read(900));
    }

    #[test]
    fn a_flight_that_failed_or_began_anew_cuts_its_readers() {
        let failed = Phase::Ended(Ending::Later { retry_after: Duration::ZERO, why: String::new() });
        for phase in [failed, Phase::Ended(Ending::Unknown)] {
            assert_eq!(step(phase, sight(0..SIZE), 0..SIZE), Step::Cut);
        }
        for phase in [Phase::Flying, Phase::Verified, Phase::Ended(Ending::Published)] {
            let anew = Sight { start: 2, ..sight(0..SIZE) };
            assert_eq!(step(phase, anew, 0..SIZE), Step::Cut, "bytes of two beginnings are never mixed");
        }
        assert_eq!(next_step(&Progress::QUEUED, 1, &(0..1)), Step::Cut);
    }
}
