//! Staging, publishing and trash under power cuts and on awkward mounts, on the simulated disk.

use super::{
    disk::{
        Disk, Open, Replace, SharedDisk,
        simulated::{EIO, ENOSPC, Lost, SimulatedDisk},
    },
    download::{DownloadKey, Origin, Shas},
    layout,
    outboards::Outboards,
    partial::Partial,
    segment::{SegmentDecoder, SegmentEncoder},
    staging::{OpenStagingError, Staged, Staging},
    tree::tests::{blob, outboard_of},
    walk::Walked,
};
use crate::domain::name::{FileName, FolderName};
use std::{io, path::Path, sync::Arc};

const FOLDER: &str = "/srv/www/waptwua";

fn shared(disk: &SimulatedDisk) -> SharedDisk {
    Arc::new(disk.clone())
}

fn open(disk: &SimulatedDisk, place: Option<&str>) -> Result<Staging, OpenStagingError> {
    let waptwua = FolderName::new("waptwua").unwrap();
    Staging::open(shared(disk), Path::new(FOLDER), &waptwua, place.map(Path::new))
}

fn folder_on_one_mount() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    disk.open_root(Path::new(FOLDER), true).unwrap();
    disk
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

/// Every mirrored file of the folder with its bytes.
fn files(staging: &Staging) -> Vec<(String, Vec<u8>)> {
    let mut names = Vec::new();
    staging
        .walk(&mut |walked| match walked {
            Walked::File(name, stat) => names.push((name, stat.size)),
            Walked::Refused { name, why } => panic!("{name}: {why}"),
        })
        .unwrap();
    let read = |(name, size): (FileName, u64)| {
        let mut bytes = vec![0; size as usize];
        staging.open_file(&name).unwrap().read_exact_at(&mut bytes, 0).unwrap();
        (name.into(), bytes)
    };
    names.into_iter().map(read).collect()
}

/// The order that rows rely on.
fn publish_durably(staging: &Staging, bytes: &[u8], names: &[FileName]) -> io::Result<()> {
    let staged: Vec<Staged> = names.iter().map(|_| staging.stage_bytes(bytes, 1_000)).collect::<io::Result<_>>()?;
    staging.sync_staged(&staged.iter().collect::<Vec<_>>())?;
    for (staged, name) in staged.iter().zip(names) {
        staging.publish(staged, name, Replace::Yes)?;
    }
    staging.sync_published(names)
}

/// Does `work` over and over, the power failing at each operation that matters in turn and in several
/// ways, and looks at every disk that is left.
fn at_every_power_cut(
    prepare: impl Fn() -> SimulatedDisk,
    work: impl Fn(&SimulatedDisk) -> io::Result<()>,
    look: impl Fn(&SimulatedDisk, bool),
) {
    let whole = prepare();
    let before = whole.log().len();
    work(&whole).unwrap();
    let cuts: Vec<_> = whole.changes().into_iter().filter(|change| *change >= before).collect();
    assert!(!cuts.is_empty());
    for cut in cuts.into_iter().chain([usize::MAX]) {
        let disk = prepare();
        disk.fail_from(cut, EIO);
        let done = work(&disk).is_ok();
        for lost in [Lost::Nothing, Lost::Everything].into_iter().chain((0..8).map(Lost::Random)) {
            look(&disk.crash(lost), done);
        }
    }
}

#[test]
fn only_whole_files_are_at_final_names_after_any_power_cut() {
    for count in [1, 3, 12] {
        let names: Vec<_> = (0..count).map(|n| name(&format!("{}/f{n}", n % 3))).collect();
        let (old, new) = (blob(1, 10_000), blob(2, 20_000));
        let prepare = || {
            let disk = folder_on_one_mount();
            publish_durably(&open(&disk, None).unwrap(), &old, &names[..1]).unwrap();
            disk
        };
        let work = |disk: &SimulatedDisk| {
            let staging = open(disk, None).map_err(io::Error::other)?;
            publish_durably(&staging, &new, &names)
        };
        at_every_power_cut(prepare, work, |left, done| {
            let found = files(&open(left, None).unwrap());
            assert!(found.iter().all(|(_, bytes)| *bytes == new || *bytes == old));
            assert!(found.iter().any(|(file, _)| file == names[0].as_str()), "the replaced file is gone");
            if done {
                assert_eq!(found.len(), count);
                assert!(found.iter().all(|(_, bytes)| *bytes == new));
            }
        });
    }
}

