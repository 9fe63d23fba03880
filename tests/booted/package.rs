//! The Debian package as `cargo deb` would make it, from the same table of Cargo.toml, with the binary under test.

use super::machine::here;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};
use toml::{Table, Value};

const BINARY: &str = env!("CARGO_BIN_EXE_wuasync");
const TREE: &str = env!("CARGO_MANIFEST_DIR");

/// Builds the package of a version in `desk`.
pub fn build(desk: &Path, version: &str) -> PathBuf {
    let tree = desk.join(format!("tree-{version}"));
    let parts = desk.join("parts");
    let binary = desk.join("wuasync");
    if !binary.exists() {
        here(&format!("strip -o {} {BINARY}", binary.display()));
        here(&format!("{TREE}/systemd/debian/build --parts {} {}", parts.display(), binary.display()));
    }
    let manifest: Table = fs::read_to_string(format!("{TREE}/Cargo.toml")).unwrap().parse().unwrap();
    let deb = manifest["package"]["metadata"]["deb"].as_table().unwrap();
    for asset in deb["assets"].as_array().unwrap() {
        let [source, target, mode] = asset.as_array().unwrap().as_slice() else { panic!("{asset}") };
        let source = match source.as_str().unwrap() {
            "target/release/wuasync" => binary.clone(),
            made if made.starts_with("target/package/") => parts.join(made.trim_start_matches("target/package/")),
            of_tree => Path::new(TREE).join(of_tree),
        };
        put(&source, &tree, target.as_str().unwrap(), mode.as_str().unwrap());
    }
    control(deb, &manifest, &tree, version);
    let package = desk.join(format!("wuasync-{version}.deb"));
    let arguments = ["--root-owner-group", "-Zgzip", "-z1", "--build"];
    let built = Command::new("dpkg-deb").args(arguments).arg(&tree).arg(&package).output().unwrap();
    assert!(built.status.success(), "{built:?}");
    package
}

/// Puts what `source` names, which may have a star in its last part, where it belongs.
fn put(source: &Path, tree: &Path, target: &str, mode: &str) {
    let pattern = source.file_name().unwrap().to_str().unwrap();
    let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
    let names = fs::read_dir(source.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let is_meant = |name: &str| match pattern.contains('*') {
        true => name.starts_with(before) && name.ends_with(after),
        false => name == pattern,
    };
    let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).filter(|name| is_meant(name)).collect();
    assert!(!names.is_empty(), "nothing is {}", source.display());
    for name in names {
        let place = tree.join(if target.ends_with('/') { format!("{target}{name}") } else { target.to_owned() });
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(source.with_file_name(name), &place).unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn control(deb: &Table, manifest: &Table, tree: &Path, version: &str) {
    let debian = tree.join("DEBIAN");
    fs::create_dir_all(&debian).unwrap();
    let text = |key: &str| deb[key].as_str().unwrap().to_owned();
    let depends = text("depends").replace("$auto", "libc6");
    let description = manifest["package"]["description"].as_str().unwrap();
    let architecture = Command::new("dpkg").arg("--print-architecture").output().unwrap();
    let architecture = String::from_utf8(architecture.stdout).unwrap();
    let fields = format!(
        "Package: wuasync\nVersion: {version}\nArchitecture: {}\nMaintainer: {}\nDepends: {depends}\nRecommends: {}\n\
         Section: {}\nPriority: {}\nDescription: {description}\n",
        architecture.trim(),
        text("maintainer"),
        text("recommends"),
        text("section"),
        text("priority"),
    );
    fs::write(debian.join("control"), fields).unwrap();
    let conf_files = deb["conf-files"].as_array().unwrap().iter().filter_map(Value::as_str);
    fs::write(debian.join("conffiles"), conf_files.map(|file| format!("{file}\n")).collect::<String>()).unwrap();
    let scripts = Path::new(TREE).join(text("maintainer-scripts"));
    for script in ["postinst", "prerm", "postrm", "templates"] {
        fs::copy(scripts.join(script), debian.join(script)).unwrap();
    }
}
