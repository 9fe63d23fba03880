//! Reading DER, one element after the other, without copies: `der` reads tags and lengths, and refuses
//! whatever is not the one encoding.

use super::error::Refusal;
use der::{
    AnyRef, Decode, Reader, SliceReader, Tag, TagNumber, Tagged,
    asn1::{BitStringRef, GeneralizedTime, ObjectIdentifier, UintRef, UtcTime},
};

/// `[number]` with elements inside.
pub(super) const fn tagged(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// One value with its tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// What it is a part of, for refusals.
    part: &'static str,
    pub(super) tag: Tag,
    /// Without tag and length.
    pub(super) body: &'a [u8],
    /// As it stands.
    pub(super) whole: &'a [u8],
}

/// Elements that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    part: &'static str,
    reader: SliceReader<'a>,
}

impl<'a> Elements<'a> {
    /// The elements in `bytes`, which belong to `part`.
    pub(super) fn new(bytes: &'a [u8], part: &'static str) -> Result<Self, Refusal> {
        let reader = SliceReader::new(bytes).map_err(|_| Refusal::Malformed(part))?;
        Ok(Self { part, reader })
    }

    /// The next one.
    pub(super) fn any(&mut self) -> Result<Element<'a>, Refusal> {
        let malformed = |_| Refusal::Malformed(self.part);
        let whole = self.reader.tlv_bytes().map_err(malformed)?;
        let element = AnyRef::from_der(whole).map_err(malformed)?;
        Ok(Element { part: self.part, tag: element.tag(), body: element.value(), whole })
    }

    /// The next one, which has to be a `tag`.
    pub(super) fn expect(&mut self, tag: Tag) -> Result<Element<'a>, Refusal> {
        let element = self.any()?;
        if element.tag == tag { Ok(element) } else { Err(Refusal::Malformed(self.part)) }
    }

    /// The next one if it is a `tag`.
    pub(super) fn optional(&mut self, tag: Tag) -> Result<Option<Element<'a>>, Refusal> {
        let is_next = !self.is_empty() && Tag::peek(&self.reader).is_ok_and(|next| next == tag);
        if is_next { self.any().map(Some) } else { Ok(None) }
    }

    /// The elements inside the next one, a SEQUENCE.
    pub(super) fn sequence(&mut self) -> Result<Self, Refusal> {
        self.any()?.sequence()
    }

    /// The elements inside the next one, a SET.
    pub(super) fn set(&mut self) -> Result<Self, Refusal> {
        self.expect(Tag::Set)?.elements()
    }

    pub(super) fn oid(&mut self) -> Result<ObjectIdentifier, Refusal> {
        self.any()?.oid()
    }

    pub(super) fn octets(&mut self) -> Result<&'a [u8], Refusal> {
        Ok(self.expect(Tag::OctetString)?.body)
    }

    /// The algorithm that the next element names; parameters are none or NULL.
    pub(super) fn plain_algorithm(&mut self) -> Result<ObjectIdentifier, Refusal> {
        let mut algorithm = self.sequence()?;
        let oid = algorithm.oid()?;
        algorithm.optional(Tag::Null)?;
        algorithm.end()?;
        Ok(oid)
    }

    /// The last one has been.
    pub(super) fn end(self) -> Result<(), Refusal> {
        if self.is_empty() { Ok(()) } else { Err(Refusal::Malformed(self.part)) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reader.is_finished()
    }
}

/// All of them, up to the first that can't be read.
impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_empty() {
            return None;
        }
        let element = self.any();
        if element.is_err() {
            // What follows can't be told apart.
            self.reader = SliceReader::new(&[]).ok()?;
        }
        Some(element)
    }
}

impl<'a> Element<'a> {
    /// All of `bytes` as one element.
    pub(super) fn only(bytes: &'a [u8], part: &'static str) -> Result<Self, Refusal> {
        let mut elements = Elements::new(bytes, part)?;
        let element = elements.any()?;
        elements.end()?;
        Ok(element)
    }

