//! What is signed, and what hides beside it.

use super::{
    der::{Node, operated},
    lab::{DAY, Identity, Key, Lab, NOW, Signing, issuer, plain_cabinet, signature_at, signer, stamper, verify},
};
use wuasync::cabinet::authenticode::{Party, Refusal, digest_file, inspect};

/// 1.2.840.113549.1.9.6, 1.3.6.1.4.1.311.3.3.1 and ...2.4.1.
const COUNTERSIGNATURE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x06";
const TIME_STAMP: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x03\x03\x01";

struct Site {
    lab: Lab,
    root: Identity,
    leaf: Identity,
    tsa: Identity,
}

impl Site {
    fn new() -> Self {
        let root = Identity::root(issuer("root"), Key::P256);
        let (leaf, tsa) = (root.issue(signer("leaf"), Key::Rsa), root.issue(stamper("tsa"), Key::P256));
        Self { lab: Lab::new(), root, leaf, tsa }
    }

    fn signed(&self) -> Vec<u8> {
        self.lab.sign(&Signing::by(&self.leaf))
    }

    fn stamped(&self) -> Vec<u8> {
        self.lab.sign(&Signing::by(&self.leaf).stamped(&self.tsa, NOW - DAY))
    }

    fn refusal(&self, cabinet: &[u8]) -> Refusal {
        verify(cabinet, &self.root).unwrap_err()
    }

    fn second_opinion(&self, cabinet: &[u8]) -> bool {
        self.lab.second_opinion(cabinet, &self.root, &self.root)
    }
}

fn attribute(kind: &[u8], values: Vec<Node>) -> Node {
    Node::of(0x30, vec![Node::oid(kind), Node::of(0x31, values)])
}

#[test]
fn surgery_that_changes_nothing_changes_nothing() {
    let site = Site::new();
    let cabinet = site.stamped();
    assert_eq!(operated(&cabinet, |_| {}), cabinet);
    assert!(verify(&cabinet, &site.root).is_ok());
}

#[test]
fn a_cabinet_without_a_signature_is_unsigned_and_other_files_are_none() {
    let site = Site::new();
    assert_eq!(site.refusal(&plain_cabinet(&[7; 100])), Refusal::Unsigned);
    assert_eq!(site.refusal(&[b'M'; 100]), Refusal::NoCabinet);
    assert_eq!(site.refusal(b"MSCF"), Refusal::NoCabinet);
    assert_eq!(site.refusal(b""), Refusal::NoCabinet);
}

#[test]
fn a_byte_more_or_less_is_refused() {
    let site = Site::new();
    let cabinet = site.stamped();
    let len = cabinet.len() as u64;
    for (changed, now) in [([&cabinet[..], &[0]].concat(), len + 1), (cabinet[..cabinet.len() - 1].to_vec(), len - 1)] {
        assert_eq!(site.refusal(&changed), Refusal::Length { end: len, len: now });
        assert!(!site.second_opinion(&changed));
    }
    let grown = [&cabinet[..signature_at(&cabinet)], b"grown", &cabinet[signature_at(&cabinet)..]].concat();
    assert!(matches!(site.refusal(&grown), Refusal::Length { .. }));
}

#[test]
fn every_header_byte_has_one_value_also_those_that_osslsigncode_leaves_open() {
    let site = Site::new();
    let cabinet = site.stamped();
    let mut taken = Vec::new();
    for at in 0..60 {
        let mut changed = cabinet.clone();
        changed[at] ^= 1;
        site.refusal(&changed);
        if site.second_opinion(&changed) {
            taken.push(at);
        }
    }
    // The number in the set, which makes other programs look for more cabinets, and a reserve.
    assert_eq!(taken, [34, 35, 52, 53, 54, 55]);
}

#[test]
fn room_behind_the_signature_is_refused_which_osslsigncode_takes() {
    let site = Site::new();
    let cabinet = site.signed();
    let mut larger = [&cabinet[..], &[0; 8]].concat();
    let size = u32::try_from(larger.len() - signature_at(&larger)).unwrap();
    larger[48..52].copy_from_slice(&size.to_le_bytes());
    assert_eq!(site.refusal(&larger), Refusal::Padding);
    assert!(site.second_opinion(&larger));
}

#[test]
fn another_content_is_refused() {
    let site = Site::new();
    let mut cabinet = site.stamped();
    cabinet[signature_at(&site.signed()) - 1] ^= 1;
    assert!(matches!(site.refusal(&cabinet), Refusal::ContentDigest(_)));
    assert!(!site.second_opinion(&cabinet));
}

