//! Windows machines and their reports, with real daemons and the real command line: who is believed, what is carried over
//! secondaries, what is fetched because a host needs it, and what goes because none does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[path = "processes/host.rs"]
mod host;
mod origin;
mod processes;

use flate2::{Compression, write::GzEncoder};
use host::send;
use origin::Nginx;
use processes::{Node, immutable, noise, wait};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, io::Write, net::SocketAddr, sync::Arc};
use wuasync::{
    base::clock::{Clock, SystemClock},
    catalog::{EditionRecord, UseRecord},
    domain::{
        digest::Root,
        edition::EditionId,
        guid::Guid,
        host::{BodyEncoding, EnrolmentToken, HostEnvelope, HostUuid},
        member::Role,
        name::{FileName, FolderName},
    },
    repository::{DeletionCap, FolderConfig, LogLimit, Repository, RepositoryConfig},
    store::disk::real::RealDisk,
};

const HOST: &str = "download.windowsupdate.com";
const DATE: i64 = 1_600_000_000;
const DAY: u64 = 86_400;
const A: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204";
const B: &str = "1fa1201d-4330-4fa8-8ae9-b877473b6441_1";
const C: &str = "2fa1201d-4330-4fa8-8ae9-b877473b6441_1";

/// A Windows machine with its key.
struct Machine {
    uuid: &'static str,
    secret: [u8; 32],
    sequence: u64,
}

impl Machine {
    fn new(uuid: &'static str, seed: u8) -> Self {
        Self { uuid, secret: [seed; 32], sequence: 0 }
    }

    /// Signs a report of these updates, `(id, file, what the agent says of it)`.
    fn signed(&mut self, updates: &[(&str, &str, Value)], token: Option<&str>) -> HostEnvelope {
        self.signed_report(&report(self.uuid, updates), token)
    }

    /// The same, and the host asked for these files in vain.
    fn in_vain(&mut self, updates: &[(&str, &str, Value)], files: &[&str], token: Option<&str>) -> HostEnvelope {
        let mut report = report(self.uuid, updates);
        let urls = files.iter().map(|file| format!("http://{HOST}/c/msdownload/{file}"));
        report["waptwua_status"]["missing_downloads"] = urls.collect();
        self.signed_report(&report, token)
    }

    fn signed_report(&mut self, report: &Value, token: Option<&str>) -> HostEnvelope {
        self.sequence += 1;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(report.to_string().as_bytes()).unwrap();
        let token: Option<EnrolmentToken> = token.map(|token| token.parse().unwrap());
        let uuid = HostUuid::new(self.uuid).unwrap();
        let body = gzip.finish().unwrap();
        HostEnvelope::sign(uuid, self.sequence, &self.secret, BodyEncoding::Gzip, token.as_ref(), body)
    }

    fn report(&mut self, to: SocketAddr, updates: &[(&str, &str, Value)], token: Option<&str>) -> (u16, Value) {
        send(to, &self.signed(updates, token))
    }
}

fn report(uuid: &str, updates: &[(&str, &str, Value)]) -> Value {
    let details = updates.iter().map(|(id, file, _)| {
        json!({"update_id": id, "title": format!("update {file}"), "kbids": ["5000001"],
               "download_urls": [format!("http://{HOST}/c/msdownload/{file}")]})
    });
    let locals = updates.iter().map(|(id, _, says)| {
        let mut local = says.clone();
        local["update_id"] = json!(id);
        local
    });
    json!({
        "uuid": uuid, "computer_fqdn": format!("{uuid}.example.org"),
        "waptwua_status": {"enabled": true, "status": "PENDING_UPDATES"},
        "waptwua_updates": details.collect::<Vec<_>>(),
        "waptwua_updates_localstatus": locals.collect::<Vec<_>>(),
    })
}

fn needs() -> Value {
    json!({"allowed": true, "installed": false})
}

fn main_of(nginx: &Nginx) -> Node {
    let address = nginx.address;
    Node::main("paris").with(&format!("[upstream]\nresolve = {{\"{HOST}\" = \"{address}\"}}\n"))
}

