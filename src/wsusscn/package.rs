//! `package.xml`: every update with what it hangs together with, and where files are. Read from front to
//! back into flat lists; what the numbers (`RevisionId`) lead to is for [`assemble`](super::assemble) to say.

use super::{
    base64::digest,
    error::{Fault, Flaw},
    options::Limits,
    xml::{Element, Xml, parsed},
};
use crate::domain::{
    digest::Sha1,
    edition::{CategoryKind, EditionId},
    guid::Guid,
    origin::MAX_URL_BYTES,
    update::UpdateId,
};
use std::{collections::HashMap, io::BufRead, ops::Range};

/// What `package.xml` says.
#[derive(Debug)]
pub struct Package {
    pub(super) id: EditionId,
    pub(super) updates: Vec<Listed>,
    pub(super) lists: Lists,
    /// In the order of their first mention.
    pub(super) categories: Vec<(CategoryKind, Guid)>,
    /// Of `EulaFiles`: addresses lead to these as well.
    pub(super) eulas: Vec<Sha1>,
    /// Digests and addresses, as they are written.
    pub(super) locations: Vec<(Sha1, Box<str>)>,
}

/// One `Update`; ranges are of [`Lists`].
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) id: UpdateId,
    pub(super) revision: u64,
    pub(super) created: i64,
    pub(super) is_bundle: bool,
    pub(super) is_leaf: bool,
    pub(super) categories: Span,
    pub(super) superseded_by: Span,
    pub(super) bundled_by: Span,
    pub(super) payload: Span,
}

/// The lists of all updates, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Places in [`Package::categories`].
    pub(super) categories: Vec<u32>,
    /// RevisionIds of `SupersededBy` and `BundledBy`.
    pub(super) revisions: Vec<u64>,
    /// Of `PayloadFiles`.
    pub(super) digests: Vec<Sha1>,
}

/// Part of a list, from and to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span(u32, u32);

impl Span {
    /// Lists have far fewer than 2^32 entries: [`Limits::max_references`] is held while they grow.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self(start as u32, end as u32)
    }

    pub(super) fn range(self) -> Range<usize> {
        self.0 as usize..self.1 as usize
    }
}

/// Reads it.
pub fn read(from: impl BufRead, limits: &Limits) -> Result<Package, Flaw> {
    let mut xml = Xml::new(from);
    let root = xml.root("OfflineSyncPackage")?;
    let id = EditionId {
        package_id: root.required("OfflineSyncPackage", "PackageId", parsed)?,
        created: root.required("OfflineSyncPackage", "CreationDate", seconds)?,
    };
    let mut reading = Reading::new(id, limits);
    while let Some(element) = xml.child()? {
        match element.name() {
            "Updates" => reading.updates(&mut xml)?,
            "FileLocations" => reading.locations(&mut xml)?,
            _ => xml.skip()?,
        }
    }
    Ok(reading.package)
}

struct Reading<'a> {
    package: Package,
    /// Where a category is in the package's list.
    places: HashMap<(CategoryKind, Guid), u32>,
    /// Bytes of addresses.
    text_bytes: usize,
    limits: &'a Limits,
    /// The lists of the update that is being read.
    own: Own,
}

#[derive(Default)]
struct Own {
    categories: Vec<u32>,
    superseded_by: Vec<u64>,
    bundled_by: Vec<u64>,
    payload: Vec<Sha1>,
}

impl<'a> Reading<'a> {
    fn new(id: EditionId, limits: &'a Limits) -> Self {
        let package = Package {
            id,
            updates: Vec::new(),
            lists: Lists::default(),
            categories: Vec::new(),
            eulas: Vec::new(),
            locations: Vec::new(),
        };
        Self { package, places: HashMap::new(), text_bytes: 0, limits, own: Own::default() }
    }

    fn updates(&mut self, xml: &mut Xml<impl BufRead>) -> Result<(), Flaw> {
        while let Some(element) = xml.child()? {
            if element.name() != "Update" {
                xml.skip()?;
                continue;
            }
            let mut listed = listed(&element)?;
            self.children(xml)?;
            let lists = &mut self.package.lists;
            listed.categories = append(&mut lists.categories, &mut self.own.categories);
            listed.superseded_by = append(&mut lists.revisions, &mut self.own.superseded_by);
            listed.bundled_by = append(&mut lists.revisions, &mut self.own.bundled_by);
            listed.payload = append(&mut lists.digests, &mut self.own.payload);
            self.package.updates.push(listed);
            bounded(xml, "updates", self.package.updates.len(), self.limits.max_updates)?;
        }
        Ok(())
    }

