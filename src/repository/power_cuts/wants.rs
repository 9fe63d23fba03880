//! Power cuts while wants come and go: what was answered stays true.

use super::*;
use crate::{
    catalog::AskOutcome,
    domain::{
        origin::OriginUrl,
        wants::{Asker, FileClaim, TaskKind, TaskResult, WantState},
    },
    repository::testing::{NOW, folder, name},
};
use std::cell::RefCell;

const KB: &str = "kb_da39a3ee5e6b4b0d3255bfef95601890afd80709.cab";

#[test]
fn a_want_its_failure_and_its_forgetting_stay_once_they_were_answered_after_any_power_cut() {
    let prepared = disk_with(&[]);
    drop(open(&prepared, Role::Main).unwrap());
    let url = OriginUrl::new(&format!("http://h/{KB}")).unwrap();
    let claim = (folder(), FileClaim::of_url(url.clone()));
    let answered = RefCell::new(Vec::new());
    let work = |disk: &SimulatedDisk| -> Done {
        answered.borrow_mut().clear();
        let answer = |what| answered.borrow_mut().push(what);
        let main = open(disk, Role::Main)?;
        let outcomes = main.ask(std::slice::from_ref(&claim), &Asker::Administrator { uid: None })?;
        assert!(matches!(outcomes[..], [AskOutcome::Wanted { is_new: true, .. }]));
        answer("wanted");
        let task = main.begin_task(TaskKind::Want, &folder(), &name(KB), &url)?;
        answer("begun");
        main.end_task(task.unwrap(), &TaskResult::failed("no"), 0)?;
        answer("failed");
        main.forget_file(&folder(), &name(KB))?;
        answer("forgotten");
        Ok(())
    };
    at_every_power_cut(&prepared, Role::Main, work, |_, main, _| {
        let answered = answered.borrow();
        let was = |what| answered.contains(&what);
        let wants = main.wants_after(None, 9).unwrap();
        let waits = WantState::Waiting { until: NOW + 300 };
        match wants.as_slice() {
            [] => assert!(!was("wanted") || was("failed"), "{answered:?}"),
            [want] => {
                assert!(!was("forgotten"));
                assert!(want.state == waits || want.state == WantState::Due && !was("failed"), "{:?}", want.state);
            }
            more => panic!("{more:?}"),
        }
        let tasks = main.state().ledger.last_tasks(9).unwrap();
        assert!(tasks.len() <= 1 && (!was("begun") || tasks.len() == 1));
        assert!(!tasks.iter().any(|(_, task)| task.is_running()), "nothing runs that nobody fetches");
    });
}
