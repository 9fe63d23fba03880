//! The verdict on a cabinet, in the order in which the steps stand on each other.

use super::{
    certificate::Certificate,
    chain::{self, Link, Moment, Purpose},
    digest::DigestedCab,
    error::{Party, Refusal},
    hash::HashAlgorithm,
    oid,
    roots::{Roots, Trust},
    signed_data::SignedData,
    signer, spc, timestamp,
};

/// What was proven of a cabinet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The algorithm of `digest`.
    pub algorithm: HashAlgorithm,
    /// The digest that was signed: of the cabinet without its signature, not of the file.
    pub digest: Vec<u8>,
    /// From the signer to the trust root.
    pub chain: Vec<Link>,
    /// When it was signed, where somebody else says so.
    pub time_stamp: Option<TimeStamp>,
}

/// A proven RFC 3161 time stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeStamp {
    /// Seconds since 1970.
    pub at: u64,
    /// From the time stamper to its trust root.
    pub chain: Vec<Link>,
}

/// Whom to believe.
#[derive(Clone, Copy)]
enum Anchors<'t> {
    Of(&'t Trust),
    /// Whatever the signature brings along.
    Included,
}

/// Proves the signature of a cabinet that was digested. `now` in seconds since 1970: when the chain has to be
/// valid where no time stamp says that it was signed earlier.
pub fn verify(cabinet: &DigestedCab, trust: &Trust, now: u64) -> Result<Verified, Refusal> {
    prove(cabinet, Anchors::Of(trust), now)
}

/// As [`verify`], and believes whichever issuers the signature brings along: everything holds together, and a
/// person has to look whose they are before they are trusted.
pub fn inspect(cabinet: &DigestedCab, now: u64) -> Result<Verified, Refusal> {
    prove(cabinet, Anchors::Included, now)
}

/// The algorithm of the digest in a signature (PKCS#7 and padding) of which nothing is proven.
pub(super) fn signed_algorithm(signature: &[u8]) -> Result<HashAlgorithm, Refusal> {
    Ok(spc::indirect_data(&SignedData::of_cabinet(signature)?)?.algorithm)
}

fn prove(cabinet: &DigestedCab, anchors: Anchors<'_>, now: u64) -> Result<Verified, Refusal> {
    let signed = SignedData::of_cabinet(&cabinet.signature)?;
    let party = Party::Signer;
    let data = spc::indirect_data(&signed)?;
    let algorithm = data.algorithm;
    if algorithm != signed.signer.digest {
        let what = format!("a {algorithm} digest of the content, a {} digest of that", signed.signer.digest);
        return Err(Refusal::MixedAlgorithms { party, what });
    }
    if algorithm != cabinet.algorithm {
        return Err(Refusal::OtherDigest { signed: algorithm, digested: cabinet.algorithm });
    }
    if data.digest != cabinet.digest {
        return Err(Refusal::ContentDigest(algorithm));
    }
    let leaf = signer::prove(&signed)?;
    let time_stamp = time_stamp(&signed, anchors, now)?;
    let moment = moment(leaf, time_stamp.as_ref(), now);
    let chain = chain(&signed, leaf, anchors, Purpose::CodeSigning, moment)?;
    Ok(Verified { algorithm, digest: cabinet.digest.clone(), chain, time_stamp })
}

/// The time stamp, if there is one: one that does not hold is no better than a signature that does not.
fn time_stamp(signed: &SignedData<'_>, anchors: Anchors<'_>, now: u64) -> Result<Option<TimeStamp>, Refusal> {
    let Some(token) = timestamp::find(signed)? else { return Ok(None) };
    let (at, stamper) = timestamp::prove(&token, signed.signer.signature, now)?;
    // As of then: what a time stamper's certificate said while it was valid stays said.
    let moment = Moment { at, is_stamped: true };
    let chain = chain(&token, stamper, anchors, Purpose::TimeStamping, moment)?;
    Ok(Some(TimeStamp { at, chain }))
}

/// When the signer's chain has to hold.
fn moment(leaf: &Certificate<'_>, time_stamp: Option<&TimeStamp>, now: u64) -> Moment {
    let usage = leaf.extended_key_usage.as_ref();
    let dies_with_certificate = usage.is_some_and(|usage| usage.purposes.contains(&oid::LIFETIME_SIGNING));
    match time_stamp.filter(|_| !dies_with_certificate) {
        Some(stamp) => Moment { at: stamp.at, is_stamped: true },
        None => Moment { at: now, is_stamped: false },
    }
}

fn chain(
    signed: &SignedData<'_>,
    leaf: &Certificate<'_>,
    anchors: Anchors<'_>,
    purpose: Purpose,
    moment: Moment,
) -> Result<Vec<Link>, Refusal> {
    let included;
    let roots = match (anchors, purpose) {
        (Anchors::Of(trust), Purpose::CodeSigning) => &trust.signing,
        (Anchors::Of(trust), Purpose::TimeStamping) => &trust.time_stamping,
        (Anchors::Included, _) => {
            included = Roots::topmost(&signed.certificates);
            &included
        }
    };
    let proven = chain::prove(leaf, &signed.certificates, roots, purpose, moment);
    proven.map_err(|why| Refusal::Chain { party: signed.party, why: why.into() })
}
