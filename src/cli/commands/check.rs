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
    let more = more(report.unnamed);
    let verdict = match report.findings.len() as u64 + report.unnamed {
        0 => "all is well".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    let left_alone = left_alone(report);
    format!(
        "{findings}{more}{left_alone}{verdict}; {} files with {} were read\n",
        report.files,
        units::bytes(report.bytes)
    )
}

fn more(count: u64) -> String {
    if count == 0 { String::new() } else { format!("and {count} more\n") }
}

fn left_alone(report: &CheckReport) -> String {
    if report.left_alone.is_empty() {
        return String::new();
    }
    let entries: String = report.left_alone.iter().map(|left| show(left, Style::Plain)).collect();
    format!("left alone, and no fault of the mirror:\n{entries}{}", more(report.left_alone_unnamed))
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
        let findings = vec![finding(Some("x.cab")), finding(None)];
        let report = CheckReport { findings, files: 7, bytes: 2048, ..CheckReport::default() };
        let expected = "waptwua/x.cab: a rotten group\n    it is fetched again\n\
                        waptwua: a rotten group\n    it is fetched again\n\
                        2 findings; 7 files with 2.0 KiB were read\n";
        assert_eq!(page(&report, Style::Plain), expected);
        let report = CheckReport { left_alone: vec![finding(Some("link"))], files: 7, bytes: 2048, ..report };
        let report = CheckReport { findings: vec![], left_alone_unnamed: 3, ..report };
        let expected = "left alone, and no fault of the mirror:\n\
                        waptwua/link: a rotten group\n    it is fetched again\nand 3 more\n\
                        all is well; 7 files with 2.0 KiB were read\n";
        assert_eq!(page(&report, Style::Plain), expected);
    }
}
