//! Rules as an administrator sees them: set at a main, seen at a secondary, read from files and packages.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

mod processes;

use data_encoding::{BASE64, HEXLOWER};
use processes::{Answer, Node, wait};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{Cursor, Write},
    path::{Path, PathBuf},
    process::Command,
};
use zip::{ZipWriter, write::SimpleFileOptions};

const GUID: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441";

/// A main whose agent's configuration lies beside its folder.
fn main_with_ini(text: &str) -> (Node, PathBuf) {
    let main = Node::main("paris");
    let ini = main.place().join("wapt-get.ini");
    fs::write(&ini, text).unwrap();
    let settings = format!("[rules]\nini = {ini:?}\n\n");
    (main.with(&settings).start(), ini)
}

/// A report as WAPT's agent writes it.
fn report(flags: Value) -> Value {
    let id = format!("{GUID}_204");
    let mut local = json!({ "update_id": id, "installed": false, "hidden": false });
    local.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
    json!({
        "uuid": "PC-1", "computer_fqdn": "pc1.example.org",
        "waptwua_status": { "enabled": true, "rules_packages": [] },
        "waptwua_updates": [{
            "update_id": id, "kbids": ["5087058"], "severity": "Critical", "product": "Windows 10",
            "classification": "Security Updates",
        }],
        "waptwua_updates_localstatus": [local],
    })
}

fn facts(node: &Node, flags: Value) -> PathBuf {
    let path = node.place().join("facts.json");
    fs::write(&path, report(flags).to_string()).unwrap();
    path
}

/// Exit code, state and reason.
fn asked(node: &Node, flags: Value) -> (i32, String, String) {
    let facts = facts(node, flags);
    let answer = node.cli(&format!("rules test pc1 {GUID}_204 --facts {} --json", facts.display()));
    let reply: Value = serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let text = |key: &str| reply[key].as_str().unwrap().to_owned();
    (answer.exit, text("state"), text("why"))
}

