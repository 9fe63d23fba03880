//! One function for each bar.

use crate::{
    blast, corpus,
    meter::{Meter, Reading, median, medians, peak_memory, wire_bytes},
    ours, peers,
    plan::Plan,
    processes::{Node, immutable, noise},
};
use std::{
    process::Command,
    time::{Duration, Instant},
};

/// An empty secondary, 2 GB in 20 files.
pub(crate) fn big(plan: &Plan) {
    let (files, size) = (20, plan.scaled(100_000_000) as usize);
    let bytes = files as f64 * size as f64;
    let corpus = corpus::make(files, size, false);
    let main = ours::main_of(corpus.path(), files);
    let (daemon, ssh) = (rsync_daemon(&corpus), ssh_server());
    let (mut own, mut bare, mut moved, mut plain, mut secure) = (vec![], vec![], vec![], vec![], vec![]);
    for run in 0..plan.runs {
        own.push(ours::mirror(&main, &format!("lyon{run}"), files).0);
        bare.push(blast::measure(bytes as u64));
        moved.push(blast::measure_files(corpus.path(), size as u64));
        plain.extend(daemon.as_ref().map(peers::Peer::rsync));
        secure.extend(ssh.as_ref().map(|ssh| ssh.rsync_over_ssh(corpus.path())));
    }
    title(plan, &format!("{files} files of {} MB, empty secondary", size / 1_000_000));
    let own = row("wuasync", &own, bytes, None);
    row("bare quinn", &bare, bytes, own);
    row("quinn, files, BLAKE3", &moved, bytes, own);
    row("rsync://", &plain, bytes, own);
    row("rsync over ssh", &secure, bytes, own);
}

/// An empty secondary, 50,000 files of 4 KiB.
pub(crate) fn small(plan: &Plan) {
    let (files, size) = (plan.scaled(50_000), 4_096);
    let corpus = corpus::make(files, size, false);
    let main = ours::main_of(corpus.path(), files);
    let daemon = rsync_daemon(&corpus);
    let (mut own, mut plain, mut memory) = (vec![], vec![], (0.0_f64, 0.0_f64));
    for run in 0..plan.runs {
        let (reading, main, lyon) = ours::mirror(&main, &format!("lyon{run}"), files);
        memory = (memory.0.max(main), memory.1.max(lyon));
        own.push(reading);
        plain.extend(daemon.as_ref().map(peers::Peer::rsync));
    }
    title(plan, &format!("{files} files of {size} bytes, empty secondary"));
    let bytes = files as f64 * size as f64;
    let own = row("wuasync", &own, bytes, None);
    row("rsync://", &plain, bytes, own);
    println!("  most memory: main {:.0} MB, secondary {:.0} MB", memory.0, memory.1);
}

/// Nothing changed: on an established connection, and from the start of the secondary.
pub(crate) fn idle(plan: &Plan) {
    let files = plan.scaled(50_000);
    let corpus = corpus::make(files, 64, false);
    let main = ours::main_of(corpus.path(), files);
    let mut lyon = ours::secondary_of(&main, "lyon");
    lyon.start_again();
    ours::mirrored(&lyon, files);
    let (mut warm, mut cold, mut local) = (vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let (wire, begun) = (settled_wire_bytes(), Instant::now());
        lyon.ok("sync --wait");
        warm.push(((wire_bytes() - wire) as f64, begun.elapsed().as_secs_f64()));
        for (packet, readings) in [(LINE_PACKET, &mut cold), (LOOPBACK_PACKET, &mut local)] {
            lyon.stop();
            packets(packet);
            let (wire, begun) = (settled_wire_bytes(), Instant::now());
            lyon.start_again();
            ours::wait(&lyon, "the parent is there", |status| status["parent"]["connected"] == true);
            let seconds = begun.elapsed().as_secs_f64();
            readings.push(((settled_wire_bytes() - wire) as f64, seconds));
        }
    }
    title(plan, &format!("{files} files, nothing changed (bytes of both directions)"));
    let local_name = "the same, large packets";
    for (name, readings) in [("sync --wait, connected", &warm), ("restart to current", &cold), (local_name, &local)] {
        let wire = median(readings.iter().map(|(wire, _)| *wire));
        let seconds = median(readings.iter().map(|(_, seconds)| *seconds));
        println!("  {name:<24} {wire:>9.0} bytes {:>8.1} ms", seconds * 1e3);
    }
}

/// What a line between sites lets through at once, and what the loopback does, in bytes.
const LINE_PACKET: u32 = 1_500;
const LOOPBACK_PACKET: u32 = 65_536;

/// From here on connections of this network carry packets of at most `bytes`.
fn packets(bytes: u32) {
    let set = Command::new("ip").args(["link", "set", "lo", "mtu", &bytes.to_string()]).status();
    assert!(set.unwrap().success(), "the loopback's packets have {bytes} bytes");
}

/// What the loopback has carried once it carries nothing more for a while: searches for the largest packet go on behind
/// a connection's beginning.
fn settled_wire_bytes() -> u64 {
    loop {
        let before = wire_bytes();
        std::thread::sleep(Duration::from_millis(500));
        if wire_bytes() == before {
            return before;
        }
    }
}

