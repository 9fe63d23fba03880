//! The file itself.

use super::seal::{Passphrase, Sealed, Secrets, UnsealError};
use crate::domain::{
    key::LineKey,
    state::{Accepted, SignedState},
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The first line, so that `head` tells what the file is.
const MAGIC: &[u8] = b"wuasync backup\n";
const HEADER_VERSION: u8 = 1;
/// Most bytes in a header: the members of ten thousand nodes take a few megabytes.
const MAX_HEADER_BYTES: usize = 64 << 20;
/// Most namespaces, members and the like that one header names are bounded by its bytes.
const LENGTH_BYTES: usize = 4;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// Everything that a main needs: keys, ledger, signed state.
    Main,
    /// A main's keys alone.
    Keys,
    /// What a secondary has of the signed state: members, and what else is no folder.
    Secondary,
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "a main's backup",
            Self::Keys => "a main's keys",
            Self::Secondary => "a secondary's signed state",
        })
    }
}

/// Everything but the ledger's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    /// What is inside.
    pub kind: BackupKind,
    /// Whose line.
    pub line: LineKey,
    /// The name of the node that wrote it.
    pub node: String,
    /// When, in seconds since 1970 UTC.
    pub made_at: u64,
    /// The last state that the node had signed or accepted.
    pub accepted: Option<Accepted>,
    /// Members, and what else is no folder.
    pub signed: Option<SignedState>,
    /// The keys of a main.
    pub sealed: Option<Sealed>,
}

/// A whole backup.
#[derive(Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// What it says of itself.
    pub header: BackupHeader,
    /// The bytes of `ledger.redb`; empty where there is none.
    pub ledger: Vec<u8>,
}

/// Bytes that are no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadBackupError {
    /// Something else.
    #[error("this is no backup of wuasync")]
    NoBackup,
    /// It ends too early, or claims more than any backup has.
    #[error("the backup is cut or damaged")]
    Damaged,
    /// A newer form.
    #[error("the header of the backup")]
    Header(#[source] VersionedError),
}

impl BackupFile {
    /// The bytes of the file.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        let header = versioned::encode(HEADER_VERSION, &self.header)?;
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX).to_be_bytes();
        Ok([MAGIC, &length, &header, &self.ledger].concat())
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadBackupError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ReadBackupError::NoBackup)?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(ReadBackupError::Damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_HEADER_BYTES || length > rest.len() {
            return Err(ReadBackupError::Damaged);
        }
        let (header, ledger) = rest.split_at(length);
        let header = versioned::decode(HEADER_VERSION, header).map_err(ReadBackupError::Header)?;
        Ok(Self { header, ledger: ledger.to_vec() })
    }

    /// Seals a main's keys into the file; nothing else of it can change from then on.
    pub fn seal(&mut self, secrets: &Secrets, passphrase: &Passphrase, random: [u8; 28]) -> Result<(), UnsealError> {
        self.header.sealed = Some(Sealed::new(secrets, passphrase, &self.context()?, random)?);
        Ok(())
    }

    /// A main's keys; `None` where the file holds none.
    pub fn unseal(&self, passphrase: &Passphrase) -> Result<Option<Secrets>, UnsealError> {
        let Some(sealed) = &self.header.sealed else { return Ok(None) };
        sealed.open(passphrase, &self.context()?).map(Some)
    }

    /// BLAKE3 of everything beside the seal.
    fn context(&self) -> Result<[u8; 32], UnsealError> {
        let open = BackupHeader { sealed: None, ..self.header.clone() };
        let header = versioned::encode(HEADER_VERSION, &open).map_err(|_| UnsealError::Unreadable)?;
        let mut hasher = blake3::Hasher::new_derive_key("wuasync backup v1");
        hasher.update(&(header.len() as u64).to_be_bytes()).update(&header).update(&self.ledger);
        Ok(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for BackupFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with a ledger of {} bytes", self.header, self.ledger.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::state::Namespace;

    /// A main's backup, written by the first version: passphrase `correct horse`.
    const FIXTURE: &str = include_str!("../../../fixtures/backup-v1.hex");

    fn phrase() -> Passphrase {
        Passphrase::new("correct horse").unwrap()
    }

    fn secrets() -> Secrets {
        Secrets { line: [42; 32], transport: b"-----BEGIN".to_vec() }
    }

    fn file() -> BackupFile {
        let line = LineKey([5; 32]);
        let accepted = Accepted { line, epoch: 7, epoch_nonce: [8; 16], seq: 300 };
        let entries = [(vec![1, 2], vec![1, 3])].into();
        let signed = SignedState { head: vec![9; 70], namespaces: [(Namespace::members(), entries)].into() };
        let header = BackupHeader {
            kind: BackupKind::Main,
            line,
            node: "paris".to_owned(),
            made_at: 1_700_000_000,
            accepted: Some(accepted),
            signed: Some(signed),
            sealed: None,
        };
        let mut file = BackupFile { header, ledger: b"ledger".to_vec() };
        file.seal(&secrets(), &phrase(), [6; 28]).unwrap();
        file
    }

    #[test]
    fn version_one_keeps_its_bytes() {
        let bytes = data_encoding::HEXLOWER.decode(FIXTURE.trim().as_bytes()).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&file().encode().unwrap()), FIXTURE.trim());
        let read = BackupFile::decode(&bytes).unwrap();
        assert_eq!(read, file());
        assert_eq!(read.unseal(&phrase()), Ok(Some(secrets())));
    }

    #[test]
    fn a_change_of_any_part_keeps_the_keys_closed() {
        let wrong = |change: fn(&mut BackupFile)| {
            let mut file = file();
            change(&mut file);
            file.unseal(&phrase())
        };
        for opened in [
            wrong(|file| file.ledger[2] ^= 1),
            wrong(|file| file.ledger.push(0)),
            wrong(|file| file.header.node.push('x')),
            wrong(|file| file.header.accepted = None),
            wrong(|file| file.header.signed = None),
            wrong(|file| file.header.line = LineKey([6; 32])),
        ] {
            assert_eq!(opened, Err(UnsealError::Wrong));
        }
    }

    #[test]
    fn other_cut_and_boasting_files_are_refused() {
        let bytes = file().encode().unwrap();
        assert_eq!(BackupFile::decode(b"PK\x03\x04"), Err(ReadBackupError::NoBackup));
        for length in 0..bytes.len() - file().ledger.len() {
            assert!(BackupFile::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut boasting = bytes.clone();
        boasting[MAGIC.len()..][..4].copy_from_slice(&[0xff; 4]);
        assert_eq!(BackupFile::decode(&boasting), Err(ReadBackupError::Damaged));
        let mut newer = bytes;
        newer[MAGIC.len() + 4] = 2;
        assert!(matches!(BackupFile::decode(&newer), Err(ReadBackupError::Header(VersionedError::Newer { .. }))));
    }
}
