//! The network: ports, names, the proxy, the parent, certificates. Pure.

use super::{
    finding::Finding,
    gather::{Facts, ParentFacts},
};
use crate::{base::units, daemon::config::Config};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// Certificates are renewed well before: Let's Encrypt's clients at 30 days.
pub(super) const SOON_SECONDS: u64 = 14 * 86_400;
/// Where stock agents ask.
const AGENTS_PORTS: [u16; 2] = [80, 443];

/// Whether the configured ports are listened on, or free for a daemon to come.
pub(super) fn ports(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "ports";
    let tls = config.http.tls.iter().flat_map(|tls| &tls.listen);
    let tcp = config.http.listen.iter().map(|it| ("http.listen", it)).chain(tls.map(|it| ("http.tls.listen", it)));
    let tcp =
        tcp.chain(config.admin.listen.iter().map(|it| ("admin.listen", it))).map(|it| (it, &facts.sockets.tcp, "TCP"));
    let all = tcp.chain([(("sync.listen", &config.sync.listen), &facts.sockets.udp, "UDP")]);
    let judged = all.filter(|((_, address), ..)| address.port() != 0);
    let mut found: Vec<_> =
        judged.map(|((key, address), taken, kind)| port(facts, key, address, taken, kind)).collect();
    let is_reachable = AGENTS_PORTS.iter().any(|port| facts.sockets.has_tcp(*port));
    if !is_reachable {
        let cure = "serve hosts on 80 or 443 (`http.listen`, or nginx: `wuasync config nginx`): with a port in the address, \
                    AGENT IP rules of WAPT do not match";
        found.push(Finding::note(CHECK, "nobody listens on 80 or 443, where stock agents ask", cure));
    }
    found
}

fn port(facts: &Facts, key: &str, address: &SocketAddr, taken: &BTreeSet<SocketAddr>, kind: &str) -> Finding {
    const CHECK: &str = "ports";
    let port = address.port();
    let is_taken = taken.iter().any(|it| it.port() == port && overlaps(it, address));
    match (facts.daemon.is_there(), is_taken) {
        (true, true) => Finding::right(CHECK, format!("{key} {address} ({kind}) is open")),
        (true, false) => {
            let cure = "the daemon was started with another configuration: `systemctl restart wuasync`";
            Finding::wrong(CHECK, format!("the daemon runs, and nobody listens on {key} {address} ({kind})"), cure)
        }
        (false, true) if facts.has_socket_unit && key.starts_with("http.") => {
            Finding::right(CHECK, format!("{key} {address} ({kind}) is kept open by systemd"))
        }
        (false, true) => {
            let tool = if kind == "TCP" { "-ltnp" } else { "-lunp" };
            let cure = format!("see who it is with `ss {tool} sport = :{port}`; stop that, or choose another {key}");
            Finding::note(CHECK, format!("{key} {address} ({kind}) is taken while the daemon does not run"), cure)
        }
        (false, false) if port < facts.first_free_port => {
            let cure =
                "let wuasync.socket open it (`systemctl enable --now wuasync.socket`), or choose a port above 1023";
            Finding::note(
                CHECK,
                format!("{key} {address}: only root may open ports below {}", facts.first_free_port),
                cure,
            )
        }
        (false, false) => Finding::right(CHECK, format!("{key} {address} ({kind}) is free")),
    }
}

/// Whether two listeners of one port get in each other's way.
fn overlaps(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.ip().is_unspecified() || other.ip().is_unspecified() || one.ip().to_canonical() == other.ip().to_canonical()
}

/// Whether names can be looked up.
pub(super) fn names(_config: &Config, facts: &Facts) -> Vec<Finding> {
    let found = facts.names.iter().map(|name| match &name.found {
        Ok(addresses) => {
            let first = addresses.first().map(ToString::to_string).unwrap_or_default();
            Finding::right("dns", format!("{} ({}) is {first}", name.host, name.who))
        }
        Err(error) => {
            let cure = format!(
                "look at /etc/resolv.conf and ask `getent hosts {0}`; or write the address of {0} into /etc/hosts",
                name.host
            );
            Finding::wrong("dns", format!("{} ({}) can't be looked up: {error}", name.host, name.who), cure)
        }
    });
    found.collect()
}

/// Whether the way to Microsoft is open.
pub(super) fn proxy(_config: &Config, facts: &Facts) -> Vec<Finding> {
    let found = facts.proxy.iter().map(|(place, reached)| match reached {
        Ok(()) => Finding::right("proxy", format!("{place} takes connections")),
        Err(error) => {
            let cure = "correct `upstream.proxy`, start the proxy, or let this machine reach it";
            Finding::wrong("proxy", format!("{place} can't be reached: {error}"), cure)
        }
    });
    found.collect()
}

/// Whether the parent answers over UDP.
pub(super) fn parent(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "parent";
    let told = facts.daemon.status().and_then(|status| status.parent.as_ref());
    match &facts.parent {
        ParentFacts::None => Vec::new(),
        ParentFacts::NotJoined => {
            let cure = format!("`wuasync pair invite {}` on the main, and `wuasync join TOKEN` here", config.name);
            vec![Finding::wrong(CHECK, "this secondary has not joined", cure)]
        }
        ParentFacts::Unknown(error) => {
            vec![Finding::wrong(CHECK, format!("who it is can't be read: {error}"), "run this as root, or join again")]
        }
        ParentFacts::Asked(asked) if asked.is_empty() => {
            let whom = told.map_or_else(String::new, |told| format!("{} at {}", told.name, told.address));
            vec![Finding::right(CHECK, format!("connected to {whom}"))]
        }
        ParentFacts::Asked(asked) => asked.iter().map(|(place, answer)| way(place, answer)).collect(),
    }
}

