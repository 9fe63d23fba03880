//! Rows of the ledger that say whose reports are believed: keys of hosts, and tokens that let hosts enrol themselves.

use super::{
    error::CatalogError,
    ledger::{Ledger, row_of},
    records::{HostKeyRecord, HostStanding, HostTokenRecord},
    tables,
};
use crate::domain::{
    host::{
        HostEnvelope, HostUuid,
        waiting::{ReportedFrom, Waiting, WaitingLimit, WaitingPlan, is_over, plan_waiting},
    },
    key::HostKey,
};
use redb::{ReadableTable, WriteTransaction};

/// Whether a report is believed. Its signature is another's matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// Yes.
    Enrolled,
    /// Not before somebody approves; it is noted.
    Waiting,
    /// Nobody may speak for this host any more.
    Revoked,
    /// Another key speaks for this host.
    OtherKey,
    /// The token is unknown, used up or too old.
    BadToken,
    /// Too many hosts wait for an approval, in all or from this one's network.
    TooMany,
}

impl Ledger {
    /// Whether the signer of a report that came from `from` is believed, and notes one that nobody knows. A token is used up
    /// by the commit that enrols its host.
    pub fn admit_host(
        &self,
        envelope: &HostEnvelope,
        from: ReportedFrom,
        limit: WaitingLimit,
        now: u64,
    ) -> Result<Admitted, CatalogError> {
        let known = self.host_key(&envelope.uuid)?;
        match known {
            Some(known) if known.key == envelope.key && known.standing == HostStanding::Enrolled => {
                return Ok(Admitted::Enrolled);
            }
            Some(HostKeyRecord { standing: HostStanding::Revoked, .. }) if envelope.enrolment.is_none() => {
                return Ok(Admitted::Revoked);
            }
            Some(known) if envelope.enrolment.is_none() => {
                return Ok(if known.key == envelope.key { Admitted::Waiting } else { Admitted::OtherKey });
            }
            _ => {}
        }
        if envelope.enrolment.is_none() {
            // A flood costs no writer its turn.
            if plan_waiting(&self.waiting_hosts()?, from, limit, now) == WaitingPlan::TooMany {
                return Ok(Admitted::TooMany);
            }
        }
        self.write(|transaction| {
            if envelope.enrolment.is_some() {
                if !use_token(transaction, envelope, now)? {
                    return Ok(Admitted::BadToken);
                }
                let standing = HostStanding::Enrolled;
                put_key(transaction, &envelope.uuid, HostKeyRecord { key: envelope.key, standing, since: now, from })?;
                return Ok(Admitted::Enrolled);
            }
            let waiting = waiting(&transaction.open_table(tables::HOST_KEYS)?)?;
            let WaitingPlan::Waits { leaving } = plan_waiting(&waiting, from, limit, now) else {
                return Ok(Admitted::TooMany);
            };
            forget(transaction, &leaving)?;
            let standing = HostStanding::Waiting;
            put_key(transaction, &envelope.uuid, HostKeyRecord { key: envelope.key, standing, since: now, from })?;
            Ok(Admitted::Waiting)
        })
    }

    /// Who has to sign for a host.
    pub fn host_key(&self, uuid: &HostUuid) -> Result<Option<HostKeyRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::HOST_KEYS)?;
        let value = table.get(uuid.as_str())?;
        value.map(|value| HostKeyRecord::decode(value.value()).map_err(row_of("host_keys"))).transpose()
    }

    /// Every host whose signer is known, by UUID.
    pub fn host_keys(&self) -> Result<Vec<(HostUuid, HostKeyRecord)>, CatalogError> {
        let table = self.reading()?.open_table(tables::HOST_KEYS)?;
        let rows = table.iter()?.map(|row| {
            let (key, value) = row?;
            let uuid = HostUuid::new(key.value()).map_err(|_| CatalogError::Damaged("host_keys"))?;
            Ok((uuid, HostKeyRecord::decode(value.value()).map_err(row_of("host_keys"))?))
        });
        rows.collect()
    }

    /// The reports of a host are believed from here on, or no more; whether anything was known of it. With `key`, only if
    /// that is the one that waits.
    pub fn set_host_standing(
        &self,
        uuid: &HostUuid,
        key: Option<&HostKey>,
        standing: HostStanding,
        now: u64,
    ) -> Result<bool, CatalogError> {
        self.write(|transaction| {
            let known = {
                let table = transaction.open_table(tables::HOST_KEYS)?;
                let known = table.get(uuid.as_str())?.map(|value| HostKeyRecord::decode(value.value()));
                known.transpose().map_err(row_of("host_keys"))?
            };
            let Some(known) = known.filter(|known| key.is_none_or(|key| *key == known.key)) else { return Ok(false) };
            put_key(transaction, uuid, HostKeyRecord { standing, since: now, ..known })?;
            Ok(true)
        })
    }

    /// Forgets who has to sign for a host: the next one who does waits for an approval.
    pub fn forget_host_key(&self, uuid: &HostUuid) -> Result<bool, CatalogError> {
        self.write(|transaction| Ok(transaction.open_table(tables::HOST_KEYS)?.remove(uuid.as_str())?.is_some()))
    }

    /// Every host that waits for an approval.
    pub fn waiting_hosts(&self) -> Result<Vec<Waiting>, CatalogError> {
        waiting(&self.reading()?.open_table(tables::HOST_KEYS)?)
    }

    /// Forgets hosts that have waited for `seconds` for an approval; answers with how many.
    pub fn forget_waiting(&self, seconds: u64, now: u64) -> Result<u64, CatalogError> {
        let over = |waiting: Vec<Waiting>| -> Vec<HostUuid> {
            waiting.into_iter().filter(|host| is_over(host.since, seconds, now)).map(|host| host.uuid).collect()
        };
        if over(self.waiting_hosts()?).is_empty() {
            return Ok(0);
        }
        self.write(|transaction| {
            let leaving = over(waiting(&transaction.open_table(tables::HOST_KEYS)?)?);
            forget(transaction, &leaving)?;
            Ok(leaving.len() as u64)
        })
    }

    /// Keeps a token, and drops those that are too old or used up.
    pub fn put_host_token(&self, id: &[u8; 8], token: &HostTokenRecord, now: u64) -> Result<(), CatalogError> {
        let bytes = token.encode().map_err(row_of("host_tokens"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::HOST_TOKENS)?;
            table.retain(|_, old| {
                HostTokenRecord::decode(old).is_ok_and(|old| old.expires_at > now && old.uses_left > 0)
            })?;
            table.insert(id, bytes.as_slice())?;
            Ok(())
        })
    }
}

