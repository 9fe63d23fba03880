//! `cleanup`: files that no host needs go, once a night or when somebody wants it.
//!
//! On a main: brings together what is known of files, updates and hosts, has `policy::retention` plan, and the
//! repository let go what the plan says, under its cap. On a secondary, whose tree follows the main's signed state, the
//! trash is emptied: by night of what has rested for its time, and of all when somebody wants it; one that keeps only what
//! hosts ask for evicts what is above its bound. Files that no index names stay until somebody prunes them. Never decides by
//! itself what goes.

mod evict;

use super::{
    fleet::{self, UPDATES_FOLDER},
    job::{Job, JobFailed},
    name::JobName,
};
use crate::{
    base::{chain::chain, future::BoxFuture, units},
    catalog::UseRecord,
    domain::{
        digest::Sha1,
        member::{MemberRecord, Role},
        name::{FileName, FolderName},
        update::UpdateId,
    },
    policy::{
        demand::Demand,
        due::{Last, Next},
        night::Nights,
        retention::{Fleet, IndexWord, Keep, Retention, RetentionPlan, StockedFile, plan_retention},
    },
    repository::{Alarm, LetGo, Repository, RepositoryError},
    supply::{Asked, Flights},
};
use jiff::tz::TimeZone;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

const DOING: &str = "cleaning up";
/// A secondary that did not tell for so long what its hosts ask for counts as asking for everything, in seconds.
const SILENT_AFTER: u64 = 7 * 86_400;

/// How a cleanup is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupRules {
    /// What is left alone.
    pub keep: Keep,
    /// The least age of what goes, in seconds.
    pub grace: u64,
    /// On a secondary that keeps only what hosts ask for: most bytes that it holds.
    pub most_held: Option<u64>,
    /// For how long what was removed rests in the trash, in seconds.
    pub trash: u64,
}

/// What somebody wants of one cleanup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CleanupWish {
    /// Only tell.
    pub dry_run: bool,
    /// Also more than the cap lets go.
    pub force: bool,
    /// So many bytes are to be free again: from the trash first, then for good, the least asked for first.
    pub free: Option<u64>,
    /// Also what belongs to no known update.
    pub unowned_too: bool,
    /// On a secondary: what has not rested for its time stays in the trash.
    pub let_trash_rest: bool,
}

/// What a cleanup came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// What goes and what stays, and why.
    pub plan: RetentionPlan,
    /// How many hosts are known; `None` where nothing was ever told of any.
    pub hosts: Option<u32>,
    /// What went to the trash.
    pub files: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Files that left the trash for good.
    pub trash_files: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Why nothing went though the plan says so: how many the cap lets go at once.
    pub withheld: Option<u64>,
}

/// Lets files go.
pub struct Cleanup {
    repository: Arc<Repository>,
    core: Arc<Core>,
    nights: Nights,
    is_enabled: IsEnabled,
}

/// Whether nights are to be used; asked before each.
pub type IsEnabled = Box<dyn Fn() -> bool + Send + Sync>;

/// What is asked on the thread that may block.
struct Core {
    flights: Option<Arc<Flights>>,
    asked: Arc<Asked>,
    rules: CleanupRules,
}

impl Cleanup {
    /// Lets nothing go yet.
    pub fn new(
        repository: Arc<Repository>,
        flights: Option<Arc<Flights>>,
        asked: Arc<Asked>,
        rules: CleanupRules,
        nights: Nights,
        is_enabled: IsEnabled,
    ) -> Arc<Self> {
        let core = Arc::new(Core { flights, asked, rules });
        Arc::new(Self { repository, core, nights, is_enabled })
    }

    /// Plans, and lets go what the plan says unless that is not wished for. Needs a tokio runtime.
    pub async fn run_once(&self, wish: CleanupWish) -> Result<Cleaned, RepositoryError> {
        let core = self.core.clone();
        let cleaned = self.repository.apart("a cleanup", move |repository| core.work(repository, wish)).await;
        match &cleaned {
            Ok(cleaned) => self.tell(cleaned, wish),
            Err(error) => {
                let what = format!("{DOING} failed: {}", chain(error));
                self.repository.attention.raise(
                    Alarm::Failing(DOING),
                    what,
                    "look at the disk and the daemon's rights",
                );
            }
        }
        cleaned
    }

