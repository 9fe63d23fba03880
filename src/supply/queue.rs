//! Whose turn it is, where more is asked for than may fly at one time. Pure.

use super::flight::Client;
use std::collections::{BTreeMap, VecDeque};

/// What waits, by who made it wait. Clients take turns, however much each asks for; what this repository
/// itself wants goes when nobody waits.
#[derive(Debug)]
pub(super) struct Queue<K> {
    waiting: BTreeMap<Client, VecDeque<K>>,
    /// Clients with something that waits, the next one first.
    turns: VecDeque<Client>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), turns: VecDeque::new() }
    }
}

impl<K: PartialEq> Queue<K> {
    pub(super) fn push(&mut self, client: Client, key: K) {
        let queue = self.waiting.entry(client.clone()).or_default();
        if queue.is_empty() && client != Client::Background {
            self.turns.push_back(client);
        }
        queue.push_back(key);
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<K> {
        let client = self.turns.pop_front().unwrap_or(Client::Background);
        let queue = self.waiting.get_mut(&client)?;
        let key = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&client);
        } else if client != Client::Background {
            self.turns.push_back(client);
        }
        key
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> Client {
        Client::Host([10, 0, 0, n].into())
    }

    #[test]
    fn clients_take_turns_and_the_repository_itself_comes_last() {
        let mut queue = Queue::default();
        (0..3).for_each(|n| queue.push(Client::Background, 100 + n));
        (0..4).for_each(|n| queue.push(host(1), n));
        queue.push(host(2), 10);
        assert_eq!(queue.len(), 8);
        assert_eq!(queue.pop(), Some(0));
        queue.push(host(3), 20);
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [10, 1, 20, 2, 3, 100, 101, 102]);
        assert_eq!((queue.pop(), queue.len()), (None, 0));
        queue.push(host(1), 7);
        assert_eq!(queue.pop(), Some(7));
    }
}
