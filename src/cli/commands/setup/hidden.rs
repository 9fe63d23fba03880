//! Reads what nobody is to see from a terminal: typed without echo, and the terminal is as before afterwards, however
//! the question ends.
//!
//! While it waits the terminal makes no signals of keys: Ctrl-C ends the line, and is told from one.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};
use zeroize::Zeroizing;

/// What Ctrl-C types.
const CTRL_C: u8 = 3;
/// Bytes that are read at once; a terminal hands out a line at a time.
const ROOM: usize = 1_024;

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line without its end; empty if nothing was typed.
    Line(Zeroizing<String>),
    /// Ctrl-C.
    Interrupted,
}

/// Calls `question` once nothing is shown any more, and reads one line of at most `most` bytes.
pub(super) fn read(terminal: impl AsFd, most: usize, question: impl FnOnce()) -> io::Result<Typed> {
    let hidden = Hidden::begin(terminal.as_fd())?;
    question();
    let mut line = Zeroizing::new(Vec::with_capacity(most));
    let mut room = Zeroizing::new([0; ROOM]);
    loop {
        let size = rustix::io::retry_on_intr(|| rustix::io::read(hidden.terminal, &mut room[..]))?;
        let read = &room[..size];
        if read.contains(&CTRL_C) {
            return Ok(Typed::Interrupted);
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..end.unwrap_or(size)];
        if line.len() + part.len() > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {most} bytes")));
        }
        line.extend_from_slice(part);
        if end.is_some() || size == 0 {
            let text = std::str::from_utf8(&line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            return Ok(Typed::Line(Zeroizing::new(text.to_owned())));
        }
    }
}

/// A terminal that shows nothing, until it is dropped.
struct Hidden<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Hidden<'t> {
    fn begin(terminal: BorrowedFd<'t>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        tcsetattr(terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
