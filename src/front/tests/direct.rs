//! Files that the kernel sends by itself.

use super::site::*;
use crate::front::server::FrontConfig;
use std::{collections::BTreeMap, time::Duration};

const SIZE: u64 = 3 * MIB + 17;

/// All that does not depend on the second.
fn dateless(reply: &Reply) -> (u16, BTreeMap<String, String>) {
    let headers = reply.headers.clone().into_iter().filter(|(name, _)| name != "date").collect();
    (reply.status, headers)
}

#[tokio::test]
async fn what_the_kernel_can_send_is_not_read_and_every_range_arrives_exactly() {
    let site = Site::start();
    let mut client = site.connect().await;
    for _ in 0..2 {
        let plain = site.ask("GET", "/waptwua/large.msu", &[]).await;
        assert!(site.read() >= SIZE);
        let reply = client.ask("GET", "/waptwua/direct.msu", &[]).await;
        assert_eq!(reply.body.len() as u64, SIZE);
        assert!(reply.body == pattern(0, SIZE) && dateless(&reply) == dateless(&plain));
        assert_eq!(site.read(), 17, "what is left over is too little for a call of its own");
    }
    for (first, last) in
        [(0, MIB - 1), (5, 5), (MIB + 7, 3 * MIB), (1, 65_536), (0, 262_143), (1, 262_145), (SIZE - 1, SIZE)]
    {
        let reply = client.ask("GET", "/waptwua/direct.msu", &[&format!("Range: bytes={first}-{last}")]).await;
        assert_eq!(reply.status, 206, "{first}-{last}");
        assert!(reply.body == pattern(first, (last + 1).min(SIZE)), "{first}-{last}");
    }
    let heads =
        [client.ask("HEAD", "/waptwua/direct.msu", &[]).await, client.ask("HEAD", "/waptwua/large.msu", &[]).await];
    assert!(dateless(&heads[0]) == dateless(&heads[1]) && heads[0].status == 200);
    assert_eq!(client.ask("GET", "/waptwua/direct-small.cab", &[]).await.body, pattern(0, 4096));
    let counters = site.counters.clone();
    drop(client);
    site.stop().await;
    let ranges = MIB + 1 + (2 * MIB - 6) + 65_536 + 262_144 + 262_145 + 1;
    assert_eq!(counters.read().bytes, 4 * SIZE + ranges + 4096, "bodies count as if they were read");
}

#[tokio::test]
async fn questions_that_come_together_are_answered_in_their_order() {
    let site = Site::start();
    let mut client = site.connect().await;
    let asked = ["direct.msu", "small.cab", "direct.msu", "missing", "direct-small.cab", "large.msu", "direct.msu"];
    let all: String = asked.iter().map(|name| request("GET", &format!("/waptwua/{name}"), &[])).collect();
    client.send(&all).await;
    for name in asked {
        let (reply, size) = (client.reply("GET").await, if name.contains("small") { 4096 } else { SIZE });
        assert_eq!(reply.status, if name == "missing" { 404 } else { 200 }, "{name}");
        assert!(name == "missing" || reply.body == pattern(0, size), "{name}");
    }
    drop(client);
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_ends_early_ends_the_answer_short_and_is_never_padded() {
    let mut site = Site::start();
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/direct-truncated.msu", &[])).await;
    assert_eq!(client.head().await.header("content-length"), Some("3145728"));
    assert!(client.rest().await == pattern(0, MIB + 5));
    soon(site.dropped.recv()).await;
    site.stop().await;
}

#[tokio::test]
async fn who_takes_nothing_of_what_the_kernel_sends_is_let_go_and_so_is_who_leaves() {
    let config = FrontConfig { write_timeout: Duration::from_millis(100), ..FrontConfig::default() };
    let mut site = Site::with(config, None);
    let mut silent = site.connect().await;
    silent.send(&request("GET", "/waptwua/direct-huge.msu", &[])).await;
    soon(site.dropped.recv()).await;
    let mut leaves = site.connect().await;
    leaves.send(&request("GET", "/waptwua/direct-huge.msu", &[])).await;
    leaves.take(1_000_000).await;
    drop(leaves);
    soon(site.dropped.recv()).await;
    assert_eq!(site.ask("GET", "/waptwua/small.cab", &[]).await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_the_kernel_sends_and_waits_no_longer_than_the_drain() {
    let site = Site::start();
    let mut busy = site.connect().await;
    busy.send(&request("GET", "/waptwua/direct.msu", &[])).await;
    busy.head().await;
    let (stopped, ()) = tokio::join!(tokio::spawn(site.stop()), async {
        assert!(busy.rest().await == pattern(0, SIZE));
    });
    stopped.unwrap();
    let config = FrontConfig { drain_timeout: Duration::from_millis(100), ..FrontConfig::default() };
    let site = Site::with(config, None);
    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/direct-huge.msu", &[])).await;
    client.head().await;
    site.stop().await;
}
