//! A real nginx in Microsoft's place.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

pub struct Nginx {
    pub address: SocketAddr,
    pub place: tempfile::TempDir,
    child: Child,
}

impl Nginx {
    /// Serves the files that are put there as `host`; `more` is further configuration of its server.
    pub fn start(host: &str, more: &str) -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-test-nginx-").tempdir().unwrap();
        fs::create_dir_all(place.path().join("www/c/msdownload")).unwrap();
        // nginx takes a socket that is there already, by the address in its configuration.
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        fcntl_setfd(&socket, FdFlags::empty()).unwrap();
        let here = place.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {here}/{name};\n"))
            .concat();
        let config = format!(
            "daemon off; {user} pid {here}/pid; error_log {here}/errors;\n\
             events {{}}\nhttp {{\n{temporary}\
             log_format asked '$request_method $request_uri $status $http_range $http_if_range';\n\
             access_log {here}/asked asked;\n\
             server {{ listen {address}; root {here}/www; server_name {host}; {more} }}\n}}\n"
        );
        fs::write(place.path().join("conf"), config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| fs::exists(path).unwrap());
        let mut command = Command::new(program.expect("nginx is installed: tests/run installs it"));
        command.arg("-p").arg(place.path()).arg("-c").arg(place.path().join("conf"));
        command.arg("-e").arg(place.path().join("errors")).env("NGINX", format!("{};", socket.as_raw_fd()));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Self { address, place, child }
    }

    /// A file of `msdownload`, with a date in seconds since 1970 UTC.
    pub fn put(&self, name: &str, data: &[u8], date: i64) {
        let (path, place) = (self.place.path().join("new"), self.place.path().join("www/c/msdownload").join(name));
        fs::write(&path, data).unwrap();
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(date as u64);
        fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
        fs::rename(path, place).unwrap();
    }

    /// What was asked so far, one line each; written when an answer has ended.
    pub fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.place.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked, so that it takes its workers along.
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}
