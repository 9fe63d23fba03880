//! Where hosts reach a repository.

use crate::domain::{
    name::{FileName, FolderName},
    origin::{check_authority, is_of_an_address},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

/// Most bytes in the address of a repository.
const MAX_BYTES: usize = 512;
/// The folder whose address WAPT calls a repository's; its siblings are the others.
const WAPT_FOLDER: &str = "/wapt";

/// A text that is no address of a repository. The text itself is left out: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a repository's address; write it as https://host, without login, query or a folder at its end")]
pub struct RepositoryUrlError;

/// An `http` or `https` address beneath which a repository has its folders, without a slash at its end. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryUrl(Arc<str>);

impl RepositoryUrl {
    /// Checks `text`; a `/wapt` or slash at its end is dropped, as WAPT writes it.
    pub fn new(text: &str) -> Result<Self, RepositoryUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RepositoryUrlError)?;
        let scheme = scheme.to_ascii_lowercase();
        let rest = rest.trim_end_matches('/');
        let rest = rest.strip_suffix(WAPT_FOLDER).unwrap_or(rest).trim_end_matches('/');
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = rest.bytes().all(is_of_an_address) && !rest.contains(['?', '#']);
        let is_whole = !path.split('/').any(|part| matches!(part, "." | ".."));
        if text.len() > MAX_BYTES || !matches!(scheme.as_str(), "http" | "https") || !is_plain || !is_whole {
            return Err(RepositoryUrlError);
        }
        check_authority(authority).map_err(|_| RepositoryUrlError)?;
        Ok(Self(format!("{scheme}://{}{path}", authority.to_ascii_lowercase()).into()))
    }

    /// The address, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what passes there is encrypted.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Where a file of it is.
    pub fn of_file(&self, folder: &FolderName, name: &FileName) -> String {
        let mut url = format!("{}/{folder}/", self.0);
        for byte in name.as_str().bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => url.push(byte.into()),
                // Writing to a text can't fail.
                _ => drop(write!(url, "%{byte:02X}")),
            }
        }
        url
    }
}

impl FromStr for RepositoryUrl {
    type Err = RepositoryUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for RepositoryUrl {
    type Error = RepositoryUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<RepositoryUrl> for String {
    fn from(url: RepositoryUrl) -> Self {
        url.0.as_ref().to_owned()
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_and_wapt_write_it() {
        for (text, expected) in [
            ("http://srv", "http://srv"),
            ("HTTPS://Srv.Example/", "https://srv.example"),
            ("https://srv/wapt", "https://srv"),
            ("https://srv:8443/wapt/", "https://srv:8443"),
            ("http://[2001:db8::1]:80/mirror/wapt", "http://[2001:db8::1]:80/mirror"),
            ("http://srv/waptwua2", "http://srv/waptwua2"),
        ] {
            assert_eq!(RepositoryUrl::new(text).unwrap().as_str(), expected);
        }
        for wrong in [
            "",
            "srv",
            "ftp://srv",
            "http://",
            "http://u:p@srv",
            "http://srv/?x",
            "http://srv/../x",
            "http://a b",
            "http://srv#x",
        ] {
            assert_eq!(RepositoryUrl::new(wrong), Err(RepositoryUrlError), "{wrong}");
        }
    }

    #[test]
    fn the_address_of_a_file_escapes_what_has_to_be() {
        let url = RepositoryUrl::new("https://srv/wapt").unwrap();
        let file = url.of_file(&FolderName::new("waptwua").unwrap(), &FileName::new("sub/a b%é.cab").unwrap());
        assert_eq!(file, "https://srv/waptwua/sub/a%20b%25%C3%A9.cab");
        assert!(url.is_https());
    }
}
