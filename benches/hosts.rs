//! What fleets cost, in one process: a table on standard output.
//!
//! `cargo bench --bench hosts` builds fleets of 1,000, 10,000 and 50,000 hosts with 300 updates each in a directory of
//! `TMPDIR`, and measures a report with the wants that it makes, the states of one host, the plan of a cleanup over 10,000
//! files, and the look for what hosts need. A thousand hosts report, half of them twice; facts of all others are brought in
//! beforehand, in few commits, as from a WAPT server. Optional arguments: other sizes of fleets.

#![expect(clippy::expect_used, reason = "a measurement that fails ends")]

use flate2::{Compression, write::GzEncoder};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::Path,
    sync::Arc,
    time::Instant,
};
use wuasync::{
    base::clock::SystemClock,
    catalog::FactsFrom,
    domain::{
        host::{
            AgentStatus, BodyEncoding, HostEnvelope, HostFacts, HostReport, HostSettings, HostUuid, LocalFlags,
            LocalUpdate, Maturity, waiting::ReportedFrom,
        },
        member::{NodeName, Role},
        name::{FileName, FolderName},
        update::UpdateId,
    },
    jobs::{Cleanup, CleanupRules, CleanupWish, fleet},
    policy::{night::Nights, retention::Keep},
    repository::{DeletionCap, Examined, FolderConfig, LogLimit, Repository, RepositoryConfig},
    store::disk::real::RealDisk,
    supply::Asked,
    wapt::host_report::{read_details, read_report},
};

/// Updates of one host.
const UPDATES: usize = 300;
/// Updates that there are.
const ALL_UPDATES: usize = 10_000;
/// Files in the folder.
const FILES: usize = 10_000;
/// Hosts that report; the facts of all others are imported.
const REPORTING: usize = 1_000;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![1_000, 10_000, 50_000] } else { sizes };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    say(
        "hosts    import, ms each   report, CPU ms   states of one, ms   cleanup plan, s   scan-wants, s   hosts.redb, MB   memory, MB",
    );
    for hosts in sizes {
        runtime.block_on(measure(hosts));
    }
}

async fn measure(hosts: usize) {
    let place = tempfile::tempdir().expect("a directory");
    let repository = Arc::new(open(place.path()));
    fill_folder(&repository, place.path());
    let import_ms = import(&repository, hosts);
    let report_ms = report_some(&repository, hosts);
    let states_ms = states(&repository, hosts);
    reset_peak();
    let begun = Instant::now();
    let cleanup = cleanup(&repository);
    let cleaned = cleanup.run_once(CleanupWish { dry_run: true, ..CleanupWish::default() }).await.expect("a plan");
    let plan_seconds = begun.elapsed().as_secs_f64();
    assert_eq!(cleaned.hosts, Some(hosts as u32));
    let memory = peak_memory();
    let begun = Instant::now();
    fleet::want_what_hosts_need(&repository, &node()).expect("wants");
    let scan_seconds = begun.elapsed().as_secs_f64();
    let size = fs::metadata(place.path().join("state/hosts.redb")).expect("hosts.redb").len() as f64 / 1e6;
    say(&format!(
        "{hosts:>6} {import_ms:>17.2} {report_ms:>16.2} {states_ms:>19.2} {plan_seconds:>17.2} {scan_seconds:>15.2} {size:>16.0} {memory:>12.0}"
    ));
}

fn open(top: &Path) -> Repository {
    fs::create_dir_all(top.join("www/waptwua")).expect("a folder");
    let config = RepositoryConfig {
        role: Role::Main,
        state_dir: top.join("state"),
        folders: vec![FolderConfig { name: folder(), path: top.join("www/waptwua"), staging: None }],
        deletion_cap: DeletionCap { max_percent: 20, min_files: 20 },
        disk_reserve_bytes: 0,
        log_limit: LogLimit::default(),
    };
    let mut drawn = 0;
    let mut random = |bytes: &mut [u8]| {
        drawn += 1;
        bytes.fill(drawn);
    };
    Repository::open(Arc::new(RealDisk::new()), Arc::new(SystemClock), &config, &mut random).expect("a repository")
}

