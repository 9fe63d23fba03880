//! The API: one handler for each endpoint of [`super::api`].

use super::{
    api::{
        self, AcceptDeletionsReply, ApiError, AuditReport, BackupReply, BackupRequest, CheckReport, ErrorCode,
        FileReport, FilesPage, FilesQuery, Finding, InviteReply, InviteRequest, JoinReply, JoinRequest, MemberReport,
        PruneReply, PruneRequest, RevokeReply, RevokeRequest, ScrubReport, ScrubRequest, StatusReport, SyncReply,
    },
    backup::{backup_error, make_backup},
    changes, cleanup,
    control::Peer,
    hosts, import, jobs,
    joining::{join_error, join_line},
    node::Node,
    random,
    rates::Rates,
    refresh, report, repositories, rules, story, updates, wants,
};
use crate::{
    catalog::AuditRecord,
    domain::{
        member::{MemberRecord, NodeAddress, Role, SiteName},
        name::{FileName, FolderName},
    },
    repository::{CheckSummary, PruneRefusal, RepositoryError, ScrubFinding, Scrubbed},
    sync::serve::{Invitation, InviteError, invite},
};
use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How long `sync` waits for the parent's newest state.
const SYNC_PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of one file of hosts' reports: a larger fleet comes in several.
const MAX_HOSTS_BYTES: usize = 64 << 20;

/// What handlers reach.
#[derive(Clone)]
pub(super) struct Api {
    /// The node.
    pub node: Arc<Node>,
    /// Its traffic.
    pub rates: Arc<Rates>,
}

pub(super) type Answer<T> = Result<Json<T>, ApiError>;

/// Looking only: for the admin listener.
pub(super) fn reads(api: Api) -> Router {
    Router::new()
        .route(api::STATUS, get(status))
        .route(api::FILES, get(files))
        .route(&format!("{}/{{folder}}/{{*name}}", api::FILES), get(file))
        .route(api::MEMBERS, get(members))
        .route(api::AUDIT, get(audit_rows))
        .route(api::SCRUB, get(scrub_state))
        .route(api::WANTS, get(wants::list))
        .route(api::REFRESH, get(refresh::history))
        .route(api::CHANGES, get(changes::changes))
        .route(api::JOBS, get(jobs::list))
        .route(api::UPDATES, get(updates::search))
        .route(api::HOSTS, get(hosts::list))
        .route(&format!("{}/{{uuid}}", api::HOSTS), get(hosts::show))
        .route(&format!("{}/{{id}}", api::UPDATES), get(updates::show))
        .route(&format!("{}/{{folder}}/{{*name}}", api::STORY), get(story::story))
        .route(api::UPDATE_RULES, get(rules::list))
        .route(api::RULE_CHANGES, get(rules::changes))
        .route(api::REPOSITORIES, get(repositories::list))
        .route(api::NEAREST, get(repositories::nearest))
        .route(api::REPOSITORY_RULES, get(repositories::rules))
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(api)
}

/// Everything: for the control socket.
pub(super) fn all(api: Api) -> Router {
    let changes = Router::new()
        .route(api::INVITE, post(pair_invite))
        .route(api::REVOKE, post(pair_revoke))
        .route(api::JOIN, post(join))
        .route(api::SYNC, post(sync))
        .route(api::ACCEPT_DELETIONS, post(accept_deletions))
        .route(api::PRUNE, post(prune))
        .route(api::BACKUP, post(backup))
        .route(api::CHECK, post(check))
        .route(api::SCRUB, post(scrub))
        .route(api::WANTS, post(wants::add).delete(wants::forget))
        .route(api::SCAN_WANTS, post(wants::scan))
        .route(api::IMPORT, post(import::import))
        .route(api::CLEANUP, post(cleanup::run))
        .route(api::CLEANUP_UNDO, post(cleanup::undo))
        .route(&format!("{}/enroll", api::HOSTS), post(hosts::enrol))
        .route(&format!("{}/{{uuid}}", api::HOSTS), post(hosts::act))
        .route(api::HOSTS, post(hosts::import).layer(DefaultBodyLimit::max(MAX_HOSTS_BYTES)))
        .route(api::REFRESH, post(refresh::refresh))
        .route(api::ROLL_BACK, post(refresh::roll_back))
        .route(api::REPOSITORY_RULES, post(repositories::put_rule).delete(repositories::remove_rule))
        .route(api::MOVE_RULE, post(repositories::move_rule))
        .route(api::DISTANCES, post(repositories::put_distance))
        .route(&format!("{}/{{name}}", api::JOBS), post(jobs::run))
        .with_state(api.clone());
    reads(api.clone()).merge(changes).merge(rules::changing(api))
}

async fn status(State(api): State<Api>) -> Answer<StatusReport> {
    blocking(move || report::status(&api.node, api.rates.report())).await
}