#[test]
fn what_a_power_cut_left_in_incoming_is_swept_and_in_nobodys_way() {
    let work = |disk: &SimulatedDisk| {
        let staging = open(disk, None).map_err(io::Error::other)?;
        publish_durably(&staging, b"bytes", &[name("a"), name("b")])
    };
    at_every_power_cut(folder_on_one_mount, work, |left, _| {
        let staging = open(left, None).unwrap();
        staging.sweep_incoming().unwrap();
        publish_durably(&staging, b"again", &[name("a"), name("c")]).unwrap();
        let stage = left.open_root(Path::new("/srv/www/.wuasync/waptwua"), false).unwrap();
        left.list(stage.at(layout::INCOMING), &mut |name, _| panic!("{name:?}")).unwrap();
    });
}

#[test]
fn a_trashed_file_is_never_in_two_places_after_a_power_cut() {
    let prepare = || {
        let disk = folder_on_one_mount();
        let staging = open(&disk, None).unwrap();
        publish_durably(&staging, b"12345", &[name("sub/f")]).unwrap();
        let stage = disk.open_root(Path::new("/srv/www/.wuasync/waptwua"), false).unwrap();
        disk.sync_all(stage).unwrap();
        disk
    };
    let work = |disk: &SimulatedDisk| {
        let staging = open(disk, None).map_err(io::Error::other)?;
        staging.trash(&name("sub/f"), 77).map(drop)
    };
    at_every_power_cut(prepare, work, |left, _| {
        let staging = open(left, None).unwrap();
        let here = files(&staging).len() as u64;
        assert!(here + staging.trash_usage().unwrap().files <= 1);
    });
}

#[test]
fn a_partial_keeps_only_what_proves_itself_after_any_power_cut() {
    let data = blob(3, 300_000);
    let (outboard, root) = outboard_of(&data);
    let fetch = |partial: &Partial| {
        let mut encoder =
            SegmentEncoder::new(300_000, 0..300_000, Arc::new(data.clone()), Some(Arc::new(outboard.clone())));
        let mut decoder = SegmentDecoder::new(root, 300_000, 0..300_000);
        let mut sink = partial;
        while let Some(batch) = encoder.next_batch(1).unwrap() {
            decoder.feed(&batch, &mut sink).map_err(io::Error::other)?;
        }
        io::Result::Ok(())
    };
    let outboards = |disk: &SimulatedDisk| {
        let state = disk.open_root(Path::new("/var/lib/wuasync"), true)?;
        Outboards::open(shared(disk), state)
    };
    let work = |disk: &SimulatedDisk| {
        let staging = open(disk, None).map_err(io::Error::other)?;
        let partial = Partial::open(&staging, root, 300_000)?;
        fetch(&partial)?;
        let staged = partial.finish(7, &outboards(disk)?)?;
        staging.sync_staged(&[&staged])?;
        staging.publish(&staged, &name("f"), Replace::Yes)?;
        staging.sync_published(&[name("f")])
    };
    at_every_power_cut(folder_on_one_mount, work, |left, done| {
        let staging = open(left, None).unwrap();
        let found = files(&staging);
        assert!(found.iter().all(|(_, bytes)| *bytes == data) && (found.len() == 1 || !done));
        let partial = Partial::open(&staging, root, 300_000).unwrap();
        for range in partial.valid_ranges().unwrap() {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            partial.data().read_exact_at(&mut bytes, range.start).unwrap();
            assert_eq!(bytes, data[range.start as usize..range.end as usize]);
        }
        fetch(&partial).unwrap();
        partial.finish(7, &outboards(left).unwrap()).unwrap();
    });
}

