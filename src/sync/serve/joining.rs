//! Admits new nodes on the word of a token. Only a main decides; a secondary asks its parent.

use super::connection::ServeError;
use crate::{
    base::tasks,
    catalog::{AuditRecord, InviteRecord, InviteState},
    domain::{
        key::NodeKey,
        member::{MemberRecord, NodeAddress, NodeName, Role, SiteName},
        name::FolderName,
        state::{Body, Namespace},
    },
    repository::{Admission as Standing, Repository, RepositoryError},
    sync::{
        close::CloseCode,
        endpoint::Accepted,
        frames::{Frame, Join, JoinRefused, JoinRefusedReason, Joined},
        join::{join_limiter, serve_join_over},
        limiter::SourceLimiter,
        secret::Secret,
        shared::{Shared, lock},
        tls::Admission,
        token::Token,
        wire::{FrameReader, FrameWriter},
    },
};
use quinn::SendStream;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// For the main's answer over all tiers; the joining node waits 20 s.
const RELAY_DEADLINE: Duration = Duration::from_secs(12);
/// For the new member's row to come down after the answer: it connects here at once.
const ROW_DEADLINE: Duration = Duration::from_secs(5);

impl Admission for Repository {
    fn refusal(&self, key: &NodeKey) -> Option<CloseCode> {
        match self.admission(key) {
            Ok(Standing::Member(_)) => None,
            Ok(Standing::Expired(_) | Standing::Revoked) => Some(CloseCode::Revoked),
            Ok(Standing::Stranger) => Some(CloseCode::NotMember),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "looking up a member failed");
                Some(CloseCode::Busy)
            }
        }
    }
}

/// Answers those who want to become members.
pub struct Doorkeeper {
    shared: Arc<Shared>,
    limiter: Mutex<SourceLimiter>,
    /// One decision at a time: two tokens may carry one name.
    deciding: Arc<Mutex<()>>,
}

impl Doorkeeper {
    /// A doorkeeper that has seen nobody.
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, limiter: Mutex::new(join_limiter()), deciding: Arc::default() })
    }

    /// Answers a stranger's connection, as often as the rates allow.
    pub(super) async fn answer(&self, accepted: Accepted) {
        let source = accepted.connection.remote_address();
        if !lock(&self.limiter).admit(source.ip(), self.shared.clock().monotonic()) {
            return CloseCode::Busy.close(&accepted.connection);
        }
        match serve_join_over(&accepted, |join| self.decide(join)).await {
            Ok(Ok(())) => tracing::info!(%source, key = %accepted.key, "a node joined"),
            Ok(Err(reason)) => tracing::warn!(%source, %reason, "a node was not admitted"),
            Err(error) => tracing::debug!(%source, error = &error as &dyn std::error::Error, "a join was not finished"),
        }
    }

    /// Answers a request that a member passes on for a node behind it.
    pub(super) async fn relay(&self, join: Join, writer: &mut FrameWriter<SendStream>) -> Result<(), ServeError> {
        let answer: Frame = match self.decide(join).await {
            Ok(joined) => joined.into(),
            Err(reason) => JoinRefused { reason }.into(),
        };
        Ok(writer.write_frame(answer).await?)
    }

    async fn decide(&self, join: Join) -> Result<Joined, JoinRefusedReason> {
        match self.shared.repository.role() {
            Role::Main => {
                let (repository, deciding) = (self.shared.repository.clone(), self.deciding.clone());
                let decided = tasks::blocking(move || {
                    let _one = lock(&deciding);
                    admit(&repository, &join)
                });
                decided.await.unwrap_or(Err(JoinRefusedReason::Unavailable))
            }
            Role::Secondary => {
                let key = join.key;
                let asked = tokio::time::timeout(RELAY_DEADLINE, self.ask_parent(join)).await;
                if let Ok(Some(Ok(_))) = &asked {
                    tokio::time::timeout(ROW_DEADLINE, self.row_of(&key)).await.ok();
                }
                asked.ok().flatten().unwrap_or(Err(JoinRefusedReason::Unavailable))
            }
        }
    }

    /// Waits until the row of a new member is here.
    async fn row_of(&self, key: &NodeKey) {
        let mut changes = self.shared.repository.changes();
        while !matches!(self.shared.repository.admission(key), Ok(Standing::Member(_))) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn ask_parent(&self, join: Join) -> Option<Result<Joined, JoinRefusedReason>> {
        let (send, receive) = self.shared.connection_to_parent()?.open_bi().await.ok()?;
        let mut writer = FrameWriter::new(send);
        writer.write_frame(join).await.ok()?;
        writer.get_mut().finish().ok();
        match FrameReader::new(receive).read_frame().await.ok()?? {
            Frame::Joined(joined) => Some(Ok(joined)),
            Frame::JoinRefused(refused) => Some(Err(refused.reason)),
            _ => None,
        }
    }
}

