//! `[http]`: the listeners for hosts.

use super::{keys::Keys, read, show, values::url::WebUrl};
use crate::domain::network::IpNetwork;
use serde::Serialize;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// Where and for whom files are served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Http {
    /// Plain HTTP; port 0 is any free one; empty is none.
    pub listen: Vec<SocketAddr>,
    /// Where hosts reach this repository.
    #[serde(serialize_with = "show::optional")]
    pub public_url: Option<WebUrl>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNetwork>,
    /// HTTPS, where it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// HTTPS for hosts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tls {
    /// Where it listens; port 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// PEM: the certificate and its chain.
    pub cert: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: who must have signed a client's certificate; without it clients need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80))],
            public_url: None,
            trusted_proxies: vec![IpNetwork::LOOPBACK_V4, IpNetwork::LOOPBACK_V6],
            tls: None,
        }
    }
}

impl Http {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        let default = Self::default();
        Self {
            listen: keys.value("listen", read::list(read::address), default.listen),
            public_url: keys.value("public_url", read::optional(read::parsed), default.public_url),
            trusted_proxies: keys.value("trusted_proxies", read::list(read::parsed), default.trusted_proxies),
            tls: keys.optional_section("tls", Tls::read),
        }
    }
}

impl Tls {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 443))];
        let listen = keys.value("listen", read::list(read::address), listen);
        let cert = keys.required("cert", read::path);
        let key = keys.required("key", read::path);
        let client_ca = keys.value("client_ca", read::optional(read::path), None);
        Some(Self { listen, cert: cert?, key: key?, client_ca })
    }
}
