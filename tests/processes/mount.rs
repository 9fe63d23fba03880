//! File systems on loop devices that can lose their power.

#![allow(dead_code, reason = "each test file uses its own part")]

use super::processes::run;
use std::{ffi::OsStr, fs, path::Path, process::Command};

#[derive(Debug, Clone, Copy)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount {
    directory: tempfile::TempDir,
}

/// The smallest that `mkfs.xfs` makes, and what two large files and trash need.
const IMAGE_BYTES: u64 = 400_000_000;

impl Mount {
    pub(crate) fn new(kind: FileSystem) -> Self {
        let directory = tempfile::Builder::new().prefix("wuasync-disk-").tempdir().unwrap();
        let image = directory.path().join("image");
        fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        match kind {
            FileSystem::Ext4 => run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), image.as_os_str()]),
            FileSystem::Xfs => run("mkfs.xfs", &["-q".as_ref(), image.as_os_str()]),
        }
        let mount = Self { directory };
        fs::create_dir(mount.path()).unwrap();
        mount.mount();
        mount
    }

    pub(crate) fn path(&self) -> &'static Path {
        // Leaked: a test has a handful.
        Box::leak(self.directory.path().join("disk").into_boxed_path())
    }

    /// Everything that is not on the medium is gone, and every call fails from here on.
    pub(crate) fn lose_power(&self) {
        run("xfs_io", &["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), self.path().as_os_str()]);
    }

    /// The power is back; nothing may use the file system.
    pub(crate) fn mount_again(&self) {
        run("umount", &[self.path().as_os_str()]);
        self.mount();
    }

    /// What has been written so far is on the medium.
    pub(crate) fn sync(&self) {
        run("sync", &["-f".as_ref(), self.path().as_os_str()]);
    }

    fn mount(&self) {
        let image = self.directory.path().join("image");
        run("mount", &[OsStr::new("-o"), OsStr::new("loop"), image.as_os_str(), self.path().as_os_str()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Also where a failed test left somebody in it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
