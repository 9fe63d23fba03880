//! Pairing over the command line, as an administrator does it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

mod processes;

use processes::{Node, contents, http_get, immutable, noise, wait};

#[test]
fn a_token_is_the_last_line_and_joins_with_the_daemon_running() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    let attention = lyon.status()["attention"][0].clone();
    assert!(attention["cure"].as_str().unwrap().contains("wuasync join"), "{attention}");
    let invited = main.ok("pair invite lyon");
    assert!(invited.out.lines().count() == 1 && invited.out.starts_with("wuasync1-"), "{invited:?}");
    assert!(invited.err.contains("wuasync join"), "{invited:?}");
    let joined = lyon.ok(&format!("join {}", invited.out.trim()));
    assert!(joined.out.contains("\"lyon\" and follows 127.0.0.1:"), "{joined:?}");
    lyon.catches_up_with(&main);
    assert_eq!(lyon.status()["attention"], serde_json::json!([]));
    assert_eq!(lyon.status()["parent"]["name"], "paris");
    let bytes = noise(1, 100_000);
    main.write(&immutable("f", &bytes), &bytes);
    lyon.serves(&immutable("f", &bytes), &bytes);
}

#[test]
fn a_token_on_standard_input_joins_with_the_daemon_stopped_and_the_next_start_follows() {
    let main = Node::main("paris").start();
    let mut lyon = Node::secondary("lyon");
    let bytes = noise(1, 100_000);
    main.write(&immutable("f", &bytes), &bytes);
    let invited = main.json("pair invite lyon --site Lyon");
    let joined = lyon.cli_with_input("join - --json", &format!("{}\n", invited["token"].as_str().unwrap()));
    assert_eq!(joined.exit, 0, "{joined:?}");
    let reply: serde_json::Value = serde_json::from_str(&joined.out).unwrap();
    assert_eq!((&reply["name"], &reply["line"]), (&"lyon".into(), &main.status()["line"]));
    lyon.start_again();
    lyon.serves(&immutable("f", &bytes), &bytes);
    lyon.stop();
    lyon.start_again();
    lyon.catches_up_with(&main);
    assert_eq!(contents(&lyon.folder()), contents(&main.folder()));
}

#[test]
fn a_secondary_behind_a_secondary_gets_the_mains_files() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let annecy = Node::secondary("annecy").start();
    let via = lyon.ready()["sync"].as_str().unwrap();
    let token = main.token(&format!("pair invite annecy --via lyon --address {via}"));
    annecy.ok(&format!("join {token}"));
    let bytes = noise(1, 3_000_000);
    main.write(&immutable("f", &bytes), &bytes);
    annecy.serves(&immutable("f", &bytes), &bytes);
    annecy.catches_up_with(&main);
    assert_eq!(annecy.status()["parent"]["name"], "lyon");
    let children = |node: &Node| -> Vec<String> {
        let status = node.status();
        let children = status["children"].as_array().unwrap();
        children.iter().map(|child| child["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((children(&main), children(&lyon)), (vec!["lyon".to_owned()], vec!["annecy".to_owned()]));
    let asked = annecy.ok("sync --wait");
    assert_eq!(asked.out, "every file is here\n");
}

#[test]
fn members_are_listed_and_a_revoked_one_is_cut_off_at_once() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let members = main.json("pair list");
    let named: Vec<_> =
        members.as_array().unwrap().iter().map(|member| (&member["name"], &member["connected"])).collect();
    assert_eq!(named, [(&"lyon".into(), &true.into()), (&"paris".into(), &true.into())]);
    let listed = main.ok("pair list").out;
    assert!(listed.starts_with("NAME ") && listed.contains("\nlyon "), "{listed}");
    // A secondary knows the members too, from the signed state.
    assert_eq!(lyon.json("pair list").as_array().unwrap().len(), 2);

    assert_eq!(main.cli("pair revoke nobody").exit, 1);
    assert_eq!(main.cli("pair revoke paris").exit, 4);
    assert_eq!(lyon.cli("pair revoke paris").exit, 4);
    assert_eq!(main.json("pair revoke lyon")["name"], "lyon");
    wait("lyon is cut off", || {
        let status = lyon.status();
        let cured = status["attention"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["cure"].as_str().unwrap().contains("new token"));
        (cured && status["parent"]["connected"] == false).then_some(())
    });
    let bytes = noise(1, 1_000);
    main.write(&immutable("f", &bytes), &bytes);
    main.serves(&immutable("f", &bytes), &bytes);
    assert_eq!(main.status()["children"], serde_json::json!([]));
    assert_eq!(lyon.get(&immutable("f", &bytes)).0, 503, "nobody can be asked for it");
    assert_eq!(lyon.cli("sync").exit, 1);

    let (_, _, audit) = http_get(main.admin(), "/api/v1/audit");
    let audit: serde_json::Value = serde_json::from_slice(&audit).unwrap();
    assert_eq!(audit[0]["what"], "revoked lyon");
    assert!(audit[0]["who"].as_str().unwrap().starts_with("uid "), "{audit}");

    // A new invitation takes it back.
    lyon.joins(&main);
    lyon.serves(&immutable("f", &bytes), &bytes);
    assert_eq!(lyon.status()["attention"], serde_json::json!([]));
}

#[test]
fn a_used_a_mistyped_and_an_expired_token_are_refused_with_words() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    let nice = Node::secondary("nice").start();
    let token = main.token("pair invite lyon");
    lyon.ok(&format!("join {token}"));
    let used = nice.cli(&format!("join {token}"));
    assert_eq!(used.exit, 4, "{used:?}");
    assert!(used.err.contains("the request to join was refused: the token was used before"), "{used:?}");
    // The node that it was for may ask again: its answer may have been lost.
    lyon.ok(&format!("join {token}"));

    let token = main.token("pair invite nice");
    let mistyped = nice.cli(&format!("join {}", mistype(&token)));
    assert_eq!(mistyped.exit, 2, "{mistyped:?}");
    assert!(mistyped.err.contains("copy it again"), "{mistyped:?}");
    assert_eq!(nice.cli("join hello").exit, 2);
    assert_eq!(nice.cli_with_input("join -", "").exit, 2);

    let short = main.token("pair invite nice --expires 1s");
    // Within its second it may be taken; after it nobody is asked.
    wait("the token expires", || {
        let answer = nice.cli(&format!("join {short}"));
        (answer.exit == 4 && answer.err.contains("expired: by this machine's clock it is 20")).then_some(())
    });
}

