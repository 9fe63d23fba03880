//! One file explained: who wants it, its flight, its source, and what holds it back.

use super::{
    api::{
        ApiError, AskReport, ErrorCode, FileReport, FileState, FileStory, FlightPhase, FlightReport, MirrorReport,
        TaskReport, WantReport, WantStateReport,
    },
    mirroring,
    node::Node,
    report,
    router::{Answer, Api, blocking},
    wants,
};
use crate::{
    base::units,
    domain::{
        edition::is_edition,
        member::Role,
        name::{FileName, FolderName},
        wants::{DownloadTask, TaskEnd},
    },
    repository::RepositoryError,
    supply::{Client, Flight, Phase},
};
use axum::{
    Json,
    extract::{Path, State},
};

/// Attempts that are looked through for those of one file.
const TASKS: usize = 2_000;
/// Attempts that are told.
const TOLD: usize = 5;

pub(super) async fn story(State(api): State<Api>, Path((folder, name)): Path<(String, String)>) -> Answer<FileStory> {
    let invalid = |error: String| ApiError::new(ErrorCode::Invalid, error);
    let folder = FolderName::new(&folder).map_err(|error| invalid(error.to_string()))?;
    if api.node.repository.folder_path(&folder).is_none() {
        return Err(ApiError::new(ErrorCode::Unknown, format!("no folder {folder} is configured")));
    }
    let Json(story) = blocking(move || tell(&api.node, &folder, &name)).await?;
    let unknown =
        format!("neither the index nor this disk knows {}/{}, and nobody asked for it", story.folder, story.name);
    if story.is_empty() { Err(ApiError::new(ErrorCode::Unknown, unknown)) } else { Ok(Json(story)) }
}

impl FileStory {
    fn is_empty(&self) -> bool {
        self.file.is_none()
            && self.want.is_none()
            && self.urls.is_empty()
            && self.flight.is_none()
            && self.asked_in_vain.is_none()
            && self.tasks.is_empty()
    }
}

fn tell(node: &Node, folder: &FolderName, name: &str) -> Result<FileStory, RepositoryError> {
    let mut story = FileStory {
        folder: folder.clone(),
        name: name.to_owned(),
        verdict: String::new(),
        file: report::file(node, folder, name)?,
        want: None,
        urls: Vec::new(),
        flight: None,
        asked_in_vain: None,
        tasks: Vec::new(),
    };
    if let Ok(name) = FileName::new(name) {
        let repository = &node.repository;
        story.want = repository.want_of(folder, &name)?.map(wants::report);
        let known = repository.known_file(folder, &name)?;
        let urls = known.iter().flat_map(|known| known.facts.urls_by_freshness());
        story.urls = urls.map(ToString::to_string).collect();
        let flight = node.flights.as_ref().and_then(|flights| flights.of(folder, &name));
        story.flight = flight.map(|flight| flight_report(node, &flight, &story.urls));
        let ask = repository.ask_of(folder, &name)?;
        story.asked_in_vain = ask.map(|ask| AskReport { first: ask.first, last: ask.last, times: ask.times });
        let tasks = repository.state().ledger.last_tasks(TASKS)?.into_iter().map(|(_, task)| task);
        let of_it = tasks.filter(|task| task.folder == *folder && task.name == name);
        story.tasks = of_it.take(TOLD).map(task_report).collect();
    }
    let mirror = (node.repository.role() == Role::Secondary).then(|| mirroring::report(node));
    story.verdict = verdict(&story, mirror.as_ref(), node.repository.role(), node.repository.clock().unix_seconds());
    Ok(story)
}

/// A flight in words.
pub(super) fn flight_report(node: &Node, flight: &Flight, urls: &[String]) -> FlightReport {
    let progress = flight.progress();
    let phase = match progress.phase {
        Phase::Queued => FlightPhase::Queued,
        Phase::Flying => FlightPhase::Flying,
        Phase::Verified | Phase::Ended(_) => FlightPhase::Verified,
    };
    let source = match node.repository.role() {
        Role::Main => urls.first().cloned().unwrap_or_else(|| "Microsoft".to_owned()),
        Role::Secondary => format!("the parent {}", node.shared.parent().name),
    };
    FlightReport {
        phase,
        since: flight.since,
        first: client(&flight.first),
        asked: flight.asked(),
        readers: flight.readers() as u64,
        size: progress.sight.as_ref().map(|sight| sight.size),
        arrived: progress.sight.as_ref().map_or(0, |sight| sight.here.len()),
        source,
    }
}

