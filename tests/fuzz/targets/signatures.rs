//! Signed cabinets: another content, another signer, structures that claim too much.

use std::sync::LazyLock;
use wuasync::cabinet::authenticode::{
    CabDigest, DigestedCab, HashAlgorithm, Refusal, Roots, Trust, inspect, verify, verify_file,
};

/// 2026-06-01: the certificates of the corpus are valid.
const NOW: u64 = 1_780_272_000;
/// The cabinet that the trusted root has signed, without its signature.
const SIGNED: &[u8] = include_bytes!("../../../fixtures/signed.cab");

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let roots = Roots::from_pem(include_bytes!("../../../fixtures/signed-root.pem")).expect("a fixture");
    Trust { signing: roots.clone(), time_stamping: roots }
});

/// A cabinet.
pub fn signatures(data: &[u8]) {
    let whole = digest(data, data.len().max(1));
    assert_eq!(whole.as_ref().err(), digest(data, 61).as_ref().err(), "pieces told another story");
    let by_file = verify_file(&data.to_vec(), data.len() as u64, &TRUST, NOW, &mut |_| {});
    let Ok(cabinet) = whole else {
        assert!(by_file.is_err(), "what can't be digested was verified");
        return;
    };
    let _ = inspect(&cabinet, NOW);
    let by_digest = verify(&cabinet, &TRUST, NOW);
    if matches!(by_digest, Err(Refusal::OtherDigest { .. })) {
        return;
    }
    assert_eq!(by_file.is_ok(), by_digest.is_ok(), "two ways, two verdicts");
    if by_digest.is_ok() {
        assert!(data.len() >= CONTENT && data[..48] == SIGNED[..48] && data[52..CONTENT] == SIGNED[52..CONTENT]);
    }
}

/// Where the signature of the fixture begins: everything before it is signed, or has one value.
const CONTENT: usize = 112;

fn digest(data: &[u8], piece: usize) -> Result<DigestedCab, Refusal> {
    let mut digest = CabDigest::new(data.len() as u64, HashAlgorithm::Sha256);
    data.chunks(piece).try_for_each(|piece| digest.update(piece))?;
    digest.finish()
}
