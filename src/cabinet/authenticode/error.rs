//! Why a cabinet does not count as signed: one line each, that says what is wrong and where, and what to do
//! where trust is missing.

use super::hash::HashAlgorithm;
use std::fmt;

/// Whose signature or certificate is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// Who signed the cabinet.
    Signer,
    /// Who signed the time stamp.
    TimeStamper,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signer => "signature",
            Self::TimeStamper => "time stamp",
        })
    }
}

/// Why a cabinet was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not begin like one.
    #[error("this is no cabinet: it does not begin with MSCF and a whole header")]
    NoCabinet,
    /// A cabinet without a signature.
    #[error("the cabinet is not signed")]
    Unsigned,
    /// A part of a set, or flags that nobody knows.
    #[error("header flags {0:#06x}: a signed cabinet has flag 4 alone, and is no part of a set")]
    Flags(u16),
    /// A header byte that the signature does not cover is not what it always is.
    #[error("the header from byte {at} on, which the signature does not cover, is not as in every signed cabinet")]
    Header {
        /// Offset of the field.
        at: u8,
    },
    /// The signature does not follow the cabinet.
    #[error("the signature is said to be at byte {start}, and the cabinet to end at byte {cabinet_len}")]
    Position {
        /// Where it is said to be.
        start: u32,
        /// Where it has to be.
        cabinet_len: u32,
    },
    /// Something follows the signature, or a part of it is missing.
    #[error("the signature is said to end at byte {end}, and the file has {len} bytes")]
    Length {
        /// What the header says.
        end: u64,
        /// What is there.
        len: u64,
    },
    /// More room for a signature than any needs.
    #[error("the signature is said to have {bytes} bytes, more than any")]
    SignatureTooLarge {
        /// What the header says.
        bytes: u32,
    },
    /// Fewer bytes than there should be.
    #[error("the cabinet ends at byte {at} of {len}")]
    Truncated {
        /// How many there should be.
        len: u64,
        /// How many there are.
        at: u64,
    },
    /// More bytes than there should be.
    #[error("the cabinet goes on after its {len} bytes")]
    Appended {
        /// How many there should be.
        len: u64,
    },
    /// Something hides behind the signature.
    #[error("the signature does not fill its room: behind it is more than zeros up to the next multiple of 8")]
    Padding,
    /// Not the structure that it should be.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// Another kind of content.
    #[error("{part} has content of type {oid}, not {expected}")]
    ContentType {
        /// Where.
        part: &'static str,
        /// What it says.
        oid: String,
        /// What it should say.
        expected: &'static str,
    },
    /// SHA-1: contents that collide can be made.
    #[error("{part} uses sha1, which proves nothing any more; sha256, sha384 or sha512 is asked")]
    WeakDigest {
        /// Where.
        part: &'static str,
    },
    /// An algorithm that is not taken.
    #[error("{part} uses algorithm {oid}, which is not taken")]
    UnknownAlgorithm {
        /// Where.
        part: &'static str,
        /// Which one.
        oid: String,
    },
    /// The content was digested with another algorithm than the signature is over.
    #[error("the signature is over {signed}, and the content was digested with {digested}: digest it once more")]
    OtherDigest {
        /// What is needed.
        signed: HashAlgorithm,
        /// What is there.
        digested: HashAlgorithm,
    },
    /// More or fewer than one signer.
    #[error("the {party} has {count} signers, not one")]
    Signers {
        /// Whose.
        party: Party,
        /// How many.
        count: usize,
    },
    /// More certificates than any chain needs.
    #[error("the {party} brings more certificates than any chain needs")]
    TooManyCertificates {
        /// Whose.
        party: Party,
    },
    /// The certificate that the signer names is missing, or there are two.
    #[error("the {party} does not bring the one certificate of its signer")]
    NoSignerCertificate {
        /// Whose.
        party: Party,
    },
    /// The content is not the one that was signed.
    #[error("the content is not what was signed: its {0} digest is another")]
    ContentDigest(HashAlgorithm),
    /// The signed attributes are of another content.
    #[error("the signed attributes of the {party} are of another content")]
    MessageDigest {
        /// Whose.
        party: Party,
    },
    /// Digest and signature use two algorithms.
    #[error("the {party} mixes algorithms: {what}")]
    MixedAlgorithms {
        /// Whose.
        party: Party,
        /// Which ones.
        what: String,
    },
    /// An RSA key that can be factored.
    #[error("the {party} is made with an rsa key of {bits} bits; 2048 to 8192 are asked")]
    KeyLength {
        /// Whose.
        party: Party,
        /// How long it is.
        bits: usize,
    },
    /// Another kind of key.
    #[error("the {party} is made with a kind of key that is not taken: rsa, p-256 and p-384 are")]
    KeyKind {
        /// Whose.
        party: Party,
    },
    /// The key did not make the signature.
    #[error("the {party} was not made with the key of {subject}, or was changed")]
    Signature {
        /// Whose.
        party: Party,
        /// Who is said to have made it.
        subject: String,
    },
    /// Two time stamps, or an attribute with none.
    #[error("the signature does not have one time stamp: its time would be a matter of choice")]
    TimeStamps,
    /// A time stamp that was made for something else.
    #[error("the time stamp is of another signature")]
    TimeStampOfAnother,
    /// The stamp does not say which certificate made it.
    #[error("the time stamp is not bound to the certificate that made it")]
    TimeStampUnbound,
    /// A time stamp that says more than is understood.
    #[error("the time stamp has critical extension {oid}, which is not understood")]
    CriticalExtension {
        /// Which one.
        oid: String,
    },
    /// A time stamp from tomorrow.
    #[error("the time stamp is of {at}, which is in the future: check this machine's clock")]
    TimeStampInFuture {
        /// RFC 3339.
        at: String,
    },
    /// The certificates do not lead to anybody who is trusted, or not as they should.
    #[error("the certificates of the {party}: {why}")]
    Chain {
        /// Whose.
        party: Party,
        /// Why.
        why: Box<ChainError>,
    },
}

