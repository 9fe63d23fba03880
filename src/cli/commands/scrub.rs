//! `wuasync scrub`.

use super::{check, files::placed};
use crate::{
    base::units,
    cli::{client::Client, context::Context, error::CliError, exit::Exit, out::Style, progress},
    daemon::api::{self, ProgressReport, ScrubReport, ScrubRequest},
    domain::name::FolderName,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Verify at once: one file, or every file
    #[arg(long, required = true)]
    now: bool,
    /// One file, with or without its folder before it
    name: Option<String>,
    /// The file's folder
    #[arg(long, value_parser = super::files::folder_name, requires = "name")]
    folder: Option<FolderName>,
}

pub(super) async fn run(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let config = context.config_or_defaults(&[])?;
    let mut client = Client::connect(&config).await?;
    let report = match &args.name {
        Some(name) => {
            let (folder, name) = placed(name, args.folder.as_ref(), &config.folders)?;
            one(&mut client, ScrubRequest { file: Some((folder.clone(), name.to_owned())) }).await?
        }
        None => every(&mut client).await?,
    };
    let is_pass = args.name.is_none();
    context.out().answer(&report, |style| page(&report, is_pass, style))?;
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Failed })
}

async fn one(client: &mut Client, request: ScrubRequest) -> Result<ScrubReport, CliError> {
    let spinner = progress::spinner("reading the file");
    let report = client.post(api::SCRUB, &request).await;
    spinner.finish_and_clear();
    Ok(report?)
}

/// Begins a pass, and follows it to its end.
async fn every(client: &mut Client) -> Result<ScrubReport, CliError> {
    let mut report: ScrubReport = client.post(api::SCRUB, &ScrubRequest::default()).await?;
    let bar = progress::bytes_bar("verifying".to_owned());
    while report.state.hurry {
        let ProgressReport { done_files, total_files, done_bytes, total_bytes } = report.state.progress;
        bar.set_length(total_bytes);
        bar.set_position(done_bytes);
        bar.set_message(format!("{done_files} of {total_files} files, {} bad", report.findings.len()));
        tokio::time::sleep(progress::POLL).await;
        report = client.get(api::SCRUB).await?;
    }
    bar.finish_and_clear();
    Ok(report)
}

fn page(report: &ScrubReport, is_pass: bool, style: Style) -> String {
    let findings: String = report.findings.iter().map(|finding| check::show(finding, style)).collect();
    let verdict = match report.findings.len() as u64 + report.unnamed {
        0 => "all is well".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    if !is_pass {
        return format!("{findings}{verdict}\n");
    }
    let read = report.state.progress;
    format!("{findings}{verdict}; {} files with {} were read\n", read.done_files, units::bytes(read.done_bytes))
}
