//! Whom a file is pulled from, and when somebody else. Pure.

use std::time::{Duration, Instant};

/// Not asked again for so long after its first fault; each further one doubles it.
const FIRST_REST: Duration = Duration::from_secs(5);
/// The longest such rest.
const LONGEST_REST: Duration = Duration::from_secs(120);
/// Somebody slow is left alone for so long: others are faster at the moment.
const SLOW_REST: Duration = Duration::from_secs(60);

/// Somebody who refuses so often means it: once may be just before it hears of the file.
const MOST_REFUSALS: u32 = 2;

/// Why a repository was left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It can't be reached, or broke off.
    #[error("it broke off: {0}")]
    Died(String),
    /// Nothing came for so long.
    #[error("nothing came for {} s", .0.as_secs())]
    Stalled(Duration),
    /// It gives fewer bytes per second than another may.
    #[error("it gave {0} bytes per second")]
    Slow(u64),
    /// It does not have the file.
    #[error("it answered {0}")]
    Refused(u16),
    /// It will have the file later.
    #[error("it asks to come back in {} s", .0.as_secs())]
    NotYet(Duration),
    /// It has other bytes under this name, or what it said of them was wrong.
    #[error("it has other content")]
    OtherContent,
}

impl Fault {
    /// Whether asking again later changes nothing: the repository knows no such file, or does not give it to this host.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(status) if (400..500).contains(status))
    }

    /// What somebody can do about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Died(_) | Self::Stalled(_) => {
                "see whether this host reaches a repository (`curl -I` with its address and /healthz), and what \
                 `wuasync doctor` says there"
            }
            Self::Slow(_) => "its line or its disk is busy: run this again later, or with a smaller --least-rate",
            Self::Refused(404) => {
                "no repository knows the file: compare its name, or tell the main where it is (`wuasync want add`)"
            }
            Self::Refused(_) => "look at the log of that repository, or of the proxy before it",
            Self::NotYet(_) => "it is on its way there, or its parent is away: `wuasync status NAME` there says which",
            Self::OtherContent => "a copy is damaged: run `wuasync scrub --now NAME` at the repository that gave it",
        }
    }
}

/// A repository that has the file, or may get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub url: String,
    /// Where the file is there.
    pub file_url: String,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// The proxy through which it is reached.
    pub proxy: Option<String>,
}

struct Candidate {
    place: Place,
    faults: u32,
    /// Refusals one after the other.
    refusals: u32,
    rests_until: Option<Instant>,
    is_liar: bool,
}

/// The repositories in the order in which they are tried.
#[derive(Default)]
pub struct Course {
    candidates: Vec<Candidate>,
}

impl Course {
    /// Takes a newer order; what is known of each stays. Whoever is not named any longer comes last.
    pub fn set_places(&mut self, places: Vec<Place>) {
        let mut before = std::mem::take(&mut self.candidates);
        for place in places {
            if self.candidates.iter().any(|there| there.place.url == place.url) {
                continue;
            }
            let known = before.iter().position(|known| known.place.url == place.url);
            let candidate = match known {
                Some(at) => Candidate { place, ..before.remove(at) },
                None => Candidate { place, faults: 0, refusals: 0, rests_until: None, is_liar: false },
            };
            self.candidates.push(candidate);
        }
        self.candidates.extend(before);
    }

    /// Who is tried at `now`: the first that does not rest.
    pub fn next(&self, now: Instant) -> Option<&Place> {
        self.candidates.iter().find(|candidate| candidate.is_free(now)).map(|candidate| &candidate.place)
    }

    /// Whether anybody but `url` could be tried at `now`.
    pub fn has_other(&self, url: &str, now: Instant) -> bool {
        self.candidates.iter().any(|candidate| candidate.place.url != url && candidate.is_free(now))
    }

    /// When the next one may be tried; `None` where nobody ever may, or all have refused it twice.
    pub fn free_at(&self, now: Instant) -> Option<Instant> {
        if self.candidates.iter().all(|candidate| candidate.is_liar || candidate.refusals >= MOST_REFUSALS) {
            return None;
        }
        let honest = self.candidates.iter().filter(|candidate| !candidate.is_liar);
        honest.map(|candidate| candidate.rests_until.unwrap_or(now)).min()
    }

