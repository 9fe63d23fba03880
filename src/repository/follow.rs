//! A secondary follows its line: signed heads, and the changes that lead to them.
//!
//! A batch of changes is believed only if the roots that it leads to are the signed ones. The index
//! changes at once; bytes follow.

use super::{
    attention::Alarm,
    error::RepositoryError,
    log_limit::{self, LogLimit},
    open::{Repository, Writer},
    publish::is_content_of,
};
use crate::{
    base::tasks,
    catalog::{Batch, CatalogError, EntryRows, FileRows, HoldingRecord, LogRecord, MissingRecord},
    domain::{
        file::{FileRecord, MAX_FILE_BYTES},
        key::LineKey,
        name::{FileName, FolderName},
        state::{Accepted, Body, Head, Namespace, NodeHash, SignedHead, Verdict, VerifyHeadError, bucket_of, judge},
        versioned::VersionedError,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// From so many changes on entries and files are written by a thread each: a first state has tens of thousands, and
/// nothing else can be done before they are there.
const TWO_THREADS_FROM: usize = 4_096;

/// A change that the parent sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number, if it comes from a log; differences between two trees have none.
    pub seq: Option<u64>,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key.
    pub key: Vec<u8>,
    /// Its body; `None` drops the entry without a tombstone.
    pub body: Option<Vec<u8>>,
}

/// Why a head was not followed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The head can't be believed.
    #[error("a head that can't be believed")]
    Head(#[from] VerifyHeadError),
    /// The head is behind what was accepted.
    #[error("an older state than the accepted one: epoch {epoch}, change {seq}")]
    Older {
        /// The head's epoch.
        epoch: u64,
        /// The head's last change.
        seq: u64,
    },
    /// Two mains sign one line, or one was put back from a copy.
    #[error("two mains sign this line in epoch {epoch}, or one does that was put back from a copy")]
    Forked {
        /// The epoch.
        epoch: u64,
    },
    /// The changes do not lead to the signed roots.
    #[error("the changes do not lead to the signed state of {0}")]
    OtherRoot(Namespace),
    /// The changes could not be applied.
    #[error("applying changes")]
    Failed(#[from] RepositoryError),
}

impl FollowError {
    /// What to do about it, for whoever reads the alarm.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Head(VerifyHeadError::OtherLine { .. }) => {
                "find out who answers at the parent's address; if this node is to follow that main, take a token of it \
                 and run `wuasync join --adopt-line TOKEN`: files stay"
            }
            Self::Head(VerifyHeadError::Unreadable(_) | VerifyHeadError::Signature) => {
                "nothing was changed here; look at the parent, or whoever answers in its place"
            }
            Self::Older { .. } => {
                "the main was put back from a copy of its state: stop it, run `wuasync restore --new-epoch` on it, and \
                 start it again; nothing is deleted and nothing is transferred twice"
            }
            Self::Forked { .. } => {
                "two mains sign with one line key, or one was put back from a copy: stop the one that is not to be, run \
                 `wuasync restore --new-epoch` on the other while it is stopped, and start it again"
            }
            Self::OtherRoot(_) => "run `wuasync check` on the parent; trees are compared with it again",
            Self::Failed(_) => "make room on the disk or repair it; it is tried again",
        }
    }
}

impl Writer {
    /// How a verified head relates to what was accepted. At one point of a line there is one state.
    fn judge(&self, head: &Head) -> Verdict {
        let verdict = judge(self.accepted.as_ref(), head);
        let own = self.head.as_ref().map(SignedHead::head);
        let is_other = |own: &Head| (own.epoch, own.seq) == (head.epoch, head.seq) && own.roots != head.roots;
        if verdict == Verdict::Same && own.is_some_and(is_other) { Verdict::Forked } else { verdict }
    }
}

