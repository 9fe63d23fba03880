//! One pass over the outer cabinet. Members may stand in any order: what shards tell is kept by number until
//! all is there.

use super::{
    assemble::assemble,
    edition::Edition,
    error::{EditionError, Fault},
    index::{self, Index},
    options::Options,
    package::{self, Package},
    pool::{Pool, with_pool},
};
use crate::cabinet::{self, Cabinet, Member};
use std::{collections::BTreeSet, io::Read};

const INDEX_XML: &str = "index.xml";
const PACKAGE_XML: &str = "package.xml";

/// Reads an edition from the bytes of `wsusscn2.cab`. What follows the cabinet, such as its signature, is left
/// alone. Blocks the caller's thread until all is read, and starts [`Options::workers`] threads meanwhile.
pub fn read(from: impl Read, options: &Options) -> Result<Edition, EditionError> {
    let (found, shards) = with_pool(options, |pool| pass(from, options, pool))?;
    let index = found.index.ok_or_else(|| Fault::NoMember(INDEX_XML).of(&[]))?;
    let package = found.package.ok_or_else(|| Fault::NoMember(PACKAGE_XML).of(&[]))?;
    assemble(&index, package, shards, options)
}

/// What the pass found beside shards.
#[derive(Default)]
struct Found {
    index: Option<Index>,
    package: Option<Package>,
}

fn pass(from: impl Read, options: &Options, pool: &mut Pool<'_>) -> Result<Found, EditionError> {
    let whole = |error| Fault::Cabinet(error).of(&[]);
    let mut outer = Cabinet::open(from, cabinet::Limits::default()).map_err(whole)?;
    let (mut found, mut seen) = (Found::default(), BTreeSet::new());
    while let Some(mut member) = outer.next_member().map_err(whole)? {
        if pool.has_failed() {
            break;
        }
        let name = member.file().shown_name().to_ascii_lowercase();
        let is_shard = name.ends_with(".cab");
        match name.as_str() {
            INDEX_XML => {
                let read = index::read(member, &options.limits);
                found.index = Some(read.map_err(|flaw| flaw.of(&[INDEX_XML]))?);
            }
            index::PACKAGE => found.package = package(member, options)?,
            // Whatever the index does not name is none of ours; until it is there, anything may be.
            name if !is_shard || found.index.as_ref().is_some_and(|index| !index.has(name)) => continue,
            _ => pool.hand_in(name.clone(), member.remaining(), &mut member)?,
        }
        if !seen.insert(name.clone()) {
            return Err(Fault::Twice(name).of(&[]));
        }
    }
    Ok(found)
}

fn package<R: Read>(member: Member<'_, R>, options: &Options) -> Result<Option<Package>, EditionError> {
    let in_cabinet = |error| Fault::Cabinet(error).of(&[index::PACKAGE]);
    let limit = options.limits.max_package_bytes;
    let limits = cabinet::Limits { max_folder_bytes: limit, max_cabinet_bytes: limit, ..cabinet::Limits::default() };
    let mut cabinet = Cabinet::open(member, limits).map_err(in_cabinet)?;
    while let Some(member) = cabinet.next_member().map_err(in_cabinet)? {
        if member.file().name.eq_ignore_ascii_case(PACKAGE_XML.as_bytes()) {
            let read = package::read(member, &options.limits);
            return read.map(Some).map_err(|flaw| flaw.of(&[index::PACKAGE, PACKAGE_XML]));
        }
    }
    Ok(None)
}
