//! Small damage to known inputs, decided by a seed alone.

/// Longest input that is made; a corpus file may be longer.
const MAX_BYTES: usize = 64 * 1024;
/// Bytes that mean something to one format or another.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\n\r\t \"'%*,-./:;=@[]\\{}~09azAZ";

/// Makes one input per seed.
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// One of `corpus`, changed in one to eight places.
    pub(crate) fn mutated(mut self, corpus: &[&[u8]]) -> Vec<u8> {
        let mut input = self.one_of(corpus).to_vec();
        for _ in 0..=self.below(8) {
            self.damage(&mut input, corpus);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn damage(&mut self, input: &mut Vec<u8>, corpus: &[&[u8]]) {
        let at = self.below(input.len() + 1);
        let end = input.len().min(at + 1 + self.below(16));
        match self.below(9) {
            0 => input[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => input[at..end].iter_mut().for_each(|byte| *byte = self.byte()),
            2 => input[at..end].fill(self.one_of(TELLING)),
            3 => input.insert(at, self.one_of(TELLING)),
            4 => input.insert(at, self.byte()),
            5 => drop(input.drain(at..end)),
            6 => input.truncate(at),
            7 => {
                let again = input[at..end].repeat(1 + self.below(40));
                drop(input.splice(end..end, again));
            }
            _ => {
                let other = self.one_of(corpus);
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// SplitMix64: every seed gives another series.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
