//! Who is there: TLS 1.3 with raw Ed25519 keys (RFC 7250) on both sides, without any authority.
//!
//! The server accepts every key whose owner proves to have it: what the connection is for is in the
//! ALPN, which is not known while a key is checked, so membership is decided right after the
//! handshake. The client accepts exactly one key.
//!
//! **Never a resumed session**, on either side: a resumed session skips the check of the client's
//! key, so that a revoked node would come in again.

use super::close::CloseCode;
use crate::domain::{
    key::NodeKey,
    nearest::{RepositoryUrl, UrlWord},
};
use data_encoding::BASE64;
use ed25519_dalek::{SigningKey, VerifyingKey, pkcs8::DecodePrivateKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, pem::PemObject,
};
use std::{
    fmt,
    sync::{Arc, OnceLock},
};
use zeroize::{Zeroize, Zeroizing};

/// DER before the 32 bytes of an Ed25519 public key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER before the 32 bytes of an Ed25519 private key (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Most bytes in a key file; a real one has about 120.
const MAX_KEY_FILE_BYTES: usize = 4096;

/// What a connection is for; each purpose has its own ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Members among themselves.
    Member,
    /// One request to become a member.
    Join,
}

impl Purpose {
    /// Its name in the handshake.
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Member => b"wuasync/1",
            Self::Join => b"wuasync-join/1",
        }
    }

    /// The purpose that the two sides agreed on.
    pub fn from_alpn(alpn: &[u8]) -> Option<Self> {
        [Self::Member, Self::Join].into_iter().find(|purpose| purpose.alpn() == alpn)
    }
}

/// Who knows the members.
pub trait Admission: Send + Sync {
    /// Why the node of this key may not connect as a member at this moment; `None` if it may. Must not block.
    fn refusal(&self, key: &NodeKey) -> Option<CloseCode>;
}

/// Bytes that hold no transport key.
#[derive(Debug, thiserror::Error)]
pub enum LoadKeyError {
    /// Far longer than a key.
    #[error("a key file above 4 KiB")]
    TooLarge,
    /// No `PRIVATE KEY` section.
    #[error("no private key in PEM form")]
    NotPem,
    /// A key of another kind, or a damaged one.
    #[error("not an Ed25519 private key in PKCS#8 form")]
    NotEd25519,
}

/// A node's secret transport key. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct TransportKey(SigningKey);

impl TransportKey {
    /// A key of the given random bytes.
    pub fn generate(mut random: [u8; 32]) -> Self {
        let key = Self(SigningKey::from_bytes(&random));
        random.zeroize();
        key
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote, or any tool that writes PKCS#8.
    pub fn from_pem(pem: &[u8]) -> Result<Self, LoadKeyError> {
        if pem.len() > MAX_KEY_FILE_BYTES {
            return Err(LoadKeyError::TooLarge);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| LoadKeyError::NotPem)?;
        SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).map(Self).map_err(|_| LoadKeyError::NotEd25519)
    }

    /// The key as PKCS#8 in PEM form, for a file of mode 0600.
    pub fn to_pem(&self) -> Zeroizing<Vec<u8>> {
        let base64 = Zeroizing::new(BASE64.encode(&self.to_pkcs8()[..]));
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", *base64);
        Zeroizing::new(pem.into_bytes())
    }

    /// What others know this node by.
    pub fn public(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// Where hosts reach this node, said at `unix_ms`.
    pub(super) fn say_url(&self, url: Option<RepositoryUrl>, unix_ms: u64) -> UrlWord {
        UrlWord::sign(&self.0, url, unix_ms)
    }

    /// A secret for another purpose, which says nothing about the key; the same for the same key.
    pub(super) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.0.as_bytes())
    }

    fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&PKCS8_PREFIX[..], self.0.as_bytes()].concat())
    }

    fn certified(&self) -> Result<Arc<CertifiedKey>, Error> {
        let signing = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(&self.to_pkcs8()[..]))?;
        let spki = [&SPKI_PREFIX[..], self.public().as_bytes()].concat();
        Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing)))
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportKey(of {})", self.public())
    }
}

