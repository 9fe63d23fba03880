//! Authorities, certificates and signed cabinets, all made for one test.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use std::{fs, path::PathBuf, process::Command};
use wuasync::cabinet::authenticode::{FileError, Refusal, Roots, Trust, Verified, verify_file};

/// 2026-06-01T00:00:00Z: certificates are valid in 2026 unless a test says otherwise.
pub(crate) const NOW: u64 = 1_780_272_000;
pub(crate) const DAY: u64 = 86_400;

/// A directory with everything in it.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
}

/// A certificate with its key.
pub(crate) struct Identity {
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Rsa,
    P256,
    P384,
}

impl Key {
    fn generate(self) -> KeyPair {
        match self {
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            Self::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        }
    }
}

/// A certificate of nobody in particular, valid in 2026.
pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// Of an issuer.
pub(crate) fn issuer(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Of somebody who may sign cabinets.
pub(crate) fn signer(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params
}

/// Of somebody who may make time stamps.
pub(crate) fn stamper(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.custom_extensions = vec![time_stamping(true)];
    params
}

/// extendedKeyUsage with timeStamping alone.
pub(crate) fn time_stamping(is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(
        &[2, 5, 29, 37],
        b"\x30\x0a\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x08".to_vec(),
    );
    extension.set_criticality(is_critical);
    extension
}

impl Identity {
    pub(crate) fn root(params: CertificateParams, key: Key) -> Self {
        let key = key.generate();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    pub(crate) fn issue(&self, params: CertificateParams, key: Key) -> Self {
        let key = key.generate();
        let pem = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap().pem();
        Self { params, key, pem }
    }
}

/// How a cabinet is signed.
pub(crate) struct Signing<'a> {
    pub(crate) signer: &'a Identity,
    /// Certificates that come along, also with a time stamp.
    pub(crate) with: Vec<&'a Identity>,
    pub(crate) hash: &'a str,
    pub(crate) stamp: Option<Stamp<'a>>,
}

/// Who stamps, and when.
pub(crate) struct Stamp<'a> {
    pub(crate) by: &'a Identity,
    pub(crate) at: u64,
}

impl<'a> Signing<'a> {
    pub(crate) fn by(signer: &'a Identity) -> Self {
        Self { signer, with: Vec::new(), hash: "sha256", stamp: None }
    }

    pub(crate) fn with(mut self, issuer: &'a Identity) -> Self {
        self.with.push(issuer);
        self
    }

    pub(crate) fn hash(self, hash: &'a str) -> Self {
        Self { hash, ..self }
    }