#[test]
fn one_signer_decides_and_two_are_refused() {
    let site = Site::new();
    let twice = operated(&site.signed(), |signature| {
        let signers = &mut signature.signers().inner;
        signers.push(signers[0].clone());
    });
    assert_eq!(site.refusal(&twice), Refusal::Signers { party: Party::Signer, count: 2 });
    let none = operated(&site.signed(), |signature| signature.signers().inner.clear());
    assert_eq!(site.refusal(&none), Refusal::Signers { party: Party::Signer, count: 0 });
}

#[test]
fn a_nested_signature_neither_helps_nor_harms() {
    let site = Site::new();
    let stranger = Identity::root(issuer("stranger"), Key::P256);
    let stranger = stranger.issue(signer("stranger"), Key::P256);
    let nested = |outer: &Signing<'_>, inner: &Signing<'_>| {
        let once = site.lab.sign(outer);
        site.lab.sign_file(&once, inner, &["-nest"])
    };
    let verified = verify(&nested(&Signing::by(&site.leaf), &Signing::by(&stranger)), &site.root).unwrap();
    assert_eq!(verified.chain[0].subject, "CN=leaf");
    let error = site.refusal(&nested(&Signing::by(&stranger), &Signing::by(&site.leaf)));
    assert!(error.is_untrusted(), "{error:?}");
}

#[test]
fn looking_at_a_signature_that_brings_its_issuers_along_tells_their_names_down_to_the_root() {
    let site = Site::new();
    let between = site.root.issue(issuer("between"), Key::P256);
    let leaf = between.issue(signer("leaf"), Key::P256);
    let subjects = |signing: &Signing<'_>| {
        let cabinet = site.lab.sign(signing);
        let digested = digest_file(&cabinet, cabinet.len() as u64, &mut |_| {}).unwrap();
        inspect(&digested, NOW).map(|seen| seen.chain.into_iter().map(|link| link.subject).collect::<Vec<_>>())
    };
    assert_eq!(subjects(&Signing::by(&leaf).with(&between)).unwrap(), ["CN=leaf", "CN=between"]);
    let whole = Signing::by(&leaf).with(&between).with(&site.root).stamped(&site.tsa, NOW - DAY);
    assert_eq!(subjects(&whole).unwrap(), ["CN=leaf", "CN=between", "CN=root"]);
    assert!(subjects(&Signing::by(&leaf)).unwrap_err().is_untrusted());
}

#[test]
fn a_sha1_signature_with_a_better_one_nested_inside_is_refused_which_osslsigncode_takes() {
    let site = Site::new();
    let old = site.lab.sign(&Signing::by(&site.leaf).hash("sha1"));
    let double = site.lab.sign_file(&old, &Signing::by(&site.leaf), &["-nest"]);
    assert!(matches!(site.refusal(&double), Refusal::WeakDigest { .. }));
    assert!(site.second_opinion(&double));
}

#[test]
fn a_time_stamp_of_another_signature_is_refused_and_not_ignored_as_osslsigncode_does() {
    let site = Site::new();
    let mut other = Node::read(&site.stamped()[signature_at(&site.stamped())..]);
    let signing = Signing::by(&site.leaf).stamped(&site.tsa, NOW - DAY);
    let cabinet = site.lab.sign_file(&plain_cabinet(b"something else"), &signing, &[]);
    let moved = operated(&cabinet, |signature| *signature.unsigned_attributes() = other.unsigned_attributes().clone());
    assert_eq!(site.refusal(&moved), Refusal::TimeStampOfAnother);
    assert!(site.second_opinion(&moved));
}

#[test]
fn two_time_stamps_are_a_matter_of_choice_and_refused() {
    let site = Site::new();
    let two_attributes = operated(&site.stamped(), |signature| {
        let attributes = &mut signature.unsigned_attributes().inner;
        attributes.push(attributes[0].clone());
    });
    let two_values = operated(&site.stamped(), |signature| {
        let values = &mut signature.unsigned_attributes().at(&[0, 1]).inner;
        values.push(values[0].clone());
    });
    let none = operated(&site.signed(), |signature| {
        signature.unsigned_attributes().inner.push(attribute(TIME_STAMP, vec![]));
    });
    for changed in [two_attributes, two_values, none] {
        assert_eq!(site.refusal(&changed), Refusal::TimeStamps);
    }
}

