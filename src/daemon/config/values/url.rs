//! Web addresses, which may hold a password: it is never shown.

use http::Uri;
use serde::{Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A text that is no web address. The text itself is left out: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a web address; write it as \"https://host/path\"")]
pub struct ParseUrlError;

/// An `http` or `https` address with a host. Shown and serialised with its password masked.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(String);

impl WebUrl {
    /// As it was written, password included: for connecting, not for showing.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without port; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        let (_, host_and_port) = login_and_host(&self.0);
        match host_and_port.find(']') {
            Some(end) => host_and_port.get(..=end).unwrap_or(host_and_port),
            None => host_and_port.split(':').next().unwrap_or(host_and_port),
        }
    }
}

/// What stands before the path: the login, if there is one, and the host with its port.
fn login_and_host(url: &str) -> (Option<&str>, &str) {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host))
}

/// Brackets stand around an IPv6 address and nowhere else, so that everybody reads the same host.
fn has_brackets_in_place(url: &str) -> bool {
    let (login, host) = login_and_host(url);
    let is_free = |text: &str| !text.contains(['[', ']']);
    login.is_none_or(is_free) && (is_free(host) || host.starts_with('[') && host.matches(['[', ']']).count() == 2)
}

impl FromStr for WebUrl {
    type Err = ParseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| ParseUrlError)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let url = Self(text.to_owned());
        // As whoever connects reads it: a `#` in a password ends the address for some.
        let has_host = uri.host().is_some_and(|host| !host.is_empty() && host == url.host());
        (is_web && has_host && has_brackets_in_place(text)).then_some(url).ok_or(ParseUrlError)
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        match authority.rsplit_once('@') {
            None => write!(f, "{scheme}://{authority}{path}"),
            Some((login, host)) => {
                let user = login.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:***@{host}{path}")
            }
        }
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for WebUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_never_shown() {
        let url: WebUrl = "http://user:s3cret@proxy:3128/x?y=1".parse().unwrap();
        assert_eq!(url.as_str(), "http://user:s3cret@proxy:3128/x?y=1");
        assert_eq!(url.to_string(), "http://user:***@proxy:3128/x?y=1");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert_eq!(url.host(), "proxy");
    }

    #[test]
    fn a_web_address_has_a_scheme_and_a_host() {
        for right in ["http://a", "https://wapt.example.org/x", "http://[::1]:80/", "http://h/p?l=a@b"] {
            assert_eq!(right.parse::<WebUrl>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "wapt.example.org",
            "/x",
            "ftp://a",
            "http://",
            "http://a b",
            "http://:80",
            "http://user:x@[:t@W::1]:80/a@b",
            "http://user:U#et@/x@[::1]:80/",
        ] {
            assert_eq!(wrong.parse::<WebUrl>(), Err(ParseUrlError), "{wrong}");
        }
        assert_eq!("http://[::1]:80/".parse::<WebUrl>().unwrap().host(), "[::1]");
    }
}
