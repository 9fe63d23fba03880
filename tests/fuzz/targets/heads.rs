//! Signed heads: bytes off the wire, and contents that the line's key did sign.

use ed25519_dalek::{Signer, SigningKey};
use wuasync::domain::state::{Accepted, LineSigner, SignedHead, Verdict, judge};

/// The key behind `fixtures/head-v1.hex`.
const SECRET: [u8; 32] = [42; 32];
const CONTEXT: &[u8] = b"wuasync head v1\0";

/// A signed head; or its content, to be signed.
pub fn heads(data: &[u8]) {
    verify(data);
    let signature = SigningKey::from_bytes(&SECRET).sign(&[CONTEXT, data].concat());
    let signed = [&signature.to_bytes(), data].concat();
    if verify(&signed) {
        only_its_own_bytes_verify(&signed);
    }
}

fn verify(bytes: &[u8]) -> bool {
    let signer = LineSigner::from_secret(&SECRET);
    let Ok(signed) = SignedHead::verify(bytes, &signer.line()) else { return false };
    assert_eq!(signed.to_bytes(), bytes, "a head changed");
    assert_eq!(signed.head().line, signer.line());
    assert_eq!(signed.hash(), *blake3::hash(&bytes[64..]).as_bytes());
    assert!(SignedHead::verify(bytes, &LineSigner::from_secret(&[1; 32]).line()).is_err(), "another line's head");
    let again = signer.sign(signed.head().clone()).expect("what was read can be signed");
    let again = SignedHead::verify(&again.to_bytes(), &signer.line()).expect("what was signed can be read");
    assert_eq!(again.head(), signed.head());
    assert_eq!(judge(None, signed.head()), Verdict::Newer);
    assert_eq!(judge(Some(&Accepted::from(&signed)), signed.head()), Verdict::Same);
    true
}

fn only_its_own_bytes_verify(signed: &[u8]) {
    let at = signed.iter().fold(0, |sum, byte| sum + usize::from(*byte)) % signed.len();
    let mut wrong = signed.to_vec();
    wrong[at] ^= 1 << (at % 8);
    assert!(!verify(&wrong), "byte {at} does not matter");
    assert!(!verify(&signed[..signed.len() - 1]) && !verify(&[signed, &[0]].concat()), "the length does not matter");
}
