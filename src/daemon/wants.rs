//! Wants over the API: what administrators ask for, forget and look at. Fetches nothing.

use super::{
    api::{
        ApiError, ConflictReport, ErrorCode, ForgetQuery, ForgetReply, ScanReply, WantAnswer, WantOutcome, WantReply,
        WantReport, WantRequest, WantStateReport, WantsPage, WantsQuery, WantsSummary,
    },
    control::Peer,
    node::Node,
    router::{Answer, Api, audit, blocking, uid_of},
};
use crate::{
    catalog::{AskOutcome, FilePlace, WantRow},
    domain::{
        member::Role,
        name::{FileName, FolderName},
        wants::{Asker, FileClaim, FileFacts, WantState},
    },
    repository::{RepositoryError, WantedFile},
};
use axum::{
    Extension, Json,
    extract::{
        ConnectInfo, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
};

/// Wants in one page where nobody asked for another number.
const PAGE: u32 = 200;
/// Most wants in one page.
const MAX_PAGE: u32 = 2_000;
/// The folder of updates, unless told otherwise.
const USUAL_FOLDER: &str = "waptwua";
/// Names of files in one row of the audit.
const NAMED: usize = 3;

pub(super) async fn add(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    request: Result<Json<WantRequest>, JsonRejection>,
) -> Answer<WantReply> {
    let Json(request) = request.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    if api.node.repository.role() != Role::Main {
        let text = "this node is a secondary: only the main fetches from Microsoft; run `wuasync want add` there";
        return Err(ApiError::new(ErrorCode::Refused, text));
    }
    let folders: Vec<_> = api.node.repository.folder_names().cloned().collect();
    let claims = request.files.into_iter().map(|claim| Ok((folder_of(&claim, &folders)?, claim)));
    let claims = claims.collect::<Result<Vec<_>, ApiError>>()?;
    let asker = Asker::Administrator { uid: uid_of(&peer) };
    let node = api.node.clone();
    let on_miss = request.on_miss;
    let Json(answers) = blocking(move || answers(&node, &claims, &asker, on_miss)).await?;
    let taken: Vec<_> = answers.iter().filter(|answer| answer.outcome != WantOutcome::Refused).collect();
    if !taken.is_empty() {
        let names: Vec<_> = taken.iter().map(|answer| format!("{}/{}", answer.folder, answer.name)).collect();
        audit(&api, peer, format!("{} {}", if on_miss { "told of" } else { "wanted" }, named(&names))).await?;
        if let Some(scan_wants) = api.node.scan_wants.as_ref().filter(|_| !on_miss) {
            scan_wants.wake();
        }
    }
    Ok(Json(WantReply { files: answers }))
}

/// As told, else the one that updates usually lie in, else the only one.
fn folder_of(claim: &FileClaim, folders: &[FolderName]) -> Result<FolderName, ApiError> {
    let usual = || folders.iter().find(|folder| folder.as_str() == USUAL_FOLDER);
    match (&claim.folder, folders) {
        (Some(told), _) if folders.contains(told) => Ok(told.clone()),
        (Some(told), _) => Err(ApiError::new(ErrorCode::Unknown, format!("no folder {told} is configured"))),
        (None, [only]) => Ok(only.clone()),
        (None, _) => usual().cloned().ok_or_else(|| {
            ApiError::new(ErrorCode::Invalid, format!("which folder does {} belong to? use --folder", claim.name()))
        }),
    }
}

fn answers(
    node: &Node,
    claims: &[(FolderName, FileClaim)],
    asker: &Asker,
    on_miss: bool,
) -> Result<Vec<WantAnswer>, RepositoryError> {
    let outcomes = if on_miss { node.repository.tell(claims, asker) } else { node.repository.ask(claims, asker) }?;
    let index = node.repository.state().index.read()?;
    let answers = claims.iter().zip(outcomes).map(|((folder, claim), outcome)| {
        let is_held = index.holding(folder, claim.name())?.is_some();
        let (outcome, why) = told(outcome, is_held);
        Ok(WantAnswer { folder: folder.clone(), name: claim.name().to_string(), outcome, why })
    });
    answers.collect()
}

fn told(outcome: AskOutcome, is_held: bool) -> (WantOutcome, Option<String>) {
    match outcome {
        AskOutcome::Wanted { .. } | AskOutcome::Told { .. } if is_held => (WantOutcome::Held, None),
        AskOutcome::Wanted { is_new: true, facts } => (WantOutcome::Wanted, lack(&facts)),
        AskOutcome::Wanted { is_new: false, facts } => (WantOutcome::Known, lack(&facts)),
        AskOutcome::Told { facts } => (WantOutcome::Told, lack(&facts)),
        AskOutcome::Refused(error) => {
            let why = format!("{error}; `wuasync want forget` gives up what is known");
            (WantOutcome::Refused, Some(why))
        }
        AskOutcome::Full => {
            let why = "no more wants are remembered; forget some with `wuasync want forget`";
            (WantOutcome::Refused, Some(why.to_owned()))
        }
    }
}

fn lack(facts: &FileFacts) -> Option<String> {
    let lack = "no digest vouches for it: it is fetched once --sha1 or --sha256 is told";
    (!facts.is_vouched()).then(|| lack.to_owned())
}

pub(super) async fn list(
    State(api): State<Api>,
    query: Result<Query<WantsQuery>, QueryRejection>,
) -> Answer<WantsPage> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    blocking(move || page(&api.node, &query)).await
}