async fn files(State(api): State<Api>, query: Result<Query<FilesQuery>, QueryRejection>) -> Answer<FilesPage> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    if let Some(folder) = query.folder.as_ref().filter(|folder| api.node.repository.folder_path(folder).is_none()) {
        return Err(ApiError::new(ErrorCode::Unknown, format!("no folder {folder} is configured")));
    }
    blocking(move || report::files(&api.node, &query)).await
}

async fn file(State(api): State<Api>, Path((folder, name)): Path<(String, String)>) -> Answer<FileReport> {
    let unknown = ApiError::new(ErrorCode::Unknown, format!("neither the index nor this disk knows {folder}/{name}"));
    let Ok(folder) = FolderName::new(&folder) else { return Err(unknown) };
    let Json(found) = blocking(move || report::file(&api.node, &folder, &name)).await?;
    found.map(Json).ok_or(unknown)
}

async fn audit_rows(State(api): State<Api>) -> Answer<Vec<AuditReport>> {
    blocking(move || report::audit(&api.node)).await
}

async fn members(State(api): State<Api>) -> Answer<Vec<MemberReport>> {
    blocking(move || report::members(&api.node)).await
}

/// Ready means that the index is loaded and files are served; the rest is told and changes nothing.
async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let node = &api.node;
    let attention: Vec<_> = node.repository.attention.standing().into_iter().map(|standing| standing.what).collect();
    Json(json!({
        "ready": true,
        "joined": node.repository.line().is_some(),
        "parent_connected": node.shared.parent().connected_since.is_some(),
        "adopting": node.repository.folder_names().any(|folder| node.repository.adoption(folder).is_some()),
        "attention": attention,
    }))
}

async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let Json(status) = blocking(move || {
        let status = report::status(&api.node, api.rates.report())?;
        Ok::<_, RepositoryError>(super::metrics::render(&status, &api.node))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], status))
}

async fn pair_invite(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<InviteRequest>,
) -> Answer<InviteReply> {
    let invitation = invitation(&api.node, request)?;
    let what = format!("invited {} at site {}", invitation.name, invitation.site);
    let node = api.node.clone();
    let issued = tokio::task::spawn_blocking(move || invite(&node.repository, invitation, random::secret())).await;
    let token = issued.map_err(failed)?.map_err(|error| match error {
        InviteError::NotMain | InviteError::NameTaken(_) => ApiError::new(ErrorCode::Refused, error.to_string()),
        InviteError::TooLong => ApiError::new(ErrorCode::Invalid, error.to_string()),
        InviteError::Repository(_) => failed(error),
    })?;
    audit(&api, peer, what).await?;
    Ok(Json(InviteReply { token }))
}

fn invitation(node: &Node, request: InviteRequest) -> Result<Invitation, ApiError> {
    let parent = match &request.via {
        Some(via) => Some(member_named(node, via.as_str())?),
        None => None,
    };
    let mut addresses = request.addresses;
    if addresses.is_empty() {
        addresses = match &parent {
            Some(parent) => parent.addresses.clone(),
            None => own_addresses(node),
        };
    }
    if addresses.is_empty() {
        let text = "the token must say where its parent is reached: give --address HOST:PORT, or set sync.advertise on the parent";
        return Err(ApiError::new(ErrorCode::Invalid, text));
    }
    if let Some(folder) = request.folders.iter().find(|folder| node.repository.folder_path(folder).is_none()) {
        return Err(ApiError::new(ErrorCode::Unknown, format!("no folder {folder} is configured")));
    }
    let site = match request.site {
        Some(site) => site,
        None => SiteName::new(request.name.as_str()).map_err(failed)?,
    };
    Ok(Invitation {
        name: request.name,
        site,
        folders: request.folders,
        addresses,
        parent: parent.map_or_else(|| node.key(), |parent| parent.key),
        valid_seconds: request.expires_seconds,
    })
}

/// What this node advertises, else the address that it listens on if that is one that others can use.
fn own_addresses(node: &Node) -> Vec<NodeAddress> {
    if !node.config.sync.advertise.is_empty() {
        return node.config.sync.advertise.clone();
    }
    let listening = node.endpoint.local_addr().ok().filter(|address| !address.ip().is_unspecified());
    listening.and_then(|address| NodeAddress::new(&address.to_string()).ok()).into_iter().collect()
}

fn member_named(node: &Node, name: &str) -> Result<MemberRecord, ApiError> {
    let members = node.repository.members().map_err(failed)?;
    let found = members.into_iter().find(|member| member.name.as_str() == name);
    found
        .ok_or_else(|| ApiError::new(ErrorCode::Unknown, format!("no member is named {name}; see `wuasync pair list`")))
}

