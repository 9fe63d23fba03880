//! Answers that are wrong, one way after the other: nothing wrong is staged, and what can heal does.

use crate::{
    hostile::{Hostile, Part},
    site::{DATE, HOST, Site, blob, fault, limits, origin, promise_of, settings, sha1_of, upstream},
};
use std::time::Duration;
use wuasync::upstream::{Fault, Limits, Promise, Settings, rules::Refusal};

const SIZE: usize = 700_000;

fn text(text: impl Into<String>) -> Part {
    Part::Text(text.into())
}

/// The head of a whole answer.
fn head(size: usize) -> Part {
    text(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nLast-Modified: {DATE}\r\n\r\n"))
}

fn status(line: &str, more: &str) -> Vec<Part> {
    vec![text(format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n{more}\r\n"))]
}

fn right(data: &[u8]) -> Vec<Part> {
    vec![head(data.len()), Part::Bytes(data.to_vec())]
}

fn by_digest(data: &[u8]) -> Promise {
    Promise { sha1: Some(sha1_of(data)), ..Promise::default() }
}

#[tokio::test]
async fn a_right_file_is_asked_for_once_with_nothing_but_what_belongs_to_the_question() {
    for size in [0, 1, 65_537, 5_000_000] {
        let data = blob(1, size);
        let cookie = text(format!("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: {size}\r\n\r\n"));
        let (hostile, upstream, site) = origin(vec![vec![cookie, Part::Bytes(data.clone())]]).await;
        site.fetch_right(&upstream, promise_of(&data), &data).await;
        let [request] = &hostile.requests()[..] else { panic!("{:?}", hostile.requests()) };
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/c/msdownload/kb1.cab?x=1"));
        let names: Vec<_> = request.headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
        assert_eq!((request.header("accept-encoding"), request.header("host")), (Some("identity"), Some(HOST)));
    }
}

#[tokio::test]
async fn a_flipped_byte_is_a_wrong_digest_at_once_and_nothing_is_kept() {
    let data = blob(2, SIZE);
    let mut flipped = data.clone();
    flipped[SIZE / 2] ^= 1;
    let sha256 = Promise { sha1: None, size: None, ..promise_of(&data) };
    for promise in [by_digest(&data), sha256] {
        let (hostile, upstream, site) = origin(vec![right(&flipped)]).await;
        let error = site.fetch_in_vain(&upstream, promise, &data).await;
        assert!(matches!(fault(error, false), Fault::WrongDigest { .. }));
        site.expect_nothing_staged();
        assert_eq!(hostile.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_length_that_is_not_the_promised_one_ends_the_fetch_before_the_first_byte() {
    let data = blob(3, SIZE);
    for lie in [SIZE - 1, SIZE + 1, 0] {
        let (hostile, upstream, site) = origin(vec![vec![head(lie), Part::Bytes(data.clone())]]).await;
        let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
        assert!(matches!(fault(error, false), Fault::WrongSize { .. }));
        site.expect_nothing_staged();
        assert_eq!(hostile.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_length_that_is_too_short_is_a_wrong_digest_and_one_that_is_too_long_a_cut() {
    let data = blob(4, SIZE);
    let (_hostile, upstream, site) = origin(vec![vec![head(SIZE - 1), Part::Bytes(data.clone())]]).await;
    let error = site.fetch_in_vain(&upstream, by_digest(&data), &data).await;
    assert!(matches!(fault(error, false), Fault::WrongDigest { .. }));
    site.expect_nothing_staged();

    let (hostile, upstream, site) = origin(vec![vec![head(SIZE + 1), Part::Bytes(data.clone())]]).await;
    let error = site.fetch_in_vain(&upstream, by_digest(&data), &data).await;
    assert_eq!(error.attempts as usize, hostile.requests().len());
    assert!(matches!(fault(error, true), Fault::Cut { .. }));
}

#[tokio::test]
async fn without_a_length_a_promised_file_arrives_and_no_other() {
    let data = blob(5, SIZE);
    let bare = text("HTTP/1.1 200 OK\r\n\r\n");
    let chunk = text(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n"));
    let close_ended = vec![bare.clone(), Part::Bytes(data.clone())];
    let chunked = vec![chunk, Part::Bytes(data.clone()), text("\r\n0\r\n\r\n")];
    for reply in [close_ended, chunked] {
        let (_hostile, upstream, site) = origin(vec![reply.clone()]).await;
        site.fetch_right(&upstream, promise_of(&data), &data).await;
        let (_hostile, upstream, site) = origin(vec![reply]).await;
        let error = site.fetch_in_vain(&upstream, by_digest(&data), &data).await;
        assert!(matches!(fault(error, false), Fault::NoLength));
        site.expect_nothing_staged();
    }
    let (hostile, upstream, site) =
        origin(vec![vec![bare, Part::Bytes(data.clone()), Part::Endless(&[7; 4096])]]).await;
    let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
    assert!(matches!(fault(error, false), Fault::WrongSize { found: None, .. }));
    site.expect_nothing_staged();
    assert_eq!(hostile.requests().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_longer_than_any_is_refused() {
    let reply = text(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 50));
    let (_hostile, upstream, site) = origin(vec![vec![reply, Part::Endless(b"x")]]).await;
    let error = site.fetch_in_vain(&upstream, Promise::default(), b"").await;
    assert!(matches!(fault(error, false), Fault::TooLarge { .. }));
    site.expect_nothing_staged();
}

#[tokio::test]
async fn an_answer_that_is_encoded_uninvited_is_refused() {
    let data = blob(6, 1_000);
    for coding in ["Content-Encoding: gzip", "Content-Encoding: br", "Transfer-Encoding: gzip, chunked"] {
        let reply = text(format!("HTTP/1.1 200 OK\r\n{coding}\r\nLast-Modified: {DATE}\r\n\r\n"));
        let (hostile, upstream, site) = origin(vec![vec![reply, Part::Bytes(data.clone())]]).await;
        let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
        assert!(matches!(fault(error, false), Fault::Encoded(_)), "{coding}");
        site.expect_nothing_staged();
        assert_eq!(hostile.requests().len(), 1);
    }
}

#[tokio::test]
async fn silence_and_a_trickle_are_cut_off_and_the_file_arrives_at_the_next_try() {
    let data = blob(7, SIZE);
    let silence = vec![head(SIZE), Part::Bytes(data[..300_000].to_vec()), Part::Hold];
    let drip = Part::Drip(data[..1_000].to_vec(), Duration::from_millis(20));
    let rest = |from: usize| {
        let range = format!("bytes {from}-{}/{SIZE}", SIZE - 1);
        let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nLast-Modified: {DATE}\r\n\r\n");
        vec![text(head), Part::Bytes(data[from..].to_vec())]
    };
    let second = Duration::from_secs(1);
    let impatient = Limits { stall: second, slow_after: second, ..limits() };
    for (hurt, goes_on_from) in [(silence, 300_000), (vec![head(SIZE), drip.clone()], 0)] {
        let hostile =
            Hostile::start(vec![hurt, if goes_on_from == 0 { right(&data) } else { rest(goes_on_from) }]).await;
        Site::new().fetch_right(&upstream_with(&hostile, impatient.clone()), promise_of(&data), &data).await;
        let [None, range] = &hostile.ranges()[..] else { panic!("{:?}", hostile.ranges()) };
        assert!(range.as_deref().is_some_and(|range| goes_on_from == 0 || range == "bytes=300000-"), "{range:?}");
    }
    for (hurt, is_silent) in [(vec![head(SIZE), Part::Hold], true), (vec![head(SIZE), drip], false)] {
        let hostile = Hostile::start(vec![hurt]).await;
        let once = Limits { tries: 1, ..impatient.clone() };
        let error = Site::new().fetch_in_vain(&upstream_with(&hostile, once), promise_of(&data), &data).await;
        let fault = fault(error, true);
        assert!(if is_silent { matches!(fault, Fault::Stalled(_)) } else { matches!(fault, Fault::Slow { .. }) });
    }
}

fn upstream_with(hostile: &Hostile, limits: Limits) -> wuasync::upstream::Upstream {
    upstream(Settings { limits, ..settings(hostile.address) })
}

#[tokio::test]
async fn no_answer_at_all_and_an_endless_one_are_given_up_in_bounded_time_and_memory() {
    let limits = Limits { head: Duration::from_millis(300), tries: 2, ..limits() };
    let begun = text("HTTP/1.1 200 OK\r\n");
    let lines: &[u8] = b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    let line: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let informed: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    for (reply, is_silent) in [
        (vec![Part::Hold], true),
        (vec![begun.clone(), Part::Endless(lines)], false),
        (vec![begun, text("X: "), Part::Endless(line)], false),
        (vec![Part::Drip(lines.repeat(100), Duration::from_millis(5))], false),
        (vec![Part::Endless(informed)], true),
        (vec![text("SSH-2.0-OpenSSH_9.2\r\n")], false),
    ] {
        let hostile = Hostile::start(vec![reply]).await;
        let site = Site::new();
        let error = site.fetch_in_vain(&upstream_with(&hostile, limits.clone()), promise_of(b"x"), b"").await;
        assert_eq!(error.attempts, 2);
        let fault = fault(error, true);
        assert!(matches!(fault, Fault::NoAnswer(_) | Fault::Malformed(_)), "{fault:?}");
        assert!(!is_silent || matches!(fault, Fault::NoAnswer(_)), "{fault:?}");
        site.expect_nothing_staged();
    }
    let hostile = Hostile::start(vec![vec![text("HTTP/1.1 200 OK\r\n"), Part::Endless(lines)]]).await;
    Site::new().fetch_in_vain(&upstream_with(&hostile, limits), promise_of(b"x"), b"").await;
    // What the sockets' buffers take is sent, but hardly read.
    assert!(hostile.sent() < 20 << 20, "{} bytes", hostile.sent());
}

#[tokio::test]
async fn a_connection_that_is_reset_or_refused_is_tried_again_a_few_times() {
    let data = blob(8, SIZE);
    let reset = vec![head(SIZE), Part::Bytes(data[..1_000].to_vec()), Part::Reset];
    let (hostile, upstream, site) = origin(vec![vec![Part::Reset], reset, right(&data)]).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    assert_eq!(hostile.requests().len(), 3);

    let (hostile, upstream, site) = origin(vec![vec![Part::Reset]]).await;
    let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
    assert_eq!((error.attempts, hostile.requests().len()), (6, 6));
    assert!(matches!(fault(error, true), Fault::Ask(_)));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = site.fetch_in_vain(&crate::site::upstream(settings(nobody)), promise_of(&data), &data).await;
    assert!(matches!(fault(error, true), Fault::Connect(_)));
}

#[tokio::test]
async fn what_is_not_there_is_asked_once_and_what_failed_again() {
    let data = blob(9, 1_000);
    for line in ["404 Not Found", "410 Gone", "403 Forbidden", "401 Unauthorized", "400 Bad Request"] {
        let (hostile, upstream, site) = origin(vec![status(line, ""), right(&data)]).await;
        let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
        assert!(matches!(fault(error, false), Fault::NotThere(_) | Fault::Denied(_)), "{line}");
        assert_eq!(hostile.requests().len(), 1, "{line}");
    }
    for line in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "504 Gateway Timeout",
        "429 Too Many Requests",
        "204 No Content",
    ] {
        let (hostile, upstream, site) = origin(vec![status(line, ""), status(line, ""), right(&data)]).await;
        site.fetch_right(&upstream, promise_of(&data), &data).await;
        assert_eq!(hostile.requests().len(), 3, "{line}");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_when_it_says_or_left_alone() {
    let data = blob(10, 1_000);
    let (_hostile, upstream, site) = origin(vec![status("503 Busy", "Retry-After: 1\r\n"), right(&data)]).await;
    let begun = std::time::Instant::now();
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));

    let (hostile, upstream, site) = origin(vec![status("503 Busy", "Retry-After: 3600\r\n")]).await;
    let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)));
    assert!(matches!(fault(error, true), Fault::Busy { status: 503, .. }));
    assert_eq!(hostile.requests().len(), 1);
}

#[tokio::test]
async fn redirects_are_followed_inside_the_list_and_never_out_of_it() {
    let data = blob(11, 1_000);
    let to = |place: &str| status("302 Found", &format!("Location: {place}\r\n"));
    let (hostile, upstream, site) = origin(vec![to("/b?c=d"), to(&format!("http://{HOST}:81/e")), right(&data)]).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    let asked: Vec<_> = hostile.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(asked, ["/c/msdownload/kb1.cab?x=1", "/b?c=d", "/e"]);

    let own = |hostile: &Hostile| format!("http://{}/x", hostile.address);
    let other = Hostile::start(vec![right(&data)]).await;
    for place in [
        "http://evilwindowsupdate.com/x",
        "http://localhost/x",
        &own(&other),
        "http://[::1]/x",
        "http://169.254.169.254/latest/meta-data",
        "ftp://dl.windowsupdate.com/x",
        "file:///etc/passwd",
        "http://other.windowsupdate.com:22/x",
        "http://user:secret@dl.windowsupdate.com/x",
        "//10.0.0.1/x",
    ] {
        let (hostile, upstream, site) = origin(vec![to(place)]).await;
        let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
        assert!(matches!(fault(error, false), Fault::Refused(_)), "{place}");
        assert_eq!(hostile.requests().len(), 1, "{place}");
        site.expect_nothing_staged();
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn a_loop_of_redirects_ends_and_one_to_nowhere_is_refused() {
    let (hostile, upstream, site) = origin(vec![status("301 Moved", "Location: ?again\r\n")]).await;
    let error = site.fetch_in_vain(&upstream, promise_of(b"x"), b"").await;
    assert!(matches!(fault(error, false), Fault::TooManyRedirects(10)));
    assert_eq!(hostile.requests().len(), 11);
    let error = upstream.head(&format!("http://{HOST}/x")).await.unwrap_err();
    assert!(matches!(fault(error, false), Fault::TooManyRedirects(10)));
    for reply in [status("302 Found", ""), status("302 Found", "Location:\r\n")] {
        let (_hostile, upstream, site) = origin(vec![reply]).await;
        let error = site.fetch_in_vain(&upstream, promise_of(b"x"), b"").await;
        assert!(matches!(fault(error, false), Fault::RedirectToNowhere(302)));
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_refused_before_anything_is_asked() {
    let hostile = Hostile::start(vec![right(b"x")]).await;
    let allowed = Settings { allowed_hosts: vec!["localhost".to_owned()], ..settings(hostile.address) };
    let error = upstream(allowed).head("http://localhost/x").await.unwrap_err();
    assert!(matches!(fault(error, false), Fault::Refused(Refusal::PrivateAddress { .. })));
}

#[tokio::test]
async fn a_head_gives_length_and_date_within_its_time() {
    let found = text(format!("HTTP/1.1 200 OK\r\nContent-Length: 700\r\nLast-Modified: {DATE}\r\n\r\n"));
    let (hostile, upstream, _site) = origin(vec![status("302 Found", "Location: /b\r\n"), vec![found]]).await;
    let origin = upstream.head(&format!("http://{HOST}/x")).await.unwrap();
    assert_eq!((origin.size, origin.modified), (700, Some(crate::site::STAMP)));
    assert!(hostile.requests().iter().all(|request| request.method == "HEAD"));

    let silent = Hostile::start(vec![vec![Part::Hold]]).await;
    let begun = std::time::Instant::now();
    let error = crate::site::upstream(settings(silent.address)).head(&format!("http://{HOST}/x")).await.unwrap_err();
    assert!(matches!(fault(error, true), Fault::NoAnswer(_)));
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_disk_without_room_is_said_before_and_during_and_nothing_is_left() {
    let data = blob(12, 40 << 20);
    let (hostile, upstream, site) = origin(vec![right(&data)]).await;
    site.staging.keep_free(u64::MAX);
    let error = site.fetch_in_vain(&upstream, promise_of(&data), &data).await;
    assert!(matches!(fault(error, true), Fault::Disk { .. }));
    site.expect_nothing_staged();

    site.staging.keep_free(1);
    let (growth, mut grown) = tokio::sync::watch::channel(None);
    let fetch = site.fetch_telling(&upstream, promise_of(&data), &growth);
    let fill = async {
        grown.wait_for(|growth| growth.as_ref().is_some_and(|growth| growth.arrived() > 0)).await.unwrap();
        site.staging.keep_free(u64::MAX);
    };
    let (fetched, ()) = tokio::join!(fetch, fill);
    assert!(matches!(fault(fetched.err().unwrap(), true), Fault::Disk { .. }));
    site.expect_nothing_staged();
    assert!(site.staging.shortage().unwrap().is_some());
    assert_eq!(hostile.requests().len(), 2);
}
