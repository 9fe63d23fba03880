//! What a WAPT agent reports of its host, as JSON: `waptwua_status`, `waptwua_updates` (details) and
//! `waptwua_updates_localstatus` (where each update stands), beside who it is.
//!
//! Keys that nobody knows are passed over, and so is a part that makes no sense in itself; how many of them is
//! told. A report without `waptwua_updates_localstatus` says nothing of the host's updates, which is another thing
//! than that it has none.

use super::loose::{MOST_TEXTS, Objects, Packages, Text, Texts};
use crate::{
    base::units,
    domain::{
        edition::Kb,
        guid::Guid,
        host::{
            AgentStatus, HostFacts, HostReport, HostSettings, HostUuid, LocalFlags, LocalUpdate, MAX_HOST_UPDATES,
            MAX_UPDATE_URLS, Maturity, ToldUpdate, UpdateTraits,
        },
        member::{HostName, SiteName},
        origin::OriginUrl,
        update::UpdateId,
    },
};
use jiff::{fmt::temporal::Pieces, tz::Offset};
use serde::Deserialize;
use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

/// Most names in one list of an update.
const MAX_LABELS: usize = 64;
/// Most characters of a text that is shown to people.
const MAX_TEXT: usize = 500;

/// A text that is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadReportError {
    /// No JSON, or another shape.
    #[error("no report of a host")]
    Json(#[from] serde_json::Error),
    /// It does not say whose it is.
    #[error("the report names no host")]
    NoUuid,
    /// It is another host's.
    #[error("the report is of another host: {0}")]
    OtherUuid(HostUuid),
    /// More updates than any host has.
    #[error("more than {MAX_HOST_UPDATES} updates")]
    TooMany,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Raw<'a> {
    uuid: Text<'a>,
    name: Text<'a>,
    computer_name: Text<'a>,
    computer_fqdn: Text<'a>,
    site: Text<'a>,
    maturity: Text<'a>,
    last_seen_on: Text<'a>,
    host_info: Option<Identity<'a>>,
    waptwua_status: Option<Status<'a>>,
    waptwua_settings: Option<Settings<'a>>,
    waptwua_updates: Objects<Told, MAX_HOST_UPDATES>,
    waptwua_updates_localstatus: Objects<Stands, MAX_HOST_UPDATES>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Identity<'a> {
    computer_name: Text<'a>,
    computer_fqdn: Text<'a>,
    site: Text<'a>,
    maturity: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Settings<'a> {
    enabled: Text<'a>,
    direct_download: Text<'a>,
    default_allow: Text<'a>,
    include_potentially_superseded_updates: Text<'a>,
    install_delay: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Status<'a> {
    enabled: Text<'a>,
    status: Text<'a>,
    wsusscn2cab_date: Text<'a>,
    last_scan_date: Text<'a>,
    last_scan_duration: Text<'a>,
    last_install_date: Text<'a>,
    last_install_result: Text<'a>,
    last_install_reboot_required: Text<'a>,
    missing_downloads: Texts<'a>,
    rules_packages: Packages<'a>,
    last_error: Text<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Update<'a> {
    update_id: Text<'a>,
    title: Text<'a>,
    kbids: Texts<'a>,
    severity: Text<'a>,
    changetime: Text<'a>,
    product: Texts<'a>,
    classification: Texts<'a>,
    download_urls: Texts<'a>,
    superseded_update_ids: Texts<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct Local<'a> {
    update_id: Text<'a>,
    allowed: Text<'a>,
    installed: Text<'a>,
    present: Text<'a>,
    hidden: Text<'a>,
    downloaded: Text<'a>,
    delayed: Text<'a>,
    install_date: Text<'a>,
}

/// Reads one report that came in at `seen_at` (seconds since 1970 UTC), unless it says itself when the host was seen
/// last. With `of`, it must be that host's.
pub fn read_report(json: &[u8], of: Option<&HostUuid>, seen_at: u64) -> Result<HostReport, ReadReportError> {
    read(serde_json::from_slice(json)?, of, seen_at)
}

