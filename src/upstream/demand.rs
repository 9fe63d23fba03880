//! Where readers of a file wait for it, as the one who fetches it is told.

use std::collections::BTreeSet;
use tokio::sync::watch;

/// The positions at which readers wait for bytes. Clones are told the same.
///
/// Each change is looked at once and costs little, but readers that follow what arrives closely change
/// nothing: only those that wait far ahead of it need be told of.
#[derive(Debug, Clone)]
pub struct Demand(watch::Receiver<BTreeSet<u64>>);

impl From<watch::Receiver<BTreeSet<u64>>> for Demand {
    fn from(waiting: watch::Receiver<BTreeSet<u64>>) -> Self {
        Self(waiting)
    }
}

impl Demand {
    /// Nobody waits anywhere, for ever.
    pub fn none() -> Self {
        Self(watch::channel(BTreeSet::new()).1)
    }

    /// What `look` says of those who wait; [`Demand::changed`] then tells when there are others.
    pub(super) fn look<T>(&mut self, look: impl FnOnce(&BTreeSet<u64>) -> T) -> T {
        look(&self.0.borrow_and_update())
    }

    /// Waits until others wait than those who were looked at. May be dropped while it waits.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
