//! Files that are here.

use crate::{
    corpus,
    load::{Door, Hosts, Request},
    meter::{Meter, Reading, medians},
    nginx::Nginx,
    ours,
    plan::Plan,
    processes::{Node, http_get},
    tls::Identity,
};
use std::{fs, path::Path};
use tempfile::TempDir;

/// 100 MB files, whole, to four hosts at once.
pub(crate) fn large(plan: &Plan) {
    let size = 100_000_000;
    let corpus = corpus::make(4, size as usize, true);
    let requests = names(corpus.path()).iter().map(|name| Request::whole(name, size)).collect();
    let work = Work { requests, count: plan.scaled(60) as usize, connections: 4, bytes: size };
    compare(plan, "100 MB files, 4 connections", &corpus, &work);
}

/// 4 KB files, whole, to 64 hosts that keep their connections.
pub(crate) fn small(plan: &Plan) {
    let size = 4_096;
    let corpus = corpus::make(1_000, size as usize, true);
    let requests = names(corpus.path()).iter().map(|name| Request::whole(name, size)).collect();
    let work = Work { requests, count: plan.scaled(150_000) as usize, connections: 64, bytes: size };
    compare(plan, "4 KB files, 64 connections", &corpus, &work);
}

/// 1 MB ranges of a file of 1 GB, to 16 hosts.
pub(crate) fn ranges(plan: &Plan) {
    let (size, part) = (1_000_000_000, 1_000_000);
    let corpus = corpus::make(1, size as usize, true);
    let name = &names(corpus.path())[0];
    // A stride that visits every megabyte, none of them aligned to a page.
    let starts = (0..1_000).map(|turn| turn * 377 % 999 * part + 123);
    let requests = starts.map(|start| Request::part(name, start..start + part)).collect();
    let work = Work { requests, count: plan.scaled(6_000) as usize, connections: 16, bytes: part };
    compare(plan, "1 MB ranges of a 1 GB file, 16 connections", &corpus, &work);
}

struct Work {
    requests: Vec<Request>,
    count: usize,
    connections: usize,
    /// Of each answer.
    bytes: u64,
}

fn compare(plan: &Plan, title: &str, corpus: &TempDir, work: &Work) {
    let identity = Identity::new();
    let nginx = Nginx::of_files(corpus.path(), &identity);
    let (_desk, node) = node(corpus.path(), &identity);
    for name in names(corpus.path()).iter().step_by(100) {
        let (status, _, body) = node.get(name);
        assert!(status == 200 && body == fs::read(corpus.path().join(name)).unwrap(), "{name}: {status}");
        assert!(http_get(nginx.plain, &format!("/waptwua/{name}")).2 == body, "{name}: nginx differs");
    }
    let secure = |address| Door { address, tls: Some(identity.client.clone()) };
    let plain = |address| Door { address, tls: None };
    let own: Vec<_> = node.ready()["http"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    let own = |at: usize| own[at].parse().unwrap();
    for (kind, ours, theirs) in
        [("plain", plain(own(0)), plain(nginx.plain)), ("TLS 1.3, AES-128-GCM", secure(own(1)), secure(nginx.tls))]
    {
        let (mut wuasync, mut beside) = (vec![], vec![]);
        for run in 0..=plan.runs {
            let pair = (measure(&ours, &[node.pid()], work), measure(&theirs, &nginx.workers(), work));
            // The first one warms both up.
            if run > 0 {
                wuasync.push(pair.0);
                beside.push(pair.1);
            }
        }
        println!("{title}, {kind}; medians of {} runs", plan.runs);
        let theirs = medians(&beside);
        row("wuasync", &medians(&wuasync), work, Some(&theirs));
        row("nginx", &theirs, work, None);
    }
}

/// A main that serves the folder's files, plain and over TLS.
fn node(corpus: &Path, identity: &Identity) -> (TempDir, Node) {
    let desk = tempfile::tempdir().unwrap();
    let (certificate, key) = (desk.path().join("certificate"), desk.path().join("key"));
    fs::write(&certificate, &identity.certificate).unwrap();
    fs::write(&key, &identity.key).unwrap();
    let settings = format!(
        "[limits]\ndisk_reserve = \"0 GiB\"\n\n[http]\nlisten = [\"127.0.0.1:0\"]\n\n\
         [http.tls]\nlisten = [\"127.0.0.1:0\"]\ncert = {certificate:?}\nkey = {key:?}\n"
    );
    let node = Node::main("paris").with(&settings);
    corpus::link(corpus, &node.folder());
    let node = node.start();
    ours::adopted(&node, names(corpus).len() as u64);
    (desk, node)
}

fn names(corpus: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// CPU time is the server's alone.
fn measure(door: &Door, server: &[u32], work: &Work) -> Reading {
    let mut hosts = Hosts::connect(door, work.connections);
    let meter = Meter::begin(server);
    hosts.ask(&work.requests, work.count);
    meter.end(None)
}

fn row(name: &str, reading: &Reading, work: &Work, theirs: Option<&Reading>) {
    let Reading { seconds, cpu, .. } = *reading;
    let requests = work.count as f64;
    let gigabytes = requests * work.bytes as f64 / 1e9;
    let ratio = theirs.map_or(String::new(), |theirs| {
        format!("  {:.2} of nginx's rate, {:.2} of its CPU time", theirs.seconds / seconds, cpu / theirs.cpu)
    });
    let (rate, megabytes) = (requests / seconds, gigabytes * 1e3 / seconds);
    let (per_gb, per_many) = (cpu / gigabytes, cpu / requests * 1e4);
    println!(
        "  {name:<8} {rate:>7.0} requests/s {megabytes:>6.0} MB/s  CPU {per_gb:>6.3} s/GB {per_many:>7.3} s/10,000{ratio}"
    );
}
