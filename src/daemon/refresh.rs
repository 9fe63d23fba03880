//! The edition over the API, and how this node's configuration reads and refreshes it.

use super::{
    api::{
        ApiError, EditionStatus, ErrorCode, RefreshReport, RefreshRequest, RefreshesReport, RollBackReply,
        RollBackRequest, WithdrawnReport,
    },
    config::Config,
    control::Peer,
    node::Node,
    router::{Answer, Api, audit, blocking},
    trust::configured_trust,
};
use crate::{
    base::{chain::chain, read_at::ReadAt},
    cabinet::authenticode,
    catalog::{RefreshOutcome, RefreshRecord},
    domain::{key::NodeKey, member::Role},
    jobs::{
        CabSettings, EditionDesk, EditionSettings, JobFailed, JobName, Prove, RefreshCab, RollBackRefused, Unproven,
    },
    repository::{Repository, RepositoryError},
    upstream::Upstream,
};
use axum::{
    Extension, Json,
    extract::{ConnectInfo, State},
};
use std::sync::Arc;

/// The folder of the edition, unless there is only one.
const USUAL_FOLDER: &str = "waptwua";
/// What cures an edition that nobody who is believed has signed.
const TRUST: &str = "look at who signed it with `wuasync cab verify` and, if that is Microsoft, pin it with `wuasync cab trust \
                     FILE`, or set `upstream.trust_roots`";
/// Attempts that are told.
const TOLD: usize = 100;

/// What reads the edition in this node's folder. What a main signed is proven already.
pub(super) fn edition_desk(config: &Config, repository: &Arc<Repository>) -> Option<Arc<EditionDesk>> {
    let usual = repository.folder_names().find(|folder| folder.as_str() == USUAL_FOLDER);
    let is_main = repository.role() == Role::Main;
    let settings = EditionSettings {
        folder: usual.or_else(|| repository.folder_names().next())?.clone(),
        has_sidecar: config.upstream.publish_sha1_sidecar,
        prove: (is_main && config.upstream.require_signature).then(|| prove(config.clone())),
        languages: config.upstream.title_languages.clone(),
        // On a secondary nobody waits for it.
        workers: if is_main { 2 } else { 0 },
    };
    Some(EditionDesk::new(repository.clone(), settings))
}

/// What keeps the edition fresh, where this node asks for it.
pub(super) fn refresh_cab(
    config: &Config,
    desk: Option<&Arc<EditionDesk>>,
    upstream: Arc<Upstream>,
    key: &NodeKey,
) -> Option<Arc<RefreshCab>> {
    let settings = CabSettings {
        url: config.upstream.cab_url.as_ref()?.as_str().to_owned(),
        every: config.jobs.refresh_cab,
        node: u64::from_be_bytes(*key.0.first_chunk()?),
    };
    Some(RefreshCab::new(desk?.clone(), upstream, settings))
}

/// Whom to believe is read each time: a person may pin somebody meanwhile.
fn prove(config: Config) -> Prove {
    Arc::new(move |bytes: &dyn ReadAt, len, now| {
        let unproven = |why: String| Unproven { why, cure: TRUST.to_owned() };
        let trust = configured_trust(&config).map_err(|error| unproven(chain(&error)))?;
        let proven = authenticode::verify_file(bytes, len, &trust, now, &mut |_| {});
        proven.map(drop).map_err(|error| unproven(chain(&error)))
    })
}

pub(super) async fn history(State(api): State<Api>) -> Answer<RefreshesReport> {
    blocking(move || told(&api.node)).await
}

/// What is known of the edition, and what is next.
fn told(node: &Node) -> Result<RefreshesReport, RepositoryError> {
    let repository = &node.repository;
    let refreshes = repository.last_refreshes(TOLD)?.into_iter().map(report).collect();
    let standings = node.jobs.standings()?;
    let standing = standings.into_iter().find(|standing| standing.name == JobName::RefreshCab);
    let next = standing.as_ref().and_then(|standing| Some((standing.next?, standing.by_timer)));
    Ok(RefreshesReport {
        edition: repository.edition()?.map(Into::into),
        previous: repository.previous_edition()?.map(Into::into),
        kept: node.edition_desk.as_ref().map(|desk| desk.kept()).transpose()?.flatten().map(Into::into),
        withdrawn: repository.withdrawn_edition()?.map(Into::into),
        is_running: standing.is_some_and(|standing| standing.is_running),
        next_at: next.and_then(|(next, by_timer)| u64::try_from(next.moment(by_timer)).ok()),
        why: next.map(|(next, _)| next.why.to_owned()),
        refreshes,
    })
}

