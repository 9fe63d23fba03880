//! What hosts get: whose editions are believed, who else writes the folders, and all that a stock agent asks. Pure.

use super::{
    ask::{Answer, Site},
    finding::Finding,
    gather::Facts,
    https::NoAnswer,
    network::SOON_SECONDS,
};
use crate::{base::units, daemon::config::Config, domain::member::Role};
use std::time::Duration;

/// Whether an edition from Microsoft could be published.
pub(super) fn trust(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "trust";
    if config.role != Role::Main || !config.upstream.require_signature {
        return Vec::new();
    }
    match &facts.trusts_somebody {
        Ok(true) => vec![Finding::right(CHECK, "somebody is believed to sign editions")],
        Ok(false) => {
            let cure = "get a copy of wsusscn2.cab, compare what `wuasync cab verify FILE` shows, then `wuasync cab trust FILE`";
            vec![Finding::note(CHECK, "nobody is believed to sign editions: none is read or published", cure)]
        }
        Err(error) => {
            vec![Finding::wrong(CHECK, error, "correct `upstream.trust_roots`, or run this as the daemon's user")]
        }
    }
}

/// Whether WAPT's own replication writes what this node mirrors.
pub(super) fn wapt(config: &Config, facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "wapt";
    let Some(sync) = facts.wapt_sync.as_ref().filter(|sync| sync.enabled && config.role == Role::Secondary) else {
        return Vec::new();
    };
    let ours = |name: &&String| config.folders.iter().any(|folder| folder.name.as_str() == *name);
    let shared: Vec<&str> = sync.folders.iter().filter(ours).map(String::as_str).collect();
    if shared.is_empty() {
        return vec![Finding::right(CHECK, "[repo-sync] of WAPT leaves the folders alone")];
    }
    let cure = "in /opt/wapt/wapt-get.ini, [repo-sync]: take them out of `remote_repo_dirs`, or `enable_remote_repo = False`; \
                then `systemctl restart waptservice`";
    vec![Finding::wrong(
        CHECK,
        format!("[repo-sync] of WAPT writes {} too, and deletes there", shared.join(" and ")),
        cure,
    )]
}

/// Whether a stock agent gets what it asks for, as it needs it.
pub(super) fn agents(config: &Config, facts: &Facts) -> Vec<Finding> {
    let of_site = |site| [packages(site, config, facts), cab(site), sidecar(site), certificate(site, facts.now)];
    facts.sites.iter().flat_map(of_site).flatten().collect()
}

const CHECK: &str = "agents";

/// An agent takes a repository only if this is answered with a date.
fn packages(site: &Site, config: &Config, facts: &Facts) -> Option<Finding> {
    let whom = whom(site);
    let has_wapt = config.folders.iter().any(|folder| folder.name.as_str() == "wapt");
    match &site.packages {
        Err(error) => Some(unreachable(site, error)),
        Ok(answer) if answer.status == 200 && answer.last_modified.is_some() => {
            Some(Finding::right(CHECK, format!("{whom} answers HEAD /wapt/Packages with Last-Modified")))
        }
        // Beside a WAPT server that is its web server's to answer.
        Ok(_) if facts.is_wapt_server && site.who == "the daemon" => None,
        Ok(answer) => {
            let cure = match has_wapt {
                true => "see whether /wapt/Packages is there at the main: `wuasync files show wapt/Packages`",
                false => {
                    "mirror `wapt` as well (a second [[folder]] on the main and here), or serve it beside this one"
                }
            };
            let what = format!(
                "{whom} answers HEAD /wapt/Packages with {}: rules of WAPT pass this repository over",
                status(answer)
            );
            Some(Finding::note(CHECK, what, cure))
        }
    }
}

/// Exact length and date: an agent resumes by the one, and compares the other with what it has.
fn cab(site: &Site) -> Option<Finding> {
    let whom = whom(site);
    let (Ok(cab), Ok(first)) = (&site.cab, &site.first_byte) else { return None };
    if cab.status == 404 && site.on_disk.is_none() {
        let cure = "on a main `wuasync refresh`; on a secondary it comes with the main's";
        return Some(Finding::note(CHECK, "there is no wsusscn2.cab yet", cure));
    }
    let cure = "see what holds it back: `wuasync status wsusscn2.cab`; behind a web server see `wuasync config nginx`";
    let wrong = |what: String| Some(Finding::wrong(CHECK, format!("{whom}: {what}"), cure));
    let (Some(length), Some(date)) = (cab.length, &cab.last_modified) else {
        return wrong(format!("HEAD of wsusscn2.cab gives {}, without length or Last-Modified", status(cab)));
    };
    if cab.status != 200 {
        return wrong(format!("HEAD of wsusscn2.cab gives {}", status(cab)));
    }
    if let Some((bytes, on_disk)) = &site.on_disk
        && (*bytes != length || on_disk != date)
    {
        return wrong(format!("wsusscn2.cab has {length} bytes of {date}, and {bytes} of {on_disk} on the disk"));
    }
    let whole = first.content_range.as_deref().and_then(|range| range.strip_prefix("bytes 0-0/")?.parse().ok());
    if first.status != 206 || whole != Some(length) || first.body.len() != 1 {
        return wrong(format!("a range of wsusscn2.cab gives {}: agents could not resume", status(first)));
    }
    Some(Finding::right(CHECK, format!("{whom} gives wsusscn2.cab with its exact length, of {date}")))
}

