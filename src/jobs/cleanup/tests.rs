//! What a cleanup takes into account beside the plan.

use super::*;
use crate::{
    domain::{
        key::NodeKey,
        member::{NodeName, SiteName},
        origin::OriginUrl,
        wants::{Asker, FileClaim},
    },
    repository::testing::{NOW, Place, adopt, fetch, folder, follow, immutable, is_held, name},
};

const DAY: u64 = 86_400;

struct Set {
    place: Place,
    repository: Arc<Repository>,
    asked: Arc<Asked>,
}

impl Set {
    /// A main that holds this one file for a year.
    fn new() -> (Self, String) {
        let place = Place::new();
        let repository = Arc::new(place.main());
        let file = immutable("kb", b"old");
        place.write(&file, b"old");
        adopt(&repository, &[&file]).unwrap();
        let asked = Asked::new(place.clock.clone());
        let set = Self { place, repository, asked };
        set.dry_run();
        set.place.clock.set(NOW + 365 * DAY);
        (set, file)
    }

    fn cleanup(&self, is_enabled: bool) -> Arc<Cleanup> {
        let rules = CleanupRules { keep: Keep::InstalledOrNeeded, grace: 0, most_held: None, trash: 3 * DAY };
        let half_past = |hour| jiff::civil::time(hour, 30, 0, 0);
        let nights = Nights { from: half_past(2), to: half_past(3), node: 1 };
        let enabled = Box::new(move || is_enabled);
        Cleanup::new(self.repository.clone(), None, self.asked.clone(), rules, nights, enabled)
    }

    fn dry_run(&self) -> RetentionPlan {
        let wish = CleanupWish { dry_run: true, unowned_too: true, ..CleanupWish::default() };
        self.cleanup(true).core.work(&self.repository, wish).unwrap().plan
    }

    fn put_edition(&self) {
        let record = crate::catalog::EditionRecord {
            id: crate::domain::edition::EditionId { package_id: crate::domain::guid::Guid([1; 16]), created: 1 },
            root: crate::domain::digest::Root([0; 32]),
            origin_size: 1,
            origin_modified: None,
            updates: 0,
            files: 0,
            indexed_at: NOW,
        };
        self.repository.put_edition(&record, std::iter::empty(), std::iter::empty()).unwrap();
    }
}

#[test]
fn a_secondary_that_is_silent_for_a_week_counts_as_asking_for_everything() {
    let (set, _) = Set::new();
    assert_eq!(set.dry_run().leaving.len(), 0, "without an edition nobody can say what is obsolete");
    set.put_edition();
    assert_eq!(set.dry_run().leaving.len(), 1);
    let key = NodeKey([7; 32]);
    let member = MemberRecord {
        key,
        name: NodeName::new("lyon").unwrap(),
        site: SiteName::new("Lyon").unwrap(),
        folders: vec![folder()],
        addresses: Vec::new(),
        role: Role::Secondary,
        joined_at: NOW,
        expires_at: None,
    };
    set.repository.admit(&member).unwrap();
    assert_eq!(set.dry_run().leaving.len(), 0);
    set.repository.note_heard(&[key]).unwrap();
    assert_eq!(set.dry_run().leaving.len(), 1);
    set.place.clock.set(NOW + 373 * DAY);
    assert_eq!(set.dry_run().leaving.len(), 0);
}

#[test]
fn what_hosts_ask_for_anywhere_or_an_administrator_wants_stays() {
    let (set, file) = Set::new();
    set.put_edition();
    let asked = |day: u64| {
        BTreeMap::from([((folder(), name(&file)), NOW / DAY * DAY + day * DAY), ((folder(), name("unknown")), NOW)])
    };
    set.repository.note_known_asked(&asked(300)).unwrap();
    assert_eq!(set.dry_run().leaving.len(), 0);
    assert_eq!(set.repository.asked_since(NOW).unwrap().len(), 1, "a child's word makes no rows of other files");
    set.place.clock.set(NOW + 500 * DAY);
    assert_eq!(set.dry_run().leaving.len(), 1);
    let url = OriginUrl::new(&format!("http://h/{file}")).unwrap();
    set.repository.ask(&[(folder(), FileClaim::of_url(url))], &Asker::Administrator { uid: None }).unwrap();
    assert_eq!(set.dry_run().leaving.len(), 0);
}

