//! From what was read, by number, to an edition without numbers. Order of events: updates get their places, by
//! id; what shards tell goes to its update; numbers become places; files get their sizes and addresses; bundles
//! get the files of what is in them; categories get their names.

use super::{
    details::{Extended, FileDetails},
    edition::{Edition, Known, KnownFile, Oddities},
    error::{EditionError, Fault},
    index::Index,
    options::Options,
    package::{Listed, Lists, Package, Span},
    shard::{Details, Shard},
};
use crate::domain::{
    digest::Sha1,
    edition::{Category, CategoryKind},
    guid::Guid,
    origin::OriginUrl,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

const PACKAGE: [&str; 2] = ["package.cab", "package.xml"];

/// Joins what was read.
pub(super) fn assemble(
    index: &Index,
    mut package: Package,
    shards: Vec<Shard>,
    options: &Options,
) -> Result<Edition, EditionError> {
    let mut oddities = Oddities::default();
    let numbers = Numbers::new(&mut package.updates, &mut oddities).map_err(|fault| fault.of(&PACKAGE))?;
    if package.updates.is_empty() {
        return Err(Fault::NoUpdates.of(&PACKAGE));
    }
    let mut details = details(index, &package.updates, shards, &mut oddities)?;
    let files = files(&package, &mut details, &mut oddities);
    let (categories, order) = categories(&package, &details, &mut oddities);
    let mut places = Places { all: Vec::new(), limit: options.limits.max_references };
    let links = Links { numbers: &numbers, lists: &package.lists, files: &files, categories: &order };
    let updates = links.updates(&package.updates, details, &mut places, &mut oddities);
    let updates = updates.map_err(|fault| fault.of(&PACKAGE))?;
    Ok(Edition {
        id: package.id,
        languages: options.languages.clone(),
        updates,
        categories,
        files,
        places: places.all,
        oddities,
    })
}

/// Which place each number leads to.
struct Numbers(Vec<(u64, u32)>);

impl Numbers {
    /// Sorts the updates by id, and leaves the first of those with one id.
    fn new(updates: &mut Vec<Listed>, oddities: &mut Oddities) -> Result<Self, Fault> {
        updates.sort_by_key(|update| (update.id, update.revision));
        let (mut numbers, mut place) = (Vec::with_capacity(updates.len()), 0);
        for (n, update) in updates.iter().enumerate() {
            place += u32::from(n > 0 && updates[n - 1].id != update.id);
            numbers.push((update.revision, place));
        }
        let listed = updates.len();
        updates.dedup_by_key(|update| update.id);
        oddities.repeated_updates = (listed - updates.len()) as u32;
        numbers.sort_unstable();
        numbers.dedup();
        match numbers.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(Fault::RevisionTwice(pair[0].0)),
            None => Ok(Self(numbers)),
        }
    }

    fn place(&self, number: u64) -> Option<u32> {
        let at = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.0[at].1)
    }
}

/// What shards tell of each update, in the order of the updates.
fn details(
    index: &Index,
    updates: &[Listed],
    shards: Vec<Shard>,
    oddities: &mut Oddities,
) -> Result<Vec<Details>, EditionError> {
    let mut by_name: BTreeMap<String, BTreeMap<u64, Details>> = BTreeMap::new();
    for shard in shards {
        match index.has(&shard.name) {
            true => drop(by_name.insert(shard.name, shard.details)),
            false => oddities.unlisted_cabinets.push(shard.name),
        }
    }
    // Of each shard, how many updates should be in it and how many are.
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut all = Vec::with_capacity(updates.len());
    for update in updates {
        let shard = index.shard_of(update.revision);
        let shard = shard.ok_or_else(|| Fault::NoShard(update.revision).of(&PACKAGE))?;
        let details = by_name.get_mut(shard).and_then(|shard| shard.remove(&update.revision));
        let (listed, found) = counts.entry(shard).or_default();
        *listed += 1;
        *found += usize::from(details.is_some());
        oddities.updates_without_details += u32::from(details.is_none());
        let details = details.unwrap_or_default();
        same_update(update, &details, shard)?;
        all.push(details);
    }
    let missing = index.shards().filter(|name| !by_name.contains_key(*name));
    oddities.missing_shards =
        missing.map(|name| (name.to_owned(), counts.get(name).map_or(0, |(listed, _)| *listed as u32))).collect();
    if let Some((shard, (listed, _))) =
        counts.into_iter().find(|(shard, (_, found))| *found == 0 && by_name.contains_key(*shard))
    {
        return Err(Fault::EmptyShard(listed).of(&[shard]));
    }
    oddities.details_without_update = by_name.values().map(|left| left.len() as u32).sum();
    Ok(all)
}

