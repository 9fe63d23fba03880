//! A report as it travels: signed by the host, carried unchanged by whatever repositories lie in between.
//!
//! The signature is Ed25519 over a fixed context, the host's UUID, a sequence number that only grows, the encoding and
//! the BLAKE3 of the body as it is sent: so it is checked before anything is unpacked. A host that is to be enrolled
//! by a token proves that it has one with a keyed hash over the same bytes; the token itself never travels.

use super::HostUuid;
use crate::domain::{
    key::HostKey,
    member::SiteName,
    versioned::{self, VersionedError},
};
use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use flate2::read::{GzDecoder, ZlibDecoder};
use serde::{Deserialize, Serialize};
use std::{fmt, io::Read, str::FromStr};

const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"wuasync host report v1\0";
const TOKEN_ID_CONTEXT: &str = "wuasync 2026 host enrolment token id v1";
const TOKEN_KEY_CONTEXT: &str = "wuasync 2026 host enrolment token key v1";
const TOKEN_PREFIX: &str = "wuh1";

/// Most bytes of a report as it is sent: it has to pass into one frame between repositories. 10,000 updates with all
/// their details take 600 KB, compressed.
pub const MAX_SENT_BYTES: usize = 960 * 1024;
/// Most bytes of a report once it is unpacked.
pub const MAX_UNPACKED_BYTES: usize = 24 << 20;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyEncoding {
    /// Not at all.
    Plain,
    /// `gzip`.
    Gzip,
    /// `deflate`, which is zlib's form (RFC 9110 8.4.1.2), and what WAPT's agents send.
    Deflate,
}

/// The proof that a host has an enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Which token.
    pub token: [u8; 8],
    /// The keyed hash of what is signed.
    pub proof: [u8; 32],
}

/// One signed report.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEnvelope {
    /// Which host.
    pub uuid: HostUuid,
    /// Greater than in every report of the host before.
    pub sequence: u64,
    /// The host's key.
    pub key: HostKey,
    /// 64 bytes.
    pub signature: Vec<u8>,
    /// How the body is packed.
    pub encoding: BodyEncoding,
    /// Where the host is not enrolled yet and has a token.
    pub enrolment: Option<Enrolment>,
    /// As it was sent.
    pub body: Vec<u8>,
}

/// A report with the site of the repository that a host gave it to, as repositories carry it to the main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedReport {
    /// Where the host is, as far as it does not say so itself.
    pub via: SiteName,
    /// The report, unchanged.
    pub envelope: HostEnvelope,
}

impl CarriedReport {
    /// As it is stored and carried.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(VERSION, self)
    }

    /// What [`CarriedReport::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        versioned::decode(VERSION, bytes)
    }
}

/// Why a report is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The signature is not the key's, or not of this report.
    #[error("the signature does not fit the report")]
    Signature,
    /// It unpacks to more than [`MAX_UNPACKED_BYTES`].
    #[error("the report unpacks to more than {} MiB", MAX_UNPACKED_BYTES >> 20)]
    TooLarge,
    /// It can't be unpacked.
    #[error("the report can't be unpacked")]
    Packed,
}

impl HostEnvelope {
    /// Signs a report with the host's secret key.
    pub fn sign(
        uuid: HostUuid,
        sequence: u64,
        secret: &[u8; 32],
        encoding: BodyEncoding,
        token: Option<&EnrolmentToken>,
        body: Vec<u8>,
    ) -> Self {
        let signer = SigningKey::from_bytes(secret);
        let key = HostKey(signer.verifying_key().to_bytes());
        let mut envelope = Self { uuid, sequence, key, signature: Vec::new(), encoding, enrolment: None, body };
        let message = envelope.message();
        envelope.signature = signer.sign(&message).to_bytes().to_vec();
        envelope.enrolment = token.map(|token| token.proof_of(&message));
        envelope
    }

    /// Whether the key signed exactly this.
    pub fn verify(&self) -> Result<(), EnvelopeError> {
        let key = VerifyingKey::from_bytes(&self.key.0).map_err(|_| EnvelopeError::Signature)?;
        let signature = Signature::from_slice(&self.signature).map_err(|_| EnvelopeError::Signature)?;
        key.verify_strict(&self.message(), &signature).map_err(|_| EnvelopeError::Signature)
    }

    /// Whether whoever sent it has the token whose key this is.
    pub fn has_token(&self, token_key: &[u8; 32]) -> bool {
        let expected = blake3::keyed_hash(token_key, &self.message());
        // The hash compares in constant time.
        self.enrolment.is_some_and(|enrolment| expected == blake3::Hash::from_bytes(enrolment.proof))
    }

    /// The report itself.
    pub fn unpacked(&self) -> Result<Vec<u8>, EnvelopeError> {
        let limit = MAX_UNPACKED_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        let read = match self.encoding {
            BodyEncoding::Plain => self.body.as_slice().take(limit).read_to_end(&mut bytes),
            BodyEncoding::Gzip => GzDecoder::new(self.body.as_slice()).take(limit).read_to_end(&mut bytes),
            BodyEncoding::Deflate => ZlibDecoder::new(self.body.as_slice()).take(limit).read_to_end(&mut bytes),
        };
        read.map_err(|_| EnvelopeError::Packed)?;
        if bytes.len() > MAX_UNPACKED_BYTES { Err(EnvelopeError::TooLarge) } else { Ok(bytes) }
    }

    fn message(&self) -> Vec<u8> {
        let uuid = self.uuid.as_str().as_bytes();
        let length = u8::try_from(uuid.len()).unwrap_or(u8::MAX);
        let encoding = match self.encoding {
            BodyEncoding::Plain => 0,
            BodyEncoding::Gzip => 1,
            BodyEncoding::Deflate => 2,
        };
        let hash = blake3::hash(&self.body);
        [CONTEXT, &[length], uuid, &self.sequence.to_be_bytes(), &[encoding], hash.as_bytes()].concat()
    }
}

