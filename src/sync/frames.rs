//! What repositories say to each other: the bodies of all frames, and the one table of their numbers.
//!
//! A body never changes: a new shape is a new type with a new number. Bodies are postcard; every
//! list, text and byte string in them has a limit. `fixtures/frames-v1.txt` holds the bytes of each.

use super::{
    bounded::{AtMost, Opaque, Ranges, Text},
    secret::Secret,
};
use crate::domain::{
    digest::Root,
    key::NodeKey,
    member::{MAX_ADDRESSES, NodeAddress, NodeName, SiteName},
    nearest::MAX_SLOT_BYTES,
};
use serde::{Deserialize, Serialize};

/// Types with this bit are skipped by those who don't know them; all others close the connection.
pub const SKIPPABLE: u16 = 0x8000;

/// Most bytes in a namespace's name: `folder/` and 64, with a margin.
pub const MAX_NAMESPACE_BYTES: usize = 128;
/// Most namespaces in one frame: a node mirrors a few folders and a few tables.
pub const MAX_NAMESPACES: usize = 128;
/// Most bytes in a signed head: 128 namespaces with their roots are 21 KiB.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most entries in one frame; with it, what a frame of the shortest entries costs in memory stays
/// below 1 MiB.
pub const MAX_ENTRIES: usize = 4096;
/// Most bytes in an entry's key: the longest mirrored name has 2,047.
pub const MAX_ENTRY_KEY_BYTES: usize = 4096;
/// Most bytes in an entry's value, so that one always fits a frame.
pub const MAX_ENTRY_BODY_BYTES: usize = 512 * 1024;
/// Children of a node of the bucket tree.
pub const NODE_CHILDREN: usize = 64;
/// Most files asked for in one frame.
pub const MAX_GET_ITEMS: usize = 1024;
/// Most ranges of one file in one frame.
pub const MAX_RANGES: usize = 256;
/// Most bytes in the address of a repository for hosts.
pub const MAX_URL_BYTES: usize = 512;
/// Most bytes in a folder's name.
pub const MAX_FOLDER_BYTES: usize = 64;
/// Most bytes in a file's name: 8 components of 255.
pub const MAX_NAME_BYTES: usize = 2_047;
/// Most bytes in a piece, and in a segment of a file that was asked for: what arrives is passed on often.
pub const MAX_PIECE_BYTES: u32 = 1 << 20;
/// Most names of files in one frame of [`Askings`]: together they stay far below a frame.
pub const MAX_ASKED_NAMES: usize = 400;
/// Most members that one frame of [`Askings`] speaks for.
pub const MAX_ASKING_MEMBERS: usize = 4_096;
/// Most bytes of a host's report with what surrounds it, so that one always fits a frame.
pub const MAX_REPORT_BYTES: usize = crate::domain::host::MAX_SENT_BYTES + 4 * 1024;
/// Most bytes in an encoded member record inside a frame.
pub const MAX_MEMBER_FRAME_BYTES: usize = crate::domain::member::MAX_MEMBER_BYTES;

/// The name of a namespace, such as `members` or `folder/waptwua`.
pub type NamespaceName = Text<MAX_NAMESPACE_BYTES>;

macro_rules! frame_table {
    ($($number:literal $name:ident,)*) => {
        /// One frame, decoded.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Frame {
            $(#[doc = concat!("Type ", stringify!($number), ".")] $name($name),)*
        }

        $(impl From<$name> for Frame {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })*

        impl Frame {
            /// Every type's number and name.
            pub const TYPES: &[(u16, &str)] = &[$(($number, stringify!($name)),)*];

            /// The number that stands before the body.
            pub fn number(&self) -> u16 {
                match self { $(Self::$name(_) => $number,)* }
            }

            /// The type's name, for logs.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            /// Appends the body to `bytes`; fails only when it is above its own limits.
            pub(super) fn encode_body(&self, bytes: Vec<u8>) -> Result<Vec<u8>, postcard::Error> {
                match self { $(Self::$name(body) => postcard::to_extend(body, bytes),)* }
            }

            /// Whether a frame of this type can be read or skipped.
            pub(super) fn is_acceptable(number: u16) -> bool {
                number & SKIPPABLE != 0 || Self::TYPES.iter().any(|(known, _)| *known == number)
            }

            /// Reads a body; `None` for an unknown type.
            pub(super) fn decode_body(number: u16, body: &[u8]) -> Option<Result<Self, postcard::Error>> {
                match number {
                    $($number => Some(decode_whole::<$name>(body).map(Self::$name)),)*
                    _ => None,
                }
            }
        }
    };
}

