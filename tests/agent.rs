//! The agent against repositories of every kind: honest, dying, silent, slow, lying, without ranges.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

use sha1::Digest;
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use wuasync::{
    agent::{
        client::AgentClient,
        course::{Fault, Place},
        pull::{PullFileError, Pulled, Settings, Watch, pull},
    },
    base::clock::SystemClock,
    domain::{
        name::{FileName, FolderName},
        nearest::{NearestQuery, RepositoryUrl},
    },
};

/// How a repository behaves.
#[derive(Clone, Copy, Default)]
struct Manners {
    /// It ends the connection after so many bytes of an answer.
    dies_after: Option<usize>,
    /// It falls silent after so many bytes of an answer.
    silent_after: Option<usize>,
    /// It answers nothing else meanwhile.
    is_dead: bool,
    /// Bytes per second.
    rate: Option<usize>,
    /// The last byte of what it has is another.
    lies: bool,
    /// It answers with the whole, whatever range is asked for.
    knows_no_ranges: bool,
    /// It has not hashed the file yet.
    has_no_etag: bool,
    /// It asks to come back.
    is_busy: bool,
    /// It does not know the file.
    lacks_it: bool,
}

/// A repository of one file, which tells these places as nearest.
struct Repository {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Repository {
    fn start(bytes: &[u8], manners: Manners, nearest: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (mut bytes, log) = (bytes.to_vec(), asked.clone());
        if let Some(last) = bytes.last_mut().filter(|_| manners.lies) {
            *last ^= 1;
        }
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (bytes, nearest, log) = (bytes.clone(), nearest.clone(), log.clone());
                thread::spawn(move || serve(stream.unwrap(), &bytes, manners, &nearest, &log));
            }
        });
        Self { address, asked }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The ranges that files were asked for with; empty for whole ones.
    fn ranges(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, bytes: &[u8], manners: Manners, nearest: &[String], log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut lines, mut line) = (Vec::new(), String::new());
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            lines.push(line.trim().to_ascii_lowercase());
            line.clear();
        }
        let Some(first) = lines.first() else { return };
        if first.contains("/api/v1/repositories/nearest") {
            let places: Vec<_> = nearest.iter().map(|url| serde_json::json!({"url": url, "reason": "x"})).collect();
            let body = serde_json::json!({ "places": places }).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            if stream.write_all(head.as_bytes()).is_err() {
                return;
            }
            continue;
        }
        if first.contains("/healthz") {
            if manners.is_dead || stream.write_all(b"HTTP/1.1 404 Not\r\nContent-Length: 0\r\n\r\n").is_err() {
                reader.read_line(&mut String::new()).ok();
                return;
            }
            continue;
        }
        let range = lines.iter().find_map(|line| line.strip_prefix("range: bytes="));
        log.lock().unwrap().push(range.unwrap_or_default().to_owned());
        if manners.lacks_it {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok();
            continue;
        }
        if manners.is_busy {
            stream.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n").ok();
            continue;
        }
        let from =
            range.filter(|_| !manners.knows_no_ranges).and_then(|range| range.trim_end_matches('-').parse().ok());
        let from: usize = from.unwrap_or(0);
        let status = match from {
            0 => "200 OK".to_owned(),
            _ => format!("206 Partial\r\nContent-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len()),
        };
        let etag = format!("ETag: \"{}\"\r\n", blake3::hash(bytes).to_hex());
        let etag = if manners.has_no_etag { "" } else { &etag };
        let head = format!("HTTP/1.1 {status}\r\n{etag}Content-Length: {}\r\n\r\n", bytes.len() - from);
        if stream.write_all(head.as_bytes()).is_err() || send(&mut stream, &bytes[from..], manners).is_none() {
            return;
        }
    }
}

fn send(stream: &mut TcpStream, bytes: &[u8], manners: Manners) -> Option<()> {
    let mut sent = 0;
    for piece in bytes.chunks(4_096) {
        stream.write_all(piece).ok()?;
        sent += piece.len();
        if manners.dies_after.is_some_and(|most| sent >= most) {
            return None;
        }
        if manners.silent_after.is_some_and(|most| sent >= most) {
            // Until the other side leaves.
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).ok();
            return None;
        }
        if let Some(rate) = manners.rate {
            thread::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64));
        }
    }
    Some(())
}

