//! What hosts tell, and whose word counts. Decides nothing of it.

use super::{error::RepositoryError, open::Repository};
use crate::{
    catalog::{Admitted, FactsFrom, HostRecord, KeptHost, OutboxLimit},
    domain::host::{
        CarriedReport, HostEnvelope, HostReport, HostUuid,
        waiting::{ReportedFrom, WaitingLimit},
    },
};

/// Hosts that are kept in one commit: about 2 MB of rows.
const IN_ONE_COMMIT: usize = 256;

impl Repository {
    /// Whether the signer of a report that came from `from` is believed; notes one that nobody knows.
    pub fn admit_host(&self, envelope: &HostEnvelope, from: ReportedFrom) -> Result<Admitted, RepositoryError> {
        let now = self.clock.unix_seconds();
        Ok(self.state.ledger.admit_host(envelope, from, WaitingLimit::default(), now)?)
    }

    /// Forgets hosts that have waited too long for an approval; answers with how many.
    pub fn forget_waiting_hosts(&self) -> Result<u64, RepositoryError> {
        Ok(self.state.ledger.forget_waiting(WaitingLimit::default().seconds, self.clock.unix_seconds())?)
    }

    /// Keeps what was told of a host. Of a report that says nothing of updates those that were known stay, and a host
    /// that was heard of later in another way keeps what it told then. `None` if a report of this number or a later one is
    /// known: nothing is changed then.
    pub fn put_host(
        &self,
        mut report: HostReport,
        from: FactsFrom,
        sequence: Option<u64>,
    ) -> Result<Option<KeptHost>, RepositoryError> {
        let now = self.clock.unix_seconds();
        let (uuid, told) = (report.facts.uuid.clone(), std::mem::take(&mut report.updates));
        Ok(self.state.hosts.put(&uuid, sequence, told, now, |known| completed(report, from, sequence, known, now))?)
    }

    /// As [`Repository::put_host`], of hosts whose facts somebody else brings, in few commits; answers in their order
    /// whether each was unknown before.
    pub fn put_hosts(
        &self,
        reports: impl IntoIterator<Item = HostReport>,
        from: FactsFrom,
    ) -> Result<Vec<bool>, RepositoryError> {
        let now = self.clock.unix_seconds();
        let mut reports = reports.into_iter();
        let mut puts = Vec::new();
        loop {
            let hosts = reports.by_ref().take(IN_ONE_COMMIT).map(|mut report| {
                let (uuid, told) = (report.facts.uuid.clone(), std::mem::take(&mut report.updates));
                (uuid, told, move |known| completed(report, from, None, known, now))
            });
            let some = self.state.hosts.put_all(hosts, now)?;
            let is_last = some.len() < IN_ONE_COMMIT;
            puts.extend(some);
            if is_last {
                return Ok(puts);
            }
        }
    }

    /// What is known of a host.
    pub fn host(&self, uuid: &HostUuid) -> Result<Option<HostRecord>, RepositoryError> {
        Ok(self.state.hosts.host(uuid)?)
    }

    /// Forgets what is known of a host and whose reports of it are believed; whether there was anything.
    pub fn forget_host(&self, uuid: &HostUuid) -> Result<bool, RepositoryError> {
        let had_key = self.state.ledger.forget_host_key(uuid)?;
        Ok(self.state.hosts.forget(uuid)? || had_key)
    }

    /// On a secondary: keeps a report for the parent, in the place of an older one of the host. `false` if no more are
    /// kept.
    pub fn post_report(&self, report: &CarriedReport) -> Result<bool, RepositoryError> {
        let CarriedReport { envelope, .. } = report;
        let waits = self.state.hosts.posted(&envelope.uuid)?.and_then(|bytes| CarriedReport::decode(&bytes).ok());
        let is_later =
            |waits: CarriedReport| waits.envelope.key == envelope.key && waits.envelope.sequence >= envelope.sequence;
        if waits.is_some_and(is_later) {
            return Ok(true);
        }
        let posted = self.state.hosts.post(&envelope.uuid, &report.encode()?, OutboxLimit::default())?;
        if posted {
            self.note_change();
        }
        Ok(posted)
    }
}

