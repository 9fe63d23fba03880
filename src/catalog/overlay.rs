//! A file that is read, and whose changes stay in memory: a database whose disk takes no writes can
//! still be opened for reading, since opening one after a failure repairs it.

use crate::base::{random_access::RandomAccess, read_at::ReadAt};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const PAGE_BYTES: u64 = 4096;
/// A repair touches the header and the lists of free pages: far less than this of any index.
const MAX_PAGES: usize = 16 << 10;

type Page = [u8; PAGE_BYTES as usize];

/// What was written over the file.
pub(super) struct Overlay {
    file: Arc<dyn RandomAccess>,
    written: Mutex<Written>,
}

struct Written {
    pages: BTreeMap<u64, Box<Page>>,
    len: u64,
}

impl Overlay {
    pub(super) fn over(file: Arc<dyn RandomAccess>) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, written: Mutex::new(Written { pages: BTreeMap::new(), len }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is in the file; zeros behind its end.
    fn load(&self, number: u64) -> io::Result<Box<Page>> {
        let mut page = Box::new([0; PAGE_BYTES as usize]);
        let mut filled = 0;
        while filled < page.len() {
            match self.file.read_at(&mut page[filled..], number * PAGE_BYTES + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(page)
    }
}

/// Where a position is: in which page, and at which byte of it.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE_BYTES, (offset % PAGE_BYTES) as usize)
}

impl ReadAt for Overlay {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = self.written();
        let left = usize::try_from(written.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (number, start) = place(offset);
        let n = buf.len().min(left).min(PAGE_BYTES as usize - start);
        let buf = &mut buf[..n];
        match written.pages.get(&number) {
            Some(page) => buf.copy_from_slice(&page[start..start + n]),
            None => buf.copy_from_slice(&self.load(number)?[start..start + n]),
        }
        Ok(n)
    }
}

impl RandomAccess for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.written().len = len;
        Ok(())
    }

    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        let mut written = self.written();
        while !bytes.is_empty() {
            let (number, start) = place(offset);
            let n = bytes.len().min(PAGE_BYTES as usize - start);
            if !written.pages.contains_key(&number) {
                if written.pages.len() >= MAX_PAGES {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let page = self.load(number)?;
                written.pages.insert(number, page);
            }
            if let Some(page) = written.pages.get_mut(&number) {
                page[start..start + n].copy_from_slice(&bytes[..n]);
            }
            (bytes, offset) = (&bytes[n..], offset + n as u64);
        }
        written.len = written.len.max(offset);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Memory;
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_file_stays_as_it_was() {
        let file = Arc::new(Memory::default());
        file.set_len(10_000).unwrap();
        file.write_all_at(&[1; 10_000], 0).unwrap();
        let overlay = Overlay::over(file.clone()).unwrap();
        overlay.write_all_at(&[2; 5_000], 4_000).unwrap();
        overlay.write_all_at(&[3; 10], 20_000).unwrap();
        let mut read = vec![0; 20_010];
        overlay.read_exact_at(&mut read, 0).unwrap();
        let expected = [vec![1; 4_000], vec![2; 5_000], vec![1; 1_000], vec![0; 10_000], vec![3; 10]].concat();
        assert!(read == expected && overlay.len().unwrap() == 20_010);
        let mut left = vec![0; 10_000];
        file.read_exact_at(&mut left, 0).unwrap();
        assert!(left == [1; 10_000] && file.len().unwrap() == 10_000);
    }

    #[test]
    fn memory_is_bounded() {
        let overlay = Overlay::over(Arc::new(Memory::default())).unwrap();
        let write = |page: u64| overlay.write_all_at(&[1], page * PAGE_BYTES);
        assert!((0..MAX_PAGES as u64).all(|page| write(page).is_ok()));
        assert_eq!(write(MAX_PAGES as u64).unwrap_err().kind(), io::ErrorKind::StorageFull);
        write(0).unwrap();
    }
}
