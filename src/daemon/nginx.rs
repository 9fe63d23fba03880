//! What nginx needs to know to serve hosts beside the daemon. Pure.
//!
//! nginx may serve only what is right by itself as an ordinary file: names that carry their SHA-1, where nobody but this
//! daemon writes them, for then they are whole and never change. Any other name goes to the daemon, which alone knows
//! whether it is whole, and answers wsusscn2.cab and its sidecar from one published pair. Beside a WAPT server, which
//! writes downloads straight to their final names, every name does. What is not there goes to the daemon in any case.
//!
//! Answers are the same bytes with the same Last-Modified. nginx gives no ETag of its own: hosts that go on with the other's
//! answer compare the date. It tells the daemon of each hit, so that what hosts ask for is known.

use super::config::Config;
use crate::wapt::server_ini::ServerIni;
use std::net::{IpAddr, SocketAddr};

/// A choice of what nginx does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Beside {
    /// nginx serves what is there and can't change; else the daemon serves everything.
    pub serves_hits: bool,
    /// Hosts have to show a certificate that nginx verified.
    pub client_certificates: bool,
}

impl Beside {
    /// What suits this machine: a WAPT server writes files in place, and says whether hosts show certificates.
    pub fn usual(server: Option<&ServerIni>) -> Self {
        let client_certificates = server.and_then(|ini| ini.use_ssl_client_auth).unwrap_or(false);
        Self { serves_hits: server.is_none(), client_certificates }
    }
}

/// Why there is nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NginxError {
    /// nginx could hand on nothing.
    #[error("http.listen has no address with a port that nginx could ask: set it to [\"127.0.0.1:8080\"], say")]
    NoListener,
}

/// Text for a `server` block, and what else has to be said.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snippet {
    /// Locations.
    pub text: String,
    /// What is at odds with it.
    pub notes: Vec<String>,
}

/// Words of an address's path that nginx may serve: what Microsoft's names are made of.
const NAME: &str = "[0-9A-Za-z][0-9A-Za-z._-]*_[0-9A-Fa-f]{40}\\.[0-9A-Za-z]+";

/// The snippet for this configuration.
pub fn snippet(config: &Config, beside: Beside) -> Result<Snippet, NginxError> {
    let daemon = daemon_address(&config.http.listen).ok_or(NginxError::NoListener)?;
    let mut text = HEAD.to_owned();
    for folder in &config.folders {
        text.push_str(&location(folder.name.as_str(), &folder.path.display().to_string(), daemon, beside));
    }
    text.push_str(&api(daemon, beside));
    if beside.serves_hits {
        text.push_str(&asked(daemon));
    }
    // Here as well: who was refused above comes this way, since what nginx may not read is asked of the daemon.
    text.push_str(&format!("location @wuasync {{\n{}{}}}\n", gate(beside, "    "), handed_on(daemon, "    ")));
    Ok(Snippet { text, notes: notes(config, daemon) })
}

const HEAD: &str = "\
# Printed by `wuasync config nginx`. Save it as /etc/nginx/snippets/wuasync.conf, and write
# `include snippets/wuasync.conf;` into the `server` block that hosts ask, in place of what it has for these folders.
# Then `nginx -t` and `systemctl reload nginx`.

";

/// A loopback address where there is one.
fn daemon_address(listen: &[SocketAddr]) -> Option<SocketAddr> {
    let reachable = |address: &SocketAddr| {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ip => ip,
        };
        SocketAddr::new(ip, address.port())
    };
    let usable: Vec<_> = listen.iter().filter(|address| address.port() != 0).map(reachable).collect();
    usable.iter().find(|address| address.ip().is_loopback()).or(usable.first()).copied()
}

fn location(name: &str, path: &str, daemon: SocketAddr, beside: Beside) -> String {
    let gate = gate(beside, "    ");
    let hits = if beside.serves_hits { hits(name, path, beside) } else { String::new() };
    format!("location ^~ /{name}/ {{\n{gate}{hits}{}}}\n\n", handed_on(daemon, "    "))
}

/// Whole files that can't change; whatever else is found there, or is not, is the daemon's.
fn hits(name: &str, path: &str, beside: Beside) -> String {
    let gate = gate(beside, "        ");
    let root = quoted(path);
    format!(
        "    location ~ \"^/{name}/(?<wuasync_name>{NAME})$\" {{\n{gate}\
         \x20       root {root};\n\
         \x20       try_files /$wuasync_name @wuasync;\n\
         \x20       error_page 403 404 = @wuasync;\n\
         \x20       disable_symlinks on from={root};\n\
         \x20       mirror /wuasync-asked;\n\
         \x20       mirror_request_body off;\n\
         \x20       types {{ application/vnd.ms-cab-compressed cab; }}\n\
         \x20       default_type application/octet-stream;\n\
         \x20       etag off;\n\
         \x20       gzip off;\n\
         \x20       max_ranges 1;\n\
         \x20       open_file_cache off;\n\
         \x20   }}\n"
    )
}

/// Hosts' API.
fn api(daemon: SocketAddr, beside: Beside) -> String {
    let (gate, handed_on) = (gate(beside, "    "), handed_on(daemon, "    "));
    format!(
        "location ^~ /api/v1/hosts/ {{\n{gate}{handed_on}}}\n\nlocation = /api/v1/repositories/nearest {{\n{gate}{handed_on}}}\n\n"
    )
}

