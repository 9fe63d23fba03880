//! What systemd is told: that hosts are served, how the node is, that it makes progress.
//!
//! The watchdog hears of it only after work has gone the way that commands and files go: an answer over the control
//! socket, a look into the index on a thread that may block, a turn of the threads for connections. A daemon in
//! which one of them stands still is ended and started again. Outside of systemd all of this is nothing.

use super::{api::StatusReport, node::Node, rates::Rates, report};
use crate::{
    base::{chain::chain, tasks},
    domain::member::Role,
};
use sd_notify::NotifyState;
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Between two looks, unless the watchdog wants more.
const EVERY: Duration = Duration::from_secs(10);
/// Looks in the time in which the watchdog wants to hear of one.
const LOOKS: u32 = 4;
/// The question to the control socket, and how its answer begins.
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: wuasync\r\nconnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200";

/// Hosts are served and commands are heard.
pub(super) fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// Settings are read again; over with [`tell_ready`].
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end has begun.
pub(super) fn tell_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("open connections are let end")]);
}

/// Tells how the node is and that it makes progress, until the node stops.
pub(super) async fn keep_telling(node: Arc<Node>, rates: Arc<Rates>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let every = watchdog.map_or(EVERY, |within| EVERY.min(within / LOOKS));
    let stopping = node.stopping().clone();
    let telling = async {
        loop {
            // Nobody is told while a look goes on: one that never ends is what the watchdog is for.
            match look(&node, &rates).await {
                Ok(status) => tell(&[NotifyState::Status(&status), NotifyState::Watchdog]),
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the daemon does not answer itself");
                    tell(&[NotifyState::Status(&format!("in trouble: {}", chain(&error)))]);
                }
            }
            tokio::time::sleep(every).await;
        }
    };
    stopping.run_until_cancelled(telling).await;
    // What is drained takes its time, and is waited for with a deadline.
    tell(&[NotifyState::Watchdog]);
}

/// Goes the ways that commands and files go, and says how the node is.
async fn look(node: &Arc<Node>, rates: &Rates) -> io::Result<String> {
    ask_control(&node.config.control).await?;
    node.lanes_turn().await;
    let (reported, rates) = (node.clone(), rates.report());
    let status = tasks::blocking(move || report::status(&reported, rates)).await.map_err(io::Error::other)?;
    // Rows that can't be read are an alarm of their own, and no better after a new start.
    Ok(status.as_ref().map_or_else(|error| chain(error), summary))
}

async fn ask_control(path: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = [0; ANSWER.len()];
    stream.read_exact(&mut answer).await?;
    if answer == *ANSWER { Ok(()) } else { Err(io::Error::other("the control socket answers with an error")) }
}

/// A node in one line.
fn summary(status: &StatusReport) -> String {
    let files: u64 = status.folders.iter().map(|folder| folder.held_files).sum();
    let missing: u64 = status.folders.iter().map(|folder| folder.missing_files).sum();
    let missing = if missing == 0 { String::new() } else { format!(", {missing} missing") };
    let others = match (status.role, &status.parent) {
        (Role::Main, _) => format!("{} secondaries connected", status.children.len()),
        (Role::Secondary, Some(parent)) if parent.connected => format!("connected to {}", parent.name),
        (Role::Secondary, Some(parent)) => format!("{} can't be reached", parent.address),
        (Role::Secondary, None) => "not joined".to_owned(),
    };
    let attention = match status.attention.len() {
        0 => "all is well".to_owned(),
        many => format!("{many} matters for a person: wuasync status"),
    };
    format!("{} {}: {files} files{missing}; {others}; {attention}", status.role, status.name)
}

/// Whoever started the daemon may not listen.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd can't be told how the daemon is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::api::{AttentionReport, FolderReport, ParentReport};

    fn status(role: Role) -> StatusReport {
        StatusReport::quiet(role, "lyon", FolderReport::of(9, 2))
    }

    #[test]
    fn a_node_is_told_in_one_line() {
        assert_eq!(summary(&status(Role::Main)), "main lyon: 7 files, 2 missing; 0 secondaries connected; all is well");
        let mut lyon = status(Role::Secondary);
        assert!(summary(&lyon).contains("; not joined; "));
        let parent = |connected| ParentReport {
            name: "paris".to_owned(),
            address: "paris:4443".to_owned(),
            connected,
            since: None,
            last_error: None,
        };
        lyon.parent = Some(parent(true));
        assert!(summary(&lyon).contains("; connected to paris; "));
        lyon.parent = Some(parent(false));
        lyon.attention = vec![AttentionReport { what: String::new(), since: None, cure: String::new() }];
        let said = summary(&lyon);
        assert!(said.ends_with("; paris:4443 can't be reached; 1 matters for a person: wuasync status"), "{said}");
    }

    #[tokio::test]
    async fn a_control_socket_that_is_silent_is_no_progress() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let silent = tokio::net::UnixListener::bind(&path).unwrap();
        let asked = tokio::time::timeout(Duration::from_millis(50), ask_control(&path)).await;
        assert!(asked.is_err(), "{asked:?}");
        drop(silent);
        assert!(ask_control(&path).await.is_err());
    }
}
