//! From a request's head to what it asks for, or to the reason why it is refused. Pure.

use super::api::API_PREFIX;
use crate::domain::name::{FileName, FolderName};
use http::{Method, StatusCode, Version, header::HOST, request::Parts, uri::Authority};
use std::borrow::Cow;

/// What a well-formed request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/healthz`.
    Health,
    /// Something under [`API_PREFIX`], with any method.
    Api,
    /// A file of a folder.
    File(FileRequest),
}

/// One file, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRequest {
    /// The first component of the path.
    pub folder: FolderName,
    /// Everything after it.
    pub name: FileName,
}

/// Why a request is answered without asking anybody for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadRequestError {
    /// HTTP/1.1 without Host, several of them, or one that is no authority.
    #[error("the Host header is missing, doubled or malformed")]
    Host,
    /// Anything but GET and HEAD, outside the API.
    #[error("the method is neither GET nor HEAD")]
    Method,
    /// A path that no file can have: broken escapes, an escaped slash, `..` and their like.
    #[error("the path names no possible file")]
    Path,
    /// A well-formed path outside every folder, or a folder itself: there are no listings.
    #[error("the path names no file")]
    NoFile,
}

impl ReadRequestError {
    /// The status that a client gets to see.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Path => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoFile => StatusCode::NOT_FOUND,
        }
    }
}

/// Reads a request's head. The query is ignored, and of an absolute URI only the path counts.
pub fn read(head: &Parts) -> Result<Target, ReadRequestError> {
    check_host(head)?;
    if head.uri.path().starts_with(API_PREFIX) {
        return Ok(Target::Api);
    }
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(ReadRequestError::Method);
    }
    match head.uri.path() {
        "/healthz" => Ok(Target::Health),
        path => file_request(path).map(Target::File),
    }
}

fn check_host(head: &Parts) -> Result<(), ReadRequestError> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, _) if head.version < Version::HTTP_11 => Ok(()),
        _ => Err(ReadRequestError::Host),
    }
}

/// An empty Host is what RFC 9110 7.2 asks of a client whose target has no authority.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

fn file_request(path: &str) -> Result<FileRequest, ReadRequestError> {
    let Some(path) = path.strip_prefix('/') else { return Err(ReadRequestError::Path) };
    let Some((folder, name)) = path.split_once('/') else { return Err(ReadRequestError::NoFile) };
    if folder.is_empty() {
        return Err(ReadRequestError::Path);
    }
    if name.is_empty() || name.ends_with('/') {
        return Err(ReadRequestError::NoFile);
    }
    let (folder, name) = (decoded(folder)?, decoded(name)?);
    let folder = std::str::from_utf8(&folder).map_err(|_| ReadRequestError::Path)?;
    let folder = FolderName::new(folder).map_err(|_| ReadRequestError::NoFile)?;
    let name = FileName::from_bytes(&name).map_err(|_| ReadRequestError::Path)?;
    Ok(FileRequest { folder, name })
}

/// Undoes percent-encoding, once. An escaped slash is refused: it would turn one component into two.
fn decoded(path: &str) -> Result<Cow<'_, [u8]>, ReadRequestError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path.as_bytes()));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (escaped, after) = escaped_byte(rest).ok_or(ReadRequestError::Path)?;
        if escaped == b'/' {
            return Err(ReadRequestError::Path);
        }
        out.push(escaped);
        rest = after;
    }
    Ok(Cow::Owned(out))
}

fn escaped_byte(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, after) = rest.split_first_chunk::<2>()?;
    Some((hex_digit(digits[0])? << 4 | hex_digit(digits[1])?, after))
}

