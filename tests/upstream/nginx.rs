//! A real nginx in Microsoft's place.

use crate::origin::Nginx;
use crate::site::{HOST, NAME, STAMP, Site, blob, limits, promise_of, settings, sha1_of, upstream};
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, sync::watch, task::JoinSet};
use wuasync::upstream::{Growth, Limits, Promise, Settings};

/// Long enough for many reads, short enough for a test.
const SIZE: usize = 8_000_000;

pub fn start(more: &str) -> Nginx {
    Nginx::start(HOST, more)
}

pub fn put(nginx: &Nginx, data: &[u8]) {
    nginx.put(NAME, data, STAMP);
}

/// Waits until so much was asked.
pub async fn asked(nginx: &Nginx, lines: usize) -> Vec<String> {
    let read = async {
        while nginx.asked().len() < lines {
            tokio::task::yield_now().await;
        }
        nginx.asked()
    };
    tokio::time::timeout(crate::site::PATIENCE, read).await.expect("nginx tells what was asked")
}

#[tokio::test]
async fn a_file_arrives_whole_from_a_real_server() {
    let nginx = start("");
    let (data, site) = (blob(1, SIZE), Site::new());
    put(&nginx, &data);
    let fetched = site.fetch(&upstream(settings(nginx.address)), promise_of(&data)).await.unwrap();
    assert_eq!(fetched.download.origin().modified, Some(STAMP));
    site.publish(fetched, &data);
    assert_eq!(asked(&nginx, 1).await, ["GET /c/msdownload/kb1.cab?x=1 200 - -"]);
}

#[tokio::test]
async fn a_file_goes_on_after_cuts_of_the_line() {
    let nginx = start("");
    let (data, site) = (blob(2, SIZE), Site::new());
    put(&nginx, &data);
    let (line, _line) = cutting_line(nginx.address, vec![1_000_000, 3_000_000, usize::MAX]).await;
    site.fetch_right(&upstream(settings(line)), promise_of(&data), &data).await;
    let asked = asked(&nginx, 3).await;
    let resumed = asked.iter().filter(|line| line.contains(" 206 bytes=") && line.ends_with(crate::site::DATE));
    assert_eq!((asked.len(), resumed.count()), (3, 2), "{asked:?}");
}

#[tokio::test]
async fn a_file_goes_on_after_a_restart_in_mid_transfer() {
    let nginx = start("location /c/ { limit_rate 2m; limit_rate_after 2m; }");
    let (data, site) = (blob(3, SIZE), Site::new());
    put(&nginx, &data);
    let slow = Limits { slow_bytes: 0, ..limits() };
    let upstream = upstream(Settings { limits: slow, ..settings(nginx.address) });
    let (growth, mut grown) = watch::channel(None);
    let some = |growth: &Option<Growth>| growth.as_ref().is_some_and(|growth| growth.arrived() > 1_000_000);
    tokio::select! {
        _ = site.fetch_telling(&upstream, promise_of(&data), &growth) => panic!("it ended"),
        there = grown.wait_for(some) => drop(there.unwrap()),
    }
    let site = site.restarted();
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    let asked = asked(&nginx, 2).await;
    assert!(asked.iter().any(|line| line.contains(" 206 bytes=")), "{asked:?}");
}

#[tokio::test]
async fn a_file_that_changed_before_the_rest_was_asked_for_is_the_new_one() {
    let nginx = start("");
    let (old, new, site) = (blob(4, SIZE), blob(5, SIZE - 1), Site::new());
    put(&nginx, &old);
    let (line, _line) = cutting_line(nginx.address, vec![1_000_000, usize::MAX]).await;
    let (growth, mut grown) = watch::channel(None);
    let upstream =
        upstream(Settings { limits: Limits { first_wait: Duration::from_millis(500), ..limits() }, ..settings(line) });
    let fetch = site.fetch_telling(&upstream, Promise { sha1: Some(sha1_of(&new)), ..Promise::default() }, &growth);
    tokio::pin!(fetch);
    tokio::select! {
        _ = &mut fetch => panic!("it ended"),
        there = grown.wait_for(|growth| growth.as_ref().is_some_and(|it: &Growth| it.arrived() > 0)) => drop(there.unwrap()),
    }
    put(&nginx, &new);
    site.publish(fetch.await.unwrap(), &new);
}

#[tokio::test]
async fn a_head_and_redirects_inside_the_list_are_answered_by_a_real_server() {
    let more = format!(
        "location = /fwlink {{ return 302 http://{HOST}/c/msdownload/{NAME}; }}\n\
                        location = /away {{ return 302 http://example.org/x; }}"
    );
    let nginx = start(&more);
    put(&nginx, &blob(6, SIZE));
    let upstream = upstream(settings(nginx.address));
    let origin = upstream.head(&format!("http://{HOST}/fwlink")).await.unwrap();
    assert_eq!((origin.size, origin.modified), (SIZE as u64, Some(STAMP)));
    let refused = upstream.head(&format!("http://{HOST}/away")).await.unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
    let gone = upstream.head(&format!("http://{HOST}/gone")).await.unwrap_err();
    assert!(!gone.is_transient() && gone.to_string().contains("404"), "{gone}");
}

/// A line to `to` on which each connection breaks after so many bytes of its answer, the last for all others.
async fn cutting_line(to: SocketAddr, cuts: Vec<usize>) -> (SocketAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut line = JoinSet::new();
    line.spawn(async move {
        let mut connections = JoinSet::new();
        for n in 0.. {
            let Ok((near, _)) = listener.accept().await else { return };
            let cut = cuts[n.min(cuts.len() - 1)];
            connections.spawn(async move {
                let far = TcpStream::connect(to).await.unwrap();
                carry(near, far, cut).await
            });
        }
    });
    (address, line)
}

async fn carry(near: TcpStream, far: TcpStream, mut cut: usize) {
    let ((mut asking, mut answered), (mut answers, mut asked)) = (near.into_split(), far.into_split());
    let question = async { tokio::io::copy(&mut asking, &mut asked).await };
    let answer = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(n @ 1..) = answers.read(&mut bytes).await {
            let n = n.min(cut);
            cut -= n;
            if answered.write_all(&bytes[..n]).await.is_err() || cut == 0 {
                return;
            }
        }
    };
    tokio::select! {
        _ = question => {}
        () = answer => {}
    }
}
