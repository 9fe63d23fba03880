//! Cabinets beside other programs: what we and they make of the same files, and the commands.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is to fail its test")]

#[allow(dead_code, unreachable_pub, reason = "unit tests and benchmarks use the rest")]
mod cabs;

use cabs::{
    Cabinet as Made, Folder, Packing,
    lzx::{BlockKind, Lzx},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::Path,
    process::{Command, Output},
};
use wuasync::cabinet::{Cabinet, Limits};

type Members = BTreeMap<String, Vec<u8>>;

/// Text-like, with repetitions at all distances, and calls.
fn content(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::new();
    while out.len() < bytes {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let value = (state >> 33) as usize;
        match state >> 62 {
            0 => out.extend(format!("<update id=\"{value:x}\"/>").bytes()),
            1 => out.extend([0xe8, value as u8, (value >> 8) as u8, 0, 0]),
            2 => out.extend(vec![value as u8; value % 500]),
            _ => {
                let from = value.checked_rem(out.len()).unwrap_or(0);
                out.extend_from_within(from..out.len().min(from + value % 700));
            }
        }
    }
    out.truncate(bytes);
    out
}

fn members() -> Members {
    let sizes = [0, 1, 40_000, 32_768, 5_000, 700_000];
    sizes.iter().enumerate().map(|(n, bytes)| (format!("m{n}.xml"), content(*bytes, n as u64))).collect()
}

fn folder(packing: Packing, prefix: &str) -> Folder {
    let members = members().into_iter().map(|(name, bytes)| (format!("{prefix}{name}").into_bytes(), bytes));
    Folder { packing, members: members.collect() }
}

/// Every compression, window and kind of block.
fn packings() -> Vec<Packing> {
    use BlockKind::{Aligned, Uncompressed, Verbatim};
    let lzx = (15..=21).map(|window_bits| {
        let kinds = vec![Verbatim, Aligned, Uncompressed, Aligned];
        let translation_size = (window_bits % 2 == 0).then_some(600_000);
        Packing::Lzx(Lzx { kinds, block_bytes: 70_001, translation_size, ..Lzx::new(window_bits) })
    });
    [Packing::Stored, Packing::MsZip].into_iter().chain(lzx).collect()
}

fn ours(path: &Path) -> Members {
    let mut cabinet = Cabinet::open(fs::File::open(path).unwrap(), Limits::default()).unwrap();
    let mut all = Members::new();
    while let Some(mut member) = cabinet.next_member().unwrap() {
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        all.insert(member.file().shown_name(), content);
    }
    all
}

fn extracted(directory: &Path) -> Members {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

/// `tests/run` installs what is missing.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; see tests/run"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

#[test]
fn we_and_cabextract_and_gcab_read_the_same_from_every_compression() {
    let place = tempfile::tempdir().unwrap();
    for (n, packing) in packings().into_iter().enumerate() {
        let made = Made::new(vec![folder(packing.clone(), "a"), folder(packing, "b")]);
        let cab = place.path().join(format!("{n}.cab"));
        fs::write(&cab, made.to_bytes()).unwrap();
        let ours = ours(&cab);
        assert_eq!(ours.len(), 2 * members().len());
        assert!(ours["am5.xml"] == members()["m5.xml"]);
        for program in ["cabextract", "gcab"] {
            let out = place.path().join(format!("{n}.{program}"));
            fs::create_dir(&out).unwrap();
            match program {
                "gcab" => run(Command::new("gcab").arg("-x").arg("-C").arg(&out).arg(&cab)),
                _ => run(Command::new("cabextract").args(["-q", "-d"]).arg(&out).arg(&cab)),
            };
            assert!(extracted(&out) == ours, "{program} reads folder {n} otherwise");
        }
    }
}

#[test]
fn we_read_what_gcab_writes() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    members().iter().for_each(|(name, bytes)| fs::write(source.join(name), bytes).unwrap());
    let files: Vec<_> = members().into_keys().map(|name| source.join(name)).collect();
    for options in [&["-cn"][..], &["-cnz"]] {
        let cab = place.path().join("gcab.cab");
        run(Command::new("gcab").args(options).arg(&cab).args(&files));
        assert!(ours(&cab) == members(), "{options:?}");
    }
}