    /// What hosts asked for is written down, so that it outlives this process.
    pub async fn note_asked(&self) -> Result<(), RepositoryError> {
        let core = self.core.clone();
        self.repository.apart("what hosts asked for", move |repository| core.note_asked(repository)).await
    }

    fn tell(&self, cleaned: &Cleaned, wish: CleanupWish) {
        let attention = &self.repository.attention;
        attention.clear(&Alarm::Failing(DOING));
        if wish.dry_run {
            return;
        }
        match cleaned.withheld {
            Some(allowed) => {
                let many = cleaned.plan.leaving.len();
                let what = format!("{many} files would go, and no more than {allowed} may at once: none of them went");
                let cure = "look at `wuasync cleanup --dry-run`; `wuasync cleanup --force` lets them go";
                attention.raise(Alarm::CleanupWithheld, what, cure);
            }
            None => attention.clear(&Alarm::CleanupWithheld),
        }
        let (files, bytes, freed) = (cleaned.files, cleaned.bytes, cleaned.trash_bytes);
        tracing::info!(files, bytes, freed, withheld = cleaned.withheld.is_some(), "cleaned up");
    }
}

impl Job for Cleanup {
    fn name(&self) -> JobName {
        JobName::Cleanup
    }

    /// Where it is switched off, only when somebody wants it. A night that passed without it is told once more each time that
    /// it is asked, except on a secondary without a bound, where nothing is lost by it.
    fn next(&self, last: Option<Last>, now: i64, zone: &TimeZone) -> Result<Option<Next>, RepositoryError> {
        if !(self.is_enabled)() {
            self.repository.attention.clear(&Alarm::CleanupMissed);
            return Ok(None);
        }
        let lets_go = self.repository.role() == Role::Main || self.core.rules.most_held.is_some();
        match self.nights.missed(last, now, zone).filter(|_| lets_go) {
            Some(date) => {
                let what = format!("no cleanup ran in the night of {date}: the daemon was down, or the clock jumped");
                let cure = "it runs in the next night; `wuasync cleanup` runs it at once";
                self.repository.attention.raise(Alarm::CleanupMissed, what, cure);
            }
            None => self.repository.attention.clear(&Alarm::CleanupMissed),
        }
        Ok(self.nights.next(last, now, zone))
    }

    fn run(&self) -> BoxFuture<'_, Result<String, JobFailed>> {
        Box::pin(async {
            let let_trash_rest = self.repository.role() == Role::Secondary;
            let cleaned = self.run_once(CleanupWish { let_trash_rest, ..CleanupWish::default() }).await?;
            match cleaned.withheld {
                None if let_trash_rest => Ok(format!(
                    "{} files with {} were evicted, {} with {} left the trash",
                    cleaned.files,
                    units::bytes(cleaned.bytes),
                    cleaned.trash_files,
                    units::bytes(cleaned.trash_bytes)
                )),
                Some(allowed) => {
                    let many = cleaned.plan.leaving.len();
                    Ok(format!("none went: {many} files would go, and no more than {allowed} may at once"))
                }
                None => Ok(format!("{} files with {} went to the trash", cleaned.files, units::bytes(cleaned.bytes))),
            }
        })
    }
}

impl Core {
    fn note_asked(&self, repository: &Repository) -> Result<(), RepositoryError> {
        let asked = self.asked.take();
        let noted = repository.note_asked(&asked);
        if noted.is_err() {
            self.asked.put_back(asked);
        }
        noted
    }

    fn work(&self, repository: &Repository, wish: CleanupWish) -> Result<Cleaned, RepositoryError> {
        self.note_asked(repository)?;
        match repository.role() {
            Role::Main => self.clean_main(repository, wish),
            Role::Secondary => self.clean_secondary(repository, wish),
        }
    }

