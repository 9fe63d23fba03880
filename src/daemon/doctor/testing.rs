//! A sound machine, for tests to spoil.

use super::{
    ask::{Answer, Site},
    finding::{Finding, Level},
    gather::{DaemonFacts, Facts, FolderFacts, ParentFacts, Room, Spot, User},
    https::NoAnswer,
};
use crate::{
    daemon::{
        api::{AttentionReport, FolderReport, StateReport, StatusReport},
        config::Config,
        machine::Sockets,
    },
    domain::member::Role,
};

pub(super) const NOW: u64 = 1_800_000_000;
const DATE: &str = "Tue, 14 May 2024 17:00:00 GMT";

pub(super) fn config() -> Config {
    Config::without_file(&[], "paris").unwrap()
}

pub(super) fn alarm(what: &str, cure: &str) -> AttentionReport {
    AttentionReport { what: what.to_owned(), since: None, cure: cure.to_owned() }
}

pub(super) fn wrong(found: &[Finding]) -> Vec<&str> {
    found.iter().filter(|it| it.level == Level::Wrong).map(|it| it.what.as_str()).collect()
}

pub(super) fn status_of(facts: &mut Facts) -> &mut StatusReport {
    match &mut facts.daemon {
        DaemonFacts::Running(status) => status,
        DaemonFacts::Silent(_) | DaemonFacts::Denied(_) => panic!("it runs"),
    }
}

fn spot(path: &str, mode: u32) -> Spot {
    Spot { path: path.into(), uid: 990, gid: 33, mode, device: 1, is_directory: true }
}

fn room() -> Room {
    Room { available_bytes: 100 << 30, free_inodes: Some(1 << 20), is_read_only: false }
}

pub(super) fn facts() -> Facts {
    let answer = |status, body: &[u8]| {
        let last_modified = Some(DATE.to_owned());
        Ok(Answer { status, length: Some(1_000), last_modified, content_range: None, body: body.to_vec() })
    };
    let mut first_byte: Answer = answer(206, b"M").unwrap_or_else(|error: NoAnswer| panic!("{error:?}"));
    first_byte.content_range = Some("bytes 0-0/1000".to_owned());
    let listening = |address: &str| address.parse().unwrap();
    Facts {
        now: NOW,
        kernel: "6.1.0-13-amd64".to_owned(),
        max_watches: Some(65_536),
        is_synchronized: Some(true),
        first_free_port: 1024,
        daemon: DaemonFacts::Running(Box::new(status())),
        user: User { name: "wapt".to_owned(), uid: 990, gids: [33].into() },
        state: Some(spot("/var/lib/wuasync", 0o700)),
        keys: vec![spot("/var/lib/wuasync/keys/line", 0o600)],
        folders: vec![FolderFacts {
            name: "waptwua".to_owned(),
            path: "/var/www/waptwua".into(),
            spot: Some(spot("/var/www/waptwua", 0o750)),
            staging: Some(spot("/var/www/.wuasync", 0o750)),
            staging_path: "/var/www/.wuasync".into(),
            room: Some(room()),
        }],
        state_room: Some(room()),
        sockets: Sockets {
            tcp: [listening("0.0.0.0:80"), listening("127.0.0.1:8443")].into(),
            udp: [listening("0.0.0.0:4443")].into(),
        },
        has_socket_unit: false,
        certificates: Vec::new(),
        trusts_somebody: Ok(true),
        names: Vec::new(),
        proxy: None,
        parent: ParentFacts::None,
        wapt_sync: None,
        is_wapt_server: false,
        sites: vec![Site {
            who: "the daemon",
            place: "127.0.0.1:80".to_owned(),
            ends: None,
            packages: answer(200, b""),
            cab: answer(200, b""),
            first_byte: Ok(first_byte),
            sidecar: answer(200, b"da39a3ee5e6b4b0d3255bfef95601890afd80709\n"),
            on_disk: Some((1_000, DATE.to_owned())),
        }],
    }
}

fn status() -> StatusReport {
    StatusReport {
        state: StateReport { signed_at: Some(NOW - 60), ..StateReport::default() },
        ..StatusReport::quiet(Role::Main, "paris", FolderReport::of(1, 0))
    }
}
