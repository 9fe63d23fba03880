//! TLS of the hosts' listeners: a server configuration from PEM texts, replaced while it is used.
//!
//! Never opens a file: the caller hands in a closure that reads the texts. Connections that stand keep
//! the configuration that they began with.

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use std::{io, sync::Arc};
use tokio_rustls::TlsAcceptor;

/// The PEM texts that a TLS listener is made of.
#[derive(Clone)]
pub struct PemTexts {
    /// The server's certificate, then the chain to its root.
    pub certificates: Vec<u8>,
    /// The certificate's private key: PKCS#8, SEC1 or PKCS#1.
    pub key: Vec<u8>,
    /// Where given, clients must show a certificate that one of these has signed.
    pub client_ca: Option<Vec<u8>>,
}

/// Reads the texts from wherever they are. May block.
pub type LoadPem = Box<dyn Fn() -> io::Result<PemTexts> + Send + Sync>;

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum ReloadTlsError {
    /// The closure failed.
    #[error("reading the certificates and the key")]
    Read(#[source] io::Error),
    /// A text that is no PEM, or holds nothing of the kind.
    #[error("reading the {what}")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A certificate authority that can't verify anybody.
    #[error("taking over a certificate of the client CA")]
    ClientCa(#[source] rustls::Error),
    /// No verifier can be made of the client CA.
    #[error("making a verifier of the client CA")]
    Verifier(#[from] VerifierBuilderError),
    /// The key does not fit the certificate, or rustls can't use one of them.
    #[error("taking over the certificate and its key")]
    Certificate(#[source] rustls::Error),
}

/// The TLS configuration of a listener, and how to renew it.
pub struct TlsReloader {
    load: LoadPem,
    config: ArcSwap<ServerConfig>,
}

impl TlsReloader {
    /// Loads the first configuration. May block, as `load` does.
    pub fn new(load: LoadPem) -> Result<Self, ReloadTlsError> {
        let config = ArcSwap::new(loaded(&load)?);
        Ok(Self { load, config })
    }

    /// Reads everything again, for the connections that come; on failure the old configuration stays.
    /// May block, as the closure does.
    pub fn reload(&self) -> Result<(), ReloadTlsError> {
        self.config.store(loaded(&self.load)?);
        Ok(())
    }

    /// Shakes hands with the configuration of this moment.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn loaded(load: &LoadPem) -> Result<Arc<ServerConfig>, ReloadTlsError> {
    let texts = load().map_err(ReloadTlsError::Read)?;
    server_config(&texts).map(Arc::new)
}

/// A new session store comes with every configuration, so no resumed session outlives its client CA.
fn server_config(texts: &PemTexts) -> Result<ServerConfig, ReloadTlsError> {
    let chain = certificates("certificate", &texts.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&texts.key)
        .map_err(|source| ReloadTlsError::Pem { what: "private key", source })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(ReloadTlsError::Certificate)?;
    let builder = match &texts.client_ca {
        Some(client_ca) => builder.with_client_cert_verifier(client_verifier(client_ca, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(ReloadTlsError::Certificate)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    client_ca: &[u8],
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ReloadTlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates("client CA", client_ca)? {
        roots.add(root).map_err(ReloadTlsError::ClientCa)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

/// All certificates of a text, at least one.
fn certificates(what: &'static str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ReloadTlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(ReloadTlsError::Pem { what, source: pem::Error::NoItemsFound })
        }
        read => read.map_err(|source| ReloadTlsError::Pem { what, source }),
    }
}