frame_table! {
    0x0001 Hello,
    0x0002 Welcome,
    0x0010 Head,
    0x0011 Entries,
    0x0012 Behind,
    0x0013 Progress,
    0x0020 Descend,
    0x0021 AskNode,
    0x0022 Node,
    0x0023 AskBucket,
    0x0024 Bucket,
    0x0030 Get,
    0x0031 Granted,
    0x0032 Refused,
    0x0033 BadGroup,
    0x0034 Ask,
    0x0035 Coming,
    0x0036 Piece,
    0x0037 Seek,
    0x0038 NotNow,
    0x0040 Join,
    0x0041 Joined,
    0x0042 JoinRefused,
    0x8050 HostReport,
    0x8051 HostReportTaken,
    0x8052 Askings,
    0x8014 Alive,
    0x8015 Holdings,
    0x8016 UrlSaid,
}

fn decode_whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, postcard::Error> {
    let (value, rest) = postcard::take_from_bytes(body)?;
    if rest.is_empty() { Ok(value) } else { Err(postcard::Error::SerdeDeCustom) }
}

/// The first frame of a member that connected: who asks, and what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest and highest version of the protocol that it speaks.
    pub versions: (u16, u16),
    /// What it can do beyond the version, one bit each.
    pub features: u64,
    /// Its name.
    pub name: NodeName,
    /// The namespaces that it follows.
    #[serde(with = "AtMost::<MAX_NAMESPACES>")]
    pub namespaces: Vec<NamespaceName>,
    /// Epoch of the last head that it accepted; 0 for none.
    pub epoch: u64,
    /// Sequence number of that head.
    pub seq: u64,
    /// BLAKE3 of that head's bytes.
    pub head_hash: [u8; 32],
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both speak from here on.
    pub version: u16,
    /// What the answering node can do.
    pub features: u64,
    /// Its name.
    pub name: NodeName,
}

/// A state, signed by the main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The signed bytes with their signature; checked by whoever follows the line.
    #[serde(with = "Opaque::<MAX_HEAD_BYTES>")]
    pub bytes: Vec<u8>,
}

/// Entries of the log, in its order. A hint: their result is checked against the signed root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// The entries, by ascending sequence number.
    #[serde(with = "AtMost::<MAX_ENTRIES>")]
    pub entries: Vec<EntryFrame>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFrame {
    /// Its place in the log.
    pub seq: u64,
    /// Where it belongs.
    pub namespace: NamespaceName,
    /// Its key.
    #[serde(with = "Opaque::<MAX_ENTRY_KEY_BYTES>")]
    pub key: Vec<u8>,
    /// Its value; a tombstone's own value where `removed`.
    #[serde(with = "Opaque::<MAX_ENTRY_BODY_BYTES>")]
    pub body: Vec<u8>,
    /// Whether it is a tombstone.
    pub removed: bool,
}

/// The log does not reach back to what the peer has: it has to [`Descend`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {}

/// How far a follower has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Epoch of the head that it has applied.
    pub epoch: u64,
    /// Sequence number of that head.
    pub seq: u64,
    /// Files in its index that it does not hold.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
}

/// A member lives, and how it is. Told of the teller itself, and of others that it heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Who.
    pub member: NodeKey,
    /// Since it said so itself.
    pub silent_seconds: u32,
    /// Where hosts reach it.
    pub url: Option<Text<MAX_URL_BYTES>>,
    /// Bytes per second to its hosts.
    pub load_bytes: u64,
    /// Bytes per second that arrive there.
    pub arriving_bytes: u64,
    /// Whether it can get what it lacks.
    pub can_fetch: bool,
}