#[tokio::test]
async fn the_job_runs_on_mains_where_it_is_enabled_and_tells_of_a_night_that_it_missed() {
    let (set, file) = Set::new();
    set.put_edition();
    let (cleanup, zone) = (set.cleanup(true), TimeZone::UTC);
    let now = (NOW + 365 * DAY) as i64;
    assert!(cleanup.next(None, now, &zone).unwrap().is_some());
    let last = Some(Last { started_at: now - 30 * DAY as i64, failed: false });
    cleanup.next(last, now, &zone).unwrap();
    assert!(set.repository.attention.stands(&Alarm::CleanupMissed));
    assert!(set.cleanup(false).next(last, now, &zone).unwrap().is_none());
    assert!(!set.repository.attention.stands(&Alarm::CleanupMissed));
    assert_eq!(cleanup.run().await.unwrap(), "0 files with 0 B went to the trash", "of unknown owner");
    let wish = CleanupWish { unowned_too: true, ..CleanupWish::default() };
    assert_eq!(cleanup.run_once(wish).await.unwrap().files, 1);
    assert!(!is_held(&set.repository, &file) && set.place.trashed().len() == 1);
}

#[tokio::test]
async fn a_secondary_empties_its_trash_by_night_of_what_has_rested_and_leaves_alone_what_no_index_names() {
    let (above, below) = (Place::new(), Place::new());
    let (main, repository) = (above.main(), Arc::new(below.secondary()));
    ["a", "b", "c"].iter().for_each(|name| above.write(name, b"abc"));
    adopt(&main, &["a", "b", "c"]).unwrap();
    follow(&main, &repository).unwrap();
    fetch(&main, &repository).unwrap();
    below.write("own", b"of this site alone");
    let go = |name: &str, at| {
        [&above, &below].iter().for_each(|place| place.clock.set(at));
        main.let_go(&folder(), &[(self::name(name), 3)], 9, true).unwrap();
        follow(&main, &repository).unwrap();
    };
    go("a", NOW + DAY);
    go("b", NOW + 3 * DAY);
    assert_eq!(below.trashed().len(), 2);
    below.clock.set(NOW + 4 * DAY + 1);
    let asked = Asked::new(below.clock.clone());
    let set = Set { repository: repository.clone(), place: below, asked };
    let (cleanup, zone, now) = (set.cleanup(true), TimeZone::UTC, (NOW + 4 * DAY) as i64);
    assert!(
        cleanup.next(None, now, &zone).unwrap().is_some()
            && set.cleanup(false).next(None, now, &zone).unwrap().is_none()
    );
    let last = Some(Last { started_at: now - 30 * DAY as i64, failed: false });
    cleanup.next(last, now, &zone).unwrap();
    assert!(!repository.attention.stands(&Alarm::CleanupMissed), "nothing is lost where nothing is to be evicted");
    assert_eq!(cleanup.run().await.unwrap(), "0 files with 0 B were evicted, 1 with 3 B left the trash");
    assert_eq!(set.place.trashed().len(), 1, "b goes on resting");
    assert!(is_held(&repository, "c") && set.place.read("own").is_some());
    let all = cleanup.run_once(CleanupWish::default()).await.unwrap();
    assert_eq!((all.trash_files, set.place.trashed().len()), (1, 0), "somebody wanted all of it to go");
}

#[test]
fn where_a_timer_lets_files_go_the_daemon_does_it_only_a_minute_before_the_windows_end() {
    let (set, _) = Set::new();
    let zone = TimeZone::get("Europe/Paris").unwrap();
    let at = |text: &str| zone.to_timestamp(text.parse().unwrap()).unwrap().as_second();
    let next = set.cleanup(true).next(None, at("2026-05-05T02:29"), &zone).unwrap().unwrap();
    assert_eq!((next.from, next.moment(true)), (at("2026-05-05T02:30"), at("2026-05-05T03:29")));
    assert!((next.from..at("2026-05-05T03:30")).contains(&next.moment(false)), "{next:?}");
}
