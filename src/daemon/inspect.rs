//! What `wuasync config check` looks at beside the text: certificates, folders, staging and state, as
//! the user who asks sees them. Changes nothing.

use super::{
    config::{Config, Folder, Tls},
    node::tls_reloader,
    owner::{own_uid, owner_of, user_name},
    rules::{ini_problem, trust_problem},
    trust::configured_trust,
};
use crate::base::chain::chain;
use rustix::fs::{Access, access};
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Everything that would keep a daemon of this user from starting, with the cure.
pub fn inspect(config: &Config) -> Vec<String> {
    let certificates = config.http.tls.iter().filter_map(of_certificates);
    let folders = config.folders.iter().flat_map(of_folder);
    certificates
        .chain(folders)
        .chain(of_trust(config))
        .chain(of_rules(config))
        .chain(of_state(&config.state_dir))
        .collect()
}

/// Without them every cabinet would be a stranger's.
fn of_trust(config: &Config) -> Option<String> {
    configured_trust(config).err().map(|error| format!("upstream.trust_roots: {}", chain(&error)))
}

/// Rules that would not count, and signers that would not be believed.
fn of_rules(config: &Config) -> Vec<String> {
    let ini = config.rules.ini.as_deref().and_then(ini_problem).map(|what| format!("rules.ini: {what}"));
    ini.into_iter().chain(trust_problem(&config.rules.trusted_certificates)).collect()
}

fn of_certificates(tls: &Tls) -> Option<String> {
    tls_reloader(tls.clone()).err().map(|error| chain(&error))
}

fn of_folder(folder: &Folder) -> Vec<String> {
    let (name, path) = (&folder.name, &folder.path);
    if !path.is_dir() {
        return vec![format!("folder.path: {name}: {} is no directory: make it, or correct `path`", path.display())];
    }
    let mut found = Vec::new();
    if !may(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        found.push(format!("folder.path: {name}: {} is not readable and writable by {}", path.display(), user()));
    }
    // The staging of a mount point is inside it.
    let beside = folder.path.parent().filter(|parent| device(parent) == device(path));
    let beside = beside.map(|parent| parent.join(".wuasync"));
    if let Some(staging) = folder.staging.clone().or(beside) {
        found.extend(of_own("folder.staging", &staging, "750"));
    }
    found
}

fn of_state(state_dir: &Path) -> Vec<String> {
    let owner = owner_of(state_dir).ok().flatten().filter(|owner| *owner != own_uid());
    match owner {
        // Root sees everything; the daemon runs as the owner.
        Some(_) if own_uid() == 0 => Vec::new(),
        Some(owner) => {
            vec![format!("state_dir: {} belongs to {}, not to {}", state_dir.display(), user_name(owner), user())]
        }
        None => of_own("state_dir", state_dir, "700").into_iter().collect(),
    }
}

/// A directory of the daemon's own, which it makes itself where it may.
fn of_own(key: &str, path: &Path, mode: &str) -> Option<String> {
    let there = nearest(path);
    let usable = there.is_dir() && may(&there, Access::WRITE_OK | Access::EXEC_OK);
    let cure = || format!("as root: `install -d -o {} -m {mode} {}`", user(), path.display());
    (!usable).then(|| format!("{key}: {} is not writable by {}; {}", path.display(), user(), cure()))
}

/// The path, or the closest above it that is there.
fn nearest(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn device(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|found| found.dev())
}

fn may(path: &Path, how: Access) -> bool {
    access(path, how).is_ok()
}

fn user() -> String {
    user_name(own_uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_roots_that_are_none_are_named() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root.pem");
        std::fs::write(&root, "x").unwrap();
        let mut config = Config::without_file(&[], "paris").unwrap();
        config.state_dir = place.path().to_owned();
        assert_eq!(of_trust(&config), None);
        config.upstream.trust_roots.push(root);
        let found = of_trust(&config).unwrap();
        assert!(found.ends_with("root.pem: can't be trusted: it holds no certificate"), "{found}");
    }

    #[test]
    fn rules_that_would_not_count_are_named_by_file_and_line() {
        let place = tempfile::tempdir().unwrap();
        let (ini, pem) = (place.path().join("wapt-get.ini"), place.path().join("wapt.pem"));
        let mut config = Config::without_file(&[], "paris").unwrap();
        config.rules.ini = Some(ini.clone());
        assert_eq!(of_rules(&config), Vec::<String>::new(), "a file that is not there says nothing");
        std::fs::write(&ini, "[waptwua]\nallowed_severities = x\nenabled = x\n").unwrap();
        std::fs::write(&pem, "").unwrap();
        config.rules.trusted_certificates.push(pem);
        let found = of_rules(&config);
        assert!(found[0].ends_with("wapt-get.ini, line 3: enabled: \"x\" is neither True nor False"), "{found:?}");
        assert!(found[1].ends_with("wapt.pem: it holds no certificate") && found.len() == 2, "{found:?}");
    }

    #[test]
    fn what_is_in_the_way_is_named_with_its_cure() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(of_own("state_dir", &place.path().join("a/b"), "700"), None);
        let found = of_own("state_dir", &file.join("state"), "700").unwrap();
        assert!(found.starts_with("state_dir: ") && found.contains("`install -d -o "), "{found}");
        let found = of_state(&file);
        assert!(found.len() == 1 && found[0].contains("-m 700"), "{found:?}");
    }
}
