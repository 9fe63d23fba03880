//! What is said over the control socket and the admin listener: JSON, under `/api/v1`.
//!
//! Times are seconds since 1970 UTC, sizes are bytes, ages are seconds. Readers ignore fields that
//! they do not know, so a report may grow.

mod cleanup;
mod hosts;
mod import;
mod jobs;
mod refresh;
mod repositories;
mod rules;
mod story;
#[cfg(test)]
mod testing;
mod updates;
mod wants;

pub use cleanup::{CLEANUP, CLEANUP_UNDO, CleanupReply, CleanupRequest, LeavingFile, StayingFiles, UndoReply};
pub use hosts::{
    CarriedHosts, EnrolReply, EnrolRequest, HOSTS, HostCounts, HostStory, HostSummary, HostUpdateReport, HostVerb,
    HostVerbReply, HostVerbRequest, HostsPage, HostsQuery, HostsReport, ImportHostsReply, WaitingHost,
};
pub use import::{IMPORT, ImportQuery, ImportReply};
pub use jobs::{JOBS, JobReport, JobRunReport, JobsReport, RunJobReply, RunJobRequest};
pub use refresh::{
    CHANGES, CabinetReport, ChangesQuery, ChangesReply, EditionReport, EditionStatus, REFRESH, ROLL_BACK,
    RefreshReport, RefreshRequest, RefreshesReport, RollBackReply, RollBackRequest, WithdrawnReport,
};
pub use repositories::{
    DISTANCES, DistanceRequest, MOVE_RULE, MoveRequest, NEAREST, NearestQuery, NearestReply, PassedOverReply,
    PlaceReply, REPOSITORIES, REPOSITORY_RULES, RepositoryReport, RepositoryRuleQuery, RepositoryRuleReport,
    RepositoryRuleRequest, RepositoryRulesReport,
};
pub use rules::{
    EditRulesRequest, ImportRulesReply, ImportRulesRequest, IniReport, RULE_CHANGES, RULE_PACKAGES, RULE_TEST,
    RemoveRulesQuery, RemoveRulesReply, RuleSetReport, TestRulesReply, TestRulesRequest, UPDATE_RULES,
    UpdateRulesReport,
};
pub use story::{AskReport, FileStory, FlightPhase, FlightReport, STORY, TaskReport};
pub use updates::{UPDATES, UpdateFile, UpdateStory, UpdatesQuery, UpdatesReply, path_of};
pub use wants::{
    ConflictReport, ForgetQuery, ForgetReply, ScanReply, WANTS, WantAnswer, WantOutcome, WantReply, WantReport,
    WantRequest, WantStateReport, WantsPage, WantsQuery, WantsSummary,
};

use crate::domain::{
    backup::{BackupKind, Passphrase},
    digest::{Root, Sha1},
    member::{NodeAddress, NodeName, Role, SiteName},
    name::FolderName,
};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

/// GET: [`StatusReport`].
pub const STATUS: &str = "/api/v1/status";
/// GET with [`FilesQuery`]: [`FilesPage`]. Below it, `/{folder}/{*name}`: [`FileReport`].
pub const FILES: &str = "/api/v1/files";
/// POST [`InviteRequest`]: [`InviteReply`].
pub const INVITE: &str = "/api/v1/pair/invite";
/// GET: a list of [`AuditReport`], the newest first.
pub const AUDIT: &str = "/api/v1/audit";
/// GET: a list of [`MemberReport`], by name.
pub const MEMBERS: &str = "/api/v1/pair/members";
/// POST [`RevokeRequest`]: [`RevokeReply`].
pub const REVOKE: &str = "/api/v1/pair/revoke";
/// POST [`JoinRequest`]: [`JoinReply`].
pub const JOIN: &str = "/api/v1/join";
/// POST: [`SyncReply`], sent once the parent's newest state is applied; files may still follow. On a
/// main: sent once a scan of every folder is asked for.
pub const SYNC: &str = "/api/v1/sync";
/// POST: [`AcceptDeletionsReply`].
pub const ACCEPT_DELETIONS: &str = "/api/v1/sync/accept-deletions";
/// POST [`PruneRequest`]: [`PruneReply`].
pub const PRUNE: &str = "/api/v1/sync/prune";
/// POST [`BackupRequest`]: [`BackupReply`].
pub const BACKUP: &str = "/api/v1/backup";
/// POST: [`CheckReport`], sent when everything was looked at, which may take hours.
pub const CHECK: &str = "/api/v1/check";

/// POST: [`ScanReply`], at once; the files follow.
pub const SCAN_WANTS: &str = "/api/v1/wants/scan";

/// GET: [`ScrubReport`]. POST [`ScrubRequest`]: [`ScrubReport`], at once for a pass over every file, and
/// after it was read for one file.
pub const SCRUB: &str = "/api/v1/scrub";

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct ApiError {
    /// For people: what went wrong and what would help.
    pub error: String,
    /// For programs.
    pub code: ErrorCode,
}