#[derive(Default)]
struct Left(Vec<String>);

impl Watch for Left {
    fn on_bytes(&mut self, _: u64, _: Option<u64>) {}
    fn on_left(&mut self, place: &Place, fault: &Fault) {
        self.0.push(format!("{}: {fault}", place.url));
    }
    fn on_wait(&mut self, _: Duration, _: Duration) {}
}

fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(b"agent").finalize_xof().fill(&mut bytes);
    bytes
}

fn immutable(bytes: &[u8]) -> String {
    format!("kb_{}.cab", data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)))
}

/// Pulls a name into a directory, from these.
fn pulls(to: &std::path::Path, name: &str, from: &[&Repository]) -> (Result<Pulled, PullFileError>, Vec<String>) {
    let settings = Settings {
        from: from.iter().map(|repository| RepositoryUrl::new(&repository.url()).unwrap()).collect(),
        host: NearestQuery::default(),
        stall: Duration::from_millis(300),
        least_rate: 100_000,
        patience: Duration::from_secs(15),
    };
    let client = AgentClient::new(&[]).unwrap();
    let (folder, name) = (FolderName::new("waptwua").unwrap(), FileName::new(name).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut left = Left::default();
    let pulled = runtime.block_on(pull(&client, &SystemClock, &settings, (&folder, &name), to, &mut left));
    (pulled, left.0)
}

fn urls(pulled: &Pulled) -> Vec<String> {
    pulled.legs.iter().map(|leg| leg.url.clone()).collect()
}

#[test]
fn who_dies_or_falls_silent_is_left_and_the_next_one_goes_on_where_it_stopped() {
    let bytes = noise(1_000_000);
    for manners in [
        Manners { dies_after: Some(400_000), ..Manners::default() },
        Manners { silent_after: Some(400_000), is_dead: true, ..Manners::default() },
        Manners { silent_after: Some(400_000), ..Manners::default() },
    ] {
        let good = Repository::start(&bytes, Manners::default(), vec![]);
        let bad = Repository::start(&bytes, manners, vec![]);
        let asked = Repository::start(&bytes, Manners::default(), vec![bad.url(), good.url()]);
        let place = tempfile::tempdir().unwrap();
        let name = immutable(&bytes);
        let (pulled, left) = pulls(place.path(), &name, &[&asked]);
        let pulled = pulled.unwrap();
        assert_eq!((urls(&pulled), pulled.wasted), (vec![bad.url(), good.url()], 0), "{left:?}");
        assert_eq!(good.ranges(), [format!("{}-", pulled.legs[0].to)]);
        let is_patient = manners.silent_after.is_some() && !manners.is_dead;
        assert_eq!(left[0].contains("nothing came for 3 s"), is_patient, "{left:?}");
        assert!(std::fs::read(place.path().join(&name)).unwrap() == bytes && asked.ranges().is_empty());
    }
}

#[test]
fn who_is_slow_is_left_for_another_and_kept_where_there_is_none() {
    let bytes = noise(400_000);
    let slow = Repository::start(&bytes, Manners { rate: Some(50_000), ..Manners::default() }, vec![]);
    let good = Repository::start(&bytes, Manners::default(), vec![slow.url()]);
    let (place, name) = (tempfile::tempdir().unwrap(), immutable(&bytes));
    let (pulled, left) = pulls(place.path(), &name, &[&good]);
    assert_eq!(urls(&pulled.unwrap()), [slow.url(), good.url()]);
    assert!(left[0].contains("bytes per second"), "{left:?}");
    let alone = Repository::start(&bytes[..300_000], Manners { rate: Some(50_000), ..Manners::default() }, vec![]);
    let (place, name) = (tempfile::tempdir().unwrap(), immutable(&bytes[..300_000]));
    let (pulled, left) = pulls(place.path(), &name, &[&alone]);
    assert!(pulled.is_ok() && left.is_empty(), "{left:?}");
}

#[test]
fn wrong_bytes_get_no_name_and_come_from_somebody_else_anew() {
    let bytes = noise(300_000);
    let liar = Repository::start(&bytes, Manners { lies: true, ..Manners::default() }, vec![]);
    let good = Repository::start(&bytes, Manners::default(), vec![liar.url()]);
    let (place, name) = (tempfile::tempdir().unwrap(), immutable(&bytes));
    let (pulled, _) = pulls(place.path(), &name, &[&good]);
    let pulled = pulled.unwrap();
    assert_eq!((urls(&pulled), pulled.wasted), (vec![good.url()], 300_000));
    assert!(std::fs::read(place.path().join(&name)).unwrap() == bytes);
    let alone = Repository::start(&bytes, Manners { lies: true, ..Manners::default() }, vec![]);
    let place = tempfile::tempdir().unwrap();
    let (pulled, _) = pulls(place.path(), &name, &[&alone]);
    assert!(matches!(pulled, Err(PullFileError::Nobody { last, .. }) if last.contains("SHA-1")));
    assert!(!place.path().join(&name).exists());
}

#[test]
fn an_interrupted_pull_goes_on_in_the_next_run_also_where_nobody_knows_ranges_or_tags() {
    let bytes = noise(500_000);
    let name = immutable(&bytes);
    let plain = Manners { has_no_etag: true, ..Manners::default() };
    for (manners, wasted) in [(plain, 0), (Manners { knows_no_ranges: true, ..plain }, 400_000)] {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(format!(".{name}.wuasync-part")), &bytes[..400_000]).unwrap();
        let good = Repository::start(&bytes, manners, vec![]);
        let (pulled, left) = pulls(place.path(), &name, &[&good]);
        let pulled = pulled.unwrap();
        assert_eq!((pulled.resumed, pulled.wasted, left.len()), (400_000, wasted, 0));
        assert_eq!(good.ranges(), ["400000-"]);
        assert!(std::fs::read(place.path().join(&name)).unwrap() == bytes);
    }
}

