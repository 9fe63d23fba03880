//! The small files of a shard: what each tells of one update. XML fragments without a namespace; of `c/<n>`
//! only the beginning is read, since what follows (rules of when an update applies) is most of an edition.

use super::{
    base64::digest,
    error::{Fault, Flaw},
    xml::{Element, Xml, parsed},
};
use crate::domain::{
    digest::{Sha1, Sha256},
    edition::{Kb, Severity, UpdateKind},
    file::MAX_FILE_BYTES,
    update::UpdateId,
};
use std::io::BufRead;

/// Titles have some 200 bytes.
const MAX_TITLE_BYTES: usize = 4 * 1024;
/// `CVE-2026-20805`, `MS17-010`, `5087058`.
const MAX_ID_BYTES: usize = 64;
/// Articles, bulletins or vulnerabilities of one update; cumulative ones have a few hundred.
const MAX_IDS: usize = 16 * 1024;
/// Files of one update; language packs and Office have hundreds.
const MAX_FILES: usize = 16 * 1024;

/// What `c/<n>` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Core {
    pub(super) id: UpdateId,
    pub(super) kind: UpdateKind,
}

/// What `x/<n>` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Extended {
    pub(super) severity: Option<Severity>,
    pub(super) kbs: Vec<Kb>,
    pub(super) bulletins: Vec<Box<str>>,
    pub(super) cves: Vec<Box<str>>,
    pub(super) files: Vec<FileDetails>,
    /// Severities, numbers of articles and digests that could not be understood.
    pub(super) unreadable: u32,
}

/// One `File`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileDetails {
    pub(super) sha1: Sha1,
    pub(super) size: u64,
    pub(super) sha256: Option<Sha256>,
}

impl Extended {
    /// Bytes of its texts.
    pub(super) fn text_bytes(&self) -> usize {
        self.bulletins.iter().chain(&self.cves).map(|text| text.len()).sum()
    }
}

/// Reads the beginning of `c/<n>`, as far as its `Properties`.
pub fn read_core(from: impl BufRead) -> Result<Core, Flaw> {
    let mut xml = Xml::new(from);
    let mut id = None;
    while let Some(element) = xml.child()? {
        match element.name() {
            "UpdateIdentity" => {
                let guid = element.required("UpdateIdentity", "UpdateID", parsed)?;
                let number = element.required("UpdateIdentity", "RevisionNumber", parsed)?;
                id = Some(UpdateId::of(guid, number));
            }
            "Properties" => {
                let kind = element.required("Properties", "UpdateType", |kind| Some(kind_of(kind)))?;
                let missing = Fault::Missing { element: "c", missing: "UpdateIdentity before its Properties" };
                return id.map(|id| Core { id, kind }).ok_or_else(|| xml.flaw(missing));
            }
            _ => {}
        }
        xml.skip()?;
    }
    Err(xml.flaw(Fault::Missing { element: "c", missing: "Properties" }))
}

fn kind_of(text: &str) -> UpdateKind {
    match text {
        "Software" => UpdateKind::Software,
        "Category" => UpdateKind::Category,
        "Detectoid" => UpdateKind::Detectoid,
        _ => UpdateKind::Other,
    }
}

/// Reads `x/<n>`.
pub fn read_extended(from: impl BufRead) -> Result<Extended, Flaw> {
    let mut xml = Xml::new(from);
    let (mut extended, mut is_there) = (Extended::default(), false);
    while let Some(element) = xml.child()? {
        match element.name() {
            "ExtendedProperties" => {
                is_there = true;
                let severity = element.attribute("MsrcSeverity")?.filter(|severity| !severity.is_empty());
                extended.severity = severity.as_deref().and_then(parsed);
                extended.unreadable += u32::from(severity.is_some() && extended.severity.is_none());
                properties(&mut xml, &mut extended)?;
            }
            "Files" => files(&mut xml, &mut extended)?,
            _ => xml.skip()?,
        }
    }
    let missing = Fault::Missing { element: "x", missing: "ExtendedProperties" };
    if is_there { Ok(extended) } else { Err(xml.flaw(missing)) }
}

