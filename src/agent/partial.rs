//! What has arrived of a file: its beginning, on disk and hashed. Where it stopped it goes on, also after a restart.

use crate::domain::{
    digest::{Root, Sha1},
    name::FileName,
};
use serde::{Deserialize, Serialize};
use sha1::Digest;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// Behind the name of a file that is not whole.
const PART: &str = ".wuasync-part";
/// Behind the name of what is known of such a file.
const ABOUT: &str = ".wuasync-part.json";
/// Bytes that are hashed at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// What was told of the whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its ETag, quotes included: BLAKE3 in hex.
    pub etag: Option<String>,
    /// Its Last-Modified, in seconds since 1970 UTC.
    pub modified: Option<u64>,
}

/// Why whole bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// Their digest is not the one that was promised.
    #[error("the bytes do not have the {0} that was promised")]
    Digest(&'static str),
    /// The disk.
    #[error("giving the file its name")]
    Io(#[from] io::Error),
}

/// The beginning of a file.
pub struct Partial {
    target: PathBuf,
    promised: Option<Sha1>,
    file: File,
    have: u64,
    sha1: sha1::Sha1,
    blake3: blake3::Hasher,
    about: About,
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(ending);
    target.with_file_name(name)
}

/// Whether the file is there with the SHA-1 in its name; of a name without one nobody can tell.
pub fn is_whole(target: &Path, name: &FileName) -> io::Result<bool> {
    let Some(promised) = name.promised_sha1() else { return Ok(false) };
    let file = match File::open(target) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut hash = sha1::Sha1::new();
    each_block(file, |block| hash.update(block))?;
    Ok(promised.as_bytes()[..] == hash.finalize()[..])
}

fn each_block(mut file: File, mut each: impl FnMut(&[u8])) -> io::Result<u64> {
    let (mut block, mut total) = (vec![0; BLOCK_BYTES], 0);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(total),
            count => {
                each(block.get(..count).unwrap_or_default());
                total += count as u64;
            }
        }
    }
}