fn page(node: &Node, query: &WantsQuery) -> Result<WantsPage, RepositoryError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE) as usize;
    let mut wants = node.repository.wants_after(query.after.as_deref().and_then(place).as_ref(), limit + 1)?;
    let more = wants.len() > limit;
    wants.truncate(limit);
    let wants: Vec<_> = wants.into_iter().map(report).collect();
    let next = wants.last().filter(|_| more).map(|last| format!("{}/{}", last.folder, last.name));
    Ok(WantsPage { wants, next })
}

/// Where a page begins, as the page before said.
fn place(after: &str) -> Option<FilePlace> {
    let (folder, name) = after.split_once('/')?;
    Some((FolderName::new(folder).ok()?, FileName::new(name).ok()?))
}

/// A want in words.
pub(super) fn report(wanted: WantedFile) -> WantReport {
    let WantedFile { row: WantRow { file, want, conflicts }, state } = wanted;
    let (state, next_try) = match state {
        WantState::Held => (WantStateReport::Held, None),
        WantState::Fetching => (WantStateReport::Fetching, None),
        WantState::Due => (WantStateReport::Due, None),
        WantState::Unvouched => (WantStateReport::Unvouched, None),
        WantState::Waiting { until } => (WantStateReport::Waiting, Some(until)),
    };
    let mut askers: Vec<_> = want.askers.iter().collect();
    askers.sort_by(|(a, a_at), (b, b_at)| b_at.cmp(a_at).then_with(|| a.cmp(b)));
    let conflicts = conflicts.into_iter().map(|conflict| ConflictReport {
        url: conflict.url.to_string(),
        size: conflict.size,
        sha1: conflict.sha1,
        sha256: conflict.sha256,
        who: conflict.who.to_string(),
        last_at: conflict.last_at,
    });
    WantReport {
        folder: file.folder,
        name: file.name.to_string(),
        size: file.facts.size,
        sha1: file.facts.sha1,
        sha256: file.facts.sha256,
        urls: file.facts.urls_by_freshness().into_iter().map(ToString::to_string).collect(),
        updates: file.facts.updates.iter().copied().collect(),
        who: askers.into_iter().map(|(asker, _)| asker.to_string()).collect(),
        times: want.times,
        first_asked: want.first_asked,
        last_asked: want.last_asked,
        state,
        next_try,
        failures: want.failures,
        error: want.last_error,
        conflicts: conflicts.collect(),
    }
}

