//! Machines for tests: a real systemd on this machine's own files, in namespaces of its own.
//!
//! What a machine writes lies in memory, above the files of this one (overlayfs), and is gone with it. Its network
//! is a wire to another machine, or none. `systemd-nspawn` boots it, `nsenter` gives it commands. Nothing of this
//! machine but its files is seen in there.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Longer than anything here takes; only a broken program, or a machine that can't boot one, reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What may be written to one machine.
const DISK: &str = "size=1g";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a person who looks at the text of an error has to know.
const NEEDS: &str = "these tests boot a systemd: they need root, `systemd-nspawn`, overlayfs and namespaces";

/// A machine, switched off at first.
pub struct Machine {
    name: String,
    /// In memory: what it wrote, and where its root is put together.
    disk: PathBuf,
    nspawn: Option<Child>,
    /// Its first process, as this machine counts.
    init: u32,
}

impl Machine {
    /// A machine of this name, without a network but its own.
    pub fn new(name: &str) -> Self {
        let disk = std::env::temp_dir().join(format!("wuasync-booted-{}-{name}", std::process::id()));
        fs::create_dir(&disk).unwrap();
        let machine = Self { name: name.to_owned(), disk, nspawn: None, init: 0 };
        let at = machine.disk.display();
        here(&format!("mount -t tmpfs -o {DISK} wuasync-booted {at} && mkdir {at}/upper {at}/work {at}/root"));
        here(&format!("mount -t overlay wuasync-booted -o lowerdir=/,upperdir={at}/upper,workdir={at}/work {at}/root"));
        let network = machine.network();
        here(&format!("ip netns add {network} && ip -n {network} link set lo up"));
        // No service of this machine, and another identity.
        here(&format!(
            "rm -rf {at}/root/etc/systemd/system/*.wants {at}/root/etc/machine-id; : >{at}/root/etc/machine-id"
        ));
        // Nor what its package manager does for people afterwards, which takes longer than all else.
        here(&format!("rm -f {at}/root/etc/apt/apt.conf.d/*packagekit* {at}/root/var/lib/man-db/auto-update"));
        machine.write("/etc/hostname", &format!("{name}\n"));
        machine
    }

    /// A wire between two machines, and their addresses on it.
    pub fn connect(one: (&Self, &str), other: (&Self, &str)) {
        let (first, second) = (one.0.network(), other.0.network());
        here(&format!("ip link add e0 netns {first} type veth peer name e0 netns {second}"));
        for (machine, address) in [one, other] {
            let network = machine.network();
            here(&format!("ip -n {network} addr add {address}/24 dev e0 && ip -n {network} link set e0 up"));
        }
    }

    /// Switches it on.
    pub fn boot(&mut self) {
        self.switch_on(&["/lib/systemd/systemd"]);
    }

    /// Switches it on at another time, in seconds from the real one. `shift` is what `clockshift.c` became.
    pub fn boot_at(&mut self, shift: &Path, seconds: i64) {
        fs::copy(shift, self.root("/usr/lib/clockshift.so")).unwrap();
        let preload = ["LD_PRELOAD=/usr/lib/clockshift.so".to_owned(), format!("CLOCKSHIFT={seconds}")];
        let all = format!("[Manager]\nDefaultEnvironment=\"{}\" \"{}\"\n", preload[0], preload[1]);
        self.write("/etc/systemd/system.conf.d/clockshift.conf", &all);
        self.switch_on(&["/usr/bin/env", &preload[0], &preload[1], "/lib/systemd/systemd"]);
    }

