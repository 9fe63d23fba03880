use super::*;
use crate::{
    catalog::{AuditRecord, TaskLimit, backend::Backend, tests::Memory},
    domain::{
        digest::{Sha1, Sha256},
        member::NodeName,
        origin::OriginUrl,
        wants::{DownloadTask, TaskEnd, TaskKind, TaskResult},
    },
};
use std::{collections::BTreeSet, sync::Arc};

const NOW: u64 = 2_000_000_000;

fn ledger() -> Ledger {
    Ledger::open(Arc::new(Memory::default())).unwrap()
}

fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn place(text: &str) -> FilePlace {
    (folder(), name(text))
}

fn url(text: &str) -> OriginUrl {
    OriginUrl::new(text).unwrap()
}

fn update(n: u32) -> UpdateId {
    UpdateId::new([7; 16], n)
}

fn member() -> Asker {
    Asker::Member { name: NodeName::new("lyon").unwrap() }
}

fn admin() -> Asker {
    Asker::Administrator { uid: Some(0) }
}

fn claim(file: &str, updates: &[u32]) -> FileClaim {
    let updates = updates.iter().map(|n| update(*n)).collect();
    FileClaim { updates, sha1: Some(Sha1([1; 20])), ..FileClaim::of_url(url(&format!("http://h/{file}"))) }
}

fn ask(ledger: &Ledger, claim: FileClaim) -> AskOutcome {
    ledger.ask(&[(folder(), claim)], &member(), NOW, WantLimit::default()).unwrap().remove(0)
}

fn names(rows: &[WantRow]) -> Vec<&str> {
    rows.iter().map(|row| row.file.name.as_str()).collect()
}

#[test]
fn what_was_asked_is_there_after_a_restart_with_its_updates_askers_and_tasks() {
    let file = Arc::new(Memory::default());
    let ledger = Ledger::open(file.clone()).unwrap();
    ask(&ledger, claim("a.cab", &[1, 2]));
    ledger.ask(&[(folder(), claim("a.cab", &[3]))], &admin(), NOW + 5, WantLimit::default()).unwrap();
    ask(&ledger, claim("b.cab", &[2]));
    let begin = |file: &str| {
        let url = url(&format!("http://h/{file}"));
        ledger.begin_task(TaskKind::Want, &folder(), &name(file), &url, NOW, TaskLimit::default()).unwrap()
    };
    assert_eq!((begin("a.cab"), begin("a.cab"), begin("b.cab")), (Some(0), None, Some(1)));
    ledger.end_task(0, &TaskResult::Failed("no route".into()), 7, NOW + 9).unwrap();
    drop(ledger);
    let ledger = Ledger::open(file).unwrap();
    ledger.interrupt_tasks(NOW + 20).unwrap();
    let rows = ledger.wants_after(None, 9).unwrap();
    assert_eq!(names(&rows), ["a.cab", "b.cab"]);
    let a = &rows[0];
    assert_eq!(a.file.facts.updates, BTreeSet::from([update(1), update(2), update(3)]));
    assert_eq!((a.want.times, a.want.first_asked, a.want.last_asked), (2, NOW, NOW + 5));
    assert_eq!(a.want.askers.keys().cloned().collect::<Vec<_>>(), [admin(), member()]);
    assert_eq!((a.want.failures, a.want.last_error.as_deref()), (1, Some("no route")));
    assert_eq!((rows[1].want.running, rows[1].want.failures), (None, 0), "an interruption is no failure");
    let ends: Vec<_> = ledger.last_tasks(9).unwrap().into_iter().map(|(id, task)| (id, task.end)).collect();
    let failed = TaskEnd::Failed { at: NOW + 9, error: "no route".into() };
    assert_eq!(ends, [(1, TaskEnd::Interrupted { at: NOW + 20 }), (0, failed)]);
}

#[test]
fn updates_that_share_a_file_share_it_until_the_last_of_them_is_forgotten() {
    let ledger = ledger();
    ask(&ledger, claim("shared.cab", &[1, 2]));
    ask(&ledger, claim("own.cab", &[1]));
    assert_eq!(ledger.files_of_update(update(1), 9).unwrap(), [place("own.cab"), place("shared.cab")]);
    let forgotten = ledger.forget_update(update(1)).unwrap();
    assert_eq!(forgotten, Forgotten { files: vec![place("own.cab")], shared: vec![place("shared.cab")] });
    assert_eq!(names(&ledger.wants_after(None, 9).unwrap()), ["shared.cab"]);
    assert_eq!(ledger.files_of_update(update(1), 9).unwrap(), []);
    assert_eq!(ledger.files_of_update(update(2), 9).unwrap(), [place("shared.cab")]);
    assert_eq!(ledger.forget_update(update(1)).unwrap(), Forgotten::default());
    ledger.forget_update(update(2)).unwrap();
    assert_eq!(ledger.wants_after(None, 9).unwrap(), []);
}

