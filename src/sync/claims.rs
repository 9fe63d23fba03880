//! Who writes the partial of a large content: one at a time, and whoever somebody waits for comes first.

use crate::domain::digest::Root;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Content that is arriving, by its root. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Board>);

#[derive(Debug, Default)]
struct Board {
    taken: Mutex<BTreeMap<Root, CancellationToken>>,
    released: Notify,
}

impl Claims {
    /// Takes a content that nobody has.
    pub(super) fn try_take(&self, root: Root) -> Option<Claim> {
        let mut taken = self.taken();
        if taken.contains_key(&root) {
            return None;
        }
        let asked_for = CancellationToken::new();
        taken.insert(root, asked_for.clone());
        Some(Claim { claims: self.clone(), root, asked_for })
    }

    /// Takes a content, from whoever has it: that one is asked for it, and lets go at its next step.
    pub(super) async fn take(&self, root: Root) -> Claim {
        loop {
            let released = self.0.released.notified();
            if let Some(claim) = self.try_take(root) {
                return claim;
            }
            if let Some(asked_for) = self.taken().get(&root) {
                asked_for.cancel();
            }
            released.await;
        }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<Root, CancellationToken>> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A content that is this one's to write, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Claims,
    root: Root,
    asked_for: CancellationToken,
}

impl Claim {
    /// Whether another one wants it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for.is_cancelled()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.taken().remove(&self.root);
        self.claims.0.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_has_a_content_is_asked_for_it_and_it_is_had_by_one_at_a_time() {
        let claims = Claims::default();
        let (one, other) = (Root([1; 32]), Root([2; 32]));
        let first = claims.try_take(one).unwrap();
        assert!(claims.try_take(one).is_none() && claims.try_take(other).is_some());
        let (taken, ()) = tokio::join!(claims.take(one), async {
            while !first.is_asked_for() {
                tokio::task::yield_now().await;
            }
            drop(first);
        });
        assert!(!taken.is_asked_for() && claims.try_take(one).is_none());
        drop(taken);
        assert!(claims.try_take(one).is_some());
    }
}
