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
    main_with(nginx, roots, "")
}

/// With further keys of `[upstream]`.
fn main_with(nginx: &Nginx, roots: &[&str], keys: &str) -> Node {
    let address = nginx.address;
    Node::main("paris").with(&format!(
        "[upstream]\ncab_url = \"http://{HOST}/c/msdownload/{CAB}\"\nresolve = {{\"{HOST}\" = \"{address}\", \
         \"download.windowsupdate.com\" = \"{address}\", \"dl.delivery.mp.microsoft.com\" = \"{address}\"}}\n\
         trust_roots = {roots:?}\n{keys}"
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
    assert_eq!(outcomes(&main), ["published", "published"]);
}

/// What became of the edition, the newest first.
fn outcomes(node: &Node) -> Vec<Value> {
    node.json("cab history")["refreshes"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect()
}

fn sidecar_of(cab: &[u8]) -> String {
    HEXLOWER.encode(&sha1::Sha1::digest(cab))
}

/// The edition of a month after [`Plan::small`]: some updates more, all of them renumbered.
fn next_month(seed: u64) -> Plan {
    Plan {
        updates: 190,
        numbering: Numbering::Backwards,
        id: ("21111111-2222-4333-8444-555555555555", "2026-08-11T13:54:06Z"),
        ..Plan::small(seed)
    }
}

#[test]
fn an_edition_is_taken_back_everywhere_and_not_published_again_until_somebody_says_so_or_it_is_another() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let first = authority.sign(&edition(&Plan::small(5), b"first").0);
    let second = authority.sign(&edition(&next_month(5), b"second").0);
    nginx.put(CAB, &first, DATE);
    let mut main = main_of(&nginx, &[&authority.root_file]).start();
    let mut lyon = Node::secondary("lyon");
    lyon.joins(&main);
    lyon.start_again();
    let serve = |cab: &[u8], date: &str| {
        for node in [&main, &lyon] {
            wait("both of one pair", || {
                let (status, head, body) = node.get(CAB);
                let (beside, _, sha1) = node.get(&format!("{CAB}.sha1"));
                let is_new = status == 200 && body == cab && head.contains(date);
                (is_new && beside == 200 && sha1 == sidecar_of(cab).as_bytes()).then_some(())
            });
        }
    };
    serve(&first, "Sun, 13 Sep 2020");
    let nothing = main.cli("cab rollback --yes");
    assert!(nothing.exit == 4 && nothing.err.contains("no edition before"), "{nothing:?}");
    assert_eq!(lyon.cli("cab rollback --yes").exit, 4, "only the main publishes");
    nginx.put(CAB, &second, DATE + 86_400);
    assert_eq!(main.json("refresh")["outcome"], "published");
    serve(&second, "Mon, 14 Sep 2020");
    assert_eq!(main.json("cab history")["kept"]["size"], first.len());

    // Looking changes nothing, and without a yes nothing happens.
    let would = main.json("cab rollback --dry-run");
    assert_eq!((&would["to"]["updates"], &would["from"]["updates"]), (&json!(160), &json!(190)));
    assert!(main.cli("cab rollback").exit == 4 && main.cli("cab rollback").out.contains("add --yes"));
    serve(&second, "Mon, 14 Sep 2020");
    let done = main.json("cab rollback --yes");
    assert_eq!((&done["done"], &done["published"]["modified"]), (&json!(true), &json!(DATE)));
    serve(&first, "Sun, 13 Sep 2020");
    assert_eq!(refreshes(&main)["edition"]["updates"], 160);
    let page = main.ok("status").out;
    assert!(page.contains("was taken back"), "{page}");
    assert_eq!(attention(&main), "[]");

    // Microsoft has it still.
    assert_eq!(main.json("refresh")["outcome"], "withheld");
    main.stop();
    main.start_on_its_ports();
    assert_eq!(main.json("refresh")["outcome"], "withheld");
    nginx.put(CAB, &second, DATE + 90_000);
    assert_eq!(main.json("refresh")["outcome"], "withheld", "the same bytes under another date");
    nginx.put(CAB, &second, DATE + 90_000);
    main.serves(CAB, &first);
    let again = main.cli("cab rollback --yes");
    assert_eq!(again.exit, 4, "one step back, and no further: {again:?}");
    assert_eq!(main.json("refresh --force")["outcome"], "published");
    main.serves(CAB, &second);
    assert_eq!(refreshes(&main)["withdrawn"], Value::Null);
    assert!(!main.ok("status").out.contains("was taken back"));
    let expected = ["published", "withheld", "withheld", "withheld", "rolled back", "published", "published"];
    assert_eq!(outcomes(&main), expected);

    // Back once more, and Microsoft's next edition comes by itself.
    assert_eq!(main.json("cab rollback --yes")["done"], true);
    let third = authority.sign(
        &edition(
            &Plan { id: ("31111111-2222-4333-8444-555555555555", "2026-09-08T13:54:06Z"), ..next_month(5) },
            b"third",
        )
        .0,
    );
    nginx.put(CAB, &third, DATE + 200_000);
    assert_eq!(main.json("refresh")["outcome"], "published");
    main.serves(CAB, &third);
    main.serves(&format!("{CAB}.sha1"), sidecar_of(&third).as_bytes());
    assert_eq!(main.ok("check").exit, 0);
}

#[test]
fn two_editions_are_compared_as_the_daemon_knows_them_and_in_files() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let [first, second] = [Plan::small(6), next_month(6)].map(|plan| authority.sign(&plan.parts().to_bytes()));
    nginx.put(CAB, &first, DATE);
    let main = main_of(&nginx, &[&authority.root_file]).start();
    wait("it is read", || refreshes(&main)["edition"]["created"].as_i64());
    let alone = main.cli("cab diff");
    assert!(alone.exit == 1 && alone.err.contains("nothing to compare"), "{alone:?}");
    nginx.put(CAB, &second, DATE + 86_400);
    assert_eq!(main.json("refresh")["outcome"], "published");
    let by_daemon = main.json_lines("cab diff");
    let [old, new] = ["old.cab", "new.cab"].map(|name| main.place().join(name));
    std::fs::write(&old, &first).unwrap();
    std::fs::write(&new, &second).unwrap();
    let by_files = main.json_lines(&format!("cab diff {} {}", old.display(), new.display()));
    assert_eq!(by_daemon, by_files);
    assert_eq!(
        (&by_files[0]["editions"]["old"]["updates"], &by_files[0]["editions"]["new"]["updates"]),
        (&json!(160), &json!(190))
    );
    let summary = &by_files.last().unwrap()["summary"];
    let count = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(count("updates_added") - count("updates_removed"), 30, "{summary}");
    let sizes = |kind: &str| {
        let files = by_files.iter().filter(|line| line["file"]["kind"] == kind);
        files.map(|line| line["file"]["size"].as_u64().unwrap_or(0)).sum::<u64>()
    };
    assert_eq!((count("bytes_added"), count("bytes_removed")), (sizes("added"), sizes("removed")));
    assert!(count("files_added") > 0);
    let page = main.ok("cab diff --all").out;
    assert!(page.contains("160 updates") && page.contains("file added") && page.contains("updates: "), "{page}");
    let reversed = main.json_lines(&format!("cab diff {} {}", new.display(), old.display()));
    assert_eq!(reversed.last().unwrap()["summary"]["updates_removed"], summary["updates_added"]);
    let wrong = main.cli(&format!("cab diff {} {}", old.display(), main.config().display()));
    assert!(wrong.exit == 1 && wrong.err.contains("no cabinet"), "{wrong:?}");
}

#[test]
fn a_crash_between_an_edition_and_its_sidecar_is_mended_and_no_host_gets_both_of_two() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let [first, second] = [Plan::small(7), next_month(7)].map(|plan| authority.sign(&plan.parts().to_bytes()));
    nginx.put(CAB, &first, DATE);
    let mut main = main_of(&nginx, &[&authority.root_file]).start();
    main.serves(&format!("{CAB}.sha1"), sidecar_of(&first).as_bytes());
    wait("it is noted, so that nobody asks again at the start", || (!outcomes(&main).is_empty()).then_some(()));
    // As a crash leaves it between the two renames: the new cabinet, the old sidecar, the old rows.
    main.kill();
    main.write_old(CAB, &second);
    nginx.put(CAB, &second, DATE + 86_400);
    main.start_again();
    wait("the sidecar is mended", || {
        let before = main.get(&format!("{CAB}.sha1"));
        let cab = main.get(CAB);
        let after = main.get(&format!("{CAB}.sha1"));
        if (before.0, cab.0, after.0) == (200, 200, 200) && before.2 == after.2 {
            assert_eq!(before.2, sidecar_of(&cab.2).as_bytes(), "a host would have both of two");
        }
        (after.2 == sidecar_of(&second).as_bytes()).then_some(())
    });
    main.serves(CAB, &second);
    wait("its rows are of it, too", || (refreshes(&main)["edition"]["updates"] == 190).then_some(()));
    assert_eq!((outcomes(&main)[0].clone(), attention(&main)), (json!("found"), "[]".to_owned()));
    assert_eq!(main.ok("check").exit, 0);
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
    let (plain, _) = edition(&Plan::small(4), b"file");
    let settings = format!("[upstream]\nenabled = false\ncab_url = \"\"\ntrust_roots = [{:?}]\n", authority.root_file);
    let main = Node::main("paris").with(&settings).start();
    let mut lyon = Node::secondary("lyon");
    lyon.joins(&main);
    lyon.start_again();
    main.write_old(CAB, &plain);
    wait("it is an alarm", || attention(&main).contains("is not believed").then_some(()));
    assert_eq!(refreshes(&main)["edition"], Value::Null);
    let nobody = main.cli("refresh");
    assert!(nobody.exit == 4 && nobody.err.contains("upstream.enabled"), "{nobody:?}");
    let signed = authority.sign(&plain);
    main.write_old(CAB, &signed);
    wait("it is read", || refreshes(&main)["edition"]["updates"].as_u64());
    wait("the alarm ends", || (attention(&main) == "[]").then_some(()));
    main.serves(&format!("{CAB}.sha1"), sidecar_of(&signed).as_bytes());
    assert_eq!((outcomes(&main)[0].clone(), &refreshes(&main)["next_at"]), (json!("found"), &Value::Null));

    // A secondary tells the same of what the main signed, and what of it is there.
    wait("the secondary reads it", || refreshes(&lyon)["edition"]["updates"].as_u64());
    let of = |node: &Node| node.json_lines("updates list --limit 0");
    assert_eq!(of(&lyon), of(&main));
    assert_eq!(attention(&lyon), "[]");
}