    /// What is evicted leaves for good: the parent has it.
    fn clean_secondary(&self, repository: &Repository, wish: CleanupWish) -> Result<Cleaned, RepositoryError> {
        let is_busy = |folder: &FolderName, name: &FileName| {
            let flies = self.flights.as_ref().is_some_and(|flights| flights.of(folder, name).is_some());
            flies || self.asked.is_serving(folder, name)
        };
        let gone = match self.rules.most_held.filter(|_| !wish.dry_run) {
            Some(most) => repository.evict(&evict::plan(repository, most, &is_busy)?)?,
            None => Default::default(),
        };
        let mut cleaned = Cleaned { files: gone.files, bytes: gone.bytes, ..Cleaned::default() };
        let mut free = wish.free.map(|free| free.max(gone.bytes));
        if wish.let_trash_rest {
            let rested = repository.sweep_trash(repository.clock().unix_seconds().saturating_sub(self.rules.trash))?;
            (cleaned.trash_files, cleaned.trash_bytes) = (rested.files, rested.bytes);
            free = Some(gone.bytes.saturating_sub(rested.bytes));
        }
        let swept = match free {
            _ if wish.dry_run => repository.trash_usage()?,
            free => repository.free_trash(free.unwrap_or(u64::MAX))?,
        };
        cleaned.trash_files += swept.files;
        cleaned.trash_bytes += swept.bytes;
        Ok(cleaned)
    }

    fn clean_main(&self, repository: &Repository, wish: CleanupWish) -> Result<Cleaned, RepositoryError> {
        let Some(folder) = repository.folder_names().find(|folder| folder.as_str() == UPDATES_FOLDER).cloned() else {
            return Ok(Cleaned::default());
        };
        let survey = fleet::survey(repository)?;
        let is_busy = |name: &FileName| {
            let flies = self.flights.as_ref().is_some_and(|flights| flights.of(&folder, name).is_some());
            flies || self.asked.is_serving(&folder, name)
        };
        let demand = survey.as_ref().map(|survey| &survey.demand);
        let told = survey.as_ref().map(|survey| names_of(&survey.told)).unwrap_or_default();
        let mut files = stocked(repository, &folder, demand, &told, &is_busy)?;
        if is_any_silent(repository)? {
            let now = repository.clock().unix_seconds();
            files.iter_mut().for_each(|file| file.asked_at = Some(now));
        }
        let by = Retention {
            keep: self.rules.keep,
            grace: self.rules.grace,
            unowned_too: wish.unowned_too,
            demand: survey.as_ref().map(|survey| Fleet { demand: &survey.demand, known_since: survey.known_since }),
            now: repository.clock().unix_seconds(),
        };
        let plan = plan_retention(files, &by);
        let hosts = survey.as_ref().map(|survey| survey.demand.hosts);
        let mut cleaned = Cleaned { plan, hosts, ..Cleaned::default() };
        if !wish.dry_run {
            act(repository, &folder, wish, &mut cleaned)?;
        }
        Ok(cleaned)
    }
}

/// Whether some secondary did not tell lately what its hosts ask for.
fn is_any_silent(repository: &Repository) -> Result<bool, RepositoryError> {
    let now = repository.clock().unix_seconds();
    let heard = repository.heard_since(now.saturating_sub(SILENT_AFTER))?;
    let members = repository.members()?;
    let is_secondary = |member: &&MemberRecord| {
        member.role == Role::Secondary && member.expires_at.is_none_or(|expires_at| expires_at > now)
    };
    Ok(members.iter().filter(is_secondary).any(|member| !heard.contains(&member.key)))
}

fn act(
    repository: &Repository,
    folder: &FolderName,
    wish: CleanupWish,
    cleaned: &mut Cleaned,
) -> Result<(), RepositoryError> {
    let mut still = wish.free.unwrap_or(0);
    if wish.free.is_some() {
        let swept = repository.free_trash(still)?;
        (cleaned.trash_files, cleaned.trash_bytes) = (swept.files, swept.bytes);
        still = still.saturating_sub(swept.bytes);
    }
    let all = cleaned.plan.leaving.iter().map(|file| (file.name.clone(), file.size));
    let files: Vec<_> = match wish.free {
        None => all.collect(),
        Some(_) => {
            let mut sum = 0;
            let is_too_little = |(_, size): &(FileName, u64)| {
                let before = sum;
                sum += size;
                before < still
            };
            all.take_while(is_too_little).collect()
        }
    };
    match repository.let_go(folder, &files, cleaned.plan.counted_files(), wish.force)? {
        LetGo::Gone(gone) => (cleaned.files, cleaned.bytes) = (gone.files, gone.bytes),
        LetGo::Withheld { allowed, .. } => cleaned.withheld = Some(allowed),
    }
    if wish.free.is_some() && still > 0 && cleaned.files > 0 {
        let swept = repository.free_trash(still)?;
        cleaned.trash_files += swept.files;
        cleaned.trash_bytes += swept.bytes;
    }
    Ok(())
}

