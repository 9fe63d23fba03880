//! Where Microsoft has a file: web addresses that somebody told. Which of them are asked is another's
//! decision; here they are only well formed.

use super::name::{FileName, NameError};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

/// Most bytes in an address: Microsoft's are below 400, and what is longer passes few proxies.
pub const MAX_URL_BYTES: usize = 2_048;

/// Why a text is no address of a file. The text itself is left out: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginUrlError {
    /// Above [`MAX_URL_BYTES`].
    #[error("a web address of more than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Neither `http` nor `https`.
    #[error("not a web address; write it as http://host/path/file")]
    NotWeb,
    /// Blanks, control characters, letters beyond ASCII, quotes, brackets.
    #[error("a web address with a character that has to be percent-encoded")]
    ForbiddenCharacter,
    /// A user, and perhaps a password.
    #[error("a web address with a user or password in it")]
    Login,
    /// No host, or one that can't be.
    #[error("a web address without a proper host")]
    Host,
    /// A port that can't be.
    #[error("a web address with a port that is none")]
    Port,
    /// Its last part can't name a mirrored file.
    #[error("the last part of the web address can't name a mirrored file")]
    Name(#[source] NameError),
}

/// The `http` or `https` address of one file. Scheme and host are kept in lower case and a fragment is
/// dropped, since no server sees it; the rest stays as it was written. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OriginUrl {
    text: Arc<str>,
    name: FileName,
}

