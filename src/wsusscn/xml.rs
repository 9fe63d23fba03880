//! XML as it comes, one element after the other. Owns the bounds: an element's tag or a text is at most
//! [`MAX_EVENT_BYTES`], elements are nested at most [`MAX_DEPTH`] deep, document types are refused and no
//! entity but XML's own is known. Fragments may have several roots. Namespaces are not looked at.
//!
//! Order of events: [`Xml::child`] enters the next element of the one that was entered last, and leaves that
//! one when there is none. Whoever enters an element leaves it: by asking for children until there are none, or
//! by [`Xml::skip`] or [`Xml::text`].

use super::error::{Fault, Flaw};
use quick_xml::{
    Reader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};
use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
    str::FromStr,
};

/// A tag with its attributes, or a piece of text. Descriptions have some KiB.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// Far deeper than any part of the index that is read.
const MAX_DEPTH: usize = 64;

/// A member that is read as XML.
pub(super) struct Xml<R> {
    reader: Reader<Metered<R>>,
    /// What was read last; kept for its memory.
    event: Vec<u8>,
    /// Where that begins.
    offset: u64,
    /// The tag of the element that was entered last, without its brackets, and how long its name is.
    tag: String,
    name_bytes: usize,
    /// Elements that were entered and not left.
    depth: usize,
}

/// What comes next.
enum Step {
    Open,
    Close,
    Text,
    End,
}

/// An element that was entered.
pub(super) struct Element<'a> {
    tag: BytesStart<'a>,
    offset: u64,
}

impl<R: BufRead> Xml<R> {
    pub(super) fn new(from: R) -> Self {
        let mut reader = Reader::from_reader(Metered { inner: from, left: 0, is_over: false });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, event: Vec::new(), offset: 0, tag: String::new(), name_bytes: 0, depth: 0 }
    }

    /// A fault of what was read last.
    pub(super) fn flaw(&self, fault: Fault) -> Flaw {
        fault.at(self.offset)
    }

    /// Enters the first element, which has to be this one.
    pub(super) fn root(&mut self, expected: &'static str) -> Result<Element<'_>, Flaw> {
        let found = self.child()?.map(|root| root.name().to_owned()).unwrap_or_default();
        match found == expected {
            true => Ok(self.entered()),
            false => Err(self.flaw(Fault::Root { expected, found: clipped(&found) })),
        }
    }

    /// Enters the next element; `None` when the one that was entered last ends or, outside of any, the member.
    pub(super) fn child(&mut self) -> Result<Option<Element<'_>>, Flaw> {
        loop {
            match self.step(None)? {
                Step::Open => return Ok(Some(self.entered())),
                Step::Close | Step::End => return Ok(None),
                Step::Text => {}
            }
        }
    }

    /// Leaves the element that was entered last, whatever is in it.
    pub(super) fn skip(&mut self) -> Result<(), Flaw> {
        let depth = self.depth;
        while self.depth >= depth {
            self.step(None)?;
        }
        Ok(())
    }

    /// Leaves the element that was entered last; its text, without that of elements in it, trimmed.
    pub(super) fn text(&mut self, what: &'static str, max_bytes: usize) -> Result<String, Flaw> {
        let (depth, mut text) = (self.depth, String::new());
        while self.depth >= depth {
            let is_its_own = self.depth == depth;
            self.step(is_its_own.then_some(&mut text))?;
            if text.len() > max_bytes {
                return Err(self.flaw(Fault::Limit { what, limit: max_bytes as u64 }));
            }
        }
        Ok(text.trim().to_owned())
    }

    fn entered(&self) -> Element<'_> {
        Element { tag: BytesStart::from_content(&*self.tag, self.name_bytes), offset: self.offset }
    }

    /// Reads on; what is text goes to `text`.
    fn step(&mut self, text: Option<&mut String>) -> Result<Step, Flaw> {
        self.offset = self.reader.buffer_position();
        self.reader.get_mut().left = MAX_EVENT_BYTES;
        self.event.clear();
        let event = match self.reader.read_event_into(&mut self.event) {
            Ok(event) => event,
            Err(error) => return Err(fault_of(error, self.reader.get_ref().is_over).at(self.offset)),
        };
        let content: Cow<'_, str> = match event {
            Event::Start(start) => {
                if self.depth == MAX_DEPTH {
                    let limit = MAX_DEPTH as u64;
                    return Err(Fault::Limit { what: "elements in each other", limit }.at(self.offset));
                }
                self.depth += 1;
                self.name_bytes = start.name().as_ref().len();
                self.tag.clear();
                self.tag.push_str(&start);
                return Ok(Step::Open);
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(Step::Close);
            }
            Event::Eof if self.depth > 0 => return Err(Fault::Truncated.at(self.offset)),
            Event::Eof => return Ok(Step::End),
            Event::DocType(_) => return Err(Fault::DocType.at(self.offset)),
            Event::Text(content) => content.xml10_content(),
            Event::CData(content) => content.xml10_content(),
            Event::GeneralRef(entity) => resolved(&entity).map_err(|fault| fault.at(self.offset))?.into(),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => Cow::Borrowed(""),
        };
        if let Some(text) = text {
            text.push_str(&content);
        }
        Ok(Step::Text)
    }
}