fn client(client: &Client) -> String {
    match client {
        Client::Host(address) => format!("host {address}"),
        Client::Member(name) => format!("member {name}"),
        Client::Background => "this repository".to_owned(),
    }
}

fn task_report(task: DownloadTask) -> TaskReport {
    let (status, ended_at, error) = match task.end {
        TaskEnd::Running => ("running", None, None),
        TaskEnd::Done { at } => ("done", Some(at), None),
        TaskEnd::Failed { at, error } => ("failed", Some(at), Some(error)),
        TaskEnd::Interrupted { at } => ("interrupted", Some(at), None),
    };
    TaskReport {
        kind: task.kind,
        url: task.url.to_string(),
        started_at: task.started_at,
        ended_at,
        received: task.received,
        status: status.to_owned(),
        error,
    }
}

/// Where the file stands and what holds it back, in one sentence. `now` in seconds since 1970 UTC.
fn verdict(story: &FileStory, mirror: Option<&MirrorReport>, role: Role, now: u64) -> String {
    if let Some(flight) = &story.flight {
        return flying(flight);
    }
    if let Some(FileReport { state, why, .. }) = &story.file {
        let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        match (state, role) {
            (FileState::Held, _) => return "it is here, verified, and hosts get it".to_owned(),
            (FileState::Unlisted, _) => return format!("it is here and hosts get it{why}"),
            (FileState::Incomplete | FileState::Refused, _) => return format!("hosts don't get it{why}"),
            (FileState::Missing, Role::Secondary) => {
                let comes = comes(&story.name, mirror, now);
                return format!("the main has signed it and it is not here yet: it comes {comes}when a host asks");
            }
            (FileState::Missing, Role::Main) => {
                return "its bytes are lost here: they come back from a secondary that has them".to_owned();
            }
        }
    }
    match &story.want {
        Some(WantReport { state: WantStateReport::Unvouched, .. }) => {
            "no digest vouches for it, so it is not fetched: tell one with `wuasync want add --sha256`".to_owned()
        }
        Some(WantReport { state: WantStateReport::Waiting, next_try, error, .. }) => {
            let wait = units::duration(std::time::Duration::from_secs(next_try.unwrap_or(now).saturating_sub(now)));
            let why = error.as_deref().unwrap_or("it failed");
            format!("fetching it failed, and it is tried again in {wait}: {why}")
        }
        Some(_) => "it is wanted, and fetched when its turn comes: `wuasync want scan` looks at once".to_owned(),
        None if !story.urls.is_empty() => "it is known, and fetched when a host asks for it".to_owned(),
        None if story.asked_in_vain.is_some() => {
            "hosts asked for it in vain: it is asked for again when the parent is there".to_owned()
        }
        None => "nobody knows it".to_owned(),
    }
}

/// When a missing file comes by itself.
fn comes(name: &str, mirror: Option<&MirrorReport>, now: u64) -> String {
    let is_edition = FileName::new(name).is_ok_and(|name| is_edition(&name));
    match mirror.filter(|_| !is_edition) {
        Some(MirrorReport { on_miss: true, .. }) => String::new(),
        Some(MirrorReport { window: Some(window), is_open: false, changes_at, .. }) => {
            let left = changes_at.unwrap_or(now).saturating_sub(now);
            let left = units::duration(std::time::Duration::from_secs(left));
            format!("when the window {window} opens, in {left}, or at once ")
        }
        _ => "with the other missing files, or at once ".to_owned(),
    }
}

