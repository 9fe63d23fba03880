//! Temporary.
use super::{
    key::NodeKey,
    name::FolderName,
    versioned::{self, VersionedError},
};
use serde::{Deserialize, Serialize};
/// role
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// m
    Main,
    /// s
    Secondary,
}
/// member
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// k
    pub key: NodeKey,
    /// k
    pub name: String,
    /// k
    pub site: String,
    /// k
    pub folders: Vec<FolderName>,
    /// k
    pub addresses: Vec<String>,
    /// k
    pub role: Role,
    /// k
    pub joined_at: u64,
    /// k
    pub expires_at: Option<u64>,
}
impl MemberRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(1, self)
    }
    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        versioned::decode(1, bytes)
    }
}