/// The row of a host that told `report`, where `known` was known before.
fn completed(
    report: HostReport,
    from: FactsFrom,
    sequence: Option<u64>,
    known: Option<HostRecord>,
    now: u64,
) -> HostRecord {
    let HostReport { mut facts, has_updates, status, missing_downloads, .. } = report;
    let first_seen = known.as_ref().map_or(now, |known| known.first_seen.min(now));
    let last = known.as_ref().and_then(|known| known.sequence);
    if let Some(known) = known {
        if !has_updates {
            facts.updates = known.facts.updates;
        }
        facts.name = facts.name.or(known.facts.name);
        facts.site = facts.site.or(known.facts.site);
        facts.settings = facts.settings.or(known.facts.settings);
        facts.rule_packages = facts.rule_packages.or(known.facts.rule_packages);
        facts.scanned_at = facts.scanned_at.max(known.facts.scanned_at);
        facts.seen_at = facts.seen_at.max(known.facts.seen_at);
    }
    HostRecord { facts, status, missing_downloads, from, sequence: sequence.or(last), first_seen }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place};
    use super::*;
    use crate::domain::{
        host::{AgentStatus, BodyEncoding, HostFacts, HostSettings, LocalFlags, LocalUpdate, Maturity},
        member::{HostName, SiteName},
        update::UpdateId,
    };
    use std::collections::BTreeMap;

    fn uuid() -> HostUuid {
        HostUuid::new("host").unwrap()
    }

    fn report(name: Option<&str>, updates: Option<u8>, seen_at: u64) -> HostReport {
        let local = |n| LocalUpdate { id: UpdateId::new([n; 16], 1), flags: LocalFlags::INSTALLED, installed_at: None };
        let facts = HostFacts {
            uuid: uuid(),
            name: name.map(|name| HostName::new(name).unwrap()),
            site: None,
            maturity: Maturity::Prod,
            settings: HostSettings::default(),
            rule_packages: None,
            scanned_at: Some(seen_at),
            seen_at,
            updates: updates.into_iter().map(local).collect(),
        };
        HostReport {
            facts,
            has_updates: updates.is_some(),
            status: AgentStatus::default(),
            missing_downloads: Vec::new(),
            updates: BTreeMap::new(),
            skipped: 0,
        }
    }

    #[test]
    fn half_a_report_keeps_what_the_whole_one_before_told() {
        let place = Place::new();
        let main = place.main();
        main.put_host(report(Some("pc1"), Some(7), NOW), FactsFrom::Report, Some(1)).unwrap();
        main.put_host(report(None, None, NOW + 9), FactsFrom::Report, Some(2)).unwrap();
        let known = main.host(&uuid()).unwrap().unwrap();
        assert_eq!((known.facts.updates.len(), known.facts.seen_at, known.sequence), (1, NOW + 9, Some(2)));
        assert_eq!(known.facts.name.unwrap().as_str(), "pc1");
        assert_eq!(main.put_host(report(None, Some(8), NOW), FactsFrom::Report, Some(2)).unwrap(), None);
        main.put_host(report(None, Some(8), NOW), FactsFrom::Import, None).unwrap();
        let known = main.host(&uuid()).unwrap().unwrap();
        assert_eq!((known.sequence, known.facts.seen_at, known.from), (Some(2), NOW + 9, FactsFrom::Import));
        assert!(main.forget_host(&uuid()).unwrap() && main.host(&uuid()).unwrap().is_none());
    }

    #[test]
    fn facts_of_many_hosts_are_kept_in_few_commits_as_if_they_had_come_one_by_one() {
        let place = Place::new();
        let main = place.main();
        let of = |n: usize| {
            let mut report = report(None, Some(7), NOW);
            report.facts.uuid = HostUuid::new(&format!("host{n}")).unwrap();
            report
        };
        let many = 2 * IN_ONE_COMMIT;
        main.put_host(of(5), FactsFrom::Report, Some(9)).unwrap();
        let puts = main.put_hosts((0..many).chain([5]).map(of), FactsFrom::Import).unwrap();
        let expected: Vec<_> = (0..=many).map(|n| n != 5 && n != many).collect();
        assert_eq!(puts, expected);
        assert_eq!(main.state().hosts.known().unwrap().0, many as u64);
        let known = main.host(&HostUuid::new("host5").unwrap()).unwrap().unwrap();
        assert_eq!((known.sequence, known.from), (Some(9), FactsFrom::Import));
    }

    #[test]
    fn the_newest_report_of_a_host_waits_for_the_parent_also_over_a_restart() {
        let place = Place::new();
        let child = place.secondary();
        let carried = |sequence| CarriedReport {
            via: SiteName::new("Lyon").unwrap(),
            envelope: HostEnvelope::sign(uuid(), sequence, &[1; 32], BodyEncoding::Plain, None, vec![sequence as u8]),
        };
        for sequence in [1, 3, 2, 3] {
            assert!(child.post_report(&carried(sequence)).unwrap());
        }
        drop(child);
        let child = place.secondary();
        let (_, bytes) = child.state().hosts.posted_after(None).unwrap().unwrap();
        assert_eq!(CarriedReport::decode(&bytes).unwrap(), carried(3));
        assert_eq!(child.state().hosts.waiting().unwrap(), 1);
    }
}
