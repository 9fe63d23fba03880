//! The values of the tables, each versioned by its first byte.

use crate::domain::{
    digest::{Root, Sha1},
    edition::EditionId,
    file::FileRecord,
    host::{AgentStatus, HostFacts, ToldUpdate, waiting::ReportedFrom},
    key::HostKey,
    name::{FileName, FolderName},
    origin::OriginUrl,
    state::{Entry, Namespace},
    versioned::{self, VersionedError},
    wants::{Conflict, DownloadTask, FileFacts, Want},
};
use serde::{Deserialize, Serialize};

macro_rules! record {
    ($name:ident, $version:literal) => {
        impl $name {
            /// The stored bytes.
            pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
                versioned::encode($version, self)
            }

            /// Reads stored bytes.
            pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
                versioned::decode($version, bytes)
            }
        }
    };
}

/// A file that is verified on this disk, and how to see cheaply that nobody touched it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldingRecord {
    /// BLAKE3 root of the bytes on disk.
    pub root: Root,
    /// Their length.
    pub size: u64,
    /// mtime on disk, nanoseconds since 1970 UTC.
    pub modified_ns: i64,
    /// Inode on disk.
    pub inode: u64,
    /// Whether the index names this file; else it is an extra that is kept and served.
    pub listed: bool,
}

/// A file that the index names and this disk lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingRecord {
    /// BLAKE3 root of the wanted bytes.
    pub root: Root,
    /// Their length.
    pub size: u64,
    /// Last modification, seconds since 1970 UTC.
    pub modified: i64,
}

impl From<FileRecord> for MissingRecord {
    fn from(FileRecord { root, size, modified }: FileRecord) -> Self {
        Self { root, size, modified }
    }
}

/// One change: the entry as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its key.
    pub key: Vec<u8>,
    /// Its body; `None` if the entry was dropped without a tombstone.
    pub body: Option<Vec<u8>>,
}

impl From<Entry> for LogRecord {
    fn from(entry: Entry) -> Self {
        Self { namespace: entry.namespace, key: entry.key, body: Some(entry.body) }
    }
}

/// Sums over one folder, in files and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Named by the index.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Named by the index and with some version of them on this disk.
    pub held_files: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Named by the index, wanted version not on this disk.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// On this disk and not named by the index.
    pub unlisted_files: u64,
    /// Their bytes.
    pub unlisted_bytes: u64,
}

/// A file whose bytes did not match its root, until its content is whole again or wanted no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageRecord {
    /// What its bytes should have been.
    pub root: Root,
    /// How many groups of 64 KiB were bad.
    pub groups: u64,
    /// When that was found, in seconds since 1970 UTC.
    pub found_at: u64,
}

/// Damage over the life of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageTotals {
    /// Files that were found bad.
    pub found_files: u64,
    /// Their bad groups of 64 KiB.
    pub found_groups: u64,
    /// Files of these that are whole again.
    pub healed_files: u64,
    /// Their bad groups.
    pub healed_groups: u64,
}

/// A pass that reads and verifies every holding: where it stands, or when it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubRecord {
    /// When it began, in seconds since 1970 UTC.
    pub began_at: u64,
    /// The last file that was read; the next in order follows.
    pub last: Option<(FolderName, FileName)>,
    /// Files that it has read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that it has found bad.
    pub bad_files: u64,
    /// When it ended, in seconds since 1970 UTC.
    pub ended_at: Option<u64>,
    /// When the last one before it that ended did, in seconds since 1970 UTC.
    pub before_ended_at: Option<u64>,
}

/// An invitation: who may join with a secret that is known here only by its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteRecord {
    /// The node's name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// The folders that it may mirror.
    pub folders: Vec<FolderName>,
    /// Until when, in seconds since 1970 UTC.
    pub expires_at: u64,
    /// The node key that used it.
    pub used_by: Option<[u8; 32]>,
}

/// One act of a person or of the daemon itself that changed trust or state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When, in seconds since 1970 UTC.
    pub at: u64,
    /// A user id behind the control socket, a node's name, or `daemon`.
    pub who: String,
    /// What was done, in words.
    pub what: String,
}

/// The last run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Begun, in seconds since 1970 UTC.
    pub started_at: u64,
    /// Ended; `None` if it was cut short.
    pub finished_at: Option<u64>,
    /// What it did, or why it failed.
    pub outcome: String,
    /// Whether it failed.
    pub failed: bool,
}

/// Its first shape.
#[derive(Debug, Serialize, Deserialize)]
struct JobRecordV1 {
    started_at: u64,
    finished_at: Option<u64>,
    outcome: String,
}

impl JobRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(2, self)
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        if bytes.first() != Some(&1) {
            return versioned::decode(2, bytes);
        }
        let JobRecordV1 { started_at, finished_at, outcome } = versioned::decode(1, bytes)?;
        Ok(Self { started_at, finished_at, outcome, failed: false })
    }
}

