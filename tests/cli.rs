//! The binary as a script sees it: exit codes, standard output, standard error.

#![expect(clippy::unwrap_used, reason = "a helper that fails is to fail its test")]

use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wuasync::daemon::{
    api::{self, ApiError, ErrorCode},
    control::ControlSocket,
};

/// A configuration in a directory of its own, with or without a daemon that answers.
struct Node {
    directory: tempfile::TempDir,
    daemon: Option<(Runtime, CancellationToken)>,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = directory.path().join("control.sock");
        let settings = format!("name = \"paris\"\ncontrol = {control:?}\n");
        fs::write(directory.path().join("wuasync.toml"), settings).unwrap();
        Self { directory, daemon: None }
    }

    fn answering(router: Router) -> Self {
        let mut node = Self::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = runtime.block_on(ControlSocket::bind(&node.directory.path().join("control.sock"))).unwrap();
        let stop = CancellationToken::new();
        runtime.spawn(socket.serve(router, stop.clone()));
        node.daemon = Some((runtime, stop));
        node
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("wuasync.toml")
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wuasync"));
        command.arg("--config").arg(self.config()).args(line.split(' ')).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Answer {
        self.command(line).output().unwrap().into()
    }

    fn run_with_input(&self, line: &str, input: &str) -> Answer {
        let mut command = self.command(line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some((runtime, stop)) = self.daemon.take() {
            stop.cancel();
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug)]
struct Answer {
    exit: i32,
    out: String,
    err: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { exit: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn status(missing_files: u64) -> Value {
    json!({
        "version": "0.1.0", "role": "secondary", "name": "paris", "site": "Paris", "line": "0123456789abcdef",
        "state": { "epoch": 7, "seq": 42, "signed_at": null, "head_age_seconds": null },
        "folders": [{
            "name": "waptwua", "path": "/var/www/waptwua", "files": 9, "bytes": 9, "held_files": 9 - missing_files,
            "held_bytes": 0, "missing_files": missing_files, "missing_bytes": missing_files, "adopting": null,
            "unlisted": 0, "refused": 0, "incomplete": 0, "last_scan": null,
        }],
        "parent": null, "children": [], "transfers": [],
        "rates": { "in_bytes_per_second": 0, "out_bytes_per_second": 0 }, "attention": [],
    })
}

fn file(name: &str, state: &str) -> Value {
    json!({
        "folder": "waptwua", "name": name, "size": 2048, "modified": null, "root": null, "sha1": null,
        "held": state == "held", "state": state, "why": null,
    })
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    let node = Node::new();
    assert_eq!(node.run("frobnicate").exit, 2);
    assert_eq!(node.run("files list --missing --unlisted").exit, 2);
    let wrong = node.run("files list --missing --unlisted --json");
    let error: Value = serde_json::from_str(&wrong.err).unwrap();
    assert_eq!((wrong.exit, &error["exit"]), (2, &json!(2)));
    let help = node.run("--help");
    assert_eq!((help.exit, help.err.as_str()), (0, ""));
    assert!(help.out.contains("Exit codes: 0 done;"), "{help:?}");
    assert_eq!(node.run("--version").exit, 0);
}

#[test]
fn a_right_configuration_is_0_with_notes_and_a_wrong_one_is_2_with_every_line() {
    let node = Node::new();
    let (folder, state) = (node.directory.path().join("www"), node.directory.path().join("state"));
    let right = format!(
        "mirror.max_size = \"5 GiB\"\nstate_dir = {state:?}\n[[folder]]\nname = \"waptwua\"\npath = {folder:?}\n"
    );
    fs::write(node.config(), &right).unwrap();
    let absent = node.run("config check");
    assert!(absent.exit == 2 && absent.out.contains("folder.path: waptwua: "), "{absent:?}");
    fs::create_dir(&folder).unwrap();
    let junk = node.directory.path().join("junk.pem");
    fs::write(&junk, "junk").unwrap();
    fs::write(node.config(), format!("{right}[http.tls]\ncert = {junk:?}\nkey = {junk:?}\n")).unwrap();
    let unusable = node.run("config check");
    let named = format!("http.tls.cert ({})", junk.display());
    assert!(unusable.exit == 2 && unusable.out.contains(&named), "{unusable:?}");
    fs::write(node.config(), &right).unwrap();
    let right = node.run("config check");
    let expected = "not in effect in this version: mirror.max_size\nthe configuration is right\n";
    assert_eq!((right.exit, right.out.as_str()), (0, expected));
    assert_eq!(node.run("config check --json").out, "{\"not_in_effect\":[\"mirror.max_size\"],\"problems\":[]}\n");

    fs::write(node.config(), "rol = \"main\"\n[http]\nlisen = []\n").unwrap();
    let wrong = node.run("config check");
    assert_eq!((wrong.exit, wrong.out.as_str()), (2, ""));
    let file = node.config().display().to_string();
    assert_eq!(
        wrong.err,
        format!(
            "{file}:1: unknown key \"rol\" at the top level; did you mean \"role\"?\n\
             {file}:3: unknown key \"lisen\" in [http]; did you mean \"listen\"?\n"
        )
    );
    assert_eq!(node.run("serve").exit, 2);
    assert_eq!(node.run("status").exit, 2);
}

#[test]
fn settings_are_shown_with_their_changes_and_without_passwords() {
    let node = Node::new();
    let shown = node.run("config show --set upstream.proxy=\"http://u:s3cret@p:1\"");
    assert_eq!(shown.exit, 0);
    assert!(shown.out.contains("name = \"paris\"") && shown.out.contains("u:***@p:1"), "{}", shown.out);
    let json: Value = serde_json::from_str(&node.run("config show --json").out).unwrap();
    assert_eq!(json["cleanup"]["trash"], "3d");
    assert_eq!(node.run("config show --set name=x").exit, 2);
}

#[test]
fn every_shell_gets_its_completions() {
    let node = Node::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = node.run(&format!("completions {shell}"));
        assert!(answer.exit == 0 && answer.out.contains("wuasync"), "{shell}");
    }
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let child = Node::new().command("completions bash").stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let answer = child.wait_with_output().unwrap();
    assert_eq!((answer.status.code(), answer.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn without_a_daemon_every_question_is_3_and_says_what_to_do() {
    let node = Node::new();
    for line in ["status", "files list", "files show x", "pair list", "pair revoke a", "sync", "check", "scrub --now"] {
        let answer = node.run(line);
        assert_eq!((answer.exit, answer.out.as_str()), (3, ""), "{line}");
        assert!(answer.err.contains("control.sock: start it with `systemctl start wuasync`"), "{answer:?}");
    }
    let json: Value = serde_json::from_str(&node.run("status --json").err).unwrap();
    assert_eq!(json["exit"], 3);
}

#[test]
fn status_is_a_page_or_json() {
    let node = Node::answering(Router::new().route(api::STATUS, get(async || Json(status(2)))));
    let page = node.run("status");
    assert_eq!(page.exit, 0);
    assert!(
        page.out.starts_with("paris (Paris), secondary, wuasync 0.1.0\nline 01234567, epoch 7, seq 42\n"),
        "{page:?}"
    );
    assert!(!page.out.contains('\x1b'));
    let json: Value = serde_json::from_str(&node.run("status --json").out).unwrap();
    assert_eq!(json, status(2));
}

#[test]
fn an_interrupted_watch_is_5() {
    let node = Node::answering(Router::new().route(api::STATUS, get(async || Json(status(0)))));
    let mut child = node.command("status --watch").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn files_are_listed_page_by_page_and_filtered() {
    let pages = async |query: axum::extract::Query<api::FilesQuery>| match query.after.as_deref() {
        None => Json(json!({ "files": [file("a", "held"), file("b", "missing")], "next": "waptwua/b &" })),
        Some("waptwua/b &") => Json(json!({ "files": [file("c", "missing")], "next": null })),
        Some(other) => panic!("{other}"),
    };
    let node = Node::answering(Router::new().route(api::FILES, get(pages)));
    let all: Vec<Value> =
        node.run("files list --json").out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all, [file("a", "held"), file("b", "missing"), file("c", "missing")]);
    let missing = node.run("files list --missing --folder waptwua").out;
    assert!(missing.contains("waptwua/b") && missing.contains("waptwua/c") && !missing.contains("waptwua/a"));
}

#[test]
fn a_file_is_shown_by_its_name_and_an_unknown_one_is_1() {
    let one = async |axum::extract::Path((folder, name)): axum::extract::Path<(String, String)>| {
        if (folder.as_str(), name.as_str()) == ("waptwua", "sub/é #1.cab") {
            return Ok(Json(file(&name, "held")));
        }
        Err(ApiError::new(ErrorCode::Unknown, format!("no file {folder}/{name}")))
    };
    let node = Node::answering(Router::new().route(&format!("{}/{{folder}}/{{*name}}", api::FILES), get(one)));
    let shown: Answer = node.command("files show").arg("sub/é #1.cab").output().unwrap().into();
    assert!(shown.exit == 0 && shown.out.contains("waptwua/sub/é #1.cab"), "{shown:?}");
    let unknown = node.run("files show nowhere");
    assert_eq!((unknown.exit, unknown.err.as_str()), (1, "wuasync: no file waptwua/nowhere\n"));
}

#[test]
fn an_invitation_ends_with_the_token_alone() {
    let invite = async |Json(request): Json<Value>| {
        let expected = json!({
            "name": "lyon", "site": "Lyon", "folders": ["waptwua"], "addresses": ["paris.example:4443"],
            "expires_seconds": 7200, "via": null,
        });
        if request == expected { Ok(Json(json!({ "token": "TOKEN" }))) } else { Err(StatusCode::IM_A_TEAPOT) }
    };
    let node = Node::answering(Router::new().route(api::INVITE, post(invite)));
    let line = "pair invite lyon --site Lyon --folder waptwua --address paris.example:4443 --expires 2h";
    let invited = node.run(line);
    assert_eq!((invited.exit, invited.out.as_str()), (0, "TOKEN\n"));
    assert!(invited.err.contains("lyon joins with `wuasync join TOKEN`"), "{invited:?}");
    let json = node.run(&format!("{line} --json"));
    assert_eq!((json.out.as_str(), json.err.as_str()), ("{\"token\":\"TOKEN\"}\n", ""));
}

#[test]
fn a_token_comes_from_the_command_line_or_from_standard_input() {
    let join = async |Json(request): Json<api::JoinRequest>| {
        if request.token != "TOKEN" {
            return Err(ApiError::new(ErrorCode::Refused, "the token is used up"));
        }
        Ok(Json(json!({ "name": "lyon", "line": "0123", "parent": "paris.example:4443" })))
    };
    let node = Node::answering(Router::new().route(api::JOIN, post(join)));
    let joined = "this node is \"lyon\" and follows paris.example:4443 (line 0123)\n";
    assert_eq!(node.run("join TOKEN").out, joined);
    assert_eq!(node.run_with_input("join -", "TOKEN\n").out, joined);
    assert_eq!(node.run_with_input("join -", "\n").exit, 2);
    let refused = node.run("join OLD");
    assert_eq!((refused.exit, refused.err.as_str()), (4, "wuasync: the token is used up\n"));
}

#[test]
fn a_sync_that_waits_ends_when_nothing_is_missing() {
    let router = Router::new()
        .route(api::SYNC, post(async || Json(json!({ "missing_files": 2, "missing_bytes": 2048 }))))
        .route(api::STATUS, get(async || Json(status(0))))
        .route(api::ACCEPT_DELETIONS, post(async || Json(json!({ "files": 3 }))));
    let node = Node::answering(router);
    assert_eq!(node.run("sync").out, "the newest state is here; 2 files with 2.0 KiB follow\n");
    assert_eq!(node.run("sync --wait").out, "every file is here\n");
    assert_eq!(node.run("sync accept-deletions").out, "3 deletions are signed\n");
}

#[test]
fn a_sync_on_a_main_scans_and_tells_of_deletions_that_wait() {
    let begun = json!({ "missing_files": 0, "missing_bytes": 0, "withheld_files": 3, "scanning": true });
    let mut main = status(3);
    main["role"] = json!("main");
    let router =
        Router::new().route(api::SYNC, post(async || Json(begun))).route(api::STATUS, get(async || Json(main)));
    let node = Node::answering(router);
    let wait = "3 deletions wait: run `wuasync sync accept-deletions`, or put the files back\n";
    let begun = "every folder is being scanned; `wuasync sync --wait` waits for it\n";
    assert_eq!(node.run("sync").out, format!("{begun}{wait}"));
    assert_eq!(node.run("sync --wait").out, format!("every folder is scanned\n{wait}"));
}

#[test]
fn a_check_that_finds_something_is_1() {
    let finding =
        json!({ "folder": "waptwua", "name": "x.cab", "what": "a rotten group", "cure": "it is fetched again" });
    let report = json!({ "findings": [finding], "files": 7, "bytes": 2048 });
    let node = Node::answering(Router::new().route(api::CHECK, post(async move || Json(report))));
    let found = node.run("check");
    assert_eq!(found.exit, 1);
    assert!(found.out.starts_with("waptwua/x.cab: a rotten group\n    it is fetched again\n"), "{found:?}");

    let well = json!({ "findings": [], "files": 7, "bytes": 2048 });
    let node = Node::answering(Router::new().route(api::CHECK, post(async move || Json(well))));
    assert_eq!(node.run("check").exit, 0);
}

/// A cabinet that its time stamp keeps good for ever, and the root beneath it.
const SIGNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/signed.cab");
const SIGNED_ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/signed-root.pem");

/// With a state folder of its own.
fn stateful() -> Node {
    let node = Node::new();
    let state = node.directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let settings = fs::read_to_string(node.config()).unwrap() + &format!("state_dir = {state:?}\n");
    fs::write(node.config(), settings).unwrap();
    node
}

#[test]
fn a_cabinet_that_verifies_is_0_one_that_does_not_is_1_and_one_that_lacks_trust_is_4() {
    let node = stateful();
    let good = node.run(&format!("cab verify --root {SIGNED_ROOT} {SIGNED}"));
    assert_eq!((good.exit, &*good.err), (0, ""), "{good:?}");
    for told in ["CN=wuasync test signer", "time stamp of 2026-05-31T00:00:00Z", "the signature holds"] {
        assert!(good.out.contains(told), "{good:?}");
    }
    let good = node.run(&format!("--json cab verify --root {SIGNED_ROOT} --tsa-root {SIGNED_ROOT} {SIGNED}"));
    let report: Value = serde_json::from_str(&good.out).unwrap();
    assert_eq!(report["chain"][2]["subject"], "CN=wuasync test root");
    assert_eq!(report["time_stamp"]["at"], "2026-05-31T00:00:00Z");

    let stranger = node.run(&format!("cab verify {SIGNED}"));
    assert_eq!((stranger.exit, &*stranger.out, stranger.err.lines().count()), (4, "", 1), "{stranger:?}");
    assert!(stranger.err.contains("`wuasync cab trust FILE`"), "{stranger:?}");

    let changed = node.directory.path().join("changed.cab");
    let mut bytes = fs::read(SIGNED).unwrap();
    bytes[100] ^= 1;
    fs::write(&changed, bytes).unwrap();
    let bad = node.run(&format!("cab verify --root {SIGNED_ROOT} {}", changed.display()));
    assert_eq!((bad.exit, &*bad.out, bad.err.lines().count()), (1, "", 1), "{bad:?}");
    assert!(bad.err.contains("changed.cab: the content is not what was signed"), "{bad:?}");
    let bad = node.run(&format!("--json cab verify --root {SIGNED_ROOT} {}", changed.display()));
    let error: Value = serde_json::from_str(&bad.err).unwrap();
    assert_eq!(error["exit"], 1);

    assert_eq!(node.run(&format!("cab verify --root {SIGNED_ROOT} /nowhere.cab")).exit, 1);
    assert_eq!(node.run(&format!("cab verify --root {SIGNED} {SIGNED}")).exit, 2, "a cabinet is no root");
}

#[test]
fn issuers_are_believed_once_a_person_pinned_them_and_until_their_files_go() {
    let node = stateful();
    let trust = node.directory.path().join("state/trust");
    let asked = node.run(&format!("cab trust {SIGNED}"));
    assert_eq!(asked.exit, 4, "nobody said yes: {asked:?}");
    assert!(asked.out.contains("    sha256 ") && !trust.exists(), "{asked:?}");
    let asked = node.run(&format!("--json cab trust {SIGNED}"));
    assert_eq!((asked.exit, trust.exists()), (4, false), "{asked:?}");

    let pinned = node.run(&format!("--json cab trust --yes {SIGNED}"));
    assert_eq!(pinned.exit, 0, "{pinned:?}");
    let report: Value = serde_json::from_str(&pinned.out).unwrap();
    let mut names: Vec<_> = fs::read_dir(&trust).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let named = |purpose: &str, link: &Value| format!("{purpose}-{}.pem", link["sha256"].as_str().unwrap());
    let chain = &report["signature"]["chain"];
    let mut expected = [named("signing", &chain[1]), named("signing", &chain[2]), named("timestamp", &chain[2])];
    expected.sort();
    assert_eq!(names, expected.map(std::ffi::OsString::from));
    assert_eq!(report["pinned"].as_array().unwrap().len(), 3);
    assert_eq!(node.run(&format!("cab verify {SIGNED}")).exit, 0);
    assert_eq!(node.run(&format!("cab trust --yes {SIGNED}")).exit, 0, "once more");

    fs::remove_dir_all(&trust).unwrap();
    assert_eq!(node.run(&format!("cab verify {SIGNED}")).exit, 4);
    let settings = fs::read_to_string(node.config()).unwrap();
    let with_roots = format!("{settings}upstream.trust_roots = [{SIGNED_ROOT:?}]\n");
    fs::write(node.config(), with_roots).unwrap();
    assert_eq!(node.run(&format!("cab verify {SIGNED}")).exit, 0, "by configuration");
}