async fn pair_revoke(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<RevokeRequest>,
) -> Answer<RevokeReply> {
    if api.node.repository.role() != Role::Main {
        return Err(ApiError::new(ErrorCode::Refused, "only the main repository revokes; run this there"));
    }
    let member = member_named(&api.node, request.name.as_str())?;
    if member.key == api.node.key() {
        return Err(ApiError::new(ErrorCode::Refused, "the main can't revoke itself"));
    }
    let name = member.name.to_string();
    let node = api.node.clone();
    blocking(move || node.repository.revoke(&member.key)).await.map(drop)?;
    audit(&api, peer, format!("revoked {name}")).await?;
    Ok(Json(RevokeReply { name }))
}

async fn join(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<JoinRequest>,
) -> Answer<JoinReply> {
    let node = &api.node;
    let joined = join_line(&node.config, &node.repository, &node.endpoint, &request.token, request.adopt_line).await;
    let (reply, parent) = joined.map_err(|error| join_error(&error))?;
    node.follow(parent);
    audit(&api, peer, format!("joined line {} as {}", reply.line, reply.name)).await?;
    Ok(Json(reply))
}

async fn sync(State(api): State<Api>) -> Answer<SyncReply> {
    let node = &api.node;
    if node.repository.role() == Role::Secondary {
        if node.shared.parent().address.is_empty() {
            let text = "this secondary has not joined a line; run `wuasync join TOKEN`";
            return Err(ApiError::new(ErrorCode::Refused, text));
        }
        node.wake_parent();
        wait_for_parent(node).await?;
    } else {
        node.repository.ask_for_scans();
    }
    let Json(status) = blocking(move || report::status(&api.node, api.rates.report())).await?;
    Ok(Json(status.lag()))
}

