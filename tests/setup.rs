//! `wuasync setup` on machines that are really changed: beside WAPT's replication, and as a main.
//!
//! Needs root (for mounting and for other users) and the programs that `tests/run` installs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod machine;
mod processes;

use machine::{Machine, SERVE, THEIRS, terminal::Terminal};
use processes::{Node, immutable, noise, wait};
use std::fs;
use wuasync::domain::backup::{BackupFile, Passphrase};

const REPO_SYNC: &str = "[global]\nwapt_server = https://wapt.example.org\n[repo-sync]\nenable_remote_repo = True\n\
                         remote_repo_dirs = waptwua,wads\nlocal_repo_time_for_sync_start = 22:30\n\
                         local_repo_time_for_sync_end = 05:30\nlocal_repo_limit_bandwidth = 80\n";
fn put(machine: &Machine, name: &str, bytes: &[u8]) {
    machine.write(&format!("/var/www/waptwua/{name}"), bytes);
    machine.shell(&format!("chown wapt:www-data /var/www/waptwua/{name} && chmod 640 /var/www/waptwua/{name}"));
}

#[test]
fn a_secondary_of_wapt_is_adopted_in_place_joins_and_is_set_up_once() {
    let main = Node::main("paris").start();
    let (old, new) = (noise(1, 30_000), noise(2, 40_000));
    let (old_name, new_name) = (immutable("old", &old), immutable("new", &new));
    main.write(&old_name, &old);
    main.write(&new_name, &new);
    wait("the main knows both", || (main.status()["folders"][0]["files"] == 2).then_some(()));

    let machine = Machine::of_wapt();
    machine.write("/opt/wapt/wapt-get.ini", REPO_SYNC.as_bytes());
    put(&machine, &old_name, &old);
    let inode = fs::metadata(machine.at(&format!("/var/www/waptwua/{old_name}"))).unwrap();
    let before = machine.changes();

    let options = "setup --name lyon --listen 127.0.0.1:0 --sync-listen 127.0.0.1:0";
    let shown = machine.ok(&format!("{options} --dry-run"), "").out;
    for words in [
        "mirror.window    22:30-05:30",
        "80 Mbit/s",
        "documented as 80 Mbit/s, and WAPT applies it as 80 MiB/s",
        "install -d -o wapt -g www-data -m 700 /var/lib/wuasync",
        "write /etc/wuasync/conf.d/setup.toml:",
        "path = \"/var/www/waptwua\"",
        "write `remote_repo_dirs = wads`",
        "runuser -u wapt -g www-data -G wuasync-admin -- /usr/local/bin/wuasync serve",
    ] {
        assert!(shown.contains(words), "{words:?} is not in:\n{shown}");
    }
    assert_eq!(machine.changes(), before, "a dry run changes nothing");
    let unasked = machine.wuasync(options, "");
    assert!(unasked.exit == 2 && unasked.err.contains("add --yes"), "{unasked:?}");
    assert_eq!(machine.changes(), before);

    let token = main.ok("pair invite lyon").out;
    let done = machine.json(&format!("{options} --yes --token-file -"), &token);
    assert_eq!((&done["done"], &done["settings"]["role"]["value"]), (&true.into(), &"secondary".into()));
    assert!(!done.to_string().contains(token.lines().last().unwrap()), "the token is nowhere");
    assert_eq!(machine.owner("/var/lib/wuasync"), "wapt:www-data 700");
    assert_eq!(machine.owner("/var/www/.wuasync"), "wapt:www-data 750");
    assert!(machine.owner("/var/lib/wuasync/parent.toml").starts_with("wapt:"));

    // Whatever the time of day is while this runs.
    machine.write("/etc/wuasync/conf.d/window.toml", b"[mirror]\nwindow = \"\"\n");
    machine.serve();
    let path = machine.at(&format!("/var/www/waptwua/{new_name}"));
    wait("the other file is here", || fs::read(&path).is_ok_and(|found| found == new).then_some(()));
    machine.shell("rm /etc/wuasync/conf.d/window.toml");
    assert_eq!(fs::metadata(&path).unwrap().len(), new.len() as u64);
    let adopted = fs::metadata(machine.at(&format!("/var/www/waptwua/{old_name}"))).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&adopted), std::os::unix::fs::MetadataExt::ino(&inode));

    let settled = machine.read("/etc/wuasync/conf.d/setup.toml");
    let again = machine.json("setup --yes --token-file -", &token);
    assert_eq!(again["steps"].as_array().unwrap().len(), 0, "{again}");
    assert_eq!(machine.read("/etc/wuasync/conf.d/setup.toml"), settled);
    assert_eq!(machine.read("/etc/wuasync/conf.d/ours.toml"), THEIRS);
}

