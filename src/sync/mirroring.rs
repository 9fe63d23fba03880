//! Which missing files a secondary fetches although nobody waits for them. Pure.

use crate::domain::{edition::is_edition, name::FileName};

/// What is fetched of the missing files. What somebody waits for is not bound by it, nor is the edition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirroring {
    /// Only files of which an older content is here; else every one.
    pub only_held: bool,
    /// Whether files may travel at this time of day.
    pub is_open: bool,
}

impl Default for Mirroring {
    /// Everything, always.
    fn default() -> Self {
        Self { only_held: false, is_open: true }
    }
}

impl Mirroring {
    /// Whether a file is fetched; `is_held` if another content of it is here.
    pub(super) fn fetches(self, name: &FileName, is_held: bool) -> bool {
        is_edition(name) || (self.is_open && (is_held || !self.only_held))
    }

    /// Whether a file that is under way goes on.
    pub(super) fn goes_on(self, name: &FileName) -> bool {
        self.is_open || is_edition(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edition_always_comes_and_other_files_by_the_window_and_the_mode() {
        let file = |name: &str| FileName::new(name).unwrap();
        let all = Mirroring::default();
        let (closed, on_miss) = (Mirroring { is_open: false, ..all }, Mirroring { only_held: true, ..all });
        for (mirroring, name, is_held, fetches) in [
            (all, "kb.cab", false, true),
            (closed, "kb.cab", true, false),
            (closed, "wsusscn2.cab", false, true),
            (closed, "wsusscn2.cab.sha1", true, true),
            (closed, "sub/wsusscn2.cab", true, false),
            (on_miss, "kb.cab", false, false),
            (on_miss, "kb.cab", true, true),
            (on_miss, "wsusscn2.cab", false, true),
            (Mirroring { is_open: false, ..on_miss }, "kb.cab", true, false),
        ] {
            assert_eq!(mirroring.fetches(&file(name), is_held), fetches, "{mirroring:?} {name} {is_held}");
        }
        assert!(all.goes_on(&file("kb.cab")) && on_miss.goes_on(&file("kb.cab")));
        assert!(!closed.goes_on(&file("kb.cab")) && closed.goes_on(&file("wsusscn2.cab")));
    }
}
