//! Facts of hosts from the database of a WAPT server on this machine, read only, over its local socket.
//!
//! Order of events at each look: columns are discovered; what updates are is read; every host's own row is read; of those
//! that were heard of since the last look, where their updates stand is read and kept. A database that lacks a table or a
//! column, or can't be reached, turns the feature off until the next look, and says so.

mod columns;
mod psql;

use super::{
    config::{self, WaptSocket},
    upstream::server_ini,
};
use crate::{
    base::chain::chain,
    catalog::{FactsFrom, HostRecord},
    domain::host::{HostReport, HostUuid},
    jobs::ScanWants,
    repository::{Alarm, Repository, RepositoryError},
    wapt::host_report::{ReadReportError, read_details, read_report},
};
use columns::{MissingColumn, Questions, questions};
use psql::{AskError, ask};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Where Debian's PostgreSQL has its socket.
const SOCKET: &str = "/run/postgresql";
/// Between two looks: hosts report to a WAPT server every two hours or so.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// For one look.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Hosts whose updates are asked for at once.
const HOSTS: usize = 100;
/// Updates that are read at once.
const UPDATES: usize = 2_000;

const READING: Alarm = Alarm::Failing("reading the WAPT server's database");

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Columns(#[from] MissingColumn),
    #[error("reading its rows")]
    Rows(#[from] ReadReportError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error("it did not answer in time")]
    Slow,
}

/// What one look came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Looked {
    /// Hosts in the database.
    hosts: usize,
    /// Of these, hosts that were heard of since the last look.
    changed: usize,
}

/// The directory of the database's socket, if it is to be read.
pub(super) fn socket(hosts: &config::Hosts) -> Option<PathBuf> {
    match &hosts.wapt_socket {
        WaptSocket::Off => None,
        WaptSocket::At(path) => Some(path.clone()),
        WaptSocket::Auto => server_ini().map(|_| PathBuf::from(SOCKET)),
    }
}

/// Looks now and then, until `cancel`.
pub(super) async fn run(
    repository: Arc<Repository>,
    socket: PathBuf,
    scan_wants: Option<Arc<ScanWants>>,
    cancel: CancellationToken,
) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = every.tick() => {}
        }
        let looked = tokio::time::timeout(PATIENCE, look(&repository, &socket));
        let Some(looked) = cancel.run_until_cancelled(looked).await else { return };
        match looked.unwrap_or(Err(LookError::Slow)) {
            Ok(Looked { hosts, changed }) => {
                repository.attention.clear(&READING);
                tracing::debug!(hosts, changed, "the WAPT server's hosts were read");
                if let Some(scan_wants) = scan_wants.as_ref().filter(|_| changed > 0) {
                    scan_wants.look_at_hosts();
                }
            }
            Err(error) => {
                let what = format!("facts of hosts are not read from the WAPT server: {}", chain(&error));
                let cure = "let the daemon's user read its tables (hosts, wsusupdates, hostwsus), or set \
                            `hosts.wapt_socket = \"\"`";
                repository.attention.raise(READING, what, cure);
            }
        }
    }
}

async fn look(repository: &Arc<Repository>, socket: &Path) -> Result<Looked, LookError> {
    let found = ask(socket, columns::DISCOVER, &[]).await?.all().await?;
    let found = found.iter().filter_map(|row| row.split_once('\t'));
    let found: Vec<_> = found.map(|(table, column)| (table.to_owned(), column.to_owned())).collect();
    let asked = questions(&found)?;
    read_updates(repository, socket, &asked).await?;
    let rows = ask(socket, &asked.hosts, &[]).await?.all().await?;
    let hosts = rows.len();
    let news = move |repository: &Repository| {
        let heard = rows.into_iter().map(|row| Ok(heard_since(repository, &row)?.map(|uuid| (uuid, row))));
        heard.filter_map(Result::transpose).collect::<Result<Vec<_>, RepositoryError>>()
    };
    let changed = repository.apart("hosts of the WAPT server", news).await?;
    for some in changed.chunks(HOSTS) {
        read_hosts(repository, socket, &asked, some.to_vec()).await?;
    }
    Ok(Looked { hosts, changed: changed.len() })
}

