//! The way out through a proxy with a login, and another repository in Microsoft's place.

use crate::{
    hostile::{Hostile, Part},
    site::{DATE, HOST, NAME, Site, blob, fault, promise_of, settings, upstream},
};
use std::collections::BTreeMap;
use wuasync::upstream::{Fault, Settings, rules::Refusal};

fn right(data: &[u8]) -> Vec<Part> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: {DATE}\r\n\r\n", data.len());
    vec![Part::Text(head), Part::Bytes(data.to_vec())]
}

fn no_login() -> Vec<Part> {
    vec![Part::Text("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".to_owned())]
}

fn through(proxy: &Hostile) -> Settings {
    let proxy = format!("http://user:secret@{}", proxy.address).parse().unwrap();
    Settings { proxy: Some(proxy), resolve: BTreeMap::new(), ..settings("127.0.0.1:1".parse().unwrap()) }
}

#[tokio::test]
async fn a_private_proxy_is_asked_with_its_login_for_names_that_nobody_looks_up_here() {
    let data = blob(1, 100_000);
    let proxy = Hostile::start(vec![right(&data)]).await;
    let site = Site::new();
    site.fetch_right(&upstream(through(&proxy)), promise_of(&data), &data).await;
    let [request] = &proxy.requests()[..] else { panic!() };
    assert_eq!(request.target, format!("http://{HOST}/c/msdownload/{NAME}?x=1"));
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(request.header("authorization"), None);
}

#[tokio::test]
async fn names_pass_the_proxy_by_the_list_alone_at_every_hop() {
    let to =
        |place: &str| vec![Part::Text(format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"))];
    for place in ["http://localhost/x", "http://10.0.0.1/x", "http://evilwindowsupdate.com/x"] {
        let proxy = Hostile::start(vec![to(place)]).await;
        let error = Site::new().fetch_in_vain(&upstream(through(&proxy)), promise_of(b"x"), b"").await;
        assert!(matches!(fault(error, false), Fault::Refused(Refusal::Host(_) | Refusal::Literal(_))), "{place}");
        assert_eq!(proxy.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_login_that_the_proxy_refuses_is_said_without_the_password() {
    let proxy = Hostile::start(vec![no_login()]).await;
    let upstream = upstream(through(&proxy));
    for address in [format!("http://{HOST}/x"), format!("https://{HOST}/x")] {
        let error = upstream.head(&address).await.unwrap_err();
        assert!(matches!(fault(error, true), Fault::ProxyLogin), "{address}");
    }
    assert_eq!(proxy.requests()[1].method, "CONNECT");
    assert!(!format!("{:?}", through(&proxy)).contains("secret"));
}

#[tokio::test]
async fn a_pinned_host_is_asked_without_the_proxy() {
    let data = blob(2, 1_000);
    let (proxy, pinned) = (Hostile::start(vec![no_login()]).await, Hostile::start(vec![right(&data)]).await);
    let settings = Settings { resolve: BTreeMap::from([(HOST.to_owned(), pinned.address)]), ..through(&proxy) };
    Site::new().fetch_right(&upstream(settings), promise_of(&data), &data).await;
    assert_eq!((proxy.requests().len(), pinned.requests().len()), (0, 1));
}

#[tokio::test]
async fn another_repository_is_asked_by_base_name_wherever_it_is() {
    let data = blob(3, 1_000);
    let other = Hostile::start(vec![right(&data)]).await;
    let origin = format!("http://user:secret@{}/waptwua/", other.address).parse().unwrap();
    let settings = Settings { origin: Some(origin), resolve: BTreeMap::new(), ..settings(other.address) };
    assert!(!format!("{settings:?}").contains("secret"));
    Site::new().fetch_right(&upstream(settings), promise_of(&data), &data).await;
    let [request] = &other.requests()[..] else { panic!() };
    assert_eq!(request.target, format!("/waptwua/{NAME}"));
    assert_eq!(request.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
}
