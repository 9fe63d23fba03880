//! A whole network of nodes, told as stories: real repositories on real folders and unmodified QUIC,
//! over a simulated network and in simulated time. A seed decides everything that happens.
//!
//! Each seed has a process of its own, in which nothing but the seed is random. Variables:
//!
//! * `SIMULATION_SEEDS=N`: how many seeds are tried, from 0; 200 if absent.
//! * `SIMULATION_SEED=N`: the one seed that `one_seed_ends_with_all_nodes_alike` tells.
//! * `SIMULATION_LOG=1` or `=debug`: shows the story and the nodes' log as they go, in simulated time.
//!
//! One seed, with its log:
//!
//! ```text
//! SIMULATION_SEED=7 SIMULATION_LOG=1 cargo test --test simulation -- --exact tests::one_seed_ends_with_all_nodes_alike --nocapture
//! ```
//!
//! A seed that once failed stands in `fixtures/simulation-seeds.txt` and is always tried.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails loudly"
)]
#![allow(unreachable_pub, reason = "nobody imports a test")]
#![allow(unsafe_code, reason = "one function of the C library is replaced: see `simulation::draw`")]

#[cfg(test)]
#[path = "simulation/mod.rs"]
mod simulation;

#[cfg(test)]
mod tests {
    use crate::simulation::{
        draw::{SEED, seed_of_process},
        log, wire,
        world::tell_story,
    };
    use std::{
        collections::BTreeSet,
        process::{Command, Output},
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::Relaxed},
            mpsc,
        },
        thread,
        time::{Duration, Instant},
    };

    /// The test that a process with a seed runs.
    const ONE: &str = "tests::one_seed_ends_with_all_nodes_alike";
    /// Seeds that an ordinary run tries.
    const SEEDS: u64 = 200;
    /// No story takes nearly as long; it hangs.
    const HANGS: Duration = Duration::from_secs(120);

    /// Tells the seed of this process, or the first.
    #[test]
    fn one_seed_ends_with_all_nodes_alike() {
        let seed = seed_of_process().unwrap_or(0);
        let (done, wait) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            if wait.recv_timeout(HANGS) == Err(mpsc::RecvTimeoutError::Timeout) {
                println!("seed {seed} hangs after {HANGS:?}\n{}", log::story());
                std::process::exit(1);
            }
        });
        log::begin();
        let story = thread::Builder::new().stack_size(16 << 20).spawn(move || {
            wuasync::base::tasks::run_at_once_on_this_thread();
            tell_story(seed)
        });
        let begun = Instant::now();
        let told = story.unwrap().join();
        drop(done);
        watch.join().unwrap();
        let (trace, packets) = wire::trace();
        println!("seed {seed}: {told:?} in {:?}; {packets} packets, trace {trace}", begun.elapsed());
        let errors = log::errors();
        assert!(told.is_ok() && errors.is_empty(), "seed {seed}: {errors:#?}\n{}", log::story());
    }

    #[test]
    fn every_seed_ends_with_all_nodes_alike() {
        if seed_of_process().is_some() {
            return;
        }
        let many =
            std::env::var("SIMULATION_SEEDS").map_or(SEEDS, |many| many.parse().expect("SIMULATION_SEEDS is a number"));
        let seeds: Vec<u64> = kept_seeds().into_iter().chain(0..many).collect::<BTreeSet<_>>().into_iter().collect();
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Relaxed)) {
                        let output = tell_apart(*seed);
                        if output.status.success() {
                            print!("{}", summary(&output));
                        } else {
                            println!("{}{}", text(&output.stdout), text(&output.stderr));
                            failed.lock().unwrap().push(*seed);
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        assert!(
            failed.is_empty(),
            "seeds {failed:?} failed; tell one again with {SEED}=N SIMULATION_LOG=1 cargo test --test simulation -- \
             --exact {ONE} --nocapture, and keep it in fixtures/simulation-seeds.txt"
        );
    }

    #[test]
    fn the_same_seed_sends_the_same_packets_at_the_same_times() {
        for seed in [3, 4, 5] {
            let [first, second] = [(); 2].map(|()| trace(&tell_apart(seed)));
            assert!(first.is_some(), "seed {seed} leaves no trace");
            assert_eq!(first, second, "seed {seed}");
        }
    }

    /// One a line; what follows `#` says what it found.
    fn kept_seeds() -> Vec<u64> {
        let lines = include_str!("../fixtures/simulation-seeds.txt").lines();
        let seeds = lines.map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|seed| !seed.is_empty());
        seeds.map(|seed| seed.parse().expect("a seed is a number")).collect()
    }

    fn tell_apart(seed: u64) -> Output {
        let program = std::env::current_exe().unwrap();
        Command::new(program).args(["--exact", ONE, "--nocapture"]).env(SEED, seed.to_string()).output().unwrap()
    }

    fn summary(output: &Output) -> String {
        text(&output.stdout).lines().filter(|line| line.starts_with("seed ")).map(|line| format!("{line}\n")).collect()
    }

    fn trace(output: &Output) -> Option<String> {
        text(&output.stdout).lines().find_map(|line| line.split_once("; ").map(|(_, trace)| trace.to_owned()))
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }
}
