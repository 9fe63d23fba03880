//! Members with what is declared and known of them, as of a moment ago.

use super::wapt::WaptRules;
use crate::{
    catalog::LogRow,
    daemon::{config, node::lock},
    domain::{
        key::NodeKey,
        member::{MemberRecord, NodeName, Role},
        name::{FileName, FolderName},
        nearest::{Declared, Holds, RepositoryUrl, Slot, Standing, slot_of},
        state::Namespace,
    },
    policy::nearest::{Lineup, NearestLimits},
    repository::{Repository, RepositoryError},
    sync::{
        fleet::{Known, Via},
        shared::Shared,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Who is silent for longer is passed over.
const SILENT_SECONDS: u64 = 60;
/// How old what was heard may be when it is answered.
const FRESH: Duration = Duration::from_secs(1);
/// How old what was signed may be while newer states come in.
const SIGNED_FRESH: Duration = Duration::from_millis(200);
/// Changes of which it is remembered when they were signed.
const RECENT: u64 = 4_096;

/// A file that somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Wanted {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    slot: Slot,
}

impl Wanted {
    pub(in crate::daemon) fn new(folder: FolderName, name: FileName) -> Self {
        let slot = slot_of(&name);
        Self { folder, name, slot }
    }
}

/// What the index says of a file at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::daemon) struct Indexed {
    /// Whether it names the file.
    pub is_named: bool,
    /// Whether the file lies here.
    pub is_here: bool,
    /// When it was changed last, of the changes after those that a view knows.
    changed_at: Option<u64>,
}

/// What the head says.
struct Signed {
    head: [u8; 32],
    at: (u64, u64),
    made: Instant,
    members: Vec<MemberRecord>,
    declared: Declared,
    /// When files were changed last, of the changes after `recent_from`.
    recent: HashMap<(Namespace, Vec<u8>), u64>,
    recent_from: u64,
}

/// All repositories at one moment.
pub(in crate::daemon) struct View {
    signed: Arc<Signed>,
    made: Instant,
    /// Every member in good standing.
    pub lineup: Lineup,
    /// What was heard of each.
    pub known: Vec<Option<Known>>,
    /// Which of them is this node; beyond the last while it is no member.
    pub own: usize,
}

impl View {
    /// What was declared.
    pub(in crate::daemon) fn declared(&self) -> &Declared {
        &self.signed.declared
    }

    /// The members, in the order of [`Self::lineup`].
    pub(in crate::daemon) fn members(&self) -> &[MemberRecord] {
        &self.signed.members
    }

    /// The last change that it knows.
    pub(in crate::daemon) fn seq(&self) -> u64 {
        self.signed.at.1
    }

    /// Tells of each member whether it has a file of which the index says this.
    pub(in crate::daemon) fn holds(&self, wanted: &Wanted, indexed: Indexed) -> impl Fn(usize) -> Holds + use<'_> {
        let key = (Namespace::folder(&wanted.folder), wanted.name.as_str().as_bytes().to_vec());
        let known = self.signed.recent.get(&key).copied().unwrap_or(self.signed.recent_from);
        let changed_at = indexed.changed_at.unwrap_or(known);
        let (folder, slot, epoch) = (wanted.folder.clone(), wanted.slot, self.signed.at.0);
        move |at| {
            if at == self.own {
                return if indexed.is_here { Holds::Yes } else { Holds::No };
            }
            if !indexed.is_named {
                return Holds::No;
            }
            let holdings = self.known.get(at).and_then(Option::as_ref).and_then(|known| known.folders.get(&folder));
            holdings.map_or(Holds::Unknown, |holdings| holdings.holds(slot, epoch, Some(changed_at)))
        }
    }
}

/// Where views come from.
pub struct World {
    /// Bytes and rows.
    pub(in crate::daemon) repository: Arc<Repository>,
    /// Who was heard of.
    pub(in crate::daemon) shared: Arc<Shared>,
    /// This node.
    pub(in crate::daemon) own: NodeKey,
    /// Who is passed over.
    pub(in crate::daemon) limits: NearestLimits,
    /// Within which a site has to hold everything; zero where that is nobody's matter.
    pub(in crate::daemon) complete_within: Duration,
    /// Rules of another origin.
    pub(in crate::daemon) wapt: WaptRules,
    /// Sites that are late, and since when.
    pub(in crate::daemon) late: Mutex<BTreeMap<NodeName, Instant>>,
    view: Mutex<Option<Arc<View>>>,
}

