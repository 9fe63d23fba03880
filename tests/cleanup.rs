//! What the settings of `[cleanup]` do to a real daemon's folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, immutable, noise, wait};
use serde_json::{Value, json};
use std::{fs, process::Command};

const IDS: [&str; 3] = [
    "0fa1201d-4330-4fa8-8ae9-b877473b6441_1",
    "1fa1201d-4330-4fa8-8ae9-b877473b6441_1",
    "2fa1201d-4330-4fa8-8ae9-b877473b6441_1",
];

/// What a host tells of three updates with one file each.
fn report(uuid: &str, files: &[String], says: [Value; 3]) -> Value {
    let details = IDS.iter().zip(files).map(
        |(id, file)| json!({"update_id": id, "download_urls": [format!("http://download.windowsupdate.com/c/{file}")]}),
    );
    let locals = IDS.iter().zip(says).map(|(id, mut says)| {
        says["update_id"] = json!(id);
        says
    });
    json!({
        "uuid": uuid, "waptwua_status": {"enabled": true}, "waptwua_updates": details.collect::<Vec<_>>(),
        "waptwua_updates_localstatus": locals.collect::<Vec<_>>(),
    })
}

#[test]
fn what_all_have_goes_where_needs_alone_count_and_no_more_than_the_cap_lets_unless_it_is_forced() {
    let settings = "[upstream]\nenabled = false\n[cleanup]\ngrace = \"0s\"\nkeep = \"needed\"\n\
                    max_delete_percent = 10\nmax_delete_min_files = 1\n";
    let main = Node::main("paris").with(settings).start();
    let contents = [noise(1, 100), noise(2, 200), noise(3, 300)];
    let names: Vec<_> = contents.iter().enumerate().map(|(n, bytes)| immutable(&format!("kb{n}"), bytes)).collect();
    names.iter().zip(&contents).for_each(|(name, bytes)| main.write(name, bytes));
    wait("all is adopted", || (main.status()["folders"][0]["files"] == 3).then_some(()));
    let (installed, hidden) = (json!({"installed": true}), json!({"installed": false, "hidden": true}));
    let needs = json!({"installed": false, "allowed": true});
    let reports = [
        report("h1", &names, [installed.clone(), needs, hidden.clone()]),
        report("h2", &names, [installed.clone(), installed, hidden]),
    ];
    let hosts = main.place().join("hosts.json");
    fs::write(&hosts, json!(reports).to_string()).unwrap();
    main.ok(&format!("hosts import {}", hosts.display()));

    let plan = main.json("cleanup --dry-run");
    let mut leaving: Vec<_> = plan["leaving"].as_array().unwrap().iter().map(|file| file["name"].clone()).collect();
    leaving.sort_by_key(Value::to_string);
    assert_eq!(json!(leaving), json!([names[0], names[2]]), "{plan}");
    let withheld = main.cli("cleanup");
    assert!(withheld.exit == 4 && withheld.out.contains("`wuasync cleanup --force`"), "{withheld:?}");
    assert!(main.tells("files would go, and no more than"));
    names.iter().zip(&contents).for_each(|(name, bytes)| main.serves(name, bytes));
    assert_eq!(main.json("cleanup --force")["files"], 2);
    assert_eq!([0, 1, 2].map(|n| main.get(&names[n]).0), [404, 200, 404]);
    assert!(!main.tells("files would go"));
    assert_eq!(main.json("cleanup undo")["files"], 2);
    main.serves(&names[2], &contents[2]);
}

#[test]
fn the_nightly_cleanup_is_as_a_wapt_server_of_this_machine_has_it_unless_the_setting_says_so() {
    let ini = "/opt/wapt/conf/waptserver.ini";
    let set_to = |word: &str| format!("printf '[options]\\ncleanup_kbs = {word}\\n' >{ini}");
    let script = format!("mount -t tmpfs none /opt && mkdir -p /opt/wapt/conf && {} && exec \"$@\"", set_to("False"));
    let words: Vec<String> = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec();
    let runs_by_night = |main: &Node| {
        let listed = main.json("jobs list");
        let job = listed["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "cleanup").unwrap().clone();
        job["next_at"].is_number()
    };
    let mut main = Node::main("paris").with("[upstream]\nenabled = false\n[cleanup]\nenabled = \"auto\"\n");
    main.start_with(words.clone());
    assert!(!runs_by_night(&main));
    let pid = main.pid().to_string();
    let inside = |line: &str| Command::new("nsenter").args(["-t", &pid, "-m", "sh", "-c", line]).status().unwrap();
    assert!(inside(&set_to("True")).success());
    assert!(runs_by_night(&main), "it is read anew");
    assert!(inside(&set_to("False")).success());
    assert!(!runs_by_night(&main));
    main.stop();
    main.reconfigure("enabled = \"auto\"", "enabled = true");
    main.start_with(words);
    assert!(runs_by_night(&main), "whatever WAPT says");
}
