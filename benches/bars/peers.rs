//! The programs that we are measured beside.

use crate::meter::{Meter, Reading};
use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// A server of a peer; it ends with this value.
pub(crate) struct Peer {
    place: TempDir,
    server: Child,
    port: u16,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

pub(crate) fn is_installed(program: &str) -> bool {
    let script = format!("command -v {program} || test -x /usr/sbin/{program}");
    let found = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status().unwrap().success();
    if !found {
        eprintln!("{program} is not installed: its peer is left out");
    }
    found
}

/// rsync's own daemon: no encryption, no proof.
pub(crate) fn rsync_daemon(folder: &Path) -> Peer {
    let (place, port) = (place(), free_port());
    let config = place.path().join("rsyncd.conf");
    let text =
        format!("use chroot = no\nuid = 0\ngid = 0\nport = 0\n[data]\npath = {}\nread only = yes\n", folder.display());
    fs::write(&config, text).unwrap();
    let server = Command::new("rsync")
        .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
        .arg(format!("--port={port}"))
        .arg(format!("--config={}", config.display()))
        .spawn()
        .unwrap();
    Peer { place, server, port }.up()
}

/// An SSH server for rsync over SSH, with keys of its own.
pub(crate) fn ssh_server() -> Peer {
    let (place, port) = (place(), free_port());
    for key in ["host", "user"] {
        let path = place.path().join(key);
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
        assert!(made.unwrap().success(), "ssh-keygen");
    }
    fs::copy(place.path().join("user.pub"), place.path().join("authorized")).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let path = |name: &str| place.path().join(name).display().to_string();
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\nUsePAM no\nPidFile none\n",
        path("host"),
        path("authorized")
    );
    fs::File::create(place.path().join("sshd_config")).unwrap().write_all(text.as_bytes()).unwrap();
    let mut server = Command::new("/usr/sbin/sshd");
    server.args(["-D", "-e", "-f"]).arg(path("sshd_config")).stderr(Stdio::null());
    let server = server.spawn().unwrap();
    Peer { place, server, port }.up()
}

impl Peer {
    fn up(self) -> Self {
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::yield_now();
        }
        self
    }

    /// Copies the daemon's folder into an empty one.
    pub(crate) fn rsync(&self) -> Reading {
        self.copy(Command::new("rsync").arg("-a").arg(format!("rsync://127.0.0.1:{}/data/", self.port)))
    }

    /// Copies a folder over SSH into an empty one.
    pub(crate) fn rsync_over_ssh(&self, folder: &Path) -> Reading {
        let key = self.place.path().join("user");
        let shell = format!(
            "ssh -q -p {} -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            self.port,
            key.display()
        );
        let from = format!("127.0.0.1:{}/", folder.display());
        self.copy(Command::new("rsync").args(["-a", "-e", &shell]).arg(from))
    }

    fn copy(&self, command: &mut Command) -> Reading {
        let to = place();
        let meter = Meter::begin(&[self.server.id()]);
        let copied = command.arg(to.path()).status().unwrap();
        assert!(copied.success(), "{command:?}");
        meter.end(None)
    }
}

/// From the start of a command to its end.
pub(crate) fn timed(command: &mut Command) -> Reading {
    let meter = Meter::begin(&[]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
    meter.end(None)
}

fn place() -> TempDir {
    tempfile::Builder::new().prefix("wuasync-peer-").tempdir().unwrap()
}

/// Of a network of our own, in which nobody else takes it.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