impl Partial {
    /// Takes up what is there of `target`, or begins.
    pub fn open(target: PathBuf, name: &FileName) -> io::Result<Self> {
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let path = beside(&target, PART);
        let file = File::options().create(true).read(true).append(true).open(&path)?;
        let about = fs::read(beside(&target, ABOUT)).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let mut partial = Self {
            target,
            promised: name.promised_sha1(),
            file,
            have: 0,
            sha1: sha1::Sha1::new(),
            blake3: blake3::Hasher::new(),
            about: about.unwrap_or_default(),
        };
        let (sha1, blake3) = (&mut partial.sha1, &mut partial.blake3);
        partial.have = each_block(File::open(path)?, |block| {
            sha1.update(block);
            blake3.update(block);
        })?;
        let is_too_long = partial.about.size.is_some_and(|size| partial.have > size);
        // Bytes of which nobody can say what they belong to are no beginning.
        let is_nameless = partial.about.etag.is_none() && partial.promised.is_none();
        if is_too_long || (is_nameless && partial.have > 0) {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Bytes that are here.
    pub fn have(&self) -> u64 {
        self.have
    }

    /// What was told of the whole.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether the name says what the bytes are.
    pub fn is_promised(&self) -> bool {
        self.promised.is_some()
    }

    /// Whether all bytes are here.
    pub fn is_full(&self) -> bool {
        self.about.size == Some(self.have)
    }

    /// Keeps what was told of the whole; it is read again after a restart.
    pub fn set_about(&mut self, about: About) -> io::Result<()> {
        if self.about != about {
            fs::write(beside(&self.target, ABOUT), serde_json::to_vec(&about)?)?;
            self.about = about;
        }
        Ok(())
    }

    /// Appends what arrived.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sha1.update(bytes);
        self.blake3.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// Gives up what is here.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.have, self.about) = (0, About::default());
        (self.sha1, self.blake3) = (sha1::Sha1::new(), blake3::Hasher::new());
        match fs::remove_file(beside(&self.target, ABOUT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Compares the digests and gives the file its name; on a mismatch the bytes stay until [`Self::restart`].
    pub fn finish(&mut self) -> Result<Root, FinishError> {
        let root = Root::from(self.blake3.finalize());
        if self.promised.is_some_and(|promised| promised.as_bytes()[..] != self.sha1.clone().finalize()[..]) {
            return Err(FinishError::Digest("SHA-1"));
        }
        let etag = self.about.etag.as_deref().map(|etag| etag.trim_matches('"'));
        if etag.is_some_and(|etag| is_root(etag) && etag != root.to_string()) {
            return Err(FinishError::Digest("BLAKE3"));
        }
        if let Some(modified) = self.about.modified {
            self.file.set_modified(UNIX_EPOCH + Duration::from_secs(modified))?;
        }
        self.file.sync_all()?;
        fs::rename(beside(&self.target, PART), &self.target)?;
        if let Some(parent) = self.target.parent() {
            File::open(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?.sync_all()?;
        }
        fs::remove_file(beside(&self.target, ABOUT)).ok();
        Ok(root)
    }
}

/// A server that is no repository has ETags of its own.
fn is_root(etag: &str) -> bool {
    etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(bytes: &[u8]) -> FileName {
        let sha1 = data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(bytes));
        FileName::new(&format!("kb_{sha1}.cab")).unwrap()
    }

    fn told(bytes: &[u8]) -> About {
        let etag = Some(format!("\"{}\"", blake3::hash(bytes).to_hex()));
        About { size: Some(bytes.len() as u64), etag, modified: Some(1_600_000_000) }
    }

    #[test]
    fn a_file_goes_on_where_it_stopped_and_gets_its_name_when_it_is_proven() {
        let place = tempfile::tempdir().unwrap();
        let (bytes, target) = (b"the whole content", place.path().join("sub/x"));
        let name = named(bytes);
        let mut partial = Partial::open(target.clone(), &name).unwrap();
        partial.set_about(told(bytes)).unwrap();
        partial.write(&bytes[..9]).unwrap();
        drop(partial);
        let mut partial = Partial::open(target.clone(), &name).unwrap();
        assert_eq!((partial.have(), partial.about()), (9, &told(bytes)));
        partial.write(&bytes[9..]).unwrap();
        assert!(partial.is_full() && !is_whole(&target, &name).unwrap());
        assert_eq!(partial.finish().unwrap(), blake3::hash(bytes).into());
        assert!(is_whole(&target, &name).unwrap());
        assert_eq!(fs::metadata(&target).unwrap().modified().unwrap(), UNIX_EPOCH + Duration::from_secs(1_600_000_000));
        assert_eq!(fs::read_dir(place.path().join("sub")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn bytes_that_are_not_what_was_promised_get_no_name() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("x");
        let mut partial = Partial::open(target.clone(), &named(b"right")).unwrap();
        partial.write(b"wrong").unwrap();
        assert!(matches!(partial.finish(), Err(FinishError::Digest("SHA-1"))));
        partial.restart().unwrap();
        partial.set_about(told(b"other")).unwrap();
        partial.write(b"right").unwrap();
        assert!(matches!(partial.finish(), Err(FinishError::Digest("BLAKE3"))));
        assert!(!target.exists());
    }

    #[test]
    fn bytes_of_which_nobody_can_say_what_they_are_are_given_up() {
        let place = tempfile::tempdir().unwrap();
        let (target, name) = (place.path().join("wsusscn2.cab"), FileName::new("wsusscn2.cab").unwrap());
        Partial::open(target.clone(), &name).unwrap().write(b"beginning").unwrap();
        assert_eq!(Partial::open(target.clone(), &name).unwrap().have(), 0);
        let mut partial = Partial::open(target.clone(), &name).unwrap();
        partial.set_about(About { size: Some(3), ..told(b"abc") }).unwrap();
        partial.write(b"abcd").unwrap();
        drop(partial);
        assert_eq!(Partial::open(target, &name).unwrap().have(), 0, "longer than the whole");
    }
}