fn properties(xml: &mut Xml<impl BufRead>, extended: &mut Extended) -> Result<(), Flaw> {
    while let Some(element) = xml.child()? {
        // `CveId` and `CveID` have both been told of.
        match element.name() {
            name if name.eq_ignore_ascii_case("KBArticleID") => {
                let text = xml.text("bytes of a KBArticleID", MAX_ID_BYTES)?;
                match text.parse() {
                    Ok(kb) => push(xml, &mut extended.kbs, kb)?,
                    Err(_) => extended.unreadable += u32::from(!text.is_empty()),
                }
            }
            name if name.eq_ignore_ascii_case("SecurityBulletinID") => id(xml, &mut extended.bulletins)?,
            name if name.eq_ignore_ascii_case("CveID") => id(xml, &mut extended.cves)?,
            _ => xml.skip()?,
        }
    }
    Ok(())
}

fn id(xml: &mut Xml<impl BufRead>, ids: &mut Vec<Box<str>>) -> Result<(), Flaw> {
    let text = xml.text("bytes of an id", MAX_ID_BYTES)?;
    if text.is_empty() { Ok(()) } else { push(xml, ids, text.into()) }
}

fn push<T>(xml: &Xml<impl BufRead>, all: &mut Vec<T>, one: T) -> Result<(), Flaw> {
    all.push(one);
    let limit = Fault::Limit { what: "ids of one update", limit: MAX_IDS as u64 };
    if all.len() > MAX_IDS { Err(xml.flaw(limit)) } else { Ok(()) }
}

fn files(xml: &mut Xml<impl BufRead>, extended: &mut Extended) -> Result<(), Flaw> {
    while let Some(element) = xml.child()? {
        if element.name() != "File" {
            xml.skip()?;
            continue;
        }
        let file = file(&element)?;
        let sha256 = additional(xml, extended)?;
        match file {
            Some((sha1, size)) => extended.files.push(FileDetails { sha1, size, sha256 }),
            None => extended.unreadable += 1,
        }
        if extended.files.len() > MAX_FILES {
            return Err(xml.flaw(Fault::Limit { what: "files of one update", limit: MAX_FILES as u64 }));
        }
    }
    Ok(())
}

/// `None` if its digest is of another kind than everything else here is known by.
fn file(file: &Element<'_>) -> Result<Option<(Sha1, u64)>, Flaw> {
    let algorithm = file.attribute("DigestAlgorithm")?;
    if algorithm.is_some_and(|algorithm| !is_algorithm(&algorithm, "SHA1")) {
        return Ok(None);
    }
    let sha1 = file.required("File", "Digest", digest).map(Sha1)?;
    let size = file.required("File", "Size", |size| parsed(size).filter(|size| *size <= MAX_FILE_BYTES))?;
    Ok(Some((sha1, size)))
}

/// The SHA-256 among the digests in a `File`; leaves that.
fn additional(xml: &mut Xml<impl BufRead>, extended: &mut Extended) -> Result<Option<Sha256>, Flaw> {
    let mut sha256 = None;
    while let Some(element) = xml.child()? {
        let algorithm = element.attribute("Algorithm")?;
        let is_sha256 = algorithm.is_some_and(|algorithm| is_algorithm(&algorithm, "SHA256"));
        if element.name() != "AdditionalDigest" || !is_sha256 {
            xml.skip()?;
            continue;
        }
        let text = xml.text("bytes of a digest", MAX_ID_BYTES)?;
        sha256 = digest(&text).map(Sha256);
        extended.unreadable += u32::from(sha256.is_none());
    }
    Ok(sha256)
}

/// `SHA256` is also written `SHA-256`.
fn is_algorithm(text: &str, name: &str) -> bool {
    text.bytes().filter(|b| *b != b'-').map(|b| b.to_ascii_uppercase()).eq(name.bytes())
}

/// Reads the title in `l/<language>/<n>`.
pub fn read_localized(from: impl BufRead) -> Result<String, Flaw> {
    let mut xml = Xml::new(from);
    xml.root("LocalizedProperties")?;
    while let Some(element) = xml.child()? {
        match element.name() {
            "Title" => return xml.text("bytes of a title", MAX_TITLE_BYTES),
            _ => xml.skip()?,
        }
    }
    Err(xml.flaw(Fault::Missing { element: "LocalizedProperties", missing: "Title" }))
}
