//! The disk fills while a host waits for a file: the response ends short, nothing is left of it, everybody else
//! is served, and it goes on when there is room. On a small ext4 of its own.
//!
//! Needs root (for mounting) and the programs that `tests/run` installs; without them it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[path = "processes/mount.rs"]
mod mount;
mod origin;
mod processes;

use mount::{FileSystem, Mount};
use origin::Nginx;
use processes::{Node, http_get, immutable, noise, run, wait};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

const HOST: &str = "dl.delivery.mp.microsoft.com";
/// What stays free on the small disk.
const RESERVE: &str = "[limits]\ndisk_reserve = \"20 MB\"\n";
const SIZE: usize = 60_000_000;
/// Of a file on its way so much is read before the disk fills: more is to come than there will be room for.
const BEGINNING: usize = 3_000_000;
/// Slow enough for the disk to fill meanwhile.
const SLOWLY: &str = "limit_rate_after 4m; limit_rate 12m;";

/// A file that takes up what is free on a disk, but for so many bytes. Dropped, there is room again.
struct Filler(PathBuf);

impl Filler {
    fn leave(disk: &Path, bytes: u64) -> Self {
        let path = disk.join("filler");
        let space = rustix::fs::statvfs(disk).unwrap();
        let length = (space.f_bavail * space.f_frsize - bytes).to_string();
        run("fallocate", &["-l".as_ref(), length.as_ref(), path.as_os_str()]);
        Self(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn upstream(nginx: &Nginx) -> String {
    format!("[upstream]\nresolve = {{\"{HOST}\" = \"{}\"}}\n", nginx.address)
}

/// Puts a file at Microsoft's and tells the main where it is.
fn tell(nginx: &Nginx, main: &Node, stem: &str, bytes: &[u8]) -> String {
    let name = immutable(stem, bytes);
    nginx.put(&name, bytes, 1_600_000_000);
    main.ok(&format!("want add --on-miss --url http://{HOST}/c/msdownload/{name}"));
    name
}

/// Asks for a file, and has the beginning of it.
fn begin(node: &Node, name: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.http()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /waptwua/{name} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    let mut beginning = vec![0; BEGINNING];
    stream.read_exact(&mut beginning).unwrap();
    assert!(beginning == bytes[..BEGINNING]);
    stream
}

/// What comes after the beginning is right, and not all.
fn ends_short(mut stream: TcpStream, bytes: &[u8]) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).ok();
    assert!(BEGINNING + rest.len() < bytes.len() && bytes[BEGINNING..].starts_with(&rest));
}

fn says_later(node: &Node, name: &str) {
    let (status, head, _) = node.get(name);
    assert_eq!(status, 503, "{head}");
    assert!(head.contains("retry-after: "), "{head}");
}

/// Nothing is left of what did not fit, it is told, and the rest is served.
fn is_full_and_well(node: &Node, name: &str, (old, bytes): (&str, &[u8])) {
    for kind in ["downloads", "partials", "incoming"] {
        let place = node.place().join("www/.wuasync/waptwua").join(kind);
        wait(&format!("{kind} are dropped"), || (fs::read_dir(&place).unwrap().count() == 0).then_some(()));
    }
    assert!(!node.folder().join(name).exists());
    wait("it is told", || node.tells("no room for").then_some(()));
    let (status, _, body) = node.get(old);
    assert!(status == 200 && body == bytes);
    assert_eq!(http_get(node.http(), "/healthz").0, 200);
}

fn is_well_again(node: &Node) {
    wait("nothing is wrong any more", || (node.status()["attention"] == json!([])).then_some(()));
}

#[test]
fn a_main_whose_disk_fills_before_or_while_a_file_comes_drops_it_says_so_serves_and_recovers() {
    let disk = Mount::new(FileSystem::Ext4);
    let nginx = Nginx::start(HOST, SLOWLY);
    let main = Node::main_on(disk.path(), "paris").with(&upstream(&nginx)).with(RESERVE).start();
    let bytes = noise(1, 300_000);
    let old = (&*immutable("old", &bytes), bytes);
    main.write(old.0, &old.1);
    main.serves(old.0, &old.1);
    let (first, second, third) = (noise(2, SIZE), noise(3, SIZE), noise(4, 3_000_000));

    let filler = Filler::leave(disk.path(), 60_000_000);
    let name = tell(&nginx, &main, "first", &first);
    says_later(&main, &name);
    is_full_and_well(&main, &name, (old.0, &old.1));
    drop(filler);

    let name = tell(&nginx, &main, "second", &second);
    let response = begin(&main, &name, &second);
    let filler = Filler::leave(disk.path(), 21_000_000);
    ends_short(response, &second);
    is_full_and_well(&main, &name, (old.0, &old.1));
    says_later(&main, &name);
    drop(filler);

    let name = tell(&nginx, &main, "third", &third);
    main.serves(&name, &third);
    wait("it is held", || (main.status()["folders"][0]["held_files"] == 2).then_some(()));
    is_well_again(&main);
    assert_eq!(main.ok("check").exit, 0);
}

#[test]
fn a_secondary_whose_disk_fills_while_a_file_comes_drops_it_says_so_serves_and_gets_it_when_there_is_room() {
    let disk = Mount::new(FileSystem::Ext4);
    let nginx = Nginx::start(HOST, SLOWLY);
    let main = Node::main("paris").with(&upstream(&nginx)).start();
    let lyon = Node::secondary_on(disk.path(), "lyon").with("[mirror]\nmode = \"on-miss\"\n").with(RESERVE);
    lyon.joins(&main);
    let lyon = lyon.start();
    let bytes = noise(5, 300_000);
    let old = (&*immutable("old", &bytes), bytes);
    main.write(old.0, &old.1);
    lyon.serves(old.0, &old.1);

    // Before anybody has signed it.
    let bytes = noise(6, SIZE);
    let name = tell(&nginx, &main, "kb", &bytes);
    let response = begin(&lyon, &name, &bytes);
    let filler = Filler::leave(disk.path(), 21_000_000);
    ends_short(response, &bytes);
    is_full_and_well(&lyon, &name, (old.0, &old.1));
    // The main has it all the same, and there still is no room for it here.
    main.serves(&name, &bytes);
    says_later(&lyon, &name);
    is_full_and_well(&lyon, &name, (old.0, &old.1));
    drop(filler);
    lyon.serves(&name, &bytes);
    wait("it has its name", || lyon.folder().join(&name).exists().then_some(()));
    is_well_again(&lyon);
    lyon.catches_up_with(&main);
    assert_eq!((lyon.ok("check").exit, main.ok("check").exit), (0, 0));
}