/// Which updates name a file, as hosts told.
type Names<'t> = HashMap<&'t FileName, Vec<UpdateId>>;

fn names_of(told: &BTreeMap<UpdateId, crate::domain::host::ToldUpdate>) -> Names<'_> {
    let mut names = Names::new();
    for (id, update) in told {
        update.urls.iter().for_each(|url| names.entry(url.file_name()).or_default().push(*id));
    }
    names
}

/// Every file of the folder as the plan looks at it.
fn stocked(
    repository: &Repository,
    folder: &FolderName,
    demand: Option<&Demand>,
    told: &Names<'_>,
    is_busy: &dyn Fn(&FileName) -> bool,
) -> Result<Vec<StockedFile>, RepositoryError> {
    let held = repository.held_files(folder)?;
    let uses = repository.uses_of(folder, &held)?;
    let (ledger, editions) = (&repository.state().ledger, &repository.state().editions);
    let revisions = revisions(demand);
    let mut files = Vec::with_capacity(held.len());
    let mut by_sha1: HashMap<Sha1, Vec<usize>> = HashMap::new();
    for (name, size) in held {
        let facts = ledger.known_file(folder, &name)?.map(|known| known.facts);
        let indexed = editions.file_of_name(&name)?.map(|file| file.sha1);
        let sha1 = name.promised_sha1().or(facts.as_ref().and_then(|facts| facts.sha1)).or(indexed);
        if let Some(sha1) = sha1 {
            by_sha1.entry(sha1).or_default().push(files.len());
        }
        let mut updates: BTreeSet<UpdateId> = facts.into_iter().flat_map(|facts| facts.updates).collect();
        updates.extend(told.get(&name).into_iter().flatten());
        let UseRecord { arrived_at, asked_at } =
            uses.get(&name).copied().unwrap_or(UseRecord { arrived_at: u64::MAX, asked_at: None });
        let want = ledger.want_row(folder, &name)?;
        let file = StockedFile {
            is_busy: is_busy(&name),
            is_wanted: want.is_some_and(|row| row.want.is_of_an_administrator()),
            name,
            size,
            arrived_at: Some(arrived_at),
            asked_at,
            updates: Vec::new(),
            index: IndexWord::Unknown,
        };
        files.push((file, updates));
    }
    let has_edition = editions.current()?.is_some();
    editions.each_update(None, None, |update| {
        for sha1 in &update.files {
            for place in by_sha1.get(sha1).into_iter().flatten() {
                let (file, updates) = &mut files[*place];
                updates.insert(update.id);
                if update.superseded_by.is_empty() {
                    file.index = IndexWord::Current;
                } else if file.index == IndexWord::Unknown {
                    file.index = IndexWord::Superseded;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let finish = |(mut file, updates): (StockedFile, BTreeSet<UpdateId>)| {
        // Hosts look into editions of many months: another revision of the update is as good a reason.
        let others = updates.iter().filter_map(|id| revisions.get(&id.guid())).flatten();
        file.updates = others.chain(&updates).copied().collect::<BTreeSet<_>>().into_iter().collect();
        if !has_edition {
            file.index = IndexWord::NoEdition;
        }
        file
    };
    Ok(files.into_iter().map(finish).collect())
}

/// Every revision of an update that some host has or needs.
fn revisions(demand: Option<&Demand>) -> HashMap<crate::domain::guid::Guid, Vec<UpdateId>> {
    let mut revisions: HashMap<_, Vec<_>> = HashMap::new();
    for (id, _) in demand.into_iter().flat_map(Demand::tallies) {
        revisions.entry(id.guid()).or_default().push(id);
    }
    revisions
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod year;
