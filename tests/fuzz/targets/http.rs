//! Requests of hosts: what a head asks for, who sent it, and what is answered to its ranges and conditions.

use http::{HeaderMap, Method, Request, StatusCode, Version, header, request::Parts};
use std::{fmt::Write, net::IpAddr};
use wuasync::{
    domain::digest::Root,
    front::{
        client,
        request::{self, FileRequest, Target},
        respond::{self, Meta, Plan},
    },
};

const MODIFIED: i64 = 784_111_777;
const LAST_HTTP_SECOND: i64 = 253_402_300_799;

/// A request's head: `method SP target SP version`, then a line for each header.
pub fn http(data: &[u8]) {
    let Some(head) = head(data) else { return };
    match request::read(&head) {
        Ok(Target::File(file)) => is_read_from_its_own_path(&file),
        Ok(Target::Health | Target::Api) => {}
        Err(error) => assert!(error.status().is_client_error(), "{error}"),
    }
    names_somebody(&head.headers);
    for meta in metas() {
        let plan = respond::plan(&head.method, &head.headers, &meta);
        judge(&plan, &head.method, &head.headers, &meta);
    }
}

/// The head as a server would hand it on; `None` for one that no server would.
fn head(data: &[u8]) -> Option<Parts> {
    let mut lines = data.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.splitn(3, |byte| *byte == b' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = if words.next() == Some(b"HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = Request::builder().method(method).uri(target).version(version);
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// A file's canonical path asks for that file.
fn is_read_from_its_own_path(file: &FileRequest) {
    let mut path = format!("/{}/", file.folder);
    for byte in file.name.as_str().bytes() {
        match byte {
            b'/' => path.push('/'),
            _ => write!(path, "%{byte:02X}").expect("a text takes everything"),
        }
    }
    let head = Request::get(path).header(header::HOST, "site").body(()).expect("a canonical path").into_parts().0;
    assert_eq!(request::read(&head), Ok(Target::File(file.clone())));
}

/// Only what a trusted proxy wrote names anybody, and at most the first address that is not trusted.
fn names_somebody(headers: &HeaderMap) {
    let proxy = |address: IpAddr| address.is_loopback() || address.to_string().starts_with("10.0.0.");
    let (stranger, local) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([127, 0, 0, 1]));
    assert_eq!(client::of(headers, stranger, &proxy), stranger);
    assert_eq!(client::of(headers, local, &|_| false), local);
    let named = client::of(headers, local, &proxy);
    assert_eq!(named, named.to_canonical());
    // Whatever a client writes before what its proxy appends, it is the one that the proxy saw.
    let mut appended = headers.clone();
    appended.append("x-forwarded-for", "198.51.100.7".parse().expect("a value"));
    assert_eq!(client::of(&appended, local, &proxy).to_string(), "198.51.100.7");
}

fn metas() -> impl Iterator<Item = Meta> {
    let root = Some(Root([0xab; 32]));
    let metas = [
        (0, Some(MODIFIED), root),
        (1, Some(-1), None),
        (10, Some(MODIFIED), root),
        (1 << 40, Some(LAST_HTTP_SECOND), root),
        (u64::MAX, Some(i64::MAX), None),
        (10, Some(i64::MIN), root),
        (10, None, None),
    ];
    metas.into_iter().map(|(size, modified, root)| Meta {
        size,
        modified,
        root,
        content_type: "application/octet-stream",
        now: 1_000_000_000,
    })
}

fn judge(plan: &Plan, method: &Method, asked: &HeaderMap, meta: &Meta) {
    let range = plan.range.clone();
    let length = range.end.checked_sub(range.start).expect("a range that runs backwards");
    assert!(range.end <= meta.size, "{plan:?} of {} bytes", meta.size);
    let text = |name| plan.headers.get(name).map(|value| value.to_str().expect("our headers are texts"));
    let has = |names: [header::HeaderName; 2]| names.iter().any(|name| asked.contains_key(name));
    match plan.status {
        StatusCode::OK => {
            assert_eq!(length, if *method == Method::HEAD { 0 } else { meta.size });
            assert_eq!(text(header::CONTENT_LENGTH), Some(&*meta.size.to_string()));
            assert_eq!(text(header::CONTENT_RANGE), None);
        }
        StatusCode::PARTIAL_CONTENT => {
            let whole = format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size);
            assert!(length > 0 && *method == Method::GET && asked.contains_key(header::RANGE), "{plan:?}");
            assert_eq!(text(header::CONTENT_RANGE), Some(&*whole));
            assert_eq!(text(header::CONTENT_LENGTH), Some(&*length.to_string()));
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            assert!(length == 0 && *method == Method::GET && asked.contains_key(header::RANGE), "{plan:?}");
            assert_eq!(text(header::CONTENT_RANGE), Some(&*format!("bytes */{}", meta.size)));
        }
        StatusCode::NOT_MODIFIED => {
            assert!(length == 0 && has([header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE]), "{plan:?}");
            assert_eq!(text(header::CONTENT_LENGTH), None);
        }
        StatusCode::PRECONDITION_FAILED => {
            assert!(length == 0 && has([header::IF_MATCH, header::IF_UNMODIFIED_SINCE]), "{plan:?}");
        }
        other => panic!("{other} for a file that is here"),
    }
}