impl World {
    /// Of the node `own`, which passes over whom its configuration says.
    pub fn new(shared: Arc<Shared>, own: NodeKey, config: &config::Nearest) -> Arc<Self> {
        let repository = shared.repository.clone();
        let limits = NearestLimits {
            silent_seconds: SILENT_SECONDS,
            lag_files: Some(config.max_lag_files).filter(|most| *most > 0).map(u64::from),
            lag_bytes: config.max_lag,
        };
        let wapt = WaptRules::new(config);
        let complete_within = config.complete_within;
        Arc::new(Self {
            repository,
            shared,
            own,
            limits,
            complete_within,
            wapt,
            late: Mutex::default(),
            view: Mutex::default(),
        })
    }

    /// The newest view. Reads rows where the last one is too old.
    pub(in crate::daemon) fn view(&self) -> Result<Arc<View>, RepositoryError> {
        let now = self.repository.clock().monotonic();
        let mut last = lock(&self.view);
        let head = self.repository.head();
        let head_hash = head.as_ref().map_or([0; 32], |head| head.hash());
        let is_current =
            |signed: &Signed| signed.head == head_hash || now.saturating_duration_since(signed.made) < SIGNED_FRESH;
        if let Some(view) =
            last.as_ref().filter(|view| is_current(&view.signed) && now.saturating_duration_since(view.made) < FRESH)
        {
            return Ok(view.clone());
        }
        let before = last.as_ref().map(|view| view.signed.clone());
        let signed = match before.filter(|signed| is_current(signed)) {
            Some(signed) => signed,
            None => {
                let at = head.map_or((0, 0), |head| (head.head().epoch, head.head().seq));
                Arc::new(self.read_signed(head_hash, at, now)?)
            }
        };
        let view = Arc::new(self.look(signed, now));
        *last = Some(view.clone());
        Ok(view)
    }

    fn read_signed(&self, head: [u8; 32], at: (u64, u64), now: Instant) -> Result<Signed, RepositoryError> {
        let unix = self.repository.clock().unix_seconds();
        let mut members = self.repository.members()?;
        members.retain(|member| member.is_valid_at(unix));
        let snapshot = self.repository.state().index.read()?;
        let recent_from = snapshot.log_base()?.max(at.1.saturating_sub(RECENT));
        let rows = snapshot.log_after(recent_from, RECENT as usize)?;
        let recent = rows.into_iter().map(|row| ((row.record.namespace, row.record.key), row.seq)).collect();
        let declared = self.repository.declared()?;
        Ok(Signed { head, at, made: now, members, declared, recent, recent_from })
    }

    fn look(&self, signed: Arc<Signed>, now: Instant) -> View {
        let mut heard = self.shared.fleet.known();
        let round_trips = self.shared.round_trips();
        let (mut standings, mut known) = (Vec::with_capacity(signed.members.len()), Vec::new());
        for member in &signed.members {
            let heard = heard.remove(&member.key);
            standings.push(self.standing(member, heard.as_ref(), &signed.declared, &round_trips, now));
            known.push(heard);
        }
        let own = signed.members.iter().position(|member| member.key == self.own).unwrap_or(usize::MAX);
        View { signed, made: now, lineup: Lineup::new(standings, self.limits), known, own }
    }

