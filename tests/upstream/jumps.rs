//! Readers far ahead of what has arrived: they are served first, and the file comes whole all the same.

use crate::{
    hostile::{Hostile, Part},
    nginx::{asked, put, start},
    resume::{any, from, part, rest, whole},
    site::{DATE, LATER, Site, blob, origin, promise_of, settings, upstream},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::{Notify, watch};
use wuasync::{
    base::read_at::ReadAt,
    upstream::{Demand, Fetched, Growth, Promise, Upstream, UpstreamError},
};

const SIZE: usize = 10_000_000;
/// What arrives before the jump.
const FIRST: usize = 300_000;
/// What of `FIRST` bytes proves itself after a restart.
const PROVEN: usize = 262_144;
/// Where the reader waits, and the beginning of its group.
const READER: u64 = 9_900_000;
const TAIL: usize = 9_895_936;

/// The bytes from one position to before another.
fn between(from: usize, until: usize) -> Option<String> {
    Some(format!("bytes={from}-{}", until - 1))
}

/// 206 with the bytes from one position to before another.
fn piece(data: &[u8], date: &str, from: usize, until: usize) -> Vec<Part> {
    let range = format!("bytes {from}-{}/{}", until - 1, data.len());
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: {}\r\nLast-Modified: {date}\r\n\r\n",
        until - from
    );
    vec![Part::Text(head), Part::Bytes(data[from..until].to_vec())]
}

/// The first bytes, and then nothing more.
fn beginning(data: &[u8]) -> Vec<Part> {
    [whole(data, DATE, FIRST), vec![Part::Hold]].concat()
}

fn gated(gate: &Arc<Notify>, reply: Vec<Part>) -> Vec<Part> {
    [vec![Part::Until(gate.clone())], reply].concat()
}

/// A fetch with a reader that begins to wait at `READER` once `FIRST` bytes are here.
struct Jump {
    hostile: Hostile,
    upstream: Upstream,
    site: Site,
    growth: watch::Sender<Option<Growth>>,
    demand: watch::Sender<BTreeSet<u64>>,
}

impl Jump {
    async fn of(script: Vec<Vec<Part>>) -> Self {
        let (hostile, upstream, site) = origin(script).await;
        Self { hostile, upstream, site, growth: watch::channel(None).0, demand: watch::channel(BTreeSet::new()).0 }
    }

    /// Runs until its end, or until `seen` has seen enough.
    async fn until(&self, promise: Promise, seen: impl Fn(&Growth) -> bool) -> Option<Result<Fetched, UpstreamError>> {
        let (mut first, mut grown) = (self.growth.subscribe(), self.growth.subscribe());
        let waits = async {
            first.wait_for(|it| it.as_ref().is_some_and(|it| it.arrived() >= FIRST as u64)).await.unwrap();
            self.demand.send_replace(BTreeSet::from([READER]));
            std::future::pending::<()>().await
        };
        let demand = Demand::from(self.demand.subscribe());
        tokio::select! {
            fetched = self.site.fetch_for(&self.upstream, promise, &self.growth, &demand) => Some(fetched),
            there = grown.wait_for(|it| it.as_ref().is_some_and(&seen)) => {
                drop(there.unwrap());
                None
            }
            () = waits => None,
        }
    }

    /// The file arrives right; what was asked for.
    async fn ends_right(self, promise: Promise, data: &[u8]) -> Vec<Option<String>> {
        let fetched = self.until(promise, |_| false).await.unwrap();
        self.site.publish(fetched.unwrap_or_else(|error| panic!("{error:?}")), data);
        self.hostile.ranges()
    }

    fn start(&self) -> u32 {
        self.growth.borrow().as_ref().unwrap().start
    }
}

#[tokio::test]
async fn a_reader_of_the_last_bytes_is_served_first_and_the_file_arrives_whole() {
    let (data, gate) = (blob(1, SIZE), Arc::new(Notify::new()));
    let gap = gated(&gate, piece(&data, DATE, FIRST, TAIL));
    let jump = Jump::of(vec![beginning(&data), rest(&data, DATE, TAIL), gap]).await;
    let mut grown = jump.growth.subscribe();
    let reads = async {
        let tail = TAIL as u64..SIZE as u64;
        let there = grown.wait_for(|it| it.as_ref().is_some_and(|it| it.here.contains(&tail))).await;
        let growth = there.unwrap().clone().unwrap();
        let mut bytes = vec![0; SIZE - READER as usize];
        growth.read_exact_at(&mut bytes, READER).unwrap();
        assert!(bytes == data[READER as usize..]);
        assert_eq!((growth.arrived(), growth.start), (FIRST as u64, 1));
        gate.notify_one();
    };
    let (fetched, ()) = tokio::join!(jump.until(promise_of(&data), |_| false), reads);
    jump.site.publish(fetched.unwrap().unwrap(), &data);
    assert_eq!((jump.hostile.ranges(), jump.start()), (vec![None, from(TAIL), between(FIRST, TAIL)], 1));
    let dates: Vec<_> = jump.hostile.requests().iter().map(|it| it.header("if-range").map(str::to_owned)).collect();
    assert_eq!(dates, [None, Some(DATE.to_owned()), Some(DATE.to_owned())]);
}