/// Of the edition, for the whole status; `None` where none is known.
pub(super) fn status(node: &Node) -> Result<Option<EditionStatus>, RepositoryError> {
    let repository = &node.repository;
    let Some(edition) = repository.edition()? else { return Ok(None) };
    let withdrawn = repository.withdrawn_edition()?.map(WithdrawnReport::from);
    Ok(Some(EditionStatus { edition: edition.into(), withdrawn }))
}

pub(super) async fn refresh(State(api): State<Api>, Json(request): Json<RefreshRequest>) -> Answer<RefreshReport> {
    let Some(refresh_cab) = api.node.refresh_cab.clone() else {
        let text =
            "this node does not fetch the edition: run `wuasync refresh` on the main, where `upstream.enabled` is true";
        return Err(ApiError::new(ErrorCode::Refused, text));
    };
    // Goes on when the one who asked has left.
    let refreshed = tokio::spawn(async move {
        let refresh = async {
            let record = refresh_cab.refresh(request.force).await;
            let outcome = record.as_ref().map_err(|error| JobFailed(chain(error))).and_then(RefreshCab::outcome);
            (record, outcome)
        };
        Box::pin(api.node.jobs.run_as(JobName::RefreshCab, refresh)).await
    });
    match refreshed.await {
        Ok(Ok(Some(Ok(record)))) => Ok(Json(report(record))),
        Ok(Ok(Some(Err(error))) | Err(error)) => Err(ApiError::new(ErrorCode::Failed, chain(&error))),
        Ok(Ok(None)) => Err(ApiError::new(ErrorCode::Failed, "this node has no such job")),
        Err(error) => Err(ApiError::new(ErrorCode::Failed, error.to_string())),
    }
}

pub(super) async fn roll_back(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    Json(request): Json<RollBackRequest>,
) -> Answer<RollBackReply> {
    if api.node.repository.role() != Role::Main {
        let text = "only the main repository publishes editions; run `wuasync cab rollback` there";
        return Err(ApiError::new(ErrorCode::Refused, text));
    }
    let Some(desk) = api.node.edition_desk.clone() else {
        return Err(ApiError::new(ErrorCode::Refused, "no folder is configured"));
    };
    // Goes on when the one who asked has left.
    let done = tokio::spawn(async move { desk.roll_back(request.only_look).await }).await;
    let rolled_back = done.map_err(|error| ApiError::new(ErrorCode::Failed, error.to_string()))?;
    let rolled_back = rolled_back.map_err(|error| {
        let code = match error {
            RollBackRefused::Repository(_) => ErrorCode::Failed,
            RollBackRefused::NothingKept
            | RollBackRefused::NothingPublished
            | RollBackRefused::Same
            | RollBackRefused::Unsound { .. } => ErrorCode::Refused,
        };
        ApiError::new(code, chain(&error))
    })?;
    if !request.only_look {
        let text = format!(
            "took the edition {} back and published {}",
            rolled_back.withdrawn.root, rolled_back.published.root
        );
        audit(&api, peer, text).await?;
    }
    Ok(Json(RollBackReply {
        from: rolled_back.from.map(Into::into),
        to: rolled_back.to.map(Into::into),
        withdrawn: rolled_back.withdrawn.into(),
        published: rolled_back.published.into(),
        done: !request.only_look,
    }))
}

fn report(record: RefreshRecord) -> RefreshReport {
    let (outcome, error) = match record.outcome {
        RefreshOutcome::Skipped => ("skipped", None),
        RefreshOutcome::Published => ("published", None),
        RefreshOutcome::Failed(error) => ("failed", Some(error)),
        RefreshOutcome::Withheld => ("withheld", None),
        RefreshOutcome::RolledBack => ("rolled back", None),
        RefreshOutcome::Found => ("found", None),
    };
    RefreshReport {
        started_at: record.started_at,
        finished_at: record.finished_at,
        forced: record.forced,
        cab_modified: record.cab_modified,
        cab_size: record.cab_size,
        outcome: outcome.to_owned(),
        error,
        oddities: record.oddities,
    }
}
