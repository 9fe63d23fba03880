//! Conditional requests: validators and their comparison (RFC 9110, sections 8.8 and 13). Pure.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE},
};
use std::time::UNIX_EPOCH;

/// What identifies the bytes that are here.
#[derive(Debug, Clone)]
pub(super) struct Validators {
    /// The strong entity tag, quotes included.
    pub etag: Option<HeaderValue>,
    /// Seconds since 1970 UTC.
    pub modified: Option<u64>,
    /// The moment of the answer, seconds since 1970 UTC.
    pub now: u64,
}

/// What a request's conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has these bytes.
    NotModified,
    /// 412: the client wants other bytes.
    Failed,
}

/// Judges the conditions of a GET or HEAD in the order of RFC 9110, section 13.2.2.
pub(super) fn judge(headers: &HeaderMap, here: &Validators) -> Verdict {
    let matches = if headers.contains_key(IF_MATCH) {
        any_tag(headers, &IF_MATCH, |tag| is_strong_match(tag, here))
    } else {
        since(headers, &IF_UNMODIFIED_SINCE, here).is_none_or(|(modified, date)| modified <= date)
    };
    if !matches {
        return Verdict::Failed;
    }
    let client_has_it = if headers.contains_key(IF_NONE_MATCH) {
        any_tag(headers, &IF_NONE_MATCH, |tag| is_weak_match(tag, here))
    } else {
        since(headers, &IF_MODIFIED_SINCE, here).is_some_and(|(modified, date)| modified <= date)
    };
    if client_has_it { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether If-Range lets a Range header count: it is absent, or names exactly the bytes that are here.
pub(super) fn range_may_apply(headers: &HeaderMap, here: &Validators) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = single(headers, &IF_RANGE) else { return false };
    match value {
        [b'"', ..] | [b'W', b'/', ..] => is_strong_match(value, here),
        date => http_date(date).is_some() && http_date(date) == here.modified && is_date_strong(here),
    }
}

/// A date is as good as a strong tag once its second has passed (RFC 9110, section 8.8.2.2).
fn is_date_strong(here: &Validators) -> bool {
    here.modified.is_some_and(|modified| modified < here.now)
}

fn is_strong_match(tag: &[u8], here: &Validators) -> bool {
    here.etag.as_ref().is_some_and(|etag| etag.as_bytes() == tag)
}

fn is_weak_match(tag: &[u8], here: &Validators) -> bool {
    is_strong_match(tag.strip_prefix(b"W/").unwrap_or(tag), here)
}

/// Our date and the header's; `None` where either is missing or unreadable, which voids the condition.
fn since(headers: &HeaderMap, name: &HeaderName, here: &Validators) -> Option<(u64, u64)> {
    Some((here.modified?, http_date(single(headers, name)?)?))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    Some(value.as_bytes())
}

fn http_date(value: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Whether the header is `*`, which any bytes that are here match, or one of its tags `is_match`.
fn any_tag(headers: &HeaderMap, name: &HeaderName, is_match: impl Fn(&[u8]) -> bool) -> bool {
    single(headers, name) == Some(b"*")
        || headers.get_all(name).iter().any(|value| Tags(value.as_bytes()).any(&is_match))
}

/// The entity tags of one header value; ends early where the list is malformed.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let list = &self.0[start..];
        let opaque = if list.starts_with(b"W/") { 2 } else { 0 };
        if list.get(opaque) != Some(&b'"') {
            self.0 = &[];
            return None;
        }
        let inner = list[opaque + 1..].iter().position(|byte| *byte == b'"')?;
        let (tag, rest) = list.split_at(opaque + inner + 2);
        self.0 = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;
    use proptest::prelude::*;

    const MODIFIED: u64 = 784_111_777;
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn here() -> Validators {
        Validators { etag: Some(HeaderValue::from_static("\"abc\"")), modified: Some(MODIFIED), now: MODIFIED + 86_400 }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value.parse().unwrap());
            headers
        })
    }

    #[test]
    fn one_condition_decides_alone() {
        for (name, value, expected) in [
            (IF_MATCH, "\"abc\"", Proceed),
            (IF_MATCH, "\"x\", \"abc\"", Proceed),
            (IF_MATCH, "*", Proceed),
            (IF_MATCH, "W/\"abc\"", Failed),
            (IF_MATCH, "\"x\"", Failed),
            (IF_MATCH, "abc", Failed),
            (IF_MATCH, "", Failed),
            (IF_NONE_MATCH, "\"abc\"", NotModified),
            (IF_NONE_MATCH, "W/\"abc\"", NotModified),
            (IF_NONE_MATCH, "\"a,b\",\"abc\"", NotModified),
            (IF_NONE_MATCH, ",, \"x\"\t, W/\"abc\"", NotModified),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"x\"", Proceed),
            (IF_NONE_MATCH, "\"ABC\"", Proceed),
            (IF_NONE_MATCH, "abc", Proceed),
            (IF_NONE_MATCH, "\"abc", Proceed),
            (IF_NONE_MATCH, "W/", Proceed),
            (IF_NONE_MATCH, "nonsense, \"abc\"", Proceed),
            (IF_NONE_MATCH, "", Proceed),
            (IF_MODIFIED_SINCE, SAME, NotModified),
            (IF_MODIFIED_SINCE, AFTER, NotModified),
            (IF_MODIFIED_SINCE, BEFORE, Proceed),
            (IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            (IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994", NotModified),
            (IF_MODIFIED_SINCE, "yesterday", Proceed),
            (IF_MODIFIED_SINCE, "", Proceed),
            (IF_UNMODIFIED_SINCE, SAME, Proceed),
            (IF_UNMODIFIED_SINCE, AFTER, Proceed),
            (IF_UNMODIFIED_SINCE, BEFORE, Failed),
            (IF_UNMODIFIED_SINCE, "yesterday", Proceed),
        ] {
            assert_eq!(judge(&headers(&[(name.clone(), value)]), &here()), expected, "{name}: {value}");
        }
        assert_eq!(judge(&HeaderMap::new(), &here()), Proceed);
    }

    #[test]
    fn tags_outrank_dates_and_match_outranks_none_match() {
        for (pairs, expected) in [
            (vec![(IF_MATCH, "\"abc\""), (IF_UNMODIFIED_SINCE, BEFORE)], Proceed),
            (vec![(IF_MATCH, "\"x\""), (IF_UNMODIFIED_SINCE, AFTER)], Failed),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, SAME)], Proceed),
            (vec![(IF_NONE_MATCH, "\"abc\""), (IF_MODIFIED_SINCE, BEFORE)], NotModified),
            (vec![(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")], Failed),
            (vec![(IF_MATCH, "\"abc\""), (IF_NONE_MATCH, "\"abc\"")], NotModified),
            (vec![(IF_UNMODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, "\"abc\"")], Failed),
            (vec![(IF_UNMODIFIED_SINCE, SAME), (IF_MODIFIED_SINCE, SAME)], NotModified),
            (vec![(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")], NotModified),
            (vec![(IF_MODIFIED_SINCE, SAME), (IF_MODIFIED_SINCE, SAME)], Proceed),
        ] {
            assert_eq!(judge(&headers(&pairs), &here()), expected, "{pairs:?}");
        }
    }

    #[test]
    fn without_a_validator_its_conditions_match_nothing() {
        let bare = Validators { etag: None, modified: None, now: MODIFIED };
        for (name, value, expected) in [
            (IF_MATCH, "\"abc\"", Failed),
            (IF_MATCH, "*", Proceed),
            (IF_NONE_MATCH, "\"abc\"", Proceed),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_MODIFIED_SINCE, AFTER, Proceed),
            (IF_UNMODIFIED_SINCE, BEFORE, Proceed),
        ] {
            assert_eq!(judge(&headers(&[(name.clone(), value)]), &bare), expected, "{name}: {value}");
        }
    }

    #[test]
    fn if_range_wants_exactly_these_bytes() {
        for (value, expected) in [
            ("\"abc\"", true),
            ("W/\"abc\"", false),
            ("\"x\"", false),
            ("\"abc\", \"x\"", false),
            (SAME, true),
            (BEFORE, false),
            (AFTER, false),
            ("yesterday", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(range_may_apply(&headers(&[(IF_RANGE, value)]), &here()), expected, "{value}");
        }
        assert!(range_may_apply(&HeaderMap::new(), &here()));
        assert!(!range_may_apply(&headers(&[(IF_RANGE, SAME), (IF_RANGE, SAME)]), &here()));
    }

    #[test]
    fn a_date_within_the_second_of_the_answer_is_too_weak_for_if_range() {
        let asked = headers(&[(IF_RANGE, SAME)]);
        for (now, expected) in [(MODIFIED - 5, false), (MODIFIED, false), (MODIFIED + 1, true)] {
            assert_eq!(range_may_apply(&asked, &Validators { now, ..here() }), expected, "{now}");
        }
        let undated = Validators { modified: None, ..here() };
        assert!(!range_may_apply(&headers(&[(IF_RANGE, "yesterday")]), &undated));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_judged(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
            for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE] {
                let headers: HeaderMap = [(name, value.clone())].into_iter().collect();
                judge(&headers, &here());
                range_may_apply(&headers, &here());
            }
        }
    }
}
