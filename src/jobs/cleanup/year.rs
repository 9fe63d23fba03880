//! A year of a small fleet in virtual time: hosts come, go and install, rules and editions change, reports come twice, late
//! and by halves, the daemon is down now and then. Rows and files are real, the clock is stepped, and what has to hold is
//! worked out here from the story alone.

use super::*;
use crate::{
    base::clock::Clock,
    catalog::{EditionRecord, FactsFrom},
    domain::{
        digest::Root,
        edition::{EditionFile, EditionId, EditionUpdate, UpdateKind},
        guid::Guid,
        host::{
            AgentStatus, HostFacts, HostReport, HostSettings, HostUuid, LocalFlags, LocalUpdate, Maturity, ToldUpdate,
            UpdateTraits,
        },
        member::NodeName,
        origin::OriginUrl,
        rules::{Criterion, RuleSet, SetName, UpdatePattern},
        wants::{Asker, FileClaim},
    },
    policy::due,
    repository::testing::{Place, StandingClock, adopt, folder, immutable, name},
};
use jiff::{Timestamp, civil};
use std::time::Duration;

const DAY: u64 = 86_400;
const START: u64 = 1_799_971_200;
const SCAN_EVERY: Duration = Duration::from_secs(6 * 3_600);
const GRACE: u64 = 3 * DAY;
/// How long an update is offered to hosts that lack it, in days.
const OFFERED: u64 = 120;

/// A small generator: the same year each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Update {
    id: UpdateId,
    product: u64,
    released: u64,
    supersedes: Option<usize>,
    files: Vec<(String, Vec<u8>)>,
}

struct Machine {
    uuid: HostUuid,
    product: u64,
    is_there: bool,
    installed: BTreeSet<usize>,
    sequence: u64,
    /// Reports that are under way for days.
    late: Vec<(u64, HostReport, u64)>,
}

/// What a year has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    /// A cleanup lets a file go, too, that a host needs.
    DeletesWhatIsNeeded,
    /// A cleanup lets a file go, too, that a host has installed.
    DeletesWhatIsInstalled,
    /// What is forbidden becomes wanted.
    WantsWhatIsForbidden,
    /// A cleanup runs twice a night.
    RunsTwice,
    /// A night in which the daemon runs has no cleanup.
    SkipsANight,
}

struct Year {
    place: Place,
    clock: Arc<StandingClock>,
    repository: Repository,
    core: Core,
    nights: Nights,
    zone: TimeZone,
    draw: Draw,
    updates: Vec<Update>,
    machines: Vec<Machine>,
    forbidden: BTreeSet<UpdateId>,
    last_night: Option<Last>,
    last_scan: Option<Last>,
    nights_run: Vec<civil::Date>,
    nights_down: BTreeSet<civil::Date>,
    sabotage: Option<Sabotage>,
    let_go: u64,
    withheld: u64,
    fetched: u64,
}

impl Year {
    fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let place = Place::in_memory();
        place.clock.set(START);
        let clock = place.clock.clone();
        let repository = place.main();
        let core = Core {
            flights: None,
            asked: Asked::new(clock.clone()),
            rules: CleanupRules { keep: Keep::InstalledOrNeeded, grace: GRACE, most_held: None, trash: GRACE },
        };
        let window = |hour| civil::time(hour, 30, 0, 0);
        Self {
            place,
            clock,
            repository,
            core,
            nights: Nights { from: window(2), to: window(3), node: seed },
            zone: TimeZone::get("Europe/Paris").unwrap(),
            draw: Draw(seed),
            updates: Vec::new(),
            machines: Vec::new(),
            forbidden: BTreeSet::new(),
            last_night: None,
            last_scan: None,
            nights_run: Vec::new(),
            nights_down: BTreeSet::new(),
            sabotage,
            let_go: 0,
            withheld: 0,
            fetched: 0,
        }
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn date(&self, at: u64) -> civil::Date {
        self.zone.to_datetime(Timestamp::from_second(at as i64).unwrap()).date()
    }