/// A connected parent has sent its newest state; an unconnected one is tried for a while.
async fn wait_for_parent(node: &Node) -> Result<(), ApiError> {
    let current = async {
        while !node.shared.parent().is_current {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SYNC_PATIENCE, current).await.map_err(|_| {
        let parent = node.shared.parent();
        let text = match (parent.connected_since, parent.last_error) {
            (Some(_), _) => format!("the parent {} is connected and has not sent its newest state yet", parent.address),
            (None, Some(why)) => format!("the parent {} can't be reached: {why}", parent.address),
            (None, None) => format!("the parent {} can't be reached: no answer yet", parent.address),
        };
        ApiError::new(ErrorCode::Failed, text)
    })
}

async fn accept_deletions(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
) -> Answer<AcceptDeletionsReply> {
    if api.node.repository.role() != Role::Main {
        return Err(ApiError::new(ErrorCode::Refused, "only the main repository signs deletions; run this there"));
    }
    let node = api.node.clone();
    let Json(files) = blocking(move || {
        let folders: Vec<_> = node.repository.folder_names().cloned().collect();
        folders.iter().map(|folder| node.repository.accept_deletions(folder)).sum::<Result<u64, RepositoryError>>()
    })
    .await?;
    audit(&api, peer, format!("accepted {files} deletions")).await?;
    Ok(Json(AcceptDeletionsReply { files }))
}

async fn backup(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<BackupRequest>,
) -> Answer<BackupReply> {
    let node = api.node.clone();
    let made = tokio::task::spawn_blocking(move || make_backup(&node.config, node.repository.state(), &request)).await;
    let reply = made.map_err(failed)?.map_err(|error| backup_error(&error))?;
    audit(&api, peer, format!("wrote {}", reply.summary.kind)).await?;
    Ok(Json(reply))
}

async fn prune(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<PruneRequest>,
) -> Answer<PruneReply> {
    if api.node.repository.role() == Role::Main {
        let text =
            "this is the main: what lies in its folders is what the index names; remove files in the folder itself";
        return Err(ApiError::new(ErrorCode::Refused, text));
    }
    let node = api.node.clone();
    let Json(plan) = blocking(move || match request.dry_run {
        true => node.repository.plan_prune(),
        false => node.repository.prune(request.force),
    })
    .await?;
    let refused: Vec<_> = plan.refused.iter().map(refusal).collect();
    if !request.dry_run && !refused.is_empty() {
        return Err(ApiError::new(ErrorCode::Refused, refused.join("; ")));
    }
    if !request.dry_run {
        audit(&api, peer, format!("pruned {} unlisted files", plan.files)).await?;
    }
    Ok(Json(PruneReply {
        files: plan.files,
        bytes: plan.bytes,
        removed: !request.dry_run,
        examples: plan.examples.iter().map(|(folder, name)| format!("{folder}/{name}")).collect(),
        refused,
    }))
}

fn refusal(refused: &PruneRefusal) -> String {
    let PruneRefusal { folder, asked, allowed } = refused;
    format!(
        "{asked} files of {folder} are unlisted and the cap lets {allowed} go at once; look at them with \
         `wuasync files list --unlisted`, and use --force if all of them may go"
    )
}

async fn check(State(api): State<Api>) -> Answer<CheckReport> {
    blocking(move || {
        let summary = api.node.repository.check(&mut |_| {})?;
        Ok::<_, RepositoryError>(check_report(&api.node, summary))
    })
    .await
}

async fn scrub_state(State(api): State<Api>) -> Answer<ScrubReport> {
    blocking(move || {
        let (findings, unnamed) = api.node.scrub.findings();
        let findings = findings.into_iter().map(found).collect();
        Ok::<_, RepositoryError>(ScrubReport { state: report::scrub(&api.node)?, findings, unnamed })
    })
    .await
}

async fn scrub(State(api): State<Api>, Json(request): Json<ScrubRequest>) -> Answer<ScrubReport> {
    let node = &api.node;
    let Some((folder, name)) = request.file else {
        node.scrub.begin_pass();
        return scrub_state(State(api)).await;
    };
    let unknown = ApiError::new(ErrorCode::Unknown, format!("{folder}/{name} is not on this disk"));
    let Ok(name) = FileName::new(&name) else { return Err(unknown) };
    if node.repository.folder_path(&folder).is_none() {
        return Err(unknown);
    }
    let read = node.scrub.read_file(&folder, &name).await.map_err(failed)?;
    if read == Scrubbed::NotHeld {
        return Err(unknown);
    }
    let finding = ScrubFinding::of(&read, &folder, &name, node.repository.role());
    blocking(move || {
        let findings = finding.into_iter().map(found).collect();
        Ok::<_, RepositoryError>(ScrubReport { state: report::scrub(&api.node)?, findings, unnamed: 0 })
    })
    .await
}

fn found(finding: ScrubFinding) -> Finding {
    Finding {
        folder: finding.folder,
        name: Some(finding.name.to_string()),
        what: finding.what,
        cure: finding.cure.to_owned(),
    }
}

fn check_report(node: &Node, summary: CheckSummary) -> CheckReport {
    let usual = check_cure(node.repository.role());
    let findings = summary.findings.into_iter().map(|found| {
        // What is wrong with a file that was left alone is known better.
        let known = node.repository.troubles.of(&found.folder, &found.name).map(|trouble| report::words(&trouble));
        let (what, cure) = known.unwrap_or((found.what, usual));
        Finding { folder: found.folder, name: Some(found.name), what, cure: cure.to_owned() }
    });
    let left_alone = summary.left_alone.into_iter().map(|left| {
        let (what, cure) = report::words(&left.trouble);
        Finding { folder: left.folder, name: Some(left.name), what, cure: cure.to_owned() }
    });
    CheckReport {
        findings: findings.collect(),
        unnamed: summary.unnamed,
        left_alone: left_alone.collect(),
        left_alone_unnamed: summary.left_alone_unnamed,
        files: summary.files,
        bytes: summary.bytes,
    }
}

/// What becomes of what a check finds.
fn check_cure(role: Role) -> &'static str {
    match role {
        Role::Main => "put the right file back, or remove it; what was changed on purpose is published when it settles",
        Role::Secondary => "wrong or absent bytes are fetched again from the parent; files of your own stay",
    }
}

/// The user at the other end of the control socket.
pub(super) fn uid_of(peer: &Option<Extension<ConnectInfo<Peer>>>) -> Option<u32> {
    peer.as_ref().and_then(|Extension(ConnectInfo(peer))| peer.uid)
}

pub(super) async fn audit(api: &Api, peer: Option<Extension<ConnectInfo<Peer>>>, what: String) -> Result<(), ApiError> {
    let who = uid_of(&peer).map_or_else(|| "somebody".to_owned(), |uid| format!("uid {uid}"));
    tracing::info!(%who, %what, "audit");
    let node = api.node.clone();
    let at = node.repository.clock().unix_seconds();
    blocking(move || node.repository.state().ledger.audit(&AuditRecord { at, who, what })).await.map(drop)
}

pub(super) async fn blocking<T: Send + 'static, E: std::error::Error + Send + 'static>(
    act: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Answer<T> {
    tokio::task::spawn_blocking(act).await.map_err(failed)?.map(Json).map_err(failed)
}

/// An operator reads this: it may name paths and causes.
fn failed(error: impl std::error::Error + 'static) -> ApiError {
    tracing::error!(error = &error as &dyn std::error::Error, "a request failed");
    ApiError::new(ErrorCode::Failed, crate::base::chain::chain(&error))
}

/// For routes that nothing answers.
pub(super) async fn unknown() -> (StatusCode, Json<ApiError>) {
    (StatusCode::NOT_FOUND, Json(ApiError::new(ErrorCode::Unknown, "no such endpoint")))
}