    fn switch_on(&mut self, init: &[&str]) {
        assert!(self.nspawn.is_none(), "{} is on", self.name);
        let log = fs::File::create(self.disk.join("console")).unwrap();
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args(["-q", "--register=no", "--keep-unit", "--console=pipe", "--kill-signal=SIGRTMIN+3"]);
        nspawn.arg(format!("--network-namespace-path=/run/netns/{}", self.network()));
        nspawn.arg(format!("--machine=wu{}{}", std::process::id(), self.name));
        nspawn.arg("-D").arg(self.disk.join("root")).args(init).arg("systemd.unit=multi-user.target");
        nspawn.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // Its own filter knows fewer calls than the kernel does; those of units are what counts.
        nspawn.env("SYSTEMD_SECCOMP", "0");
        let child = nspawn.spawn().unwrap_or_else(|error| panic!("systemd-nspawn: {error}; {NEEDS}"));
        let pid = child.id();
        self.nspawn = Some(child);
        self.init = self.until("its first process is there", || {
            let children = Command::new("pgrep").args(["-P", &pid.to_string()]).output().unwrap();
            let init: u32 = String::from_utf8_lossy(&children.stdout).trim().parse().ok()?;
            Path::new(&format!("/proc/{init}/root/run/systemd/private")).exists().then_some(init)
        });
        self.until("it has booted", || {
            let state = self.sh("systemctl is-system-running");
            matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded").then_some(())
        });
    }

    /// Shuts it down in good order.
    pub fn shut_down(&mut self) {
        self.sh("systemctl poweroff");
        let mut nspawn = self.nspawn.take().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while nspawn.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "{} does not end: {}", self.name, self.console());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Cuts it off: every process is gone at once.
    pub fn cut(&mut self) {
        here(&format!("kill -KILL {}", self.init));
        self.nspawn.take().unwrap().wait().unwrap();
    }

    /// Runs a script in it.
    pub fn sh(&self, script: &str) -> Output {
        self.command(script).output().unwrap()
    }

    /// Runs a script that reads `input`.
    pub fn sh_with(&self, script: &str, input: &str) -> Output {
        let mut command = self.command(script);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs a script that has to succeed, and gives what it prints.
    pub fn ok(&self, script: &str) -> String {
        self.said(script, &self.sh(script))
    }

    /// What a command that had to succeed has printed.
    pub fn said(&self, script: &str, output: &Output) -> String {
        let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "{}: {script}: {}\n{said}{wrong}\n{}",
            self.name,
            output.status,
            self.journal()
        );
        said.into_owned()
    }

    /// What a command of wuasync answers.
    pub fn json(&self, command: &str) -> serde_json::Value {
        let said = self.ok(&format!("wuasync --json {command}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
    }

    /// Polls for something, up to a deadline.
    pub fn until<T>(&self, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = ready() {
                return value;
            }
            let standing = self.nspawn.is_some() && Instant::now() < deadline;
            assert!(standing, "{}: in vain: {what}; {NEEDS}\n{}\n{}", self.name, self.console(), self.journal());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it runs a script with.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-u", "-i", "-n", "-p", "-C", "--", "env", "-i", PATH]);
        command.args(["HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec"]);
        command.arg(format!("cd /root; {script}")).stdin(Stdio::null());
        command
    }

    /// Writes a file of it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where a path of it is for this machine.
    pub fn root(&self, path: &str) -> PathBuf {
        self.disk.join("root").join(path.trim_start_matches('/'))
    }

    fn network(&self) -> String {
        format!("wu{}{}", std::process::id(), self.name)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.disk.join("console")).unwrap_or_default()
    }

    fn journal(&self) -> String {
        let journal = self.sh("journalctl --no-pager -o short-precise -n 60");
        String::from_utf8_lossy(&journal.stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut nspawn) = self.nspawn.take() {
            Command::new("kill").args(["-KILL", &self.init.to_string()]).status().ok();
            nspawn.kill().ok();
            nspawn.wait().ok();
        }
        let at = self.disk.display();
        let script = format!("umount {at}/root; umount {at}; rmdir {at}; ip netns del {}", self.network());
        Command::new("sh").args(["-c", &script]).status().ok();
    }
}

/// Runs a script on this machine that has to succeed.
pub fn here(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}; {NEEDS}", String::from_utf8_lossy(&output.stderr));
}
