//! A whole edition, compact: lists of places in each other. Hands out updates and files by value, each list in
//! ascending order.

use super::{details::Extended, package::Span};
use crate::domain::{
    digest::{Sha1, Sha256},
    edition::{Category, EditionFile, EditionId, EditionUpdate, Language, Title, UpdateKind},
    origin::OriginUrl,
    update::UpdateId,
};

/// One edition, as it was read. The editions of 2026 take some 100 MB.
#[derive(Debug)]
pub struct Edition {
    pub(super) id: EditionId,
    pub(super) languages: Vec<Language>,
    /// By id.
    pub(super) updates: Vec<Known>,
    /// By kind, then id.
    pub(super) categories: Vec<Category>,
    /// By SHA-1.
    pub(super) files: Vec<KnownFile>,
    /// Places in `updates`, `categories` and `files`; each update knows its spans.
    pub(super) places: Vec<u32>,
    pub(super) oddities: Oddities,
}

/// One update; spans are of [`Edition::places`].
#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: UpdateId,
    pub(super) created: i64,
    pub(super) is_bundle: bool,
    pub(super) is_leaf: bool,
    pub(super) kind: Option<UpdateKind>,
    pub(super) extended: Option<Box<Extended>>,
    pub(super) titles: Vec<(usize, Box<str>)>,
    pub(super) categories: Span,
    pub(super) superseded_by: Span,
    pub(super) bundled_by: Span,
    pub(super) bundles: Span,
    pub(super) files: Span,
}

#[derive(Debug)]
pub(super) struct KnownFile {
    pub(super) sha1: Sha1,
    pub(super) size: Option<u64>,
    pub(super) sha256: Option<Sha256>,
    /// Was checked; kept as text because that is smaller.
    pub(super) url: Option<Box<str>>,
}

/// What was left out because it is not as it should be, counted. Editions have some of this; much of it, or more
/// than the edition before had, is worth a warning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Shards that the index names and that are not there, and how many updates should be in each.
    pub missing_shards: Vec<(String, u32)>,
    /// Cabinets that are there and that the index does not name.
    pub unlisted_cabinets: Vec<String>,
    /// Updates of which no shard tells anything.
    pub updates_without_details: u32,
    /// What shards tell of numbers that `package.xml` does not have, or that belong into another shard.
    pub details_without_update: u32,
    /// Updates that stand in `package.xml` again; the first number counts.
    pub repeated_updates: u32,
    /// Numbers of superseding updates and of bundles that no update has.
    pub unknown_numbers: u32,
    /// Categories that no update with a title explains.
    pub categories_without_name: u32,
    /// Files of updates that have no address.
    pub files_without_url: u32,
    /// Files of updates that no shard tells the size of.
    pub files_without_size: u32,
    /// Files that shards tell of and no update has.
    pub files_without_update: u32,
    /// Files whose sizes or SHA-256 differ from shard to shard; the first counts.
    pub contradictory_files: u32,
    /// Addresses of files that no update has.
    pub urls_without_file: u32,
    /// Addresses beside another one of the same file; the first counts.
    pub repeated_urls: u32,
    /// Addresses that can't be one of a mirrored file.
    pub refused_urls: u32,
    /// Severities, numbers of articles and digests in shards that could not be understood.
    pub unreadable_values: u32,
}

impl Edition {
    /// Which edition it is.
    pub fn id(&self) -> EditionId {
        self.id
    }

    /// How many updates it has.
    pub fn update_count(&self) -> usize {
        self.updates.len()
    }

    /// How many files its updates have.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// What was left out.
    pub fn oddities(&self) -> &Oddities {
        &self.oddities
    }

    /// All updates, by id: bundles, what is in them, categories and detectoids.
    pub fn updates(&self) -> impl ExactSizeIterator<Item = EditionUpdate> {
        self.updates.iter().map(|update| self.told(update))
    }

    /// One update.
    pub fn update(&self, id: UpdateId) -> Option<EditionUpdate> {
        let place = self.updates.binary_search_by_key(&id, |update| update.id).ok()?;
        Some(self.told(&self.updates[place]))
    }

    /// All files that updates have, by SHA-1.
    pub fn files(&self) -> impl ExactSizeIterator<Item = EditionFile> {
        self.files.iter().map(KnownFile::told)
    }

    /// One file.
    pub fn file(&self, sha1: Sha1) -> Option<EditionFile> {
        let place = self.files.binary_search_by_key(&sha1, |file| file.sha1).ok()?;
        Some(self.files[place].told())
    }

    fn told(&self, update: &Known) -> EditionUpdate {
        let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.as_ref().to_owned()).collect();
        let updates = |span| self.at(span).map(|place| self.updates[place].id).collect();
        let extended = update.extended.as_deref();
        EditionUpdate {
            id: update.id,
            created: update.created,
            kind: update.kind,
            is_bundle: update.is_bundle,
            is_leaf: update.is_leaf,
            titles: update.titles.iter().map(|(language, text)| self.title(*language, text)).collect(),
            severity: extended.and_then(|extended| extended.severity),
            kbs: extended.map(|extended| extended.kbs.clone()).unwrap_or_default(),
            bulletins: extended.map(|extended| texts(&extended.bulletins)).unwrap_or_default(),
            cves: extended.map(|extended| texts(&extended.cves)).unwrap_or_default(),
            categories: self.at(update.categories).map(|place| self.categories[place].clone()).collect(),
            superseded_by: updates(update.superseded_by),
            bundled_by: updates(update.bundled_by),
            bundles: updates(update.bundles),
            files: self.at(update.files).map(|place| self.files[place].sha1).collect(),
        }
    }

    fn at(&self, span: Span) -> impl Iterator<Item = usize> {
        self.places[span.range()].iter().map(|place| *place as usize)
    }

    fn title(&self, language: usize, text: &str) -> Title {
        Title { language: self.languages[language].clone(), text: text.to_owned() }
    }
}

impl KnownFile {
    fn told(&self) -> EditionFile {
        let url = self.url.as_deref().and_then(|url| OriginUrl::new(url).ok());
        EditionFile { sha1: self.sha1, size: self.size, sha256: self.sha256, url }
    }
}
