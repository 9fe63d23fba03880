//! One fetch in progress that many readers share.
//!
//! Whoever fetches tells how far the file is; readers see it at once and say where they wait, so that
//! whoever fetches can go there. A flight never reads and never writes bytes.

use super::{
    blocks::{Blocks, LargeBlocks},
    sight::{Ending, Phase, Progress, Sight},
};
use crate::domain::name::{FileName, FolderName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tokio::sync::watch;

/// Most different askers of one flight that are remembered; the others are counted.
const MAX_ASKERS: usize = 32;

/// Who asks for a file: what fairness, quotas and the list of those that want it go by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// A host, by its address.
    Host(std::net::IpAddr),
    /// Another repository, by its name.
    Member(crate::domain::member::NodeName),
    /// This repository itself, for what was wanted before.
    Background,
}

/// A file on its way.
pub struct Flight {
    /// Its folder.
    pub folder: FolderName,
    /// Its name.
    pub name: FileName,
    /// Who made it begin.
    pub first: Client,
    /// When it was asked for first, in seconds since 1970 UTC.
    pub since: u64,
    progress: watch::Sender<Progress>,
    waiting: watch::Sender<BTreeSet<u64>>,
    readers: Mutex<BTreeMap<u64, u64>>,
    next_reader: AtomicU64,
    askers: Mutex<BTreeSet<Client>>,
    asked: AtomicU64,
    pub(super) blocks: Blocks,
}

impl Flight {
    pub(super) fn new(folder: FolderName, name: FileName, first: Client, since: u64, large: LargeBlocks) -> Self {
        Self {
            folder,
            name,
            first: first.clone(),
            since,
            progress: watch::Sender::new(Progress::QUEUED),
            waiting: watch::Sender::default(),
            readers: Mutex::default(),
            next_reader: AtomicU64::new(0),
            askers: Mutex::new(BTreeSet::from([first])),
            asked: AtomicU64::new(0),
            blocks: Blocks::new(large),
        }
    }

    /// How it goes, for readers.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// How it stands.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Where readers wait for bytes that are not here, for whoever fetches.
    pub fn demand(&self) -> watch::Receiver<BTreeSet<u64>> {
        self.waiting.subscribe()
    }

    /// More is here, or the file was begun again.
    pub fn tell(&self, sight: Sight) {
        self.progress.send_modify(|progress| progress.sight = Some(sight));
    }

    /// All of it is here and is what it should be.
    pub fn tell_verified(&self, sight: &Sight) {
        self.progress.send_replace(Progress { phase: Phase::Verified, sight: Some(sight.whole()) });
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        lock(&self.readers).len()
    }

    /// How often it was asked for.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// Who asked, at most 32 of them.
    pub fn askers(&self) -> BTreeSet<Client> {
        lock(&self.askers).clone()
    }

    pub(super) fn on_asked(&self, client: &Client) {
        self.asked.fetch_add(1, Relaxed);
        let mut askers = lock(&self.askers);
        if askers.len() < MAX_ASKERS {
            askers.insert(client.clone());
        }
    }

    pub(super) fn on_phase(&self, phase: Phase) {
        self.progress.send_modify(|progress| progress.phase = phase);
    }

    pub(super) fn on_ended(&self, ending: Ending) {
        self.on_phase(Phase::Ended(ending));
    }

    /// A new reader's number.
    pub(super) fn on_reader(&self) -> u64 {
        let reader = self.next_reader.fetch_add(1, Relaxed);
        lock(&self.readers).insert(reader, NOWHERE);
        reader
    }

    /// Where a reader waits; `None` while it reads.
    pub(super) fn on_waiting(&self, reader: u64, position: Option<u64>) {
        let mut readers = lock(&self.readers);
        let before = readers.insert(reader, position.unwrap_or(NOWHERE));
        if before != Some(position.unwrap_or(NOWHERE)) {
            self.publish(&readers);
        }
    }

    pub(super) fn on_reader_left(&self, reader: u64) {
        let mut readers = lock(&self.readers);
        if readers.remove(&reader).is_some_and(|position| position != NOWHERE) {
            self.publish(&readers);
        }
    }

    fn publish(&self, readers: &BTreeMap<u64, u64>) {
        let waiting: BTreeSet<u64> = readers.values().copied().filter(|position| *position != NOWHERE).collect();
        self.waiting.send_if_modified(|before| {
            let is_new = *before != waiting;
            *before = waiting;
            is_new
        });
    }
}

/// The position of a reader that does not wait.
const NOWHERE: u64 = u64::MAX;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
