//! Which files of a main go, and why each other one stays. Pure; a plan is printed as a dry run or carried out.
//!
//! The first line that holds decides:
//!
//! | | file | then |
//! |---|---|---|
//! | 1 | the index or its sidecar | stays |
//! | 2 | in flight, or being served | stays |
//! | 3 | wanted by an administrator | stays |
//! | 4 | here for less than `grace` | stays |
//! | 5 | belongs to no update that anybody told of | stays, unless that is asked for |
//! | 6 | some host needs one of its updates, now or once its delay is over, or did when it was heard of last | stays |
//! | 7 | `installed-or-needed`, and some host has one of its updates installed | stays |
//! | 8 | `asked:N`, and asked for within N, or the index still has it as current | stays |
//! | 9 | else | goes |
//!
//! Where nothing was ever told of any host, lines 6 and 7 say nothing, and whatever was configured `asked:90d`
//! counts: an unknown fleet is no empty one. While the first facts are younger than `grace`, the fleet is not
//! known yet, and line 7's place is taken by "stays".

use super::demand::{Demand, Tally};
use crate::domain::{name::FileName, update::UpdateId};
use std::fmt;

/// The index and its sidecar.
const PROTECTED: [&str; 2] = ["wsusscn2.cab", "wsusscn2.cab.sha1"];
/// What takes over where there are no facts of hosts, in seconds.
const ASKED_WITHOUT_FACTS: u64 = 90 * DAY;
const DAY: u64 = 86_400;

/// What is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// What some host has installed or needs.
    InstalledOrNeeded,
    /// What some host needs.
    Needed,
    /// What some host needs, what was asked for within so many seconds, and what the index has as current.
    Asked(u64),
}

/// What the published edition of the index says of a file's updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexWord {
    /// There is no edition to ask.
    NoEdition,
    /// It knows none of them.
    Unknown,
    /// All that it knows of them are superseded.
    Superseded,
    /// At least one of them is current.
    Current,
}

/// One file that is here, as the plan looks at it. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockedFile {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub size: u64,
    /// Since when it is known to be here; `None` counts as just now.
    pub arrived_at: Option<u64>,
    /// When a host asked for it last, here or at any site, to the day.
    pub asked_at: Option<u64>,
    /// It is being fetched or served.
    pub is_busy: bool,
    /// An administrator asked for it.
    pub is_wanted: bool,
    /// The updates that it is a part of, as far as anybody told.
    pub updates: Vec<UpdateId>,
    /// What the index says of them.
    pub index: IndexWord,
}

/// What the files are held against.
#[derive(Debug, Clone, Copy)]
pub struct Retention<'d> {
    /// What is left alone.
    pub keep: Keep,
    /// The least age of what goes, in seconds.
    pub grace: u64,
    /// Files that belong to no known update may go too, by the rule of what was asked for.
    pub unowned_too: bool,
    /// What all hosts need and have; `None` where nothing was ever told of any host.
    pub demand: Option<Fleet<'d>>,
    /// Seconds since 1970 UTC.
    pub now: u64,
}

/// What is known of the hosts.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'d> {
    /// What they need and have.
    pub demand: &'d Demand,
    /// When the first of them was heard of, in seconds since 1970 UTC.
    pub known_since: u64,
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// No host has any of its updates, and none needs one.
    NoHost,
    /// No host needs any of its updates; so many have one installed.
    NotNeeded {
        /// How many.
        installed: u32,
    },
    /// Nobody asked for it for so many days, and the index does not hold on to it.
    NotAsked {
        /// How many.
        days: u64,
        /// What the index says.
        index: IndexWord,
    },
}

/// Why a file stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Staying {
    /// The index or its sidecar.
    Protected,
    /// It is being fetched or served.
    Busy,
    /// An administrator asked for it.
    Wanted,
    /// It came a short while ago.
    Young,
    /// Nobody told what it is a part of.
    Unowned,
    /// Hosts need it.
    Needed,
    /// The fleet is not known for long enough.
    Learning,
    /// Hosts have it installed.
    Installed,
    /// It was asked for.
    Asked,
    /// The index has it as current, or there is none to ask.
    Current,
}

impl Staying {
    /// All, in the order in which they are looked at.
    pub const ALL: [Self; 10] = [
        Self::Protected,
        Self::Busy,
        Self::Wanted,
        Self::Young,
        Self::Unowned,
        Self::Needed,
        Self::Learning,
        Self::Installed,
        Self::Asked,
        Self::Current,
    ];
}

/// A file that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Its name.
    pub name: FileName,
    /// Its bytes.
    pub size: u64,
    /// Why.
    pub why: Going,
    /// When it was asked for last, or came.
    pub last_use: u64,
}

