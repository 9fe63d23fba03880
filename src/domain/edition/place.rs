//! Where an edition lies, as WAPT's agents know it.

use crate::domain::name::FileName;

/// The edition itself.
pub const CABINET: &str = "wsusscn2.cab";
/// Its SHA-1 in hexadecimal digits, which agents compare it with.
pub const SIDECAR: &str = "wsusscn2.cab.sha1";

/// Whether a file is the edition or its sidecar.
pub fn is_edition(name: &FileName) -> bool {
    [CABINET, SIDECAR].contains(&name.as_str())
}
