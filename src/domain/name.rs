//! Names of mirrored folders and files: what may be copied from one machine's tree to another's.
//!
//! A name is checked once, where it enters (a directory listing, a frame, a URL); whoever holds a
//! [`FileName`] may join it to a folder and open it.

use super::digest::Sha1;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// Most components in a mirrored name.
pub const MAX_COMPONENTS: usize = 8;
/// Most bytes in one component (NAME_MAX of Linux file systems).
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Device names that Windows reserves in every folder, with any extension.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// Bytes of the longest of these.
const LONGEST_DEVICE: usize = 4;

/// Why a name can't be mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No bytes at all, or between two slashes.
    #[error("empty name or component")]
    Empty,
    /// Deeper than [`MAX_COMPONENTS`].
    #[error("more than 8 components")]
    TooDeep,
    /// A component above [`MAX_COMPONENT_BYTES`].
    #[error("a component of more than 255 bytes")]
    TooLong,
    /// `.`, `..` and hidden files.
    #[error("a component begins with a dot")]
    LeadingDot,
    /// Windows would drop it.
    #[error("a component ends in a dot or a space")]
    TrailingDotOrSpace,
    /// Not storable, or with a meaning, on Windows.
    #[error("a control character or one of \\ : < > \" | ? *")]
    ForbiddenCharacter,
    /// `con`, `nul.txt` and their like.
    #[error("a Windows device name")]
    DeviceName,
    /// Bytes that are no text.
    #[error("not UTF-8")]
    NotUtf8,
}

/// A file's place inside its folder, components joined by `/`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(Arc<str>);

impl FileName {
    /// Checks `name` against every rule for mirrored names.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let mut components = 0;
        for component in name.split('/') {
            check_component(component)?;
            components += 1;
        }
        if components > MAX_COMPONENTS {
            return Err(NameError::TooDeep);
        }
        Ok(Self(name.into()))
    }

    /// The same for bytes that a directory or a frame gave.
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        Self::new(std::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder part, if the file is not at the top.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The SHA-1 that the name promises: 40 hex digits after the last `_` of the base name, before
    /// its extension. Names that carry one are immutable.
    pub fn promised_sha1(&self) -> Option<Sha1> {
        let base = self.0.rsplit('/').next()?;
        let (_, after) = base.rsplit_once('_')?;
        let digits = after.split_once('.').map_or(after, |(digits, _)| digits);
        (digits.len() == 40).then(|| digits.parse().ok()).flatten()
    }

    /// Whether the content behind this name can never change.
    pub fn is_immutable(&self) -> bool {
        self.promised_sha1().is_some()
    }
}

fn check_component(component: &str) -> Result<(), NameError> {
    if component.is_empty() {
        return Err(NameError::Empty);
    }
    if component.len() > MAX_COMPONENT_BYTES {
        return Err(NameError::TooLong);
    }
    if component.starts_with('.') {
        return Err(NameError::LeadingDot);
    }
    if component.ends_with(['.', ' ']) {
        return Err(NameError::TrailingDotOrSpace);
    }
    let is_forbidden =
        |byte| byte < b' ' || matches!(byte, 0x7f | b'\\' | b':' | b'<' | b'>' | b'"' | b'|' | b'?' | b'*');
    // Beyond ASCII no character has a byte of these, and those of control are few.
    if component.bytes().any(is_forbidden) || !component.is_ascii() && component.chars().any(char::is_control) {
        return Err(NameError::ForbiddenCharacter);
    }
    let stem = component.split('.').next().unwrap_or(component).trim_end();
    if stem.len() <= LONGEST_DEVICE && DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device)) {
        return Err(NameError::DeviceName);
    }
    Ok(())
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl FromStr for FileName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for FileName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<FileName> for String {
    fn from(name: FileName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A text that can't name a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no folder name: 1 to 64 of a-z, 0-9, - and _")]
pub struct FolderNameError(String);

/// A mirrored folder, as configured (`waptwua`); also the first part of hosts' URLs. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FolderName(Arc<str>);

impl FolderName {
    /// Checks `name`.
    pub fn new(name: &str) -> Result<Self, FolderNameError> {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if plain && (1..=64).contains(&name.len()) {
            Ok(Self(name.into()))
        } else {
            Err(FolderNameError(name.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl TryFrom<String> for FolderName {
    type Error = FolderNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<FolderName> for String {
    fn from(name: FolderName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_another_machine_could_not_hold_are_refused_each_for_its_reason() {
        use NameError::*;
        for (name, why) in [
            ("", Empty),
            ("a//b", Empty),
            ("/etc/passwd", Empty),
            ("a/", Empty),
            ("..", LeadingDot),
            ("a/../b", LeadingDot),
            (".hidden", LeadingDot),
            ("a.", TrailingDotOrSpace),
            ("a ", TrailingDotOrSpace),
            ("a\\b", ForbiddenCharacter),
            ("c:x", ForbiddenCharacter),
            ("a\0b", ForbiddenCharacter),
            ("a\nb", ForbiddenCharacter),
            ("what?.cab", ForbiddenCharacter),
            ("nul", DeviceName),
            ("Con.cab", DeviceName),
            ("x/lpt1.txt", DeviceName),
            ("1/2/3/4/5/6/7/8/9", TooDeep),
        ] {
            assert_eq!(FileName::new(name), Err(why), "{name:?}");
        }
        assert_eq!(FileName::new(&"x".repeat(256)), Err(TooLong));
        assert_eq!(FileName::from_bytes(b"\xff\xfe"), Err(NotUtf8));
    }

    #[test]
    fn names_at_the_limits_are_mirrored() {
        for name in ["a", "1/2/3/4/5/6/7/8", "windows 10%20x64 (é).msu", "console.cab", "com10", "a..b"] {
            assert!(FileName::new(name).is_ok(), "{name}");
        }
        assert!(FileName::new(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn a_sha1_before_the_extension_makes_a_name_immutable() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for name in [
            format!("windows10.0-kb1-x64_{sha1}.cab"),
            format!("sub/x_y_{}.msu.z", sha1.to_uppercase()),
            format!("bare_{sha1}"),
        ] {
            assert_eq!(FileName::new(&name).unwrap().promised_sha1().unwrap().to_string(), sha1, "{name}");
        }
        for name in
            ["wsusscn2.cab".to_owned(), format!("{sha1}.cab"), format!("x_{sha1}0.cab"), format!("x_{sha1}_y.cab")]
        {
            assert!(!FileName::new(&name).unwrap().is_immutable(), "{name}");
        }
    }

    #[test]
    fn folder_names_are_plain_words() {
        assert!(FolderName::new("waptwua").is_ok());
        for wrong in ["", "Wapt", "a/b", "..", "a b", &"x".repeat(65)] {
            assert!(FolderName::new(wrong).is_err(), "{wrong}");
        }
    }
}
