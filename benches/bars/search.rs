//! Updates of an edition of real size, looked up in its rows.

use crate::{Plan, editions as made, meter::median};
use std::{hint::black_box, ops::ControlFlow, sync::Arc, time::Instant};
use wuasync::{
    base::clock::SystemClock,
    catalog::EditionRecord,
    domain::{
        digest::Root,
        edition::{EditionUpdate, Kb},
        member::Role,
        name::{FileName, FolderName},
    },
    repository::{DeletionCap, FolderConfig, LogLimit, Repository, RepositoryConfig},
    store::disk::real::RealDisk,
    wsusscn::{Edition, Options, read},
};

/// 137,000 updates with short `c` members, so that making them takes seconds: rows don't have those.
pub(crate) fn search(plan: &Plan) {
    let place = tempfile::tempdir().unwrap();
    let updates = plan.scaled(made::Plan::real(1).updates as u64) as usize;
    let small =
        made::Plan { updates, shards: 8, core_bytes: 200, inner: made::cabs::Packing::Stored, ..made::Plan::real(1) };
    let edition = read(&small.to_bytes(2)[..], &Options::default()).unwrap();
    let repository = open(place.path());
    let row = row_of(&edition);
    // The made editions name no articles where their members are this short: three updates each have one.
    let rows = || {
        let numbered = edition.updates().zip(5_000_000..);
        numbered.map(|(update, number)| EditionUpdate { kbs: vec![Kb(number / 3)], ..update })
    };
    let begun = Instant::now();
    repository.put_edition(&row, rows(), edition.files()).unwrap();
    println!(
        "{updates} updates, {} files; their rows were written in {:.1} s",
        row.files,
        begun.elapsed().as_secs_f64()
    );
    let kbs: Vec<Kb> = rows().flat_map(|update| update.kbs).collect();
    let names: Vec<FileName> = edition.files().filter_map(|file| Some(file.url?.file_name().clone())).collect();
    let ids: Vec<_> = edition.updates().map(|update| update.id).collect();
    drop(edition);
    told("by article", plan, &kbs, |kb| repository.updates_of_kb(*kb, None).unwrap().len());
    told("by UpdateID and revision", plan, &ids, |id| usize::from(repository.edition_update(*id).unwrap().is_some()));
    told("a file by its name", plan, &names, |name| usize::from(repository.edition_claim(name).unwrap().is_some()));
    told("by words of a title, all updates looked at", plan, &["zzzz"; 1], |word| {
        let mut found = 0;
        let each = |update: EditionUpdate| {
            found += usize::from(update.titles.iter().any(|title| title.text.to_lowercase().contains(word)));
            Ok(ControlFlow::Continue(()))
        };
        repository.each_update(None, None, each).unwrap();
        found
    });
}

/// The median, and the slowest of 2,000 of `wanted`, spread over all; of few, each once for each run.
fn told<T>(what: &str, plan: &Plan, wanted: &[T], mut look: impl FnMut(&T) -> usize) {
    let step = (wanted.len() / 2_000).max(1);
    let rounds = if wanted.len() < 2_000 { plan.runs } else { 1 };
    let looked = wanted.iter().step_by(step).cycle().take(wanted.len().div_ceil(step) * rounds);
    let times = looked.map(|one| {
        let begun = Instant::now();
        black_box(look(one));
        begun.elapsed().as_secs_f64() * 1_000.0
    });
    let times: Vec<f64> = times.collect();
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!("  {what:<44} {:>8.3} ms, the slowest of {} {slowest:.3} ms", median(times.clone()), times.len());
}

/// What is kept of an edition itself.
pub(crate) fn row_of(edition: &Edition) -> EditionRecord {
    EditionRecord {
        id: edition.id(),
        root: Root([1; 32]),
        origin_size: 1,
        origin_modified: None,
        updates: edition.update_count() as u64,
        files: edition.file_count() as u64,
        indexed_at: 1,
    }
}

/// A main below `place` that knows nothing.
pub(crate) fn open(place: &std::path::Path) -> Repository {
    let (folder, path) = (FolderName::new("waptwua").unwrap(), place.join("waptwua"));
    std::fs::create_dir(&path).unwrap();
    let config = RepositoryConfig {
        role: Role::Main,
        state_dir: place.join("state"),
        folders: vec![FolderConfig { name: folder, path, staging: None }],
        deletion_cap: DeletionCap { max_percent: 20, min_files: 20 },
        disk_reserve_bytes: 0,
        log_limit: LogLimit::default(),
    };
    Repository::open(Arc::new(RealDisk::new()), Arc::new(SystemClock), &config, &mut |bytes| bytes.fill(7)).unwrap()
}