/// Reads a list of reports, as one host's file or as many hosts'. Those that can't be read are told in their place.
pub fn read_reports(json: &[u8], seen_at: u64) -> Result<Vec<Result<HostReport, ReadReportError>>, ReadReportError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum File {
        Many(Vec<serde_json::Value>),
        One(serde_json::Value),
    }
    let values = match serde_json::from_slice(json)? {
        File::Many(values) => values,
        File::One(value) => vec![value],
    };
    Ok(values.iter().map(|value| read(Raw::deserialize(value)?, None, seen_at)).collect())
}

/// Reads a list of what is told of updates, as the details of a report have it.
pub fn read_details(json: &[u8]) -> Result<BTreeMap<UpdateId, ToldUpdate>, ReadReportError> {
    Ok(told_updates(serde_json::from_slice(json)?, &mut 0))
}

fn read(raw: Raw<'_>, of: Option<&HostUuid>, seen_at: u64) -> Result<HostReport, ReadReportError> {
    let told = raw.uuid.said().and_then(|text| HostUuid::new(text).ok());
    let uuid = match (told, of) {
        (Some(told), Some(of)) if told != *of => return Err(ReadReportError::OtherUuid(told)),
        (told, of) => told.or_else(|| of.cloned()).ok_or(ReadReportError::NoUuid)?,
    };
    let (details, locals) = (raw.waptwua_updates, raw.waptwua_updates_localstatus);
    if details.is_more || locals.is_more {
        return Err(ReadReportError::TooMany);
    }
    let mut skipped = 0;
    let has_updates = locals.list.is_some();
    let updates = local_updates(locals.list.unwrap_or_default(), &mut skipped);
    let told = told_updates(details.list.unwrap_or_default(), &mut skipped);
    let (info, status) = (&raw.host_info.unwrap_or_default(), &raw.waptwua_status.unwrap_or_default());
    let texts = [&raw.computer_fqdn, &info.computer_fqdn, &raw.computer_name, &info.computer_name, &raw.name];
    let name = texts.into_iter().filter_map(Text::said).find_map(|text| HostName::new(text).ok());
    let site = [&raw.site, &info.site].into_iter().filter_map(Text::said).find_map(|text| SiteName::new(text).ok());
    let maturity =
        [&raw.maturity, &info.maturity].into_iter().filter_map(Text::said).find_map(|text| text.parse().ok());
    let missing_downloads = urls(&status.missing_downloads, MOST_TEXTS, &mut skipped);
    let facts = HostFacts {
        uuid,
        name,
        site,
        maturity: maturity.unwrap_or(Maturity::Prod),
        settings: settings(&raw.waptwua_settings.unwrap_or_default(), status),
        rule_packages: rule_packages(&status.rules_packages),
        scanned_at: moment(&status.last_scan_date).map(|at| at.min(seen_at)),
        seen_at: moment(&raw.last_seen_on).map_or(seen_at, |at| at.min(seen_at)),
        updates,
    };
    Ok(HostReport { facts, has_updates, status: agent_status(status), missing_downloads, updates: told, skipped })
}

fn settings(raw: &Settings<'_>, status: &Status<'_>) -> HostSettings {
    let delay = raw.install_delay.said().and_then(units::parse_duration);
    HostSettings {
        enabled: raw.enabled.flag().or_else(|| status.enabled.flag()),
        direct_download: raw.direct_download.flag(),
        default_allow: raw.default_allow.flag(),
        include_potentially_superseded_updates: raw.include_potentially_superseded_updates.flag(),
        install_delay: delay.map(|delay| delay.as_secs()),
    }
}

fn agent_status(raw: &Status<'_>) -> AgentStatus {
    AgentStatus {
        status: shown(&raw.status),
        edition_at: moment(&raw.wsusscn2cab_date),
        scan_seconds: raw.last_scan_duration.number(),
        last_install_at: moment(&raw.last_install_date),
        last_install_result: shown(&raw.last_install_result),
        reboot_required: raw.last_install_reboot_required.flag() == Some(true),
        last_error: shown(&raw.last_error),
    }
}

