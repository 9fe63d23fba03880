//! What a backup file says, and how its keys are sealed. Pure: bytes in, values out.
//!
//! One file: a line of text that names the format, a version byte, the length of the header, the header
//! (postcard), the ledger's bytes. Keys are sealed with a passphrase, and the seal covers header and
//! ledger too: a main's backup that somebody changed does not open. A secondary's export has no secrets;
//! what it says is signed by the main.

mod file;
mod seal;

pub use file::{BackupFile, BackupHeader, BackupKind, ReadBackupError};
pub use seal::{Passphrase, Sealed, Secrets, UnsealError};
