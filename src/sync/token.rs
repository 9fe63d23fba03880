//! The pairing token: one word that carries all that a new node needs to find its parent, to trust
//! it, and to be admitted. `wuasync1-<base32 of postcard and checksum>`.
//!
//! Whoever has the token can join: it is a secret until it was used or its hour is over.

use super::{bounded::AtMost, secret::Secret};
use crate::domain::{
    key::{LineKey, NodeKey},
    member::{MAX_ADDRESSES, MAX_MEMBER_FOLDERS, NodeAddress, NodeName, SiteName},
    name::FolderName,
};
use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Most characters in a token: fits a chat message and a terminal's line buffer.
pub const MAX_TOKEN_CHARACTERS: usize = 1024;

const WORD: &str = "wuasync";
const VERSION: &str = "1";
/// Finds a mistyped or cut token; forging one needs the secret anyway.
const CHECKSUM_BYTES: usize = 4;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where the parent listens, best first.
    #[serde(with = "AtMost::<MAX_ADDRESSES>")]
    pub addresses: Vec<NodeAddress>,
    /// The parent's transport key.
    pub parent: NodeKey,
    /// Who signs the states to follow.
    pub line: LineKey,
    /// What admits the node.
    pub secret: Secret,
    /// The name that the node gets.
    pub name: NodeName,
    /// Its site.
    pub site: SiteName,
    /// The folders that it may mirror.
    #[serde(with = "AtMost::<MAX_MEMBER_FOLDERS>")]
    pub folders: Vec<FolderName>,
    /// Seconds since 1970 UTC, from when on nobody is admitted by it.
    pub expires_at: u64,
}

/// A token that can't be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the token would be longer than {MAX_TOKEN_CHARACTERS} characters; use fewer addresses or folders")]
pub struct TokenTooLong;

/// Why a text is no token to join with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// Something else altogether.
    #[error("not a pairing token: it begins with \"wuasync1-\"")]
    NotAToken,
    /// Written by a newer program.
    #[error("a pairing token of a newer version; update wuasync on this node")]
    NewerVersion,
    /// Cut, mistyped, or far too long.
    #[error("the pairing token is damaged; copy it again, from \"wuasync1-\" to its end")]
    Damaged,
    /// Its hour is over.
    #[error("the pairing token has expired; ask for a new one")]
    Expired,
}

impl Token {
    /// The token as text. A secret.
    pub fn to_text(&self) -> Result<Zeroizing<String>, TokenTooLong> {
        let mut bytes = Zeroizing::new(postcard::to_stdvec(self).map_err(|_| TokenTooLong)?);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let mut body = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        body.make_ascii_lowercase();
        let text = Zeroizing::new(format!("{WORD}{VERSION}-{}", *body));
        if text.len() > MAX_TOKEN_CHARACTERS { Err(TokenTooLong) } else { Ok(text) }
    }

    /// Reads a token that can be used at `now` (seconds since 1970 UTC). Blanks and line breaks, as
    /// mail programs add them, and upper case do not matter.
    pub fn parse(text: &str, now: u64) -> Result<Self, ParseTokenError> {
        let text = without_blanks(text).ok_or(ParseTokenError::Damaged)?;
        let (version, body) = split_prefix(&text).ok_or(ParseTokenError::NotAToken)?;
        if version != VERSION {
            return Err(ParseTokenError::NewerVersion);
        }
        let token = decode(body).ok_or(ParseTokenError::Damaged)?;
        if now >= token.expires_at { Err(ParseTokenError::Expired) } else { Ok(token) }
    }
}

/// `None` above the greatest length; whatever follows it is not looked at.
fn without_blanks(text: &str) -> Option<Zeroizing<String>> {
    let mut kept = Zeroizing::new(String::with_capacity(MAX_TOKEN_CHARACTERS));
    for character in text.chars().filter(|c| !c.is_whitespace()) {
        if kept.len() + character.len_utf8() > MAX_TOKEN_CHARACTERS {
            return None;
        }
        kept.push(character.to_ascii_lowercase());
    }
    Some(kept)
}

fn split_prefix(text: &str) -> Option<(&str, &str)> {
    let (version, body) = text.strip_prefix(WORD)?.split_once('-')?;
    let is_number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    is_number.then_some((version, body))
}

