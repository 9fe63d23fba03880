//! What is known of a file, and how another claim is merged into it.
//!
//! Claims that agree lead to the same facts in whatever order they come, and however often. One that
//! claims another content for the same name changes nothing: the first stays.

use super::{claim::FileClaim, want::Asker};
use crate::domain::{
    digest::{Sha1, Sha256},
    name::{FileName, FolderName},
    origin::OriginUrl,
    update::UpdateId,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Most addresses of one file; those that were told last stay.
pub const MAX_FILE_URLS: usize = 16;
/// Most updates that share one file; Microsoft's most shared files belong to a few hundred.
pub const MAX_FILE_UPDATES: usize = 1_024;

/// All that is known of one file's content. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Where it can be fetched, and when that was told last, in seconds since 1970 UTC.
    pub urls: BTreeMap<OriginUrl, u64>,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its SHA-1.
    pub sha1: Option<Sha1>,
    /// Its SHA-256.
    pub sha256: Option<Sha256>,
    /// The updates that it is a part of.
    pub updates: BTreeSet<UpdateId>,
    /// When it was heard of first, in seconds since 1970 UTC.
    pub first_known_at: u64,
}

impl FileFacts {
    /// Whether a digest vouches for the content, so that it may be fetched.
    pub fn is_vouched(&self) -> bool {
        self.sha1.is_some() || self.sha256.is_some()
    }

    /// The addresses, those first that were told last.
    pub fn urls_by_freshness(&self) -> Vec<&OriginUrl> {
        let mut urls: Vec<_> = self.urls.iter().collect();
        urls.sort_by(|(a, a_told), (b, b_told)| b_told.cmp(a_told).then_with(|| a.cmp(b)));
        urls.into_iter().map(|(url, _)| url).collect()
    }
}

/// A file with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// Its folder.
    pub folder: FolderName,
    /// Its name there.
    pub name: FileName,
    /// What is known of it.
    pub facts: FileFacts,
}

/// A claim that was not taken, for it says something else than what is known. A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Where the other content is said to be.
    pub url: OriginUrl,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Its SHA-1.
    pub sha1: Option<Sha1>,
    /// Its SHA-256.
    pub sha256: Option<Sha256>,
    /// Who said so last.
    pub who: Asker,
    /// When it was said first, in seconds since 1970 UTC.
    pub first_at: u64,
    /// When it was said last, in seconds since 1970 UTC.
    pub last_at: u64,
}

impl Conflict {
    /// What `who` claimed at `at`.
    pub fn new(claim: &FileClaim, who: &Asker, at: u64) -> Self {
        let FileClaim { url, size, sha1, sha256, .. } = claim.clone();
        Self { url, size, sha1, sha256, who: who.clone(), first_at: at, last_at: at }
    }

    /// Whether both claim the same content.
    pub fn is_same_content(&self, other: &Self) -> bool {
        (self.size, self.sha1, self.sha256) == (other.size, other.sha1, other.sha256)
    }
}

/// Why a claim was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Another content is known under this name.
    #[error("{name} is known with another {what}; the first stays")]
    Conflict {
        /// The file.
        name: FileName,
        /// What differs.
        what: &'static str,
    },
    /// The file would belong to more than [`MAX_FILE_UPDATES`].
    #[error("{0} would belong to more than {MAX_FILE_UPDATES} updates")]
    TooManyUpdates(FileName),
}

/// What is known of a file once `claim` was told at `at` (seconds since 1970 UTC).
pub fn merge(known: Option<&FileFacts>, claim: &FileClaim, at: u64) -> Result<FileFacts, MergeError> {
    let told = FileFacts {
        urls: BTreeMap::from([(claim.url.clone(), at)]),
        size: claim.size,
        sha1: claim.sha1,
        sha256: claim.sha256,
        updates: claim.updates.clone(),
        first_known_at: at,
    };
    let Some(known) = known else { return Ok(told) };
    let name = claim.name();
    let mut merged = FileFacts {
        urls: known.urls.clone(),
        size: one(known.size, told.size, name, "size")?,
        sha1: one(known.sha1, told.sha1, name, "SHA-1")?,
        sha256: one(known.sha256, told.sha256, name, "SHA-256")?,
        updates: &known.updates | &told.updates,
        first_known_at: known.first_known_at.min(at),
    };
    if merged.updates.len() > MAX_FILE_UPDATES {
        return Err(MergeError::TooManyUpdates(name.clone()));
    }
    let last_told = merged.urls.entry(claim.url.clone()).or_insert(at);
    *last_told = at.max(*last_told);
    keep_latest(&mut merged.urls, MAX_FILE_URLS);
    Ok(merged)
}

/// What both say, or the one that says something.
fn one<T: PartialEq>(
    known: Option<T>,
    told: Option<T>,
    name: &FileName,
    what: &'static str,
) -> Result<Option<T>, MergeError> {
    match (known, told) {
        (Some(known), Some(told)) if known != told => Err(MergeError::Conflict { name: name.clone(), what }),
        (known, told) => Ok(known.or(told)),
    }
}

