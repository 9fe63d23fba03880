//! Every repository at one moment, in the orders in which answers look for them.
//!
//! What many answers share is found out once: who is passed over and why, who stands at which site, and how those
//! follow each other whose distance does not matter. An answer then looks at few of them.

use crate::{
    base::units,
    domain::{
        member::{NodeName, Role, SiteName},
        nearest::{RepositoryUrl, Standing, Target},
    },
};
use std::{collections::HashMap, fmt, time::Duration};

/// From when on a repository is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearestLimits {
    /// Seconds of silence.
    pub silent_seconds: u64,
    /// Files that it lacks; `None` for any number.
    pub lag_files: Option<u64>,
    /// Bytes that it lacks; `None` for any number.
    pub lag_bytes: Option<u64>,
}

/// Why a repository is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody said where hosts reach it.
    NoUrl,
    /// It was never heard of.
    NeverHeard,
    /// It was not heard of for so many seconds.
    Silent(u64),
    /// It lacks too much: files and bytes.
    Behind(u64, u64),
    /// It lacks the file, or may, and can't get it.
    CanNotFetch,
    /// A rule names it, and it is no member.
    NoMember,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUrl => f.write_str("nobody said where hosts reach it"),
            Self::NeverHeard => f.write_str("it was never heard of"),
            Self::Silent(seconds) => {
                write!(f, "it was not heard of for {}", units::duration(Duration::from_secs(*seconds)))
            }
            Self::Behind(files, bytes) => {
                write!(f, "it lacks {} ({})", units::count(*files, "file"), units::bytes(*bytes))
            }
            Self::CanNotFetch => f.write_str("it may lack the file and can't fetch it"),
            Self::NoMember => f.write_str("it is no member"),
        }
    }
}

/// What decides among repositories at one distance: the smaller, the nearer. Loads count in doublings, so that small
/// differences do not outweigh the round trip; the last is its number.
pub(super) type Ease = (u32, u32, usize);

/// All repositories, and the orders in which they are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineup {
    all: Vec<(Standing, Option<Fault>)>,
    /// Those that are not passed over, the easiest first.
    by_ease: Vec<usize>,
    mains: Vec<usize>,
    by_site: HashMap<SiteName, Vec<usize>>,
    by_name: HashMap<NodeName, usize>,
    by_url: HashMap<RepositoryUrl, usize>,
}

impl Lineup {
    /// Puts repositories in order; each keeps its number.
    pub fn new(standings: Vec<Standing>, limits: NearestLimits) -> Self {
        let mut lineup = Self::default();
        for (at, standing) in standings.into_iter().enumerate() {
            lineup.by_site.entry(standing.site.clone()).or_default().push(at);
            lineup.by_name.entry(standing.name.clone()).or_insert(at);
            if let Some(url) = &standing.url {
                lineup.by_url.entry(url.clone()).or_insert(at);
            }
            if standing.role == Role::Main {
                lineup.mains.push(at);
            }
            let fault = fault_of(&standing, limits);
            if fault.is_none() {
                lineup.by_ease.push(at);
            }
            lineup.all.push((standing, fault));
        }
        let mut by_ease = std::mem::take(&mut lineup.by_ease);
        by_ease.sort_by_cached_key(|at| lineup.ease(*at));
        Self { by_ease, ..lineup }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One of them by its number.
    pub fn get(&self, at: usize) -> Option<&Standing> {
        self.all.get(at).map(|(standing, _)| standing)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Standing> {
        self.all.iter().map(|(standing, _)| standing)
    }

    /// Why no host is sent to one, whatever it looks for.
    pub(super) fn fault(&self, at: usize) -> Option<Fault> {
        self.all.get(at).map_or(Some(Fault::NoMember), |(_, fault)| *fault)
    }

    /// Whom a rule names.
    pub(super) fn target(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Member(name) => self.by_name.get(name).copied(),
            Target::Url(url) => self.by_url.get(url).copied(),
        }
    }

    pub(super) fn at_site(&self, site: &SiteName) -> &[usize] {
        self.by_site.get(site).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn mains(&self) -> &[usize] {
        &self.mains
    }

    /// Those that are not passed over, the easiest first.
    pub(super) fn by_ease(&self) -> &[usize] {
        &self.by_ease
    }

    pub(super) fn ease(&self, at: usize) -> Ease {
        let of = |standing: &Standing| {
            let load = u64::BITS - (standing.load_bytes >> 20).leading_zeros();
            (load, standing.round_trip_ms.unwrap_or(u32::MAX))
        };
        let (load, round_trip) = self.get(at).map_or((u32::MAX, u32::MAX), of);
        (load, round_trip, at)
    }
}

fn fault_of(standing: &Standing, limits: NearestLimits) -> Option<Fault> {
    let NearestLimits { silent_seconds, lag_files, lag_bytes } = limits;
    if standing.url.is_none() {
        return Some(Fault::NoUrl);
    }
    match standing.silent_seconds {
        None => return Some(Fault::NeverHeard),
        Some(silent) if silent > silent_seconds => return Some(Fault::Silent(silent)),
        Some(_) => {}
    }
    let is_behind = lag_files.is_some_and(|most| standing.lag_files > most)
        || lag_bytes.is_some_and(|most| standing.lag_bytes > most);
    is_behind.then_some(Fault::Behind(standing.lag_files, standing.lag_bytes))
}