#[test]
fn who_asks_to_come_back_is_asked_again_when_nobody_else_is_there() {
    let bytes = noise(1_000);
    let busy = Repository::start(&bytes, Manners { is_busy: true, ..Manners::default() }, vec![]);
    let place = tempfile::tempdir().unwrap();
    let (pulled, left) = pulls(place.path(), &immutable(&bytes), &[&busy]);
    assert!(matches!(pulled, Err(PullFileError::Nobody { last, .. }) if last.contains("come back in 1 s")));
    assert!((10..=16).contains(&left.len()), "as often as it said, and no oftener: {}", left.len());
}

#[test]
fn a_person_reads_each_change_once_and_at_the_end_what_to_do() {
    let bytes = noise(1_000);
    let (place, name) = (tempfile::tempdir().unwrap(), immutable(&bytes));
    let pulled = |repository: &Repository, patience: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wuasync"));
        command.args(["agent", "pull", &name, "--from", &repository.url(), "--patience", patience, "--to"]);
        let output = command.arg(place.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let busy = Repository::start(&bytes, Manners { is_busy: true, ..Manners::default() }, vec![]);
    let (exit, out, err) = pulled(&busy, "4s");
    assert!(busy.ranges().len() >= 3, "it was asked again and again");
    let left = format!("{} is left: it asks to come back in 1 s", busy.url());
    let lines: Vec<_> = err.lines().collect();
    assert!(lines.len() == 2 && lines[0] == left, "{err}");
    assert!(lines[1].starts_with(&format!("nobody gives {name}: all are asked again, for 4.0 s at most")), "{err}");
    assert_eq!(exit, Some(1));
    assert!(out.contains("is not here") && out.contains("`wuasync status NAME` there"), "{out}");

    let empty = Repository::start(&bytes, Manners { lacks_it: true, ..Manners::default() }, vec![]);
    let (exit, out, err) = pulled(&empty, "1h");
    assert_eq!((empty.ranges().len(), exit, err.lines().count()), (2, Some(1), 2), "{err}");
    assert!(out.contains("answered 404") && out.contains("wuasync want add"), "{out}");
}
