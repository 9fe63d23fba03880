//! `ledger.redb`: what can't be rebuilt from the tree. Members, invitations, jobs, audit; wants and tasks
//! have their own files.

use super::{
    error::{CatalogError, OpenCatalogError},
    home::Home,
    index::CACHE_BYTES,
    records::{AuditRecord, InviteRecord, JobRecord, RefreshRecord, WithdrawnRecord},
    tables,
};
use crate::{
    base::random_access::RandomAccess,
    domain::{key::NodeKey, member::MemberRecord, state::Namespace, versioned::VersionedError},
};
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};
use std::{collections::BTreeMap, sync::Arc};

/// Most rows of the audit; the oldest go first.
const AUDIT_ROWS: u64 = 100_000;

/// Attempts to refresh the edition that are remembered: some months of days with a Patch Tuesday.
const REFRESH_ROWS: u64 = 1_000;

/// What an invitation's secret is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteState {
    /// It was just consumed, for this one.
    Consumed(InviteRecord),
    /// Nobody invited with it.
    Unknown,
    /// It was used before; by the same node, in `same_node`.
    Used {
        /// The invitation.
        invite: InviteRecord,
        /// Whether the node that asks is the one that used it.
        same_node: bool,
    },
    /// It is too old.
    Expired,
}

/// The ledger. One writer; every write is durable when it returns.
pub struct Ledger {
    home: Home,
}

