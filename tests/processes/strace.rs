//! `strace` on a running daemon: watches its system calls, or makes them fail.

use super::processes::Node;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

/// Attached until it is dropped.
pub(crate) struct Strace {
    child: Child,
    output: tempfile::NamedTempFile,
}

impl Strace {
    /// `calls` fail with `error`, `when` as strace's `when=` has it.
    pub(crate) fn inject(node: &Node, calls: &str, error: &str, when: &str) -> Self {
        Self::attach(node, calls, &["-e", &format!("inject={calls}:error={error}:when={when}")])
    }

    /// Watches `calls`, with the paths of files.
    pub(crate) fn watch(node: &Node, calls: &str) -> Self {
        Self::attach(node, calls, &["-y"])
    }

    fn attach(node: &Node, calls: &str, more: &[&str]) -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-s", "0", "-e", &format!("trace={calls}")]).args(more);
        command.arg("-o").arg(output.path()).arg("-p").arg(node.pid().to_string());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        while !said.contains("attached") {
            assert!(reader.read_line(&mut said).unwrap() > 0, "strace is not attached: {said}");
        }
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        Self { child, output }
    }

    /// Lets go of the daemon; answers with the calls, in the order in which they began or went on.
    pub(crate) fn end(mut self) -> Vec<String> {
        self.detach();
        fs::read_to_string(self.output.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn detach(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).ok();
        self.child.wait().ok();
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.detach();
        }
    }
}
