//! What a node does beside answering: it says whom its children are told of, and a main signs where hosts reach
//! its members.

use super::World;
use crate::{
    daemon::{config::Config, node::Node},
    domain::{
        key::NodeKey,
        member::{MemberRecord, Role},
        nearest::{Declared, RepositoryUrl},
    },
    repository::RepositoryError,
    sync::fleet::{self, About},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often.
const EVERY: Duration = Duration::from_secs(5);
/// Most members that a child is told of.
const MAX_NEIGHBOURS: usize = 32;

/// Keeps what is known of this node and of others until `cancel`.
pub(in crate::daemon) async fn keep(node: Arc<Node>, cancel: CancellationToken) {
    let url = url_of(&node.config, &node.http);
    let about = || About {
        url: url.clone(),
        sent_to_hosts: node.counters.read().bytes,
        can_fetch: node.flights.is_some()
            && (node.config.role == Role::Main || node.shared.parent().connected_since.is_some()),
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
        }
        Ok(())
    }

    /// Members are believed where they are reached; an address that two say belongs to the first of them.
    fn sign_urls(
        &self,
        declared: &BTreeMap<NodeKey, RepositoryUrl>,
        members: &[MemberRecord],
    ) -> Result<(), RepositoryError> {
        let known = self.shared.fleet.known();
        let said = members.iter().filter_map(|member| Some((member.key, known.get(&member.key)?.url.clone())));
        let mut changed: Vec<_> = said.filter(|(key, url)| declared.get(key) != url.as_ref()).collect();
        changed.retain(|(key, url)| !declared.iter().any(|(other, taken)| other != key && Some(taken) == url.as_ref()));
        let gone = declared.keys().filter(|key| !members.iter().any(|member| member.key == **key));
        changed.extend(gone.map(|key| (*key, None)));
        if changed.is_empty() { Ok(()) } else { self.repository.put_urls(&changed) }
    }
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
            let far = if is_always { Some(0) } else { declared.distance(site, &member.site) };
            Some((far?, member.key))
        })
        .collect();
    near.sort_unstable();
    near.truncate(MAX_NEIGHBOURS);
    near.into_iter().map(|(_, key)| key).collect()
}
