//! What has happened so far: told for people as events, and for the judging as moments between which it is looked what was missed.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

use crate::judge::Totals;

/// When the story began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) begun_ms: i64,
    pub(crate) begun: Instant,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Milliseconds since the story began.
    pub at_ms: u64,
    /// What happened.
    pub text: String,
}

impl Event {
    /// Time since the story began.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }
}

/// What a moment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The story begins.
    Start,
    /// What was to be missing is not any more: from now on the step of this number may cost nothing.
    Over(usize),
    /// The step of this number begins.
    Step(usize),
    /// The last step has had its time; nothing to note down.
    Last,
    /// The story ends.
    End,
}

/// How things stood at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) mark: Mark,
    /// When, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// Slots from here on belong to what comes after it: what a node that is killed had not sent yet is the kill's.
    pub(crate) slots_ms: i64,
    pub(crate) totals: Totals,
    pub(crate) missing_stale: u64,
    /// Changes of holders so far.
    pub(crate) moves: u64,
}

/// What a step came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// When it began, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// The nodes that it happened to.
    pub(crate) nodes: Vec<String>,
    /// The targets of those nodes, where the step is a fault.
    pub(crate) share: Option<HashSet<String>>,
    /// How long it took, once it is done.
    pub(crate) took: Option<Duration>,
}

/// What has happened so far.
#[derive(Debug)]
pub(crate) struct Story {
    times: Times,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    events: Vec<Event>,
    moments: Vec<Moment>,
    done: Vec<Done>,
}

/// Events that are kept; the first ones of a longer story are enough to see where it went wrong.
const MAX_EVENTS: usize = 10_000;

impl Story {
    pub(crate) fn new(begun_ms: i64, steps: usize) -> Self {
        let inner = Inner { done: vec![Done::default(); steps], ..Inner::default() };
        Self { times: Times { begun_ms, begun: Instant::now() }, inner: Mutex::new(inner) }
    }

    pub(crate) fn times(&self) -> Times {
        self.times
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.times.begun.elapsed()
    }

    pub(crate) fn tell(&self, text: String) {
        let at_ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut inner = self.inner.lock();
        if inner.events.len() < MAX_EVENTS {
            inner.events.push(Event { at_ms, text });
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.inner.lock().events.clone()
    }

    pub(crate) fn mark(&self, moment: Moment) {
        self.inner.lock().moments.push(moment);
    }

    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.inner.lock().moments.clone()
    }

    /// Notes down how a step begins.
    pub(crate) fn begin(&self, step: usize, done: Done) {
        self.inner.lock().done[step] = done;
    }

    /// Notes down that a step is done, and to whom it happened if that was not known before.
    pub(crate) fn finish(&self, step: usize, nodes: Vec<String>, took: Duration) {
        let done = &mut self.inner.lock().done[step];
        done.took = Some(took);
        if !nodes.is_empty() {
            done.nodes = nodes;
        }
    }

    pub(crate) fn done(&self) -> Vec<Done> {
        self.inner.lock().done.clone()
    }
}
