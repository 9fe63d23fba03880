//! What is answered for a file that is here: status, headers and bytes (RFC 9110). Pure.

use super::{
    preconditions::{self, Validators, Verdict},
    range::{self, Selection},
};
use crate::domain::{digest::Root, name::FileName};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED},
};
use std::{
    ops::Range,
    time::{Duration, UNIX_EPOCH},
};

/// The first second that an HTTP date can't write: the year 10000.
const HTTP_DATES_END: u64 = 253_402_300_800;

/// What has to be known of a file.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Exact length in bytes.
    pub size: u64,
    /// Microsoft's Last-Modified, in seconds since 1970 UTC, where it told one. Told as it is, even where it
    /// lies in the future of a wrong clock: agents compare it between mirrors, to the second.
    pub modified: Option<i64>,
    /// Becomes the ETag.
    pub root: Option<Root>,
    /// The media type.
    pub content_type: &'static str,
    /// The moment of the answer, seconds since 1970 UTC.
    pub now: u64,
}

/// An answer, before any byte is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// 200, 206, 304, 412 or 416.
    pub status: StatusCode,
    /// All headers but Date and Connection.
    pub headers: HeaderMap,
    /// The bytes of the file that make the body; empty where there is none.
    pub range: Range<u64>,
}

/// Decides the answer to a GET or HEAD with these `headers`.
pub fn plan(method: &Method, headers: &HeaderMap, meta: &Meta) -> Plan {
    let validators = Validators {
        etag: meta.root.and_then(etag),
        modified: meta
            .modified
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds < HTTP_DATES_END),
        now: meta.now,
    };
    let selection = match preconditions::judge(headers, &validators) {
        Verdict::NotModified => return not_modified(&validators),
        Verdict::Failed => return without_body(StatusCode::PRECONDITION_FAILED),
        Verdict::Proceed if *method != Method::GET => Selection::Whole,
        Verdict::Proceed if !preconditions::range_may_apply(headers, &validators) => Selection::Whole,
        Verdict::Proceed => range::select(headers, meta.size),
    };
    match selection {
        Selection::Whole => whole(method, meta, &validators),
        Selection::Part(range) => part(range, meta, &validators),
        Selection::Unsatisfiable => unsatisfiable(meta.size),
    }
}

/// The media type that a name promises.
pub fn content_type(name: &FileName) -> &'static str {
    match name.as_str().rsplit_once('.') {
        Some((_, extension)) if extension.eq_ignore_ascii_case("cab") => "application/vnd.ms-cab-compressed",
        _ => "application/octet-stream",
    }
}

fn whole(method: &Method, meta: &Meta, validators: &Validators) -> Plan {
    let headers = described(meta.size, meta, validators);
    let range = if *method == Method::HEAD { 0..0 } else { 0..meta.size };
    Plan { status: StatusCode::OK, headers, range }
}

fn part(range: Range<u64>, meta: &Meta, validators: &Validators) -> Plan {
    let mut headers = described(range.end - range.start, meta, validators);
    insert_text(&mut headers, CONTENT_RANGE, &format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size));
    Plan { status: StatusCode::PARTIAL_CONTENT, headers, range }
}

fn unsatisfiable(size: u64) -> Plan {
    let mut plan = without_body(StatusCode::RANGE_NOT_SATISFIABLE);
    insert_text(&mut plan.headers, CONTENT_RANGE, &format!("bytes */{size}"));
    plan
}

fn not_modified(validators: &Validators) -> Plan {
    let mut headers = HeaderMap::with_capacity(2);
    insert_validators(&mut headers, validators);
    Plan { status: StatusCode::NOT_MODIFIED, headers, range: 0..0 }
}

fn without_body(status: StatusCode) -> Plan {
    Plan { status, headers: HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(0))]), range: 0..0 }
}

fn described(length: u64, meta: &Meta, validators: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(meta.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert_validators(&mut headers, validators);
    headers
}

fn insert_validators(headers: &mut HeaderMap, validators: &Validators) {
    if let Some(etag) = &validators.etag {
        headers.insert(ETAG, etag.clone());
    }
    if let Some(modified) = validators.modified {
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified));
        insert_text(headers, LAST_MODIFIED, &date);
    }
}

