//! Signed cabinets, good and bad, made here with authorities of their own: what we say of them, and what
//! osslsigncode says.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper that fails is to fail its test")]

#[path = "authenticode/certificates.rs"]
mod certificates;
#[path = "authenticode/der.rs"]
mod der;
#[path = "authenticode/lab.rs"]
mod lab;
#[path = "authenticode/structure.rs"]
mod structure;

use lab::{DAY, Identity, Key, Lab, NOW, Signing, issuer, signer, stamper, verify};

#[test]
fn whatever_is_signed_as_it_should_be_verifies_with_every_kind_of_key_and_digest() {
    let lab = Lab::new();
    let root = Identity::root(issuer("root"), Key::Rsa);
    let between = root.issue(issuer("between"), Key::P384);
    let tsa = root.issue(stamper("tsa"), Key::Rsa);
    for key in [Key::Rsa, Key::P256, Key::P384] {
        let leaf = between.issue(signer("leaf"), key);
        for hash in ["sha256", "sha384", "sha512"] {
            for stamp in [false, true] {
                let signing = Signing::by(&leaf).with(&between).hash(hash);
                let signing = if stamp { signing.stamped(&tsa, NOW - DAY) } else { signing };
                let cabinet = lab.sign(&signing);
                let verified = verify(&cabinet, &root).unwrap_or_else(|e| panic!("{key:?} {hash} {stamp}: {e}"));
                assert_eq!(verified.algorithm.to_string(), hash);
                let chain: Vec<_> = verified.chain.iter().map(|link| link.subject.as_str()).collect();
                assert_eq!(chain, ["CN=leaf", "CN=between", "CN=root"]);
                assert_eq!(verified.time_stamp.map(|stamp| stamp.at), stamp.then_some(NOW - DAY));
                assert!(lab.second_opinion(&cabinet, &root, &root), "{key:?} {hash} {stamp}");
            }
        }
    }
}
