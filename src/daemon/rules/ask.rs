//! Where one update would stand for one host, and why.

use super::super::{
    api::{ApiError, ErrorCode, TestRulesReply, TestRulesRequest},
    node::Node,
};
use crate::{
    base::chain::chain,
    domain::{
        host::{HostFacts, KnownUpdates, LocalFlags, LocalUpdate, UpdateTraits},
        rules::RuleBook,
        update::UpdateId,
        wants::WantState,
    },
    policy::{
        host_state::{Judge, Need, Standing, Stock},
        merge::MergedBook,
    },
    repository::{Repository, RepositoryError},
};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Files of one update that are looked at.
const MAX_FILES: usize = 1_000;

/// What is told of a host in a file.
#[derive(Debug, Deserialize)]
struct ToldFacts {
    #[serde(flatten)]
    host: serde_json::Value,
    /// What is known of updates, where no edition knows it.
    #[serde(default)]
    known: BTreeMap<UpdateId, UpdateTraits>,
}

/// Answers a question.
pub(super) fn answer(node: &Node, request: &TestRulesRequest) -> Result<TestRulesReply, ApiError> {
    let Some(told) = &request.facts else {
        let text = "no facts of hosts are stored on this node: tell them with --facts FILE";
        return Err(ApiError::new(ErrorCode::Unknown, text));
    };
    let (host, told) = read_facts(told.clone()).map_err(|why| ApiError::new(ErrorCode::Invalid, why))?;
    let is_it = |text: &str| text.eq_ignore_ascii_case(request.host.trim());
    if !is_it(host.uuid.as_str()) && !host.name.as_ref().is_some_and(|name| is_it(name.as_str())) {
        let text = format!("the facts are of host {}, not of {}", host.uuid, request.host);
        return Err(ApiError::new(ErrorCode::Unknown, text));
    }
    judge(&node.repository, &host, told, request.update)
        .map_err(|error| ApiError::new(ErrorCode::Failed, chain(&error)))
}

fn read_facts(json: serde_json::Value) -> Result<(HostFacts, BTreeMap<UpdateId, UpdateTraits>), String> {
    let wrong = |error: serde_json::Error| format!("the facts: {error}");
    let ToldFacts { host, known } = serde_json::from_value(json).map_err(wrong)?;
    let mut host: HostFacts = serde_json::from_value(host).map_err(wrong)?;
    HostFacts::sort_updates(&mut host.updates);
    Ok((host, known))
}

fn judge(
    repository: &Repository,
    host: &HostFacts,
    told: BTreeMap<UpdateId, UpdateTraits>,
    id: UpdateId,
) -> Result<TestRulesReply, RepositoryError> {
    let mut known = KnownUpdates::default();
    for update in host.updates.iter().map(|update| update.id).chain([id]) {
        let Some(told) = repository.edition_update(update)? else { continue };
        told.superseded_by.iter().for_each(|newer| known.note_superseded(update.guid(), newer.guid()));
        known.put(update, UpdateTraits::from(&told));
    }
    told.into_iter().for_each(|(id, traits)| known.put(id, traits));
    let book = repository.rules()?;
    let mut merged = MergedBook::new(&book);
    let (settings, rules) = merged.rules_for(host);
    let judge = Judge { settings, rules, known: &known, now: repository.clock().unix_seconds() };
    let reported = host.updates.iter().find(|update| update.id == id);
    let offered = LocalUpdate { id, flags: LocalFlags::default(), installed_at: None };
    let stock = stock(repository, id)?;
    let standing = judge.standing(host, reported.unwrap_or(&offered), |_| stock);
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

/// What is here of an update's files, as the edition and what was told name them.
fn stock(repository: &Repository, id: UpdateId) -> Result<Stock, RepositoryError> {
    let folders: Vec<_> = repository.folder_names().cloned().collect();
    let mut places: BTreeSet<_> = repository.state().ledger.files_of_update(id, MAX_FILES)?.into_iter().collect();
    for sha1 in repository.edition_update(id)?.map(|update| update.files).unwrap_or_default().iter().take(MAX_FILES) {
        let Some(url) = repository.state().editions.file(sha1)?.and_then(|file| file.url) else { continue };
        places.extend(folders.first().map(|folder| (folder.clone(), url.file_name().clone())));
    }
    let index = repository.state().index.read()?;
    let (mut is_held, mut is_coming) = (!places.is_empty(), false);
    for (folder, name) in &places {
        if index.holding(folder, name)?.is_none() {
            is_held = false;
            let state = repository.want_of(folder, name)?.map(|want| want.state);
            is_coming |= matches!(state, Some(WantState::Fetching | WantState::Due | WantState::Waiting { .. }));
        }
    }
    Ok(match (is_held, is_coming) {
        (true, _) => Stock::Held,
        (false, true) => Stock::Coming,
        (false, false) => Stock::Absent,
    })
}
