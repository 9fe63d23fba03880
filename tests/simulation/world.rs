//! Tells one story: drives the network step by step, makes happen what was drawn, and looks at every
//! node in between, from outside.

use super::{
    draw::Draw,
    log::{self, tell},
    node::{BEGIN_MS, PORT, Plan, Running, Slot, folder, lock},
    rules::{Seen, Whole},
    story::{EVENTS_END_MS, Event, Story, draw_story},
    tree,
};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use wuasync::{
    base::clock::Clock,
    domain::{
        key::LineKey,
        member::{MemberRecord, NodeAddress, NodeName, SiteName},
    },
    repository::Repository,
};

/// A step of the network; no packet is faster.
const STEP_MS: u64 = 20;
/// How long ago a file was written when it appears: most of the 30 s of quiet are over.
const AGE_MS: u64 = 25_000;
/// One way; the same for every packet, so that they arrive in order.
const LATENCY: Duration = Duration::from_millis(STEP_MS);
/// How often nodes whose rows changed are looked at.
const LOOK_MS: u64 = 100;
/// A mutable file is quiet for 30 s, is met restless by a rescan just before, and waits as long again.
const MAIN_SETTLES_MS: u64 = 90_000;
/// The longest wait between two tries, twice, after 30 s in which a dead connection goes unnoticed.
const ALL_CONNECT_MS: u64 = 200_000;
/// Less than the 60 s after which a fetcher looks again without having been told: who misses a change is found.
const ALL_CATCH_UP_MS: u64 = 40_000;

struct NodeAt {
    plan: Plan,
    slot: Slot,
    up: bool,
    seen: Seen,
    copy: Option<tempfile::TempDir>,
}

enum Later {
    Repair(usize),
    Release(usize),
    Start(usize),
    Complete(String, Vec<u8>),
}

pub struct World {
    sim: turmoil::Sim<'static>,
    nodes: Vec<NodeAt>,
    parents: Vec<usize>,
    whole: Whole,
    later: Vec<(u64, Later)>,
    now_ms: u64,
    content: Draw,
    _root: tempfile::TempDir,
}

/// Stands still at the beginning.
struct Beginning;

