//! What one edition tells otherwise than another. Both are told in ascending order, and held against each
//! other as they come: nothing is kept but the revisions of one update.

use super::{EditionFile, EditionUpdate};
use crate::domain::{digest::Sha1, update::UpdateId};
use serde::{Deserialize, Serialize};
use std::{iter::Peekable, ops::ControlFlow};

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The older edition has none of that UpdateID, or of that SHA-1.
    Added,
    /// The newer edition has it no more.
    Removed,
    /// An update of that UpdateID has another RevisionNumber.
    Revised,
    /// It tells something else under the same id, or SHA-1.
    Changed,
}

/// An update that two editions tell differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateChange {
    /// What happened to it.
    pub kind: ChangeKind,
    /// Which one: as the newer edition has it, if that has it.
    pub id: UpdateId,
    /// Of one that was revised: the last revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<UpdateId>,
    /// Of one that was changed: what of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<Aspect>,
    /// Its articles, such as `KB5087058`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kbs: Vec<String>,
    /// Its title, in the first language.
    pub title: String,
}

/// What of an update is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Its titles.
    Titles,
    /// Its severity.
    Severity,
    /// Its articles, bulletins or vulnerabilities.
    Articles,
    /// Its products or its classification.
    Categories,
    /// What takes its place.
    SupersededBy,
    /// The bundles that it is in, or what is in it.
    Bundles,
    /// Its files.
    Files,
    /// Anything else.
    Other,
}

/// A file that two editions tell differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// What happened to it; files are never revised.
    pub kind: ChangeKind,
    /// Which one.
    pub sha1: Sha1,
    /// Its length in bytes, as the newer edition tells it, if that has it.
    pub size: Option<u64>,
    /// The last part of its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Tells what `new` has otherwise than `old`, both by id, until `each` breaks. All changes of one UpdateID come
/// together.
pub fn each_changed_update<E>(
    old: impl Iterator<Item = Result<EditionUpdate, E>>,
    new: impl Iterator<Item = Result<EditionUpdate, E>>,
    each: &mut dyn FnMut(UpdateChange) -> ControlFlow<()>,
) -> Result<(), E> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let heads = [old.peek(), new.peek()];
        let guids = heads.into_iter().flatten().filter_map(|update| Some(update.as_ref().ok()?.id.guid()));
        let Some(guid) = guids.min() else {
            // Both are at their end, or the next of one can't be had.
            old.next().transpose()?;
            new.next().transpose()?;
            return Ok(());
        };
        let is_of = |update: &EditionUpdate| update.id.guid() == guid;
        let (before, after) = (take_while(&mut old, is_of)?, take_while(&mut new, is_of)?);
        for change in of_one(&before, &after) {
            if each(change).is_break() {
                return Ok(());
            }
        }
    }
}

/// What comes next, as long as `is_meant`.
fn take_while<T, E>(
    from: &mut Peekable<impl Iterator<Item = Result<T, E>>>,
    is_meant: impl Fn(&T) -> bool,
) -> Result<Vec<T>, E> {
    let mut taken = Vec::new();
    while let Some(next) = from.next_if(|next| next.as_ref().map_or(true, &is_meant)) {
        taken.push(next?);
    }
    Ok(taken)
}

/// The changes of one UpdateID, its revisions in ascending order.
fn of_one(before: &[EditionUpdate], after: &[EditionUpdate]) -> Vec<UpdateChange> {
    let last = before.last().map(|last| last.id);
    let mut changes = Vec::new();
    for update in after {
        let same = before.iter().find(|known| known.id == update.id);
        match (same, last) {
            (Some(known), _) if known == update => {}
            (Some(known), _) => {
                changes.push(UpdateChange { what: aspects(known, update), ..change(ChangeKind::Changed, update) })
            }
            (None, Some(last)) => {
                changes.push(UpdateChange { before: Some(last), ..change(ChangeKind::Revised, update) });
            }
            (None, None) => changes.push(change(ChangeKind::Added, update)),
        }
    }
    let is_revised = changes.iter().any(|change| change.kind == ChangeKind::Revised);
    let is_gone = |known: &&EditionUpdate| !is_revised && after.iter().all(|update| update.id != known.id);
    changes.extend(before.iter().filter(is_gone).map(|known| change(ChangeKind::Removed, known)));
    changes
}

fn change(kind: ChangeKind, update: &EditionUpdate) -> UpdateChange {
    UpdateChange {
        kind,
        id: update.id,
        before: None,
        what: Vec::new(),
        kbs: update.kbs.iter().map(ToString::to_string).collect(),
        title: update.titles.first().map(|title| title.text.clone()).unwrap_or_default(),
    }
}

fn aspects(before: &EditionUpdate, after: &EditionUpdate) -> Vec<Aspect> {
    let articles = |of: &EditionUpdate| (of.kbs.clone(), of.bulletins.clone(), of.cves.clone());
    let mut what = Vec::new();
    for (aspect, differs) in [
        (Aspect::Titles, before.titles != after.titles),
        (Aspect::Severity, before.severity != after.severity),
        (Aspect::Articles, articles(before) != articles(after)),
        (Aspect::Categories, before.categories != after.categories),
        (Aspect::SupersededBy, before.superseded_by != after.superseded_by),
        (Aspect::Bundles, (&before.bundled_by, &before.bundles) != (&after.bundled_by, &after.bundles)),
        (Aspect::Files, before.files != after.files),
    ] {
        what.extend(differs.then_some(aspect));
    }
    if what.is_empty() {
        what.push(Aspect::Other);
    }
    what
}

