//! `wuasync hosts`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{
        client::percent_encoded,
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        progress,
        table::Table,
    },
    daemon::api::{
        self, CarriedHosts, EnrolReply, EnrolRequest, HostStory, HostSummary, HostVerb, HostVerbReply, HostVerbRequest,
        HostsPage, ImportHostsReply,
    },
    domain::host::HostUuid,
};
use std::{fs, path::PathBuf, time::Duration};

/// Most bytes of a file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Hosts {
    /// List hosts: when they reported, and how many of their updates stand how
    List(ListArgs),
    /// Show one host: each of its updates, where it stands and why
    Show {
        /// Its UUID, or its name
        host: String,
        /// Only updates in this state
        #[arg(long, value_parser = ["ok", "missing", "pending", "discarded"], ignore_case = true)]
        state: Option<String>,
    },
    /// Make a token that lets hosts enrol themselves
    Enroll(EnrolArgs),
    /// Believe a host's reports from here on: the key that waits for it
    Approve {
        /// Its UUID
        uuid: HostUuid,
    },
    /// Believe a host's reports no more; what is known of it stays
    Revoke {
        /// Its UUID
        uuid: HostUuid,
    },
    /// Forget what is known of a host, and its key
    Forget {
        /// Its UUID
        uuid: HostUuid,
    },
    /// Take facts of hosts from a file: a report of WAPT's agent as JSON, or a list of them
    Import {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those of this site
    #[arg(long)]
    site: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EnrolArgs {
    /// How many hosts it is good for
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration)]
    expires: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).ok_or_else(|| format!("{text:?} is no duration; write it as 7d, 12h or 30m"))
}

