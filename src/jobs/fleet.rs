//! What is known of all hosts, brought together: what they need and have, which files that means, and which of those
//! are to be fetched. Reads rows and lets `policy` decide; writes wants alone.

use crate::{
    catalog::{AskOutcome, HostRecord, KeptHost, Snapshot, Wanted},
    domain::{
        edition::{CategoryKind, EditionUpdate},
        host::{HostFacts, KnownUpdates, ToldUpdate, UpdateTraits},
        member::NodeName,
        name::{FileName, FolderName},
        origin::OriginUrl,
        rules::RuleBook,
        update::UpdateId,
        wants::{Asker, FileClaim},
    },
    policy::{
        demand::{Demand, is_stale},
        host_state::{Judge, Need, Standing, Stock},
        merge::MergedBook,
    },
    repository::{Repository, RepositoryError},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// The folder of updates.
pub(super) const UPDATES_FOLDER: &str = "waptwua";
/// Files of one update that are looked at.
const MAX_FILES: usize = 1_024;
/// Claims that are made in one commit.
const CLAIMS: usize = 256;

/// All hosts, as of one moment.
#[derive(Debug)]
pub struct Survey {
    /// What they need and have.
    pub demand: Demand,
    /// Since when any host is known, in seconds since 1970 UTC.
    pub known_since: u64,
    /// What hosts told of updates.
    pub told: BTreeMap<UpdateId, ToldUpdate>,
    /// Files that hosts asked repositories for in vain and may have, with what is told of them.
    pub in_vain: BTreeMap<FileName, FileClaim>,
}

/// Looks at every host. `None` where nothing was ever told of any: that is no empty fleet.
pub fn survey(repository: &Repository) -> Result<Option<Survey>, RepositoryError> {
    let hosts = &repository.state().hosts;
    let (count, Some(known_since)) = hosts.known()? else { return Ok(None) };
    let (book, now) = (repository.rules()?, repository.clock().unix_seconds());
    let mut told = BTreeMap::new();
    hosts.each_told(|id, update| {
        told.insert(id, update);
        Ok::<_, RepositoryError>(())
    })?;
    let known = known_updates(repository, told.iter().map(|(id, told)| (*id, told.traits.clone())), |_| true)?;
    let mut by_name: HashMap<&FileName, BTreeSet<UpdateId>> = HashMap::new();
    for (id, update) in &told {
        for url in &update.urls {
            by_name.entry(url.file_name()).or_default().insert(*id);
        }
    }
    let mut merged = MergedBook::new(&book);
    let (mut demand, mut in_vain) = (Demand::default(), BTreeMap::new());
    hosts.each_after(None, |HostRecord { facts, missing_downloads, .. }| {
        let (settings, rules) = merged.rules_for(&facts);
        let judge = Judge { settings, rules, known: &known, now };
        demand.add(&facts, &judge);
        if !missing_downloads.is_empty() && settings.asks_repositories() && !is_stale(&facts, now) {
            for url in missing_downloads {
                let updates = by_name.get(url.file_name()).cloned().unwrap_or_default();
                if may_have(&facts, &updates, &judge) {
                    let claim = FileClaim { updates, ..FileClaim::of_url(url) };
                    in_vain.entry(claim.name().clone()).or_insert(claim);
                }
            }
        }
        Ok::<_, RepositoryError>(true)
    })?;
    tracing::debug!(hosts = count, updates = told.len(), "hosts were looked at");
    Ok(Some(Survey { demand, known_since, told, in_vain }))
}

/// Whether rules let a host have a file of these updates: one that belongs to none is not ruled on.
fn may_have(facts: &HostFacts, updates: &BTreeSet<UpdateId>, judge: &Judge<'_>) -> bool {
    let needs = |id: &UpdateId| {
        let local = facts.updates.binary_search_by_key(id, |update| update.id).ok().map(|n| &facts.updates[n]);
        local.is_some_and(|local| judge.standing(facts, local, |_| Stock::Absent).need() != Need::No)
    };
    updates.is_empty() || updates.iter().any(needs)
}

/// What is known of these updates, from hosts and from the published edition together. Those that nobody judges are not
/// looked up in the edition: whether they take the place of others stands with the others.
pub fn known_updates(
    repository: &Repository,
    updates: impl Iterator<Item = (UpdateId, UpdateTraits)>,
    is_judged: impl Fn(UpdateId) -> bool,
) -> Result<KnownUpdates, RepositoryError> {
    let mut known: BTreeMap<UpdateId, UpdateTraits> = updates.collect();
    let mut newer = Vec::new();
    for (id, traits) in known.iter_mut().filter(|(id, _)| is_judged(**id)) {
        if let Some(indexed) = repository.edition_update(*id)? {
            complete(traits, &indexed);
            newer.extend(indexed.superseded_by.iter().map(|newer| (newer.guid(), id.guid())));
        }
    }
    newer.sort_unstable();
    for (id, traits) in &mut known {
        let first = newer.partition_point(|(guid, _)| *guid < id.guid());
        let older = newer[first..].iter().take_while(|(guid, _)| *guid == id.guid()).map(|(_, older)| *older);
        traits.supersedes.extend(older);
    }
    Ok(known.into_iter().collect())
}

/// Where hosts said nothing, the edition does.
fn complete(traits: &mut UpdateTraits, indexed: &EditionUpdate) {
    if traits.kbs.is_empty() {
        traits.kbs = indexed.kbs.clone();
    }
    traits.severity = traits.severity.or(indexed.severity);
    let names = |kind| {
        let of_kind = indexed.categories.iter().filter(move |category| category.kind == kind);
        of_kind.filter_map(|category| category.name.clone())
    };
    // Rules name both in Microsoft's words or in a host's language.
    traits.products.extend(names(CategoryKind::Product));
    traits.classifications.extend(names(CategoryKind::Classification));
    traits.classifications.extend(indexed.classification().map(|known| Arc::from(known.as_str())));
}

/// The files of one update, with what is known of each: where hosts told addresses those, else the edition's, else
/// what somebody told before.
pub fn files_of(
    repository: &Repository,
    id: UpdateId,
    told: Option<&ToldUpdate>,
) -> Result<BTreeMap<FileName, Option<FileClaim>>, RepositoryError> {
    let mut files = BTreeMap::new();
    for url in told.iter().flat_map(|told| &told.urls) {
        let claim = match repository.edition_claim(url.file_name())? {
            Some(indexed) => FileClaim { url: url.clone(), ..indexed },
            None => FileClaim::of_url(url.clone()),
        };
        files.insert(url.file_name().clone(), claim.checked().ok());
    }
    if files.is_empty()
        && let Some(update) = repository.edition_update(id)?
    {
        for sha1 in update.files.iter().take(MAX_FILES) {
            let Some(file) = repository.state().editions.file(sha1)? else { continue };
            let Some(url) = file.url else { continue };
            let claim = FileClaim { size: file.size, sha1: Some(*sha1), sha256: file.sha256, ..FileClaim::of_url(url) };
            files.insert(claim.name().clone(), claim.checked().ok());
        }
    }
    if files.is_empty() {
        let known = repository.state().ledger.files_of_update(id, MAX_FILES)?;
        let here = known.into_iter().filter(|(folder, _)| folder.as_str() == UPDATES_FOLDER);
        files.extend(here.map(|(_, name)| (name, None)));
    }
    for claim in files.values_mut().flatten() {
        claim.updates.insert(id);
    }
    Ok(files)
}

/// What this repository has of an update with these files.
pub fn stock(
    repository: &Repository,
    folder: &FolderName,
    files: &BTreeMap<FileName, Option<FileClaim>>,
) -> Result<Stock, RepositoryError> {
    let (index, ledger) = (repository.state().index.read()?, &repository.state().ledger);
    let mut stock = if files.is_empty() { Stock::Absent } else { Stock::Held };
    for name in files.keys() {
        if index.holding(folder, name)?.is_some() {
            continue;
        }
        let is_coming = index.missing(folder, name)?.is_some() || ledger.want_row(folder, name)?.is_some();
        stock = stock.min(if is_coming { Stock::Coming } else { Stock::Absent });
    }
    Ok(stock)
}

/// One of a host's updates, and where it stands.
#[derive(Debug, Clone)]
pub struct HostUpdate {
    /// Which one.
    pub id: UpdateId,
    /// For people.
    pub title: Option<String>,
    /// What is known of it.
    pub traits: UpdateTraits,
    /// In WAPT's words.
    pub state: crate::policy::host_state::HostState,
    /// Whether the host needs it.
    pub need: Need,
    /// Why it stands so, in words.
    pub why: String,
}

/// What is needed to say where updates of hosts stand: rules, and what is known of updates.
pub struct Sight {
    book: RuleBook,
    known: KnownUpdates,
    told: BTreeMap<UpdateId, ToldUpdate>,
    /// What was looked up of updates that hosts need.
    stocks: HashMap<UpdateId, Stock>,
}

impl Sight {
    /// For any number of hosts.
    pub fn new(repository: &Repository) -> Result<Self, RepositoryError> {
        let mut told = BTreeMap::new();
        repository.state().hosts.each_told(|id, update| {
            told.insert(id, update);
            Ok::<_, RepositoryError>(())
        })?;
        Self::with(repository, told)
    }

    /// For one host.
    pub fn of(repository: &Repository, host: &HostRecord) -> Result<Self, RepositoryError> {
        let ids = host.facts.updates.iter().map(|update| update.id);
        Self::with(repository, repository.state().hosts.told_of(ids)?)
    }

    fn with(repository: &Repository, told: BTreeMap<UpdateId, ToldUpdate>) -> Result<Self, RepositoryError> {
        let known = known_updates(repository, told.iter().map(|(id, told)| (*id, told.traits.clone())), |_| true)?;
        Ok(Self { book: repository.rules()?, known, told, stocks: HashMap::new() })
    }

    /// Where every update of a host stands.
    pub fn standings(
        &mut self,
        repository: &Repository,
        host: &HostRecord,
    ) -> Result<Vec<HostUpdate>, RepositoryError> {
        let (facts, now) = (&host.facts, repository.clock().unix_seconds());
        let Self { book, known, told, stocks } = self;
        let mut merged = MergedBook::new(book);
        let (settings, rules) = merged.rules_for(facts);
        let judge = Judge { settings, rules, known, now };
        let folder = FolderName::new(UPDATES_FOLDER).ok();
        let mut standings = Vec::with_capacity(facts.updates.len());
        for update in &facts.updates {
            let mut standing = judge.standing(facts, update, |_| Stock::Absent);
            let told = told.get(&update.id);
            if let (Standing::Needed { stock: here, .. }, Some(folder)) = (&mut standing, &folder) {
                *here = match stocks.get(&update.id) {
                    Some(known) => *known,
                    None => stock(repository, folder, &files_of(repository, update.id, told)?)?,
                };
                stocks.insert(update.id, *here);
            }
            standings.push(HostUpdate {
                id: update.id,
                title: told.and_then(|told| told.title.clone()),
                traits: known.traits(update.id).cloned().unwrap_or_default(),
                state: standing.state(),
                need: standing.need(),
                why: standing.to_string(),
            });
        }
        Ok(standings)
    }
}

/// What looking for needs of hosts came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NeedsMet {
    /// Hosts that were looked at.
    pub hosts: u32,
    /// Files that are wanted since.
    pub wanted: u64,
    /// Wants that ended because no host needs their updates any more.
    pub ended: u64,
}

