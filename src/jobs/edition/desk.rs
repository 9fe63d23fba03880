//! What everybody who changes the edition needs: the turn, the cabinet that is held, and how one is read.

use super::{Prove, Refused};
use crate::{
    base::{chain::chain, read_at::ReadAt, tasks},
    catalog::{EditionRecord, RefreshOutcome},
    domain::{
        digest::Root,
        edition::{self, Language},
        file::FileRecord,
        member::Role,
        name::{FileName, FolderName},
    },
    repository::{Alarm, Found, Pair, Repository, RepositoryError},
    wsusscn::{self, Counts, Edition, Oddities, Options},
};
use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// The alarm about one that Microsoft has and that is not published.
pub(in crate::jobs) const REFRESHING: Alarm = Alarm::Failing("refreshing the edition");
/// The alarm about one that lies in the folder and is not believed.
pub(super) const FOUND: Alarm = Alarm::Failing("believing the edition in the folder");
/// The alarm about one that is published and odd.
const ODD: Alarm = Alarm::Failing("reading the edition");
/// What to do about that.
const ODD_CURE: &str =
    "compare it with the one before (`wuasync cab diff`); if hosts miss updates, `wuasync cab rollback` takes it back";
/// Past attempts among which the last edition is looked for.
const REMEMBERED: usize = 1_000;
/// After this many seconds a cabinet that was not believed is looked at again: a person may have pinned somebody.
const DOUBT_SECONDS: i64 = 600;
/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;

/// Which edition, and how it is believed.
#[derive(Clone)]
pub struct EditionSettings {
    /// The folder that it is in.
    pub folder: FolderName,
    /// Whether its SHA-1 stands beside it.
    pub has_sidecar: bool,
    /// None where an unsigned edition is taken.
    pub prove: Option<Prove>,
    /// Titles are read in these.
    pub languages: Vec<Language>,
    /// Threads that read one, beside another.
    pub workers: usize,
}

/// Where editions are read, published and brought back, one at a time.
pub struct EditionDesk {
    pub(in crate::jobs) repository: Arc<Repository>,
    pub(super) settings: EditionSettings,
    /// Where both are.
    pub(in crate::jobs) pair: Pair,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    /// The cabinet in the folder that was looked at last and not believed, and when.
    doubted: Mutex<Option<(Root, i64)>>,
}

/// The cabinet that hosts get.
pub(in crate::jobs) struct Held {
    /// Its bytes.
    pub(in crate::jobs) bytes: Arc<dyn ReadAt>,
    /// What they are.
    pub(in crate::jobs) file: FileRecord,
}

/// An edition that was proven, read and found good.
pub(in crate::jobs) struct Good {
    edition: Edition,
    /// What is odd about it.
    pub(in crate::jobs) odd: Vec<String>,
}

impl EditionDesk {
    /// Reads nothing yet. From here on the sidecar is answered only beside its own cabinet.
    pub fn new(repository: Arc<Repository>, settings: EditionSettings) -> Arc<Self> {
        let has_sidecar = settings.has_sidecar && repository.role() == Role::Main;
        let sidecar = has_sidecar.then(|| named(edition::SIDECAR));
        let pair = Pair { folder: settings.folder.clone(), cab: named(edition::CABINET), sidecar };
        if has_sidecar {
            repository.set_pair(pair.clone());
        }
        Arc::new(Self { repository, settings, pair, turn: tokio::sync::Mutex::new(()), doubted: Mutex::default() })
    }

    /// While the guard lives nobody else changes the edition.
    pub(in crate::jobs) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The cabinet that hosts get; none while it is not known which content it is.
    pub(in crate::jobs) async fn held(&self) -> Result<Option<Held>, RepositoryError> {
        let pair = self.pair.clone();
        let found = self.blocking(move |repository| repository.find(&pair.folder, &pair.cab)).await?;
        Ok(match found {
            Found::Held { file: bytes, size, modified, root: Some(root) } => {
                Some(Held { bytes, file: FileRecord { root, size, modified } })
            }
            _ => None,
        })
    }

    /// The edition whose rows are known, if it is the one that hosts get.
    pub(in crate::jobs) async fn published(
        &self,
        held: Option<&Held>,
    ) -> Result<Option<EditionRecord>, RepositoryError> {
        let current = self.blocking(Repository::edition).await?;
        Ok(current.filter(|current| held.is_some_and(|held| held.file.root == current.root)))
    }

    /// Proves the signature.
    pub(in crate::jobs) async fn prove(&self, bytes: &Arc<dyn ReadAt>, size: u64) -> Result<(), Refused> {
        let Some(prove) = self.settings.prove.clone() else { return Ok(()) };
        let (bytes, now) = (bytes.clone(), self.repository.clock().unix_seconds());
        let proven = tasks::blocking(move || prove(&*bytes, size, now)).await;
        let cut_short = |panic| Refused::of(format!("proving it was cut short: {panic}"));
        Ok(proven.map_err(cut_short)??)
    }

