//! Flights under time that stands still: whatever askers, sources and files do.

use super::*;
use crate::{
    base::{clock::Clock, future::BoxFuture, ranges::Ranges, read_at::ReadAt, tasks::run_at_once_on_this_thread},
    domain::{digest::GROUP_BYTES, member::NodeName},
    supply::{reader::Reader, sight::Sight, spring::Description},
};
use proptest::prelude::*;
use std::{io, ops::Range, time::Instant};
use tokio::{
    task::JoinSet,
    time::{self, sleep, timeout},
};

const SIZE: u64 = 5 * GROUP_BYTES + 777;
/// Longer than anything here takes, in time that passes only when nobody works.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Goes with the runtime's time.
struct Ticks(time::Instant);

impl Clock for Ticks {
    fn unix_ms(&self) -> u64 {
        2_000_000_000_000 + self.0.elapsed().as_millis() as u64
    }

    fn monotonic(&self) -> Instant {
        time::Instant::now().into_std()
    }
}

/// Draws that a seed decides.
#[derive(Clone)]
struct Draw(u64);

impl Draw {
    fn of(seed: u64, what: u64) -> Self {
        Self(seed ^ what.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.below(most_ms))).await;
    }
}

/// One byte of one beginning of a file in one flight.
fn byte(beginning: u64, at: u64) -> u8 {
    ((at / 61 + beginning * 7_919) % 251 + 1) as u8
}

/// The bytes of one beginning as they arrive; elsewhere are zeros, as in a sparse file.
struct Growing {
    beginning: u64,
    here: Mutex<Ranges>,
}

impl ReadAt for Growing {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let here = self.here.lock().unwrap();
        let n = buf.len().min(SIZE.saturating_sub(offset) as usize);
        buf[..n].fill(0);
        let mut at = offset;
        while at < offset + n as u64 {
            let end = here.run_end(at).clamp(at + 1, offset + n as u64);
            if here.run_end(at) > at {
                (at..end).for_each(|at| buf[(at - offset) as usize] = byte(self.beginning, at));
            }
            at = end;
        }
        Ok(n)
    }
}

/// What a flight does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Arrives,
    BeginsAnew,
    IsWrong,
    BreaksOff,
    Unknown,
    Panics,
    Hangs,
}

#[derive(Default)]
struct Seen {
    flying: BTreeMap<FileName, u64>,
    most: usize,
    begun: Vec<FileName>,
    /// When a file turned out to be unknown.
    unknown_since: BTreeMap<FileName, u64>,
    /// Beginnings that were found to be what they should be.
    verified: Vec<u64>,
    faults: Vec<String>,
}

struct Fake {
    seed: u64,
    acts: Vec<Act>,
    cancel: CancellationToken,
    clock: SharedClock,
    seen: Mutex<Seen>,
}

impl Fake {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn act(&self, flight: &Arc<Flight>, number: u64) -> Ending {
        let mut draw = Draw::of(self.seed, number);
        let act = self.acts[draw.below(self.acts.len() as u64) as usize];
        draw.pause(300).await;
        match act {
            Act::Unknown => return Ending::Unknown,
            Act::Panics if draw.below(2) == 0 => panic!("on purpose"),
            Act::Hangs if draw.below(2) == 0 => std::future::pending().await,
            _ => {}
        }
        let beginnings = if act == Act::BeginsAnew { 1 + draw.below(3) } else { 1 };
        for n in 1..=beginnings {
            let beginning = number * 100 + n;
            let bytes = Arc::new(Growing { beginning, here: Mutex::default() });
            let mut sight = sight_of(n as u32, bytes.clone());
            flight.tell(sight.clone());
            let most = if n < beginnings || act == Act::BreaksOff { SIZE / 2 + draw.below(SIZE / 2) } else { SIZE };
            while sight.here.len() < most {
                let at = match draw.below(4) {
                    0 => draw.below(SIZE),
                    _ => sight.here.run_end(0),
                };
                let piece = at..(at + 1 + draw.below(2 * GROUP_BYTES)).min(SIZE);
                bytes.here.lock().unwrap().insert(piece);
                sight.here = Arc::new(bytes.here.lock().unwrap().clone());
                flight.tell(sight.clone());
                draw.pause(40).await;
                match act {
                    Act::Panics => panic!("on purpose"),
                    Act::Hangs => std::future::pending().await,
                    _ => {}
                }
            }
            if n == beginnings && !matches!(act, Act::BreaksOff | Act::IsWrong) {
                self.seen().verified.push(beginning);
                flight.tell_verified(&sight);
                draw.pause(100).await;
                return Ending::Published;
            }
        }
        Ending::Later { retry_after: Duration::from_secs(1), why: "on purpose".to_owned() }
    }
}