/// What hosts need and is not here becomes wanted, in the name of this node; what no host needs any more is wanted in
/// its name no longer.
pub fn want_what_hosts_need(repository: &Repository, node: &NodeName) -> Result<NeedsMet, RepositoryError> {
    let Some(survey) = survey(repository)? else { return Ok(NeedsMet::default()) };
    let Ok(folder) = FolderName::new(UPDATES_FOLDER) else { return Ok(NeedsMet::default()) };
    let mut met = NeedsMet { hosts: survey.demand.hosts, ..NeedsMet::default() };
    let asker = Asker::Member { name: node.clone() };
    let here = Here::new(repository, folder.clone())?;
    let mut claims = Vec::new();
    for (id, tally) in survey.demand.tallies() {
        if !tally.is_asked_for() {
            continue;
        }
        for (name, claim) in files_of(repository, id, survey.told.get(&id))? {
            if let Some(claim) = claim
                && here.lacks(&name)?
            {
                claims.push((folder.clone(), claim));
            }
        }
    }
    for (name, claim) in &survey.in_vain {
        if here.lacks(name)? {
            claims.push((folder.clone(), claim.clone()));
        }
    }
    drop(here);
    for claims in claims.chunks(CLAIMS) {
        let outcomes = repository.ask(claims, &asker)?;
        met.wanted += outcomes.iter().filter(|outcome| matches!(outcome, AskOutcome::Wanted { .. })).count() as u64;
    }
    met.ended = end_wants(repository, &survey, &asker)?;
    Ok(met)
}

