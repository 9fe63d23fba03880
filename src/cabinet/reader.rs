//! One pass over a cabinet: members in the order of their content, each as a reader.
//!
//! Passing by is cheap. A member that nobody reads costs nothing by itself; its blocks are unpacked only
//! when a later member of the same folder is read (compressed content can't be entered in the middle). The
//! blocks of a folder that nobody reads on are passed by as they are: their sizes and checksums are still
//! checked, and whether its members end inside of it, but not whether it unpacks.

use super::{
    block::BlockHead,
    decoder::Decoder,
    error::{CabinetError, Fault},
    header::Header,
    limits::{Limits, MAX_BLOCK_BYTES},
    source::Source,
    tables::{Compression, File, Folder, Tables},
};
use std::io::{self, BufRead, BufReader, Read};

/// One read of the underlying reader.
const BUFFER_BYTES: usize = 64 * 1024;

/// A cabinet that is being read.
#[derive(Debug)]
pub struct Cabinet<R> {
    source: Source<BufReader<R>>,
    tables: Tables,
    limits: Limits,
    /// The member that is handed out next.
    next: usize,
    /// The folder whose blocks come next, counted from 0; as many as there are when all are behind us.
    folder: usize,
    current: Current,
    /// What blocks unpacked to, or would have, in bytes.
    unpacked: u64,
    /// The packed block; kept for its memory.
    packed: Vec<u8>,
    /// An error has been told.
    ended: bool,
}

/// How far the folder is whose blocks come next.
#[derive(Debug)]
struct Current {
    compression: Compression,
    /// Made when the first block is unpacked.
    decoder: Option<Decoder>,
    blocks_left: u16,
    /// What the last block unpacked to.
    block: Vec<u8>,
    /// Where that block ends in the folder's unpacked content, in bytes.
    end: u64,
}

impl Current {
    fn new(compression: Compression, blocks_left: u16) -> Self {
        Self { compression, decoder: None, blocks_left, block: Vec::new(), end: 0 }
    }
}

/// One member; reading it gives its content. What is not read is passed by.
///
/// Errors of [`Read`] carry a [`CabinetError`].
#[derive(Debug)]
pub struct Member<'a, R> {
    cabinet: &'a mut Cabinet<R>,
    index: usize,
    /// Where reading stands in the folder's unpacked content, in bytes.
    at: u64,
}

impl<R: Read> Cabinet<R> {
    /// Reads the header and the tables. `inner` needs no buffer of its own.
    pub fn open(inner: R, limits: Limits) -> Result<Self, CabinetError> {
        let mut source = Source::new(BufReader::with_capacity(BUFFER_BYTES, inner));
        let tables = Tables::read(&mut source, &limits)?;
        let mut cabinet = Self {
            source,
            tables,
            limits,
            next: 0,
            folder: 0,
            current: Current::new(Compression::Stored, 0),
            unpacked: 0,
            packed: Vec::new(),
            ended: false,
        };
        cabinet.enter_folder()?;
        Ok(cabinet)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.tables.header
    }

    /// All folders.
    pub fn folders(&self) -> &[Folder] {
        &self.tables.folders
    }

    /// All members, in the order in which they are handed out.
    pub fn files(&self) -> &[File] {
        &self.tables.files
    }

    /// Bytes of the cabinet that are behind us.
    pub fn position(&self) -> u64 {
        self.source.position()
    }

