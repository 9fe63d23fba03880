//! From a signer's certificate to somebody who is believed. `webpki` searches and proves the chain (signatures,
//! validity, basic constraints, path length, names, critical extensions, extended key usage of issuers), within
//! its limits of depth and work; here is what it leaves open: key usage, what the signer's own certificate has
//! to say, and what a trust root may do.

use super::{
    certificate::{Certificate, DIGITAL_SIGNATURE, ExtendedKeyUsage, NON_REPUDIATION},
    error::ChainError,
    hash::HashAlgorithm,
    oid,
    roots::Roots,
    signer,
};
use data_encoding::HEXLOWER;
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::{cell::RefCell, time::Duration};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};

/// One certificate of a proven chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Whose it is, for people.
    pub subject: String,
    /// Who issued it, for people.
    pub issuer: String,
    /// SHA-256 of the certificate, in lowercase hex.
    pub fingerprint: String,
    /// First second in which it is valid, since 1970.
    pub not_before: u64,
    /// The last one.
    pub not_after: u64,
    /// The certificate.
    pub der: Vec<u8>,
}

/// What the chain is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    CodeSigning,
    TimeStamping,
}

/// When the chain has to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// In seconds since 1970.
    pub(super) at: u64,
    pub(super) is_stamped: bool,
}

/// The chain from `leaf` to one of `roots`, over `others` that came along; `leaf` first, the root last.
pub(super) fn prove(
    leaf: &Certificate<'_>,
    others: &[Certificate<'_>],
    roots: &Roots,
    purpose: Purpose,
    moment: Moment,
) -> Result<Vec<Link>, ChainError> {
    check_leaf(leaf, purpose, moment)?;
    if roots.is_empty() {
        return Err(ChainError::NoRoots);
    }
    let der = CertificateDer::from(leaf.der);
    let end = EndEntityCert::try_from(&der).map_err(|error| malformed(leaf, &error))?;
    let anchors: Vec<TrustAnchor<'_>> = roots.certificates.iter().flat_map(webpki::anchor_from_trusted_cert).collect();
    let others_der: Vec<_> = others.iter().map(|other| CertificateDer::from(other.der)).collect();
    let refused = RefCell::new(None);
    let check = |path: &VerifiedPath<'_>| match links(leaf, path, roots, purpose, moment) {
        Ok(_) => Ok(()),
        Err(error) => {
            refused.replace(Some(error));
            Err(Error::UnknownIssuer)
        }
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(moment.at));
    let usage = KeyUsage::required_if_present(purpose.oid_bytes());
    let path = end.verify_for_usage(signer::OF_CERTIFICATES, &anchors, &others_der, time, usage, None, Some(&check));
    match (path, refused.take()) {
        (Ok(path), _) => links(leaf, &path, roots, purpose, moment),
        (Err(_), Some(refused)) => Err(refused),
        (Err(error), None) => Err(explain(leaf, others, moment, &error)),
    }
}

/// What the certificate of a signer has to say by itself.
fn check_leaf(leaf: &Certificate<'_>, purpose: Purpose, moment: Moment) -> Result<(), ChainError> {
    let wrong = |why| ChainError::Purpose { subject: leaf.subject(), purpose: purpose.name(), why };
    check_time(leaf, moment)?;
    if leaf.is_ca {
        return Err(wrong("it is of an issuer of certificates"));
    }
    if !leaf.may(purpose.key_usage()) {
        return Err(wrong("its key usage has no digital signatures"));
    }
    let usage = leaf.extended_key_usage.as_ref();
    if !usage.is_some_and(|usage| usage.purposes.contains(&purpose.oid())) {
        return Err(wrong("its extended key usage does not name that"));
    }
    // RFC 3161, 2.3: critical, and for nothing else.
    let is_exclusive = |usage: &ExtendedKeyUsage| usage.is_critical && usage.purposes.len() == 1;
    if purpose == Purpose::TimeStamping && !usage.is_some_and(is_exclusive) {
        return Err(wrong("its extended key usage is not critical, or names more"));
    }
    Ok(())
}

fn check_time(certificate: &Certificate<'_>, moment: Moment) -> Result<(), ChainError> {
    if certificate.is_valid_at(moment.at) {
        return Ok(());
    }
    Err(ChainError::NotValid {
        subject: certificate.subject(),
        not_before: date(certificate.not_before),
        not_after: date(certificate.not_after),
        time: date(moment.at),
        which: if moment.is_stamped { "the time of the stamp" } else { "by this machine's clock" },
    })
}

