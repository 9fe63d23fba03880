//! Clients that are slow, silent, too many, or leave.

use super::site::*;
use crate::front::server::FrontConfig;
use std::time::Duration;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

fn changed(change: impl FnOnce(&mut FrontConfig)) -> FrontConfig {
    let mut config = FrontConfig::default();
    change(&mut config);
    config
}

const BLINK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_head_that_is_too_large_or_no_http_is_refused_and_counted() {
    let site = Site::start();
    let long = "x".repeat(20_000);
    let many: String = (0..65).map(|n| format!("X-{n}: y\r\n")).collect();
    let heads = [
        (format!("GET / HTTP/1.1\r\nHost: site\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        ("GET / HTTP/1.1\r\nHost : site\r\n\r\n".to_owned(), 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: site\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), 400),
    ];
    for (head, status) in &heads {
        let mut client = site.connect().await;
        let _ = client.stream.write_all(head.as_bytes()).await;
        assert_eq!(client.head().await.status, *status, "{}", &head[..20]);
        client.rest().await;
    }
    let counters = site.counters.clone();
    site.stop().await;
    assert_eq!(counters.read().refused, heads.len() as u64);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let site = Site::with(changed(|config| config.head_timeout = BLINK), None);
    let mut client = site.connect().await;
    client.send("GET /waptwua/small.cab HTTP/1.1\r\nHost:").await;
    assert_eq!(client.rest().await, b"");
    site.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let site = Site::with(changed(|config| config.idle_timeout = BLINK), None);
    let mut silent = site.connect().await;
    assert_eq!(silent.rest().await, b"");
    let mut served = site.connect().await;
    assert_eq!(served.ask("GET", "/waptwua/small.cab", &[]).await.status, 200);
    assert_eq!(served.rest().await, b"");
    site.stop().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let mut site = Site::with(changed(|config| config.write_timeout = BLINK), None);
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/huge.msu", &[])).await;
    soon(site.dropped.recv()).await;
    site.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_lets_the_file_go_and_harms_nobody() {
    let mut site = Site::start();
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/huge.msu", &[])).await;
    client.take(1_000_000).await;
    drop(client);
    soon(site.dropped.recv()).await;

    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/stuck.cab", &[])).await;
    drop(client);
    soon(site.dropped.recv()).await;
    assert_eq!(site.ask("GET", "/waptwua/small.cab", &[]).await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_their_turn() {
    let site = Site::with(changed(|config| config.max_connections = 1), None);
    let mut first = site.connect().await;
    assert_eq!(first.ask("GET", "/waptwua/small.cab", &[]).await.status, 200);
    let mut second = site.connect().await;
    second.send(&request("GET", "/waptwua/small.cab", &[])).await;
    assert!(timeout(BLINK, second.stream.readable()).await.is_err());
    drop(first);
    assert_eq!(second.reply("GET").await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn a_shutdown_closes_idle_connections_finishes_answers_and_takes_no_more() {
    let site = Site::start();
    let mut idle = site.connect().await;
    idle.ask("GET", "/waptwua/small.cab", &[]).await;
    let mut busy = site.connect().await;
    busy.send(&request("GET", "/waptwua/large.msu", &[])).await;
    busy.head().await;
    let address = site.address;
    let (stopped, ()) = tokio::join!(tokio::spawn(site.stop()), async {
        assert_eq!(idle.rest().await, b"");
        assert!(busy.rest().await == pattern(0, 3 * MIB + 17));
    });
    stopped.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_the_drain() {
    let site = Site::with(changed(|config| config.drain_timeout = BLINK), None);
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/huge.msu", &[])).await;
    client.head().await;
    site.stop().await;
}