/// An agent compares the cabinet with it.
fn sidecar(site: &Site) -> Option<Finding> {
    let whom = whom(site);
    let (Ok(cab), Ok(sidecar)) = (&site.cab, &site.sidecar) else { return None };
    if cab.status != 200 {
        return None;
    }
    let text = String::from_utf8_lossy(&sidecar.body);
    let is_digest = text.trim().len() == 40 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit());
    if sidecar.status == 200 && is_digest {
        return Some(Finding::right(CHECK, format!("{whom} gives wsusscn2.cab.sha1 beside it")));
    }
    let what =
        format!("{whom}: wsusscn2.cab.sha1 gives {}, and no SHA-1: agents take no cabinet without it", status(sidecar));
    Some(Finding::wrong(
        CHECK,
        what,
        "on the main set upstream.publish_sha1_sidecar = true, then `wuasync refresh --force`",
    ))
}

/// For how long the certificate is good that hosts are shown; that it is good is known by then.
fn certificate(site: &Site, now: u64) -> Option<Finding> {
    let left = site.ends?.checked_sub(now)?;
    let what = format!("the certificate of {} is good for {}", whom(site), units::duration(Duration::from_secs(left)));
    match left < SOON_SECONDS {
        true => Some(Finding::note(CHECK, what, NEW_CERTIFICATE)),
        false => Some(Finding::right(CHECK, what)),
    }
}

const NEW_CERTIFICATE: &str =
    "put a new one in its place, then `systemctl reload wuasync`, or the web server that shows it";

fn unreachable(site: &Site, why: &NoAnswer) -> Finding {
    let whom = whom(site);
    let wrong = |what: String, cure: &str| Finding::wrong(CHECK, what, cure);
    match why {
        NoAnswer::Silent(error) => {
            let cure = "see that it runs, that its name leads to it, and that no firewall stands between";
            wrong(format!("{whom} gives no answer: {error}"), cure)
        }
        NoAnswer::Nameless(error) => {
            let cure = "give the name an address in DNS or /etc/hosts, or correct `http.public_url`";
            wrong(format!("{whom} can't be looked up: {error}"), cure)
        }
        NoAnswer::Untrusted => {
            let cure = "show the whole chain (`http.tls.cert`: its own certificate first); where the authority is your own, name \
                        its file in `nearest.ca` here and in `verify_cert` on hosts";
            wrong(format!("{whom} shows a certificate that nobody signed who is believed here"), cure)
        }
        NoAnswer::OtherName(names) => {
            let names = if names.is_empty() { "another name".to_owned() } else { names.join(", ") };
            let cure = "have a certificate made for the name in `http.public_url`, or correct that";
            wrong(format!("{whom} shows a certificate for {names}"), cure)
        }
        NoAnswer::Ended => wrong(format!("{whom} shows a certificate that has ended"), NEW_CERTIFICATE),
        NoAnswer::NotBegun => {
            let cure = "set the clock right (`timedatectl`), or put a certificate there that counts already";
            wrong(format!("{whom} shows a certificate that does not count yet"), cure)
        }
        NoAnswer::WantsCertificate => {
            let cure = "ask as a host does: `curl --cert FILE --key FILE -I ADDRESS/wapt/Packages`";
            Finding::note(CHECK, format!("{whom} answers only hosts that show a certificate: it was not asked"), cure)
        }
        NoAnswer::Tls(error) => {
            let cure = "`openssl s_client -connect HOST:443 -servername HOST` shows what is sent there; see `http.tls` and \
                        `nearest.ca`";
            wrong(format!("{whom} speaks no TLS that hosts could use: {error}"), cure)
        }
    }
}

fn whom(site: &Site) -> String {
    format!("{} at {}", site.who, site.place)
}

