//! Microsoft's index, here a generated one behind a real nginx: fetched, proven, read, published, and used.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test fails loudly"
)]

#[allow(dead_code, unused_imports, reason = "other tests use the rest")]
#[path = "editions/mod.rs"]
mod editions;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "authenticode/lab.rs"]
mod lab;
mod origin;
mod processes;

use data_encoding::{BASE64, HEXLOWER};
use editions::{MadeFile, Numbering, Plan};
use lab::{Identity, Key, Lab, Signing, issuer, signer};
use origin::Nginx;
use processes::{Node, http_get, immutable, noise, wait};
use serde_json::{Value, json};
use sha1::Digest;

const HOST: &str = "go.microsoft.com";
const DATE: i64 = 1_600_000_000;
const CAB: &str = "wsusscn2.cab";

/// Who signs, and the file that says so.
struct Authority {
    lab: Lab,
    root: Identity,
    signer: Identity,
    root_file: String,
}

impl Authority {
    fn new() -> Self {
        let lab = Lab::new();
        let forever = |mut params: rcgen::CertificateParams| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2100, 1, 1);
            params
        };
        let root = Identity::root(forever(issuer("root")), Key::P256);
        let signer = root.issue(forever(signer("signer")), Key::P256);
        let root_file = lab.write("trusted.pem", &root.pem).display().to_string();
        Self { lab, root, signer, root_file }
    }

    fn sign(&self, cab: &[u8]) -> Vec<u8> {
        self.lab.sign_file(cab, &Signing::by(&self.signer).with(&self.root), &[])
    }
}

/// A main whose Microsoft is this nginx, which believes `roots`.
fn main_of(nginx: &Nginx, roots: &[&str]) -> Node {
    let address = nginx.address;
    Node::main("paris").with(&format!(
        "[upstream]\ncab_url = \"http://{HOST}/c/msdownload/{CAB}\"\nresolve = {{\"{HOST}\" = \"{address}\", \
         \"download.windowsupdate.com\" = \"{address}\", \"dl.delivery.mp.microsoft.com\" = \"{address}\"}}\n\
         trust_roots = {roots:?}\n"
    ))
}

/// An edition in which one file is `bytes`; and that file's name.
fn edition(plan: &Plan, bytes: &[u8]) -> (Vec<u8>, String) {
    let world = plan.world();
    let made: &MadeFile =
        world.updates.iter().flat_map(|update| &update.files).find(|file| file.sha256.is_some()).unwrap();
    let name = immutable("windows-kb", bytes);
    let old_name = made.url.rsplit('/').next().unwrap();
    let replaced = |text: &str| {
        text.replace(&made.url, &format!("http://download.windowsupdate.com/c/msdownload/{name}"))
            .replace(
                &format!("FileName=\"{old_name}\" Size=\"{}\"", made.size),
                &format!("FileName=\"{name}\" Size=\"{}\"", bytes.len()),
            )
            .replace(&BASE64.encode(&made.sha1), &BASE64.encode(&sha1::Sha1::digest(bytes)))
            .replace(&BASE64.encode(&made.sha256.unwrap()), &BASE64.encode(&sha2::Sha256::digest(bytes)))
    };
    let mut parts = plan.parts();
    parts.package = replaced(&parts.package);
    for (_, members) in &mut parts.shards {
        for (_, content) in members {
            if let Ok(text) = std::str::from_utf8(content) {
                *content = replaced(text).into_bytes();
            }
        }
    }
    (parts.to_bytes(), name)
}

fn refreshes(node: &Node) -> Value {
    node.json("refresh --history")
}

fn attention(node: &Node) -> String {
    node.status()["attention"].to_string()
}

#[test]
fn an_edition_is_fetched_proven_published_everywhere_and_its_files_come_when_a_host_asks() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let bytes = noise(1, 2_000_000);
    let (cab, kb) = edition(&Plan::small(1), &bytes);
    let cab = authority.sign(&cab);
    nginx.put(CAB, &cab, DATE);
    nginx.put(&kb, &bytes, DATE);
    let main = main_of(&nginx, &[&authority.root_file]).start();
    let lyon = Node::secondary("lyon");
    lyon.joins(&main);
    let lyon = lyon.start();
    let sha1 = HEXLOWER.encode(&sha1::Sha1::digest(&cab));
    for node in [&main, &lyon] {
        node.serves(CAB, &cab);
        let (_, head, body) = node.get(CAB);
        assert!(head.contains("Sun, 13 Sep 2020 12:26:40 GMT"), "hosts compare this date: {head}");
        assert_eq!(body.len(), cab.len());
        node.serves(&format!("{CAB}.sha1"), sha1.as_bytes());
    }
    wait("it is read", || refreshes(&main)["edition"]["updates"].as_u64());
    let told = refreshes(&main);
    assert_eq!((&told["refreshes"][0]["outcome"], &told["edition"]["updates"]), (&json!("published"), &json!(160)));
    assert!(told["why"].as_str().is_some() && told["next_at"].as_u64().is_some(), "{told}");

    // Nobody told of it: the index did.
    assert_eq!(lyon.get(&kb).2, bytes);
    main.serves(&kb, &bytes);
    assert_eq!(main.get(&immutable("unknown", b"unknown")).0, 404);

    let skipped = main.json("refresh");
    assert_eq!((&skipped["outcome"], &skipped["cab_size"]), (&json!("skipped"), &json!(cab.len())));
    let gets = |line: &&String| line.starts_with("GET") && line.contains(CAB);
    assert_eq!(nginx.asked().iter().filter(gets).count(), 1, "the same edition is not fetched again");
    assert_eq!(main.json("refresh --force")["outcome"], "skipped", "the same bytes are no other edition");
    assert_eq!(attention(&main), "[]");
    assert_eq!(main.ok("check").exit, 0);
}

