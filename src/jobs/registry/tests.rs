use super::*;
use crate::{
    base::future::BoxFuture,
    policy::due,
    repository::testing::{NOW, Place},
};
use std::sync::atomic::AtomicUsize;

const PERIOD: Duration = Duration::from_secs(3_600);

/// Runs when it is let, and counts.
#[derive(Default)]
struct Counting {
    runs: AtomicUsize,
    fails: AtomicBool,
    hangs: AtomicBool,
}

impl Job for Counting {
    fn name(&self) -> JobName {
        JobName::ScanWants
    }

    fn next(&self, last: Option<Last>, now: i64, _: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        Ok(Some(due::every(PERIOD, last, now)))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async {
            self.runs.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
            if self.hangs.load(Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.fails.load(Relaxed) { Err(JobFailed("on purpose".to_owned())) } else { Ok("done".to_owned()) }
        })
    }
}

impl Counting {
    fn runs(&self) -> usize {
        self.runs.load(Relaxed)
    }
}

fn registry(place: &Place, by_timer: bool) -> (Arc<Jobs>, Arc<Counting>) {
    let job = Arc::new(Counting::default());
    let mut jobs = Jobs::new(Arc::new(place.main()), || TimeZone::UTC);
    jobs.add(job.clone(), by_timer);
    (Arc::new(jobs), job)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_ask_at_one_instant_whether_a_job_is_due_get_one_run() {
    let place = Place::new();
    let (jobs, job) = registry(&place, false);
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let jobs = jobs.clone();
            tokio::spawn(async move { jobs.run(JobName::ScanWants, When::IfDue).await.unwrap() })
        })
        .collect();
    let mut ended = 0;
    for one in asking {
        match one.await.unwrap() {
            Ran::Ended(record) => {
                assert_eq!((record.outcome.as_str(), record.failed), ("done", false));
                ended += 1;
            }
            other => assert!(matches!(other, Ran::NotDue(Some(_))), "{other:?}"),
        }
    }
    assert_eq!((ended, job.runs()), (1, 1));
    assert!(matches!(jobs.run(JobName::ScanWants, When::Now).await.unwrap(), Ran::Ended(_)), "a person may");
    assert_eq!(jobs.run(JobName::Scrub, When::IfDue).await.unwrap(), Ran::NotHere);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_or_was_cut_short_is_due_again_soon_and_says_so() {
    let place = Place::new();
    let (jobs, job) = registry(&place, false);
    job.fails.store(true, Relaxed);
    jobs.run(JobName::ScanWants, When::IfDue).await.unwrap();
    let standing = jobs.standings().unwrap().remove(0);
    let last = standing.last.unwrap();
    assert!(last.failed && last.outcome == "on purpose" && last.finished_at == Some(NOW), "{last:?}");
    assert_eq!((standing.next.unwrap().why, standing.is_running), (due::FAILED, false));

    job.hangs.store(true, Relaxed);
    let cut = tokio::time::timeout(Duration::from_millis(50), jobs.run(JobName::ScanWants, When::Now)).await;
    assert!(cut.is_err());
    let standing = jobs.standings().unwrap().remove(0);
    let last = standing.last.unwrap();
    assert!(last.failed && last.finished_at.is_none() && !standing.is_running, "{last:?}");
    place.clock.set(NOW + 600);
    job.hangs.store(false, Relaxed);
    job.fails.store(false, Relaxed);
    assert!(matches!(jobs.run(JobName::ScanWants, When::IfDue).await.unwrap(), Ran::Ended(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_begins_what_is_due_and_leaves_to_a_timer_what_is_not_late() {
    for by_timer in [false, true] {
        let place = Place::new();
        let (jobs, job) = registry(&place, by_timer);
        jobs.run(JobName::ScanWants, When::Now).await.unwrap();
        place.clock.set(NOW + PERIOD.as_secs());
        let cancel = CancellationToken::new();
        let drive = tokio::spawn(jobs.clone().drive(JobName::ScanWants, cancel.clone()));
        let ran = async {
            while job.runs() < 2 {
                tokio::task::yield_now().await;
            }
        };
        let ran = tokio::time::timeout(Duration::from_millis(if by_timer { 200 } else { 10_000 }), ran).await;
        assert_eq!(ran.is_ok(), !by_timer);
        cancel.cancel();
        drive.await.unwrap();
    }
}
