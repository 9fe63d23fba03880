//! Rows of attempts to fetch files. A task and the want that it serves change in one commit.

use super::{
    error::CatalogError,
    ledger::{Ledger, row_of},
    tables,
};
use crate::domain::{
    name::{FileName, FolderName},
    origin::OriginUrl,
    wants::{DownloadTask, FileFacts, TaskEnd, TaskKind, TaskResult, Want},
};
use redb::{ReadableTable, Table, WriteTransaction};

/// Which tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLimit {
    /// The last so many.
    pub rows: u64,
    /// Those that began within so many seconds.
    pub seconds: u64,
}

impl Default for TaskLimit {
    fn default() -> Self {
        Self { rows: 10_000, seconds: 90 * 86_400 }
    }
}

impl Ledger {
    /// Begins a task at `now` (seconds since 1970 UTC), and drops those beyond `limit`. `None` while
    /// another one serves the same want.
    pub fn begin_task(
        &self,
        kind: TaskKind,
        folder: &FolderName,
        name: &FileName,
        url: &OriginUrl,
        now: u64,
        limit: TaskLimit,
    ) -> Result<Option<u64>, CatalogError> {
        self.write(|transaction| {
            let want = want_of(transaction, folder, name)?;
            if want.as_ref().is_some_and(|want| want.running.is_some()) {
                return Ok(None);
            }
            let facts = transaction.open_table(tables::FILES)?;
            let facts = facts.get((folder.as_str(), name.as_str()))?.map(|value| FileFacts::decode(value.value()));
            let size = facts.transpose().map_err(row_of("files"))?.and_then(|facts| facts.size);
            let mut tasks = transaction.open_table(tables::TASKS)?;
            let id = tasks.last()?.map_or(0, |(id, _)| id.value() + 1);
            let task = DownloadTask {
                kind,
                folder: folder.clone(),
                name: name.clone(),
                url: url.clone(),
                started_at: now,
                size,
                received: 0,
                end: TaskEnd::Running,
            };
            put_task(&mut tasks, id, &task)?;
            trim(&mut tasks, id, now, limit)?;
            if let Some(want) = want {
                put_want(transaction, folder, name, &Want { running: Some(id), ..want })?;
            }
            Ok(Some(id))
        })
    }

    /// A task has ended at `now` with `received` bytes. One that had ended before stays as it is.
    pub fn end_task(&self, id: u64, result: &TaskResult, received: u64, now: u64) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut tasks = transaction.open_table(tables::TASKS)?;
            let task = tasks.get(id)?.map(|value| decode(value.value())).transpose()?;
            let Some(mut task) = task.filter(DownloadTask::is_running) else { return Ok(()) };
            task.on_end(result, received, now);
            put_task(&mut tasks, id, &task)?;
            let want = want_of(transaction, &task.folder, &task.name)?;
            if let Some(mut want) = want.filter(|want| want.running == Some(id)) {
                want.on_task_end(result, now);
                put_want(transaction, &task.folder, &task.name, &want)?;
            }
            Ok(())
        })
    }

    /// Ends the tasks that a daemon before this one left running.
    pub fn interrupt_tasks(&self, now: u64) -> Result<(), CatalogError> {
        let mut running = Vec::new();
        for row in self.reading()?.open_table(tables::TASKS)?.iter()? {
            let (id, value) = row?;
            let task = decode(value.value())?;
            if task.is_running() {
                running.push((id.value(), task.received));
            }
        }
        running.into_iter().try_for_each(|(id, received)| self.end_task(id, &TaskResult::Interrupted, received, now))
    }

    /// The last `most` tasks with their numbers, newest first.
    pub fn last_tasks(&self, most: usize) -> Result<Vec<(u64, DownloadTask)>, CatalogError> {
        let table = self.reading()?.open_table(tables::TASKS)?;
        let rows = table.iter()?.rev().take(most).map(|row| {
            let (id, value) = row?;
            Ok((id.value(), decode(value.value())?))
        });
        rows.collect()
    }
}

fn decode(bytes: &[u8]) -> Result<DownloadTask, CatalogError> {
    DownloadTask::decode(bytes).map_err(row_of("tasks"))
}

fn put_task(tasks: &mut Table<'_, u64, &'static [u8]>, id: u64, task: &DownloadTask) -> Result<(), CatalogError> {
    tasks.insert(id, task.encode().map_err(row_of("tasks"))?.as_slice())?;
    Ok(())
}

/// Drops tasks beyond the limit; those that go on stay.
fn trim(tasks: &mut Table<'_, u64, &'static [u8]>, last: u64, now: u64, limit: TaskLimit) -> Result<(), CatalogError> {
    let oldest_kept = (last + 1).saturating_sub(limit.rows);
    let oldest_start = now.saturating_sub(limit.seconds);
    let mut dropped = Vec::new();
    for row in tasks.iter()? {
        let (id, value) = row?;
        let task = decode(value.value())?;
        if id.value() >= oldest_kept && task.started_at >= oldest_start {
            break; // the rest is younger
        }
        if !task.is_running() {
            dropped.push(id.value());
        }
    }
    for id in dropped {
        tasks.remove(id)?;
    }
    Ok(())
}

fn want_of(transaction: &WriteTransaction, folder: &FolderName, name: &FileName) -> Result<Option<Want>, CatalogError> {
    let wants = transaction.open_table(tables::WANTS)?;
    let value = wants.get((folder.as_str(), name.as_str()))?;
    value.map(|value| Want::decode(value.value()).map_err(row_of("wants"))).transpose()
}

fn put_want(
    transaction: &WriteTransaction,
    folder: &FolderName,
    name: &FileName,
    want: &Want,
) -> Result<(), CatalogError> {
    let mut wants = transaction.open_table(tables::WANTS)?;
    wants.insert((folder.as_str(), name.as_str()), want.encode().map_err(row_of("wants"))?.as_slice())?;
    Ok(())
}
