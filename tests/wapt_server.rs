//! Facts of hosts from the database of a WAPT server: a real PostgreSQL, with tables as WAPT has them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::{Node, immutable, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const A: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204";
const B: &str = "1fa1201d-4330-4fa8-8ae9-b877473b6441_1";

/// A PostgreSQL that listens on a socket in a directory of its own.
struct Postgres {
    place: tempfile::TempDir,
    programs: PathBuf,
    child: Child,
}

impl Postgres {
    fn start() -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-test-postgres-").tempdir().unwrap();
        let versions = fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed: tests/run installs it");
        let programs =
            versions.flatten().map(|entry| entry.path().join("bin")).find(|path| path.join("initdb").exists());
        let programs = programs.expect("postgresql is installed: tests/run installs it");
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root.
            let here = place.path().to_str().unwrap();
            assert!(Command::new("chown").args(["postgres:", here]).status().unwrap().success());
            assert!(Command::new("chmod").args(["755", here]).status().unwrap().success());
        }
        let data = place.path().join("data");
        let made = as_its_user(&programs.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let child = as_its_user(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c"])
            .arg(format!("unix_socket_directories={}", place.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self { place, programs, child };
        wait("PostgreSQL answers", || postgres.try_sql("postgres", "SELECT 1").status.success().then_some(()));
        postgres.sql("postgres", "CREATE ROLE wapt LOGIN");
        postgres.sql("postgres", "CREATE DATABASE wapt OWNER wapt");
        postgres
    }

    fn directory(&self) -> &Path {
        self.place.path()
    }

    fn try_sql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-v", "ON_ERROR_STOP=1", "-qAt", "-h"]).arg(self.directory());
        let user = if database == "wapt" { "wapt" } else { "postgres" };
        psql.args(["-U", user, "-d", database, "-c", sql]).output().unwrap()
    }

    fn sql(&self, database: &str, sql: &str) {
        let done = self.try_sql(database, sql);
        assert!(done.status.success(), "{sql}: {done:?}");
    }
}

fn as_its_user(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::INT).ok();
        }
        self.child.wait().ok();
    }
}

/// As WAPT's server makes them, as far as anybody outside knows.
const TABLES: &str = "
    CREATE TABLE hosts (id serial PRIMARY KEY, uuid varchar UNIQUE, computer_fqdn varchar, last_seen_on varchar,
        waptwua_status jsonb, host_info jsonb);
    CREATE TABLE wsusupdates (update_id varchar PRIMARY KEY, title varchar, kbids varchar[], severity varchar,
        changetime varchar, product varchar, classification varchar, download_urls varchar[],
        superseded_update_ids varchar[]);
    CREATE TABLE hostwsus (id serial PRIMARY KEY, host_id varchar REFERENCES hosts (uuid), update_id varchar, status varchar,
        installed boolean, present boolean, hidden boolean, allowed boolean, downloaded boolean, install_date varchar,
        history jsonb);";

#[test]
fn hosts_of_a_wapt_server_on_this_machine_are_known_and_a_database_that_lacks_something_turns_that_off_and_says_so() {
    let postgres = Postgres::start();
    let kb = immutable("kb1", b"content");
    postgres.sql("wapt", TABLES);
    postgres.sql(
        "wapt",
        &format!(
            "INSERT INTO hosts (uuid, computer_fqdn, last_seen_on, waptwua_status) VALUES
                ('ABC-1', 'pc1.example.org', '2026-11-20T10:00:00', '{{\"enabled\": true, \"status\": \"OK\", \
             \"last_scan_date\": \"2026-11-20T09:00:00\"}}'), ('abc-2', NULL, NULL, NULL), ('no host: /', 'x', NULL, NULL);
             INSERT INTO wsusupdates (update_id, title, kbids, download_urls) VALUES
                ('{A}', 'an update', '{{5000001}}', '{{http://h/{kb}}}'), ('{B}', NULL, NULL, NULL), ('nonsense', NULL, NULL, NULL);
             INSERT INTO hostwsus (host_id, update_id, installed, allowed) VALUES
                ('ABC-1', '{A}', false, true), ('ABC-1', '{B}', true, NULL), ('ABC-1', 'nonsense', true, true);"
        ),
    );
    let settings = format!("[hosts]\nwapt_socket = \"{}\"\n", postgres.directory().display());
    let mut main = Node::main("paris").with(&settings).start();
    let hosts = wait("the hosts are read", || {
        let hosts = main.json("hosts list")["hosts"].as_array().unwrap().clone();
        (hosts.len() == 2).then_some(hosts)
    });
    let names: Vec<_> =
        hosts.iter().map(|host| (host["uuid"].as_str().unwrap(), host["from"].as_str().unwrap())).collect();
    assert_eq!(names, [("abc-1", "server"), ("abc-2", "server")]);
    let wants = wait("what the host needs is wanted", || {
        let wants = main.json_lines("want list");
        (!wants.is_empty()).then_some(wants)
    });
    assert_eq!((wants.len(), wants[0]["name"].as_str()), (1, Some(kb.as_str())));
    let story = main.json("hosts show pc1");
    let updates: Vec<_> = story["updates"].as_array().unwrap().iter().map(|update| &update["state"]).collect();
    assert_eq!(updates, ["PENDING", "OK"], "{story}");
    assert_eq!(
        (&story["updates"][0]["title"], &story["updates"][0]["kbs"][0]),
        (&"an update".into(), &"KB5000001".into())
    );
    main.stop();
    postgres.sql("wapt", "ALTER TABLE hostwsus DROP COLUMN installed");
    main.start_again();
    wait("the lack is told", || main.tells("has no hostwsus.installed").then_some(()));
    assert_eq!(main.json("hosts list")["known"], 2, "what was known stays");
}
