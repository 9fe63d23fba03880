//! Stock agents that ask a main which sends them on with 302: where they are sent, and that nobody is sent to a
//! repository that has sickened, whose certificate can't be verified, or that is no member any longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod line;
#[path = "processes/mount.rs"]
mod mount;
mod processes;

use line::{Line, ask};
use mount::{FileSystem, Mount};
use processes::{Node, noise, sh, wait};
use rustix::process::Signal;
use std::{
    fs,
    path::{Path, PathBuf},
};

const REDIRECT: &str = "[nearest]\nredirect = true\n";

/// Hosts of site `n`, each of which asks once unless it comes back.
struct Hosts<'l> {
    line: &'l Line,
    n: usize,
    file: String,
    bytes: Vec<u8>,
    count: u32,
}

impl<'l> Hosts<'l> {
    /// Those that want this file, which the site has.
    fn new(line: &'l Line, n: usize, bytes: Vec<u8>) -> Self {
        let file = line.publish("kb1", &bytes, &[n]);
        Self { line, n, file, bytes, count: 0 }
    }

    /// The next host asks: where it is sent, or `None` where it is served.
    fn next(&mut self) -> Option<String> {
        self.count += 1;
        self.ask(self.count)
    }

    fn ask(&self, host: u32) -> Option<String> {
        let Self { line, n, file, bytes, .. } = self;
        let seen = format!("X-Forwarded-For: 10.{n}.{}.{}\r\nX-Forwarded-Proto: http\r\n", host / 250, host % 250);
        let (status, head, body) = ask(line.main.http(), &format!("/waptwua/{file}"), &seen);
        if status == 200 {
            assert!(&body == bytes);
            return None;
        }
        assert_eq!(status, 302, "{head}");
        Some(head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().to_owned())
    }

    /// Waits until the next host is sent.
    fn one_is_sent(&mut self) -> String {
        wait("a host is sent", || self.next())
    }

    /// The site has sickened: a host that is sent there comes back, and it is the last one.
    fn nobody_follows(&mut self) {
        let may_be_sent = self.next();
        assert_eq!(may_be_sent.and_then(|_| self.ask(self.count)), None, "whoever comes back stays");
        for _ in 0..20 {
            assert_eq!(self.next(), None);
        }
    }
}

/// Stops a process and waits until none of its threads runs any longer.
fn stands_still(node: &Node) {
    node.signal(Signal::STOP);
    let threads = format!("/proc/{}/task", node.pid());
    let is_stopped = |thread: &Path| fs::read_to_string(thread.join("stat")).is_ok_and(|stat| stat.contains(") T "));
    wait("it stands still", || {
        fs::read_dir(&threads).unwrap().all(|thread| is_stopped(&thread.unwrap().path())).then_some(())
    });
}

/// A directory that is also to be found elsewhere.
struct Bound(PathBuf);

impl Bound {
    fn new(from: &Path, at: PathBuf) -> Self {
        sh("mount --bind \"$1\" \"$2\"", &[from, &at]);
        Self(at)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        sh("umount -l \"$1\"", &[&self.0]);
    }
}

#[test]
fn a_main_sends_stock_agents_to_the_nearest_repository_and_keeps_those_that_come_back() {
    let main = Node::main("paris").with("[nearest]\nredirect = true\n");
    let line = Line::start(main, vec![Node::secondary("site1")]);
    let bytes = noise(4, 300_000);
    let file = line.publish("kb1", &bytes, &[1]);
    line.main.write_old("wsusscn2.cab", b"cab");
    line.main.serves("wsusscn2.cab", b"cab");
    let get = |name: &str, host: u32, headers: &str, query: &str| {
        let headers = format!("X-Forwarded-For: 10.1.0.{host}\r\nX-Forwarded-Proto: http\r\n{headers}");
        ask(line.main.http(), &format!("/waptwua/{name}{query}"), &headers)
    };
    // The first probe of the site may still be under way.
    let mut number = 0;
    let head = wait("a host is sent", || {
        number += 1;
        let (status, head, _) = get(&file, number, "", "");
        (status == 302).then_some(head)
    });
    let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let site = line.sites[0].http();
    assert_eq!(location, format!("http://{site}/waptwua/{file}?wuasync-sent-by=paris"));
    assert!(head.contains("cache-control: no-store"), "{head}");
    let (status, _, body) = ask(site, location.split_once(&site.to_string()).unwrap().1, "");
    assert!(status == 200 && body == bytes, "what it is sent to has the file");

    let (status, _, body) = get(&file, number, "", "");
    assert!(status == 200 && body == bytes, "whoever comes back stays");
    assert_eq!(get(&file, 100, "", "?wuasync-sent-by=rome").0, 200, "whoever was sent here stays");
    assert_eq!(get("wsusscn2.cab", 101, "", "").0, 200, "the cab never");
    assert_ne!(get("wsusscn2.cab.sha1", 101, "", "").0, 302, "nor its sidecar");
    assert_eq!(get(&file, 102, "", "").0, 302);
    let https = "X-Forwarded-For: 10.1.0.103\r\n".to_owned();
    assert_eq!(ask(line.main.http(), &format!("/waptwua/{file}"), &https).0, 200, "never to a weaker scheme");
    let elsewhere = "X-Forwarded-For: 10.9.0.1\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(ask(line.main.http(), &format!("/waptwua/{file}"), elsewhere).0, 200, "no rule sends it away");
    // Nobody is sent on from there.
    let (status, _, _) = ask(site, &format!("/waptwua/{file}"), "X-Forwarded-For: 10.9.0.1\r\n");
    assert_eq!(status, 200);
}

