//! What daemons log: whole lines in the form that was asked for, and no secret.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test fails loudly")]

mod processes;

use processes::Node;
use serde_json::Value;
use std::fs;

/// A node that logs everything as JSON.
fn talkative(mut node: Node) -> Node {
    node.start_with_env(&[("WUASYNC_LOG", "wuasync=trace,info"), ("WUASYNC_LOG_FORMAT", "json")]);
    node
}

#[test]
fn neither_tokens_nor_passphrases_nor_logins_are_logged_at_any_level() {
    let proxy = "[upstream]\nproxy = \"http://user:s3cretlogin@127.0.0.1:9\"\ncab_url = \"\"\n";
    let mut main = talkative(Node::main("paris").with(proxy));
    let mut lyon = talkative(Node::secondary("lyon"));
    let token = main.token("pair invite lyon");
    lyon.ok(&format!("join {token}"));
    let phrase = main.place().join("phrase");
    fs::write(&phrase, "correct horse battery\n").unwrap();
    let (file, phrase) = (main.place().join("backup"), phrase.display().to_string());
    main.ok(&format!("backup {} --passphrase-file {phrase}", file.display()));
    lyon.catches_up_with(&main);
    main.stop();
    lyon.stop();
    let line = fs::read(main.state().join("keys/line")).unwrap();
    for log in [main.log(), lyon.log()] {
        assert!(log.lines().count() > 3);
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
        }
        let secret_part = &token[token.len() - 24..];
        for secret in [token.as_str(), secret_part, "horse", "s3cretlogin"] {
            assert!(!log.contains(secret), "{secret} is in the log");
        }
        assert!(!log.as_bytes().windows(16).any(|bytes| line.windows(16).any(|part| part == bytes)));
    }
}

#[test]
fn an_unknown_form_is_told_and_text_taken() {
    let mut node = Node::main("paris");
    node.start_with_env(&[("WUASYNC_LOG_FORMAT", "xml")]);
    assert!(node.log().contains("WUASYNC_LOG_FORMAT=\"xml\" is none; write journal, text or json"), "{}", node.log());
}
