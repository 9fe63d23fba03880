//! How the other repositories are, as numbers; on a main alone.

use super::gauge;
use crate::daemon::api::RepositoryReport;

type Value = fn(&RepositoryReport) -> Option<u64>;

/// What is told of each. Of one that was never heard of, and of one that is whole or gets nothing, some is left out.
const TOLD: [(&str, &str, Value); 6] = [
    ("repository_silent_seconds", "Seconds since it was heard of", |it| it.silent_seconds),
    ("repository_lag_files", "Files that it lacks", |it| Some(it.lag_files)),
    ("repository_lag_bytes", "Their bytes", |it| Some(it.lag_bytes)),
    ("repository_arriving_bytes_per_second", "What arrives there", |it| Some(it.arriving_bytes_per_second)),
    ("repository_whole_at_seconds", "When it will hold everything, since 1970 UTC", |it| it.whole_at),
    ("repository_late", "1 if that is not within nearest.complete_within", |it| Some(u64::from(it.is_late))),
];

/// Adds the gauges of those that are not this node.
pub(super) fn render(out: &mut String, repositories: &[RepositoryReport]) {
    let others: Vec<_> = repositories.iter().filter(|repository| !repository.is_here).collect();
    for (name, help, value) in TOLD {
        // Names of nodes and sites hold nothing that a label would have to escape.
        let labelled =
            |it: &&RepositoryReport| Some((format!("{{repository=\"{}\",site=\"{}\"}}", it.name, it.site), value(it)?));
        let values: Vec<_> = others.iter().filter_map(labelled).collect();
        if !values.is_empty() {
            gauge(out, name, help, &values);
        }
    }
}
