//! What is told on one stream, and when: signs of life at their pace, holdings when they changed. Pure.

use super::known::{FolderHoldings, Known};
use crate::{
    domain::{
        key::NodeKey,
        name::FolderName,
        nearest::{RepositoryUrl, SlotSet, UrlWord},
    },
    sync::{
        bounded::Text,
        frames::{Alive, Frame, Holdings, UrlSaid},
    },
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How often it is looked whether something is to be told.
pub(in crate::sync) const TELL_EVERY: Duration = Duration::from_secs(2);
/// Signs of life of one member: over three tiers one is 30 s old at most when it arrives.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Holdings of one member: while files arrive they change all the time.
const HOLDINGS_EVERY: Duration = Duration::from_secs(6);
/// All that a member lacks, though nothing changed: whoever missed a change knows again.
const WHOLE_EVERY: Duration = Duration::from_secs(600);

/// What was told of one member.
struct Told {
    alive_at: Instant,
    heard: Instant,
    url: Option<RepositoryUrl>,
    can_fetch: bool,
    /// When the member said what was told of where it is reached; `None` where nothing was.
    said_at: Option<u64>,
    holdings_at: Option<Instant>,
    folders: BTreeMap<FolderName, (Instant, FolderHoldings)>,
}

/// One stream's memory of what was told on it.
#[derive(Default)]
pub(in crate::sync) struct Teller {
    told: BTreeMap<NodeKey, Told>,
}

impl Teller {
    /// What is to be told at `now`, of these members alone.
    pub(in crate::sync) fn frames(&mut self, known: &[(NodeKey, Known)], now: Instant) -> Vec<Frame> {
        self.told.retain(|key, _| known.iter().any(|(known, _)| known == key));
        known.iter().flat_map(|(key, known)| self.of_member(*key, known, now)).collect()
    }

    fn of_member(&mut self, key: NodeKey, known: &Known, now: Instant) -> Vec<Frame> {
        let mut frames = Vec::new();
        let is_due = self.told.get(&key).is_none_or(|told| {
            let is_other = (&told.url, told.can_fetch) != (&known.url, known.can_fetch);
            let is_time = now.saturating_duration_since(told.alive_at) >= ALIVE_EVERY;
            is_other || (is_time && told.heard < known.heard)
        });
        if is_due {
            frames.push(alive(key, known, now).into());
        }
        let told = self.told.entry(key).or_insert_with(|| Told {
            alive_at: now,
            heard: known.heard,
            url: known.url.clone(),
            can_fetch: known.can_fetch,
            said_at: None,
            holdings_at: None,
            folders: BTreeMap::new(),
        });
        if is_due {
            (told.alive_at, told.heard) = (now, known.heard);
            (told.url, told.can_fetch) = (known.url.clone(), known.can_fetch);
        }
        if let Some(word) = known.word.as_ref().filter(|word| told.said_at != Some(word.said_at)) {
            frames.push(url_said(key, word).into());
            told.said_at = Some(word.said_at);
        }
        if told.holdings_at.is_some_and(|at| now.saturating_duration_since(at) < HOLDINGS_EVERY) {
            return frames;
        }
        told.folders.retain(|folder, _| known.folders.contains_key(folder));
        for (folder, holdings) in &known.folders {
            let before = told.folders.get(folder);
            let whole_at = before.map(|(whole_at, _)| *whole_at);
            let is_whole_due = whole_at.is_none_or(|at| now.saturating_duration_since(at) >= WHOLE_EVERY);
            if before.is_some_and(|(_, before)| before == holdings) && !is_whole_due {
                continue;
            }
            let since = before.filter(|_| !is_whole_due).map(|(_, before)| &*before.lacking);
            frames.extend(changed(key, folder, holdings, since).map(Frame::from));
            let whole_at = whole_at.filter(|_| !is_whole_due).unwrap_or(now);
            told.folders.insert(folder.clone(), (whole_at, holdings.clone()));
            told.holdings_at = Some(now);
        }
        frames
    }
}

fn alive(member: NodeKey, known: &Known, now: Instant) -> Alive {
    Alive {
        member,
        silent_seconds: u32::try_from(known.silent_seconds(now)).unwrap_or(u32::MAX),
        url: known.url.as_ref().and_then(|url| Text::new(url.as_str())),
        load_bytes: known.load_bytes,
        arriving_bytes: known.arriving_bytes,
        can_fetch: known.can_fetch,
    }
}

fn url_said(member: NodeKey, word: &UrlWord) -> UrlSaid {
    let url = word.url.as_ref().and_then(|url| Text::new(url.as_str()));
    UrlSaid { member, url, said_at: word.said_at, signature: word.signature.to_vec() }
}

/// The change from what was told, or the whole where that is no longer.
fn changed(
    member: NodeKey,
    folder: &FolderName,
    holdings: &FolderHoldings,
    since: Option<&SlotSet>,
) -> Option<Holdings> {
    let whole = holdings.lacking.to_bytes();
    let change = since.map(|since| holdings.lacking.changed(since).to_bytes()).filter(|it| it.len() < whole.len());
    Some(Holdings {
        member,
        folder: Text::new(folder.as_str())?,
        epoch: holdings.at.0,
        seq: holdings.at.1,
        missing_files: holdings.missing_files,
        missing_bytes: holdings.missing_bytes,
        whole: change.is_none(),
        lacking: change.unwrap_or(whole),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::fleet::Via;
    use std::sync::Arc;

    fn known(heard: Instant, lacking: &[u32]) -> Known {
        let holdings = FolderHoldings {
            at: (1, 2),
            missing_files: lacking.len() as u64,
            missing_bytes: 9,
            lacking: Arc::new(lacking.iter().copied().collect()),
        };
        Known {
            heard,
            url: None,
            word: None,
            load_bytes: 0,
            arriving_bytes: 0,
            can_fetch: true,
            folders: [(FolderName::new("waptwua").unwrap(), holdings)].into(),
            via: Via::Own,
        }
    }

    /// What is told of one member, in short.
    fn told(teller: &mut Teller, known: &Known, now: Instant) -> Vec<String> {
        let frames = teller.frames(&[(NodeKey([1; 32]), known.clone())], now);
        let short = |frame: &Frame| match frame {
            Frame::Alive(alive) => format!("alive {}", alive.silent_seconds),
            Frame::Holdings(told) => format!("{} {:?}", if told.whole { "whole" } else { "changed" }, told.lacking),
            other => other.name().to_owned(),
        };
        frames.iter().map(short).collect()
    }

    #[test]
    fn life_is_told_at_its_pace_and_holdings_as_what_changed() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut teller = Teller::default();
        assert_eq!(told(&mut teller, &known(at(0), &[5, 9, 70]), at(3)), ["alive 3", "whole [5, 3, 60]"]);
        assert!(told(&mut teller, &known(at(4), &[5, 9, 70]), at(5)).is_empty(), "nothing changed");
        assert!(told(&mut teller, &known(at(6), &[5, 9]), at(6)).is_empty(), "too early");
        assert_eq!(told(&mut teller, &known(at(8), &[5, 9]), at(9)), ["changed [70]"]);
        assert_eq!(told(&mut teller, &known(at(13), &[]), at(15)), ["alive 2", "whole []"], "the shorter of both");
        assert!(told(&mut teller, &known(at(13), &[]), at(30)).is_empty(), "who is silent is not told of");
        assert_eq!(told(&mut teller, &known(at(13), &[]), at(620)), ["whole []"], "whoever missed it knows again");
    }

    #[test]
    fn where_a_member_is_reached_and_whether_it_can_fetch_is_told_at_once() {
        let start = Instant::now();
        let mut teller = Teller::default();
        assert_eq!(told(&mut teller, &known(start, &[]), start).len(), 2);
        let moved = Known { url: RepositoryUrl::new("http://a").ok(), ..known(start, &[]) };
        assert_eq!(told(&mut teller, &moved, start), ["alive 0"]);
        assert_eq!(told(&mut teller, &Known { can_fetch: false, ..moved.clone() }, start), ["alive 0"]);
        assert!(told(&mut teller, &Known { can_fetch: false, ..moved }, start).is_empty());
    }

    #[test]
    fn a_members_word_is_passed_on_once() {
        let start = Instant::now();
        let mut teller = Teller::default();
        let said = |said_at| {
            let word = UrlWord { url: None, said_at, signature: [0; 64] };
            Known { word: Some(Arc::new(word)), ..known(start, &[]) }
        };
        assert_eq!(told(&mut teller, &said(1), start), ["alive 0", "UrlSaid", "whole []"]);
        assert!(told(&mut teller, &said(1), start).is_empty());
        assert_eq!(told(&mut teller, &said(2), start), ["UrlSaid"]);
    }

    #[test]
    fn who_is_no_longer_known_is_forgotten() {
        let start = Instant::now();
        let mut teller = Teller::default();
        assert_eq!(told(&mut teller, &known(start, &[]), start).len(), 2);
        assert!(teller.frames(&[], start).is_empty());
        assert_eq!(told(&mut teller, &known(start, &[]), start).len(), 2);
    }
}