#[test]
fn updates_are_found_by_all_that_is_asked_of_them_and_page_by_page() {
    let authority = Authority::new();
    let nginx = Nginx::start(HOST, "");
    let bytes = noise(8, 100_000);
    let plan = Plan::small(8);
    let (cab, kb) = edition(&plan, &bytes);
    nginx.put(CAB, &authority.sign(&cab), DATE);
    nginx.put(&kb, &bytes, DATE);
    let main = main_with(&nginx, &[&authority.root_file], "title_languages = [\"fr\"]\n").start();
    wait("it is read", || refreshes(&main)["edition"]["updates"].as_u64());
    let list = |line: &str| {
        let answer = main.cli(format!("updates list --json --limit 0 {line}").trim_end());
        answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = list("");
    assert_eq!(all.len(), 160);

    let french = list("--title [fr]");
    assert!(!french.is_empty() && french.len() < 160);
    assert!(
        french.iter().all(|update| update["titles"][0]["language"] == "fr" && update["titles"][1]["language"] == "en")
    );
    assert!(all.iter().all(|update| !update["titles"].as_array().unwrap().is_empty()));

    // Pages of any size make the whole.
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = main.cli(&format!("updates list --limit 37{after} --json"));
        paged.extend(page.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        after = format!(" --after {}", paged.last().unwrap()["id"].as_str().unwrap());
        if !page.err.contains("there are more: --after") {
            break;
        }
    }
    assert_eq!(paged, all);

    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let one = all.iter().find(|update| !update["kbs"].as_array().unwrap().is_empty() && update["severity"].is_string());
    let one = one.unwrap();
    let (id, number) = (text(one, "id"), one["kbs"][0].as_u64().unwrap());
    let guid = &id[..36];
    let all_of_it = format!("--kb KB{number} --id {guid} --severity {}", text(one, "severity"));
    assert_eq!(list(&all_of_it), std::slice::from_ref(one));
    let word = one["titles"][0]["text"].as_str().unwrap().split(' ').next().unwrap().to_uppercase();
    assert_eq!(list(&format!("{all_of_it} --title {word}")), std::slice::from_ref(one));
    let superseded = !one["superseded_by"].as_array().unwrap().is_empty();
    assert_eq!(list(&format!("{all_of_it} --superseded={superseded}")), std::slice::from_ref(one));
    for nothing in [
        format!("{all_of_it} --superseded={}", !superseded),
        format!("{all_of_it} --title zzzz"),
        format!("--kb {number} --id 00000000-0000-4000-8000-000000000000"),
        format!("--kb {number} --product zzzz"),
    ] {
        let found = main.cli(&format!("updates list {nothing}"));
        assert!(found.exit == 1 && found.out == "nothing found\n", "{nothing}: {found:?}");
    }
    assert_eq!(main.cli("updates list --severity grave").exit, 2);
    let product = all.iter().flat_map(|update| update["categories"].as_array().unwrap());
    let product = product.filter(|category| category["kind"] == "Product").find_map(|product| product["name"].as_str());
    let products = list(&format!("--product {}", product.unwrap().split(' ').next().unwrap()));
    assert!(!products.is_empty() && products.len() < 160);

    // What is held changes when a file comes.
    let (held, missing) = (list("--held").len(), list("--held=false").len());
    assert!(held == 0 && missing > 0 && missing < 160, "{held} {missing}");
    main.serves(&kb, &bytes);
    wait("its row is written", || {
        let shown = main.cli(&format!("files show waptwua/{kb} --json")).out;
        serde_json::from_str::<Value>(&shown).ok().filter(|file| file["held"] == true)
    });
    let held = list("--held");
    assert_eq!(list("--held=false").len(), missing - held.len());
    for update in &held {
        let shown = main.json(&format!("updates show {}", text(update, "id")));
        let files = shown["files"].as_array().unwrap();
        assert!(!files.is_empty() && files.iter().all(|file| file["is_held"] == true || file["name"].is_null()));
    }
}