fn sight_of(start: u32, bytes: Arc<dyn ReadAt>) -> Sight {
    Sight { start, size: SIZE, modified: None, root: None, may_flow: true, here: Arc::default(), bytes, outboard: None }
}

/// Takes a flight off the list, whatever ends it.
struct Listed<'a>(&'a Fake, FileName);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.seen().flying.remove(&self.1);
    }
}

impl Spring for Fake {
    fn outlook<'a>(&'a self, _: &'a FolderName, name: &'a FileName, _: &'a Client) -> BoxFuture<'a, Outlook> {
        let text = name.as_str().to_owned();
        let mut draw = Draw::of(self.seed, text.len() as u64 + self.clock.unix_ms());
        Box::pin(async move {
            // Others come between the question and its answer.
            draw.pause(20).await;
            if text == "never" { Outlook::Unknown } else { Outlook::Good }
        })
    }

    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending> {
        Box::pin(async move {
            let (name, now) = (flight.name.clone(), self.clock.unix_seconds());
            let number = {
                let mut seen = self.seen();
                if seen.flying.insert(name.clone(), 0).is_some() {
                    seen.faults.push(format!("{name} flies twice"));
                }
                if let Some(since) = seen.unknown_since.get(&name).filter(|since| now < **since + UNKNOWN_FOR - 1) {
                    let fault = format!("{name} is asked for at {now} though unknown since {since}");
                    seen.faults.push(fault);
                }
                seen.most = seen.most.max(seen.flying.len());
                seen.begun.push(name.clone());
                seen.begun.len() as u64
            };
            let _listed = Listed(self, name.clone());
            let ending = tokio::select! {
                () = self.cancel.cancelled() => stopped(),
                ending = self.act(flight, number) => ending,
            };
            if ending == Ending::Unknown {
                self.seen().unknown_since.insert(name, self.clock.unix_seconds());
            }
            ending
        })
    }

    fn describe<'a>(&'a self, _: &'a FolderName, _: &'a FileName) -> BoxFuture<'a, Option<Description>> {
        Box::pin(std::future::ready(None))
    }
}

fn folder() -> FolderName {
    FolderName::new("waptwua").unwrap()
}