#[tokio::test]
async fn an_origin_that_ignores_the_range_of_a_jump_is_read_on_and_asked_for_no_other() {
    let data = blob(2, SIZE);
    let jump = Jump::of(vec![beginning(&data), whole(&data, DATE, SIZE)]).await;
    let fetched = jump.until(promise_of(&data), |_| false).await.unwrap().unwrap();
    assert_eq!((jump.start(), jump.hostile.ranges()), (1, vec![None, from(TAIL)]));
    jump.site.publish(fetched, &data);
}

#[tokio::test]
async fn a_wrong_range_on_a_jump_is_never_taken_and_the_file_is_asked_for_without_one() {
    let data = blob(3, SIZE);
    let last = SIZE - 1;
    for (wrong, sent_from) in [
        (format!("bytes {READER}-{last}/{SIZE}"), READER as usize),
        (format!("bytes {FIRST}-{last}/{SIZE}"), FIRST),
        (format!("bytes {TAIL}-{SIZE}/{SIZE}"), TAIL),
        (format!("bytes {TAIL}-{last}/*"), TAIL),
    ] {
        let nonsense = part(&data, DATE, &wrong, sent_from);
        let jump = Jump::of(vec![beginning(&data), nonsense, whole(&data, DATE, SIZE)]).await;
        assert_eq!(jump.ends_right(promise_of(&data), &data).await, [None, from(TAIL), None], "{wrong}");
    }
    let beyond = part(&data, DATE, &format!("bytes {FIRST}-{last}/{SIZE}"), FIRST);
    let jump = Jump::of(vec![beginning(&data), rest(&data, DATE, TAIL), beyond, whole(&data, DATE, SIZE)]).await;
    let asked = jump.ends_right(promise_of(&data), &data).await;
    assert_eq!(asked, [None, from(TAIL), between(FIRST, TAIL), None], "more than the gap");
}

#[tokio::test]
async fn a_file_that_changes_between_its_pieces_is_begun_anew_and_never_mixed() {
    let (old, new) = (blob(4, SIZE), blob(5, SIZE));
    // The reader still waits, of the new bytes too.
    let anew = || vec![rest(&new, LATER, TAIL), piece(&new, LATER, 0, TAIL)];
    let again = || vec![from(TAIL), between(0, TAIL)];
    for (name, script, asked) in [
        ("at the jump", vec![rest(&new, LATER, TAIL), whole(&new, LATER, SIZE)], vec![from(TAIL), None]),
        ("whole at the jump", vec![whole(&new, LATER, SIZE)], vec![from(TAIL)]),
        (
            "in the gap",
            vec![rest(&old, DATE, TAIL), piece(&new, LATER, FIRST, TAIL), whole(&new, LATER, SIZE)],
            vec![from(TAIL), between(FIRST, TAIL), None],
        ),
    ] {
        let jump = Jump::of([vec![beginning(&old)], script, anew()].concat()).await;
        let mut grown = jump.growth.subscribe();
        let reads = async {
            let first = grown.wait_for(|it| it.as_ref().is_some_and(|it| it.arrived() >= FIRST as u64)).await;
            first.unwrap().clone().unwrap()
        };
        let (fetched, first) = tokio::join!(jump.until(any(), |_| false), reads);
        assert_eq!(jump.start(), 2, "{name}");
        jump.site.publish(fetched.unwrap().unwrap_or_else(|error| panic!("{name}: {error:?}")), &new);
        assert_eq!(jump.hostile.ranges(), [vec![None], asked, again()].concat(), "{name}");
        assert!(old.starts_with(&crate::site::read(&first)), "{name}: who reads the old bytes reads no new ones");
    }
}

