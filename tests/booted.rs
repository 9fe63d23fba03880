//! Installed from its package on machines that a real systemd boots: word for word as the README says, through
//! restarts, hangs, cuts, upgrades and removal; and at the times at which timers fire.
//!
//! These tests need root and boot machines in namespaces (`booted/machine.rs`). Where that can't be they fail and say
//! why.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a helper that fails is to fail its test, and tells why"
)]

#[path = "booted/machine.rs"]
mod machine;
#[path = "booted/package.rs"]
mod package;
#[path = "booted/readme.rs"]
mod readme;

use machine::{Machine, here};
use readme::On;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, UNIX_EPOCH},
};

/// Most commands from the package to the first byte that a secondary serves.
const MOST_COMMANDS: usize = 10;
const UNITS: &str = "/usr/lib/systemd/system/wuasync*";
/// The worst that `systemd-analyze security` may say of a unit, in tenths.
const EXPOSURE: u32 = 20;
/// Seconds within which a busy machine has begun what is due: far less than whoever else would begin it later waits.
const SOON: i64 = 300;

#[test]
fn a_main_and_a_secondary_are_installed_as_the_readme_says_and_lose_nothing_however_they_are_stopped() {
    let desk = tempfile::tempdir().unwrap();
    let (first, next) = (package::build(desk.path(), "0.1.0"), package::build(desk.path(), "0.1.1"));
    let (mut paris, mut lyon) = (Machine::new("paris"), Machine::new("lyon"));
    Machine::connect((&paris, "10.79.0.1"), (&lyon, "10.79.0.2"));
    lyon.write("/etc/hosts", "127.0.0.1 localhost\n10.79.0.1 paris.example.org\n");
    for machine in [&mut paris, &mut lyon] {
        machine.boot();
        // Its disk is a small one.
        machine.write("/etc/wuasync/conf.d/test.toml", "limits.disk_reserve = \"1 MiB\"\n");
        fs::copy(&first, machine.root("/root/wuasync.deb")).unwrap();
        fs::copy(&next, machine.root("/root/next.deb")).unwrap();
    }
    let old = lay_out_wapt(&paris);

    let token = follow_readme(&paris, &lyon, &old);
    users_and_rights(&paris, &lyon, &old);
    journals_have_fields_and_no_secret(&paris, &lyon, &token);
    let update = drop_update(&paris, "new", 3_000_000);
    arrives(&paris, &lyon, &update);
    where_no_setting_listens_nobody_waits(&lyon);

    let asking = Asking::of(&lyon, &update);
    lyon.ok("systemctl reload wuasync && systemctl restart wuasync");
    asking.lost_nothing();
    a_daemon_that_stands_still_is_started_again(&lyon);
    cut_off_in_mid_transfer(&paris, &mut lyon);
    upgrade(&lyon, &update);
    purge(&lyon, &update);
}

/// A WAPT server's user and folders, with an update in them; that update's name.
fn lay_out_wapt(machine: &Machine) -> String {
    machine.ok("useradd --system --gid www-data --home-dir /opt/wapt wapt \
                && install -d -o root -g root -m 755 /var/www \
                && install -d -o wapt -g www-data -m 750 /var/www/wapt /var/www/waptwua");
    drop_update(machine, "old", 100_000)
}

/// Writes an update as WAPT does; its name.
fn drop_update(machine: &Machine, stem: &str, size: u64) -> String {
    let script = format!(
        "head -c {size} /dev/urandom >/root/update && sha1=$(sha1sum /root/update | cut -d' ' -f1) \
         && install -o wapt -g www-data -m 640 /root/update /var/www/waptwua/{stem}_$sha1.cab \
         && rm /root/update && echo {stem}_$sha1.cab"
    );
    machine.ok(&script).trim().to_owned()
}

/// Every command of the README's five minutes, on the machine that it is for, unchanged but for the update's name and
/// what people paste.
///
/// The token that was pasted.
fn follow_readme(paris: &Machine, lyon: &Machine, update: &str) -> String {
    let commands = readme::five_minutes();
    assert!(commands.len() <= MOST_COMMANDS, "{commands:?}");
    assert!(commands.iter().any(|(on, _)| *on == On::Main) && commands.iter().any(|(on, _)| *on == On::Secondary));
    let mut token = String::new();
    for (on, command) in commands {
        let machine = if on == On::Main { paris } else { lyon };
        let command = command.replace("NAME.cab", update);
        if command.starts_with("curl ") {
            lyon.until("the first byte", || lyon.sh(&command).status.success().then_some(()));
            continue;
        }
        let said = machine.said(&command, &machine.sh_with(&command, &token));
        if command.starts_with("wuasync pair invite") {
            token = format!("{}\n", said.trim().lines().last().unwrap());
        }
    }
    token.trim().to_owned()
}

