//! Which bytes of a file are asked for next, and when a body is left for others. Pure.
//!
//! One body after the other. Without readers far ahead it is one body from the first missing byte to the
//! last. A reader that waits far beyond the body's position makes it jump there; the new body goes on to
//! the end of the gap, and then gaps are filled, the earliest first.

use crate::{base::ranges::Ranges, domain::digest::GROUP_BYTES};
use std::{
    collections::BTreeSet,
    ops::{Bound, Range},
};

/// Who waits no more than this beyond a body's position waits for it, in bytes.
const AHEAD_BYTES: u64 = 8 << 20;
/// How often one fetch jumps.
pub const MOST_JUMPS: u32 = 4;

/// What has been asked for in one flight. `n` jumps make at most `1 + 2 * n` requests where nothing fails.
#[derive(Debug)]
pub struct Course {
    /// The piece that was asked for last.
    piece: Range<u64>,
    /// Where to go from a body that was left.
    toward: Option<u64>,
    jumps_left: u32,
}

impl Default for Course {
    /// Nothing was asked for yet.
    fn default() -> Self {
        Self { piece: 0..0, toward: None, jumps_left: MOST_JUMPS }
    }
}

impl Course {
    /// The rest is one body after the other, each to the end of its gap.
    pub fn stop_jumping(&mut self) {
        self.jumps_left = 0;
    }

    /// Nothing of what was asked for counts any more.
    pub fn begin_anew(&mut self) {
        (self.piece, self.toward) = (0..0, None);
    }

    /// What to ask for: a piece of which nothing is here, up to what is here or to the end. None if
    /// everything is here. A piece that was cut goes on first.
    pub fn next(&mut self, size: u64, here: &Ranges, waiting: &BTreeSet<u64>) -> Option<Range<u64>> {
        let cut = here.first_gap(&self.piece).map(|gap| gap.start);
        let toward = self.toward.take().filter(|at| here.run_end(*at) == *at);
        let at = match toward.or(cut) {
            Some(at) => at,
            None => here.first_gap(&(0..size))?.start,
        };
        let at = self.jump(at, size, here, waiting).unwrap_or(at);
        self.piece = here.first_gap(&(at..size))?;
        Some(self.piece.clone())
    }

    /// Whether the body that is at `position` is to be left, for a reader far ahead; [`Course::next`] then
    /// goes there.
    pub fn leaves(&mut self, position: u64, size: u64, here: &Ranges, waiting: &BTreeSet<u64>) -> bool {
        self.toward = self.jump(position, size, here, waiting);
        self.toward.is_some()
    }

    /// The furthest reader comes first: what follows it is the least, and others are then nearer.
    fn jump(&mut self, position: u64, size: u64, here: &Ranges, waiting: &BTreeSet<u64>) -> Option<u64> {
        let jumps_left = self.jumps_left.checked_sub(1)?;
        let beyond = position.checked_add(AHEAD_BYTES).filter(|beyond| *beyond < size)?;
        let beyond = (Bound::Excluded(beyond), Bound::Excluded(size));
        let reader = *waiting.range(beyond).rev().find(|at| here.run_end(**at) == **at)?;
        let group = reader / GROUP_BYTES * GROUP_BYTES;
        self.jumps_left = jumps_left;
        Some(last_run_end(here, group..reader))
    }
}

