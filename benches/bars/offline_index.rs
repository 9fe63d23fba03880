//! An edition of `wsusscn2.cab` of real size: its signature verified, read whole and written into rows by a process of
//! its own.

use crate::{
    Plan, editions as made,
    lab::{Identity, Key, Lab, NOW, Signing, issuer, signer},
    meter::median,
    search::{open, row_of},
};
use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::Instant,
};
use wuasync::{
    base::chain::chain,
    cabinet::authenticode::{Roots, Trust, verify_file},
    store::disk::{Disk, Open, real::RealDisk},
    wsusscn::{Options, read},
};

/// 137,000 updates in 74 LZX shards that unpack to 16.7 GB. Making it takes far longer than reading it: 13 minutes
/// of a core's time, and 4 GB of memory.
pub(crate) fn editions(plan: &Plan) {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::Rsa);
    let leaf = root.issue(signer("leaf"), Key::Rsa);
    let real = made::Plan::real(1);
    let (updates, shards) = (plan.scaled(real.updates as u64) as usize, plan.scaled(real.shards as u64) as usize);
    let bytes = made::Plan { updates, shards, ..real }.to_bytes(2);
    println!("{updates} updates in {shards} shards, {} MB; medians of {} runs", bytes.len() / 1_000_000, plan.runs);
    let path = lab.write("wsusscn2.cab", lab.sign_file(&bytes, &Signing::by(&leaf), &[]));
    drop(bytes);
    lab.write("root.pem", &root.pem);
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
    let path = Path::new(path);
    let directory = path.parent().unwrap();
    let state = tempfile::tempdir().unwrap();
    let repository = open(state.path());
    let begun = Instant::now();
    let disk = RealDisk::new();
    let place = disk.open_root(directory, false).unwrap();
    let file = disk.open(place.at("wsusscn2.cab"), Open::Read).unwrap();
    let roots = || Roots::from_pem(&fs::read(directory.join("root.pem")).unwrap()).unwrap();
    let trust = Trust { signing: roots(), time_stamping: roots() };
    verify_file(&*file, file.stat().unwrap().size, &trust, NOW, &mut |_| {}).unwrap();
    let edition =
        read(File::open(path).unwrap(), &Options::default()).unwrap_or_else(|error| panic!("{}", chain(&error)));
    repository.put_edition(&row_of(&edition), edition.updates(), edition.files()).unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert!(edition.update_count() > 0);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{seconds} {}", kilobytes / 1_024.0);
}
