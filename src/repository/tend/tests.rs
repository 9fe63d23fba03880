//! A tended folder on the machine's disk, with the system's own events.

use super::super::attention::Trouble;
use super::super::testing::{Place, folder, follow, immutable, indexed, is_held, is_listed, is_missing, name, seq};
use super::*;
use std::fs;

/// Far above what anything here takes: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Tended {
    repository: Arc<Repository>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Tended {
    fn start(repository: Repository) -> Self {
        Self::start_with(repository, Duration::from_secs(3_600))
    }

    fn start_with(repository: Repository, rescan_every: Duration) -> Self {
        let (repository, cancel) = (Arc::new(repository), CancellationToken::new());
        let config = TendConfig { rescan_every, trash_for: Duration::from_secs(3_600), hashers: 2 };
        let tend = Tend::new(repository.clone(), folder(), config, Arc::new(Semaphore::new(2)));
        let task = tokio::spawn(tend.run(cancel.clone()));
        Self { repository, cancel, task }
    }

    /// Waits until a condition holds; it is looked at whenever rows change, and now and then.
    async fn until(&self, what: &str, holds: impl Fn(&Repository) -> bool) {
        let mut changes = self.repository.changes();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !holds(&self.repository) {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::timeout(Duration::from_millis(20), changes.changed()).await.ok();
        }
    }

    async fn until_adopted(&self) {
        self.until("the folder is adopted", is_adopted).await;
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
        let mut repository = self.repository;
        // A look that had begun still holds it; a state folder has one opener.
        while let Err(shared) = Arc::try_unwrap(repository) {
            repository = shared;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_adopted(repository: &Repository) -> bool {
    repository.folder(&folder()).unwrap().adopted.load(Acquire)
}

fn immutables(count: usize) -> Vec<(String, Vec<u8>)> {
    let file = |n: usize| {
        let bytes = format!("content {n}").into_bytes();
        (immutable(&format!("kb{n}"), &bytes), bytes)
    };
    (0..count).map(file).collect()
}

fn put(place: &Place, files: &[(String, Vec<u8>)]) {
    files.iter().for_each(|(name, bytes)| place.write(name, bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_adopted_in_few_commits() {
    let place = Place::new();
    put(&place, &immutables(2_000));
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    assert_eq!(seq(&tended.repository), 2_000);
    let commits = *tended.repository.changes().borrow();
    assert!(commits < 200, "{commits} commits");
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_dropped_later_is_published() {
    let place = Place::new();
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let files = immutables(3);
    put(&place, &files);
    tended.until("they are held", |main| files.iter().all(|(name, _)| is_held(main, name))).await;
    fs::remove_file(place.path(&files[0].0)).unwrap();
    tended.until("the first is gone", |main| indexed(main, &files[0].0).is_none()).await;
    assert_eq!(seq(&tended.repository), 4);
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everything_is_removed_the_alarm_stands_and_nothing_is_signed() {
    let place = Place::new();
    let files = immutables(50);
    put(&place, &files);
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    files.iter().for_each(|(name, _)| fs::remove_file(place.path(name)).unwrap());
    let withheld = Alarm::DeletionsWithheld(folder());
    tended.until("the alarm stands", |main| main.attention.stands(&withheld)).await;
    tended.until("all are missing", |main| files.iter().all(|(name, _)| is_missing(main, name))).await;
    assert!(files.iter().all(|(name, _)| indexed(&tended.repository, name).is_some()));
    assert_eq!(seq(&tended.repository), 50);
    put(&place, &files);
    tended.until("the alarm is over", |main| !main.attention.stands(&withheld)).await;
    assert_eq!(seq(&tended.repository), 50);
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rescan_reads_nothing_again() {
    let place = Place::new();
    put(&place, &immutables(100));
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let head = tended.repository.head();
    tended.stop().await;
    let tended = Tended::start_with(place.main(), Duration::from_millis(10));
    let progress = |main: &Repository| {
        let progress = &main.folder(&folder()).unwrap().progress;
        (progress.total_files.load(Relaxed), progress.done_bytes.load(Relaxed))
    };
    let last = immutables(101).pop().unwrap();
    place.write(&last.0, &last.1);
    tended.until("the new one is held", |main| is_held(main, &last.0)).await;
    assert!(progress(&tended.repository).0 <= 1, "only the new one differed");
    assert_ne!(tended.repository.head(), head);
    assert_eq!(seq(&tended.repository), 101);
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_published_is_looked_at_again() {
    let place = Place::new();
    let main = place.main();
    let mut tend = Tend::new(
        Arc::new(main),
        folder(),
        TendConfig { rescan_every: PATIENCE, trash_for: PATIENCE, hashers: 1 },
        Arc::new(Semaphore::new(1)),
    );
    place.write("f", b"f");
    let Examined::Ready(mut file) = tend.repository.examine(&folder(), &name("f")).unwrap() else { panic!() };
    file.folder = FolderName::new("elsewhere").unwrap();
    tend.publish(vec![file.clone()]).await;
    assert!(tend.later.next_due().is_some(), "it is not in that folder, so it changed");
    fs::remove_dir_all(place.state("keys")).unwrap();
    let accepted = place.state(crate::store::layout::ACCEPTED);
    fs::remove_file(&accepted).unwrap();
    fs::create_dir(&accepted).unwrap();
    file.folder = folder();
    tend.later = Later::default();
    tend.publish(vec![file]).await;
    assert!(tend.later.next_due().is_some());
    assert!(tend.repository.attention.stands(&Alarm::Failing("publishing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_file_of_a_secondary_becomes_missing_and_an_extra_one_unlisted() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    let files = immutables(2);
    put(&place, &files);
    super::super::testing::adopt(&main, &[&files[0].0, &files[1].0]).unwrap();
    follow(&main, &child).unwrap();
    super::super::testing::fetch(&main, &child).unwrap();
    let tended = Tended::start(child);
    tended.until_adopted().await;
    below.write(&files[0].0, b"edited");
    tended.until("it is missing", |child| is_missing(child, &files[0].0)).await;
    let extra = immutables(3).pop().unwrap();
    below.write(&extra.0, &extra.1);
    tended.until("it is held", |child| is_held(child, &extra.0)).await;
    assert!(!is_listed(&tended.repository, &extra.0) && is_listed(&tended.repository, &files[1].0));
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_a_reader_notes_is_mended() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    place.write("f", b"f");
    super::super::testing::adopt(&main, &["f"]).unwrap();
    follow(&main, &child).unwrap();
    super::super::testing::fetch(&main, &child).unwrap();
    let tended = Tended::start(child);
    tended.until_adopted().await;
    below.write("f", b"edited");
    tended.repository.find(&folder(), &name("f")).unwrap();
    tended.until("it is missing", |child| is_missing(child, "f")).await;
    tended.stop().await;
}

/// Immutable files are noticed in half a second; the rest is for a machine that does other things too.
const SOON: Duration = Duration::from_secs(10);

fn outside(place: &Place, name: &str) -> std::path::PathBuf {
    place.top.path().join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_new_moved_and_renamed_directories_are_published_without_a_rescan() {
    let place = Place::new();
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let scanned = tended.repository.last_scan(&folder()).unwrap();
    let files = immutables(4);
    let begun = Instant::now();
    // The first two rescans would have come at once and after a minute.
    for (n, (name, bytes)) in files.iter().take(3).enumerate() {
        place.write(&format!("d{n}/e/{name}"), bytes);
    }
    let away = outside(&place, "away");
    fs::create_dir_all(away.join("deep")).unwrap();
    fs::write(away.join("deep").join(&files[3].0), &files[3].1).unwrap();
    fs::rename(&away, place.path("in")).unwrap();
    tended
        .until("all are held", |main| {
            (0..3).all(|n| is_held(main, &format!("d{n}/e/{}", files[n].0)))
                && is_held(main, &format!("in/deep/{}", files[3].0))
        })
        .await;
    fs::rename(place.path("in"), place.path("renamed")).unwrap();
    tended.until("it has its new name", |main| is_held(main, &format!("renamed/deep/{}", files[3].0))).await;
    tended.until("the old one is gone", |main| indexed(main, &format!("in/deep/{}", files[3].0)).is_none()).await;
    fs::rename(place.path("renamed"), outside(&place, "out")).unwrap();
    tended.until("it is gone", |main| indexed(main, &format!("renamed/deep/{}", files[3].0)).is_none()).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(tended.repository.last_scan(&folder()).unwrap(), scanned);
    assert!(!tended.repository.folder(&folder()).unwrap().progress.running.load(Acquire));
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_moved_away_from_a_secondary_is_missing_at_once() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    place.write("d/e/f", b"f");
    place.write("d-x", b"x");
    super::super::testing::adopt(&main, &["d/e/f", "d-x"]).unwrap();
    follow(&main, &child).unwrap();
    super::super::testing::fetch(&main, &child).unwrap();
    let tended = Tended::start(child);
    tended.until_adopted().await;
    let begun = Instant::now();
    fs::rename(below.path("d"), outside(&below, "d")).unwrap();
    tended.until("it is missing", |child| is_missing(child, "d/e/f")).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(is_held(&tended.repository, "d-x"));
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_put_back_is_watched_and_scanned_within_seconds() {
    let place = Place::new();
    let files = immutables(3);
    put(&place, &files[..1]);
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let (home, away) = (place.path(""), outside(&place, "away"));
    let replaced = Alarm::FolderReplaced(folder());
    fs::rename(&home, &away).unwrap();
    tended.until("the alarm stands", |main| main.attention.stands(&replaced)).await;
    assert!(tended.repository.attention.standing().iter().all(|standing| !standing.cure.contains("restart")));
    let begun = Instant::now();
    fs::create_dir(&home).unwrap();
    fs::remove_dir(&home).unwrap();
    fs::write(away.join(&files[1].0), &files[1].1).unwrap();
    fs::rename(&away, &home).unwrap();
    tended.until("the alarm is over", |main| !main.attention.stands(&replaced)).await;
    tended.until("what came meanwhile is held", |main| is_held(main, &files[1].0)).await;
    place.write(&files[2].0, &files[2].1);
    tended.until("what came afterwards is held", |main| is_held(main, &files[2].0)).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_mirrored_is_listed_when_it_comes_until_it_goes() {
    let place = Place::new();
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let begun = Instant::now();
    fs::create_dir(place.path(".stfolder")).unwrap();
    place.write("trail.", b"x");
    place.write(".hd/x", b"x");
    std::os::unix::fs::symlink("trail.", place.path("link")).unwrap();
    let listed = |main: &Repository| -> Vec<String> {
        main.troubles.listed(&folder()).into_iter().map(|(name, _)| name).collect()
    };
    tended.until("they are listed", |main| listed(main) == [".hd", "link", "trail."]).await;
    ["trail.", "link"].iter().for_each(|name| fs::remove_file(place.path(name)).unwrap());
    fs::remove_dir_all(place.path(".hd")).unwrap();
    tended.until("they are not", |main| listed(main).is_empty()).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_again_is_looked_at() {
    let place = Place::new();
    let (repository, files) = (place.main(), immutables(2));
    let (file, beneath) = (&files[0], &files[1]);
    place.write(&file.0, &file.1);
    place.write(&format!("sub/{}", beneath.0), &beneath.1);
    let config = TendConfig { rescan_every: PATIENCE, trash_for: PATIENCE, hashers: 1 };
    let mut tend = Tend::new(Arc::new(repository), folder(), config, Arc::new(Semaphore::new(1)));
    let denied = |name: &str| {
        tend.repository.troubles.note(&folder(), name, Trouble::Unreadable("permission denied".to_owned()));
    };
    ["gone", &file.0].into_iter().for_each(denied);
    tend.try_unreadable().await;
    assert_eq!(tend.later.pop(tend.repository.clock().monotonic()), Some(name(&file.0)));
    assert!(tend.scanning.is_none());
    assert_eq!(tend.repository.troubles.of(&folder(), "gone"), None);
    tend.repository.troubles.note(&folder(), "sub", Trouble::Unreadable("permission denied".to_owned()));
    tend.try_unreadable().await;
    assert!(tend.scanning.is_some(), "a directory that can be read again is scanned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_not_watched_is_an_alarm_with_its_cure_until_it_is() {
    let place = Place::new();
    let main = place.main();
    let alarm = Alarm::FolderUnwatched(folder());
    main.judge_unwatched(&folder(), Some("too many".to_owned()));
    assert!(main.attention.standing()[0].cure.contains("fs.inotify.max_user_watches"));
    let tended = Tended::start(main);
    tended.until("all of it is watched", |main| !main.attention.stands(&alarm)).await;
    tended.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_is_asked_for_is_under_way_until_what_it_found_was_looked_at() {
    let place = Place::new();
    let tended = Tended::start(place.main());
    tended.until_adopted().await;
    let (name, bytes) = immutables(1).remove(0);
    let open = tended.repository.folder(&folder()).unwrap();
    // As if no event had told of it.
    let kept = outside(&place, "kept");
    fs::write(&kept, &bytes).unwrap();
    for _ in 0..3 {
        fs::rename(&kept, place.path(&name)).unwrap();
        tended.repository.ask_for_scans();
        assert!(tended.repository.adoption(&folder()).is_some());
        tended.until("the scan is over", |main| main.adoption(&folder()).is_none()).await;
        assert!(is_held(&tended.repository, &name));
        assert!(!open.progress.asked.load(Acquire));
        fs::rename(place.path(&name), &kept).unwrap();
        tended.repository.ask_for_scans();
        tended.until("the scan is over", |main| main.adoption(&folder()).is_none()).await;
        assert!(!is_held(&tended.repository, &name));
    }
    tended.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_group_of_looks_waits_for_nothing_and_what_came_outlives_another_event() {
    const WAIT: Duration = Duration::from_millis(100);
    let (tx, mut rx) = mpsc::channel(GROUP + 1);
    (0..=GROUP).for_each(|_| tx.try_send(Vec::new()).unwrap());
    let (begun, mut group) = (tokio::time::Instant::now(), Vec::new());
    assert_eq!(receive_after(WAIT, &mut rx, &mut group).await, GROUP);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    group.clear();
    tokio::select! {
        biased;
        n = receive_after(WAIT, &mut rx, &mut group) => panic!("{n} batches before the time"),
        () = tokio::time::sleep(WAIT / 2) => {}
    }
    tx.try_send(Vec::new()).unwrap();
    assert_eq!(receive_after(WAIT / 2, &mut rx, &mut group).await, 2);
    assert_eq!(begun.elapsed(), WAIT);
    group.clear();
    drop(tx);
    assert_eq!(receive_after(WAIT, &mut rx, &mut group).await, 0);
}