    /// The same as a part of something else.
    pub(super) fn within(self, part: &'static str) -> Self {
        Self { part, ..self }
    }

    /// What is inside, if it is a SEQUENCE.
    pub(super) fn sequence(&self) -> Result<Elements<'a>, Refusal> {
        if self.tag == Tag::Sequence { self.elements() } else { Err(self.malformed()) }
    }

    /// What is inside, whatever it is.
    pub(super) fn elements(&self) -> Result<Elements<'a>, Refusal> {
        if self.tag.is_constructed() { Elements::new(self.body, self.part) } else { Err(self.malformed()) }
    }

    pub(super) fn oid(&self) -> Result<ObjectIdentifier, Refusal> {
        ObjectIdentifier::from_der(self.whole).map_err(|_| self.malformed())
    }

    /// A small number that is not negative.
    pub(super) fn number(&self) -> Result<u8, Refusal> {
        u8::from_der(self.whole).map_err(|_| self.malformed())
    }

    /// A number that is not negative.
    pub(super) fn unsigned(&self) -> Result<UintRef<'a>, Refusal> {
        UintRef::from_der(self.whole).map_err(|_| self.malformed())
    }

    pub(super) fn bits(&self) -> Result<BitStringRef<'a>, Refusal> {
        BitStringRef::from_der(self.whole).map_err(|_| self.malformed())
    }

    pub(super) fn boolean(&self) -> Result<bool, Refusal> {
        bool::from_der(self.whole).map_err(|_| self.malformed())
    }

    /// A moment in seconds since 1970, parts of a second dropped. Moments before are malformed.
    pub(super) fn time(&self) -> Result<u64, Refusal> {
        let time = match self.tag {
            Tag::UtcTime => UtcTime::from_der(self.whole).map(|time| time.to_unix_duration()),
            _ => without_fraction(self.body)
                .and_then(|whole| AnyRef::new(self.tag, &whole)?.decode_as::<GeneralizedTime>())
                .map(|time| time.to_unix_duration()),
        };
        time.map(|time| time.as_secs()).map_err(|_| self.malformed())
    }

    fn malformed(&self) -> Refusal {
        Refusal::Malformed(self.part)
    }
}

/// `20260102030405.678Z` as `20260102030405Z`, which alone `der` reads.
fn without_fraction(text: &[u8]) -> der::Result<Vec<u8>> {
    let Some((whole, rest)) = text.split_at_checked(14).filter(|(_, rest)| rest.starts_with(b".")) else {
        return Ok(text.to_vec());
    };
    let digits = rest.strip_prefix(b".").and_then(|rest| rest.strip_suffix(b"Z")).unwrap_or_default();
    let is_fraction = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if is_fraction { Ok([whole, b"Z"].concat()) } else { Err(der::ErrorKind::DateTime.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &[u8]) -> Option<u64> {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text].concat();
        Element::only(&der, "test").unwrap().time().ok()
    }

    #[test]
    fn moments_are_read_with_and_without_parts_of_a_second() {
        assert_eq!(time(24, b"20260102030405Z"), Some(1_767_323_045));
        assert_eq!(time(24, b"20260102030405.678Z"), Some(1_767_323_045));
        assert_eq!(time(23, b"260102030405Z"), Some(1_767_323_045));
        for wrong in
            ["20260102030405", "20260102030405.Z", "20260102030405.6x8Z", "20261302030405Z", "20260102030405+0100"]
        {
            assert_eq!(time(24, wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_the_one_encoding_is_malformed() {
        for wrong in [&b"\x30\x80\0\0"[..], b"\x30\x81\x01\0", b"\x10\0", b"\x21\0", b"\x04\x02\0", b"\x05\0\0", b""] {
            assert!(Element::only(wrong, "test").is_err(), "{wrong:x?}");
        }
    }
}
