//! The members as this node heard of them.

use crate::{
    domain::{
        key::NodeKey,
        name::FolderName,
        nearest::{Holds, RepositoryUrl, Slot, SlotSet, UrlWord},
    },
    repository::{Admission, Repository},
    sync::{
        frames::{Alive, Holdings, UrlSaid},
        shared::lock,
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// From when on another way to a member is believed.
const STALE_WAY: Duration = Duration::from_secs(30);

/// From where something was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// This node knows it itself.
    Own,
    /// A node that pulls from here.
    Child(NodeKey),
    /// The node that is pulled from.
    Parent,
}

/// What a member lacks of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderHoldings {
    /// The state that this is told of: epoch and last change.
    pub at: (u64, u64),
    /// Files of that state that it lacks.
    pub missing_files: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Their slots.
    pub lacking: Arc<SlotSet>,
}

impl FolderHoldings {
    /// Whether a file is there that was changed last at `changed_at`, as far as the state of this epoch is known:
    /// `None` for a change that nobody remembers.
    pub fn holds(&self, slot: Slot, epoch: u64, changed_at: Option<u64>) -> Holds {
        if self.at.0 != epoch || changed_at.is_none_or(|changed_at| self.at.1 < changed_at) {
            return Holds::Unknown;
        }
        if self.lacking.contains(slot) { Holds::No } else { Holds::Yes }
    }
}

/// One member as it was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// When it spoke itself.
    pub heard: Instant,
    /// Where hosts reach it, as is said of it.
    pub url: Option<RepositoryUrl>,
    /// The same in its own words, where they were heard.
    pub word: Option<Arc<UrlWord>>,
    /// Bytes per second to its hosts.
    pub load_bytes: u64,
    /// Bytes per second that arrive there.
    pub arriving_bytes: u64,
    /// Whether it can get what it lacks.
    pub can_fetch: bool,
    /// What it lacks, by folder.
    pub folders: BTreeMap<FolderName, FolderHoldings>,
    /// From where this was heard.
    pub via: Via,
}

impl Known {
    /// How long it has been silent, in whole seconds.
    pub fn silent_seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.heard).as_secs()
    }

    /// Files that it lacks, and their bytes.
    pub fn lag(&self) -> (u64, u64) {
        self.folders.values().fold((0, 0), |(files, bytes), folder| {
            (files.saturating_add(folder.missing_files), bytes.saturating_add(folder.missing_bytes))
        })
    }
}

/// Everybody that was heard of.
#[derive(Debug, Default)]
pub struct Fleet {
    known: Mutex<BTreeMap<NodeKey, Known>>,
    neighbours: Mutex<Arc<BTreeMap<NodeKey, Vec<NodeKey>>>>,
}

impl Fleet {
    /// Everybody, as of this moment.
    pub fn known(&self) -> BTreeMap<NodeKey, Known> {
        lock(&self.known).clone()
    }

    /// Whom each child is told of besides; said anew whenever it changes.
    pub fn set_neighbours(&self, neighbours: BTreeMap<NodeKey, Vec<NodeKey>>) {
        *lock(&self.neighbours) = Arc::new(neighbours);
    }

    /// Forgets whom `keeps` does not name.
    pub fn retain(&self, keeps: impl Fn(&NodeKey) -> bool) {
        lock(&self.known).retain(|key, _| keeps(key));
    }

    /// Takes what is known of one, such as this node itself.
    pub fn set(&self, key: NodeKey, known: Known) {
        lock(&self.known).insert(key, known);
    }

    /// What the parent is told.
    pub(in crate::sync) fn for_parent(&self) -> Vec<(NodeKey, Known)> {
        let known = lock(&self.known);
        known.iter().filter(|(_, known)| known.via != Via::Parent).map(|(key, known)| (*key, known.clone())).collect()
    }

    /// What a child is told.
    pub(in crate::sync) fn for_child(&self, child: &NodeKey) -> Vec<(NodeKey, Known)> {
        let neighbours = lock(&self.neighbours).clone();
        let known = lock(&self.known);
        let of_child = neighbours.get(child).into_iter().flatten();
        let told = of_child.filter_map(|key| Some((*key, known.get(key)?.clone())));
        told.filter(|(key, known)| known.via != Via::Child(*child) && key != child).collect()
    }

    /// A member lives.
    pub(in crate::sync) fn on_alive(&self, repository: &Repository, via: Via, alive: &Alive, now: Instant) {
        if !is_member(repository, &alive.member) {
            return;
        }
        let heard = now.checked_sub(Duration::from_secs(alive.silent_seconds.into())).unwrap_or(now);
        let mut known = lock(&self.known);
        let before = known.get(&alive.member);
        if !is_way(before, &alive.member, via, now) {
            return;
        }
        let folders = before.filter(|before| before.via == via).map(|before| before.folders.clone());
        let word = before.and_then(|before| before.word.clone());
        let told = Known {
            heard,
            url: alive.url.as_ref().and_then(|url| RepositoryUrl::new(url.as_str()).ok()),
            word,
            load_bytes: alive.load_bytes,
            arriving_bytes: alive.arriving_bytes,
            can_fetch: alive.can_fetch,
            folders: folders.unwrap_or_default(),
            via,
        };
        known.insert(alive.member, told);
    }

