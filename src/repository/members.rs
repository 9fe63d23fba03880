//! Who belongs: the `members` namespace, and the main's own copy of it in the ledger.

use super::{error::RepositoryError, open::Repository};
use crate::domain::{
    key::NodeKey,
    member::MemberRecord,
    state::{Body, Namespace},
};
use std::collections::BTreeSet;

/// What a node key is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// A member in good standing.
    Member(MemberRecord),
    /// A member whose time is over.
    Expired(MemberRecord),
    /// Somebody who was a member and was shut out.
    Revoked,
    /// Nobody.
    Stranger,
}

impl Repository {
    /// Admits a member, or changes what is known of one. The ledger first: it survives a lost index.
    pub fn admit(&self, member: &MemberRecord) -> Result<(), RepositoryError> {
        self.state.ledger.put_member(member)?;
        self.author(|changes| put_member(changes, member))
    }

    /// Revokes a member: its row becomes a tombstone. The index first: a tombstone takes the ledger's row
    /// with it at the next start.
    pub fn revoke(&self, key: &NodeKey) -> Result<(), RepositoryError> {
        let removed_at = self.clock.unix_seconds();
        self.author(|changes| Ok(changes.put(&Namespace::members(), &key.0, &Body::Tombstone { removed_at })?))?;
        Ok(self.state.ledger.remove_member(key)?)
    }

    /// Looks a key up among the members.
    pub fn admission(&self, key: &NodeKey) -> Result<Admission, RepositoryError> {
        let Some(body) = self.state.index.read()?.entry(&Namespace::members(), &key.0)? else {
            return Ok(Admission::Stranger);
        };
        let Some(value) = Body::value_of(&body) else { return Ok(Admission::Revoked) };
        let member = MemberRecord::decode(value)?;
        let now = self.clock.unix_seconds();
        if member.expires_at.is_some_and(|end| end <= now) {
            Ok(Admission::Expired(member))
        } else {
            Ok(Admission::Member(member))
        }
    }

    /// Every member, by name. Rows that this program can't read are passed over.
    pub fn members(&self) -> Result<Vec<MemberRecord>, RepositoryError> {
        let mut members = Vec::new();
        self.state.index.read()?.each_entry(&Namespace::members(), |_, body| {
            let member = Body::value_of(body).map(MemberRecord::decode);
            members.extend(member.and_then(Result::ok));
            Ok::<_, RepositoryError>(())
        })?;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(members)
    }

    /// Brings index and ledger in step after one of them was lost or put back from a copy. Where the epoch
    /// goes on, the index is the newest that there is: who was revoked in it stays out, and who is in it is
    /// put back into the ledger. Else the ledger knows best: who is not in it is revoked.
    pub(super) fn restore_members(&self, epoch_goes_on: bool) -> Result<(), RepositoryError> {
        let (mut kept, indexed) = (self.state.ledger.members()?, self.members()?);
        let known: BTreeSet<NodeKey> = kept.iter().map(|member| member.key).collect();
        let unknown: Vec<_> = indexed.into_iter().filter(|member| !known.contains(&member.key)).collect();
        if epoch_goes_on {
            for member in &unknown {
                self.state.ledger.put_member(member)?;
            }
            for revoked in kept.extract_if(.., |member| self.is_revoked(member).unwrap_or(false)) {
                self.state.ledger.remove_member(&revoked.key)?;
            }
        }
        let removed_at = self.clock.unix_seconds();
        self.author(|changes| {
            kept.iter().try_for_each(|member| put_member(changes, member))?;
            if epoch_goes_on || kept.is_empty() {
                return Ok(()); // a ledger without a main's own row was lost
            }
            let gone = Body::Tombstone { removed_at };
            Ok(unknown.iter().try_for_each(|member| changes.put(&Namespace::members(), &member.key.0, &gone))?)
        })
    }

    /// Whether the index says that a member of the ledger was revoked after it joined.
    fn is_revoked(&self, member: &MemberRecord) -> Result<bool, RepositoryError> {
        let body = self.state.index.read()?.entry(&Namespace::members(), &member.key.0)?;
        let tombstone = body.and_then(|body| Body::decode(&body).ok());
        Ok(matches!(tombstone, Some(Body::Tombstone { removed_at }) if removed_at >= member.joined_at))
    }
}