/// Where hosts reach a member, in its own words (`domain::nearest::UrlWord`), whoever passes them on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlSaid {
    /// Who.
    pub member: NodeKey,
    /// Where hosts reach it.
    pub url: Option<Text<MAX_URL_BYTES>>,
    /// When it said so, in milliseconds since 1970 UTC.
    pub said_at: u64,
    /// Its signature, of 64 bytes.
    pub signature: Vec<u8>,
}

/// What a member lacks of a folder, in slots (`domain::nearest::SlotSet`): all of them, or those that changed
/// since it was told on this stream before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// Who.
    pub member: NodeKey,
    /// Of which folder.
    pub folder: Text<MAX_FOLDER_BYTES>,
    /// Epoch of the head that this is told of.
    pub epoch: u64,
    /// Sequence number of that head.
    pub seq: u64,
    /// Files of it that are lacking.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Whether the slots are all.
    pub whole: bool,
    /// The slots.
    #[serde(with = "Opaque::<MAX_SLOT_BYTES>")]
    pub lacking: Vec<u8>,
}

/// Begins a walk down the trees of these namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descend {
    /// Whose trees.
    #[serde(with = "AtMost::<MAX_NAMESPACES>")]
    pub namespaces: Vec<NamespaceName>,
}

/// Asks for the children of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskNode {
    /// In whose tree.
    pub namespace: NamespaceName,
    /// Which inner node; `None` is the root.
    pub inner: Option<u8>,
}

/// The children of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Their hashes, in order.
    #[serde(with = "AtMost::<NODE_CHILDREN>")]
    pub hashes: Vec<[u8; 32]>,
}

/// Asks for the entries of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskBucket {
    /// In whose tree.
    pub namespace: NamespaceName,
    /// Which bucket.
    pub bucket: u16,
}

/// Entries of a bucket, by ascending key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// The entries.
    #[serde(with = "AtMost::<MAX_ENTRIES>")]
    pub entries: Vec<BucketEntry>,
    /// Whether another frame with further entries follows.
    pub more: bool,
}

/// One entry of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketEntry {
    /// Its key.
    #[serde(with = "Opaque::<MAX_ENTRY_KEY_BYTES>")]
    pub key: Vec<u8>,
    /// Its value.
    #[serde(with = "Opaque::<MAX_ENTRY_BODY_BYTES>")]
    pub body: Vec<u8>,
}

/// Asks for bytes of files; each item is answered in its turn by [`Granted`] or [`Refused`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// The files.
    #[serde(with = "AtMost::<MAX_GET_ITEMS>")]
    pub items: Vec<GetItem>,
}

/// One file, or parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetItem {
    /// Which bytes.
    pub root: Root,
    /// Which of them: `(start, end)`, end exclusive, ascending.
    #[serde(with = "Ranges::<MAX_RANGES>")]
    pub ranges: Vec<(u64, u64)>,
}

/// What of an item is here; one bao segment per range follows as raw bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The whole file's length in bytes.
    pub size: u64,
    /// The ranges that follow: `(start, end)`, end exclusive, ascending.
    #[serde(with = "Ranges::<MAX_RANGES>")]
    pub ranges: Vec<(u64, u64)>,
    /// Whether another frame for the same item follows, when more of a growing file is here.
    pub more: bool,
}

/// Nothing of an item will follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub reason: RefusedReason,
}

/// Why an item is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RefusedReason {
    /// No such bytes, or not for this member.
    #[error("the peer does not have these bytes")]
    Unknown,
    /// Ask again later.
    #[error("the peer is busy")]
    Busy,
    /// They are here and can't be read.
    #[error("the peer failed to read these bytes")]
    Failed,
}

/// A group that did not verify: the sender's copy needs a scrub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadGroup {
    /// Of which file.
    pub root: Root,
    /// Where the group starts, in bytes.
    pub offset: u64,
}

/// Asks for a file by its name, whether or not the signed state names it: somebody waits for it. Answered by
/// [`Coming`], [`NotNow`] or [`Refused`]; understood by a peer whose [`Welcome`] says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The folder.
    pub folder: Text<MAX_FOLDER_BYTES>,
    /// The file's name there.
    pub name: Text<MAX_NAME_BYTES>,
    /// Whether length and date are enough.
    pub describe: bool,
    /// From where on its bytes are wanted; the end of a group, or 0.
    pub from: u64,
}

