//! SpcIndirectDataContent: which digest of which kind of file was signed.

use super::{
    error::{Party, Refusal},
    hash::HashAlgorithm,
    oid,
    signed_data::{SignedData, content_type, part},
};

/// A digest that was signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndirectData<'a> {
    pub(super) algorithm: HashAlgorithm,
    pub(super) digest: &'a [u8],
}

/// The digest of a cabinet in `signed`.
pub(super) fn indirect_data<'a>(signed: &SignedData<'a>) -> Result<IndirectData<'a>, Refusal> {
    let part = part(Party::Signer);
    if signed.content_type != oid::SPC_INDIRECT_DATA {
        return Err(content_type(Party::Signer, signed.content_type, "indirect data of Authenticode"));
    }
    let mut content = signed.content.within(part).sequence()?;
    let mut data = content.sequence()?;
    let kind = data.oid()?;
    if kind != oid::SPC_CAB_DATA {
        return Err(content_type(Party::Signer, kind, "a cabinet"));
    }
    let mut digest = content.sequence()?;
    content.end()?;
    let algorithm = HashAlgorithm::of(digest.plain_algorithm()?, part)?;
    let octets = digest.octets()?;
    digest.end()?;
    Ok(IndirectData { algorithm, digest: octets })
}
