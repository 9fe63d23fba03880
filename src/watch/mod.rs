//! Tells when a file in a watched folder has settled, and when files are gone.
//!
//! Owns the debounce machine ([`Settle`], pure), the shell over the operating system's events
//! ([`Watcher`]) and the task that joins them ([`Watch`]). It never opens a file, hashes nothing
//! and believes nothing but names: whoever receives a [`Settled`] looks at the file itself.
//!
//! Order of events: the system tells that a name was created, written, closed, moved or removed;
//! the machine waits until nothing more happens to it; the task hands the name on. A
//! directory that appears is told once it is watched, for the receiver to look through. When events
//! were lost, one [`Settled::Rescan`] asks the receiver to look at the whole folder.

mod driver;
mod inbox;
mod inotify;
mod own;
mod settle;

pub use driver::Watch;
pub use inotify::{WatchError, Watcher};
pub use own::Own;
pub use settle::{FileEvent, MAX_PENDING, Settle, Settled};
