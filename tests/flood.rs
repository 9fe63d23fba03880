//! Floods of reports over the hosts' listener of a real daemon: made-up hosts, bodies of any size and kind, bombs, numbers
//! that were told before, and senders that never end. Memory and the list of those who wait stay bounded, each is told why
//! it is refused, and honest hosts are served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[path = "processes/host.rs"]
mod host;
mod processes;

use flate2::{Compression, write::GzEncoder};
use host::{head, post, send, send_from};
use processes::{Node, immutable, noise};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use wuasync::domain::host::{BodyEncoding, EnrolmentToken, HostEnvelope, HostUuid};

/// Strangers of one network, of which so many may wait for an approval.
const STRANGERS: usize = 1_000;
const WAIT_OF_ONE_NETWORK: usize = 200;
/// What the daemon may take at its worst beyond what it has at rest: bodies that arrive (64 MiB), and four reports of 24 MiB
/// as they are read.
const MOST_MEMORY_KB: u64 = 280 << 10;
/// Until an honest host is answered in the midst of it, on a machine that does other things, too.
const IN_TIME: Duration = Duration::from_secs(15);

fn packed(json: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(json).unwrap();
    gzip.finish().unwrap()
}

fn signed(uuid: &str, secret: u8, sequence: u64, packed: Vec<u8>, token: Option<&str>) -> HostEnvelope {
    let token: Option<EnrolmentToken> = token.map(|token| token.parse().unwrap());
    let uuid = HostUuid::new(uuid).unwrap();
    HostEnvelope::sign(uuid, sequence, &[secret; 32], BodyEncoding::Gzip, token.as_ref(), packed)
}

fn report(uuid: &str) -> Vec<u8> {
    let report = json!({"uuid": uuid, "waptwua_status": {"enabled": true}, "waptwua_updates_localstatus": []});
    packed(report.to_string().as_bytes())
}

/// A list that unpacks to as much as a report may have, each element as short as can be.
fn list_of(key: &str, element: &str) -> String {
    let many = (23 << 20) / (element.len() + 1);
    format!("{{\"{key}\":[{}{element}]}}", format!("{element},").repeat(many))
}

/// The most memory that a process has had since [`forget_peak`], in KiB.
fn peak_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Answers by status and reason, and how often each was given.
type Answers = BTreeMap<(u16, String), usize>;

fn note(answers: &mut Answers, (status, answer): (u16, Value)) {
    let why = answer["error"].as_str().or(answer["state"].as_str()).unwrap_or_default().to_owned();
    *answers.entry((status, why)).or_default() += 1;
}

fn expect(answers: &Answers, status: u16, why: &str, times: usize) {
    let given: usize =
        answers.iter().filter(|((code, text), _)| *code == status && text.contains(why)).map(|(_, times)| times).sum();
    assert_eq!(given, times, "{status} {why}: {answers:?}");
}

/// A thousand made-up hosts, each with a key of its own, from one network.
fn strangers(to: SocketAddr) -> Answers {
    let mut answers = Answers::new();
    for n in 0..STRANGERS {
        let (uuid, mut secret) = (format!("stranger{n}"), [200; 32]);
        secret[..8].copy_from_slice(&n.to_be_bytes());
        let uuid = HostUuid::new(&uuid).unwrap();
        // Whoever is not believed is not read: a bomb is as good as a report.
        let envelope = HostEnvelope::sign(uuid, 1, &secret, BodyEncoding::Gzip, None, vec![0; 1_000]);
        note(&mut answers, send_from(&format!("203.0.113.{}", n % 250), to, &envelope));
    }
    answers
}

/// What an enrolled host whose key was stolen can send, packed.
fn bombs() -> Vec<Vec<u8>> {
    let bombs = [
        " ".repeat(40 << 20),
        list_of("waptwua_updates", "{}"),
        list_of("waptwua_updates_localstatus", "{}"),
        format!("{{\"waptwua_status\":{}}}", list_of("rules_packages", "1")),
        format!("{{\"waptwua_status\":{}}}", list_of("missing_downloads", "1")),
        format!("{{\"waptwua_updates\":[{}]}}", list_of("kbids", "1")),
        "[".repeat(20 << 20),
    ];
    bombs.iter().map(|json| packed(json.as_bytes())).collect()
}

fn send_bombs(to: SocketAddr, bombs: &[Vec<u8>], first: u64) -> Answers {
    let mut answers = Answers::new();
    for (sequence, packed) in (first..).zip(bombs) {
        note(&mut answers, send(to, &signed("stolen", 50, sequence, packed.clone(), None)));
    }
    answers
}

