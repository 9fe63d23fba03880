//! What a person sees while a file is pulled: a bar, and one line for each change of who gives it.
//!
//! A repository that is left again for the same reason, with nothing in between, is no change: whoever waits for
//! minutes reads each line once.

use crate::{
    agent::{
        course::{Fault, Place},
        pull::Watch,
    },
    base::units,
    cli::{
        out::{Out, printable},
        progress,
    },
    domain::name::FileName,
};
use indicatif::ProgressBar;
use std::{collections::BTreeMap, time::Duration};

/// A file on its way, as a person sees it.
pub(super) struct Shown<'o> {
    bar: ProgressBar,
    name: String,
    out: &'o Out,
    told: Told,
}

impl<'o> Shown<'o> {
    pub(super) fn new(name: &FileName, out: &'o Out) -> Self {
        let name = printable(name.as_str());
        Self { bar: progress::bytes_bar(name.clone()), name, out, told: Told::default() }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn note(&self, line: Option<String>) {
        if let Some(line) = line.filter(|_| !self.out.is_json()) {
            self.bar.suspend(|| self.out.note(&line));
        }
    }
}

impl Watch for Shown<'_> {
    fn on_bytes(&mut self, have: u64, size: Option<u64>) {
        if self.told.on_bytes() {
            self.bar.set_message("");
        }
        if let Some(size) = size {
            self.bar.set_length(size);
        }
        self.bar.set_position(have);
    }

    fn on_left(&mut self, place: &Place, fault: &Fault) {
        let line = self.told.on_left(place, fault);
        self.note(line);
    }

    fn on_wait(&mut self, wait: Duration, patience: Duration) {
        let line = self.told.on_wait(&self.name, patience);
        self.note(line);
        self.bar.set_message(format!("nobody gives it; asked again in {}", units::duration(wait)));
    }
}

/// What was told since bytes came last.
#[derive(Default)]
struct Told {
    /// Why each was left, by address.
    left: BTreeMap<String, String>,
    waits: bool,
}

impl Told {
    /// Whether anything was told: whatever comes next is told anew.
    fn on_bytes(&mut self) -> bool {
        let had = self.waits || !self.left.is_empty();
        if had {
            *self = Self::default();
        }
        had
    }

    /// The line for somebody who was left, unless it was told already.
    fn on_left(&mut self, place: &Place, fault: &Fault) -> Option<String> {
        // How long it was silent and how slow it was differ each time.
        let why = match fault {
            Fault::Stalled(_) => "silent".to_owned(),
            Fault::Slow(_) => "slow".to_owned(),
            Fault::NotYet(_) => "not yet".to_owned(),
            Fault::Died(_) | Fault::Refused(_) | Fault::OtherContent => fault.to_string(),
        };
        if self.left.insert(place.url.clone(), why.clone()).as_ref() == Some(&why) {
            return None;
        }
        let who = place.name.as_deref().unwrap_or(&place.url);
        Some(format!("{} is left: {}", printable(who), printable(&fault.to_string())))
    }

    /// The line for the first wait.
    fn on_wait(&mut self, name: &str, patience: Duration) -> Option<String> {
        let is_first = !std::mem::replace(&mut self.waits, true);
        let patience = Duration::from_secs(patience.as_secs_f64().ceil() as u64);
        is_first.then(|| format!("nobody gives {name}: all are asked again, for {} at most", units::duration(patience)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_one_line_and_a_repetition_is_none() {
        let place = |url: &str| Place { url: url.to_owned(), file_url: String::new(), name: None, proxy: None };
        let (a, b) = (place("http://a"), place("http://b"));
        let mut told = Told::default();
        let silent = |seconds| Fault::Stalled(Duration::from_secs(seconds));
        assert_eq!(told.on_left(&a, &silent(3)).as_deref(), Some("http://a is left: nothing came for 3 s"));
        assert_eq!(told.on_left(&a, &silent(6)), None);
        assert_eq!(told.on_left(&b, &Fault::Refused(404)).as_deref(), Some("http://b is left: it answered 404"));
        assert_eq!(told.on_left(&b, &Fault::Refused(404)), None);
        assert!(told.on_left(&b, &Fault::Refused(500)).is_some(), "another reason");
        let minutes = Duration::from_secs(240);
        assert!(told.on_wait("x.cab", minutes).is_some() && told.on_wait("x.cab", minutes).is_none());
        assert!(told.on_bytes() && !told.on_bytes());
        assert!(told.on_left(&a, &silent(3)).is_some(), "it gave bytes meanwhile");
    }
}
