//! What happens in a story, drawn from its seed. Pure.

use super::draw::Draw;

/// Something that happens. Numbers named `pick` choose among what is there when it happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A whole file under an immutable name appears at the main.
    Appears {
        size: usize,
        pick: u64,
    },
    /// Content that is there already appears under a second immutable name.
    Doubles {
        pick: u64,
    },
    /// Half of a file is under an immutable name; the whole follows.
    HalfAppears {
        size: usize,
        pick: u64,
    },
    /// A mutable file appears or changes.
    Changes {
        size: usize,
        pick: u64,
    },
    Disappears {
        pick: u64,
    },
    IsRenamed {
        pick: u64,
    },
    /// The path between two nodes is cut, or stands still, for a while.
    Cut {
        child: usize,
        for_ms: u64,
    },
    CutOneWay {
        child: usize,
        for_ms: u64,
        up: bool,
    },
    Holds {
        child: usize,
        for_ms: u64,
    },
    /// Of a thousand packets, so many are lost.
    Loses {
        child: usize,
        per_mille: u64,
    },
    Slows {
        child: usize,
        latency_ms: u64,
    },
    Jumbles {
        child: usize,
        most_ms: u64,
    },
    /// A node is dropped, and comes back on the same directory.
    Restarts {
        node: usize,
        for_ms: u64,
    },
    /// As a restart; the state is copied while the node is down.
    RestartsCopied {
        node: usize,
        for_ms: u64,
    },
    /// As a restart; the state becomes the last copy.
    RestartsStale {
        node: usize,
        for_ms: u64,
    },
    /// As a restart of the main, whose index is lost.
    LosesIndex {
        for_ms: u64,
    },
    /// Somebody removes or edits a file of a secondary.
    IsRemovedAt {
        node: usize,
        pick: u64,
    },
    IsEditedAt {
        node: usize,
        pick: u64,
    },
}

pub struct Story {
    /// Whose child each secondary is; the first secondary is node 1, a child of the main.
    pub parents: Vec<usize>,
    /// What is at the main before the first node starts.
    pub first_files: u64,
    /// By time, in milliseconds.
    pub events: Vec<(u64, Event)>,
}

/// Events are over by this time.
pub const EVENTS_END_MS: u64 = 30_000;

pub fn draw_story(seed: u64) -> Story {
    let mut draw = Draw::new(seed, 1);
    let secondaries = draw.within(2, 6) as usize;
    let parents =
        (0..secondaries).map(|n| if n == 0 || draw.one_in(2) { 0 } else { draw.within(0, n as u64 + 1) as usize });
    let parents: Vec<usize> = parents.collect();
    let count = draw.within(8, 30);
    let mut events: Vec<_> =
        (0..count).map(|_| (draw.within(200, EVENTS_END_MS), draw_event(&mut draw, secondaries as u64))).collect();
    events.sort_by_key(|(at, _)| *at);
    Story { parents, first_files: draw.within(0, 12), events }
}

fn draw_size(draw: &mut Draw) -> usize {
    match draw.within(0, 6) {
        0 => [0, 1, 65_535, 65_536, 65_537, 131_072][draw.within(0, 6) as usize],
        1 | 2 => draw.within(66_000, 400_000) as usize,
        _ => draw.within(1, 40_000) as usize,
    }
}

fn draw_event(draw: &mut Draw, secondaries: u64) -> Event {
    let pick = draw.next();
    let node = draw.within(1, secondaries + 1) as usize;
    let for_ms = draw.within(100, 9_000);
    match draw.within(0, 34) {
        0..4 => Event::Appears { size: draw_size(draw), pick },
        4 => Event::Doubles { pick },
        5 => Event::HalfAppears { size: draw_size(draw).max(2), pick },
        6..10 => Event::Changes { size: draw_size(draw), pick },
        10..12 => Event::Disappears { pick },
        12..14 => Event::IsRenamed { pick },
        14..17 => Event::Cut { child: node, for_ms },
        17 => Event::CutOneWay { child: node, for_ms, up: draw.one_in(2) },
        18 => Event::Holds { child: node, for_ms },
        19..21 => Event::Loses { child: node, per_mille: draw.within(5, 150) },
        21 => Event::Slows { child: node, latency_ms: draw.within(20, 400) },
        22 => Event::Jumbles { child: node, most_ms: draw.within(40, 200) },
        23..26 => Event::Restarts { node: draw.within(0, secondaries + 1) as usize, for_ms },
        26..28 => Event::RestartsCopied { node, for_ms },
        28..30 => Event::RestartsStale { node, for_ms },
        30 => Event::LosesIndex { for_ms },
        31 => Event::IsRemovedAt { node, pick },
        _ => Event::IsEditedAt { node, pick },
    }
}
