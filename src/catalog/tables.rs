//! Every table of both databases.

use redb::TableDefinition;

/// Folder and file name.
pub(super) type FileKey = (&'static str, &'static str);

/// `version`, `head`, and what else there is one of.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The signed state: (namespace, bucket, key) to body. A bucket is one range.
pub(super) const ENTRIES: TableDefinition<'_, (&str, u16, &[u8]), &[u8]> = TableDefinition::new("entries");
/// Hashes of the Merkle tree: (namespace, node); buckets are 0..4096, inner nodes follow.
pub(super) const NODES: TableDefinition<'_, (&str, u16), &[u8; 32]> = TableDefinition::new("nodes");
/// The last changes: seq to the entry that it wrote.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// What is verified on this disk.
pub(super) const HOLDINGS: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("holdings");
/// The same by content: (root, folder, name).
pub(super) const BY_ROOT: TableDefinition<'_, (&[u8; 32], &str, &str), ()> = TableDefinition::new("by_root");
/// Files of the index whose content is not here; the difference, kept so that nobody has to walk for it.
pub(super) const MISSING: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("missing");
/// Sums per folder.
pub(super) const TOTALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("totals");

/// Files whose row is gone and whose bytes still have to go to the trash.
pub(super) const INTENTS: TableDefinition<'_, FileKey, ()> = TableDefinition::new("intents");

/// Files that the index names no longer and that stay as long as another file here names them.
pub(super) const LEAVING: TableDefinition<'_, FileKey, ()> = TableDefinition::new("leaving");

/// Files whose bytes were found bad and are not whole again.
pub(super) const DAMAGED: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("damaged");

/// Node key to member: the main's own copy, from which a lost index gets its members back.
pub(super) const MEMBERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("members");
/// The main's own copy of other tables of the signed state: (namespace, key) to body.
pub(super) const SIGNED_ROWS: TableDefinition<'_, (&str, &[u8]), &[u8]> = TableDefinition::new("signed_rows");
/// BLAKE3 of a pairing secret to the invitation.
pub(super) const INVITES: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("invites");
/// Who did what, by running number.
pub(super) const AUDIT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");
/// The last run of each job.
pub(super) const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");

/// What is known of a file that somebody told of.
pub(super) const FILES: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("files");
/// The same by update: (update, folder, name).
pub(super) const UPDATE_FILES: TableDefinition<'_, (&[u8; 20], &str, &str), ()> = TableDefinition::new("update_files");
/// What was told of a file and not taken.
pub(super) const CONFLICTS: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("conflicts");
/// Who needs a file.
pub(super) const WANTS: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("wants");
/// Files that hosts of a secondary asked for in vain.
pub(super) const ASKS: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("asks");
/// Since when files are here, and when they were asked for last.
pub(super) const USES: TableDefinition<'_, FileKey, &[u8]> = TableDefinition::new("uses");
/// When members told last what their hosts ask for, by key.
pub(super) const HEARD: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("heard");
/// What cleanups let go, by running number.
pub(super) const CLEANUPS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("cleanups");
/// Attempts to refresh the edition, by running number.
pub(super) const REFRESHES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("refreshes");
/// What a person took back and Microsoft still has.
pub(super) const WITHDRAWN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("withdrawn");

/// Which edition is in which slot of the tables below, and what else there is one of.
pub(super) const EDITION: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("edition");
/// Of each slot the updates, by UpdateID and RevisionNumber.
pub(super) const EDITION_UPDATES: [TableDefinition<'_, &[u8; 20], &[u8]>; 2] =
    [TableDefinition::new("updates"), TableDefinition::new("updates/1")];
/// Of each slot the files, by SHA-1.
pub(super) const EDITION_FILES: [TableDefinition<'_, &[u8; 20], &[u8]>; 2] =
    [TableDefinition::new("files"), TableDefinition::new("files/1")];
/// The same by the last part of their addresses.
pub(super) const EDITION_NAMES: [TableDefinition<'_, &str, &[u8; 20]>; 2] =
    [TableDefinition::new("names"), TableDefinition::new("names/1")];
/// Updates by article: (KB number, update).
pub(super) const EDITION_KBS: [TableDefinition<'_, (u32, &[u8; 20]), ()>; 2] =
    [TableDefinition::new("kbs"), TableDefinition::new("kbs/1")];

/// Facts of hosts, by UUID.
pub(super) const HOSTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("hosts");
/// When hosts were heard of last, in seconds since 1970 UTC, by UUID: for those who count them.
pub(super) const HOSTS_SEEN: TableDefinition<'_, &str, u64> = TableDefinition::new("hosts_seen");
/// What hosts tell of updates, by UpdateID and RevisionNumber.
pub(super) const TOLD_UPDATES: TableDefinition<'_, &[u8; 20], &[u8]> = TableDefinition::new("told_updates");
/// The updates that hosts told of, by the names of their files.
pub(super) const TOLD_FILES: TableDefinition<'_, (&str, &[u8; 20]), ()> = TableDefinition::new("told_files");
/// Reports on their way to the parent, by host.
pub(super) const OUTBOX: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("outbox");
/// Whose reports are believed, by host.
pub(super) const HOST_KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("host_keys");
/// What lets hosts enrol themselves, by the token's name.
pub(super) const HOST_TOKENS: TableDefinition<'_, &[u8; 8], &[u8]> = TableDefinition::new("host_tokens");

/// Attempts to fetch files, by running number.
pub(super) const TASKS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("tasks");
