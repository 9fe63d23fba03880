//! How fast one node mirrors another over loopback, in one process: a table on standard output.
//!
//! Optional arguments: a factor below 1 shrinks the work, for a quick look.

#[path = "../tests/harness/mod.rs"]
mod harness;

use harness::{Place, TestNode, immutable, join, noise};
use std::{io::Write, time::Instant};

struct Work {
    files: u64,
    size: usize,
}

fn main() {
    let factor = std::env::args().skip(1).find_map(|arg| arg.parse::<f64>().ok()).unwrap_or(1.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let scaled = |count: f64| (count * factor).max(1.0) as u64;
    let works = [Work { files: scaled(20.0), size: 100_000_000 }, Work { files: scaled(20_000.0), size: 4_096 }];
    say("files        bytes   seconds     MB/s   files/s   CPU s (both nodes)   CPU s/GB");
    for work in works {
        runtime.block_on(mirror(&work));
    }
}

async fn mirror(work: &Work) {
    let (main_place, lyon_place) = (Place::new(1), Place::new(2));
    for seed in 0..work.files {
        let bytes = noise(seed, work.size);
        main_place.write(&immutable(&format!("f{seed}"), &bytes), &bytes);
    }
    let main = TestNode::main(&main_place, "paris");
    let adopted = || main.repository.state().index.read().ok()?.totals(&harness::folder()).ok();
    harness::wait_long("all is adopted", || adopted().filter(|totals| totals.files == work.files)).await;
    let parent = join(&lyon_place, main.invite("lyon", None)).await;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let lyon = TestNode::secondary(&lyon_place, "lyon", Some(parent));
    harness::wait_long("all is mirrored", || {
        let (own, theirs) = (lyon.repository.head()?, main.repository.head()?);
        let missing = lyon.repository.missing_after(&harness::folder(), None, 1).ok()?;
        (own.head().roots == theirs.head().roots && missing.is_empty()).then_some(())
    })
    .await;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let bytes = work.files as f64 * work.size as f64;
    say(&format!(
        "{:>6} {:>12} {:>8.2} {:>8.1} {:>9.0} {:>20.2} {:>10.2}",
        work.files,
        bytes,
        seconds,
        bytes / seconds / 1e6,
        work.files as f64 / seconds,
        cpu,
        cpu / bytes * 1e9
    ));
    main.stop().await;
    lyon.stop().await;
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output");
}

/// CPU seconds of this process so far, user and system, from `/proc/self/stat`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // Linux counts in hundredths of a second on every architecture that this runs on.
    (ticks(11) + ticks(12)) / 100.0
}
