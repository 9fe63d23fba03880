//! RFC 3161 time stamps: when a signature was there, as somebody else says who is believed.

use super::{
    asn1::{Element, Elements, tagged},
    certificate::Certificate,
    chain,
    error::{Party, Refusal},
    hash::HashAlgorithm,
    oid,
    signed_data::{SignedData, content_type},
    signer,
};
use der::Tag;
use sha1::{Digest, Sha1};

/// How far a clock may be behind that of the time stamper.
const MAX_CLOCK_SKEW_SECONDS: u64 = 5 * 60;

const PART: &str = "the time stamp";

/// The one time stamp of a signature.
pub(super) fn find<'a>(signed: &SignedData<'a>) -> Result<Option<SignedData<'a>>, Refusal> {
    let token = signed.signer.unsigned.one(oid::TIME_STAMP, Refusal::TimeStamps)?;
    token.map(|token| SignedData::read(token, Party::TimeStamper)).transpose()
}

/// Proves that `token` is of `signature` and not of the future; gives its time in seconds since 1970, and the
/// certificate whose key made it.
pub(super) fn prove<'s, 'a>(
    token: &'s SignedData<'a>,
    signature: &[u8],
    now: u64,
) -> Result<(u64, &'s Certificate<'a>), Refusal> {
    if token.content_type != oid::TST_INFO {
        return Err(content_type(Party::TimeStamper, token.content_type, "a time stamp"));
    }
    if token.content.tag != Tag::OctetString {
        return Err(Refusal::Malformed(PART));
    }
    let at = stamped(token.content.body, signature)?;
    let certificate = signer::prove(token)?;
    check_bound(token, certificate)?;
    if at > now.saturating_add(MAX_CLOCK_SKEW_SECONDS) {
        return Err(Refusal::TimeStampInFuture { at: chain::date(at) });
    }
    Ok((at, certificate))
}

/// The time in the TSTInfo `info`, which has to be of `signature`.
fn stamped(info: &[u8], signature: &[u8]) -> Result<u64, Refusal> {
    let mut info = Element::only(info, PART)?.sequence()?;
    info.expect(Tag::Integer)?;
    // Its policy.
    info.oid()?;
    let mut imprint = info.sequence()?;
    let algorithm = HashAlgorithm::of(imprint.plain_algorithm()?, PART)?;
    let digest = imprint.octets()?;
    imprint.end()?;
    info.expect(Tag::Integer)?;
    let at = info.expect(Tag::GeneralizedTime)?.time()?;
    check_rest(info)?;
    if digest == algorithm.digest(signature) { Ok(at) } else { Err(Refusal::TimeStampOfAnother) }
}

/// Accuracy, order, nonce and name say nothing that counts; an extension that must be understood does.
fn check_rest(mut info: Elements<'_>) -> Result<(), Refusal> {
    info.optional(Tag::Sequence)?;
    info.optional(Tag::Boolean)?;
    info.optional(Tag::Integer)?;
    info.optional(tagged(0))?;
    if let Some(extensions) = info.optional(tagged(1))? {
        for extension in extensions.elements()? {
            let mut extension = extension?.sequence()?;
            let id = extension.oid()?;
            if extension.optional(Tag::Boolean)?.is_some_and(|flag| flag.boolean() != Ok(false)) {
                return Err(Refusal::CriticalExtension { oid: id.to_string() });
            }
        }
    }
    info.end()
}

/// The signed attribute that names the certificate, so that nobody can put another of the same key in its
/// place (RFC 2634, RFC 5035). Time stamps of before 2010 or so have a SHA-1 there, which is enough for that.
fn check_bound(token: &SignedData<'_>, certificate: &Certificate<'_>) -> Result<(), Refusal> {
    let unbound = Refusal::TimeStampUnbound;
    let old = token.signer.signed.one(oid::SIGNING_CERTIFICATE, unbound.clone())?;
    let new = token.signer.signed.one(oid::SIGNING_CERTIFICATE_V2, unbound.clone())?;
    let old = old.map(|value| named_by_sha1(value, certificate)).transpose()?;
    let new = new.map(|value| named(value, certificate)).transpose()?;
    // Each that is there has to fit, and one has to be there.
    match (old, new) {
        (Some(true), None | Some(true)) | (None, Some(true)) => Ok(()),
        _ => Err(unbound),
    }
}

fn named_by_sha1(value: Element<'_>, certificate: &Certificate<'_>) -> Result<bool, Refusal> {
    let mut first = value.sequence()?.sequence()?.sequence()?;
    Ok(first.octets()? == Sha1::digest(certificate.der).as_slice())
}

fn named(value: Element<'_>, certificate: &Certificate<'_>) -> Result<bool, Refusal> {
    let mut first = value.sequence()?.sequence()?.sequence()?;
    let mut after = first.clone();
    // SHA-256 where none is named.
    let algorithm = match first.optional(Tag::Sequence)? {
        Some(_) => HashAlgorithm::of(after.plain_algorithm()?, PART)?,
        None => HashAlgorithm::Sha256,
    };
    Ok(first.octets()? == algorithm.digest(certificate.der))
}
