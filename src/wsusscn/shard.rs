//! A shard: a cabinet of small files, `c\<n>`, `x\<n>` and `l\<language>\<n>` among them, for a range of
//! RevisionIds. Passes by what nobody wants: other languages, licences (`e`) and whatever else there is.

use super::{
    details::{Core, Extended, read_core, read_extended, read_localized},
    error::{EditionError, Fault, Flaw},
    options::{Limits, Options},
};
use crate::{
    cabinet::{self, Cabinet},
    domain::edition::Language,
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{BufRead, Read},
    sync::atomic::{AtomicU64, Ordering},
};

/// What one shard tells, by RevisionId.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    pub(super) details: BTreeMap<u64, Details>,
}

/// What a shard tells of one update.
#[derive(Debug, Default)]
pub(super) struct Details {
    pub(super) core: Option<Core>,
    pub(super) extended: Option<Box<Extended>>,
    /// By the place of the language in [`Options::languages`].
    pub(super) titles: Vec<(usize, Box<str>)>,
}

/// What all shards together may have, of which each takes its part.
#[derive(Debug)]
pub(super) struct Budget {
    updates: Allowance,
    files: Allowance,
    text_bytes: Allowance,
}

#[derive(Debug)]
struct Allowance {
    what: &'static str,
    limit: u64,
    left: AtomicU64,
}

/// Which small file it is.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Core,
    Extended,
    /// In the language at this place.
    Localized(usize),
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            updates: Allowance::new("updates in shards", limits.max_updates.into()),
            files: Allowance::new("files in shards", limits.max_files.into()),
            text_bytes: Allowance::new("bytes of texts", limits.max_text_bytes as u64),
        }
    }
}

impl Allowance {
    fn new(what: &'static str, limit: u64) -> Self {
        Self { what, limit, left: AtomicU64::new(limit) }
    }

    fn take(&self, count: usize) -> Result<(), Flaw> {
        let less = |left: u64| left.checked_sub(count as u64);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(Flaw { offset: None, fault: Fault::Limit { what: self.what, limit: self.limit } }),
        }
    }
}

impl Shard {
    /// Reads the shard called `name`.
    pub(super) fn read(
        name: &str,
        from: &mut dyn Read,
        options: &Options,
        budget: &Budget,
    ) -> Result<Self, EditionError> {
        let in_cabinet = |error| Fault::Cabinet(error).of(&[name]);
        let mut cabinet = Cabinet::open(from, cabinet::Limits::default()).map_err(in_cabinet)?;
        let mut details: BTreeMap<u64, Details> = BTreeMap::new();
        while let Some(member) = cabinet.next_member().map_err(in_cabinet)? {
            let Some((part, revision)) = part_of(&member.file().name, &options.languages) else { continue };
            let path = member.file().shown_name();
            let read = match details.entry(revision) {
                Entry::Occupied(known) => known.into_mut().read(part, member, budget),
                Entry::Vacant(new) => {
                    budget.updates.take(1).and_then(|()| new.insert(Details::default()).read(part, member, budget))
                }
            };
            read.map_err(|flaw| flaw.of(&[name, &path]))?;
        }
        Ok(Self { name: name.to_owned(), details })
    }
}

impl Details {
    fn read(&mut self, part: Part, from: impl BufRead, budget: &Budget) -> Result<(), Flaw> {
        match part {
            Part::Core => once(&mut self.core, read_core(from)?),
            Part::Extended => {
                let extended = read_extended(from)?;
                budget.files.take(extended.files.len())?;
                budget.text_bytes.take(extended.text_bytes())?;
                once(&mut self.extended, Box::new(extended))
            }
            Part::Localized(language) => {
                let title = read_localized(from)?;
                budget.text_bytes.take(title.len())?;
                if self.titles.iter().any(|(known, _)| *known == language) {
                    return Err(twice());
                }
                self.titles.push((language, title.into()));
                Ok(())
            }
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Flaw> {
    if place.replace(value).is_some() { Err(twice()) } else { Ok(()) }
}

fn twice() -> Flaw {
    Flaw { offset: None, fault: Fault::Twice("this member".to_owned()) }
}

/// What a member is, if it is wanted; its name's parts are parted by either slash.
fn part_of(name: &[u8], languages: &[Language]) -> Option<(Part, u64)> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts = name.split(['\\', '/']);
    let (kind, second, third) = (parts.next()?, parts.next()?, parts.next());
    let (part, number) = match (kind, third) {
        ("c", None) => (Part::Core, second),
        ("x", None) => (Part::Extended, second),
        ("l", Some(number)) => {
            let language = languages.iter().position(|language| language.as_str().eq_ignore_ascii_case(second))?;
            (Part::Localized(language), number)
        }
        _ => return None,
    };
    // `parse` would take a sign.
    let is_number = parts.next().is_none() && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| number.parse().ok()).flatten().map(|number| (part, number))
}
