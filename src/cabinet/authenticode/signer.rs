//! Whether the key of the named certificate made the signature over the signed attributes, and these are of
//! the content. Whose certificate that is, nobody has said yet.

use super::{
    certificate::Certificate,
    chain::malformed,
    error::{Party, Refusal},
    hash::HashAlgorithm,
    oid,
    signed_data::{SignedData, part},
};
use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use webpki::{EndEntityCert, Error, aws_lc_rs as algorithms};

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// `webpki` looks for 2048 to 8192 bits; below and above only a refusal says so by name.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Proves the signature; gives the certificate whose key made it.
pub(super) fn prove<'s, 'a>(signed: &'s SignedData<'a>) -> Result<&'s Certificate<'a>, Refusal> {
    let (party, signer) = (signed.party, &signed.signer);
    let malformed_attributes = || Refusal::Malformed(part(party));
    let content_type = signer.signed.one(oid::CONTENT_TYPE, malformed_attributes())?;
    let message_digest = signer.signed.one(oid::MESSAGE_DIGEST, malformed_attributes())?;
    let (Some(content_type), Some(message_digest)) = (content_type, message_digest) else {
        return Err(malformed_attributes());
    };
    let is_octets = message_digest.tag == der::Tag::OctetString;
    let is_of_content = message_digest.body == signer.digest.digest(signed.content.body);
    if content_type.oid()? != signed.content_type || !is_octets || !is_of_content {
        return Err(Refusal::MessageDigest { party });
    }
    let certificate = signed.signer_certificate()?;
    prove_key(signed, certificate)?;
    Ok(certificate)
}

fn prove_key(signed: &SignedData<'_>, certificate: &Certificate<'_>) -> Result<(), Refusal> {
    let (party, signer) = (signed.party, &signed.signer);
    if let Some(bits) = certificate.rsa_bits().filter(|bits| !RSA_BITS.contains(bits)) {
        return Err(Refusal::KeyLength { party, bits });
    }
    let der = CertificateDer::from(certificate.der);
    let key = EndEntityCert::try_from(&der)
        .map_err(|error| Refusal::Chain { party, why: malformed(certificate, &error).into() })?;
    let message = signer.signed.signed_bytes();
    for algorithm in algorithms_for(party, signer.signature_algorithm, signer.digest)? {
        match key.verify_signature(algorithm, &message, signer.signature) {
            Ok(()) => return Ok(()),
            // The other curve may fit.
            Err(Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Err(Refusal::Signature { party, subject: certificate.subject() }),
        }
    }
    Err(Refusal::KeyKind { party })
}

/// What may have made a signature that says `named`, over a `digest`.
fn algorithms_for(party: Party, named: ObjectIdentifier, digest: HashAlgorithm) -> Result<Vec<Algorithm>, Refusal> {
    let (is_rsa, named_digest) = match named {
        oid::RSA => (true, digest),
        oid::SHA_256_WITH_RSA => (true, HashAlgorithm::Sha256),
        oid::SHA_384_WITH_RSA => (true, HashAlgorithm::Sha384),
        oid::SHA_512_WITH_RSA => (true, HashAlgorithm::Sha512),
        oid::ECDSA_WITH_SHA_256 => (false, HashAlgorithm::Sha256),
        oid::ECDSA_WITH_SHA_384 => (false, HashAlgorithm::Sha384),
        oid::ECDSA_WITH_SHA_512 => (false, HashAlgorithm::Sha512),
        other => return Err(Refusal::UnknownAlgorithm { part: part(party), oid: other.to_string() }),
    };
    if named_digest != digest {
        return Err(Refusal::MixedAlgorithms {
            party,
            what: format!("a {named_digest} signature of a {digest} digest"),
        });
    }
    Ok(match (is_rsa, digest) {
        (true, HashAlgorithm::Sha256) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        (true, HashAlgorithm::Sha384) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        (true, HashAlgorithm::Sha512) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        (false, HashAlgorithm::Sha256) => vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256],
        (false, HashAlgorithm::Sha384) => vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384],
        (false, HashAlgorithm::Sha512) => vec![algorithms::ECDSA_P256_SHA512, algorithms::ECDSA_P384_SHA512],
    })
}

/// What may have signed a certificate.
pub(super) const OF_CERTIFICATES: &[Algorithm] = &[
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
];