/// The kinds of errors; each has one HTTP status and one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorCode {
    /// The request makes no sense.
    Invalid,
    /// Rights, trust or a cap stand against it.
    Refused,
    /// What it names does not exist.
    Unknown,
    /// It was tried and went wrong.
    Failed,
}

impl ApiError {
    /// An answer of kind `code`.
    pub fn new(code: ErrorCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), code }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.code {
            ErrorCode::Invalid => StatusCode::BAD_REQUEST,
            ErrorCode::Refused => StatusCode::FORBIDDEN,
            ErrorCode::Unknown => StatusCode::NOT_FOUND,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self)).into_response()
    }
}

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The daemon's version.
    pub version: String,
    /// What the node is in its line.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub site: String,
    /// The line's key; `None` before a secondary has joined.
    pub line: Option<String>,
    /// The newest signed state here.
    pub state: StateReport,
    /// By name.
    pub folders: Vec<FolderReport>,
    /// Where a secondary pulls from.
    pub parent: Option<ParentReport>,
    /// What of the missing files travels; only on a secondary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorReport>,
    /// Who pulls from here, by name.
    pub children: Vec<ChildReport>,
    /// What is on its way here.
    pub transfers: Vec<TransferReport>,
    /// Traffic between repositories.
    pub rates: RatesReport,
    /// What somebody should look at; empty when all is well.
    pub attention: Vec<AttentionReport>,
    /// How far verifying what lies here is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubState>,
    /// Every repository of the line, as this main knows them; empty on a secondary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<RepositoryReport>,
    /// How many files are wanted; `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants: Option<WantsSummary>,
    /// The edition of Microsoft's index; `None` where none is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<EditionStatus>,
    /// How many hosts are known; `None` on a secondary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostsReport>,
}

/// Which missing files a secondary fetches although nobody waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorReport {
    /// Only those of which an older content is here; else every one. The edition comes always.
    pub on_miss: bool,
    /// The part of the day in which they may travel, in local time; `None` is always.
    pub window: Option<String>,
    /// Whether they may travel now.
    pub is_open: bool,
    /// When that changes, in seconds since 1970 UTC.
    pub changes_at: Option<u64>,
}

/// The newest signed state that a node has. All zero or `None` where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Grows when a line starts over.
    pub epoch: u64,
    /// Grows with every change within an epoch.
    pub seq: u64,
    /// When the main signed it.
    pub signed_at: Option<u64>,
    /// Seconds since then.
    pub head_age_seconds: Option<u64>,
}

impl StatusReport {
    /// What `sync` says. What a main has in its index and not in its folder is no lag: it was deleted,
    /// and waits.
    pub fn lag(&self) -> SyncReply {
        let missing_files = self.folders.iter().map(|folder| folder.missing_files).sum();
        match self.role {
            Role::Main => SyncReply {
                withheld_files: missing_files,
                scanning: self.folders.iter().any(|folder| folder.adopting.is_some()),
                ..SyncReply::default()
            },
            Role::Secondary => SyncReply {
                missing_files,
                missing_bytes: self.folders.iter().map(|folder| folder.missing_bytes).sum(),
                opens_at: self.mirror.as_ref().filter(|mirror| !mirror.is_open).and_then(|mirror| mirror.changes_at),
                ..SyncReply::default()
            },
        }
    }
}

/// One mirrored folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderReport {
    /// Its name.
    pub name: FolderName,
    /// Where it is on this node.
    pub path: String,
    /// Files in the index.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files of the index that are verified on this disk.
    pub held_files: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Files of the index that are not here yet: the lag.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// The first reading of what lies in the folder, while it goes on.
    pub adopting: Option<ProgressReport>,
    /// Files here that no index knows; kept and served.
    pub unlisted: u64,
    /// Files that can't be mirrored, for their name or their rights.
    pub refused: u64,
    /// Files whose content is not yet what their name promises.
    pub incomplete: u64,
    /// When the whole folder was last compared with the index.
    pub last_scan: Option<u64>,
}

/// How far something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressReport {
    /// Files that are done.
    pub done_files: u64,
    /// Files in all.
    pub total_files: u64,
    /// Bytes that are done.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// The node that this one pulls from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentReport {
    /// Its name.
    pub name: String,
    /// Where it is asked: `host:port`.
    pub address: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Since when there is one, or is none.
    pub since: Option<u64>,
    /// Why the last attempt failed; `None` while connected.
    pub last_error: Option<String>,
}

