//! Why a connection ends, as a number on the wire and as words for people.

use quinn::{ConnectionError, VarInt};
use std::fmt;

/// Application close codes. The numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// All was said.
    Done = 0,
    /// The node stops; come back later.
    ShuttingDown = 1,
    /// The peer broke the protocol.
    Protocol = 2,
    /// Too many connections or requests; come back later.
    Busy = 3,
    /// The key belongs to no member.
    NotMember = 4,
    /// The key belonged to a member that was revoked, or whose time is over.
    Revoked = 5,
    /// No version of the protocol in common.
    Version = 6,
    /// Another connection of the same member took its place.
    Replaced = 7,
    /// The member asks for a folder that is not in its row, or that this node does not have.
    Folder = 8,
    /// The request to join was refused; the reason went before.
    JoinRefused = 16,
    /// The request to join did not arrive in time.
    JoinLate = 17,
}

impl CloseCode {
    /// All codes.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::ShuttingDown,
        Self::Protocol,
        Self::Busy,
        Self::NotMember,
        Self::Revoked,
        Self::Version,
        Self::Replaced,
        Self::Folder,
        Self::JoinRefused,
        Self::JoinLate,
    ];

    /// The code that the peer closed with, if it is one of these.
    pub fn of(error: &ConnectionError) -> Option<Self> {
        let ConnectionError::ApplicationClosed(close) = error else { return None };
        Self::ALL.into_iter().find(|code| VarInt::from(*code) == close.error_code)
    }

    /// Closes `connection` with this code and its words.
    pub fn close(self, connection: &quinn::Connection) {
        connection.close(self.into(), self.words().as_bytes());
    }

    /// The code in words, from the side of the one that is told.
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ShuttingDown => "the peer is shutting down",
            Self::Protocol => "the peer met bytes that break the protocol",
            Self::Busy => "the peer is busy",
            Self::NotMember => "the peer does not know this node as a member",
            Self::Revoked => "this node's membership was revoked or has expired",
            Self::Version => "the peer speaks no common version of the protocol",
            Self::Replaced => "another connection of this node took its place",
            Self::Folder => "the peer may not or can't give this node one of its folders",
            Self::JoinRefused => "the request to join was refused",
            Self::JoinLate => "the request to join came too late",
        }
    }
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(code as u32)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_the_wire_never_change() {
        let numbers = CloseCode::ALL.map(|code| VarInt::from(code).into_inner());
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 17]);
    }

    #[test]
    fn only_a_close_by_the_peer_with_a_known_number_has_a_code() {
        let closed = |number: u32| {
            ConnectionError::ApplicationClosed(quinn::ApplicationClose {
                error_code: number.into(),
                reason: Default::default(),
            })
        };
        assert_eq!(CloseCode::of(&closed(5)), Some(CloseCode::Revoked));
        assert_eq!(CloseCode::of(&closed(99)), None);
        assert_eq!(CloseCode::of(&ConnectionError::TimedOut), None);
    }
}