#[tokio::test]
async fn pieces_of_two_files_under_one_date_are_fetched_once_more_from_one_answer() {
    let (other, data) = (blob(6, SIZE), blob(7, SIZE));
    let gap = piece(&other, DATE, FIRST, TAIL);
    let jump = Jump::of(vec![beginning(&data), rest(&data, DATE, TAIL), gap, whole(&data, DATE, SIZE)]).await;
    let asked = jump.ends_right(promise_of(&data), &data).await;
    assert_eq!(asked, [None, from(TAIL), between(FIRST, TAIL), None]);
}

#[tokio::test]
async fn a_cut_of_either_piece_costs_nothing_that_had_arrived() {
    let data = blob(8, SIZE);
    // The reader has what it waits for when the tail is cut.
    let mut tail = rest(&data, DATE, TAIL);
    tail[1] = Part::Bytes(data[TAIL..TAIL + 10_000].to_vec());
    let mut gap = piece(&data, DATE, FIRST, TAIL);
    gap[1] = Part::Bytes(data[FIRST..2_000_000].to_vec());
    let (tail_rest, gap_rest) = (rest(&data, DATE, TAIL + 10_000), piece(&data, DATE, 2_000_000, TAIL));
    let jump = Jump::of(vec![beginning(&data), tail, tail_rest, gap, gap_rest]).await;
    let asked = jump.ends_right(promise_of(&data), &data).await;
    let gaps = [between(FIRST, TAIL), between(2_000_000, TAIL)];
    assert_eq!(asked, [vec![None, from(TAIL), from(TAIL + 10_000)], gaps.to_vec()].concat());
}

#[tokio::test]
async fn after_a_restart_what_was_ahead_is_forgotten_and_the_file_ends_whole() {
    let data = blob(9, SIZE);
    let mut tail = rest(&data, DATE, TAIL);
    tail[1] = Part::Bytes(data[TAIL..SIZE - 1].to_vec());
    tail.push(Part::Hold);
    for is_awaited in [false, true] {
        let after = match is_awaited {
            false => vec![rest(&data, DATE, PROVEN)],
            true => vec![rest(&data, DATE, TAIL), piece(&data, DATE, PROVEN, TAIL)],
        };
        let jump = Jump::of([vec![beginning(&data), tail.clone()], after].concat()).await;
        let ahead = TAIL as u64..SIZE as u64 - 1;
        assert!(jump.until(promise_of(&data), |growth| growth.here.contains(&ahead)).await.is_none());
        let Jump { hostile, upstream, site, growth, demand } = jump;
        let site = site.restarted();
        let demand = if is_awaited { Demand::from(demand.subscribe()) } else { Demand::none() };
        let fetched = site.fetch_for(&upstream, promise_of(&data), &growth, &demand).await.unwrap();
        site.publish(fetched, &data);
        let expected = if is_awaited { vec![from(TAIL), between(PROVEN, TAIL)] } else { vec![from(PROVEN)] };
        assert_eq!(hostile.ranges()[2..], expected);
    }
}

#[tokio::test]
async fn readers_near_what_arrives_cost_a_real_server_no_request_and_those_far_ahead_four_jumps() {
    const MIB: u64 = 1 << 20;
    for (readers, expected) in [
        (vec![0, 5 * MIB, 8 * MIB, 60 * MIB], vec![None]),
        (
            vec![9 * MIB, 19 * MIB, 29 * MIB, 39 * MIB, 49 * MIB, 59 * MIB],
            vec![
                None,
                from(59 << 20),
                between(49 << 20, 59 << 20),
                between(39 << 20, 49 << 20),
                between(29 << 20, 39 << 20),
                between(0, 29 << 20),
            ],
        ),
    ] {
        let nginx = start("");
        let (data, site) = (blob(10, 60 << 20), Site::new());
        put(&nginx, &data);
        let (growth, demand) = (watch::channel(None).0, watch::channel(readers.into_iter().collect()).0);
        let upstream = upstream(settings(nginx.address));
        let demand = Demand::from(demand.subscribe());
        let fetched = site.fetch_for(&upstream, promise_of(&data), &growth, &demand).await;
        site.publish(fetched.unwrap(), &data);
        let mut asked: Vec<_> = asked(&nginx, expected.len()).await.iter().map(|line| range_of(line)).collect();
        let mut expected = expected;
        // A line is written when its answer has ended, which is later for one that is left.
        asked.sort();
        expected.sort();
        assert_eq!(asked, expected);
    }
}

/// What a line of nginx's log says of the range.
fn range_of(line: &str) -> Option<String> {
    line.split(' ').nth(3).filter(|range| *range != "-").map(str::to_owned)
}