/// The edition whose updates and files are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditionRecord {
    /// Which one.
    pub id: EditionId,
    /// BLAKE3 of the cabinet that it was read from.
    pub root: Root,
    /// The cabinet's length in bytes.
    pub origin_size: u64,
    /// Its Last-Modified at Microsoft's, in seconds since 1970 UTC, where that is known.
    pub origin_modified: Option<i64>,
    /// Updates in it.
    pub updates: u64,
    /// Files of them.
    pub files: u64,
    /// When it was read, in seconds since 1970 UTC.
    pub indexed_at: u64,
}

/// Which SHA-1 a content has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSha1 {
    /// BLAKE3 of the content.
    pub root: Root,
    /// Its SHA-1.
    pub sha1: Sha1,
}

/// An edition that a person took back. Microsoft may have it still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnRecord {
    /// BLAKE3 of the cabinet.
    pub root: Root,
    /// The cabinet's length in bytes.
    pub size: u64,
    /// Its Last-Modified, in seconds since 1970 UTC.
    pub modified: i64,
    /// When it was taken back, in seconds since 1970 UTC.
    pub at: u64,
}

/// What an attempt to refresh the edition came to, or what else became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefreshOutcome {
    /// Microsoft has the one that is published.
    Skipped,
    /// Another one is published.
    Published,
    /// Nothing was published, for this reason.
    Failed(String),
    /// Microsoft has the one that a person took back: nothing was published.
    Withheld,
    /// A person took the published one back: the one before is published.
    RolledBack,
    /// One that lay in the folder was read: another program put it there.
    Found,
}

/// One attempt to refresh the edition, or what else became of it. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRecord {
    /// When it began.
    pub started_at: u64,
    /// When it ended.
    pub finished_at: u64,
    /// Whether somebody wanted it whatever Microsoft says.
    pub forced: bool,
    /// The cabinet's Last-Modified, as far as it is known.
    pub cab_modified: Option<i64>,
    /// Its length in bytes.
    pub cab_size: Option<u64>,
    /// What it came to.
    pub outcome: RefreshOutcome,
    /// What is odd about the edition that is published since, each in one line.
    pub oddities: Vec<String>,
}

/// [`RefreshRecord`] as it was stored first, with the first three outcomes.
#[derive(Serialize, Deserialize)]
struct RefreshRecordV1 {
    started_at: u64,
    finished_at: u64,
    forced: bool,
    cab_modified: Option<i64>,
    cab_size: Option<u64>,
    outcome: RefreshOutcome,
}

impl RefreshRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(2, self)
    }

    /// Reads stored bytes, of version 1 as well.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        if bytes.first() != Some(&1) {
            return versioned::decode(2, bytes);
        }
        let RefreshRecordV1 { started_at, finished_at, forced, cab_modified, cab_size, outcome } =
            versioned::decode(1, bytes)?;
        Ok(Self { started_at, finished_at, forced, cab_modified, cab_size, outcome, oddities: Vec::new() })
    }
}

/// A file that hosts asked for in vain. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRecord {
    /// When it was asked for first.
    pub first: u64,
    /// When it was asked for last.
    pub last: u64,
    /// How often.
    pub times: u64,
}

/// Since when a file is known to be here, and when it was asked for last. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseRecord {
    /// When it was seen first.
    pub arrived_at: u64,
    /// When a host asked for it last, to the day.
    pub asked_at: Option<u64>,
}

/// When a member told last what its hosts ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardRecord {
    /// In seconds since 1970 UTC.
    pub at: u64,
}

/// What one cleanup let go. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleanupRecord {
    /// When it began: what it let go rests in the trash under this moment or a later one.
    pub at: u64,
    /// The files, with their lengths in bytes.
    pub files: Vec<(FolderName, FileName, u64)>,
    /// When they were brought back.
    pub undone_at: Option<u64>,
}

/// Where facts of a host came from last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FactsFrom {
    /// The host itself.
    Report,
    /// A file that somebody imported.
    Import,
    /// The database of a WAPT server on this machine.
    Server,
}

/// All that is known of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// What decisions look at.
    pub facts: HostFacts,
    /// How its agent is doing.
    pub status: AgentStatus,
    /// Addresses that it asked repositories for in vain.
    pub missing_downloads: Vec<OriginUrl>,
    /// Where that came from.
    pub from: FactsFrom,
    /// The number of its last signed report.
    pub sequence: Option<u64>,
    /// When it was heard of first, in seconds since 1970 UTC.
    pub first_seen: u64,
}

/// How far the reports of a host are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostStanding {
    /// Not before somebody approves.
    Waiting,
    /// Yes.
    Enrolled,
    /// No more.
    Revoked,
}