#[test]
fn a_main_that_systemd_runs_seals_its_line_key_and_what_people_wrote_needs_their_word() {
    let machine = Machine::of_wapt();
    machine.write("/opt/wapt/conf/waptserver.ini", b"[options]\nhttp_proxy =\n");
    machine.write("/usr/lib/systemd/system/wuasync.service", b"[Service]\n");
    machine.shell("mkdir -p /run/systemd/system /var/www/wapt && chown wapt:www-data /var/www/wapt");
    let systemctl = format!(
        "#!/bin/sh\necho \"$@\" >> /root/asked\ncase $1 in\nis-active) cat /root/active 2>/dev/null || echo inactive;;\n\
         enable) mkdir -p /run/wuasync /etc/systemd/system/multi-user.target.wants; chown wapt /run/wuasync\n\
         ln -s x /etc/systemd/system/multi-user.target.wants/wuasync.service; echo active > /root/active\n\
         {SERVE} >/root/ready 2>/root/log & while ! grep -q ready /root/ready; do sleep 0.1; done;;\nesac\n"
    );
    machine.write("/usr/local/bin/systemctl", systemctl.as_bytes());
    machine.shell("chmod 755 /usr/local/bin/systemctl");
    let phrase = "correct horse battery staple\n";
    machine.write("/root/phrase", phrase.as_bytes());

    let options = "setup --name paris --listen 127.0.0.1:0 --sync-listen 127.0.0.1:0 --advertise paris.example:4443";
    let done = machine.json(&format!("{options} --yes --passphrase-file /root/phrase"), "");
    assert_eq!(done["settings"]["upstream.cab_url"]["value"], "off");
    assert_eq!(machine.owner("/root/wuasync-paris.keys"), "root:root 600");
    assert!(!done.to_string().contains("horse"));
    let asked = machine.read("/root/asked");
    let asked: Vec<_> = asked.lines().filter(|line| !line.starts_with("is-active")).collect();
    assert_eq!(asked, ["daemon-reload", "enable --now wuasync.service"]);
    assert!(machine.read("/etc/systemd/system/wuasync.service.d/setup.conf").contains("User=wapt\n"));
    let again = machine.json(&format!("{options} --yes --passphrase-file /root/phrase"), "");
    assert_eq!(again["steps"].as_array().unwrap().len(), 0, "{again}");

    machine.write("/etc/wuasync/conf.d/ours.toml", format!("site = \"Paris\"\n{THEIRS}").as_bytes());
    let refused = machine.wuasync("setup --yes --site Lyon", "");
    assert!(refused.exit == 4 && refused.err.contains("ours.toml:1 says site = \"Paris\""), "{refused:?}");
    assert!(refused.err.contains("nothing was changed: add --overwrite"), "{refused:?}");
    machine.ok("setup --yes --site Lyon --overwrite", "");
    assert!(machine.read("/etc/wuasync/conf.d/setup.toml").contains("site = \"Lyon\"\n"));
    assert!(machine.read("/root/asked").ends_with("restart wuasync.service\n"));
}

#[test]
fn a_passphrase_is_typed_twice_and_shown_nowhere_and_the_terminal_is_as_before_also_after_ctrl_c() {
    const QUESTION: &str = "Passphrase that seals the line key";
    const AGAIN: &str = "The same once more";
    let machine = Machine::of_wapt();
    let options = "/usr/local/bin/wuasync setup --role main --name paris --site Paris --folder waptwua=/var/www/waptwua \
                   --listen 127.0.0.1:0 --sync-listen 127.0.0.1:0 --advertise paris.example:4443 --cab-url off --limit off";
    machine.shell(&format!("{options} --yes"));
    machine.serve();
    let line = format!("stty -a >/root/before; {options}; echo exit=$?; stty -a >/root/after");
    let as_before = || assert_eq!(machine.read("/root/after"), machine.read("/root/before"));

    let mut terminal = Terminal::run(&machine, &line);
    terminal.answer(QUESTION, 1, "Pfirsich\x03");
    let shown = terminal.end();
    assert!(shown.contains("exit=5") && !shown.contains("Pfirsich"), "{shown}");
    as_before();

    let mut terminal = Terminal::run(&machine, &line);
    terminal.answer(QUESTION, 1, "Pfirsich Melba\n");
    terminal.answer(AGAIN, 1, "Pfirsich Malba\n");
    terminal.answer(QUESTION, 2, "Pfirsich Melba\n");
    terminal.answer(AGAIN, 2, "Pfirsich Melba\n");
    terminal.answer("Do this?", 1, "yes\n");
    let shown = terminal.end();
    assert!(shown.contains("these were two") && shown.contains("exit=0"), "{shown}");
    assert!(!shown.contains("Pfirsich"), "{shown}");
    as_before();
    let sealed = BackupFile::decode(&fs::read(machine.at("/root/wuasync-paris.keys")).unwrap()).unwrap();
    assert!(sealed.unseal(&Passphrase::new("Pfirsich Malba").unwrap()).is_err());
    assert!(sealed.unseal(&Passphrase::new("Pfirsich Melba").unwrap()).unwrap().is_some());
}

#[test]
fn wrong_options_say_what_and_where_and_the_cure() {
    let machine = Machine::of_wapt();
    for (line, words) in [
        ("setup --dry-run", "add --role main, or --role secondary"),
        ("setup --dry-run --role main --window 20:30-05:30", "--window is not for a main"),
        ("setup --dry-run --role main --listen 80", "--listen: \"80\" is no address: write it as 0.0.0.0:80"),
        (
            "setup --dry-run --role main --folder /srv",
            "--folder: \"/srv\" is no folder: write waptwua=/var/www/waptwua",
        ),
        ("setup --dry-run --role main --token-file /etc/hostname", "a main joins nobody"),
        ("setup --dry-run --role secondary --folder waptwua=/etc/passwd", "/etc/passwd is no directory"),
        ("setup --dry-run --role secondary --folder a=/var/www --folder b=/var/www/x", "lies inside"),
    ] {
        let answer = machine.wuasync(line, "");
        assert!(answer.exit == 2 && answer.err.contains(words), "{line}: {answer:?}");
    }
    machine.write("/etc/wuasync/wuasync.toml", b"role = \"main\"\nnmae = \"x\"\n");
    let answer = machine.wuasync("setup --dry-run", "");
    assert!(answer.exit == 2 && answer.err.contains("wuasync.toml:2: "), "{answer:?}");
    let user = machine.shell("runuser -u wapt -- /usr/local/bin/wuasync setup --yes 2>&1; echo $?");
    assert!(user.ends_with("4\n") && user.contains("run it as root"), "{user}");
}
