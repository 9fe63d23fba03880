//! The API of the rules.

use super::{
    super::{
        api::{
            self, ApiError, EditRulesRequest, ErrorCode, ImportRulesReply, ImportRulesRequest, IniReport,
            RemoveRulesQuery, RemoveRulesReply, RuleSetReport, TestRulesReply, TestRulesRequest, UpdateRulesReport,
        },
        control::Peer,
        router::{Answer, Api, audit, blocking, uid_of},
    },
    ask,
    package::take_package,
};
use crate::{
    base::chain::chain,
    domain::{
        member::Role,
        rules::{IniRules, RuleBook, RuleChange},
    },
    repository::{ChangeRulesError, RepositoryError},
};
use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, Query, State, rejection::QueryRejection},
    routing::post,
};

/// Most bytes of a package's parts on their way here: what `wapt/package.rs` reads of one, in base64.
const MAX_PACKAGE_REQUEST: usize = 4 << 20;
/// Most bytes of a host's facts: thousands of updates.
const MAX_TEST_REQUEST: usize = 4 << 20;

type Who = Option<Extension<ConnectInfo<Peer>>>;

/// What changes rules, or asks with more than a line.
pub(in super::super) fn changing(api: Api) -> Router {
    Router::new()
        .route(api::UPDATE_RULES, post(edit).delete(remove))
        .route(api::RULE_PACKAGES, post(import).layer(DefaultBodyLimit::max(MAX_PACKAGE_REQUEST)))
        .route(api::RULE_TEST, post(test).layer(DefaultBodyLimit::max(MAX_TEST_REQUEST)))
        .with_state(api)
}

pub(in super::super) async fn list(State(api): State<Api>) -> Answer<UpdateRulesReport> {
    blocking(move || {
        let RuleBook { ini: IniRules { settings, allowed, forbidden }, sets } = api.node.repository.rules()?;
        let sets = sets.into_iter().map(RuleSetReport::from).collect();
        Ok::<_, RepositoryError>(UpdateRulesReport { ini: IniReport { settings, allowed, forbidden }, sets })
    })
    .await
}

pub(in super::super) async fn changes(State(api): State<Api>) -> Answer<Vec<RuleChange>> {
    blocking(move || api.node.repository.rule_changes()).await
}

async fn edit(State(api): State<Api>, peer: Who, Json(request): Json<EditRulesRequest>) -> Answer<RuleSetReport> {
    at_the_main(&api)?;
    let EditRulesRequest { set, edit } = request;
    let what = format!("rule set {set}: {edit}");
    let (node, by) = (api.node.clone(), who(&peer));
    let changed = tokio::task::spawn_blocking(move || node.repository.edit_rules(&set, &edit, &by)).await;
    let changed = changed.map_err(lost)?.map_err(refused)?;
    audit(&api, peer, what).await?;
    meet_needs(&api);
    Ok(Json(changed.into()))
}

async fn remove(
    State(api): State<Api>,
    peer: Who,
    query: Result<Query<RemoveRulesQuery>, QueryRejection>,
) -> Answer<RemoveRulesReply> {
    at_the_main(&api)?;
    let Query(RemoveRulesQuery { set }) =
        query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let (node, by, name) = (api.node.clone(), who(&peer), set.clone());
    let removed = tokio::task::spawn_blocking(move || node.repository.remove_rules(&name, &by)).await;
    removed.map_err(lost)?.map_err(refused)?;
    audit(&api, peer, format!("rule set {set}: removed it")).await?;
    meet_needs(&api);
    Ok(Json(RemoveRulesReply { removed: set }))
}

async fn import(
    State(api): State<Api>,
    peer: Who,
    Json(request): Json<ImportRulesRequest>,
) -> Answer<ImportRulesReply> {
    at_the_main(&api)?;
    let (node, by) = (api.node.clone(), who(&peer));
    let taken = tokio::task::spawn_blocking(move || {
        let now = node.repository.clock().unix_seconds();
        let (set, remarks) = take_package(&request, &node.config.rules.trusted_certificates, now)
            .map_err(|error| ApiError::new(error.code(), chain(&error)))?;
        let (allowed, forbidden) = (set.allowed.len(), set.forbidden.len());
        let what = format!("imported {}, with {allowed} rules that allow and {forbidden} that forbid", set.origin);
        node.repository.put_rules(&set, &by, what.clone()).map_err(refused)?;
        Ok::<_, ApiError>((ImportRulesReply { set: set.into(), remarks }, what))
    });
    let (reply, what) = taken.await.map_err(lost)??;
    audit(&api, peer, format!("rule set {}: {what}", reply.set.name)).await?;
    meet_needs(&api);
    Ok(Json(reply))
}

async fn test(State(api): State<Api>, Json(request): Json<TestRulesRequest>) -> Answer<TestRulesReply> {
    tokio::task::spawn_blocking(move || ask::answer(&api.node, &request)).await.map_err(lost)?.map(Json)
}

/// What hosts may have is another: what they need becomes wanted at once, and what they do not is wanted no longer.
fn meet_needs(api: &Api) {
    if let Some(scan_wants) = &api.node.scan_wants {
        scan_wants.look_at_hosts();
    }
}

fn at_the_main(api: &Api) -> Result<(), ApiError> {
    let text = "this node is a secondary: rules come from the main; run `wuasync rules` there";
    match api.node.repository.role() {
        Role::Main => Ok(()),
        Role::Secondary => Err(ApiError::new(ErrorCode::Refused, text)),
    }
}

fn who(peer: &Who) -> String {
    uid_of(peer).map_or_else(|| "somebody".to_owned(), |uid| format!("uid {uid}"))
}

fn refused(error: ChangeRulesError) -> ApiError {
    let code = match &error {
        ChangeRulesError::UnknownSet(_) => ErrorCode::Unknown,
        ChangeRulesError::Edit(_) => ErrorCode::Refused,
        ChangeRulesError::Set(_) => ErrorCode::Invalid,
        ChangeRulesError::Repository(_) => ErrorCode::Failed,
    };
    ApiError::new(code, chain(&error))
}

fn lost(error: tokio::task::JoinError) -> ApiError {
    ApiError::new(ErrorCode::Failed, error.to_string())
}
