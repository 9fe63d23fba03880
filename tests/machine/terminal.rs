//! A terminal on a machine, as a person sits before it: what is typed, and all that is shown.

use super::Machine;
use crate::processes::wait;
use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A terminal that runs one line of shell.
pub struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Begins with `line`.
    pub fn run(machine: &Machine, line: &str) -> Self {
        let inside = format!("exec chroot {} sh -c '{line}'", machine.root().display());
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--echo", "always", "--command", &inside, "/dev/null"]);
        command.env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut from, to) = (child.stdout.take().unwrap(), shown.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Some(size) = from.read(&mut bytes).ok().filter(|size| *size > 0) {
                to.lock().unwrap().extend_from_slice(&bytes[..size]);
            }
        });
        Self { child, shown }
    }

    /// Waits until `words` were shown so many times, then types `text`.
    pub fn answer(&mut self, words: &str, times: usize, text: &str) {
        wait(&format!("{words:?} is shown"), || (self.shown().matches(words).count() >= times).then_some(()));
        let keys = self.child.stdin.as_mut().unwrap();
        keys.write_all(text.as_bytes()).and_then(|()| keys.flush()).unwrap();
    }

    /// Everything that was shown until its end.
    pub fn end(mut self) -> String {
        wait("the terminal's end", || self.child.try_wait().unwrap());
        drop(self.child.stdin.take());
        self.shown()
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }
}
