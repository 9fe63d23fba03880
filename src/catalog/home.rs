//! A database in its file, opened anew after the disk failed: redb refuses everything after an I/O
//! error until then, and a disk that was full for a moment must not end the daemon's work.
//!
//! While the disk takes no writes, the rows of the last commit can still be read: hosts are served, and
//! whoever asks is told. The next writer tries the disk again.

use super::{
    backend::Backend,
    error::{CatalogError, OpenCatalogError},
    index::open_database,
    overlay::Overlay,
};
use crate::base::random_access::RandomAccess;
use redb::Database;
use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Bytes that are copied in one go.
const COPY_BYTES: usize = 1 << 20;

/// A database that comes back. Whoever had a failed commit does not know whether it is durable.
pub(super) struct Home {
    file: Arc<dyn RandomAccess>,
    cache: usize,
    opened: RwLock<Option<Opened>>,
    /// Grows whenever the database is opened anew.
    openings: AtomicU64,
}

struct Opened {
    database: Database,
    failed: Arc<AtomicBool>,
    takes_writes: bool,
}

/// What a database is lent for.
#[derive(Clone, Copy, PartialEq)]
enum For {
    Reading,
    Writing,
}

impl Home {
    /// `cache` is how many bytes of pages the database keeps in memory.
    pub(super) fn open(file: Arc<dyn RandomAccess>, cache: usize) -> Result<Self, OpenCatalogError> {
        let opened = Opened::open(file.clone(), cache)?;
        Ok(Self { file, cache, opened: RwLock::new(Some(opened)), openings: AtomicU64::new(0) })
    }

    /// How often the database was opened anew. The same while it is lent.
    pub(super) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// Lends the database to a reader. Not to be asked for within itself, as [`Home::write`] is not.
    pub(super) fn read<R, E: From<CatalogError>>(&self, act: impl FnOnce(&Database) -> Result<R, E>) -> Result<R, E> {
        self.lend(For::Reading, act)
    }

    /// Lends the database to a writer, opened anew if its disk failed since.
    pub(super) fn write<R, E: From<CatalogError>>(&self, act: impl FnOnce(&Database) -> Result<R, E>) -> Result<R, E> {
        self.lend(For::Writing, act)
    }

    fn lend<R, E: From<CatalogError>>(&self, to: For, act: impl FnOnce(&Database) -> Result<R, E>) -> Result<R, E> {
        let opened = self.sound(to)?;
        match &*opened {
            Some(opened) => act(&opened.database),
            None => Err(CatalogError::Closed.into()),
        }
    }

    /// Copies the file as of the last commit; nothing is committed meanwhile. As after a power cut, the
    /// copy has to be opened once to be in order.
    pub(super) fn copy_to(&self, to: &dyn RandomAccess) -> Result<(), CatalogError> {
        self.write(|database| {
            let nobody_else_writes = database.begin_write()?;
            copy_bytes(self.file.as_ref(), to).map_err(CatalogError::Copy)?;
            Ok(nobody_else_writes.abort()?)
        })
    }

    fn sound(&self, to: For) -> Result<RwLockReadGuard<'_, Option<Opened>>, CatalogError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_some_and(|opened| opened.is_fit(to)) {
            return Ok(opened);
        }
        drop(opened);
        self.open_anew(to)?;
        Ok(self.opened.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_anew(&self, to: For) -> Result<(), CatalogError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_some_and(|opened| opened.is_fit(to)) {
            return Ok(());
        }
        *opened = None; // one opener at a time
        self.openings.fetch_add(1, Ordering::AcqRel);
        let refused = match Opened::open(self.file.clone(), self.cache) {
            Ok(sound) => {
                *opened = Some(sound);
                tracing::info!("a database was opened anew after its disk had failed");
                return Ok(());
            }
            Err(refused) => refused,
        };
        *opened = Opened::for_reading(self.file.clone(), self.cache).ok();
        match to {
            For::Reading if opened.is_some() => Ok(()),
            _ => Err(refused.into()),
        }
    }
}

fn copy_bytes(from: &dyn RandomAccess, to: &dyn RandomAccess) -> io::Result<()> {
    let len = from.len()?;
    to.set_len(len)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < len {
        let step = usize::try_from(len - offset).map_or(COPY_BYTES, |left| left.min(COPY_BYTES));
        from.read_exact_at(&mut buffer[..step], offset)?;
        to.write_all_at(&buffer[..step], offset)?;
        offset += step as u64;
    }
    to.sync()
}

impl Opened {
    fn open(file: Arc<dyn RandomAccess>, cache: usize) -> Result<Self, OpenCatalogError> {
        let failed = Arc::new(AtomicBool::new(false));
        let database = open_database(Backend::new(file, failed.clone()), cache)?;
        Ok(Self { database, failed, takes_writes: true })
    }

    /// What a repair writes stays in memory.
    fn for_reading(file: Arc<dyn RandomAccess>, cache: usize) -> Result<Self, OpenCatalogError> {
        let unread = |error: io::Error| CatalogError::Database(Box::new(redb::Error::Io(error)));
        let overlay = Overlay::over(file).map_err(unread)?;
        Ok(Self { takes_writes: false, ..Self::open(Arc::new(overlay), cache)? })
    }

    fn is_fit(&self, to: For) -> bool {
        !self.failed.load(Ordering::Acquire) && (self.takes_writes || to == For::Reading)
    }
}

impl From<OpenCatalogError> for CatalogError {
    fn from(error: OpenCatalogError) -> Self {
        match error {
            OpenCatalogError::Database(error) => Self::Database(error),
            OpenCatalogError::Rows(error) => error,
            OpenCatalogError::Newer { .. } => Self::Damaged("meta"),
        }
    }
}
