//! What a node does beside answering: it says whom its children are told of, and a main signs where hosts reach
//! its members.

use super::{World, world::View};
use crate::{
    base::units,
    daemon::{
        config::Config,
        node::{Node, lock},
    },
    domain::{
        key::NodeKey,
        member::{MemberRecord, NodeName, Role},
        nearest::{Declared, RepositoryUrl},
    },
    repository::{Alarm, RepositoryError},
    sync::fleet::{self, About, Known, Via},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// A site at which too little arrives for this long is late: a lull of seconds is no delay.
const LULL: Duration = Duration::from_secs(300);
/// Most members that a child is told of.
const MAX_NEIGHBOURS: usize = 32;

/// Keeps what is known of this node and of others until `cancel`.
pub(in crate::daemon) async fn keep(node: Arc<Node>, cancel: CancellationToken) {
    // Its own word goes up through any number of tiers.
    let now = node.repository.clock().unix_ms();
    let word = Arc::new(node.endpoint.say_url(url_of(&node.config, &node.http), now));
    let about = || About {
        word: word.clone(),
        sent_to_hosts: node.counters.read().bytes,
        // Whoever is told of it over a connection upwards knows that there is one.
        can_fetch: node.flights.is_some(),
    };
    tokio::join!(
        fleet::keep(node.shared.clone(), node.key(), about, cancel.clone()),
        tend(node.world.clone(), cancel.clone())
    );
}

/// Where hosts reach this node, as its configuration says; else where it listens, if that is an address that others
/// can use.
fn url_of(config: &Config, listening: &[SocketAddr]) -> Option<RepositoryUrl> {
    let Some(url) = &config.http.public_url else {
        let plain = listening.iter().take(config.http.listen.len());
        let address = plain.into_iter().find(|address| !address.ip().is_unspecified())?;
        return RepositoryUrl::new(&format!("http://{address}")).ok();
    };
    let checked = RepositoryUrl::new(url.as_str());
    if checked.is_err() {
        tracing::warn!(%url, "http.public_url is no address of a repository; no host is sent here");
    }
    checked.ok()
}

/// Tends until `cancel`.
async fn tend(world: Arc<World>, cancel: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = every.tick() => {}
        }
        let world = world.clone();
        match tokio::task::spawn_blocking(move || world.tend_once()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "repositories can't be tended");
            }
            Err(_) => return,
        }
    }
}

impl World {
    fn tend_once(&self) -> Result<(), RepositoryError> {
        self.wapt.read_again();
        let view = self.view()?;
        let children = self.shared.children();
        let neighbours = children
            .iter()
            .map(|child| (child.key, neighbours(view.members(), view.declared(), &child.key, &self.own)));
        self.shared.fleet.set_neighbours(neighbours.collect());
        let members = view.members();
        self.shared.fleet.retain(|key| members.iter().any(|member| member.key == *key));
        if self.repository.role() == Role::Main {
            self.sign_urls(&view.declared().urls, members)?;
            self.watch_sites(&view);
        }
        Ok(())
    }

    /// An alarm for each site that will not hold everything in time, at the rate of the moment.
    fn watch_sites(&self, view: &View) {
        lock(&self.late).retain(|name, _| {
            let is_member = view.lineup.iter().any(|standing| standing.name == *name);
            if !is_member {
                self.repository.attention.clear(&Alarm::SiteLate(name.to_string()));
            }
            is_member
        });
        let (attention, within) = (&self.repository.attention, self.complete_within.as_secs());
        for (at, standing) in view.lineup.iter().enumerate().filter(|(at, _)| *at != view.own) {
            let alarm = Alarm::SiteLate(standing.name.to_string());
            let Some(known) = view.known.get(at).and_then(Option::as_ref) else { continue };
            let is_late = within > 0 && is_late(standing.lag_bytes, known.arriving_bytes, within);
            if !is_late {
                attention.clear(&alarm);
                lock(&self.late).remove(&standing.name);
                continue;
            }
            lock(&self.late).entry(standing.name.clone()).or_insert_with(|| self.repository.clock().monotonic());
            if !self.is_late(&standing.name) {
                continue;
            }
            let what = format!(
                "{} lacks {} ({}) and will not hold everything within {}: {}/s arrive there",
                standing.name,
                units::count(standing.lag_files, "file"),
                units::bytes(standing.lag_bytes),
                units::duration(self.complete_within),
                units::bytes(known.arriving_bytes)
            );
            attention.raise(alarm, what, "look at its `status`: its parent, its disk, its line and its window");
        }
    }

    /// Whether the alarm for a site stands.
    pub(super) fn is_late(&self, name: &NodeName) -> bool {
        let since = lock(&self.late).get(name).copied();
        let lull = LULL.min(self.complete_within);
        since.is_some_and(|since| self.repository.clock().monotonic().saturating_duration_since(since) >= lull)
    }

    fn sign_urls(
        &self,
        declared: &BTreeMap<NodeKey, RepositoryUrl>,
        members: &[MemberRecord],
    ) -> Result<(), RepositoryError> {
        let members: Vec<_> = members.iter().map(|member| member.key).collect();
        let changed = changed_urls(declared, &members, &self.shared.fleet.known());
        if changed.is_empty() { Ok(()) } else { self.repository.put_urls(&changed) }
    }
}

