//! A cabinet of stored folders taken apart into content and framing, and put together again.
//!
//! Every block of 32 KiB has a head of 8 bytes, so that the same content stands at other distances after
//! any shift. *Content* is what the blocks hold, folder after folder, without their heads: a member stands
//! in one piece, at its `uoff_folder_start` within its folder. *Framing* is a version byte and then
//! everything else in its order: header, tables, heads of blocks, gaps, and what follows the cabinet, such
//! as a signature. The two have all bytes and nothing else, so that putting them together gives the very
//! file; whether checksums are right is not looked at.

use super::{
    block::BlockHead,
    error::{CabinetError, Fault},
    limits::Limits,
    source::Source,
    tables::{Compression, Tables},
};
use std::io::{self, BufReader, BufWriter, Read, Write};

/// The first byte of a framing; another layout gets another number.
const VERSION: u8 = 1;

/// How a cabinet came apart, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unframed {
    /// Of the content.
    pub content_bytes: u64,
    /// Of the framing, version included.
    pub framing_bytes: u64,
}

/// Takes the cabinet in `file`, and what follows it, apart.
///
/// On an error what was written so far is of no use.
pub fn unframe(
    file: impl Read,
    limits: &Limits,
    content: impl Write,
    framing: impl Write,
) -> Result<Unframed, CabinetError> {
    let (mut content, mut framing) = (BufWriter::new(content), BufWriter::new(framing));
    framing.write_all(&[VERSION]).map_err(|error| Fault::Write(error).at(0))?;
    let mut source = Source::new(Copying { from: BufReader::new(file), to: &mut framing });
    let content_bytes = each_block(&mut source, limits, |copying, block| {
        copying.from.read_exact(block).map_err(Fault::of_read)?;
        content.write_all(block).map_err(Fault::Write)
    })?;
    let end = source.position();
    let Copying { mut from, to } = source.into_inner();
    let rest = copy(&mut from, to).map_err(|fault| fault.at(end))?;
    let flushed = content.flush().and_then(|()| framing.flush());
    flushed.map_err(|error| Fault::Write(error).at(end))?;
    Ok(Unframed { content_bytes, framing_bytes: 1 + end + rest - content_bytes })
}

/// Puts together what [`unframe`] took apart; returns the size of the file, in bytes.
///
/// On an error what was written so far is of no use.
pub fn reframe(
    content: impl Read,
    mut framing: impl Read,
    limits: &Limits,
    file: impl Write,
) -> Result<u64, CabinetError> {
    let mut version = [0];
    framing.read_exact(&mut version).map_err(|error| Fault::of_read(error).at(0))?;
    if version != [VERSION] {
        return Err(Fault::FramingVersion.at(0));
    }
    let (mut content, mut file) = (BufReader::new(content), BufWriter::new(file));
    let mut source = Source::new(Copying { from: BufReader::new(framing), to: &mut file });
    each_block(&mut source, limits, |copying, block| {
        content.read_exact(block).map_err(Fault::of_read)?;
        copying.to.write_all(block).map_err(Fault::Write)
    })?;
    let end = source.position();
    let Copying { mut from, to } = source.into_inner();
    let rest = copy(&mut from, to).map_err(|fault| fault.at(end))?;
    match content.read(&mut [0]) {
        Ok(0) => {}
        Ok(_) => return Err(Fault::ContentLeft.at(end)),
        Err(error) => return Err(Fault::of_read(error).at(end)),
    }
    file.flush().map_err(|error| Fault::Write(error).at(end))?;
    Ok(end + rest)
}

/// Goes through a cabinet to its end; `block` moves the content of each block, and fills what it is given.
fn each_block<R: Read>(
    source: &mut Source<R>,
    limits: &Limits,
    mut block: impl FnMut(&mut R, &mut [u8]) -> Result<(), Fault>,
) -> Result<u64, CabinetError> {
    let tables = Tables::read(source, limits)?;
    let compressed = tables.folders.iter().position(|folder| folder.compression != Compression::Stored);
    if let Some(folder) = compressed {
        return Err(Fault::NotStored(folder).at(source.position()));
    }
    let mut buffer = Vec::new();
    let mut content_bytes = 0;
    for folder in tables.folders.iter().filter(|folder| folder.c_cf_data > 0) {
        source.skip_to(folder.coff_cab_start.into(), "a folder")?;
        for _ in 0..folder.c_cf_data {
            let head = BlockHead::read(source, &tables.header, folder.compression)?;
            buffer.resize(head.packed.into(), 0);
            source.read_with(buffer.len(), |inner| block(inner, &mut buffer))?;
            content_bytes += u64::from(head.packed);
        }
    }
    source.skip_to(tables.header.cb_cabinet.into(), "the end")?;
    Ok(content_bytes)
}

/// Copies what is read from it.
struct Copying<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(out)?;
        self.to.write_all(&out[..len])?;
        Ok(len)
    }
}

/// To the end, telling who was at fault.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Fault> {
    let mut buffer = vec![0; 64 * 1024];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(len) => {
                to.write_all(&buffer[..len]).map_err(Fault::Write)?;
                copied += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::of_read(error)),
        }
    }
}
