//! Where one update would stand for one host, and why.

use super::super::{
    api::{ApiError, ErrorCode, TestRulesReply, TestRulesRequest},
    hosts::{find_host, not_here},
    node::Node,
};
use crate::{
    base::chain::chain,
    domain::{
        host::{HostFacts, LocalFlags, LocalUpdate, ToldUpdate},
        name::FolderName,
        rules::RuleBook,
        update::UpdateId,
    },
    jobs::fleet::{files_of, known_updates, stock},
    policy::{
        host_state::{Judge, Need, Standing, Stock},
        merge::MergedBook,
    },
    repository::{Repository, RepositoryError},
    wapt::host_report::read_report,
};
use std::collections::BTreeMap;

/// The folder of updates.
const UPDATES_FOLDER: &str = "waptwua";

/// A host, and what is told of its updates.
type Told = (HostFacts, BTreeMap<UpdateId, ToldUpdate>);

/// Answers a question.
pub(super) fn answer(node: &Node, request: &TestRulesRequest) -> Result<TestRulesReply, ApiError> {
    let repository = &node.repository;
    let failed = |error: RepositoryError| ApiError::new(ErrorCode::Failed, chain(&error));
    let told = match &request.facts {
        Some(report) => reported(repository, report).map_err(|why| ApiError::new(ErrorCode::Invalid, why))?,
        None => stored(repository, &request.host, request.update).map_err(failed)?.map_err(|unknown| {
            let (host, update) = (&request.host, request.update);
            let command = format!("wuasync rules test {host} {update}");
            let facts = format!("`{command} --facts FILE.json` judges by a report in a file");
            let text = format!("{}; {facts}", not_here(repository, unknown, &command));
            ApiError::new(ErrorCode::Unknown, text)
        })?,
    };
    judge(repository, told, request.update).map_err(failed)
}

fn reported(repository: &Repository, report: &serde_json::Value) -> Result<Told, String> {
    let report = read_report(report.to_string().as_bytes(), None, repository.clock().unix_seconds());
    report.map(|report| (report.facts, report.updates)).map_err(|error| format!("the facts: {}", chain(&error)))
}

fn stored(repository: &Repository, host: &str, id: UpdateId) -> Result<Result<Told, String>, RepositoryError> {
    let record = match find_host(repository, host)? {
        Ok(record) => record,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let ids = record.facts.updates.iter().map(|update| update.id).chain([id]);
    let told = repository.state().hosts.told_of(ids)?;
    Ok(Ok((record.facts, told)))
}

fn judge(repository: &Repository, told: Told, id: UpdateId) -> Result<TestRulesReply, RepositoryError> {
    let (host, told) = told;
    let ids = host.updates.iter().map(|update| update.id).chain([id]);
    let traits = |id: UpdateId| told.get(&id).map(|told| told.traits.clone()).unwrap_or_default();
    let known = known_updates(repository, ids.map(|id| (id, traits(id))), |_| true)?;
    let book = repository.rules()?;
    let mut merged = MergedBook::new(&book);
    let (settings, rules) = merged.rules_for(&host);
    let judge = Judge { settings, rules, known: &known, now: repository.clock().unix_seconds() };
    let reported = host.updates.iter().find(|update| update.id == id);
    let offered = LocalUpdate { id, flags: LocalFlags::default(), installed_at: None };
    let here = match FolderName::new(UPDATES_FOLDER) {
        Ok(folder) => stock(repository, &folder, &files_of(repository, id, told.get(&id))?)?,
        Err(_) => Stock::Absent,
    };
    let standing = judge.standing(&host, reported.unwrap_or(&offered), |_| here);
    let counts = |set: &&_| RuleBook::counts_for(set, host.maturity, host.rule_packages.as_deref());
    Ok(TestRulesReply {
        host: host.uuid.to_string(),
        update: id,
        state: standing.state().to_string(),
        why: standing.to_string(),
        needs: match standing.need() {
            Need::No => "no",
            Need::Later => "later",
            Need::Now => "now",
        }
        .to_owned(),
        delayed_until: match standing {
            Standing::Delayed { until, .. } => until,
            _ => None,
        },
        reported: reported.is_some(),
        maturity: host.maturity,
        sets: book.sets.iter().filter(counts).map(|set| set.name.clone()).collect(),
    })
}
