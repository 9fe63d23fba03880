//! Rule packages of WAPT: what a `.wapt` file (a zip) or its unpacked folder holds of rules.
//!
//! Read are `WAPT/control` (lines `key : value`) and `WAPT/waptwua_rules.json`; and for the signature
//! `WAPT/manifest.sha256` (a JSON list of path and SHA-256), `WAPT/signature.sha256` (base64 of a PKCS#1 v1.5
//! signature with SHA-256 over the manifest's bytes) and `WAPT/certificate.crt` (PEM, the signer's first). So a
//! signature covers what the manifest lists. Source: WAPT's published sources, `waptpackage.py`.
//!
//! Nothing else in a package is looked at, and nothing is unpacked to a disk.

use super::rules_json::{self, RulesJson, RulesJsonError};
use crate::domain::{
    host::{Maturity, ParseMaturityError},
    rules::{Origin, PackageSignature, RuleSet, SetName, SetNameError},
};
use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};
use zip::{ZipArchive, result::ZipError};

/// Most bytes of a `.wapt` file: rules, an icon and a certificate are far below, and its table fits in memory.
pub const MAX_PACKAGE_BYTES: usize = 4 << 20;
/// What a rule package calls its section.
const SECTION: &str = "wsus";
/// Most bytes of a package's version that are kept.
const MAX_VERSION_CHARS: usize = 64;

/// What is read of a package, each with the most bytes that it may have.
pub const MEMBERS: [(&str, usize); 5] = [
    (CONTROL, 64 << 10),
    (RULES, rules_json::MAX_BYTES),
    (MANIFEST, 1 << 20),
    (SIGNATURE, 16 << 10),
    (CERTIFICATE, 256 << 10),
];
const CONTROL: &str = "WAPT/control";
const RULES: &str = "WAPT/waptwua_rules.json";
const MANIFEST: &str = "WAPT/manifest.sha256";
const SIGNATURE: &str = "WAPT/signature.sha256";
const CERTIFICATE: &str = "WAPT/certificate.crt";