    /// One day of the story, a few things at hours of their own.
    fn day(&mut self, day: u64) {
        if day.is_multiple_of(30) {
            self.release(day);
        }
        let is_down = self.draw.percent(3);
        let mut hours: Vec<u64> = (0..10).map(|_| self.draw.below(DAY)).collect();
        hours.sort_unstable();
        for hour in hours {
            let at = START + day * DAY + hour;
            if !is_down {
                self.jobs_until(at);
            }
            self.clock.set(at);
            match self.draw.below(20) {
                0 if self.machines.len() < 9 => self.somebody_comes(),
                1 if day > 60 => self.somebody_goes(),
                2 => self.rules_change(),
                _ if is_down => {}
                _ => self.somebody_reports(),
            }
        }
        if !is_down {
            self.jobs_until(START + (day + 1) * DAY);
        }
        self.clock.set(START + (day + 1) * DAY);
        if is_down {
            self.nights_down.insert(self.date(START + day * DAY + DAY / 2));
        }
        let swept = self.repository.staging(&folder()).unwrap().sweep_trash(self.now() - GRACE).unwrap();
        assert!(swept.bytes == 0 || swept.files > 0);
    }

    /// Everything that is due until then, in its turn.
    fn jobs_until(&mut self, until: u64) {
        loop {
            let now = self.now() as i64;
            let night = self.nights.next(self.last_night, now, &self.zone).unwrap().at;
            let scan = due::every(SCAN_EVERY, self.last_scan, now).at;
            let next = night.min(scan).max(now);
            if next as u64 >= until {
                return;
            }
            self.clock.set(next as u64);
            match self.sabotage {
                _ if night > scan => self.scan(),
                Some(Sabotage::SkipsANight) if self.nights_run.len() == 200 => {
                    self.sabotage = None;
                    self.last_night = Some(Last { started_at: next, failed: false });
                }
                Some(Sabotage::RunsTwice) => {
                    self.night();
                    self.night();
                }
                _ => self.night(),
            }
        }
    }

    fn night(&mut self) {
        let now = self.now();
        let wall = self.zone.to_datetime(Timestamp::from_second(now as i64).unwrap());
        let is_inside = (civil::time(2, 30, 0, 0)..civil::time(3, 30, 0, 0)).contains(&wall.time());
        assert!(is_inside || wall.time().hour() == 3, "{wall} is outside of the window");
        self.nights_run.push(wall.date());
        self.last_night = Some(Last { started_at: now as i64, failed: false });
        let (before, trash) = (self.held(), self.repository.trash_usage().unwrap().bytes);
        let force = self.draw.percent(30);
        let wish = CleanupWish { force, ..CleanupWish::default() };
        let cleaned = self.core.work(&self.repository, wish).unwrap();
        self.delete_by_mistake();
        let after = self.held();
        let is_kept = |what: &str, updates: BTreeSet<UpdateId>| {
            for update in self.updates.iter().filter(|update| updates.contains(&update.id)) {
                for (file, _) in &update.files {
                    assert!(
                        !before.contains_key(file) || after.contains_key(file),
                        "{what} went: {file} of {}",
                        update.id
                    );
                }
            }
        };
        is_kept("what a host needs", self.needed());
        is_kept("what a host has installed", self.told(|flags| flags.has(LocalFlags::INSTALLED)));
        let sizes = |files: &BTreeMap<String, u64>| files.values().sum::<u64>();
        assert_eq!(sizes(&before) - sizes(&after), cleaned.bytes, "disk use is what the plan says");
        assert_eq!(self.repository.trash_usage().unwrap().bytes - trash, cleaned.bytes);
        let planned: BTreeSet<_> = cleaned.plan.leaving.iter().map(|file| file.name.to_string()).collect();
        let gone: BTreeSet<_> = before.keys().filter(|file| !after.contains_key(*file)).cloned().collect();
        match cleaned.withheld {
            Some(_) => assert!(gone.is_empty() && !force),
            None => assert_eq!(gone, planned),
        }
        self.let_go += cleaned.files;
        self.withheld += u64::from(cleaned.withheld.is_some());
    }

    fn delete_by_mistake(&self) {
        let spared = match self.sabotage {
            Some(Sabotage::DeletesWhatIsNeeded) => self.needed(),
            Some(Sabotage::DeletesWhatIsInstalled) => self.told(|flags| flags.has(LocalFlags::INSTALLED)),
            _ => return,
        };
        let held = self.held();
        let files = self.updates.iter().filter(|update| spared.contains(&update.id)).flat_map(|update| &update.files);
        if let Some((file, bytes)) = files.into_iter().find(|(file, _)| held.contains_key(file)) {
            self.repository.let_go(&folder(), &[(name(file), bytes.len() as u64)], 1, true).unwrap();
        }
    }