    /// Reads the structure of one whose signature is proven, and judges it beside `last`.
    pub(in crate::jobs) async fn read(
        &self,
        bytes: Arc<dyn ReadAt>,
        last: Option<&EditionRecord>,
    ) -> Result<Good, Refused> {
        let EditionSettings { languages, workers, .. } = self.settings.clone();
        let options = Options { languages, workers, ..Options::default() };
        let last = last.map(|last| Counts { updates: last.updates, files: last.files });
        let read = tasks::blocking(move || {
            let edition = wsusscn::read(InOrder::new(bytes), &options);
            let edition = edition.map_err(|error| Refused::of(chain(&error)))?;
            if *edition.oddities() != Oddities::default() {
                tracing::info!(oddities = ?edition.oddities(), "what is odd about an edition");
            }
            let judgement = edition.judge(last);
            match judgement.refused {
                Some(why) => Err(Refused::of(why)),
                None => Ok(Good { edition, odd: judgement.odd }),
            }
        });
        read.await.unwrap_or_else(|panic| Err(Refused::of(format!("reading it was cut short: {panic}"))))
    }

    /// What a good edition tells is known from here on.
    pub(in crate::jobs) async fn put_rows(
        &self,
        good: Good,
        root: Root,
        size: u64,
        modified: Option<i64>,
    ) -> Result<(), RepositoryError> {
        let Good { edition, odd } = good;
        let row = EditionRecord {
            id: edition.id(),
            root,
            origin_size: size,
            origin_modified: modified,
            updates: edition.update_count() as u64,
            files: edition.file_count() as u64,
            indexed_at: self.repository.clock().unix_seconds(),
        };
        self.blocking(move |repository| repository.put_edition(&row, edition.updates(), edition.files())).await?;
        self.repository.attention.clear(&REFRESHING);
        self.forget_doubts();
        self.tell_odd(&odd);
        Ok(())
    }

    /// The alarm about what is odd about the published edition, or the end of one.
    pub(super) fn tell_odd(&self, odd: &[String]) {
        if odd.is_empty() {
            return self.repository.attention.clear(&ODD);
        }
        self.repository.attention.raise(ODD, format!("the published edition is odd: {}", odd.join("; ")), ODD_CURE);
    }

    /// Raises again what a restart forgot.
    pub(super) async fn recall(&self) -> Result<(), RepositoryError> {
        let past = self.blocking(|repository| repository.last_refreshes(REMEMBERED)).await?;
        let changes = |outcome: &RefreshOutcome| {
            matches!(outcome, RefreshOutcome::Published | RefreshOutcome::Found | RefreshOutcome::RolledBack)
        };
        if let Some(last) = past.iter().find(|refresh| changes(&refresh.outcome)) {
            self.tell_odd(&last.oddities);
        }
        Ok(())
    }

    /// Whether this cabinet was looked at lately and not believed; notes that it is looked at.
    pub(super) fn doubts(&self, root: Root) -> bool {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let is_recent = |(of, at): (Root, i64)| of == root && (at..at + DOUBT_SECONDS).contains(&now);
        let doubts = doubted.is_some_and(is_recent);
        if !doubts {
            *doubted = Some((root, now));
        }
        doubts
    }

    /// What was not believed is not there any longer.
    pub(super) fn forget_doubts(&self) {
        *self.doubted.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.repository.attention.clear(&FOUND);
    }

    /// Seconds since 1970 UTC.
    pub(in crate::jobs) fn now(&self) -> i64 {
        as_time(self.repository.clock().unix_seconds())
    }

    pub(in crate::jobs) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Repository) -> Result<T, RepositoryError> + Send + 'static,
    ) -> Result<T, RepositoryError> {
        self.repository.apart("the edition", work).await
    }
}

pub(in crate::jobs) fn as_time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[expect(clippy::expect_used, reason = "constants that are names")]
fn named(name: &str) -> FileName {
    FileName::new(name).expect("a name")
}

/// Bytes at positions, one after the other, in blocks.
struct InOrder {
    bytes: Arc<dyn ReadAt>,
    at: u64,
    block: Vec<u8>,
    used: usize,
}

impl InOrder {
    fn new(bytes: Arc<dyn ReadAt>) -> Self {
        Self { bytes, at: 0, block: Vec::new(), used: 0 }
    }
}

impl Read for InOrder {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            self.block.resize(BLOCK_BYTES, 0);
            let read = self.bytes.read_at(&mut self.block, self.at)?;
            self.block.truncate(read);
            (self.at, self.used) = (self.at + read as u64, 0);
        }
        let rest = &self.block[self.used..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.used += n;
        Ok(n)
    }
}