#[test]
fn a_download_goes_on_only_with_bytes_that_prove_themselves_after_any_power_cut() {
    let (old, new) = (blob(4, 400_000), blob(5, 400_000));
    let key = DownloadKey::of(&name("f"));
    let begin = |disk: &SimulatedDisk, modified| {
        let staging = open(disk, None).map_err(io::Error::other)?;
        staging.downloads().begin(key, Origin { size: 400_000, modified: Some(modified) }, Shas::Both)
    };
    let outboards = |disk: &SimulatedDisk| {
        let state = disk.open_root(Path::new("/var/lib/wuasync"), true)?;
        Outboards::open(shared(disk), state)
    };
    let prepare = || {
        let disk = folder_on_one_mount();
        begin(&disk, 1).unwrap().write_at(0, &old[..300_000]).unwrap();
        let stage = disk.open_root(Path::new("/srv/www/.wuasync/waptwua"), false).unwrap();
        disk.sync_all(stage).unwrap();
        disk
    };
    let work = |disk: &SimulatedDisk| {
        let mut download = begin(disk, 2)?;
        for at in [0, 250_000, 100_000] {
            download.write_at(at as u64, &new[at..at + 150_000])?;
        }
        download.catch_up()?;
        let (staging, staged) = (open(disk, None).map_err(io::Error::other)?, download.finish(7, &outboards(disk)?)?);
        staging.sync_staged(&[&staged])?;
        staging.publish(&staged, &name("f"), Replace::Yes)?;
        staging.sync_published(&[name("f")])
    };
    at_every_power_cut(prepare, work, |left, done| {
        let staging = open(left, None).unwrap();
        let found = files(&staging);
        assert!(found.iter().all(|(_, bytes)| *bytes == new) && (found.len() == 1 || !done));
        let Some(mut download) = staging.downloads().take_up(key, Shas::Both).unwrap() else { return };
        let data = if download.origin().modified == Some(1) { &old } else { &new };
        let mut bytes = vec![0; download.arrived() as usize];
        download.data().read_exact_at(&mut bytes, 0).unwrap();
        assert!(data.starts_with(&bytes), "bytes that never arrived");
        download.write_at(bytes.len() as u64, &data[bytes.len()..]).unwrap();
        assert_eq!(download.digests().unwrap().root, blake3::hash(data).into());
        download.finish(7, &outboards(left).unwrap()).unwrap();
    });
}

#[test]
fn a_full_disk_leaves_nothing_half_written_in_staging() {
    let disk = folder_on_one_mount();
    let staging = open(&disk, None).unwrap();
    // The file is created, and then its bytes find no room.
    disk.fail_at(disk.log().len() + 1, ENOSPC);
    assert_eq!(staging.stage_bytes(b"bytes", 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let stage = disk.open_root(Path::new("/srv/www/.wuasync/waptwua"), false).unwrap();
    disk.list(stage.at(layout::INCOMING), &mut |name, _| panic!("{name:?}")).unwrap();
}

#[test]
fn a_folder_that_is_a_mount_point_has_its_staging_inside() {
    let disk = SimulatedDisk::new();
    disk.mount(Path::new(FOLDER));
    let staging = open(&disk, None).unwrap();
    publish_durably(&staging, b"x", &[name("f")]).unwrap();
    assert!(disk.open_root(Path::new("/srv/www/waptwua/.stfolder/wuasync/incoming"), false).is_ok());
    assert!(disk.open_root(Path::new("/srv/www/.wuasync"), false).is_err());
    assert_eq!(files(&staging).len(), 1);
}

#[test]
fn staging_that_turns_out_to_be_on_another_mount_moves_inside() {
    let disk = folder_on_one_mount();
    disk.mount(Path::new("/srv/www/.wuasync"));
    open(&disk, None).unwrap();
    assert!(disk.open_root(Path::new("/srv/www/waptwua/.stfolder/wuasync/incoming"), false).is_ok());
}

#[test]
fn configured_staging_on_another_mount_is_refused_with_the_cure() {
    let disk = folder_on_one_mount();
    disk.mount(Path::new("/mnt/other"));
    let refused = open(&disk, Some("/mnt/other")).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "staging /mnt/other/waptwua is on another mount than /srv/www/waptwua: \
         set the folder's `staging` to a directory beside it"
    );
    assert!(disk.open_root(Path::new("/mnt/other/waptwua"), false).is_err(), "nothing is left over");
}

#[test]
fn a_directory_that_refuses_writing_is_named() {
    const EACCES: i32 = 13;
    let probe = folder_on_one_mount();
    open(&probe, None).unwrap();
    let number = |prefix: &str| probe.log().iter().position(|line| line.starts_with(prefix)).unwrap();
    for (prefix, named) in [("open Create", "/srv/www/.wuasync/waptwua"), ("rename", FOLDER)] {
        let disk = folder_on_one_mount();
        disk.fail_at(number(prefix), EACCES);
        let refused = open(&disk, None).err().unwrap();
        assert!(
            matches!(&refused, OpenStagingError::NotWritable { path, .. } if path == Path::new(named)),
            "{refused}"
        );
        assert!(
            disk.open_root(Path::new(FOLDER), false)
                .is_ok_and(|root| { disk.open(root.at(layout::PROBE), Open::Read).is_err() })
        );
    }
}
