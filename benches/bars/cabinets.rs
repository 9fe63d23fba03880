//! A shard of `wsusscn2.cab` as it could be: many small members in one LZX folder.

use crate::{
    Plan,
    editions::cabs::{Cabinet as Made, Folder, Packing, lzx::Lzx},
    meter::median,
    peers,
};
use std::{
    fs::{self, File},
    io::{self, BufRead},
    path::Path,
    process::Command,
    time::Instant,
};
use wuasync::cabinet::{Cabinet, Limits};

/// 12,000 members of about 1 KB, every one read; beside `cabextract -t`.
pub(crate) fn cabinets(plan: &Plan) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("package2.cab");
    let members = shard(plan.scaled(2_000));
    let (count, bytes) = (members.len(), members.iter().map(|(_, content)| content.len()).sum::<usize>());
    let folder = Folder { packing: Packing::Lzx(Lzx::new(21)), members };
    fs::write(&path, Made::new(vec![folder]).to_bytes()).unwrap();
    println!("{count} members with {bytes} bytes in one LZX folder; medians of {} runs", plan.runs);
    let (mut own, mut theirs) = (vec![], vec![]);
    for _ in 0..plan.runs {
        let begun = Instant::now();
        assert_eq!(read(&path).unwrap(), (count, bytes));
        own.push(begun.elapsed().as_secs_f64());
        if peers::is_installed("cabextract") {
            theirs.push(peers::timed(Command::new("cabextract").arg("-q").arg("-t").arg(&path)).seconds);
        }
    }
    let own = median(own);
    println!("  wuasync     {:>7.1} ms {:>6.0} MB/s", own * 1e3, bytes as f64 / own / 1e6);
    if !theirs.is_empty() {
        let theirs = median(theirs);
        println!("  cabextract  {:>7.1} ms; we are {:.1} times as fast", theirs * 1e3, theirs / own);
    }
}

fn read(path: &Path) -> io::Result<(usize, usize)> {
    let mut cabinet = Cabinet::open(File::open(path)?, Limits::default())?;
    let (mut count, mut bytes) = (0, 0);
    while let Some(mut member) = cabinet.next_member()? {
        loop {
            let len = member.fill_buf()?.len();
            if len == 0 {
                break;
            }
            bytes += len;
            member.consume(len);
        }
        count += 1;
    }
    Ok((count, bytes))
}

/// Six members for each revision, in the order of their names.
fn shard(revisions: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let components: Vec<u64> = (0..400).map(|_| next()).collect();
    let mut members = Vec::new();
    for revision in 0..revisions {
        let mut core = format!("<UpdateIdentity UpdateID=\"{:016x}\" RevisionNumber=\"204\" /><Relationships>", next());
        while core.len() < 4_000 + revision as usize % 8_000 {
            let component = components[next() as usize % components.len()];
            core += &format!(
                "<assemblyIdentity name=\"Microsoft-Windows-Component-{component:x}-Package~31bf3856ad364e35~amd64\" \
                 version=\"10.0.14393.{}\" language=\"neutral\" publicKeyToken=\"31bf3856ad364e35\" />",
                next() % 9_999
            );
        }
        let extended = format!("<ExtendedProperties MaxDownloadSize=\"{}\"></ExtendedProperties>", next() % 4_000_000);
        members.push((format!("c\\{revision}"), core));
        members.push((format!("x\\{revision}"), extended));
        for language in ["de", "en", "fr", "ja"] {
            let title = format!("<Title>Security Update for Windows (KB{})</Title>", 4_000_000 + next() % 1_000_000);
            members.push((format!("l\\{language}\\{revision}"), title));
        }
    }
    members.sort();
    members.into_iter().map(|(name, content)| (name.into_bytes(), content.into_bytes())).collect()
}