#[test]
fn rules_set_at_a_main_are_seen_at_a_secondary_and_each_answer_has_its_reason() {
    let (main, _) = main_with_ini("[waptwua]\ndefault_allow = False\n");
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    let not_here = |why: &str| (0, "MISSING".to_owned(), format!("its files are not here; {why}"));
    let default = "not allowed: no rule names it, and default_allow is not set";
    assert_eq!(asked(&main, json!({})), (1, "DISCARDED".to_owned(), default.to_owned()));
    assert_eq!(asked(&main, json!({ "allowed": true })), not_here("allowed: so the host's own rules say"));
    assert_eq!(asked(&main, json!({ "installed": true })), (0, "OK".to_owned(), "installed".to_owned()));

    let report = main.place().join("report.json");
    fs::write(&report, self::report(json!({})).to_string()).unwrap();
    let stored = |node: &Node| node.cli(&format!("rules test PC1 {GUID}_204"));
    assert!(stored(&main).exit == 1 && stored(&main).err.contains("no host PC1 is known"), "{:?}", stored(&main));
    main.ok(&format!("hosts import {}", report.display()));
    assert!(stored(&main).out.starts_with(&format!("DISCARDED: {default}\n")), "{:?}", stored(&main));

    main.ok("rules allow --severity critical --classification SecurityUpdates");
    main.ok("rules forbid kb5087058 --set servers");
    main.ok("rules maturity preprod --set servers");
    lyon.catches_up_with(&main);
    let elsewhere = stored(&lyon);
    let ask = format!("ask the main, paris, with `wuasync rules test PC1 {GUID}_204`");
    assert!(
        elsewhere.exit == 1 && elsewhere.err.contains(&ask) && elsewhere.err.contains("--facts FILE.json"),
        "{elsewhere:?}"
    );
    for node in [&main, &lyon] {
        let set = "its severity Critical";
        assert_eq!(asked(node, json!({})), not_here("allowed: severity Critical, by rule set default"), "{set}");
    }
    let needed = "MISSING: its files are not here; allowed: severity Critical, by rule set default\n";
    assert_eq!((stored(&main).exit, stored(&main).out.starts_with(needed)), (0, true), "{:?}", stored(&main));
    main.ok("rules maturity PROD --set servers");
    lyon.catches_up_with(&main);
    let forbidden = (1, "DISCARDED".to_owned(), "forbidden: KB5087058, by rule set servers".to_owned());
    assert_eq!(asked(&lyon, json!({ "allowed": true })), forbidden);
    let shown = lyon.ok("rules show servers").out;
    assert_eq!(shown, "servers (PROD, written here)\n  forbid KB5087058\n");

    let refused = lyon.cli("rules allow KB1");
    assert_eq!(refused.exit, 4, "{refused:?}");
    assert!(refused.err.contains("rules come from the main"), "{refused:?}");
    main.ok("rules reset --all --set servers");
    lyon.catches_up_with(&main);
    assert_eq!(asked(&lyon, json!({})), not_here("allowed: severity Critical, by rule set default"));
    let told = |node: &Node| -> Vec<String> {
        let changes = node.json("rules history");
        let told = changes.as_array().unwrap().iter();
        told.map(|change| format!("{} {}", change["set"].as_str().unwrap_or("ini"), change["what"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(told(&lyon), told(&main));
    assert_eq!(
        told(&main),
        [
            "servers removed it",
            "servers made it PROD",
            "servers made it PREPROD",
            "servers forbade KB5087058",
            "default allowed severity Critical, classification SecurityUpdates",
            "ini read it again",
        ]
    );
    let who = main.json("rules history")[1]["by"].as_str().unwrap().to_owned();
    assert!(who.starts_with("uid "), "{who}");
    assert_eq!(main.cli("rules reset --all --set servers").exit, 1);
    assert_eq!(main.cli("rules allow").exit, 2);
}

#[test]
fn a_changed_wapt_get_ini_is_read_again_and_a_wrong_one_changes_nothing() {
    let (main, ini) = main_with_ini("[waptwua]\n# ours\nenabled = True\nforbidden_kbs = KB5087058\n[other]\nx = 1\n");
    let becomes = |state: &str, why: &str| {
        wait(why, || {
            let (_, found, because) = asked(&main, json!({ "allowed": true }));
            (found == state && because.ends_with(why)).then_some(())
        });
    };
    becomes("DISCARDED", "forbidden: KB5087058, by [waptwua]");

    let changed = main.ok(&format!("rules ini --file {} forbidden_kbs= install_delay=3d", ini.display()));
    assert!(changed.out.ends_with("is right\n"), "{changed:?}");
    assert_eq!(
        fs::read_to_string(&ini).unwrap(),
        "[waptwua]\n# ours\nenabled = True\ninstall_delay = 3d\n[other]\nx = 1\n"
    );
    becomes("MISSING", "allowed: so the host's own rules say");

    fs::write(&ini, "[waptwua]\nallowed_severities = Low\nforbidden_kbs = KBx\n").unwrap();
    wait("an alarm", || main.tells("line 3: forbidden_kbs: \"KBx\" is no KB number").then_some(()));
    assert_eq!(main.json("rules show")["ini"]["settings"]["install_delay"], 259_200, "what was read before stays");
    let checked = main.cli(&format!("rules ini --file {}", ini.display()));
    assert_eq!((checked.exit, checked.out.contains("line 3: forbidden_kbs")), (1, true), "{checked:?}");

    fs::write(&ini, "[waptwua]\nforbidden_updates = 0fa1201d-4330-4fa8-8ae9-b877473b6441\n").unwrap();
    becomes("DISCARDED", &format!("forbidden: update {GUID}, by [waptwua]"));
    wait("the end of the alarm", || (!main.tells("[waptwua]")).then_some(()));
    fs::remove_file(&ini).unwrap();
    becomes("MISSING", "allowed: so the host's own rules say");
}

/// Makes keys and certificates, and signs as WAPT's console does.
struct Signing(PathBuf);

impl Signing {
    fn new(place: &Path) -> Self {
        let signing = Self(place.join("signing"));
        fs::create_dir(&signing.0).unwrap();
        signing.openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca");
        signing.openssl("req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 30 -subj /CN=other");
        signing.openssl("req -newkey rsa:2048 -nodes -keyout anna.key -out anna.csr -subj /CN=anna");
        fs::write(signing.0.join("ext"), "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=codeSigning\n").unwrap();
        signing.openssl(
            "x509 -req -in anna.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out anna.pem",
        );
        signing
    }

    fn openssl(&self, line: &str) {
        let made = Command::new("openssl").args(line.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(made.status.success(), "{line}: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A `.wapt` file, signed by the holder of `who`; `change` has its way with the members after that.
    fn package(&self, name: &str, who: &str, change: impl FnOnce(&mut Vec<(&str, Vec<u8>)>)) -> PathBuf {
        let control = "package : tis-rules\nversion : 1-0\nsection : wsus\nmaturity : PROD\n";
        let mut members = vec![
            ("WAPT/control", control.as_bytes().to_vec()),
            ("WAPT/waptwua_rules.json", br#"{"forbidden_kbs": ["KB5087058"], "default_allow": true}"#.to_vec()),
            ("WAPT/certificate.crt", fs::read(self.path(&format!("{who}.pem"))).unwrap()),
        ];
        let digests: Vec<_> =
            members.iter().map(|(name, bytes)| (*name, HEXLOWER.encode(&Sha256::digest(bytes)))).collect();
        let manifest = serde_json::to_vec(&digests).unwrap();
        fs::write(self.path("manifest"), &manifest).unwrap();
        self.openssl(&format!("dgst -sha256 -sign {who}.key -out signature manifest"));
        let signature = BASE64.encode(&fs::read(self.path("signature")).unwrap());
        members.push(("WAPT/manifest.sha256", manifest));
        members.push(("WAPT/signature.sha256", signature.into_bytes()));
        change(&mut members);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in &members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        let path = self.path(name);
        fs::write(&path, zip.finish().unwrap().into_inner()).unwrap();
        path
    }
}

fn import(node: &Node, path: &Path, more: &str) -> Answer {
    node.cli(format!("rules import {} {more}", path.display()).trim_end())
}

#[test]
fn a_rule_package_is_taken_with_the_signature_of_somebody_who_is_trusted_or_by_word_and_shown_so() {
    let main = Node::main("paris");
    let signing = Signing::new(main.place());
    let trusted = format!("[rules]\nini = \"\"\ntrusted_certificates = [{:?}]\n\n", signing.path("ca.pem"));
    let main = main.with(&trusted).start();
    let signed = signing.package("signed.wapt", "anna", |_| {});
    let taken = import(&main, &signed, "");
    assert_eq!(taken.exit, 0, "{taken:?}");
    let (passed_over, shown) = taken.out.split_once('\n').unwrap();
    assert_eq!(passed_over, "passed over: default_allow has no effect: wapt-get.ini alone says that");
    assert_eq!(shown, "tis-rules (PROD, package 1-0, signed by CN=anna)\n  forbid KB5087058\n");

    let refused = |path: &Path, why: &str| {
        let answer = import(&main, path, "");
        assert!(answer.exit == 4 && answer.err.contains(why) && answer.err.contains("--unsigned"), "{why}: {answer:?}");
    };
    let other = signing.package("other.wapt", "other", |_| {});
    refused(&other, "CN=other, who signed it, is none of the trusted certificates");
    let unsigned =
        signing.package("unsigned.wapt", "anna", |members| members.retain(|(name, _)| !name.contains("signature")));
    refused(&unsigned, "it is not signed: WAPT/signature.sha256 is missing");
    let rules = br#"{"forbidden_kbs": []}"#.to_vec();
    let changed = signing.package("changed.wapt", "anna", |members| members[1].1 = rules);
    refused(&changed, "WAPT/waptwua_rules.json is not as it was signed");
    let forged = signing.package("forged.wapt", "anna", |members| members[4].1 = BASE64.encode(&[7; 256]).into_bytes());
    refused(&forged, "it is not what CN=anna signed");
    assert!(import(&main, &signed, "").exit == 0 && main.json("rules history").as_array().unwrap().len() == 1);

    let folder = signing.path("unpacked/WAPT");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("control"), "package: tis-rules\nversion: 2-0\nsection: wsus\n").unwrap();
    fs::write(folder.join("waptwua_rules.json"), "{\"allowed_kbs\": [1]}").unwrap();
    let taken = import(&main, folder.parent().unwrap(), "--unsigned");
    assert_eq!(
        (taken.exit, taken.out.as_str()),
        (0, "tis-rules (PROD, package 2-0, unsigned)\n  allow  KB1\n"),
        "{taken:?}"
    );
    let by_hand = main.cli("rules forbid KB2 --set tis-rules");
    assert!(by_hand.exit == 4 && by_hand.err.contains("came with version 2-0 of its package"), "{by_hand:?}");
    assert_eq!(import(&main, &signing.path("ca.pem"), "--unsigned").exit, 2);
}

#[test]
fn where_nobody_is_trusted_a_package_is_taken_by_word_alone() {
    let main = Node::main("paris");
    let signing = Signing::new(main.place());
    let main = main.with("[rules]\nini = \"\"\n\n").start();
    let signed = signing.package("signed.wapt", "anna", |_| {});
    let refused = import(&main, &signed, "");
    assert!(refused.exit == 4 && refused.err.contains("`rules.trusted_certificates`"), "{refused:?}");
    let taken = import(&main, &signed, "--unsigned");
    assert!(taken.exit == 0 && taken.out.contains("package 1-0, unsigned"), "{taken:?}");
}

#[test]
fn a_pinned_certificate_signs_by_itself() {
    let main = Node::main("paris");
    let signing = Signing::new(main.place());
    let trusted = format!("[rules]\nini = \"\"\ntrusted_certificates = [{:?}]\n\n", signing.path("other.pem"));
    let main = main.with(&trusted).start();
    assert_eq!(import(&main, &signing.package("other.wapt", "other", |_| {}), "").exit, 0);
    assert_eq!(import(&main, &signing.package("anna.wapt", "anna", |_| {}), "").exit, 4);
}
