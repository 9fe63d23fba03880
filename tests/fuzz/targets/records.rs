//! Stored and signed records: what is read is written again as the same, and is no longer than it was.

use std::fmt::Debug;
use wuasync::{
    catalog::{AuditRecord, ConflictsRecord, HoldingRecord, InviteRecord, JobRecord, LogRecord, MissingRecord, Totals},
    domain::{
        file::FileRecord,
        member::{MAX_ADDRESSES, MAX_MEMBER_BYTES, MAX_MEMBER_FOLDERS, MemberRecord},
        state::Body,
        wants::{DownloadTask, FileFacts, Want},
    },
};

/// The bytes of any record; each kind tries them.
pub fn records(data: &[u8]) {
    reads_back(data, AuditRecord::decode, AuditRecord::encode);
    reads_back(data, FileRecord::decode, FileRecord::encode);
    reads_back(data, HoldingRecord::decode, HoldingRecord::encode);
    reads_back(data, InviteRecord::decode, InviteRecord::encode);
    reads_back(data, JobRecord::decode, JobRecord::encode);
    reads_back(data, LogRecord::decode, LogRecord::encode);
    reads_back(data, MissingRecord::decode, MissingRecord::encode);
    reads_back(data, Totals::decode, Totals::encode);
    reads_back(data, MemberRecord::decode, MemberRecord::encode);
    reads_back(data, FileFacts::decode, FileFacts::encode);
    reads_back(data, ConflictsRecord::decode, ConflictsRecord::encode);
    reads_back(data, Want::decode, Want::encode);
    reads_back(data, DownloadTask::decode, DownloadTask::encode);
    member(data);
    body(data);
}

fn reads_back<T: PartialEq + Debug, R: Debug, W: Debug>(
    data: &[u8],
    decode: fn(&[u8]) -> Result<T, R>,
    encode: fn(&T) -> Result<Vec<u8>, W>,
) {
    let Ok(record) = decode(data) else { return };
    let again = encode(&record).expect("what was read can be written");
    // A record of an earlier version is written as one of this, which may say more.
    let is_same_version = again.first() == data.first();
    assert!(again.len() <= data.len() || !is_same_version, "{record:?} grew");
    assert_eq!(decode(&again).expect("what was written can be read"), record);
}

fn member(data: &[u8]) {
    let Ok(member) = MemberRecord::decode(data) else { return };
    assert!(data.len() <= MAX_MEMBER_BYTES);
    assert!(member.folders.len() <= MAX_MEMBER_FOLDERS && member.addresses.len() <= MAX_ADDRESSES);
    assert_eq!(member.is_valid_at(u64::MAX), member.expires_at.is_none());
}

fn body(data: &[u8]) {
    let Ok(body) = Body::decode(data) else {
        assert!(Body::value_of(data).is_none(), "a value inside of no body");
        return;
    };
    assert_eq!(body.encode(), data);
    let value = match &body {
        Body::Value(value) => Some(&value[..]),
        Body::Tombstone { .. } => None,
    };
    assert_eq!(Body::value_of(data), value);
}
