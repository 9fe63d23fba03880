//! Where may be asked: checked for the first address and again at every redirect. Pure.

use super::address::is_public;
use reqwest::Url;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// Longest address that is followed: what servers and proxies take.
const MAX_URL_BYTES: usize = 8 << 10;
/// What of an address is shown to people.
const SHOWN_CHARS: usize = 200;

/// Why an address is not asked. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No address at all, or one without a host.
    #[error("this is no web address")]
    NotAnAddress,
    /// Longer than anybody takes.
    #[error("the address is longer than 8 KiB")]
    TooLong,
    /// `ftp`, `file` and their like.
    #[error("only http and https are fetched, not {0}")]
    Scheme(String),
    /// A user or a password in the address.
    #[error("an address with a login is not followed")]
    Login,
    /// A host that nobody allowed.
    #[error("host {0} is not allowed: add it to `upstream.allowed_hosts` if it is Microsoft's")]
    Host(String),
    /// An IP address in place of a name.
    #[error("{0} is an address and no name: name it in `upstream.resolve` if it is meant")]
    Literal(String),
    /// A port other than 80 and 443.
    #[error("port {port} of {host} is not asked: name the host in `upstream.resolve` if it is meant")]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A name that leads into a private network.
    #[error("{host} leads to {address}, which is not public: name it in `upstream.resolve` if it is meant")]
    PrivateAddress {
        /// The host.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
    },
    /// A base name that would leave the folder of the other repository.
    #[error("the address ends in no file name")]
    NoFileName,
}

/// An address that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// What to connect to; differs from the address that was given where the host is pinned.
    pub(super) url: Url,
    /// Whether its place is fixed: then no proxy is asked.
    pub(super) is_pinned: bool,
}

/// Which hosts may be asked, and where they are.
#[derive(Clone, Default)]
pub struct Rules {
    allowed: Vec<String>,
    pinned: BTreeMap<String, SocketAddr>,
    origin: Option<Url>,
}

impl Rules {
    /// `allowed` are domains, subdomains included; `pinned` are hosts with a fixed place, private or not;
    /// `origin` is another repository's address, asked in place of every other.
    pub fn new(allowed: &[String], pinned: &BTreeMap<String, SocketAddr>, origin: Option<Url>) -> Self {
        let allowed = allowed.iter().map(|domain| plain(domain)).filter(|domain| !domain.is_empty()).collect();
        let pinned = pinned.iter().map(|(host, place)| (plain(host), *place)).collect();
        Self { allowed, pinned, origin }
    }

    /// Where the file of an address is asked for first.
    pub(super) fn first(&self, address: &str) -> Result<Url, Refusal> {
        let Some(origin) = &self.origin else { return parse(address) };
        let path = address.split(['?', '#']).next().unwrap_or(address);
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).ok_or(Refusal::NoFileName)?;
        let folder = origin.path().trim_end_matches('/');
        let mut url = origin.clone();
        url.set_query(None);
        url.set_path(&format!("{folder}/{name}"));
        // A parser of addresses reads `..` and `%2e%2e` alike.
        let stays = url.path().rsplit_once('/').is_some_and(|(above, last)| above == folder && !last.is_empty());
        if stays { Ok(url) } else { Err(Refusal::NoFileName) }
    }

    /// Where a redirect from `from` leads.
    pub(super) fn next(from: &Url, location: &str) -> Result<Url, Refusal> {
        if location.len() > MAX_URL_BYTES {
            return Err(Refusal::TooLong);
        }
        let url = from.join(location).map_err(|_| Refusal::NotAnAddress)?;
        let has_login = !url.username().is_empty() || url.password().is_some();
        if has_login { Err(Refusal::Login) } else { Ok(url) }
    }

    /// Whether an address may be asked, and how.
    pub(super) fn admit(&self, url: &Url) -> Result<Hop, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(Refusal::TooLong);
        }
        let host = plain(url.host_str().ok_or(Refusal::NotAnAddress)?);
        let literal = literal(&host);
        if let Some(place) = self.pinned.get(&host) {
            return pin(url, literal.map(|_| *place));
        }
        if !self.is_origin(&host) {
            match literal {
                Some(_) => return Err(Refusal::Literal(host)),
                None if !self.is_allowed(&host) => return Err(Refusal::Host(host)),
                None => {}
            }
        }
        match url.port_or_known_default() {
            Some(80 | 443) => {}
            port if self.is_origin(&host) && port == self.origin_port() => {}
            port => return Err(Refusal::Port { host, port: port.unwrap_or(0) }),
        }
        Ok(Hop { url: url.clone(), is_pinned: false })
    }

    /// Where a host is, if that is fixed.
    pub(super) fn pinned(&self, host: &str) -> Option<SocketAddr> {
        self.pinned.get(&plain(host)).copied()
    }

    /// Whether a host may have this address.
    pub(super) fn may_be_at(&self, host: &str, address: IpAddr) -> bool {
        is_public(address) || self.is_origin(&plain(host))
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed.iter().any(|domain| is_within(host, domain))
    }

    fn is_origin(&self, host: &str) -> bool {
        self.origin.as_ref().and_then(Url::host_str).is_some_and(|origin| plain(origin) == host)
    }

    fn origin_port(&self) -> Option<u16> {
        self.origin.as_ref().and_then(Url::port_or_known_default)
    }
}

