//! What one edition of Microsoft's offline index (`wsusscn2.cab`) tells of updates and their files. Nothing
//! here is numbered by the edition: updates are known by UpdateID and RevisionNumber, files by SHA-1.

mod category;
mod change;
mod file;
mod id;
mod kb;
mod language;
mod place;
mod severity;
mod update;

pub use category::{Category, CategoryKind, Classification};
pub use change::{Aspect, ChangeKind, FileChange, UpdateChange, each_changed_file, each_changed_update};
pub use file::EditionFile;
pub use id::EditionId;
pub use kb::{Kb, ParseKbError};
pub use language::{Language, LanguageError};
pub use place::{CABINET, SIDECAR, is_edition};
pub use severity::{ParseSeverityError, Severity};
pub use update::{EditionUpdate, Title, UpdateKind};
