//! Files that arrive in pieces: after cuts, after restarts, and while they change at the origin.

use crate::{
    hostile::Part,
    site::{DATE, LATER, Site, blob, fault, limits, origin, promise_of, read, settings, upstream},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use wuasync::{
    base::{clock::SystemClock, throttle::Throttle},
    upstream::{Fault, Growth, Limits, Promise, Settings},
};

const SIZE: usize = 700_000;
const CUT: usize = 300_000;
/// What of `CUT` bytes proves itself after a restart.
const PROVEN: usize = 262_144;

pub fn whole(data: &[u8], date: &str, sent: usize) -> Vec<Part> {
    let (size, bytes) = (data.len(), data[..sent].to_vec());
    let date = if date.is_empty() { String::new() } else { format!("Last-Modified: {date}\r\n") };
    vec![Part::Text(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{date}\r\n")), Part::Bytes(bytes)]
}

/// 206 for `range`, with the bytes of `data` from `from`.
pub fn part(data: &[u8], date: &str, range: &str, from: usize) -> Vec<Part> {
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {}\r\nLast-Modified: {date}\r\n\r\n",
        data.len() - from
    );
    vec![Part::Text(head), Part::Bytes(data[from..].to_vec())]
}

pub fn rest(data: &[u8], date: &str, from: usize) -> Vec<Part> {
    part(data, date, &format!("bytes {from}-{}/{}", data.len() - 1, data.len()), from)
}

pub fn from(byte: usize) -> Option<String> {
    Some(format!("bytes={byte}-"))
}

pub fn any() -> Promise {
    Promise::default()
}

#[tokio::test]
async fn a_cut_costs_nothing_that_had_arrived_however_often_it_comes() {
    let data = blob(1, SIZE);
    let mut script = vec![whole(&data, DATE, 50_000)];
    for at in (50_000..SIZE).step_by(50_000) {
        let mut piece = rest(&data, DATE, at);
        if let Part::Bytes(bytes) = &mut piece[1] {
            bytes.truncate(50_000);
        }
        script.push(piece);
    }
    let (hostile, upstream, site) = origin(script).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    let expected: Vec<_> = (0..SIZE).step_by(50_000).map(|at| if at == 0 { None } else { from(at) }).collect();
    assert_eq!(hostile.ranges(), expected);
    let dates: Vec<_> = hostile.requests().iter().map(|it| it.header("if-range").map(str::to_owned)).collect();
    assert!(dates[0].is_none() && dates[1..].iter().all(|date| date.as_deref() == Some(DATE)), "{dates:?}");
}

#[tokio::test]
async fn an_origin_that_ignores_ranges_is_read_past_what_is_held() {
    let data = blob(2, SIZE);
    let (hostile, upstream, site) = origin(vec![whole(&data, DATE, CUT), whole(&data, DATE, SIZE)]).await;
    let (growth, grown) = watch::channel(None);
    let fetched = site.fetch_telling(&upstream, promise_of(&data), &growth).await.unwrap();
    assert_eq!(grown.borrow().as_ref().map(|growth| growth.start), Some(1), "readers are served on");
    site.publish(fetched, &data);
    assert_eq!(hostile.ranges(), [None, from(CUT)]);
}

#[tokio::test]
async fn a_wrong_range_is_never_taken_and_the_file_is_asked_for_without_one() {
    let data = blob(3, SIZE);
    let last = SIZE - 1;
    for (wrong, sent_from) in [
        (format!("bytes {}-{last}/{SIZE}", CUT + 1), CUT + 1),
        (format!("bytes 0-{last}/{SIZE}"), 0),
        (format!("bytes {CUT}-{SIZE}/{SIZE}"), CUT),
        (format!("bytes {CUT}-{last}/*"), CUT),
        (format!("bytes {CUT}-{}/{SIZE}", CUT - 1), CUT),
        (format!("items {CUT}-{last}/{SIZE}"), CUT),
        ("bytes 300000-99999999999999999999/700000".to_owned(), CUT),
    ] {
        let nonsense = part(&data, DATE, &wrong, sent_from);
        let script = vec![whole(&data, DATE, CUT), nonsense, whole(&data, DATE, SIZE)];
        let (hostile, upstream, site) = origin(script).await;
        site.fetch_right(&upstream, promise_of(&data), &data).await;
        assert_eq!(hostile.ranges(), [None, from(CUT), None], "{wrong}");
    }
}

#[tokio::test]
async fn a_file_that_changes_in_mid_transfer_is_begun_anew_and_never_mixed() {
    let (old, new) = (blob(4, SIZE), blob(5, SIZE));
    let longer = blob(6, SIZE + 1);
    for (name, second, third, right) in [
        ("another date in 206", rest(&new, LATER, CUT), whole(&new, LATER, SIZE), &new),
        ("another length in 206", rest(&longer, DATE, CUT), whole(&longer, DATE, SIZE + 1), &longer),
        ("another date in 200", whole(&new, LATER, SIZE), vec![], &new),
        ("another length in 200", whole(&longer, DATE, SIZE + 1), vec![], &longer),
        (
            "the range is gone",
            vec![Part::Text("HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n".into())],
            whole(&new, LATER, SIZE),
            &new,
        ),
    ] {
        let (hostile, upstream, site) = origin(vec![whole(&old, DATE, CUT), second, third.clone()]).await;
        let (growth, mut grown) = watch::channel(None);
        let first = tokio::spawn(async move {
            let growth = grown.wait_for(|it: &Option<Growth>| it.as_ref().is_some_and(|it| it.arrived() > 0)).await;
            growth.unwrap().clone().unwrap()
        });
        let fetched = site.fetch_telling(&upstream, any(), &growth).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        site.publish(fetched, right);
        assert_eq!(hostile.requests().len(), if third.is_empty() { 2 } else { 3 }, "{name}");
        let first = first.await.unwrap();
        assert!(first.start < growth.borrow().as_ref().unwrap().start, "{name}: readers of the old bytes are told");
        assert!(old.starts_with(&read(&first)), "{name}: who reads the old bytes reads no new ones");
    }
}

#[tokio::test]
async fn a_file_that_changes_for_ever_is_given_up() {
    let script = (0..20).map(|n| {
        let date = format!("Sun, 13 Sep 2020 12:26:{:02} GMT", n + 1);
        whole(&blob(n, SIZE), &date, CUT)
    });
    let (hostile, upstream, site) = origin(script.collect()).await;
    let error = site.fetch(&upstream, any()).await.err().unwrap();
    assert!(matches!(fault(error, true), Fault::Changed));
    assert!(hostile.requests().len() < 10);
    site.expect_nothing_staged();
}

#[tokio::test]
async fn pieces_of_two_files_under_one_date_are_found_by_their_digest_and_fetched_once_more() {
    let (other, data) = (blob(7, SIZE), blob(8, SIZE));
    let (hostile, upstream, site) =
        origin(vec![whole(&other, DATE, CUT), rest(&data, DATE, CUT), whole(&data, DATE, SIZE)]).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    assert_eq!(hostile.ranges(), [None, from(CUT), None]);
}

#[tokio::test]
async fn without_a_date_nothing_is_gone_on_with() {
    let data = blob(9, SIZE);
    let (hostile, upstream, site) = origin(vec![whole(&data, "", CUT), whole(&data, "", SIZE)]).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    assert_eq!(hostile.ranges(), [None, None]);
}

/// A fetch that is dropped after `CUT` bytes, and the site as the next run finds it.
async fn interrupted(
    data: &[u8],
    then: Vec<Vec<Part>>,
) -> (crate::hostile::Hostile, wuasync::upstream::Upstream, Site) {
    let mut first = whole(data, DATE, CUT);
    first.push(Part::Hold);
    let (hostile, _, site) = origin([vec![first], then].concat()).await;
    let patient = Limits { stall: crate::site::PATIENCE, ..limits() };
    let upstream = upstream(Settings { limits: patient, ..settings(hostile.address) });
    let (growth, mut grown) = watch::channel(None);
    tokio::select! {
        _ = site.fetch_telling(&upstream, promise_of(data), &growth) => panic!("it ended"),
        there = grown.wait_for(|it: &Option<Growth>| it.as_ref().is_some_and(|it| it.arrived() == CUT as u64)) => {
            assert!(data.starts_with(&read(there.unwrap().as_ref().unwrap())));
        }
    }
    drop(growth);
    site.expect_beginning_of(data);
    (hostile, upstream, site.restarted())
}

#[tokio::test]
async fn after_a_restart_a_file_goes_on_from_what_proves_itself() {
    let data = blob(10, SIZE);
    let (hostile, upstream, site) = interrupted(&data, vec![rest(&data, DATE, PROVEN)]).await;
    site.fetch_right(&upstream, promise_of(&data), &data).await;
    assert_eq!(hostile.ranges(), [None, from(PROVEN)]);
    assert_eq!(hostile.requests()[1].header("if-range"), Some(DATE));
}

#[tokio::test]
async fn after_a_restart_a_file_that_changed_meanwhile_is_begun_anew() {
    let (old, new) = (blob(11, SIZE), blob(12, SIZE));
    let (hostile, upstream, site) = interrupted(&old, vec![whole(&new, LATER, SIZE)]).await;
    site.fetch_right(&upstream, promise_of(&new), &new).await;
    assert_eq!(hostile.ranges(), [None, from(PROVEN)]);
}

#[tokio::test]
async fn a_whole_file_that_was_not_published_before_a_restart_is_not_fetched_again() {
    let data = blob(13, SIZE);
    let head = Part::Text(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nLast-Modified: {DATE}\r\n\r\n"));
    for (promise, requests) in [(promise_of(&data), 1), (any(), 2)] {
        let (hostile, upstream, site) = origin(vec![whole(&data, DATE, SIZE), vec![head.clone()]]).await;
        drop(site.fetch(&upstream, promise).await.unwrap());
        let site = site.restarted();
        let (growth, grown) = watch::channel(None);
        let fetched = site.fetch_telling(&upstream, promise, &growth).await.unwrap();
        assert_eq!(read(grown.borrow().as_ref().unwrap()), data);
        site.publish(fetched, &data);
        assert_eq!(hostile.requests().len(), requests);
        assert!(hostile.requests()[1..].iter().all(|request| request.method == "HEAD"));
    }
}

#[tokio::test]
async fn a_download_keeps_to_the_ceiling_of_the_line() {
    let data = blob(1, 3_000_000);
    let (_hostile, upstream, site) = origin(vec![whole(&data, DATE, data.len())]).await;
    let throttle = Throttle::unlimited(Arc::new(SystemClock));
    throttle.limit(Some(2_000_000));
    let begun = Instant::now();
    site.fetch_right(&upstream.below(throttle.clone()), promise_of(&data), &data).await;
    let (took, (came, _)) = (begun.elapsed(), throttle.moved());
    assert!(took > Duration::from_millis(1_000), "{took:?}");
    assert!(came > 3_050_000, "heads of packets count: {came}");
}
