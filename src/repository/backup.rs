//! What a node gives away for bad days, and how it comes back: the ledger beside itself, a backup file,
//! and a state folder that is made from one.
//!
//! Order of a restore: the state that was there moves aside; keys, ledger and the last known point of the
//! line are written; the repository opens and begins a new epoch; entries that are no files go into the
//! index. A restore that was cut short is begun again.

use super::{
    error::RepositoryError,
    open::Repository,
    state_dir::{SmallFileError, StateDir},
};
use crate::{
    catalog::CatalogError,
    domain::{
        backup::{BackupFile, BackupHeader, BackupKind, Secrets},
        key::LineKey,
        member::{MemberRecord, Role},
        state::{Accepted, Body, Entries, LineSigner, Namespace, SignedHead, SignedState},
    },
    store::layout,
};

/// Why there is nothing to back up, or it can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A node that has neither signed nor followed anything.
    #[error("there is no state yet: a main has one after its first start, a secondary after it has joined and synced")]
    NoState,
    /// Only a main has keys to give.
    #[error("this node is a secondary: it has no line key")]
    NotMain,
    /// The small files of the state folder.
    #[error("the state folder")]
    State(#[from] SmallFileError),
    /// The rows.
    #[error("reading rows")]
    Catalog(#[from] CatalogError),
    /// The ledger's copy.
    #[error("copying the ledger")]
    Ledger(#[source] std::io::Error),
}

impl StateDir {
    /// A backup without its seal, and the secrets that belong under it: of a main everything or, with
    /// `keys_only`, just the keys; of a secondary what it has of the signed state, without secrets.
    /// `node` and `made_at` (seconds since 1970 UTC) are what the file says of its origin.
    pub fn export(
        &self,
        role: Role,
        keys_only: bool,
        node: &str,
        made_at: u64,
    ) -> Result<(BackupFile, Option<Secrets>), ExportError> {
        let secrets = match role {
            Role::Main => Some(self.secrets()?),
            Role::Secondary if keys_only => return Err(ExportError::NotMain),
            Role::Secondary => None,
        };
        let kind = match (&secrets, keys_only) {
            (Some(_), true) => BackupKind::Keys,
            (Some(_), false) => BackupKind::Main,
            (None, _) => BackupKind::Secondary,
        };
        // The ledger before the signed state: so that one is the newer.
        let ledger = if kind == BackupKind::Main { self.ledger_bytes().map_err(ExportError::Ledger)? } else { vec![] };
        let accepted = self.accepted()?;
        let line = match &secrets {
            Some(secrets) => LineSigner::from_secret(&secrets.line).line(),
            None => accepted.as_ref().map(|accepted| accepted.line).ok_or(ExportError::NoState)?,
        };
        let signed = if kind == BackupKind::Keys { None } else { self.signed_state(&line)? };
        if kind == BackupKind::Secondary && signed.is_none() {
            return Err(ExportError::NoState);
        }
        let header = BackupHeader { kind, line, node: node.to_owned(), made_at, accepted, signed, sealed: None };
        Ok((BackupFile { header, ledger }, secrets))
    }

    fn secrets(&self) -> Result<Secrets, ExportError> {
        let signer = self.line_signer()?.ok_or(ExportError::NoState)?;
        let transport = self.read_small(layout::TRANSPORT_KEY)?.unwrap_or_default();
        Ok(Secrets { line: signer.secret(), transport })
    }

    /// Every namespace that is no folder, under the head of the same commit. Namespaces that the head
    /// does not name are nobody's word.
    fn signed_state(&self, line: &LineKey) -> Result<Option<SignedState>, ExportError> {
        let snapshot = self.index.read()?;
        let Some(bytes) = snapshot.head()? else { return Ok(None) };
        let Ok(signed) = SignedHead::verify(&bytes, line) else { return Ok(None) };
        let mut state = SignedState { head: bytes, namespaces: Default::default() };
        for namespace in signed.head().roots.keys().filter(|namespace| namespace.as_folder().is_none()) {
            let mut entries = Entries::new();
            snapshot.each_entry(namespace, |key, body| {
                entries.insert(key.to_vec(), body.to_vec());
                Ok::<_, CatalogError>(())
            })?;
            // One that this node does not mirror has a root in the head and no entries here.
            if snapshot.root_of(namespace)? == signed.head().roots[namespace] {
                state.namespaces.insert(namespace.clone(), entries);
            }
        }
        Ok(Some(state))
    }

    /// Writes what a restore brings into a state folder that has nothing of it yet. `known` is the newest
    /// point of the line that anybody knows of: the next epoch is beyond it.
    pub fn restore(
        &self,
        secrets: &Secrets,
        known: Option<&Accepted>,
        members: Option<&[MemberRecord]>,
    ) -> Result<(), RepositoryError> {
        self.set_line_signer(&LineSigner::from_secret(&secrets.line))?;
        if !secrets.transport.is_empty() {
            self.write_small(layout::TRANSPORT_KEY, &secrets.transport)?;
        }
        if let Some(known) = known {
            self.set_accepted(known)?;
        }
        if let Some(members) = members {
            self.ledger.set_members(members)?;
        }
        Ok(())
    }

    /// The next opening of a main begins a new epoch, whatever the index says.
    pub fn end_epoch(&self) -> Result<bool, RepositoryError> {
        if self.line_signer()?.is_none() {
            return Ok(false);
        }
        Ok(self.remove_small(layout::EPOCH).map(|()| true)?)
    }
}

/// The members that a signed state names; rows that this program can't read are passed over.
pub fn members_of(state: &SignedState) -> Vec<MemberRecord> {
    let rows = state.namespaces.get(&Namespace::members()).into_iter().flat_map(|entries| entries.values());
    rows.filter_map(|body| MemberRecord::decode(Body::value_of(body)?).ok()).collect()
}

impl Repository {
    /// Signs the entries of another copy of this line's state as this main's own, tombstones included, byte
    /// by byte. Files are not among them: the index follows this main's folders.
    pub fn take_over(&self, state: &SignedState) -> Result<(), RepositoryError> {
        self.author(|changes| {
            for (namespace, entries) in state.namespaces.iter().filter(|(namespace, _)| namespace.as_folder().is_none())
            {
                for (key, body) in entries {
                    changes.put_bytes(namespace, key, body.clone())?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, Place, adopt, folder, follow, is_held, name, rescan};
    use super::*;
    use crate::domain::{
        key::NodeKey,
        member::{NodeName, SiteName},
        state::Verdict,
    };
    use std::fs;

    fn member(key: u8) -> MemberRecord {
        MemberRecord {
            key: NodeKey([key; 32]),
            name: NodeName::new(&format!("node{key}")).unwrap(),
            site: SiteName::new("lyon").unwrap(),
            folders: vec![folder()],
            addresses: vec![],
            role: Role::Secondary,
            joined_at: NOW,
            expires_at: None,
        }
    }

    fn export(of: &Repository) -> (BackupFile, Option<Secrets>) {
        of.state.export(of.role, false, "node", NOW).unwrap()
    }

    #[test]
    fn a_main_gives_keys_ledger_and_members_and_a_secondary_the_members_alone() {
        let (place, below) = (Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        assert!(matches!(child.state.export(Role::Secondary, false, "x", NOW), Err(ExportError::NoState)));
        main.admit(&member(1)).unwrap();
        place.write("a", b"a");
        adopt(&main, &["a"]).unwrap();
        follow(&main, &child).unwrap();
        let (ours, secrets) = export(&main);
        assert_eq!((ours.header.kind, secrets.is_some(), ours.ledger.is_empty()), (BackupKind::Main, true, false));
        let (theirs, none) = export(&child);
        assert_eq!((theirs.header.kind, none, theirs.ledger.is_empty()), (BackupKind::Secondary, None, true));
        for file in [ours, theirs] {
            let state = file.header.signed.unwrap();
            assert_eq!(state.verify(&main.line().unwrap()).unwrap(), *main.head().unwrap().head());
            assert_eq!(state.namespaces.keys().collect::<Vec<_>>(), [&Namespace::members()]);
            assert_eq!(members_of(&state), [member(1)]);
        }
        let (keys, _) = main.state.export(Role::Main, true, "x", NOW).unwrap();
        assert_eq!((keys.header.kind, keys.header.signed, keys.ledger.len()), (BackupKind::Keys, None, 0));
        assert!(matches!(child.state.export(Role::Secondary, true, "x", NOW), Err(ExportError::NotMain)));
    }

    #[test]
    fn a_main_from_a_secondarys_state_has_its_members_and_its_revoked_and_a_greater_epoch() {
        let (place, below, new) = (Place::new(), Place::new(), Place::new());
        let (main, child) = (place.main(), below.secondary());
        main.admit(&member(1)).unwrap();
        main.admit(&member(2)).unwrap();
        main.revoke(&NodeKey([2; 32])).unwrap();
        follow(&main, &child).unwrap();
        let (_, secrets) = export(&main);
        let (theirs, _) = export(&child);
        let state = theirs.header.signed.unwrap();
        let opened = StateDir::open(new.disk(), &new.state(""), Role::Main, NOW).unwrap();
        opened.restore(&secrets.unwrap(), theirs.header.accepted.as_ref(), Some(&members_of(&state))).unwrap();
        drop(opened);
        new.clock.set(1_000); // a new machine without a clock
        let again = new.main();
        again.take_over(&state).unwrap();
        assert_eq!(again.members().unwrap(), [member(1)]);
        let bytes = again.state.index.read().unwrap().entry(&Namespace::members(), &[2; 32]).unwrap();
        assert_eq!(bytes, state.namespaces[&Namespace::members()].get(&[2; 32][..]).cloned());
        let (_, verdict) = child.judge(&again.head().unwrap().to_bytes(), &main.line().unwrap()).unwrap();
        assert_eq!(verdict, Verdict::Newer);
    }

    #[test]
    fn a_copy_of_the_ledger_lies_beside_it_and_takes_its_place() {
        let place = Place::new();
        let main = place.main();
        main.admit(&member(1)).unwrap();
        for _ in 0..2 {
            main.state.copy_ledger().unwrap();
        }
        main.admit(&member(2)).unwrap();
        drop(main);
        fs::rename(place.state(layout::LEDGER_COPY), place.state(layout::LEDGER)).unwrap();
        fs::remove_file(place.state(layout::INDEX)).unwrap();
        assert_eq!(place.main().members().unwrap(), [member(1)]);
    }

    #[test]
    fn an_ended_epoch_is_followed_by_a_greater_one_without_reading_a_file_again() {
        let place = Place::new();
        let main = place.main();
        place.write("a", b"a");
        rescan(&main);
        let before = main.head().unwrap().head().epoch;
        assert!(main.state.end_epoch().unwrap());
        drop(main);
        let main = place.main();
        assert!(main.head().unwrap().head().epoch > before && is_held(&main, "a"));
        assert!(main.indexed(&folder(), &name("a")).unwrap().is_some());
        assert!(!Place::new().secondary().state.end_epoch().unwrap());
    }
}
