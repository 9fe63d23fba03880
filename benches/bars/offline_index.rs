//! An edition of `wsusscn2.cab` of real size, read whole by a process of its own.

use crate::{Plan, editions as made, meter::median};
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Instant,
};
use wuasync::{
    base::chain::chain,
    wsusscn::{Options, read},
};

/// 137,000 updates in 74 LZX shards that unpack to 16.7 GB. Making it takes far longer than reading it: 13 minutes
/// of a core's time, and 4 GB of memory.
pub(crate) fn editions(plan: &Plan) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("wsusscn2.cab");
    let real = made::Plan::real(1);
    let (updates, shards) = (plan.scaled(real.updates as u64) as usize, plan.scaled(real.shards as u64) as usize);
    let bytes = made::Plan { updates, shards, ..real }.to_bytes(2);
    println!("{updates} updates in {shards} shards, {} MB; medians of {} runs", bytes.len() / 1_000_000, plan.runs);
    fs::write(&path, bytes).unwrap();
    let runs: Vec<(f64, f64)> = (0..plan.runs).map(|_| apart(&path)).collect();
    let (seconds, megabytes): (Vec<f64>, Vec<f64>) = runs.into_iter().unzip();
    println!("  wuasync     {:>7.1} s, {:.0} MB of memory at most", median(seconds), median(megabytes));
}

/// Seconds, and the most memory in MB.
fn apart(path: &Path) -> (f64, f64) {
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).arg("--read-edition").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut figures = text.split_whitespace().map(|figure| figure.parse().unwrap());
    (figures.next().unwrap(), figures.next().unwrap())
}

/// What the process of its own does: reads the file and prints both figures.
pub(crate) fn read_one(path: &str) {
    let begun = Instant::now();
    let edition =
        read(File::open(path).unwrap(), &Options::default()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let seconds = begun.elapsed().as_secs_f64();
    assert!(edition.update_count() > 0);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{seconds} {}", kilobytes / 1_024.0);
}
