//! What a relative path beneath a root may look like. Pure.

use std::io;

/// Refuses paths that could mean anything but a place beneath the root; empty is the root itself.
pub(super) fn check(path: &str) -> io::Result<()> {
    let plain = |component: &str| !matches!(component, "" | "." | "..") && !component.contains('\0');
    if path.is_empty() || path.split('/').all(plain) { Ok(()) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Splits off the last component; the parent is empty for a name at the top.
pub(super) fn split(path: &str) -> io::Result<(&str, &str)> {
    check(path)?;
    match path.rsplit_once('/') {
        Some(parts) => Ok(parts),
        None if path.is_empty() => Err(io::ErrorKind::InvalidInput.into()),
        None => Ok(("", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_root_are_refused() {
        for path in ["/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check("").is_ok());
        assert!(split("").is_err());
    }

    #[test]
    fn a_name_at_the_top_has_an_empty_parent() {
        assert_eq!(split("a").unwrap(), ("", "a"));
        assert_eq!(split("a/b/.c").unwrap(), ("a/b", ".c"));
    }
}