/// 1,000 of 100,000 files changed while the secondary was away.
pub(crate) fn away(plan: &Plan) {
    const SIZE: usize = 64;
    let (files, changed) = (plan.scaled(100_000), plan.scaled(1_000));
    let corpus = corpus::make(files, SIZE, false);
    let main = ours::main_of(corpus.path(), files);
    let mut lyon = ours::secondary_of(&main, "lyon");
    packets(LINE_PACKET);
    lyon.start_again();
    ours::mirrored(&lyon, files);
    let mut state = vec![];
    for run in 0..plan.runs as u64 {
        lyon.stop();
        let first = files + run * changed;
        corpus::add(&main.folder(), first..first + changed, SIZE, true);
        ours::adopted(&main, first + changed);
        let wire = wire_bytes();
        lyon.start_again();
        ours::mirrored(&lyon, first + changed);
        state.push((wire_bytes() - wire) as f64 - changed as f64 * SIZE as f64);
    }
    title(plan, &format!("{changed} of {files} files changed while away"));
    println!("  wire without content: {:.0} bytes", median(state));
    packets(LOOPBACK_PACKET);
}

/// A main adopts a folder from the page cache.
pub(crate) fn adopt(plan: &Plan) {
    for promised in [false, true] {
        let (files, size) = (plan.scaled(100), 100_000_000);
        let bytes = files as f64 * size as f64;
        let corpus = corpus::make(files, size, promised);
        let (mut own, mut sums) = (vec![], vec![]);
        let all = format!("{}/*", corpus.path().display());
        let command = match promised {
            false => format!("b3sum --num-threads 2 {all}"),
            true => format!("b3sum --num-threads 1 {all} & openssl dgst -sha1 {all} & wait"),
        };
        for _ in 0..plan.runs {
            let mut main = Node::main("paris");
            corpus::link(corpus.path(), &main.folder());
            let meter = Meter::begin(&[]);
            main.start_again();
            ours::adopted(&main, files);
            own.push(meter.end(Some(main.pid())));
            if peers::is_installed("b3sum") {
                sums.push(peers::timed(Command::new("sh").args(["-c", &command])));
            }
        }
        let names = if promised { "names with SHA-1" } else { "names without digest" };
        title(plan, &format!("adoption of {files} files of {} MB, {names}", size / 1_000_000));
        let own = row("wuasync", &own, bytes, None);
        row(if promised { "b3sum and openssl sha1" } else { "b3sum" }, &sums, bytes, own);
    }
}

/// A million names in the index.
pub(crate) fn million(plan: &Plan) {
    let files = plan.scaled(1_000_000);
    let corpus = corpus::make(files, 16, false);
    let mut large = ours::main_of(corpus.path(), files);
    let few = corpus::make(1_000, 16, false);
    let small = ours::main_of(few.path(), 1_000);
    let mut ready = vec![];
    let mut memory = peak_memory(large.pid());
    for _ in 0..plan.runs {
        large.stop();
        let begun = Instant::now();
        large.start_again();
        ready.push(begun.elapsed().as_secs_f64());
        ours::adopted(&large, files);
    }
    let change = |main: &Node, known: u64| {
        let cost = |round: u64| {
            let bytes = noise(u64::MAX - round, 1_000);
            let begun = Instant::now();
            main.write(&immutable("late", &bytes), &bytes);
            ours::wait(main, "a change", |status| status["folders"][0]["files"] == known + round + 1);
            begun.elapsed().as_secs_f64()
        };
        median((0..10).map(cost))
    };
    title(plan, &format!("{files} names in the index"));
    let (with_all, with_few) = (change(&large, files), change(&small, 1_000));
    memory = memory.max(peak_memory(large.pid()));
    println!("  start to ready {:.2} s, most memory {memory:.0} MB, adoption included", median(ready));
    println!("  a change is signed after {:.1} ms; with 1,000 names after {:.1} ms", with_all * 1e3, with_few * 1e3);
}

fn rsync_daemon(corpus: &tempfile::TempDir) -> Option<peers::Peer> {
    peers::is_installed("rsync").then(|| peers::rsync_daemon(corpus.path()))
}

fn ssh_server() -> Option<peers::Peer> {
    (peers::is_installed("sshd") && peers::is_installed("rsync")).then(peers::ssh_server)
}

fn title(plan: &Plan, text: &str) {
    println!("{text}; medians of {} runs", plan.runs);
}

/// Prints the medians; the ratio is our wall time over theirs.
fn row(name: &str, readings: &[Reading], bytes: f64, own: Option<f64>) -> Option<f64> {
    if readings.is_empty() {
        return None;
    }
    let Reading { seconds, cpu, wire } = medians(readings);
    let ratio = own.map_or(String::new(), |own| format!("  we take {:.2} of its time", own / seconds));
    let (rate, per_gb, overhead) = (bytes / seconds / 1e6, cpu / bytes * 1e9, wire / bytes);
    println!("  {name:<24} {seconds:>7.2} s {rate:>6.0} MB/s {per_gb:>6.2} CPU s/GB  wire {overhead:.4}{ratio}");
    Some(seconds)
}