#[test]
fn cabextract_refuses_the_damage_that_we_refuse() {
    let place = tempfile::tempdir().unwrap();
    let cab = place.path().join("damaged.cab");
    let mut bytes = Made::new(vec![folder(Packing::Lzx(Lzx::new(21)), "a")]).to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&cab, bytes).unwrap();
    let theirs = Command::new("cabextract").args(["-q", "-t"]).arg(&cab).output().unwrap();
    assert!(!theirs.status.success());
    let mut cabinet = Cabinet::open(fs::File::open(&cab).unwrap(), Limits::default()).unwrap();
    let mut failed = None;
    while failed.is_none() {
        let Some(mut member) = cabinet.next_member().unwrap() else { break };
        failed = std::io::copy(&mut member, &mut std::io::sink()).err();
    }
    assert!(failed.unwrap().to_string().contains("in member \"am5.xml\""));
}

#[test]
fn a_signed_cabinet_is_told_listed_and_listed_deep() {
    let place = tempfile::tempdir().unwrap();
    let shard = Made::new(vec![Folder::new(Packing::Lzx(Lzx::new(21)), &[("c\\1", b"one"), ("x\\1", b"two")])]);
    let inner = [("index.xml", &b"<INDEX/>"[..]), ("package2.cab", &shard.to_bytes()), ("broken.CAB", b"MSCF")];
    let outer = Made::new(vec![Folder::new(Packing::Stored, &inner)]).telling_of_signature(9);
    let cab = place.path().join("wsusscn2.cab");
    fs::write(&cab, [&outer.to_bytes()[..], b"signature"].concat()).unwrap();

    let (code, info) = wuasync(&["cab", "info", cab.to_str().unwrap(), "--json"]);
    assert_eq!((code, &info[0]["members"], &info[0]["following_bytes"]), (0, &3.into(), &9.into()));
    assert_eq!(info[0]["folders"][0]["compression"], "stored");
    assert_eq!((&info[0]["signature"]["bytes"], &info[0]["signature"]["in_place"]), (&9.into(), &true.into()));

    let (code, lines) = wuasync(&["cab", "list", cab.to_str().unwrap(), "--json"]);
    assert_eq!((code, names(&lines)), (0, vec!["index.xml", "package2.cab", "broken.CAB"]));
    assert_eq!(lines[0]["modified"], "2026-07-14 10:00:00");

    let (code, lines) = wuasync(&["cab", "list", cab.to_str().unwrap(), "--deep", "--json"]);
    assert_eq!((code, names(&lines)), (1, vec!["index.xml", "package2.cab", "c\\1", "x\\1", "broken.CAB"]));
    assert_eq!(lines[2]["within"], Value::from(vec!["package2.cab"]));
    let fault = lines.iter().find(|line| line.get("fault").is_some()).unwrap();
    assert_eq!(fault["within"], Value::from(vec!["broken.CAB"]));
}

#[test]
fn cabinets_in_cabinets_are_listed_four_deep_and_no_deeper() {
    let place = tempfile::tempdir().unwrap();
    let within = |bytes: &[u8], name: &str| Made::new(vec![Folder::new(Packing::Stored, &[(name, bytes)])]).to_bytes();
    let five = ["5", "4.cab", "3.cab", "2.cab", "1.cab"].iter().fold(vec![], |bytes, name| within(&bytes, name));
    let cab = place.path().join("x.cab");
    fs::write(&cab, five).unwrap();
    let (code, lines) = wuasync(&["cab", "list", cab.to_str().unwrap(), "--deep", "--json"]);
    assert_eq!((code, names(&lines)), (1, vec!["1.cab", "2.cab", "3.cab", "4.cab"]));
    assert_eq!(lines[4]["within"], Value::from(vec!["1.cab", "2.cab", "3.cab", "4.cab"]));
}

#[test]
fn what_is_no_cabinet_fails_with_the_reason() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("x.cab");
    fs::write(&file, "PK").unwrap();
    for command in ["info", "list"] {
        let output = Command::new(env!("CARGO_BIN_EXE_wuasync")).args(["cab", command]).arg(&file).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text.ends_with("x.cab: at byte 0: this is no cabinet\n"), "{text}");
    }
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["name"].as_str()).collect()
}

fn wuasync(arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_wuasync")).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}