    fn want_by_mistake(&self) {
        let forbidden = self.updates.iter().filter(|update| self.forbidden.contains(&update.id));
        if let (Some(Sabotage::WantsWhatIsForbidden), Some(update)) = (self.sabotage, forbidden.last()) {
            let claim = FileClaim::of_url(url(&update.files[0].0));
            self.repository.ask(&[(folder(), claim)], &Asker::Member { name: node() }).unwrap();
        }
    }

    /// What hosts need becomes wanted, and most of it comes.
    fn scan(&mut self) {
        self.last_scan = Some(Last { started_at: self.now() as i64, failed: false });
        self.fetch();
    }

    fn fetch(&mut self) {
        fleet::want_what_hosts_need(&self.repository, &node()).unwrap();
        self.want_by_mistake();
        let needed = self.needed();
        for row in self.repository.wants_due(self.now(), 99).unwrap() {
            let file = row.file.name.as_str();
            let owner = self.updates.iter().find(|update| update.files.iter().any(|(name, _)| name == file)).unwrap();
            assert!(!self.forbidden.contains(&owner.id), "{file} is forbidden and wanted");
            assert!(needed.contains(&owner.id), "{file} is wanted and nobody needs it");
            if self.draw.percent(80) {
                let bytes = &owner.files.iter().find(|(name, _)| name == file).unwrap().1;
                self.place.write(file, bytes);
                adopt(&self.repository, &[file]).unwrap();
                self.fetched += 1;
            }
        }
    }

    fn held(&self) -> BTreeMap<String, u64> {
        let held = self.repository.held_files(&folder()).unwrap();
        held.into_iter().map(|(name, size)| (name.to_string(), size)).collect()
    }

    /// Updates of which some host told this last.
    fn told(&self, is: impl Fn(LocalFlags) -> bool) -> BTreeSet<UpdateId> {
        let mut told = BTreeSet::new();
        let mut look = |record: crate::catalog::HostRecord| {
            told.extend(record.facts.updates.iter().filter(|update| is(update.flags)).map(|update| update.id));
            Ok::<_, RepositoryError>(true)
        };
        self.repository.state().hosts.each_after(None, &mut look).unwrap();
        told
    }

    /// What hosts need, by what they told last: allowed, not installed, and superseded by nothing that they also have.
    fn needed(&self) -> BTreeSet<UpdateId> {
        let mut needed = BTreeSet::new();
        let mut look = |record: crate::catalog::HostRecord| {
            let has = |id: UpdateId| record.facts.updates.iter().any(|update| update.id == id);
            for local in &record.facts.updates {
                let newer = self.updates.iter().filter(|update| {
                    update.supersedes.is_some_and(|older| self.updates[older].id == local.id) && has(update.id)
                });
                let is_open = !local.flags.has(LocalFlags::INSTALLED) && !self.forbidden.contains(&local.id);
                if is_open && newer.count() == 0 {
                    needed.insert(local.id);
                }
            }
            Ok::<_, RepositoryError>(true)
        };
        self.repository.state().hosts.each_after(None, &mut look).unwrap();
        needed
    }

    /// A Patch Tuesday: each product has a cumulative update that supersedes the one before, and another one.
    fn release(&mut self, day: u64) {
        for product in 0..2 {
            let before = self.updates.iter().rposition(|update| update.product == product && update.files.len() == 2);
            for files in [2, 1] {
                let n = self.updates.len() as u8 + 1;
                let file = |part: usize| {
                    let bytes = vec![n; 100 * usize::from(n) + part];
                    (immutable(&format!("kb{n}-{part}"), &bytes), bytes)
                };
                self.updates.push(Update {
                    id: UpdateId::of(Guid([n; 16]), 200),
                    product,
                    released: day,
                    supersedes: before.filter(|_| files == 2),
                    files: (0..files).map(file).collect(),
                });
            }
        }
        // The index forgets what is old.
        let listed: Vec<_> = (0..self.updates.len()).filter(|n| self.updates[*n].released + 200 > day).collect();
        let record = EditionRecord {
            id: EditionId { package_id: Guid([day as u8; 16]), created: day as i64 },
            root: Root([0; 32]),
            origin_size: 1,
            origin_modified: None,
            updates: listed.len() as u64,
            files: 0,
            indexed_at: self.now(),
        };
        let updates: Vec<_> = listed.iter().map(|n| self.edition_update(*n)).collect();
        let files: Vec<_> = listed.iter().flat_map(|n| &self.updates[*n].files).map(edition_file).collect();
        self.repository.put_edition(&record, updates.into_iter(), files.into_iter()).unwrap();
    }

