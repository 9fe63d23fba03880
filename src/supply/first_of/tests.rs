//! What is answered, and when, under time that stands still.

use super::*;
use crate::{
    base::clock::{SharedClock, SystemClock},
    domain::{
        digest::Root,
        name::{FileName, FolderName},
    },
    repository::{
        Repository,
        testing::{OLD, Place, adopt, folder, follow, immutable, name, rescan, root_of},
    },
    supply::{
        flight::Client,
        flights::FlightLimits,
        quota::QuotaLimits,
        spring::{Outlook, Spring},
    },
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const BYTES: &[u8] = b"the bytes of a file";
const SIZE: u64 = BYTES.len() as u64;

type Fly = Box<dyn Fn(Arc<Flight>) -> BoxFuture<'static, Ending> + Send + Sync>;

/// A source that does what it is told, in the time that it is told.
struct Fake {
    fly: Fly,
    flights: AtomicUsize,
    describes_after: Duration,
}

impl Spring for Fake {
    fn outlook<'a>(&'a self, _: &'a FolderName, _: &'a FileName, _: &'a Client) -> BoxFuture<'a, Outlook> {
        Box::pin(std::future::ready(Outlook::Good))
    }

    fn fly<'a>(&'a self, flight: &'a Arc<Flight>) -> BoxFuture<'a, Ending> {
        self.flights.fetch_add(1, Relaxed);
        (self.fly)(flight.clone())
    }

    fn describe<'a>(&'a self, _: &'a FolderName, _: &'a FileName) -> BoxFuture<'a, Option<Description>> {
        Box::pin(async {
            sleep(self.describes_after).await;
            Some(Description { size: 4_711, modified: Some(7) })
        })
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn hangs() -> Fly {
    Box::new(|_| Box::pin(std::future::pending()))
}

fn ends(ending: Ending) -> Fly {
    Box::new(move |_| Box::pin(std::future::ready(ending.clone())))
}

fn later(wait: u64) -> Ending {
    Ending::Later { retry_after: seconds(wait), why: String::new() }
}

/// After a second it is told of, and after `verified` seconds it is what it should be.
fn arrives(may_flow: bool, verified: u64) -> Fly {
    Box::new(move |flight| {
        Box::pin(async move {
            sleep(seconds(1)).await;
            let sight = Sight {
                start: 1,
                size: SIZE,
                modified: Some(7),
                root: None,
                may_flow,
                here: Arc::default(),
                bytes: Arc::new(BYTES.to_vec()),
                outboard: None,
            };
            flight.tell(sight.clone());
            sleep(seconds(verified - 1)).await;
            flight.tell_verified(&sight);
            std::future::pending().await
        })
    })
}

struct Given {
    supply: Supply,
    spring: Arc<Fake>,
    began: Instant,
}

impl Given {
    fn new(repository: Repository, fly: Fly, describes_after: u64) -> Self {
        let spring = Arc::new(Fake { fly, flights: AtomicUsize::new(0), describes_after: seconds(describes_after) });
        let clock: SharedClock = Arc::new(SystemClock);
        let quota = QuotaLimits { per_client: u64::MAX, all: u64::MAX };
        let limits = FlightLimits { max_flights: 1, quota };
        let flights = Flights::new(spring.clone(), clock, limits, CancellationToken::new());
        let supply = Supply::new(Local::new(Arc::new(repository)), Some(flights));
        Self { supply, spring, began: Instant::now() }
    }

    /// What is answered, and after how many seconds.
    async fn ask(&self, text: &str, describe: bool) -> (Answer, u64) {
        let (client, began) = (Client::Host([10, 0, 0, 1].into()), Instant::now());
        let answer = self.supply.find(&Ask { folder: folder(), name: name(text), client, describe }).await;
        (answer, began.elapsed().as_secs())
    }
}

fn in_words((answer, after): (Answer, u64)) -> String {
    let answer = match answer {
        Answer::Held(held) => format!("held {}", held.size),
        Answer::Growing(GrowingFile { size, modified, root, flight }) => {
            let root = root.map_or(String::new(), |_| " of a root".to_owned());
            let reads = if flight.is_some() { " to read" } else { "" };
            format!("growing {size} {modified:?}{root}{reads}")
        }
        Answer::Unknown => "unknown".to_owned(),
        Answer::NotYet { retry_after } => format!("not for {retry_after:?}"),
        Answer::OverQuota { .. } => "over quota".to_owned(),
    };
    format!("{answer}, after {after}")
}

#[tokio::test(start_paused = true)]
async fn a_head_is_described_by_the_source_while_its_flight_waits_for_its_turn() {
    for (describes_after, expected) in
        [(0, "growing 4711 Some(7), after 0"), (4, "growing 4711 Some(7), after 4"), (6, "not for 5s, after 5")]
    {
        let place = Place::new();
        let given = Given::new(place.main(), hangs(), describes_after);
        assert_eq!(in_words(given.ask("first", true).await), "not for 5s, after 5", "it flies: its flight would tell");
        assert_eq!(in_words(given.ask("second", true).await), expected);
        assert_eq!(given.spring.flights.load(Relaxed), 1, "the second one waits");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_answered_as_soon_as_its_flight_tells() {
    let place = Place::new();
    let given = Given::new(place.main(), arrives(false, 90), 0);
    assert_eq!(in_words(given.ask("f", true).await), "growing 19 Some(7) to read, after 1");
}

#[tokio::test(start_paused = true)]
async fn what_the_index_names_is_described_at_once_and_its_flight_begins() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    let kb = immutable("kb", BYTES);
    place.write_at(&kb, BYTES, OLD);
    adopt(&main, &[&kb]).unwrap();
    follow(&main, &child).unwrap();
    let given = Given::new(child, hangs(), 9);
    let (answer, after) = given.ask(&kb, true).await;
    let Answer::Growing(GrowingFile { size, modified, root, flight: None }) = answer else { panic!() };
    assert_eq!((size, modified, root, after), (SIZE, Some(OLD as i64), Some(root_of(BYTES)), 0));
    tokio::task::yield_now().await;
    assert_eq!(given.spring.flights.load(Relaxed), 1);
    assert_eq!(in_words(given.ask(&kb, false).await), "not for 5s, after 30", "whoever reads waits for bytes");
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_does_not_know_what_the_index_names_makes_nobody_believe_that_it_is_not_there() {
    let (place, below) = (Place::new(), Place::new());
    let (main, child) = (place.main(), below.secondary());
    place.write_at("f", BYTES, OLD);
    adopt(&main, &["f"]).unwrap();
    follow(&main, &child).unwrap();
    let given = Given::new(child, ends(Ending::Unknown), 9);
    for _ in 0..2 {
        assert_eq!(in_words(given.ask("f", false).await), "not for 5s, after 0");
    }
    assert_eq!(given.spring.flights.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_half_a_minute_for_what_only_the_end_vouches_for_and_not_at_all_for_what_its_name_does() {
    for (may_flow, verified, expected) in [
        (true, 90, "growing 19 Some(7) to read, after 1"),
        (false, 20, "growing 19 Some(7) to read, after 20"),
        (false, 40, "not for 5s, after 30"),
    ] {
        let place = Place::new();
        let given = Given::new(place.main(), arrives(may_flow, verified), 0);
        assert_eq!(in_words(given.ask("f", false).await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn how_a_flight_ends_is_answered() {
    for (ending, expected) in [
        (Ending::Unknown, "unknown, after 0"),
        (later(7), "not for 7s, after 0"),
        (later(7_000), "not for 7000s, after 0"),
    ] {
        for describe in [true, false] {
            let place = Place::new();
            let given = Given::new(place.main(), ends(ending.clone()), 9);
            assert_eq!(in_words(given.ask("f", describe).await), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_published_meanwhile_is_looked_for_again_and_not_for_ever() {
    let place = Place::new();
    place.write_at("f", BYTES, OLD);
    let main = Arc::new(place.main());
    let publishes: Fly = {
        let main = main.clone();
        Box::new(move |_| {
            adopt(&main, &["f"]).unwrap();
            Box::pin(std::future::ready(Ending::Published))
        })
    };
    let quota = QuotaLimits { per_client: u64::MAX, all: u64::MAX };
    let limits = FlightLimits { max_flights: 1, quota };
    let spring = Arc::new(Fake { fly: publishes, flights: AtomicUsize::new(0), describes_after: seconds(9) });
    let flights = Flights::new(spring.clone(), Arc::new(SystemClock), limits, CancellationToken::new());
    // Not held before: what is looked for under another name goes the same way.
    let joined = flights.join(&folder(), &name("f"), &Client::Background).await;
    let Joined::Flight(flight) = joined else { panic!() };
    let ask = Ask { folder: folder(), name: name("f"), client: Client::Background, describe: false };
    assert!(first_word(&flights, flight, &ask).await.is_none(), "look again");
    let supply = Supply::new(Local::new(main), Some(flights));
    let Answer::Held(held) = supply.find(&ask).await else { panic!() };
    assert_eq!((held.size, held.root), (SIZE, Some(Root::from(blake3::hash(BYTES)))));

    let place = Place::new();
    let given = Given::new(place.main(), ends(Ending::Published), 9);
    assert_eq!(in_words(given.ask("f", false).await), "not for 5s, after 0");
    assert_eq!(given.spring.flights.load(Relaxed), LOOKS);
    assert!(given.began.elapsed() < seconds(1));
}

#[tokio::test(start_paused = true)]
async fn what_has_its_name_and_not_yet_its_row_is_read_from_its_flight() {
    let place = Place::new();
    let main = place.main();
    rescan(&main);
    let given = Given::new(main, arrives(true, 2), 9);
    assert_eq!(in_words(given.ask("f", false).await), "growing 19 Some(7) to read, after 1");
    for file in ["f", "written by somebody"] {
        place.write_at(file, BYTES, OLD);
    }
    assert_eq!(in_words(given.ask("f", false).await), "growing 19 Some(7) to read, after 0");
    assert_eq!(in_words(given.ask("written by somebody", false).await), "not for 5s, after 0");
    assert_eq!(given.spring.flights.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_fetches_nothing_says_what_it_has() {
    let place = Place::new();
    place.write_at("f", BYTES, OLD);
    let main = place.main();
    adopt(&main, &["f"]).unwrap();
    let supply = Supply::new(Local::new(Arc::new(main)), None);
    let ask = |text: &str| Ask { folder: folder(), name: name(text), client: Client::Background, describe: false };
    assert!(matches!(supply.find(&ask("f")).await, Answer::Held(_)));
    assert!(matches!(supply.find(&ask("g")).await, Answer::Unknown));
}
