//! Sets of byte positions, kept as ranges that neither touch nor overlap.

use std::ops::Range;

/// Which bytes of a file are there, or wanted, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// The bytes of one range.
    pub fn of(range: Range<u64>) -> Self {
        let mut ranges = Self::default();
        ranges.insert(range);
        ranges
    }

    /// Adds the bytes of `range`; one that is empty or runs backwards adds none.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|part| part.end < range.start);
        let last = self.0.partition_point(|part| part.start <= range.end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(range.start, |part| part.start.min(range.start));
        let end = touched.last().map_or(range.end, |part| part.end.max(range.end));
        self.0.splice(first..last, std::iter::once(start..end));
    }

    /// Where the run of bytes that begins at `at` ends; `at` itself where there are none.
    pub fn run_end(&self, at: u64) -> u64 {
        let next = self.0.partition_point(|part| part.end <= at);
        self.0.get(next).filter(|part| part.start <= at).map_or(at, |part| part.end)
    }

    /// Whether every byte of `range` is in the set.
    pub fn contains(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.run_end(range.start) >= range.end
    }

    /// The first run of bytes of `range` that are not in the set.
    pub fn first_gap(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let start = self.run_end(range.start);
        let next = self.0.partition_point(|part| part.start <= start);
        let end = self.0.get(next).map_or(range.end, |part| part.start.min(range.end));
        (start < end).then_some(start..end)
    }

    /// The runs, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// How many bytes are in the set.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|part| part.end - part.start).sum()
    }

    /// Whether no byte is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SIZE: u64 = 40;

    fn runs(bytes: &BTreeSet<u64>) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for &at in bytes {
            match runs.last_mut().filter(|run| run.end == at) {
                Some(run) => run.end += 1,
                None => runs.push(at..at + 1),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_the_set_of_their_bytes(
            inserted in prop::collection::vec((0..SIZE, 0..SIZE), 0..12), asked in (0..SIZE, 0..SIZE),
        ) {
            let (mut ranges, mut bytes) = (Ranges::default(), BTreeSet::new());
            for (start, end) in inserted {
                ranges.insert(start..end);
                bytes.extend(start..end);
            }
            prop_assert_eq!(ranges.iter().cloned().collect::<Vec<_>>(), runs(&bytes));
            prop_assert_eq!((ranges.len(), ranges.is_empty()), (bytes.len() as u64, bytes.is_empty()));
            let asked = asked.0..asked.1;
            prop_assert_eq!(ranges.contains(&asked), asked.clone().all(|at| bytes.contains(&at)));
            let run_end = (asked.start..).find(|at| !bytes.contains(at)).unwrap();
            prop_assert_eq!(ranges.run_end(asked.start), run_end);
            let gap: BTreeSet<u64> = asked.clone().filter(|at| !bytes.contains(at)).collect();
            prop_assert_eq!(ranges.first_gap(&asked), runs(&gap).into_iter().next());
        }
    }
}