    fn edition_update(&self, n: usize) -> EditionUpdate {
        let Update { id, files, .. } = &self.updates[n];
        let newer = self.updates.iter().filter(|update| update.supersedes == Some(n));
        EditionUpdate {
            id: *id,
            created: 1,
            kind: Some(UpdateKind::Software),
            is_bundle: false,
            is_leaf: true,
            titles: Vec::new(),
            severity: None,
            kbs: Vec::new(),
            bulletins: Vec::new(),
            cves: Vec::new(),
            categories: Vec::new(),
            superseded_by: newer.map(|update| update.id).collect(),
            bundled_by: Vec::new(),
            bundles: Vec::new(),
            files: files.iter().map(|(file, _)| name(file).promised_sha1().unwrap()).collect(),
        }
    }

    fn somebody_comes(&mut self) {
        let uuid = HostUuid::new(&format!("pc{}", self.machines.len())).unwrap();
        let product = self.draw.below(2);
        let (installed, late) = (BTreeSet::new(), Vec::new());
        self.machines.push(Machine { uuid, product, is_there: true, installed, sequence: 0, late });
    }

    /// A machine that is thrown away: nobody says so, unless an administrator forgets it.
    fn somebody_goes(&mut self) {
        if self.machines.is_empty() {
            return;
        }
        let n = self.draw.below(self.machines.len() as u64) as usize;
        self.machines[n].is_there = false;
        if self.draw.percent(50) {
            self.repository.forget_host(&self.machines[n].uuid).unwrap();
        }
    }

    fn rules_change(&mut self) {
        if self.updates.is_empty() {
            return;
        }
        let id = self.updates[self.draw.below(self.updates.len() as u64) as usize].id;
        if !self.forbidden.remove(&id) {
            self.forbidden.insert(id);
        }
        let pattern = |id: &UpdateId| Criterion::Update(UpdatePattern { guid: id.guid(), revision: None });
        let mut set = RuleSet::own(SetName::new("no").unwrap());
        set.forbidden = self.forbidden.iter().map(pattern).collect();
        self.repository.put_rules(&set, "the story", "changed".to_owned()).unwrap();
        // What was wanted before is looked at before anything is fetched.
        fleet::want_what_hosts_need(&self.repository, &node()).unwrap();
    }

    fn somebody_reports(&mut self) {
        let there: Vec<_> = (0..self.machines.len()).filter(|n| self.machines[*n].is_there).collect();
        if there.is_empty() {
            return;
        }
        let n = there[self.draw.below(there.len() as u64) as usize];
        let now = self.now();
        self.install(n);
        let report = self.report_of(n, now);
        let half = self.draw.percent(10);
        let report = if half { HostReport { has_updates: false, updates: BTreeMap::new(), ..report } } else { report };
        self.machines[n].sequence += 1;
        let sequence = self.machines[n].sequence;
        if self.draw.percent(15) {
            let arrives = now + (1 + self.draw.below(5)) * DAY;
            self.machines[n].late.push((arrives, report, sequence));
            return;
        }
        let mut kept = None;
        for time in 0..1 + self.draw.below(2) {
            let put = self.repository.put_host(report.clone(), FactsFrom::Report, Some(sequence)).unwrap();
            assert_eq!(put.is_none(), time > 0, "a report counts once");
            kept = kept.or(put);
        }
        let (arrived, late) = self.machines[n].late.drain(..).partition::<Vec<_>, _>(|(at, ..)| *at <= now);
        self.machines[n].late = late;
        for (_, report, sequence) in arrived {
            let known = self.repository.host(&report.facts.uuid).unwrap().unwrap();
            let put = self.repository.put_host(report, FactsFrom::Report, Some(sequence)).unwrap();
            assert_eq!(put, None, "a later one was heard before");
            assert_eq!(self.repository.host(&known.facts.uuid).unwrap(), Some(known));
        }
        fleet::want_what_host_needs(&self.repository, &node(), kept.unwrap()).unwrap();
        self.fetch();
    }

