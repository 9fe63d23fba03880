//! A pairing secret: wiped when dropped, never printed, compared only by its hash.

use crate::domain::digest::Root;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// 256 random bits that admit one node once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of the given random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// What the issuer keeps and looks up: nobody gets the secret back from it, and a look-up by it
    /// tells nothing by its timing.
    pub fn digest(&self) -> Root {
        blake3::hash(&self.0).into()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new([0x41; 32])), "Secret(..)");
    }
}