/// Numbers are of one edition: a shard of another one would tell of other updates.
fn same_update(update: &Listed, details: &Details, shard: &str) -> Result<(), EditionError> {
    match details.core {
        Some(core) if core.id != update.id => {
            let (found, listed) = (core.id.to_string(), update.id.to_string());
            let fault = Fault::OtherUpdate { revision: update.revision, found, listed };
            Err(fault.of(&[shard, &format!("c\\{}", update.revision)]))
        }
        _ => Ok(()),
    }
}

/// All files that updates have, by SHA-1, with what shards tell of them and where they are.
fn files(package: &Package, details: &mut [Details], oddities: &mut Oddities) -> Vec<KnownFile> {
    let mut digests = package.lists.digests.clone();
    digests.sort_unstable();
    digests.dedup();
    let of_digest = |sha1| KnownFile { sha1, size: None, sha256: None, url: None };
    let mut files: Vec<KnownFile> = digests.into_iter().map(of_digest).collect();
    for extended in details.iter_mut().filter_map(|details| details.extended.as_mut()) {
        oddities.unreadable_values += extended.unreadable;
        for told in std::mem::take(&mut extended.files) {
            match find(&files, told.sha1) {
                Some(place) => oddities.contradictory_files += u32::from(!files[place].learn(&told)),
                None => oddities.files_without_update += 1,
            }
        }
    }
    locate(&mut files, package, oddities);
    oddities.files_without_url = files.iter().filter(|file| file.url.is_none()).count() as u32;
    oddities.files_without_size = files.iter().filter(|file| file.size.is_none()).count() as u32;
    files
}

fn find(files: &[KnownFile], sha1: Sha1) -> Option<usize> {
    files.binary_search_by_key(&sha1, |file| file.sha1).ok()
}

impl KnownFile {
    /// Whether it agrees with what is known.
    fn learn(&mut self, told: &FileDetails) -> bool {
        let agrees = self.size.is_none_or(|size| size == told.size)
            && self.sha256.is_none_or(|sha256| told.sha256.is_none_or(|told| told == sha256));
        if agrees {
            self.size = Some(told.size);
            self.sha256 = self.sha256.or(told.sha256);
        }
        agrees
    }
}

fn locate(files: &mut [KnownFile], package: &Package, oddities: &mut Oddities) {
    let eulas: HashSet<Sha1> = package.eulas.iter().copied().collect();
    for (sha1, url) in &package.locations {
        let Some(place) = find(files, *sha1) else {
            oddities.urls_without_file += u32::from(!eulas.contains(sha1));
            continue;
        };
        match &mut files[place].url {
            _ if OriginUrl::new(url).is_err() => oddities.refused_urls += 1,
            Some(known) => oddities.repeated_urls += u32::from(known != url),
            unknown => *unknown = Some(url.clone()),
        }
    }
}

/// The categories by kind and id; and for each place in the package's list, its place among them.
fn categories(package: &Package, details: &[Details], oddities: &mut Oddities) -> (Vec<Category>, Vec<u32>) {
    let ids: HashSet<Guid> = package.categories.iter().map(|(_, id)| *id).collect();
    let mut names: HashMap<Guid, Arc<str>> = HashMap::new();
    // By id and RevisionNumber: the last one's title is the newest.
    for (update, details) in package.updates.iter().zip(details) {
        let title = details.titles.iter().min_by_key(|(language, _)| *language);
        if let Some((_, title)) = title.filter(|_| ids.contains(&update.id.guid())) {
            names.insert(update.id.guid(), Arc::from(title.as_ref()));
        }
    }
    let mut sorted: Vec<(CategoryKind, Guid, u32)> =
        package.categories.iter().zip(0..).map(|((kind, id), n)| (*kind, *id, n)).collect();
    sorted.sort_unstable();
    let mut order = vec![0; sorted.len()];
    for ((_, _, n), place) in sorted.iter().zip(0..) {
        order[*n as usize] = place;
    }
    let named = |(kind, id, _)| Category { kind, id, name: names.get(&id).cloned() };
    let categories: Vec<Category> = sorted.into_iter().map(named).collect();
    oddities.categories_without_name = categories.iter().filter(|category| category.name.is_none()).count() as u32;
    (categories, order)
}

/// The list that all spans are of.
struct Places {
    all: Vec<u32>,
    limit: u32,
}

impl Places {
    /// Adds a list, sorted and without repetition.
    fn add(&mut self, mut own: Vec<u32>) -> Result<Span, Fault> {
        own.sort_unstable();
        own.dedup();
        if self.all.len() + own.len() > self.limit as usize {
            return Err(Fault::Limit { what: "references of bundles and updates", limit: self.limit.into() });
        }
        let start = self.all.len();
        self.all.append(&mut own);
        Ok(Span::new(start, self.all.len()))
    }
}

