//! Rule packages from files, and who is believed to sign them.
//!
//! Believed is whoever has one of the certificates in `rules.trusted_certificates`, or one that leads to them: WAPT's
//! administrators sign with a certificate of their own or of their authority. A package that anybody else or nobody
//! has signed is taken only when a person says so, and shown so from then on.

use super::super::api::{ErrorCode, ImportRulesRequest};
use crate::{
    cabinet::authenticode::Link,
    domain::rules::{PackageSignature, RuleSet},
    wapt::package::{MAX_PACKAGE_BYTES, MEMBERS, ManifestError, PackageError, PackageParts, SignedManifest},
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use webpki::{EndEntityCert, KeyUsage, aws_lc_rs::RSA_PKCS1_2048_8192_SHA256};

/// Code signing (RFC 5280): a certificate that names purposes must name it.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// Most certificates that a package may bring.
const MAX_CERTIFICATES: usize = 16;
/// Most bytes of a file of trusted certificates.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// A package that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadPackageError {
    /// The file.
    #[error("{}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error("{}", path.display())]
    Package {
        /// Which.
        path: PathBuf,
        /// Why.
        source: PackageError,
    },
}

/// What is of use of a package: a `.wapt` file, or the folder that one was unpacked to.
pub fn package_parts(path: &Path) -> Result<PackageParts, ReadPackageError> {
    let unreadable = |path: PathBuf| |source| ReadPackageError::File { path, source };
    let of_package = |source| ReadPackageError::Package { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(unreadable(path.to_owned()))?.is_dir() {
        let bytes = read_bounded(path, MAX_PACKAGE_BYTES).map_err(unreadable(path.to_owned()))?;
        return PackageParts::of_zip(&bytes).map_err(of_package);
    }
    let mut parts = PackageParts::default();
    for (member, most) in MEMBERS {
        let file = path.join(member);
        match read_bounded(&file, most) {
            Ok(part) => parts.put(member, &part).map_err(of_package)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ReadPackageError::File { path: file, source }),
        }
    }
    Ok(parts)
}

/// At most one byte more than is taken.
fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A package that is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakePackageError {
    /// It is no rule package.
    #[error("it is not taken")]
    Package(#[from] PackageError),
    /// Nobody is believed.
    #[error(
        "nobody is believed to sign rule packages: name WAPT's certificates in `rules.trusted_certificates`, or take \
         it with --unsigned"
    )]
    NobodyTrusted,
    /// Its signature.
    #[error("its signature does not hold; --unsigned takes it all the same")]
    Signature(#[from] SignatureError),
    /// Whom the configuration names.
    #[error("rules.trusted_certificates: {}", path.display())]
    Trusted {
        /// Which file.
        path: PathBuf,
        /// Why it can't be used.
        source: io::Error,
    },
}

/// A signature that proves nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignatureError {
    /// There is none, or it is of other content.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The certificates that came along.
    #[error("WAPT/certificate.crt holds no certificate that can be read, or too many")]
    Certificates,
    /// The signer is not believed.
    #[error("{subject}, who signed it, is none of the trusted certificates and none that leads to them ({why})")]
    Untrusted {
        /// Who.
        subject: String,
        /// Why.
        why: String,
    },
    /// The signature is wrong.
    #[error("it is not what {subject} signed")]
    Wrong {
        /// Who.
        subject: String,
    },
}

impl TakePackageError {
    /// What kind of refusal it is.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Package(_) => ErrorCode::Invalid,
            Self::NobodyTrusted | Self::Signature(_) => ErrorCode::Refused,
            Self::Trusted { .. } => ErrorCode::Failed,
        }
    }
}

/// The rule set that a package is, with what was passed over in it.
pub(super) fn take_package(
    request: &ImportRulesRequest,
    trusted: &[PathBuf],
    now: u64,
) -> Result<(RuleSet, Vec<String>), TakePackageError> {
    let trusted = trusted_certificates(trusted)?;
    let signature = match signer(&request.parts, &trusted, now) {
        Ok(by) => PackageSignature::Signed { by },
        Err(_) if request.unsigned => PackageSignature::Unsigned,
        Err(_) if trusted.is_empty() => return Err(TakePackageError::NobodyTrusted),
        Err(error) => return Err(error.into()),
    };
    Ok(request.parts.rule_set(signature)?)
}

/// What is wrong with whom the configuration names.
pub(in super::super) fn trust_problem(paths: &[PathBuf]) -> Option<String> {
    trusted_certificates(paths).err().map(|error| crate::base::chain::chain(&error))
}

fn trusted_certificates(paths: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, TakePackageError> {
    let mut trusted = Vec::new();
    for path in paths {
        let unusable = |source| TakePackageError::Trusted { path: path.clone(), source };
        let mut pem = Vec::new();
        let file = File::open(path).map_err(unusable)?;
        file.take(MAX_PEM_BYTES).read_to_end(&mut pem).map_err(unusable)?;
        let before = trusted.len();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(io::Error::other(error.to_string())))?;
            trusted.push(certificate);
        }
        if trusted.len() == before {
            return Err(unusable(io::Error::other("it holds no certificate")));
        }
    }
    Ok(trusted)
}

/// Who signed a package, if that is somebody who is believed.
fn signer(parts: &PackageParts, trusted: &[CertificateDer<'_>], now: u64) -> Result<String, SignatureError> {
    let SignedManifest { manifest, signature, certificates: pem } = parts.manifest()?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).take(MAX_CERTIFICATES + 1).collect();
    let certificates: Vec<_> =
        certificates.into_iter().collect::<Result<_, _>>().map_err(|_| SignatureError::Certificates)?;
    let Some((signer, others)) = certificates.split_first().filter(|_| certificates.len() <= MAX_CERTIFICATES) else {
        return Err(SignatureError::Certificates);
    };
    let Some(link) = Link::read(signer) else { return Err(SignatureError::Certificates) };
    let subject = link.subject.clone();
    let untrusted = |why: String| SignatureError::Untrusted { subject: subject.clone(), why };
    let end = EndEntityCert::try_from(signer).map_err(|error| untrusted(format!("{error:?}")))?;
    if trusted.contains(signer) {
        if !(link.not_before..=link.not_after).contains(&now) {
            return Err(untrusted("it is not valid at this time".to_owned()));
        }
    } else {
        let anchors: Vec<_> = trusted.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let usage = KeyUsage::required_if_present(CODE_SIGNING);
        end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, others, time, usage, None, None)
            .map_err(|error| untrusted(format!("{error:?}")))?;
    }
    let holds = end.verify_signature(RSA_PKCS1_2048_8192_SHA256, &manifest, &signature);
    holds.map_err(|_| SignatureError::Wrong { subject: subject.clone() })?;
    Ok(subject)
}
