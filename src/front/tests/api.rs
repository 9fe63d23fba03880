//! Requests to the hosts' API: who answers, and what a body may be.

use super::site::*;
use crate::front::api::MAX_BODY_BYTES;
use tokio::io::AsyncWriteExt;

fn body(reply: &Reply) -> String {
    String::from_utf8(reply.body.clone()).unwrap()
}

#[tokio::test]
async fn a_body_is_read_whole_and_the_connection_goes_on() {
    let site = Site::start();
    let mut client = site.connect().await;
    for _ in 0..2 {
        client.send("POST /api/v1/echo?a=b HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhello").await;
        let reply = client.reply("POST").await;
        assert_eq!((reply.status, body(&reply).trim()), (202, r#""POST /api/v1/echo Some(\"a=b\") 127.0.0.1 5""#));
        assert_eq!(reply.header("connection"), None);
    }
    client
        .send("POST /api/v1/echo HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert!(body(&client.reply("POST").await).contains("127.0.0.1 3"));
    assert_eq!(client.ask("HEAD", "/api/v1/echo", &[]).await.status, 202);
    assert_eq!(client.ask("GET", "/waptwua/small.cab", &[]).await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn a_path_that_nobody_serves_is_unknown_and_its_body_ends_the_connection() {
    let site = Site::start();
    assert_eq!(site.ask("GET", "/api/v1/else", &[]).await.status, 404);
    let mut client = site.connect().await;
    client.send("POST /api/v1/else HTTP/1.1\r\nHost: site\r\nContent-Length: 5\r\n\r\nhello").await;
    let reply = client.reply("POST").await;
    assert_eq!((reply.status, reply.header("connection")), (404, Some("close")));
    site.stop().await;
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let site = Site::start();
    for (length, status) in [(MAX_BODY_BYTES, 202), (MAX_BODY_BYTES + 1, 413)] {
        let mut client = site.connect().await;
        client.send(&format!("POST /api/v1/echo HTTP/1.1\r\nHost: site\r\nContent-Length: {length}\r\n\r\n")).await;
        if status == 202 {
            client.stream.write_all(&vec![b'x'; length]).await.unwrap();
        }
        assert_eq!(client.reply("POST").await.status, status);
    }
    let mut client = site.connect().await;
    client.send("POST /api/v1/echo HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    client.send(&format!("{:x}\r\n", MAX_BODY_BYTES + 1)).await;
    // The server answers before everything is sent, and may close.
    let _ = client.stream.write_all(&vec![b'x'; MAX_BODY_BYTES + 1]).await;
    assert_eq!(client.reply("POST").await.status, 413);
    site.stop().await;
}