/// The journal has what happened with its fields, and no secret: neither the token nor a part of it, nor a passphrase.
fn journals_have_fields_and_no_secret(paris: &Machine, lyon: &Machine, token: &str) {
    paris.ok("echo 'correct horse battery' >phrase && wuasync backup sealed --passphrase-file phrase && rm phrase");
    paris.ok("wuasync jobs run copy-ledger");
    for (machine, field, value) in [
        (paris, "WUASYNC_MEMBER", "lyon"),
        (paris, "WUASYNC_JOB", "copy-ledger"),
        (lyon, "WUASYNC_NAME", "paris"),
        (lyon, "WUASYNC_FOLDER", "waptwua"),
    ] {
        let found = machine.until(&format!("{field}={value} is in the journal"), || {
            journal(machine, &format!("{field}={value}")).into_iter().next()
        });
        assert_eq!((&found[field], &found["SYSLOG_IDENTIFIER"]), (&json!(value), &json!("wuasync")), "{found}");
        assert!(found["PRIORITY"].is_string() && found["MESSAGE"].is_string(), "{found}");
    }
    for machine in [paris, lyon] {
        let everything = machine.ok("journalctl -o json --all");
        assert!(everything.lines().count() > 20);
        for secret in [token, &token[token.len() - 24..], "horse battery"] {
            assert!(!everything.contains(secret), "{secret:?} is in the journal");
        }
    }
}

/// What the journal has of the daemon since the machine was switched on, with this field.
fn journal(machine: &Machine, field: &str) -> Vec<Value> {
    let lines = machine.ok(&format!("journalctl -b -u wuasync -o json {field}"));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn users_and_rights(paris: &Machine, lyon: &Machine, update: &str) {
    let user = |machine: &Machine| machine.ok("ps -o user= -p $(systemctl show -P MainPID wuasync)");
    assert_eq!((user(paris).trim(), user(lyon).trim()), ("wapt", "wuasync"));
    let rights = |machine: &Machine, path: &str| machine.ok(&format!("stat -c '%U:%G %a' {path}")).trim().to_owned();
    assert_eq!(rights(paris, "/var/www/waptwua"), "wapt:www-data 750", "what was there stays");
    assert_eq!(rights(lyon, &format!("/var/www/waptwua/{update}")), "wuasync:www-data 640");
    assert_eq!(rights(lyon, "/var/lib/wuasync").split_once(' ').unwrap().1, "700");
    assert_eq!(rights(lyon, "/run/wuasync/control.sock"), "wuasync:wuasync-admin 660");
    assert_eq!(rights(lyon, "/etc/wuasync"), "root:wuasync-admin 750");
    let says = |machine: &Machine, words: &str| {
        let words = words.to_owned();
        machine.until("systemd is told how it is", || {
            machine.ok("systemctl show -P StatusText wuasync").contains(&words).then_some(())
        });
    };
    says(paris, "main paris: 1 files");
    says(lyon, "connected to paris");
    for machine in [paris, lyon] {
        let wrong =
            machine.ok("systemctl --failed --no-legend; systemd-analyze verify /usr/lib/systemd/system/wuasync* 2>&1");
        assert_eq!(wrong, "", "{UNITS}");
        machine.ok("man -w wuasync-jobs-run >/dev/null 2>&1 || test -e /usr/share/man/man1/wuasync-jobs-run.1");
    }
    for unit in paris.ok(&format!("ls {UNITS}.service")).split_whitespace() {
        paris.ok(&format!("systemd-analyze --offline=yes --threshold={EXPOSURE} security --no-pager {unit} >&2"));
    }
}

fn arrives(paris: &Machine, lyon: &Machine, name: &str) {
    let there = fs::read(paris.root(&format!("/var/www/waptwua/{name}"))).unwrap();
    let url = format!("http://localhost/waptwua/{name}");
    lyon.until("a file arrives", || {
        let got = lyon.sh(&format!("curl -sf {url}"));
        (got.status.success() && got.stdout == there).then_some(())
    });
}

/// The socket unit has 443 as well, and no certificate is configured.
fn where_no_setting_listens_nobody_waits(machine: &Machine) {
    let closed = machine.sh("timeout 20 curl -sk https://localhost/");
    // 124: it waited in vain.
    assert!(!matches!(closed.status.code(), None | Some(0 | 124)), "{closed:?}");
}

/// Asks a machine for one file again and again, each time on a connection of its own.
struct Asking<'m> {
    machine: &'m Machine,
    asker: Child,
}

