//! A wide-area network on one machine: places with a network of their own, joined at one bridge.
//!
//! Each place is a network namespace. A place with a line reaches the bridge only through `line.c`, which makes it as
//! slow and as long as it is to be; the kernel counts what passes. All of it is gone with the value.

use super::processes::run;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// How a place is reached.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// One way.
    pub delay_ms: u32,
    /// Each way.
    pub rate_mbit: u32,
}

/// All places, and what joins them.
pub(crate) struct Network {
    desk: tempfile::TempDir,
    names: Vec<String>,
    lines: Vec<Child>,
}

impl Network {
    /// The bridge, and nobody at it.
    pub(crate) fn new() -> Self {
        let desk = tempfile::Builder::new().prefix("wuasync-wan-").tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wan/line.c");
        run("cc", &["-O2".as_ref(), "-o".as_ref(), desk.path().join("line").as_os_str(), source.as_os_str()]);
        let mut network = Self { desk, names: vec![], lines: vec![] };
        let bridge = network.add("bridge");
        here(&format!("ip -n {bridge} link add bridge type bridge; ip -n {bridge} link set bridge up"));
        network
    }

    /// Another place, at the bridge or at the end of a line; its address is [`address`] of its number, from 1 on.
    pub(crate) fn place(&mut self, line: Option<Line>) -> usize {
        let (number, bridge) = (self.names.len(), self.names[0].clone());
        let place = self.add(&format!("place{number}"));
        let wire = |from: &str, end: &str| {
            let pair = format!("ip -n {bridge} link add {end}{number} type veth peer name {from} netns");
            format!("{pair} {}", if from == "eth0" { &place } else { &bridge })
        };
        let up = |name: &str| {
            // Frames as they are on a line: none larger, all with their checksums.
            let whole = format!("ip netns exec {bridge} ethtool -K {name} tx off rx off gso off tso off gro off");
            format!("{whole} >/dev/null 2>&1; ip -n {bridge} link set {name} up")
        };
        here(&wire("eth0", "outer"));
        let at_bridge = if line.is_some() {
            here(&wire(&format!("far{number}"), "near"));
            here(&up(&format!("near{number}")));
            format!("far{number}")
        } else {
            format!("outer{number}")
        };
        here(&format!("ip -n {bridge} link set {at_bridge} master bridge"));
        here(&format!("{}; {}", up(&format!("outer{number}")), up(&at_bridge)));
        here(&format!(
            "ip netns exec {place} ethtool -K eth0 tx off rx off gso off tso off gro off >/dev/null 2>&1; true"
        ));
        here(&format!("ip -n {place} addr add {}/24 dev eth0; ip -n {place} link set eth0 up", address(number)));
        if let Some(Line { delay_ms, rate_mbit }) = line {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &bridge]).arg(self.desk.path().join("line"));
            command.args([format!("outer{number}"), format!("near{number}")]);
            command.args([delay_ms.to_string(), rate_mbit.to_string()]).stdin(Stdio::null());
            self.lines.push(command.spawn().unwrap());
        }
        number
    }

    /// What a command is put behind to run at a place.
    pub(crate) fn words(&self, place: usize) -> Vec<String> {
        ["ip", "netns", "exec", &self.names[place]].map(str::to_owned).to_vec()
    }

    /// Bytes that came to a place so far, heads of frames included.
    pub(crate) fn received(&self, place: usize) -> u64 {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[place], "cat", "/sys/class/net/eth0/statistics/rx_bytes"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().parse().unwrap()
    }

    fn add(&mut self, name: &str) -> String {
        let name = format!("wuasync-{}-{name}", std::process::id());
        self.names.push(name.clone());
        here(&format!("ip netns add {name}; ip -n {name} link set lo up"));
        name
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for line in &mut self.lines {
            line.kill().ok();
            line.wait().ok();
        }
        for name in &self.names {
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

/// Where the place of this number is reached.
pub(crate) fn address(number: usize) -> String {
    format!("10.77.0.{number}")
}

/// Runs a script that has to succeed.
fn here(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}; a network of its own needs root, iproute2 and ethtool");
}

/// The size of what has arrived of a file that is being pulled to `directory`.
pub(crate) fn arrived(directory: &Path, file: &str) -> u64 {
    let part: PathBuf = directory.join(format!(".{file}.wuasync-part"));
    fs::metadata(part).or_else(|_| fs::metadata(directory.join(file))).map_or(0, |about| about.len())
}