/// A node that pulls from this one and is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildReport {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub site: String,
    /// Where it comes from: `ip:port`.
    pub address: String,
    /// When it connected.
    pub connected_since: u64,
    /// The state that it has.
    pub epoch: u64,
    /// The state that it has.
    pub seq: u64,
    /// Its lag in files, as it tells.
    pub missing_files: u64,
    /// Its lag in bytes, as it tells.
    pub missing_bytes: u64,
}

/// One file on its way here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferReport {
    /// The folder that it goes to.
    pub folder: FolderName,
    /// Its name there.
    pub name: String,
    /// Verified bytes.
    pub done_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
    /// The node that sends it.
    pub from: String,
}

/// Traffic between repositories, over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RatesReport {
    /// What comes here.
    pub in_bytes_per_second: u64,
    /// What goes from here.
    pub out_bytes_per_second: u64,
    /// The ceiling for both together, and for what comes from Microsoft; `None` is without bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bits_per_second: Option<u64>,
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttentionReport {
    /// What is wrong.
    pub what: String,
    /// Since when.
    pub since: Option<u64>,
    /// What to do about it, in plain words.
    pub cure: String,
}

/// Which files are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesQuery {
    /// One folder only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<FolderName>,
    /// Only those after it: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; the daemon may give fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Files by folder and name, in pages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FilesPage {
    /// These.
    pub files: Vec<FileReport>,
    /// What to ask for next, opaque; `None` on the last page.
    pub next: Option<String>,
}

/// One file, whether the index knows it or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its folder.
    pub folder: FolderName,
    /// Its name there; refused names are shown as well as text can.
    pub name: String,
    /// Bytes; `None` where that is not known.
    pub size: Option<u64>,
    /// Microsoft's time of change.
    pub modified: Option<u64>,
    /// BLAKE3, once it is known.
    pub root: Option<Root>,
    /// The SHA-1 that its name promises.
    pub sha1: Option<Sha1>,
    /// Whether it is verified on this disk.
    pub held: bool,
    /// Where it stands.
    pub state: FileState,
    /// For all but `held` and `missing`: the reason, and what would help.
    pub why: Option<String>,
}

/// Where a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// In the index and on this disk.
    Held,
    /// In the index only.
    Missing,
    /// On this disk only.
    Unlisted,
    /// Not yet what its name promises.
    Incomplete,
    /// Never mirrored, for its name or its rights.
    Refused,
}

/// Who did what that changed trust or state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// When.
    pub at: u64,
    /// A user of this machine, or the daemon itself.
    pub who: String,
    /// What was done, in words.
    pub what: String,
}

/// An invitation for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRequest {
    /// The name that it will have.
    pub name: NodeName,
    /// Where it stands; its name unless told otherwise.
    pub site: Option<SiteName>,
    /// What it may mirror; empty is every folder.
    pub folders: Vec<FolderName>,
    /// Where it reaches its parent, best first; empty is what the parent advertises.
    pub addresses: Vec<NodeAddress>,
    /// How long the invitation holds.
    pub expires_seconds: u64,
    /// The member that will be its parent; `None` is this node.
    pub via: Option<NodeName>,
}

/// What the invited node is given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteReply {
    /// A secret: whoever has it first joins.
    pub token: String,
}

impl std::fmt::Debug for InviteReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteReply { .. }")
    }
}

/// One node of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub site: String,
    /// What it is in the line.
    pub role: Role,
    /// Its transport key.
    pub key: String,
    /// What it may mirror.
    pub folders: Vec<FolderName>,
    /// Where it can be reached.
    pub addresses: Vec<String>,
    /// When it joined.
    pub joined_at: u64,
    /// From when on it is refused.
    pub expires_at: Option<u64>,
    /// Whether it is connected to this node.
    pub connected: bool,
}

/// The member that is shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeRequest {
    /// Its name.
    pub name: NodeName,
}

/// It is shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeReply {
    /// Its name.
    pub name: String,
}

/// An invitation to redeem.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// A secret.
    pub token: String,
    /// Follow the token's line even where another one was followed.
    #[serde(default)]
    pub adopt_line: bool,
}

impl std::fmt::Debug for JoinRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JoinRequest { .. }")
    }
}

/// What a node has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinReply {
    /// The name that it was given.
    pub name: String,
    /// The line's key.
    pub line: String,
    /// Its parent's address.
    pub parent: String,
}

/// The lag right after the parent's newest state was applied; on a main, that a scan was begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReply {
    /// Files that are not here yet.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// On a main: files of the index that are gone, whose deletion waits for an administrator.
    #[serde(default)]
    pub withheld_files: u64,
    /// On a main: whether a scan goes on, or what it found is still being looked at.
    #[serde(default)]
    pub scanning: bool,
    /// On a secondary whose window is closed: when files may travel again, in seconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opens_at: Option<u64>,
}

/// Deletions that waited for an administrator and are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptDeletionsReply {
    /// Files.
    pub files: u64,
}

