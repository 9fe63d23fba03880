//! Requests and answers.

use super::site::*;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

#[tokio::test]
async fn a_file_arrives_whole_with_its_validators() {
    let site = Site::start();
    for (name, size) in [("small.cab", 4096), ("large.msu", 3 * MIB + 17), ("empty.msu", 0)] {
        let reply = site.ask("GET", &format!("/waptwua/{name}?ignored=1"), &[]).await;
        assert_eq!(reply.status, 200, "{name}");
        assert_eq!(reply.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(reply.header("etag"), Some(format!("\"{ROOT}\"").as_str()));
        assert_eq!(reply.header("last-modified"), Some(DATE));
        assert_eq!(reply.header("accept-ranges"), Some("bytes"));
        assert!(reply.header("date").is_some() && reply.header("server").is_none());
        assert!(reply.body == pattern(0, size), "{name}");
    }
    let cab = site.ask("HEAD", "/waptwua/small.cab", &[]).await;
    assert_eq!(cab.header("content-type"), Some("application/vnd.ms-cab-compressed"));
    site.stop().await;
}

#[tokio::test]
async fn ranges_are_the_exact_bytes() {
    let site = Site::start();
    let size = 3 * MIB + 17;
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000000-", 1_000_000, size),
        ("bytes=-17", size - 17, size),
        ("bytes=3145744-99999999999999999999", size - 1, size),
    ] {
        let reply = site.ask("GET", "/waptwua/large.msu", &[&format!("Range: {range}")]).await;
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-range"), Some(format!("bytes {start}-{}/{size}", end - 1).as_str()));
        assert!(reply.body == pattern(start, end), "{range}");
    }
    let beyond = site.ask("GET", "/waptwua/large.msu", &[&format!("Range: bytes={size}-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some(format!("bytes */{size}").as_str())));
    let several = site.ask("GET", "/waptwua/small.cab", &["Range: bytes=0-1,4-5"]).await;
    assert_eq!((several.status, several.body), (200, pattern(0, 4096)));
    site.stop().await;
}

#[tokio::test]
async fn a_byte_beyond_4_gib_is_where_it_should_be() {
    let site = Site::start();
    let reply = site.ask("GET", "/waptwua/huge.msu", &["Range: bytes=1099511627766-"]).await;
    assert_eq!((reply.status, reply.body), (206, pattern((1 << 40) - 10, 1 << 40)));
    site.stop().await;
}

#[tokio::test]
async fn a_stock_agent_asks_the_size_and_resumes_what_was_interrupted() {
    let site = Site::start();
    let path = "/waptwua/large.msu";
    let head = site.ask("HEAD", path, &[]).await;
    let size: u64 = head.header("content-length").unwrap().parse().unwrap();
    let mut client = site.connect().await;
    client.send(&request("GET", path, &[])).await;
    let first = client.head().await;
    let mut got = client.take(1_000_000).await;
    drop(client);

    let rest = site.ask("GET", path, &[&format!("Range: bytes={}-", got.len())]).await;
    assert_eq!(rest.status, 206);
    got.extend(rest.body.iter());
    assert_eq!(got.len() as u64, size);
    assert!(got == pattern(0, size));
    let dates = [&head, &first, &rest].map(|reply| reply.header("last-modified"));
    assert_eq!(dates, [Some(DATE); 3]);
    site.stop().await;
}

#[tokio::test]
async fn head_is_get_without_a_body_and_the_connection_goes_on() {
    let site = Site::start();
    let mut client = site.connect().await;
    for path in ["/waptwua/small.cab", "/waptwua/empty.msu", "/waptwua/absent", "/waptwua/later.cab", "/healthz", "/"] {
        let mut get = client.ask("GET", path, &[]).await;
        let mut head = client.ask("HEAD", path, &["Range: bytes=5-9"]).await;
        get.body.clear();
        for reply in [&mut get, &mut head] {
            reply.headers.remove("date");
        }
        assert_eq!(head, get, "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let site = Site::start();
    let etag = format!("If-None-Match: \"{ROOT}\"");
    let since = format!("If-Modified-Since: {DATE}");
    let mut client = site.connect().await;
    for condition in [&etag, &since] {
        for method in ["GET", "HEAD"] {
            let reply = client.ask(method, "/waptwua/large.msu", &[condition]).await;
            assert_eq!(reply.status, 304);
            assert_eq!(reply.header("last-modified"), Some(DATE));
            assert_eq!(reply.header("etag"), Some(format!("\"{ROOT}\"").as_str()));
        }
    }
    let changed = client.ask("GET", "/waptwua/small.cab", &["If-Match: \"other\""]).await;
    assert_eq!((changed.status, changed.body), (412, vec![]));
    site.stop().await;
}

#[tokio::test]
async fn an_unhashed_file_has_no_etag_and_resumes_by_date() {
    let site = Site::start();
    let if_range = format!("If-Range: {DATE}");
    let reply = site.ask("GET", "/waptwua/unhashed.msu", &["Range: bytes=4000-", &if_range]).await;
    assert_eq!((reply.status, reply.header("etag")), (206, None));
    assert_eq!(reply.body, pattern(4000, 4096));
    let other = site.ask("GET", "/waptwua/unhashed.msu", &["Range: bytes=4000-", "If-Range: \"x\""]).await;
    assert_eq!(other.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn what_is_not_here_says_when_to_come_back_or_that_nobody_knows_it() {
    let site = Site::start();
    for (path, status, retry_after) in [
        ("/waptwua/later.cab", 503, Some("2")),
        ("/waptwua/soon.cab", 503, Some("1")),
        ("/waptwua/absent.cab", 404, None),
        ("/wapt/small.cab", 404, None),
        ("/waptwua/", 404, None),
        ("/waptwua/../small.cab", 400, None),
        ("/waptwua/%2e%2e/small.cab", 400, None),
        ("/waptwua/a%2fb", 400, None),
        ("/waptwua/a%00", 400, None),
        ("/waptwua//small.cab", 400, None),
    ] {
        let reply = site.ask("GET", path, &[]).await;
        assert_eq!((reply.status, reply.header("retry-after")), (status, retry_after), "{path}");
        assert!(reply.body.len() < 64 && !String::from_utf8_lossy(&reply.body).contains("cab"), "{path}");
    }
    site.stop().await;
}

#[tokio::test]
async fn health_is_json_for_everybody() {
    let site = Site::start();
    let reply = site.ask("GET", "/healthz", &[]).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.body, br#"{"status":"ok"}"#);
    site.stop().await;
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let site = Site::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let reply = site.ask(method, "/waptwua/small.cab", &["Content-Length: 0"]).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    site.stop().await;
}

#[tokio::test]
async fn one_connection_serves_requests_in_turn_and_pipelined_ones_in_order() {
    let site = Site::start();
    let mut client = site.connect().await;
    for _ in 0..3 {
        assert_eq!(client.ask("GET", "/waptwua/small.cab", &[]).await.body, pattern(0, 4096));
    }
    let pipelined =
        [("GET", "bytes=0-9"), ("HEAD", "bytes=0-9"), ("GET", "bytes=2000000-2999999"), ("GET", "bytes=7-8")];
    let text: String =
        pipelined.map(|(method, range)| request(method, "/waptwua/large.msu", &[&format!("Range: {range}")])).concat();
    client.send(&text).await;
    assert_eq!(client.reply("GET").await.body, pattern(0, 10));
    assert_eq!(client.reply("HEAD").await.header("content-length"), Some("3145745"));
    assert!(client.reply("GET").await.body == pattern(2_000_000, 3_000_000));
    assert_eq!(client.reply("GET").await.body, pattern(7, 9));
    site.stop().await;
}

#[tokio::test]
async fn a_request_with_a_body_is_answered_and_is_the_last_of_its_connection() {
    let site = Site::start();
    for body in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
        let mut client = site.connect().await;
        client.send(&format!("GET /waptwua/small.cab HTTP/1.1\r\nHost: site\r\n{body}")).await;
        let reply = client.reply("GET").await;
        assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
        assert_eq!(reply.body, pattern(0, 4096));
        assert_eq!(client.rest().await, b"");
    }
    site.stop().await;
}

#[tokio::test]
async fn http_1_0_needs_no_host_and_closes() {
    let site = Site::start();
    let mut client = site.connect().await;
    client.send("GET /waptwua/small.cab HTTP/1.0\r\n\r\n").await;
    let reply = client.reply("GET").await;
    assert_eq!((reply.status, reply.body), (200, pattern(0, 4096)));
    assert_eq!(client.rest().await, b"");
    site.stop().await;
}

#[tokio::test]
async fn a_missing_or_doubled_host_is_refused_and_an_absolute_uri_is_served() {
    let site = Site::start();
    for (head, status) in [
        ("GET /waptwua/small.cab HTTP/1.1\r\n\r\n", 400),
        ("GET /waptwua/small.cab HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("GET /waptwua/small.cab HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET http://other/waptwua/small.cab HTTP/1.1\r\nHost: site\r\n\r\n", 200),
        ("GET http://other/waptwua/small.cab HTTP/1.1\r\n\r\n", 400),
        ("OPTIONS * HTTP/1.1\r\nHost: site\r\n\r\n", 405),
        ("GET * HTTP/1.1\r\nHost: site\r\n\r\n", 400),
        ("CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n", 405),
    ] {
        let mut client = site.connect().await;
        client.send(head).await;
        assert_eq!(client.reply("GET").await.status, status, "{head}");
    }
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_got_shorter_is_an_error_or_a_cut_and_never_padded() {
    let site = Site::start();
    let short = site.ask("GET", "/waptwua/short.msu", &[]).await;
    assert_eq!((short.status, short.body.as_slice()), (500, b"Internal Server Error\n".as_slice()));
    assert_eq!(short.header("etag"), None);

    let mut client = site.connect().await;
    client.send(&request("GET", "/waptwua/truncated.msu", &[])).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("3145728")));
    let body = client.rest().await;
    assert!(body.len() as u64 <= MIB && body == pattern(0, body.len() as u64));
    site.stop().await;
}

#[tokio::test]
async fn requests_bytes_and_statuses_are_counted() {
    let mut site = Site::start();
    site.ask("GET", "/waptwua/small.cab", &[]).await;
    site.ask("GET", "/waptwua/small.cab", &["Range: bytes=0-9"]).await;
    site.ask("HEAD", "/waptwua/small.cab", &[]).await;
    site.ask("GET", "/waptwua/absent", &["Range: bytes=0-9"]).await;
    for _ in 0..3 {
        soon(site.dropped.recv()).await;
    }
    let counters = site.counters.clone();
    site.stop().await;
    let counts = counters.read();
    assert_eq!((counts.connections, counts.requests, counts.refused), (4, 4, 0));
    assert_eq!(counts.bytes, 4096 + 10 + "Not Found\n".len() as u64);
    assert_eq!(counts.by_class, [0, 3, 0, 1, 0]);
}

/// Lines of the log, shared with the subscriber that writes them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_request_is_one_line_in_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = tracing_subscriber::EnvFilter::new("wuasync::front::exchange=debug");
    let subscriber = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(move || writer.clone());
    let _logged = tracing::subscriber::set_default(subscriber.finish());
    let site = Site::start();
    site.ask("GET", "/waptwua/small.cab?secret", &["Range: bytes=0-9"]).await;
    site.ask("HEAD", "/waptwua/absent%0a", &[]).await;
    site.stop().await;

    let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let fields = written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone());
    let mut fields: Vec<_> = fields.collect();
    for fields in &mut fields {
        let fields = fields.as_object_mut().unwrap();
        assert!(fields.remove("peer").unwrap().as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(fields.remove("ms").unwrap().is_u64());
    }
    let line = |method: &str, path: &str, status: u16, bytes: u64| serde_json::json!({"message": "answered", "method": method, "path": path, "status": status, "bytes": bytes});
    let expected = [line("GET", "\"/waptwua/small.cab\"", 206, 10), line("HEAD", "\"/waptwua/absent%0a\"", 400, 0)];
    assert_eq!(fields, expected);
}