#[test]
fn another_content_under_one_name_is_listed_and_the_first_stays_until_it_is_forgotten() {
    let ledger = ledger();
    ask(&ledger, claim("a.cab", &[1]));
    let other = |n: u8| FileClaim { sha1: Some(Sha1([n; 20])), ..claim("a.cab", &[2]) };
    for n in [2, 3, 2] {
        assert!(matches!(ask(&ledger, other(n)), AskOutcome::Refused(MergeError::Conflict { .. })));
    }
    let rows = ledger.wants_after(None, 9).unwrap();
    let row = &rows[0];
    assert_eq!((row.file.facts.sha1, row.want.times), (Some(Sha1([1; 20])), 1));
    assert_eq!(row.file.facts.updates, BTreeSet::from([update(1)]));
    let claimed: Vec<_> = row.conflicts.iter().map(|conflict| conflict.sha1).collect();
    assert_eq!(claimed, [Some(Sha1([2; 20])), Some(Sha1([3; 20]))]);
    (4..50).for_each(|n| drop(ask(&ledger, other(n))));
    assert_eq!(ledger.wants_after(None, 9).unwrap()[0].conflicts.len(), FILE_CONFLICTS);
    assert_eq!(ledger.conflicting_files().unwrap(), 1);
    assert!(ledger.forget_file(&folder(), &name("a.cab")).unwrap());
    assert!(!ledger.forget_file(&folder(), &name("a.cab")).unwrap());
    assert!(matches!(ask(&ledger, other(2)), AskOutcome::Wanted { is_new: true, .. }));
    assert_eq!(ledger.conflicting_files().unwrap(), 0);
}

#[test]
fn at_the_limit_known_files_are_asked_for_and_new_ones_are_not_taken() {
    let ledger = ledger();
    let limit = WantLimit { files: 2, wants: 2 };
    let ask = |file: &str| ledger.ask(&[(folder(), claim(file, &[]))], &member(), NOW, limit).unwrap().remove(0);
    assert!(matches!(ask("a"), AskOutcome::Wanted { .. }));
    assert!(matches!(ask("b"), AskOutcome::Wanted { .. }));
    assert_eq!(ask("c"), AskOutcome::Full);
    assert!(matches!(ask("b"), AskOutcome::Wanted { is_new: false, .. }));
    assert_eq!(ledger.known_file(&folder(), &name("c")).unwrap(), None);
    let fewer = WantLimit { files: 9, wants: 2 };
    let none = ledger.ask(&[(folder(), claim("c", &[]))], &member(), NOW, fewer).unwrap();
    assert_eq!((none, ledger.known_file(&folder(), &name("c")).unwrap()), (vec![AskOutcome::Full], None));
    ledger.drop_wants(&[place("a")]).unwrap();
    assert!(ledger.ask_known(&folder(), &name("a"), &[admin()], NOW, fewer).unwrap(), "what is known is asked by name");
    assert!(!ledger.ask_known(&folder(), &name("c"), &[admin()], NOW, fewer).unwrap());
}

#[test]
fn tasks_beyond_the_limit_go_and_those_that_go_on_stay() {
    let ledger = ledger();
    let limit = TaskLimit { rows: 3, seconds: 100 };
    let begin = |file: &str, at| {
        let begun = ledger.begin_task(TaskKind::Miss, &folder(), &name(file), &url("http://h/x"), at, limit);
        begun.unwrap().unwrap()
    };
    let kept = || ledger.last_tasks(99).unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let running = begin("goes on", NOW);
    for n in 1..6 {
        let id = begin("ends", NOW + n);
        ledger.end_task(id, &TaskResult::Done, 1, NOW + n).unwrap();
    }
    assert_eq!(kept(), [5, 4, 3, running]);
    begin("late", NOW + 104);
    assert_eq!(kept(), [6, 5, 4, running]);
    begin("later", NOW + 1_000);
    assert_eq!(kept(), [7, 6, running]);
    ledger.end_task(running, &TaskResult::Done, 9, NOW).unwrap();
    ledger.end_task(running, &TaskResult::failed("late words"), 0, NOW).unwrap();
    assert_eq!(ledger.last_tasks(9).unwrap().last().unwrap().1.end, TaskEnd::Done { at: NOW }, "it ended once");
}