    /// A member said where it is reached. Words that it did not say, and older ones than are known, are passed over.
    pub(in crate::sync) fn on_url_said(&self, told: &UrlSaid) {
        let url = told.url.as_ref().map(|url| RepositoryUrl::new(url.as_str()));
        let (Ok(url), Ok(signature)) = (url.transpose(), told.signature.as_slice().try_into()) else { return };
        let word = UrlWord { url, said_at: told.said_at, signature };
        let mut known = lock(&self.known);
        let Some(known) = known.get_mut(&told.member).filter(|known| known.via != Via::Own) else { return };
        let is_newer = known.word.as_ref().is_none_or(|before| before.said_at < word.said_at);
        if is_newer && word.verify(&told.member).is_ok() {
            known.word = Some(Arc::new(word));
        }
    }

    /// A member lacks something, or does so no longer. What can't be understood is passed over: the next whole
    /// report mends it.
    pub(in crate::sync) fn on_holdings(&self, repository: &Repository, via: Via, told: &Holdings) {
        let Ok(folder) = FolderName::new(told.folder.as_str()) else { return };
        let Ok(slots) = SlotSet::from_bytes(&told.lacking) else { return };
        if repository.folder_path(&folder).is_none() {
            return;
        }
        let mut known = lock(&self.known);
        let Some(known) = known.get_mut(&told.member).filter(|known| known.via == via) else { return };
        let lacking = match (told.whole, known.folders.get(&folder)) {
            (true, _) => slots,
            (false, Some(before)) => before.lacking.changed(&slots),
            (false, None) => return,
        };
        let (missing_files, missing_bytes) = (told.missing_files, told.missing_bytes);
        let holdings =
            FolderHoldings { at: (told.epoch, told.seq), missing_files, missing_bytes, lacking: Arc::new(lacking) };
        known.folders.insert(folder, holdings);
    }
}

fn is_member(repository: &Repository, key: &NodeKey) -> bool {
    matches!(repository.admission(key), Ok(Admission::Member(_)))
}

/// One way at a time leads to a member: its own connection, else the one that it had, until nothing comes that way.
fn is_way(before: Option<&Known>, member: &NodeKey, via: Via, now: Instant) -> bool {
    before.is_none_or(|before| {
        let is_stale = now.saturating_duration_since(before.heard) > STALE_WAY;
        before.via != Via::Own && (before.via == via || via == Via::Child(*member) || is_stale)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::bounded::Text;
    use ed25519_dalek::SigningKey;

    fn known(via: Via, heard: Instant) -> Known {
        Known {
            heard,
            url: None,
            word: None,
            load_bytes: 0,
            arriving_bytes: 0,
            can_fetch: true,
            folders: BTreeMap::new(),
            via,
        }
    }

    #[test]
    fn a_member_is_believed_what_it_signed_last_whoever_passes_it_on() {
        let (signer, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let member = NodeKey(signer.verifying_key().to_bytes());
        let fleet = Fleet::default();
        lock(&fleet.known).insert(member, known(Via::Child(NodeKey([9; 32])), Instant::now()));
        let said = |key: &SigningKey, url: &str, said_at| {
            let url = RepositoryUrl::new(url).ok();
            let word = UrlWord::sign(key, url.clone(), said_at);
            let url = url.and_then(|url| Text::new(url.as_str()));
            UrlSaid { member, url, said_at, signature: word.signature.to_vec() }
        };
        let believed = |told: UrlSaid| {
            fleet.on_url_said(&told);
            let word = fleet.known()[&member].word.clone();
            word.and_then(|word| word.url.as_ref().map(ToString::to_string))
        };
        assert_eq!(believed(said(&other, "http://evil", 9)), None);
        assert_eq!(believed(UrlSaid { signature: vec![1; 63], ..said(&signer, "http://a", 5) }), None);
        assert_eq!(believed(said(&signer, "http://a", 5)).as_deref(), Some("http://a"));
        assert_eq!(believed(said(&signer, "http://b", 6)).as_deref(), Some("http://b"));
        assert_eq!(believed(said(&signer, "http://a", 5)).as_deref(), Some("http://b"), "an older word");
        fleet.on_url_said(&UrlSaid { member: NodeKey([7; 32]), ..said(&signer, "http://c", 7) });
        assert_eq!(fleet.known().len(), 1, "nobody becomes known by a word");
    }

    #[test]
    fn a_member_is_heard_one_way_at_a_time_its_own_first() {
        let (member, other) = (NodeKey([1; 32]), NodeKey([2; 32]));
        let now = Instant::now() + Duration::from_secs(100);
        let fresh = known(Via::Child(other), now);
        assert!(is_way(None, &member, Via::Parent, now));
        assert!(is_way(Some(&fresh), &member, Via::Child(other), now));
        assert!(is_way(Some(&fresh), &member, Via::Child(member), now), "it came closer");
        assert!(!is_way(Some(&fresh), &member, Via::Parent, now));
        let stale = known(Via::Child(member), now - Duration::from_secs(31));
        assert!(is_way(Some(&stale), &member, Via::Child(other), now), "it moved");
        assert!(!is_way(Some(&known(Via::Own, now)), &member, Via::Parent, now), "nobody tells a node of itself");
    }

    #[test]
    fn what_was_said_of_an_older_state_says_nothing_of_a_newer_file() {
        let holdings = FolderHoldings {
            at: (5, 10),
            missing_files: 1,
            missing_bytes: 1,
            lacking: Arc::new([7].into_iter().collect()),
        };
        assert_eq!(holdings.holds(7, 5, Some(3)), Holds::No);
        assert_eq!(holdings.holds(8, 5, Some(10)), Holds::Yes);
        assert_eq!(holdings.holds(8, 5, Some(11)), Holds::Unknown);
        assert_eq!(holdings.holds(8, 5, None), Holds::Unknown);
        assert_eq!(holdings.holds(8, 6, Some(3)), Holds::Unknown, "of another epoch");
    }
}