fn fault_of(error: quick_xml::Error, is_over: bool) -> Fault {
    match is_over {
        true => Fault::Limit { what: "bytes of a tag or text", limit: MAX_EVENT_BYTES as u64 },
        false => Fault::Xml(error),
    }
}

fn resolved(entity: &BytesRef<'_>) -> Result<String, Fault> {
    if let Some(character) = entity.resolve_char_ref().map_err(Fault::Xml)? {
        return Ok(character.into());
    }
    let name = entity.xml10_content();
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| Fault::Entity(clipped(&name)))
}

impl Element<'_> {
    /// Without its prefix.
    pub(super) fn name(&self) -> &str {
        self.tag.local_name().into_inner()
    }

    /// The attribute of this name, or one that differs by case alone; the first, if there are several.
    pub(super) fn attribute(&self, name: &str) -> Result<Option<Cow<'_, str>>, Flaw> {
        for attribute in self.tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|error| self.flaw(Fault::Xml(error.into())))?;
            if attribute.key.as_ref().eq_ignore_ascii_case(name) {
                let value = attribute.normalized_value(XmlVersion::Implicit1_0);
                return value.map(Some).map_err(|error| self.flaw(Fault::Xml(error)));
            }
        }
        Ok(None)
    }

    /// The same, which has to be there and to be what `parse` takes.
    pub(super) fn required<T>(
        &self,
        element: &'static str,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Flaw> {
        let value = self.optional(element, name, parse)?;
        value.ok_or_else(|| self.flaw(Fault::Missing { element, missing: name }))
    }

    /// The same, which has to be what `parse` takes if it is there.
    pub(super) fn optional<T>(
        &self,
        element: &'static str,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Flaw> {
        let Some(value) = self.attribute(name)? else { return Ok(None) };
        let parsed = parse(&value);
        parsed.map(Some).ok_or_else(|| self.flaw(Fault::Value { element, what: name, value: clipped(&value) }))
    }

    /// Whether the attribute is there and true.
    pub(super) fn flag(&self, element: &'static str, name: &'static str) -> Result<bool, Flaw> {
        let value = self.optional(element, name, |value| match value {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        });
        Ok(value?.unwrap_or(false))
    }

    fn flaw(&self, fault: Fault) -> Flaw {
        fault.at(self.offset)
    }
}