impl Refusal {
    /// Whether all that is missing is trust in whoever issued the certificates: everything that comes before
    /// (digest and signature) is right.
    pub fn is_untrusted(&self) -> bool {
        let Self::Chain { why, .. } = self else { return false };
        matches!(**why, ChainError::Untrusted { .. } | ChainError::NoRoots)
    }
}

/// Why certificates prove nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Nobody is trusted at all.
    #[error("no trust roots are configured; look at the chain with `wuasync cab trust FILE`, or set the roots")]
    NoRoots,
    /// The chain ends somewhere else.
    #[error(
        "nothing leads from {subject} to a trust root: {issuer} is none, and who issued it is not there; look at \
         the chain with `wuasync cab trust FILE`, or set the roots"
    )]
    Untrusted {
        /// The signer.
        subject: String,
        /// Where the chain breaks off.
        issuer: String,
    },
    /// Outside of its time.
    #[error("{subject} is valid from {not_before} to {not_after}, and not at {time}, {which}")]
    NotValid {
        /// Whose certificate.
        subject: String,
        /// RFC 3339.
        not_before: String,
        /// RFC 3339.
        not_after: String,
        /// RFC 3339.
        time: String,
        /// Whether that is the stamped time or this machine's.
        which: &'static str,
    },
    /// A certificate that is not for this.
    #[error("{subject} may not be used for {purpose}: {why}")]
    Purpose {
        /// Whose certificate.
        subject: String,
        /// `code signing`, `time stamping` or `issuing certificates`.
        purpose: &'static str,
        /// The extension, and what it lacks.
        why: &'static str,
    },
    /// Longer than an issuer allows.
    #[error("the chain is longer than {subject} allows")]
    TooLong {
        /// Whose certificate.
        subject: String,
    },
    /// A certificate that is malformed, weakly signed, or has something critical that is not understood.
    #[error("a certificate on the way from {subject} to the trust roots: {why}")]
    Wrong {
        /// The signer.
        subject: String,
        /// What is wrong.
        why: String,
    },
}
