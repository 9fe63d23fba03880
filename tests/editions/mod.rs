//! Makes editions of `wsusscn2.cab` for tests and benches: from a plan, always the same bytes, small or of real
//! size. What is wrong with an edition is the test's own: parts can be changed before they are packed.
//!
//! The world behind a plan does not depend on its numbering: two plans that differ in `numbering` alone tell of
//! the same updates under other RevisionIds.

#[path = "../cabs/mod.rs"]
pub mod cabs;
mod world;
mod xml;

use cabs::{Cabinet, Folder, Packing, lzx::Lzx};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
pub use world::{Made, MadeFile, World};

/// The languages of the real index (37).
pub const LANGUAGES: [&str; 37] = [
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "he", "hr", "hu", "is", "it", "ja", "ko", "lt",
    "lv", "nl", "no", "pl", "pt", "pt-br", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "zh-cn", "zh-hk",
    "zh-tw",
];

/// How RevisionIds are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// One after the other from here on: every range begins right behind the one before.
    From(u64),
    /// Backwards and with gaps, beyond 32 bits.
    Backwards,
}

/// What an edition has.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Another seed, another world.
    pub seed: u64,
    /// In `package.xml`; at least 40.
    pub updates: usize,
    /// At least 1.
    pub shards: usize,
    /// Mean size of `c\<n>`, in bytes.
    pub core_bytes: usize,
    /// One of so many updates has its title in all languages, the others in English alone.
    pub all_languages_in: usize,
    /// How RevisionIds are given out.
    pub numbering: Numbering,
    /// `PackageId` and `CreationDate`.
    pub id: (&'static str, &'static str),
    /// How the shards and `package.cab` are packed.
    pub inner: Packing,
}

/// An edition before it is packed.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `index.xml`.
    pub index: String,
    /// `package.xml`.
    pub package: String,
    /// Names and members.
    pub shards: Vec<(String, Vec<Member>)>,
    /// How the shards and `package.cab` are packed.
    pub inner: Packing,
}

/// Name and content.
pub type Member = (String, Vec<u8>);

impl Plan {
    /// Some hundred updates in three shards, packed as the real ones are.
    pub fn small(seed: u64) -> Self {
        Self {
            seed,
            updates: 160,
            shards: 3,
            core_bytes: 600,
            all_languages_in: 10,
            numbering: Numbering::From(100),
            id: ("11111111-2222-4333-8444-555555555555", "2026-07-14T13:54:06Z"),
            inner: Packing::Lzx(Lzx::new(17)),
        }
    }

    /// As the edition of July 2026: 137,000 updates in 74 shards that unpack to more than 16 GB.
    pub fn real(seed: u64) -> Self {
        let inner = Packing::Lzx(Lzx::new(21));
        Self { updates: 137_000, shards: 74, core_bytes: 122_000, inner, ..Self::small(seed) }
    }

    /// The updates behind it.
    pub fn world(&self) -> World {
        World::new(self)
    }

    /// The whole edition, not packed.
    pub fn parts(&self) -> Parts {
        let world = self.world();
        let shards = (0..self.shards).map(|n| (shard_name(n), xml::shard(&world, n))).collect();
        Parts { index: xml::index(&world), package: xml::package(&world), shards, inner: self.inner.clone() }
    }

    /// The whole edition, packed one shard after the other by so many threads; for those that are too large for
    /// [`Plan::parts`].
    pub fn to_bytes(&self, threads: usize) -> Vec<u8> {
        let world = self.world();
        let (next, packed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        if n >= self.shards {
                            break;
                        }
                        let bytes = pack(&self.inner, &xml::shard(&world, n));
                        packed.lock().unwrap().push((n, bytes));
                    }
                });
            }
        });
        let mut packed = packed.into_inner().unwrap();
        packed.sort();
        let mut members = vec![
            ("index.xml".to_owned(), xml::index(&world).into_bytes()),
            ("package.cab".to_owned(), pack(&self.inner, &[package_member(xml::package(&world))])),
        ];
        members.extend(packed.into_iter().map(|(n, bytes)| (shard_name(n), bytes)));
        pack(&Packing::Stored, &members)
    }
}

impl Parts {
    /// The members of the outer cabinet, in the usual order.
    pub fn members(&self) -> Vec<Member> {
        let mut members = vec![
            ("index.xml".to_owned(), self.index.clone().into_bytes()),
            ("package.cab".to_owned(), pack(&self.inner, &[package_member(self.package.clone())])),
        ];
        members.extend(self.shards.iter().map(|(name, shard)| (name.clone(), pack(&self.inner, shard))));
        members
    }

    /// The edition.
    pub fn to_bytes(&self) -> Vec<u8> {
        pack(&Packing::Stored, &self.members())
    }
}

/// A cabinet of one folder.
pub fn pack(packing: &Packing, members: &[Member]) -> Vec<u8> {
    let members = members.iter().map(|(name, bytes)| (name.clone().into_bytes(), bytes.clone())).collect();
    Cabinet::new(vec![Folder { packing: packing.clone(), members }]).to_bytes()
}

/// `package2.cab` is the first.
pub fn shard_name(n: usize) -> String {
    format!("package{}.cab", n + 2)
}

/// The title of an update in a language.
pub fn title(made: &Made, language: &str) -> String {
    if language == "en" { made.title.clone() } else { format!("[{language}] {}", made.title) }
}

fn package_member(xml: String) -> Member {
    ("package.xml".to_owned(), xml.into_bytes())
}