    fn children(&mut self, xml: &mut Xml<impl BufRead>) -> Result<(), Flaw> {
        while let Some(element) = xml.child()? {
            match element.name() {
                "Categories" => self.categories(xml)?,
                "SupersededBy" => self.own.superseded_by.extend(self.references(xml, "Revision", parsed::<u64>)?),
                "BundledBy" => self.own.bundled_by.extend(self.references(xml, "Revision", parsed::<u64>)?),
                "PayloadFiles" => self.own.payload.extend(self.references(xml, "File", sha1)?),
                "EulaFiles" => {
                    let eulas = self.references(xml, "File", sha1)?;
                    self.package.eulas.extend(eulas);
                    bounded(xml, "licences", self.package.eulas.len(), self.limits.max_references)?;
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    /// `@Id` of each `child`.
    fn references<T>(
        &self,
        xml: &mut Xml<impl BufRead>,
        child: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, Flaw> {
        let mut all = Vec::new();
        while let Some(element) = xml.child()? {
            if element.name() == child {
                all.push(element.required(child, "Id", parse)?);
                let lists = &self.package.lists;
                let before = lists.revisions.len().max(lists.digests.len());
                bounded(xml, "references", before + all.len(), self.limits.max_references)?;
            }
            xml.skip()?;
        }
        Ok(all)
    }

    fn categories(&mut self, xml: &mut Xml<impl BufRead>) -> Result<(), Flaw> {
        while let Some(element) = xml.child()? {
            let kind = element.attribute("Type")?.and_then(|kind| CategoryKind::of_type(&kind));
            if let (Some(kind), "Category") = (kind, element.name()) {
                let id = element.required("Category", "Id", parsed)?;
                let next = self.package.categories.len();
                let place = *self.places.entry((kind, id)).or_insert(next as u32);
                if place as usize == next {
                    self.package.categories.push((kind, id));
                }
                self.own.categories.push(place);
                let all = self.package.lists.categories.len() + self.own.categories.len();
                bounded(xml, "references", all, self.limits.max_references)?;
            }
            xml.skip()?;
        }
        Ok(())
    }

    fn locations(&mut self, xml: &mut Xml<impl BufRead>) -> Result<(), Flaw> {
        while let Some(element) = xml.child()? {
            if element.name() == "FileLocation" {
                let id = element.required("FileLocation", "Id", sha1)?;
                let short = |url: &str| (url.len() <= MAX_URL_BYTES).then(|| Box::from(url));
                let url: Box<str> = element.required("FileLocation", "Url", short)?;
                self.text_bytes += url.len();
                self.package.locations.push((id, url));
                bounded(xml, "addresses", self.package.locations.len(), self.limits.max_files)?;
                bounded(xml, "bytes of addresses", self.text_bytes, self.limits.max_text_bytes as u64)?;
            }
            xml.skip()?;
        }
        Ok(())
    }
}

fn listed(update: &Element<'_>) -> Result<Listed, Flaw> {
    let guid = update.required("Update", "UpdateId", parsed)?;
    Ok(Listed {
        id: UpdateId::of(guid, update.required("Update", "RevisionNumber", parsed)?),
        revision: update.required("Update", "RevisionId", parsed)?,
        created: update.required("Update", "CreationDate", seconds)?,
        is_bundle: update.flag("Update", "IsBundle")?,
        is_leaf: update.flag("Update", "IsLeaf")?,
        categories: Span::default(),
        superseded_by: Span::default(),
        bundled_by: Span::default(),
        payload: Span::default(),
    })
}

fn append<T>(all: &mut Vec<T>, own: &mut Vec<T>) -> Span {
    let start = all.len();
    all.append(own);
    Span::new(start, all.len())
}

fn bounded(xml: &Xml<impl BufRead>, what: &'static str, count: usize, limit: impl Into<u64>) -> Result<(), Flaw> {
    let limit = limit.into();
    if count as u64 > limit { Err(xml.flaw(Fault::Limit { what, limit })) } else { Ok(()) }
}

fn sha1(text: &str) -> Option<Sha1> {
    digest(text).map(Sha1)
}

/// RFC 3339, as in `2026-07-14T13:54:06Z`.
fn seconds(text: &str) -> Option<i64> {
    text.parse().ok().map(jiff::Timestamp::as_second)
}
