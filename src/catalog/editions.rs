//! `editions.redb`: what the published edition of Microsoft's index tells. It can be read again from the
//! edition itself, so it is in no backup; each edition takes the place of the one before in one commit.

use super::{
    error::{CatalogError, OpenCatalogError},
    home::Home,
    ledger::row_of,
    records::EditionRecord,
    tables,
};
use crate::{
    base::random_access::RandomAccess,
    domain::{
        digest::Sha1,
        edition::{EditionFile, EditionUpdate, Kb},
        name::FileName,
        update::UpdateId,
        versioned,
    },
};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable};
use std::{collections::BTreeSet, sync::Arc};

const VERSION: u8 = 1;
const CURRENT: &str = "current";

/// The rows of one edition.
pub struct Editions {
    home: Home,
}

impl Editions {
    /// Opens the database in `file`, or makes one in an empty file.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let editions = Self { home: Home::open(file)? };
        editions.home.write(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(tables::EDITION)?;
            transaction.open_table(tables::EDITION_UPDATES)?;
            transaction.open_table(tables::EDITION_FILES)?;
            transaction.open_table(tables::EDITION_NAMES)?;
            transaction.open_table(tables::EDITION_KBS)?;
            transaction.commit()?;
            Ok::<_, CatalogError>(())
        })?;
        Ok(editions)
    }

    /// Puts an edition in the place of the one before. Of two files with one name the first counts.
    pub fn put(
        &self,
        edition: &EditionRecord,
        updates: impl Iterator<Item = EditionUpdate>,
        files: impl Iterator<Item = EditionFile>,
    ) -> Result<(), CatalogError> {
        self.home.write(|database| {
            let transaction = database.begin_write()?;
            transaction.delete_table(tables::EDITION_UPDATES)?;
            transaction.delete_table(tables::EDITION_FILES)?;
            transaction.delete_table(tables::EDITION_NAMES)?;
            transaction.delete_table(tables::EDITION_KBS)?;
            {
                let mut rows = transaction.open_table(tables::EDITION_UPDATES)?;
                let mut by_kb = transaction.open_table(tables::EDITION_KBS)?;
                for update in updates {
                    let (key, value) =
                        (update.id.to_bytes(), versioned::encode(VERSION, &update).map_err(row_of("updates"))?);
                    rows.insert(&key, value.as_slice())?;
                    for kb in &update.kbs {
                        by_kb.insert((kb.0, &key), ())?;
                    }
                }
                let mut rows = transaction.open_table(tables::EDITION_FILES)?;
                let mut by_name = transaction.open_table(tables::EDITION_NAMES)?;
                for file in files {
                    let value = versioned::encode(VERSION, &file).map_err(row_of("files"))?;
                    rows.insert(file.sha1.as_bytes(), value.as_slice())?;
                    let Some(url) = &file.url else { continue };
                    let name = url.file_name();
                    if by_name.get(name.as_str())?.is_none() {
                        by_name.insert(name.as_str(), file.sha1.as_bytes())?;
                    }
                }
                let value = edition.encode().map_err(row_of("edition"))?;
                transaction.open_table(tables::EDITION)?.insert(CURRENT, value.as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })
    }

    /// Which edition it is.
    pub fn current(&self) -> Result<Option<EditionRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::EDITION)?;
        table.get(CURRENT)?.map(|value| EditionRecord::decode(value.value()).map_err(row_of("edition"))).transpose()
    }

    /// The file behind the last part of an indexed address.
    pub fn file_of_name(&self, name: &FileName) -> Result<Option<EditionFile>, CatalogError> {
        let transaction = self.reading()?;
        let names = transaction.open_table(tables::EDITION_NAMES)?;
        let Some(sha1) = names.get(name.as_str())? else { return Ok(None) };
        let files = transaction.open_table(tables::EDITION_FILES)?;
        files.get(sha1.value())?.map(|value| decode("files", value.value())).transpose()
    }

    /// A file.
    pub fn file(&self, sha1: &Sha1) -> Result<Option<EditionFile>, CatalogError> {
        let files = self.reading()?.open_table(tables::EDITION_FILES)?;
        files.get(sha1.as_bytes())?.map(|value| decode("files", value.value())).transpose()
    }

    /// An update.
    pub fn update(&self, id: UpdateId) -> Result<Option<EditionUpdate>, CatalogError> {
        let updates = self.reading()?.open_table(tables::EDITION_UPDATES)?;
        updates.get(&id.to_bytes())?.map(|value| decode("updates", value.value())).transpose()
    }

    /// The updates of an article, by id.
    pub fn updates_of_kb(&self, kb: Kb) -> Result<Vec<EditionUpdate>, CatalogError> {
        let transaction = self.reading()?;
        let (by_kb, updates) =
            (transaction.open_table(tables::EDITION_KBS)?, transaction.open_table(tables::EDITION_UPDATES)?);
        let mut ids = BTreeSet::new();
        for row in by_kb.range((kb.0, &[0; 20])..=(kb.0, &[0xff; 20]))? {
            ids.insert(*row?.0.value().1);
        }
        let rows = ids.iter().map(|id| {
            let value = updates.get(id)?.ok_or(CatalogError::Damaged("kbs"))?;
            decode("updates", value.value())
        });
        rows.collect()
    }

    /// Tells every update until `each` answers with `false`.
    pub fn each_update(&self, mut each: impl FnMut(EditionUpdate) -> bool) -> Result<(), CatalogError> {
        for row in self.reading()?.open_table(tables::EDITION_UPDATES)?.iter()? {
            if !each(decode("updates", row?.1.value())?) {
                break;
            }
        }
        Ok(())
    }

    fn reading(&self) -> Result<ReadTransaction, CatalogError> {
        self.home.read(|database| Ok(database.begin_read()?))
    }
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
            guid::Guid,
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
        assert_eq!(editions.updates_of_kb(Kb(6)).unwrap(), updates[..2]);
        assert_eq!(editions.file_of_name(&FileName::new("a.cab").unwrap()).unwrap(), Some(a.clone()));
        let twice = file(9, "http://h/elsewhere/a.cab");
        editions.put(&edition(2), [update(2, &[7])].into_iter(), [a.clone(), twice].into_iter()).unwrap();
        assert_eq!(editions.current().unwrap(), Some(edition(2)));
        assert_eq!((editions.updates_of_kb(Kb(6)).unwrap(), editions.update(updates[0].id).unwrap()), (vec![], None));
        assert_eq!(editions.file_of_name(&FileName::new("a.cab").unwrap()).unwrap(), Some(a));
        assert_eq!(editions.file_of_name(&FileName::new("b.cab").unwrap()).unwrap(), None);
        let mut told = 0;
        editions
            .each_update(|_| {
                told += 1;
                true
            })
            .unwrap();
        assert_eq!(told, 1);
    }
}
