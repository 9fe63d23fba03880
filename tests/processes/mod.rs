//! Daemons for tests: the real binary in processes of its own, on real folders and real sockets.
//!
//! Nothing here waits for a fixed time: results are polled for, up to a deadline that only a broken
//! program reaches. A daemon that logged an ERROR fails its test.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use serde_json::Value;
use sha1::Digest;
use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant, SystemTime},
};

/// Longer than anything here takes; only a broken program reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// From the start of the process to the line that says ready.
const READY: Duration = Duration::from_secs(20);

/// A place on disk, with the daemon that may run on it.
pub struct Node {
    place: tempfile::TempDir,
    /// Log, configuration and socket, where the place may lose its disk.
    desk: tempfile::TempDir,
    name: String,
    role: &'static str,
    settings: String,
    /// `TZ` of the daemon.
    zone: Option<String>,
    child: Option<Child>,
    ready: Value,
    /// Words of errors that this test provokes on purpose.
    expected_errors: Vec<&'static str>,
}

impl Node {
    pub fn main(name: &str) -> Self {
        Self::new(name, "main", &std::env::temp_dir())
    }

    pub fn secondary(name: &str) -> Self {
        Self::new(name, "secondary", &std::env::temp_dir())
    }

    /// With folder and state in a directory of `disk`.
    pub fn main_on(disk: &Path, name: &str) -> Self {
        Self::new(name, "main", disk)
    }

    /// With folder and state in a directory of `disk`.
    pub fn secondary_on(disk: &Path, name: &str) -> Self {
        Self::new(name, "secondary", disk)
    }

    fn new(name: &str, role: &'static str, disk: &Path) -> Self {
        let temporary = |place: &Path| tempfile::Builder::new().prefix("wuasync-test-").tempdir_in(place).unwrap();
        let node = Self {
            place: temporary(disk),
            desk: temporary(&std::env::temp_dir()),
            name: name.to_owned(),
            role,
            settings: String::new(),
            zone: None,
            child: None,
            ready: Value::Null,
            expected_errors: vec![],
        };
        fs::create_dir_all(node.folder()).unwrap();
        node.write_config();
        node
    }

    /// Adds TOML that follows the usual sections: further sections only.
    pub fn with(mut self, settings: &str) -> Self {
        self.settings.push_str(settings);
        self.write_config();
        self
    }

    /// With clocks on the wall that show this time of day at this moment, as `HH:MM:SS`.
    pub fn at_wall_time(mut self, time: &str) -> Self {
        self.zone = Some(zone_of(time));
        self
    }

    /// An ERROR with these words does not fail the test.
    pub fn expecting_error(mut self, words: &'static str) -> Self {
        self.expected_errors.push(words);
        self
    }

    fn write_config(&self) {
        let Self { name, role, settings, .. } = self;
        let (state, control, folder) = (self.state(), self.control(), self.folder());
        let text = format!(
            "role = \"{role}\"\nname = \"{name}\"\nstate_dir = {state:?}\ncontrol = {control:?}\n\n\
             [[folder]]\nname = \"waptwua\"\npath = {folder:?}\n\n\
             [admin]\nlisten = [\"127.0.0.1:0\"]\n\n[sync]\nlisten = \"127.0.0.1:0\"\n\n{settings}"
        );
        let http = if settings.contains("[http]") { "" } else { "\n[http]\nlisten = [\"127.0.0.1:0\"]\n" };
        fs::write(self.config(), text + http).unwrap();
        if !settings.contains("cab_url") {
            // Nobody asks the real Microsoft.
            let beside = self.config().with_file_name("conf.d");
            fs::create_dir_all(&beside).unwrap();
            fs::write(beside.join("no-edition.toml"), "[upstream]\ncab_url = \"\"\n").unwrap();
        } else {
            fs::remove_dir_all(self.config().with_file_name("conf.d")).ok();
        }
    }

