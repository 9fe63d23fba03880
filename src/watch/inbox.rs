//! What lies between the system's callback, which must never wait, and the task that reads events.
//!
//! A full inbox forgets what comes next and ends in one [`FileEvent::Overflow`], at the place where
//! events are missing, so that the reader knows which of its beliefs are older than the loss.

use super::settle::FileEvent;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most events between two readings; the system's own queue holds 16,384 as well
/// (`fs.inotify.max_queued_events`).
const CAPACITY: usize = 16_384;

/// A bounded queue of events with one reader.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: Mutex<Vec<FileEvent>>,
    filled: Notify,
}

impl Inbox {
    /// Adds an event; never waits for the reader.
    pub(super) fn push(&self, event: FileEvent) {
        let mut events = self.lock();
        let lost = events.len() > CAPACITY;
        // A program that writes in small pieces tells the same over and over.
        if lost || events.last() == Some(&event) {
            return;
        }
        let full = events.len() == CAPACITY;
        events.push(if full { FileEvent::Overflow } else { event });
        drop(events);
        self.filled.notify_one();
    }

    /// Everything so far, in order.
    pub(super) fn take(&self) -> Vec<FileEvent> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until something was pushed since this was last waited for.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FileEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::FileName;

    fn created(n: usize) -> FileEvent {
        FileEvent::Created(FileName::new(&n.to_string()).unwrap())
    }

    #[test]
    fn events_come_out_in_order_and_once() {
        let inbox = Inbox::default();
        inbox.push(created(1));
        inbox.push(created(1));
        inbox.push(created(2));
        inbox.push(created(1));
        assert_eq!(inbox.take(), [created(1), created(2), created(1)]);
        assert_eq!(inbox.take(), []);
    }

    #[test]
    fn a_full_inbox_ends_in_one_overflow() {
        let inbox = Inbox::default();
        (0..CAPACITY + 10).for_each(|n| inbox.push(created(n)));
        let events = inbox.take();
        assert_eq!(events.len(), CAPACITY + 1);
        assert_eq!(events[CAPACITY - 1..], [created(CAPACITY - 1), FileEvent::Overflow]);
        inbox.push(created(7));
        assert_eq!(inbox.take(), [created(7)]);
    }

    #[tokio::test]
    async fn an_event_pushed_before_the_reader_waits_wakes_it() {
        let inbox = Inbox::default();
        inbox.push(created(1));
        inbox.filled().await;
        assert_eq!(inbox.take(), [created(1)]);
    }
}
