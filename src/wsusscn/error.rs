//! Why an edition is refused, and where.

use crate::cabinet::CabinetError;
use std::{fmt, io};

/// An edition that is refused, or whose bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub struct EditionError {
    /// The member, from the outermost in: `package7.cab`, `x\4711`. Empty for the edition as a whole.
    pub members: Vec<String>,
    /// Bytes from the innermost member's beginning to the structure that is at fault, where there is one.
    pub offset: Option<u64>,
    /// What is wrong.
    #[source]
    pub fault: Fault,
}

impl fmt::Display for EditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.members[..], self.offset) {
            ([], _) => f.write_str("the edition as a whole"),
            (members, None) => write!(f, "in {}", members.join(", ")),
            (members, Some(offset)) => write!(f, "in {}, at byte {offset}", members.join(", ")),
        }
    }
}

/// What is wrong with an edition.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A cabinet can't be read on.
    #[error("the cabinet can't be read")]
    Cabinet(#[source] CabinetError),
    /// A member's bytes could not be had.
    #[error("the member can't be read")]
    Read(#[source] io::Error),
    /// XML that is none, or whose bytes could not be had.
    #[error("the XML can't be read")]
    Xml(#[source] quick_xml::Error),
    /// The end of the member comes too early.
    #[error("the member ends inside of an element")]
    Truncated,
    /// A document type, which could define entities.
    #[error("a document type is refused")]
    DocType,
    /// An entity that XML does not define by itself.
    #[error("the entity &{0}; is not known")]
    Entity(String),
    /// The first element is another one.
    #[error("the element {expected} was expected here, not {found:?}")]
    Root {
        /// The one that should be there.
        expected: &'static str,
        /// The one that is; empty if there is none.
        found: String,
    },
    /// An element or attribute that has to be there.
    #[error("{element} has no {missing}")]
    Missing {
        /// Where it is missing.
        element: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// A value that is not what it should be.
    #[error("{value:?} is no {what} of {element}")]
    Value {
        /// Where it stands.
        element: &'static str,
        /// What it should be.
        what: &'static str,
        /// What stands there, cut to 80 characters.
        value: String,
    },
    /// More of something than [`Limits`](super::Limits) or the structure let.
    #[error("{what} are more than the limit of {limit}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are let.
        limit: u64,
    },
    /// A member that every edition has.
    #[error("there is no {0}")]
    NoMember(&'static str),
    /// One name twice, where it has to be one's own.
    #[error("{0} stands there twice")]
    Twice(String),
    /// Two updates of one number.
    #[error("RevisionId {0} belongs to two updates")]
    RevisionTwice(u64),
    /// A number for which there is no shard.
    #[error("RevisionId {0} is below the range of every shard")]
    NoShard(u64),
    /// A shard tells of another update than the package does.
    #[error("RevisionId {revision} is {found} here, and {listed} in package.xml")]
    OtherUpdate {
        /// The number.
        revision: u64,
        /// What the shard says.
        found: String,
        /// What the package says.
        listed: String,
    },
    /// A shard that has nothing of what is said to be in it.
    #[error("nothing is known here of the {0} updates that should be in it")]
    EmptyShard(usize),
    /// No update at all.
    #[error("there are no updates")]
    NoUpdates,
}

/// A fault at a place inside of one member.
#[derive(Debug)]
pub(super) struct Flaw {
    /// Bytes from the member's beginning.
    pub(super) offset: Option<u64>,
    /// What is wrong.
    pub(super) fault: Fault,
}

impl Flaw {
    /// Its place as the edition's reader knows it.
    pub(super) fn of(self, members: &[&str]) -> EditionError {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        EditionError { members, offset: self.offset, fault: self.fault }
    }
}

impl Fault {
    /// At a byte of a member.
    pub(super) fn at(self, offset: u64) -> Flaw {
        Flaw { offset: Some(offset), fault: self }
    }

    /// Of members as wholes.
    pub(super) fn of(self, members: &[&str]) -> EditionError {
        Flaw { offset: None, fault: self }.of(members)
    }
}

impl From<CabinetError> for Flaw {
    /// The cabinet's error has a place of its own.
    fn from(error: CabinetError) -> Self {
        Self { offset: None, fault: Fault::Cabinet(error) }
    }
}
