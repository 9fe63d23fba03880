//! A node on one screen. Pure.

use crate::{
    base::units,
    cli::{
        out::{Style, printable},
        table::Table,
    },
    daemon::{
        api::{
            AttentionReport, ChildReport, EditionStatus, FolderReport, HostsReport, MirrorReport, ParentReport,
            RepositoryReport, ScrubState, StatusReport, TransferReport, WantsSummary,
        },
        config::Rate,
    },
};
use std::time::Duration;

/// As many digits of a line's key as people compare.
const SHORT_LINE: usize = 8;

/// The page, `now` in seconds since 1970 UTC.
pub(super) fn page(report: &StatusReport, now: u64, style: Style) -> String {
    let sections = [
        head(report, style),
        attention(&report.attention, now, style),
        folders(&report.folders, style),
        report.parent.as_ref().map(|found| parent(found, now, style)).unwrap_or_default(),
        report.mirror.as_ref().map(|found| mirror(found, report, now)).unwrap_or_default(),
        children(&report.children, now, style),
        repositories(&report.repositories, now, style),
        transfers(report, style),
        report.wants.map(|summary| wants(&summary)).unwrap_or_default(),
        report.edition.as_ref().map(edition).unwrap_or_default(),
        report.hosts.map(|counts| hosts(&counts)).unwrap_or_default(),
        report.scrub.map(|state| scrub(&state, now, style)).unwrap_or_default(),
    ];
    let filled: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    filled.join("\n")
}

fn head(report: &StatusReport, style: Style) -> String {
    let name = style.bold(&printable(&report.name));
    let version = printable(&report.version);
    let (site, role, line) = (printable(&report.site), report.role, line(report));
    format!("{name} ({site}), {role}, wuasync {version}\n{line}\n{}\n", verdict(report, style))
}

/// What somebody who was woken up wants to know first.
fn verdict(report: &StatusReport, style: Style) -> String {
    let lag = report.lag();
    match report.attention.len() {
        0 if report.line.is_none() => "nothing is wrong, and nothing is mirrored yet".to_owned(),
        0 if lag.missing_files > 0 => {
            format!(
                "nothing is wrong; {} files ({}) are still to come",
                lag.missing_files,
                units::bytes(lag.missing_bytes)
            )
        }
        0 => "all is well".to_owned(),
        1 => style.alarm("one thing is wrong:"),
        things => style.alarm(&format!("{things} things are wrong:")),
    }
}

fn line(report: &StatusReport) -> String {
    let Some(line) = &report.line else { return "no line yet: see `wuasync join`".to_owned() };
    let line: String = printable(line).chars().take(SHORT_LINE).collect();
    let state = &report.state;
    let age = state.head_age_seconds.map(|age| format!(", signed {} ago", seconds(age))).unwrap_or_default();
    format!("line {line}, epoch {}, seq {}{age}", state.epoch, state.seq)
}

fn folders(folders: &[FolderReport], style: Style) -> String {
    let mut table = Table::new(&["FOLDER", ">FILES", ">SIZE", ">HELD", ">MISSING", ">", "PATH"]);
    for folder in folders {
        table.row([
            folder.name.to_string(),
            folder.files.to_string(),
            units::bytes(folder.bytes),
            folder.held_files.to_string(),
            folder.missing_files.to_string(),
            if folder.missing_files == 0 { String::new() } else { units::bytes(folder.missing_bytes) },
            folder.path.clone(),
        ]);
    }
    table.show(style, "") + &folders.iter().map(folder_notes).collect::<String>()
}

