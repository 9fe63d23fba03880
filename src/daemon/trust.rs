//! Whom this node believes when a cabinet is signed: `upstream.trust_roots`, `upstream.timestamp_roots`, and
//! what a person pinned with `wuasync cab trust`.
//!
//! Pinned certificates are PEM files in `trust/` of the state folder, named by what they are believed for
//! (`signing-`, `timestamp-`) and their SHA-256. To believe one no more is to remove its file.

use super::{config::Config, owner};
use crate::{
    base::read_at::ReadAt,
    cabinet::authenticode::{self, FileError, Link, Refusal, RootError, Roots, Trust, Verified},
    store::layout,
};
use serde::Serialize;
use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

/// The bundle of a whole operating system has a quarter of that.
const MAX_PEM_BYTES: u64 = 1 << 20;
const SIGNING: &str = "signing-";
const TIME_STAMPING: &str = "timestamp-";

/// Why a cabinet's signature could not be judged, was refused, or its issuers not pinned.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file that can't be read.
    #[error("{}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of trust roots that is none.
    #[error("{}: can't be trusted", path.display())]
    Roots {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: RootError,
    },
    /// The cabinet is not signed as it should be, or by nobody who is trusted.
    #[error("{}", path.display())]
    Refused {
        /// Which cabinet.
        path: PathBuf,
        /// Why.
        source: Refusal,
    },
    /// The daemon could not open what another user writes.
    #[error(
        "{} belongs to {owner}, and what {user} writes there the daemon could not read; nothing was changed: \
         run it as {owner}", path.display()
    )]
    OtherUser {
        /// The state folder.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asks.
        user: String,
    },
}

/// What is known of a cabinet's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureReport {
    /// `sha256`, `sha384` or `sha512`.
    pub digest_algorithm: String,
    /// What was signed: of the cabinet without its signature, in hex.
    pub digest: String,
    /// From the signer to the trust root.
    pub chain: Vec<CertificateReport>,
    /// When it was signed, if a time stamp says so.
    pub time_stamp: Option<TimeStampReport>,
}

/// A time stamp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeStampReport {
    /// RFC 3339.
    pub at: String,
    /// From the time stamper to the trust root.
    pub chain: Vec<CertificateReport>,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateReport {
    /// Whose it is.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// Its fingerprint, in hex.
    pub sha256: String,
    /// RFC 3339.
    pub not_before: String,
    /// RFC 3339.
    pub not_after: String,
}

/// A signature that holds together, by issuers of whom nobody has said yet that they are believed.
#[derive(Debug)]
pub struct Candidate {
    /// For a person to look at.
    pub report: SignatureReport,
    verified: Verified,
}

/// Whom the configuration and the pinned certificates name. Without roots of their own, time stamps are
/// believed of whoever may issue signers.
pub fn configured_trust(config: &Config) -> Result<Trust, TrustError> {
    let mut signing = read_all(&config.upstream.trust_roots)?;
    signing.extend(read_all(&pinned(&config.state_dir, SIGNING)?)?);
    let mut time_stamping = read_all(&config.upstream.timestamp_roots)?;
    time_stamping.extend(read_all(&pinned(&config.state_dir, TIME_STAMPING)?)?);
    Ok(trust_in(signing, time_stamping))
}

/// Whom these PEM files name, and nobody else.
pub fn trust_in_files(signing: &[PathBuf], time_stamping: &[PathBuf]) -> Result<Trust, TrustError> {
    Ok(trust_in(read_all(signing)?, read_all(time_stamping)?))
}

fn trust_in(signing: Roots, time_stamping: Roots) -> Trust {
    let time_stamping = if time_stamping.is_empty() { signing.clone() } else { time_stamping };
    Trust { signing, time_stamping }
}