impl Clock for Beginning {
    fn unix_ms(&self) -> u64 {
        BEGIN_MS
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// What a story took, in milliseconds of its own time.
#[expect(dead_code, reason = "shown, not compared")]
#[derive(Debug)]
pub struct Told {
    end_ms: u64,
    settled_ms: u64,
    connected_ms: u64,
    caught_up_ms: u64,
}

/// Panics where a rule is broken.
pub fn tell_story(seed: u64) -> Told {
    let story = draw_story(seed);
    tell(format!("seed {seed}: {} secondaries, children of {:?}", story.parents.len(), story.parents));
    let mut world = World::new(seed, &story);
    for (at_ms, event) in story.events {
        world.run_until(at_ms);
        world.happen(event);
        world.look(true);
    }
    world.run_until(EVENTS_END_MS);
    while !world.later.is_empty() {
        world.step();
    }
    world.end()
}

impl World {
    fn new(seed: u64, story: &Story) -> Self {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(LATENCY)
            .max_message_latency(LATENCY)
            .repair_rate(1.0)
            .udp_capacity(1 << 16)
            .tick_duration(Duration::from_millis(STEP_MS))
            .rng_seed(seed)
            .build();
        let root = tempfile::tempdir().unwrap();
        let name = |n: usize| if n == 0 { "main".to_owned() } else { format!("site{n}") };
        let mut plans: Vec<Plan> = Vec::new();
        for number in 0..=story.parents.len() {
            let parent = (number > 0).then(|| &plans[story.parents[number - 1]]);
            let parent = parent.map(|parent| (parent.name.clone(), parent.transport_key().public()));
            let plan = Plan { name: name(number), seed, number, root: root.path().join(name(number)), parent };
            fs::create_dir_all(plan.folder()).unwrap();
            plans.push(plan);
        }
        let line = found_line(&plans);
        let nodes = plans.into_iter().map(|plan| {
            let slot = Slot::default();
            let (host, held) = (plan.clone(), slot.clone());
            sim.host(plan.name.as_str(), move || Box::pin(host.clone().live(line, held.clone())));
            NodeAt { plan, slot, up: true, seen: Seen::default(), copy: None }
        });
        let nodes = nodes.collect();
        let parents = std::iter::once(0).chain(story.parents.iter().copied()).collect();
        let (whole, content) = (Whole::default(), Draw::new(seed, 2));
        let mut world = Self { sim, nodes, parents, whole, later: Vec::new(), now_ms: 0, content, _root: root };
        for _ in 0..story.first_files {
            let (size, pick) = (world.content.within(1, 150_000) as usize, world.content.next());
            world.happen(if pick % 3 == 0 { Event::Changes { size, pick } } else { Event::Appears { size, pick } });
        }
        world
    }

    fn run_until(&mut self, at_ms: u64) {
        while self.now_ms < at_ms {
            self.step();
        }
    }

    fn step(&mut self) {
        self.sim.step().unwrap_or_else(|error| panic!("a node ended: {error}"));
        self.now_ms += STEP_MS;
        log::set_now(self.now_ms);
        let now_ms = self.now_ms;
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now_ms).collect();
        due.into_iter().for_each(|(_, later)| self.happen_later(later));
        if self.now_ms.is_multiple_of(LOOK_MS) {
            self.look(false);
        }
    }

    /// Holds every rule against every node, or those whose rows changed.
    fn look(&mut self, all: bool) {
        let errors = log::errors();
        assert!(errors.is_empty(), "errors: {errors:#?}");
        if let Some(main) = &lock(&self.nodes[0].slot).repository {
            self.whole.note_tombstones(main);
        }
        for node in &mut self.nodes {
            let running = lock(&node.slot);
            let Some(repository) = &running.repository else { continue };
            if node.seen.is_due(repository) || all {
                node.seen.look(&node.plan, repository, &self.whole);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Appears { size, pick } => {
                let bytes = self.bytes(size);
                let name = tree::immutable(&format!("kb{}", pick % 1_000), &bytes);
                self.put(&name, &bytes);
            }
            Event::Doubles { pick } => {
                let Some(from) = self.whole.pick(pick, |name| name.ends_with(".cab")) else { return };
                let bytes = fs::read(self.nodes[0].plan.folder().join(&from)).unwrap();
                self.put(&tree::immutable(&format!("sub/copy{}", pick % 1_000), &bytes), &bytes);
            }
            Event::HalfAppears { size, pick } => {
                let bytes = self.bytes(size);
                let name = tree::immutable(&format!("slow{}", pick % 1_000), &bytes);
                tell(format!("main: half of {name} appears"));
                tree::write(&self.nodes[0].plan.folder(), &name, &bytes[..size / 2], BEGIN_MS + self.now_ms);
                self.later.push((self.now_ms + 1_000 + pick % 8_000, Later::Complete(name, bytes)));
            }
            Event::Changes { size, pick } => {
                let bytes = self.bytes(size);
                self.put(&format!("catalog{}.xml", pick % 4), &bytes);
            }
            Event::Disappears { pick } => {
                let Some(name) = self.whole.pick(pick, |_| true) else { return };
                tell(format!("main: {name} disappears"));
                fs::remove_file(self.nodes[0].plan.folder().join(&name)).unwrap();
                self.whole.forget(&name);
            }
            Event::IsRenamed { pick } => self.rename(pick),
            Event::Cut { child, for_ms } => {
                let (a, b) = self.tell_link(child, &format!("is cut for {for_ms} ms"));
                self.sim.partition(a, b);
                self.later.push((self.now_ms + for_ms, Later::Repair(child)));
            }
            Event::CutOneWay { child, for_ms, up } => {
                let way = if up { "upwards" } else { "downwards" };
                let (a, b) = self.tell_link(child, &format!("is cut {way} for {for_ms} ms"));
                let (from, to) = if up { (a, b) } else { (b, a) };
                self.sim.partition_oneway(from, to);
                self.later.push((self.now_ms + for_ms, Later::Repair(child)));
            }
            Event::Holds { child, for_ms } => {
                let (a, b) = self.tell_link(child, &format!("stands still for {for_ms} ms"));
                self.sim.hold(a, b);
                self.later.push((self.now_ms + for_ms, Later::Release(child)));
            }
            Event::Loses { child, per_mille } => {
                let (a, b) = self.tell_link(child, &format!("loses {per_mille} of 1000 packets"));
                self.sim.set_link_fail_rate(a, b, per_mille as f64 / 1_000.0);
            }
            Event::Slows { child, latency_ms } => {
                let (a, b) = self.tell_link(child, &format!("takes {latency_ms} ms"));
                self.sim.set_link_latency(a, b, Duration::from_millis(latency_ms));
            }
            Event::Jumbles { child, most_ms } => {
                let (a, b) =
                    self.tell_link(child, &format!("takes up to {most_ms} ms, and packets overtake each other"));
                self.sim.set_link_latency(a.as_str(), b.as_str(), LATENCY);
                self.sim.set_link_max_message_latency(a, b, Duration::from_millis(most_ms));
            }
            Event::Restarts { node, for_ms } => self.restart(node, for_ms, "restarts", |_, _| {}),
            Event::RestartsCopied { node, for_ms } => {
                self.restart(node, for_ms, "restarts, its state is copied", |node, _| {
                    let copy = tempfile::tempdir().unwrap();
                    tree::copy(&node.plan.state(), copy.path());
                    node.copy = Some(copy);
                });
            }
            Event::RestartsStale { node, for_ms } => {
                if self.nodes[node].copy.is_some() {
                    self.restart(node, for_ms, "restarts with the copy of its state", |node, _| {
                        let Some(copy) = &node.copy else { return };
                        fs::remove_dir_all(node.plan.state()).unwrap();
                        tree::copy(copy.path(), &node.plan.state());
                        node.seen.restart_anew();
                    });
                }
            }
            Event::LosesIndex { for_ms } => self.restart(0, for_ms, "restarts without its index", |node, whole| {
                fs::remove_file(node.plan.state().join("index.redb")).unwrap();
                whole.index_was_lost = true;
            }),
            Event::IsRemovedAt { node, pick } => {
                self.tamper(node, pick, "is removed", |path| fs::remove_file(path).unwrap())
            }
            Event::IsEditedAt { node, pick } => {
                let at_ms = BEGIN_MS + self.now_ms;
                self.tamper(node, pick, "is edited", |path| tree::edit(path, at_ms));
            }
        }
    }

    fn happen_later(&mut self, later: Later) {
        match later {
            Later::Repair(child) => {
                let (a, b) = self.tell_link(child, "is whole again");
                self.sim.repair(a, b);
            }
            Later::Release(child) => {
                let (a, b) = self.tell_link(child, "moves again");
                self.sim.release(a, b);
            }
            Later::Start(number) => {
                let node = &mut self.nodes[number];
                tell(format!("{} is back", node.plan.name));
                node.up = true;
                self.sim.bounce(node.plan.name.as_str());
            }
            Later::Complete(name, bytes) => self.put(&name, &bytes),
        }
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&self.content.next().to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn put(&mut self, name: &str, bytes: &[u8]) {
        tell(format!("main: {name} is written, {} bytes", bytes.len()));
        tree::write(&self.nodes[0].plan.folder(), name, bytes, BEGIN_MS + self.now_ms - AGE_MS);
        self.whole.put(name, blake3::hash(bytes));
    }

    fn rename(&mut self, pick: u64) {
        let Some(from) = self.whole.pick(pick, |_| true) else { return };
        let to = match from.rsplit_once('_') {
            Some((_, end)) => format!("moved{}_{end}", pick % 1_000),
            None => format!("catalog{}.xml", pick / 7 % 4),
        };
        if from == to {
            return;
        }
        tell(format!("main: {from} becomes {to}"));
        let folder = self.nodes[0].plan.folder();
        fs::rename(folder.join(&from), folder.join(&to)).unwrap();
        self.whole.rename(&from, &to);
    }

    fn tell_link(&self, child: usize, what: &str) -> (String, String) {
        let (child, parent) = (&self.nodes[child].plan.name, &self.nodes[self.parents[child]].plan.name);
        tell(format!("{child} to {parent}: {what}"));
        (child.clone(), parent.clone())
    }

    fn restart(&mut self, number: usize, for_ms: u64, what: &str, down: impl FnOnce(&mut NodeAt, &mut Whole)) {
        self.look(true);
        let node = &mut self.nodes[number];
        let stopped = std::mem::take(&mut *lock(&node.slot));
        let Running { repository: Some(repository), shared } = stopped else { return };
        tell(format!("{} {what}, after {for_ms} ms", node.plan.name));
        let left = Arc::downgrade(&repository);
        drop((repository, shared));
        self.sim.crash(node.plan.name.as_str());
        assert!(left.upgrade().is_none(), "something of {} outlives it", node.plan.name);
        node.up = false;
        node.seen.restart();
        down(node, &mut self.whole);
        self.later.push((self.now_ms + for_ms, Later::Start(number)));
    }

    fn tamper(&mut self, number: usize, pick: u64, what: &str, act: impl FnOnce(&Path)) {
        let node = &mut self.nodes[number];
        let files = tree::files(&node.plan.folder());
        let names: Vec<_> = files.keys().cloned().collect();
        let Some(name) = Draw::new(pick, 3).pick(&names).cloned() else { return };
        tell(format!("{}: {name} {what}", node.plan.name));
        node.seen.on_tampered(&files, &name);
        act(&node.plan.folder().join(&name));
    }

    /// No more events: everything comes to rest, soon, in the same state.
    fn end(mut self) -> Told {
        tell("the network is whole and nothing happens any more");
        for child in 1..self.nodes.len() {
            let (a, b) = (self.nodes[child].plan.name.clone(), self.nodes[self.parents[child]].plan.name.clone());
            self.sim.repair(a.as_str(), b.as_str());
            self.sim.release(a.as_str(), b.as_str());
            self.sim.set_link_fail_rate(a.as_str(), b.as_str(), 0.0);
            self.sim.set_link_latency(a.as_str(), b.as_str(), LATENCY);
        }
        let settled_ms = self.wait("the main has signed what its folder holds", MAIN_SETTLES_MS, Self::main_is_settled);
        let connected_ms = self.wait("every node follows its parent", ALL_CONNECT_MS, Self::all_are_connected);
        let caught_up_ms = self.wait("all nodes are alike", ALL_CATCH_UP_MS, Self::all_are_alike);
        self.look(true);
        for node in &self.nodes {
            let running = lock(&node.slot);
            node.seen.look_at_end(&node.plan, running.repository.as_ref().unwrap(), &self.whole);
        }
        Told { end_ms: self.now_ms, settled_ms, connected_ms, caught_up_ms }
    }

    fn wait(&mut self, what: &str, most_ms: u64, is_so: fn(&Self) -> bool) -> u64 {
        let begun = self.now_ms;
        while !is_so(self) {
            assert!(self.now_ms - begun < most_ms, "waited in vain until {what}: {}", self.standing());
            self.step();
        }
        tell(what);
        self.now_ms - begun
    }

    fn main_is_settled(&self) -> bool {
        self.running(0, |main| self.whole.is_signed_by(main))
    }

    fn all_are_connected(&self) -> bool {
        self.nodes[1..]
            .iter()
            .all(|node| lock(&node.slot).shared.as_ref().is_some_and(|shared| shared.parent().is_current))
    }

    fn all_are_alike(&self) -> bool {
        let roots = |repository: &Repository| repository.head().map(|head| head.head().roots.clone());
        let main = lock(&self.nodes[0].slot).repository.as_deref().and_then(roots);
        (1..self.nodes.len()).all(|n| {
            self.running(n, |repository| {
                let missing = repository.missing_after(&folder(), None, 1).unwrap();
                roots(repository) == main
                    && missing.is_empty()
                    && self.whole.is_held_by(&self.nodes[n].plan, &self.nodes[n].seen, repository)
            })
        })
    }

    fn running(&self, number: usize, is_so: impl FnOnce(&Repository) -> bool) -> bool {
        lock(&self.nodes[number].slot).repository.as_deref().is_some_and(is_so)
    }

    fn standing(&self) -> String {
        let mut lines = BTreeMap::new();
        for node in &self.nodes {
            let running = lock(&node.slot);
            let (Some(repository), Some(shared)) = (&running.repository, &running.shared) else {
                lines.insert(node.plan.name.clone(), "down".to_owned());
                continue;
            };
            let at = repository.head().map(|head| (head.head().epoch, head.head().seq));
            let missing = repository.missing_after(&folder(), None, 10).unwrap();
            let missing: Vec<_> = missing.into_iter().map(|(name, _)| name.to_string()).collect();
            let what = format!(
                "at {at:?}, missing {missing:?}, parent {:?}, differs: {}",
                shared.parent(),
                self.whole.difference(&node.plan, &node.seen, repository)
            );
            lines.insert(node.plan.name.clone(), what);
        }
        format!("{lines:#?}")
    }
}

/// The main's first start: it draws its line and admits everybody.
fn found_line(plans: &[Plan]) -> LineKey {
    let main = plans[0].open(Arc::new(Beginning));
    for (n, plan) in plans.iter().enumerate() {
        let member = MemberRecord {
            key: plan.transport_key().public(),
            name: NodeName::new(&plan.name).unwrap(),
            site: SiteName::new(&plan.name).unwrap(),
            folders: vec![folder()],
            addresses: vec![NodeAddress::new(&format!("192.168.0.{}:{PORT}", n + 1)).unwrap()],
            role: plan.role(),
            joined_at: BEGIN_MS / 1_000,
            expires_at: None,
        };
        main.admit(&member).unwrap();
    }
    main.line().unwrap()
}
