//! Power cuts at a secondary while it brings what a host waits for.

use super::*;
use crate::{
    repository::Arrival,
    store::download::{Download, DownloadKey, Origin, Shas},
};

const LARGE: usize = 400_000;
const STEP: usize = 90_000;

/// Brings a file as a flight does: bytes before anybody has signed what they are, then the signed state, then
/// the name.
fn fly(main: &Repository, child: &Repository, text: &str, bytes: &[u8]) -> Done {
    let (downloads, key) = (child.staging(&folder())?.downloads(), DownloadKey::of(&name(text)));
    let origin = Origin { size: bytes.len() as u64, modified: Some(1_600_000_000) };
    let mut download = match downloads.take_up(key, Shas::Neither)? {
        Some(download) => download,
        None => downloads.begin(key, origin, Shas::Neither)?,
    };
    is_right(&download, bytes);
    for at in (download.arrived() as usize..bytes.len()).step_by(STEP) {
        download.write_at(at as u64, &bytes[at..bytes.len().min(at + STEP)])?;
    }
    let digests = download.digests().ok_or("all bytes are here")?;
    follow(main, child)?;
    let wanted = child.missing_after(&folder(), None, 9)?.into_iter().find(|(missing, _)| missing.as_str() == text);
    let Some((name, wanted)) = wanted else { return Ok(download.discard()?) };
    assert_eq!(digests.root, wanted.root);
    let staged = download.finish(wanted.modified, &child.state().outboards)?;
    Ok(child.receive(vec![Arrival { folder: folder(), name, wanted, staged }])?)
}

/// What is taken up is what was written.
fn is_right(download: &Download, bytes: &[u8]) {
    let mut here = vec![0; download.arrived() as usize];
    download.data().read_exact_at(&mut here, 0).unwrap();
    assert!(bytes.starts_with(&here), "{} bytes are taken up, and wrong", here.len());
}

#[test]
fn what_arrives_before_it_is_signed_is_whole_and_held_or_goes_on_from_what_proves_itself_after_any_power_cut() {
    let large: Vec<u8> = (0..LARGE).map(|at| (at / 7) as u8).collect();
    let kb = immutable("kb", &large);
    let (main, main_disk, child_disk) = pair(&[("kept", b"kept")]);
    write(&main_disk, &kb, &large);
    adopt(&main, &[&kb]).unwrap();
    let work = |disk: &SimulatedDisk| fly(&main, &open(disk, Role::Secondary)?, &kb, &large);
    at_every_power_cut(&child_disk, Role::Secondary, work, |_, child, done| {
        let files = files_of(child, &[b"kept", &large]);
        let is_held = testing::is_held(child, &kb);
        assert!(is_held || !done, "it was answered");
        assert!(!is_held || files.contains_key(&kb));
        follow(&main, child).unwrap();
        for (name, wanted) in child.missing_after(&folder(), None, 9).unwrap() {
            // It lies there whole where only the row was lost.
            child.obtain_locally(&folder(), &name, &wanted).unwrap();
        }
        fly(&main, child, &kb, &large).unwrap();
        assert_eq!(files_of(child, &[b"kept", &large]).len(), 2);
        assert!(testing::is_held(child, &kb));
        child.sweep_unasked(&Default::default()).unwrap();
        let taken = child.staging(&folder()).unwrap().downloads().take_up(DownloadKey::of(&name(&kb)), Shas::Neither);
        assert!(taken.unwrap().is_none(), "nothing is left behind");
    });
}

#[test]
fn what_a_host_asked_for_in_vain_stays_once_it_was_answered_after_any_power_cut() {
    let prepared = disk_with(&[]);
    drop(open(&prepared, Role::Secondary).unwrap());
    let note = |disk: &SimulatedDisk| -> Result<Repository, Box<dyn Error>> {
        let child = open(disk, Role::Secondary)?;
        child.note_ask(&folder(), &name("kb"))?;
        Ok(child)
    };
    let asks = |child: &Repository| child.asks(9).unwrap().len();
    at_every_power_cut(
        &prepared,
        Role::Secondary,
        |disk| note(disk).map(drop),
        |_, child, done| {
            assert!(asks(child) == 1 || !done);
        },
    );
    let drop_it = |disk: &SimulatedDisk| -> Done { Ok(note(disk)?.drop_ask(&folder(), &name("kb"))?) };
    at_every_power_cut(&prepared, Role::Secondary, drop_it, |_, child, done| {
        assert!(asks(child) == 0 || !done);
    });
}
