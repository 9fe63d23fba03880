//! Which jobs this node has, and what is said of them over the API.

use super::{
    api::{ApiError, ErrorCode, JobReport, JobRunReport, JobsReport, RunJobReply, RunJobRequest},
    node::Node,
    router::{Answer, Api, blocking},
    timers,
};
use crate::{
    base::chain::chain,
    catalog::JobRecord,
    jobs::{BeginScrub, Cleanup, CopyLedger, Job, JobName, Jobs, Pull, Ran, RefreshCab, ScanWants, Standing, When},
    repository::{Repository, RepositoryError, Scrub},
};
use axum::{
    Json,
    extract::{Path, State},
};
use jiff::{Timestamp, tz::TimeZone};
use std::sync::Arc;

/// What a node has that runs as a job; `None` where it has not.
pub(super) struct Runnable {
    pub scrub: Arc<Scrub>,
    pub scan_wants: Option<Arc<ScanWants>>,
    pub refresh_cab: Option<Arc<RefreshCab>>,
    pub cleanup: Arc<Cleanup>,
    pub pull: Option<Arc<Pull>>,
}

/// Registers the jobs of this node.
pub(super) fn registry(by: super::config::RunBy, repository: &Arc<Repository>, has: Runnable) -> Arc<Jobs> {
    let mut jobs = Jobs::new(repository.clone(), TimeZone::system);
    let mut add = |job: Arc<dyn Job>| {
        let by_timer = timers::begins(by, job.name());
        jobs.add(job, by_timer);
    };
    if let Some(refresh_cab) = has.refresh_cab {
        add(refresh_cab);
    }
    if let Some(scan_wants) = has.scan_wants {
        add(scan_wants);
    }
    add(has.cleanup);
    if let Some(pull) = has.pull {
        add(pull);
    }
    add(Arc::new(BeginScrub::new(repository.clone(), has.scrub)));
    add(Arc::new(CopyLedger::new(repository.clone())));
    Arc::new(jobs)
}

pub(super) async fn list(State(api): State<Api>) -> Answer<JobsReport> {
    blocking(move || {
        let standings = api.node.jobs.standings()?;
        let report = |name| report(name, standings.iter().find(|standing| standing.name == name));
        Ok::<_, RepositoryError>(JobsReport { jobs: JobName::ALL.map(report).to_vec() })
    })
    .await
}

fn report(name: JobName, standing: Option<&Standing>) -> JobReport {
    let next = standing.and_then(|standing| standing.next.map(|next| (next, standing.by_timer)));
    let timer = standing.filter(|standing| standing.by_timer).and(name.timer());
    JobReport {
        name: name.to_string(),
        purpose: name.purpose().to_owned(),
        here: standing.is_some(),
        by: timer.unwrap_or("daemon").to_owned(),
        is_running: standing.is_some_and(|standing| standing.is_running),
        next_at: next.and_then(|(next, by_timer)| u64::try_from(next.moment(by_timer)).ok()),
        why: next.map(|(next, _)| next.why.to_owned()),
        last: standing.and_then(|standing| standing.last.clone()).map(run_report),
    }
}

fn run_report(record: JobRecord) -> JobRunReport {
    let JobRecord { started_at, finished_at, outcome, failed } = record;
    JobRunReport { started_at, finished_at, outcome, failed }
}

pub(super) async fn run(
    State(api): State<Api>,
    Path(name): Path<String>,
    Json(request): Json<RunJobRequest>,
) -> Answer<RunJobReply> {
    let name: JobName = name.parse().map_err(|error| ApiError::new(ErrorCode::Unknown, chain(&error)))?;
    let when = if request.due { When::IfDue } else { When::Now };
    let node = api.node.clone();
    // Goes on when the one who asked has left.
    let ran = tokio::spawn(async move { node.jobs.run(name, when).await }).await;
    let ran = ran.map_err(|error| ApiError::new(ErrorCode::Failed, error.to_string()))?;
    let (run, why_not) = match ran.map_err(|error| ApiError::new(ErrorCode::Failed, chain(&error)))? {
        Ran::Ended(record) => (Some(run_report(record)), None),
        Ran::NotDue(next) => (None, Some(next.map_or("it runs only when somebody wants it".to_owned(), not_due))),
        Ran::NotHere if request.due => (None, Some(not_here(&api.node, name))),
        Ran::NotHere => return Err(ApiError::new(ErrorCode::Refused, not_here(&api.node, name))),
    };
    Ok(Json(RunJobReply { name: name.to_string(), run, why_not }))
}

fn not_due(next: crate::policy::due::Next) -> String {
    let at = Timestamp::from_second(next.from).map_or_else(|_| next.from.to_string(), |at| at.to_string());
    format!("it is not due before {at} ({})", next.why)
}

fn not_here(node: &Node, name: JobName) -> String {
    let role = node.repository.role();
    format!("{name} does not run on this {role} as it is configured; `wuasync jobs list` shows what does")
}
