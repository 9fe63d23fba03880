//! `wuasync jobs list` and `wuasync jobs run`.

use crate::{
    base::{
        clock::{Clock, SystemClock},
        units,
    },
    cli::{context::Context, error::CliError, exit::Exit, out::printable, progress, table::Table},
    daemon::api::{self, JobReport, JobRunReport, JobsReport, RunJobReply, RunJobRequest},
};
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Jobs {
    /// What runs when, why then, and how it went last
    List,
    /// Run a job, and wait for its end
    Run {
        /// Which one, as `jobs list` shows it
        name: String,
        /// Only if it is due; if it is not, nothing is done and all is well
        #[arg(long)]
        due: bool,
    },
}

pub(super) async fn run(jobs: &Jobs, context: &Context) -> Result<Exit, CliError> {
    match jobs {
        Jobs::List => list(context).await,
        Jobs::Run { name, due } => run_one(name, *due, context).await,
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let report: JobsReport = context.client().await?.get(api::JOBS).await?;
    context.out().answer(&report, |style| {
        let now = SystemClock.unix_seconds();
        let mut table = Table::new(&["JOB", "NEXT", "WHY", "BY", ">LAST", ">TOOK", "OUTCOME"]);
        for job in &report.jobs {
            table.row(row(job, now));
        }
        table.show(style, "")
    })?;
    Ok(Exit::Done)
}

fn row(job: &JobReport, now: u64) -> [String; 7] {
    let next = match job.next_at {
        _ if !job.here => "not on this node".to_owned(),
        _ if job.is_running => "runs".to_owned(),
        None => "when wanted".to_owned(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("in {}", duration(at - now)),
    };
    let (ago, took, outcome) = job.last.as_ref().map_or_else(Default::default, |last| {
        let took = last.finished_at.map(|at| duration(at.saturating_sub(last.started_at))).unwrap_or_default();
        (format!("{} ago", duration(now.saturating_sub(last.started_at))), took, outcome(last))
    });
    let by = if job.here { job.by.clone() } else { String::new() };
    [job.name.clone(), next, job.why.clone().unwrap_or_default(), by, ago, took, outcome]
}

fn outcome(run: &JobRunReport) -> String {
    if run.failed { format!("failed: {}", run.outcome) } else { run.outcome.clone() }
}

async fn run_one(name: &str, due: bool, context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let spinner = progress::spinner("it runs");
    let path = format!("{}/{}", api::JOBS, crate::cli::client::percent_encoded(name));
    let reply = client.post(&path, &RunJobRequest { due }).await;
    spinner.finish_and_clear();
    let reply: RunJobReply = reply?;
    context.out().answer(&reply, |_| match (&reply.run, &reply.why_not) {
        (Some(run), _) => format!("{}: {}\n", reply.name, printable(&outcome(run))),
        (None, why) => format!("{}: {}\n", reply.name, printable(why.as_deref().unwrap_or("it did not run"))),
    })?;
    Ok(if reply.run.is_some_and(|run| run.failed) { Exit::Failed } else { Exit::Done })
}

fn duration(seconds: u64) -> String {
    units::duration(Duration::from_secs(seconds))
}