    pub fn start(mut self) -> Self {
        self.start_again();
        self
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start_again(&mut self) {
        let command = self.command(["serve"]);
        self.start_by(command);
    }

    /// Starts the daemon behind other words, such as `nsenter` and its arguments.
    pub fn start_with(&mut self, words: Vec<String>) {
        let own = self.command(["serve"]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(own.get_program()).args(own.get_args()).stdin(Stdio::null());
        self.start_by(command);
    }

    /// Starts the daemon with these variables set.
    pub fn start_with_env(&mut self, variables: &[(&str, &str)]) {
        let mut command = self.command(["serve"]);
        command.envs(variables.iter().copied());
        self.start_by(command);
    }

    fn start_by(&mut self, mut command: Command) {
        let log = fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        command.envs(self.zone.as_ref().map(|zone| ("TZ", zone)));
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).ok();
            sender.send(line).ok();
        });
        let line = receiver.recv_timeout(READY).unwrap_or_default();
        self.child = Some(child);
        let Ok(ready) = serde_json::from_str(&line) else {
            panic!("{} did not come up; it said {line:?}; its log:\n{}", self.name, self.log());
        };
        self.ready = ready;
    }

    /// The one line of standard output.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    pub fn http(&self) -> SocketAddr {
        self.ready["http"][0].as_str().unwrap().parse().unwrap()
    }

    pub fn admin(&self) -> SocketAddr {
        self.ready["admin"][0].as_str().unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and the wait for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.ended()
    }

    /// Waits until the process ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        let name = self.name.clone();
        wait(&format!("{name} ends"), || child.try_wait().unwrap())
    }

    pub fn place(&self) -> &Path {
        self.place.path()
    }

    pub fn folder(&self) -> PathBuf {
        self.place().join("www/waptwua")
    }

    pub fn state(&self) -> PathBuf {
        self.place().join("state")
    }

    pub fn config(&self) -> PathBuf {
        self.desk.path().join("wuasync.toml")
    }

    pub fn control(&self) -> PathBuf {
        self.desk.path().join("control.sock")
    }

    fn log_path(&self) -> PathBuf {
        self.desk.path().join("log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Changes the configuration on disk.
    pub fn reconfigure(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.config(), text.replace(from, to)).unwrap();
    }

    /// SIGHUP.
    pub fn reload(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// The binary with this node's configuration.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wuasync"));
        command.arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command.env_remove("WUASYNC_LOG").env_remove("RUST_LOG");
        command
    }

    /// A command of one line, without blanks in its arguments.
    pub fn cli(&self, line: &str) -> Answer {
        self.command(line.split(' ')).output().unwrap().into()
    }

    /// A command that has to succeed.
    pub fn ok(&self, line: &str) -> Answer {
        let answer = self.cli(line);
        assert_eq!(answer.exit, 0, "{line}: {answer:?}");
        answer
    }

    /// A command that has to succeed, with what it answered as JSON.
    pub fn json(&self, line: &str) -> Value {
        let answer = self.ok(&format!("{line} --json"));
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{line}: {error}: {answer:?}"))
    }

    /// A command that has to succeed, with each line of its answer as JSON.
    pub fn json_lines(&self, line: &str) -> Vec<Value> {
        let answer = self.ok(&format!("{line} --json"));
        answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts the daemon again on the UDP port that it had.
    pub fn start_on_its_ports(&mut self) {
        let sync = self.ready["sync"].as_str().unwrap().to_owned();
        let text = fs::read_to_string(self.config()).unwrap();
        let had = "[sync]\nlisten = \"127.0.0.1:0\"";
        fs::write(self.config(), text.replace(had, &format!("[sync]\nlisten = \"{sync}\""))).unwrap();
        self.start_again();
    }

    pub fn cli_with_input(&self, line: &str, input: &str) -> Answer {
        let mut command = self.command(line.split(' '));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    pub fn status(&self) -> Value {
        let (status, _, body) = http_get(self.admin(), "/api/v1/status");
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    /// A number of `/metrics`, such as `received_bytes_total`.
    pub fn metric(&self, name: &str) -> u64 {
        let (_, _, body) = http_get(self.admin(), "/metrics");
        let text = String::from_utf8(body).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("wuasync_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Whether `status` tells of something that needs a person, in these words.
    pub fn tells(&self, words: &str) -> bool {
        let status = self.status();
        let attention = status["attention"].as_array().unwrap();
        attention.iter().any(|entry| entry["what"].as_str().unwrap().contains(words))
    }

    /// What a host gets.
    pub fn get(&self, name: &str) -> (u16, String, Vec<u8>) {
        http_get(self.http(), &format!("/waptwua/{name}"))
    }

    /// Waits until hosts get these bytes.
    pub fn serves(&self, name: &str, bytes: &[u8]) {
        wait(&format!("{} serves {name}", self.name), || {
            let (status, _, body) = self.get(name);
            assert!(status != 200 || body == bytes, "{} serves {name} wrongly", self.name);
            (status == 200).then_some(())
        });
    }

    /// Joins with a token that `main` gives.
    pub fn joins(&self, main: &Node) {
        let token = main.token(&format!("pair invite {}", self.name));
        self.ok(&format!("join {token}"));
    }

    /// An invitation's token.
    pub fn token(&self, line: &str) -> String {
        self.ok(line).out.lines().last().unwrap().to_owned()
    }

    /// Waits until this node holds all that `main` signed.
    pub fn catches_up_with(&self, main: &Node) {
        wait(&format!("{} catches up with {}", self.name, main.name), || {
            let (own, theirs) = (self.status(), main.status());
            let same = ["epoch", "seq"].iter().all(|key| own["state"][key] == theirs["state"][key]);
            (same && own["folders"][0]["missing_files"] == 0).then_some(())
        });
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A mutable file that was quiet for long enough.
    pub fn write_old(&self, name: &str, bytes: &[u8]) {
        let elsewhere = self.place().join("old");
        fs::write(&elsewhere, bytes).unwrap();
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        fs::File::options().append(true).open(&elsewhere).unwrap().set_modified(an_hour_ago).unwrap();
        fs::rename(elsewhere, self.folder().join(name)).unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- the log of {}:\n{log}", self.name);
            return;
        }
        let is_bad = |line: &&str| {
            (line.contains("ERROR") || line.contains("panicked"))
                && !self.expected_errors.iter().any(|words| line.contains(words))
        };
        if let Some(bad) = log.lines().find(is_bad) {
            panic!("{} logged {bad:?}; its log:\n{log}", self.name);
        }
    }
}

/// The `TZ` of a place whose clocks show `time` (`HH:MM:SS`) at this moment.
fn zone_of(time: &str) -> String {
    let shown = time.split(':').fold(0, |seconds, part| seconds * 60 + part.parse::<i64>().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64 % 86_400;
    // West of Greenwich is positive in POSIX, and at most half a day away.
    let west = (now - shown + 43_200).rem_euclid(86_400) - 43_200;
    let (sign, west) = (if west < 0 { "-" } else { "" }, west.abs());
    format!("TST{sign}{}:{:02}:{:02}", west / 3_600, west / 60 % 60, west % 60)
}

/// What a command left behind.
#[derive(Debug)]
pub struct Answer {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl From<std::process::Output> for Answer {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// One request on a connection of its own: status, head, body.
pub fn http_get(at: SocketAddr, path: &str) -> (u16, String, Vec<u8>) {
    http(at, "GET", path)
}

pub fn http(at: SocketAddr, method: &str, path: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = unchunked(&head, answer.split_off(end));
    (status, head, body)
}

fn unchunked(head: &str, body: Vec<u8>) -> Vec<u8> {
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return body;
    }
    let (mut rest, mut whole) = (body.as_slice(), Vec::new());
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

/// Polls a condition; the interval is short, the patience long.
pub fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program that has to succeed.
pub fn run(program: &str, arguments: &[&OsStr]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Runs a line of shell with `$1`, `$2`.. that has to succeed.
pub fn sh(script: &str, arguments: &[&Path]) {
    let mut all = vec![OsStr::new("-c"), OsStr::new(script), OsStr::new("sh")];
    all.extend(arguments.iter().map(|path| path.as_os_str()));
    run("sh", &all);
}

/// An immutable name for these bytes.
pub fn immutable(stem: &str, bytes: &[u8]) -> String {
    format!("{stem}_{}.cab", data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)))
}

/// Bytes that no two seeds share.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Every file below a folder with the hash of its content.
pub fn listing(folder: &Path) -> Vec<(PathBuf, blake3::Hash)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(listing(&entry.path())),
            kind if kind.is_file() => found.push((entry.path(), blake3::hash(&fs::read(entry.path()).unwrap()))),
            _ => found.push((entry.path(), blake3::hash(b""))),
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Files of a folder by their names in it, with the hash of their content.
pub fn contents(folder: &Path) -> Vec<(String, blake3::Hash)> {
    let relative = |path: PathBuf| path.strip_prefix(folder).unwrap().display().to_string();
    listing(folder).into_iter().map(|(path, hash)| (relative(path), hash)).collect()
}
