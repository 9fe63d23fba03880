//! Which files a secondary lets go that keeps only what hosts ask for: the least recently asked ones, until the rest
//! fits. Pure.

use crate::domain::name::{FileName, FolderName};

/// A file that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    /// Its length in bytes.
    pub size: u64,
    /// When a host asked for it last, else since when it is here, in seconds since 1970 UTC.
    pub asked_at: u64,
    /// It stays whatever it takes.
    pub stays: bool,
}

/// The files that go so that no more than `most` bytes are held, those first that were asked for the longest ago.
pub fn plan_eviction(mut files: Vec<HeldFile>, most: u64) -> Vec<HeldFile> {
    let mut held: u64 = files.iter().fold(0, |sum, file| sum.saturating_add(file.size));
    files.sort_by(|a, b| (a.asked_at, &a.folder, &a.name).cmp(&(b.asked_at, &b.folder, &b.name)));
    files.retain(|file| {
        let goes = held > most && !file.stays && file.size > 0;
        held -= if goes { file.size } else { 0 };
        goes
    });
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &str, size: u64, asked_at: u64) -> HeldFile {
        let folder = FolderName::new("waptwua").unwrap();
        HeldFile { folder, name: FileName::new(name).unwrap(), size, asked_at, stays: false }
    }

    fn names(files: &[HeldFile]) -> Vec<&str> {
        files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn the_least_recently_asked_go_until_the_rest_fits_and_what_stays_stays() {
        let files = || vec![file("a", 30, 5), file("b", 30, 1), file("c", 30, 3), file("empty", 0, 0)];
        for (most, leaving) in
            [(90, vec![]), (89, vec!["b"]), (60, vec!["b"]), (59, vec!["b", "c"]), (0, vec!["b", "c", "a"])]
        {
            assert_eq!(names(&plan_eviction(files(), most)), leaving, "{most}");
        }
        let mut kept = files();
        kept[1].stays = true;
        assert_eq!(names(&plan_eviction(kept, 60)), ["c"]);
    }

    proptest! {
        #[test]
        fn no_more_goes_than_has_to(
            sizes in prop::collection::vec((0u64..1_000, 0u64..9), 0..30), most in 0u64..10_000,
        ) {
            let held = |(n, (size, at)): (usize, &(u64, u64))| file(&format!("f{n}"), *size, *at);
            let files: Vec<_> = sizes.iter().enumerate().map(held).collect();
            let all: u64 = files.iter().map(|file| file.size).sum();
            let leaving = plan_eviction(files, most);
            let gone: u64 = leaving.iter().map(|file| file.size).sum();
            prop_assert!(all - gone <= most);
            prop_assert!(leaving.last().is_none_or(|last| all - gone + last.size > most));
        }
    }
}