pub(super) async fn run(command: &Hosts, context: &Context) -> Result<Exit, CliError> {
    match command {
        Hosts::List(args) => list(args, context).await,
        Hosts::Show { host, state } => show(host, state.as_deref(), context).await,
        Hosts::Enroll(args) => enroll(args, context).await,
        Hosts::Approve { uuid } => act(uuid, HostVerb::Approve, context).await,
        Hosts::Revoke { uuid } => act(uuid, HostVerb::Revoke, context).await,
        Hosts::Forget { uuid } => act(uuid, HostVerb::Forget, context).await,
        Hosts::Import { file } => import(file, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let mut all = HostsPage::default();
    loop {
        let left = args.limit.saturating_sub(all.hosts.len()).min(200);
        let mut query = format!("{}?limit={left}", api::HOSTS);
        if let Some(site) = &args.site {
            query += &format!("&site={}", percent_encoded(site));
        }
        if let Some(after) = &all.next {
            query += &format!("&after={}", percent_encoded(after.as_str()));
        }
        let page: HostsPage = client.get(&query).await?;
        all.known = page.known;
        all.hosts.extend(page.hosts);
        all.waiting.extend(page.waiting);
        all.next = page.next;
        all.carried = page.carried;
        if all.next.is_none() || all.hosts.len() >= args.limit {
            break;
        }
    }
    context.out().answer(&all, |style| listed(&all, args.site.as_deref(), style, SystemClock.unix_seconds()))?;
    Ok(Exit::Done)
}

fn listed(page: &HostsPage, site: Option<&str>, style: Style, now: u64) -> String {
    if let Some(carried) = &page.carried {
        return self::carried(carried);
    }
    let mut text = String::new();
    if !page.hosts.is_empty() {
        let mut table =
            Table::new(&["HOST", "NAME", "SITE", "SEEN", ">OK", ">MISSING", ">PENDING", ">DISCARDED", "REPORTS"]);
        for host in &page.hosts {
            let counts = &host.counts;
            table.row([
                host.uuid.to_string(),
                printable(host.name.as_deref().unwrap_or_default()),
                printable(host.site.as_deref().unwrap_or_default()),
                seen(host, now),
                counts.ok.to_string(),
                counts.missing.to_string(),
                counts.pending.to_string(),
                counts.discarded.to_string(),
                host.standing.clone().unwrap_or_else(|| format!("by {}", host.from)),
            ]);
        }
        text += &table.show(style, "");
    }
    if page.known == 0 {
        text += "nothing was ever told of any host; `wuasync hosts enroll` lets hosts report, `wuasync hosts import` takes a file\n";
    }
    if let Some(site) = site.filter(|_| page.known > 0 && page.hosts.is_empty()) {
        text += &format!("no host of site {} is known\n", printable(site));
    }
    if page.next.is_some() {
        text += "there are more: --limit\n";
    }
    for host in &page.waiting {
        let since = units::duration(Duration::from_secs(now.saturating_sub(host.since)));
        let from = printable(&host.from);
        text +=
            &format!("waits for `wuasync hosts approve {}` since {since}: key {}, from {from}\n", host.uuid, host.key);
    }
    text.trim_end().to_owned()
}

fn carried(carried: &CarriedHosts) -> String {
    let CarriedHosts { main, waiting, hosts } = carried;
    let reports = match waiting {
        0 => "no report waits for the parent".to_owned(),
        1 => "one report waits for the parent".to_owned(),
        more => format!("{more} reports wait for the parent"),
    };
    let mut uuids: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    let more = waiting.saturating_sub(hosts.len() as u64);
    if more > 0 {
        uuids.push(format!("and {more} more"));
    }
    let of = if uuids.is_empty() { String::new() } else { format!(": {}", uuids.join(", ")) };
    let cure = match main {
        Some(main) => format!("ask the main, {}, with `wuasync hosts list`", printable(main)),
        None => "it has no main yet: `wuasync join` with a token of the main".to_owned(),
    };
    format!("this node is a secondary and keeps no facts of hosts; {cure}\n{reports}{of}")
}

fn seen(host: &HostSummary, now: u64) -> String {
    let ago = units::duration(Duration::from_secs(now.saturating_sub(host.seen_at)));
    if host.stale { format!("{ago} ago, stale") } else { format!("{ago} ago") }
}

async fn show(host: &str, state: Option<&str>, context: &Context) -> Result<Exit, CliError> {
    let path = format!("{}/{}", api::HOSTS, percent_encoded(host));
    let mut story: HostStory = context.client().await?.get(&path).await?;
    if let Some(state) = state {
        story.updates.retain(|update| update.state.eq_ignore_ascii_case(state));
    }
    context.out().answer(&story, |style| shown(&story, style, SystemClock.unix_seconds()))?;
    Ok(Exit::Done)
}

fn shown(story: &HostStory, style: Style, now: u64) -> String {
    let host = &story.host;
    let ago = |at: u64| format!("{} ago", units::duration(Duration::from_secs(now.saturating_sub(at))));
    let mut page = format!("{}\n", style.bold(&printable(host.name.as_deref().unwrap_or(host.uuid.as_str()))));
    let mut line = |what: &str, text: String| {
        if !text.is_empty() {
            page += &format!("{what:<17}{}\n", printable(&text));
        }
    };
    line("uuid", host.uuid.to_string());
    line("site", host.site.clone().unwrap_or_default());
    line("maturity", host.maturity.clone());
    line("seen", seen(host, now));
    line("scanned", host.scanned_at.map(ago).unwrap_or_default());
    line("facts from", host.from.clone());
    line("reports", host.standing.clone().unwrap_or_default());
    line("key", story.key.clone().unwrap_or_default());
    line("agent says", story.status.clone().unwrap_or_default());
    line("last error", story.last_error.clone().unwrap_or_default());
    line("installed", story.last_install_at.map(ago).unwrap_or_default());
    line("restart", if story.reboot_required { "required".to_owned() } else { String::new() });
    line("rule packages", story.rule_packages.as_ref().map(|packages| packages.join(", ")).unwrap_or_default());
    for url in &story.missing_downloads {
        line("asked in vain", url.clone());
    }
    let counts = host.counts;
    let held_back = match counts.delayed {
        0 => String::new(),
        delayed => format!(" ({delayed} of these held back for a while)"),
    };
    line(
        "updates",
        format!(
            "{} OK, {} MISSING, {} PENDING, {} DISCARDED{}",
            counts.ok, counts.missing, counts.pending, counts.discarded, held_back
        ),
    );
    if story.updates.is_empty() {
        return page.trim_end().to_owned();
    }
    let mut table = Table::new(&["STATE", "KB", "UPDATE", "WHY", "TITLE"]);
    for update in &story.updates {
        table.row([
            update.state.clone(),
            update.kbs.join(" "),
            update.id.clone(),
            printable(&update.why),
            printable(update.title.as_deref().unwrap_or_default()),
        ]);
    }
    format!("{page}\n{}", table.show(style, "")).trim_end().to_owned()
}

async fn enroll(args: &EnrolArgs, context: &Context) -> Result<Exit, CliError> {
    let request = EnrolRequest { uses: args.uses, valid_for: args.expires.as_secs() };
    let reply: EnrolReply = context.client().await?.post(&format!("{}/enroll", api::HOSTS), &request).await?;
    context.out().answer(&reply, |_| {
        let hosts = if args.uses == 1 { "one host".to_owned() } else { format!("{} hosts", args.uses) };
        format!("good for {hosts} and {}:\n{}", units::duration(args.expires), reply.token)
    })?;
    Ok(Exit::Done)
}

async fn act(uuid: &HostUuid, verb: HostVerb, context: &Context) -> Result<Exit, CliError> {
    let path = format!("{}/{}", api::HOSTS, percent_encoded(uuid.as_str()));
    let reply: HostVerbReply = context.client().await?.post(&path, &HostVerbRequest { verb }).await?;
    context.out().answer(&reply, |_| {
        let key = reply.key.as_deref().unwrap_or("none");
        match verb {
            HostVerb::Approve => format!("reports of {uuid} are believed when signed by key {key}"),
            HostVerb::Revoke => format!("reports of {uuid} are believed no more, whoever signs them"),
            HostVerb::Forget => format!("nothing is known of {uuid} any more"),
        }
    })?;
    Ok(Exit::Done)
}

async fn import(file: &PathBuf, context: &Context) -> Result<Exit, CliError> {
    let unreadable = |source| CliError::File { path: file.clone(), source };
    let opened = fs::File::open(file).map_err(unreadable)?;
    let size = opened.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE_BYTES {
        return Err(CliError::Usage(format!("{} has more than 64 MiB: split it", file.display())));
    }
    let mut client = context.client().await?;
    let bar = progress::bytes_bar("reading hosts".to_owned());
    bar.set_length(size);
    let sending = bar.clone();
    let sent = client.upload(api::HOSTS, opened, size, move |bytes| sending.inc(bytes)).await;
    bar.finish_and_clear();
    let reply: ImportHostsReply = sent?;
    context.out().answer(&reply, |_| imported(&reply))?;
    Ok(if reply.refused.is_empty() { Exit::Done } else { Exit::Failed })
}

fn imported(reply: &ImportHostsReply) -> String {
    let mut text = format!("facts of {} were taken, {} of them new", units::count(reply.hosts, "host"), reply.new);
    if reply.skipped > 0 {
        text += &format!("; passed over, for it made no sense: {}", units::count(reply.skipped, "part"));
    }
    reply.refused.iter().for_each(|why| text += &format!("\n{}", printable(why)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::out::Out,
        daemon::api::{HostCounts, HostUpdateReport, WaitingHost},
    };

    fn summary() -> HostSummary {
        HostSummary {
            uuid: HostUuid::new("u1").unwrap(),
            name: Some("pc\x1b1".to_owned()),
            site: Some("Lyon".to_owned()),
            maturity: "PROD".to_owned(),
            seen_at: 1_000,
            scanned_at: None,
            stale: true,
            from: "report".to_owned(),
            standing: Some("enrolled".to_owned()),
            counts: HostCounts { ok: 7, missing: 1, ..HostCounts::default() },
        }
    }

    #[test]
    fn no_host_at_all_is_told_apart_from_hosts_and_those_that_wait_have_their_cure() {
        let style = Out::new(false).style();
        let none = listed(&HostsPage::default(), None, style, 0);
        assert!(none.starts_with("nothing was ever told of any host"), "{none}");
        let waiting = WaitingHost {
            uuid: HostUuid::new("w").unwrap(),
            key: "abc".to_owned(),
            since: 0,
            from: "192.0.2.0/24".to_owned(),
        };
        let page = HostsPage { known: 1, hosts: vec![summary()], waiting: vec![waiting], next: None, carried: None };
        let text = listed(&page, None, style, 1_000 + 86_400 * 50);
        for part in ["pc\u{fffd}1", "50 d 0 h ago, stale", "`wuasync hosts approve w`", "key abc"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_site_without_hosts_is_told() {
        let page = HostsPage { known: 1, ..HostsPage::default() };
        assert_eq!(listed(&page, Some("x"), Out::new(false).style(), 0), "no host of site x is known");
    }

    #[test]
    fn a_secondary_tells_whose_reports_wait_and_where_to_ask() {
        let text = |main: Option<&str>, waiting, hosts: &[&str]| {
            let hosts = hosts.iter().map(|uuid| HostUuid::new(uuid).unwrap()).collect();
            let carried = CarriedHosts { main: main.map(str::to_owned), waiting, hosts };
            listed(&HostsPage { carried: Some(carried), ..HostsPage::default() }, None, Out::new(false).style(), 0)
        };
        let three = text(Some("paris"), 3, &["a", "b"]);
        assert!(three.contains("ask the main, paris, with `wuasync hosts list`"), "{three}");
        assert!(three.ends_with("3 reports wait for the parent: a, b, and 1 more"), "{three}");
        let none = text(None, 0, &[]);
        assert!(none.contains("`wuasync join`") && none.ends_with("no report waits for the parent"), "{none}");
    }

    #[test]
    fn each_update_of_a_host_comes_with_its_reason() {
        let update = HostUpdateReport {
            id: "id_1".to_owned(),
            kbs: vec!["KB5".to_owned()],
            title: None,
            state: "DISCARDED".to_owned(),
            need: "later".to_owned(),
            why: "held back by install_delay".to_owned(),
        };
        let story = HostStory {
            host: summary(),
            status: None,
            last_error: Some("disk full".to_owned()),
            reboot_required: true,
            last_install_at: None,
            rule_packages: None,
            missing_downloads: vec!["http://h/a.cab".to_owned()],
            key: None,
            updates: vec![update],
        };
        let text = shown(&story, Out::new(false).style(), 2_000);
        for part in
            ["DISCARDED", "KB5", "held back by install_delay", "disk full", "required", "http://h/a.cab", "7 OK"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