impl fmt::Debug for HostEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostEnvelope({} {}, {} bytes)", self.uuid, self.sequence, self.body.len())
    }
}

/// A text that is no enrolment token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no enrolment token: it begins with {TOKEN_PREFIX} and has 52 letters and digits after it")]
pub struct ParseTokenError;

/// What lets hosts enrol themselves. A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken([u8; 32]);

impl EnrolmentToken {
    /// From 32 random bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// Its name, which tells nothing of it.
    pub fn id(&self) -> [u8; 8] {
        let hash = blake3::derive_key(TOKEN_ID_CONTEXT, &self.0);
        std::array::from_fn(|n| hash[n])
    }

    /// What the main keeps to recognise it.
    pub fn key(&self) -> [u8; 32] {
        blake3::derive_key(TOKEN_KEY_CONTEXT, &self.0)
    }

    fn proof_of(&self, message: &[u8]) -> Enrolment {
        Enrolment { token: self.id(), proof: *blake3::keyed_hash(&self.key(), message).as_bytes() }
    }
}

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentToken(..)")
    }
}

impl FromStr for EnrolmentToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim().strip_prefix(TOKEN_PREFIX).ok_or(ParseTokenError)?;
        let bytes = BASE32_NOPAD_NOCASE.decode(digits.as_bytes()).map_err(|_| ParseTokenError)?;
        bytes.try_into().map(Self).map_err(|_| ParseTokenError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use std::io::Write;

    fn uuid() -> HostUuid {
        HostUuid::new("4c4c4544-0042-3510-8057-c7c04f4a4d32").unwrap()
    }

    fn signed(encoding: BodyEncoding, body: &[u8]) -> HostEnvelope {
        HostEnvelope::sign(uuid(), 7, &[1; 32], encoding, None, body.to_vec())
    }

    #[test]
    fn every_part_of_a_report_is_covered_by_its_signature() {
        let report = signed(BodyEncoding::Plain, b"{}");
        report.verify().unwrap();
        let changed = |change: fn(&mut HostEnvelope)| {
            let mut report = report.clone();
            change(&mut report);
            report.verify()
        };
        let changes: [fn(&mut HostEnvelope); 7] = [
            |report| report.uuid = HostUuid::new("other").unwrap(),
            |report| report.sequence += 1,
            |report| report.key = HostKey([2; 32]),
            |report| report.encoding = BodyEncoding::Gzip,
            |report| report.body.push(b' '),
            |report| report.signature[5] ^= 1,
            |report| report.signature.truncate(63),
        ];
        for change in changes {
            assert_eq!(changed(change), Err(EnvelopeError::Signature));
        }
    }

    #[test]
    fn a_token_is_proved_without_being_told_and_for_one_report_only() {
        let token = EnrolmentToken::new([9; 32]);
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert_eq!(token.to_string().to_uppercase().replace("WUH1", "wuh1").parse(), Ok(token.clone()));
        assert!("wuh1abc".parse::<EnrolmentToken>().is_err() && "abc".parse::<EnrolmentToken>().is_err());
        let report = HostEnvelope::sign(uuid(), 7, &[1; 32], BodyEncoding::Plain, Some(&token), b"{}".to_vec());
        assert_eq!(report.enrolment.unwrap().token, token.id());
        assert!(report.has_token(&token.key()) && !report.has_token(&EnrolmentToken::new([8; 32]).key()));
        let stolen = HostEnvelope { enrolment: report.enrolment, ..signed(BodyEncoding::Plain, b"{ }") };
        assert!(!stolen.has_token(&token.key()));
        assert!(!format!("{token:?} {report:?}").contains(&token.to_string()));
    }

    #[test]
    fn bodies_are_unpacked_to_their_limit_and_no_further() {
        let packed = |body: &[u8]| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(body).unwrap();
            zlib.write_all(body).unwrap();
            [
                (BodyEncoding::Plain, body.to_vec()),
                (BodyEncoding::Gzip, gzip.finish().unwrap()),
                (BodyEncoding::Deflate, zlib.finish().unwrap()),
            ]
        };
        for (encoding, body) in packed(b"some bytes") {
            assert_eq!(signed(encoding, &body).unpacked().unwrap(), b"some bytes");
        }
        let bomb = vec![b' '; MAX_UNPACKED_BYTES + 1];
        for (encoding, body) in packed(&bomb) {
            assert_eq!(signed(encoding, &body).unpacked(), Err(EnvelopeError::TooLarge), "{encoding:?}");
        }
        assert_eq!(signed(BodyEncoding::Gzip, b"no gzip").unpacked(), Err(EnvelopeError::Packed));
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let report = HostEnvelope {
            uuid: HostUuid::new("h").unwrap(),
            sequence: 128,
            key: HostKey([2; 32]),
            signature: vec![3; 64],
            encoding: BodyEncoding::Gzip,
            enrolment: Some(Enrolment { token: [4; 8], proof: [5; 32] }),
            body: vec![6],
        };
        let carried = CarriedReport { via: SiteName::new("S").unwrap(), envelope: report };
        let bytes = carried.encode().unwrap();
        let fixed = [
            vec![1, 1, b'S', 1, b'h', 0x80, 1],
            vec![2; 32],
            vec![64],
            vec![3; 64],
            vec![1, 1],
            vec![4; 8],
            vec![5; 32],
            vec![1, 6],
        ];
        assert_eq!(bytes, fixed.concat());
        assert_eq!(CarriedReport::decode(&bytes).unwrap(), carried);
    }
}