    /// What is allowed and here gets installed, now and then.
    fn install(&mut self, n: usize) {
        let held = self.held();
        let today = (self.now() - START) / DAY;
        for update in 0..self.updates.len() {
            let Update { id, product, released, ref files, .. } = self.updates[update];
            let is_here = files.iter().all(|(file, _)| held.contains_key(file));
            let is_offered = product == self.machines[n].product && released + OFFERED > today;
            if is_here && is_offered && !self.forbidden.contains(&id) && self.draw.percent(30) {
                self.machines[n].installed.insert(update);
            }
        }
    }

    fn report_of(&self, n: usize, seen_at: u64) -> HostReport {
        let Machine { uuid, product, installed, .. } = &self.machines[n];
        let today = (seen_at - START) / DAY;
        let (mut locals, mut told) = (Vec::new(), BTreeMap::new());
        for (update, Update { id, product: of, released, supersedes, files }) in self.updates.iter().enumerate() {
            let has = installed.contains(&update);
            if of != product || !has && released + OFFERED <= today {
                continue;
            }
            let flags = if has { LocalFlags::INSTALLED } else { LocalFlags::ALLOWED };
            locals.push(LocalUpdate { id: *id, flags, installed_at: None });
            let supersedes = supersedes.iter().map(|older| self.updates[*older].id.guid()).collect();
            let traits = UpdateTraits { supersedes, ..UpdateTraits::default() };
            let urls = files.iter().map(|(file, _)| url(file)).collect();
            told.insert(*id, ToldUpdate { traits, title: None, urls });
        }
        HostFacts::sort_updates(&mut locals);
        let facts = HostFacts {
            uuid: uuid.clone(),
            name: None,
            site: None,
            maturity: Maturity::Prod,
            settings: HostSettings::default(),
            rule_packages: None,
            scanned_at: Some(seen_at),
            seen_at,
            updates: locals,
        };
        let status = AgentStatus::default();
        HostReport { facts, has_updates: true, status, missing_downloads: Vec::new(), updates: told, skipped: 0 }
    }
}

fn node() -> NodeName {
    NodeName::new("paris").unwrap()
}

fn url(file: &str) -> OriginUrl {
    OriginUrl::new(&format!("http://download.windowsupdate.com/c/{file}")).unwrap()
}

fn edition_file((file, bytes): &(String, Vec<u8>)) -> EditionFile {
    let sha1 = name(file).promised_sha1().unwrap();
    EditionFile { sha1, size: Some(bytes.len() as u64), sha256: None, url: Some(url(file)) }
}

fn live(seed: u64, sabotage: Option<Sabotage>) {
    let mut year = Year::new(seed, sabotage);
    (0..365).for_each(|day| year.day(day));
    let mut dates = year.nights_run.clone();
    dates.dedup();
    assert_eq!(dates, year.nights_run, "a night has one cleanup");
    let all = (1..365).map(|day| year.date(START + day * DAY + DAY / 2));
    let left_out: Vec<_> = all.filter(|date| !year.nights_run.contains(date)).collect();
    // A daemon that is down for a day by UTC misses the night of that date.
    let is_explained = left_out.iter().all(|date| year.nights_down.contains(date));
    assert!(is_explained, "nights were left out: {left_out:?} {:?}", year.nights_down);
    let Year { let_go, withheld, fetched, .. } = year;
    assert!(let_go > 5 && fetched > 10 && withheld < 100, "{let_go} went, {withheld} withheld, {fetched} fetched");
}

#[test]
fn in_a_year_nothing_needed_is_deleted_nothing_forbidden_is_fetched_and_each_job_runs_when_it_is_due() {
    [1, 2].iter().for_each(|seed| live(*seed, None));
}

#[test]
#[should_panic(expected = "what a host needs went")]
fn a_year_notices_that_a_needed_file_went() {
    live(1, Some(Sabotage::DeletesWhatIsNeeded));
}

#[test]
#[should_panic(expected = "what a host has installed went")]
fn a_year_notices_that_an_installed_file_went() {
    live(1, Some(Sabotage::DeletesWhatIsInstalled));
}

#[test]
#[should_panic(expected = "is forbidden and wanted")]
fn a_year_notices_that_a_forbidden_file_is_wanted() {
    live(1, Some(Sabotage::WantsWhatIsForbidden));
}

#[test]
#[should_panic(expected = "a night has one cleanup")]
fn a_year_notices_two_cleanups_in_one_night() {
    live(1, Some(Sabotage::RunsTwice));
}

#[test]
#[should_panic(expected = "nights were left out")]
fn a_year_notices_a_night_without_a_cleanup() {
    live(1, Some(Sabotage::SkipsANight));
}