/// What is to be done with a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// What goes, the least lately asked for first.
    pub leaving: Vec<Leaving>,
    /// How many files stay for each reason, and their bytes; as [`Staying::ALL`].
    pub staying: [(u64, u64); Staying::ALL.len()],
}

impl RetentionPlan {
    /// How many files there are, the index and its sidecar aside: what the cap counts.
    pub fn counted_files(&self) -> u64 {
        let staying: u64 = self.staying[1..].iter().map(|(files, _)| files).sum();
        staying + self.leaving.len() as u64
    }
}

/// Decides for every file of a folder.
pub fn plan_retention(files: impl IntoIterator<Item = StockedFile>, by: &Retention<'_>) -> RetentionPlan {
    let mut plan = RetentionPlan::default();
    for file in files {
        match judge(&file, by) {
            Ok(why) => {
                let last_use = file.asked_at.or(file.arrived_at).unwrap_or(by.now);
                plan.leaving.push(Leaving { name: file.name, size: file.size, why, last_use });
            }
            Err(staying) => {
                let (files, bytes) = &mut plan.staying[staying as usize];
                (*files, *bytes) = (*files + 1, bytes.saturating_add(file.size));
            }
        }
    }
    plan.leaving.sort_by(|a, b| (a.last_use, &a.name).cmp(&(b.last_use, &b.name)));
    plan
}

/// Whether one file goes, and why; or why it stays.
pub fn judge(file: &StockedFile, by: &Retention<'_>) -> Result<Going, Staying> {
    if PROTECTED.contains(&file.name.as_str()) {
        return Err(Staying::Protected);
    }
    if file.is_busy {
        return Err(Staying::Busy);
    }
    if file.is_wanted {
        return Err(Staying::Wanted);
    }
    let arrived_at = file.arrived_at.unwrap_or(by.now);
    if by.now.saturating_sub(arrived_at) < by.grace {
        return Err(Staying::Young);
    }
    let is_owned = !file.updates.is_empty();
    if !is_owned && !by.unowned_too {
        return Err(Staying::Unowned);
    }
    let fleet = by.demand.map(|fleet| (fleet, together(file, fleet.demand)));
    if fleet.is_some_and(|(_, tally)| tally.is_asked_for() || tally.stale > 0) {
        return Err(Staying::Needed);
    }
    match (by.keep, fleet) {
        (Keep::Asked(within), _) => not_asked(file, within, arrived_at, by.now),
        (_, None) => not_asked(file, ASKED_WITHOUT_FACTS, arrived_at, by.now),
        // What no update explains is not explained by hosts either.
        (_, Some(_)) if !is_owned => not_asked(file, ASKED_WITHOUT_FACTS, arrived_at, by.now),
        (_, Some((fleet, _))) if by.now.saturating_sub(fleet.known_since) < by.grace => Err(Staying::Learning),
        (Keep::InstalledOrNeeded, Some((_, Tally { installed: 1.., .. }))) => Err(Staying::Installed),
        (_, Some((_, Tally { installed: 0, .. }))) => Ok(Going::NoHost),
        (Keep::Needed, Some((_, Tally { installed, .. }))) => Ok(Going::NotNeeded { installed }),
    }
}

/// How hosts stand with all updates of a file.
fn together(file: &StockedFile, demand: &Demand) -> Tally {
    file.updates.iter().map(|id| demand.tally(*id)).fold(Tally::default(), |sum, tally| Tally {
        installed: sum.installed.saturating_add(tally.installed),
        needed: sum.needed.saturating_add(tally.needed),
        delayed: sum.delayed.saturating_add(tally.delayed),
        stale: sum.stale.saturating_add(tally.stale),
    })
}

fn not_asked(file: &StockedFile, within: u64, arrived_at: u64, now: u64) -> Result<Going, Staying> {
    let last = file.asked_at.unwrap_or(arrived_at).max(arrived_at);
    let since = now.saturating_sub(last);
    // Askings are known to the day: one counts to the end of its own.
    if since < within.saturating_add(if file.asked_at.is_some() { DAY } else { 0 }) {
        return Err(Staying::Asked);
    }
    match file.index {
        IndexWord::NoEdition | IndexWord::Current => Err(Staying::Current),
        index @ (IndexWord::Unknown | IndexWord::Superseded) => Ok(Going::NotAsked { days: since / DAY, index }),
    }
}

impl fmt::Display for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("no host has any of its updates, and none needs one"),
            Self::NotNeeded { installed } => write!(f, "no host needs it; installed {installed} times"),
            Self::NotAsked { days, index: IndexWord::Superseded } => {
                write!(f, "not asked for in {days} days, and superseded")
            }
            Self::NotAsked { days, .. } => write!(f, "not asked for in {days} days, and not in the index"),
        }
    }
}