/// Drops what is oldest beyond `most`; of the same age, what comes last in order.
pub(super) fn keep_latest<K: Ord + Clone>(times: &mut BTreeMap<K, u64>, most: usize) {
    while times.len() > most {
        let oldest = times.iter().min_by(|(a, a_at), (b, b_at)| a_at.cmp(b_at).then_with(|| b.cmp(a)));
        let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
        times.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(n: u8) -> OriginUrl {
        OriginUrl::new(&format!("http://h{n}/path/x.cab")).unwrap()
    }

    fn claim() -> FileClaim {
        FileClaim::of_url(url(0))
    }

    fn update(n: u32) -> UpdateId {
        UpdateId::new([7; 16], n)
    }

    #[test]
    fn the_same_digest_under_another_path_is_the_same_file_with_one_more_address() {
        let one = FileClaim { sha1: Some(Sha1([1; 20])), ..claim() };
        let other = FileClaim { url: url(1), updates: BTreeSet::from([update(2)]), ..one.clone() };
        let facts = merge(Some(&merge(None, &one, 10).unwrap()), &other, 20).unwrap();
        assert_eq!(facts.urls_by_freshness(), [&url(1), &url(0)]);
        assert_eq!((facts.first_known_at, facts.updates.len()), (10, 1));
    }

    #[test]
    fn another_content_for_the_same_name_changes_nothing() {
        let first = FileClaim { sha1: Some(Sha1([1; 20])), size: Some(5), ..claim() };
        let facts = merge(None, &first, 1).unwrap();
        let refused = |claim: FileClaim| match merge(Some(&facts), &claim, 2) {
            Err(MergeError::Conflict { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(FileClaim { sha1: Some(Sha1([2; 20])), ..claim() }), "SHA-1");
        assert_eq!(refused(FileClaim { size: Some(6), ..claim() }), "size");
        let facts = merge(Some(&facts), &FileClaim { sha256: Some(Sha256([3; 32])), ..claim() }, 2).unwrap();
        let other = FileClaim { sha256: Some(Sha256([4; 32])), ..claim() };
        assert!(matches!(merge(Some(&facts), &other, 2), Err(MergeError::Conflict { what: "SHA-256", .. })));
    }

    #[test]
    fn addresses_beyond_the_limit_push_the_oldest_out() {
        let mut facts = merge(None, &claim(), 100).unwrap();
        for n in 1..=MAX_FILE_URLS as u8 {
            facts = merge(Some(&facts), &FileClaim::of_url(url(n)), 100 + u64::from(n)).unwrap();
        }
        assert_eq!(facts.urls.len(), MAX_FILE_URLS);
        assert!(!facts.urls.contains_key(&url(0)) && facts.urls.contains_key(&url(1)));
    }

    #[test]
    fn updates_beyond_the_limit_are_refused() {
        let mut facts = merge(None, &claim(), 1).unwrap();
        facts.updates = (0..MAX_FILE_UPDATES as u32).map(update).collect();
        let known = FileClaim { updates: BTreeSet::from([update(0)]), ..claim() };
        assert!(merge(Some(&facts), &known, 1).is_ok());
        let more = FileClaim { updates: BTreeSet::from([update(5_000)]), ..claim() };
        assert!(matches!(merge(Some(&facts), &more, 1), Err(MergeError::TooManyUpdates(_))));
    }

    /// Claims of one true file: each tells a part of it.
    fn part() -> impl Strategy<Value = (FileClaim, u64)> {
        let updates = proptest::collection::btree_set(0u32..20, 0..4);
        (0u8..25, any::<[bool; 3]>(), updates, 0u64..30).prop_map(|(host, [size, sha1, sha256], updates, at)| {
            let claim = FileClaim {
                size: size.then_some(5),
                sha1: sha1.then_some(Sha1([1; 20])),
                sha256: sha256.then_some(Sha256([2; 32])),
                updates: updates.into_iter().map(update).collect(),
                ..FileClaim::of_url(url(host))
            };
            (claim, at)
        })
    }

    fn all(parts: &[(FileClaim, u64)]) -> Option<FileFacts> {
        parts.iter().fold(None, |known, (claim, at)| Some(merge(known.as_ref(), claim, *at).unwrap()))
    }

    proptest! {
        #[test]
        fn claims_that_agree_lead_to_the_same_facts_in_any_order_and_however_often(
            (parts, shuffled) in proptest::collection::vec(part(), 1..40)
                .prop_flat_map(|parts| (Just(parts.clone()), Just(parts).prop_shuffle())),
        ) {
            let facts = all(&parts);
            prop_assert_eq!(&facts, &all(&shuffled));
            let twice: Vec<_> = parts.iter().chain(&shuffled).cloned().collect();
            prop_assert_eq!(&facts, &all(&twice));
        }
    }
}