#[test]
fn nobody_follows_a_host_that_comes_back_from_a_site_that_stands_still_or_died_until_it_is_well() {
    let mut line = Line::start(Node::main("paris").with(REDIRECT), vec![Node::secondary("site1")]);
    let mut hosts = Hosts::new(&line, 1, noise(1, 300_000));
    hosts.one_is_sent();
    stands_still(&line.sites[0]);
    hosts.nobody_follows();
    line.sites[0].signal(Signal::CONT);
    hosts.one_is_sent();

    let (file, bytes, count) = (hosts.file, hosts.bytes, hosts.count);
    line.sites[0].kill();
    let mut hosts = Hosts { line: &line, n: 1, file, bytes, count };
    hosts.nobody_follows();
    assert!(line.main.metric("http_came_back_total") >= 2);

    let (file, bytes, count) = (hosts.file, hosts.bytes, hosts.count);
    line.sites[0].start_again();
    let mut hosts = Hosts { line: &line, n: 1, file, bytes, count };
    let location = hosts.one_is_sent();
    assert!(location.starts_with(&format!("http://{}/", line.sites[0].http())), "{location}");
}

#[test]
fn nobody_follows_a_host_that_comes_back_from_a_site_whose_disk_gives_nothing() {
    let disk = Mount::new(FileSystem::Ext4);
    fs::create_dir(disk.path().join("waptwua")).unwrap();
    let site =
        Node::secondary("site1").expecting_error("Input/output error").with("[limits]\ndisk_reserve = \"1 MB\"\n");
    let _bound = Bound::new(disk.path(), site.place().join("www"));
    let line = Line::start(Node::main("paris").with(REDIRECT), vec![site]);
    let mut hosts = Hosts::new(&line, 1, noise(2, 300_000));
    let location = hosts.one_is_sent();
    let site = line.sites[0].http();
    let path = location.split_once(&site.to_string()).unwrap().1;
    assert_eq!(ask(site, path, "").0, 200);
    disk.lose_power();
    let (status, _, body) = ask(site, path, "");
    assert!(status != 200 || body != hosts.bytes, "the disk gives nothing");
    assert_eq!(ask(site, "/healthz", "").0, 200, "and the site lives");
    hosts.nobody_follows();
}

#[test]
fn nobody_is_sent_to_a_certificate_that_the_main_can_not_verify() {
    let mut site = Node::secondary("site1");
    let (cert, key) = (site.place().join("cert.pem"), site.place().join("key.pem"));
    let show = |made: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    };
    let made = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (believed, other) = (made(), made());
    show(&believed);
    site = site.with(&format!(
        "[http]\nlisten = [\"127.0.0.1:0\"]\n\n[http.tls]\nlisten = [\"127.0.0.1:0\"]\ncert = {cert:?}\nkey = {key:?}\n"
    ));
    site.start_again();
    let tls = site.ready()["http"][1].as_str().unwrap().to_owned();
    site.stop();
    let (plain, at) = ("listen = [\"127.0.0.1:0\"]\n\n[http.tls]\nlisten = [\"127.0.0.1:0\"]", tls.as_str());
    site.reconfigure(
        plain,
        &format!("listen = [\"127.0.0.1:0\"]\npublic_url = \"https://{at}\"\n\n[http.tls]\nlisten = [\"{at}\"]"),
    );
    let main = Node::main("paris");
    let ca = main.place().join("ca.pem");
    fs::write(&ca, believed.cert.pem()).unwrap();
    let line = Line::start(main.with(&format!("{REDIRECT}ca = [{ca:?}]\n")), vec![site]);
    let mut hosts = Hosts::new(&line, 1, noise(3, 300_000));
    let location = hosts.one_is_sent();
    assert!(location.starts_with(&format!("https://{tls}/waptwua/")), "{location}");

    show(&other);
    line.sites[0].reload();
    wait("the other certificate is shown", || {
        let mut command = std::process::Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "--cacert"]).arg(&cert).arg(format!("https://{tls}/healthz"));
        command.output().unwrap().status.success().then_some(())
    });
    hosts.nobody_follows();
    show(&believed);
    line.sites[0].reload();
    hosts.one_is_sent();
}

#[test]
fn nobody_is_sent_to_its_own_address_or_to_a_revoked_site() {
    let mut line = Line::start(Node::main("paris").with(REDIRECT), vec![Node::secondary("site1")]);
    line.main.ok("repositories rules add here --to site1 --agent-ip 127.0.0.0/8");
    let mut hosts = Hosts::new(&line, 1, noise(4, 300_000));
    hosts.one_is_sent();
    let path = format!("/waptwua/{}", hosts.file);
    let seen_as = |address: &str| {
        let seen = format!("X-Forwarded-For: {address}\r\nX-Forwarded-Proto: http\r\n");
        ask(line.main.http(), &path, &seen).0
    };
    assert_eq!((seen_as("127.0.0.2"), seen_as("127.0.0.1")), (302, 200), "the site's own address is 127.0.0.1");

    line.main.ok("pair revoke site1");
    wait("nobody is sent", || hosts.next().is_none().then_some(()));
    assert!((0..20).all(|_| hosts.next().is_none()));
    let (file, bytes, count) = (hosts.file, hosts.bytes, hosts.count);
    line.sites[0].stop();
    line.sites[0].start_again();
    wait("it knows that it was revoked", || line.sites[0].tells("").then_some(()));
    let mut hosts = Hosts { line: &line, n: 1, file, bytes, count };
    assert!((0..20).all(|_| hosts.next().is_none()));
    let told = line::nearest(line.main.http(), &hosts.file, "10.1.0.9");
    assert!(told["places"].as_array().unwrap().iter().all(|place| place["name"] != "site1"), "{told}");
}
