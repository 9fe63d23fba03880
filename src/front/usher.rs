//! Who says whether a file is answered here at all: a host may be sent to a nearer repository, or told that this one
//! is too far behind to be used.
//!
//! Owns the seam and the mark of those that were sent. Never knows other repositories.

use super::request::FileRequest;
use crate::base::future::BoxFuture;
use http::{HeaderMap, Uri};
use std::{net::IpAddr, time::Duration};

/// The key in a query that says that another repository sent the host here.
pub const MARK: &str = "wuasync-sent-by";
/// How a proxy was asked.
const FORWARDED_PROTO: &str = "x-forwarded-proto";
/// For whom a proxy asks.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A host's question for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The file.
    pub file: FileRequest,
    /// Whether its bytes are asked for.
    pub is_get: bool,
    /// Who asks.
    pub client: IpAddr,
    /// Whether somebody sent the host here.
    pub is_marked: bool,
    /// Whether it asks over TLS, or may do so through a proxy.
    pub is_encrypted: bool,
}

/// Where a question is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Here.
    Here,
    /// At this address.
    Elsewhere(String),
    /// Not here, for so long at least.
    NotNow(Duration),
}

/// Somebody who knows the way.
pub trait Usher: Send + Sync {
    /// Where a question is answered.
    fn way(&self, passage: Passage) -> BoxFuture<'_, Way>;
}

/// Whether an address carries the mark.
pub(super) fn is_marked(uri: &Uri) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key)).any(|key| key == MARK)
}

/// Whether the host asks over TLS. Behind a proxy that does not say how it was asked, it may.
pub(super) fn is_encrypted(headers: &HeaderMap, is_tls: bool, is_trusted_peer: bool) -> bool {
    let is_forwarded = is_trusted_peer && headers.contains_key(FORWARDED_FOR);
    let says_plain = headers.get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"http"));
    is_tls || (is_forwarded && !says_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_of_the_mark_counts() {
        for (uri, expected) in [
            ("/waptwua/x?wuasync-sent-by=paris", true),
            ("/waptwua/x?a=b&wuasync-sent-by", true),
            ("/waptwua/x?a=wuasync-sent-by", false),
            ("/waptwua/x", false),
        ] {
            assert_eq!(is_marked(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn behind_a_proxy_a_host_may_ask_over_tls_unless_the_proxy_says_otherwise() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
        };
        assert!(is_encrypted(&headers(&[]), true, false) && !is_encrypted(&headers(&[]), false, true));
        assert!(is_encrypted(&headers(&[(FORWARDED_FOR, "10.0.0.1")]), false, true));
        assert!(!is_encrypted(&headers(&[(FORWARDED_FOR, "10.0.0.1"), (FORWARDED_PROTO, "http")]), false, true));
        assert!(!is_encrypted(&headers(&[(FORWARDED_FOR, "10.0.0.1")]), false, false), "anybody could say so");
    }
}
