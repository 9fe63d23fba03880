//! Our daemons, asked over their control sockets: nothing of that is on the wire.

use crate::{
    corpus,
    meter::{Meter, Reading, peak_memory},
    processes::Node,
};
use serde_json::Value;
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

/// How often a daemon is asked how far it is.
const POLL: Duration = Duration::from_millis(25);
/// Longer than any section takes.
const PATIENCE: Duration = Duration::from_secs(1_200);
const SETTINGS: &str = "[limits]\ndisk_reserve = \"0 GiB\"\n";

pub(crate) fn status(node: &Node) -> Value {
    let mut stream = UnixStream::connect(node.control()).unwrap();
    write!(stream, "GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = &answer[answer.find("\r\n\r\n").unwrap()..];
    serde_json::from_str(&body[body.find('{').unwrap()..=body.rfind('}').unwrap()]).unwrap()
}

pub(crate) fn wait(node: &Node, what: &str, mut is_so: impl FnMut(&Value) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(&status(node)) {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(POLL);
    }
}

/// A main that has adopted a folder, and rests.
pub(crate) fn main_of(corpus: &Path, files: u64) -> Node {
    let main = Node::main("paris").with(SETTINGS);
    corpus::link(corpus, &main.folder());
    let main = main.start();
    adopted(&main, files);
    main
}

pub(crate) fn adopted(main: &Node, files: u64) {
    wait(main, "the folder is adopted", |status| {
        status["folders"][0]["files"] == files && status["folders"][0]["adopting"].is_null()
    });
}

/// A secondary that has joined and holds nothing.
pub(crate) fn secondary_of(main: &Node, name: &str) -> Node {
    let lyon = Node::secondary(name).with(SETTINGS);
    lyon.joins(main);
    lyon
}

/// Waits until the secondary holds so many files, and lacks none.
pub(crate) fn mirrored(secondary: &Node, files: u64) {
    wait(secondary, "everything is mirrored", |status| {
        let folder = &status["folders"][0];
        folder["files"] == files && folder["missing_files"] == 0
    });
}

/// From the start of an empty secondary to the last file in its place; also its memory and the main's, in MB.
pub(crate) fn mirror(main: &Node, name: &str, files: u64) -> (Reading, f64, f64) {
    let mut lyon = secondary_of(main, name);
    let meter = Meter::begin(&[main.pid()]);
    lyon.start_again();
    mirrored(&lyon, files);
    let reading = meter.end(Some(lyon.pid()));
    let memory = (peak_memory(main.pid()), peak_memory(lyon.pid()));
    lyon.stop();
    (reading, memory.0, memory.1)
}
