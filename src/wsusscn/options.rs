//! What is wanted of an edition, and how much of it is believed.

use crate::domain::edition::Language;

/// How to read an edition.
#[derive(Debug, Clone)]
pub struct Options {
    /// Titles are read in these languages; every other language is passed by.
    pub languages: Vec<Language>,
    /// Threads that read shards, at most 16. With 0 the caller's thread reads them as they come, and holds no
    /// shard's bytes; else each holds those of one, and the caller's thread those of one more.
    pub workers: usize,
    /// How much is believed.
    pub limits: Limits,
}

/// Upper limits for one edition; more is refused. With the defaults, hostile bytes take some 1.2 GB at most; the
/// editions of 2026 take about a fifth of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Updates. Default 500,000: there are 137,000.
    pub max_updates: u32,
    /// Addresses, and files in shards. Default 500,000 of either: there are 97,300 addresses.
    pub max_files: u32,
    /// All references together, of one kind: categories, other updates, digests. Default 6,000,000: as many
    /// as 115 MB of XML have room for.
    pub max_references: u32,
    /// All texts together, in bytes: titles, bulletins, vulnerabilities, addresses. Default 256 MiB: 137,000
    /// titles and 97,300 addresses in 2026 are some 30 MB.
    pub max_text_bytes: usize,
    /// Shards. Default 1,024: there are 74.
    pub max_shards: u32,
    /// A shard's size, packed. Default 96 MiB: the largest has 34 MB.
    pub max_shard_bytes: u64,
    /// What all shards together can unpack to, by the number of their blocks, in bytes. Default 64 GiB: 16 to
    /// 25 GB in 2026.
    pub max_unpacked_bytes: u64,
    /// What `package.xml` unpacks to, in bytes. Default 1 GiB: it has 115 MB.
    pub max_package_bytes: u64,
}

impl Default for Options {
    /// English titles, read by two threads.
    fn default() -> Self {
        let languages = Language::new("en").into_iter().collect();
        Self { languages, workers: 2, limits: Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_updates: 500_000,
            max_files: 500_000,
            max_references: 6_000_000,
            max_text_bytes: 256 << 20,
            max_shards: 1_024,
            max_shard_bytes: 96 << 20,
            max_unpacked_bytes: 64 << 30,
            max_package_bytes: 1 << 30,
        }
    }
}
