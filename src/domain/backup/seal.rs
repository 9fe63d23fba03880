//! Secret keys under a passphrase: Argon2id makes the key, ChaCha20-Poly1305 seals.

use crate::domain::versioned;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    ChaCha20Poly1305,
    aead::{Aead, KeyInit, Payload},
};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

const SECRETS_VERSION: u8 = 1;
/// Memory of one guess, in KiB: the second choice of RFC 9106.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;
/// Most memory that a file may ask for, in KiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes that a file may ask for.
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 4;

/// What somebody typed; wiped when dropped.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes a text; `None` if there is nothing in it. Line ends around it do not count.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_matches(['\r', '\n']);
        (!text.trim().is_empty()).then(|| Self(text.to_owned()))
    }
}

impl Drop for Passphrase {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// The secrets of a main; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The secret half of the line's key.
    pub line: [u8; 32],
    /// The transport key, as PEM: secondaries know the main by it.
    pub transport: Vec<u8>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.line.zeroize();
        self.transport.zeroize();
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets { .. }")
    }
}

/// Sealed secrets with what opening them takes besides the passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Argon2id's memory, in KiB.
    pub memory_kib: u32,
    /// Argon2id's passes.
    pub passes: u32,
    /// Argon2id's lanes.
    pub lanes: u32,
    /// Drawn for this seal.
    pub salt: [u8; 16],
    /// Drawn for this seal.
    pub nonce: [u8; 12],
    /// The sealed bytes.
    pub bytes: Vec<u8>,
}

/// Why secrets stay closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Nobody can tell which.
    #[error("the passphrase is wrong, or the file was changed")]
    Wrong,
    /// The file asks for more work than any that this program wrote.
    #[error("the seal asks for more memory or work than this program gives")]
    Costly,
    /// Something else was sealed.
    #[error("the seal holds no keys that this version knows")]
    Unreadable,
}

impl Sealed {
    /// Seals `secrets`, bound to `context`: nobody can open them beside another. `random` gives 28 bytes.
    pub fn new(
        secrets: &Secrets,
        passphrase: &Passphrase,
        context: &[u8],
        random: [u8; 28],
    ) -> Result<Self, UnsealError> {
        let mut sealed =
            Self { memory_kib: MEMORY_KIB, passes: PASSES, lanes: 1, salt: [0; 16], nonce: [0; 12], bytes: Vec::new() };
        sealed.salt.copy_from_slice(&random[..16]);
        sealed.nonce.copy_from_slice(&random[16..]);
        let plain = Zeroizing::new(versioned::encode(SECRETS_VERSION, secrets).map_err(|_| UnsealError::Unreadable)?);
        let payload = Payload { msg: &plain, aad: context };
        let cipher = sealed.cipher(passphrase)?;
        sealed.bytes = cipher.encrypt(&sealed.nonce.into(), payload).map_err(|_| UnsealError::Unreadable)?;
        Ok(sealed)
    }

    /// Opens what was sealed with this passphrase beside this context.
    pub fn open(&self, passphrase: &Passphrase, context: &[u8]) -> Result<Secrets, UnsealError> {
        if self.memory_kib > MAX_MEMORY_KIB || self.passes > MAX_PASSES || self.lanes > MAX_LANES {
            return Err(UnsealError::Costly);
        }
        let payload = Payload { msg: &self.bytes, aad: context };
        let plain = self.cipher(passphrase)?.decrypt(&self.nonce.into(), payload).map_err(|_| UnsealError::Wrong)?;
        let plain = Zeroizing::new(plain);
        versioned::decode(SECRETS_VERSION, &plain).map_err(|_| UnsealError::Unreadable)
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<ChaCha20Poly1305, UnsealError> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| UnsealError::Costly)?;
        let mut key = Zeroizing::new([0; 32]);
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let made = argon.hash_password_into(passphrase.0.as_bytes(), &self.salt, key.as_mut_slice());
        made.map_err(|_| UnsealError::Costly)?;
        Ok(ChaCha20Poly1305::new((&*key).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets { line: [7; 32], transport: b"pem".to_vec() }
    }

    fn phrase(text: &str) -> Passphrase {
        Passphrase::new(text).unwrap()
    }

    #[test]
    fn secrets_open_with_their_passphrase_beside_their_context_alone() {
        let sealed = Sealed::new(&secrets(), &phrase("right"), b"context", [3; 28]).unwrap();
        assert_eq!(sealed.open(&phrase("right\n"), b"context"), Ok(secrets()));
        assert_eq!(sealed.open(&phrase("wrong"), b"context"), Err(UnsealError::Wrong));
        assert_eq!(sealed.open(&phrase("right"), b"other"), Err(UnsealError::Wrong));
        let mut changed = sealed.clone();
        changed.bytes[5] ^= 1;
        assert_eq!(changed.open(&phrase("right"), b"context"), Err(UnsealError::Wrong));
    }

    #[test]
    fn a_seal_that_asks_for_too_much_is_refused_before_any_work() {
        let sealed = Sealed::new(&secrets(), &phrase("right"), b"", [3; 28]).unwrap();
        for costly in [
            Sealed { memory_kib: MAX_MEMORY_KIB + 1, ..sealed.clone() },
            Sealed { passes: u32::MAX, ..sealed.clone() },
            Sealed { lanes: MAX_LANES + 1, ..sealed.clone() },
            Sealed { memory_kib: 0, ..sealed.clone() },
            Sealed { passes: 0, ..sealed },
        ] {
            assert_eq!(costly.open(&phrase("right"), b""), Err(UnsealError::Costly), "{costly:?}");
        }
    }

    #[test]
    fn a_passphrase_has_something_in_it_and_is_never_shown() {
        assert!(Passphrase::new(" \r\n").is_none());
        assert!(!format!("{:?} {:?}", phrase("s3cret"), secrets()).contains("s3cret"));
    }
}
