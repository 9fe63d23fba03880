//! Which files hosts ask for, and which are being read at this moment: what a cleanup must know of service.
//!
//! A source in front of another one. Keeps in memory what was asked for since it was taken last, one row for each
//! file to the day; whoever takes it writes it down. Never refuses anything and never waits.

use super::{
    Client,
    source::{Answer, Ask, HeldFile, Source},
};
use crate::{
    base::{clock::SharedClock, future::BoxFuture, read_at::ReadAt},
    domain::name::{FileName, FolderName},
};
use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const DAY: u64 = 86_400;
/// Most files that are remembered between two takings: as many as one edition names.
const MAX_ASKED: usize = 100_000;

/// A file's folder and its name there.
type Place = (FolderName, FileName);

/// What hosts ask for.
pub struct Asked {
    clock: SharedClock,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The beginning of the day of the last asking, in seconds since 1970 UTC.
    asked: BTreeMap<Place, u64>,
    /// How many answers read a file.
    serving: BTreeMap<Place, usize>,
}

impl Asked {
    /// Nothing was asked for.
    pub fn new(clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { clock, seen: Mutex::default() })
    }

    /// What was asked for since this was called last, with the beginnings of the days of the last askings, in seconds
    /// since 1970 UTC.
    pub fn take(&self) -> BTreeMap<Place, u64> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Puts back what could not be written down.
    pub fn put_back(&self, asked: BTreeMap<Place, u64>) {
        let mut seen = self.lock();
        for (place, at) in asked {
            let last = seen.asked.entry(place).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Whether some answer reads a file at this moment.
    pub fn is_serving(&self, folder: &FolderName, name: &FileName) -> bool {
        self.lock().serving.contains_key(&(folder.clone(), name.clone()))
    }

    fn on_asked(&self, place: Place) {
        let day = self.clock.unix_seconds() / DAY * DAY;
        let mut seen = self.lock();
        if seen.asked.len() < MAX_ASKED || seen.asked.contains_key(&place) {
            seen.asked.insert(place, day);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that remembers what hosts ask it for.
pub struct Remembering {
    source: Arc<dyn Source>,
    asked: Arc<Asked>,
}

impl Remembering {
    /// Answers as `source` does.
    pub fn new(source: Arc<dyn Source>, asked: Arc<Asked>) -> Self {
        Self { source, asked }
    }

    async fn ask(&self, ask: &Ask) -> Answer {
        let answer = self.source.find(ask).await;
        if !matches!(ask.client, Client::Host(_)) {
            return answer;
        }
        let place = (ask.folder.clone(), ask.name.clone());
        match answer {
            Answer::Held(held) => {
                self.asked.on_asked(place.clone());
                let bytes = Arc::new(Serving::new(held.bytes, self.asked.clone(), place));
                Answer::Held(HeldFile { bytes, ..held })
            }
            Answer::Growing(_) => {
                self.asked.on_asked(place);
                answer
            }
            // A secondary whose parent is away says "not yet" to every name.
            Answer::NotYet { .. } | Answer::Unknown | Answer::OverQuota { .. } => answer,
        }
    }
}

impl Source for Remembering {
    fn find<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Answer> {
        Box::pin(self.ask(ask))
    }
}

/// An open file that counts as being served until it is let go.
struct Serving {
    bytes: Arc<dyn ReadAt>,
    asked: Arc<Asked>,
    place: Place,
}

impl Serving {
    fn new(bytes: Arc<dyn ReadAt>, asked: Arc<Asked>, place: Place) -> Self {
        *asked.lock().serving.entry(place.clone()).or_default() += 1;
        Self { bytes, asked, place }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let mut seen = self.asked.lock();
        if let Some(count) = seen.serving.get_mut(&self.place) {
            *count -= 1;
            if *count == 0 {
                seen.serving.remove(&self.place);
            }
        }
    }
}

impl ReadAt for Serving {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, offset)
    }

    fn read_at_once(&self, buf: &mut [u8], offset: u64) -> Option<io::Result<usize>> {
        self.bytes.read_at_once(buf, offset)
    }

    fn is_sendable(&self, range: &Range<u64>) -> bool {
        self.bytes.is_sendable(range)
    }

    fn send_at(&self, socket: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<usize> {
        self.bytes.send_at(socket, offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SystemClock;
    use std::time::Duration;

    struct One;

    impl Source for One {
        fn find<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Answer> {
            let answer = match ask.name.as_str() {
                "held" => Answer::Held(HeldFile { size: 3, modified: 0, root: None, bytes: Arc::new(b"abc".to_vec()) }),
                "later" => Answer::NotYet { retry_after: Duration::from_secs(1) },
                _ => Answer::Unknown,
            };
            Box::pin(async { answer })
        }
    }

    fn place(name: &str) -> Place {
        (FolderName::new("waptwua").unwrap(), FileName::new(name).unwrap())
    }

    fn ask(name: &str, client: Client) -> Ask {
        let (folder, name) = place(name);
        Ask { folder, name, client, describe: false }
    }

    #[tokio::test]
    async fn what_hosts_get_is_remembered_to_the_day_and_what_is_not_here_is_not() {
        let asked = Asked::new(Arc::new(SystemClock));
        let source = Remembering::new(Arc::new(One), asked.clone());
        let host = Client::Host([192, 0, 2, 1].into());
        for name in ["held", "later", "unknown"] {
            source.find(&ask(name, host.clone())).await;
        }
        source.find(&ask("held", Client::Background)).await;
        let taken = asked.take();
        assert_eq!(taken.keys().cloned().collect::<Vec<_>>(), [place("held")]);
        assert!(taken.values().all(|at| at % DAY == 0 && *at > 0));
        assert!(asked.take().is_empty());
        asked.put_back(taken.clone());
        assert_eq!(asked.take(), taken);
    }

    #[tokio::test]
    async fn a_file_is_being_served_until_its_last_reader_lets_it_go() {
        let asked = Asked::new(Arc::new(SystemClock));
        let source = Remembering::new(Arc::new(One), asked.clone());
        let host = Client::Host([192, 0, 2, 1].into());
        let mut files = Vec::new();
        for _ in 0..2 {
            let Answer::Held(held) = source.find(&ask("held", host.clone())).await else { panic!("not held") };
            let mut bytes = [0; 3];
            held.bytes.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"abc");
            files.push(held);
        }
        let (folder, name) = place("held");
        assert!(asked.is_serving(&folder, &name));
        files.pop();
        assert!(asked.is_serving(&folder, &name));
        files.pop();
        assert!(!asked.is_serving(&folder, &name));
    }
}