/// A package that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It is too long.
    #[error("it has more than {} MiB: no rule package has", MAX_PACKAGE_BYTES >> 20)]
    TooLong,
    /// It is no zip.
    #[error("it is no .wapt file")]
    Zip(#[source] ZipError),
    /// A part that can't be unpacked.
    #[error("{member} can't be unpacked")]
    Member {
        /// Which.
        member: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A part that is too long.
    #[error("{member} is longer than any that makes sense")]
    MemberTooLong {
        /// Which.
        member: &'static str,
    },
    /// A part that is not there.
    #[error("{member} is missing: it is no rule package")]
    Missing {
        /// Which.
        member: &'static str,
    },
    /// A line of `control` that is missing, or a file that is no text.
    #[error("WAPT/control has no {key}")]
    Control {
        /// Which key.
        key: &'static str,
    },
    /// Another kind of package.
    #[error("it is a package of section {0:?}, and rule packages are of section \"{SECTION}\"")]
    Section(String),
    /// Its name.
    #[error(transparent)]
    Name(#[from] SetNameError),
    /// Its maturity.
    #[error(transparent)]
    Maturity(#[from] ParseMaturityError),
    /// Its rules.
    #[error("WAPT/waptwua_rules.json")]
    Rules(#[from] RulesJsonError),
}

/// A signature that covers nothing, or something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// There is none.
    #[error("it is not signed: {0} is missing")]
    Unsigned(&'static str),
    /// Something of it can't be read.
    #[error("{0} is damaged")]
    Damaged(&'static str),
    /// The manifest says something else of a part.
    #[error("{0} is not as it was signed")]
    Changed(&'static str),
}

/// What is signed of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    /// The bytes that are signed.
    pub manifest: Vec<u8>,
    /// The signature over them.
    pub signature: Vec<u8>,
    /// PEM: the signer's certificate, then others that lead on.
    pub certificates: Vec<u8>,
}

/// What is read of a package, as it stands; in base64 where people could read it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageParts(BTreeMap<String, String>);

impl std::fmt::Debug for PackageParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl PackageParts {
    /// Those of a `.wapt` file.
    pub fn of_zip(bytes: &[u8]) -> Result<Self, PackageError> {
        if bytes.len() > MAX_PACKAGE_BYTES {
            return Err(PackageError::TooLong);
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(PackageError::Zip)?;
        let mut parts = Self::default();
        for (member, most) in MEMBERS {
            let found = match zip.by_name(member) {
                Ok(found) => found,
                Err(ZipError::FileNotFound) => continue,
                Err(error) => return Err(PackageError::Zip(error)),
            };
            let mut part = Vec::new();
            let read = found.take(most as u64 + 1).read_to_end(&mut part);
            read.map_err(|source| PackageError::Member { member, source })?;
            parts.put(member, &part)?;
        }
        Ok(parts)
    }

    /// Adds a part; of one that is none of [`MEMBERS`] nothing is kept.
    pub fn put(&mut self, member: &'static str, part: &[u8]) -> Result<(), PackageError> {
        match MEMBERS.iter().find(|(known, _)| *known == member) {
            Some((_, most)) if part.len() > *most => Err(PackageError::MemberTooLong { member }),
            Some(_) => {
                self.0.insert(member.to_owned(), BASE64.encode(part));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn part(&self, member: &'static str) -> Option<Vec<u8>> {
        BASE64.decode(self.0.get(member)?.as_bytes()).ok()
    }

    /// What is signed. It has the rules and what `control` says, as they stand here; that somebody signed it is not
    /// looked at.
    pub fn manifest(&self) -> Result<SignedManifest, ManifestError> {
        let part = |member| self.part(member).ok_or(ManifestError::Unsigned(member));
        let (manifest, signature, certificates) = (part(MANIFEST)?, part(SIGNATURE)?, part(CERTIFICATE)?);
        let signature: Vec<u8> = signature.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let signature = BASE64.decode(&signature).map_err(|_| ManifestError::Damaged(SIGNATURE))?;
        let listed: Vec<(String, String)> =
            serde_json::from_slice(&manifest).map_err(|_| ManifestError::Damaged(MANIFEST))?;
        for member in [CONTROL, RULES, CERTIFICATE] {
            let found = HEXLOWER.encode(&Sha256::digest(self.part(member).unwrap_or_default()));
            let mut digests = listed.iter().filter(|(name, _)| name == member).map(|(_, digest)| digest);
            let is_signed = digests.next().is_some_and(|digest| *digest == found) && digests.next().is_none();
            if !is_signed {
                return Err(ManifestError::Changed(member));
            }
        }
        Ok(SignedManifest { manifest, signature, certificates })
    }

    /// The rule set that the package is, with what was passed over in it.
    pub fn rule_set(&self, signature: PackageSignature) -> Result<(RuleSet, Vec<String>), PackageError> {
        let part = |member| self.part(member).ok_or(PackageError::Missing { member });
        let (control, rules) = (part(CONTROL)?, part(RULES)?);
        let control = Control::parse(&control);
        let section = control.value("section")?;
        if !section.eq_ignore_ascii_case(SECTION) {
            return Err(PackageError::Section(section.chars().take(MAX_VERSION_CHARS).collect()));
        }
        let version = control.value("version")?.chars().filter(|char| !char.is_control());
        let version = version.take(MAX_VERSION_CHARS).collect();
        let RulesJson { allowed, forbidden, remarks } = RulesJson::parse(&rules)?;
        let set = RuleSet {
            name: SetName::new(control.value("package")?)?,
            origin: Origin::Package { version, signature },
            maturity: control.value("maturity").unwrap_or_default().parse::<Maturity>()?,
            allowed,
            forbidden,
        };
        Ok((set, remarks))
    }
}

/// `WAPT/control`.
struct Control(BTreeMap<String, String>);

impl Control {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with([' ', '\t']));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().to_owned())).collect())
    }

    fn value(&self, key: &'static str) -> Result<&str, PackageError> {
        let value = self.0.get(key).filter(|value| !value.is_empty());
        value.map(String::as_str).ok_or(PackageError::Control { key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    const GOOD_CONTROL: &str = "package           : Tis-WaptWua\nversion           : 1-2\narchitecture      : all\n\
        section           : wsus\nmaturity          : PREPROD\ndescription       : rules: all of them\n";
    const GOOD_RULES: &str = r#"{"forbidden_kbs": ["KB1"], "colour": 1}"#;

    fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, bytes) in members {
            zip.start_file(*name, options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn good() -> Vec<u8> {
        zip_of(&[("WAPT/icon.png", b"x"), (CONTROL, GOOD_CONTROL.as_bytes()), (RULES, GOOD_RULES.as_bytes())])
    }

    #[test]
    fn a_package_is_a_rule_set_with_its_name_version_and_maturity() {
        let parts = PackageParts::of_zip(&good()).unwrap();
        let (set, remarks) = parts.rule_set(PackageSignature::Unsigned).unwrap();
        assert_eq!((set.name.as_str(), set.maturity), ("tis-waptwua", Maturity::Preprod));
        assert!(matches!(set.origin, Origin::Package { version, .. } if version == "1-2"));
        assert_eq!(set.forbidden.iter().map(ToString::to_string).collect::<Vec<_>>(), ["KB1"]);
        assert_eq!(remarks, ["colour has no effect: nothing is known of it"]);
        let sent: PackageParts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        assert_eq!(sent, parts);
    }

    #[test]
    fn what_is_no_rule_package_is_refused_with_the_reason() {
        let told = |members: &[(&str, &[u8])]| {
            let parts = PackageParts::of_zip(&zip_of(members)).unwrap();
            parts.rule_set(PackageSignature::Unsigned).unwrap_err().to_string()
        };
        let control = |text: &'static str| (CONTROL, text.as_bytes());
        let rules = (RULES, GOOD_RULES.as_bytes());
        assert_eq!(told(&[rules]), "WAPT/control is missing: it is no rule package");
        assert_eq!(told(&[control(GOOD_CONTROL)]), "WAPT/waptwua_rules.json is missing: it is no rule package");
        assert_eq!(told(&[control("package: a\nversion: 1"), rules]), "WAPT/control has no section");
        let base = "it is a package of section \"base\", and rule packages are of section \"wsus\"";
        assert_eq!(told(&[control("package: a\nsection: base"), rules]), base);
        assert_eq!(told(&[control("section: wsus\nversion: 1"), rules]), "WAPT/control has no package");
        assert!(told(&[control("section: wsus\nversion: 1\npackage: ../a"), rules]).contains("no rule set's name"));
        assert!(told(&[control("section:wsus\nversion:1\npackage:a\nmaturity:x"), rules]).contains("DEV, PREPROD"));
        assert!(PackageParts::of_zip(b"no zip").is_err());
        assert!(PackageParts::of_zip(&vec![0; MAX_PACKAGE_BYTES + 1]).is_err());
    }

    #[test]
    fn a_part_that_unpacks_to_more_than_makes_sense_is_refused_without_unpacking_it() {
        let bomb = vec![b' '; 200 << 20];
        let zip = zip_of(&[(CONTROL, &bomb)]);
        assert!(zip.len() < 1 << 20);
        assert!(matches!(PackageParts::of_zip(&zip), Err(PackageError::MemberTooLong { member: CONTROL })));
    }

    #[test]
    fn a_manifest_covers_what_is_read_and_nothing_else_counts() {
        let digest = |bytes: &[u8]| HEXLOWER.encode(&Sha256::digest(bytes));
        let certificate = b"pem";
        let manifest_of = |rules: &[u8]| {
            serde_json::to_vec(&[
                (CONTROL, digest(GOOD_CONTROL.as_bytes())),
                (RULES, digest(rules)),
                (CERTIFICATE, digest(certificate)),
                ("WAPT/", String::new()),
            ])
            .unwrap()
        };
        let parts = |manifest: &[u8], signature: &[u8]| {
            PackageParts::of_zip(&zip_of(&[
                (CONTROL, GOOD_CONTROL.as_bytes()),
                (RULES, GOOD_RULES.as_bytes()),
                (CERTIFICATE, certificate),
                (MANIFEST, manifest),
                (SIGNATURE, signature),
            ]))
            .unwrap()
        };
        let manifest = manifest_of(GOOD_RULES.as_bytes());
        let signed = parts(&manifest, b"AAEC\n").manifest().unwrap();
        let certificates = certificate.to_vec();
        assert_eq!(signed, SignedManifest { manifest: manifest.clone(), signature: vec![0, 1, 2], certificates });
        let wrong = |manifest: &[u8], signature: &[u8]| parts(manifest, signature).manifest().unwrap_err();
        assert_eq!(wrong(&manifest, b"?"), ManifestError::Damaged(SIGNATURE));
        assert_eq!(wrong(b"{}", b""), ManifestError::Damaged(MANIFEST));
        assert_eq!(wrong(b"[]", b""), ManifestError::Changed(CONTROL));
        assert_eq!(wrong(&manifest_of(b"other"), b""), ManifestError::Changed(RULES));
        let unsigned = PackageParts::of_zip(&good()).unwrap().manifest();
        assert_eq!(unsigned.unwrap_err().to_string(), "it is not signed: WAPT/manifest.sha256 is missing");
    }

    proptest! {
        #[test]
        fn hostile_packages_are_read_or_refused(
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = good();
            for (at, to) in flips {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            if let Ok(parts) = PackageParts::of_zip(&bytes) {
                let _ = (parts.rule_set(PackageSignature::Unsigned), parts.manifest());
            }
            bytes.truncate(cut.index(bytes.len()));
            if let Ok(parts) = PackageParts::of_zip(&bytes) {
                let _ = (parts.rule_set(PackageSignature::Unsigned), parts.manifest());
            }
        }
    }
}
