//! Hosts over the API: what is known of them, and whose reports are believed.

use crate::daemon::{
    api::{
        ApiError, CarriedHosts, EnrolReply, EnrolRequest, ErrorCode, HostCounts, HostStory, HostSummary,
        HostUpdateReport, HostVerb, HostVerbReply, HostVerbRequest, HostsPage, HostsQuery, ImportHostsReply,
        WaitingHost,
    },
    control::Peer,
    random,
    router::{Answer, Api, audit, blocking},
};
use crate::{
    base::chain::chain,
    catalog::{FactsFrom, HostRecord, HostStanding, HostTokenRecord},
    domain::{
        host::{EnrolmentToken, HostUuid},
        member::Role,
    },
    jobs::fleet::{self, HostUpdate},
    policy::{
        demand::is_stale,
        host_state::{HostState, Need},
    },
    repository::{Repository, RepositoryError},
    wapt::host_report::read_reports,
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{
        ConnectInfo, Path, Query, State,
        rejection::{BytesRejection, QueryRejection},
    },
};
use std::collections::BTreeMap;

/// Hosts in one page where nobody asked for another number.
const PAGE: u32 = 200;
/// Most hosts in one page: the states of each are worked out anew.
const MAX_PAGE: u32 = 1_000;
/// The longest time that a token is good, in seconds.
const LONGEST_TOKEN: u64 = 366 * 86_400;

pub(in crate::daemon) async fn list(
    State(api): State<Api>,
    query: Result<Query<HostsQuery>, QueryRejection>,
) -> Answer<HostsPage> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    blocking(move || page(&api.node.repository, &query)).await
}

fn page(repository: &Repository, query: &HostsQuery) -> Result<HostsPage, RepositoryError> {
    let state = repository.state();
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE) as usize;
    if repository.role() == Role::Secondary {
        let (waiting, hosts) = (state.hosts.waiting()?, state.hosts.posted_hosts(limit)?);
        let carried = CarriedHosts { main: main_of(repository), waiting, hosts };
        return Ok(HostsPage { carried: Some(carried), ..HostsPage::default() });
    }
    let mut records = Vec::new();
    state.hosts.each_after(query.after.as_ref(), |record| {
        let site = record.facts.site.as_ref().map(|site| site.as_str());
        if query.site.as_deref().is_none_or(|wanted| site == Some(wanted)) {
            records.push(record);
        }
        Ok::<_, RepositoryError>(records.len() <= limit)
    })?;
    let is_more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| is_more).map(|record| record.facts.uuid.clone());
    let keys = state.ledger.host_keys()?;
    let standings: BTreeMap<_, _> = keys.iter().map(|(uuid, key)| (uuid, key.standing)).collect();
    let mut sight = fleet::Sight::new(repository)?;
    let mut hosts = Vec::with_capacity(records.len());
    for record in &records {
        let updates = sight.standings(repository, record)?;
        hosts.push(summary(repository, record, standings.get(&record.facts.uuid).copied(), &updates));
    }
    let waiting = keys.iter().filter(|(_, key)| query.after.is_none() && key.standing == HostStanding::Waiting);
    let waiting = waiting.map(|(uuid, key)| WaitingHost {
        uuid: uuid.clone(),
        key: key.key.to_string(),
        since: key.since,
        from: key.from.to_string(),
    });
    Ok(HostsPage { known: state.hosts.known()?.0, hosts, waiting: waiting.collect(), next, carried: None })
}

fn summary(
    repository: &Repository,
    record: &HostRecord,
    standing: Option<HostStanding>,
    updates: &[HostUpdate],
) -> HostSummary {
    let facts = &record.facts;
    let mut counts = HostCounts::default();
    for update in updates {
        let count = match update.state {
            HostState::Ok => &mut counts.ok,
            HostState::Missing => &mut counts.missing,
            HostState::Pending => &mut counts.pending,
            HostState::Discarded => &mut counts.discarded,
        };
        *count += 1;
        counts.delayed += u32::from(update.need == Need::Later);
    }
    HostSummary {
        uuid: facts.uuid.clone(),
        name: facts.name.as_ref().map(ToString::to_string),
        site: facts.site.as_ref().map(ToString::to_string),
        maturity: facts.maturity.to_string(),
        seen_at: facts.seen_at,
        scanned_at: facts.scanned_at,
        stale: is_stale(facts, repository.clock().unix_seconds()),
        from: match record.from {
            FactsFrom::Report => "report",
            FactsFrom::Import => "import",
            FactsFrom::Server => "server",
        }
        .to_owned(),
        standing: standing.map(|standing| word(standing).to_owned()),
        counts,
    }
}

