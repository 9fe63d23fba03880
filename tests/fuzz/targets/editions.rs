//! Editions of the offline index: their XML, in cabinets without compression or checksums.

use wuasync::{
    base::chain::chain,
    wsusscn::{Edition, Limits, Options, read},
};

/// NUL between the parts: `index.xml`, `package.xml`, then members of the shard, each its name and a line's
/// end before its content.
pub fn editions(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == 0);
    let (index, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let members: Vec<(&[u8], &[u8])> = parts.map(named).collect();
    let shard = cabinet(&members);
    let package = cabinet(&[(b"package.xml", package)]);
    // The shard first: what it tells has to wait for what it tells of.
    let edition = cabinet(&[(b"package2.cab", &shard), (b"package.cab", &package), (b"index.xml", index)]);
    let outcomes = [0, 1].map(|workers| read(&edition[..], &options(workers)));
    match outcomes {
        [Ok(one), Ok(other)] => {
            assert!(one.updates().eq(other.updates()) && one.files().eq(other.files()), "a thread matters");
            hangs_together(&one);
        }
        [Err(one), Err(other)] => assert_eq!(chain(&one), chain(&other)),
        [one, other] => panic!("read or refused: {:?} and {:?}", one.err(), other.err()),
    }
}

fn options(workers: usize) -> Options {
    let limits =
        Limits { max_updates: 64, max_files: 64, max_references: 256, max_text_bytes: 8_192, ..Limits::default() };
    Options { workers, limits, ..Options::default() }
}

fn hangs_together(edition: &Edition) {
    assert!((1..=64).contains(&edition.update_count()) && edition.file_count() <= 256);
    assert!(edition.updates().is_sorted_by(|a, b| a.id < b.id) && edition.files().is_sorted_by(|a, b| a.sha1 < b.sha1));
    for update in edition.updates() {
        for lists in [&update.superseded_by, &update.bundled_by, &update.bundles] {
            assert!(lists.is_sorted_by(|a, b| a < b) && !lists.contains(&update.id));
        }
        assert!(update.superseded_by.iter().all(|id| edition.update(*id).is_some()));
        assert!(update.files.iter().all(|sha1| edition.file(*sha1).is_some()));
        for within in update.bundles.iter().filter_map(|id| edition.update(*id)) {
            assert!(within.bundled_by.contains(&update.id));
            assert!(within.files.iter().all(|sha1| update.files.contains(sha1)));
        }
        let text = serde_json::to_string(&update).expect("JSON of an update");
        assert_eq!(serde_json::from_str(&text).ok(), Some(update));
    }
}

fn named(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
    (&part[..end], part.get(end + 1..).unwrap_or_default())
}

/// One folder, stored, without checksums; names and sizes are as they come.
fn cabinet(members: &[(&[u8], &[u8])]) -> Vec<u8> {
    let (mut files, mut content) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        files.extend((bytes.len() as u32).to_le_bytes());
        files.extend((content.len() as u32).to_le_bytes());
        files.extend([0; 8]);
        files.extend(*name);
        files.push(0);
        content.extend(*bytes);
    }
    let blocks = content.chunks(32 * 1024);
    let (content_at, count) = (44 + files.len(), blocks.len() as u16);
    let end = content_at + content.len() + 8 * blocks.len();
    let mut out = b"MSCF\0\0\0\0".to_vec();
    for word in [end as u32, 0, 44, 0] {
        out.extend(word.to_le_bytes());
    }
    for half in [0x0103, 1, members.len() as u16, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    out.extend((content_at as u32).to_le_bytes());
    out.extend([count.to_le_bytes(), [0; 2]].concat());
    out.extend(files);
    for block in blocks {
        let bytes = (block.len() as u16).to_le_bytes();
        out.extend([[0; 2], [0; 2], bytes, bytes].concat());
        out.extend(block);
    }
    out
}
