//! What the node says of itself, gathered from its parts.

use super::{
    api::{
        AttentionReport, AuditReport, ChildReport, FileReport, FileState, FilesPage, FilesQuery, FolderReport,
        MemberReport, ParentReport, ProgressReport, RatesReport, ScrubState, StateReport, StatusReport, TransferReport,
    },
    mirroring,
    node::Node,
};
use crate::{
    catalog::Snapshot,
    domain::{
        digest::Root,
        member::Role,
        name::{FileName, FolderName},
    },
    repository::{RepositoryError, Trouble},
};
use std::collections::BTreeMap;

/// Files in one page where nobody asked for another number.
const PAGE: u32 = 500;
/// Most files in one page.
const MAX_PAGE: u32 = 5_000;

/// The whole status.
pub(super) fn status(node: &Node, rates: RatesReport) -> Result<StatusReport, RepositoryError> {
    let repository = &node.repository;
    let now = repository.clock().unix_seconds();
    let head = repository.head();
    let state = head.as_ref().map_or_else(StateReport::default, |signed| {
        let head = signed.head();
        StateReport {
            epoch: head.epoch,
            seq: head.seq,
            signed_at: Some(head.signed_at),
            head_age_seconds: Some(now.saturating_sub(head.signed_at)),
        }
    });
    let snapshot = repository.state().index.read()?;
    let folders = repository.folder_names().map(|folder| self::folder(node, &snapshot, folder));
    Ok(StatusReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: repository.role(),
        name: node.config.name.to_string(),
        site: node.config.site.to_string(),
        line: repository.line().map(|line| line.to_string()),
        state,
        folders: folders.collect::<Result<_, _>>()?,
        parent: parent(node),
        mirror: (repository.role() == Role::Secondary).then(|| mirroring::report(node)),
        children: children(node),
        transfers: transfers(node),
        rates: RatesReport { limit_bits_per_second: limit_of(node), ..rates },
        attention: attention(node, now),
        scrub: Some(scrub(node)?),
        repositories: match repository.role() {
            Role::Main => super::repositories::reports(node)?,
            Role::Secondary => Vec::new(),
        },
        wants: super::wants::summary(node)?,
        edition: super::refresh::status(node)?,
        hosts: super::hosts::counts(node)?,
    })
}

fn limit_of(node: &Node) -> Option<u64> {
    node.live.borrow().bandwidth.limit.map(|limit| limit.bits_per_second)
}

fn folder(node: &Node, snapshot: &Snapshot, name: &FolderName) -> Result<FolderReport, RepositoryError> {
    let totals = snapshot.totals(name)?;
    let troubles = node.repository.troubles.counts(name);
    Ok(FolderReport {
        name: name.clone(),
        path: node.repository.folder_path(name).map_or_else(String::new, |path| path.display().to_string()),
        files: totals.files,
        bytes: totals.bytes,
        held_files: totals.held_files,
        held_bytes: totals.held_bytes,
        missing_files: totals.missing_files,
        missing_bytes: totals.missing_bytes,
        adopting: node.repository.adoption(name).map(|progress| ProgressReport {
            done_files: progress.done_files,
            total_files: progress.total_files,
            done_bytes: progress.done_bytes,
            total_bytes: progress.total_bytes,
        }),
        unlisted: totals.unlisted_files,
        refused: troubles.refused,
        incomplete: troubles.incomplete,
        last_scan: node.repository.last_scan(name)?,
    })
}

/// Where verifying stands.
pub(super) fn scrub(node: &Node) -> Result<ScrubState, RepositoryError> {
    let progress = node.scrub.progress()?;
    let pass = progress.pass.unwrap_or_default();
    let is_running = pass.began_at > 0 && pass.ended_at.is_none();
    let all = |sum: u64, done: u64| if is_running { sum.max(done) } else { done };
    Ok(ScrubState {
        every_seconds: progress.every.as_secs(),
        last_ended_at: pass.ended_at.or(pass.before_ended_at),
        pass_began_at: is_running.then_some(pass.began_at),
        progress: ProgressReport {
            done_files: pass.files,
            total_files: all(progress.all.files, pass.files),
            done_bytes: pass.bytes,
            total_bytes: all(progress.all.bytes, pass.bytes),
        },
        hurry: progress.hurry,
        read_bytes: progress.read_bytes,
        bad_groups: progress.damage.found_groups,
        healed_groups: progress.damage.healed_groups,
        bad_files: progress.damage.found_files,
        healed_files: progress.damage.healed_files,
        damaged_files: progress.damaged_files,
    })
}

fn parent(node: &Node) -> Option<ParentReport> {
    let parent = node.shared.parent();
    if parent.address.is_empty() {
        return None;
    }
    Some(ParentReport {
        name: parent.name,
        address: parent.address,
        connected: parent.connected_since.is_some(),
        since: parent.connected_since.or(parent.lost_since),
        last_error: parent.last_error,
    })
}

