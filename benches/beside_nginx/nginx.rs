//! nginx: beside us, and in Microsoft's place.

use crate::tls::Identity;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// One worker; it ends with this value.
pub(crate) struct Nginx {
    pub(crate) place: TempDir,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Serves a folder as `/waptwua/`.
    pub(crate) fn of_files(folder: &Path, identity: &Identity) -> Self {
        let location = format!("location /waptwua/ {{ alias {}/; }}", folder.display());
        Self::start("access_log off;", &location, Some(identity))
    }

    /// `http` and `server` go where nginx's configuration has blocks of these names. In them, `{here}` is a
    /// directory of its own.
    pub(crate) fn start(http: &str, server: &str, identity: Option<&Identity>) -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-nginx-").tempdir().unwrap();
        let (plain, tls) = (free_address(), free_address());
        let here = place.path().display().to_string();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {here}/{name};\n"))
            .concat();
        let secure = identity.map_or(String::new(), |identity| {
            fs::write(place.path().join("certificate"), &identity.certificate).unwrap();
            fs::write(place.path().join("key"), &identity.key).unwrap();
            format!(
                "listen {tls} ssl; ssl_certificate {here}/certificate; ssl_certificate_key {here}/key; \
                 ssl_protocols TLSv1.3;"
            )
        });
        let config = format!(
            "daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000; pid {here}/pid; error_log {here}/errors;\n\
             events {{ worker_connections 10000; }}\n\
             http {{\n{temporary}\
             sendfile on; tcp_nopush on; keepalive_requests 1000000000; {http}\n\
             server {{ listen {plain} backlog=4096; {secure} {server} }}\n}}\n"
        );
        fs::write(place.path().join("conf"), config.replace("{here}", &here)).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| fs::exists(path).unwrap());
        let mut command = Command::new(program.expect("nginx is installed: tests/run installs it"));
        command.arg("-p").arg(place.path()).arg("-c").arg(place.path().join("conf"));
        command.arg("-e").arg(place.path().join("errors"));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(plain).is_err() {
            std::thread::yield_now();
        }
        Self { place, plain, tls, child }
    }

    /// The process that does the work, and those that look after its cache.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let master = self.child.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
        children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }
}

impl Nginx {
    /// Ends once every answer under way has ended, and is in the log.
    pub(crate) fn finish(&mut self) {
        self.signal(Signal::QUIT);
    }

    /// The master takes its workers along.
    fn signal(&mut self, signal: Signal) {
        if self.child.try_wait().unwrap().is_none() {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
            self.child.wait().unwrap();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

/// In a network of our own nobody else takes it.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