fn hex_digit(byte: u8) -> Option<u8> {
    let value = char::from(byte).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn head(method: &str, uri: &str, hosts: &[&str], version: Version) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn get(uri: &str) -> Result<Target, ReadRequestError> {
        read(&head("GET", uri, &["site"], Version::HTTP_11))
    }

    fn file(folder: &str, name: &str) -> Target {
        Target::File(FileRequest { folder: FolderName::new(folder).unwrap(), name: FileName::new(name).unwrap() })
    }

    #[test]
    fn a_path_is_a_folder_and_a_name_whatever_surrounds_it() {
        for (uri, name) in [
            ("/waptwua/wsusscn2.cab", "wsusscn2.cab"),
            ("/waptwua/wsusscn2.cab?x=/../y", "wsusscn2.cab"),
            ("http://elsewhere:8080/waptwua/wsusscn2.cab", "wsusscn2.cab"),
            ("/waptwua/sub/a.msu", "sub/a.msu"),
            ("/waptwua/a%20b.cab", "a b.cab"),
            ("/waptwua/a+b.cab", "a+b.cab"),
            ("/waptwua/%C3%A9.cab", "é.cab"),
            ("/%77aptwua/a.cab", "a.cab"),
            ("/waptwua/a%2520b.cab", "a%20b.cab"),
            ("/waptwua/%252e%252e", "%2e%2e"),
        ] {
            assert_eq!(get(uri), Ok(file("waptwua", name)), "{uri}");
        }
        assert_eq!(get("/healthz"), Ok(Target::Health));
        assert_eq!(get("/healthz?verbose"), Ok(Target::Health));
    }

    #[test]
    fn a_path_that_no_file_can_have_is_refused() {
        for uri in [
            "/waptwua/../etc/passwd",
            "/waptwua/%2e%2e/etc/passwd",
            "/waptwua/.%2E/x",
            "/waptwua/a%2fb",
            "/waptwua/a%2Fb",
            "/waptwua%2fa/b",
            "/waptwua/a%00.cab",
            "/waptwua/a%0ab",
            "/waptwua/a%5cb",
            "/waptwua//a",
            "/waptwua/a//b",
            "//waptwua/a",
            "/waptwua/./a",
            "/waptwua/.hidden",
            "/waptwua/a%",
            "/waptwua/a%4",
            "/waptwua/a%zz",
            "/waptwua/%+1",
            "/waptwua/%ff%fe",
            "/waptwua/nul",
            "/waptwua/1/2/3/4/5/6/7/8/9",
            "*",
        ] {
            assert_eq!(get(uri), Err(ReadRequestError::Path), "{uri}");
        }
        assert_eq!(get(&format!("/waptwua/{}", "x".repeat(256))), Err(ReadRequestError::Path));
    }

    #[test]
    fn there_are_no_listings_and_nothing_outside_folders() {
        for uri in
            ["/", "/waptwua", "/waptwua/", "/waptwua/sub/", "/waptwua%2fa", "/Wapt/a", "/.git/config", "http://site"]
        {
            assert_eq!(get(uri), Err(ReadRequestError::NoFile), "{uri}");
        }
    }

    #[test]
    fn only_get_and_head_are_allowed() {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
            let asked = read(&head(method, "/waptwua/a", &["site"], Version::HTTP_11));
            assert_eq!(asked, Err(ReadRequestError::Method), "{method}");
        }
        assert_eq!(read(&head("HEAD", "/waptwua/a", &["site"], Version::HTTP_11)), Ok(file("waptwua", "a")));
    }

    #[test]
    fn the_api_is_asked_with_any_method_and_is_no_folder() {
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            let asked = read(&head(method, "/api/v1/hosts/x/report?y", &["site"], Version::HTTP_11));
            assert_eq!(asked, Ok(Target::Api), "{method}");
        }
        assert_eq!(read(&head("POST", "/api/v1/x", &[], Version::HTTP_11)), Err(ReadRequestError::Host));
        assert_eq!(get("/api/v2"), Ok(file("api", "v2")));
    }

    #[test]
    fn exactly_one_host_is_asked_for_since_http_1_1() {
        let asked = |hosts: &[&str], version| read(&head("GET", "/waptwua/a", hosts, version)).map(|_| ());
        for good in ["site", "site:8080", "192.0.2.1", "[2001:db8::1]:80", ""] {
            assert_eq!(asked(&[good], Version::HTTP_11), Ok(()), "{good}");
        }
        for bad in ["a b", "user@site", "a, b", "a/b"] {
            assert_eq!(asked(&[bad], Version::HTTP_11), Err(ReadRequestError::Host), "{bad}");
        }
        assert_eq!(asked(&[], Version::HTTP_11), Err(ReadRequestError::Host));
        assert_eq!(asked(&["a", "a"], Version::HTTP_11), Err(ReadRequestError::Host));
        assert_eq!(asked(&["a", "b"], Version::HTTP_10), Err(ReadRequestError::Host));
        assert_eq!(asked(&[], Version::HTTP_10), Ok(()));
    }

    proptest! {
        #[test]
        fn no_path_reaches_outside_its_folder(path in "/waptwua/[ -~]{0,60}") {
            let Ok(uri) = path.parse::<http::Uri>() else { return Ok(()) };
            if let Ok(Target::File(asked)) = get(&uri.to_string()) {
                prop_assert!(!asked.name.as_str().split('/').any(|component| component.starts_with('.')));
                prop_assert_eq!(asked.name.as_str().matches('/').count() + 2, uri.path().matches('/').count());
            }
        }
    }
}
