//! `editions.redb`: what the published edition of Microsoft's index tells, and the one before it. It can be read
//! again from the editions themselves, so it is in no backup.
//!
//! There are two slots of tables. A new edition is written into the one that is not published, and takes the
//! place of the other in the same commit; to go back is to change places again.

use super::{
    error::{CatalogError, OpenCatalogError},
    home::Home,
    index::CACHE_BYTES,
    ledger::row_of,
    records::{ContentSha1, EditionRecord},
    tables,
};
use crate::{
    base::random_access::RandomAccess,
    domain::{
        digest::Sha1,
        edition::{self, EditionFile, EditionUpdate, FileChange, Kb, UpdateChange},
        guid::Guid,
        name::FileName,
        update::UpdateId,
        versioned,
    },
};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::{
    collections::BTreeSet,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

const VERSION: u8 = 1;
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
/// The slot of the current edition, where it is not the first.
const SLOT: &str = "slot";
/// SHA-1 of the cabinet in the folder.
const SHA1: &str = "sha1";

/// The rows of two editions.
pub struct Editions {
    home: Home,
}

impl Editions {
    /// Opens the database in `file`, or makes one in an empty file.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let editions = Self { home: Home::open(file, CACHE_BYTES)? };
        editions.write(|transaction| {
            transaction.open_table(tables::EDITION)?;
            for slot in 0..2 {
                transaction.open_table(tables::EDITION_UPDATES[slot])?;
                transaction.open_table(tables::EDITION_FILES[slot])?;
                transaction.open_table(tables::EDITION_NAMES[slot])?;
                transaction.open_table(tables::EDITION_KBS[slot])?;
            }
            Ok(())
        })?;
        Ok(editions)
    }

    /// Makes an edition the current one; the one that was is the previous one from here on. Of two files with
    /// one name the first counts.
    pub fn put(
        &self,
        edition: &EditionRecord,
        updates: impl Iterator<Item = EditionUpdate>,
        files: impl Iterator<Item = EditionFile>,
    ) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut rows = transaction.open_table(tables::EDITION)?;
            let (slot, before) = (slot_of(&rows)?, record(&rows, CURRENT)?);
            let before = before.filter(|before| before.root != edition.root);
            let to = if before.is_some() { 1 - slot } else { slot };
            fill(transaction, to, updates, files)?;
            if let Some(before) = before {
                put_record(&mut rows, PREVIOUS, &before)?;
            }
            rows.insert(SLOT, [to as u8].as_slice())?;
            put_record(&mut rows, CURRENT, edition)
        })
    }

    /// The previous edition and the current one change places; `false` if there is no previous one.
    pub fn change_places(&self) -> Result<bool, CatalogError> {
        self.write(|transaction| {
            let mut rows = transaction.open_table(tables::EDITION)?;
            let (slot, current, previous) = (slot_of(&rows)?, record(&rows, CURRENT)?, record(&rows, PREVIOUS)?);
            let (Some(current), Some(previous)) = (current, previous) else { return Ok(false) };
            put_record(&mut rows, CURRENT, &previous)?;
            put_record(&mut rows, PREVIOUS, &current)?;
            rows.insert(SLOT, [1 - slot as u8].as_slice())?;
            Ok(true)
        })
    }

    /// Which edition it is.
    pub fn current(&self) -> Result<Option<EditionRecord>, CatalogError> {
        record(&self.reading()?.open_table(tables::EDITION)?, CURRENT)
    }

    /// Which one was current before it.
    pub fn previous(&self) -> Result<Option<EditionRecord>, CatalogError> {
        record(&self.reading()?.open_table(tables::EDITION)?, PREVIOUS)
    }

    /// The content whose SHA-1 was noted last.
    pub fn sha1(&self) -> Result<Option<ContentSha1>, CatalogError> {
        let table = self.reading()?.open_table(tables::EDITION)?;
        table.get(SHA1)?.map(|value| ContentSha1::decode(value.value()).map_err(row_of("edition"))).transpose()
    }

    /// Notes which SHA-1 a content has.
    pub fn note_sha1(&self, known: &ContentSha1) -> Result<(), CatalogError> {
        let value = known.encode().map_err(row_of("edition"))?;
        self.write(|transaction| {
            transaction.open_table(tables::EDITION)?.insert(SHA1, value.as_slice())?;
            Ok(())
        })
    }

    /// The file behind the last part of an indexed address.
    pub fn file_of_name(&self, name: &FileName) -> Result<Option<EditionFile>, CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let names = transaction.open_table(tables::EDITION_NAMES[slot])?;
        let Some(sha1) = names.get(name.as_str())? else { return Ok(None) };
        let files = transaction.open_table(tables::EDITION_FILES[slot])?;
        files.get(sha1.value())?.map(|value| decode("files", value.value())).transpose()
    }

    /// A file.
    pub fn file(&self, sha1: &Sha1) -> Result<Option<EditionFile>, CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let files = transaction.open_table(tables::EDITION_FILES[slot])?;
        files.get(sha1.as_bytes())?.map(|value| decode("files", value.value())).transpose()
    }

    /// Files, in the order in which they are asked for; those that it does not have are left out.
    pub fn files(&self, sha1s: &[Sha1]) -> Result<Vec<EditionFile>, CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let files = transaction.open_table(tables::EDITION_FILES[slot])?;
        let rows = sha1s.iter().filter_map(|sha1| files.get(sha1.as_bytes()).transpose());
        rows.map(|row| decode("files", row?.value())).collect()
    }

    /// An update.
    pub fn update(&self, id: UpdateId) -> Result<Option<EditionUpdate>, CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let updates = transaction.open_table(tables::EDITION_UPDATES[slot])?;
        updates.get(&id.to_bytes())?.map(|value| decode("updates", value.value())).transpose()
    }

    /// The updates of an article after one, by id.
    pub fn updates_of_kb(&self, kb: Kb, after: Option<UpdateId>) -> Result<Vec<EditionUpdate>, CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let by_kb = transaction.open_table(tables::EDITION_KBS[slot])?;
        let updates = transaction.open_table(tables::EDITION_UPDATES[slot])?;
        let mut ids = BTreeSet::new();
        for row in by_kb.range((kb.0, &[0; 20])..=(kb.0, &[0xff; 20]))? {
            ids.insert(*row?.0.value().1);
        }
        let rows = ids.iter().filter(|id| after.is_none_or(|after| **id > after.to_bytes())).map(|id| {
            let value = updates.get(id)?.ok_or(CatalogError::Damaged("kbs"))?;
            decode("updates", value.value())
        });
        rows.collect()
    }

    /// Tells the updates after one, those of one UpdateID or all, by id, until `each` breaks.
    pub fn each_update(
        &self,
        of: Option<Guid>,
        after: Option<UpdateId>,
        mut each: impl FnMut(EditionUpdate) -> Result<ControlFlow<()>, CatalogError>,
    ) -> Result<(), CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let first = of.map(|guid| UpdateId::of(guid, 0).to_bytes());
        let last = of.map_or([0xff; 20], |guid| UpdateId::of(guid, u32::MAX).to_bytes());
        let after = after.map(UpdateId::to_bytes).filter(|after| first.is_none_or(|first| *after >= first));
        if after.is_some_and(|after| after >= last) {
            return Ok(());
        }
        let from = match (&after, &first) {
            (Some(after), _) => Bound::Excluded(after),
            (None, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let updates = transaction.open_table(tables::EDITION_UPDATES[slot])?;
        for row in updates.range::<&[u8; 20]>((from, Bound::Included(&last)))? {
            if each(decode("updates", row?.1.value())?)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Tells what the current edition has otherwise than the previous one, by UpdateID and after one, until
    /// `each` breaks.
    pub fn each_changed_update(
        &self,
        after: Option<Guid>,
        each: &mut dyn FnMut(UpdateChange) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let after = after.map(|guid| UpdateId::of(guid, u32::MAX).to_bytes());
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let [old, new] = [1 - slot, slot].map(|slot| {
            let updates = transaction.open_table(tables::EDITION_UPDATES[slot])?;
            let rows = updates.range::<&[u8; 20]>((from, Bound::Unbounded))?;
            Ok::<_, CatalogError>(rows.map(|row| decode("updates", row?.1.value())))
        });
        edition::each_changed_update(old?, new?, each)
    }

    /// Tells which files the current edition has otherwise than the previous one, by SHA-1 and after one, until
    /// `each` breaks.
    pub fn each_changed_file(
        &self,
        after: Option<Sha1>,
        each: &mut dyn FnMut(FileChange) -> ControlFlow<()>,
    ) -> Result<(), CatalogError> {
        let (transaction, slot) = self.reading_current()?;
        let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        let [old, new] = [1 - slot, slot].map(|slot| {
            let files = transaction.open_table(tables::EDITION_FILES[slot])?;
            let rows = files.range::<&[u8; 20]>((from, Bound::Unbounded))?;
            Ok::<_, CatalogError>(rows.map(|row| decode("files", row?.1.value())))
        });
        edition::each_changed_file(old?, new?, each)
    }

    fn reading(&self) -> Result<ReadTransaction, CatalogError> {
        self.home.read(|database| Ok(database.begin_read()?))
    }

    /// The rows as of one commit, and the slot of the current edition.
    fn reading_current(&self) -> Result<(ReadTransaction, usize), CatalogError> {
        let transaction = self.reading()?;
        let slot = slot_of(&transaction.open_table(tables::EDITION)?)?;
        Ok((transaction, slot))
    }

    fn write<R>(&self, change: impl FnOnce(&WriteTransaction) -> Result<R, CatalogError>) -> Result<R, CatalogError> {
        self.home.write(|database| {
            let transaction = database.begin_write()?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

/// Puts an edition's rows in the place of those in a slot.
fn fill(
    transaction: &WriteTransaction,
    slot: usize,
    updates: impl Iterator<Item = EditionUpdate>,
    files: impl Iterator<Item = EditionFile>,
) -> Result<(), CatalogError> {
    transaction.delete_table(tables::EDITION_UPDATES[slot])?;
    transaction.delete_table(tables::EDITION_FILES[slot])?;
    transaction.delete_table(tables::EDITION_NAMES[slot])?;
    transaction.delete_table(tables::EDITION_KBS[slot])?;
    let mut rows = transaction.open_table(tables::EDITION_UPDATES[slot])?;
    let mut by_kb = transaction.open_table(tables::EDITION_KBS[slot])?;
    for update in updates {
        let (key, value) = (update.id.to_bytes(), versioned::encode(VERSION, &update).map_err(row_of("updates"))?);
        rows.insert(&key, value.as_slice())?;
        for kb in &update.kbs {
            by_kb.insert((kb.0, &key), ())?;
        }
    }
    let mut rows = transaction.open_table(tables::EDITION_FILES[slot])?;
    let mut by_name = transaction.open_table(tables::EDITION_NAMES[slot])?;
    for file in files {
        let value = versioned::encode(VERSION, &file).map_err(row_of("files"))?;
        rows.insert(file.sha1.as_bytes(), value.as_slice())?;
        let Some(url) = &file.url else { continue };
        let name = url.file_name();
        if by_name.get(name.as_str())?.is_none() {
            by_name.insert(name.as_str(), file.sha1.as_bytes())?;
        }
    }
    Ok(())
}

fn slot_of(rows: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<usize, CatalogError> {
    let slot = rows.get(SLOT)?.map(|value| value.value().to_vec());
    match slot.as_deref() {
        None | Some([0]) => Ok(0),
        Some([1]) => Ok(1),
        Some(_) => Err(CatalogError::Damaged("edition")),
    }
}

fn record(
    rows: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<EditionRecord>, CatalogError> {
    rows.get(key)?.map(|value| EditionRecord::decode(value.value()).map_err(row_of("edition"))).transpose()
}

fn put_record(
    rows: &mut redb::Table<'_, &'static str, &'static [u8]>,
    key: &str,
    record: &EditionRecord,
) -> Result<(), CatalogError> {
    rows.insert(key, record.encode().map_err(row_of("edition"))?.as_slice())?;
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, CatalogError> {
    versioned::decode(VERSION, bytes).map_err(row_of(table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::tests::Memory,
        domain::{
            digest::Root,
            edition::{Category, CategoryKind, EditionId, Language, Severity, Title, UpdateKind},
            origin::OriginUrl,
        },
    };

    fn edition(byte: u8) -> EditionRecord {
        EditionRecord {
            id: EditionId { package_id: Guid([byte; 16]), created: 7 },
            root: Root([byte; 32]),
            origin_size: 10,
            origin_modified: Some(5),
            updates: 1,
            files: 1,
            indexed_at: 9,
        }
    }

    fn update(byte: u8, kbs: &[u32]) -> EditionUpdate {
        EditionUpdate {
            id: UpdateId::of(Guid([byte; 16]), 200),
            created: 1,
            kind: Some(UpdateKind::Software),
            is_bundle: false,
            is_leaf: true,
            titles: Vec::new(),
            severity: None,
            kbs: kbs.iter().copied().map(Kb).collect(),
            bulletins: Vec::new(),
            cves: Vec::new(),
            categories: Vec::new(),
            superseded_by: Vec::new(),
            bundled_by: Vec::new(),
            bundles: Vec::new(),
            files: Vec::new(),
        }
    }

    fn file(byte: u8, url: &str) -> EditionFile {
        EditionFile { sha1: Sha1([byte; 20]), size: Some(3), sha256: None, url: Some(OriginUrl::new(url).unwrap()) }
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
        let mut told = update(0x11, &[5]);
        told.titles = vec![Title { language: Language::new("en").unwrap(), text: "t".to_owned() }];
        told.severity = Some(Severity::Critical);
        told.bulletins = vec!["M".to_owned()];
        told.cves = vec!["C".to_owned()];
        let (kind, id) = (CategoryKind::Product, Guid([0x22; 16]));
        told.categories = vec![Category { kind, id, name: Some("p".into()) }];
        told.superseded_by = vec![UpdateId::of(Guid([0x33; 16]), 1)];
        told.files = vec![Sha1([0x44; 20])];
        let (guid, product, newer, file_sha1) = ("11".repeat(16), "22".repeat(16), "33".repeat(16), "44".repeat(20));
        assert_eq!(
            hex(versioned::encode(VERSION, &told).unwrap()),
            format!(
                "01{guid}c80102010000010102656e01740103010501014d01014301{}{product}01017001{newer}01000001{file_sha1}",
                "02"
            ),
        );
        let url = data_encoding::HEXLOWER.encode(b"http://h/c/a.cab");
        let sha1 = "01".repeat(20);
        assert_eq!(
            hex(versioned::encode(VERSION, &file(1, "http://h/c/a.cab")).unwrap()),
            format!("01{sha1}01030001{}{url}", "10"),
        );
    }

    #[test]
    fn an_edition_takes_the_place_of_the_one_before_and_is_found_by_article_and_name() {
        let editions = Editions::open(Arc::new(Memory::default())).unwrap();
        assert_eq!(editions.current().unwrap(), None);
        let (a, b) = (file(1, "http://h/c/a.cab"), file(2, "http://h/d/b.cab"));
        let updates = [update(1, &[5, 6]), update(2, &[6]), update(3, &[60])];
        editions.put(&edition(1), updates.clone().into_iter(), [a.clone(), b].into_iter()).unwrap();
        assert_eq!(editions.current().unwrap(), Some(edition(1)));
        assert_eq!(editions.updates_of_kb(Kb(6), None).unwrap(), updates[..2]);
        assert_eq!(editions.file_of_name(&FileName::new("a.cab").unwrap()).unwrap(), Some(a.clone()));
        let twice = file(9, "http://h/elsewhere/a.cab");
        editions.put(&edition(2), [update(2, &[7])].into_iter(), [a.clone(), twice].into_iter()).unwrap();
        assert_eq!(editions.current().unwrap(), Some(edition(2)));
        assert_eq!(
            (editions.updates_of_kb(Kb(6), None).unwrap(), editions.update(updates[0].id).unwrap()),
            (vec![], None)
        );
        assert_eq!(editions.file_of_name(&FileName::new("a.cab").unwrap()).unwrap(), Some(a));
        assert_eq!(editions.file_of_name(&FileName::new("b.cab").unwrap()).unwrap(), None);
        assert_eq!(ids(&editions, None, None), [updates[1].id]);
        assert_eq!(editions.previous().unwrap(), Some(edition(1)));
        editions.put(&edition(2), [update(2, &[8])].into_iter(), [].into_iter()).unwrap();
        assert_eq!(editions.previous().unwrap(), Some(edition(1)), "read again, it is no other edition");
    }

    fn ids(editions: &Editions, of: Option<Guid>, after: Option<UpdateId>) -> Vec<UpdateId> {
        let mut ids = Vec::new();
        let each = |update: EditionUpdate| {
            ids.push(update.id);
            Ok(ControlFlow::Continue(()))
        };
        editions.each_update(of, after, each).unwrap();
        ids
    }

    #[test]
    fn updates_are_told_after_one_and_of_one_update_id() {
        let editions = Editions::open(Arc::new(Memory::default())).unwrap();
        let id = |guid: u8, revision| UpdateId::of(Guid([guid; 16]), revision);
        let all = [id(1, 200), id(2, 1), id(2, 200), id(2, u32::MAX), id(3, 0)];
        let updates = all.map(|id| EditionUpdate { id, kbs: vec![Kb(1)], ..update(1, &[]) });
        editions.put(&edition(1), updates.into_iter(), [].into_iter()).unwrap();
        assert_eq!(ids(&editions, None, None), all);
        assert_eq!(ids(&editions, None, Some(all[1])), all[2..]);
        let two = Some(Guid([2; 16]));
        assert_eq!(ids(&editions, two, None), all[1..4]);
        assert_eq!(
            (ids(&editions, two, Some(all[0])), ids(&editions, two, Some(all[2]))),
            (all[1..4].into(), vec![all[3]])
        );
        assert_eq!((ids(&editions, two, Some(all[3])), ids(&editions, None, Some(all[4]))), (vec![], vec![]));
        let of_kb = editions.updates_of_kb(Kb(1), Some(all[2])).unwrap();
        assert_eq!(of_kb.iter().map(|update| update.id).collect::<Vec<_>>(), all[3..]);
    }

    #[test]
    fn two_editions_change_places_and_each_tells_what_it_told() {
        let editions = Editions::open(Arc::new(Memory::default())).unwrap();
        assert!(!editions.change_places().unwrap());
        editions.put(&edition(1), [update(1, &[5])].into_iter(), [file(1, "http://h/a.cab")].into_iter()).unwrap();
        assert!(!editions.change_places().unwrap(), "there is none to go back to");
        editions.put(&edition(2), [update(2, &[5])].into_iter(), [file(2, "http://h/b.cab")].into_iter()).unwrap();
        for (current, previous) in [(2, 1), (1, 2), (2, 1)] {
            assert_eq!(editions.current().unwrap(), Some(edition(current)));
            assert_eq!(editions.previous().unwrap(), Some(edition(previous)));
            assert_eq!(editions.updates_of_kb(Kb(5), None).unwrap(), [update(current, &[5])]);
            assert!(editions.file(&Sha1([current; 20])).unwrap().is_some());
            let mut changed = Vec::new();
            let mut each = |change: UpdateChange| {
                changed.push((change.id.guid().0[0], change.kind));
                ControlFlow::Continue(())
            };
            editions.each_changed_update(None, &mut each).unwrap();
            changed.sort_by_key(|(_, kind)| *kind);
            assert_eq!(changed, [(current, edition::ChangeKind::Added), (previous, edition::ChangeKind::Removed)]);
            assert!(editions.change_places().unwrap());
        }
        editions.put(&edition(3), [update(3, &[])].into_iter(), [].into_iter()).unwrap();
        assert_eq!(editions.previous().unwrap(), Some(edition(1)));
    }
}
