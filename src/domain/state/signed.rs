//! A part of a signed state that stands on its own: a head, and all entries of some namespaces.
//! Whoever has the line's key can tell whether it is true. Pure.

use super::{Head, Namespace, SignedHead, VerifyHeadError, root_of_entries};
use crate::domain::key::LineKey;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Keys with their encoded bodies.
pub type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Whole namespaces under a signed head, as they are exported.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedState {
    /// The head, as it was signed.
    pub head: Vec<u8>,
    /// Every entry of each of these.
    pub namespaces: BTreeMap<Namespace, Entries>,
}

/// Why an exported state is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyStateError {
    /// Its head.
    #[error("its head can't be believed")]
    Head(#[from] VerifyHeadError),
    /// Entries that are not the signed ones.
    #[error("its entries of {0} are not what the line's key signed")]
    Entries(Namespace),
    /// A namespace that was signed and is not there.
    #[error("its {0} are missing")]
    Missing(Namespace),
}

impl SignedState {
    /// Checks the signature of `line` and that the entries are those that it covers; answers with the head.
    pub fn verify(&self, line: &LineKey) -> Result<Head, VerifyStateError> {
        let signed = SignedHead::verify(&self.head, line)?;
        let head = signed.head();
        for (namespace, entries) in &self.namespaces {
            if root_of_entries(entries) != head.roots.get(namespace).copied().unwrap_or_default() {
                return Err(VerifyStateError::Entries(namespace.clone()));
            }
        }
        let members = Namespace::members();
        if head.roots.contains_key(&members) && !self.namespaces.contains_key(&members) {
            return Err(VerifyStateError::Missing(members));
        }
        Ok(head.clone())
    }
}

impl fmt::Debug for SignedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.namespaces.iter().map(|(namespace, entries)| (namespace, entries.len()));
        f.debug_map().entries(counts).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LineSigner, head::tests::head},
        *,
    };

    fn signer() -> LineSigner {
        LineSigner::from_secret(&[42; 32])
    }

    /// A state of two members.
    pub(crate) fn state() -> SignedState {
        let entries: Entries = [(vec![1], vec![1, 10]), (vec![2], vec![1, 20])].into();
        let mut head = head(3, 9);
        head.roots = [(Namespace::members(), root_of_entries(&entries))].into();
        let head = signer().sign(head).unwrap().to_bytes();
        SignedState { head, namespaces: [(Namespace::members(), entries)].into() }
    }

    #[test]
    fn a_state_is_believed_whole_and_under_its_line_key_alone() {
        assert_eq!(state().verify(&signer().line()).unwrap().seq, 9);
        let other = LineSigner::from_secret(&[43; 32]).line();
        assert!(matches!(state().verify(&other), Err(VerifyStateError::Head(VerifyHeadError::OtherLine { .. }))));
    }

    #[test]
    fn changed_added_removed_and_foreign_entries_are_refused() {
        let refused = |change: fn(&mut SignedState)| {
            let mut state = state();
            change(&mut state);
            state.verify(&signer().line()).unwrap_err()
        };
        let members = Namespace::members();
        let entries = |state: &mut SignedState| state.namespaces.remove(&Namespace::members()).unwrap();
        for error in [
            refused(|state| _ = state.namespaces.values_mut().next().unwrap().insert(vec![2], vec![1, 21])),
            refused(|state| _ = state.namespaces.values_mut().next().unwrap().insert(vec![3], vec![1, 30])),
            refused(|state| _ = state.namespaces.values_mut().next().unwrap().remove(&vec![2][..])),
        ] {
            assert!(matches!(&error, VerifyStateError::Entries(of) if *of == members), "{error}");
        }
        let mut renamed = state();
        let taken = entries(&mut renamed);
        renamed.namespaces.insert(Namespace::new("rules").unwrap(), taken);
        assert!(matches!(renamed.verify(&signer().line()), Err(VerifyStateError::Entries(_))));
        let mut empty = state();
        entries(&mut empty);
        assert!(matches!(empty.verify(&signer().line()), Err(VerifyStateError::Missing(_))));
    }
}
