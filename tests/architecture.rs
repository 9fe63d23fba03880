//! The rules of the house, held against the sources: who may import whom, who may touch files, the
//! clock and the database, and that every invariant in ARCHITECTURE.md has its test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

#[cfg(test)]
#[path = "architecture/source.rs"]
mod source;

#[cfg(test)]
mod tests {
    use crate::source::{Source, named, read_all, test_functions, words};
    use std::{collections::BTreeSet, fs, path::Path, process::Command};

    /// What each room may import besides itself: a room, or one module of it. The same table as in
    /// ARCHITECTURE.md.
    const IMPORTS: &[(&str, &[&str])] = &[
        ("base", &[]),
        ("domain", &["base"]),
        ("wapt", &["base", "domain"]),
        ("policy", &["base", "domain"]),
        ("cabinet", &["base"]),
        ("agent", &["base", "domain"]),
        ("wsusscn", &["base", "domain", "cabinet"]),
        ("store", &["base", "domain"]),
        ("catalog", &["base", "domain"]),
        ("watch", &["base", "domain"]),
        ("repository", &["base", "domain", "wapt", "store", "catalog", "watch"]),
        ("supply", &["base", "domain", "policy", "repository"]),
        ("upstream", &["base", "domain", "store", "policy", "repository", "supply"]),
        ("sync", &["base", "domain", "store", "catalog", "repository", "supply"]),
        ("front", &["base", "domain", "supply", "catalog", "policy"]),
        ("jobs", &["base", "domain", "policy", "repository", "supply", "upstream", "sync", "wsusscn", "catalog"]),
        (
            "daemon",
            &[
                "base",
                "domain",
                "agent",
                "wapt",
                "policy",
                "cabinet",
                "wsusscn",
                "store",
                "catalog",
                "watch",
                "repository",
                "supply",
                "upstream",
                "sync",
                "front",
                "jobs",
            ],
        ),
        ("cli", &["base", "domain", "wapt", "agent", "daemon"]),
    ];
    const TOP_LEVEL: [&str; 6] = [".ci", "benches", "fixtures", "src", "systemd", "tests"];
    /// Rooms that decide and never act.
    const PURE: [&str; 3] = ["domain", "policy", "wapt"];
    /// Rooms that may open files by path.
    const OPENS_FILES: [&str; 6] = ["agent", "store", "watch", "repository", "daemon", "cli"];
    /// The only file that reads the clock, and how it is read.
    const CLOCK: &str = "src/base/clock.rs";
    const READS_CLOCK: [&str; 4] = ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"];

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    fn sources() -> Vec<Source> {
        let sources = read_all(root(), "src");
        assert!(!sources.is_empty(), "no sources beneath {}", root().display());
        sources
    }

    fn assert_none(what: &str, found: Vec<String>) {
        assert!(found.is_empty(), "{what}:\n  {}\n", found.join("\n  "));
    }

    #[test]
    fn every_room_is_in_the_import_table() {
        let rooms = sources().into_iter().filter_map(|source| match source.room() {
            Some(room) => imports(room).is_none().then(|| format!("{}: room `{room}`", source.path)),
            None => (!["src/lib.rs", "src/main.rs"].contains(&&*source.path)).then_some(source.path),
        });
        assert_none("files outside the rooms of ARCHITECTURE.md", rooms.collect());
    }

    #[test]
    fn rooms_import_only_what_the_table_lets_them() {
        assert_none(
            "imports against the table in ARCHITECTURE.md",
            sources().iter().flat_map(forbidden_imports).collect(),
        );
    }

    #[test]
    fn the_import_table_has_no_circles() {
        for (n, (room, imports)) in IMPORTS.iter().enumerate() {
            for import in *imports {
                let above = IMPORTS[..n].iter().any(|(earlier, _)| import.split("::").next() == Some(earlier));
                assert!(above, "`{room}` imports `{import}`, which is not above it in the table");
            }
        }
    }