/// The main's decision. The token is used up by a durable commit before anybody hears of it.
fn admit(repository: &Repository, join: &Join) -> Result<Joined, JoinRefusedReason> {
    let unavailable = |error: RepositoryError| {
        tracing::error!(error = &error as &dyn std::error::Error, "a node can't be admitted");
        JoinRefusedReason::Unavailable
    };
    let ledger = &repository.state().ledger;
    let secret_hash = join.secret.digest();
    let known = ledger.invite(secret_hash.as_bytes()).map_err(|error| unavailable(error.into()))?;
    if known.and_then(|invite| invite.used_by).is_some_and(|used_by| used_by != join.key.0) {
        return Err(JoinRefusedReason::Used);
    }
    let members = repository.members().map_err(unavailable)?;
    if members.iter().any(|member| member.name == join.name && member.key != join.key) {
        return Err(JoinRefusedReason::NameTaken);
    }
    let now = repository.clock().unix_seconds();
    let consumed = ledger.consume_invite(secret_hash.as_bytes(), &join.key, now);
    let invite = match consumed.map_err(|error| unavailable(error.into()))? {
        InviteState::Consumed(invite) => invite,
        // The answer was lost on the way: the same node may hear it again, unless it was revoked since.
        InviteState::Used { invite, same_node: true }
            if !was_revoked(repository, &join.key).map_err(unavailable)? =>
        {
            invite
        }
        InviteState::Used { .. } => return Err(JoinRefusedReason::Used),
        InviteState::Unknown => return Err(JoinRefusedReason::UnknownToken),
        InviteState::Expired => return Err(JoinRefusedReason::Expired),
    };
    let member = member_of(join, invite, now).ok_or(JoinRefusedReason::UnknownToken)?;
    let encoded = member.encode().map_err(|error| unavailable(error.into()))?;
    repository.admit(&member).map_err(unavailable)?;
    let what = format!("admitted {} at site {} with key {}", member.name, member.site, member.key);
    ledger.audit(&AuditRecord { at: now, who: "daemon".into(), what }).map_err(|error| unavailable(error.into()))?;
    let head = repository.head().map(|head| head.to_bytes()).unwrap_or_default();
    Ok(Joined { member: encoded, head })
}

/// A revoked member leaves a tombstone.
fn was_revoked(repository: &Repository, key: &NodeKey) -> Result<bool, RepositoryError> {
    let body = repository.state().index.read()?.entry(&Namespace::members(), &key.0)?;
    Ok(body.is_some_and(|body| Body::value_of(&body).is_none()))
}

/// What the invitation says counts, not what the node says of itself.
fn member_of(join: &Join, invite: InviteRecord, now: u64) -> Option<MemberRecord> {
    Some(MemberRecord {
        key: join.key,
        name: NodeName::new(&invite.name).ok().filter(|name| *name == join.name)?,
        site: SiteName::new(&invite.site).ok()?,
        folders: invite.folders,
        addresses: join.addresses.clone(),
        role: Role::Secondary,
        joined_at: now,
        expires_at: None,
    })
}

/// Whom an invitation is for, and through whom.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The new node's name.
    pub name: NodeName,
    /// Its site.
    pub site: SiteName,
    /// The folders that it may mirror.
    pub folders: Vec<FolderName>,
    /// Where its parent listens.
    pub addresses: Vec<NodeAddress>,
    /// The parent's transport key.
    pub parent: NodeKey,
    /// For how long the token is good, in seconds.
    pub valid_seconds: u64,
}

/// Why nobody was invited.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// Only a main invites.
    #[error("only the main repository invites; run this there, with --via for a node behind this one")]
    NotMain,
    /// A member has that name.
    #[error("a member named {0} exists; revoke it first or choose another name")]
    NameTaken(NodeName),
    /// Too many or too long names in one token.
    #[error("the token would be too long; name fewer folders or addresses")]
    TooLong,
    /// The ledger.
    #[error("keeping the invitation")]
    Repository(#[from] RepositoryError),
}

/// Issues a token, and keeps the hash of its secret.
pub fn invite(repository: &Repository, invitation: Invitation, random: [u8; 32]) -> Result<String, InviteError> {
    let Some(line) = repository.line().filter(|_| repository.role() == Role::Main) else {
        return Err(InviteError::NotMain);
    };
    let Invitation { name, site, folders, addresses, parent, valid_seconds } = invitation;
    if repository.members()?.iter().any(|member| member.name == name) {
        return Err(InviteError::NameTaken(name));
    }
    let now = repository.clock().unix_seconds();
    let expires_at = now.saturating_add(valid_seconds);
    let secret = Secret::new(random);
    let record = InviteRecord {
        name: name.to_string(),
        site: site.to_string(),
        folders: folders.clone(),
        expires_at,
        used_by: None,
    };
    let secret_hash = secret.digest();
    let token = Token { addresses, parent, line, secret, name, site, folders, expires_at };
    let text = token.to_text().map_err(|_| InviteError::TooLong)?.to_string();
    let ledger = &repository.state().ledger;
    ledger.put_invite(secret_hash.as_bytes(), &record, now).map_err(RepositoryError::from)?;
    Ok(text)
}
