//! `/metrics`: the status as numbers, in the text format of Prometheus.

mod repositories;

use super::{api::StatusReport, node::Node};
use std::fmt::Write;

/// Renders a status.
pub(super) fn render(status: &StatusReport, node: &Node) -> String {
    let mut out = String::new();
    for (name, help, value) in [
        ("head_seq", "Last change of the signed state", status.state.seq),
        ("head_age_seconds", "Seconds since the state was signed", status.state.head_age_seconds.unwrap_or(0)),
        ("children", "Members that are connected", status.children.len() as u64),
        ("parent_connected", "1 while the parent is connected", u64::from(parent_connected(status))),
        ("attention", "Conditions that need a person", status.attention.len() as u64),
    ] {
        gauge(&mut out, name, help, &[(String::new(), value)]);
    }
    let folders = |value: fn(&super::api::FolderReport) -> u64| -> Vec<(String, u64)> {
        status.folders.iter().map(|folder| (format!("{{folder=\"{}\"}}", folder.name), value(folder))).collect()
    };
    gauge(&mut out, "files", "Files in the index", &folders(|folder| folder.files));
    gauge(&mut out, "bytes", "Bytes in the index", &folders(|folder| folder.bytes));
    gauge(&mut out, "held_files", "Files of the index on this disk", &folders(|folder| folder.held_files));
    gauge(&mut out, "missing_files", "Files of the index not on this disk", &folders(|folder| folder.missing_files));
    gauge(&mut out, "missing_bytes", "Their bytes", &folders(|folder| folder.missing_bytes));
    repositories::render(&mut out, &status.repositories);
    let wants = status.wants.unwrap_or_default();
    gauge(&mut out, "wanted_files", "Files that somebody wants", &[(String::new(), wants.files)]);
    gauge(&mut out, "wanted_files_open", "Of these, not on this disk", &[(String::new(), wants.open)]);
    if let Some(hosts) = status.hosts {
        for (name, help, value) in [
            ("hosts_unknown", "1 while nothing was ever told of any host", u64::from(hosts.known == 0)),
            ("hosts_known", "Hosts of which something was told", hosts.known),
            ("hosts_reported_lately", "Of these, heard of within the last day", hosts.reported_lately),
            ("hosts_stale", "Of these, not heard of for 45 days", hosts.stale),
            ("hosts_waiting", "Hosts that wait until somebody approves them", hosts.waiting),
        ] {
            gauge(&mut out, name, help, &[(String::new(), value)]);
        }
    }
    let scrub = status.scrub.unwrap_or_default();
    gauge(&mut out, "damaged_files", "Damaged files that wait for good bytes", &[(String::new(), scrub.damaged_files)]);
    let ended = scrub.last_ended_at.unwrap_or(0);
    gauge(&mut out, "scrub_ended_seconds", "When the last scrub ended, since 1970 UTC", &[(String::new(), ended)]);
    let shared = &node.shared;
    let counts = node.counters.read();
    let (sent, back) = node.usher.as_ref().map_or((0, 0), |usher| usher.counts());
    for (name, help, value) in [
        (
            "received_bytes",
            "Content received from repositories",
            shared.received_bytes.load(std::sync::atomic::Ordering::Relaxed),
        ),
        ("sent_bytes", "Content sent to repositories", shared.sent_bytes.load(std::sync::atomic::Ordering::Relaxed)),
        ("line_received_bytes", "Bytes that came over the line, heads of packets included", shared.throttle.moved().0),
        ("line_sent_bytes", "Bytes that left over the line, heads of packets included", shared.throttle.moved().1),
        ("scrub_read_bytes", "Bytes read to verify what lies here", scrub.read_bytes),
        ("scrub_bad_groups", "Groups of 64 KiB found damaged", scrub.bad_groups),
        ("scrub_healed_groups", "Damaged groups whose file is whole again", scrub.healed_groups),
        ("http_requests", "Requests of hosts", counts.requests),
        ("http_bytes", "Bytes served to hosts", counts.bytes),
        ("http_sent_elsewhere", "Requests of hosts that were sent to a nearer repository", sent),
        ("http_came_back", "Requests of hosts that were not served there", back),
    ] {
        metric(&mut out, &format!("{name}_total"), help, "counter", &[(String::new(), value)]);
    }
    out
}

fn parent_connected(status: &StatusReport) -> bool {
    status.parent.as_ref().is_some_and(|parent| parent.connected)
}

fn gauge(out: &mut String, name: &str, help: &str, values: &[(String, u64)]) {
    metric(out, name, help, "gauge", values);
}

fn metric(out: &mut String, name: &str, help: &str, kind: &str, values: &[(String, u64)]) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "# HELP wuasync_{name} {help}\n# TYPE wuasync_{name} {kind}");
    for (labels, value) in values {
        let _ = writeln!(out, "wuasync_{name}{labels} {value}");
    }
}