fn word(standing: HostStanding) -> &'static str {
    match standing {
        HostStanding::Waiting => "waiting",
        HostStanding::Enrolled => "enrolled",
        HostStanding::Revoked => "revoked",
    }
}

pub(in crate::daemon) async fn show(State(api): State<Api>, Path(uuid): Path<String>) -> Answer<HostStory> {
    let repository = api.node.repository.clone();
    let command = format!("wuasync hosts show {uuid}");
    let Json(found) = blocking(move || {
        let repository = &api.node.repository;
        Ok::<_, RepositoryError>(story(repository, &uuid)?.map_err(|unknown| {
            let waits =
                HostUuid::new(&uuid).is_ok_and(|uuid| matches!(repository.state().hosts.posted(&uuid), Ok(Some(_))));
            (unknown, if waits { "; a report of this host waits here for the parent" } else { "" })
        }))
    })
    .await?;
    found
        .map(Json)
        .map_err(|(unknown, waits)| ApiError::new(ErrorCode::Unknown, not_here(&repository, unknown, &command) + waits))
}

/// Why nothing is known of a host, and on a secondary, which keeps nothing of hosts, where to ask with which command.
pub(in crate::daemon) fn not_here(repository: &Repository, unknown: String, command: &str) -> String {
    if repository.role() == Role::Main {
        return unknown;
    }
    let main = main_of(repository).map_or_else(|| "the main".to_owned(), |main| format!("the main, {main}"));
    format!("this node is a secondary and keeps no facts of hosts; ask {main}, with `{command}`")
}

/// The name of the main that this node follows.
fn main_of(repository: &Repository) -> Option<String> {
    let members = repository.members().unwrap_or_default();
    members.iter().find(|member| member.role == Role::Main).map(|main| main.name.to_string())
}

/// By UUID, or by name where only one host has it; else why there is none.
pub(in crate::daemon) fn find_host(
    repository: &Repository,
    text: &str,
) -> Result<Result<HostRecord, String>, RepositoryError> {
    let by_uuid = HostUuid::new(text).ok().map(|uuid| repository.host(&uuid)).transpose()?.flatten();
    if let Some(record) = by_uuid {
        return Ok(Ok(record));
    }
    let mut named = Vec::new();
    repository.state().hosts.each_after(None, |record| {
        let name = record.facts.name.as_ref().map(|name| name.as_str());
        let is_it = name.is_some_and(|name| {
            name.eq_ignore_ascii_case(text)
                || name.split('.').next().is_some_and(|first| first.eq_ignore_ascii_case(text))
        });
        if is_it {
            named.push(record);
        }
        Ok::<_, RepositoryError>(named.len() < 10)
    })?;
    Ok(match named.len() {
        0 => Err(format!("no host {text} is known")),
        1 => Ok(named.remove(0)),
        _ => {
            let uuids: Vec<_> = named.iter().map(|record| record.facts.uuid.to_string()).collect();
            Err(format!("several hosts are named {text}: {}", uuids.join(", ")))
        }
    })
}