#[test]
fn a_join_as_another_user_than_the_states_is_refused_and_the_token_stays_good() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon");
    let token = main.token("pair invite lyon");
    std::fs::create_dir(lyon.state()).unwrap();
    std::os::unix::fs::chown(lyon.state(), Some(1), Some(1)).expect("tests run as root");
    let refused = lyon.cli(&format!("join {token}"));
    assert_eq!(refused.exit, 4, "{refused:?}");
    assert!(refused.err.contains("`runuser -u daemon -- wuasync join -`"), "{refused:?}");
    assert_eq!(std::fs::read_dir(lyon.state()).unwrap().count(), 0, "nothing was written");
    std::os::unix::fs::chown(lyon.state(), Some(0), Some(0)).unwrap();
    lyon.ok(&format!("join {token}"));
}

#[test]
fn a_token_of_another_line_is_refused_and_so_is_any_on_a_main() {
    let paris = Node::main("paris").start();
    let rome = Node::main("rome").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&paris);
    lyon.catches_up_with(&paris);
    let token = rome.token("pair invite lyon");
    let foreign = lyon.cli(&format!("join {token}"));
    assert_eq!(foreign.exit, 4, "{foreign:?}");
    assert!(foreign.err.contains("follows") && foreign.err.contains("state folder"), "{foreign:?}");
    let on_main = paris.cli(&format!("join {token}"));
    assert_eq!(on_main.exit, 4, "{on_main:?}");
    assert!(on_main.err.contains("role"), "{on_main:?}");
    // Neither did any harm.
    lyon.catches_up_with(&paris);
    assert_eq!(lyon.status()["line"], paris.status()["line"]);
}

#[test]
fn invitations_that_make_no_sense_are_refused() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    let by_secondary = lyon.cli("pair invite annecy");
    assert_eq!(by_secondary.exit, 4, "{by_secondary:?}");
    assert!(by_secondary.err.contains("main"), "{by_secondary:?}");
    assert_eq!(main.cli("pair invite annecy --via nobody").exit, 1);
    assert_eq!(main.cli("pair invite annecy --folder other").exit, 1);
    assert_eq!(main.cli("pair invite paris").exit, 4);
    let nowhere = main.cli("pair invite annecy --via lyon");
    assert_eq!(nowhere.exit, 2, "{nowhere:?}");
    assert!(nowhere.err.contains("--address"), "{nowhere:?}");
}

#[test]
fn a_parent_that_is_away_is_reported_and_the_token_stays_good() {
    let mut main = Node::main("paris").start();
    let lyon = Node::secondary("lyon");
    let token = main.token("pair invite lyon");
    main.stop();
    let away = lyon.cli(&format!("join {token}"));
    assert_eq!(away.exit, 1, "{away:?}");
    assert!(away.err.contains("can't reach the parent at 127.0.0.1:"), "{away:?}");
    main.start_on_its_ports();
    lyon.ok(&format!("join {token}"));
}

#[test]
fn every_answer_is_json_when_asked_for() {
    let main = Node::main("paris").start();
    let lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    let bytes = noise(1, 1_000);
    let name = immutable("f", &bytes);
    main.write(&name, &bytes);
    lyon.serves(&name, &bytes);
    for line in ["status", "files list", "pair list", "sync", "sync --wait", "check", "config show", "config check"] {
        lyon.json(line);
        main.json(line);
    }
    assert_eq!(lyon.json(&format!("files show {name}"))["state"], "held");
    assert_eq!(main.json("sync accept-deletions")["files"], 0);
    assert_eq!(lyon.cli("sync accept-deletions").exit, 4);
    let unknown = lyon.cli("files show nothing.cab --json");
    assert_eq!(unknown.exit, 1);
    let error: serde_json::Value = serde_json::from_str(&unknown.err).unwrap();
    assert_eq!(error["exit"], 1);
}

/// Two neighbours change places, as fingers do it.
fn mistype(token: &str) -> String {
    let mut letters: Vec<char> = token.chars().collect();
    let at = (20..letters.len()).find(|at| letters[*at] != letters[at - 1]).unwrap();
    letters.swap(at - 1, at);
    letters.into_iter().collect()
}
