//! `wuasync doctor`.

use crate::{
    base::chain::chain,
    cli::{
        client::{Client, ClientError},
        context::Context,
        error::CliError,
        exit::Exit,
        out::{Style, printable},
        progress,
    },
    daemon::{
        api,
        config::Config,
        doctor::{self, DaemonFacts, Finding, Level},
    },
};

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let found = match context.config_or_defaults(&[]) {
        Ok(config) => examine(&config).await?,
        Err(CliError::Config(errors)) => errors.iter().map(wrong_line).collect(),
        Err(error) => return Err(error),
    };
    let is_wrong = found.iter().any(|finding| finding.level == Level::Wrong);
    context.out().answer(&found, |style| page(&found, style))?;
    Ok(if is_wrong { Exit::Failed } else { Exit::Done })
}

async fn examine(config: &Config) -> Result<Vec<Finding>, CliError> {
    let spinner = progress::spinner("looking around");
    let daemon = match status(config).await {
        Ok(status) => DaemonFacts::Running(Box::new(status)),
        Err(error @ ClientError::Denied { .. }) => DaemonFacts::Denied(chain(&error)),
        Err(error) => DaemonFacts::Silent(chain(&error)),
    };
    let facts = doctor::gather(config, daemon).await;
    spinner.finish_and_clear();
    Ok(doctor::findings(config, &facts))
}

async fn status(config: &Config) -> Result<api::StatusReport, ClientError> {
    Client::connect(config).await?.get(api::STATUS).await
}

fn wrong_line(error: &crate::daemon::config::ConfigError) -> Finding {
    Finding {
        check: "configuration".to_owned(),
        level: Level::Wrong,
        what: chain(error),
        cure: Some("correct that line; `wuasync config check` looks again".to_owned()),
    }
}

/// A line for each finding, and its cure below it; what is wrong stands at the end, where it is seen.
fn page(found: &[Finding], style: Style) -> String {
    let mut sorted: Vec<&Finding> = found.iter().collect();
    sorted.sort_by_key(|finding| finding.level);
    let lines = sorted.iter().map(|finding| line(finding, style));
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let verdict = match (count(Level::Wrong), count(Level::Note)) {
        (0, 0) => "all is right".to_owned(),
        (0, notes) => format!("nothing is wrong; {notes} to know"),
        (wrong, _) => style.alarm(&format!("{wrong} wrong")),
    };
    format!("{}\n{verdict}\n", lines.collect::<String>())
}

fn line(finding: &Finding, style: Style) -> String {
    let mark = match finding.level {
        Level::Right => style.dim("ok   "),
        Level::Note => "note ".to_owned(),
        Level::Wrong => style.alarm("WRONG"),
    };
    let cure = finding.cure.as_ref().map(|cure| format!("{:21}{}\n", "", printable(cure)));
    format!("{mark} {:<14} {}\n{}", finding.check, printable(&finding.what), cure.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_last_with_its_cure_below_it() {
        let finding = |level, what: &str, cure: Option<&str>| Finding {
            check: "disk".to_owned(),
            level,
            what: what.to_owned(),
            cure: cure.map(str::to_owned),
        };
        let found = [finding(Level::Wrong, "full", Some("make room")), finding(Level::Right, "fine", None)];
        let expected =
            "ok    disk           fine\nWRONG disk           full\n                     make room\n\n1 wrong\n";
        assert_eq!(page(&found, Style::Plain), expected);
        assert!(page(&found[1..], Style::Plain).ends_with("\nall is right\n"));
    }
}
