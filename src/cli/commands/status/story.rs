//! One file on one screen. Pure.

use crate::{
    base::units,
    cli::out::{Style, printable},
    daemon::api::{FileStory, FlightReport, TaskReport, WantReport},
};
use std::time::Duration;

/// The page, `now` in seconds since 1970 UTC.
pub(super) fn page(story: &FileStory, now: u64, style: Style) -> String {
    let mut page = style.bold(&printable(&format!("{}/{}", story.folder, story.name)));
    page.push_str(&format!("\n{}\n", printable(&story.verdict)));
    let mut line = |what: &str, text: String| page.push_str(&format!("{what:<10}{}\n", printable(&text)));
    if let Some(root) = story.file.as_ref().and_then(|file| file.root) {
        line("blake3", root.to_string());
    }
    if let Some(flight) = &story.flight {
        flight_lines(flight, now, &mut line);
    }
    if let Some(want) = &story.want {
        want_lines(want, now, &mut line);
    }
    if let Some(ask) = &story.asked_in_vain {
        line("in vain", format!("asked for {} times, last {} ago", ask.times, ago(ask.last, now)));
    }
    story.urls.iter().for_each(|url| line("from", url.clone()));
    story.tasks.iter().for_each(|task| line("attempt", attempt(task, now)));
    page
}

fn flight_lines(flight: &FlightReport, now: u64, line: &mut impl FnMut(&str, String)) {
    line("asked", format!("{} times since {} ago, first by {}", flight.asked, ago(flight.since, now), flight.first));
    if let Some(size) = flight.size.filter(|size| *size > 0) {
        let percent = flight.arrived.min(size) * 100 / size;
        line("arrived", format!("{} of {} ({percent} %)", units::bytes(flight.arrived), units::bytes(size)));
    }
}

fn want_lines(want: &WantReport, now: u64, line: &mut impl FnMut(&str, String)) {
    let first = ago(want.first_asked, now);
    line("wanted", format!("{} times since {first} ago, by {}", want.times, want.who.join(", ")));
    want.updates.iter().for_each(|update| line("update", update.to_string()));
}

fn attempt(task: &TaskReport, now: u64) -> String {
    let error = task.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{} ago, {}, {} received{error}", ago(task.started_at, now), task.status, units::bytes(task.received))
}

fn ago(at: u64, now: u64) -> String {
    units::duration(Duration::from_secs(now.saturating_sub(at)))
}
