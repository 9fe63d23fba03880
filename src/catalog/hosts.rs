//! `hosts.redb`: facts of hosts, what they tell of updates, and reports on their way to the parent. Hosts tell it
//! again, so it is in no backup; whose reports are believed is in the ledger.
//!
//! A host is one value, so that a report is one row however many updates it has. What is told of updates is shared
//! by all hosts, and written only where a host tells something new.

use super::{
    error::{CatalogError, OpenCatalogError},
    home::Home,
    index::CACHE_BYTES,
    ledger::row_of,
    records::HostRecord,
    tables,
};
use crate::{
    base::random_access::RandomAccess,
    domain::{
        host::{HostUuid, ToldUpdate},
        name::FileName,
        update::UpdateId,
    },
};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most updates that are remembered; beyond it what is told of new ones is passed over.
const MAX_TOLD: u64 = 200_000;
/// Most updates of one file that are looked at.
const MAX_OF_FILE: usize = 64;
/// Since when any host is known.
const KNOWN_SINCE: &str = "known_since";

/// A host as it is kept from here on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHost {
    /// Its row.
    pub record: HostRecord,
    /// What is known of its updates, and of those that it told of besides.
    pub told: BTreeMap<UpdateId, ToldUpdate>,
    /// Whether it was unknown before.
    pub is_new: bool,
}

/// How much waits for the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimit {
    /// Hosts.
    pub hosts: u64,
    /// Bytes of all reports.
    pub bytes: u64,
}

impl Default for OutboxLimit {
    /// A site of 20,000 hosts with reports of 50 KB each, packed.
    fn default() -> Self {
        Self { hosts: 20_000, bytes: 1 << 30 }
    }
}

/// The database of hosts. One writer; every write is durable when it returns.
pub struct Hosts {
    home: Home,
}

