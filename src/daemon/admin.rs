//! The admin listener: the API over TCP, for looking only.
//!
//! It has no login, so it never changes anything, and it answers only to names that a web page of
//! somebody else can't make its own (DNS rebinding).

use super::api::{ApiError, ErrorCode};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The names under which the listener may be asked.
#[derive(Debug, Clone)]
pub struct HostNames {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
    any_address: bool,
}

impl HostNames {
    /// The addresses of `listen`, `localhost`, and `names`. Where all addresses of the machine are
    /// listened on, any address will do: only names can be rebound.
    pub fn new<'a>(listen: &[SocketAddr], names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().chain(["localhost"]).map(str::to_ascii_lowercase).collect();
        let addresses: BTreeSet<IpAddr> = listen.iter().map(SocketAddr::ip).collect();
        let any_address = addresses.iter().any(IpAddr::is_unspecified);
        Self { names, addresses, any_address }
    }

    /// Whether a `Host` header, with or without port, names this listener.
    pub fn contains(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().to_ascii_lowercase();
        let unbracketed = name.trim_start_matches('[').trim_end_matches(']');
        match unbracketed.parse::<IpAddr>() {
            Ok(address) => self.any_address || self.addresses.contains(&address),
            Err(_) => !host.contains('@') && self.names.contains(&name),
        }
    }
}

/// `router` behind both rules.
pub fn read_only(router: Router, names: HostNames) -> Router {
    router.layer(middleware::from_fn(only_reads)).layer(middleware::from_fn_with_state(Arc::new(names), host_check))
}

async fn only_reads(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let error = ApiError { error: "changes are made over the control socket".to_owned(), code: ErrorCode::Refused };
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")], axum::Json(error)).into_response()
}

async fn host_check(State(names): State<Arc<HostNames>>, request: Request, next: Next) -> Response {
    let Some(host) = single_host(request.headers()) else { return StatusCode::BAD_REQUEST.into_response() };
    let target = request.uri().authority().map(Authority::as_str);
    if !names.contains(host) || target.is_some_and(|target| !names.contains(target)) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    next.run(request).await
}

fn single_host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    fn names(listen: &str) -> HostNames {
        HostNames::new(&[listen.parse().unwrap()], ["wapt.example.org"])
    }

    #[test]
    fn the_listener_answers_to_its_address_and_to_configured_names() {
        let names = names("127.0.0.1:8443");
        for right in ["127.0.0.1:8443", "127.0.0.1", "localhost:1", "LocalHost", "wapt.example.org:8443"] {
            assert!(names.contains(right), "{right}");
        }
        for wrong in ["", "evil.example", "127.0.0.2", "[::1]", "localhost.evil.example", "a@localhost", "x y"] {
            assert!(!names.contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_answers_to_any_address_and_to_no_other_name() {
        let names = names("0.0.0.0:8443");
        assert!(names.contains("203.0.113.9:8443") && names.contains("[2001:db8::1]"));
        assert!(!names.contains("evil.example"));
    }

    async fn status_of(request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/x", get(|| async { "x" }).post(|| async { "changed" }));
        let server = tokio::spawn(axum::serve(listener, read_only(router, names("127.0.0.1:1"))).into_future());
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        server.abort();
        answer.split(' ').nth(1).unwrap().to_owned()
    }

    #[tokio::test]
    async fn only_reads_under_the_right_name_are_answered() {
        for (request, status) in [
            ("GET /x HTTP/1.1\r\nHost: localhost", "200"),
            ("HEAD /x HTTP/1.1\r\nHost: 127.0.0.1:9", "200"),
            ("POST /x HTTP/1.1\r\nHost: localhost", "405"),
            ("GET /x HTTP/1.1\r\nHost: evil.example", "421"),
            ("POST /x HTTP/1.1\r\nHost: evil.example", "421"),
            ("GET http://evil.example/x HTTP/1.1\r\nHost: localhost", "421"),
            ("GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost", "400"),
            ("GET /x HTTP/1.1\r\nA: b", "400"),
        ] {
            assert_eq!(status_of(&format!("{request}\r\nConnection: close\r\n\r\n")).await, status, "{request}");
        }
    }
}