/// Tells which files `new` has otherwise than `old`, both by SHA-1, until `each` breaks. Addresses are another
/// in every edition, and no change.
pub fn each_changed_file<E>(
    old: impl Iterator<Item = Result<EditionFile, E>>,
    new: impl Iterator<Item = Result<EditionFile, E>>,
    each: &mut dyn FnMut(FileChange) -> ControlFlow<()>,
) -> Result<(), E> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let heads = [old.peek(), new.peek()];
        let digests = heads.into_iter().flatten().filter_map(|file| Some(file.as_ref().ok()?.sha1));
        let Some(sha1) = digests.min() else {
            old.next().transpose()?;
            new.next().transpose()?;
            return Ok(());
        };
        let (before, after) = (next_of(&mut old, sha1)?, next_of(&mut new, sha1)?);
        let content = |file: &EditionFile| (file.size, file.sha256);
        let kind = match (&before, &after) {
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(before), Some(after)) if content(before) != content(after) => ChangeKind::Changed,
            _ => continue,
        };
        let Some(file) = after.or(before) else { continue };
        let name = file.url.as_ref().map(|url| url.file_name().to_string());
        if each(FileChange { kind, sha1, size: file.size, name }).is_break() {
            return Ok(());
        }
    }
}

/// The file of this SHA-1, if it comes next.
fn next_of<E>(
    from: &mut Peekable<impl Iterator<Item = Result<EditionFile, E>>>,
    sha1: Sha1,
) -> Result<Option<EditionFile>, E> {
    Ok(take_while(from, |file| file.sha1 == sha1)?.pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{edition::Kb, guid::Guid, origin::OriginUrl};

    fn update(guid: u8, revision: u32) -> EditionUpdate {
        EditionUpdate {
            id: UpdateId::of(Guid([guid; 16]), revision),
            created: 1,
            kind: None,
            is_bundle: false,
            is_leaf: true,
            titles: Vec::new(),
            severity: None,
            kbs: vec![Kb(guid.into())],
            bulletins: Vec::new(),
            cves: Vec::new(),
            categories: Vec::new(),
            superseded_by: Vec::new(),
            bundled_by: Vec::new(),
            bundles: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The kind, the UpdateID's first byte, the revision and the one before, and what changed.
    type Told = (ChangeKind, u8, u32, Option<u32>, Vec<Aspect>);

    fn changes(old: &[EditionUpdate], new: &[EditionUpdate]) -> Vec<Told> {
        let mut found = Vec::new();
        let (old, new) = (old.iter().cloned().map(Ok::<_, ()>), new.iter().cloned().map(Ok));
        each_changed_update(old, new, &mut |change| {
            let before = change.before.map(|before| before.revision());
            found.push((change.kind, change.id.guid().0[0], change.id.revision(), before, change.what));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn updates_are_added_removed_revised_or_changed() {
        use ChangeKind::{Added, Changed, Removed, Revised};
        let superseded = EditionUpdate { superseded_by: vec![update(9, 1).id], created: 2, ..update(4, 1) };
        let old =
            [update(1, 1), update(2, 1), update(3, 200), update(3, 201), update(4, 1), update(6, 1), update(6, 2)];
        let new = [update(0, 1), update(2, 1), update(3, 201), update(3, 202), superseded, update(5, 7), update(6, 2)];
        let found = changes(&old, &new);
        let expected = [
            (Added, 0, 1, None, vec![]),
            (Removed, 1, 1, None, vec![]),
            (Revised, 3, 202, Some(201), vec![]),
            (Changed, 4, 1, None, vec![Aspect::SupersededBy]),
            (Added, 5, 7, None, vec![]),
            (Removed, 6, 1, None, vec![]),
        ];
        assert_eq!(found, expected);
        assert_eq!((changes(&old, &old), changes(&[], &[])), (vec![], vec![]));
        assert_eq!((changes(&[], &new).len(), changes(&old, &[]).len()), (7, 7));
    }

    #[test]
    fn it_ends_when_it_is_broken_off_or_one_side_fails() {
        let mut told = 0;
        let all = || (0..9).map(|guid| Ok::<_, &str>(update(guid, 1)));
        let mut each = |_| {
            told += 1;
            if told == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        each_changed_update(std::iter::empty(), all(), &mut each).unwrap();
        assert_eq!(told, 3);
        let broken = all().take(2).chain([Err("broken")]);
        assert_eq!(each_changed_update(broken, all(), &mut |_| ControlFlow::Continue(())), Err("broken"));
        let broken = all().take(2).chain([Err("broken")]);
        assert_eq!(each_changed_update(std::iter::empty(), broken, &mut |_| ControlFlow::Continue(())), Err("broken"));
    }

    #[test]
    fn files_are_added_removed_or_changed_and_their_addresses_are_no_matter() {
        let file = |sha1: u8, size, host: &str| EditionFile {
            sha1: Sha1([sha1; 20]),
            size: Some(size),
            sha256: None,
            url: Some(OriginUrl::new(&format!("http://{host}/f{sha1}.cab")).unwrap()),
        };
        let old = [file(1, 10, "a"), file(2, 20, "a"), file(3, 30, "a")];
        let new = [file(2, 20, "b"), file(3, 31, "b"), file(4, 40, "b")];
        let mut found = Vec::new();
        let (old, new) = (old.into_iter().map(Ok::<_, ()>), new.into_iter().map(Ok));
        each_changed_file(old, new, &mut |change| {
            found.push((change.kind, change.size.unwrap(), change.name.unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
        let expected = [
            (ChangeKind::Removed, 10, "f1.cab".to_owned()),
            (ChangeKind::Changed, 31, "f3.cab".to_owned()),
            (ChangeKind::Added, 40, "f4.cab".to_owned()),
        ];
        assert_eq!(found, expected);
    }
}