impl Hosts {
    /// Opens the database in `file`, or makes one in an empty file.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let hosts = Self { home: Home::open(file, CACHE_BYTES)? };
        hosts.write(|transaction| {
            transaction.open_table(tables::META)?;
            transaction.open_table(tables::TOLD_UPDATES)?;
            transaction.open_table(tables::OUTBOX)?;
            see_all(transaction)?;
            name_all(transaction)
        })?;
        Ok(hosts)
    }

    /// Keeps what was told of one host at `now` (seconds since 1970 UTC). `complete` makes the row from the one that is
    /// known; `None` if a report of this number or a later one is known: nothing is changed then.
    pub fn put(
        &self,
        uuid: &HostUuid,
        sequence: Option<u64>,
        told: BTreeMap<UpdateId, ToldUpdate>,
        now: u64,
        complete: impl FnOnce(Option<HostRecord>) -> HostRecord,
    ) -> Result<Option<KeptHost>, CatalogError> {
        self.write(|transaction| {
            let known = record_of(&transaction.open_table(tables::HOSTS)?, uuid)?;
            let last = known.as_ref().and_then(|known| known.sequence);
            if let (Some(sequence), Some(last)) = (sequence, last)
                && sequence <= last
            {
                return Ok(None);
            }
            let is_new = known.is_none();
            let mut merged = BTreeMap::new();
            let record = put(transaction, told, now, complete(known), |id, update| drop(merged.insert(id, update)))?;
            Ok(Some(KeptHost { record, told: merged, is_new }))
        })
    }

    /// Keeps what was told of many hosts by somebody else, in one commit; answers in their order whether each was unknown
    /// before. None is kept if one can't be.
    pub fn put_all<F: FnOnce(Option<HostRecord>) -> HostRecord>(
        &self,
        hosts: impl IntoIterator<Item = (HostUuid, BTreeMap<UpdateId, ToldUpdate>, F)>,
        now: u64,
    ) -> Result<Vec<bool>, CatalogError> {
        self.write(|transaction| {
            let each = |(uuid, told, complete): (HostUuid, _, F)| {
                let known = record_of(&transaction.open_table(tables::HOSTS)?, &uuid)?;
                let is_new = known.is_none();
                put(transaction, told, now, complete(known), |_, _| {})?;
                Ok(is_new)
            };
            hosts.into_iter().map(each).collect()
        })
    }

    /// Keeps what was told of updates at `now`, whatever host has them.
    pub fn put_told(&self, told: BTreeMap<UpdateId, ToldUpdate>, now: u64) -> Result<(), CatalogError> {
        let ids: Vec<_> = told.keys().copied().collect();
        let known = self.told_of(ids)?;
        let is_news = |id: &UpdateId, told: &ToldUpdate| {
            known.get(id).is_none_or(|known| told.clone().merge_into(&mut known.clone(), now))
        };
        let news: BTreeMap<_, _> = told.into_iter().filter(|(id, told)| is_news(id, told)).collect();
        if news.is_empty() {
            return Ok(());
        }
        self.write(|transaction| merge_told(transaction, news, now, |_, _| {}))
    }

    /// What is known of one host.
    pub fn host(&self, uuid: &HostUuid) -> Result<Option<HostRecord>, CatalogError> {
        record_of(&self.reading()?.open_table(tables::HOSTS)?, uuid)
    }

    /// Tells every host after `after`, by UUID, until `each` answers with `false`.
    pub fn each_after<E: From<CatalogError>>(
        &self,
        after: Option<&HostUuid>,
        mut each: impl FnMut(HostRecord) -> Result<bool, E>,
    ) -> Result<(), E> {
        let table = self.reading()?.open_table(tables::HOSTS).map_err(CatalogError::from)?;
        let first = after.map_or("", HostUuid::as_str);
        for row in table.range(first..).map_err(CatalogError::from)? {
            let (key, value) = row.map_err(CatalogError::from)?;
            if after.is_some_and(|after| after.as_str() == key.value()) {
                continue;
            }
            let record = HostRecord::decode(value.value()).map_err(row_of("hosts"))?;
            if !each(record)? {
                break;
            }
        }
        Ok(())
    }

    /// When each host was heard of last, in seconds since 1970 UTC, by UUID.
    pub fn seen(&self) -> Result<Vec<u64>, CatalogError> {
        let table = self.reading()?.open_table(tables::HOSTS_SEEN)?;
        table.iter()?.map(|row| Ok(row?.1.value())).collect()
    }

    /// How many hosts are known, and since when any is, in seconds since 1970 UTC.
    pub fn known(&self) -> Result<(u64, Option<u64>), CatalogError> {
        let transaction = self.reading()?;
        let count = transaction.open_table(tables::HOSTS)?.len()?;
        let since = transaction.open_table(tables::META)?.get(KNOWN_SINCE)?;
        let since = since.and_then(|value| value.value().try_into().ok().map(u64::from_be_bytes));
        Ok((count, since.filter(|_| count > 0)))
    }

    /// Forgets a host; whether it was known.
    pub fn forget(&self, uuid: &HostUuid) -> Result<bool, CatalogError> {
        self.write(|transaction| {
            transaction.open_table(tables::HOSTS_SEEN)?.remove(uuid.as_str())?;
            Ok(transaction.open_table(tables::HOSTS)?.remove(uuid.as_str())?.is_some())
        })
    }

    /// What hosts told of these updates, as far as they told anything.
    pub fn told_of(
        &self,
        ids: impl IntoIterator<Item = UpdateId>,
    ) -> Result<BTreeMap<UpdateId, ToldUpdate>, CatalogError> {
        let table = self.reading()?.open_table(tables::TOLD_UPDATES)?;
        let mut told = BTreeMap::new();
        for id in ids {
            if let Some(value) = table.get(&id.to_bytes())? {
                told.insert(id, ToldUpdate::decode(value.value()).map_err(row_of("told_updates"))?);
            }
        }
        Ok(told)
    }

    /// The first updates, by id, that hosts told to have a file of this name.
    pub fn updates_of(&self, name: &FileName) -> Result<BTreeSet<UpdateId>, CatalogError> {
        let table = self.reading()?.open_table(tables::TOLD_FILES)?;
        let rows = table.range((name.as_str(), &[0; 20])..=(name.as_str(), &[0xff; 20]))?;
        rows.take(MAX_OF_FILE).map(|row| Ok(UpdateId::from_bytes(*row?.0.value().1))).collect()
    }

    /// Tells of every update that any host told of, in ascending order.
    pub fn each_told<E: From<CatalogError>>(
        &self,
        mut each: impl FnMut(UpdateId, ToldUpdate) -> Result<(), E>,
    ) -> Result<(), E> {
        let table = self.reading()?.open_table(tables::TOLD_UPDATES).map_err(CatalogError::from)?;
        for row in table.iter().map_err(CatalogError::from)? {
            let (key, value) = row.map_err(CatalogError::from)?;
            let told = ToldUpdate::decode(value.value()).map_err(row_of("told_updates"))?;
            each(UpdateId::from_bytes(*key.value()), told)?;
        }
        Ok(())
    }

    /// Keeps a report for the parent, in the place of an older one of the same host; `false` if no more are kept.
    pub fn post(&self, uuid: &HostUuid, report: &[u8], limit: OutboxLimit) -> Result<bool, CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::OUTBOX)?;
            let before = table.get(uuid.as_str())?.map(|value| value.value().len());
            let is_full = before.is_none() && table.len()? >= limit.hosts
                || table.stats()?.stored_bytes().saturating_add(report.len() as u64) > limit.bytes;
            if is_full {
                return Ok(false);
            }
            table.insert(uuid.as_str(), report)?;
            Ok(true)
        })
    }

    /// The first report after `after` that waits for the parent, by host.
    pub fn posted_after(&self, after: Option<&HostUuid>) -> Result<Option<(HostUuid, Vec<u8>)>, CatalogError> {
        let table = self.reading()?.open_table(tables::OUTBOX)?;
        for row in table.range(after.map_or("", HostUuid::as_str)..)? {
            let (key, value) = row?;
            let uuid = HostUuid::new(key.value()).map_err(|_| CatalogError::Damaged("outbox"))?;
            if after != Some(&uuid) {
                return Ok(Some((uuid, value.value().to_vec())));
            }
        }
        Ok(None)
    }

    /// The report that waits for a host.
    pub fn posted(&self, uuid: &HostUuid) -> Result<Option<Vec<u8>>, CatalogError> {
        let table = self.reading()?.open_table(tables::OUTBOX)?;
        Ok(table.get(uuid.as_str())?.map(|value| value.value().to_vec()))
    }

    /// The first hosts, by UUID, whose reports wait for the parent.
    pub fn posted_hosts(&self, most: usize) -> Result<Vec<HostUuid>, CatalogError> {
        let table = self.reading()?.open_table(tables::OUTBOX)?;
        let uuids = table.iter()?.take(most);
        uuids.map(|row| HostUuid::new(row?.0.value()).map_err(|_| CatalogError::Damaged("outbox"))).collect()
    }

    /// A report has reached the parent; one that came meanwhile stays.
    pub fn unpost(&self, uuid: &HostUuid, report: &[u8]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::OUTBOX)?;
            let is_same = table.get(uuid.as_str())?.is_some_and(|value| value.value() == report);
            if is_same {
                table.remove(uuid.as_str())?;
            }
            Ok(())
        })
    }

    /// How many reports wait for the parent.
    pub fn waiting(&self) -> Result<u64, CatalogError> {
        Ok(self.reading()?.open_table(tables::OUTBOX)?.len()?)
    }

    fn reading(&self) -> Result<ReadTransaction, CatalogError> {
        self.home.read(|database| Ok(database.begin_read()?))
    }

    fn write<R>(&self, change: impl FnOnce(&WriteTransaction) -> Result<R, CatalogError>) -> Result<R, CatalogError> {
        self.home.write(|database| {
            let transaction = database.begin_write()?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

fn record_of(
    hosts: &impl ReadableTable<&'static str, &'static [u8]>,
    uuid: &HostUuid,
) -> Result<Option<HostRecord>, CatalogError> {
    hosts.get(uuid.as_str())?.map(|value| HostRecord::decode(value.value()).map_err(row_of("hosts"))).transpose()
}

/// Writes the row of a host and what it told; `tell` hears what is known of its updates from here on.
fn put(
    transaction: &WriteTransaction,
    mut told: BTreeMap<UpdateId, ToldUpdate>,
    now: u64,
    record: HostRecord,
    tell: impl FnMut(UpdateId, ToldUpdate),
) -> Result<HostRecord, CatalogError> {
    let mut hosts = transaction.open_table(tables::HOSTS)?;
    if hosts.is_empty()? {
        transaction.open_table(tables::META)?.insert(KNOWN_SINCE, now.to_be_bytes().as_slice())?;
    }
    for update in &record.facts.updates {
        told.entry(update.id).or_default();
    }
    merge_told(transaction, told, now, tell)?;
    let uuid = record.facts.uuid.as_str();
    transaction.open_table(tables::HOSTS_SEEN)?.insert(uuid, record.facts.seen_at)?;
    hosts.insert(uuid, record.encode().map_err(row_of("hosts"))?.as_slice())?;
    Ok(record)
}

/// Hosts of a database that was written before anybody counted them are seen once, too.
fn see_all(transaction: &WriteTransaction) -> Result<(), CatalogError> {
    let (hosts, mut seen) = (transaction.open_table(tables::HOSTS)?, transaction.open_table(tables::HOSTS_SEEN)?);
    if hosts.len()? == seen.len()? {
        return Ok(());
    }
    for row in hosts.iter()? {
        let (key, value) = row?;
        let record = HostRecord::decode(value.value()).map_err(row_of("hosts"))?;
        seen.insert(key.value(), record.facts.seen_at)?;
    }
    Ok(())
}

/// The files of a database that was written before anybody looked for them by name are named, too.
fn name_all(transaction: &WriteTransaction) -> Result<(), CatalogError> {
    let (told, mut names) =
        (transaction.open_table(tables::TOLD_UPDATES)?, transaction.open_table(tables::TOLD_FILES)?);
    if !names.is_empty()? {
        return Ok(());
    }
    for row in told.iter()? {
        let (key, value) = row?;
        let told = ToldUpdate::decode(value.value()).map_err(row_of("told_updates"))?;
        name_files(&mut names, key.value(), &told)?;
    }
    Ok(())
}

fn name_files(
    names: &mut Table<'_, (&'static str, &'static [u8; 20]), ()>,
    id: &[u8; 20],
    told: &ToldUpdate,
) -> Result<(), CatalogError> {
    for url in &told.urls {
        names.insert((url.file_name().as_str(), id), ())?;
    }
    Ok(())
}

/// Rows of updates: what was told is merged into what is known, and an update that only stands in a host's list is
/// known from here on. What is known already is not written again.
fn merge_told(
    transaction: &WriteTransaction,
    told: BTreeMap<UpdateId, ToldUpdate>,
    now: u64,
    mut tell: impl FnMut(UpdateId, ToldUpdate),
) -> Result<(), CatalogError> {
    let mut table = transaction.open_table(tables::TOLD_UPDATES)?;
    let mut names = transaction.open_table(tables::TOLD_FILES)?;
    for (id, told) in told {
        let known = table.get(&id.to_bytes())?.map(|value| ToldUpdate::decode(value.value()));
        let (update, is_news) = match known.transpose().map_err(row_of("told_updates"))? {
            Some(mut known) => {
                let is_news = told.merge_into(&mut known, now);
                (known, is_news)
            }
            None if table.len()? >= MAX_TOLD => continue,
            None => (told.told_first(now), true),
        };
        if is_news {
            table.insert(&id.to_bytes(), update.encode().map_err(row_of("told_updates"))?.as_slice())?;
            name_files(&mut names, &id.to_bytes(), &update)?;
        }
        tell(id, update);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{FactsFrom, tests::Memory},
        domain::{
            host::{AgentStatus, HostFacts, HostSettings, LocalFlags, LocalUpdate, Maturity},
            origin::OriginUrl,
        },
    };

    fn uuid(text: &str) -> HostUuid {
        HostUuid::new(text).unwrap()
    }

    fn record(text: &str, updates: &[u8], sequence: Option<u64>) -> HostRecord {
        let updates = updates.iter().map(|n| LocalUpdate {
            id: UpdateId::new([*n; 16], 1),
            flags: LocalFlags::INSTALLED,
            installed_at: None,
        });
        let facts = HostFacts {
            uuid: uuid(text),
            name: None,
            site: None,
            maturity: Maturity::Prod,
            settings: HostSettings::default(),
            rule_packages: None,
            scanned_at: None,
            seen_at: 5,
            updates: updates.collect(),
        };
        let status = AgentStatus::default();
        HostRecord { facts, status, missing_downloads: Vec::new(), from: FactsFrom::Report, sequence, first_seen: 5 }
    }

    /// Whether the host was unknown; `None` where nothing was changed.
    fn put(hosts: &Hosts, text: &str, updates: &[u8], sequence: Option<u64>, now: u64) -> Option<bool> {
        let record = record(text, updates, sequence);
        let kept = hosts.put(&uuid(text), sequence, BTreeMap::new(), now, |_| record).unwrap();
        kept.map(|kept| kept.is_new)
    }

    #[test]
    fn a_host_is_kept_under_its_last_number_and_older_reports_change_nothing() {
        let hosts = Hosts::open(Arc::new(Memory::default())).unwrap();
        assert_eq!(hosts.known().unwrap(), (0, None));
        assert_eq!(put(&hosts, "b", &[1], Some(5), 100), Some(true));
        assert_eq!(put(&hosts, "b", &[1, 2], Some(5), 110), None);
        assert_eq!(put(&hosts, "b", &[1, 2], Some(4), 110), None);
        assert_eq!(hosts.host(&uuid("b")).unwrap().unwrap().facts.updates.len(), 1);
        assert_eq!(put(&hosts, "b", &[1, 2], Some(6), 120), Some(false));
        assert_eq!(put(&hosts, "a", &[3], None, 130), Some(true));
        assert_eq!(hosts.known().unwrap(), (2, Some(100)));
        let mut seen = Vec::new();
        let mut see = |record: HostRecord| {
            seen.push((record.facts.uuid.to_string(), record.facts.updates.len()));
            Ok::<_, CatalogError>(true)
        };
        hosts.each_after(None, &mut see).unwrap();
        hosts.each_after(Some(&uuid("a")), &mut see).unwrap();
        assert_eq!(seen, [("a".to_owned(), 1), ("b".to_owned(), 2), ("b".to_owned(), 2)]);
        assert_eq!(hosts.seen().unwrap(), [5, 5]);
        assert!(hosts.forget(&uuid("a")).unwrap() && !hosts.forget(&uuid("a")).unwrap());
        assert!(hosts.forget(&uuid("b")).unwrap());
        assert_eq!((hosts.known().unwrap(), hosts.seen().unwrap()), ((0, None), vec![]));
    }

    #[test]
    fn hosts_that_were_kept_before_anybody_counted_them_are_counted() {
        let file = Arc::new(Memory::default());
        let hosts = Hosts::open(file.clone()).unwrap();
        put(&hosts, "a", &[], None, 1);
        hosts.write(|transaction| Ok(transaction.delete_table(tables::HOSTS_SEEN).map(drop)?)).unwrap();
        drop(hosts);
        assert_eq!(Hosts::open(file).unwrap().seen().unwrap(), [5]);
    }

    #[test]
    fn what_is_told_of_updates_is_shared_and_an_update_in_a_list_is_known_since_then() {
        let hosts = Hosts::open(Arc::new(Memory::default())).unwrap();
        put(&hosts, "a", &[1], None, 10);
        let id = UpdateId::new([1; 16], 1);
        let title = |title: &str| ToldUpdate { title: Some(title.to_owned()), ..ToldUpdate::default() };
        let told = BTreeMap::from([(id, title("x"))]);
        let kept = hosts.put(&uuid("b"), None, told, 20, |_| record("b", &[1, 2], None)).unwrap().unwrap();
        assert_eq!(kept.told, hosts.told_of([id, UpdateId::new([2; 16], 1)]).unwrap());
        assert_eq!((kept.record, kept.is_new), (record("b", &[1, 2], None), true));
        let told = hosts.told_of([id, UpdateId::new([2; 16], 1), UpdateId::new([3; 16], 1)]).unwrap();
        assert_eq!((told.len(), told[&id].title.as_deref(), told[&id].traits.known_since), (2, Some("x"), 10));
        let mut count = 0;
        hosts
            .each_told(|_, _| {
                count += 1;
                Ok::<_, CatalogError>(())
            })
            .unwrap();
        assert_eq!(count, 2);
    }

    #[test]
    fn updates_are_found_by_the_names_of_their_files_also_where_nobody_noted_these() {
        let file = Arc::new(Memory::default());
        let hosts = Hosts::open(file.clone()).unwrap();
        let id = |n: u8| UpdateId::new([n; 16], 1);
        let of = |files: &[&str]| {
            let url = |file: &&str| OriginUrl::new(&format!("http://h/{file}")).unwrap();
            ToldUpdate { urls: files.iter().map(url).collect(), ..ToldUpdate::default() }
        };
        hosts.put_told(BTreeMap::from([(id(1), of(&["a"])), (id(2), of(&["a", "b"]))]), 1).unwrap();
        hosts.put_told(BTreeMap::from([(id(1), of(&["c"]))]), 2).unwrap();
        let is_right = |hosts: &Hosts| {
            for (name, ids) in [("a", vec![id(1), id(2)]), ("b", vec![id(2)]), ("c", vec![id(1)]), ("", vec![])] {
                let name = FileName::new(if name.is_empty() { "other" } else { name }).unwrap();
                assert_eq!(hosts.updates_of(&name).unwrap().into_iter().collect::<Vec<_>>(), ids, "{name}");
            }
        };
        is_right(&hosts);
        hosts.write(|transaction| Ok(transaction.delete_table(tables::TOLD_FILES).map(drop)?)).unwrap();
        drop(hosts);
        is_right(&Hosts::open(file).unwrap());
    }

    #[test]
    fn reports_for_the_parent_are_one_for_each_host_bounded_and_gone_once_they_arrived() {
        let hosts = Hosts::open(Arc::new(Memory::default())).unwrap();
        let limit = OutboxLimit { hosts: 2, bytes: 1_000 };
        assert!(hosts.post(&uuid("b"), b"old", limit).unwrap());
        assert!(hosts.post(&uuid("b"), b"new", limit).unwrap());
        assert!(hosts.post(&uuid("a"), b"a", limit).unwrap());
        assert!(!hosts.post(&uuid("c"), b"c", limit).unwrap());
        assert!(!hosts.post(&uuid("a"), &[0; 1_000], limit).unwrap());
        assert_eq!(hosts.posted_hosts(9).unwrap(), [uuid("a"), uuid("b")]);
        assert_eq!(hosts.posted_hosts(1).unwrap(), [uuid("a")]);
        let (first, report) = hosts.posted_after(None).unwrap().unwrap();
        assert_eq!((first.as_str(), report.as_slice()), ("a", &b"a"[..]));
        assert_eq!(hosts.posted_after(Some(&first)).unwrap().unwrap().1, b"new");
        hosts.unpost(&uuid("b"), b"old").unwrap();
        assert_eq!(hosts.waiting().unwrap(), 2, "a newer one came meanwhile");
        hosts.unpost(&uuid("b"), b"new").unwrap();
        assert_eq!((hosts.waiting().unwrap(), hosts.posted(&uuid("b")).unwrap()), (1, None));
        assert_eq!(hosts.posted_after(Some(&first)).unwrap(), None);
    }
}
