//! Where hosts reach a member, in its own words: signed, so that those on its way to the main can't change it.

use super::RepositoryUrl;
use crate::domain::key::NodeKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// Put before the signed bytes, so that no other message of a transport key passes for a word.
const CONTEXT: &[u8] = b"wuasync url v1\0";

/// A word that is not the member's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another one's word, or none")]
pub struct UrlWordError;

/// One member's word. Of two, the one that was said later counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlWord {
    /// Where hosts reach it; `None` for nowhere.
    pub url: Option<RepositoryUrl>,
    /// When it said so, in milliseconds since 1970 UTC.
    pub said_at: u64,
    /// Ed25519, by its transport key.
    pub signature: [u8; 64],
}

impl UrlWord {
    /// Says it as the owner of `key`.
    pub fn sign(key: &SigningKey, url: Option<RepositoryUrl>, said_at: u64) -> Self {
        let signature = key.sign(&message(url.as_ref(), said_at)).to_bytes();
        Self { url, said_at, signature }
    }

    /// Whether the member of this key said so.
    pub fn verify(&self, member: &NodeKey) -> Result<(), UrlWordError> {
        let key = VerifyingKey::from_bytes(member.as_bytes()).map_err(|_| UrlWordError)?;
        let message = message(self.url.as_ref(), self.said_at);
        key.verify_strict(&message, &Signature::from_bytes(&self.signature)).map_err(|_| UrlWordError)
    }
}

fn message(url: Option<&RepositoryUrl>, said_at: u64) -> Vec<u8> {
    // No address is empty.
    let url = url.map_or("", RepositoryUrl::as_str);
    [CONTEXT, &said_at.to_be_bytes(), url.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_its_members_as_it_was_said() {
        let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let of = |key: &SigningKey| NodeKey(key.verifying_key().to_bytes());
        let url = |name: &str| RepositoryUrl::new(&format!("http://{name}")).ok();
        let word = UrlWord::sign(&key, url("a"), 7);
        assert_eq!(word.verify(&of(&key)), Ok(()));
        assert_eq!(UrlWord::sign(&key, None, 7).verify(&of(&key)), Ok(()));
        assert_eq!(word.verify(&of(&other)), Err(UrlWordError));
        assert_eq!(UrlWord { url: url("b"), ..word.clone() }.verify(&of(&key)), Err(UrlWordError));
        assert_eq!(UrlWord { url: None, ..word.clone() }.verify(&of(&key)), Err(UrlWordError));
        assert_eq!(UrlWord { said_at: 8, ..word }.verify(&of(&key)), Err(UrlWordError));
    }
}