fn flying(flight: &FlightReport) -> String {
    let readers = match flight.readers {
        0 => "nobody reads it".to_owned(),
        1 => "one host reads it".to_owned(),
        many => format!("{many} hosts read it"),
    };
    match (flight.phase, flight.size) {
        (FlightPhase::Queued, _) => {
            "it waits for its turn: as much is being fetched as `limits.max_flights` lets".to_owned()
        }
        (FlightPhase::Flying, None) => format!("{} is being asked for it", flight.source),
        (FlightPhase::Flying, Some(size)) => {
            let (arrived, all) = (units::bytes(flight.arrived), units::bytes(size));
            format!("it is arriving from {}: {arrived} of {all}, and {readers} meanwhile", flight.source)
        }
        (FlightPhase::Verified, _) => format!("all of it is here and right; it is being given its name, and {readers}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story() -> FileStory {
        FileStory {
            folder: FolderName::new("waptwua").unwrap(),
            name: "kb.cab".to_owned(),
            verdict: String::new(),
            file: None,
            want: None,
            urls: Vec::new(),
            flight: None,
            asked_in_vain: None,
            tasks: Vec::new(),
        }
    }

    fn flight(phase: FlightPhase, size: Option<u64>) -> FlightReport {
        let (first, source) = ("host 10.0.0.7".to_owned(), "http://h/kb.cab".to_owned());
        FlightReport { phase, since: 0, first, asked: 3, readers: 2, size, arrived: 1 << 20, source }
    }

    fn file(state: FileState, why: Option<&str>) -> FileReport {
        FileReport {
            folder: FolderName::new("waptwua").unwrap(),
            name: "kb.cab".to_owned(),
            size: None,
            modified: None,
            root: None,
            sha1: None,
            held: false,
            state,
            why: why.map(str::to_owned),
        }
    }

    #[test]
    fn what_holds_a_file_back_is_said_in_one_sentence() {
        let said = |story: FileStory, role| verdict(&story, None, role, 1_000);
        for (story, role, words) in [
            (story(), Role::Main, "nobody knows it"),
            (FileStory { urls: vec!["http://h/kb.cab".to_owned()], ..story() }, Role::Main, "fetched when a host asks"),
            (
                FileStory { asked_in_vain: Some(AskReport { first: 1, last: 2, times: 3 }), ..story() },
                Role::Secondary,
                "asked for it in vain",
            ),
            (FileStory { file: Some(file(FileState::Held, None)), ..story() }, Role::Main, "it is here, verified"),
            (FileStory { file: Some(file(FileState::Missing, None)), ..story() }, Role::Secondary, "not here yet"),
            (FileStory { file: Some(file(FileState::Missing, None)), ..story() }, Role::Main, "from a secondary"),
            (
                FileStory { file: Some(file(FileState::Refused, Some("a link"))), ..story() },
                Role::Main,
                "hosts don't get it: a link",
            ),
            (FileStory { flight: Some(flight(FlightPhase::Queued, None)), ..story() }, Role::Main, "max_flights"),
            (
                FileStory { flight: Some(flight(FlightPhase::Flying, None)), ..story() },
                Role::Main,
                "http://h/kb.cab is being asked for it",
            ),
            (
                FileStory { flight: Some(flight(FlightPhase::Flying, Some(5 << 20))), ..story() },
                Role::Main,
                "1.0 MiB of 5.0 MiB, and 2 hosts read it",
            ),
            (FileStory { flight: Some(flight(FlightPhase::Verified, Some(5))), ..story() }, Role::Main, "its name"),
        ] {
            let said = said(story, role);
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_missing_file_says_that_the_window_holds_it_back_and_until_when() {
        let missing = FileStory { file: Some(file(FileState::Missing, None)), ..story() };
        let window = Some("20:30-05:30".to_owned());
        let closed = MirrorReport { on_miss: false, window, is_open: false, changes_at: Some(4_600) };
        let said = |story: &FileStory, mirror: &MirrorReport| verdict(story, Some(mirror), Role::Secondary, 1_000);
        let words = "it comes when the window 20:30-05:30 opens, in 1 h 0 min, or at once when a host asks";
        assert!(said(&missing, &closed).ends_with(words), "{}", said(&missing, &closed));
        let edition = FileStory { name: "wsusscn2.cab".to_owned(), ..missing.clone() };
        assert!(said(&edition, &closed).contains("with the other missing files"));
        let on_miss = MirrorReport { on_miss: true, ..closed };
        assert!(said(&missing, &on_miss).ends_with("it comes when a host asks"));
    }
}
