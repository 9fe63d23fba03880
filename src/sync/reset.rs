//! How a node that was restarted tells its peers so: a packet of a connection that it knows nothing of is
//! answered by a stateless reset, and the peer connects anew at once instead of after 30 s of silence.
//!
//! Both secrets follow from the transport key, so that they survive the restart.

use super::tls::TransportKey;
use quinn::{
    EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use quinn_proto::HashedConnectionIdGenerator;
use std::sync::Arc;

const RESET_CONTEXT: &str = "wuasync quic stateless reset v1";
const CONNECTION_ID_CONTEXT: &str = "wuasync quic connection ids v1";

/// The configuration of an endpoint that is recognized after a restart.
/// `payload` is the most bytes that a packet to it may have.
pub(super) fn endpoint_config(key: &TransportKey, payload: u16) -> EndpointConfig {
    let [a, b, c, d, e, f, g, h, ..] = key.derive(CONNECTION_ID_CONTEXT);
    let ids = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut config = EndpointConfig::new(Arc::new(ResetKey(key.derive(RESET_CONTEXT))));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    // Refused only below QUIC's least, 1,200.
    let _ = config.max_udp_payload_size(payload);
    config
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = blake3::keyed_hash(&self.0, data);
        let length = signature_out.len().min(blake3::OUT_LEN);
        signature_out[..length].copy_from_slice(&signature.as_bytes()[..length]);
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature = blake3::Hash::from_slice(signature).map_err(|_| CryptoError)?;
        if blake3::keyed_hash(&self.0, data) == signature { Ok(()) } else { Err(CryptoError) }
    }
}
