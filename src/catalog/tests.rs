use super::*;
use crate::{
    base::{random_access::RandomAccess, read_at::ReadAt},
    domain::{
        digest::Root,
        key::NodeKey,
        name::{FileName, FolderName},
        state::{Body, FANOUT, Namespace, inner_hash, root_of_entries},
    },
};
use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Bytes, and whether they refuse to be written.
#[derive(Default)]
pub(super) struct Memory(Mutex<Vec<u8>>, AtomicBool);

impl ReadAt for Memory {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.lock().unwrap().read_at(buf, offset)
    }
}

impl RandomAccess for Memory {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(len as usize, 0);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.load(Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().unwrap()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn index() -> Index {
    Index::open(Arc::new(Memory::default())).unwrap()
}

fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn write<R>(index: &Index, change: impl FnOnce(&mut Batch<'_>) -> Result<R, CatalogError>) -> R {
    index.write(change).unwrap()
}

#[test]
fn the_root_depends_on_the_entries_and_not_on_their_order_or_history() {
    let namespace = Namespace::folder(&folder());
    let (one, other) = (index(), index());
    for i in 0..500u32 {
        write(&one, |batch| batch.entries.put(&namespace, &i.to_be_bytes(), Some(&[1, i as u8])));
    }
    write(&other, |batch| {
        batch.entries.put(&namespace, b"gone again", Some(&[1]))?;
        for i in (0..500u32).rev() {
            batch.entries.put(&namespace, &i.to_be_bytes(), Some(&[1, 0]))?;
            batch.entries.put(&namespace, &i.to_be_bytes(), Some(&[1, i as u8]))?;
        }
        Ok(())
    });
    write(&other, |batch| batch.entries.put(&namespace, b"gone again", None));
    let roots = write(&one, |batch| batch.entries.roots());
    assert_eq!(roots, write(&other, |batch| batch.entries.roots()));
    assert_eq!(roots[&namespace], one.read().unwrap().root_of(&namespace).unwrap());
    let entries = (0..500u32).map(|i| (i.to_be_bytes().to_vec(), vec![1, i as u8])).collect();
    assert_eq!(roots[&namespace], root_of_entries(&entries), "made from scratch it is the same");
    write(&other, |batch| batch.entries.put(&namespace, &7u32.to_be_bytes(), Some(&[1, 8])));
    assert_ne!(roots, write(&other, |batch| batch.entries.roots()));
}

#[test]
fn descending_from_the_root_reaches_the_bucket_of_every_entry() {
    let (index, namespace) = (index(), Namespace::members());
    write(&index, |batch| batch.entries.put(&namespace, b"key", Some(&Body::Value(vec![1]).encode())));
    let snapshot = index.read().unwrap();
    let inner = snapshot.inner_nodes(&namespace).unwrap();
    let at = (0..FANOUT).find(|i| inner[*i] != [0; 32]).unwrap();
    let buckets = snapshot.buckets_of(&namespace, at as u8).unwrap();
    assert_eq!(inner_hash(&buckets), inner[at]);
    let bucket = (0..FANOUT).find(|i| buckets[*i] != [0; 32]).unwrap();
    let entries = snapshot.bucket(&namespace, (at * FANOUT + bucket) as u16).unwrap();
    assert_eq!(entries, [(b"key".to_vec(), vec![1, 1])]);
}

#[test]
fn a_namespace_that_lost_its_last_entry_has_no_root() {
    let (index, namespace) = (index(), Namespace::members());
    write(&index, |batch| batch.entries.put(&namespace, b"key", Some(&[1])));
    write(&index, |batch| batch.entries.put(&namespace, b"key", None));
    assert!(write(&index, |batch| batch.entries.roots()).is_empty());
}

#[test]
fn sums_follow_the_rows() {
    let (index, folder) = (index(), folder());
    let held = HoldingRecord { root: Root([1; 32]), size: 10, modified_ns: 0, inode: 1, listed: true };
    let wanted = MissingRecord { root: Root([2; 32]), size: 7, modified: 0 };
    write(&index, |batch| {
        batch.files.put_holding(&folder, &name("a"), &held)?;
        batch.files.put_holding(&folder, &name("a"), &HoldingRecord { size: 20, ..held })?;
        batch.files.put_holding(&folder, &name("extra"), &HoldingRecord { listed: false, ..held })?;
        batch.files.set_missing(&folder, &name("b"), Some(&wanted))?;
        batch.files.set_missing(&folder, &name("b"), Some(&MissingRecord { size: 8, ..wanted }))?;
        batch.files.note_indexed(&folder, None, Some(20))
    });
    let totals = index.read().unwrap().totals(&folder).unwrap();
    let expected = Totals {
        files: 1,
        bytes: 20,
        held_files: 1,
        held_bytes: 20,
        missing_files: 1,
        missing_bytes: 8,
        unlisted_files: 1,
        unlisted_bytes: 10,
    };
    assert_eq!(totals, expected);
    write(&index, |batch| {
        batch.files.remove_holding(&folder, &name("a"))?;
        batch.files.remove_holding(&folder, &name("never there"))?;
        batch.files.remove_holding(&folder, &name("extra"))?;
        batch.files.set_missing(&folder, &name("b"), None)?;
        batch.files.note_indexed(&folder, Some(20), None)
    });
    assert_eq!(index.read().unwrap().totals(&folder).unwrap(), Totals::default());
}

#[test]
fn content_is_found_by_its_root_under_every_name_that_holds_it() {
    let (index, folder) = (index(), folder());
    let held = HoldingRecord { root: Root([1; 32]), size: 10, modified_ns: 0, inode: 1, listed: true };
    write(&index, |batch| {
        batch.files.put_holding(&folder, &name("b"), &held)?;
        batch.files.put_holding(&folder, &name("a"), &held)?;
        batch.files.put_holding(&folder, &name("c"), &HoldingRecord { root: Root([3; 32]), ..held })
    });
    let snapshot = index.read().unwrap();
    assert_eq!(
        snapshot.holders(&Root([1; 32]), 9).unwrap(),
        [(folder.clone(), name("a")), (folder.clone(), name("b"))]
    );
    assert_eq!(snapshot.holders(&Root([2; 32]), 9).unwrap(), []);
    write(&index, |batch| {
        batch.files.put_holding(&folder, &name("a"), &HoldingRecord { root: Root([4; 32]), ..held })?;
        batch.files.put_holding(&folder, &name("a"), &HoldingRecord { root: Root([5; 32]), ..held })?;
        batch.files.put_holding(&folder, &name("d"), &held)?;
        batch.files.remove_holding(&folder, &name("d"))
    });
    let snapshot = index.read().unwrap();
    assert_eq!(snapshot.holders(&Root([1; 32]), 9).unwrap(), [(folder.clone(), name("b"))]);
    assert_eq!(snapshot.holders(&Root([4; 32]), 9).unwrap(), []);
    assert_eq!(snapshot.holders(&Root([5; 32]), 9).unwrap(), [(folder, name("a"))]);
}

#[test]
fn what_is_put_and_cleared_by_one_change_is_cleared() {
    let (index, folder) = (index(), folder());
    write(&index, |batch| {
        batch.files.put_intent(&folder, &name("a"))?;
        batch.files.put_intent(&folder, &name("b"))?;
        batch.files.clear_intent(&folder, &name("a"))
    });
    assert_eq!(index.read().unwrap().intents_after(None, 9).unwrap(), [(folder, name("b"))]);
}

#[test]
fn damage_stands_until_the_content_is_held_again_or_wanted_no_longer() {
    let (index, folder) = (index(), folder());
    let held = HoldingRecord { root: Root([1; 32]), size: 10, modified_ns: 0, inode: 1, listed: true };
    let wanted = MissingRecord { root: held.root, size: 10, modified: 0 };
    let damage = DamageRecord { root: held.root, groups: 3, found_at: 7 };
    let standing = || {
        let damaged = index.read().unwrap().damaged_after(&folder, None, 9).unwrap();
        damaged.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    for file in ["gone", "healed", "replaced"] {
        write(&index, |batch| {
            batch.files.put_holding(&folder, &name(file), &held)?;
            batch.files.remove_holding(&folder, &name(file))?;
            batch.files.set_missing(&folder, &name(file), Some(&wanted))?;
            batch.put_damage(&folder, &name(file), &damage, true)
        });
    }
    write(&index, |batch| batch.put_damage(&folder, &name("unlisted"), &damage, false));
    assert_eq!(standing(), ["gone", "healed", "replaced"]);
    assert_eq!(index.read().unwrap().damaged(&folder).unwrap(), (3, Some(7)));
    write(&index, |batch| batch.files.set_missing(&folder, &name("gone"), None));
    write(&index, |batch| {
        batch.files.set_missing(&folder, &name("healed"), None)?;
        batch.files.put_holding(&folder, &name("healed"), &held)
    });
    write(&index, |batch| {
        batch.files.set_missing(&folder, &name("replaced"), Some(&MissingRecord { size: 11, ..wanted }))
    });
    assert_eq!(standing(), ["replaced"]);
    write(&index, |batch| {
        batch.files.set_missing(&folder, &name("replaced"), None)?;
        batch.files.put_holding(&folder, &name("replaced"), &HoldingRecord { root: Root([2; 32]), ..held })
    });
    assert_eq!(standing(), [""; 0]);
    let totals = DamageTotals { found_files: 4, found_groups: 12, healed_files: 1, healed_groups: 3 };
    assert_eq!(index.read().unwrap().damage_totals().unwrap(), totals);
}

#[test]
fn files_are_paged_by_name() {
    let (index, folder) = (index(), folder());
    let held = HoldingRecord { root: Root([1; 32]), size: 10, modified_ns: 0, inode: 1, listed: true };
    write(&index, |batch| {
        ["c", "a", "b"].iter().try_for_each(|text| batch.files.put_holding(&folder, &name(text), &held))
    });
    let snapshot = index.read().unwrap();
    let names = |after: Option<&str>, most| -> Vec<String> {
        let after = after.map(name);
        let page = snapshot.holdings_after(&folder, after.as_ref(), most).unwrap();
        page.into_iter().map(|(name, _)| name.to_string()).collect()
    };
    assert_eq!(names(None, 2), ["a", "b"]);
    assert_eq!(names(Some("b"), 2), ["c"]);
    assert_eq!(names(Some("aa"), 9), ["b", "c"]);
}

#[test]
fn a_failed_change_leaves_nothing_behind() {
    let (index, namespace) = (index(), Namespace::members());
    let before = index.writes();
    let failed: Result<(), CatalogError> = index.write(|batch| {
        batch.entries.put(&namespace, b"key", Some(&[1]))?;
        batch.set_head(b"head")?;
        Err(CatalogError::Damaged("test"))
    });
    assert!(failed.is_err());
    assert_eq!(index.writes(), before + 1, "whoever kept rows reads them again");
    let snapshot = index.read().unwrap();
    assert_eq!((snapshot.entry(&namespace, b"key").unwrap(), snapshot.head().unwrap()), (None, None));
}

#[test]
fn the_tables_are_opened_once_for_each_commit_and_the_newest_is_read() {
    let index = index();
    let before = index.read().unwrap();
    assert!(Arc::ptr_eq(&before, &index.read().unwrap()));
    write(&index, |batch| batch.set_meta("word", b"new"));
    let after = index.read().unwrap();
    assert_eq!(after.meta("word").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(before.meta("word").unwrap(), None, "what was read stays as it was");
}

#[test]
fn the_log_is_read_from_any_point_and_trimmed_from_the_front() {
    let index = index();
    let record = |i: u8| LogRecord { namespace: Namespace::members(), key: vec![i], body: None };
    write(&index, |batch| (1..=5).try_for_each(|i| batch.append_log(u64::from(i), &record(i))));
    write(&index, |batch| batch.trim_log(2));
    write(&index, |batch| batch.trim_log(1));
    let snapshot = index.read().unwrap();
    assert_eq!(snapshot.log_base().unwrap(), 2);
    let seqs: Vec<_> = snapshot.log_after(0, 9).unwrap().into_iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [3, 4, 5]);
    write(&index, |batch| batch.clear_log(9));
    let snapshot = index.read().unwrap();
    assert_eq!((snapshot.log_base().unwrap(), snapshot.log_after(0, 9).unwrap()), (9, vec![]));
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let file = Arc::new(Memory::default());
    drop(Index::open(file.clone()).unwrap());
    let database =
        redb::Database::builder().create_with_backend(backend::Backend::new(file.clone(), Arc::default())).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert("version", 2u64.to_be_bytes().as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(Index::open(file), Err(OpenCatalogError::Newer { found: 2, known: 1 })));
}

#[test]
fn a_database_whose_disk_takes_no_writes_is_read_and_written_again_when_it_does() {
    let (file, namespace) = (Arc::new(Memory::default()), Namespace::members());
    let index = Index::open(file.clone()).unwrap();
    write(&index, |batch| batch.entries.put(&namespace, b"key", Some(&[1])));
    let is_there = |key: &[u8]| index.read().unwrap().entry(&namespace, key).unwrap().is_some();
    file.1.store(true, Relaxed);
    for _ in 0..3 {
        let refused = index.write(|batch| batch.entries.put(&namespace, b"late", Some(&[1])).map(drop));
        assert!(refused.is_err());
        assert!(is_there(b"key") && !is_there(b"late"));
    }
    file.1.store(false, Relaxed);
    assert!(is_there(b"key"));
    write(&index, |batch| batch.entries.put(&namespace, b"late", Some(&[1])));
    assert!(is_there(b"key") && is_there(b"late"));
    drop(index);
    let index = Index::open(file).unwrap();
    assert!(index.read().unwrap().entry(&namespace, b"late").unwrap().is_some());
}

#[test]
fn a_pairing_secret_is_good_once() {
    let ledger = Ledger::open(Arc::new(Memory::default())).unwrap();
    let invite =
        InviteRecord { name: "lyon".into(), site: "lyon".into(), folders: vec![], expires_at: 100, used_by: None };
    let (secret, late) = ([1; 32], [2; 32]);
    ledger.put_invite(&secret, &invite, 50).unwrap();
    ledger.put_invite(&late, &invite, 50).unwrap();
    let (node, other) = (NodeKey([7; 32]), NodeKey([8; 32]));
    assert!(matches!(ledger.consume_invite(&secret, &node, 99).unwrap(), InviteState::Consumed(_)));
    let again = |key| ledger.consume_invite(&secret, key, 99).unwrap();
    assert!(matches!(again(&node), InviteState::Used { same_node: true, .. }));
    assert!(matches!(again(&other), InviteState::Used { same_node: false, .. }));
    assert_eq!(ledger.consume_invite(&late, &node, 100).unwrap(), InviteState::Expired);
    assert_eq!(ledger.consume_invite(&[9; 32], &node, 0).unwrap(), InviteState::Unknown);
}

#[test]
fn a_copy_of_the_ledger_is_whole_and_apart_from_it() {
    let ledger = Ledger::open(Arc::new(Memory::default())).unwrap();
    let audit = |what: &str| ledger.audit(&AuditRecord { at: 1, who: "x".into(), what: what.into() }).unwrap();
    (0..50).for_each(|n| audit(&format!("act {n}")));
    let file = Arc::new(Memory::default());
    ledger.copy_to(file.clone()).unwrap();
    audit("later");
    let copy = Ledger::open(file).unwrap();
    let last = |ledger: &Ledger| ledger.last_audit(100).unwrap();
    assert_eq!((last(&copy).len(), last(&copy)[0].what.as_str()), (50, "act 49"));
    assert_eq!(last(&ledger)[0].what, "later", "the original goes on");
}
