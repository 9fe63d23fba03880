//! A database in its file, opened anew after the disk failed: redb refuses everything after an I/O
//! error until then, and a disk that was full for a moment must not end the daemon's work.

use super::{
    backend::Backend,
    error::{CatalogError, OpenCatalogError},
    index::open_database,
};
use crate::base::random_access::RandomAccess;
use redb::Database;
use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Bytes that are copied in one go.
const COPY_BYTES: usize = 1 << 20;

/// A database that comes back. Whoever had a failed commit does not know whether it is durable.
pub(super) struct Home {
    file: Arc<dyn RandomAccess>,
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    database: Database,
    failed: Arc<AtomicBool>,
}

impl Home {
    pub(super) fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let opened = Opened::open(file.clone())?;
        Ok(Self { file, opened: RwLock::new(Some(opened)) })
    }

    /// Lends the database, opened anew if its disk failed since. Not to be asked for within itself.
    pub(super) fn with<R, E: From<CatalogError>>(&self, act: impl FnOnce(&Database) -> Result<R, E>) -> Result<R, E> {
        let opened = self.sound()?;
        match &*opened {
            Some(opened) => act(&opened.database),
            None => Err(CatalogError::Closed.into()),
        }
    }

    /// Copies the file as of the last commit; nothing is committed meanwhile. As after a power cut, the
    /// copy has to be opened once to be in order.
    pub(super) fn copy_to(&self, to: &dyn RandomAccess) -> Result<(), CatalogError> {
        self.with(|database| {
            let nobody_else_writes = database.begin_write()?;
            copy_bytes(self.file.as_ref(), to).map_err(CatalogError::Copy)?;
            Ok(nobody_else_writes.abort()?)
        })
    }

    fn sound(&self) -> Result<RwLockReadGuard<'_, Option<Opened>>, CatalogError> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_some_and(Opened::is_sound) {
            return Ok(opened);
        }
        drop(opened);
        self.open_anew()?;
        Ok(self.opened.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open_anew(&self) -> Result<(), CatalogError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_some_and(Opened::is_sound) {
            return Ok(());
        }
        *opened = None; // one opener at a time
        *opened = Some(Opened::open(self.file.clone())?);
        tracing::info!("a database was opened anew after its disk had failed");
        Ok(())
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
    fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let failed = Arc::new(AtomicBool::new(false));
        let database = open_database(Backend::new(file, failed.clone()))?;
        Ok(Self { database, failed })
    }

    fn is_sound(&self) -> bool {
        !self.failed.load(Ordering::Acquire)
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
