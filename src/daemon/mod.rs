//! Wiring: what the administrator decided, the parts of a node, the control socket, and what is said
//! over it. Decides nothing about bytes, rows or peers; it hands each part what it needs and starts it.

pub mod admin;
pub mod api;
mod arenas;
mod backup;
mod cabinet;
mod changes;
mod cleanup;
pub mod config;
pub mod control;
pub mod doctor;
mod edition_file;
mod hosts;
mod import;
mod inspect;
mod jobs;
mod joining;
mod live;
mod lock;
mod machine;
mod metrics;
mod mirroring;
mod nginx;
mod node;
mod owner;
mod parent_file;
mod random;
mod rates;
mod refresh;
mod report;
mod repositories;
mod restore;
mod router;
mod rules;
mod serve;
mod service;
pub mod setup;
mod sockets;
mod story;
mod telemetry;
mod timers;
mod trust;
mod updates;
mod upstream;
mod wants;
mod wapt_server;

pub use backup::{BackupError, backup_error, backup_offline};
pub use cabinet::{
    CabFault, CabFolder, CabLine, CabMember, CabReport, CabSignature, CabinetError, cab_list, cab_report,
};
pub use edition_file::{EditionFileError, EditionFileRead, each_changed_file, each_changed_update, read_edition};
pub use inspect::inspect;
pub use joining::{JoinLineError, join_error, join_offline};
pub use live::ReadConfig;
pub use lock::LockError;
pub use machine::wapt_server;
pub use nginx::{Beside, NginxError, Snippet, snippet as nginx_snippet};
pub use node::StartError;
pub use random::secret as random_secret;
pub use repositories::{HostsNearest, World};
pub use restore::{RestoreError, RestoreRequest, new_epoch, restore, restore_error};
pub use rules::{IniChangeError, PackageParts, ReadPackageError, ini_problems, ini_with, package_parts};
pub use serve::{Ready, ServeError, serve};
pub use trust::{
    Candidate, CertificateReport, SignatureReport, TimeStampReport, TrustError, configured_trust, inspect_signature,
    pin, trust_in_files, verify_signature,
};
pub use upstream::open_upstream;
