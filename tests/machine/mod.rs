//! A machine to set up: an overlay of this one's files that is gone with the test, entered by `chroot`.
//!
//! What is done there is really done: users, folders, files, daemons. Only `systemctl` is ours, since nothing boots:
//! it starts the service as its unit would, and notes what it was asked.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod terminal;

use crate::processes::{Answer, run, wait};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const PROGRAM: &str = "/usr/local/bin/wuasync";
/// As README starts the daemon, and its number for the end.
pub const SERVE: &str = "runuser -u wapt -g www-data -G wuasync-admin -- \
                         sh -c 'echo $$ > /run/wuasync/pid; exec /usr/local/bin/wuasync serve'";

/// What somebody wrote before.
pub const THEIRS: &str = "[admin]\nlisten = []\n[limits]\ndisk_reserve = \"1 MB\"\n";

/// A machine; unmounted when dropped.
pub struct Machine {
    place: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-machine-").tempdir().unwrap();
        run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "none".as_ref(), place.path().as_os_str()]);
        let machine = Self { place };
        for folder in ["up", "work", "root"] {
            fs::create_dir(machine.place.path().join(folder)).unwrap();
        }
        let layers = machine.place.path().display();
        let layers = format!("lowerdir=/,upperdir={layers}/up,workdir={layers}/work");
        run(
            "mount",
            &[
                "-t".as_ref(),
                "overlay".as_ref(),
                "-o".as_ref(),
                layers.as_ref(),
                "none".as_ref(),
                machine.root().as_os_str(),
            ],
        );
        for (kind, folder) in [("proc", "proc"), ("tmpfs", "run"), ("tmpfs", "tmp")] {
            let at = machine.root().join(folder);
            run("mount", &["-t".as_ref(), kind.as_ref(), "none".as_ref(), at.as_os_str()]);
        }
        run("mount", &["--bind".as_ref(), "/dev".as_ref(), machine.root().join("dev").as_os_str()]);
        fs::set_permissions(machine.root(), fs::Permissions::from_mode(0o755)).unwrap();
        run("cp", &[env!("CARGO_BIN_EXE_wuasync").as_ref(), machine.at(PROGRAM).as_os_str()]);
        machine
    }

    /// One with WAPT's user and folder, and settings that somebody wrote: no port that others may have.
    pub fn of_wapt() -> Self {
        let machine = Self::new();
        let www_data = "getent group www-data || groupadd --system www-data";
        machine.shell(&format!("useradd --system --no-create-home --shell /bin/false wapt; {www_data}"));
        machine.shell(
            "mkdir -p /var/www/waptwua && chown -R wapt:www-data /var/www/waptwua && chmod 750 /var/www/waptwua",
        );
        machine.write("/etc/wuasync/conf.d/ours.toml", THEIRS.as_bytes());
        machine
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    /// Where a path of the machine is on this one.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &[u8]) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap()
    }

    /// User and group by their names on the machine, and permissions.
    pub fn owner(&self, path: &str) -> String {
        let line = self.shell(&format!("stat -c '%U:%G %a' {path}"));
        line.trim().to_owned()
    }

    pub fn shell(&self, line: &str) -> String {
        let answer: Answer = self.inside("sh").arg("-c").arg(line).output().unwrap().into();
        assert_eq!(answer.exit, 0, "{line}: {answer:?}");
        answer.out
    }

    /// The same, whatever becomes of it, with something to read.
    pub fn shell_with(&self, line: &str, input: &str) -> Answer {
        let mut command = self.inside("sh");
        let command = command.arg("-c").arg(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that reads nothing may have ended.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        child.wait_with_output().unwrap().into()
    }

    /// Gives it a `systemctl` that starts and stops the service as its unit does; setup finds no systemd yet.
    pub fn with_systemctl(&self) {
        let script = format!(
            "#!/bin/sh\nstop() {{ [ -e /run/wuasync/pid ] || return 0; p=$(cat /run/wuasync/pid); kill $p\n\
             while [ -e /proc/$p ]; do sleep 0.05; done; rm /run/wuasync/pid; }}\n\
             start() {{ : > /root/ready; {SERVE} >/root/ready 2>>/root/log &\n\
             i=0; while ! grep -q ready /root/ready && [ $i -lt 600 ]; do sleep 0.05; i=$((i+1)); done; grep -q ready /root/ready; }}\n\
             case $1 in start) start;; stop) stop;; restart) stop; start;; esac\n"
        );
        self.write("/usr/local/bin/systemctl", script.as_bytes());
        self.shell("chmod 755 /usr/local/bin/systemctl");
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.root()).arg(program).current_dir("/").stdin(Stdio::null());
        command
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env_remove("WUASYNC_LOG")
            .env_remove("RUST_LOG");
        command
    }

    /// A command of ours; blanks part its arguments.
    pub fn wuasync(&self, line: &str, input: &str) -> Answer {
        let mut command = self.inside(PROGRAM);
        let command = command.args(line.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that reads nothing may have ended.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        child.wait_with_output().unwrap().into()
    }

    pub fn ok(&self, line: &str, input: &str) -> Answer {
        let answer = self.wuasync(line, input);
        assert_eq!(answer.exit, 0, "{line}: {answer:?}");
        answer
    }

    pub fn json(&self, line: &str, input: &str) -> serde_json::Value {
        let answer = self.ok(&format!("{line} --json"), input);
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{line}: {error}: {answer:?}"))
    }

    /// Starts the daemon, and waits until its control socket is there.
    pub fn serve(&self) {
        self.shell(&format!("{SERVE} >/root/ready 2>/root/log &"));
        wait("the daemon is there", || self.at("/run/wuasync/control.sock").exists().then_some(()));
    }

    /// Ends the daemon, if it runs, at once.
    pub fn stop(&self) {
        let Ok(pid) = fs::read_to_string(self.at("/run/wuasync/pid")) else { return };
        Command::new("kill").arg(pid.trim()).stderr(Stdio::null()).status().ok();
        let at = Path::new("/proc").join(pid.trim());
        wait("the daemon ends", || (!at.exists()).then_some(()));
        fs::remove_file(self.at("/run/wuasync/pid")).ok();
    }

    /// Everything on it that differs from this machine, with its times: a change of anything shows.
    pub fn changes(&self) -> BTreeMap<PathBuf, (u32, u32, i64, i64, u64)> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.place.path().join("up")]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    folders.push(path.clone());
                }
                let facts = (metadata.mode(), metadata.uid(), metadata.mtime(), metadata.mtime_nsec(), metadata.len());
                found.insert(path, facts);
            }
        }
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log on the machine:\n{}", fs::read_to_string(self.at("/root/log")).unwrap_or_default());
        }
        self.stop();
        for folder in ["root/dev", "root/proc", "root/run", "root/tmp", "root", ""] {
            Command::new("umount").arg("-l").arg(self.place.path().join(folder)).status().ok();
        }
    }
}
