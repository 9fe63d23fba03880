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
    let mut source = Source::new(Copying::new(BufReader::new(file), &mut framing));
    let content_bytes = each_block(&mut source, limits, |copying, block| {
        copying.from.read_exact(block).map_err(Fault::of_read)?;
        content.write_all(block).map_err(Fault::Write)
    })?;
    let end = source.position();
    let Copying { mut from, to, .. } = source.into_inner();
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
    let mut source = Source::new(Copying::new(BufReader::new(framing), &mut file));
    each_block(&mut source, limits, |copying, block| {
        content.read_exact(block).map_err(Fault::of_read)?;
        copying.to.write_all(block).map_err(Fault::Write)
    })?;
    let end = source.position();
    let Copying { mut from, to, .. } = source.into_inner();
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
fn each_block<R: Read, W: Write>(
    source: &mut Source<Copying<R, W>>,
    limits: &Limits,
    block: impl FnMut(&mut Copying<R, W>, &mut [u8]) -> Result<(), Fault>,
) -> Result<u64, CabinetError> {
    try_each_block(source, limits, block).map_err(|error| match error.fault {
        Fault::Read(cause) if source.inner().cannot_write => CabinetError { fault: Fault::Write(cause), ..error },
        _ => error,
    })
}

fn try_each_block<R: Read>(
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
    /// A read failed because the copy could not be written.
    cannot_write: bool,
}

impl<R, W> Copying<R, W> {
    fn new(from: R, to: W) -> Self {
        Self { from, to, cannot_write: false }
    }
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(out)?;
        let written = self.to.write_all(&out[..len]);
        self.cannot_write = written.is_err();
        written.map(|()| len)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cabinet::cabs::{Cabinet as Made, Folder as MadeFolder, Packing};
    use proptest::{collection::vec, prelude::*};

    fn apart(file: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CabinetError> {
        let (mut content, mut framing) = (Vec::new(), Vec::new());
        let sizes = unframe(file, &Limits::default(), &mut content, &mut framing)?;
        assert_eq!(sizes, Unframed { content_bytes: content.len() as u64, framing_bytes: framing.len() as u64 });
        assert_eq!(content.len() + framing.len(), file.len() + 1);
        Ok((content, framing))
    }

    fn together(content: &[u8], framing: &[u8]) -> Result<Vec<u8>, CabinetError> {
        let mut file = Vec::new();
        let bytes = reframe(content, framing, &Limits::default(), &mut file)?;
        assert_eq!(bytes, file.len() as u64);
        Ok(file)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
    }

    fn made() -> Made {
        let first = MadeFolder::new(Packing::Stored, &[("a", &noise(70_000)), ("b", b"bb")]);
        let second = MadeFolder::new(Packing::Stored, &[("c", &noise(32_768))]);
        Made { block_reserve: 3, ..Made::new(vec![first, second]).telling_of_signature(9) }
    }

    #[test]
    fn content_is_in_one_piece_and_the_rest_is_framing() {
        let made = made();
        let file = [&made.to_bytes()[..], b"signature"].concat();
        let (content, framing) = apart(&file).unwrap();
        assert_eq!(content, [noise(70_000), b"bb".to_vec(), noise(32_768)].concat());
        assert_eq!(framing[0], VERSION);
        assert!(framing.ends_with(b"signature") && framing.len() < 300);
        assert_eq!(together(&content, &framing).unwrap(), file);
    }

    #[test]
    fn framing_of_version_one_keeps_its_bytes() {
        let file = Made::new(vec![MadeFolder::new(Packing::Stored, &[("a", b"abc")])]).to_bytes();
        let (content, framing) = apart(&[&file[..], b"."].concat()).unwrap();
        assert_eq!(content, b"abc");
        let expected = "014d534346000000004900000000000000\
                        2c000000000000000301010001000000341200003e000000010000\
                        00\
                        0300000000000000\
                        0000ee5c00502000\
                        6100\
                        60626200\
                        03000300\
                        2e";
        let hex: String = framing.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn compressed_folders_are_refused_by_number() {
        let stored = MadeFolder::new(Packing::Stored, &[("a", b"abc")]);
        let file = Made::new(vec![stored, MadeFolder::new(Packing::MsZip, &[("b", b"abc")])]).to_bytes();
        assert!(matches!(apart(&file).unwrap_err().fault, Fault::NotStored(1)));
    }

    #[test]
    fn too_little_or_too_much_of_either_part_is_refused() {
        let (content, framing) = apart(&made().to_bytes()).unwrap();
        let (last, more) = (content.len() - 1, [&content[..], b"x"].concat());
        assert!(matches!(together(&content[..last], &framing).unwrap_err().fault, Fault::Truncated));
        assert!(matches!(together(&more, &framing).unwrap_err().fault, Fault::ContentLeft));
        assert!(matches!(together(&content, &framing[..framing.len() - 1]).unwrap_err().fault, Fault::Truncated));
        assert!(matches!(together(&content, &[]).unwrap_err().fault, Fault::Truncated));
        assert!(matches!(together(&content, &[2]).unwrap_err().fault, Fault::FramingVersion));
    }

    #[test]
    fn a_disk_that_is_full_is_told_as_that() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        // Larger than any buffer on the way.
        let made = Made { header_reserve: vec![1; 20_000], ..made() };
        let (file, limits) = (made.to_bytes(), Limits::default());
        let (content, framing) = apart(&file).unwrap();
        for fault in [
            unframe(&file[..], &limits, Full, io::sink()).unwrap_err().fault,
            unframe(&file[..], &limits, io::sink(), Full).unwrap_err().fault,
            reframe(&content[..], &framing[..], &limits, Full).unwrap_err().fault,
        ] {
            let Fault::Write(error) = fault else { panic!("{fault:?}") };
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_apart_goes_together_again(
            members in vec((0..2_usize, 0..40_000_usize), 0..6),
            reserves in (0..30_usize, 0..9_u8, 0..9_u8),
            tail in vec(any::<u8>(), 0..50),
            edits in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let folder = |index| {
                let members: Vec<_> = members.iter().filter(|(folder, _)| *folder == index).collect();
                let members = members.iter().map(|(_, bytes)| (b"name".to_vec(), noise(*bytes))).collect();
                MadeFolder { packing: Packing::Stored, members }
            };
            let mut made = Made::new(vec![folder(0), folder(1)]);
            made.header_reserve = noise(reserves.0);
            (made.folder_reserve, made.block_reserve) = (reserves.1, reserves.2);
            let mut file = [&made.to_bytes()[..], &tail].concat();
            prop_assert!(apart(&file).is_ok());
            // Mostly in the header, where it matters.
            for (index, value) in edits {
                let at = index.index(file.len().min(200));
                file[at] = value;
            }
            if let Ok((content, framing)) = apart(&file) {
                prop_assert!(together(&content, &framing).unwrap() == file);
            }
        }
    }
}