fn decode(body: &str) -> Option<Token> {
    let bytes = Zeroizing::new(BASE32_NOPAD_NOCASE.decode(body.as_bytes()).ok()?);
    let (content, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(content) != *sum {
        return None;
    }
    let (token, rest) = postcard::take_from_bytes(content).ok()?;
    rest.is_empty().then_some(token)
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = *blake3::hash(content).as_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXPIRY: u64 = 1_800_000_000;

    fn token() -> Token {
        Token {
            addresses: vec![NodeAddress::new("main.example:4433").unwrap()],
            parent: NodeKey([1; 32]),
            line: LineKey([2; 32]),
            secret: Secret::new([0x41; 32]),
            name: NodeName::new("lyon").unwrap(),
            site: SiteName::new("Lyon").unwrap(),
            folders: vec![FolderName::new("waptwua").unwrap()],
            expires_at: EXPIRY,
        }
    }

    #[test]
    fn a_token_reads_back_until_it_expires() {
        let text = token().to_text().unwrap();
        assert!(text.starts_with("wuasync1-"));
        assert_eq!(Token::parse(&text, EXPIRY - 1), Ok(token()));
        assert_eq!(Token::parse(&text, EXPIRY), Err(ParseTokenError::Expired));
    }

    #[test]
    fn version_1_keeps_its_text() {
        let text = concat!(
            "wuasync1-",
            "aeiw2yljnyxgk6dbnvygyzj2gq2dgmybaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaebaeaqcai",
            "baeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeqkbifaucqkbifaucqkbifaucqkbifaucqkbifaucqkbifau",
            "cqkbarwhs33oarghs33oaedxoylqor3xkymaust5ubsid5rdu",
        );
        assert_eq!(*token().to_text().unwrap(), text);
    }

    #[test]
    fn blanks_line_breaks_and_case_do_not_matter() {
        let text = token().to_text().unwrap();
        let (head, tail) = text.split_at(70);
        assert_eq!(Token::parse(&format!("  {head}\r\n {}\n", tail.to_uppercase()), 0), Ok(token()));
    }

    #[test]
    fn every_cut_and_every_mistyped_character_is_noticed() {
        let text = token().to_text().unwrap();
        for end in 9..text.len() {
            assert_eq!(Token::parse(&text[..end], 0), Err(ParseTokenError::Damaged), "{end}");
        }
        for at in 9..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(Token::parse(&mistyped, 0), Err(ParseTokenError::Damaged), "{at}");
        }
    }

    #[test]
    fn other_texts_are_refused_each_for_its_reason() {
        for (text, why) in [
            ("", ParseTokenError::NotAToken),
            ("hello", ParseTokenError::NotAToken),
            ("wuasync-abc", ParseTokenError::NotAToken),
            ("wuasync01-abc", ParseTokenError::NotAToken),
            ("wuasync2-abc", ParseTokenError::NewerVersion),
            ("wuasync1-", ParseTokenError::Damaged),
            ("wuasync1-é", ParseTokenError::Damaged),
            (&"x".repeat(MAX_TOKEN_CHARACTERS + 1), ParseTokenError::Damaged),
        ] {
            assert_eq!(Token::parse(text, 0), Err(why), "{text}");
        }
    }

    #[test]
    fn a_token_that_would_be_too_long_is_not_written() {
        let mut long = token();
        long.addresses = vec![NodeAddress::new(&format!("{}:1", "a".repeat(200))).unwrap(); 4];
        assert_eq!(long.to_text(), Err(TokenTooLong));
    }

    #[test]
    fn the_secret_is_never_printed() {
        let shown = format!("{:?}", token());
        assert!(shown.contains("Secret(..)") && !shown.contains("65"), "{shown}");
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic(text in "\\PC{0,200}") {
            let _ = Token::parse(&text, 0);
            let _ = Token::parse(&format!("wuasync1-{text}"), 0);
        }

        #[test]
        fn arbitrary_contents_with_a_right_checksum_never_panic(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let body = BASE32_NOPAD.encode(&[&content[..], &checksum(&content)].concat());
            let _ = Token::parse(&format!("wuasync1-{body}"), 0);
        }
    }
}
