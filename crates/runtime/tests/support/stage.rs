//! Where tests see what fakes do, and tell them what to do.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use syntax::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::LONG;

/// What a running fake can be told.
#[derive(Debug)]
pub enum Cue {
    /// Publish this as `out`.
    Export(Value),
    /// Say this of yourself.
    Healthy(&'static str),
    Unhealthy(&'static str),
    /// Return.
    Return(Result<(), &'static str>),
    Panic(&'static str),
    /// Return, but leave something behind that publishes this once it is released.
    Haunt(Value),
}

/// The service by which fakes and tests meet.
#[derive(Clone, Default)]
pub struct Stage(Arc<Inner>);

#[derive(Default)]
struct Inner {
    script: watch::Sender<Vec<String>>,
    cues: Mutex<HashMap<String, mpsc::UnboundedSender<Cue>>>,
    /// IDs whose fakes do not return although they were stopped.
    held: watch::Sender<Vec<String>>,
    /// Whether blocking builds may go on.
    builds: (Mutex<bool>, Condvar),
}

/// For fakes.
impl Stage {
    pub fn write(&self, line: String) {
        self.0.script.send_modify(|script| script.push(line));
    }

    pub fn enter(&self, id: &str) -> mpsc::UnboundedReceiver<Cue> {
        let (cues, received) = mpsc::unbounded_channel();
        self.0.cues.lock().insert(id.to_owned(), cues);
        received
    }

    pub async fn until_released(&self, id: &str) {
        let mut held = self.0.held.subscribe();
        held.wait_for(|held| !held.iter().any(|other| other == id)).await.unwrap();
    }

    /// Blocks the thread until a test lets builds go on.
    pub fn wait_for_builds(&self) {
        let (allowed, changed) = &self.0.builds;
        let mut allowed = allowed.lock();
        while !*allowed {
            assert!(!changed.wait_for(&mut allowed, LONG).timed_out(), "nobody lets builds go on");
        }
    }
}

/// For tests.
impl Stage {
    /// What was written since the last [`Stage::forget`].
    pub fn script(&self) -> Vec<String> {
        self.0.script.borrow().clone()
    }

    /// The script without lines that do not begin with one of the given words.
    pub fn only(&self, words: &[&str]) -> Vec<String> {
        let wanted = |line: &String| words.iter().any(|word| line.split(' ').next() == Some(*word));
        self.script().into_iter().filter(wanted).collect()
    }

    pub fn forget(&self) {
        self.0.script.send_modify(Vec::clear);
    }

    /// Waits until this line is written.
    pub async fn see(&self, line: &str) {
        let mut script = self.0.script.subscribe();
        let seen = script.wait_for(|script| script.iter().any(|other| other == line));
        if timeout(LONG, seen).await.is_err() {
            panic!("{line:?} did not happen, but\n{}", self.script().join("\n"));
        }
    }

    pub fn cue(&self, id: &str, cue: Cue) {
        let cues = self.0.cues.lock();
        let to = cues.get(id).unwrap_or_else(|| panic!("{id} never ran"));
        to.send(cue).unwrap_or_else(|_| panic!("{id} does not run"));
    }

    /// From now on the fake does not return when it is stopped.
    pub fn hold(&self, id: &str) {
        self.0.held.send_modify(|held| held.push(id.to_owned()));
    }

    pub fn release(&self, id: &str) {
        self.0.held.send_modify(|held| held.retain(|other| other != id));
    }

    pub fn let_builds_go_on(&self) {
        let (allowed, changed) = &self.0.builds;
        *allowed.lock() = true;
        changed.notify_all();
    }
}