#[test]
fn what_an_enrolled_host_needs_is_fetched_and_what_it_says_is_shown_with_reasons() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let (needed, forbidden) = (noise(1, 70_000), noise(2, 5_000));
    let (kb, no) = (immutable("kb1", &needed), immutable("kb2", &forbidden));
    nginx.put(&kb, &needed, DATE);
    nginx.put(&no, &forbidden, DATE);
    assert!(main.ok("hosts list").out.starts_with("nothing was ever told of any host"));
    let mut machine = Machine::new("pc1", 1);
    let updates = [(A, kb.as_str(), needs()), (B, no.as_str(), json!({"allowed": false, "installed": false}))];
    let (status, answer) = machine.report(main.http(), &updates, None);
    assert_eq!((status, &answer["state"]), (202, &json!("waiting for approval")));
    assert!(main.ok("hosts list").out.contains("waits for `wuasync hosts approve pc1`"));
    assert_eq!(machine.report(main.http(), &updates, Some(&EnrolmentToken::new([5; 32]).to_string())).0, 403);
    let token = main.token("hosts enroll");
    let first = machine.signed(&updates, Some(&token));
    assert_eq!(send(main.http(), &first), (200, json!({"state": "taken", "skipped": 0})));
    assert_eq!(send(main.http(), &first).1["state"], "known", "the same report once more changes nothing");
    main.serves(&kb, &needed);
    let story = main.json("hosts show pc1");
    assert_eq!((&story["host"]["standing"], &story["host"]["site"]), (&json!("enrolled"), &json!("paris")));
    let updates = story["updates"].as_array().unwrap();
    assert_eq!((&updates[0]["id"], &updates[0]["state"]), (&json!(A), &json!("PENDING")));
    assert_eq!((&updates[1]["id"], &updates[1]["state"]), (&json!(B), &json!("DISCARDED")));
    assert!(updates[1]["why"].as_str().unwrap().contains("forbidden"), "{}", updates[1]);
    let listed = main.json("hosts list");
    assert_eq!(
        listed["hosts"][0]["counts"],
        json!({"ok": 0, "missing": 0, "pending": 1, "discarded": 1, "delayed": 0})
    );
    assert_eq!(main.get(&no).0, 404, "nothing forbidden is fetched for want");
    let mut thief = Machine { uuid: "pc1", secret: [9; 32], sequence: 100 };
    let (status, why) = thief.report(main.http(), &[], None);
    assert_eq!((status, why), (403, json!({"error": "another key speaks for this host"})));
    main.ok("hosts revoke pc1");
    assert_eq!(machine.report(main.http(), &[], None).0, 403);
    assert_eq!(main.cli("hosts approve nobody").exit, 1);
}

#[test]
fn what_a_host_asked_for_in_vain_is_fetched_when_it_reports_unless_rules_forbid_it_or_it_is_another_ones() {
    let nginx = Nginx::start(HOST, "");
    let main = main_of(&nginx).start();
    let contents = [noise(1, 30_000), noise(2, 20_000), noise(3, 10_000), noise(4, 5_000)];
    let names: Vec<_> = contents.iter().enumerate().map(|(n, bytes)| immutable(&format!("kb{n}"), bytes)).collect();
    let [own, shared, forbidden, foreign] = [0, 1, 2, 3].map(|n| names[n].as_str());
    names.iter().zip(&contents).for_each(|(name, bytes)| nginx.put(name, bytes, DATE));
    let token = main.token("hosts enroll --uses 2");
    let mut other = Machine::new("pc8", 8);
    let installed = json!({"installed": true});
    assert_eq!(other.report(main.http(), &[(C, foreign, installed)], Some(&token)).0, 200);
    let mut machine = Machine::new("pc9", 9);
    // Nobody told of the first, the second is of an update that it needs as well, the last is of one that it does not have.
    let updates = [(A, shared, needs()), (B, forbidden, json!({"allowed": false, "installed": false}))];
    let in_vain = [own, shared, forbidden, foreign];
    assert_eq!(send(main.http(), &machine.in_vain(&updates, &in_vain, Some(&token))).0, 200);
    main.serves(own, &contents[0]);
    main.serves(shared, &contents[1]);
    for name in [forbidden, foreign] {
        assert_eq!(main.get(name).0, 404, "{name}");
    }
    assert_eq!(main.json("hosts show pc9")["missing_downloads"].as_array().unwrap().len(), 4);
    let told: Vec<_> = nginx.asked().into_iter().filter(|line| line.contains("msdownload")).collect();
    assert!(told.iter().all(|line| line.contains(own) || line.contains(shared)), "{told:?}");
}