fn rule_packages(raw: &Packages<'_>) -> Option<Vec<Arc<str>>> {
    let names = raw.0.as_ref()?.iter().map(|name| name.trim());
    Some(names.filter(|name| !name.is_empty()).map(Arc::from).collect())
}

fn local_updates(read: Vec<Stands>, skipped: &mut u32) -> Vec<LocalUpdate> {
    let all = read.len();
    let mut updates: Vec<_> = read.into_iter().filter_map(|Stands(update)| update).collect();
    *skipped += (all - updates.len()) as u32;
    HostFacts::sort_updates(&mut updates);
    updates
}

fn told_updates(read: Vec<Told>, skipped: &mut u32) -> BTreeMap<UpdateId, ToldUpdate> {
    *skipped += read.iter().map(|told| told.skipped).sum::<u32>();
    read.into_iter().filter_map(|told| told.update).collect()
}

/// What is told of one update, as soon as it is read: a report holds one of them as its text says it at a time.
#[derive(Deserialize)]
#[serde(from = "Update<'_>")]
struct Told {
    update: Option<(UpdateId, ToldUpdate)>,
    skipped: u32,
}

impl From<Update<'_>> for Told {
    fn from(raw: Update<'_>) -> Self {
        let Some(id) = update_id(&raw.update_id) else { return Self { update: None, skipped: 1 } };
        let labels = |texts: &Texts<'_>| texts.0.iter().take(MAX_LABELS).map(|text| Arc::from(text.trim())).collect();
        let kbs = raw.kbids.0.iter().take(MAX_LABELS).filter_map(|kb| kb.parse::<Kb>().ok());
        let superseded = raw.superseded_update_ids.0.iter().filter_map(|text| text.trim().parse::<Guid>().ok());
        let traits = UpdateTraits {
            kbs: kbs.collect(),
            products: labels(&raw.product),
            classifications: labels(&raw.classification),
            severity: raw.severity.said().and_then(|text| text.parse().ok()),
            supersedes: superseded.collect(),
            changed_at: moment(&raw.changetime),
            known_since: 0,
        };
        let mut skipped = 0;
        let urls = urls(&raw.download_urls, MAX_UPDATE_URLS, &mut skipped);
        Self { update: Some((id, ToldUpdate { traits, title: shown(&raw.title), urls })), skipped }
    }
}

/// Where one update stands, as soon as it is read; nothing where that makes no sense.
#[derive(Deserialize)]
#[serde(from = "Local<'_>")]
struct Stands(Option<LocalUpdate>);

impl From<Local<'_>> for Stands {
    fn from(raw: Local<'_>) -> Self {
        let Some(id) = update_id(&raw.update_id) else { return Self(None) };
        let is = |text: &Text<'_>| text.flag() == Some(true);
        let flags = LocalFlags::default()
            .with_if(LocalFlags::INSTALLED, is(&raw.installed))
            .with_if(LocalFlags::PRESENT, is(&raw.present))
            .with_if(LocalFlags::HIDDEN, is(&raw.hidden))
            .with_if(LocalFlags::DOWNLOADED, is(&raw.downloaded))
            .with_if(LocalFlags::DELAYED, is(&raw.delayed))
            .with_if(LocalFlags::ALLOWED, is(&raw.allowed))
            .with_if(LocalFlags::NOT_ALLOWED, raw.allowed.flag() == Some(false));
        let installed_at = moment(&raw.install_date).and_then(|at| u32::try_from(at).ok()).and_then(NonZeroU32::new);
        Self(Some(LocalUpdate { id, flags, installed_at }))
    }
}

fn urls(raw: &Texts<'_>, most: usize, skipped: &mut u32) -> Vec<OriginUrl> {
    let mut urls = Vec::new();
    for text in raw.0.iter().take(most) {
        match OriginUrl::new(text.trim()) {
            Ok(url) => urls.push(url),
            Err(_) => *skipped += 1,
        }
    }
    urls.sort_unstable();
    urls.dedup();
    urls
}