/// Where the last bytes of `range` that are here end; its start without any.
fn last_run_end(here: &Ranges, range: Range<u64>) -> u64 {
    let mut at = here.run_end(range.start);
    while let Some(gap) = here.first_gap(&(at..range.end)).filter(|gap| gap.end < range.end) {
        at = here.run_end(gap.end);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 1000 * MIB + 5;

    fn at(positions: &[u64]) -> BTreeSet<u64> {
        positions.iter().copied().collect()
    }

    #[test]
    fn without_readers_far_ahead_it_is_one_piece() {
        let mut course = Course::default();
        let near = at(&[0, 5, 8 * MIB, SIZE, u64::MAX]);
        assert_eq!(course.next(SIZE, &Ranges::default(), &near), Some(0..SIZE));
        assert!(!course.leaves(0, SIZE, &Ranges::default(), &near));
        let here = Ranges::of(0..MIB);
        assert!(!course.leaves(MIB, SIZE, &here, &at(&[MIB - 1, 9 * MIB])));
        assert_eq!(course.next(SIZE, &here, &at(&[])), Some(MIB..SIZE), "it was cut");
        assert_eq!(course.next(SIZE, &Ranges::of(0..SIZE), &at(&[7])), None);
        assert_eq!(Course::default().next(0, &Ranges::default(), &at(&[0])), None);
    }

    #[test]
    fn a_reader_far_ahead_gets_its_group_first_and_the_gap_is_filled_afterwards() {
        let mut course = Course::default();
        let mut here = Ranges::default();
        assert_eq!(course.next(SIZE, &here, &at(&[])), Some(0..SIZE));
        here.insert(0..3 * MIB);
        assert!(course.leaves(3 * MIB, SIZE, &here, &at(&[3 * MIB, 11 * MIB + 1])));
        assert_eq!(course.next(SIZE, &here, &at(&[])), Some(11 * MIB..SIZE), "though nobody waits any more");
        here.insert(11 * MIB..SIZE);
        assert_eq!(course.next(SIZE, &here, &at(&[])), Some(3 * MIB..11 * MIB));
    }

    #[test]
    fn the_furthest_reader_comes_first_and_a_cut_piece_goes_on_where_it_was() {
        let mut course = Course::default();
        let mut here = Ranges::of(0..MIB);
        let readers = at(&[MIB, 100 * MIB, SIZE - 1]);
        let tail = 1000 * MIB;
        assert_eq!(course.next(SIZE, &here, &readers), Some(tail..SIZE));
        here.insert(tail..tail + 2);
        assert_eq!(course.next(SIZE, &here, &at(&[])), Some(tail + 2..SIZE));
        here.insert(tail..SIZE);
        assert_eq!(course.next(SIZE, &here, &readers), Some(100 * MIB..tail));
        course.begin_anew();
        course.stop_jumping();
        assert_eq!(course.next(SIZE, &Ranges::default(), &readers), Some(0..SIZE));
    }

    #[test]
    fn a_jump_begins_behind_what_is_here_of_its_group() {
        let mut here = Ranges::of(50 * MIB..50 * MIB + 10);
        here.insert(50 * MIB + 20..50 * MIB + 30);
        here.insert(50 * MIB + 50..50 * MIB + 60);
        let next = |reader| Course::default().next(SIZE, &here, &at(&[reader]));
        assert_eq!(next(50 * MIB + 15), Some(50 * MIB + 10..50 * MIB + 20));
        assert_eq!(next(50 * MIB + 40), Some(50 * MIB + 30..50 * MIB + 50));
        assert_eq!(next(50 * MIB + 60), Some(50 * MIB + 60..SIZE));
        assert_eq!(next(50 * MIB + 5), Some(0..50 * MIB), "it is here");
    }

    /// What happens next to a fetch.
    #[derive(Debug, Clone)]
    enum Event {
        Arrives(u64),
        Waits(u64),
        Goes(usize),
        Cut,
    }

    fn event(size: u64, with_cuts: bool) -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (1..40 * MIB).prop_map(Event::Arrives),
            3 => (0..size + MIB).prop_map(Event::Waits),
            1 => any::<usize>().prop_map(Event::Goes),
            u32::from(with_cuts) => Just(Event::Cut),
        ]
    }

    #[derive(Default)]
    struct Story {
        here: Ranges,
        requests: u32,
        jumps: u32,
        cuts: u32,
    }

    /// Until everything is here; events come in turn, and then whatever is asked for arrives.
    fn story(size: u64, events: &[Event]) -> Story {
        let (mut course, mut waiting) = (Course::default(), BTreeSet::new());
        let (mut story, mut events) = (Story::default(), events.iter());
        while let Some(piece) = course.next(size, &story.here, &waiting) {
            assert!(story.here.first_gap(&piece) == Some(piece.clone()), "{piece:?} is here in part");
            assert!(piece.end == size || story.here.run_end(piece.end) > piece.end, "{piece:?} ends too early");
            story.requests += 1;
            assert!(story.requests < 1000, "it never ends");
            let mut position = piece.start;
            while position < piece.end {
                match events.next().unwrap_or(&Event::Arrives(size)) {
                    Event::Arrives(bytes) => {
                        let end = position.saturating_add(*bytes).min(piece.end);
                        story.here.insert(position..end);
                        position = end;
                        continue;
                    }
                    Event::Waits(at) => drop(waiting.insert(*at)),
                    Event::Goes(n) => {
                        let gone = waiting.iter().nth(n % waiting.len().max(1)).copied();
                        gone.map(|gone| waiting.remove(&gone));
                    }
                    Event::Cut => {
                        story.cuts += 1;
                        break;
                    }
                }
                let is_far = |at: &&u64| **at > position + AHEAD_BYTES && **at < size;
                let is_awaited = waiting.iter().filter(is_far).any(|at| story.here.run_end(*at) == *at);
                let may_jump = course.jumps_left > 0;
                let leaves = course.leaves(position, size, &story.here, &waiting);
                assert_eq!(leaves, is_awaited && may_jump);
                if leaves {
                    break;
                }
            }
        }
        story.jumps = MOST_JUMPS - course.jumps_left;
        story
    }

    proptest! {
        #[test]
        fn every_byte_arrives_with_two_requests_for_a_jump_whatever_readers_do(
            (size, events) in (0..300 * MIB).prop_flat_map(|size| (Just(size), prop::collection::vec(event(size, false), 0..60))),
        ) {
            let story = story(size, &events);
            prop_assert_eq!(story.here.len(), size);
            prop_assert!(story.requests <= 1 + 2 * story.jumps, "{} for {} jumps", story.requests, story.jumps);
            let is_quiet = !events.iter().any(|event| matches!(event, Event::Waits(_)));
            prop_assert!(!is_quiet || story.requests <= 1);
        }

        #[test]
        fn a_cut_costs_one_more_request(
            (size, events) in (0..300 * MIB).prop_flat_map(|size| (Just(size), prop::collection::vec(event(size, true), 0..60))),
        ) {
            let story = story(size, &events);
            prop_assert_eq!(story.here.len(), size);
            prop_assert!(story.requests <= 1 + 2 * story.jumps + story.cuts);
        }
    }
}