fn way(place: &str, answer: &Result<u64, String>) -> Finding {
    const CHECK: &str = "parent";
    match answer {
        Ok(milliseconds) => Finding::right(CHECK, format!("{place} answers over UDP in {milliseconds} ms")),
        Err(error) => {
            let port = place.rsplit(':').next().unwrap_or(place);
            let cure = format!(
                "see that the daemon there runs, and that UDP {port} passes both firewalls: on the parent `ss -lunp sport = \
                 :{port}`, and `tcpdump udp port {port}` shows whether packets arrive; if it was reinstalled, join again"
            );
            Finding::wrong(CHECK, format!("{place} gives no good answer over UDP: {error}"), cure)
        }
    }
}

/// Whether certificates for hosts can be used, and for how long.
pub(super) fn certificates(_config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "certificates";
    let found = facts.certificates.iter().map(|certificate| {
        let path = certificate.path.display();
        let cure = "put a new one in its place, then `systemctl reload wuasync`";
        let left = |ends: u64| units::duration(Duration::from_secs(ends.abs_diff(facts.now)));
        match &certificate.ends {
            Err(error) => Finding::wrong(CHECK, error, cure),
            Ok(ends) if *ends <= facts.now => Finding::wrong(CHECK, format!("{path} ended {} ago", left(*ends)), cure),
            Ok(ends) if ends - facts.now < SOON_SECONDS => {
                Finding::note(CHECK, format!("{path} ends in {}", left(*ends)), cure)
            }
            Ok(ends) => Finding::right(CHECK, format!("{path} is good for {}", left(*ends))),
        }
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            finding::Level,
            gather::{CertificateFacts, DaemonFacts, NameFacts},
            testing::*,
        },
        *,
    };

    #[test]
    fn open_taken_and_privileged_ports_are_told_apart() {
        let mut facts = facts();
        assert!(ports(&config(), &facts).iter().all(|it| it.level == Level::Right), "{:?}", ports(&config(), &facts));
        facts.sockets.udp.clear();
        assert!(wrong(&ports(&config(), &facts))[0].contains("nobody listens on sync.listen 0.0.0.0:4443 (UDP)"));
        facts.daemon = DaemonFacts::Silent(String::new());
        let found = ports(&config(), &facts);
        assert!(
            found[0].what.contains("is taken while")
                && found[0].cure.as_ref().unwrap().contains("ss -ltnp sport = :80")
        );
        let kept = Facts { has_socket_unit: true, ..facts.clone() };
        assert_eq!(ports(&config(), &kept)[0].level, Level::Right);
        facts.sockets.tcp.clear();
        let found = ports(&config(), &facts);
        assert!(found[0].cure.as_ref().unwrap().contains("wuasync.socket"), "{found:?}");
        assert!(found.last().unwrap().what.contains("nobody listens on 80 or 443"), "{found:?}");
    }

    #[test]
    fn listeners_overlap_by_address() {
        for (one, other, is) in [
            ("0.0.0.0:80", "10.0.0.1:80", true),
            ("[::]:80", "10.0.0.1:80", true),
            ("127.0.0.1:80", "10.0.0.1:80", false),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
        ] {
            assert_eq!(overlaps(&one.parse().unwrap(), &other.parse().unwrap()), is, "{one} {other}");
        }
    }

    #[test]
    fn names_and_proxies_that_fail_are_named_with_their_use() {
        let mut facts = facts();
        facts.names =
            vec![NameFacts { who: "the parent", host: "paris".to_owned(), found: Err("no such host".to_owned()) }];
        let found = names(&config(), &facts);
        assert!(
            found[0].what.contains("paris (the parent)")
                && found[0].cure.as_ref().unwrap().contains("getent hosts paris")
        );
        facts.proxy = Some(("proxy:3128".to_owned(), Err("refused".to_owned())));
        assert_eq!(wrong(&proxy(&config(), &facts)), ["proxy:3128 can't be reached: refused"]);
    }

    #[test]
    fn the_way_to_the_parent_is_told_by_what_came_of_it() {
        let mut facts = facts();
        assert_eq!(parent(&config(), &facts), []);
        for (found, level, words) in [
            (ParentFacts::NotJoined, Level::Wrong, "has not joined"),
            (ParentFacts::Unknown("x".to_owned()), Level::Wrong, "can't be read: x"),
            (ParentFacts::Asked(Vec::new()), Level::Right, "connected to"),
            (ParentFacts::Asked(vec![("p:4443".to_owned(), Ok(23))]), Level::Right, "p:4443 answers over UDP in 23 ms"),
            (ParentFacts::Asked(vec![("p:4443".to_owned(), Err("late".to_owned()))]), Level::Wrong, "no good answer"),
        ] {
            facts.parent = found;
            let told = parent(&config(), &facts);
            assert!(told[0].level == level && told[0].what.contains(words), "{told:?}");
        }
    }

    #[test]
    fn certificates_end() {
        let mut facts = facts();
        for (ends, level) in [
            (Ok(NOW + SOON_SECONDS), Level::Right),
            (Ok(NOW + SOON_SECONDS - 1), Level::Note),
            (Ok(NOW), Level::Wrong),
            (Err("x".to_owned()), Level::Wrong),
        ] {
            facts.certificates = vec![CertificateFacts { path: "/c.pem".into(), ends }];
            assert_eq!(certificates(&config(), &facts)[0].level, level);
        }
    }
}