    pub(crate) fn stamped(self, by: &'a Identity, at: u64) -> Self {
        Self { stamp: Some(Stamp { by, at }), ..self }
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Signs a small cabinet with osslsigncode.
    pub(crate) fn sign(&self, signing: &Signing<'_>) -> Vec<u8> {
        self.sign_file(&plain_cabinet(b"what is signed"), signing, &[])
    }

    pub(crate) fn sign_file(&self, plain: &[u8], signing: &Signing<'_>, options: &[&str]) -> Vec<u8> {
        let (input, output) = (self.write("plain.cab", plain), self.directory.path().join("signed.cab"));
        let _ = fs::remove_file(&output);
        let with: String = signing.with.iter().map(|identity| identity.pem.as_str()).collect();
        let mut sign = Command::new("osslsigncode");
        sign.arg("sign").args(["-h", signing.hash]).args(options);
        sign.arg("-certs").arg(self.write("signer.pem", signing.signer.pem.clone() + &with));
        sign.arg("-key").arg(self.write("signer.key", signing.signer.key.serialize_pem()));
        if let Some(stamp) = &signing.stamp {
            sign.arg("-TSA-certs").arg(self.write("stamper.pem", stamp.by.pem.clone() + &with));
            sign.arg("-TSA-key").arg(self.write("stamper.key", stamp.by.key.serialize_pem()));
            sign.args(["-TSA-time", &stamp.at.to_string()]);
        }
        run(sign.arg("-in").arg(input).arg("-out").arg(&output));
        fs::read(output).unwrap()
    }

    /// Signs a small cabinet with a certificate and a key that lie here.
    pub(crate) fn sign_with_files(&self, certificate: &str, key: &str) -> Vec<u8> {
        self.write("plain.cab", plain_cabinet(b"what is signed"));
        let output = self.directory.path().join("signed.cab");
        let _ = fs::remove_file(&output);
        let mut sign = Command::new("osslsigncode");
        sign.args([
            "sign",
            "-h",
            "sha256",
            "-certs",
            certificate,
            "-key",
            key,
            "-in",
            "plain.cab",
            "-out",
            "signed.cab",
        ]);
        run(sign.current_dir(self.directory.path()));
        fs::read(output).unwrap()
    }

    /// What osslsigncode says of it, by its exit status alone.
    pub(crate) fn second_opinion(&self, cabinet: &[u8], root: &Identity, stamp_root: &Identity) -> bool {
        let mut verify = Command::new("osslsigncode");
        verify.args(["verify", "-ignore-crl", "-ignore-cdp", "-time", &NOW.to_string()]);
        verify.arg("-CAfile").arg(self.write("root.pem", &root.pem));
        verify.arg("-TSA-CAfile").arg(self.write("stamp-root.pem", &stamp_root.pem));
        let output = verify.arg("-in").arg(self.write("asked.cab", cabinet)).output();
        output.expect("osslsigncode runs: tests/run installs it").status.success()
    }

    /// Runs openssl in the directory.
    pub(crate) fn openssl(&self, line: &str) {
        run(Command::new("openssl").args(line.split(' ')).current_dir(self.directory.path()));
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap()
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs: tests/run installs it");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&told));
}

/// What verifying says, with trust in `root` for both.
pub(crate) fn verify(cabinet: &[u8], root: &Identity) -> Result<Verified, Refusal> {
    verify_with(cabinet, &trust(root, root), NOW)
}

pub(crate) fn trust(signing: &Identity, time_stamping: &Identity) -> Trust {
    let roots = |identity: &Identity| Roots::from_pem(identity.pem.as_bytes()).unwrap();
    Trust { signing: roots(signing), time_stamping: roots(time_stamping) }
}

pub(crate) fn verify_with(cabinet: &[u8], trust: &Trust, now: u64) -> Result<Verified, Refusal> {
    match verify_file(&cabinet.to_vec(), cabinet.len() as u64, trust, now, &mut |_| {}) {
        Ok(verified) => Ok(verified),
        Err(FileError::Refused(refusal)) => Err(refusal),
        Err(FileError::Read(error)) => panic!("{error}"),
    }
}

/// A cabinet with one stored file.
pub(crate) fn plain_cabinet(content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    let short = u16::try_from(content.len()).unwrap().to_le_bytes();
    let file = [&size[..], &[0; 4], &[0, 0], &[0; 4], &[0x20, 0], b"a.txt\0"].concat();
    let data = [&[0; 4], &short[..], &short, content].concat();
    let files_at = 36 + 8;
    let data_at = files_at + file.len();
    let total = u32::try_from(data_at + data.len()).unwrap().to_le_bytes();
    let header = [
        b"MSCF\0\0\0\0",
        &total[..],
        &[0; 4],
        &u32::try_from(files_at).unwrap().to_le_bytes(),
        &[0; 4],
        &[3, 1, 1, 0, 1, 0, 0, 0, 0x34, 0x12, 0, 0],
    ];
    let folder = [&u32::try_from(data_at).unwrap().to_le_bytes()[..], &[1, 0, 0, 0]].concat();
    [header.concat(), folder, file, data].concat()
}

/// Where the signature begins.
pub(crate) fn signature_at(cabinet: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(cabinet[44..48].try_into().unwrap())).unwrap()
}

/// The cabinet with `signature` (PKCS#7 without padding) in place of its own.
pub(crate) fn with_signature(cabinet: &[u8], signature: &[u8]) -> Vec<u8> {
    let at = signature_at(cabinet);
    let mut changed = cabinet[..at].to_vec();
    changed.extend_from_slice(signature);
    changed.resize(at + signature.len().next_multiple_of(8), 0);
    let size = u32::try_from(changed.len() - at).unwrap();
    changed[48..52].copy_from_slice(&size.to_le_bytes());
    changed
}