fn children(node: &Node) -> Vec<ChildReport> {
    let children = node.shared.children().into_iter().map(|child| ChildReport {
        name: child.name,
        site: child.site,
        address: child.address.to_string(),
        connected_since: child.since,
        epoch: child.at.0,
        seq: child.at.1,
        missing_files: child.missing.0,
        missing_bytes: child.missing.1,
    });
    children.collect()
}

fn transfers(node: &Node) -> Vec<TransferReport> {
    let from = node.shared.parent().name;
    let transfers = node.shared.transfers().into_iter().map(|transfer| TransferReport {
        folder: transfer.folder,
        name: transfer.name.to_string(),
        done_bytes: transfer.done_bytes,
        size_bytes: transfer.size_bytes,
        from: from.clone(),
    });
    transfers.chain(of_a_main(node)).collect()
}

/// Flights of a secondary are transfers already.
fn of_a_main(node: &Node) -> impl Iterator<Item = TransferReport> {
    let flights = node.flights.iter().filter(|_| node.repository.role() == Role::Main);
    let flights = flights.flat_map(|flights| flights.list());
    flights.filter_map(|flight| {
        let sight = flight.progress().sight?;
        Some(TransferReport {
            folder: flight.folder.clone(),
            name: flight.name.to_string(),
            done_bytes: sight.here.len(),
            size_bytes: sight.size,
            from: "upstream".to_owned(),
        })
    })
}

fn attention(node: &Node, now: u64) -> Vec<AttentionReport> {
    let standing = node.repository.attention.standing().into_iter();
    let mut reports: Vec<_> = standing
        .map(|standing| AttentionReport { what: standing.what, since: Some(standing.since), cure: standing.cure })
        .collect();
    if node.repository.role() == Role::Secondary {
        reports.extend(of_a_secondary(node, now));
    }
    reports
}

/// After this long without a fresh signature a state counts as stale.
const STALE_AFTER_SECONDS: u64 = 86_400;

fn of_a_secondary(node: &Node, now: u64) -> Option<AttentionReport> {
    if node.shared.parent().address.is_empty() {
        return Some(AttentionReport {
            what: "this secondary has not joined a line".to_owned(),
            since: None,
            cure: format!("run `wuasync pair invite {}` on the main, and `wuasync join TOKEN` here", node.config.name),
        });
    }
    stale(node.repository.head()?.head().signed_at, now)
}

fn stale(signed_at: u64, now: u64) -> Option<AttentionReport> {
    (now.saturating_sub(signed_at) > STALE_AFTER_SECONDS).then(|| AttentionReport {
        what: "the signed state is more than a day old".to_owned(),
        since: Some(signed_at),
        cure: "check that the main runs and that its clock is right".to_owned(),
    })
}

/// Acts in one answer.
const AUDIT_ROWS: usize = 200;

/// The last acts that changed trust or state.
pub(super) fn audit(node: &Node) -> Result<Vec<AuditReport>, RepositoryError> {
    let rows = node.repository.state().ledger.last_audit(AUDIT_ROWS)?;
    Ok(rows.into_iter().map(|row| AuditReport { at: row.at, who: row.who, what: row.what }).collect())
}

/// Every member, by name.
pub(super) fn members(node: &Node) -> Result<Vec<MemberReport>, RepositoryError> {
    let connected: Vec<_> = node.shared.children().into_iter().map(|child| child.key).collect();
    let members = node.repository.members()?.into_iter().map(|member| MemberReport {
        connected: connected.contains(&member.key) || member.key == node.key(),
        name: member.name.to_string(),
        site: member.site.to_string(),
        role: member.role,
        key: member.key.to_string(),
        folders: member.folders,
        addresses: member.addresses.iter().map(ToString::to_string).collect(),
        joined_at: member.joined_at,
        expires_at: member.expires_at,
    });
    Ok(members.collect())
}

/// One page of files, in the order of folder and name. A page never crosses folders.
pub(super) fn files(node: &Node, query: &FilesQuery) -> Result<FilesPage, RepositoryError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE) as usize;
    let (from, after) = place(query);
    let folders: Vec<_> = match &query.folder {
        Some(folder) => vec![folder.clone()],
        None => node.repository.folder_names().cloned().collect(),
    };
    let mut folders = folders.into_iter().skip_while(|folder| from.as_ref().is_some_and(|from| folder < from));
    let Some(folder) = folders.next() else { return Ok(FilesPage::default()) };
    let after = after.filter(|_| from.as_ref() == Some(&folder));
    let mut files = page(node, &folder, after.as_deref(), limit + 1)?;
    let more = files.len() > limit;
    files.truncate(limit);
    let next = match (more, files.last(), folders.next()) {
        (true, Some(last), _) => Some(format!("{folder}/{}", last.name)),
        (_, _, Some(next)) => Some(format!("{next}/")),
        _ => None,
    };
    Ok(FilesPage { files, next })
}

/// Where a page begins: `<folder>/<name>`, as the page before said.
fn place(query: &FilesQuery) -> (Option<FolderName>, Option<String>) {
    let Some((folder, name)) = query.after.as_deref().and_then(|after| after.split_once('/')) else {
        return (None, None);
    };
    (FolderName::new(folder).ok(), (!name.is_empty()).then(|| name.to_owned()))
}

