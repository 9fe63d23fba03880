//! How near `bandwidth.limit` two nodes come within ten seconds, by their own count and by the kernel's count of the
//! loopback: two minutes, on a network of its own.
//!
//!     unshare -n sh -c 'ip link set lo up; cargo bench --bench ceiling'

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use harness::{Place, pair::pair};
use std::time::Duration;

/// Bytes that the loopback has carried, as the kernel counts them.
fn loopback() -> u64 {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::main]
async fn main() {
    for (limits_main, mbit) in [(true, 50), (false, 50), (true, 5), (false, 5)] {
        let (main_place, lyon_place) = (Place::new(1), Place::new(2));
        let limit = mbit * 1_000_000 / 8;
        let (main, lyon, _link) = pair(&main_place, &lyon_place, 10, limit as usize * 4).await;
        let limited = if limits_main { &main } else { &lyon };
        limited.shared.limit(Some(limit));
        let who = if limits_main { "sender" } else { "receiver" };
        for _ in 0..2 {
            let (lo, before) = (loopback(), limited.shared.throttle.moved());
            tokio::time::sleep(Duration::from_secs(10)).await;
            let (lo, after) = (loopback() - lo, limited.shared.throttle.moved());
            let own = after.0 + after.1 - before.0 - before.1;
            let share = |bytes: u64| bytes as f64 / (limit * 10) as f64 * 100.0;
            // Everything goes over the loopback twice: to the link and on.
            let lo = share(lo / 2);
            println!("{mbit} Mbit/s at the {who}: {:.1} % by its own count, {lo:.1} % by the loopback's", share(own));
        }
        limited.shared.limit(None);
        lyon.catches_up_with(&main).await;
        main.stop().await;
        lyon.stop().await;
    }
}
