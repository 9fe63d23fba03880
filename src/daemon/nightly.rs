//! Once a night the ledger is copied beside itself: what can't be rebuilt survives its own file.

use crate::{
    catalog::JobRecord,
    repository::{Alarm, Repository, RepositoryError},
};
use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The row of the last run.
const JOB: &str = "copy-ledger";
/// From this wall time on, the copy of the day is due.
const FROM: Time = Time::constant(2, 30, 0, 0);
/// How often the clock is looked at: a copy is late by as much at most.
const LOOK_EVERY: Duration = Duration::from_secs(600);
const DOING: &str = "copying the ledger";

/// Copies when it is due, until `cancel`. A copy that fails is tried again at the next look.
pub(super) async fn run(repository: Arc<Repository>, cancel: CancellationToken) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = look.tick() => {
                let repository = repository.clone();
                if let Err(error) = tokio::task::spawn_blocking(move || copy_if_due(&repository)).await {
                    tracing::error!(%error, "{DOING} was cut short");
                }
            }
        }
    }
}

fn copy_if_due(repository: &Repository) {
    match copy(repository) {
        Ok(()) => repository.attention.clear(&Alarm::Failing(DOING)),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "{DOING} failed");
            let what = format!("{DOING} failed: {error}");
            repository.attention.raise(Alarm::Failing(DOING), what, "make room on the disk of the state folder");
        }
    }
}

fn copy(repository: &Repository) -> Result<(), RepositoryError> {
    let ledger = &repository.state().ledger;
    let started_at = repository.clock().unix_seconds();
    let last = ledger.job(JOB)?.map(|job| job.started_at);
    if !is_due(last, started_at, &TimeZone::system()) {
        return Ok(());
    }
    let failed = |source| RepositoryError::Io { doing: DOING, what: "in the state folder".to_owned(), source };
    repository.state().copy_ledger().map_err(failed)?;
    let finished_at = Some(repository.clock().unix_seconds());
    Ok(ledger.put_job(JOB, &JobRecord { started_at, finished_at, outcome: "copied".to_owned() })?)
}

/// Whether the last copy (seconds since 1970 UTC) is from before the last night's moment. One from a time
/// to come counts for nothing: the clock was wrong.
fn is_due(last: Option<u64>, now: u64, zone: &TimeZone) -> bool {
    let Some(last) = last.filter(|last| *last <= now) else { return true };
    let moment = || {
        let now = Timestamp::from_second(i64::try_from(now).ok()?).ok()?;
        let today = zone.to_datetime(now).date();
        let of = |date: Date| zone.to_timestamp(date.to_datetime(FROM)).ok();
        let moment = of(today).filter(|moment| *moment <= now).or_else(|| of(today.yesterday().ok()?))?;
        u64::try_from(moment.as_second()).ok()
    };
    moment().is_none_or(|moment| last < moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970 of a wall time in Paris.
    fn at(text: &str) -> u64 {
        paris().to_timestamp(text.parse().unwrap()).unwrap().as_second() as u64
    }

    fn paris() -> TimeZone {
        TimeZone::get("Europe/Paris").unwrap()
    }

    #[test]
    fn a_copy_is_due_once_after_half_past_two_in_every_night() {
        for (last, now, due) in [
            (None, "2026-05-05T12:00", true),
            (Some("2026-05-05T02:31"), "2026-05-05T23:00", false),
            (Some("2026-05-05T02:31"), "2026-05-06T02:29", false),
            (Some("2026-05-05T02:31"), "2026-05-06T02:30", true),
            (Some("2026-05-05T02:29"), "2026-05-05T02:35", true),
            (Some("2026-05-01T03:00"), "2026-05-05T01:00", true),
            (Some("2026-05-06T03:00"), "2026-05-05T01:00", true),
            // The hour that does not exist, and the one that exists twice.
            (Some("2026-03-28T02:31"), "2026-03-29T03:31", true),
            (Some("2026-10-25T02:31"), "2026-10-25T05:00", false),
        ] {
            assert_eq!(is_due(last.map(at), at(now), &paris()), due, "{last:?} {now}");
        }
    }
}