pub(super) async fn scan(State(api): State<Api>) -> Answer<ScanReply> {
    let Some(scan_wants) = &api.node.scan_wants else {
        let text = match api.node.repository.role() {
            Role::Main => "fetching is off: set `upstream.enabled = true` and start the daemon again",
            Role::Secondary => {
                "this node is a secondary: only the main fetches from Microsoft; run `wuasync want scan` there"
            }
        };
        return Err(ApiError::new(ErrorCode::Refused, text));
    };
    scan_wants.wake();
    let node = api.node.clone();
    blocking(move || {
        let counts = node.repository.want_counts()?;
        Ok::<_, RepositoryError>(ScanReply { open: counts.files.saturating_sub(counts.held) })
    })
    .await
}

pub(super) async fn forget(
    State(api): State<Api>,
    peer: Option<Extension<ConnectInfo<Peer>>>,
    query: Result<Query<ForgetQuery>, QueryRejection>,
) -> Answer<ForgetReply> {
    let Query(query) = query.map_err(|error| ApiError::new(ErrorCode::Invalid, error.body_text()))?;
    let node = api.node.clone();
    let (reply, what) = match query {
        ForgetQuery { update: Some(update), folder: None, name: None } => {
            let Json(forgotten) = blocking(move || node.repository.forget_update(update)).await?;
            let unknown = forgotten.files.is_empty() && forgotten.shared.is_empty();
            let reply = ForgetReply { files: texts(&forgotten.files), shared: texts(&forgotten.shared) };
            if unknown {
                return Err(ApiError::new(ErrorCode::Unknown, format!("no wanted file is a part of {update}")));
            }
            (reply, format!("update {update}"))
        }
        ForgetQuery { update: None, folder: Some(folder), name: Some(name) } => {
            let unknown = ApiError::new(ErrorCode::Unknown, format!("nobody wants {folder}/{name}"));
            let Ok(name) = FileName::new(&name) else { return Err(unknown) };
            let text = format!("{folder}/{name}");
            let Json(was_known) = blocking(move || node.repository.forget_file(&folder, &name)).await?;
            if !was_known {
                return Err(unknown);
            }
            (ForgetReply { files: vec![text.clone()], shared: vec![] }, text)
        }
        _ => return Err(ApiError::new(ErrorCode::Invalid, "name an update, or a folder and a file in it")),
    };
    audit(&api, peer, format!("forgot the want for {what}")).await?;
    Ok(Json(reply))
}

fn texts(places: &[FilePlace]) -> Vec<String> {
    places.iter().map(|(folder, name)| format!("{folder}/{name}")).collect()
}

/// The first few, and how many more.
fn named(names: &[String]) -> String {
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// How many files are wanted; `None` where nobody ever wanted one.
pub(super) fn summary(node: &Node) -> Result<Option<WantsSummary>, RepositoryError> {
    let counts = node.repository.want_counts()?;
    let summary = WantsSummary { files: counts.files, open: counts.files - counts.held, conflicts: counts.conflicts };
    Ok((summary != WantsSummary::default()).then_some(summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::origin::OriginUrl;

    fn claim(folder: Option<&str>) -> FileClaim {
        let folder = folder.map(|folder| FolderName::new(folder).unwrap());
        FileClaim { folder, ..FileClaim::of_url(OriginUrl::new("http://h/x.cab").unwrap()) }
    }

    #[test]
    fn a_file_goes_to_the_told_folder_else_to_the_usual_or_only_one() {
        for (told, folders, expected) in [
            (None, &["repo"][..], Ok("repo")),
            (None, &["wapt", "waptwua"], Ok("waptwua")),
            (Some("wapt"), &["wapt", "waptwua"], Ok("wapt")),
            (Some("other"), &["wapt", "waptwua"], Err(ErrorCode::Unknown)),
            (None, &["one", "two"], Err(ErrorCode::Invalid)),
        ] {
            let folders: Vec<_> = folders.iter().map(|folder| FolderName::new(folder).unwrap()).collect();
            let found = folder_of(&claim(told), &folders);
            let found = found.as_ref().map(FolderName::as_str).map_err(|error| error.code);
            assert_eq!(found, expected, "{told:?} {folders:?}");
        }
    }

    #[test]
    fn the_audit_names_the_first_few_files() {
        let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(named(&names[..3]), "a, b, c");
        assert_eq!(named(&names), "a, b, c and 2 more");
    }
}
