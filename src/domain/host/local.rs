//! Where one update stands on one host.

use crate::domain::update::UpdateId;
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32};

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal,)*) => {
        /// What an agent says of one update, one bit each. A stored value: bits keep their meaning, and unknown ones
        /// are carried along.
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct LocalFlags(u8);

        impl LocalFlags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*
            const NAMES: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

flags! {
    /// Installed for everything that it applies to (`IsInstalled`).
    INSTALLED = 0,
    /// Installed for something that it applies to (`IsPresent`).
    PRESENT = 1,
    /// Hidden by Windows or by its user (`IsHidden`).
    HIDDEN = 2,
    /// Its files are on the host (`IsDownloaded`).
    DOWNLOADED = 3,
    /// Held back by the host's own `install_delay`.
    DELAYED = 4,
    /// The host's own rules allow it.
    ALLOWED = 5,
    /// The host's own rules do not allow it.
    NOT_ALLOWED = 6,
}

impl LocalFlags {
    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, and `other` where `is_set`.
    #[must_use]
    pub const fn with_if(self, other: Self, is_set: bool) -> Self {
        if is_set { self.with(other) } else { self }
    }

    /// Whether all of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What the host's own rules say; `None` where it did not tell.
    pub const fn allowed(self) -> Option<bool> {
        match (self.has(Self::ALLOWED), self.has(Self::NOT_ALLOWED)) {
            (_, true) => Some(false),
            (true, false) => Some(true),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for LocalFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Self::NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| name);
        f.debug_set().entries(set).finish()
    }
}

/// One update on one host, in 28 bytes. A stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalUpdate {
    /// Which update.
    pub id: UpdateId,
    /// What the agent says of it.
    pub flags: LocalFlags,
    /// When it was installed, in seconds since 1970 UTC, where the agent knows.
    pub installed_at: Option<NonZeroU32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_one_keeps_its_bytes() {
        let id: UpdateId = "0fa1201d-4330-4fa8-8ae9-b877473b6441_204".parse().unwrap();
        let flags = LocalFlags::INSTALLED.with(LocalFlags::NOT_ALLOWED);
        let stored = postcard::to_stdvec(&LocalUpdate { id, flags, installed_at: NonZeroU32::new(128) }).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&stored), "0fa1201d43304fa88ae9b877473b6441cc0141018001");
        assert_eq!(size_of::<LocalUpdate>(), 28);
    }

    #[test]
    fn what_a_host_did_not_say_is_neither_yes_nor_no() {
        let allowed = |flags: LocalFlags| flags.allowed();
        assert_eq!(allowed(LocalFlags::HIDDEN), None);
        assert_eq!(allowed(LocalFlags::ALLOWED), Some(true));
        assert_eq!(allowed(LocalFlags::ALLOWED.with(LocalFlags::NOT_ALLOWED)), Some(false), "no wins");
    }
}