/// An address for people: without login, query and excess.
pub(super) fn shown(address: &str) -> String {
    let parsed = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(url) = parsed else { return "(no web address)".to_owned() };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?..." } else { "" };
    let text = format!("{}://{}{port}{}{query}", url.scheme(), url.host_str().unwrap_or_default(), url.path());
    text.chars().take(SHOWN_CHARS).collect()
}

fn parse(address: &str) -> Result<Url, Refusal> {
    if address.len() > MAX_URL_BYTES {
        return Err(Refusal::TooLong);
    }
    let url = Url::parse(address).map_err(|_| Refusal::NotAnAddress)?;
    let has_login = !url.username().is_empty() || url.password().is_some();
    if has_login { Err(Refusal::Login) } else { Ok(url) }
}

/// `x.example.org` is within `example.org` and `example.org` itself, `evilexample.org` is not.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// In lower case, without the root's dot.
fn plain(host: &str) -> String {
    host.trim().trim_end_matches('.').to_ascii_lowercase()
}

/// Addresses in brackets too.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Names go to their place through the resolver, whose port counts where the address has none; a literal
/// address is not resolved, and is replaced.
fn pin(url: &Url, literal_at: Option<SocketAddr>) -> Result<Hop, Refusal> {
    let mut url = url.clone();
    let replaced = match literal_at {
        None => url.set_port(None),
        Some(place) => url.set_ip_host(place.ip()).and_then(|()| url.set_port(Some(place.port()))),
    };
    replaced.map_err(|()| Refusal::NotAnAddress)?;
    Ok(Hop { url, is_pinned: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSOFT: [&str; 3] = ["windowsupdate.com", "Download.Microsoft.com", "go.microsoft.com"];

    fn rules(pinned: &[(&str, &str)], origin: Option<&str>) -> Rules {
        let pinned = pinned.iter().map(|(host, place)| ((*host).to_owned(), place.parse().unwrap())).collect();
        Rules::new(&MICROSOFT.map(str::to_owned), &pinned, origin.map(|origin| origin.parse().unwrap()))
    }

    fn admit(rules: &Rules, address: &str) -> Result<String, Refusal> {
        rules.admit(&address.parse().unwrap()).map(|hop| hop.url.to_string())
    }

    #[test]
    fn hosts_are_allowed_by_whole_labels() {
        let rules = rules(&[], None);
        for right in [
            "http://windowsupdate.com/a",
            "http://x.windowsupdate.com/a",
            "http://a.b.WindowsUpdate.com/a",
            "https://x.windowsupdate.com./a",
            "https://download.microsoft.com:443/a",
            "http://x.windowsupdate.com:443/a",
        ] {
            assert!(admit(&rules, right).is_ok(), "{right}");
        }
        for wrong in [
            "http://evilwindowsupdate.com/a",
            "http://windowsupdate.com.evil.org/a",
            "http://microsoft.com/a",
            "http://xgo.microsoft.com/a",
            "http://windowsupdate.co/a",
            "http://localhost/a",
            "http://com/a",
        ] {
            assert!(matches!(admit(&rules, wrong), Err(Refusal::Host(_))), "{wrong}");
        }
    }

    #[test]
    fn other_schemes_ports_and_literal_addresses_are_refused() {
        let rules = rules(&[], None);
        assert_eq!(admit(&rules, "ftp://x.windowsupdate.com/a"), Err(Refusal::Scheme("ftp".to_owned())));
        assert_eq!(admit(&rules, "file:///etc/passwd"), Err(Refusal::Scheme("file".to_owned())));
        for port in [22, 8080, 8443] {
            let host = "x.windowsupdate.com".to_owned();
            let wrong = admit(&rules, &format!("http://{host}:{port}/a"));
            assert_eq!(wrong, Err(Refusal::Port { host, port }));
        }
        for wrong in
            ["http://13.107.4.50/a", "http://0x7f.1/a", "http://2130706433/a", "http://[::1]/a", "http://127.1/"]
        {
            assert!(matches!(admit(&rules, wrong), Err(Refusal::Literal(_))), "{wrong}");
        }
        let long = format!("http://windowsupdate.com/{}", "a".repeat(MAX_URL_BYTES));
        assert_eq!(admit(&rules, &long), Err(Refusal::TooLong));
    }

    #[test]
    fn a_pinned_host_is_asked_at_its_place_whatever_its_name_and_port_are() {
        let rules = rules(&[("Cdn.example", "127.0.0.1:8080"), ("10.0.0.1", "10.0.0.2:81")], None);
        assert_eq!(admit(&rules, "http://cdn.example:9/a").unwrap(), "http://cdn.example/a");
        assert_eq!(admit(&rules, "http://10.0.0.1/a").unwrap(), "http://10.0.0.2:81/a");
        assert_eq!(rules.pinned("CDN.example."), Some("127.0.0.1:8080".parse().unwrap()));
        assert!(admit(&rules, "http://x.cdn.example/a").is_err());
        assert!(!rules.may_be_at("go.microsoft.com", "127.0.0.1".parse().unwrap()));
        assert!(rules.may_be_at("go.microsoft.com", "13.107.4.50".parse().unwrap()));
    }

    #[test]
    fn another_repository_is_asked_by_base_name_wherever_it_is() {
        let rules = rules(&[], Some("http://10.0.0.5:8080/waptwua/"));
        let first = |address: &str| rules.first(address).map(|url| url.to_string());
        let asked = first("http://d.windowsupdate.com/c/msdownload/kb%201_ab.cab?x=/y").unwrap();
        assert_eq!(asked, "http://10.0.0.5:8080/waptwua/kb%201_ab.cab");
        assert!(admit(&rules, &asked).is_ok());
        assert!(matches!(admit(&rules, "http://10.0.0.5:8081/x"), Err(Refusal::Port { .. })));
        assert!(rules.may_be_at("10.0.0.5", "10.0.0.5".parse().unwrap()));
        for wrong in ["http://windowsupdate.com/", "http://windowsupdate.com/a/..", "http://x/%2e%2e", "http://x/.", ""]
        {
            assert_eq!(first(wrong), Err(Refusal::NoFileName), "{wrong}");
        }
        let named = Rules::new(&[], &BTreeMap::new(), Some("https://Server/waptwua".parse().unwrap()));
        assert_eq!(named.first("http://x/a.cab").unwrap().as_str(), "https://server/waptwua/a.cab");
        assert!(named.may_be_at("server", "192.168.0.1".parse().unwrap()));
    }

    #[test]
    fn a_redirect_is_read_beside_where_it_came_from_and_brings_no_login() {
        let from: Url = "https://go.microsoft.com/fwlink/?LinkID=1".parse().unwrap();
        let next = |location: &str| Rules::next(&from, location).map(|url| url.to_string());
        assert_eq!(next("/a/b").unwrap(), "https://go.microsoft.com/a/b");
        assert_eq!(next("//x.windowsupdate.com/a").unwrap(), "https://x.windowsupdate.com/a");
        assert_eq!(next("http://user:secret@windowsupdate.com/"), Err(Refusal::Login));
        assert_eq!(next(&"a".repeat(MAX_URL_BYTES + 1)), Err(Refusal::TooLong));
        assert_eq!(next("http://[/"), Err(Refusal::NotAnAddress));
        let rules = rules(&[], None);
        for wrong in ["not an address", "windowsupdate.com/a"] {
            assert_eq!(rules.first(wrong), Err(Refusal::NotAnAddress), "{wrong}");
        }
        assert_eq!(rules.first("http://u:p@windowsupdate.com/a"), Err(Refusal::Login));
    }

    #[test]
    fn what_is_shown_has_neither_login_nor_query() {
        assert_eq!(shown("http://u:secret@h:81/a/b?token=c"), "http://h:81/a/b?...");
        assert_eq!(shown("u:secret@h"), "(no web address)");
        assert_eq!(shown(&format!("http://h/{}", "a".repeat(1000))).len(), SHOWN_CHARS);
    }
}
