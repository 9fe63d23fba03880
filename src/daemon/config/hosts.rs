//! `[hosts]`: where facts of Windows machines come from beside their own reports.

use super::{
    keys::Keys,
    node::Node,
    read::{self, Mistake},
};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// Where facts of hosts come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Hosts {
    /// The local socket of a WAPT server's database.
    pub wapt_socket: WaptSocket,
}

/// The database of a WAPT server on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WaptSocket {
    /// Where Debian's PostgreSQL has it, if there is a WAPT server.
    #[default]
    Auto,
    /// Nothing is read.
    Off,
    /// In this directory.
    At(PathBuf),
}

impl Hosts {
    pub(super) fn read(keys: &mut Keys<'_>) -> Self {
        Self { wapt_socket: keys.value("wapt_socket", wapt_socket, WaptSocket::Auto) }
    }
}

fn wapt_socket(node: &Node) -> Result<WaptSocket, Mistake> {
    match read::text(node)?.as_str() {
        "auto" => Ok(WaptSocket::Auto),
        "" => Ok(WaptSocket::Off),
        path if path.starts_with('/') => Ok(WaptSocket::At(PathBuf::from(path))),
        other => Err(Mistake::at(node, format!("{other:?} is neither \"auto\", \"\" nor the directory of a socket"))),
    }
}

impl Serialize for WaptSocket {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Off => to.serialize_str(""),
            Self::At(path) => to.collect_str(&path.display()),
        }
    }
}