impl From<CatalogError> for FollowError {
    fn from(error: CatalogError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<VersionedError> for FollowError {
    fn from(error: VersionedError) -> Self {
        Self::Failed(error.into())
    }
}

impl Repository {
    /// The namespaces that this node keeps: the tables that all have, and its folders' files.
    pub fn namespaces(&self) -> Vec<Namespace> {
        let folders = self.folders.keys().map(Namespace::folder);
        Namespace::tables().into_iter().chain(folders).collect()
    }

    /// Verifies a head and says how it relates to the accepted one. `line` is asked for only before
    /// the first head.
    pub fn judge(&self, head: &[u8], line: &LineKey) -> Result<(SignedHead, Verdict), FollowError> {
        let writer = self.writer();
        let line = writer.accepted.as_ref().map_or(*line, |accepted| accepted.line);
        let signed = SignedHead::verify(head, &line)?;
        let verdict = writer.judge(signed.head());
        Ok((signed, verdict))
    }

    /// From here on this node follows `line`, wherever it stood before. Entries and files stay; comparing
    /// trees tells what differs.
    pub fn adopt_line(&self, line: LineKey) -> Result<(), RepositoryError> {
        let mut writer = self.writer();
        self.state.index.write(|batch| batch.clear_head())?;
        let nothing_yet = Accepted { line, epoch: 0, epoch_nonce: [0; 16], seq: 0 };
        self.state.set_accepted(&nothing_yet)?;
        (writer.head, writer.accepted) = (None, Some(nothing_yet));
        drop(writer);
        self.attention.clear(&Alarm::StateRefused);
        self.note_change();
        Ok(())
    }

    /// Applies `changes` and follows `signed`, or does nothing.
    pub fn follow(&self, signed: SignedHead, changes: &[Change]) -> Result<(), FollowError> {
        let mut writer = self.fresh_writer()?;
        let head = signed.head();
        match writer.judge(head) {
            Verdict::Newer | Verdict::Same => {}
            Verdict::Forked => return Err(FollowError::Forked { epoch: head.epoch }),
            Verdict::Older => return Err(FollowError::Older { epoch: head.epoch, seq: head.seq }),
            Verdict::OtherLine => {
                let expected = writer.accepted.as_ref().map_or(head.line, |accepted| accepted.line);
                return Err(VerifyHeadError::OtherLine { expected, found: head.line }.into());
            }
        }
        let namespaces = self.namespaces();
        let named_here = self.named_here(changes)?;
        let before = writer.head.as_ref().map(SignedHead::head);
        let committed = self.state.index.write(|batch| {
            let (applied, roots) = self.apply(batch, changes, &named_here)?;
            check_roots(&roots, head, &namespaces)?;
            append_log(batch, before, head, changes, self.log_limit, self.clock.unix_seconds())?;
            batch.set_head(&signed.to_bytes())?;
            Ok::<_, FollowError>(applied)
        });
        writer.unsure = committed.is_err();
        let applied = committed?;
        self.keep_head(&mut writer, signed)?;
        drop(writer);
        if !applied.removed.is_empty() {
            self.keep_renamed(&applied);
            self.bury()?;
        }
        self.note_change();
        Ok(())
    }

    /// Writes the changes; answers with what they did, and with the roots that they lead to.
    fn apply(
        &self,
        batch: &mut Batch<'_>,
        changes: &[Change],
        named_here: &NamedHere,
    ) -> Result<(Applied, Roots), FollowError> {
        let folders: Vec<_> = self.folders.keys().map(|folder| (Namespace::folder(folder), folder)).collect();
        let Batch { entries, files, .. } = batch;
        let (written, applied) = tasks::both(
            changes.len() >= TWO_THREADS_FROM,
            || write_entries(entries, changes, &folders),
            || write_files(files, changes, &folders, named_here),
        );
        let (replaced, roots) = written?;
        for (folder, size) in replaced {
            files.note_indexed(folder, Some(size), None)?;
        }
        Ok((applied?, roots))
    }
}

/// The Merkle roots of namespaces.
type Roots = BTreeMap<Namespace, NodeHash>;

/// Sizes of files that were indexed before, with their folders.
type Replaced<'f> = Vec<(&'f FolderName, u64)>;

/// Folders by their namespaces.
type Folders<'f> = [(Namespace, &'f FolderName)];

fn folder_of<'f>(folders: &Folders<'f>, change: &Change) -> Option<(&'f FolderName, FileName)> {
    let (_, folder) = folders.iter().find(|(namespace, _)| *namespace == change.namespace)?;
    Some((folder, FileName::from_bytes(&change.key).ok()?))
}

/// Entries, in the order of their table: many then meet each page once. Answers with the sizes of files that were
/// indexed before, and the roots.
fn write_entries<'f>(
    entries: &mut EntryRows<'_>,
    changes: &[Change],
    folders: &Folders<'f>,
) -> Result<(Replaced<'f>, Roots), FollowError> {
    let mut ordered: Vec<&Change> = changes.iter().collect();
    ordered.sort_by_cached_key(|change| (&change.namespace, bucket_of(&change.key), &change.key));
    let mut replaced = Replaced::new();
    for change in ordered {
        let before = entries.put(&change.namespace, &change.key, change.body.as_deref())?;
        if let Some(before) = before.as_deref().and_then(file_of)
            && let Some((folder, _)) = folder_of(folders, change)
        {
            replaced.push((folder, before.size));
        }
    }
    Ok((replaced, entries.roots()?))
}