fn cleanup(repository: &Arc<Repository>) -> Arc<Cleanup> {
    let rules = CleanupRules { keep: Keep::InstalledOrNeeded, grace: 0, most_held: None, trash: 0 };
    let nights = Nights { from: jiff::civil::time(2, 30, 0, 0), to: jiff::civil::time(3, 30, 0, 0), node: 1 };
    Cleanup::new(repository.clone(), None, Asked::new(Arc::new(SystemClock)), rules, nights, Box::new(|| true))
}

fn folder() -> FolderName {
    FolderName::new("waptwua").expect("a folder")
}

/// The name of one update's file. Half of the updates have theirs here.
fn file_of(update: usize) -> String {
    use sha1::Digest;
    let digest = sha1::Sha1::digest(update.to_be_bytes());
    format!("windows-kb{update}_{}.cab", data_encoding::HEXLOWER.encode(&digest))
}

fn fill_folder(repository: &Repository, top: &Path) {
    let mut ready = Vec::new();
    for n in 0..FILES {
        // Names beyond those of updates belong to nobody.
        let update = n * 2;
        let name = FileName::new(&file_of(update)).expect("a name");
        let path = top.join("www/waptwua").join(name.as_str());
        fs::write(&path, update.to_be_bytes()).expect("a file");
        match repository.examine(&folder(), &name).expect("a look") {
            Examined::Ready(file) => ready.push(file),
            other => say(&format!("{name}: {other:?}")),
        }
    }
    ready.chunks(1_000).for_each(|ready| assert!(repository.publish(ready).expect("published").is_empty()));
}

fn updates_of(host: usize) -> BTreeSet<usize> {
    (0..UPDATES).map(|n| (host * 7 + n * n + n) % ALL_UPDATES).collect()
}

fn update_id(update: usize) -> String {
    format!("{update:08x}-4330-4fa8-8ae9-b877473b6441_204")
}

/// What an agent tells of an update.
fn detail(update: usize) -> serde_json::Value {
    serde_json::json!({
        "update_id": update_id(update), "kbids": [(5_000_000 + update).to_string()], "severity": "Important",
        "title": format!("2026-11 Cumulative Update for Windows 11 Version 25H2 for x64-based Systems (KB{update})"),
        "changetime": "2026-11-10T18:00:00Z", "product": "Windows 11", "classification": "Security Updates",
        "download_urls": [format!("http://download.windowsupdate.com/c/msdownload/update/software/secu/{}", file_of(update))],
        "superseded_update_ids": [], "security_bulletin_ids": [], "cve_ids": ["CVE-2026-20805", "CVE-2026-20806"],
        "min_download_size": 0, "max_download_size": 700_000_000, "languages": [], "is_mandatory": false,
        "support_url": "https://support.microsoft.com/help/5000000",
    })
}

/// A report with the details of every update, as agents send it.
fn report(host: usize) -> Vec<u8> {
    let (mut details, mut locals) = (Vec::new(), Vec::new());
    for update in updates_of(host) {
        details.push(detail(update));
        locals.push(serde_json::json!({
            "update_id": update_id(update), "status": if update % 3 == 0 { "PENDING" } else { "OK" }, "allowed": true,
            "installed": update % 3 != 0, "present": true, "hidden": false, "downloaded": false,
            "install_date": "2026-11-12T08:00:00", "history": [],
        }));
    }
    let report = serde_json::json!({
        "uuid": uuid(host), "computer_fqdn": format!("pc{host}.example.org"),
        "waptwua_status": {"enabled": true, "status": "PENDING_UPDATES", "last_scan_date": "2026-11-20T18:00:00"},
        "waptwua_updates": details, "waptwua_updates_localstatus": locals,
    });
    report.to_string().into_bytes()
}

fn uuid(host: usize) -> String {
    format!("4c4c4544-0042-3510-8057-{host:012x}")
}

fn node() -> NodeName {
    NodeName::new("paris").expect("a name")
}