fn put_member(changes: &mut super::author::Changes<'_, '_>, member: &MemberRecord) -> Result<(), RepositoryError> {
    let value = Body::Value(member.encode()?);
    Ok(changes.put(&Namespace::members(), &member.key.0, &value)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, folder, follow, seq};
    use super::*;
    use crate::domain::member::{NodeName, Role, SiteName};
    use std::fs;

    fn member(key: u8, expires_at: Option<u64>) -> MemberRecord {
        MemberRecord {
            key: NodeKey([key; 32]),
            name: NodeName::new(&format!("node{key}")).unwrap(),
            site: SiteName::new("lyon").unwrap(),
            folders: vec![folder()],
            addresses: vec![],
            role: Role::Secondary,
            joined_at: NOW,
            expires_at,
        }
    }

    fn admission(at: &Repository, key: u8) -> Admission {
        at.admission(&NodeKey([key; 32])).unwrap()
    }

    #[test]
    fn a_member_is_admitted_until_it_is_revoked_or_expires() {
        let place = Place::new();
        let main = place.main();
        main.admit(&member(1, None)).unwrap();
        main.admit(&member(2, Some(NOW + 10))).unwrap();
        assert_eq!(admission(&main, 1), Admission::Member(member(1, None)));
        assert_eq!(admission(&main, 2), Admission::Member(member(2, Some(NOW + 10))));
        assert_eq!(admission(&main, 3), Admission::Stranger);
        place.clock.set(NOW + 10);
        assert_eq!(admission(&main, 2), Admission::Expired(member(2, Some(NOW + 10))));
        main.revoke(&NodeKey([1; 32])).unwrap();
        assert_eq!(admission(&main, 1), Admission::Revoked);
        assert_eq!(main.members().unwrap(), [member(2, Some(NOW + 10))]);
        assert_eq!(seq(&main), 3);
    }

    #[test]
    fn secondaries_learn_the_members_from_the_signed_state() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        main.admit(&member(1, None)).unwrap();
        follow(&main, &child).unwrap();
        assert_eq!(admission(&child, 1), Admission::Member(member(1, None)));
        assert!(matches!(child.admit(&member(2, None)), Err(RepositoryError::NotMain)));
    }

    #[test]
    fn an_older_copy_of_the_ledger_neither_brings_back_the_revoked_nor_loses_the_new() {
        let place = Place::new();
        let main = place.main();
        main.admit(&member(1, None)).unwrap();
        main.admit(&member(2, None)).unwrap();
        drop(main);
        fs::copy(place.state("ledger.redb"), place.state("copy")).unwrap();
        let main = place.main();
        main.revoke(&NodeKey([2; 32])).unwrap();
        main.admit(&member(3, None)).unwrap();
        drop(main);
        fs::rename(place.state("copy"), place.state("ledger.redb")).unwrap();
        let main = place.main();
        assert_eq!(main.members().unwrap(), [member(1, None), member(3, None)]);
        assert_eq!(main.state.ledger.members().unwrap(), [member(1, None), member(3, None)]);
    }

    #[test]
    fn an_older_copy_of_the_index_does_not_bring_back_the_revoked() {
        let place = Place::new();
        let main = place.main();
        main.admit(&member(1, None)).unwrap();
        main.admit(&member(2, None)).unwrap();
        drop(main);
        fs::copy(place.state("index.redb"), place.state("copy")).unwrap();
        let main = place.main();
        main.revoke(&NodeKey([2; 32])).unwrap();
        drop(main);
        fs::rename(place.state("copy"), place.state("index.redb")).unwrap();
        let main = place.main();
        assert_eq!(main.members().unwrap(), [member(1, None)]);
        assert_eq!(admission(&main, 2), Admission::Revoked);
    }

    #[test]
    fn a_main_that_lost_its_index_has_its_members_back_and_the_revoked_stay_out() {
        let place = Place::new();
        let main = place.main();
        main.admit(&member(1, None)).unwrap();
        main.admit(&member(2, None)).unwrap();
        main.revoke(&NodeKey([2; 32])).unwrap();
        drop(main);
        fs::remove_file(place.state("index.redb")).unwrap();
        let main = place.main();
        assert_eq!(main.members().unwrap(), [member(1, None)]);
        assert_eq!(admission(&main, 2), Admission::Stranger);
    }
}
