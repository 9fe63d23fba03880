//! Replays the corpus of every fuzz target, and a bounded number of its mutations: always the same
//! ones, so that a failure comes again. `tests/fuzz/README.md` tells how to search for new inputs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a target that panics is what fails its test, and the test tells with what"
)]

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/targets/mod.rs"]
pub mod targets;

use mutate::Mutator;
use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
};
use targets::{TARGETS, Target};

/// Per target; a few seconds of an unoptimised build.
const MUTATIONS: u64 = 4_000;

#[test]
fn hostile_backups_are_read_or_refused() {
    replay("backups");
}

#[test]
fn hostile_cabinets_are_read_or_refused() {
    replay("cabinets");
}

#[test]
fn a_hostile_configuration_is_read_or_refused() {
    replay("config");
}

#[test]
fn hostile_frames_are_read_or_refused() {
    replay("frames");
}

#[test]
fn only_the_line_key_makes_a_head() {
    replay("heads");
}

#[test]
fn hostile_requests_are_answered_within_the_file() {
    replay("http");
}

#[test]
fn a_hostile_name_never_leaves_its_folder() {
    replay("names");
}

#[test]
fn hostile_records_are_read_or_refused() {
    replay("records");
}

#[test]
fn hostile_segments_prove_nothing_but_the_blob() {
    replay("segments");
}

#[test]
fn hostile_signatures_prove_nothing_but_what_was_signed() {
    replay("signatures");
}

#[test]
fn hostile_tokens_are_read_or_refused() {
    replay("tokens");
}

#[test]
fn every_target_has_its_corpus_and_its_entry_for_the_fuzzer() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(stems(&folder().join("corpus")), names);
    assert_eq!(stems(&folder().join("cargo/fuzz_targets")), names);
}

fn replay(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a known target");
    let corpus = corpus(name);
    for (file, input) in &corpus {
        run(target, input, &format!("tests/fuzz/corpus/{name}/{file}"));
    }
    let inputs: Vec<&[u8]> = corpus.iter().map(|(_, input)| &input[..]).collect();
    for seed in 0..MUTATIONS {
        let input = Mutator::new(seed).mutated(&inputs);
        run(target, &input, &format!("mutation {seed} of tests/fuzz/corpus/{name}"));
    }
}

/// Tells which input it was when the target panics.
fn run(target: Target, input: &[u8], origin: &str) {
    let Err(cause) = panic::catch_unwind(|| target(input)) else { return };
    eprintln!("the input was {origin}: b\"{}\"", input.escape_ascii());
    panic::resume_unwind(cause);
}

/// By file name, so that mutations stay the same ones.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let directory = folder().join("corpus").join(name);
    let mut files: Vec<_> = entries(&directory).map(|path| (file_name(&path), fs::read(&path).unwrap())).collect();
    assert!(files.len() >= 5, "{} inputs in {}", files.len(), directory.display());
    files.sort();
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn stems(directory: &Path) -> BTreeSet<String> {
    entries(directory).map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