/// Brings in what every update is, and the hosts that do not report; answers with milliseconds of each host, everything but
/// the making of its facts.
fn import(repository: &Repository, hosts: usize) -> f64 {
    let now = repository.clock().unix_seconds();
    for some in (0..ALL_UPDATES).collect::<Vec<_>>().chunks(1_000) {
        let details = serde_json::Value::from_iter(some.iter().map(|update| detail(*update))).to_string();
        let told = read_details(details.as_bytes()).expect("details");
        repository.state().hosts.put_told(told, now).expect("kept");
    }
    let (mut seconds, others) = (0.0, (REPORTING.min(hosts)..hosts).collect::<Vec<_>>());
    for some in others.chunks(2_560) {
        let reports: Vec<_> = some.iter().map(|host| facts(*host, now)).collect();
        let begun = Instant::now();
        repository.put_hosts(reports, FactsFrom::Server).expect("kept");
        seconds += begun.elapsed().as_secs_f64();
    }
    seconds * 1e3 / others.len().max(1) as f64
}

fn facts(host: usize, now: u64) -> HostReport {
    let local = |update| {
        let flags = if update % 3 == 0 { LocalFlags::ALLOWED } else { LocalFlags::INSTALLED };
        LocalUpdate { id: update_id(update).parse::<UpdateId>().expect("an update"), flags, installed_at: None }
    };
    let mut updates: Vec<_> = updates_of(host).into_iter().map(local).collect();
    HostFacts::sort_updates(&mut updates);
    let facts = HostFacts {
        uuid: HostUuid::new(&uuid(host)).expect("a UUID"),
        name: None,
        site: None,
        maturity: Maturity::Prod,
        settings: HostSettings::default(),
        rule_packages: None,
        scanned_at: Some(now),
        seen_at: now,
        updates,
    };
    let (status, missing_downloads) = (AgentStatus::default(), Vec::new());
    HostReport { facts, has_updates: true, status, missing_downloads, updates: BTreeMap::new(), skipped: 0 }
}

/// Some hosts report, signed and packed, half of them twice; answers with the CPU time of one such report in milliseconds,
/// everything but its making.
fn report_some(repository: &Repository, hosts: usize) -> f64 {
    let (mut cpu, mut times, reporting) = (0.0, 0, REPORTING.min(hosts));
    for (sequence, reporting) in [(1, reporting), (2, reporting / 2)] {
        for some in (0..reporting).collect::<Vec<_>>().chunks(250) {
            let envelopes: Vec<_> = some.iter().map(|host| signed(*host, sequence)).collect();
            let before = cpu_seconds();
            for envelope in envelopes {
                envelope.verify().expect("signed");
                repository.admit_host(&envelope, ReportedFrom::Unknown).expect("looked up");
                let json = envelope.unpacked().expect("unpacked");
                let now = repository.clock().unix_seconds();
                let report = read_report(&json, Some(&envelope.uuid), now).expect("read");
                let kept = repository.put_host(report, FactsFrom::Report, Some(sequence)).expect("kept").expect("new");
                fleet::want_what_host_needs(repository, &node(), kept).expect("wants");
                times += 1;
            }
            cpu += cpu_seconds() - before;
        }
    }
    cpu * 1e3 / f64::from(times)
}

fn signed(host: usize, sequence: u64) -> HostEnvelope {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&report(host)).expect("packed");
    let body = gzip.finish().expect("packed");
    let uuid = HostUuid::new(&uuid(host)).expect("a UUID");
    HostEnvelope::sign(uuid, sequence, &[1; 32], BodyEncoding::Gzip, None, body)
}

fn states(repository: &Repository, hosts: usize) -> f64 {
    let times = 20.min(hosts);
    let begun = Instant::now();
    for n in 0..times {
        let uuid = HostUuid::new(&uuid(n * (hosts / times))).expect("a UUID");
        let host = repository.host(&uuid).expect("read").expect("known");
        let mut sight = fleet::Sight::of(repository, &host).expect("read");
        assert_eq!(sight.standings(repository, &host).expect("judged").len(), host.facts.updates.len());
    }
    begun.elapsed().as_secs_f64() * 1e3 / times as f64
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output");
}

/// CPU seconds of this process so far, user and system, from `/proc/self/stat`.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    // Linux counts in hundredths of a second on every architecture that this runs on.
    (ticks(11) + ticks(12)) / 100.0
}

fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").ok();
}

/// The most memory since it was reset, in megabytes.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0 / 1e6
}
