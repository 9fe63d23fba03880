//! Whose files these are, and whose process this is: for refusals that name the right user.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

/// The user that this process acts as.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of user `uid` on this machine, else its number.
pub(super) fn user_name(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&users, uid).unwrap_or_else(|| uid.to_string())
}

/// The name of group `gid` on this machine, else its number.
pub(super) fn group_name(gid: u32) -> String {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    name_of(&groups, gid).unwrap_or_else(|| gid.to_string())
}

/// The user that `path` belongs to; `None` where nothing is there.
pub(super) fn owner_of(path: &Path) -> io::Result<Option<u32>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.uid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name beside number `uid` in the text of `/etc/passwd`, which `/etc/group` resembles.
fn name_of(users: &str, uid: u32) -> Option<String> {
    let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.find(|fields| fields.get(2).and_then(|number| number.parse().ok()) == Some(uid))?;
    found.first().filter(|name| !name.is_empty()).map(|name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\n:x:7:7\nwapt:x:998:33::/opt/wapt:/bin/false\n";
        assert_eq!((name_of(users, 998).as_deref(), name_of(users, 33), name_of(users, 7)), (Some("wapt"), None, None));
    }

    #[test]
    fn nobody_owns_what_is_not_there() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(owner_of(place.path()).unwrap(), Some(own_uid()));
        assert_eq!(owner_of(&place.path().join("none")).unwrap(), None);
    }
}