fn folder_notes(folder: &FolderReport) -> String {
    let adopting = folder.adopting.map(|progress| {
        let done = percent(progress.done_bytes, progress.total_bytes);
        format!("reading what is there: {} of {} files, {done} %", progress.done_files, progress.total_files)
    });
    let counts = [
        (folder.unlisted, "unlisted (`wuasync files list --unlisted`)"),
        (folder.incomplete, "incomplete (`wuasync files list --incomplete`)"),
        (folder.refused, "left alone for their names, kinds or rights (`wuasync files list --refused`)"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    adopting.into_iter().chain(counts).map(|note| format!("  {}: {note}\n", folder.name)).collect()
}

fn parent(parent: &ParentReport, now: u64, style: Style) -> String {
    let since = parent.since.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    let state =
        if parent.connected { format!("connected{since}") } else { style.alarm(&format!("not connected{since}")) };
    let why = parent.last_error.as_ref().map(|error| format!("\n  {}", printable(error))).unwrap_or_default();
    format!("parent {} at {}: {state}{why}\n", style.bold(&printable(&parent.name)), printable(&parent.address))
}

fn mirror(mirror: &MirrorReport, report: &StatusReport, now: u64) -> String {
    let on_miss = "files come when hosts ask for them; those that are here are kept up to date\n";
    let mode = if mirror.on_miss { on_miss } else { "" };
    let Some(window) = &mirror.window else { return mode.to_owned() };
    let left = mirror.changes_at.map(|at| format!(" in {}", seconds(at.saturating_sub(now)))).unwrap_or_default();
    let lag = report.lag();
    let waiting = match (mirror.is_open, lag.missing_files) {
        (true, _) => format!("open, closes{left}"),
        (false, 0) => format!("closed, opens{left}"),
        (false, files) => {
            let bytes = units::bytes(lag.missing_bytes);
            format!("closed, opens{left}; {files} files with {bytes} wait, hosts get what they ask for meanwhile")
        }
    };
    format!("{mode}window {}: {waiting}\n", printable(window))
}

fn children(children: &[ChildReport], now: u64, style: Style) -> String {
    let mut table = Table::new(&["CHILD", "SITE", "ADDRESS", ">CONNECTED", ">SEQ", ">MISSING", ">"]);
    for child in children {
        table.row([
            child.name.clone(),
            child.site.clone(),
            child.address.clone(),
            age(child.connected_since, now),
            child.seq.to_string(),
            child.missing_files.to_string(),
            if child.missing_files == 0 { String::new() } else { units::bytes(child.missing_bytes) },
        ]);
    }
    table.show(style, "")
}

fn edition(status: &EditionStatus) -> String {
    let EditionStatus { edition, withdrawn } = status;
    let created = units::date(edition.created).unwrap_or_default();
    let withdrawn = withdrawn.map(|withdrawn| {
        let cab = units::date(withdrawn.modified).unwrap_or_default();
        format!("; that of the cabinet of {cab} was taken back, `wuasync refresh --force` publishes it again")
    });
    format!(
        "Microsoft's index: the edition of {created}, {} updates{}\n",
        edition.updates,
        withdrawn.unwrap_or_default()
    )
}

/// All sites, where there are others; how they are reached is in `repositories list`.
fn repositories(repositories: &[RepositoryReport], now: u64, style: Style) -> String {
    let mut table = Table::new(&["SITE", "REPOSITORY", "HEARD", ">LACKS", ">", ">ARRIVING", "WHOLE"]);
    for repository in repositories.iter().filter(|repository| !repository.is_here) {
        let whole = match (repository.lag_files, repository.whole_at) {
            (0, _) => "yes".to_owned(),
            (_, Some(at)) => format!("in {}", seconds(at.saturating_sub(now))),
            (_, None) => "nothing arrives".to_owned(),
        };
        let late = if repository.is_late { ": late" } else { "" };
        table.row([
            repository.site.clone(),
            repository.name.clone(),
            repository.silent_seconds.map_or_else(|| "never".to_owned(), |silent| format!("{} ago", seconds(silent))),
            repository.lag_files.to_string(),
            if repository.lag_files == 0 { String::new() } else { units::bytes(repository.lag_bytes) },
            format!("{}/s", units::bytes(repository.arriving_bytes_per_second)),
            format!("{whole}{late}"),
        ]);
    }
    table.show(style, "")
}

fn transfers(report: &StatusReport, style: Style) -> String {
    let rates = report.rates;
    let is_quiet = report.transfers.is_empty() && rates.in_bytes_per_second == 0 && rates.out_bytes_per_second == 0;
    let limit = rates.limit_bits_per_second.map(|bits_per_second| Rate { bits_per_second });
    if is_quiet {
        return limit.map(|limit| format!("limit {limit}\n")).unwrap_or_default();
    }
    let limit = limit.map(|limit| format!(", limit {limit}")).unwrap_or_default();
    let traffic = format!(
        "in {}/s, out {}/s{limit}\n",
        units::bytes(rates.in_bytes_per_second),
        units::bytes(rates.out_bytes_per_second)
    );
    let mut table = Table::new(&["TRANSFER", ">DONE", ">SIZE", "FROM"]);
    for TransferReport { folder, name, done_bytes, size_bytes, from } in &report.transfers {
        let done = format!("{} %", percent(*done_bytes, *size_bytes));
        table.row([format!("{folder}/{name}"), done, units::bytes(*size_bytes), from.clone()]);
    }
    traffic + &table.show(style, "")
}

fn wants(summary: &WantsSummary) -> String {
    let WantsSummary { files, open, conflicts } = summary;
    let conflicts = match conflicts {
        0 => String::new(),
        files => format!("; of {files}, several contents were told (`wuasync want list --conflicts`)"),
    };
    format!("{files} files are wanted, {open} of them not here yet (`wuasync want list`){conflicts}\n")
}

fn hosts(hosts: &HostsReport) -> String {
    let HostsReport { known, reported_lately, stale, waiting } = hosts;
    let mut text = match known {
        0 => "nothing was ever told of any host (`wuasync hosts enroll`, `wuasync hosts import`)".to_owned(),
        1 => format!("1 host is known, {reported_lately} heard of within a day (`wuasync hosts list`)"),
        _ => format!("{known} hosts are known, {reported_lately} of them heard of within a day (`wuasync hosts list`)"),
    };
    if *stale > 0 {
        text += &format!("; {stale} not for 45 days");
    }
    if *waiting > 0 {
        text += &format!("; {waiting} wait for `wuasync hosts approve`");
    }
    text + "\n"
}

fn scrub(state: &ScrubState, now: u64, style: Style) -> String {
    let last = match state.last_ended_at {
        Some(ended) => format!("every file was verified {} ago", age(ended, now)),
        None => "not every file was verified again yet".to_owned(),
    };
    let pass = state.pass_began_at.map(|_| {
        let done = percent(state.progress.done_bytes, state.progress.total_bytes);
        format!("; {} of {} files of this pass, {done} %", state.progress.done_files, state.progress.total_files)
    });
    let bad = (state.bad_groups > 0).then(|| {
        let bad = format!("{} groups of {} files were damaged", state.bad_groups, state.bad_files);
        let waiting = match state.damaged_files {
            0 => String::new(),
            files => format!(", {files} files wait for good bytes"),
        };
        format!("\n  {}; {} groups are healed{waiting}", style.alarm(&bad), state.healed_groups)
    });
    format!("{last}{}{}\n", pass.unwrap_or_default(), bad.unwrap_or_default())
}

fn attention(attention: &[AttentionReport], now: u64, style: Style) -> String {
    let entries = attention.iter().map(|entry| {
        let since = entry.since.map(|since| format!(" (for {})", age(since, now))).unwrap_or_default();
        format!("{} {}{since}\n  {}\n", style.alarm("!"), printable(&entry.what), printable(&entry.cure))
    });
    entries.collect()
}

/// 100 only when nothing is left.
fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    u64::try_from(u128::from(done.min(total)) * 100 / u128::from(total)).unwrap_or(100)
}

fn age(since: u64, now: u64) -> String {
    seconds(now.saturating_sub(since))
}

fn seconds(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => units::duration(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::api::{ProgressReport, RatesReport, StateReport},
        domain::{member::Role, name::FolderName},
    };

    fn folder() -> FolderReport {
        FolderReport { bytes: 30 << 30, held_bytes: 29 << 30, missing_bytes: 1 << 30, ..FolderReport::of(1200, 10) }
    }

    fn report() -> StatusReport {
        StatusReport {
            site: "Lyon".to_owned(),
            line: Some("0123456789abcdef".to_owned()),
            state: StateReport { epoch: 7, seq: 42, signed_at: Some(940), head_age_seconds: Some(60) },
            ..StatusReport::quiet(Role::Secondary, "lyon", folder())
        }
    }

    #[test]
    fn a_quiet_node_takes_few_lines() {
        let expected = "\
lyon (Lyon), secondary, wuasync 0.1.0
line 01234567, epoch 7, seq 42, signed 1 min 0 s ago
nothing is wrong; 10 files (1.0 GiB) are still to come

FOLDER   FILES      SIZE  HELD  MISSING           PATH
waptwua   1200  30.0 GiB  1190       10  1.0 GiB  /var/www/waptwua
";
        assert_eq!(page(&report(), 1_000, Style::Plain), expected);
    }

    #[test]
    fn a_main_shows_each_other_site_with_its_lag_and_when_it_will_be_whole() {
        let site = |name: &str, lag_files, whole_at| RepositoryReport {
            name: name.to_owned(),
            site: name.to_uppercase(),
            role: Role::Secondary,
            is_here: name == "paris",
            url: None,
            silent_seconds: Some(7),
            lag_files,
            lag_bytes: lag_files << 20,
            arriving_bytes_per_second: 1 << 20,
            load_bytes_per_second: 0,
            round_trip_ms: None,
            whole_at,
            is_late: name == "lyon",
        };
        let repositories = vec![site("lyon", 60, Some(1_060)), site("nice", 0, None), site("paris", 0, None)];
        let expected = "\
SITE  REPOSITORY  HEARD    LACKS             ARRIVING  WHOLE
LYON  lyon        7 s ago     60  60.0 MiB  1.0 MiB/s  in 1 min 0 s: late
NICE  nice        7 s ago      0            1.0 MiB/s  yes
";
        assert_eq!(super::repositories(&repositories, 1_000, Style::Plain), expected);
    }

    #[test]
    fn wants_take_a_line_where_there_are_any() {
        let wants = WantsSummary { files: 3, open: 2, conflicts: 0 };
        let said = "3 files are wanted, 2 of them not here yet (`wuasync want list`)";
        assert!(
            page(&StatusReport { wants: Some(wants), ..report() }, 1, Style::Plain).ends_with(&format!("{said}\n"))
        );
        let told = self::wants(&WantsSummary { conflicts: 1, ..wants });
        assert_eq!(told, format!("{said}; of 1, several contents were told (`wuasync want list --conflicts`)\n"));
    }

    #[test]
    fn hosts_are_counted_and_none_at_all_is_told_apart() {
        let none = hosts(&HostsReport { waiting: 2, ..HostsReport::default() });
        assert!(none.starts_with("nothing was ever told of any host"), "{none}");
        assert!(none.ends_with("; 2 wait for `wuasync hosts approve`\n"), "{none}");
        let some = HostsReport { known: 9, reported_lately: 5, stale: 1, waiting: 0 };
        let said = "9 hosts are known, 5 of them heard of within a day (`wuasync hosts list`); 1 not for 45 days\n";
        assert!(page(&StatusReport { hosts: Some(some), ..report() }, 1, Style::Plain).ends_with(said));
    }

    #[test]
    fn a_limit_is_told_beside_the_traffic_and_alone() {
        let rates = RatesReport { limit_bits_per_second: Some(50_000_000), ..RatesReport::default() };
        let quiet = StatusReport { rates, ..report() };
        assert_eq!(transfers(&quiet, Style::Plain), "limit 50 Mbit/s\n");
        let busy = StatusReport { rates: RatesReport { in_bytes_per_second: 1_024, ..rates }, ..report() };
        assert_eq!(transfers(&busy, Style::Plain), "in 1.0 KiB/s, out 0 B/s, limit 50 Mbit/s\n");
    }

    #[test]
    fn a_window_tells_when_it_opens_or_closes_and_what_waits() {
        let closed = MirrorReport {
            on_miss: false,
            window: Some("20:30-05:30".to_owned()),
            is_open: false,
            changes_at: Some(4_600),
        };
        let said = |found: &MirrorReport, report: &StatusReport| mirror(found, report, 1_000);
        let waits = "window 20:30-05:30: closed, opens in 1 h 0 min; 10 files with 1.0 GiB wait, hosts get what they \
                     ask for meanwhile\n";
        assert_eq!(said(&closed, &report()), waits);
        let whole = StatusReport { folders: Vec::new(), ..report() };
        assert_eq!(said(&closed, &whole), "window 20:30-05:30: closed, opens in 1 h 0 min\n");
        let open = MirrorReport { is_open: true, ..closed.clone() };
        assert_eq!(said(&open, &report()), "window 20:30-05:30: open, closes in 1 h 0 min\n");
        assert_eq!(said(&MirrorReport { window: None, ..open }, &report()), "");
        let on_miss = MirrorReport { on_miss: true, window: None, ..closed };
        assert!(said(&on_miss, &report()).starts_with("files come when hosts ask"));
    }

    #[test]
    fn verifying_tells_when_it_ended_how_far_it_is_and_what_it_found() {
        let progress = ProgressReport { done_files: 3, total_files: 9, done_bytes: 999, total_bytes: 1000 };
        let quiet = ScrubState { last_ended_at: Some(940), ..ScrubState::default() };
        assert_eq!(scrub(&quiet, 1_000, Style::Plain), "every file was verified 1 min 0 s ago\n");
        let found = ScrubState { bad_groups: 5, healed_groups: 4, bad_files: 2, damaged_files: 1, ..quiet };
        let running = ScrubState { last_ended_at: None, pass_began_at: Some(1), progress, ..found };
        let expected = "not every file was verified again yet; 3 of 9 files of this pass, 99 %\n  \
                        5 groups of 2 files were damaged; 4 groups are healed, 1 files wait for good bytes\n";
        assert_eq!(scrub(&running, 1_000, Style::Plain), expected);
    }

    #[test]
    fn before_it_has_joined_there_is_no_state_to_show() {
        let page = page(&StatusReport { line: None, ..report() }, 1_000, Style::Plain);
        assert_eq!(page.lines().nth(1), Some("no line yet: see `wuasync join`"));
    }

    #[test]
    fn everything_that_goes_on_has_its_place() {
        let mut report = report();
        let progress = ProgressReport { done_files: 3, total_files: 9, done_bytes: 999, total_bytes: 1000 };
        report.folders = vec![FolderReport { adopting: Some(progress), unlisted: 2, refused: 1, ..folder() }];
        report.parent = Some(ParentReport {
            name: "paris".to_owned(),
            address: "paris.example:4443".to_owned(),
            connected: false,
            since: Some(880),
            last_error: Some("timed out\x1b[2J".to_owned()),
        });
        report.children = vec![ChildReport {
            name: "annecy".to_owned(),
            site: "Annecy".to_owned(),
            address: "192.0.2.1:5".to_owned(),
            connected_since: 995,
            epoch: 7,
            seq: 41,
            missing_files: 0,
            missing_bytes: 0,
        }];
        report.transfers = vec![TransferReport {
            folder: FolderName::new("waptwua").unwrap(),
            name: "x.cab".to_owned(),
            done_bytes: 1,
            size_bytes: 3,
            from: "paris".to_owned(),
        }];
        report.rates.in_bytes_per_second = 2048;
        report.attention = vec![AttentionReport {
            what: "the disk is full".to_owned(),
            since: Some(1_000),
            cure: "make room".to_owned(),
        }];
        let expected = "\
  waptwua: reading what is there: 3 of 9 files, 99 %
  waptwua: 2 unlisted (`wuasync files list --unlisted`)
  waptwua: 1 left alone for their names, kinds or rights (`wuasync files list --refused`)

parent paris at paris.example:4443: not connected for 2 min 0 s
  timed out\u{fffd}[2J

CHILD   SITE    ADDRESS      CONNECTED  SEQ  MISSING
annecy  Annecy  192.0.2.1:5        5 s   41        0

in 2.0 KiB/s, out 0 B/s
TRANSFER       DONE  SIZE  FROM
waptwua/x.cab  33 %   3 B  paris
";
        let page = page(&report, 1_000, Style::Plain);
        assert!(page.ends_with(expected), "{page}");
        let top: Vec<_> = page.lines().skip(2).take(4).collect();
        assert_eq!(top, ["one thing is wrong:", "", "! the disk is full (for 0 s)", "  make room"]);
    }

    #[test]
    fn a_hundred_percent_is_said_only_at_the_end() {
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(5, 0)), (99, 100, 100));
        assert_eq!(percent(u64::MAX - 1, u64::MAX), 99);
    }
}
