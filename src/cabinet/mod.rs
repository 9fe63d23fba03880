//! Cabinets (CAB files): what is in them, read once from front to back, and how they are taken apart and
//! put together again. Owns the structures of [MS-CAB] and the compressions that they name. Never seeks,
//! never opens files, never keeps a member, and believes no number that the bytes do not bear out.
//!
//! Who signed one is told by [`authenticode`].
//!
//! Order of events: [`Cabinet::open`] reads the header and the tables of folders and files, checks them
//! against each other and against [`Limits`]; [`Cabinet::next_member`] hands out one member after the
//! other as a reader. Blocks are read, and checked, when a member that needs them is read or passed by.
//! A member that is itself a cabinet can be opened in its turn.
//!
//! [MS-CAB]: https://learn.microsoft.com/en-us/openspecs/exchange_server_protocols/ms-cab/

pub mod authenticode;
mod block;
mod decoder;
mod error;
mod frame;
mod header;
mod limits;
mod lzx;
mod ms_zip;
mod reader;
mod source;
mod tables;

#[cfg(test)]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared with the integration tests; each uses a part"
)]
#[path = "../../tests/cabs/mod.rs"]
mod cabs;

pub use error::{CabinetError, Fault};
pub use frame::{Unframed, reframe, unframe};
pub use header::{Header, SignaturePlace};
pub use limits::Limits;
pub use reader::{Cabinet, Member};
pub use tables::{Compression, DosDateTime, File, Folder};
