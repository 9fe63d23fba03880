//! What must hold, at every moment and at the end.

use super::{
    draw::Draw,
    node::{Plan, folder},
    tree::{self, Stamp},
};
use blake3::Hash;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};
use tokio::sync::watch;
use wuasync::{
    catalog::HoldingRecord,
    domain::{
        digest::Root,
        file::FileRecord,
        member::Role,
        state::{Body, Namespace},
    },
    repository::Repository,
};

/// A place in the line.
type At = (u64, u64);

/// What is true of the main's folder, whatever any node knows of it.
#[derive(Default)]
pub struct Whole {
    /// The whole files that are there.
    files: BTreeMap<String, Hash>,
    /// Everything that ever was whole under a name.
    ever: BTreeMap<String, BTreeSet<[u8; 32]>>,
    /// Where in the line names were signed as removed.
    tombstones: BTreeMap<String, BTreeSet<At>>,
    read_to: At,
    /// Without tombstones of before, files are kept as extras.
    pub index_was_lost: bool,
}

impl Whole {
    pub fn put(&mut self, name: &str, hash: Hash) {
        self.files.insert(name.to_owned(), hash);
        self.ever.entry(name.to_owned()).or_default().insert(hash.into());
    }

    pub fn forget(&mut self, name: &str) -> Option<Hash> {
        self.files.remove(name)
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some(hash) = self.forget(from) {
            self.put(to, hash);
        }
    }

    pub fn pick(&self, pick: u64, among: impl Fn(&str) -> bool) -> Option<String> {
        let names: Vec<_> = self.files.keys().filter(|name| among(name)).cloned().collect();
        Draw::new(pick, 4).pick(&names).cloned()
    }

    /// Remembers what the main signed as removed.
    pub fn note_tombstones(&mut self, main: &Repository) {
        let Some(head) = main.head() else { return };
        let epoch = head.head().epoch;
        let after = if self.read_to.0 == epoch { self.read_to.1 } else { 0 };
        for row in main.state().index.read().unwrap().log_after(after, 100_000).unwrap() {
            self.read_to = (epoch, row.seq);
            let is_tombstone = row.record.body.as_deref().is_some_and(|body| Body::value_of(body).is_none());
            if row.record.namespace == Namespace::folder(&folder()) && is_tombstone {
                let name = String::from_utf8(row.record.key).unwrap();
                self.tombstones.entry(name).or_default().insert((epoch, row.seq));
            }
        }
    }

    /// Whether the main's state names what its folder holds, and nothing else.
    pub fn is_signed_by(&self, main: &Repository) -> bool {
        let files = self.files.iter().map(|(name, hash)| (name.clone(), Root::from(*hash)));
        indexed(main) == files.collect()
    }

    /// Whether a secondary has what it is to have.
    pub fn is_held_by(&self, plan: &Plan, seen: &Seen, repository: &Repository) -> bool {
        self.difference(plan, seen, repository).is_empty()
    }

    /// How a node's folder and holdings differ from what they are to be.
    pub fn difference(&self, plan: &Plan, seen: &Seen, repository: &Repository) -> String {
        let (held, there) = (holdings(repository), tree::files(&plan.folder()));
        let mut wrong = Vec::new();
        for (name, hash) in &self.files {
            let is_held = held.get(name).is_some_and(|holding| {
                holding.listed && holding.root == Root::from(*hash) && there.get(name) == Some(&stamp_of(holding))
            });
            if !is_held {
                wrong.push(format!("{name} is not held"));
            }
        }
        for name in there.keys().filter(|name| !self.files.contains_key(*name)) {
            let may_be_extra = self.index_was_lost || seen.was_stale;
            if !may_be_extra || held.get(name).is_some_and(|holding| holding.listed) {
                wrong.push(format!("{name} is still there"));
            }
        }
        wrong.join(", ")
    }
}

/// What was seen of one node so far.
#[derive(Default)]
pub struct Seen {
    changes: Option<watch::Receiver<u64>>,
    /// Where it stood: it never goes back.
    at: At,
    /// Its files, and where it stood when each was first seen.
    files: BTreeMap<String, At>,
    hashes: BTreeMap<Stamp, Hash>,
    /// Names that somebody touched behind its back.
    tampered: BTreeSet<String>,
    /// It forgot what it had followed: files of which it knew nothing when their tombstones came are kept.
    was_stale: bool,
    /// Mutable files that it had then: one that is newer than its rows rests in the trash until it has
    /// followed again.
    newer: BTreeSet<String>,
}

