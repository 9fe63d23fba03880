//! What the head of an answer means. Pure.

use super::{error::Fault, promise::Promise};
use crate::store::download::Origin;
use http::{
    HeaderMap, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LAST_MODIFIED, LOCATION, RETRY_AFTER,
        TRANSFER_ENCODING,
    },
};
use std::time::{Duration, UNIX_EPOCH};

/// What is asked for of a file of which something is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// The first byte that is asked for.
    pub(super) from: u64,
    /// Behind the last one.
    pub(super) until: u64,
    /// Of which file.
    pub(super) origin: Origin,
}

/// A body that is worth reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    /// The file as the origin describes it.
    pub(super) origin: Origin,
    /// What becomes of what is held.
    pub(super) from: From,
}

/// Where in the file a body begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// At the first byte of a file that is begun anew: what is held is of no use.
    Anew,
    /// At the first byte of the file of which something is held; that is passed over.
    First,
    /// Where it was asked for.
    Asked {
        /// Behind the body's last byte.
        end: u64,
    },
}

/// What a head asks to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Read the body.
    Body(Body),
    /// Ask elsewhere; as it was written.
    Redirect(String),
}

/// Judges the answer to a `GET`; `held` if a range was asked for.
pub(super) fn judge_get(
    status: StatusCode,
    headers: &HeaderMap,
    held: Option<&Held>,
    promise: &Promise,
    most: u64,
    now_unix: u64,
) -> Result<Answer, Fault> {
    if let Some(elsewhere) = redirect(status, headers)? {
        return Ok(Answer::Redirect(elsewhere));
    }
    match (status.as_u16(), held) {
        (200, _) => whole(headers, held, promise, most),
        (206, Some(held)) => rest(headers, held),
        (416, Some(_)) => Err(Fault::Changed),
        (status, _) => Err(refused(status, headers, now_unix)),
    }
    .map(Answer::Body)
}

/// Judges the answer to a `HEAD`.
pub(super) fn judge_head(
    status: StatusCode,
    headers: &HeaderMap,
    now_unix: u64,
) -> Result<Result<Origin, String>, Fault> {
    if let Some(elsewhere) = redirect(status, headers)? {
        return Ok(Err(elsewhere));
    }
    if status != StatusCode::OK {
        return Err(refused(status.as_u16(), headers, now_unix));
    }
    check_encoding(headers)?;
    let size = length(headers)?.ok_or(Fault::NoLength)?;
    Ok(Ok(Origin { size, modified: modified(headers) }))
}

fn redirect(status: StatusCode, headers: &HeaderMap) -> Result<Option<String>, Fault> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = text(headers, LOCATION).filter(|location| !location.is_empty());
    location.map(|location| Some(location.to_owned())).ok_or(Fault::RedirectToNowhere(status.as_u16()))
}

fn refused(status: u16, headers: &HeaderMap, now_unix: u64) -> Fault {
    match status {
        404 | 410 => Fault::NotThere(status),
        407 => Fault::ProxyLogin,
        429 | 503 => Fault::Busy { status, retry_after: retry_after(headers, now_unix) },
        408 | 425 | 500.. => Fault::ServerFailed(status),
        400..=499 => Fault::Denied(status),
        _ => Fault::Unexpected(status),
    }
}

fn whole(headers: &HeaderMap, held: Option<&Held>, promise: &Promise, most: u64) -> Result<Body, Fault> {
    check_encoding(headers)?;
    let length = length(headers)?;
    if let Some(length) = length {
        promise.check_size(length)?;
    }
    let size = length.or(promise.size).ok_or(Fault::NoLength)?;
    if size > most {
        return Err(Fault::TooLarge { size, most });
    }
    let origin = Origin { size, modified: modified(headers) };
    let from = match held {
        Some(held) if held.origin == origin && origin.modified.is_some() => From::First,
        _ => From::Anew,
    };
    Ok(Body { origin, from })
}

fn rest(headers: &HeaderMap, held: &Held) -> Result<Body, Fault> {
    check_encoding(headers)?;
    let (first, last, size) = content_range(headers).ok_or(Fault::Malformed("the range can't be read"))?;
    let is_changed = modified(headers).is_some_and(|modified| Some(modified) != held.origin.modified);
    if size != held.origin.size || is_changed {
        return Err(Fault::Changed);
    }
    if first != held.from || last < first || last >= held.until {
        return Err(Fault::Malformed("another range than the one that was asked for"));
    }
    if length(headers)?.is_some_and(|length| length != last - first + 1) {
        return Err(Fault::Malformed("its length is not that of its range"));
    }
    Ok(Body { origin: held.origin, from: From::Asked { end: last + 1 } })
}

/// In seconds, or at a time.
fn retry_after(headers: &HeaderMap, now_unix: u64) -> Option<Duration> {
    let text = text(headers, RETRY_AFTER)?;
    if let Some(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_secs(now_unix)))
}