impl fmt::Display for Staying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protected => "the index and its sidecar",
            Self::Busy => "being fetched or served",
            Self::Wanted => "wanted by an administrator",
            Self::Young => "younger than cleanup.grace",
            Self::Unowned => "part of no known update",
            Self::Needed => "needed by a host",
            Self::Learning => "hosts are known for less than cleanup.grace",
            Self::Installed => "installed on a host",
            Self::Asked => "asked for lately",
            Self::Current => "current in the index",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::host::{HostFacts, HostSettings, HostUuid, KnownUpdates, LocalFlags, LocalUpdate, Maturity},
        policy::{host_state::Judge, merge::MergedRules},
    };
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;
    const OLD: u64 = NOW - 400 * DAY;

    fn update(n: u8) -> UpdateId {
        UpdateId::new([n; 16], 1)
    }

    fn file(updates: &[u8]) -> StockedFile {
        StockedFile {
            name: FileName::new("a.cab").unwrap(),
            size: 10,
            arrived_at: Some(OLD),
            asked_at: None,
            is_busy: false,
            is_wanted: false,
            updates: updates.iter().map(|n| update(*n)).collect(),
            index: IndexWord::Superseded,
        }
    }

    /// One host that has 1 installed and needs 2, and one that was last heard of long ago and needed 3.
    fn demand() -> Demand {
        let mut demand = Demand::default();
        let host = |seen_at, n, flags| HostFacts {
            uuid: HostUuid::new("h").unwrap(),
            name: None,
            site: None,
            maturity: Maturity::Prod,
            settings: HostSettings { default_allow: Some(true), ..HostSettings::default() },
            rule_packages: None,
            scanned_at: None,
            seen_at,
            updates: vec![LocalUpdate { id: update(n), flags, installed_at: None }],
        };
        let (rules, known) = (MergedRules::default(), KnownUpdates::default());
        for host in [
            host(NOW, 1, LocalFlags::INSTALLED),
            host(NOW, 2, LocalFlags::default()),
            host(OLD, 3, LocalFlags::default()),
            host(NOW, 4, LocalFlags::HIDDEN),
        ] {
            demand.add(&host, &Judge { settings: host.settings, rules: &rules, known: &known, now: NOW });
        }
        demand
    }

    fn by(keep: Keep, demand: Option<&Demand>) -> Retention<'_> {
        let demand = demand.map(|demand| Fleet { demand, known_since: OLD });
        Retention { keep, grace: 3 * DAY, unowned_too: false, demand, now: NOW }
    }

    #[test]
    fn what_a_host_needs_stays_whatever_is_kept_and_what_none_has_goes() {
        let demand = demand();
        for keep in [Keep::InstalledOrNeeded, Keep::Needed, Keep::Asked(90 * DAY)] {
            let by = by(keep, Some(&demand));
            assert_eq!(judge(&file(&[2]), &by), Err(Staying::Needed), "{keep:?}");
            assert_eq!(judge(&file(&[3]), &by), Err(Staying::Needed), "{keep:?}: needed when last heard of");
            assert_eq!(judge(&file(&[9, 2]), &by), Err(Staying::Needed), "{keep:?}: by another of its updates");
            let gone = judge(&file(&[4, 9]), &by).unwrap();
            assert_eq!(matches!(gone, Going::NotAsked { days: 400, .. }), matches!(keep, Keep::Asked(_)));
        }
        assert_eq!(judge(&file(&[1, 9]), &by(Keep::InstalledOrNeeded, Some(&demand))), Err(Staying::Installed));
        assert_eq!(judge(&file(&[1]), &by(Keep::Needed, Some(&demand))), Ok(Going::NotNeeded { installed: 1 }));
        assert_eq!(judge(&file(&[9]), &by(Keep::Needed, Some(&demand))), Ok(Going::NoHost));
    }

    #[test]
    fn what_must_never_go_stays_though_no_host_has_it() {
        let demand = demand();
        let by = by(Keep::InstalledOrNeeded, Some(&demand));
        let changed = |change: fn(&mut StockedFile)| {
            let mut file = file(&[9]);
            change(&mut file);
            judge(&file, &by)
        };
        assert_eq!(changed(|_| ()), Ok(Going::NoHost));
        assert_eq!(changed(|file| file.name = FileName::new("wsusscn2.cab").unwrap()), Err(Staying::Protected));
        assert_eq!(changed(|file| file.name = FileName::new("wsusscn2.cab.sha1").unwrap()), Err(Staying::Protected));
        assert_eq!(changed(|file| file.is_busy = true), Err(Staying::Busy));
        assert_eq!(changed(|file| file.is_wanted = true), Err(Staying::Wanted));
        assert_eq!(changed(|file| file.arrived_at = Some(NOW - 3 * DAY + 1)), Err(Staying::Young));
        assert_eq!(changed(|file| file.arrived_at = Some(NOW - 3 * DAY)), Ok(Going::NoHost));
        assert_eq!(changed(|file| file.arrived_at = None), Err(Staying::Young));
        assert_eq!(changed(|file| file.arrived_at = Some(NOW + DAY)), Err(Staying::Young), "a clock that was ahead");
        assert_eq!(changed(|file| file.updates.clear()), Err(Staying::Unowned));
        let young = Fleet { demand: &demand, known_since: NOW - DAY };
        assert_eq!(judge(&file(&[9]), &Retention { demand: Some(young), ..by }), Err(Staying::Learning));
    }

    #[test]
    fn without_facts_of_any_host_only_what_nobody_asked_for_in_90_days_goes() {
        for keep in [Keep::InstalledOrNeeded, Keep::Needed, Keep::Asked(90 * DAY)] {
            let by = by(keep, None);
            let told = |asked: Option<u64>, index| judge(&StockedFile { asked_at: asked, index, ..file(&[9]) }, &by);
            assert_eq!(told(None, IndexWord::Current), Err(Staying::Current));
            assert_eq!(told(None, IndexWord::NoEdition), Err(Staying::Current));
            let gone = Ok(Going::NotAsked { days: 400, index: IndexWord::Unknown });
            assert_eq!(told(None, IndexWord::Unknown), gone);
            assert_eq!(told(Some(NOW - 91 * DAY + 1), IndexWord::Superseded), Err(Staying::Asked));
            assert!(told(Some(NOW - 91 * DAY), IndexWord::Superseded).is_ok());
            let came = |days| judge(&StockedFile { arrived_at: Some(NOW - days * DAY), ..file(&[9]) }, &by);
            assert_eq!((came(89), came(90).is_ok()), (Err(Staying::Asked), true), "never asked counts from arrival");
        }
    }

    #[test]
    fn what_belongs_to_no_known_update_goes_only_when_that_is_asked_for_and_nobody_asks_for_it() {
        let demand = demand();
        let by = Retention { unowned_too: true, ..by(Keep::InstalledOrNeeded, Some(&demand)) };
        let unknown = StockedFile { index: IndexWord::Unknown, ..file(&[]) };
        assert!(matches!(judge(&unknown, &by), Ok(Going::NotAsked { days: 400, .. })));
        assert_eq!(judge(&StockedFile { asked_at: Some(NOW - DAY), ..unknown }, &by), Err(Staying::Asked));
    }

    #[test]
    fn a_plan_names_the_least_lately_asked_for_first_and_counts_what_stays() {
        let demand = demand();
        let named = |name: &str, updates: &[u8], asked_at| {
            let name = FileName::new(name).unwrap();
            StockedFile { name, asked_at, ..file(updates) }
        };
        let files = [
            named("b", &[9], None),
            named("c", &[9], Some(NOW - DAY)),
            named("a", &[9], None),
            named("d", &[1], None),
            named("wsusscn2.cab", &[], None),
        ];
        let plan = plan_retention(files, &by(Keep::InstalledOrNeeded, Some(&demand)));
        let names: Vec<_> = plan.leaving.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(plan.counted_files(), 4);
        assert_eq!(plan.staying[Staying::Installed as usize], (1, 10));
        Staying::ALL.iter().enumerate().for_each(|(n, staying)| assert_eq!(*staying as usize, n));
    }

    proptest! {
        #[test]
        fn nothing_that_is_needed_or_protected_ever_goes(
            updates in proptest::collection::vec(0u8..6, 0..4), keep in 0u8..3, busy: bool, wanted: bool,
            age in 0u64..500, asked in proptest::option::of(0u64..500), unowned_too: bool, facts: bool, index in 0u8..4,
        ) {
            let demand = demand();
            let keep = [Keep::InstalledOrNeeded, Keep::Needed, Keep::Asked(90 * DAY)][usize::from(keep)];
            let words = [IndexWord::NoEdition, IndexWord::Unknown, IndexWord::Superseded, IndexWord::Current];
            let by = Retention { unowned_too, ..by(keep, facts.then_some(&demand)) };
            let file = StockedFile {
                is_busy: busy, is_wanted: wanted, arrived_at: Some(NOW - age * DAY),
                asked_at: asked.map(|days| NOW - days * DAY), index: words[usize::from(index)],
                ..file(&updates)
            };
            if judge(&file, &by).is_ok() {
                prop_assert!(!busy && !wanted && age >= 3);
                prop_assert!(!(facts && updates.iter().any(|n| [2, 3].contains(n))));
                prop_assert!(unowned_too || !updates.is_empty());
                prop_assert!(!(facts && keep == Keep::InstalledOrNeeded && updates.contains(&1)));
            }
        }
    }
}