    /// Somebody gave bytes: earlier faults are forgiven.
    pub fn on_progress(&mut self, url: &str) {
        if let Some(candidate) = self.of(url) {
            (candidate.faults, candidate.refusals) = (0, 0);
        }
    }

    /// Somebody was left.
    pub fn on_fault(&mut self, url: &str, fault: &Fault, now: Instant) {
        let Some(candidate) = self.of(url) else { return };
        let rest = match fault {
            Fault::OtherContent => {
                candidate.is_liar = true;
                return;
            }
            Fault::Slow(_) => SLOW_REST,
            Fault::NotYet(rest) => (*rest).min(LONGEST_REST),
            Fault::Died(_) | Fault::Stalled(_) | Fault::Refused(_) => {
                FIRST_REST.saturating_mul(1 << candidate.faults.min(10)).min(LONGEST_REST)
            }
        };
        candidate.faults = candidate.faults.saturating_add(1);
        candidate.refusals = if fault.is_refusal() { candidate.refusals.saturating_add(1) } else { 0 };
        candidate.rests_until = Some(now + rest);
    }

    fn of(&mut self, url: &str) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|candidate| candidate.place.url == url)
    }
}

impl Candidate {
    fn is_free(&self, now: Instant) -> bool {
        !self.is_liar && self.rests_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Place {
        Place { url: url.to_owned(), file_url: format!("{url}/waptwua/x"), name: None, proxy: None }
    }

    fn course(urls: &[&str]) -> Course {
        let mut course = Course::default();
        course.set_places(urls.iter().map(|url| place(url)).collect());
        course
    }

    fn next(course: &Course, now: Instant) -> Option<&str> {
        course.next(now).map(|place| place.url.as_str())
    }

    #[test]
    fn the_first_is_tried_until_it_dies_and_again_after_a_rest() {
        let (mut course, now) = (course(&["a", "b"]), Instant::now());
        assert_eq!(next(&course, now), Some("a"));
        course.on_fault("a", &Fault::Died("x".to_owned()), now);
        assert_eq!(next(&course, now), Some("b"));
        assert!(!course.has_other("b", now) && course.has_other("b", now + FIRST_REST));
        assert_eq!(next(&course, now + FIRST_REST), Some("a"));
        course.on_fault("a", &Fault::Stalled(FIRST_REST), now + FIRST_REST);
        assert_eq!(next(&course, now + 2 * FIRST_REST), Some("b"), "the second rest is longer");
        course.on_fault("b", &Fault::NotYet(Duration::from_secs(3)), now + 2 * FIRST_REST);
        assert_eq!(next(&course, now + 2 * FIRST_REST), None);
        assert_eq!(course.free_at(now), Some(now + 2 * FIRST_REST + Duration::from_secs(3)));
    }

    #[test]
    fn whoever_has_other_content_is_never_tried_again() {
        let (mut course, now) = (course(&["a"]), Instant::now());
        course.on_fault("a", &Fault::OtherContent, now);
        assert_eq!((next(&course, now + 100 * LONGEST_REST), course.free_at(now)), (None, None));
    }

    #[test]
    fn what_all_refuse_twice_is_waited_for_no_longer_and_what_one_may_have_is() {
        let (mut course, now) = (course(&["a", "b"]), Instant::now());
        let refused = |course: &mut Course, url| course.on_fault(url, &Fault::Refused(404), now);
        refused(&mut course, "a");
        refused(&mut course, "b");
        refused(&mut course, "a");
        assert!(course.free_at(now).is_some(), "b refused once");
        refused(&mut course, "b");
        assert_eq!(course.free_at(now), None);
        course.on_fault("a", &Fault::NotYet(FIRST_REST), now);
        assert!(course.free_at(now).is_some(), "a will have it");
        course.on_fault("a", &Fault::Refused(500), now);
        assert!(course.free_at(now).is_some(), "a has trouble of its own");
    }

    #[test]
    fn a_newer_order_keeps_what_is_known_and_forgets_nobody() {
        let (mut course, now) = (course(&["a", "b"]), Instant::now());
        course.on_fault("a", &Fault::Slow(1), now);
        course.set_places(vec![place("c"), place("a"), place("c")]);
        assert_eq!(next(&course, now), Some("c"));
        course.on_fault("c", &Fault::Refused(404), now);
        assert_eq!(next(&course, now), Some("b"), "a still rests");
        assert_eq!(next(&course, now + SLOW_REST), Some("c"));
    }
}
