//! Numbers that look drawn and are the same each time: what spreads nodes over a period.

/// A number below `below` that depends on `seed` alone (the finalizer of splitmix64).
pub(super) fn jitter(seed: u64, below: i64) -> i64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    i64::try_from((z ^ (z >> 31)) % below.max(1).unsigned_abs()).unwrap_or_default()
}
