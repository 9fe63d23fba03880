//! Everything that a seed decides, and nothing else that could.

use std::ffi::c_void;

/// The variable that names the one seed of this process.
pub const SEED: &str = "SIMULATION_SEED";

/// A stream of numbers (splitmix64).
#[derive(Clone)]
pub struct Draw(u64);

impl Draw {
    /// Streams of one seed for different purposes share nothing.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut draw = Self(seed ^ purpose.rotate_left(32));
        draw.next();
        draw
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least `least`, less than `end`.
    pub fn within(&mut self, least: u64, end: u64) -> u64 {
        least + self.next() % (end - least)
    }

    /// One in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.within(0, n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.within(0, of.len() as u64) as usize) }
    }
}

/// The seed that this process was started with.
pub fn seed_of_process() -> Option<u64> {
    std::env::var(SEED).ok()?.parse().ok()
}

/// Takes the place of the C library's function: tokio draws the order of ready arms of a `select!`, and
/// hash maps draw their order, from what this gives. In a process with a seed it is always the same.
///
/// # Safety
///
/// As the system's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: u32) -> isize {
    // SAFETY: the caller vouches for the room; bytes have no invalid values.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    match seed_of_process() {
        Some(seed) => {
            let mut draw = Draw::new(seed, 0x7261_6e64);
            bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&draw.next().to_le_bytes()[..chunk.len()]));
        }
        None => {
            use std::io::Read;
            let filled = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes));
            if filled.is_err() {
                return -1;
            }
        }
    }
    length as isize
}