/// What leads from the package's lists to places.
struct Links<'a> {
    numbers: &'a Numbers,
    lists: &'a Lists,
    files: &'a [KnownFile],
    categories: &'a [u32],
}

impl Links<'_> {
    fn updates(
        &self,
        listed: &[Listed],
        details: Vec<Details>,
        places: &mut Places,
        oddities: &mut Oddities,
    ) -> Result<Vec<Known>, Fault> {
        let mut updates = Vec::with_capacity(listed.len());
        for ((update, details), own) in listed.iter().zip(details).zip(0..) {
            let categories = &self.lists.categories[update.categories.range()];
            let payload = &self.lists.digests[update.payload.range()];
            let files = payload.iter().filter_map(|sha1| find(self.files, *sha1)).map(|place| place as u32);
            let mut titles = details.titles;
            titles.sort_by_key(|(language, _)| *language);
            updates.push(Known {
                id: update.id,
                created: update.created,
                is_bundle: update.is_bundle,
                is_leaf: update.is_leaf,
                kind: details.core.map(|core| core.kind),
                extended: details.extended.map(in_order),
                titles,
                categories: places.add(categories.iter().map(|n| self.categories[*n as usize]).collect())?,
                superseded_by: places.add(self.others(update.superseded_by, own, oddities))?,
                bundled_by: places.add(self.others(update.bundled_by, own, oddities))?,
                bundles: Span::default(),
                files: places.add(files.collect())?,
            });
        }
        bundle(&mut updates, places)?;
        Ok(updates)
    }

    /// The updates that numbers lead to, other than the one whose numbers they are.
    fn others(&self, numbers: Span, own: u32, oddities: &mut Oddities) -> Vec<u32> {
        let numbers = &self.lists.revisions[numbers.range()];
        let known: Vec<u32> = numbers.iter().filter_map(|number| self.numbers.place(*number)).collect();
        oddities.unknown_numbers += (numbers.len() - known.len()) as u32;
        known.into_iter().filter(|place| *place != own).collect()
    }
}

fn in_order(mut extended: Box<Extended>) -> Box<Extended> {
    let Extended { kbs, bulletins, cves, .. } = &mut *extended;
    kbs.sort_unstable();
    kbs.dedup();
    for texts in [bulletins, cves] {
        texts.sort_unstable();
        texts.dedup();
    }
    extended
}

/// Gives every bundle what is in it, and the files of that, however deep.
fn bundle(updates: &mut [Known], places: &mut Places) -> Result<(), Fault> {
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (update, child) in updates.iter().zip(0..) {
        pairs.extend(places.all[update.bundled_by.range()].iter().map(|bundle| (*bundle, child)));
    }
    pairs.sort_unstable();
    for of_one in pairs.chunk_by(|a, b| a.0 == b.0) {
        updates[of_one[0].0 as usize].bundles = places.add(of_one.iter().map(|(_, child)| *child).collect())?;
    }
    let mut whole = Vec::new();
    let mut walk = Walk { seen: vec![u32::MAX; updates.len()], steps: 0 };
    for of_one in pairs.chunk_by(|a, b| a.0 == b.0) {
        let bundle = of_one[0].0;
        let files = walk.files_within(bundle, updates, places)?;
        whole.push((bundle, places.add(files)?));
    }
    for (bundle, files) in whole {
        updates[bundle as usize].files = files;
    }
    Ok(())
}

/// A walk through all bundles, one after the other.
struct Walk {
    /// For each update the bundle that met it last.
    seen: Vec<u32>,
    /// What was looked at, in all bundles.
    steps: usize,
}

impl Walk {
    /// The files of a bundle and of all that is in it, even if bundles were in each other.
    fn files_within(&mut self, bundle: u32, updates: &[Known], places: &Places) -> Result<Vec<u32>, Fault> {
        let (mut files, mut left) = (Vec::new(), vec![bundle]);
        self.seen[bundle as usize] = bundle;
        while let Some(next) = left.pop() {
            let update = &updates[next as usize];
            files.extend_from_slice(&places.all[update.files.range()]);
            for child in &places.all[update.bundles.range()] {
                if std::mem::replace(&mut self.seen[*child as usize], bundle) != bundle {
                    left.push(*child);
                }
            }
            self.steps += update.files.range().len() + update.bundles.range().len();
            if self.steps > places.limit as usize {
                return Err(Fault::Limit { what: "references of bundles in each other", limit: places.limit.into() });
            }
        }
        Ok(files)
    }
}