fn file(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn host(n: u8) -> Client {
    Client::Host([10, 0, 0, n].into())
}

fn flights_of(seed: u64, acts: &[Act], max_flights: usize, per_client: u64) -> (Arc<Fake>, Arc<Flights>) {
    let (clock, cancel): (SharedClock, _) = (Arc::new(Ticks(time::Instant::now())), CancellationToken::new());
    let (acts, seen) = (acts.to_vec(), Mutex::default());
    let fake = Arc::new(Fake { seed, acts, cancel: cancel.clone(), clock: clock.clone(), seen });
    let limits = FlightLimits { max_flights, quota: QuotaLimits { per_client, all: u64::MAX } };
    let flights = Flights::new(fake.clone(), clock, limits, cancel);
    (fake, flights)
}

fn runtime() -> tokio::runtime::Runtime {
    run_at_once_on_this_thread();
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Asks for a file, reads some of it, and says what is wrong with that.
async fn asker(flights: Arc<Flights>, fake: Arc<Fake>, mut draw: Draw) -> Option<String> {
    draw.pause(20_000).await;
    let name = match draw.below(8) {
        0 => file("never"),
        n => file(&format!("f{n}")),
    };
    let client = match draw.below(5) {
        0 => Client::Background,
        1 => Client::Member(NodeName::new("lyon").unwrap()),
        n => host(n as u8),
    };
    let Joined::Flight(flight) = flights.join(&folder(), &name, &client).await else { return None };
    let mut progress = flight.watch();
    let told = progress.wait_for(|progress| progress.sight.is_some() || matches!(progress.phase, Phase::Ended(_)));
    let sight = timeout(PATIENCE, told).await.map(|told| told.unwrap().sight.clone());
    let Ok(sight) = sight else { return Some("nothing was told".to_owned()) };
    let sight = sight?;
    let start = draw.below(SIZE);
    let range = if draw.below(2) == 0 { 0..SIZE } else { start..(start + 1 + draw.below(SIZE - start)).min(SIZE) };
    let leaves_after = if draw.below(4) == 0 { draw.below(4) } else { u64::MAX };
    read(Reader::new(flight, &sight, range.clone()), range, leaves_after, &fake, draw).await
}

async fn read(mut reader: Reader, range: Range<u64>, leaves_after: u64, fake: &Fake, mut draw: Draw) -> Option<String> {
    let mut got = Vec::new();
    let mut reads = 0;
    while let Ok(Some(Ok(bytes))) = timeout(PATIENCE, reader.next()).await {
        got.extend_from_slice(&bytes);
        reads += 1;
        if reads > leaves_after {
            return None;
        }
        draw.pause(60).await;
    }
    // A byte tells the beginning, the flight and the place.
    let mut expected = fake.seen().verified.clone();
    let begun = fake.seen().begun.len() as u64;
    expected.extend((1..=begun).flat_map(|number| (1..4).map(move |n| number * 100 + n)));
    let is_of = |beginning: &&u64| (range.start..).zip(&got).all(|(at, is)| *is == byte(**beginning, at));
    let Some(beginning) = expected.iter().find(is_of).copied() else {
        return Some(format!("{} bytes from {} are of no beginning", got.len(), range.start));
    };
    let held_from = (SIZE - 1) / GROUP_BYTES * GROUP_BYTES;
    let has_last = range.start + got.len() as u64 > held_from && !got.is_empty();
    (has_last && !fake.seen().verified.contains(&beginning)).then(|| "a last group of unverified bytes".to_owned())
}

async fn story(seed: u64, max_flights: usize) {
    let all = [Act::Arrives, Act::BeginsAnew, Act::IsWrong, Act::BreaksOff, Act::Unknown, Act::Panics, Act::Hangs];
    let (fake, flights) = flights_of(seed, &all, max_flights, u64::MAX);
    let mut askers = JoinSet::new();
    for n in 0..40 {
        askers.spawn(asker(flights.clone(), fake.clone(), Draw::of(seed, 1_000 + n)));
    }
    // What hangs hangs until the end; whoever waits for it then ends too.
    sleep(Duration::from_secs(60)).await;
    let waiting: Vec<_> = flights.list();
    fake.cancel.cancel();
    timeout(PATIENCE, flights.stopped()).await.expect("every flight ends");
    let faults: Vec<_> = askers.join_all().await.into_iter().flatten().collect();
    assert_eq!(faults, [""; 0], "seed {seed}");
    is_right(&fake.seen(), max_flights, seed);
    assert!(flights.list().is_empty() && flights.air().flying == 0 && flights.air().queue.len() == 0);
    assert!(waiting.iter().all(|flight| matches!(flight.progress().phase, Phase::Ended(_))));
    assert!(waiting.iter().all(|flight| flight.readers() == 0 && flight.demand().borrow().is_empty()));
    let late = flights.join(&folder(), &file("late"), &host(1)).await;
    assert!(matches!(late, Joined::Later(_)), "nothing begins after the end");
}

fn is_right(seen: &Seen, max_flights: usize, seed: u64) {
    assert_eq!(seen.faults, [""; 0], "seed {seed}");
    assert!(seen.most <= max_flights && seen.flying.is_empty(), "seed {seed}: {} at once", seen.most);
    assert!(!seen.begun.contains(&file("never")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn a_file_has_one_flight_few_fly_at_once_all_end_and_nobody_gets_a_mix_whatever_happens(
        seed in any::<u64>(),
        max_flights in 1_usize..4,
    ) {
        runtime().block_on(story(seed, max_flights));
    }
}

#[test]
fn a_client_that_asks_for_much_makes_nobody_else_wait_for_all_of_it() {
    runtime().block_on(async {
        let (fake, flights) = flights_of(1, &[Act::Arrives], 1, u64::MAX);
        let mut watches = Vec::new();
        let own = [("own", Client::Background)].into_iter();
        let many = (1..=5).map(|n| (["m0", "m1", "m2", "m3", "m4", "m5"][n], host(1)));
        for (name, client) in own.chain(many).chain([("other", host(2)), ("own2", Client::Background)]) {
            let Joined::Flight(flight) = flights.join(&folder(), &file(name), &client).await else { panic!("{name}") };
            watches.push(flight.watch());
        }
        for mut watch in watches {
            let ended = watch.wait_for(|progress| matches!(progress.phase, Phase::Ended(_)));
            assert!(timeout(PATIENCE, ended).await.unwrap().unwrap().is_verified());
        }
        let begun: Vec<_> = fake.seen().begun.iter().map(ToString::to_string).collect();
        assert_eq!(begun, ["own", "m1", "other", "m2", "m3", "m4", "m5", "own2"]);
    });
}

async fn ended(flights: &Arc<Flights>, name: &str, client: &Client) -> Option<Ending> {
    match flights.join(&folder(), &file(name), client).await {
        Joined::Flight(flight) => Some(end_of(&flight).await),
        _ => None,
    }
}

async fn end_of(flight: &Flight) -> Ending {
    let mut watch = flight.watch();
    let ended = watch.wait_for(|progress| matches!(progress.phase, Phase::Ended(_)));
    match timeout(PATIENCE, ended).await.unwrap().unwrap().phase.clone() {
        Phase::Ended(ending) => ending,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_asked_for_at_once_counts_too_and_what_others_want_as_well_flies() {
    runtime().block_on(async {
        let (fake, flights) = flights_of(2, &[Act::Arrives], 1, SIZE);
        let (one, two) = (host(1), host(2));
        let mut flying = Vec::new();
        for (name, client) in [("a", &one), ("b", &one), ("c", &one), ("c", &two), ("d", &host(3))] {
            let Joined::Flight(flight) = flights.join(&folder(), &file(name), client).await else { panic!("{name}") };
            flying.push(flight);
        }
        let mut endings = Vec::new();
        for flight in &flying {
            endings.push(end_of(flight).await);
        }
        let is_late =
            |ending: &Ending| matches!(ending, Ending::Later { retry_after, .. } if retry_after.as_secs() > 3_600);
        assert!(is_late(&endings.remove(1)), "what was asked for at once counts too");
        assert_eq!(endings, [const { Ending::Published }; 4], "others want it too, or want another file");
        assert!(matches!(flights.join(&folder(), &file("e"), &one).await, Joined::OverQuota(_)));
        assert_eq!(ended(&flights, "f", &Client::Background).await, Some(Ending::Published));
        assert!(!fake.seen().begun.contains(&file("b")));
        sleep(Duration::from_secs(25 * 3_600)).await;
        assert_eq!(ended(&flights, "e", &one).await, Some(Ending::Published), "a day later");
    });
}

#[test]
fn a_name_that_nobody_knows_is_not_asked_for_again_for_half_a_minute() {
    runtime().block_on(async {
        let (fake, flights) = flights_of(3, &[Act::Unknown], 2, u64::MAX);
        assert_eq!(ended(&flights, "x", &host(1)).await, Some(Ending::Unknown));
        for _ in 0..29 {
            assert!(matches!(flights.join(&folder(), &file("x"), &host(2)).await, Joined::Unknown));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(fake.seen().begun.len(), 1);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(ended(&flights, "x", &host(1)).await, Some(Ending::Unknown));
        assert_eq!(fake.seen().begun.len(), 2);
    });
}

#[test]
fn what_waits_for_its_turn_ends_with_everything() {
    runtime().block_on(async {
        let (fake, flights) = flights_of(4, &[Act::Hangs], 1, u64::MAX);
        let names = ["a", "b", "c"].map(file);
        let mut watches = Vec::new();
        for name in &names {
            let Joined::Flight(flight) = flights.join(&folder(), name, &host(1)).await else { panic!("{name}") };
            watches.push(flight.watch());
        }
        fake.cancel.cancel();
        timeout(PATIENCE, flights.stopped()).await.unwrap();
        assert!(watches.iter().all(|watch| matches!(watch.borrow().phase, Phase::Ended(Ending::Later { .. }))));
        assert_eq!(fake.seen().begun, names[..1], "the others never began");
    });
}