fn put_key(transaction: &WriteTransaction, uuid: &HostUuid, record: HostKeyRecord) -> Result<(), CatalogError> {
    let bytes = record.encode().map_err(row_of("host_keys"))?;
    transaction.open_table(tables::HOST_KEYS)?.insert(uuid.as_str(), bytes.as_slice())?;
    Ok(())
}

fn use_token(transaction: &WriteTransaction, envelope: &HostEnvelope, now: u64) -> Result<bool, CatalogError> {
    let Some(enrolment) = envelope.enrolment else { return Ok(false) };
    let mut table = transaction.open_table(tables::HOST_TOKENS)?;
    let token = table.get(&enrolment.token)?.map(|value| HostTokenRecord::decode(value.value()));
    let Some(token) = token.transpose().map_err(row_of("host_tokens"))? else { return Ok(false) };
    if token.expires_at <= now || token.uses_left == 0 || !envelope.has_token(&token.key) {
        return Ok(false);
    }
    let used = HostTokenRecord { uses_left: token.uses_left - 1, ..token };
    table.insert(&enrolment.token, used.encode().map_err(row_of("host_tokens"))?.as_slice())?;
    Ok(true)
}

fn forget(transaction: &WriteTransaction, hosts: &[HostUuid]) -> Result<(), CatalogError> {
    let mut table = transaction.open_table(tables::HOST_KEYS)?;
    hosts.iter().try_for_each(|uuid| Ok(table.remove(uuid.as_str()).map(drop)?))
}