    fn imports(room: &str) -> Option<&'static [&'static str]> {
        IMPORTS.iter().find(|(name, _)| *name == room).map(|(_, imports)| *imports)
    }

    fn forbidden_imports(source: &Source) -> Vec<String> {
        let Some((room, imports)) = source.room().and_then(|room| Some((room, imports(room)?))) else {
            return Vec::new();
        };
        let named = source.named_in_crate().into_iter().filter_map(|named| {
            let path = named.segments[1..].join("::");
            let is_in = |allowed: &str| path == allowed || path.starts_with(&format!("{allowed}::"));
            let forbidden = !is_in(room) && !imports.iter().any(|allowed| is_in(allowed));
            let place = source.place(named.at);
            forbidden
                .then(|| format!("{place}: `{room}` imports `crate::{path}`; it may import: {}", imports.join(" ")))
        });
        named.collect()
    }

    #[test]
    fn nothing_but_the_known_folders_lies_at_the_top() {
        let unknown = top_level().into_iter().filter(|folder| !TOP_LEVEL.contains(&folder.as_str()));
        assert_none("folders that ARCHITECTURE.md does not know", unknown.collect());
    }

    /// The top-level folders that git tracks; outside of a clone, those on disk.
    fn top_level() -> BTreeSet<String> {
        let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
        let listed = git.map(|git| String::from_utf8_lossy(&git.stdout).into_owned()).unwrap_or_default();
        let tracked: BTreeSet<_> =
            listed.split('\0').filter_map(|path| path.split_once('/')).map(|(top, _)| top.to_owned()).collect();
        if tracked.is_empty() { folders_on_disk() } else { tracked }
    }

    fn folders_on_disk() -> BTreeSet<String> {
        let entries = fs::read_dir(root()).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| !["target", ".git"].contains(&name.as_str())).collect()
    }

    #[test]
    fn every_dependency_has_its_line_in_the_table() {
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        let named = |name: &str| rows.iter().any(|row| row.split(['|', ',', ' ', '(', ')']).any(|word| word == name));
        let tables = ["dependencies", "dev-dependencies"].map(|table| manifest[table].as_table().unwrap());
        let unnamed = tables.iter().flat_map(|table| table.keys()).filter(|name| !named(name)).cloned();
        assert_none("dependencies without a line in ARCHITECTURE.md", unnamed.collect());
    }

    #[test]
    fn every_invariant_names_a_test_that_exists() {
        let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md exists");
        let sources: Vec<Source> =
            ["src", "tests", "benches"].iter().flat_map(|folder| read_all(root(), folder)).collect();
        let tests: BTreeSet<&str> = sources.iter().flat_map(|source| test_functions(&source.code)).collect();
        let invariants = invariants(&text);
        assert!(!invariants.is_empty(), "ARCHITECTURE.md states no invariant");
        let wrong = invariants.into_iter().filter_map(|(line, invariant)| {
            let missing: Vec<_> =
                test_names(&invariant).into_iter().filter(|name| !tests.contains(name.as_str())).collect();
            let why = match test_names(&invariant).len() {
                0 => "names no test".to_owned(),
                _ if missing.is_empty() => return None,
                _ => format!("no test is called {}", missing.join(", ")),
            };
            Some(format!("ARCHITECTURE.md:{line}: {why}"))
        });
        assert_none("invariants without their tests", wrong.collect());
    }

    /// Each invariant with its line: from `**Invariant:**` to the next of them or a blank line.
    fn invariants(text: &str) -> Vec<(usize, String)> {
        let mut invariants: Vec<(usize, String)> = Vec::new();
        let mut inside = false;
        for (n, line) in text.lines().enumerate() {
            let begins = line.contains("**Invariant:**");
            inside = begins || (inside && !line.trim().is_empty());
            match invariants.last_mut() {
                _ if begins => invariants.push((n + 1, line.to_owned())),
                Some((_, invariant)) if inside => *invariant += &format!(" {}", line.trim()),
                _ => {}
            }
        }
        invariants
    }

    /// What stands in backticks and reads like a test: a sentence, after the path of its module.
    fn test_names(invariant: &str) -> Vec<String> {
        let quoted = invariant.split('`').skip(1).step_by(2);
        let names = quoted.filter_map(|quoted| quoted.rsplit("::").next());
        let is_sentence = |name: &&str| {
            let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            plain && name.matches('_').count() >= 2
        };
        names.filter(is_sentence).map(str::to_owned).collect()
    }

    #[test]
    fn an_invariant_ends_at_a_blank_line_and_names_its_tests_in_backticks() {
        let text = "- **Invariant:** x (`Disk`,\n  `store::tests::a_power_cut_loses_nothing`)\n- **Invariant:** y\n\n`not_of_this_one`";
        let found = invariants(text);
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(test_names(&found[0].1), ["a_power_cut_loses_nothing"]);
        assert_eq!(test_names(&found[1].1), Vec::<String>::new());
    }

    #[test]
    fn only_the_catalog_knows_the_database() {
        let others = |source: &Source| source.room() != Some("catalog");
        assert_none("`redb` outside of `catalog`", places(others, |source| words(&source.code, "redb")));
    }

    #[test]
    fn only_one_file_reads_the_clock() {
        let reads =
            |source: &Source| READS_CLOCK.iter().flat_map(|now| words(&source.code_without_tests(), now)).collect();
        assert_none(&format!("clocks read outside of {CLOCK}"), places(|source| source.path != CLOCK, reads));
    }

    #[test]
    fn rooms_that_decide_neither_wait_nor_touch_anything() {
        let pure = |source: &Source| source.room().is_some_and(|room| PURE.contains(&room));
        let acts = |source: &Source| {
            let code = source.code_without_tests();
            let mut acts: Vec<usize> = ["async", "await", "tokio"].iter().flat_map(|word| words(&code, word)).collect();
            acts.extend(names_of_files(&code));
            acts
        };
        assert_none("async or I/O in a pure room", places(pure, acts));
    }

    #[test]
    fn only_rooms_that_own_paths_open_files() {
        let others = |source: &Source| source.room().is_none_or(|room| !OPENS_FILES.contains(&room));
        let opens = |source: &Source| names_of_files(&source.code_without_tests());
        assert_none("`fs` outside of the rooms that own paths", places(others, opens));
    }

    #[test]
    fn nothing_is_unsafe() {
        assert_none("`unsafe`", places(|_| true, |source| words(&source.code, "unsafe")));
    }

    /// Where `find` finds something, in the files that `which` chooses.
    fn places(which: impl Fn(&Source) -> bool, find: impl Fn(&Source) -> Vec<usize>) -> Vec<String> {
        let sources = sources().into_iter().filter(which);
        sources.flat_map(|source| find(&source).into_iter().map(|at| source.place(at)).collect::<Vec<_>>()).collect()
    }

    /// Where `code` names `std::fs` or its like, also as a part of a group.
    fn names_of_files(code: &str) -> Vec<usize> {
        let paths = ["std", "tokio", "rustix"].into_iter().flat_map(|root| named(code, root));
        paths.filter(|path| path.segments[1] == "fs").map(|path| path.at).collect()
    }
}