impl OriginUrl {
    /// Checks `text`.
    pub fn new(text: &str) -> Result<Self, OriginUrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(OriginUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(OriginUrlError::NotWeb)?;
        if !["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web)) {
            return Err(OriginUrlError::NotWeb);
        }
        if !rest.bytes().all(is_of_an_address) {
            return Err(OriginUrlError::ForbiddenCharacter);
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        check_authority(authority)?;
        let path = tail.split('?').next().unwrap_or(tail);
        let base = path.rsplit_once('/').map_or("", |(_, base)| base);
        let name = FileName::new(base).map_err(OriginUrlError::Name)?;
        let is_lower = |text: &str| !text.bytes().any(|byte| byte.is_ascii_uppercase());
        // Mostly it is written as it is kept, and copied once.
        let text = if is_lower(scheme) && is_lower(authority) && scheme.len() + "://".len() + rest.len() == text.len() {
            text.into()
        } else {
            format!("{}://{}{tail}", scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()).into()
        };
        Ok(Self { text, name })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its last part, as it stands there: `%20` is not decoded; query and fragment are no part of it.
    pub fn file_name(&self) -> &FileName {
        &self.name
    }
}

/// What RFC 3986 lets stand in an address, brackets included. A report has hundreds of addresses.
pub(super) fn is_of_an_address(byte: u8) -> bool {
    OF_AN_ADDRESS[usize::from(byte)]
}

const OF_AN_ADDRESS: [bool; 256] = {
    let signs = b"-._~:/?#[]@!$&'()*+,;=%";
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < signs.len() {
        table[signs[at] as usize] = true;
        at += 1;
    }
    table
};

pub(super) fn check_authority(authority: &str) -> Result<(), OriginUrlError> {
    if authority.contains('@') {
        return Err(OriginUrlError::Login);
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (ip, after) = rest.split_once(']').ok_or(OriginUrlError::Host)?;
            ip.parse::<Ipv6Addr>().map_err(|_| OriginUrlError::Host)?;
            match after.strip_prefix(':') {
                Some(port) => (ip, Some(port)),
                None if after.is_empty() => (ip, None),
                None => return Err(OriginUrlError::Host),
            }
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
            if !plain || host.starts_with('.') {
                return Err(OriginUrlError::Host);
            }
            (host, port)
        }
    };
    if host.is_empty() || host.len() > 253 {
        return Err(OriginUrlError::Host);
    }
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    if port.is_none_or(is_port) { Ok(()) } else { Err(OriginUrlError::Port) }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl FromStr for OriginUrl {
    type Err = OriginUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for OriginUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for OriginUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(UrlVisitor)
    }
}

/// Reads an address without a copy of its own of the text.
struct UrlVisitor;

impl Visitor<'_> for UrlVisitor {
    type Value = OriginUrl;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a web address")
    }

    /// The cause is part of the text: whoever reads values in bulk shows one line.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<OriginUrl, E> {
        OriginUrl::new(text).map_err(|error| E::custom(crate::base::chain::chain(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

    #[test]
    fn the_base_name_is_what_stands_last_without_query_and_fragment() {
        for (url, name) in [
            (format!("http://download.windowsupdate.com/c/msdownload/kb1_{SHA1}.cab"), format!("kb1_{SHA1}.cab")),
            ("https://h/a%20b.cab?x=/y.cab&z#/f.cab".to_owned(), "a%20b.cab".to_owned()),
            ("http://h:8080//d//x.msu".to_owned(), "x.msu".to_owned()),
            ("http://[::1]:80/x.psf".to_owned(), "x.psf".to_owned()),
        ] {
            assert_eq!(OriginUrl::new(&url).unwrap().file_name().as_str(), name, "{url}");
        }
    }

    #[test]
    fn addresses_that_no_server_tells_apart_are_one() {
        let url = OriginUrl::new("HTTP://Download.WindowsUpdate.COM/C/x.cab?Q#part").unwrap();
        assert_eq!(url.as_str(), "http://download.windowsupdate.com/C/x.cab?Q");
        assert_eq!(OriginUrl::new(url.as_str()).unwrap(), url);
        assert_eq!(serde_json::from_str::<OriginUrl>(&serde_json::to_string(&url).unwrap()).unwrap(), url);
    }

    #[test]
    fn whatever_else_is_written_is_refused_each_for_its_reason() {
        use OriginUrlError::*;
        for (url, why) in [
            ("", NotWeb),
            ("ftp://h/x.cab", NotWeb),
            ("file:///etc/passwd", NotWeb),
            ("//h/x.cab", NotWeb),
            ("http://h/a b.cab", ForbiddenCharacter),
            ("http://h/é.cab", ForbiddenCharacter),
            ("http://h/a\nb.cab", ForbiddenCharacter),
            ("http://h\\@evil/x.cab", ForbiddenCharacter),
            ("http://user:password@h/x.cab", Login),
            ("http://user@h/x.cab", Login),
            ("http:///x.cab", Host),
            ("http://.h/x.cab", Host),
            ("http://h%2e/x.cab", Host),
            ("http://[::1/x.cab", Host),
            ("http://[::1]x/x.cab", Host),
            ("http://[1.2.3.4]/x.cab", Host),
            ("http://h:/x.cab", Port),
            ("http://h:0/x.cab", Port),
            ("http://h:65536/x.cab", Port),
            ("http://h:8a/x.cab", Port),
            ("http://h", Name(NameError::Empty)),
            ("http://h/", Name(NameError::Empty)),
            ("http://h?x.cab", Name(NameError::Empty)),
            ("http://h/d/", Name(NameError::Empty)),
            ("http://h/..", Name(NameError::LeadingDot)),
            ("http://h/nul.cab", Name(NameError::DeviceName)),
            ("http://h/a:b", Name(NameError::ForbiddenCharacter)),
        ] {
            assert_eq!(OriginUrl::new(url), Err(why), "{url}");
        }
        assert_eq!(OriginUrl::new(&format!("http://{}/x", "h".repeat(254))), Err(Host));
    }

    #[test]
    fn an_address_at_the_limit_is_taken_and_one_over_it_is_not() {
        let url = |len: usize| format!("http://h/{}/x.cab", "d".repeat(len - "http://h//x.cab".len()));
        assert!(OriginUrl::new(&url(MAX_URL_BYTES)).is_ok());
        assert_eq!(OriginUrl::new(&url(MAX_URL_BYTES + 1)), Err(OriginUrlError::TooLong));
    }

    #[test]
    fn no_refusal_shows_a_password() {
        let shown = serde_json::from_str::<OriginUrl>(r#""http://me:s3cret@h/x.cab""#).unwrap_err().to_string();
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