/// Merges held, missing and left-alone files by name.
fn page(
    node: &Node,
    folder: &FolderName,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<FileReport>, RepositoryError> {
    let snapshot = node.repository.state().index.read()?;
    let after_name = after.and_then(|after| FileName::new(after).ok());
    let mut found: BTreeMap<String, FileReport> = BTreeMap::new();
    for (name, missing) in snapshot.missing_after(folder, after_name.as_ref(), limit)? {
        let report = report(folder, &name, missing.size, missing.modified, missing.root, FileState::Missing);
        found.insert(name.to_string(), report);
    }
    for (name, holding) in snapshot.holdings_after(folder, after_name.as_ref(), limit)? {
        let modified = holding.modified_ns.div_euclid(1_000_000_000);
        let state = if holding.listed { FileState::Held } else { FileState::Unlisted };
        let outdated = found.contains_key(name.as_str());
        if !outdated {
            found.insert(name.to_string(), report(folder, &name, holding.size, modified, holding.root, state));
        }
    }
    for (name, trouble) in node.repository.troubles.listed(folder) {
        if after.is_none_or(|after| name.as_str() > after) {
            found.entry(name.clone()).or_insert_with(|| left_alone(node, folder, name, trouble));
        }
    }
    Ok(found.into_values().take(limit).collect())
}

/// One file; `None` if nothing here knows it.
pub(super) fn file(node: &Node, folder: &FolderName, name: &str) -> Result<Option<FileReport>, RepositoryError> {
    if let Some(trouble) = node.repository.troubles.of(folder, name) {
        return Ok(Some(left_alone(node, folder, name.to_owned(), trouble)));
    }
    let Ok(name) = FileName::new(name) else { return Ok(None) };
    let snapshot = node.repository.state().index.read()?;
    if let Some(missing) = snapshot.missing(folder, &name)? {
        let report = report(folder, &name, missing.size, missing.modified, missing.root, FileState::Missing);
        return Ok(Some(report));
    }
    let Some(holding) = snapshot.holding(folder, &name)? else { return Ok(None) };
    let modified = holding.modified_ns.div_euclid(1_000_000_000);
    let state = if holding.listed { FileState::Held } else { FileState::Unlisted };
    Ok(Some(report(folder, &name, holding.size, modified, holding.root, state)))
}

/// Why a file is left alone, and what would help.
pub(super) fn words(trouble: &Trouble) -> (String, &'static str) {
    match trouble {
        Trouble::Incomplete => (
            "its content does not have the SHA-1 in its name".to_owned(),
            "it may still be downloading, else delete it",
        ),
        Trouble::Refused(why) => (why.clone(), "rename it to mirror it"),
        Trouble::NotAFile => (
            "neither a file nor a directory".to_owned(),
            "put the file itself in its place to mirror it, else leave it",
        ),
        Trouble::Unreadable(why) => (format!("can't be read: {why}"), "give the daemon's user access"),
    }
}

fn report(folder: &FolderName, name: &FileName, size: u64, modified: i64, root: Root, state: FileState) -> FileReport {
    let unlisted = "it is on this disk and not in the main's index; it is served and kept".to_owned();
    FileReport {
        folder: folder.clone(),
        name: name.to_string(),
        size: Some(size),
        modified: u64::try_from(modified).ok(),
        root: Some(root),
        sha1: name.promised_sha1(),
        held: state != FileState::Missing,
        why: (state == FileState::Unlisted).then_some(unlisted),
        state,
    }
}

fn left_alone(node: &Node, folder: &FolderName, name: String, trouble: Trouble) -> FileReport {
    let state = match &trouble {
        Trouble::Incomplete => FileState::Incomplete,
        Trouble::Refused(_) | Trouble::NotAFile | Trouble::Unreadable(_) => FileState::Refused,
    };
    let (what, cure) = words(&trouble);
    let why = format!("{what}; {cure}");
    let known = FileName::new(&name).ok();
    let sha1 = known.as_ref().and_then(FileName::promised_sha1);
    FileReport {
        folder: folder.clone(),
        name,
        size: known.and_then(|name| node.repository.size_on_disk(folder, &name)),
        modified: None,
        root: None,
        sha1,
        held: false,
        state,
        why: Some(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_was_signed_more_than_a_day_ago_is_stale() {
        assert_eq!(stale(1_000, 1_000 + STALE_AFTER_SECONDS), None);
        assert_eq!(stale(1_000, 1_001 + STALE_AFTER_SECONDS).unwrap().since, Some(1_000));
        assert_eq!(stale(1_000, 0), None, "a clock that stands back says nothing");
    }

    #[test]
    fn each_reason_has_its_own_cure() {
        for (trouble, cure) in [
            (Trouble::Incomplete, "delete it"),
            (Trouble::Refused("x".to_owned()), "rename it"),
            (Trouble::NotAFile, "put the file itself"),
            (Trouble::Unreadable("x".to_owned()), "give the daemon's user access"),
        ] {
            assert!(words(&trouble).1.contains(cure), "{trouble:?}");
        }
    }
}
