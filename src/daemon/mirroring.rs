//! When missing files may travel, as `[mirror]` says: tells the connection to the parent, and whoever asks why
//! nothing moves.

use super::{
    api::MirrorReport,
    config::{Mirror, Mode},
    node::Node,
};
use crate::{
    base::clock::SharedClock,
    policy::window::{DayPart, Look},
    sync::mirroring::Mirroring,
};
use jiff::tz::TimeZone;
use std::{sync::Arc, time::Duration};

/// Clocks are set and machines sleep: the wall is looked at this often at least.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How mirroring stands at `now_ms` (milliseconds since 1970 UTC), and when that changes.
pub(super) fn look(mirror: &Mirror, now_ms: u64, zone: &TimeZone) -> (Mirroring, Option<u64>) {
    let now = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
    let always = Look { is_open: true, changes_at: None };
    let look = mirror.window.map_or(always, |window| DayPart { from: window.from, to: window.to }.look(zone, now));
    let mirroring = Mirroring { only_held: mirror.mode == Mode::OnMiss, is_open: look.is_open };
    (mirroring, look.changes_at.and_then(|at| u64::try_from(at).ok()))
}

/// What `status` says of it.
pub(super) fn report(node: &Node) -> MirrorReport {
    let mirror = node.live.borrow().mirror.clone();
    let (mirroring, changes_at) = look(&mirror, node.repository.clock().unix_ms(), &TimeZone::system());
    MirrorReport {
        on_miss: mirroring.only_held,
        window: mirror.window.map(|window| window.to_string()),
        is_open: mirroring.is_open,
        changes_at,
    }
}

/// Opens and closes by the clock and by reloads, until the node stops.
pub(super) async fn run(node: Arc<Node>) {
    let mut live = node.live.subscribe();
    let mut was_open = None;
    loop {
        let mirror = live.borrow_and_update().mirror.clone();
        let now_ms = node.repository.clock().unix_ms();
        let (mirroring, changes_at) = look(&mirror, now_ms, &TimeZone::system());
        node.shared.mirror_as(mirroring);
        if was_open.replace(mirroring.is_open) != Some(mirroring.is_open) {
            let what = if mirroring.is_open { "open" } else { "closed" };
            tracing::info!(window = mirror.window.map(tracing::field::display), "missing files may travel: {what}");
        }
        let left = changes_at.map(|at| Duration::from_millis((at * 1_000).saturating_sub(now_ms)));
        tokio::select! {
            () = node.stopping().cancelled() => return,
            Ok(()) = live.changed() => {}
            () = tokio::time::sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))) => {}
        }
    }
}

/// Before anything is fetched.
pub(super) fn first_look(mirror: &Mirror, clock: &SharedClock) -> Mirroring {
    look(mirror, clock.unix_ms(), &TimeZone::system()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_window_it_is_always_open_and_with_one_it_says_when_it_changes() {
        let zone = TimeZone::get("Europe/Paris").unwrap();
        // 2026-11-26 20:29:59.999 in Paris.
        let (evening, second) = (1_795_721_400_000, 1_000);
        let mirror = Mirror::default();
        assert_eq!(look(&mirror, evening, &zone), (Mirroring::default(), None));
        let mirror = Mirror { mode: Mode::OnMiss, window: Some("20:30-05:30".parse().unwrap()), ..mirror };
        let closed = Mirroring { only_held: true, is_open: false };
        assert_eq!(look(&mirror, evening - 1, &zone), (closed, Some(evening / second)));
        let open = Mirroring { is_open: true, ..closed };
        assert_eq!(look(&mirror, evening, &zone), (open, Some(evening / second + 9 * 3_600)));
    }
}
