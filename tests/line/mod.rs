//! A main with its sites, and hosts that tell addresses of those.

#![allow(dead_code, reason = "each test file uses its own part")]

use super::processes::{self, Node, immutable, wait};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

/// The main of `sites` secondaries that joined it, each with a rule: site `n` has the hosts of 10.n.0.0/16, and the
/// next one is its neighbour.
pub(crate) struct Line {
    pub(crate) main: Node,
    pub(crate) sites: Vec<Node>,
}

impl Line {
    pub(crate) fn start(main: Node, sites: Vec<Node>) -> Self {
        let main = main.start();
        let sites: Vec<_> = sites.into_iter().map(Node::start).collect();
        for (n, site) in (1..).zip(&sites) {
            site.joins(&main);
            let rule = format!("repositories rules add r{n} --to {} --agent-ip 10.{n}.0.0/16", name(n));
            main.ok(&rule);
            if n > 1 {
                main.ok(&format!("repositories distance {} {} 1", name(n - 1), name(n)));
            }
        }
        Self { main, sites }
    }

    /// Publishes a file and waits until the main knows that all of these sites have it.
    pub(crate) fn publish(&self, stem: &str, bytes: &[u8], sites: &[usize]) -> String {
        let file = immutable(stem, bytes);
        self.main.write(&file, bytes);
        for n in sites {
            self.wait_for_place(&file, *n, |places| places[0]["name"] == name(*n) && places[0]["holds"] == true);
        }
        file
    }

    /// Waits until the places that a host of site `n` is told are so.
    pub(crate) fn wait_for_place(&self, file: &str, n: usize, is_so: impl Fn(&Value) -> bool) {
        wait(&format!("hosts of site {n} are told what they should be"), || {
            is_so(&nearest(self.main.http(), file, &format!("10.{n}.0.9"))["places"]).then_some(())
        });
    }
}

/// The name of site `n`.
pub(crate) fn name(n: usize) -> String {
    format!("site{n}")
}

/// What a host that is seen as `seen_as` is told.
pub(crate) fn nearest(at: SocketAddr, file: &str, seen_as: &str) -> Value {
    let path = format!("/api/v1/repositories/nearest?file={file}");
    let (status, _, body) = ask(at, &path, &format!("X-Forwarded-For: {seen_as}\r\n"));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// A GET with further headers: status, head, body.
pub(crate) fn ask(at: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(processes::PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer.split_off(end))
}