fn check_encoding(headers: &HeaderMap) -> Result<(), Fault> {
    let coded =
        headers.get_all(CONTENT_ENCODING).iter().find(|coding| !is_one_of(coding.as_bytes(), &["", "identity"]));
    let mut transfers = headers.get_all(TRANSFER_ENCODING).iter();
    let transferred = transfers.find(|coding| !is_one_of(coding.as_bytes(), &["chunked", "identity"]));
    match coded.or(transferred) {
        None => Ok(()),
        Some(coding) => Err(Fault::Encoded(String::from_utf8_lossy(coding.as_bytes()).chars().take(40).collect())),
    }
}

fn is_one_of(value: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| value.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// None without a length; several of them have to agree.
fn length(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let length = value.to_str().ok().and_then(number).ok_or(Fault::Malformed("the length can't be read"))?;
        if found.replace(length).is_some_and(|other| other != length) {
            return Err(Fault::Malformed("it has two lengths"));
        }
    }
    Ok(found)
}

fn modified(headers: &HeaderMap) -> Option<i64> {
    let at = httpdate::parse_http_date(text(headers, LAST_MODIFIED)?).ok()?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// First and last byte, and the length of the whole.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let (range, size) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((number(first)?, number(last)?, number(size)?))
}

/// Digits alone: no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 13 Sep 2020 12:26:40 GMT";
    const STAMP: Option<i64> = Some(1_600_000_000);
    const HELD: Held = Held { from: 40, until: 100, origin: Origin { size: 100, modified: STAMP } };
    const NO_PROMISE: Promise = Promise { size: None, sha1: None, sha256: None };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn get(
        status: u16,
        pairs: &[(&'static str, &str)],
        held: Option<&Held>,
        promised: Option<u64>,
    ) -> Result<Answer, Fault> {
        let promise = Promise { size: promised, ..NO_PROMISE };
        judge_get(StatusCode::from_u16(status).unwrap(), &headers(pairs), held, &promise, 1_000, 1_600_000_000)
    }

    fn body(size: u64, modified: Option<i64>, from: From) -> Answer {
        Answer::Body(Body { origin: Origin { size, modified }, from })
    }

    #[test]
    fn a_whole_answer_begins_anew_or_goes_on_behind_what_is_held_of_the_same_file() {
        let answer = &[("content-length", "100"), ("last-modified", DATE)];
        assert_eq!(get(200, answer, None, None).unwrap(), body(100, STAMP, From::Anew));
        assert_eq!(get(200, answer, Some(&HELD), None).unwrap(), body(100, STAMP, From::First));
        for other in [
            &[("content-length", "101"), ("last-modified", DATE)][..],
            &[("content-length", "100"), ("last-modified", "Sun, 13 Sep 2020 12:26:41 GMT")],
            &[("content-length", "100")],
        ] {
            let Answer::Body(body) = get(200, other, Some(&HELD), None).unwrap() else { panic!() };
            assert_eq!(body.from, From::Anew, "{other:?}");
        }
    }

    #[test]
    fn the_rest_of_a_file_is_taken_only_if_it_is_the_rest_of_this_file() {
        let rest = |range: &str, more: &[(&'static str, &str)]| {
            let all: Vec<_> = [("content-range", range)].into_iter().chain(more.iter().copied()).collect();
            get(206, &all, Some(&HELD), None)
        };
        let goes_on = body(100, STAMP, From::Asked { end: 100 });
        for right in [&[][..], &[("last-modified", DATE), ("content-length", "60")]] {
            assert_eq!(rest("bytes 40-99/100", right).unwrap(), goes_on);
        }
        let begins = body(100, STAMP, From::Asked { end: 50 });
        assert_eq!(rest("bytes 40-49/100", &[("content-length", "10")]).unwrap(), begins);
        for malformed in [
            "bytes 0-99/100",
            "bytes 41-99/100",
            "bytes 40-100/100",
            "bytes 40-39/100",
            "bytes 40-99/*",
            "bytes +40-99/100",
            "bytes */100",
            "40-99/100",
            "bytes 40-99999999999999999999/100",
            "",
        ] {
            assert!(matches!(rest(malformed, &[]), Err(Fault::Malformed(_))), "{malformed}");
        }
        assert!(matches!(rest("bytes 40-99/100", &[("content-length", "61")]), Err(Fault::Malformed(_))));
        assert!(matches!(rest("bytes 40-99/101", &[]), Err(Fault::Changed)));
        let later = ("last-modified", "Sun, 13 Sep 2020 12:26:41 GMT");
        assert!(matches!(rest("bytes 40-99/100", &[later]), Err(Fault::Changed)));
        assert!(matches!(get(416, &[], Some(&HELD), None), Err(Fault::Changed)));
        let middle = Held { until: 60, ..HELD };
        let middle = |range| get(206, &[("content-range", range)], Some(&middle), None);
        assert_eq!(middle("bytes 40-59/100").unwrap(), body(100, STAMP, From::Asked { end: 60 }));
        assert!(matches!(middle("bytes 40-60/100"), Err(Fault::Malformed(_))), "more than was asked for");
        let unasked = get(206, &[("content-range", "bytes 0-99/100")], None, None);
        assert!(matches!(unasked, Err(Fault::Unexpected(206))));
    }

    #[test]
    fn the_length_is_the_promised_one_and_known_and_bounded() {
        assert!(matches!(get(200, &[], None, None), Err(Fault::NoLength)));
        assert_eq!(get(200, &[], None, Some(7)).unwrap(), body(7, None, From::Anew));
        let wrong = get(200, &[("content-length", "8")], None, Some(7));
        assert!(matches!(wrong, Err(Fault::WrongSize { promised: 7, found: Some(8) })));
        assert!(matches!(get(200, &[("content-length", "1001")], None, None), Err(Fault::TooLarge { .. })));
        for malformed in ["-1", "+5", "x", "", "1, 1"] {
            assert!(matches!(get(200, &[("content-length", malformed)], None, None), Err(Fault::Malformed(_))));
        }
        let mut twice = headers(&[("content-length", "5")]);
        twice.append(CONTENT_LENGTH, "6".parse().unwrap());
        assert!(matches!(length(&twice), Err(Fault::Malformed(_))));
    }

    #[test]
    fn an_encoding_that_nobody_asked_for_is_refused() {
        for wrong in [("content-encoding", "gzip"), ("content-encoding", "br"), ("transfer-encoding", "gzip, chunked")]
        {
            let answer = get(200, &[wrong, ("content-length", "5")], None, None);
            assert!(matches!(answer, Err(Fault::Encoded(_))), "{wrong:?}");
        }
        for right in [("content-encoding", "Identity"), ("transfer-encoding", "chunked")] {
            assert!(get(200, &[right], None, Some(5)).is_ok(), "{right:?}");
        }
    }

    #[test]
    fn every_status_has_its_verdict() {
        use super::super::error::Verdict::{Again, Later, Never};
        for (status, verdict) in [
            (404, Never),
            (410, Never),
            (403, Never),
            (401, Never),
            (407, Later),
            (408, Again),
            (429, Again),
            (500, Again),
            (502, Again),
            (503, Again),
            (204, Again),
            (304, Again),
            (302, Never),
        ] {
            assert_eq!(get(status, &[], None, None).unwrap_err().verdict(), verdict, "{status}");
        }
        let elsewhere = get(302, &[("location", "/x")], None, None).unwrap();
        assert_eq!(elsewhere, Answer::Redirect("/x".to_owned()));
    }

    #[test]
    fn a_server_says_when_to_come_back_in_seconds_or_by_date() {
        let after = |text: &str| retry_after(&headers(&[("retry-after", text)]), 1_600_000_000 - 90);
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after(DATE), Some(Duration::from_secs(90)));
        assert_eq!(after("Wed, 13 Sep 2000 12:26:40 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
        let busy = get(503, &[("retry-after", "3")], None, None).unwrap_err();
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_head_says_length_and_date() {
        let head = |status, pairs: &[(&'static str, &str)]| {
            judge_head(StatusCode::from_u16(status).unwrap(), &headers(pairs), 0)
        };
        let origin = head(200, &[("content-length", "9"), ("last-modified", DATE)]).unwrap();
        assert_eq!(origin, Ok(Origin { size: 9, modified: STAMP }));
        assert_eq!(head(302, &[("location", "/x")]).unwrap(), Err("/x".to_owned()));
        assert!(matches!(head(200, &[]), Err(Fault::NoLength)));
        assert!(matches!(head(404, &[]), Err(Fault::NotThere(404))));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_head_says_what_is_gone_on_with_is_the_rest_of_what_is_held(
            status in proptest::sample::select(vec![200_u16, 206, 302, 404, 416, 503]),
            fields in proptest::collection::vec((0..6_usize, "(bytes )?[0-9]{0,3}[-/ ]?[0-9]{0,3}[/]?[0-9*]{0,3}|[ -~]{0,20}"), 0..6),
            dated in proptest::bool::ANY,
        ) {
            const NAMES: [HeaderName; 6] =
                [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, LOCATION, RETRY_AFTER, LAST_MODIFIED];
            let mut headers = HeaderMap::new();
            if dated {
                headers.append(LAST_MODIFIED, DATE.parse().unwrap());
            }
            for (name, value) in fields {
                headers.append(NAMES[name].clone(), value.parse().unwrap());
            }
            let answer = judge_get(StatusCode::from_u16(status).unwrap(), &headers, Some(&HELD), &NO_PROMISE, 1_000, 0);
            if let Ok(Answer::Body(Body { origin, from })) = answer {
                assert!(from == From::Anew || origin == HELD.origin);
                assert_eq!(matches!(from, From::Asked { .. }), status == 206);
                assert!(!matches!(from, From::Asked { end } if end <= HELD.from || end > HELD.until));
            }
        }
    }
}