#[test]
fn another_edition_takes_the_place_of_the_one_before_and_updates_are_found_in_it() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let (first, _) = edition(&Plan::small(2), b"first");
    nginx.put(CAB, &authority.sign(&first), DATE);
    let main = main_of(&nginx, &[&authority.root_file]).start();
    wait("it is read", || refreshes(&main)["edition"]["created"].as_i64());
    let plan = Plan {
        numbering: Numbering::Backwards,
        id: ("21111111-2222-4333-8444-555555555555", "2026-08-11T13:54:06Z"),
        ..Plan::small(2)
    };
    let (second, _) = edition(&plan, b"second");
    let second = authority.sign(&second);
    nginx.put(CAB, &second, DATE + 86_400);
    assert_eq!(main.json("refresh")["outcome"], "published");
    main.serves(CAB, &second);
    let world = plan.world();
    let made = world.updates.iter().find(|update| !update.kbs.is_empty() && update.severity.is_some()).unwrap();
    let found = main.json_lines(&format!("updates search KB{}", made.kbs[0]));
    let id = format!("{}_{}", made.guid, made.number);
    assert!(found.iter().any(|update| update["id"] == json!(id)), "{found:?}");
    let by_severity = main.json_lines(&format!("updates search --severity {} --limit 1000", made.severity.unwrap()));
    assert!(by_severity.iter().any(|update| update["id"] == json!(id)) && by_severity.len() < 160);
    let shown = main.json(&format!("updates show {id}"));
    assert_eq!(shown["update"]["titles"][0]["text"], json!(made.title));
    let driver = main.cli("updates show 00000000-0000-4000-8000-000000000000_1");
    assert!(driver.exit == 1 && driver.err.contains("as a WAPT package"), "{driver:?}");
    let history: Vec<_> =
        refreshes(&main)["refreshes"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(history, ["published", "published"]);
}

#[test]
fn an_edition_that_nobody_who_is_believed_has_signed_is_not_published_until_its_issuers_are_pinned() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let (plain, _) = edition(&Plan::small(3), b"file");
    let signed = authority.sign(&plain);
    nginx.put(CAB, &signed, DATE);
    let main = main_of(&nginx, &[]).start();
    wait("it is refused", || attention(&main).contains("wuasync cab trust").then_some(()));
    assert_eq!(http_get(main.http(), &format!("/waptwua/{CAB}")).0, 404);
    let kept = main.place().join("kept.cab");
    std::fs::write(&kept, &signed).unwrap();
    main.ok(&format!("cab trust --yes {}", kept.display()));
    assert_eq!(main.json("refresh")["outcome"], "published");
    main.serves(CAB, &signed);
    assert_eq!(attention(&main), "[]");

    // One byte of it is another: what is published stays.
    let mut changed = signed.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    nginx.put(CAB, &changed, DATE + 60);
    let failed = main.cli("refresh");
    assert!(failed.exit == 1 && failed.out.contains("nothing is published"), "{failed:?}");
    main.serves(CAB, &signed);
    assert!(attention(&main).contains("no newer edition is published"));
    let downloads = main.place().join("www/.wuasync/waptwua/downloads");
    assert_eq!(std::fs::read_dir(downloads).unwrap().count(), 0, "a bad edition leaves nothing");
}

#[test]
fn an_edition_that_somebody_else_puts_into_the_folder_is_read_too_and_an_unsigned_one_is_an_alarm() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let (plain, _) = edition(&Plan::small(4), b"file");
    let main = main_of(&nginx, &[&authority.root_file]).start();
    main.write_old(CAB, &plain);
    wait("it is an alarm", || attention(&main).contains("is not believed").then_some(()));
    assert_eq!(refreshes(&main)["edition"], Value::Null);
    main.write_old(CAB, &authority.sign(&plain));
    wait("it is read", || refreshes(&main)["edition"]["updates"].as_u64());
    wait("the alarm ends", || (!attention(&main).contains("is not believed")).then_some(()));
}
