//! PKCS#7 and CMS SignedData with one signer, read and not proven. PKCS#7 has its content as it is, CMS inside
//! an OCTET STRING; a digest is over what is in either, without tag and length.

use super::{
    asn1::{Element, Elements, tagged},
    attributes::Attributes,
    certificate::Certificate,
    error::{Party, Refusal},
    hash::HashAlgorithm,
    oid,
};
use der::{Tag, asn1::ObjectIdentifier};

/// A chain has three or four; a second one may be there for a root that was replaced.
const MAX_CERTIFICATES: usize = 16;
/// Of certificates with one subject each may be an issuer of the next: few of them keep the search for a chain
/// short (at most 4 to the power of `webpki`'s depth, 6).
const MAX_OF_ONE_SUBJECT: usize = 4;

/// A content, and who signed it.
#[derive(Debug)]
pub(super) struct SignedData<'a> {
    pub(super) party: Party,
    pub(super) content_type: ObjectIdentifier,
    pub(super) content: Element<'a>,
    pub(super) certificates: Vec<Certificate<'a>>,
    pub(super) signer: SignerInfo<'a>,
}

/// What the signer says.
#[derive(Debug)]
pub(super) struct SignerInfo<'a> {
    /// Issuer (without tag and length) and serial number (with them) of the certificate.
    pub(super) issuer: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) digest: HashAlgorithm,
    pub(super) signed: Attributes<'a>,
    pub(super) signature_algorithm: ObjectIdentifier,
    pub(super) signature: &'a [u8],
    pub(super) unsigned: Attributes<'a>,
}

/// What `party` signs, for refusals.
pub(super) fn part(party: Party) -> &'static str {
    match party {
        Party::Signer => "the signature",
        Party::TimeStamper => "the time stamp",
    }
}

/// Authenticode is PKCS#7 1.5; a time stamp is CMS with another content than data (RFC 5652, 5.1).
fn version(party: Party) -> u8 {
    match party {
        Party::Signer => 1,
        Party::TimeStamper => 3,
    }
}

impl<'a> SignedData<'a> {
    /// The signature behind a cabinet: `bytes` are PKCS#7 and up to 7 zeros.
    pub(super) fn of_cabinet(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let first = Elements::new(bytes, part(Party::Signer))?.any()?;
        let padding = &bytes[first.whole.len()..];
        if bytes.len() > first.whole.len().next_multiple_of(8) || padding.iter().any(|byte| *byte != 0) {
            return Err(Refusal::Padding);
        }
        Self::read(first, Party::Signer)
    }

    /// A ContentInfo.
    pub(super) fn read(info: Element<'a>, party: Party) -> Result<Self, Refusal> {
        let mut info = info.within(part(party)).sequence()?;
        let kind = info.oid()?;
        if kind != oid::SIGNED_DATA {
            return Err(content_type(party, kind, "signed data"));
        }
        let mut outer = info.expect(tagged(0))?.elements()?;
        info.end()?;
        let mut data = outer.sequence()?;
        outer.end()?;
        if data.any()?.number()? != version(party) {
            return Err(Refusal::Malformed(part(party)));
        }
        let mut digests = data.set()?;
        let digest = HashAlgorithm::of(digests.plain_algorithm()?, part(party))?;
        digests.end()?;
        let mut inner = data.sequence()?;
        let content_type = inner.oid()?;
        let mut content = inner.expect(tagged(0))?.elements()?;
        inner.end()?;
        let only = content.any()?;
        content.end()?;
        let certificates = data.optional(tagged(0))?;
        // Revocation lists.
        data.optional(tagged(1))?;
        let signers: Vec<_> = data.set()?.take(3).collect::<Result<_, _>>()?;
        data.end()?;
        let [signer] = signers[..] else { return Err(Refusal::Signers { party, count: signers.len() }) };
        let certificates = certificates.map(|set| read_certificates(set, party)).transpose()?.unwrap_or_default();
        let signer = SignerInfo::read(signer, party)?;
        if signer.digest != digest {
            let what = format!("{digest} and {}", signer.digest);
            return Err(Refusal::MixedAlgorithms { party, what });
        }
        Ok(Self { party, content_type, content: only, certificates, signer })
    }

    /// The certificate that the signer names.
    pub(super) fn signer_certificate(&self) -> Result<&Certificate<'a>, Refusal> {
        let is_named =
            |found: &&Certificate<'_>| found.issuer == self.signer.issuer && found.serial == self.signer.serial;
        let mut named = self.certificates.iter().filter(is_named);
        let first = named.next().ok_or(Refusal::NoSignerCertificate { party: self.party })?;
        let is_only = named.all(|other| other.der == first.der);
        if is_only { Ok(first) } else { Err(Refusal::NoSignerCertificate { party: self.party }) }
    }
}

/// The refusal of a content of type `kind`.
pub(super) fn content_type(party: Party, kind: ObjectIdentifier, expected: &'static str) -> Refusal {
    Refusal::ContentType { part: part(party), oid: kind.to_string(), expected }
}

fn read_certificates(set: Element<'_>, party: Party) -> Result<Vec<Certificate<'_>>, Refusal> {
    let mut certificates: Vec<Certificate<'_>> = Vec::new();
    for element in set.elements()? {
        let certificate = Certificate::read(element?.whole)?;
        let same = certificates.iter().filter(|other| other.subject == certificate.subject).count();
        if certificates.len() == MAX_CERTIFICATES || same == MAX_OF_ONE_SUBJECT {
            return Err(Refusal::TooManyCertificates { party });
        }
        certificates.push(certificate);
    }
    Ok(certificates)
}

impl<'a> SignerInfo<'a> {
    fn read(info: Element<'a>, party: Party) -> Result<Self, Refusal> {
        let part = part(party);
        let mut info = info.within(part).sequence()?;
        // Version 1 names a certificate by issuer and serial number; neither signtool nor a TSA writes another.
        if info.any()?.number()? != 1 {
            return Err(Refusal::Malformed(part));
        }
        let mut named = info.sequence()?;
        let (issuer, serial) = (named.expect(Tag::Sequence)?.body, named.expect(Tag::Integer)?.whole);
        named.end()?;
        let digest = HashAlgorithm::of(info.plain_algorithm()?, part)?;
        let signed = Attributes::read(info.expect(tagged(0))?, part)?;
        let signature_algorithm = info.plain_algorithm()?;
        let signature = info.octets()?;
        let unsigned = info.optional(tagged(1))?.map(|set| Attributes::read(set, part)).transpose()?;
        info.end()?;
        Ok(Self {
            issuer,
            serial,
            digest,
            signed,
            signature_algorithm,
            signature,
            unsigned: unsigned.unwrap_or_default(),
        })
    }
}