/// For [`Element::required`]: what reads itself.
pub(super) fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// Enough of a foreign text to find it.
pub(super) fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Lets through what one event may have.
struct Metered<R> {
    inner: R,
    /// Bytes that the event may still have.
    left: usize,
    /// It would have had more.
    is_over: bool,
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(self.left)])
    }

    fn consume(&mut self, bytes: usize) {
        self.left -= bytes.min(self.left);
        self.inner.consume(bytes);
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let bytes = available.len().min(out.len());
        out[..bytes].copy_from_slice(&available[..bytes]);
        self.consume(bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (u64, Fault) {
        let mut xml = Xml::new(text.as_bytes());
        loop {
            match xml.child().map(|child| child.is_some()) {
                Ok(true) => {}
                Ok(false) if xml.depth == 0 => panic!("{text:.80} is read"),
                Ok(false) => {}
                Err(flaw) => return (flaw.offset.unwrap(), flaw.fault),
            }
        }
    }

    #[test]
    fn elements_come_one_after_the_other_in_fragments_of_several_roots() {
        let text =
            "\u{feff}<?xml version='1.0'?><!-- a --><p:a x='1&amp;2' y=''/> <b>t<c>u</c>&lt;&#x41;<![CDATA[<d>]]></b>";
        let mut xml = Xml::new(text.as_bytes());
        let a = xml.child().unwrap().unwrap();
        assert_eq!((a.name(), a.attribute("X").unwrap().as_deref()), ("a", Some("1&2")));
        assert!(a.attribute("z").unwrap().is_none() && !a.flag("a", "z").unwrap());
        assert!(matches!(a.flag("a", "x").unwrap_err().fault, Fault::Value { what: "x", .. }));
        assert!(matches!(a.required("a", "z", parsed::<u8>).err().unwrap().fault, Fault::Missing { missing: "z", .. }));
        assert!(xml.child().unwrap().is_none(), "it is empty");
        assert_eq!(xml.child().unwrap().unwrap().name(), "b");
        assert_eq!(xml.text("text", 20).unwrap(), "t<A<d>");
        assert!(xml.child().unwrap().is_none(), "the end");
    }

    #[test]
    fn what_is_passed_by_is_left_with_all_that_is_in_it() {
        let mut xml = Xml::new(&b"<a><b><c/><c>x</c></b><d/></a><e/>"[..]);
        xml.root("a").unwrap();
        xml.child().unwrap().unwrap();
        xml.skip().unwrap();
        assert_eq!(xml.child().unwrap().unwrap().name(), "d");
        xml.skip().unwrap();
        assert!(xml.child().unwrap().is_none());
        let flaw = xml.root("f").err().unwrap();
        assert!(matches!(flaw.fault, Fault::Root { expected: "f", found } if found == "e"));
    }

    #[test]
    fn depth_tags_and_texts_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(Xml::new(nested(MAX_DEPTH).as_bytes()).child().is_ok());
        let (offset, limit) = fault(&nested(MAX_DEPTH + 1));
        assert!(matches!(limit, Fault::Limit { limit: 64, .. }) && offset == 64 * 3);
        let long = "x".repeat(MAX_EVENT_BYTES);
        for text in [format!("<a b='{long}'/>"), format!("<a>{long}</a>"), format!("<a><!--{long}--></a>")] {
            assert!(matches!(fault(&text).1, Fault::Limit { what: "bytes of a tag or text", .. }));
        }
        let mut xml = Xml::new(&b"<a>12345</a>"[..]);
        xml.root("a").unwrap();
        assert!(matches!(xml.text("t", 4).unwrap_err().fault, Fault::Limit { what: "t", limit: 4 }));
    }

    #[test]
    fn no_entity_is_defined_and_none_is_fetched() {
        let (offset, doctype) = fault("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>");
        assert!(matches!(doctype, Fault::DocType) && offset == 0);
        let (offset, entity) = fault("<a>b&x;</a>");
        assert!(matches!(entity, Fault::Entity(name) if name == "x") && offset == 4);
        let mut xml = Xml::new(&b"<a b='&x;'/>"[..]);
        assert!(matches!(xml.root("a").unwrap().attribute("b").unwrap_err().fault, Fault::Xml(_)));
    }

    #[test]
    fn what_is_no_xml_or_ends_early_is_refused_at_its_place() {
        let (offset, cut) = fault("<a><b></b>");
        assert!(matches!(cut, Fault::Truncated) && offset == 10);
        for text in ["<a><b></a>", "<a", "</a>", "<a>&amp", "<a>\u{0}</b>"] {
            assert!(matches!(fault(text).1, Fault::Xml(_)), "{text}");
        }
    }
}
