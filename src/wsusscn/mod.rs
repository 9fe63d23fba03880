//! Microsoft's offline index (`wsusscn2.cab`): one edition's bytes in, its updates and files out. Owns the
//! structures of `index.xml`, `package.xml` and the shards. Never opens files or waits for anything but its
//! worker threads, never checks signatures, and believes nothing that is not as described: a bad edition is
//! an error that says in one line what is wrong and where.
//!
//! Order of events ([`read`]): one pass over the outer cabinet, in whatever order its members stand.
//! `index.xml` says which shards there are, `package.xml` which updates, how they hang together and where
//! files are; shards have the rest of each update, known by a number (`RevisionId`) that means something
//! inside of one edition only. A shard's bytes go to a few worker threads, which read the few members that
//! are wanted. When all is read, `assemble` joins it: numbers become indices, bundles get the files of what
//! is in them, and [`Edition`] hands out updates and files that know no number.
//!
//! What is odd without harm (a digest without an address, an update without details, a shard that is not
//! there) is left out and counted in [`Oddities`]; [`Edition::judge`] says whether that is too much.

mod assemble;
mod base64;
mod details;
mod edition;
mod error;
mod index;
mod judge;
mod options;
mod package;
mod pool;
mod read;
mod shard;
mod xml;

pub use edition::{Edition, Oddities};
pub use error::{EditionError, Fault};
pub use judge::{Counts, Judgement};
pub use options::{Limits, Options};
pub use read::read;
