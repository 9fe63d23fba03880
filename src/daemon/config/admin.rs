//! `[admin]`: API, metrics and health over TCP, for reading.

use super::{keys::Keys, read};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};

/// Where the daemon can be watched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Admin {
    /// Port 0 is any free one; empty is none.
    pub listen: Vec<SocketAddr>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8443))] }
    }
}

impl Admin {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        Self { listen: keys.value("listen", read::list(read::address), Self::default().listen) }
    }
}
