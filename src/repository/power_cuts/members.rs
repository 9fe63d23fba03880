//! Power cuts while members come and go: what was answered stays true, in both databases.

use super::*;
use crate::{
    catalog::{AuditRecord, InviteRecord, InviteState},
    domain::{
        key::NodeKey,
        member::{MemberRecord, NodeName, SiteName},
    },
    repository::{Admission, testing::NOW},
};
use std::cell::RefCell;

const SECRET: [u8; 32] = [1; 32];
const LYON: NodeKey = NodeKey([7; 32]);
const OTHER: NodeKey = NodeKey([8; 32]);

fn invitation() -> InviteRecord {
    InviteRecord { name: "lyon".into(), site: "lyon".into(), folders: vec![], expires_at: NOW + 100, used_by: None }
}

fn member() -> MemberRecord {
    MemberRecord {
        key: LYON,
        name: NodeName::new("lyon").unwrap(),
        site: SiteName::new("lyon").unwrap(),
        folders: vec![],
        addresses: vec![],
        role: Role::Secondary,
        joined_at: NOW,
        expires_at: None,
    }
}

#[test]
fn an_invitation_an_admission_and_a_revocation_stay_once_they_were_answered_after_any_power_cut() {
    let prepared = disk_with(&[]);
    drop(open(&prepared, Role::Main).unwrap());
    let answered = RefCell::new(Vec::new());
    let work = |disk: &SimulatedDisk| -> Done {
        answered.borrow_mut().clear();
        let answer = |what| answered.borrow_mut().push(what);
        let main = open(disk, Role::Main)?;
        let ledger = &main.state().ledger;
        ledger.put_invite(&SECRET, &invitation(), NOW)?;
        answer("invited");
        ledger.consume_invite(&SECRET, &LYON, NOW)?;
        answer("consumed");
        main.admit(&member())?;
        answer("admitted");
        ledger.audit(&AuditRecord { at: NOW, who: "uid 0".into(), what: "admitted lyon".into() })?;
        answer("noted");
        main.revoke(&LYON)?;
        answer("revoked");
        Ok(())
    };
    at_every_power_cut(&prepared, Role::Main, work, |_, main, _| {
        let answered = answered.borrow();
        let was = |what| answered.contains(&what);
        let ledger = &main.state().ledger;
        if was("invited") && !was("consumed") {
            assert!(ledger.invite(&SECRET).unwrap().is_some());
        }
        if was("consumed") {
            let used = ledger.consume_invite(&SECRET, &OTHER, NOW).unwrap();
            assert!(matches!(used, InviteState::Used { same_node: false, .. }), "a token is good once: {used:?}");
        }
        let admission = main.admission(&LYON).unwrap();
        let is_out = matches!(admission, Admission::Stranger | Admission::Revoked);
        match (was("admitted"), was("revoked")) {
            (_, true) => assert!(is_out, "{admission:?}"),
            (true, false) => {
                assert!(admission == Admission::Member(member()) || was("noted") && is_out, "{admission:?}")
            }
            (false, false) => {}
        }
        if was("noted") {
            assert_eq!(ledger.last_audit(9).unwrap().len(), 1);
        }
        // A revocation that nobody was told of may be half done.
        let (kept, signed) = (ledger.members().unwrap(), main.members().unwrap());
        let half_done = (kept.is_empty() || signed.is_empty()) && !was("revoked");
        assert!(kept == signed || half_done, "{kept:?} {signed:?}");
        main.revoke(&LYON).unwrap();
        assert_eq!((ledger.members().unwrap(), main.members().unwrap()), (vec![], vec![]));
    });
}
