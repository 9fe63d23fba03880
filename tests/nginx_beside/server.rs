//! nginx with the snippet of a node, keys for both sides, and a network of one's own.

use crate::processes::{Node, wait};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

/// Somebody else may take it before it is used: then the test fails, and says so.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What curl gets; failing requests fail the test.
pub(crate) fn curl(arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("curl").args(["-q", "-sS", "--noproxy", "*", "--max-time", "30"]).args(arguments).output();
    let output = output.expect("curl is installed: tests/run installs it");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

/// An nginx; it ends with this value.
pub(crate) struct Nginx {
    place: tempfile::TempDir,
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    child: Child,
}

impl Nginx {
    /// With what `wuasync config nginx` prints for `node`.
    pub(crate) fn beside(node: &Node, options: &[&str], keys: Option<&Keys>) -> Self {
        let snippet = node.ok(&[&["config", "nginx"], options].concat().join(" "));
        let place = tempfile::Builder::new().prefix("wuasync-test-nginx-").tempdir().unwrap();
        fs::write(place.path().join("snippet"), &snippet.out).unwrap();
        let (plain, tls) = (free_address(), free_address());
        let here = place.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {here}/{name};\n"))
            .concat();
        let secure = keys.map_or(String::new(), |keys| {
            let ((cert, key), ca) = (keys.of_server(), keys.ca());
            format!(
                "listen {tls} ssl; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca}; \
                 ssl_verify_client optional;"
            )
        });
        // `$upstream_addr` is empty where nginx answered by itself.
        let config = format!(
            "daemon off; user root; worker_processes 1; pid {here}/pid; error_log {here}/errors;\n\
             events {{}}\nhttp {{\n{temporary}include /etc/nginx/mime.types; gzip on;\n\
             log_format asked '[$upstream_addr] $status $uri';\naccess_log {here}/asked asked;\n\
             server {{ listen {plain}; server_name localhost; {secure}\ninclude {here}/snippet; }}\n}}\n"
        );
        fs::write(place.path().join("conf"), config).unwrap();
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].iter().find(|path| fs::exists(path).unwrap());
        let mut command = Command::new(program.expect("nginx is installed: tests/run installs it"));
        command.arg("-p").arg(place.path()).arg("-c").arg(place.path().join("conf"));
        command.arg("-e").arg(place.path().join("errors"));
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        wait("nginx listens", || {
            assert!(child.try_wait().unwrap().is_none(), "nginx refuses:\n{}", snippet.out);
            TcpStream::connect(plain).ok()
        });
        Self { place, plain, tls, child }
    }

    /// Names that it answered without the daemon, in the order of their answers' ends.
    pub(crate) fn served_itself(&self) -> Vec<String> {
        let text = fs::read_to_string(self.place.path().join("asked")).unwrap_or_default();
        let own = text.lines().filter_map(|line| line.strip_prefix("[-] 200 ").or(line.strip_prefix("[] 200 ")));
        own.filter_map(|uri| uri.rsplit('/').next()).map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let read = |file| fs::read_to_string(self.place.path().join(file)).unwrap_or_default();
            eprintln!("--- nginx was asked:\n{}--- its errors:\n{}", read("asked"), read("errors"));
        }
        // Asked, so that it takes its workers along.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

/// A certificate authority, a server's key and a host's.
pub(crate) struct Keys {
    place: tempfile::TempDir,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let place = tempfile::Builder::new().prefix("wuasync-test-keys-").tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let put = |name: &str, text: String| fs::write(place.path().join(name), text).unwrap();
        put("ca", ca.pem());
        let sides = [("server", ExtendedKeyUsagePurpose::ServerAuth), ("host", ExtendedKeyUsagePurpose::ClientAuth)];
        for (name, usage) in sides {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            put(name, params.signed_by(&key, &issuer).unwrap().pem());
            put(&format!("{name}.key"), key.serialize_pem());
        }
        Self { place }
    }

    fn path(&self, name: &str) -> String {
        self.place.path().join(name).display().to_string()
    }

    pub(crate) fn ca(&self) -> String {
        self.path("ca")
    }

    pub(crate) fn of_server(&self) -> (String, String) {
        (self.path("server"), self.path("server.key"))
    }

    pub(crate) fn of_host(&self) -> (String, String) {
        (self.path("host"), self.path("host.key"))
    }
}

/// A network of its own, with nothing but loopback: every port is free.
pub(crate) struct Network {
    holder: Child,
}

impl Network {
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare").args(["--net", "sleep", "1000"]).spawn().unwrap();
        let network = Self { holder };
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let theirs = format!("/proc/{}/ns/net", network.holder.id());
        wait("the network is there", || fs::read_link(&theirs).is_ok_and(|theirs| theirs != own).then_some(()));
        let prefix = network.prefix();
        let up = Command::new(&prefix[0]).args(&prefix[1..]).args(["ip", "link", "set", "lo", "up"]).status().unwrap();
        assert!(up.success());
        network
    }

    /// What makes a command run in it.
    pub(crate) fn prefix(&self) -> Vec<String> {
        ["nsenter", "--net", "--target", &self.holder.id().to_string(), "--"].map(str::to_owned).to_vec()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
