//! Backup files: a stranger's, a damaged one, one that claims too much.

use wuasync::domain::{backup::BackupFile, state::LineSigner};

/// A backup file. Its seal is left alone: what it may cost is bounded, and still too much for thousands of inputs.
pub fn backups(data: &[u8]) {
    let Ok(file) = BackupFile::decode(data) else { return };
    let bytes = file.encode().expect("what was read can be written");
    assert!(bytes.len() <= data.len(), "a backup grew");
    assert_eq!(BackupFile::decode(&bytes).expect("what was written can be read"), file);
    let line = LineSigner::from_secret(&[42; 32]).line();
    if let Some(state) = &file.header.signed {
        assert!(state.verify(&line).is_err(), "nobody signed that");
    }
}