impl Seen {
    pub fn is_due(&mut self, repository: &Repository) -> bool {
        let changes = self.changes.get_or_insert_with(|| {
            let mut changes = repository.changes();
            changes.mark_changed();
            changes
        });
        let is_due = changes.has_changed().unwrap_or(true);
        changes.mark_unchanged();
        is_due
    }

    pub fn restart(&mut self) {
        self.changes = None;
    }

    /// Its state becomes an older one.
    pub fn restart_anew(&mut self) {
        self.at = (0, 0);
        self.was_stale = true;
        self.newer.extend(self.files.keys().filter(|name| !name.ends_with(".cab")).cloned());
        self.files.values_mut().for_each(|at| *at = (0, 0));
    }

    /// All names of one file are touched with it.
    pub fn on_tampered(&mut self, files: &BTreeMap<String, Stamp>, name: &str) {
        let inode = files.get(name).map(|stamp| stamp.inode);
        let same = files.iter().filter(|(_, stamp)| Some(stamp.inode) == inode);
        self.tampered.extend(same.map(|(name, _)| name.clone()));
    }

    /// Panics where a rule is broken.
    pub fn look(&mut self, plan: &Plan, repository: &Repository, whole: &Whole) {
        let node = &plan.name;
        let at = repository.head().map_or((0, 0), |head| (head.head().epoch, head.head().seq));
        assert!(at >= self.at, "{node} went back from {:?} to {at:?}", self.at);
        let accepted = repository.state().accepted().unwrap().map_or((0, 0), |accepted| (accepted.epoch, accepted.seq));
        assert!(accepted >= at, "{node} accepted {accepted:?} and follows {at:?}");
        self.at = at;
        let (held, there) = (holdings(repository), tree::files(&plan.folder()));
        for (name, stamp) in &there {
            let holding = held.get(name).filter(|holding| stamp_of(holding) == *stamp);
            if holding.is_none() && plan.role() == Role::Main {
                continue;
            }
            let hash = *self
                .hashes
                .entry(*stamp)
                .or_insert_with(|| blake3::hash(&fs::read(plan.folder().join(name)).unwrap()));
            if let Some(holding) = holding {
                assert_eq!(holding.root, Root::from(hash), "{node}: {name} is not what the rows say");
            }
            let known = whole.ever.get(name).is_some_and(|ever| ever.contains(hash.as_bytes()));
            let tampered = plan.role() == Role::Secondary && self.tampered.contains(name);
            assert!(known || tampered, "{node}: {name} has bytes that the main never had under it");
        }
        if plan.role() == Role::Secondary {
            self.look_for_gone(node, &there, whole);
        }
    }

    fn look_for_gone(&mut self, node: &str, there: &BTreeMap<String, Stamp>, whole: &Whole) {
        let gone: Vec<_> = self.files.extract_if(.., |name, _| !there.contains_key(name)).collect();
        for (name, since) in gone {
            let signed =
                whole.tombstones.get(&name).is_some_and(|signed| signed.range(since..=self.at).next().is_some());
            assert!(
                signed || self.tampered.contains(&name) || self.newer.contains(&name),
                "{node}: {name} is gone without a tombstone from {since:?} to {:?}",
                self.at
            );
        }
        for name in there.keys() {
            self.files.entry(name.clone()).or_insert(self.at);
        }
    }

    /// The rules of the end.
    pub fn look_at_end(&self, plan: &Plan, repository: &Repository, whole: &Whole) {
        assert_eq!(whole.difference(plan, self, repository), "", "{} at the end", plan.name);
    }
}

fn stamp_of(holding: &HoldingRecord) -> Stamp {
    Stamp { inode: holding.inode, size: holding.size, modified_ns: holding.modified_ns }
}

fn holdings(repository: &Repository) -> BTreeMap<String, HoldingRecord> {
    let all = repository.state().index.read().unwrap().holdings_after(&folder(), None, 100_000).unwrap();
    all.into_iter().map(|(name, holding)| (name.to_string(), holding)).collect()
}

fn indexed(repository: &Repository) -> BTreeMap<String, Root> {
    let mut indexed = BTreeMap::new();
    let each = |key: &[u8], body: &[u8]| {
        if let Some(value) = Body::value_of(body) {
            indexed.insert(String::from_utf8(key.to_owned()).unwrap(), FileRecord::decode(value).unwrap().root);
        }
        Ok::<_, wuasync::catalog::CatalogError>(())
    };
    repository.state().index.read().unwrap().each_entry(&Namespace::folder(&folder()), each).unwrap();
    indexed
}
