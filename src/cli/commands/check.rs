//! `wuasync check`.

use crate::{
    base::units,
    cli::{
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        progress,
    },
    daemon::api::{self, CheckReport, Finding},
};

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut client = context.client().await?;
    let spinner = progress::spinner("reading every file");
    let report: Result<CheckReport, _> = client.post(api::CHECK, &()).await;
    spinner.finish_and_clear();
    let report = report?;
    context.out().answer(&report, |style| page(&report, style))?;
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Failed })
}

fn page(report: &CheckReport, style: Style) -> String {
    let findings: String = report.findings.iter().map(|finding| show(finding, style)).collect();
    let verdict = match report.findings.len() {
        0 => "all is well".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    format!("{findings}{verdict}; {} files with {} were read\n", report.files, units::bytes(report.bytes))
}

pub(super) fn show(finding: &Finding, style: Style) -> String {
    let place = match &finding.name {
        Some(name) => format!("{}/{}", finding.folder, printable(name)),
        None => finding.folder.to_string(),
    };
    format!("{}: {}\n    {}\n", style.alarm(&place), printable(&finding.what), printable(&finding.cure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::FolderName;

    #[test]
    fn each_finding_names_its_file_and_its_cure() {
        let folder = FolderName::new("waptwua").unwrap();
        let finding = |name: Option<&str>| Finding {
            folder: folder.clone(),
            name: name.map(str::to_owned),
            what: "a rotten group".to_owned(),
            cure: "it is fetched again".to_owned(),
        };
        let report = CheckReport { findings: vec![finding(Some("x.cab")), finding(None)], files: 7, bytes: 2048 };
        let expected = "waptwua/x.cab: a rotten group\n    it is fetched again\n\
                        waptwua: a rotten group\n    it is fetched again\n\
                        2 findings; 7 files with 2.0 KiB were read\n";
        assert_eq!(page(&report, Style::Plain), expected);
    }
}
