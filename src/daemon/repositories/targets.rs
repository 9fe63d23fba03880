//! What is known of the repositories that hosts are sent to: when each answered last, and who was sent there.
//!
//! Owns the doubt: a host that asks again for what it was sent for was not served there, so nobody is sent there until a
//! probe that began afterwards was answered. A probe asks for the file of the last host, so that a repository that
//! turns but can't read is found out. Never decides who is sent (`policy::redirect`), and never asks anybody.

use crate::{domain::nearest::RepositoryUrl, front::request::FileRequest};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// A host that asks again within this time was not served where it was sent; a file is asked for by probes for as long.
const SENT_FOR: Duration = Duration::from_secs(600);
/// Most hosts that were sent and are remembered.
const MAX_SENT: usize = 20_000;

/// A host's question: who asks, and for what.
pub(super) type Asked = (IpAddr, FileRequest);

/// Repositories as hosts and probes found them.
#[derive(Debug, Default)]
pub(super) struct Targets {
    by_url: BTreeMap<RepositoryUrl, Target>,
    sent: BTreeMap<Asked, Sent>,
    /// How often a host was sent, and how often one came back.
    pub(super) counts: (u64, u64),
}

#[derive(Debug, Default)]
struct Target {
    answered_at: Option<Instant>,
    addresses: Vec<IpAddr>,
    file: Option<(FileRequest, Instant)>,
    doubted_at: Option<Instant>,
}

#[derive(Debug)]
struct Sent {
    to: RepositoryUrl,
    at: Instant,
    is_back: bool,
}

impl Targets {
    /// Whether the host was sent with this question a short while ago. The first time that it is back, whom it was
    /// sent to is in doubt.
    pub(super) fn was_sent(&mut self, asked: &Asked, now: Instant) -> bool {
        let Some(sent) = self.sent.get_mut(asked).filter(|sent| now.saturating_duration_since(sent.at) < SENT_FOR)
        else {
            return false;
        };
        if !std::mem::replace(&mut sent.is_back, true) {
            let target = self.by_url.entry(sent.to.clone()).or_default();
            target.file = Some((asked.1.clone(), now));
            target.doubted_at = Some(now);
            self.counts.1 += 1;
        }
        true
    }

    /// Remembers who is sent where; `false` where there is no room for it.
    pub(super) fn on_sent(&mut self, asked: Asked, to: &RepositoryUrl, now: Instant) -> bool {
        if self.sent.len() >= MAX_SENT && !self.sent.contains_key(&asked) {
            return false;
        }
        self.by_url.entry(to.clone()).or_default().file = Some((asked.1.clone(), now));
        self.counts.0 += 1;
        self.sent.insert(asked, Sent { to: to.clone(), at: now, is_back: false });
        true
    }

    /// Seconds since a repository answered, and its addresses; `None` where it did not, or is in doubt.
    pub(super) fn answered(&self, url: &RepositoryUrl, now: Instant) -> Option<(u64, &[IpAddr])> {
        let target = self.by_url.get(url).filter(|target| target.doubted_at.is_none())?;
        let answered_at = target.answered_at?;
        Some((now.saturating_duration_since(answered_at).as_secs(), &target.addresses))
    }

    /// What a probe asks for, if hosts were sent there lately.
    pub(super) fn file(&self, url: &RepositoryUrl, now: Instant) -> Option<FileRequest> {
        let (file, at) = self.by_url.get(url)?.file.as_ref()?;
        (now.saturating_duration_since(*at) < SENT_FOR).then(|| file.clone())
    }

    /// Whether one is in doubt.
    pub(super) fn is_doubted(&self, url: &RepositoryUrl) -> bool {
        self.by_url.get(url).is_some_and(|target| target.doubted_at.is_some())
    }

    /// A probe that began at `begun` was answered from one of these addresses.
    pub(super) fn on_answer(&mut self, url: RepositoryUrl, addresses: Vec<IpAddr>, begun: Instant, now: Instant) {
        let target = self.by_url.entry(url).or_default();
        (target.answered_at, target.addresses) = (Some(now), addresses);
        target.doubted_at = target.doubted_at.filter(|doubted| *doubted > begun);
    }

    /// A probe was not answered, or not as it should be.
    pub(super) fn on_fault(&mut self, url: &RepositoryUrl) {
        if let Some(target) = self.by_url.get_mut(url) {
            target.answered_at = None;
        }
    }

    /// Forgets repositories that are not among these, and hosts that were sent long ago.
    pub(super) fn retain(&mut self, urls: &[RepositoryUrl], now: Instant) {
        self.by_url.retain(|url, _| urls.contains(url));
        self.sent.retain(|_, sent| now.saturating_duration_since(sent.at) < SENT_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{FileName, FolderName};

    fn url() -> RepositoryUrl {
        RepositoryUrl::new("http://lyon.example").unwrap()
    }

    fn asked(host: u8) -> Asked {
        let file = FileRequest { folder: FolderName::new("waptwua").unwrap(), name: FileName::new("kb1.cab").unwrap() };
        (IpAddr::from([10, 0, 0, host]), file)
    }

    #[test]
    fn whom_a_host_comes_back_from_is_in_doubt_until_a_later_probe_is_answered() {
        let (mut targets, start) = (Targets::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        targets.on_answer(url(), vec![], start, start);
        assert!(!targets.was_sent(&asked(1), at(1)) && targets.on_sent(asked(1), &url(), at(1)));
        assert_eq!(targets.answered(&url(), at(5)), Some((5, &[][..])));
        assert_eq!(targets.file(&url(), at(5)), Some(asked(1).1));

        assert!(targets.was_sent(&asked(1), at(6)) && targets.is_doubted(&url()));
        assert_eq!(targets.answered(&url(), at(6)), None);
        targets.on_answer(url(), vec![], at(5), at(7));
        assert_eq!(targets.answered(&url(), at(7)), None, "that probe began before");
        targets.on_answer(url(), vec![], at(7), at(8));
        assert_eq!(targets.answered(&url(), at(8)), Some((0, &[][..])));
        assert!(
            targets.was_sent(&asked(1), at(9)) && !targets.is_doubted(&url()),
            "the same host raises no doubt twice"
        );
        assert_eq!(targets.counts, (1, 1));
        targets.on_fault(&url());
        assert_eq!(targets.answered(&url(), at(9)), None);
    }

    #[test]
    fn what_was_long_ago_and_who_is_gone_is_forgotten_and_there_is_a_bound() {
        let (mut targets, start) = (Targets::default(), Instant::now());
        assert!(targets.on_sent(asked(1), &url(), start));
        assert!(!targets.was_sent(&asked(1), start + SENT_FOR) && targets.file(&url(), start + SENT_FOR).is_none());
        targets.retain(&[], start);
        assert!(targets.by_url.is_empty() && targets.sent.len() == 1);
        targets.retain(&[], start + SENT_FOR);
        assert!(targets.sent.is_empty());
        for number in 0..MAX_SENT as u32 {
            assert!(targets.on_sent((IpAddr::V4(number.into()), asked(1).1), &url(), start));
        }
        assert!(!targets.on_sent(asked(1), &url(), start));
    }
}