impl<'m> Asking<'m> {
    fn of(machine: &'m Machine, name: &str) -> Self {
        let script = format!(
            "rm -f asked enough; : >lost; while [ ! -e enough ]; do \
             curl -sf --max-time 50 -o /dev/null http://localhost/waptwua/{name} || echo $? >>lost; echo >>asked; done"
        );
        let asker = machine.command(&script).spawn().unwrap();
        let asking = Self { machine, asker };
        asking.goes_on();
        asking
    }

    /// Until some more were answered.
    fn goes_on(&self) {
        let asked = || self.machine.sh("wc -l <asked").stdout;
        let before = asked();
        for _ in 0..3 {
            self.machine.until("it is asked", || (asked() != before).then_some(()));
        }
    }

    fn lost_nothing(mut self) {
        self.goes_on();
        self.machine.ok("touch enough");
        self.asker.wait().unwrap();
        assert_eq!(self.machine.ok("cat lost"), "", "answers of curl that were no file");
    }
}

fn a_daemon_that_stands_still_is_started_again(machine: &Machine) {
    machine.write("/etc/systemd/system/wuasync.service.d/test.conf", "[Service]\nWatchdogSec=5s\n");
    machine.ok("systemctl daemon-reload && systemctl restart wuasync");
    let pid = machine.ok("systemctl show -P MainPID wuasync");
    machine.ok(&format!("kill -STOP {pid}"));
    machine.until("it is started again", || {
        let now = machine.ok("systemctl show -P MainPID wuasync");
        (now != pid && now.trim() != "0" && machine.sh("wuasync status").status.success()).then_some(())
    });
    assert_eq!(machine.ok("systemctl show -P NRestarts wuasync").trim(), "1");
    fs::remove_file(machine.root("/etc/systemd/system/wuasync.service.d/test.conf")).unwrap();
    machine.ok("systemctl daemon-reload && systemctl restart wuasync");
}

fn cut_off_in_mid_transfer(paris: &Machine, lyon: &mut Machine) {
    let partials = lyon.root("/var/www/.wuasync/waptwua/partials");
    let large = drop_update(paris, "large", 150_000_000);
    lyon.until("it is on its way", || (written(&partials) > 0).then_some(()));
    lyon.cut();
    assert!(!lyon.root(&format!("/var/www/waptwua/{large}")).exists(), "it was cut off in mid-transfer");
    lyon.boot();
    arrives(paris, lyon, &large);
    assert_eq!(lyon.ok("systemctl is-active wuasync.socket wuasync.service"), "active\nactive\n", "after a boot");
}

/// Bytes of the files in a directory.
fn written(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

fn upgrade(machine: &Machine, name: &str) {
    let before = machine.ok("systemctl show -P MainPID wuasync");
    let asking = Asking::of(machine, name);
    machine.ok("apt-get install -y ./next.deb");
    asking.lost_nothing();
    assert!(machine.ok("dpkg -s wuasync").contains("Version: 0.1.1"));
    assert_ne!(machine.ok("systemctl show -P MainPID wuasync"), before, "the new daemon runs");
    assert!(machine.json("status")["parent"]["address"].as_str().is_some(), "it follows as before");
}

fn purge(machine: &Machine, name: &str) {
    machine.ok("apt-get purge -y wuasync");
    assert_eq!(machine.sh("systemctl is-active wuasync wuasync.socket").stdout, b"inactive\ninactive\n");
    machine.ok(&format!("test -e /var/lib/wuasync/keys/transport.pem && test -e /var/www/waptwua/{name}"));
    machine.ok(
        "apt-get install -y ./next.deb && echo 'wuasync wuasync/purge-state boolean true' | debconf-set-selections \
         && apt-get purge -y wuasync && test ! -e /var/lib/wuasync && test ! -e /etc/wuasync/wuasync.toml",
    );
    machine.ok(&format!("test -e /var/www/waptwua/{name}"));
}

/// What shifts a machine's clock.
fn clock_shift(desk: &Path) -> PathBuf {
    let shift = desk.join("clockshift.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/booted/clockshift.c");
    here(&format!("cc -shared -fPIC -O2 -Wall -Werror -o {} {source}", shift.display()));
    shift
}

fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_second()
}