#[test]
fn a_report_to_a_secondary_waits_on_its_disk_and_reaches_the_main_when_that_is_back() {
    let nginx = Nginx::start(HOST, "");
    let mut main = main_of(&nginx).start();
    let mut lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let token = main.token("hosts enroll --uses 2");
    main.stop();
    let mut machine = Machine::new("pc2", 2);
    assert_eq!(machine.report(lyon.http(), &[], Some(&token)).0, 202);
    let mut forged = machine.signed(&[], None);
    forged.signature[0] ^= 1;
    assert_eq!(send(lyon.http(), &forged).0, 403);
    let bytes = noise(3, 9_000);
    let kb = immutable("kb3", &bytes);
    nginx.put(&kb, &bytes, DATE);
    assert_eq!(machine.report(lyon.http(), &[(A, &kb, needs())], Some(&token)).0, 202);
    let listed = lyon.ok("hosts list").out;
    assert!(
        listed.contains("ask the main, paris") && listed.contains("one report waits for the parent: pc2"),
        "{listed}"
    );
    let shown = lyon.cli("hosts show pc2");
    assert!(shown.exit == 1 && shown.err.contains("a report of this host waits here"), "{shown:?}");
    lyon.kill();
    lyon.start_again();
    main.start_on_its_ports();
    let host = wait("the report is carried", || main.json("hosts list")["hosts"].get(0).cloned());
    assert_eq!((&host["uuid"], &host["site"]), (&json!("pc2"), &json!("lyon")));
    assert_eq!(host["counts"]["discarded"], 0);
    lyon.serves(&kb, &bytes);
    assert_eq!(lyon.cli("hosts enroll").exit, 4, "only a main believes hosts");
    wait("nothing waits", || lyon.ok("hosts list").out.ends_with("no report waits for the parent\n").then_some(()));
}

