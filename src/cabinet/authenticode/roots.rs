//! Whom to believe: certificates of issuers, as PEM. A root of somebody else's chain or one of the issuers
//! beneath it can be pinned alike.

use super::certificate::Certificate;
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// What a person configures by hand is far below.
const MAX_ROOTS: usize = 256;

/// Certificates of issuers that are believed.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

/// Who may sign cabinets, and whose time stamps count: one says nothing of the other.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Who may sign.
    pub signing: Roots,
    /// Whose time stamps count.
    pub time_stamping: Roots,
}

/// Why a file of trust roots can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not PEM, or damaged.
    #[error("it is no PEM file of certificates")]
    NotPem,
    /// Without any certificate, trust is not what was meant.
    #[error("it holds no certificate")]
    Empty,
    /// More than anybody means.
    #[error("it holds more than {MAX_ROOTS} certificates")]
    TooMany,
    /// A certificate that can't be read.
    #[error("certificate {at} in it is malformed, or not of version 3")]
    Malformed {
        /// Which one, from 1.
        at: usize,
    },
    /// A signer's own certificate, say: what it signs are not certificates.
    #[error("certificate {at} in it, of {subject}, is not of an issuer of certificates")]
    NoIssuer {
        /// Which one, from 1.
        at: usize,
        /// Whose.
        subject: String,
    },
}

impl Roots {
    /// The certificates in a PEM file; at least one, each of an issuer.
    pub fn from_pem(pem: &[u8]) -> Result<Self, RootError> {
        let mut roots = Self::default();
        for der in CertificateDer::pem_slice_iter(pem) {
            let der = der.map_err(|_| RootError::NotPem)?;
            let at = roots.certificates.len() + 1;
            if at > MAX_ROOTS {
                return Err(RootError::TooMany);
            }
            let certificate = Certificate::read(&der).map_err(|_| RootError::Malformed { at })?;
            if !certificate.is_ca || !certificate.may_sign_certificates() {
                return Err(RootError::NoIssuer { at, subject: certificate.subject() });
            }
            roots.certificates.push(der);
        }
        if roots.is_empty() { Err(RootError::Empty) } else { Ok(roots) }
    }

    /// These and `more`.
    pub fn extend(&mut self, more: Self) {
        self.certificates.extend(more.certificates);
    }

    /// Whether nobody is believed.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The issuers in a signature that stand on nobody else in it.
    pub(super) fn topmost(certificates: &[Certificate<'_>]) -> Self {
        let is_topmost = |certificate: &&Certificate<'_>| {
            let issued = certificates.iter().any(|other| other.subject == certificate.issuer);
            certificate.is_ca && certificate.may_sign_certificates() && (certificate.is_self_issued() || !issued)
        };
        let topmost = certificates.iter().filter(is_topmost);
        Self { certificates: topmost.map(|certificate| certificate.der.to_vec().into()).collect() }
    }
}
