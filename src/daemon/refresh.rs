//! The edition over the API, and how this node's configuration refreshes it.

use super::{
    api::{ApiError, ErrorCode, RefreshReport, RefreshRequest, RefreshesReport},
    config::Config,
    router::{Answer, Api, blocking},
    trust::configured_trust,
};
use crate::{
    base::{chain::chain, read_at::ReadAt},
    cabinet::authenticode,
    catalog::{RefreshOutcome, RefreshRecord},
    domain::key::NodeKey,
    jobs::{CabSettings, JobFailed, JobName, Prove, RefreshCab, Unproven},
    repository::{Repository, RepositoryError},
    upstream::Upstream,
};
use axum::{Json, extract::State};
use std::sync::Arc;

/// The folder of the edition, unless there is only one.
const USUAL_FOLDER: &str = "waptwua";
/// What cures an edition that nobody who is believed has signed.
const TRUST: &str = "look at who signed it with `wuasync cab verify` and, if that is Microsoft, pin it with `wuasync cab trust \
                     FILE`, or set `upstream.trust_roots`";
/// Attempts that are told.
const TOLD: usize = 100;

/// What keeps the edition fresh, where there is a folder for it.
pub(super) fn refresh_cab(
    config: &Config,
    repository: &Arc<Repository>,
    upstream: Arc<Upstream>,
    key: &NodeKey,
) -> Option<Arc<RefreshCab>> {
    let usual = repository.folder_names().find(|folder| folder.as_str() == USUAL_FOLDER);
    let settings = CabSettings {
        url: config.upstream.cab_url.as_ref()?.as_str().to_owned(),
        folder: usual.or_else(|| repository.folder_names().next())?.clone(),
        every: config.jobs.refresh_cab,
        has_sidecar: config.upstream.publish_sha1_sidecar,
        prove: config.upstream.require_signature.then(|| prove(config.clone())),
        node: u64::from_be_bytes(*key.0.first_chunk()?),
    };
    Some(RefreshCab::new(repository.clone(), upstream, settings))
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
    blocking(move || {
        let repository = &api.node.repository;
        let refreshes = repository.last_refreshes(TOLD)?.into_iter().map(report).collect();
        let standings = api.node.jobs.standings()?;
        let standing = standings.into_iter().find(|standing| standing.name == JobName::RefreshCab);
        let next = standing.as_ref().and_then(|standing| Some((standing.next?, standing.by_timer)));
        Ok::<_, RepositoryError>(RefreshesReport {
            edition: repository.edition()?.map(Into::into),
            is_running: standing.is_some_and(|standing| standing.is_running),
            next_at: next.and_then(|(next, by_timer)| u64::try_from(next.moment(by_timer)).ok()),
            why: next.map(|(next, _)| next.why.to_owned()),
            refreshes,
        })
    })
    .await
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
        api.node.jobs.run_as(JobName::RefreshCab, refresh).await
    });
    match refreshed.await {
        Ok(Ok(Some(Ok(record)))) => Ok(Json(report(record))),
        Ok(Ok(Some(Err(error))) | Err(error)) => Err(ApiError::new(ErrorCode::Failed, chain(&error))),
        Ok(Ok(None)) => Err(ApiError::new(ErrorCode::Failed, "this node has no such job")),
        Err(error) => Err(ApiError::new(ErrorCode::Failed, error.to_string())),
    }
}

fn report(record: RefreshRecord) -> RefreshReport {
    let (outcome, error) = match record.outcome {
        RefreshOutcome::Skipped => ("skipped", None),
        RefreshOutcome::Published => ("published", None),
        RefreshOutcome::Failed(error) => ("failed", Some(error)),
    };
    RefreshReport {
        started_at: record.started_at,
        finished_at: record.finished_at,
        forced: record.forced,
        cab_modified: record.cab_modified,
        cab_size: record.cab_size,
        outcome: outcome.to_owned(),
        error,
    }
}
