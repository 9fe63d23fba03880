//! Power cuts while packages, their list and an edition change at a secondary.

use super::*;
use crate::{
    domain::edition::{CABINET, SIDECAR},
    repository::{Arrival, Found},
};
use sha1::Digest;
use std::collections::BTreeSet;

const FIRST: &[u8] = b"filename : a.wapt\n\nfilename : b.wapt\n";
const SECOND: &[u8] = b"filename : b.wapt\n\nfilename : c.wapt\n";

fn sidecar_of(bytes: &[u8]) -> Vec<u8> {
    data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes)).into_bytes()
}

/// Brings what is missing, one by one in the order of names, as the network may.
fn bring(main: &Repository, child: &Repository) -> Done {
    for (name, wanted) in child.missing_after(&folder(), None, 9)? {
        let blob = main.open_blob(&wanted.root)?.unwrap();
        let bytes = bytes_of(&*blob.data, blob.size);
        let staged = child.staging(&folder())?.stage_bytes(&bytes, wanted.modified)?;
        child.receive_in_order(vec![Arrival { folder: folder(), name, wanted, staged }])?;
    }
    Ok(child.enter_waiting()?)
}

fn found(child: &Repository, text: &str) -> Option<Vec<u8>> {
    match child.find(&folder(), &name(text)).unwrap() {
        Found::Held { file, size, .. } => Some(bytes_of(&*file, size)),
        _ => None,
    }
}

fn named(list: &[u8]) -> BTreeSet<String> {
    crate::wapt::packages::named_files(list).unwrap()
}

/// The list names only what is there, on disk and for hosts; an edition has its own sidecar or none.
fn assert_in_order(child: &Repository, files: &BTreeMap<String, Vec<u8>>) {
    if let Some(list) = files.get("Packages") {
        assert!(named(list).iter().all(|name| files.contains_key(name)), "{files:?}");
    }
    if let Some(list) = found(child, "Packages") {
        assert!(named(&list).iter().all(|name| found(child, name).is_some()));
    }
    if let (Some(cab), Some(sidecar)) = (found(child, CABINET), found(child, SIDECAR)) {
        assert_eq!(sidecar, sidecar_of(&cab));
    }
}

#[test]
fn a_list_names_only_what_is_there_and_an_edition_is_one_pair_after_any_power_cut() {
    let (old, new) = (sidecar_of(b"old"), sidecar_of(b"newer"));
    let files: [(&str, &[u8]); 5] =
        [("Packages", FIRST), ("a.wapt", b"a"), ("b.wapt", b"b"), (CABINET, b"old"), (SIDECAR, &old)];
    let (main, main_disk, child_disk) = pair(&files);
    // One head after the other: packages, list and removal, then the edition.
    let root = main_disk.open_root(Path::new("/srv/www/waptwua"), false).unwrap();
    main_disk.remove(root.at("a.wapt")).unwrap();
    main.remove_gone(&folder(), &[name("a.wapt")]).unwrap();
    let changes: [(&str, &[u8]); 4] = [("c.wapt", b"c"), ("Packages", SECOND), (CABINET, b"newer"), (SIDECAR, &new)];
    changes.iter().for_each(|(name, bytes)| write(&main_disk, name, bytes));
    adopt(&main, &changes.map(|(name, _)| name)).unwrap();
    let ever: [&[u8]; 9] = [FIRST, SECOND, b"a", b"b", b"c", b"old", b"newer", &old, &new];
    let work = |disk: &SimulatedDisk| -> Done {
        let child = open(disk, Role::Secondary)?;
        follow(&main, &child)?;
        bring(&main, &child)
    };
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &ever);
        assert_in_order(child, &files);
        assert!(!done || files["Packages"] == SECOND && !files.contains_key("a.wapt"));
        follow(&main, child).unwrap();
        assert_in_order(child, &files_of(child, &ever));
        bring(&main, child).unwrap();
        let files = files_of(child, &ever);
        assert_in_order(child, &files);
        assert_eq!((files["Packages"].as_slice(), found(child, CABINET)), (SECOND, Some(b"newer".to_vec())));
        assert_eq!((files.len(), found(child, SIDECAR)), (5, Some(new.clone())));
    });
}
