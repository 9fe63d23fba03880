//! Certificates, read as far as the rules ask. Names are compared byte by byte; `webpki` reads them once more,
//! by itself, when it proves a chain.

use super::{
    asn1::{Element, Elements, tagged},
    error::Refusal,
    name, oid,
};
use der::{
    Tag,
    asn1::{BitStringRef, ObjectIdentifier, UintRef},
};

/// Bits of keyUsage (RFC 5280, 4.2.1.3).
pub(super) const DIGITAL_SIGNATURE: u8 = 0;
pub(super) const NON_REPUDIATION: u8 = 1;
const KEY_CERT_SIGN: u8 = 5;

/// One certificate; nothing in it is proven.
#[derive(Debug, Clone)]
pub(super) struct Certificate<'a> {
    pub(super) der: &'a [u8],
    /// INTEGER, as it stands.
    pub(super) serial: &'a [u8],
    /// RDNSequence without tag and length, like `subject`.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// SubjectPublicKeyInfo without tag and length.
    pub(super) public_key: &'a [u8],
    /// First and last second, since 1970.
    pub(super) not_before: u64,
    pub(super) not_after: u64,
    pub(super) is_ca: bool,
    pub(super) path_len: Option<u8>,
    key_usage: Option<BitStringRef<'a>>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
}

#[derive(Debug, Clone)]
pub(super) struct ExtendedKeyUsage {
    pub(super) is_critical: bool,
    pub(super) purposes: Vec<ObjectIdentifier>,
}

const PART: &str = "a certificate";

/// The last second at which a certificate counts, since 1970; `None` if it is none that can be read. Nothing is proven.
pub fn expiry(der: &[u8]) -> Option<u64> {
    Certificate::read(der).ok().map(|certificate| certificate.not_after)
}

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Self, Refusal> {
        let mut outer = Element::only(der, PART)?.sequence()?;
        let mut tbs = outer.sequence()?;
        outer.expect(Tag::Sequence)?;
        outer.expect(Tag::BitString)?;
        outer.end()?;
        // Version 3, the one with extensions: without them nothing tells a CA from a signer.
        let mut version = tbs.expect(tagged(0))?.elements()?;
        if version.any()?.number()? != 2 {
            return Err(Refusal::Malformed(PART));
        }
        version.end()?;
        let serial = tbs.expect(Tag::Integer)?.whole;
        tbs.expect(Tag::Sequence)?;
        let issuer = tbs.expect(Tag::Sequence)?.body;
        let mut validity = tbs.sequence()?;
        let (not_before, not_after) = (validity.any()?.time()?, validity.any()?.time()?);
        validity.end()?;
        let subject = tbs.expect(Tag::Sequence)?.body;
        let public_key = tbs.expect(Tag::Sequence)?.body;
        let extensions = tbs.optional(tagged(3))?;
        tbs.end()?;
        name::show(issuer)?;
        name::show(subject)?;
        let mut certificate = Self {
            der,
            serial,
            issuer,
            subject,
            public_key,
            not_before,
            not_after,
            is_ca: false,
            path_len: None,
            key_usage: None,
            extended_key_usage: None,
        };
        if let Some(extensions) = extensions {
            certificate.read_extensions(extensions)?;
        }
        Ok(certificate)
    }

    fn read_extensions(&mut self, extensions: Element<'a>) -> Result<(), Refusal> {
        let mut outer = extensions.elements()?;
        let extensions = outer.sequence()?;
        outer.end()?;
        let mut seen = Vec::new();
        for extension in extensions {
            let mut extension = extension?.sequence()?;
            let id = extension.oid()?;
            let critical = extension.optional(Tag::Boolean)?.map(|flag| flag.boolean()).transpose()?;
            let value = extension.octets()?;
            extension.end()?;
            if seen.contains(&id) {
                return Err(Refusal::Malformed(PART));
            }
            seen.push(id);
            match id {
                oid::BASIC_CONSTRAINTS => self.read_basic_constraints(value)?,
                oid::KEY_USAGE => {
                    self.key_usage = Some(Element::only(value, PART)?.bits()?);
                }
                oid::EXTENDED_KEY_USAGE => {
                    let purposes = Element::only(value, PART)?.sequence()?.map(|purpose| purpose?.oid());
                    let purposes = purposes.collect::<Result<_, _>>()?;
                    let is_critical = critical.unwrap_or(false);
                    self.extended_key_usage = Some(ExtendedKeyUsage { is_critical, purposes });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_basic_constraints(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        let mut constraints = Element::only(value, PART)?.sequence()?;
        let is_ca = constraints.optional(Tag::Boolean)?.map(|flag| flag.boolean()).transpose()?;
        self.is_ca = is_ca.unwrap_or(false);
        self.path_len = constraints.optional(Tag::Integer)?.map(|number| number.number()).transpose()?;
        constraints.end()
    }

    /// Whether keyUsage lets the key do one of `bits`; a certificate without keyUsage restricts nothing.
    pub(super) fn may(&self, bits: &[u8]) -> bool {
        let allows = |usage: BitStringRef<'_>| bits.iter().any(|bit| usage.get((*bit).into()).unwrap_or(false));
        self.key_usage.is_none_or(allows)
    }

    /// Whether keyUsage lets the key sign certificates.
    pub(super) fn may_sign_certificates(&self) -> bool {
        self.may(&[KEY_CERT_SIGN])
    }

    pub(super) fn is_valid_at(&self, time: u64) -> bool {
        (self.not_before..=self.not_after).contains(&time)
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub(super) fn subject(&self) -> String {
        name::show(self.subject).unwrap_or_default()
    }

    pub(super) fn issuer(&self) -> String {
        name::show(self.issuer).unwrap_or_default()
    }

    /// The length of an RSA key; `None` for other keys and for what can't be read.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        let mut key = Elements::new(self.public_key, PART).ok()?;
        if key.plain_algorithm().ok()? != oid::RSA {
            return None;
        }
        let bits = key.expect(Tag::BitString).ok()?.bits().ok()?;
        let mut key = Element::only(bits.as_bytes()?, PART).ok()?.sequence().ok()?;
        let modulus: UintRef<'_> = key.expect(Tag::Integer).ok()?.unsigned().ok()?;
        let first = modulus.as_bytes().first()?;
        Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
    }
}
