//! In which order files that speak of each other take their names on a secondary. Pure.
//!
//! A list of packages speaks of files beside it: they come first, then the list, and what only the list before
//! named goes last. An edition and its sidecar are one pair: both change in one step.

use crate::{
    domain::{edition::is_edition, name::FileName},
    wapt::packages,
};
use std::{collections::BTreeSet, time::Duration};

/// A pair of which only one half comes, or whose halves do not fit, is waited for this long: a main writes both
/// within seconds.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a file is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing.
    Alone,
    /// It names other files.
    List,
    /// It is half of an edition.
    Edition,
}

/// What a file of this name is to others.
pub(super) fn part_of(name: &FileName) -> Part {
    match name.as_str() {
        packages::LIST => Part::List,
        _ if is_edition(name) => Part::Edition,
        _ => Part::Alone,
    }
}

/// How one half of a pair stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// The index names none.
    Unnamed,
    /// What is held is what the index names.
    Held,
    /// What the index names has arrived.
    Arrived,
    /// It has not.
    Coming,
}

/// Whether what has arrived of a pair takes its name. `waited` is the time since its first half arrived.
pub(super) fn pair_changes<E>(
    halves: [Half; 2],
    waited: Duration,
    fits: impl FnOnce() -> Result<bool, E>,
) -> Result<bool, E> {
    if !halves.contains(&Half::Arrived) {
        return Ok(false);
    }
    if halves.contains(&Half::Unnamed) || waited >= PATIENCE {
        return Ok(true);
    }
    if halves.contains(&Half::Coming) { Ok(false) } else { fits() }
}

/// Whether a sidecar's text is a SHA-1, written in hexadecimal digits before anything else.
pub(super) fn tells(sidecar: &[u8], sha1: &str) -> bool {
    let text = String::from_utf8_lossy(sidecar);
    text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(sha1))
}

/// The first file that a list names and that is not here.
pub(super) fn first_lacking<E>(
    named: &BTreeSet<String>,
    mut is_here: impl FnMut(&str) -> Result<bool, E>,
) -> Result<Option<&String>, E> {
    for name in named {
        if !is_here(name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn a_list_and_an_edition_are_at_the_top_of_their_folders() {
        for (name, part) in [
            ("Packages", Part::List),
            ("sub/Packages", Part::Alone),
            ("packages", Part::Alone),
            ("wsusscn2.cab", Part::Edition),
            ("wsusscn2.cab.sha1", Part::Edition),
            ("sub/wsusscn2.cab", Part::Alone),
            ("a.wapt", Part::Alone),
        ] {
            assert_eq!(part_of(&FileName::new(name).unwrap()), part, "{name}");
        }
    }

    #[test]
    fn a_pair_changes_when_both_halves_fit_or_there_is_but_one_or_after_a_while() {
        use Half::{Arrived, Coming, Held, Unnamed};
        let changes = |halves, waited, fits| {
            pair_changes(halves, Duration::from_secs(waited), || Ok::<_, Infallible>(fits)).unwrap()
        };
        for (halves, waited, fits, expected) in [
            ([Arrived, Arrived], 0, true, true),
            ([Arrived, Arrived], 0, false, false),
            ([Arrived, Arrived], 600, false, true),
            ([Arrived, Held], 0, true, true),
            ([Held, Arrived], 0, false, false),
            ([Arrived, Coming], 599, true, false),
            ([Coming, Arrived], 600, true, true),
            ([Arrived, Unnamed], 0, false, true),
            ([Held, Held], 900, true, false),
            ([Coming, Held], 900, true, false),
        ] {
            assert_eq!(changes(halves, waited, fits), expected, "{halves:?} {waited} {fits}");
        }
    }

    #[test]
    fn a_sidecar_has_the_digits_first_and_in_either_case() {
        let sha1 = "ab00000000000000000000000000000000000001";
        assert!(tells(b"AB00000000000000000000000000000000000001", sha1));
        assert!(tells(b"ab00000000000000000000000000000000000001  wsusscn2.cab\n", sha1));
        assert!(!tells(b"", sha1) && !tells(b"x ab00000000000000000000000000000000000001", sha1));
    }

    #[test]
    fn the_first_file_that_is_lacking_is_named() {
        let named = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
        let lacking = |here: &[&str]| first_lacking(&named, |name| Ok::<_, Infallible>(here.contains(&name))).unwrap();
        assert_eq!(lacking(&["a", "c"]), Some(&"b".to_owned()));
        assert_eq!(lacking(&["a", "b", "c", "d"]), None);
    }
}
