//! Attributes of a signer: those that the signature covers, and those that anybody may have added.

use super::{asn1::Element, error::Refusal};
use der::{Tag, asn1::ObjectIdentifier};

/// More than any signer has; each is looked at for each question.
const MAX_ATTRIBUTES: usize = 32;
/// SET OF, the tag under which attributes are signed (RFC 5652, 5.4).
const SET_OF: u8 = 0x31;

/// Attributes in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes<'a> {
    whole: &'a [u8],
    /// Each with its SET of values.
    all: Vec<(ObjectIdentifier, Element<'a>)>,
}

impl<'a> Attributes<'a> {
    pub(super) fn read(set: Element<'a>, part: &'static str) -> Result<Self, Refusal> {
        let mut all = Vec::new();
        for attribute in set.within(part).elements()? {
            let mut attribute = attribute?.sequence()?;
            all.push((attribute.oid()?, attribute.expect(Tag::Set)?));
            attribute.end()?;
            if all.len() > MAX_ATTRIBUTES {
                return Err(Refusal::Malformed(part));
            }
        }
        Ok(Self { whole: set.whole, all })
    }

    /// The values of each attribute of that kind.
    pub(super) fn of(&self, kind: ObjectIdentifier) -> impl Iterator<Item = Element<'a>> {
        self.all.iter().filter(move |(oid, _)| *oid == kind).map(|(_, values)| *values)
    }

    /// The one value of the one attribute of that kind; none where there is no such attribute.
    pub(super) fn one(&self, kind: ObjectIdentifier, many: Refusal) -> Result<Option<Element<'a>>, Refusal> {
        let mut attributes = self.of(kind);
        let Some(values) = attributes.next() else { return Ok(None) };
        let mut values = values.elements()?;
        let value = if values.is_empty() { None } else { Some(values.any()?) };
        if value.is_none() || !values.is_empty() || attributes.next().is_some() {
            return Err(many);
        }
        Ok(value)
    }

    /// What the signature is over.
    pub(super) fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = self.whole.to_vec();
        if let Some(tag) = bytes.first_mut() {
            *tag = SET_OF;
        }
        bytes
    }
}