/// Whose row it is, if the host was heard of since what is known of it; a row that names no host is passed over.
fn heard_since(repository: &Repository, row: &str) -> Result<Option<HostUuid>, RepositoryError> {
    let now = repository.clock().unix_seconds();
    let Ok(HostReport { facts: told, .. }) = read_report(row.as_bytes(), None, now) else { return Ok(None) };
    let is_old = repository.host(&told.uuid)?.is_some_and(|known| {
        let last = known.facts;
        told.scanned_at.is_some() && (told.scanned_at, told.seen_at) <= (last.scanned_at, last.seen_at)
    });
    Ok((!is_old).then_some(told.uuid))
}

async fn read_updates(repository: &Arc<Repository>, socket: &Path, asked: &Questions) -> Result<(), LookError> {
    let mut answer = ask(socket, &asked.updates, &[]).await?;
    loop {
        let rows = answer.next(UPDATES).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let is_last = rows.len() < UPDATES;
        let told = read_details(format!("[{}]", rows.join(",")).as_bytes())?;
        let keep = move |repository: &Repository| {
            let now = repository.clock().unix_seconds();
            Ok(repository.state().hosts.put_told(told, now)?)
        };
        repository.apart("updates of the WAPT server", keep).await?;
        if is_last {
            return Ok(());
        }
    }
}

async fn read_hosts(
    repository: &Arc<Repository>,
    socket: &Path,
    asked: &Questions,
    hosts: Vec<(HostUuid, String)>,
) -> Result<(), LookError> {
    // As the database writes them: case counts there. What is a UUID has neither commas nor quotes.
    let uuids: Vec<String> = hosts.iter().filter_map(|(_, row)| uuid_as_written(row)).collect();
    let rows = ask(socket, &asked.host_updates, &[("uuids", &uuids.join(","))]).await?.all().await?;
    let mut of_host: BTreeMap<HostUuid, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Some((uuid, local)) = row.split_once('\t')
            && let Ok(uuid) = HostUuid::new(uuid)
        {
            of_host.entry(uuid).or_default().push(local.to_owned());
        }
    }
    let keep = move |repository: &Repository| {
        let now = repository.clock().unix_seconds();
        let mut reports = Vec::with_capacity(hosts.len());
        for (uuid, row) in hosts {
            let locals = of_host.remove(&uuid).unwrap_or_default().join(",");
            let Some(row) = row.trim_end().strip_suffix('}') else { continue };
            let json = format!("{row},\"waptwua_updates_localstatus\":[{locals}]}}");
            match read_report(json.as_bytes(), Some(&uuid), now) {
                Ok(report) if has_told_later(repository, &report)? => {}
                Ok(report) => reports.push(report),
                Err(error) => tracing::warn!(host = %uuid, %error, "the WAPT server's rows of a host can't be read"),
            }
        }
        repository.put_hosts(reports, FactsFrom::Server).map(drop)
    };
    Ok(repository.apart("hosts of the WAPT server", keep).await?)
}

/// Whether the host itself has told as much, signed: that counts more.
fn has_told_later(repository: &Repository, report: &HostReport) -> Result<bool, RepositoryError> {
    let known = repository.host(&report.facts.uuid)?;
    let is_later =
        |known: HostRecord| known.from == FactsFrom::Report && known.facts.scanned_at >= report.facts.scanned_at;
    Ok(known.is_some_and(is_later))
}

fn uuid_as_written(row: &str) -> Option<String> {
    let row: serde_json::Value = serde_json::from_str(row).ok()?;
    let uuid = row.get("uuid")?.as_str()?;
    HostUuid::new(uuid).is_ok().then(|| uuid.to_owned())
}