/// Whose reports are believed for one host. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeyRecord {
    /// Who has to sign.
    pub key: HostKey,
    /// Whether that is believed.
    pub standing: HostStanding,
    /// Since when.
    pub since: u64,
    /// Where the report came from that made it known.
    pub from: ReportedFrom,
}

/// Its first shape.
#[derive(Debug, Serialize, Deserialize)]
struct HostKeyRecordV1 {
    key: HostKey,
    standing: HostStanding,
    since: u64,
}

impl HostKeyRecord {
    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, VersionedError> {
        versioned::encode(2, self)
    }

    /// Reads stored bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, VersionedError> {
        if bytes.first() != Some(&1) {
            return versioned::decode(2, bytes);
        }
        let HostKeyRecordV1 { key, standing, since } = versioned::decode(1, bytes)?;
        Ok(Self { key, standing, since, from: ReportedFrom::Unknown })
    }
}

/// What lets hosts enrol themselves. Times are seconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTokenRecord {
    /// What a host proves that it knows.
    pub key: [u8; 32],
    /// Until when.
    pub expires_at: u64,
    /// How many more hosts may use it.
    pub uses_left: u32,
}

/// Claims about one file that were not taken, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictsRecord(pub Vec<Conflict>);

record!(HoldingRecord, 1);
record!(MissingRecord, 1);
record!(LogRecord, 1);
record!(Totals, 1);
record!(DamageRecord, 1);
record!(DamageTotals, 1);
record!(ScrubRecord, 1);
record!(InviteRecord, 1);
record!(AuditRecord, 1);
record!(AskRecord, 1);
record!(UseRecord, 1);
record!(HeardRecord, 1);
record!(HostRecord, 1);
record!(HostTokenRecord, 1);
record!(ToldUpdate, 1);
record!(CleanupRecord, 1);
record!(EditionRecord, 1);
record!(ContentSha1, 1);
record!(WithdrawnRecord, 1);
record!(FileFacts, 1);
record!(ConflictsRecord, 1);
record!(Want, 1);
record!(DownloadTask, 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::guid::Guid;

    #[test]
    fn version_one_keeps_its_bytes() {
        let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
        let root = Root([0x11; 32]);
        let r = "11".repeat(32);
        let holding = HoldingRecord { root, size: 1, modified_ns: 2, inode: 3, listed: true };
        assert_eq!(hex(holding.encode().unwrap()), format!("01{r}01040301"));
        let missing = MissingRecord { root, size: 1, modified: 2 };
        assert_eq!(hex(missing.encode().unwrap()), format!("01{r}0104"));
        let log = LogRecord { namespace: Namespace::members(), key: vec![1], body: Some(vec![2]) };
        assert_eq!(hex(log.encode().unwrap()), "01076d656d6265727301010101".to_owned() + "02");
        let totals = Totals { files: 1, unlisted_bytes: 8, ..Totals::default() };
        assert_eq!(hex(totals.encode().unwrap()), "010100000000000008");
        let damage = DamageRecord { root, groups: 1, found_at: 2 };
        assert_eq!(hex(damage.encode().unwrap()), format!("01{r}0102"));
        let damages = DamageTotals { found_files: 1, found_groups: 2, healed_files: 3, healed_groups: 4 };
        assert_eq!(hex(damages.encode().unwrap()), "0101020304");
        let last = Some((FolderName::new("w").unwrap(), FileName::new("a").unwrap()));
        let scrub = ScrubRecord { began_at: 1, last, files: 2, bytes: 3, bad_files: 4, ..ScrubRecord::default() };
        assert_eq!(hex(scrub.encode().unwrap()), "0101010177016102".to_owned() + "03040000");
        let ended = ScrubRecord { ended_at: Some(5), before_ended_at: Some(6), ..ScrubRecord::default() };
        assert_eq!(hex(ended.encode().unwrap()), "010000000000".to_owned() + "01050106");
        let invite = InviteRecord { name: "a".into(), site: "b".into(), folders: vec![], expires_at: 5, used_by: None };
        assert_eq!(hex(invite.encode().unwrap()), "01016101620005".to_owned() + "00");
        let audit = AuditRecord { at: 1, who: "a".into(), what: "b".into() };
        assert_eq!(hex(audit.encode().unwrap()), "010101610162");
        let job = JobRecordV1 { started_at: 1, finished_at: None, outcome: "b".into() };
        let bytes = versioned::encode(1, &job).unwrap();
        assert_eq!(hex(bytes.clone()), "0101000162");
        let read = JobRecord { started_at: 1, finished_at: None, outcome: "b".into(), failed: false };
        assert_eq!(JobRecord::decode(&bytes).unwrap(), read);
        let ask = AskRecord { first: 1, last: 2, times: 3 };
        assert_eq!(hex(ask.encode().unwrap()), "01010203");
        let used = UseRecord { arrived_at: 1, asked_at: Some(2) };
        assert_eq!(hex(used.encode().unwrap()), "01010102");
        assert_eq!(hex(HeardRecord { at: 128 }.encode().unwrap()), "018001");
        let key = HostKeyRecordV1 { key: HostKey([0x11; 32]), standing: HostStanding::Enrolled, since: 3 };
        let bytes = versioned::encode(1, &key).unwrap();
        assert_eq!(hex(bytes.clone()), format!("01{r}0103"));
        assert_eq!(HostKeyRecord::decode(&bytes).unwrap().from, ReportedFrom::Unknown);
        let token = HostTokenRecord { key: [0x11; 32], expires_at: 1, uses_left: 2 };
        assert_eq!(hex(token.encode().unwrap()), format!("01{r}0102"));
        let gone = (FolderName::new("w").unwrap(), FileName::new("a").unwrap(), 3);
        let cleanup = CleanupRecord { at: 1, files: vec![gone], undone_at: None };
        assert_eq!(hex(cleanup.encode().unwrap()), "01010101770161".to_owned() + "0300");
        let id = EditionId { package_id: Guid([0x22; 16]), created: 1 };
        let edition =
            EditionRecord { id, root, origin_size: 2, origin_modified: Some(3), updates: 4, files: 5, indexed_at: 6 };
        assert_eq!(hex(edition.encode().unwrap()), format!("01{}02{r}020106040506", "22".repeat(16)));
        let sha1 = ContentSha1 { root, sha1: Sha1([0x33; 20]) };
        assert_eq!(hex(sha1.encode().unwrap()), format!("01{r}{}", "33".repeat(20)));
        let withdrawn = WithdrawnRecord { root, size: 1, modified: 2, at: 3 };
        assert_eq!(hex(withdrawn.encode().unwrap()), format!("01{r}010403"));
    }

    #[test]
    fn refreshes_of_version_one_are_read_and_those_of_version_two_keep_their_bytes() {
        let record = |outcome, oddities: &[&str]| RefreshRecord {
            started_at: 1,
            finished_at: 2,
            forced: true,
            cab_modified: Some(3),
            cab_size: None,
            outcome,
            oddities: oddities.iter().map(|odd| (*odd).to_owned()).collect(),
        };
        for (hex, outcome) in [
            ("0101020101060000", RefreshOutcome::Skipped),
            ("0101020101060001", RefreshOutcome::Published),
            ("01010201010600020178", RefreshOutcome::Failed("x".to_owned())),
        ] {
            let stored = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
            assert_eq!(RefreshRecord::decode(&stored).unwrap(), record(outcome, &[]), "{hex}");
        }
        let hex = |record: RefreshRecord| data_encoding::HEXLOWER.encode(&record.encode().unwrap());
        for (outcome, number) in
            [(RefreshOutcome::Withheld, "03"), (RefreshOutcome::RolledBack, "04"), (RefreshOutcome::Found, "05")]
        {
            assert_eq!(hex(record(outcome.clone(), &["x"])), format!("02010201010600{number}010178"));
            let again = record(outcome, &["x"]);
            assert_eq!(RefreshRecord::decode(&again.encode().unwrap()).unwrap(), again);
        }
    }

    #[test]
    fn version_two_keeps_its_bytes() {
        let job = JobRecord { started_at: 1, finished_at: Some(2), outcome: "b".into(), failed: true };
        let bytes = job.encode().unwrap();
        assert_eq!(bytes, [2, 1, 1, 2, 1, b'b', 1]);
        assert_eq!(JobRecord::decode(&bytes).unwrap(), job);
        let from = ReportedFrom::V4([192, 0, 2]);
        let key = HostKeyRecord { key: HostKey([0x11; 32]), standing: HostStanding::Waiting, since: 3, from };
        let bytes = key.encode().unwrap();
        assert_eq!(bytes, [&[2][..], &[0x11; 32], &[0, 3, 1, 192, 0, 2]].concat());
        assert_eq!(HostKeyRecord::decode(&bytes).unwrap(), key);
        for (from, variant) in
            [(ReportedFrom::V6([9; 6]), &[2, 9, 9, 9, 9, 9, 9][..]), (ReportedFrom::Unknown, &[0]), (member(), &MEMBER)]
        {
            let bytes = HostKeyRecord { from, ..key }.encode().unwrap();
            assert_eq!(bytes[35..], *variant);
        }
    }

    const MEMBER: [u8; 33] = {
        let mut bytes = [7; 33];
        bytes[0] = 3;
        bytes
    };

    fn member() -> ReportedFrom {
        ReportedFrom::Member(crate::domain::key::NodeKey([7; 32]))
    }
}