/// A file that was asked for is here, or arrives: what follows goes from where it is wanted to the end, as
/// soon as it is here, until a [`Seek`]. Where its content is known, [`Granted`] frames with their segments;
/// else [`Piece`] frames with plain bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coming {
    /// The whole file's length in bytes.
    pub size: u64,
    /// Its Last-Modified in seconds since 1970 UTC, where the origin told one.
    pub modified: Option<i64>,
    /// Its content, where the signed state names it. A hint: it counts only as a signed state names it.
    pub root: Option<Root>,
}

/// Bytes of a file whose content is not known yet; they follow as raw bytes. What they are worth shows when
/// all of them are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where they belong.
    pub offset: u64,
    /// How many there are, at most [`MAX_PIECE_BYTES`].
    pub length: u32,
}

/// Wants other bytes of the file than those that were under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// Where they begin: the end of a group, or 0.
    pub start: u64,
    /// Where they end, exclusive.
    pub end: u64,
}

/// A file that was asked for can't be had, or its rest can't.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotNow {
    /// When asking again makes sense.
    pub retry_after_seconds: u32,
}

/// Asks to become a member, on the word of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The token's secret.
    pub secret: Secret,
    /// The joining node's name.
    pub name: NodeName,
    /// Its site.
    pub site: SiteName,
    /// Where others can reach it.
    #[serde(with = "AtMost::<MAX_ADDRESSES>")]
    pub addresses: Vec<NodeAddress>,
    /// The joining node's key. A secondary that relays the request passes it on as it is.
    pub key: NodeKey,
}

/// The node is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// Its encoded member record.
    #[serde(with = "Opaque::<MAX_MEMBER_FRAME_BYTES>")]
    pub member: Vec<u8>,
    /// The head that the new member starts from.
    #[serde(with = "Opaque::<MAX_HEAD_BYTES>")]
    pub head: Vec<u8>,
}

/// The node is no member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRefused {
    /// Why.
    pub reason: JoinRefusedReason,
}

/// Why a node was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusedReason {
    /// No such token was issued.
    #[error("the token is not known there; ask for a new one")]
    UnknownToken,
    /// The token has admitted a node.
    #[error("the token was used before; ask for a new one")]
    Used,
    /// The token's hour is over.
    #[error("the token has expired; ask for a new one")]
    Expired,
    /// The token belongs to another main.
    #[error("the token was issued by another main")]
    OtherLine,
    /// Two nodes can't share a name.
    #[error("another node has this name; choose a different one")]
    NameTaken,
    /// Too many requests.
    #[error("too many nodes are joining; try again in a minute")]
    Busy,
    /// The main can't be asked, or could not write the row.
    #[error("the main repository can't admit nodes at the moment; try again later")]
    Unavailable,
}

/// A host's signed report on its way to the main, in [`crate::domain::host::CarriedReport`]'s form. Answered by
/// [`HostReportTaken`], after which another may follow; a peer that does not know it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The report.
    #[serde(with = "Opaque::<MAX_REPORT_BYTES>")]
    pub report: Vec<u8>,
}

/// What became of a [`HostReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReportTaken {
    /// What.
    pub outcome: ReportOutcome,
}

/// What became of a host's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReportOutcome {
    /// It is kept there, or noted until somebody approves its host: it need not be carried again.
    Taken,
    /// It is not believed, and will not be.
    Refused,
    /// It can't be taken at this moment.
    Later,
}

/// Files of a folder that hosts of the sender, and of its children, asked for on one day. Others of its kind may follow
/// on the stream; the one that names members ends what is told of them. Not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Askings {
    /// The folder; empty where no file is named.
    pub folder: Text<MAX_FOLDER_BYTES>,
    /// The beginning of the day, in seconds since 1970 UTC.
    pub day: u64,
    /// The files' names there.
    #[serde(with = "AtMost::<MAX_ASKED_NAMES>")]
    pub names: Vec<Text<MAX_NAME_BYTES>>,
    /// Whose askings are told with this.
    #[serde(with = "AtMost::<MAX_ASKING_MEMBERS>")]
    pub members: Vec<NodeKey>,
}