/// A backup is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupRequest {
    /// Of a main: the keys alone.
    pub keys_only: bool,
    /// What the keys of a main are sealed with.
    pub passphrase: Option<Passphrase>,
}

/// A backup.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReply {
    /// The file's bytes, in base64.
    pub file: String,
    /// What it holds.
    pub summary: BackupSummary,
}

impl std::fmt::Debug for BackupReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BackupReply {{ {:?} }}", self.summary)
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// `main`, `keys` or `secondary`.
    pub kind: BackupKind,
    /// The line's key.
    pub line: String,
    /// The node that wrote it.
    pub node: String,
    /// When it was written.
    pub made_at: u64,
    /// The epoch of the newest state that the node knew.
    pub epoch: u64,
    /// That state's last change.
    pub seq: u64,
    /// Members in it.
    pub members: u64,
}

/// What a restored main starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreReply {
    /// The line's key.
    pub line: String,
    /// The epoch that has begun.
    pub epoch: u64,
    /// Members.
    pub members: u64,
    /// As of when these are; `None` where there was no state to take them from.
    pub members_as_of: Option<u64>,
    /// Where the state that was there before lies.
    pub set_aside: Option<String>,
}

/// Files that no index names are to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRequest {
    /// Only tell what would go.
    pub dry_run: bool,
    /// Also more than the cap on deletions lets go.
    pub force: bool,
}

/// Files that no index names, and whether they went to the trash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReply {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether they are in the trash; `false` after a dry run.
    pub removed: bool,
    /// The first of them, at most 100: `folder/name`.
    pub examples: Vec<String>,
    /// After a dry run: why they would not go without force.
    pub refused: Vec<String>,
}

/// What looking at every file found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Empty when all is well.
    pub findings: Vec<Finding>,
    /// How many more there are; a person reads no more.
    #[serde(default)]
    pub unnamed: u64,
    /// What is never mirrored, for its name, kind or rights: nothing is wrong with the mirror.
    #[serde(default)]
    pub left_alone: Vec<Finding>,
    /// How many more there are.
    #[serde(default)]
    pub left_alone_unnamed: u64,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Verifying what lies here: where it stands, and what it ever found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubState {
    /// Within which every file is read; 0 if only when somebody asks.
    pub every_seconds: u64,
    /// When the last pass over every file ended.
    pub last_ended_at: Option<u64>,
    /// When the pass that is under way began; `None` between two.
    pub pass_began_at: Option<u64>,
    /// How far that pass is; after it, what it read.
    pub progress: ProgressReport,
    /// Whether somebody waits for it.
    pub hurry: bool,
    /// Bytes that were read since start.
    pub read_bytes: u64,
    /// Groups of 64 KiB that were found bad, over the life of the index.
    pub bad_groups: u64,
    /// Those of them whose file is whole again.
    pub healed_groups: u64,
    /// Files that were found bad.
    pub bad_files: u64,
    /// Those of them that are whole again.
    pub healed_files: u64,
    /// Damaged files that wait for good bytes.
    pub damaged_files: u64,
}

/// What is to be verified at once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRequest {
    /// One file: its folder and its name; `None` is every file.
    pub file: Option<(FolderName, String)>,
}

/// Where verifying stands, and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// Where it stands.
    pub state: ScrubState,
    /// What the file, or the last pass since start, had wrong; empty when all is well. 1,000 at most.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub unnamed: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The folder that it is in.
    pub folder: FolderName,
    /// The file; `None` is the folder itself.
    pub name: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do about it, or what was done.
    pub cure: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_its_own_status() {
        for (code, status) in
            [(ErrorCode::Invalid, 400), (ErrorCode::Refused, 403), (ErrorCode::Unknown, 404), (ErrorCode::Failed, 500)]
        {
            assert_eq!(ApiError::new(code, "x").into_response().status().as_u16(), status);
        }
        let json = serde_json::to_string(&ApiError::new(ErrorCode::Refused, "no")).unwrap();
        assert_eq!(json, r#"{"error":"no","code":"refused"}"#);
    }

    #[test]
    fn tokens_are_not_in_debug_output() {
        assert!(!format!("{:?}", InviteReply { token: "s3cret".to_owned() }).contains("s3cret"));
        assert!(!format!("{:?}", JoinRequest { token: "s3cret".to_owned(), adopt_line: false }).contains("s3cret"));
    }

    #[test]
    fn a_report_with_fields_of_a_later_version_is_read() {
        let json = r#"{"epoch":1,"seq":2,"signed_at":null,"head_age_seconds":null,"colour":"red"}"#;
        let expected = StateReport { epoch: 1, seq: 2, ..StateReport::default() };
        assert_eq!(serde_json::from_str::<StateReport>(json).unwrap(), expected);
    }
}