/// Every host that waits for an approval.
fn waiting(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Vec<Waiting>, CatalogError> {
    let mut waiting = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        let HostKeyRecord { standing, since, from, .. } =
            HostKeyRecord::decode(value.value()).map_err(row_of("host_keys"))?;
        if standing == HostStanding::Waiting {
            let uuid = HostUuid::new(key.value()).map_err(|_| CatalogError::Damaged("host_keys"))?;
            waiting.push(Waiting { uuid, from, since });
        }
    }
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::tests::Memory,
        domain::host::{BodyEncoding, EnrolmentToken},
    };
    use std::sync::Arc;

    fn report(uuid: &str, secret: u8, token: Option<&EnrolmentToken>) -> HostEnvelope {
        let uuid = HostUuid::new(uuid).unwrap();
        HostEnvelope::sign(uuid, 1, &[secret; 32], BodyEncoding::Plain, token, Vec::new())
    }

    fn ledger() -> Ledger {
        Ledger::open(Arc::new(Memory::default())).unwrap()
    }

    const HERE: ReportedFrom = ReportedFrom::V4([192, 0, 2]);
    const THERE: ReportedFrom = ReportedFrom::V4([198, 51, 100]);
    const LIMIT: WaitingLimit = WaitingLimit { hosts: 3, of_one_network: 2, seconds: 100 };

    fn admit(ledger: &Ledger, report: &HostEnvelope, now: u64) -> Admitted {
        ledger.admit_host(report, HERE, LIMIT, now).unwrap()
    }

    #[test]
    fn a_host_without_a_token_waits_for_an_approval_of_its_own_key() {
        let ledger = ledger();
        let (a, forged) = (report("a", 1, None), report("a", 2, None));
        assert_eq!(admit(&ledger, &a, 10), Admitted::Waiting);
        assert_eq!(admit(&ledger, &a, 11), Admitted::Waiting);
        assert_eq!(admit(&ledger, &forged, 11), Admitted::OtherKey);
        assert!(!ledger.set_host_standing(&a.uuid, Some(&forged.key), HostStanding::Enrolled, 12).unwrap());
        assert!(ledger.set_host_standing(&a.uuid, Some(&a.key), HostStanding::Enrolled, 12).unwrap());
        assert_eq!((admit(&ledger, &a, 13), admit(&ledger, &forged, 13)), (Admitted::Enrolled, Admitted::OtherKey));
        assert!(ledger.set_host_standing(&a.uuid, None, HostStanding::Revoked, 14).unwrap());
        assert_eq!((admit(&ledger, &a, 15), admit(&ledger, &forged, 15)), (Admitted::Revoked, Admitted::Revoked));
        assert!(ledger.forget_host_key(&a.uuid).unwrap());
        assert_eq!(admit(&ledger, &forged, 16), Admitted::Waiting);
    }

    #[test]
    fn a_token_enrols_as_many_hosts_as_it_is_good_for_while_it_is() {
        let ledger = ledger();
        let token = EnrolmentToken::new([7; 32]);
        let record = HostTokenRecord { key: token.key(), expires_at: 100, uses_left: 2 };
        ledger.put_host_token(&token.id(), &record, 10).unwrap();
        let a = report("a", 1, Some(&token));
        assert_eq!(admit(&ledger, &a, 50), Admitted::Enrolled);
        assert_eq!(admit(&ledger, &a, 51), Admitted::Enrolled, "once enrolled, its token is not looked at");
        assert_eq!(admit(&ledger, &report("b", 1, Some(&token)), 100), Admitted::BadToken);
        assert_eq!(admit(&ledger, &report("b", 1, Some(&EnrolmentToken::new([8; 32]))), 50), Admitted::BadToken);
        assert_eq!(admit(&ledger, &report("b", 1, Some(&token)), 99), Admitted::Enrolled);
        assert_eq!(admit(&ledger, &report("c", 1, Some(&token)), 99), Admitted::BadToken);
        // A machine that was set up anew comes back with another key and a token.
        ledger.put_host_token(&token.id(), &HostTokenRecord { uses_left: 1, ..record }, 60).unwrap();
        assert_eq!(admit(&ledger, &report("a", 9, Some(&token)), 61), Admitted::Enrolled);
        assert_eq!(admit(&ledger, &report("a", 1, None), 62), Admitted::OtherKey);
    }

    #[test]
    fn hosts_that_wait_are_bounded_and_those_that_are_known_are_heard_all_the_same() {
        let ledger = ledger();
        for (uuid, admitted) in [("a", Admitted::Waiting), ("b", Admitted::Waiting), ("c", Admitted::TooMany)] {
            assert_eq!(admit(&ledger, &report(uuid, 1, None), 10), admitted);
        }
        ledger.set_host_standing(&HostUuid::new("a").unwrap(), None, HostStanding::Enrolled, 11).unwrap();
        assert_eq!(admit(&ledger, &report("c", 1, None), 12), Admitted::Waiting);
        assert_eq!(ledger.host_keys().unwrap().len(), 3);
    }

    #[test]
    fn a_network_that_fills_the_list_locks_out_nobody_elsewhere_and_those_that_waited_for_long_go() {
        let ledger = ledger();
        let from = |uuid: &str, from, now| ledger.admit_host(&report(uuid, 1, None), from, LIMIT, now).unwrap();
        let waiting = || -> Vec<String> {
            let keys = ledger.host_keys().unwrap();
            keys.iter().map(|(uuid, key)| format!("{uuid} {}", key.from)).collect()
        };
        for (uuid, admitted) in [("a", Admitted::Waiting), ("b", Admitted::Waiting), ("c", Admitted::TooMany)] {
            assert_eq!(from(uuid, HERE, 10), admitted);
        }
        assert_eq!(
            (from("d", THERE, 11), from("e", ReportedFrom::Unknown, 12)),
            (Admitted::Waiting, Admitted::Waiting)
        );
        assert_eq!(waiting(), ["a 192.0.2.0/24", "d 198.51.100.0/24", "e an unknown network"]);
        assert_eq!(from("c", HERE, 13), Admitted::TooMany, "all have the same");
        assert_eq!(ledger.forget_waiting(100, 109).unwrap(), 0);
        assert_eq!(ledger.forget_waiting(100, 111).unwrap(), 2);
        assert_eq!(waiting(), ["e an unknown network"]);
        ledger.set_host_standing(&HostUuid::new("e").unwrap(), None, HostStanding::Enrolled, 111).unwrap();
        assert_eq!(ledger.forget_waiting(100, 999).unwrap(), 0, "who was approved waits no more");
    }
}
