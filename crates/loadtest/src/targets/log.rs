//! What a target remembers of its scrapes: how many it answered, who asked, and the newest of them one by one.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use serde::Serialize;

/// Different clients that are told apart by name; further ones share the last number.
const MAX_CLIENTS: usize = 1024;

/// One scrape that a target answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scrape {
    /// The value of `probe_seq` in the answer: 1 for the target's first scrape.
    pub seq: u64,
    /// When the request arrived, in Unix milliseconds.
    pub at_ms: i64,
    /// The client: its `X-Probe-Node` header, else its User-Agent, else empty.
    pub client: String,
}

/// The newest scrapes of one target and how many there were.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    seq: u64,
    failed: u64,
    newest: VecDeque<(u64, i64, u16)>,
}

impl Log {
    /// Counts one answered scrape, keeps at most `keep` of them, and returns its number.
    pub(crate) fn answered(&self, at_ms: i64, client: u16, keep: usize) -> u64 {
        let mut inner = self.inner.lock();
        inner.seq += 1;
        let seq = inner.seq;
        while inner.newest.len() >= keep.max(1) {
            inner.newest.pop_front();
        }
        if keep > 0 {
            inner.newest.push_back((seq, at_ms, client));
        }
        seq
    }

    /// Counts one scrape that was deliberately failed and returns how many those are.
    pub(crate) fn failed(&self) -> u64 {
        let mut inner = self.inner.lock();
        inner.failed += 1;
        inner.failed
    }

    /// How many scrapes were answered and failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let inner = self.inner.lock();
        (inner.seq, inner.failed)
    }

    /// The newest scrapes, oldest first.
    pub(crate) fn newest(&self, clients: &Clients) -> Vec<Scrape> {
        let newest = self.inner.lock().newest.clone();
        newest.into_iter().map(|(seq, at_ms, client)| Scrape { seq, at_ms, client: clients.name(client) }).collect()
    }
}

/// Names of clients, numbered.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    inner: Mutex<(HashMap<String, u16>, Vec<String>)>,
}

impl Clients {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> u16 {
        let (numbers, names) = &mut *self.inner.lock();
        if let Some(number) = numbers.get(name) {
            return *number;
        }
        if names.len() >= MAX_CLIENTS {
            return (MAX_CLIENTS - 1) as u16;
        }
        let number = names.len() as u16;
        numbers.insert(name.to_owned(), number);
        names.push(name.to_owned());
        number
    }

    fn name(&self, number: u16) -> String {
        self.inner.lock().1.get(usize::from(number)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_counts_all_and_keeps_the_newest() {
        let (log, clients) = (Log::default(), Clients::default());
        let (a, b) = (clients.number("a"), clients.number("b"));
        for (at, client) in [(10, a), (20, b), (30, a)] {
            log.answered(at, client, 2);
        }
        log.failed();
        assert_eq!(log.counts(), (3, 1));
        let scrape = |seq, at_ms, client: &str| Scrape { seq, at_ms, client: client.to_owned() };
        assert_eq!(log.newest(&clients), [scrape(2, 20, "b"), scrape(3, 30, "a")]);
    }

    #[test]
    fn a_log_that_keeps_nothing_still_counts() {
        let (log, clients) = (Log::default(), Clients::default());
        assert_eq!((log.answered(1, 0, 0), log.answered(2, 0, 0)), (1, 2));
        assert!(log.newest(&clients).is_empty());
    }

    #[test]
    fn names_beyond_the_bound_share_the_last_number() {
        let clients = Clients::default();
        let numbers: Vec<u16> = (0..MAX_CLIENTS + 10).map(|i| clients.number(&i.to_string())).collect();
        assert_eq!(numbers[MAX_CLIENTS + 9], (MAX_CLIENTS - 1) as u16);
        assert_eq!(clients.number("5"), 5);
    }
}
