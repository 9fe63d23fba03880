//! The list of a folder of packages, as agents read it: which files it names.
//!
//! `Packages` is a zip whose member `Packages` has a paragraph of lines `key : value` for each package; `filename`
//! is its file, beside the list. A plain text of the same shape is taken as well. Source: WAPT's published sources,
//! `waptpackage.py`. Nothing else of it is looked at.

use std::{
    collections::BTreeSet,
    io::{Cursor, Read},
};
use zip::{ZipArchive, result::ZipError};

/// The list, at the top of its folder.
pub const LIST: &str = "Packages";

/// Most bytes of a list, and of the text in it: lists of a thousand packages have a few MB.
pub const MAX_LIST_BYTES: usize = 64 << 20;
/// What a zip begins with.
const ZIP: &[u8] = b"PK";
const FILE_NAME: &str = "filename";

/// A list that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// It is too long.
    #[error("it has more than {} MiB: no list of packages has", MAX_LIST_BYTES >> 20)]
    TooLong,
    /// It is no zip, or has no list in it.
    #[error("it is no zip with a list of packages")]
    Zip(#[source] ZipError),
    /// It can't be unpacked.
    #[error("it can't be unpacked")]
    Unpack(#[source] std::io::Error),
    /// It is no text.
    #[error("it is no text")]
    NoText,
}

/// The files that a list names, as it writes them.
pub fn named_files(list: &[u8]) -> Result<BTreeSet<String>, PackagesError> {
    if list.len() > MAX_LIST_BYTES {
        return Err(PackagesError::TooLong);
    }
    let text = if list.starts_with(ZIP) { unpack(list)? } else { list.to_vec() };
    let text = String::from_utf8(text).map_err(|_| PackagesError::NoText)?;
    Ok(text.lines().filter_map(file_name).map(str::to_owned).collect())
}

fn unpack(list: &[u8]) -> Result<Vec<u8>, PackagesError> {
    let mut zip = ZipArchive::new(Cursor::new(list)).map_err(PackagesError::Zip)?;
    let member = zip.by_name(LIST).map_err(PackagesError::Zip)?;
    let mut text = Vec::new();
    member.take(MAX_LIST_BYTES as u64 + 1).read_to_end(&mut text).map_err(PackagesError::Unpack)?;
    if text.len() > MAX_LIST_BYTES { Err(PackagesError::TooLong) } else { Ok(text) }
}

/// The value of a line of that key; a line that begins with a blank goes on with the one before.
fn file_name(line: &str) -> Option<&str> {
    let (key, value) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t']))?;
    Some(value.trim()).filter(|value| key.trim().eq_ignore_ascii_case(FILE_NAME) && !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    const TEXT: &str = "package           : tis-a\nversion           : 1-2\nfilename          : tis-a_1-2_all.wapt\n\
                        description       : one\n filename: not_this.wapt\n\n\
                        package           : tis-b\nFilename:tis-b_3_x64.wapt\nfilename          : \n";

    fn zipped(members: &[(&str, &str)], method: CompressionMethod) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in members {
            zip.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    #[test]
    fn a_list_names_its_files_packed_stored_or_plain() {
        let expected = ["tis-a_1-2_all.wapt", "tis-b_3_x64.wapt"].map(str::to_owned);
        let members = [("ssl/00.crt", "filename: x"), ("Packages", TEXT)];
        for list in [
            zipped(&members, CompressionMethod::Deflated),
            zipped(&members, CompressionMethod::Stored),
            TEXT.as_bytes().to_vec(),
        ] {
            assert_eq!(named_files(&list).unwrap(), BTreeSet::from(expected.clone()));
        }
        assert_eq!(named_files(b"").unwrap(), BTreeSet::new());
    }

    #[test]
    fn what_is_no_list_is_an_error_and_never_a_short_list() {
        let whole = zipped(&[("Packages", TEXT)], CompressionMethod::Deflated);
        assert!(matches!(named_files(&whole[..whole.len() / 2]), Err(PackagesError::Zip(_))));
        let other = zipped(&[("other", TEXT)], CompressionMethod::Stored);
        assert!(matches!(named_files(&other), Err(PackagesError::Zip(ZipError::FileNotFound))));
        assert!(matches!(named_files(&[0xff, 0xfe]), Err(PackagesError::NoText)));
        let bomb = "\n".repeat(MAX_LIST_BYTES + 1);
        let bomb = zipped(&[("Packages", &bomb)], CompressionMethod::Deflated);
        assert!(bomb.len() < 1 << 20 && matches!(named_files(&bomb), Err(PackagesError::TooLong)));
        let mut damaged = whole;
        damaged[50] ^= 0xff;
        assert!(named_files(&damaged).is_err());
    }
}