fn update_id(text: &Text<'_>) -> Option<UpdateId> {
    text.said()?.parse().ok()
}

/// A text for people: one line without control characters.
fn shown(text: &Text<'_>) -> Option<String> {
    let text = text.said()?;
    let is_plain = text.len() <= MAX_TEXT && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    Some(if is_plain { text.to_owned() } else { text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect() })
}

/// A time as agents write it: with an offset, or without one and then in UTC; a date alone; or seconds since 1970.
fn moment(text: &Text<'_>) -> Option<u64> {
    let text = text.said()?;
    let Ok(pieces) = Pieces::parse(text) else { return text.parse().ok() };
    let wall = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    let at = pieces.to_numeric_offset().unwrap_or(Offset::UTC).to_timestamp(wall).ok()?;
    u64::try_from(at.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::edition::Severity;
    use proptest::prelude::*;

    const UPDATE: &str = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204";
    const REPORT: &str = r#"{
        "uuid": "4C4C4544-0042-3510-8057-C7C04F4A4D32", "computer_fqdn": "pc1.example.org", "maturity": "PREPROD",
        "future": {"key": [1, 2]},
        "waptwua_status": {
            "enabled": true, "status": "PENDING_UPDATES", "last_scan_date": "2026-11-10T18:00:00",
            "last_scan_duration": 42.5, "last_install_reboot_required": false, "rules_packages": ["wua-base"],
            "missing_downloads": ["http://h/a.cab", "not an address"], "last_error": null
        },
        "waptwua_updates": [
            {"update_id": "0fa1201d-4330-4fa8-8ae9-b877473b6441_204", "title": "An\u0007 update", "kbids": ["5087058"],
             "severity": "Critical", "changetime": "2026-11-10T18:00:00Z", "product": "Windows 11",
             "classification": "Security Updates", "download_urls": ["http://h/b.cab", "http://h/a.cab"],
             "superseded_update_ids": ["1fa1201d-4330-4fa8-8ae9-b877473b6441"]},
            {"update_id": "nonsense"}
        ],
        "waptwua_updates_localstatus": [
            {"update_id": "0fa1201d-4330-4fa8-8ae9-b877473b6441_204", "status": "OK", "allowed": false,
             "installed": 1, "hidden": null, "install_date": "2026-11-11", "history": [{"x": 1}]}
        ]
    }"#;

    fn read_text(text: &str) -> Result<HostReport, ReadReportError> {
        read_report(text.as_bytes(), None, 2_000_000_000)
    }

    #[test]
    fn a_report_is_read_and_what_makes_no_sense_in_it_is_counted() {
        let report = read_text(REPORT).unwrap();
        let facts = &report.facts;
        assert_eq!(facts.uuid.as_str(), "4c4c4544-0042-3510-8057-c7c04f4a4d32");
        assert_eq!(facts.name.as_ref().unwrap().as_str(), "pc1.example.org");
        assert_eq!((facts.maturity, facts.settings.enabled), (Maturity::Preprod, Some(true)));
        assert_eq!(facts.rule_packages.as_deref(), Some(&["wua-base".into()][..]));
        assert_eq!((facts.scanned_at, facts.seen_at), (Some(1_794_333_600), 2_000_000_000));
        let local = facts.updates[0];
        assert_eq!(local.flags, LocalFlags::INSTALLED.with(LocalFlags::NOT_ALLOWED));
        assert_eq!((local.id.to_string(), local.installed_at.unwrap().get()), (UPDATE.to_owned(), 1_794_355_200));
        let told = &report.updates[&local.id];
        assert_eq!((told.title.as_deref(), told.urls.len()), (Some("An update"), 2));
        assert_eq!(
            (told.traits.severity, told.traits.kbs.as_slice()),
            (Some(Severity::Critical), &[Kb(5_087_058)][..])
        );
        assert_eq!(told.traits.products, [Arc::from("Windows 11")]);
        assert_eq!((told.traits.supersedes.len(), told.traits.changed_at), (1, Some(1_794_333_600)));
        assert_eq!((report.missing_downloads.len(), report.skipped, report.status.scan_seconds), (1, 2, Some(42)));
    }

    #[test]
    fn a_report_that_says_nothing_of_updates_is_another_thing_than_one_with_none() {
        let half = read_text(r#"{"uuid": "a", "waptwua_status": {"rules_packages": null}}"#).unwrap();
        assert!(!half.has_updates && half.facts.rule_packages.is_none());
        let none = read_text(r#"{"uuid": "a", "waptwua_updates_localstatus": [], "waptwua_status": {}}"#).unwrap();
        assert!(none.has_updates && none.facts.updates.is_empty());
        let objects = r#"{"uuid": "a", "waptwua_status": {"rules_packages": [{"package": "p", "version": "1"}, 5]}}"#;
        assert_eq!(read_text(objects).unwrap().facts.rule_packages.unwrap().len(), 1);
    }

    #[test]
    fn a_host_lacks_the_files_of_what_it_may_have_and_has_not_and_what_it_asked_for_in_vain() {
        let locals = [
            ("1fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""allowed": true, "installed": false"#),
            ("2fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""allowed": true, "installed": true"#),
            ("3fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""allowed": true, "downloaded": true"#),
            ("4fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""allowed": false"#),
            ("5fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""installed": false"#),
            ("6fa1201d-4330-4fa8-8ae9-b877473b6441_1", r#""allowed": true"#),
        ];
        let updates = locals[..5].iter().map(|(id, _)| {
            let number = &id[..1];
            format!(r#"{{"update_id": "{id}", "download_urls": ["http://h/{number}.cab", "http://h/all.cab"]}}"#)
        });
        let told = locals.iter().map(|(id, says)| format!(r#"{{"update_id": "{id}", {says}}}"#));
        let report = format!(
            r#"{{"uuid": "a", "waptwua_status": {{"missing_downloads": ["http://h/404.cab"]}}, "waptwua_updates": [{}],
                "waptwua_updates_localstatus": [{}]}}"#,
            updates.collect::<Vec<_>>().join(","),
            told.collect::<Vec<_>>().join(",")
        );
        let report = read_text(&report).unwrap();
        let lacking: Vec<_> = report.lacking().into_iter().map(|name| name.as_str()).collect();
        assert_eq!(lacking, ["1.cab", "404.cab", "all.cab"]);
    }

    #[test]
    fn a_report_of_another_host_or_of_none_is_refused() {
        let of = HostUuid::new("other").unwrap();
        assert!(matches!(read_report(REPORT.as_bytes(), Some(&of), 1), Err(ReadReportError::OtherUuid(_))));
        assert!(matches!(read_text("{}"), Err(ReadReportError::NoUuid)));
        assert_eq!(read_report(b"{}", Some(&of), 1).unwrap().facts.uuid, of);
        assert!(matches!(read_text("5"), Err(ReadReportError::Json(_))));
        let many = format!(r#"{{"uuid":"a","waptwua_updates":[{}{{}}]}}"#, "{},".repeat(MAX_HOST_UPDATES));
        assert!(matches!(read_text(&many), Err(ReadReportError::TooMany)));
    }

    #[test]
    fn a_file_holds_one_host_or_many_and_each_that_can_not_be_read_is_told() {
        let one = read_reports(REPORT.as_bytes(), 1).unwrap();
        assert!(one.len() == 1 && one[0].is_ok());
        let many = read_reports(format!("[{REPORT}, {{}}, 5]").as_bytes(), 1).unwrap();
        assert_eq!(many.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,200}", at in 0usize..1_000, byte: u8) {
            let _ = read_text(&text);
            let mut report = REPORT.as_bytes().to_vec();
            let at = at % report.len();
            report[at] = byte;
            let _ = read_report(&report, None, 1);
        }
    }
}
