//! What administrators get wrong: each mistake has its exit code, and words that say what, where and
//! what to do about it. Nothing is changed by a start that fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a helper that fails is to fail its test, and tells why"
)]

mod processes;

use processes::{Answer, Node, listing};
use std::{fs, net::TcpListener};

/// `serve`, which has to fail by itself.
fn serve(node: &Node) -> Answer {
    node.cli("serve")
}

/// Each of the words is in the error.
#[track_caller]
fn says(answer: &Answer, exit: i32, words: &[&str]) {
    assert_eq!((answer.exit, answer.out.as_str()), (exit, ""), "{answer:?}");
    for word in words {
        assert!(answer.err.contains(word), "{word:?} is not in {answer:?}");
    }
}

#[test]
fn every_mistake_in_the_configuration_is_named_with_its_line() {
    let node = Node::main("paris").with("[cleanup]\ntrsh = \"3d\"\nmax_delete_percent = \"many\"\n[jbos]\nby = 1\n");
    let answer = serve(&node);
    let file = node.config().display().to_string();
    says(&answer, 2, &[&format!("{file}:17: unknown key \"trsh\" in [cleanup]; did you mean \"trash\"?")]);
    says(&answer, 2, &[":18: ", "max_delete_percent", "unknown key \"jbos\"", "did you mean \"jobs\"?"]);
    fs::write(node.config(), "role = \"main\nname = 3\n").unwrap();
    says(&serve(&node), 2, &[&format!("{file}:1:")]);
    fs::remove_file(node.config()).unwrap();
    says(&serve(&node), 2, &[&file]);
    assert!(!node.state().exists(), "a state folder was made");
}

#[test]
fn a_folder_that_is_not_there_or_no_folder_is_a_mistake_in_the_configuration() {
    let node = Node::main("paris");
    let folder = node.folder().display().to_string();
    fs::remove_dir(node.folder()).unwrap();
    says(&serve(&node), 2, &["waptwua", &folder]);
    fs::write(node.folder(), "a file").unwrap();
    says(&serve(&node), 2, &["waptwua", &folder]);
    assert_eq!(fs::read(node.folder()).unwrap(), b"a file");
}

#[test]
fn staging_that_can_not_be_used_is_a_mistake_in_the_configuration() {
    let elsewhere = tempfile::Builder::new().prefix("wuasync-test-").tempdir_in("/dev/shm").unwrap();
    let node = Node::main("paris");
    let text = fs::read_to_string(node.config()).unwrap();
    let staged = |path: &std::path::Path| {
        let at = format!("name = \"waptwua\"\nstaging = {path:?}\n");
        fs::write(node.config(), text.replace("name = \"waptwua\"\n", &at)).unwrap();
    };
    staged(&elsewhere.path().join(".wuasync"));
    says(&serve(&node), 2, &["waptwua", ".wuasync", "mount"]);
    let blocked = node.place().join("blocked");
    fs::write(&blocked, "a file").unwrap();
    staged(&blocked);
    says(&serve(&node), 2, &["waptwua", "blocked"]);
    assert_eq!(fs::read(blocked).unwrap(), b"a file");
}

#[test]
fn a_state_folder_that_can_not_be_made_is_a_mistake_in_the_configuration() {
    let node = Node::main("paris");
    fs::write(node.state(), "a file").unwrap();
    says(&serve(&node), 2, &["state", &node.state().display().to_string()]);
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_at = udp.local_addr().unwrap().to_string();
    let node = Node::main("paris");
    for (setting, at) in [
        (format!("http.listen=[\"{at}\"]"), &at),
        (format!("admin.listen=[\"{at}\"]"), &at),
        (format!("sync.listen=\"{udp_at}\""), &udp_at),
    ] {
        let answer: Answer = node.command(["serve", "--set", &setting]).output().unwrap().into();
        says(&answer, 2, &[setting.split('=').next().unwrap(), at, "in use"]);
    }
}

#[test]
fn certificates_that_can_not_be_read_are_a_mistake_in_the_configuration() {
    let node = Node::main("paris");
    let (cert, key) = (node.place().join("cert.pem"), node.place().join("key.pem"));
    let node = node.with(&format!("[http]\n[http.tls]\nlisten = [\"127.0.0.1:0\"]\ncert = {cert:?}\nkey = {key:?}\n"));
    says(&serve(&node), 2, &["http.tls", "cert.pem"]);
    fs::write(&cert, "no certificate").unwrap();
    fs::write(&key, "no key").unwrap();
    says(&serve(&node), 2, &["http.tls", "cert"]);
}

#[test]
fn the_state_of_a_newer_version_is_refused_untouched() {
    let mut node = Node::main("paris").start();
    node.stop();
    fs::write(node.state().join("version"), "2").unwrap();
    let before = listing(&node.state());
    assert!(before.len() > 4, "{before:?}");
    says(&serve(&node), 4, &["version 2", &node.state().display().to_string(), "install"]);
    assert_eq!(listing(&node.state()), before);
}

#[test]
fn a_bad_token_and_a_main_that_joins_touch_no_state() {
    let main = Node::main("paris");
    says(&main.cli("join wuasync1-x"), 4, &["role"]);
    assert!(!main.state().exists());
    let lyon = Node::secondary("lyon");
    says(&lyon.cli("join wuasync1-x"), 2, &["copy it again"]);
    says(&lyon.cli("join hello"), 2, &["wuasync1-"]);
    assert!(!lyon.state().exists());
}

#[test]
fn two_daemons_never_share_a_state_or_a_socket() {
    let first = Node::main("paris").start();
    let second = serve(&first);
    says(&second, 4, &[&first.control().display().to_string(), "another wuasync", "stop"]);
    let setting = format!("control={:?}", first.place().join("other.sock"));
    let second: Answer = first.command(["serve", "--set", &setting]).output().unwrap().into();
    says(&second, 4, &[&first.state().display().to_string(), "another wuasync", "stop"]);
    first.ok("status");
    let other = Node::main("rome");
    let setting = format!("control={:?}", first.control());
    let answer: Answer = other.command(["serve", "--set", &setting]).output().unwrap().into();
    says(&answer, 4, &["another wuasync answers at"]);
    assert!(!other.state().exists(), "nothing is made for a daemon that can't be");
    assert_eq!(first.status()["name"], "paris");
    first.ok("status");
}

#[test]
fn a_role_that_does_not_fit_the_state_is_refused() {
    let main = Node::main("paris").start();
    let mut lyon = Node::secondary("lyon").start();
    lyon.joins(&main);
    lyon.catches_up_with(&main);
    lyon.stop();
    let answer: Answer = lyon.command(["serve", "--set", "role=\"main\""]).output().unwrap().into();
    assert_ne!(answer.exit, 0, "{answer:?}");
}

#[test]
fn without_a_daemon_commands_are_3_and_a_damaged_parent_file_says_what_to_do() {
    let node = Node::secondary("lyon");
    for line in ["status", "files list", "pair list", "sync", "check", "pair invite x"] {
        says(&node.cli(line), 3, &["control.sock", "systemctl start wuasync"]);
    }
    fs::create_dir(node.state()).unwrap();
    fs::write(node.state().join("parent.toml"), "name = ").unwrap();
    says(&serve(&node), 1, &["parent.toml", "join again"]);
    let missing: Answer = std::process::Command::new(env!("CARGO_BIN_EXE_wuasync"))
        .args(["status", "--config", "/nowhere/x.toml"])
        .output()
        .unwrap()
        .into();
    says(&missing, 2, &["/nowhere/x.toml"]);
}