#[test]
fn a_cleanup_lets_go_what_no_host_has_or_needs_tells_why_and_can_be_undone() {
    let main = Node::main("paris").with("[upstream]\nenabled = false\n[cleanup]\ngrace = \"0s\"\n").start();
    let contents = [noise(1, 100), noise(2, 200), noise(3, 300)];
    let names: Vec<_> = contents.iter().enumerate().map(|(n, bytes)| immutable(&format!("kb{n}"), bytes)).collect();
    for (name, bytes) in names.iter().zip(&contents) {
        main.write(name, bytes);
    }
    main.write(&immutable("own", b"of unknown owner"), b"of unknown owner");
    wait("all is adopted", || (main.status()["folders"][0]["files"] == 4).then_some(()));
    let blind = main.json("cleanup --dry-run");
    assert_eq!((&blind["hosts"], &blind["leaving"]), (&Value::Null, &json!([])), "an unknown fleet is no empty one");
    let hosts = main.place().join("hosts.json");
    let installed = json!({"installed": true});
    let hidden = json!({"installed": false, "hidden": true});
    let reports = json!([
        report("h1", &[(A, &names[0], installed), (B, &names[1], hidden.clone())]),
        report("h2", &[(B, &names[1], hidden), (C, &names[2], needs())]),
        {"no": "host"},
    ]);
    fs::write(&hosts, reports.to_string()).unwrap();
    let imported = main.cli(&format!("hosts import {} --json", hosts.display()));
    assert_eq!(imported.exit, 1, "one of them names no host: {imported:?}");
    let imported: Value = serde_json::from_str(&imported.out).unwrap();
    assert_eq!((&imported["hosts"], &imported["new"]), (&json!(2), &json!(2)));
    let plan = main.json("cleanup --dry-run");
    assert_eq!(plan["leaving"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!((&plan["leaving"][0]["name"], &plan["leaving"][0]["size"]), (&json!(names[1]), &json!(200)));
    assert_eq!(plan["leaving"][0]["why"], "no host has any of its updates, and none needs one");
    let stays: Vec<_> = plan["staying"].as_array().unwrap().iter().map(|stay| stay["why"].as_str().unwrap()).collect();
    assert_eq!(stays, ["part of no known update", "needed by a host", "installed on a host"]);
    assert_eq!(main.get(&names[1]).0, 200, "a dry run lets nothing go");
    let done = main.json("cleanup");
    assert_eq!((&done["files"], &done["bytes"]), (&json!(1), &json!(200)));
    assert_eq!(main.get(&names[1]).0, 404);
    assert_eq!(main.status()["folders"][0]["files"], 3);
    let jobs = main.json("jobs list");
    let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "cleanup").unwrap().clone();
    assert!(job["here"] == true && job["last"]["outcome"].as_str().unwrap().starts_with("1 files"), "{job}");
    let undone = main.json("cleanup undo");
    assert_eq!((&undone["files"], &undone["lost"]), (&json!(1), &json!(0)));
    main.serves(&names[1], &contents[1]);
    assert_eq!(main.json("cleanup undo")["at"], Value::Null);
    let freed = main.json("cleanup --free 1B");
    assert_eq!((&freed["files"], &freed["trash_files"]), (&json!(1), &json!(1)), "past the trash: {freed}");
    assert_eq!(main.json("cleanup undo")["lost"], 1);
}

/// The state of a node that is stopped, as its daemon opens it.
fn opened(node: &Node, role: Role) -> Repository {
    let folder = FolderConfig { name: folder(), path: node.folder(), staging: None };
    let config = RepositoryConfig {
        role,
        state_dir: node.state(),
        folders: vec![folder],
        deletion_cap: DeletionCap { max_percent: 20, min_files: 20 },
        disk_reserve_bytes: 0,
        log_limit: LogLimit::default(),
    };
    let mut random = |bytes: &mut [u8]| bytes.fill(7);
    Repository::open(Arc::new(RealDisk::new()), Arc::new(SystemClock), &config, &mut random).unwrap()
}

fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

/// Hosts asked for a file so many days ago; `None` if none did. All have been there for 200 days.
fn ages(repository: &Repository, files: &[(&str, Option<u64>)]) {
    let now = SystemClock.unix_seconds();
    let used = |(name, days): &(&str, Option<u64>)| {
        let asked_at = days.map(|days| now / DAY * DAY - days * DAY);
        (FileName::new(name).unwrap(), UseRecord { arrived_at: now - 200 * DAY, asked_at })
    };
    let uses: Vec<_> = files.iter().map(used).collect();
    repository.state().ledger.put_uses(&folder(), &uses, &[]).unwrap();
}

#[test]
fn what_hosts_of_a_secondary_ask_for_stays_at_the_main_though_it_was_away_and_goes_when_it_was_long_ago() {
    let keep = "[upstream]\nenabled = false\n[cleanup]\ngrace = \"0s\"\nkeep = \"asked:90d\"\n";
    let mut main = Node::main("paris").with(keep).start();
    let mut lyon = Node::secondary("lyon").start();
    let contents = [noise(1, 1_000), noise(2, 2_000)];
    let names: Vec<_> = contents.iter().enumerate().map(|(n, bytes)| immutable(&format!("kb{n}"), bytes)).collect();
    let (asked, other) = (names[0].as_str(), names[1].as_str());
    names.iter().zip(&contents).for_each(|(name, bytes)| main.write(name, bytes));
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    wait("lyon mirrors both", || (lyon.status()["folders"][0]["held_files"] == 2).then_some(()));
    main.stop();
    // While the main is away its files grow old, and a host of lyon asks for one of them.
    {
        let main = opened(&main, Role::Main);
        ages(&main, &[(asked, None), (other, None)]);
        let id = EditionId { package_id: Guid([1; 16]), created: 1 };
        let (origin_modified, indexed_at) = (None, SystemClock.unix_seconds());
        let edition = EditionRecord {
            id,
            root: Root([0; 32]),
            origin_size: 1,
            origin_modified,
            updates: 0,
            files: 0,
            indexed_at,
        };
        main.put_edition(&edition, std::iter::empty(), std::iter::empty()).unwrap();
    }
    lyon.serves(asked, &contents[0]);
    lyon.stop();
    let noted = opened(&lyon, Role::Secondary).asked_since(1).unwrap();
    assert_eq!(noted, BTreeSet::from([(folder(), FileName::new(asked).unwrap())]), "it outlives the daemon");
    // That was two days ago, and the main was told the day before: it is back on another day.
    {
        let lyon = opened(&lyon, Role::Secondary);
        ages(&lyon, &[(asked, Some(2))]);
        let own = lyon.members().unwrap().into_iter().find(|member| member.name.as_str() == "lyon").unwrap().key;
        lyon.state().ledger.note_heard(&[own], SystemClock.unix_seconds() - 3 * DAY).unwrap();
    }
    main.start_on_its_ports();
    let leaving = |main: &Node| -> Vec<String> {
        let plan = main.json("cleanup --dry-run --unknown");
        plan["leaving"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(leaving(&main).len(), 2, "nobody told it yet that one was asked for");
    lyon.start_again();
    wait("lyon tells what its hosts ask for", || (leaving(&main) == [other]).then_some(()));
    assert_eq!(main.json("cleanup --unknown")["files"], 1);
    main.serves(asked, &contents[0]);
    wait("the other one goes at lyon", || (lyon.get(other).0 == 404).then_some(()));
    lyon.serves(asked, &contents[0]);
    lyon.stop();
    main.stop();
    ages(&opened(&main, Role::Main), &[(asked, Some(91))]);
    main.start_on_its_ports();
    assert_eq!(leaving(&main), [asked], "nobody asked for 90 days");
}