/// The daemon hears of a hit by a HEAD, whose answer nobody waits for.
fn asked(daemon: SocketAddr) -> String {
    format!(
        "location = /wuasync-asked {{\n    internal;\n    proxy_pass http://{daemon}$request_uri;\n    proxy_method HEAD;\n    \
         proxy_pass_request_body off;\n    proxy_set_header Content-Length \"\";\n{}}}\n\n",
        headers("    ")
    )
}

/// As bytes come they are handed on: a file that is on its way has many gigabytes, and no end yet.
fn handed_on(daemon: SocketAddr, indent: &str) -> String {
    let lines = [
        format!("proxy_pass http://{daemon};"),
        "proxy_http_version 1.1;".to_owned(),
        "proxy_buffering off;".to_owned(),
        "proxy_cache off;".to_owned(),
        "proxy_read_timeout 10m;".to_owned(),
        "proxy_send_timeout 10m;".to_owned(),
        "gzip off;".to_owned(),
    ];
    lines.iter().map(|line| format!("{indent}{line}\n")).collect::<String>() + &headers(indent)
}

/// Whoever asks nginx is named, and whatever they say of themselves is dropped.
fn headers(indent: &str) -> String {
    let headers = [
        ("Host", "$host"),
        ("X-Forwarded-For", "$remote_addr"),
        ("X-Forwarded-Proto", "$scheme"),
        ("Connection", "\"\""),
    ];
    headers.iter().map(|(name, value)| format!("{indent}proxy_set_header {name} {value};\n")).collect()
}

fn gate(beside: Beside, indent: &str) -> String {
    match beside.client_certificates {
        true => format!("{indent}if ($ssl_client_verify != SUCCESS) {{ return 403; }}\n"),
        false => String::new(),
    }
}

/// As nginx reads a text: between quotes, with `$` and `"` as they are.
fn quoted(path: &str) -> String {
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if plain { path.to_owned() } else { format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")) }
}

fn notes(config: &Config, daemon: SocketAddr) -> Vec<String> {
    let is_trusted = config.http.trusted_proxies.iter().any(|network| network.contains(daemon.ip()));
    let untrusted = (!is_trusted).then(|| {
        format!(
            "http.trusted_proxies does not hold {}: every host behind nginx would count as one; add it",
            daemon.ip()
        )
    });
    let is_open = !config.http.listen.iter().all(|address| address.ip().is_loopback());
    let open = is_open.then(|| {
        "http.listen has addresses that hosts reach without nginx, and without the certificates that it may ask for; if \
         they should not, keep 127.0.0.1 alone"
            .to_owned()
    });
    untrusted.into_iter().chain(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HITS: Beside = Beside { serves_hits: true, client_certificates: false };

    fn config(listen: &str) -> Config {
        Config::without_file(&[format!("http.listen={listen}")], "lyon").unwrap()
    }

    #[test]
    fn the_daemon_is_asked_where_it_listens_over_loopback_first() {
        for (listen, at) in [
            ("[\"0.0.0.0:8080\"]", Some("127.0.0.1:8080")),
            ("[\"10.0.0.7:80\", \"127.0.0.1:8081\"]", Some("127.0.0.1:8081")),
            ("[\"[::]:8080\"]", Some("[::1]:8080")),
            ("[\"10.0.0.7:80\"]", Some("10.0.0.7:80")),
            ("[]", None),
            ("[\"0.0.0.0:0\"]", None),
        ] {
            let snippet = snippet(&config(listen), HITS);
            match at {
                None => assert_eq!(snippet, Err(NginxError::NoListener), "{listen}"),
                Some(at) => {
                    let text = snippet.unwrap().text;
                    assert!(text.contains(&format!("proxy_pass http://{at};")), "{listen}: {text}");
                }
            }
        }
    }

    #[test]
    fn certificates_are_asked_for_in_every_location_that_a_host_can_name() {
        let with = Beside { client_certificates: true, ..HITS };
        let text = snippet(&config("[\"127.0.0.1:8080\"]"), with).unwrap().text;
        assert_eq!(text.matches("if ($ssl_client_verify != SUCCESS) { return 403; }").count(), 5);
        let blocks: Vec<_> = text.split("location ").skip(1).collect();
        let open = |block: &&&str| !block.contains("$ssl_client_verify") && !block.contains("internal;");
        assert_eq!(blocks.iter().filter(open).count(), 0, "{text}");
        assert!(!snippet(&config("[\"127.0.0.1:8080\"]"), HITS).unwrap().text.contains("ssl_client_verify"));
    }

    #[test]
    fn beside_a_wapt_server_nginx_serves_nothing_by_itself() {
        let none = Beside { serves_hits: false, client_certificates: false };
        let text = snippet(&config("[\"127.0.0.1:8080\"]"), none).unwrap().text;
        assert!(
            !text.contains("try_files") && !text.contains("mirror") && text.contains("location ^~ /waptwua/"),
            "{text}"
        );
    }

    #[test]
    fn what_is_at_odds_is_noted() {
        let sets = ["http.listen=[\"0.0.0.0:8080\"]", "http.trusted_proxies=[]"].map(str::to_owned);
        let notes = snippet(&Config::without_file(&sets, "lyon").unwrap(), HITS).unwrap().notes;
        assert!(notes[0].contains("trusted_proxies") && notes[1].contains("without nginx"), "{notes:?}");
        assert!(snippet(&config("[\"127.0.0.1:8080\"]"), HITS).unwrap().notes.is_empty());
    }

    #[test]
    fn paths_are_quoted_where_they_need_it() {
        assert_eq!(quoted("/var/www/waptwua"), "/var/www/waptwua");
        assert_eq!(quoted("/a b/\"c"), "\"/a b/\\\"c\"");
    }
}