    fn standing(
        &self,
        member: &MemberRecord,
        heard: Option<&Known>,
        declared: &Declared,
        round_trips: &BTreeMap<NodeKey, Duration>,
        now: Instant,
    ) -> Standing {
        let (lag_files, lag_bytes) = heard.map_or((0, 0), Known::lag);
        let is_own = member.key == self.own;
        let silent = heard.map(|heard| heard.silent_seconds(now));
        let said: Option<RepositoryUrl> = heard.filter(|heard| heard.via == Via::Own).and_then(|own| own.url.clone());
        Standing {
            name: member.name.clone(),
            site: member.site.clone(),
            role: member.role,
            url: declared.urls.get(&member.key).cloned().or(said),
            silent_seconds: if is_own { Some(0) } else { silent },
            lag_files,
            lag_bytes,
            load_bytes: heard.map_or(0, |heard| heard.load_bytes),
            round_trip_ms: round_trips.get(&member.key).and_then(|it| u32::try_from(it.as_millis()).ok()),
            can_fetch: heard.map_or(member.role == Role::Main, |heard| heard.can_fetch)
                && (!is_own || member.role == Role::Main || self.shared.parent().connected_since.is_some()),
        }
    }

    /// What the index says of a file, with its changes after `seq`.
    pub(in crate::daemon) fn file(&self, wanted: &Wanted, seq: u64) -> Result<Indexed, RepositoryError> {
        let snapshot = self.repository.state().index.read()?;
        let later = snapshot.log_after(seq, RECENT as usize)?;
        let is_it = |row: &LogRow| {
            row.record.key == wanted.name.as_str().as_bytes()
                && row.record.namespace == Namespace::folder(&wanted.folder)
        };
        let changed_at = match later.len() {
            // More than anybody looked through.
            many if many == RECENT as usize => Some(u64::MAX),
            _ => later.iter().rfind(|row| is_it(row)).map(|row| row.seq),
        };
        if snapshot.missing(&wanted.folder, &wanted.name)?.is_some() {
            return Ok(Indexed { is_named: true, is_here: false, changed_at });
        }
        let holding = snapshot.holding(&wanted.folder, &wanted.name)?;
        let is_named = holding.as_ref().is_some_and(|holding| holding.listed);
        Ok(Indexed { is_named, is_here: holding.is_some(), changed_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::nearest::SlotSet, sync::fleet::FolderHoldings};

    #[test]
    fn a_file_that_is_younger_than_what_a_member_told_is_held_by_nobody_yet() {
        let (epoch, now) = (7, Instant::now());
        let folder = FolderName::new("waptwua").unwrap();
        let wanted = |name: &str| Wanted::new(folder.clone(), FileName::new(name).unwrap());
        let key = |name: &str| (Namespace::folder(&folder), name.as_bytes().to_vec());
        let signed = Signed {
            head: [0; 32],
            at: (epoch, 20),
            made: now,
            members: vec![],
            declared: Declared::default(),
            recent: [(key("known.cab"), 15)].into(),
            recent_from: 5,
        };
        let holdings = FolderHoldings {
            at: (epoch, 18),
            missing_files: 1,
            missing_bytes: 1,
            lacking: Arc::new([slot_of(&FileName::new("lacking.cab").unwrap())].into_iter().collect::<SlotSet>()),
        };
        let known = Known {
            heard: now,
            url: None,
            word: None,
            load_bytes: 0,
            arriving_bytes: 0,
            can_fetch: true,
            folders: [(folder.clone(), holdings)].into(),
            via: Via::Own,
        };
        let lineup = Lineup::default();
        let view = View { signed: Arc::new(signed), made: now, lineup, known: vec![Some(known)], own: 9 };
        let holds = |name: &str, changed_at| {
            view.holds(&wanted(name), Indexed { is_named: true, is_here: true, changed_at })(0)
        };
        assert_eq!((holds("old.cab", None), holds("known.cab", None)), (Holds::Yes, Holds::Yes));
        assert_eq!(holds("lacking.cab", None), Holds::No);
        assert_eq!(holds("old.cab", Some(19)), Holds::Unknown, "changed after what it told");
        assert_eq!(holds("known.cab", Some(21)), Holds::Unknown, "changed after what the view knows");
        let unnamed = Indexed { is_named: false, is_here: true, changed_at: None };
        assert_eq!(view.holds(&wanted("old.cab"), unnamed)(0), Holds::No);
        assert_eq!(view.holds(&wanted("old.cab"), unnamed)(9), Holds::Yes, "it lies here all the same");
    }
}