/// How a job stands.
fn job(machine: &Machine, name: &str) -> Value {
    let listed = machine.json("jobs list");
    listed["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap().clone()
}

#[test]
fn timers_and_the_daemon_run_each_job_once_on_ordinary_days_on_patch_tuesday_and_when_clocks_change() {
    let desk = tempfile::tempdir().unwrap();
    let package = package::build(desk.path(), "0.1.0");
    let shift = clock_shift(desk.path());
    let mut nice = Machine::new("nice");
    fs::copy(&package, nice.root("/root/wuasync.deb")).unwrap();
    for timer in ["refresh", "cleanup"] {
        let drop_in = format!("/etc/systemd/system/wuasync-{timer}.timer.d/test.conf");
        nice.write(&drop_in, "[Timer]\nRandomizedDelaySec=0\n");
    }
    // Nobody there is asked: the address is a private one.
    nice.write(
        "/etc/wuasync/conf.d/test.toml",
        "upstream.cab_url = \"http://127.0.0.1:9/wsusscn2.cab\"\nlimits.disk_reserve = \"1 MiB\"\n",
    );
    fs::remove_file(nice.root("/etc/localtime")).ok();
    std::os::unix::fs::symlink("/usr/share/zoneinfo/Europe/Paris", nice.root("/etc/localtime")).unwrap();

    // Saturday noon: all that never ran runs.
    boot_at(&mut nice, &shift, "2026-03-28T11:00:00Z");
    nice.ok("apt-get install -y ./wuasync.deb && systemctl enable --now wuasync.socket wuasync wuasync-refresh.timer \
             wuasync-scan.timer wuasync-scrub.timer wuasync-cleanup.timer");
    runs_from(&nice, "copy-ledger", "2026-03-28T11:00:00Z");
    assert_eq!(job(&nice, "refresh-cab")["by"], "wuasync-refresh.timer");
    assert_eq!(job(&nice, "copy-ledger")["by"], "daemon");
    assert_eq!(job(&nice, "cleanup")["by"], "wuasync-cleanup.timer");
    let (needed, needless) = one_of_two_files_is_needed(&nice);
    nice.shut_down();

    // The night in which half past two does not exist: the moment after the gap that is as late stands for it.
    was_last_triggered(&nice, "cleanup", "2026-03-28T11:00:00Z");
    boot_at(&mut nice, &shift, "2026-03-29T01:29:54Z");
    assert_eq!(
        nice.ok("wuasync jobs run copy-ledger --due --json | grep -c 'not due before 2026-03-29T01:30:00Z'"),
        "1\n"
    );
    runs_from(&nice, "copy-ledger", "2026-03-29T01:30:00Z");
    // Its timer's first line names a time that does not exist, its second one was while the machine was off.
    runs_from(&nice, "cleanup", "2026-03-29T01:29:54Z");
    nice.ok(&format!("test -e /var/www/waptwua/{needless}")); // too young to go
    nice.shut_down();

    // An ordinary night: the timer at the window's opening, and once more, as does the daemon, a minute before its end.
    was_last_triggered(&nice, "cleanup", "2026-04-07T01:29:00Z");
    boot_at(&mut nice, &shift, "2026-04-08T00:29:54Z");
    runs_from(&nice, "cleanup", "2026-04-08T00:30:00Z");
    let ran = job(&nice, "cleanup")["last"].clone();
    assert_eq!(ran["failed"], false, "{ran}");
    assert!(ran["outcome"].as_str().unwrap().starts_with("1 files with "), "{ran}");
    nice.ok(&format!("test ! -e /var/www/waptwua/{needless} && curl -sfo /dev/null localhost/waptwua/{needed}"));
    nice.ok("systemctl start wuasync-cleanup.service");
    assert_eq!(journal(&nice, "WUASYNC_JOB=cleanup").len(), 1, "whoever asks within the night");
    nice.shut_down();
    was_last_triggered(&nice, "cleanup", "2026-04-08T00:30:00Z");
    boot_at(&mut nice, &shift, "2026-04-08T01:28:54Z");
    nice.until("the timer has asked again", || {
        let elapsed = nice.ok("systemctl show -P LastTriggerUSec wuasync-cleanup.timer");
        let is_over = nice.ok("systemctl show -P ActiveState wuasync-cleanup.service") == "inactive\n";
        (!elapsed.contains(" 02:30:00 ") && is_over).then_some(())
    });
    let standing = job(&nice, "cleanup");
    assert_eq!(standing["last"], ran, "once in a night");
    assert_eq!(standing["next_at"].as_i64(), Some(seconds("2026-04-09T01:29:00Z")), "the daemon's next moment");
    nice.shut_down();

    // Patch Tuesday: what timer and daemon have missed runs once, and at Microsoft's hour once more.
    boot_at(&mut nice, &shift, "2026-11-10T17:59:50Z");
    runs_from(&nice, "refresh-cab", "2026-11-10T18:00:00Z");
    nice.ok("systemctl start wuasync-refresh.service && wuasync jobs run refresh-cab --due");
    let history = nice.json("refresh --history")["refreshes"].clone();
    let begun: Vec<_> = history.as_array().unwrap().iter().map(|one| one["started_at"].as_i64().unwrap()).collect();
    let between = |from: &str, to: &str| begun.iter().filter(|at| (seconds(from)..seconds(to)).contains(at)).count();
    assert_eq!(between("2026-11-10T17:59:00Z", "2026-11-10T18:00:00Z"), 1, "{begun:?}");
    assert_eq!(between("2026-11-10T18:00:00Z", "2026-11-11T18:00:00Z"), 1, "{begun:?}");
    nice.shut_down();
}

/// Two files that hosts told of, of which one host needs the first and none the second; their names.
fn one_of_two_files_is_needed(machine: &Machine) -> (String, String) {
    let names = ["needed", "needless"].map(|stem| {
        let script = format!(
            "echo {stem} >update && sha1=$(sha1sum update | cut -d' ' -f1) \
             && install -o wuasync -g www-data -m 640 update /var/www/waptwua/{stem}_$sha1.cab && echo {stem}_$sha1.cab"
        );
        machine.ok(&script).trim().to_owned()
    });
    let ids = ["0fa1201d-4330-4fa8-8ae9-b877473b6441_1", "1fa1201d-4330-4fa8-8ae9-b877473b6441_1"];
    let updates = ids.iter().zip(&names).map(|(id, name)| {
        let url = format!("http://download.windowsupdate.com/c/msdownload/{name}");
        json!({"update_id": id, "title": name, "kbids": ["5000001"], "download_urls": [url]})
    });
    let report = json!({
        "uuid": "pc1", "computer_fqdn": "pc1.example.org", "waptwua_status": {"enabled": true},
        "waptwua_updates": updates.collect::<Vec<_>>(),
        "waptwua_updates_localstatus": [
            {"update_id": ids[0], "allowed": true, "installed": false},
            {"update_id": ids[1], "installed": false, "hidden": true},
        ],
    });
    machine.until("both are adopted", || (machine.json("status")["folders"][0]["files"] == names.len()).then_some(()));
    machine.write("/root/hosts.json", &report.to_string());
    machine.ok("wuasync hosts import hosts.json");
    let [needed, needless] = names;
    (needed, needless)
}

fn boot_at(machine: &mut Machine, shift: &Path, time: &str) {
    let now = jiff::Timestamp::now().as_second();
    machine.boot_at(shift, seconds(time) - now);
}

/// Tells systemd when a timer was last due: files of a machine have this one's times.
fn was_last_triggered(machine: &Machine, timer: &str, time: &str) {
    let stamp = machine.root(&format!("/var/lib/systemd/timers/stamp-wuasync-{timer}.timer"));
    let at = UNIX_EPOCH + Duration::from_secs(seconds(time).unsigned_abs());
    fs::File::options().write(true).open(stamp).unwrap().set_modified(at).unwrap();
}

/// Waits until a job has begun, and ended, at or soon after a time.
fn runs_from(machine: &Machine, name: &str, time: &str) {
    let due = seconds(time);
    let began = machine.until(&format!("{name} runs at {time}"), || {
        let last = job(machine, name)["last"].clone();
        last["finished_at"].as_i64().and(last["started_at"].as_i64()).filter(|began| *began >= due)
    });
    assert!(began < due + SOON, "{name} began {} s late", began - due);
}