#[test]
fn a_ledger_from_before_there_were_wants_opens_without_loss_and_takes_them() {
    let file = Arc::new(Memory::default());
    let ledger = Ledger::open(file.clone()).unwrap();
    ledger.audit(&AuditRecord { at: 1, who: "x".into(), what: "old".into() }).unwrap();
    drop(ledger);
    let database = redb::Database::builder().create_with_backend(Backend::new(file.clone(), Arc::default())).unwrap();
    let transaction = database.begin_write().unwrap();
    for table in [tables::FILES, tables::CONFLICTS, tables::WANTS] {
        assert!(transaction.delete_table(table).unwrap());
    }
    assert!(transaction.delete_table(tables::TASKS).unwrap());
    assert!(transaction.delete_table(tables::UPDATE_FILES).unwrap());
    transaction.commit().unwrap();
    drop(database);
    let ledger = Ledger::open(file).unwrap();
    assert_eq!(ledger.last_audit(9).unwrap()[0].what, "old");
    assert_eq!(ledger.wants_after(None, 9).unwrap(), []);
    ask(&ledger, claim("a.cab", &[1]));
    assert_eq!(names(&ledger.wants_after(None, 9).unwrap()), ["a.cab"]);
}

#[test]
fn wants_are_paged_and_a_copy_of_the_ledger_has_them() {
    let ledger = ledger();
    ["c", "a", "b"].iter().for_each(|file| drop(ask(&ledger, claim(file, &[]))));
    assert_eq!(names(&ledger.wants_after(None, 2).unwrap()), ["a", "b"]);
    assert_eq!(names(&ledger.wants_after(Some(&place("b")), 2).unwrap()), ["c"]);
    let copy = Arc::new(Memory::default());
    ledger.copy_to(copy.clone()).unwrap();
    assert_eq!(names(&Ledger::open(copy).unwrap().wants_after(None, 9).unwrap()), ["a", "b", "c"]);
}

#[test]
fn version_one_keeps_its_bytes() {
    let hex = |bytes: Vec<u8>| data_encoding::HEXLOWER.encode(&bytes);
    let (a, b) = ("11".repeat(20), "22".repeat(32));
    let url_bytes = "0a".to_owned() + &data_encoding::HEXLOWER.encode(b"http://h/x");
    let claim = FileClaim {
        size: Some(5),
        sha1: Some(Sha1([0x11; 20])),
        sha256: Some(Sha256([0x22; 32])),
        updates: BTreeSet::from([UpdateId::new([0x33; 16], 2)]),
        ..FileClaim::of_url(url("http://h/x"))
    };
    let facts = merge(None, &claim, 9).unwrap();
    let update = "33".repeat(16) + "02";
    assert_eq!(hex(facts.encode().unwrap()), format!("0101{url_bytes}09010501{a}01{b}01{update}09"));
    assert_eq!(FileFacts::decode(&facts.encode().unwrap()).unwrap(), facts);
    let conflicts = ConflictsRecord(vec![Conflict::new(&claim, &Asker::Administrator { uid: None }, 7)]);
    assert_eq!(hex(conflicts.encode().unwrap()), format!("0101{url_bytes}010501{a}01{b}00000707"));
    let mut want = Want::new(&Asker::Administrator { uid: Some(3) }, 7);
    assert_eq!(hex(want.encode().unwrap()), "010100010307070701000000".to_owned() + "00");
    let host = Asker::Host { name: crate::domain::member::HostName::new("h").unwrap(), site: None };
    (want.askers, want.running) = ([(host, 1), (member(), 2)].into(), Some(4));
    want.on_task_end(&TaskResult::Failed("no".into()), 8);
    want.running = Some(4);
    let askers = "020101680001".to_owned() + "02046c796f6e02";
    assert_eq!(hex(want.encode().unwrap()), format!("01{askers}07070101040101080102{}", "6e6f"));
    let task = DownloadTask {
        kind: TaskKind::Miss,
        folder: FolderName::new("w").unwrap(),
        name: name("x"),
        url: url("http://h/x"),
        started_at: 1,
        size: Some(2),
        received: 3,
        end: TaskEnd::Running,
    };
    let before_end = format!("01010177{}{url_bytes}010102", "0178");
    assert_eq!(hex(task.encode().unwrap()), format!("{before_end}0300"));
    let ends = [TaskResult::Done, TaskResult::Failed("no".into()), TaskResult::Interrupted].map(|result| {
        let mut task = task.clone();
        task.on_end(&result, 3, 9);
        hex(task.encode().unwrap())
    });
    assert_eq!(ends, ["0109", "0209026e6f", "0309"].map(|end| format!("{before_end}03{end}")));
}
