use super::super::super::testing::{Place, adopt, folder, name};
use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// A main with 600 small files.
fn place_of_many() -> (Place, Arc<Repository>) {
    let place = Place::new();
    let main = Arc::new(place.main());
    let names: Vec<_> = (0..600).map(|n| format!("f{n:03}")).collect();
    names.iter().for_each(|name| place.write(name, name.as_bytes()));
    adopt(&main, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    (place, main)
}

fn scrub(repository: &Arc<Repository>, every: Duration) -> Arc<Scrub> {
    Scrub::new(repository.clone(), every, || false, CancellationToken::new())
}

fn pass(scrub: &Scrub) -> ScrubRecord {
    scrub.progress().unwrap().pass.unwrap()
}

const MONTH: Duration = Duration::from_secs(30 * 86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_where_it_was_after_a_restart_and_reads_each_file_once() {
    let (place, main) = place_of_many();
    let handle = Handle::current();
    let read = tokio::task::spawn_blocking(move || {
        let before = scrub(&main, MONTH);
        before.begin_pass();
        before.step(&handle).unwrap();
        before.step(&handle).unwrap();
        let half = pass(&before);
        assert_eq!((half.files, half.last), (256, Some((folder(), name("f255")))));
        drop((before, main));

        let main = Arc::new(place.main());
        let after = scrub(&main, MONTH);
        assert_eq!(pass(&after).files, 256);
        place.clock.set(crate::repository::testing::NOW + MONTH.as_secs());
        (0..2).for_each(|_| assert_eq!(after.step(&handle).unwrap(), Duration::ZERO));
        let ended = pass(&after);
        assert_eq!((ended.files, ended.bad_files), (600, 0));
        assert_eq!(ended.ended_at, Some(crate::base::clock::Clock::unix_seconds(place.clock.as_ref())));
        after.progress().unwrap().read_bytes
    });
    assert_eq!(read.await.unwrap(), 344 * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_an_ordinary_pass_wait_for_their_time() {
    let (place, main) = place_of_many();
    let handle = Handle::current();
    let waited = tokio::task::spawn_blocking(move || {
        let scrub = scrub(&main, MONTH);
        assert_eq!(scrub.step(&handle).unwrap(), Duration::from_secs(600), "nobody asked for a pass");
        lock(&scrub.state).begin = true;
        assert_eq!(scrub.step(&handle).unwrap(), Duration::ZERO, "it begins");
        assert_eq!(scrub.step(&handle).unwrap(), Duration::ZERO, "it reads its first step");
        let wait = scrub.step(&handle).unwrap();
        assert_eq!(pass(&scrub).files, 256);
        scrub.begin_pass();
        assert_eq!(scrub.step(&handle).unwrap(), Duration::ZERO);
        assert_eq!(pass(&scrub).files, 0, "a pass that is asked for begins anew");
        (0..3).for_each(|_| assert_eq!(scrub.step(&handle).unwrap(), Duration::ZERO));
        assert!(pass(&scrub).ended_at.is_some() && !scrub.progress().unwrap().hurry);
        drop(place);
        wait
    });
    assert_eq!(waited.await.unwrap(), Duration::from_secs(600));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_names_what_is_bad_and_goes_on_behind_it() {
    let (place, main) = place_of_many();
    let handle = Handle::current();
    for file in ["f001", "f599"] {
        let modified = place.path(file).metadata().unwrap().modified().unwrap();
        std::fs::write(place.path(file), b"F000").unwrap();
        std::fs::File::options().append(true).open(place.path(file)).unwrap().set_modified(modified).unwrap();
    }
    tokio::task::spawn_blocking(move || {
        let scrub = scrub(&main, Duration::ZERO);
        scrub.begin_pass();
        (0..4).for_each(|_| assert_eq!(scrub.step(&handle).unwrap(), Duration::ZERO));
        let (findings, unnamed) = scrub.findings();
        let names: Vec<_> = findings.iter().map(|finding| finding.name.as_str()).collect();
        assert_eq!((names, unnamed), (vec!["f001", "f599"], 0));
        assert_eq!(findings[0].what, "1 groups of 64 KiB were damaged");
        let progress = scrub.progress().unwrap();
        assert_eq!((progress.damaged_files, progress.damage.found_groups), (2, 2));
        assert_eq!(progress.pass.unwrap().bad_files, 2);
        assert_eq!(place.trashed().len(), 2);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_under_way_makes_room_for_one_that_is_asked_for() {
    let place = Place::new();
    let main = Arc::new(place.main());
    place.write("big", &vec![7; 30_000_000]);
    adopt(&main, &["big"]).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, others) = (asked.clone(), Arc::new(AtomicBool::new(true)));
    let others_are_busy = others.clone();
    let cancel = CancellationToken::new();
    let busy = move || {
        count.fetch_add(1, Relaxed);
        others_are_busy.load(Relaxed)
    };
    let mut scrub = Scrub::new(main, MONTH, busy, cancel.clone());
    // However fast the disk is, the pass rests after each piece.
    Arc::get_mut(&mut scrub).unwrap().slice = Duration::ZERO;
    let running = tokio::spawn(scrub.clone().run());
    scrub.begin_quiet_pass().await;
    while asked.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(pass(&scrub).files, 0);
    others.store(false, Relaxed);
    scrub.begin_pass();
    while pass(&scrub).ended_at.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((pass(&scrub).files, scrub.progress().unwrap().hurry), (1, false));
    cancel.cancel();
    running.await.unwrap();
}
