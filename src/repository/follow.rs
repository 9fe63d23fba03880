//! A secondary follows its line: signed heads, and the changes that lead to them.
//!
//! A batch of changes is believed only if the roots that it leads to are the signed ones. The index
//! changes at once; bytes follow.

use super::{author::LOG_ROWS, error::RepositoryError, open::Repository, publish::is_content_of};
use crate::{
    catalog::{Batch, CatalogError, HoldingRecord, LogRecord},
    domain::{
        file::{FileRecord, MAX_FILE_BYTES},
        key::LineKey,
        name::{FileName, FolderName},
        state::{Body, Head, Namespace, SignedHead, Verdict, VerifyHeadError, judge},
        versioned::VersionedError,
    },
};

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
    /// Two mains sign one line.
    #[error("two mains sign this line in epoch {epoch}")]
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
    /// The namespaces that this node keeps: the members, and its folders' files.
    pub fn namespaces(&self) -> Vec<Namespace> {
        let folders = self.folders.keys().map(Namespace::folder);
        std::iter::once(Namespace::members()).chain(folders).collect()
    }

    /// Verifies a head and says how it relates to the accepted one. `line` is asked for only before
    /// the first head.
    pub fn judge(&self, head: &[u8], line: &LineKey) -> Result<(SignedHead, Verdict), FollowError> {
        let writer = self.writer();
        let line = writer.accepted.as_ref().map_or(*line, |accepted| accepted.line);
        let signed = SignedHead::verify(head, &line)?;
        let verdict = judge(writer.accepted.as_ref(), signed.head());
        Ok((signed, verdict))
    }

    /// Applies `changes` and follows `signed`, or does nothing.
    pub fn follow(&self, signed: SignedHead, changes: &[Change]) -> Result<(), FollowError> {
        let mut writer = self.fresh_writer()?;
        let head = signed.head();
        match judge(writer.accepted.as_ref(), head) {
            Verdict::Newer | Verdict::Same => {}
            Verdict::Forked => return Err(FollowError::Forked { epoch: head.epoch }),
            Verdict::Older => return Err(FollowError::Older { epoch: head.epoch, seq: head.seq }),
            Verdict::OtherLine => {
                let expected = writer.accepted.as_ref().map_or(head.line, |accepted| accepted.line);
                return Err(VerifyHeadError::OtherLine { expected, found: head.line }.into());
            }
        }
        let namespaces = self.namespaces();
        let before = writer.head.as_ref().map(SignedHead::head);
        let committed = self.state.index.write(|batch| {
            let removed = self.apply(batch, changes)?;
            check_roots(batch, head, &namespaces)?;
            append_log(batch, before, head, changes)?;
            batch.set_head(&signed.to_bytes())?;
            Ok::<_, FollowError>(removed)
        });
        writer.unsure = committed.is_err();
        let removed = committed?;
        self.keep_head(&mut writer, signed)?;
        drop(writer);
        if removed > 0 {
            self.bury()?;
        }
        self.note_change();
        Ok(())
    }

    /// Writes the changes; answers with how many files' bytes have to go.
    fn apply(&self, batch: &mut Batch<'_>, changes: &[Change]) -> Result<u64, FollowError> {
        let mut removed = 0;
        for change in changes {
            let before = batch.put_entry(&change.namespace, &change.key, change.body.as_deref())?;
            let Some(folder) = change.namespace.as_folder().filter(|folder| self.folders.contains_key(folder)) else {
                continue;
            };
            let Ok(name) = FileName::from_bytes(&change.key) else { continue };
            let before = before.as_deref().and_then(file_of);
            let after = change.body.as_deref().and_then(file_of);
            batch.note_indexed(&folder, before.map(|file| file.size), after.map(|file| file.size))?;
            let tombstone = change.body.as_deref().is_some_and(|body| Body::value_of(body).is_none());
            if apply_file(batch, &folder, &name, after, tombstone)? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Brings holdings and missing in step with what the index says of one file; `true` if its bytes have to go.
fn apply_file(
    batch: &mut Batch<'_>,
    folder: &FolderName,
    name: &FileName,
    file: Option<FileRecord>,
    tombstone: bool,
) -> Result<bool, FollowError> {
    let holding = batch.holding(folder, name)?;
    match (file, holding) {
        (Some(file), Some(holding)) if is_current(name, &file, &holding) => {
            batch.set_missing(folder, name, None)?;
            batch.put_holding(folder, name, &HoldingRecord { listed: true, ..holding })?;
            Ok(false)
        }
        (Some(file), holding) => {
            batch.set_missing(folder, name, Some(&file.into()))?;
            if let Some(holding) = holding.filter(|holding| !holding.listed) {
                batch.put_holding(folder, name, &HoldingRecord { listed: true, ..holding })?;
            }
            Ok(false)
        }
        (None, holding) => {
            batch.set_missing(folder, name, None)?;
            match holding {
                Some(_) if tombstone => {
                    batch.remove_holding(folder, name)?;
                    batch.put_intent(folder, name)?;
                    Ok(true)
                }
                Some(holding) => {
                    batch.put_holding(folder, name, &HoldingRecord { listed: false, ..holding })?;
                    Ok(false)
                }
                None => Ok(false),
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

fn check_roots(batch: &mut Batch<'_>, head: &Head, namespaces: &[Namespace]) -> Result<(), FollowError> {
    let roots = batch.roots()?;
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
) -> Result<(), FollowError> {
    let from = before.filter(|before| before.epoch == head.epoch).map(|before| before.seq);
    let leads = from.is_some_and(|from| {
        from.checked_add(changes.len() as u64) == Some(head.seq)
            && changes.iter().zip(from + 1..=head.seq).all(|(change, seq)| change.seq == Some(seq))
    });
    if !leads {
        return Ok(batch.clear_log(head.seq)?);
    }
    for change in changes.iter().cloned() {
        let Change { seq: Some(seq), namespace, key, body } = change else { continue };
        batch.append_log(seq, &LogRecord { namespace, key, body })?;
    }
    Ok(batch.trim_log(head.seq.saturating_sub(LOG_ROWS))?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{
        OLD, Place, adopt, differences, fetch, folder, follow, immutable, indexed, is_held, is_listed, is_missing,
        name, rescan, seq,
    };
    use super::*;
    use crate::repository::Alarm;
    use std::fs;

    /// A main with these files and a secondary that has them all.
    fn pair(files: &[&str]) -> (Place, Repository, Place, Repository) {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        files.iter().for_each(|name| place.write(name, name.as_bytes()));
        adopt(&main, files).unwrap();
        follow(&main, &child).unwrap();
        fetch(&main, &child).unwrap();
        (place, main, below, child)
    }

    fn remove(place: &Place, main: &Repository, file: &str) {
        fs::remove_file(place.path(file)).unwrap();
        main.remove_gone(&folder(), &[name(file)]).unwrap();
    }

    /// The main's log since the child's head, as numbered changes.
    fn log(main: &Repository, child: &Repository) -> Vec<Change> {
        let rows = main.state().index.read().unwrap().log_after(seq(child), 1_000).unwrap();
        let change = |row: crate::catalog::LogRow| {
            let LogRecord { namespace, key, body } = row.record;
            Change { seq: Some(row.seq), namespace, key, body }
        };
        rows.into_iter().map(change).collect()
    }

    #[test]
    fn the_same_head_again_is_followed_and_changes_nothing() {
        let (_place, main, _below, child) = pair(&["a"]);
        follow(&main, &child).unwrap();
        main.sign_again().unwrap();
        follow(&main, &child).unwrap();
        assert_eq!(child.head().unwrap(), main.head().unwrap());
    }

    #[test]
    fn an_older_head_is_refused() {
        let (place, main, _below, child) = pair(&["a"]);
        let old = main.head().unwrap();
        place.write("b", b"b");
        adopt(&main, &["b"]).unwrap();
        follow(&main, &child).unwrap();
        let refused = child.follow(old, &[]);
        assert!(matches!(refused, Err(FollowError::Older { seq: 1, .. })), "{refused:?}");
        assert_eq!(seq(&child), 2);
    }

    #[test]
    fn two_mains_of_one_line_and_another_line_are_refused() {
        let (place, main, _below, child) = pair(&["a"]);
        let copy = Place::new();
        fs::create_dir_all(copy.state("keys")).unwrap();
        let mut twin = Place { top: copy.top, clock: copy.clock, seed: 90 };
        let stranger = Place { seed: 50, ..Place::new() }.main();
        assert!(child.judge(&stranger.head().unwrap().to_bytes(), &main.line().unwrap()).is_err());
        let refused = child.follow(stranger.head().unwrap(), &[]);
        assert!(matches!(refused, Err(FollowError::Head(VerifyHeadError::OtherLine { .. }))), "{refused:?}");
        fs::copy(place.state(crate::store::layout::LINE_KEY), twin.state(crate::store::layout::LINE_KEY)).unwrap();
        twin.seed = 91;
        let refused = child.follow(twin.main().head().unwrap(), &[]);
        assert!(matches!(refused, Err(FollowError::Forked { .. })), "{refused:?}");
        assert!(is_listed(&child, "a"));
    }

    #[test]
    fn changes_that_do_not_lead_to_the_signed_state_change_nothing() {
        let (place, main, _below, child) = pair(&["a"]);
        place.write("b", b"b");
        remove(&place, &main, "a");
        adopt(&main, &["b"]).unwrap();
        let before = child.head().unwrap();
        let mut changes = differences(&main, &child);
        changes.pop();
        let refused = child.follow(main.head().unwrap(), &changes);
        assert!(matches!(refused, Err(FollowError::OtherRoot(_))), "{refused:?}");
        assert_eq!(child.head().unwrap(), before);
        assert!(is_held(&child, "a") && indexed(&child, "a").is_some() && indexed(&child, "b").is_none());
        follow(&main, &child).unwrap();
    }

    #[test]
    fn a_tombstone_moves_the_file_to_the_trash() {
        let (place, main, below, child) = pair(&["a", "b"]);
        remove(&place, &main, "a");
        follow(&main, &child).unwrap();
        assert_eq!((below.read("a"), below.read("b")), (None, Some(b"b".to_vec())));
        assert_eq!(below.trashed(), [b"a"]);
        assert!(!is_held(&child, "a"));
        assert!(child.state().index.read().unwrap().intents_after(None, 9).unwrap().is_empty());
    }

    #[test]
    fn a_removal_that_was_cut_short_is_carried_out_at_the_next_start() {
        let (_place, _main, below, child) = pair(&["a", "b"]);
        let folder = folder();
        child
            .state
            .index
            .write(|batch| {
                batch.remove_holding(&folder, &name("a"))?;
                batch.put_intent(&folder, &name("a"))?;
                batch.put_intent(&folder, &name("never-there"))
            })
            .unwrap();
        drop(child);
        let child = below.secondary();
        assert_eq!((below.read("a"), below.trashed()), (None, vec![b"a".to_vec()]));
        assert!(child.state().index.read().unwrap().intents_after(None, 9).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_was_received_anew_is_not_taken_by_an_old_intent() {
        let (_place, main, below, child) = pair(&["a"]);
        child.state.index.write(|batch| batch.put_intent(&folder(), &name("a"))).unwrap();
        fs::remove_file(below.path("a")).unwrap();
        child.mend(&folder(), &name("a")).unwrap();
        assert_eq!(fetch(&main, &child).unwrap(), ["a"]);
        drop(child);
        let child = below.secondary();
        assert!(is_held(&child, "a") && below.read("a").is_some());
    }

    #[test]
    fn what_is_dropped_without_tombstone_is_kept_as_unlisted_and_listed_again_without_transfer() {
        let (place, main, below, child) = pair(&["a", "b"]);
        drop(main);
        fs::remove_file(place.state("index.redb")).unwrap();
        fs::rename(place.path("a"), place.top.path().join("a")).unwrap();
        let main = place.main();
        rescan(&main);
        follow(&main, &child).unwrap();
        assert!(is_held(&child, "a") && !is_listed(&child, "a") && is_listed(&child, "b"));
        assert!(below.read("a").is_some() && !is_missing(&child, "a"));
        assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().unlisted_files, 1);
        fs::rename(place.top.path().join("a"), place.path("a")).unwrap();
        rescan(&main);
        follow(&main, &child).unwrap();
        assert!(is_listed(&child, "a"));
        assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
    }

    #[test]
    fn numbered_changes_are_passed_on_and_others_start_the_log_over() {
        let (place, main, _below, child) = pair(&["a"]);
        let base = |child: &Repository| child.state.index.read().unwrap().log_base().unwrap();
        let seqs = |child: &Repository| {
            let rows = child.state.index.read().unwrap().log_after(base(child), 10).unwrap();
            rows.iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        assert_eq!((base(&child), seqs(&child)), (1, vec![]));
        for file in ["b", "c"] {
            place.write(file, b"x");
            adopt(&main, &[file]).unwrap();
        }
        child.follow(main.head().unwrap(), &log(&main, &child)).unwrap();
        assert_eq!((base(&child), seqs(&child)), (1, vec![2, 3]));
        place.write("d", b"d");
        adopt(&main, &["d"]).unwrap();
        let mut lying = log(&main, &child);
        lying[0].seq = Some(u64::MAX);
        child.follow(main.head().unwrap(), &lying).unwrap();
        assert_eq!((base(&child), seqs(&child)), (4, vec![]));
    }

    #[test]
    fn thousands_of_removed_files_are_carried_out_over_many_groups() {
        let (_place, _main, below, child) = pair(&["a"]);
        let names: Vec<_> = (0..1_200).map(|n| name(&format!("f{n}"))).collect();
        names.iter().for_each(|name| below.write_at(name.as_str(), b"x", OLD));
        let put = |batch: &mut Batch<'_>| names.iter().try_for_each(|name| batch.put_intent(&folder(), name));
        child.state.index.write(put).unwrap();
        child.bury().unwrap();
        assert_eq!(below.trashed().len(), 1_200);
        assert!(child.state.index.read().unwrap().intents_after(None, 1).unwrap().is_empty());
    }

    #[test]
    fn one_file_that_cannot_be_moved_keeps_its_intent_and_holds_up_nobody() {
        let (_place, _main, below, child) = pair(&["a", "b"]);
        let put = |batch: &mut Batch<'_>| {
            batch.put_intent(&folder(), &name("a"))?;
            batch.put_intent(&FolderName::new("unknown").unwrap(), &name("x"))
        };
        child.state.index.write(put).unwrap();
        let trash = below.stage("trash");
        fs::remove_dir(&trash).unwrap();
        fs::write(&trash, "in the way").unwrap();
        child.bury().unwrap();
        assert!(child.attention.stands(&Alarm::Failing("moving removed files to the trash")));
        assert!(below.read("a").is_some());
        fs::remove_file(&trash).unwrap();
        fs::create_dir(&trash).unwrap();
        child.bury().unwrap();
        assert!(!child.attention.stands(&Alarm::Failing("moving removed files to the trash")));
        assert_eq!(below.trashed(), [b"a"]);
    }

    #[test]
    fn a_head_that_names_immutable_files_of_any_time_keeps_shared_inodes_apart_from_faults() {
        let bytes = b"equal content";
        let (one, two) = (immutable("one", bytes), immutable("two", bytes));
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        place.write_at(&one, bytes, OLD);
        place.write_at(&two, bytes, OLD + 100);
        adopt(&main, &[&one, &two]).unwrap();
        follow(&main, &child).unwrap();
        assert_eq!(fetch(&main, &child).unwrap().len(), 1, "the second is a link");
        for _ in 0..2 {
            assert_eq!(rescan(&child), 0);
            assert_eq!(fetch(&main, &child).unwrap(), [""; 0]);
            assert!(is_listed(&child, &one) && is_listed(&child, &two));
            assert_eq!(child.state.index.read().unwrap().totals(&folder()).unwrap().missing_files, 0);
        }
    }
}