#[test]
fn a_time_stamp_that_was_changed_is_refused() {
    let site = Site::new();
    let changed = operated(&site.stamped(), |signature| {
        let token = signature.unsigned_attributes().at(&[0, 1, 0]);
        *token
            .signers()
            .at(&[0])
            .inner
            .iter_mut()
            .rev()
            .find(|node| node.tag == 4)
            .unwrap()
            .bytes
            .last_mut()
            .unwrap() ^= 1;
    });
    let error = site.refusal(&changed);
    assert!(matches!(error, Refusal::Signature { party: Party::TimeStamper, .. }), "{error:?}");
}

#[test]
fn a_legacy_countersignature_is_no_time() {
    let site = Site::new();
    let mut stamped = Node::read(&site.stamped()[signature_at(&site.stamped())..]);
    let signer = stamped.unsigned_attributes().at(&[0, 1, 0]).signers().at(&[0]).clone();
    let legacy = operated(&site.signed(), |signature| {
        signature.unsigned_attributes().inner.push(attribute(COUNTERSIGNATURE, vec![signer]));
    });
    assert_eq!(verify(&legacy, &site.root).unwrap().time_stamp, None);
}

#[test]
fn signed_attributes_of_another_content_or_twice_or_none_are_refused() {
    let site = Site::new();
    let attributes = |change: &dyn Fn(&mut Vec<Node>)| {
        site.refusal(&operated(&site.signed(), |signature| change(&mut signature.signers().at(&[0, 3]).inner)))
    };
    let is_digest = |node: &Node| node.inner[0].bytes == b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
    let malformed = Refusal::Malformed("the signature");
    assert_eq!(attributes(&|all| all.retain(|node| !is_digest(node))), malformed);
    let twice = attributes(&|all| all.push(all.iter().find(|node| is_digest(node)).unwrap().clone()));
    assert_eq!(twice, malformed);
    let other = attributes(&|all| {
        let digest = all.iter_mut().find(|node| is_digest(node)).unwrap();
        digest.at(&[1, 0]).bytes[0] ^= 1;
    });
    assert_eq!(other, Refusal::MessageDigest { party: Party::Signer });
    let unordered = attributes(&|all| all.reverse());
    assert!(matches!(unordered, Refusal::Signature { party: Party::Signer, .. }), "{unordered:?}");
    let none = operated(&site.signed(), |signature| drop(signature.signers().at(&[0]).inner.remove(3)));
    assert_eq!(site.refusal(&none), malformed);
}

#[test]
fn a_signature_of_another_kind_of_file_or_without_its_certificate_is_refused() {
    let site = Site::new();
    // SpcPeImageData ends in 15 where SpcCabData ends in 25.
    let program = operated(&site.signed(), |signature| {
        *signature.signed_data().at(&[2, 1, 0, 0, 0]).bytes.last_mut().unwrap() = 15;
    });
    assert!(matches!(site.refusal(&program), Refusal::ContentType { .. }));
    let data = operated(&site.signed(), |signature| {
        *signature.signed_data().at(&[2, 0]).bytes.last_mut().unwrap() ^= 1;
    });
    assert!(matches!(site.refusal(&data), Refusal::ContentType { .. }));
    let bare = operated(&site.signed(), |signature| signature.signed_data().at(&[3]).inner.clear());
    assert_eq!(site.refusal(&bare), Refusal::NoSignerCertificate { party: Party::Signer });
    let many = operated(&site.signed(), |signature| {
        let certificates = &mut signature.signed_data().at(&[3]).inner;
        *certificates = vec![certificates[0].clone(); 5];
    });
    assert_eq!(site.refusal(&many), Refusal::TooManyCertificates { party: Party::Signer });
}

#[test]
fn a_signature_that_names_another_algorithm_than_made_it_is_refused() {
    let site = Site::new();
    let named = |oid: &'static [u8]| {
        site.refusal(&operated(&site.signed(), |signature| signature.signers().at(&[0, 4, 0]).bytes = oid.to_vec()))
    };
    // sha384WithRSAEncryption, ecdsa-with-SHA256, rsassaPss
    let mixed = named(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c");
    assert!(matches!(mixed, Refusal::MixedAlgorithms { .. }), "{mixed:?}");
    assert_eq!(named(b"\x2a\x86\x48\xce\x3d\x04\x03\x02"), Refusal::KeyKind { party: Party::Signer });
    let unknown = named(b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a");
    assert!(matches!(unknown, Refusal::UnknownAlgorithm { .. }), "{unknown:?}");
}