fn story(repository: &Repository, text: &str) -> Result<Result<HostStory, String>, RepositoryError> {
    let record = match find_host(repository, text)? {
        Ok(record) => record,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let key = repository.state().ledger.host_key(&record.facts.uuid)?;
    let updates = fleet::Sight::of(repository, &record)?.standings(repository, &record)?;
    let host = summary(repository, &record, key.map(|key| key.standing), &updates);
    let packages = record.facts.rule_packages.as_ref();
    Ok(Ok(HostStory {
        host,
        status: record.status.status,
        last_error: record.status.last_error,
        reboot_required: record.status.reboot_required,
        last_install_at: record.status.last_install_at,
        rule_packages: packages.map(|packages| packages.iter().map(ToString::to_string).collect()),
        missing_downloads: record.missing_downloads.iter().map(ToString::to_string).collect(),
        key: key.map(|key| key.key.to_string()),
        updates: updates.into_iter().map(update_report).collect(),
    }))
}

fn update_report(update: HostUpdate) -> HostUpdateReport {
    HostUpdateReport {
        id: update.id.to_string(),
        kbs: update.traits.kbs.iter().map(ToString::to_string).collect(),
        title: update.title,
        state: update.state.to_string(),
        need: match update.need {
            Need::Now => "now",
            Need::Later => "later",
            Need::No => "no",
        }
        .to_owned(),
        why: update.why,
    }
}

pub(in crate::daemon) async fn enrol(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<EnrolRequest>,
) -> Answer<EnrolReply> {
    only_main(&api)?;
    let EnrolRequest { uses, valid_for } = request;
    if uses == 0 || !(1..=LONGEST_TOKEN).contains(&valid_for) {
        return Err(ApiError::new(ErrorCode::Invalid, "a token is good for at least one host, for a second to a year"));
    }
    let token = EnrolmentToken::new(random::secret());
    let repository = api.node.repository.clone();
    let now = repository.clock().unix_seconds();
    let expires_at = now + valid_for;
    let record = HostTokenRecord { key: token.key(), expires_at, uses_left: uses };
    let id = token.id();
    blocking(move || repository.state().ledger.put_host_token(&id, &record, now)).await.map(drop)?;
    audit(&api, peer, format!("made an enrolment token for {uses} hosts, good for {valid_for} s")).await?;
    Ok(Json(EnrolReply { token: token.to_string(), expires_at }))
}

pub(in crate::daemon) async fn act(
    State(api): State<Api>,
    Path(uuid): Path<String>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(HostVerbRequest { verb }): Json<HostVerbRequest>,
) -> Answer<HostVerbReply> {
    only_main(&api)?;
    let uuid = HostUuid::new(&uuid).map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    let (repository, host) = (api.node.repository.clone(), uuid.clone());
    let Json((key, was_known)) = blocking(move || {
        let key = repository.state().ledger.host_key(&host)?.map(|known| known.key);
        let now = repository.clock().unix_seconds();
        let set = |standing| Ok(repository.state().ledger.set_host_standing(&host, key.as_ref(), standing, now)?);
        let was_known = match verb {
            HostVerb::Approve => set(HostStanding::Enrolled),
            HostVerb::Revoke => set(HostStanding::Revoked),
            HostVerb::Forget => repository.forget_host(&host),
        }?;
        Ok::<_, RepositoryError>((key.map(|key| key.to_string()), was_known))
    })
    .await?;
    if !was_known {
        let what = if verb == HostVerb::Forget { "nothing is known of host" } else { "no key is known of host" };
        return Err(ApiError::new(ErrorCode::Unknown, format!("{what} {uuid}")));
    }
    let did = match verb {
        HostVerb::Approve => "approved",
        HostVerb::Revoke => "revoked",
        HostVerb::Forget => "forgot",
    };
    audit(&api, peer, format!("{did} host {uuid}, key {}", key.as_deref().unwrap_or("none"))).await?;
    Ok(Json(HostVerbReply { key }))
}

pub(in crate::daemon) async fn import(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    body: Result<Bytes, BytesRejection>,
) -> Answer<ImportHostsReply> {
    only_main(&api)?;
    let body = body.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let repository = api.node.repository.clone();
    let Json(read) = blocking(move || import_reports(&repository, &body)).await?;
    let reply = read.map_err(|why| ApiError::new(ErrorCode::Invalid, why))?;
    audit(&api, peer, format!("imported facts of {} hosts, {} of them new", reply.hosts, reply.new)).await?;
    if let Some(scan_wants) = &api.node.scan_wants {
        scan_wants.look_at_hosts();
    }
    Ok(Json(reply))
}

fn import_reports(repository: &Repository, json: &[u8]) -> Result<Result<ImportHostsReply, String>, RepositoryError> {
    let reports = match read_reports(json, repository.clock().unix_seconds()) {
        Ok(reports) => reports,
        Err(error) => return Ok(Err(chain(&error))),
    };
    let mut reply = ImportHostsReply::default();
    let mut read = Vec::with_capacity(reports.len());
    for (n, report) in reports.into_iter().enumerate() {
        match report {
            Ok(report) => {
                reply.skipped += u64::from(report.skipped);
                read.push(report);
            }
            Err(error) => reply.refused.push(format!("report {}: {}", n + 1, chain(&error))),
        }
    }
    let puts = repository.put_hosts(read, FactsFrom::Import)?;
    reply.hosts = puts.len() as u64;
    reply.new = puts.iter().filter(|is_new| **is_new).count() as u64;
    Ok(Ok(reply))
}

fn only_main(api: &Api) -> Result<(), ApiError> {
    if api.node.repository.role() == Role::Main {
        return Ok(());
    }
    let text =
        "this node is a secondary: it carries reports to the main and believes none itself; run this on the main";
    Err(ApiError::new(ErrorCode::Refused, text))
}