/// What is missing and held, in the order of its tables.
fn write_files(
    rows: &mut FileRows<'_>,
    changes: &[Change],
    folders: &Folders<'_>,
    named_here: &NamedHere,
) -> Result<Applied, FollowError> {
    let of_folders = changes.iter().filter_map(|change| Some((folder_of(folders, change)?, change.body.as_deref())));
    let mut files: Vec<_> = of_folders.collect();
    files.sort_by(|(place, _), (other, _)| place.cmp(other));
    let mut applied = Applied::default();
    for ((folder, name), body) in files {
        let after = body.and_then(file_of);
        rows.note_indexed(folder, None, after.map(|file| file.size))?;
        let is_removed = body.is_some_and(|body| Body::value_of(body).is_none());
        let is_named = || named_here.get(folder).is_some_and(|named| named.contains(name.as_str()));
        let end = match is_removed {
            false => End::Unlisted,
            true if is_named() => End::Leaving,
            true => End::Removed,
        };
        match (apply_file(rows, folder, &name, after, end)?, after) {
            (Some(removed), _) => applied.removed.push((folder.clone(), name, removed)),
            (None, Some(file)) => applied.named.push((folder.clone(), name, file.into())),
            (None, None) => {}
        }
    }
    Ok(applied)
}

/// What lists of packages here name, by folder.
type NamedHere = BTreeMap<FolderName, BTreeSet<String>>;

/// What becomes of a holding that the index names no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It stays, unlisted.
    Unlisted,
    /// It goes.
    Removed,
    /// It stays until nothing here names it.
    Leaving,
}

/// What changes did to files.
#[derive(Default)]
pub(super) struct Applied {
    /// Holdings whose bytes have to go to the trash.
    pub(super) removed: Vec<(FolderName, FileName, HoldingRecord)>,
    /// What the index names from here on.
    pub(super) named: Vec<(FolderName, FileName, MissingRecord)>,
}

/// Brings holdings and missing in step with what the index says of one file; answers with the holding whose
/// bytes have to go.
fn apply_file(
    rows: &mut FileRows<'_>,
    folder: &FolderName,
    name: &FileName,
    file: Option<FileRecord>,
    end: End,
) -> Result<Option<HoldingRecord>, FollowError> {
    let holding = rows.holding(folder, name)?;
    rows.set_leaving(folder, name, file.is_none() && holding.is_some() && end == End::Leaving)?;
    match (file, holding) {
        (Some(file), Some(holding)) if is_current(name, &file, &holding) => {
            rows.set_missing(folder, name, None)?;
            rows.put_holding(folder, name, &HoldingRecord { listed: true, ..holding })?;
            Ok(None)
        }
        (Some(file), holding) => {
            rows.set_missing(folder, name, Some(&file.into()))?;
            if let Some(holding) = holding.filter(|holding| !holding.listed) {
                rows.put_holding(folder, name, &HoldingRecord { listed: true, ..holding })?;
            }
            Ok(None)
        }
        (None, holding) => {
            rows.set_missing(folder, name, None)?;
            match holding {
                Some(holding) if end == End::Removed => {
                    rows.remove_holding(folder, name)?;
                    rows.put_intent(folder, name)?;
                    Ok(Some(holding))
                }
                Some(holding) => {
                    rows.put_holding(folder, name, &HoldingRecord { listed: false, ..holding })?;
                    Ok(None)
                }
                None => Ok(None),
            }
        }
    }
}

fn is_current(name: &FileName, file: &FileRecord, holding: &HoldingRecord) -> bool {
    let modified = holding.modified_ns.div_euclid(1_000_000_000);
    is_content_of(name, file, &FileRecord { root: holding.root, size: holding.size, modified })
}

/// The file that a body names, if this program can read it and it is of a bearable size.
fn file_of(body: &[u8]) -> Option<FileRecord> {
    FileRecord::decode(Body::value_of(body)?).ok().filter(|file| file.size <= MAX_FILE_BYTES)
}

fn check_roots(roots: &Roots, head: &Head, namespaces: &[Namespace]) -> Result<(), FollowError> {
    match namespaces.iter().find(|namespace| roots.get(*namespace) != head.roots.get(*namespace)) {
        Some(namespace) => Err(FollowError::OtherRoot(namespace.clone())),
        None => Ok(()),
    }
}

/// Keeps numbered changes for children. The log starts over where they do not lead from one head to
/// the other without a gap: in a new epoch, and after a comparison of trees, whose differences have no numbers.
fn append_log(
    batch: &mut Batch<'_>,
    before: Option<&Head>,
    head: &Head,
    changes: &[Change],
    limit: LogLimit,
    now: u64,
) -> Result<(), FollowError> {
    let from = before.filter(|before| before.epoch == head.epoch).map(|before| before.seq);
    let leads = from.is_some_and(|from| {
        from.checked_add(changes.len() as u64) == Some(head.seq)
            && changes.iter().zip(from + 1..=head.seq).all(|(change, seq)| change.seq == Some(seq))
    });
    if !leads {
        return Ok(log_limit::restart(batch, head.seq)?);
    }
    for change in changes.iter().cloned() {
        let Change { seq: Some(seq), namespace, key, body } = change else { continue };
        batch.append_log(seq, &LogRecord { namespace, key, body })?;
    }
    Ok(log_limit::trim(batch, limit, from.unwrap_or(0), head.seq, now)?)
}

#[cfg(test)]
mod tests;
