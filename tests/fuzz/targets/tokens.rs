//! Pairing tokens: texts that people paste, and contents that somebody has put a right checksum on.

use data_encoding::BASE32_NOPAD;
use wuasync::sync::token::{MAX_TOKEN_CHARACTERS, Token};

const NOW: u64 = 1_700_000_000;

/// A text, or what a token holds before its checksum.
pub fn tokens(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        parse(text);
    }
    let checksum = blake3::hash(data);
    let body = BASE32_NOPAD.encode(&[data, &checksum.as_bytes()[..4]].concat());
    parse(&format!("wuasync1-{body}"));
}

fn parse(text: &str) {
    let parsed = Token::parse(text, NOW);
    assert_eq!(parsed, Token::parse(&text.to_ascii_uppercase(), NOW), "case matters");
    let blanks: String = text.chars().flat_map(|c| [' ', c, '\n']).collect();
    assert_eq!(parsed, Token::parse(&blanks, NOW), "blanks matter");
    let Ok(token) = parsed else { return };
    assert!(NOW < token.expires_at, "an expired token is accepted");
    let again = token.to_text().expect("what was read can be written");
    assert!(again.len() <= MAX_TOKEN_CHARACTERS);
    assert_eq!(Token::parse(&again, NOW), Ok(token));
}