/// What is here, named by the index, or wanted by somebody, as of one moment.
struct Here {
    index: Arc<Snapshot>,
    wanted: Wanted,
    folder: FolderName,
}

impl Here {
    fn new(repository: &Repository, folder: FolderName) -> Result<Self, RepositoryError> {
        let state = repository.state();
        Ok(Self { index: state.index.read()?, wanted: state.ledger.wanted()?, folder })
    }

    /// Whether a file is none of that.
    fn lacks(&self, name: &FileName) -> Result<bool, RepositoryError> {
        let Self { index, wanted, folder } = self;
        let is_here = index.holding(folder, name)?.is_some() || index.missing(folder, name)?.is_some();
        Ok(!is_here && !wanted.has(folder, name)?)
    }

    /// Whether one of these files is none of that.
    fn lacks_any(&self, urls: &[OriginUrl]) -> Result<bool, RepositoryError> {
        for url in urls {
            if self.lacks(url.file_name())? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn end_wants(repository: &Repository, survey: &Survey, asker: &Asker) -> Result<u64, RepositoryError> {
    let mut ended = Vec::new();
    repository.state().ledger.each_want_after(None, |row| {
        let is_own = row.want.askers.keys().eq([asker]);
        let updates: &BTreeSet<UpdateId> = &row.file.facts.updates;
        let is_needed = || {
            let asked_for = updates.iter().any(|id| survey.demand.tally(*id).is_asked_for());
            asked_for || survey.in_vain.contains_key(&row.file.name)
        };
        if is_own && !is_needed() {
            ended.push((row.file.folder, row.file.name));
        }
        Ok::<_, RepositoryError>(true)
    })?;
    if !ended.is_empty() {
        repository.state().ledger.drop_wants(&ended)?;
    }
    Ok(ended.len() as u64)
}

/// What one host needs and is not here becomes wanted at once, and so does what it asked repositories for in vain and may
/// have; answers with how many files.
pub fn want_what_host_needs(repository: &Repository, node: &NodeName, host: KeptHost) -> Result<u64, RepositoryError> {
    let Ok(folder) = FolderName::new(UPDATES_FOLDER) else { return Ok(0) };
    let KeptHost { record: HostRecord { facts, missing_downloads, .. }, mut told, .. } = host;
    let (book, now) = (repository.rules()?, repository.clock().unix_seconds());
    let mut merged = MergedBook::new(&book);
    let (settings, rules) = merged.rules_for(&facts);
    if !settings.asks_repositories() || is_stale(&facts, now) {
        return Ok(0);
    }
    let here = Here::new(repository, folder.clone())?;
    // Mostly all is here or wanted already, and nothing has to be judged.
    let mut open = BTreeMap::new();
    for update in facts.updates.iter().filter(|update| Standing::by_itself(update.flags).is_none()) {
        let urls = told.get(&update.id).map_or(&[][..], |told| &told.urls);
        if urls.is_empty() || here.lacks_any(urls)? {
            open.insert(update.id, update);
        }
    }
    let mut in_vain = Vec::new();
    for url in missing_downloads {
        if here.lacks(url.file_name())? {
            let updates = repository.state().hosts.updates_of(url.file_name())?;
            in_vain.push(FileClaim { updates, ..FileClaim::of_url(url) });
        }
    }
    if open.is_empty() && in_vain.is_empty() {
        return Ok(0);
    }
    let of_files = in_vain.iter().flat_map(|claim| &claim.updates);
    let judged: BTreeSet<UpdateId> = open.keys().chain(of_files).copied().collect();
    let traits = told.iter_mut().map(|(id, told)| (*id, std::mem::take(&mut told.traits)));
    let known = known_updates(repository, traits, |id| judged.contains(&id))?;
    let judge = Judge { settings, rules, known: &known, now };
    let mut claims = Vec::new();
    for (id, update) in open {
        if judge.standing(&facts, update, |_| Stock::Absent).need() == Need::No {
            continue;
        }
        for (name, claim) in files_of(repository, id, told.get(&id))? {
            if let Some(claim) = claim
                && here.lacks(&name)?
            {
                claims.push((folder.clone(), claim));
            }
        }
    }
    let in_vain = in_vain.into_iter().filter(|claim| may_have(&facts, &claim.updates, &judge));
    claims.extend(in_vain.map(|claim| (folder.clone(), claim)));
    drop(here);
    let mut wanted = BTreeSet::new();
    for claims in claims.chunks(CLAIMS) {
        let outcomes = repository.ask(claims, &Asker::Member { name: node.clone() })?;
        let made = claims.iter().zip(outcomes).filter(|(_, outcome)| matches!(outcome, AskOutcome::Wanted { .. }));
        wanted.extend(made.map(|((_, claim), _)| claim.name()));
    }
    Ok(wanted.len() as u64)
}