/// The server's side: both purposes, any key whose owner proves to have it.
pub fn server_config(key: &TransportKey) -> Result<ServerConfig, Error> {
    let provider = provider();
    let verifier = Arc::new(AnyKey { algorithms: provider.signature_verification_algorithms });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key.certified()?)));
    config.alpn_protocols = vec![Purpose::Member.alpn().to_vec(), Purpose::Join.alpn().to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The client's side for one connection: one purpose, one key to meet.
pub fn client_config(key: &TransportKey, purpose: Purpose, pinned: Arc<PinnedKey>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.certified()?)));
    config.alpn_protocols = vec![purpose.alpn().to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// The node key of a peer, from what it showed in the handshake.
pub fn node_key(shown: &CertificateDer<'_>) -> Option<NodeKey> {
    let bytes: [u8; 32] = shown.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    // A key of small order has signatures that anyone can make.
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    (!key.is_weak()).then_some(NodeKey(bytes))
}

/// AES-128-GCM first: with the processors' own AES it costs the least per byte.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
        aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
        aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

fn require_raw_key(shown: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<NodeKey, Error> {
    let key = if others.is_empty() { node_key(shown) } else { None };
    key.ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn verify_possession(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(&shown[..]), signed, algorithms)
}

fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
}

#[derive(Debug)]
struct AnyKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        require_raw_key(shown, others).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The one key that a client accepts, for one connection; remembers another that was shown.
#[derive(Debug)]
pub struct PinnedKey {
    expected: NodeKey,
    met_instead: OnceLock<NodeKey>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedKey {
    /// Accepts `expected` and nothing else.
    pub fn new(expected: NodeKey) -> Arc<Self> {
        let algorithms = provider().signature_verification_algorithms;
        Arc::new(Self { expected, met_instead: OnceLock::new(), algorithms })
    }

    /// The key that the peer showed, if it was another one. Unproven: the handshake ended there.
    pub fn met_instead(&self) -> Option<NodeKey> {
        self.met_instead.get().copied()
    }
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = require_raw_key(shown, others)?;
        if key == self.expected {
            return Ok(ServerCertVerified::assertion());
        }
        self.met_instead.get_or_init(|| key);
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _shown: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_possession(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConnection, HandshakeKind, ServerConnection};

    fn key(seed: u8) -> TransportKey {
        TransportKey::generate([seed; 32])
    }

    /// Carries bytes both ways until nobody has any; an error is the side's that failed first.
    fn shake_hands(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), Error> {
        let name = ServerName::try_from("peer.invalid").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name)?;
        let mut server = ServerConnection::new(Arc::new(server))?;
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            while !bytes.is_empty() {
                let read = server.read_tls(&mut &bytes[..]).unwrap();
                bytes.drain(..read);
                server.process_new_packets()?;
            }
            server.write_tls(&mut bytes).unwrap();
            while !bytes.is_empty() {
                let read = client.read_tls(&mut &bytes[..]).unwrap();
                bytes.drain(..read);
                client.process_new_packets()?;
            }
        }
        Ok((client, server))
    }

    fn client_of(own: u8, expected: u8, purpose: Purpose) -> ClientConfig {
        client_config(&key(own), purpose, PinnedKey::new(key(expected).public())).unwrap()
    }

    #[test]
    fn both_sides_know_each_other_by_key_and_speak_aes_128() {
        let (client, server) = shake_hands(client_of(1, 2, Purpose::Join), server_config(&key(2)).unwrap()).unwrap();
        assert_eq!(node_key(&server.peer_certificates().unwrap()[0]), Some(key(1).public()));
        assert_eq!(node_key(&client.peer_certificates().unwrap()[0]), Some(key(2).public()));
        assert_eq!(server.alpn_protocol().and_then(Purpose::from_alpn), Some(Purpose::Join));
        let suite = server.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    }

    #[test]
    fn a_client_refuses_another_key_and_says_which_it_met() {
        let pinned = PinnedKey::new(key(3).public());
        let client = client_config(&key(1), Purpose::Member, pinned.clone()).unwrap();
        assert!(shake_hands(client, server_config(&key(2)).unwrap()).is_err());
        assert_eq!(pinned.met_instead(), Some(key(2).public()));
    }

    #[test]
    fn a_client_that_would_resume_gets_no_ticket_and_every_handshake_is_full() {
        let mut config = client_of(1, 2, Purpose::Member);
        config.resumption = Resumption::in_memory_sessions(8);
        config.enable_early_data = true;
        for _ in 0..2 {
            let (client, server) = shake_hands(config.clone(), server_config(&key(2)).unwrap()).unwrap();
            assert_eq!(client.tls13_tickets_received(), 0);
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        }
    }

    #[test]
    fn a_server_that_gives_tickets_finds_no_client_that_uses_them() {
        let mut config = server_config(&key(2)).unwrap();
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
        config.send_tls13_tickets = 2;
        let client = client_of(1, 2, Purpose::Member);
        for _ in 0..2 {
            let (client, server) = shake_hands(client.clone(), config.clone()).unwrap();
            assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        }
    }

    #[test]
    fn a_client_without_a_key_is_refused() {
        let anonymous = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(PinnedKey::new(key(2).public()))
            .with_no_client_auth();
        assert!(shake_hands(anonymous, server_config(&key(2)).unwrap()).is_err());
    }

    #[test]
    fn a_client_that_shows_a_key_without_having_it_is_refused() {
        let mut client = client_of(1, 2, Purpose::Member);
        let stolen = key(7).certified().unwrap().cert.clone();
        let own = key(1).certified().unwrap().key.clone();
        let forged = Arc::new(CertifiedKey::new(stolen, own));
        client.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(forged));
        assert!(shake_hands(client, server_config(&key(2)).unwrap()).is_err());
    }

    #[test]
    fn only_an_ed25519_key_of_full_order_names_a_node() {
        let spki = |key: &[u8]| CertificateDer::from([&SPKI_PREFIX[..], key].concat());
        let good = key(1).public();
        assert_eq!(node_key(&spki(good.as_bytes())), Some(good));
        let mut identity = [0; 32];
        identity[0] = 1;
        for wrong in [spki(&identity), spki(&good.0[..31]), spki(&[&good.0[..], &[0]].concat()), good.0.to_vec().into()]
        {
            assert_eq!(node_key(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_key_file_reads_back_and_others_are_refused_for_their_reason() {
        let pem = key(5).to_pem();
        assert_eq!(TransportKey::from_pem(&pem).unwrap().public(), key(5).public());
        assert!(matches!(TransportKey::from_pem(b"hello"), Err(LoadKeyError::NotPem)));
        assert!(matches!(TransportKey::from_pem(&[b' '; 5000]), Err(LoadKeyError::TooLarge)));
        let cut = String::from_utf8(pem.to_vec()).unwrap().replacen("MC4", "MC5", 1);
        assert!(matches!(TransportKey::from_pem(cut.as_bytes()), Err(LoadKeyError::NotEd25519)));
    }

    #[test]
    fn a_key_is_never_printed() {
        assert_eq!(format!("{:?}", key(5)), format!("TransportKey(of {})", key(5).public()));
    }
}