fn etag(root: Root) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{root}\"")).ok()
}

fn insert_text(headers: &mut HeaderMap, name: http::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
    use proptest::prelude::*;

    const MODIFIED: i64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn meta(size: u64) -> Meta {
        let root = Some(Root([0xab; 32]));
        Meta { size, modified: Some(MODIFIED), root, content_type: "application/octet-stream", now: 1_000_000_000 }
    }

    fn tag() -> String {
        format!("\"{}\"", "ab".repeat(32))
    }

    fn asked(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn text(plan: &Plan, name: http::HeaderName) -> Option<&str> {
        plan.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_plain_get_is_the_whole_file_with_everything_said_of_it() {
        let plan = plan(&Method::GET, &HeaderMap::new(), &meta(10));
        assert_eq!((plan.status, plan.range.clone()), (StatusCode::OK, 0..10));
        let expected = asked(&[
            (CONTENT_TYPE, "application/octet-stream"),
            (CONTENT_LENGTH, "10"),
            (ACCEPT_RANGES, "bytes"),
            (ETAG, &tag()),
            (LAST_MODIFIED, DATE),
        ]);
        assert_eq!(plan.headers, expected);
    }

    #[test]
    fn head_says_what_get_would_and_knows_no_ranges() {
        let get = plan(&Method::GET, &HeaderMap::new(), &meta(10));
        for pairs in [vec![], vec![(RANGE, "bytes=2-3")], vec![(RANGE, "bytes=20-")]] {
            let head = plan(&Method::HEAD, &asked(&pairs), &meta(10));
            assert_eq!((head.status, head.range.clone()), (StatusCode::OK, 0..0));
            assert_eq!(head.headers, get.headers, "{pairs:?}");
        }
    }

    #[test]
    fn every_row_of_conditions_and_ranges_has_its_status_and_bytes() {
        let tag = tag();
        let weak = format!("W/{tag}");
        for (pairs, status, range, content_range) in [
            (vec![(RANGE, "bytes=2-3")], 206, 2..4, Some("bytes 2-3/10")),
            (vec![(RANGE, "bytes=4-")], 206, 4..10, Some("bytes 4-9/10")),
            (vec![(RANGE, "bytes=-4")], 206, 6..10, Some("bytes 6-9/10")),
            (vec![(RANGE, "bytes=0-")], 206, 0..10, Some("bytes 0-9/10")),
            (vec![(RANGE, "bytes=10-")], 416, 0..0, Some("bytes */10")),
            (vec![(RANGE, "bytes=0-1,4-5")], 200, 0..10, None),
            (vec![(RANGE, "furlongs=2-3")], 200, 0..10, None),
            (vec![(RANGE, "bytes=2-3"), (IF_RANGE, &tag)], 206, 2..4, Some("bytes 2-3/10")),
            (vec![(RANGE, "bytes=2-3"), (IF_RANGE, DATE)], 206, 2..4, Some("bytes 2-3/10")),
            (vec![(RANGE, "bytes=2-3"), (IF_RANGE, &weak)], 200, 0..10, None),
            (vec![(RANGE, "bytes=2-3"), (IF_RANGE, "\"x\"")], 200, 0..10, None),
            (vec![(RANGE, "bytes=2-3"), (IF_RANGE, LATER)], 200, 0..10, None),
            (vec![(RANGE, "bytes=10-"), (IF_RANGE, "\"x\"")], 200, 0..10, None),
            (vec![(RANGE, "bytes=10-"), (IF_RANGE, &tag)], 416, 0..0, Some("bytes */10")),
            (vec![(IF_RANGE, "\"x\"")], 200, 0..10, None),
            (vec![(IF_NONE_MATCH, &tag)], 304, 0..0, None),
            (vec![(IF_NONE_MATCH, &tag), (RANGE, "bytes=2-3")], 304, 0..0, None),
            (vec![(IF_NONE_MATCH, "\"x\""), (RANGE, "bytes=2-3")], 206, 2..4, Some("bytes 2-3/10")),
            (vec![(IF_MODIFIED_SINCE, DATE)], 304, 0..0, None),
            (vec![(IF_MODIFIED_SINCE, EARLIER)], 200, 0..10, None),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER)], 412, 0..0, None),
            (vec![(IF_UNMODIFIED_SINCE, EARLIER), (RANGE, "bytes=10-")], 412, 0..0, None),
        ] {
            let plan = plan(&Method::GET, &asked(&pairs), &meta(10));
            assert_eq!((plan.status.as_u16(), plan.range.clone()), (status, range), "{pairs:?}");
            assert_eq!(text(&plan, CONTENT_RANGE), content_range, "{pairs:?}");
        }
    }

    #[test]
    fn not_modified_carries_the_validators_and_no_length() {
        for method in [Method::GET, Method::HEAD] {
            let plan = plan(&method, &asked(&[(IF_MODIFIED_SINCE, DATE)]), &meta(10));
            assert_eq!(plan.status, StatusCode::NOT_MODIFIED);
            assert_eq!(plan.headers, asked(&[(ETAG, &tag()), (LAST_MODIFIED, DATE)]));
        }
    }

    #[test]
    fn before_the_root_is_known_there_is_no_etag_and_a_date_resumes() {
        let unhashed = Meta { root: None, ..meta(10) };
        let plan = plan(&Method::GET, &asked(&[(RANGE, "bytes=2-"), (IF_RANGE, DATE)]), &unhashed);
        assert_eq!((plan.status, plan.range.clone()), (StatusCode::PARTIAL_CONTENT, 2..10));
        assert_eq!((text(&plan, ETAG), text(&plan, LAST_MODIFIED)), (None, Some(DATE)));
    }

    #[test]
    fn an_empty_file_is_served_but_has_no_ranges() {
        let none = plan(&Method::GET, &HeaderMap::new(), &meta(0));
        assert_eq!((none.status, text(&none, CONTENT_LENGTH)), (StatusCode::OK, Some("0")));
        let ranged = plan(&Method::GET, &asked(&[(RANGE, "bytes=0-")]), &meta(0));
        assert_eq!(
            (ranged.status, text(&ranged, CONTENT_RANGE)),
            (StatusCode::RANGE_NOT_SATISFIABLE, Some("bytes */0"))
        );
    }

    #[test]
    fn a_time_that_http_can_not_write_is_left_out() {
        for (modified, date) in [
            (i64::MIN, None),
            (-1, None),
            (0, Some("Thu, 01 Jan 1970 00:00:00 GMT")),
            (253_402_300_799, Some("Fri, 31 Dec 9999 23:59:59 GMT")),
            (253_402_300_800, None),
            (i64::MAX, None),
        ] {
            let plan = plan(&Method::GET, &HeaderMap::new(), &Meta { modified: Some(modified), ..meta(1) });
            assert_eq!(text(&plan, LAST_MODIFIED), date, "{modified}");
        }
    }

    #[test]
    fn cabinets_have_a_media_type_of_their_own() {
        for (name, expected) in [
            ("wsusscn2.cab", "application/vnd.ms-cab-compressed"),
            ("X.CAB", "application/vnd.ms-cab-compressed"),
            ("x.msu", "application/octet-stream"),
            ("cab", "application/octet-stream"),
            ("a.cab/b", "application/octet-stream"),
        ] {
            assert_eq!(content_type(&FileName::new(name).unwrap()), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_length_said_is_the_length_sent(size: u64, modified: Option<i64>, range in "bytes=[0-9]{0,20}-[0-9]{0,20}") {
            let plan = plan(&Method::GET, &asked(&[(RANGE, &range)]), &Meta { modified, ..meta(size) });
            prop_assert!(plan.range.start <= plan.range.end && plan.range.end <= size);
            let length = (plan.range.end - plan.range.start).to_string();
            prop_assert_eq!(text(&plan, CONTENT_LENGTH), Some(length.as_str()));
        }
    }
}