/// Members are believed where they are reached. Of an address that two claim, the first has it; and what others say
/// in a member's name is believed once, and changed by its own word alone: told on its own connection, or signed.
fn changed_urls(
    declared: &BTreeMap<NodeKey, RepositoryUrl>,
    members: &[NodeKey],
    known: &BTreeMap<NodeKey, Known>,
) -> Vec<(NodeKey, Option<RepositoryUrl>)> {
    let gone = declared.keys().filter(|key| !members.contains(key));
    let mut changed: Vec<_> = gone.map(|key| (*key, None)).collect();
    let mut taken: BTreeSet<_> = members.iter().filter_map(|key| declared.get(key)).collect();
    for (key, known) in members.iter().filter_map(|key| Some((key, known.get(key)?))) {
        let is_here = matches!(known.via, Via::Own) || known.via == Via::Child(*key);
        let signed = known.word.as_ref().filter(|_| !is_here).map(|word| word.url.as_ref());
        let (before, said) = (declared.get(key), signed.unwrap_or(known.url.as_ref()));
        let is_believed = is_here || signed.is_some() || before.is_none();
        if before != said && is_believed && said.is_none_or(|said| taken.insert(said)) {
            changed.push((*key, said.cloned()));
        }
    }
    changed
}

/// Whether so many bytes will not have arrived within so many seconds.
fn is_late(lag_bytes: u64, arriving: u64, within: u64) -> bool {
    lag_bytes > 0 && lag_bytes.checked_div(arriving).is_none_or(|seconds| seconds > within)
}

/// Whom a child is told of: the main, this node, and who is at a declared distance, the nearest first.
fn neighbours(members: &[MemberRecord], declared: &Declared, child: &NodeKey, own: &NodeKey) -> Vec<NodeKey> {
    let Some(site) = members.iter().find(|member| member.key == *child).map(|member| &member.site) else {
        return Vec::new();
    };
    let mut near: Vec<_> = members
        .iter()
        .filter(|member| member.key != *child)
        .filter_map(|member| {
            let is_always = member.role == Role::Main || member.key == *own;
            let far = if is_always { Some(0) } else { declared.distances.between(site, &member.site) };
            Some((far?, member.key))
        })
        .collect();
    near.sort_unstable();
    near.truncate(MAX_NEIGHBOURS);
    near.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        member::SiteName,
        nearest::{SitePair, UrlWord},
    };

    fn member(number: u8, role: Role) -> MemberRecord {
        MemberRecord {
            key: NodeKey([number; 32]),
            name: NodeName::new(&format!("n{number}")).unwrap(),
            site: SiteName::new(&format!("s{number}")).unwrap(),
            folders: vec![],
            addresses: vec![],
            role,
            joined_at: 0,
            expires_at: None,
        }
    }

    #[test]
    fn a_child_is_told_of_the_main_of_its_parent_and_of_those_at_a_declared_distance() {
        let members = [
            member(1, Role::Main),
            member(2, Role::Secondary),
            member(3, Role::Secondary),
            member(4, Role::Secondary),
            member(5, Role::Secondary),
        ];
        let site = |number: usize| members[number - 1].site.clone();
        let far = |to, far| (SitePair::new(site(3), site(to)), far);
        let declared = Declared { distances: [far(4, 9), far(5, 2)].into_iter().collect(), ..Declared::default() };
        let told = neighbours(&members, &declared, &NodeKey([3; 32]), &NodeKey([2; 32]));
        assert_eq!(told, [1, 2, 5, 4].map(|number| NodeKey([number; 32])));
        assert!(neighbours(&members, &declared, &NodeKey([9; 32]), &NodeKey([2; 32])).is_empty());
    }

    #[test]
    fn a_member_says_where_it_is_reached_and_others_only_where_nobody_did() {
        let url = |name: &str| RepositoryUrl::new(&format!("http://{name}")).unwrap();
        let key = |number| NodeKey([number; 32]);
        let known = |name: Option<&str>, via| Known {
            heard: std::time::Instant::now(),
            url: name.map(url),
            word: None,
            load_bytes: 0,
            arriving_bytes: 0,
            can_fetch: true,
            folders: BTreeMap::new(),
            via,
        };
        let members = [1, 2, 3, 4, 5, 6].map(key);
        let declared =
            [(1, "a"), (2, "b"), (6, "f"), (9, "gone")].map(|(number, name)| (key(number), url(name))).into();
        // It was proven when it was heard.
        let word = UrlWord { url: Some(url("f2")), said_at: 1, signature: [0; 64] };
        let told = [
            (key(1), known(Some("a2"), Via::Child(key(1)))),
            (key(2), known(Some("evil"), Via::Child(key(1)))),
            (key(3), known(Some("c"), Via::Child(key(1)))),
            (key(4), known(Some("b"), Via::Child(key(4)))),
            (key(5), known(Some("c"), Via::Child(key(5)))),
            (key(6), Known { word: Some(Arc::new(word)), ..known(Some("evil"), Via::Child(key(1))) }),
        ];
        let changed = changed_urls(&declared, &members, &told.into());
        let expected = [(key(1), Some(url("a2"))), (key(3), Some(url("c"))), (key(6), Some(url("f2")))];
        assert_eq!(changed, [&[(key(9), None)][..], &expected].concat());
    }

    #[test]
    fn a_site_is_late_when_what_it_lacks_will_not_come_in_time() {
        assert!(!is_late(0, 0, 60) && !is_late(600, 10, 60));
        assert!(is_late(610, 10, 60) && is_late(1, 0, 60));
    }
}