impl Ledger {
    /// Opens the database in `file`, or makes one in an empty file.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let ledger = Self { home: Home::open(file, CACHE_BYTES)? };
        ledger.write(|transaction| {
            transaction.open_table(tables::MEMBERS)?;
            transaction.open_table(tables::SIGNED_ROWS)?;
            transaction.open_table(tables::INVITES)?;
            transaction.open_table(tables::AUDIT)?;
            transaction.open_table(tables::JOBS)?;
            transaction.open_table(tables::FILES)?;
            transaction.open_table(tables::UPDATE_FILES)?;
            transaction.open_table(tables::CONFLICTS)?;
            transaction.open_table(tables::WANTS)?;
            transaction.open_table(tables::TASKS)?;
            transaction.open_table(tables::ASKS)?;
            transaction.open_table(tables::REFRESHES)?;
            transaction.open_table(tables::USES)?;
            transaction.open_table(tables::CLEANUPS)?;
            transaction.open_table(tables::HEARD)?;
            transaction.open_table(tables::HOST_KEYS)?;
            transaction.open_table(tables::HOST_TOKENS)?;
            transaction.open_table(tables::WITHDRAWN)?;
            Ok(())
        })?;
        Ok(ledger)
    }

    /// Copies the ledger as of its last commit into an empty file, and puts the copy in order.
    pub fn copy_to(&self, to: Arc<dyn RandomAccess>) -> Result<(), OpenCatalogError> {
        self.home.copy_to(to.as_ref())?;
        Self::open(to).map(drop)
    }

    /// Every member, by key.
    pub fn members(&self) -> Result<Vec<MemberRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::MEMBERS)?;
        table.iter()?.map(|row| Ok(MemberRecord::decode(row?.1.value())?)).collect()
    }

    /// Admits or changes a member.
    pub fn put_member(&self, member: &MemberRecord) -> Result<(), CatalogError> {
        let bytes = member.encode()?;
        self.write(|transaction| {
            transaction.open_table(tables::MEMBERS)?.insert(&member.key.0, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a member.
    pub fn remove_member(&self, key: &NodeKey) -> Result<(), CatalogError> {
        self.write(|transaction| {
            transaction.open_table(tables::MEMBERS)?.remove(&key.0)?;
            Ok(())
        })
    }

    /// Makes these the members, and nobody else.
    pub fn set_members(&self, members: &[MemberRecord]) -> Result<(), CatalogError> {
        let rows = members.iter().map(|member| Ok((member.key, member.encode()?)));
        let rows = rows.collect::<Result<Vec<_>, CatalogError>>()?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::MEMBERS)?;
            table.retain(|_, _| false)?;
            for (key, bytes) in &rows {
                table.insert(&key.0, bytes.as_slice())?;
            }
            Ok(())
        })
    }

    /// The main's copy of a table of the signed state: key to encoded body.
    pub fn signed_rows(&self, table: &Namespace) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, CatalogError> {
        let rows = self.reading()?.open_table(tables::SIGNED_ROWS)?;
        let mut found = BTreeMap::new();
        for row in rows.range((table.as_str(), &[][..])..)? {
            let (key, body) = row?;
            let (of, key) = key.value();
            if of != table.as_str() {
                break;
            }
            found.insert(key.to_vec(), body.value().to_vec());
        }
        Ok(found)
    }

    /// Keeps rows of a table of the signed state, with their encoded bodies.
    pub fn put_signed_rows(&self, table: &Namespace, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            let mut kept = transaction.open_table(tables::SIGNED_ROWS)?;
            for (key, body) in rows {
                kept.insert((table.as_str(), key.as_slice()), body.as_slice())?;
            }
            Ok(())
        })
    }

    /// Keeps an invitation under the hash of its secret, and drops those that ended before `now`.
    pub fn put_invite(&self, secret_hash: &[u8; 32], invite: &InviteRecord, now: u64) -> Result<(), CatalogError> {
        let bytes = invite.encode().map_err(row_of("invites"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::INVITES)?;
            table.retain(|_, old| {
                InviteRecord::decode(old).is_ok_and(|old| old.expires_at.saturating_add(FORGET_AFTER) > now)
            })?;
            table.insert(secret_hash, bytes.as_slice())?;
            Ok(())
        })
    }

    /// The invitation behind a secret, used or not.
    pub fn invite(&self, secret_hash: &[u8; 32]) -> Result<Option<InviteRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::INVITES)?;
        table.get(secret_hash)?.map(|value| InviteRecord::decode(value.value()).map_err(row_of("invites"))).transpose()
    }

    /// Uses an invitation up for `key`; durable before it answers, so that no token is good twice.
    pub fn consume_invite(&self, secret_hash: &[u8; 32], key: &NodeKey, now: u64) -> Result<InviteState, CatalogError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::INVITES)?;
            let Some(bytes) = table.get(secret_hash)?.map(|value| value.value().to_vec()) else {
                return Ok(InviteState::Unknown);
            };
            let mut invite = InviteRecord::decode(&bytes).map_err(row_of("invites"))?;
            if let Some(used_by) = invite.used_by {
                return Ok(InviteState::Used { invite, same_node: used_by == key.0 });
            }
            if invite.expires_at <= now {
                return Ok(InviteState::Expired);
            }
            invite.used_by = Some(key.0);
            table.insert(secret_hash, invite.encode().map_err(row_of("invites"))?.as_slice())?;
            Ok(InviteState::Consumed(invite))
        })
    }

    /// Writes down who did what.
    pub fn audit(&self, record: &AuditRecord) -> Result<(), CatalogError> {
        let bytes = record.encode().map_err(row_of("audit"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::AUDIT)?;
            let next = table.last()?.map_or(0, |(key, _)| key.value() + 1);
            table.insert(next, bytes.as_slice())?;
            if let Some(oldest_kept) = next.checked_sub(AUDIT_ROWS) {
                table.retain_in(..oldest_kept, |_, _| false)?;
            }
            Ok(())
        })
    }

    /// The last `most` acts, newest first.
    pub fn last_audit(&self, most: usize) -> Result<Vec<AuditRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::AUDIT)?;
        let rows = table.iter()?.rev().take(most);
        rows.map(|row| AuditRecord::decode(row?.1.value()).map_err(row_of("audit"))).collect()
    }

    /// The last run of a job.
    pub fn job(&self, name: &str) -> Result<Option<JobRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::JOBS)?;
        table.get(name)?.map(|value| JobRecord::decode(value.value()).map_err(row_of("jobs"))).transpose()
    }

    /// Keeps the last run of a job.
    pub fn put_job(&self, name: &str, job: &JobRecord) -> Result<(), CatalogError> {
        let bytes = job.encode().map_err(row_of("jobs"))?;
        self.write(|transaction| {
            transaction.open_table(tables::JOBS)?.insert(name, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Writes down an attempt to refresh the edition.
    pub fn put_refresh(&self, record: &RefreshRecord) -> Result<(), CatalogError> {
        let bytes = record.encode().map_err(row_of("refreshes"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::REFRESHES)?;
            let next = table.last()?.map_or(0, |(key, _)| key.value() + 1);
            table.insert(next, bytes.as_slice())?;
            if let Some(oldest_kept) = next.checked_sub(REFRESH_ROWS) {
                table.retain_in(..oldest_kept, |_, _| false)?;
            }
            Ok(())
        })
    }

    /// The last `most` attempts to refresh the edition, newest first.
    pub fn last_refreshes(&self, most: usize) -> Result<Vec<RefreshRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::REFRESHES)?;
        let rows = table.iter()?.rev().take(most);
        rows.map(|row| RefreshRecord::decode(row?.1.value()).map_err(row_of("refreshes"))).collect()
    }

    /// The edition that a person took back, while Microsoft may have it still.
    pub fn withdrawn(&self) -> Result<Option<WithdrawnRecord>, CatalogError> {
        let table = self.reading()?.open_table(tables::WITHDRAWN)?;
        table.get(EDITION)?.map(|value| WithdrawnRecord::decode(value.value()).map_err(row_of("withdrawn"))).transpose()
    }

    /// An edition is taken back, or none any longer.
    pub fn set_withdrawn(&self, withdrawn: Option<&WithdrawnRecord>) -> Result<(), CatalogError> {
        let bytes = withdrawn.map(WithdrawnRecord::encode).transpose().map_err(row_of("withdrawn"))?;
        self.write(|transaction| {
            let mut table = transaction.open_table(tables::WITHDRAWN)?;
            match &bytes {
                Some(bytes) => table.insert(EDITION, bytes.as_slice())?,
                None => table.remove(EDITION)?,
            };
            Ok(())
        })
    }

    pub(super) fn reading(&self) -> Result<ReadTransaction, CatalogError> {
        self.home.read(|database| Ok(database.begin_read()?))
    }

    pub(super) fn write<R>(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<R, CatalogError>,
    ) -> Result<R, CatalogError> {
        self.home.write(|database| {
            let transaction = database.begin_write()?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

/// The key of the one row of what was taken back.
const EDITION: &str = "edition";
/// How long an ended invitation is remembered, in seconds, so that its token is refused in words.
const FORGET_AFTER: u64 = 7 * 86_400;

pub(super) fn row_of(table: &'static str) -> impl Fn(VersionedError) -> CatalogError {
    move |source| CatalogError::Row { table, source }
}