fn status(answer: &Answer) -> String {
    format!("status {}", answer.status)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{finding::Level, testing::*},
        *,
    };
    use crate::wapt::agent_ini::AgentIni;

    #[test]
    fn a_repository_that_agents_like_has_nothing_wrong() {
        let found = agents(&config(), &facts());
        assert!(found.len() == 3 && found.iter().all(|it| it.level == Level::Right), "{found:?}");
    }

    #[test]
    fn each_thing_that_an_agent_needs_is_missed_by_itself() {
        type Change = fn(&mut Site);
        let changes: [(Change, &str); 7] = [
            (|site| site.packages = Err(NoAnswer::Silent("refused".to_owned())), "gives no answer: refused"),
            (|site| site.cab.as_mut().unwrap().last_modified = None, "without length or Last-Modified"),
            (|site| site.cab.as_mut().unwrap().status = 503, "HEAD of wsusscn2.cab gives status 503"),
            (|site| site.cab.as_mut().unwrap().length = Some(7), "has 7 bytes"),
            (|site| site.first_byte.as_mut().unwrap().status = 200, "could not resume"),
            (|site| site.sidecar.as_mut().unwrap().body = b"<html>".to_vec(), "no SHA-1"),
            (|site| site.on_disk.as_mut().unwrap().1 = "another".to_owned(), "of another on the disk"),
        ];
        for (change, words) in changes {
            let mut facts = facts();
            change(&mut facts.sites[0]);
            let all = agents(&config(), &facts);
            let found = wrong(&all);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
    }

    #[test]
    fn each_fault_of_https_has_its_words_and_its_cure_and_certificates_end() {
        let mut facts = facts();
        for (why, level, words, cure) in [
            (NoAnswer::Nameless("x".to_owned()), Level::Wrong, "can't be looked up: x", "in DNS"),
            (NoAnswer::Untrusted, Level::Wrong, "nobody signed who is believed", "nearest.ca"),
            (NoAnswer::OtherName(vec!["a".to_owned()]), Level::Wrong, "a certificate for a", "made for the name"),
            (NoAnswer::Ended, Level::Wrong, "has ended", "put a new one"),
            (NoAnswer::NotBegun, Level::Wrong, "does not count yet", "timedatectl"),
            (NoAnswer::WantsCertificate, Level::Note, "only hosts that show a certificate", "curl --cert"),
            (NoAnswer::Tls("x".to_owned()), Level::Wrong, "no TLS that hosts could use: x", "s_client"),
        ] {
            let site = &mut facts.sites[0];
            (site.packages, site.cab) = (Err(why.clone()), Err(why));
            let found = agents(&config(), &facts);
            assert!(found.len() == 1 && found[0].level == level && found[0].what.contains(words), "{found:?}");
            assert!(found[0].cure.as_ref().unwrap().contains(cure), "{found:?}");
        }
        for (ends, level) in [(NOW + SOON_SECONDS, Level::Right), (NOW + SOON_SECONDS - 1, Level::Note)] {
            facts.sites[0].ends = Some(ends);
            assert_eq!(agents(&config(), &facts)[1].level, level);
        }
    }

    #[test]
    fn a_mirror_of_waptwua_alone_is_told_what_agents_probe() {
        let mut facts = facts();
        facts.sites[0].packages.as_mut().unwrap().status = 404;
        let found = agents(&config(), &facts);
        assert!(
            found[0].level == Level::Note && found[0].cure.as_ref().unwrap().contains("mirror `wapt` as well"),
            "{found:?}"
        );
        facts.is_wapt_server = true;
        assert_eq!(agents(&config(), &facts).len(), 2);
    }

    #[test]
    fn wapts_own_sync_of_our_folders_is_wrong() {
        let mut facts = facts();
        let mut config = config();
        config.role = Role::Secondary;
        let sync = |text: &str| AgentIni::parse(text).repo_sync;
        facts.wapt_sync = sync("[repo-sync]\nenable_remote_repo=True\n");
        assert!(wrong(&wapt(&config, &facts))[0].contains("writes waptwua too"));
        facts.wapt_sync = sync("[repo-sync]\nenable_remote_repo=True\nremote_repo_dirs=wapt\n");
        assert_eq!(wapt(&config, &facts)[0].level, Level::Right);
        facts.wapt_sync = sync("[repo-sync]\n");
        assert_eq!(wapt(&config, &facts), []);
    }

    #[test]
    fn a_main_that_believes_nobody_is_told() {
        let mut facts = facts();
        facts.trusts_somebody = Ok(false);
        assert_eq!(trust(&config(), &facts)[0].level, Level::Note);
        facts.trusts_somebody = Err("x".to_owned());
        assert_eq!(trust(&config(), &facts)[0].level, Level::Wrong);
    }
}