/// The links of a path that `webpki` has proven, if the rest holds as well.
fn links(
    leaf: &Certificate<'_>,
    path: &VerifiedPath<'_>,
    roots: &Roots,
    purpose: Purpose,
    moment: Moment,
) -> Result<Vec<Link>, ChainError> {
    let mut links = vec![Link::of(leaf)];
    let mut issued_issuers = 0;
    for issuer in path.intermediate_certificates() {
        let der = issuer.der();
        let issuer = Certificate::read(&der).map_err(|error| wrong(leaf, error.to_string()))?;
        if !issuer.may_sign_certificates() {
            return Err(no_issuer(&issuer));
        }
        issued_issuers += usize::from(!issuer.is_self_issued());
        links.push(Link::of(&issuer));
    }
    let anchor = path.anchor();
    let mut refused = None;
    for root in &roots.certificates {
        let Ok(root) = Certificate::read(root) else { continue };
        if root.subject != anchor.subject.as_ref() || root.public_key != anchor.subject_public_key_info.as_ref() {
            continue;
        }
        match check_root(&root, issued_issuers, purpose, moment) {
            Ok(()) => {
                links.push(Link::of(&root));
                return Ok(links);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| wrong(leaf, "no root".to_owned())))
}

/// A root is believed within its own limits.
fn check_root(
    root: &Certificate<'_>,
    issued_issuers: usize,
    purpose: Purpose,
    moment: Moment,
) -> Result<(), ChainError> {
    check_time(root, moment)?;
    if !root.is_ca || !root.may_sign_certificates() {
        return Err(no_issuer(root));
    }
    if root.path_len.is_some_and(|most| issued_issuers > usize::from(most)) {
        return Err(ChainError::TooLong { subject: root.subject() });
    }
    if root.extended_key_usage.as_ref().is_some_and(|usage| !usage.purposes.contains(&purpose.oid())) {
        let why = "its extended key usage does not name that";
        return Err(ChainError::Purpose { subject: root.subject(), purpose: purpose.name(), why });
    }
    Ok(())
}

fn no_issuer(certificate: &Certificate<'_>) -> ChainError {
    let why = "it is not of an issuer, or its key usage has no certificates";
    ChainError::Purpose { subject: certificate.subject(), purpose: "issuing certificates", why }
}

/// Why `webpki` found no chain.
fn explain(leaf: &Certificate<'_>, others: &[Certificate<'_>], moment: Moment, error: &Error) -> ChainError {
    match error {
        Error::UnknownIssuer => untrusted(leaf, others),
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => {
            let issuers = others.iter().filter(|other| other.is_ca);
            let outside = issuers.map(|issuer| check_time(issuer, moment)).find_map(Result::err);
            outside.unwrap_or_else(|| wrong(leaf, "it is not valid at that time".to_owned()))
        }
        _ => malformed(leaf, error),
    }
}

/// Where the chain breaks off: the issuers that came along are followed by name.
fn untrusted(leaf: &Certificate<'_>, others: &[Certificate<'_>]) -> ChainError {
    let mut at = leaf;
    for _ in others {
        let above = others.iter().find(|other| other.is_ca && other.subject == at.issuer);
        match above.filter(|_| !at.is_self_issued()) {
            Some(above) => at = above,
            None => break,
        }
    }
    ChainError::Untrusted { subject: leaf.subject(), issuer: at.issuer() }
}

/// What `webpki` finds wrong with a certificate on the way from `leaf`.
pub(super) fn malformed(leaf: &Certificate<'_>, error: &Error) -> ChainError {
    let why = match error {
        Error::RequiredEkuNotFoundContext(_) => "its extended key usage does not allow that".to_owned(),
        Error::UnsupportedSignatureAlgorithmContext(_) => {
            "its signature is of a kind that proves nothing, as sha1 does".to_owned()
        }
        Error::InvalidSignatureForPublicKey => "its signature is wrong, or its issuer's key too short".to_owned(),
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not understood".to_owned(),
        Error::EndEntityUsedAsCa => "it is not of an issuer".to_owned(),
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => "too many issuers follow it".to_owned(),
        Error::MaximumPathBuildCallsExceeded | Error::MaximumSignatureChecksExceeded => {
            "the search for a chain takes too long".to_owned()
        }
        other => format!("{other:?}"),
    };
    wrong(leaf, why)
}

fn wrong(leaf: &Certificate<'_>, why: String) -> ChainError {
    ChainError::Wrong { subject: leaf.subject(), why }
}

/// Seconds since 1970 for people: RFC 3339.
pub fn date(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or_else(|| "a time beyond all calendars".to_owned(), |at| at.to_string())
}

impl Purpose {
    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::CodeSigning => oid::CODE_SIGNING,
            Self::TimeStamping => oid::TIME_STAMPING,
        }
    }

    /// The same for `webpki`.
    fn oid_bytes(self) -> &'static [u8] {
        const CODE_SIGNING: &ObjectIdentifier = &oid::CODE_SIGNING;
        const TIME_STAMPING: &ObjectIdentifier = &oid::TIME_STAMPING;
        match self {
            Self::CodeSigning => CODE_SIGNING.as_bytes(),
            Self::TimeStamping => TIME_STAMPING.as_bytes(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::CodeSigning => "code signing",
            Self::TimeStamping => "time stamping",
        }
    }

    /// Any of these.
    fn key_usage(self) -> &'static [u8] {
        match self {
            Self::CodeSigning => &[DIGITAL_SIGNATURE],
            Self::TimeStamping => &[DIGITAL_SIGNATURE, NON_REPUDIATION],
        }
    }
}

impl Link {
    /// What a certificate says of itself; nothing of it is proven. `None` for what is no certificate of version 3.
    pub fn read(der: &[u8]) -> Option<Self> {
        Certificate::read(der).ok().map(|certificate| Self::of(&certificate))
    }

    fn of(certificate: &Certificate<'_>) -> Self {
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            fingerprint: HEXLOWER.encode(&HashAlgorithm::Sha256.digest(certificate.der)),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            der: certificate.der.to_vec(),
        }
    }
}