    /// The next member; `None` when all were handed out and everything behind them was checked.
    pub fn next_member(&mut self) -> Result<Option<Member<'_, R>>, CabinetError> {
        let next = self.tables.files.get(self.next).map(|file| (file.i_folder.into(), file.uoff_folder_start.into()));
        let Some((folder, at)) = next else {
            self.until_error(|cabinet| cabinet.pass_folders(cabinet.tables.folders.len()))?;
            return Ok(None);
        };
        self.until_error(|cabinet| cabinet.pass_folders(folder))?;
        self.next += 1;
        Ok(Some(Member { index: self.next - 1, at, cabinet: self }))
    }

    /// Passes by what is left of the cabinet; what is then read from the result follows the cabinet, such
    /// as a signature.
    pub fn finish(mut self) -> Result<impl BufRead, CabinetError> {
        self.until_error(|cabinet| {
            cabinet.pass_folders(cabinet.tables.folders.len())?;
            cabinet.source.skip_to(cabinet.tables.header.cb_cabinet.into(), "the end")
        })?;
        Ok(self.source.into_inner())
    }

    /// Nothing is done after an error.
    fn until_error<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, CabinetError>) -> Result<T, CabinetError> {
        if self.ended {
            return Err(Fault::Ended.at(self.source.position()));
        }
        let result = work(self);
        self.ended = result.is_err();
        result
    }

    /// Passes by all folders before the one of this number.
    fn pass_folders(&mut self, end: usize) -> Result<(), CabinetError> {
        while self.folder < end {
            while self.current.blocks_left > 0 {
                self.next_block(false)?;
            }
            self.check_last_member()?;
            self.folder += 1;
            self.enter_folder()?;
        }
        Ok(())
    }

    /// Goes to the first block of a folder; one without blocks may claim to begin anywhere.
    fn enter_folder(&mut self) -> Result<(), CabinetError> {
        let Some(folder) = self.tables.folders.get(self.folder) else {
            self.current = Current::new(Compression::Stored, 0);
            return Ok(());
        };
        if folder.c_cf_data > 0 {
            self.source.skip_to(folder.coff_cab_start.into(), "a folder")?;
        }
        self.current = Current::new(folder.compression, folder.c_cf_data);
        Ok(())
    }

    /// Whether the last member of the folder that was passed ends in it.
    fn check_last_member(&self) -> Result<(), CabinetError> {
        let files = &self.tables.files;
        let end = files.partition_point(|file| usize::from(file.i_folder) <= self.folder);
        let last = files[..end].last().filter(|file| usize::from(file.i_folder) == self.folder);
        let folder_bytes = self.current.end;
        match last {
            Some(last) if last.end() > folder_bytes => {
                let fault = Fault::BeyondFolder { end: last.end(), folder_bytes };
                Err(fault.at(self.source.position()).of(|| last.shown_name()))
            }
            _ => Ok(()),
        }
    }

    /// Unpacks until the block is there that has byte `at` of the folder; where in that block it is.
    fn unpack_until(&mut self, at: u64, member: usize) -> Result<usize, CabinetError> {
        while at >= self.current.end {
            if self.current.blocks_left == 0 {
                let fault =
                    Fault::BeyondFolder { end: self.tables.files[member].end(), folder_bytes: self.current.end };
                return Err(fault.at(self.source.position()));
            }
            self.next_block(true)?;
        }
        let begin = self.current.end - self.current.block.len() as u64;
        Ok(at.saturating_sub(begin) as usize)
    }

    /// Reads and checks a block, and unpacks it or not.
    fn next_block(&mut self, unpack: bool) -> Result<(), CabinetError> {
        let at = self.source.position();
        let current = &mut self.current;
        let head = BlockHead::read(&mut self.source, &self.tables.header, current.compression)?;
        current.blocks_left -= 1;
        let is_short = usize::from(head.unpacked) < MAX_BLOCK_BYTES;
        if is_short && current.blocks_left > 0 && matches!(current.compression, Compression::Lzx { .. }) {
            return Err(Fault::ShortBlock(head.unpacked).at(at));
        }
        current.end += u64::from(head.unpacked);
        self.unpacked += u64::from(head.unpacked);
        for (what, bytes, limit) in [
            ("unpacked bytes of a folder", current.end, self.limits.max_folder_bytes),
            ("unpacked bytes of the cabinet", self.unpacked, self.limits.max_cabinet_bytes),
        ] {
            if bytes > limit {
                return Err(Fault::Limit { what, limit }.at(at));
            }
        }
        self.packed.resize(head.packed.into(), 0);
        self.source.fill(&mut self.packed)?;
        head.verify(&self.packed).map_err(|fault| fault.at(at))?;
        if unpack {
            let decoder = current.decoder.get_or_insert_with(|| Decoder::new(current.compression));
            let unpacked = decoder.decode(&mut self.packed, head.unpacked.into(), &mut current.block);
            unpacked.map_err(|fault| fault.at(at))?;
        }
        Ok(())
    }
}

impl<R> Member<'_, R> {
    /// How the table describes it.
    pub fn file(&self) -> &File {
        &self.cabinet.tables.files[self.index]
    }

    /// Bytes that were not read yet.
    pub fn remaining(&self) -> u64 {
        self.file().end() - self.at
    }
}

impl<R: Read> BufRead for Member<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (at, remaining, index) = (self.at, self.remaining(), self.index);
        if remaining == 0 {
            return Ok(&[]);
        }
        let from = self.cabinet.until_error(|cabinet| cabinet.unpack_until(at, index));
        let from = from.map_err(|error| error.of(|| self.file().shown_name()))?;
        let content = self.cabinet.current.block.get(from..).unwrap_or_default();
        Ok(&content[..content.len().min(usize::try_from(remaining).unwrap_or(usize::MAX))])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += (bytes as u64).min(self.remaining());
    }
}

impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let content = self.fill_buf()?;
        let len = content.len().min(out.len());
        out[..len].copy_from_slice(&content[..len]);
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