/// What has no proper signature, or none at all, or is larger than any report.
fn nonsense(to: SocketAddr, times: usize) -> Answers {
    let mut answers = Answers::new();
    for n in 0..times {
        let good = signed("nonsense", 60, n as u64, report("nonsense"), None);
        let mut forged = good.clone();
        forged.signature[n % 64] ^= 1;
        note(&mut answers, send(to, &forged));
        let path = "POST /api/v1/hosts/nonsense/report HTTP/1.1\r\nHost: wuasync\r\nConnection: close\r\n";
        note(&mut answers, post(to, &format!("{path}Content-Length: 2\r\n"), b"{}"));
        note(&mut answers, post(to, &format!("{path}Content-Length: {}\r\n", 1_u64 << 40), &[b'x'; 70_000]));
        let mut large = good;
        large.body = vec![0; (960 << 10) + 1];
        note(&mut answers, send(to, &large));
    }
    answers
}

/// Connections that send a great part of a body from one address and then nothing more, one after the other until the daemon
/// takes no more from there; they are to be held.
fn never_ending(to: SocketAddr) -> Vec<TcpStream> {
    let body = vec![b'x'; 4 << 20];
    let connections = (0..40).map(|n| {
        let envelope = HostEnvelope::sign(
            HostUuid::new(&format!("slow{n}")).unwrap(),
            1,
            &[70; 32],
            BodyEncoding::Plain,
            None,
            body.clone(),
        );
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_write_timeout(Some(IN_TIME)).unwrap();
        let head = head(&envelope, "X-Forwarded-For: 198.51.100.7\r\n");
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(&body[1..]).ok();
        stream
    });
    connections.collect()
}

#[test]
fn whatever_floods_the_door_memory_and_lists_are_bounded_and_honest_hosts_are_served_meanwhile() {
    let main = Node::main("paris").with("[upstream]\nenabled = false\n").start();
    let to = main.http();
    let bytes = noise(1, 300_000);
    let name = immutable("kb", &bytes);
    main.write(&name, &bytes);
    main.serves(&name, &bytes);
    let token = main.token("hosts enroll --uses 2");
    for (uuid, secret) in [("honest", 1), ("stolen", 50)] {
        assert_eq!(send(to, &signed(uuid, secret, 1, report(uuid), Some(&token))).0, 200, "{uuid}");
    }
    let replayed = signed("honest", 1, 1, report("honest"), None);
    let bombs = bombs();
    forget_peak(main.pid());
    let rest = peak_kb(main.pid());
    let slow = never_ending(to);

    let is_over = AtomicBool::new(false);
    let bombs = &bombs;
    let (strangers, bombs, nonsense, replays, served) = thread::scope(|scope| {
        let strangers = scope.spawn(|| strangers(to));
        let bombs = [2, 100].map(|first| scope.spawn(move || send_bombs(to, bombs, first)));
        let nonsense = scope.spawn(|| nonsense(to, 50));
        let replays = scope.spawn(|| {
            let mut answers = Answers::new();
            (0..200).for_each(|_| note(&mut answers, send(to, &replayed)));
            answers
        });
        let honest = scope.spawn(|| {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) || served < 5 {
                served += 1;
                let begun = Instant::now();
                let (status, answer) = send(to, &signed("honest", 1, 1 + served, report("honest"), None));
                assert_eq!((status, &answer["state"]), (200, &json!("taken")), "{answer}");
                assert!(begun.elapsed() < IN_TIME, "a report took {:?}", begun.elapsed());
                let begun = Instant::now();
                assert_eq!(main.get(&name).2, bytes);
                assert!(begun.elapsed() < IN_TIME, "a file took {:?}", begun.elapsed());
            }
            served
        });
        let strangers = strangers.join().unwrap();
        let bombs = bombs.map(|bombs| bombs.join().unwrap());
        let (nonsense, replays) = (nonsense.join().unwrap(), replays.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        (strangers, bombs, nonsense, replays, honest.join().unwrap())
    });
    let took = peak_kb(main.pid()).saturating_sub(rest);
    assert!(took < MOST_MEMORY_KB, "{took} KiB");
    assert!(served >= 5);

    expect(&strangers, 202, "waiting for approval", WAIT_OF_ONE_NETWORK);
    expect(&strangers, 403, "too many hosts of its network wait for an approval", STRANGERS - WAIT_OF_ONE_NETWORK);
    for bombs in &bombs {
        // Those that came behind a later number of another thread are read all the same.
        expect(bombs, 403, "unpacks to more than 24 MiB", 1);
        expect(bombs, 403, "more than 10000 updates", 2);
        expect(bombs, 403, "no report of a host", 1);
    }
    expect(&nonsense, 403, "the signature does not fit the report", 50);
    expect(&nonsense, 400, "Wuasync-S", 50);
    expect(&nonsense, 413, "a body has at most 4 MiB", 50);
    expect(&nonsense, 413, "a report has at most 960 KiB as it is sent", 50);
    expect(&replays, 200, "known", 200);

    let listed = main.json("hosts list");
    assert_eq!((&listed["known"], listed["waiting"].as_array().unwrap().len()), (&json!(2), WAIT_OF_ONE_NETWORK));
    drop(slow);
    // A newcomer of another network finds a place.
    let newcomer = signed("newcomer", 80, 1, report("newcomer"), None);
    assert_eq!(send_from("192.0.2.5", to, &newcomer).0, 202);
}
