//! `index.redb`: the signed state, the holdings, the log.

use super::{
    backend::Backend,
    batch::Batch,
    error::{CatalogError, OpenCatalogError},
    home::Home,
    snapshot::Snapshot,
    tables,
};
use crate::base::random_access::RandomAccess;
use redb::{Database, ReadableDatabase};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The newest form of both databases.
pub(super) const VERSION: u64 = 1;
/// redb's page cache of the index: with a third of it, 50,000 small files take a sixth longer to arrive.
const INDEX_CACHE_BYTES: usize = 24 << 20;
/// And of what is asked less often; redb's default of 1 GiB would be most of a small machine.
pub(super) const CACHE_BYTES: usize = 8 << 20;
const VERSION_KEY: &str = "version";

/// The index. One writer; readers see whole commits.
pub struct Index {
    home: Home,
    /// Grows when a write has ended, whatever became of it.
    writes: AtomicU64,
    /// What was read last. To open the tables takes longer than to look into one of them.
    newest: Mutex<Option<Newest>>,
}

struct Newest {
    writes: u64,
    openings: u64,
    snapshot: Arc<Snapshot>,
}

impl Index {
    /// Opens the database in `file`, or makes one in an empty file.
    pub fn open(file: Arc<dyn RandomAccess>) -> Result<Self, OpenCatalogError> {
        let index =
            Self { home: Home::open(file, INDEX_CACHE_BYTES)?, writes: AtomicU64::new(0), newest: Mutex::new(None) };
        index.write(|_| Ok::<_, CatalogError>(()))?; // opening a table makes it
        Ok(index)
    }

    /// What was committed last; later commits do not show in it.
    pub fn read(&self) -> Result<Arc<Snapshot>, CatalogError> {
        self.home.read(|database| {
            // Asked before the transaction begins: what it reads is at least as new as the number says.
            let (writes, openings) = (self.writes(), self.home.openings());
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            match &*newest {
                Some(known) if known.writes == writes && known.openings == openings => Ok(known.snapshot.clone()),
                _ => {
                    let snapshot = Arc::new(Snapshot::new(&database.begin_read()?)?);
                    *newest = Some(Newest { writes, openings, snapshot: snapshot.clone() });
                    Ok(snapshot)
                }
            }
        })
    }

    /// Runs `change` and commits durably; if it fails, nothing of it stays. Waits for the writer before it.
    pub fn write<R, E: From<CatalogError>>(&self, change: impl FnOnce(&mut Batch<'_>) -> Result<R, E>) -> Result<R, E> {
        let written = self.home.write(|database| {
            let transaction = database.begin_write().map_err(CatalogError::from)?;
            // Pages that a commit lets go are used again once nobody reads the commit before it.
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let result = {
                let mut batch = Batch::new(&transaction)?;
                let result = change(&mut batch)?;
                batch.finish()?;
                result
            };
            transaction.commit().map_err(CatalogError::from)?;
            Ok(result)
        });
        self.writes.fetch_add(1, Ordering::AcqRel);
        written
    }

    /// How many writes have ended. A row that was read after this was asked is what it was for as long as the
    /// answer stays the same: whoever waited for a write sees another one.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }
}

/// Opens a database, and refuses one of a newer version before anything is written.
pub(super) fn open_database(backend: Backend, cache: usize) -> Result<Database, OpenCatalogError> {
    let database = Database::builder()
        .set_cache_size(cache)
        .create_with_backend(backend)
        .map_err(|error| OpenCatalogError::Database(Box::new(error.into())))?;
    match stored_version(&database)? {
        Some(found) if found > VERSION => Err(OpenCatalogError::Newer { found, known: VERSION }),
        Some(_) => Ok(database),
        None => {
            stamp_version(&database)?;
            Ok(database)
        }
    }
}

fn stored_version(database: &Database) -> Result<Option<u64>, CatalogError> {
    let table = match database.begin_read()?.open_table(tables::META) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some(value) = table.get(VERSION_KEY)? else { return Ok(None) };
    let bytes = value.value().try_into().map_err(|_| CatalogError::Damaged("meta"))?;
    Ok(Some(u64::from_be_bytes(bytes)))
}

fn stamp_version(database: &Database) -> Result<(), CatalogError> {
    let transaction = database.begin_write()?;
    transaction.open_table(tables::META)?.insert(VERSION_KEY, VERSION.to_be_bytes().as_slice())?;
    Ok(transaction.commit()?)
}