/// Verifies the cabinet at `path`; `now` in seconds since 1970, `progress` hears bytes read and bytes in all.
pub fn verify_signature(
    path: &Path,
    trust: &Trust,
    now: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<SignatureReport, TrustError> {
    let verdict =
        |file: &Cabinet, len, progress: &mut dyn FnMut(u64)| authenticode::verify_file(file, len, trust, now, progress);
    judge(path, progress, verdict).map(|verified| SignatureReport::of(&verified))
}

/// Reads the cabinet at `path` as [`verify_signature`] does, believing whichever issuers it brings along.
pub fn inspect_signature(path: &Path, now: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<Candidate, TrustError> {
    let verdict = |file: &Cabinet, len, progress: &mut dyn FnMut(u64)| {
        Ok(authenticode::inspect(&authenticode::digest_file(file, len, progress)?, now)?)
    };
    judge(path, progress, verdict).map(|verified| Candidate { report: SignatureReport::of(&verified), verified })
}

/// Pins the issuer of the signer and the root above it, and the same of the time stamp. Gives the files, those
/// that were there already among them.
pub fn pin(config: &Config, candidate: &Candidate) -> Result<Vec<PathBuf>, TrustError> {
    check_user(&config.state_dir)?;
    let folder = config.state_dir.join(layout::TRUST);
    let failed = |source| TrustError::File { path: folder.clone(), source };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let time_stamp = candidate.verified.time_stamp.iter().flat_map(|stamp| issuers(&stamp.chain));
    let files = issuers(&candidate.verified.chain).map(|link| (SIGNING, link));
    let files = files.chain(time_stamp.map(|link| (TIME_STAMPING, link)));
    let written = files.map(|(purpose, link)| {
        let path = folder.join(format!("{purpose}{}.pem", link.fingerprint));
        write(&folder, &path, &pem(link)).map_err(|source| TrustError::File { path: path.clone(), source })?;
        Ok(path)
    });
    let written = written.collect::<Result<_, TrustError>>()?;
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(written)
}

/// The issuer of the first certificate, and the last one.
fn issuers(chain: &[Link]) -> impl Iterator<Item = &Link> {
    let root = chain.get(2..).and_then(<[Link]>::last);
    chain.get(1).into_iter().chain(root)
}

/// Whole or not at all.
fn write(folder: &Path, path: &Path, pem: &str) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(pem.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// Names stand above, for people: PEM readers skip them.
fn pem(link: &Link) -> String {
    let base64 = data_encoding::BASE64.encode(&link.der);
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let names = format!("subject: {}\nissuer: {}", link.subject, link.issuer);
    format!("{names}\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn check_user(state_dir: &Path) -> Result<(), TrustError> {
    match owner::owner_of(state_dir) {
        Ok(Some(uid)) if uid != owner::own_uid() => Err(TrustError::OtherUser {
            path: state_dir.to_owned(),
            owner: owner::user_name(uid),
            user: owner::user_name(owner::own_uid()),
        }),
        _ => Ok(()),
    }
}

/// Pinned files for one purpose, by name; none before anything was pinned.
fn pinned(state_dir: &Path, purpose: &str) -> Result<Vec<PathBuf>, TrustError> {
    let folder = state_dir.join(layout::TRUST);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let mut paths = entries.map_err(|source| TrustError::File { path: folder, source })?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.retain(|path| name(path).starts_with(purpose) && name(path).ends_with(".pem"));
    paths.sort();
    Ok(paths)
}

fn read_all(paths: &[PathBuf]) -> Result<Roots, TrustError> {
    let mut roots = Roots::default();
    for path in paths {
        let failed = |source| TrustError::File { path: path.clone(), source };
        let mut pem = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_PEM_BYTES).read_to_end(&mut pem)).map_err(failed)?;
        let read = Roots::from_pem(&pem).map_err(|source| TrustError::Roots { path: path.clone(), source })?;
        roots.extend(read);
    }
    Ok(roots)
}

/// An open cabinet.
struct Cabinet(File);

impl ReadAt for Cabinet {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}

fn judge(
    path: &Path,
    progress: &mut dyn FnMut(u64, u64),
    verdict: impl FnOnce(&Cabinet, u64, &mut dyn FnMut(u64)) -> Result<Verified, FileError>,
) -> Result<Verified, TrustError> {
    let unreadable = |source| TrustError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len();
    verdict(&Cabinet(file), len, &mut |read| progress(read, len)).map_err(|error| match error {
        FileError::Read(source) => unreadable(source),
        FileError::Refused(source) => TrustError::Refused { path: path.to_owned(), source },
    })
}

impl SignatureReport {
    fn of(verified: &Verified) -> Self {
        let time_stamp = verified.time_stamp.as_ref();
        Self {
            digest_algorithm: verified.algorithm.to_string(),
            digest: data_encoding::HEXLOWER.encode(&verified.digest),
            chain: verified.chain.iter().map(CertificateReport::of).collect(),
            time_stamp: time_stamp.map(|stamp| TimeStampReport {
                at: authenticode::date(stamp.at),
                chain: stamp.chain.iter().map(CertificateReport::of).collect(),
            }),
        }
    }
}

impl CertificateReport {
    fn of(link: &Link) -> Self {
        Self {
            subject: link.subject.clone(),
            issuer: link.issuer.clone(),
            sha256: link.fingerprint.clone(),
            not_before: authenticode::date(link.not_before),
            not_after: authenticode::date(link.not_after),
        }
    }
}
