//! `index.xml`: which cabinets there are, and which of them has which updates.

use super::{
    error::{Fault, Flaw},
    options::Limits,
    xml::{Xml, parsed},
};
use std::{collections::BTreeMap, io::BufRead};

/// The cabinet of `package.xml`, which has no range.
pub(super) const PACKAGE: &str = "package.cab";
/// Far above `package75.cab`.
const MAX_NAME_BYTES: usize = 64;

/// The shards by where their ranges begin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    by_start: BTreeMap<u64, String>,
}

impl Index {
    /// The shard of a revision: the one whose range begins at or before it, and nearest to it.
    pub fn shard_of(&self, revision: u64) -> Option<&str> {
        self.by_start.range(..=revision).next_back().map(|(_, name)| name.as_str())
    }

    /// All shards, by their ranges.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        self.by_start.values().map(String::as_str)
    }

    /// Whether there is a shard of this name.
    pub fn has(&self, name: &str) -> bool {
        self.shards().any(|shard| shard == name)
    }
}

/// Reads it. Names are kept in lower case.
pub fn read(from: impl BufRead, limits: &Limits) -> Result<Index, Flaw> {
    let mut xml = Xml::new(from);
    let root = xml.root("INDEX")?;
    root.required("INDEX", "VERSION", |version| (version == "1").then_some(()))?;
    let mut list = None;
    while let Some(element) = xml.child()? {
        if element.name() != "CABLIST" {
            xml.skip()?;
            continue;
        }
        // What another value would change is not known.
        element.optional("CABLIST", "XOR", |xor| (xor == "0").then_some(()))?;
        if list.is_some() {
            return Err(xml.flaw(Fault::Twice("CABLIST".to_owned())));
        }
        list = Some(read_list(&mut xml, limits)?);
    }
    let index = list.filter(|index| !index.by_start.is_empty());
    index.ok_or_else(|| xml.flaw(Fault::Missing { element: "INDEX", missing: "CABLIST with shards" }))
}

fn read_list(xml: &mut Xml<impl BufRead>, limits: &Limits) -> Result<Index, Flaw> {
    let mut index = Index::default();
    while let Some(cab) = xml.child()? {
        if cab.name() != "CAB" {
            xml.skip()?;
            continue;
        }
        let name = cab.required("CAB", "NAME", cabinet_name)?;
        if name == PACKAGE {
            xml.skip()?;
            continue;
        }
        let start = cab.required("CAB", "RANGESTART", parsed)?;
        if index.has(&name) {
            return Err(xml.flaw(Fault::Twice(name)));
        }
        if index.by_start.insert(start, name).is_some() {
            return Err(xml.flaw(Fault::Twice(format!("RANGESTART {start}"))));
        }
        if index.by_start.len() > limits.max_shards as usize {
            return Err(xml.flaw(Fault::Limit { what: "shards", limit: limits.max_shards.into() }));
        }
        xml.skip()?;
    }
    Ok(index)
}

fn cabinet_name(text: &str) -> Option<String> {
    let is_name = (1..=MAX_NAME_BYTES).contains(&text.len()) && text.is_ascii();
    is_name.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(cabs: &str) -> String {
        format!("<INDEX VERSION=\"1\"><CABLIST XOR=\"0\"><CAB NAME=\"package.cab\"/>{cabs}</CABLIST></INDEX>")
    }

    fn of(text: &str) -> Result<Index, Flaw> {
        read(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_revision_is_in_the_shard_whose_range_begins_at_or_nearest_before_it() {
        let index = of(&list(
            "<CAB RANGESTART=\"627\" NAME=\"Package3.cab\"/><CAB NAME=\"package2.cab\" RANGESTART=\"5\" FILESDIR=\"1\"/>\
             <NEW/><CAB NAME=\"package4.cab\" RANGESTART=\"18446744073709551615\"></CAB>",
        ))
        .unwrap();
        let shards = [4, 5, 626, 627, u64::MAX - 1, u64::MAX].map(|revision| index.shard_of(revision));
        let [two, three, four] = ["package2.cab", "package3.cab", "package4.cab"].map(Some);
        assert_eq!(shards, [None, two, two, three, three, four]);
        assert_eq!(index.shards().collect::<Vec<_>>(), ["package2.cab", "package3.cab", "package4.cab"]);
    }

    #[test]
    fn what_is_not_as_described_is_refused_with_its_place() {
        let cab = "<CAB NAME=\"a.cab\" RANGESTART=\"0\"/>";
        let fault = |text: &str| of(text).unwrap_err().fault;
        assert!(matches!(fault("<index/>"), Fault::Root { expected: "INDEX", .. }));
        assert!(matches!(fault(""), Fault::Root { .. }));
        assert!(matches!(fault(&list("")), Fault::Missing { missing: "CABLIST with shards", .. }));
        assert!(matches!(fault(&list(cab).replace("VERSION=\"1\"", "VERSION=\"2\"")), Fault::Value { .. }));
        assert!(matches!(fault(&list(cab).replace("XOR=\"0\"", "XOR=\"1\"")), Fault::Value { what: "XOR", .. }));
        assert!(matches!(fault(&list(cab).replace("NAME=\"a", "N=\"a")), Fault::Missing { missing: "NAME", .. }));
        assert!(matches!(fault(&list(&cab.replace("RANGESTART", "R"))), Fault::Missing { missing: "RANGESTART", .. }));
        assert!(matches!(fault(&list(&cab.replace("\"0\"", "\"-1\""))), Fault::Value { what: "RANGESTART", .. }));
        assert!(matches!(fault(&list(&cab.repeat(2))), Fault::Twice(name) if name == "a.cab"));
        let flaw = of(&list(&format!("{cab}{}", cab.replace("a.cab", "b.cab")))).unwrap_err();
        assert!(matches!(flaw.fault, Fault::Twice(what) if what == "RANGESTART 0"));
        assert_eq!(flaw.offset, Some(list(cab).find("</CABLIST").unwrap() as u64));
        let two = format!("{cab}{}", "<CAB NAME=\"b\" RANGESTART=\"1\"/>");
        let limited = read(list(&two).as_bytes(), &Limits { max_shards: 1, ..Limits::default() });
        assert!(matches!(limited.unwrap_err().fault, Fault::Limit { what: "shards", limit: 1 }));
    }
}
