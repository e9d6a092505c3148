//! Looking into a running node without keeping it alive: where keys stand, and who is in line for them.

use tokio::sync::{mpsc, oneshot};

use super::driver::Command;
use crate::ownership::{Candidacy, Holder, Name};

/// A view into a node for those who answer questions about it. Unlike a [`super::Cluster`] it does not keep the node running, so that
/// a handler of the node's may own it.
#[derive(Clone)]
pub struct Insight {
    commands: mpsc::UnboundedSender<Command>,
}

impl Insight {
    pub(super) fn new(commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { commands }
    }

    /// Where each key that this node knows stands. Empty once the node has stopped.
    pub async fn holders(&self) -> Vec<Holder> {
        let (sender, answer) = oneshot::channel();
        // A node that has stopped drops the question, which answers it.
        drop(self.commands.send(Command::Holders(sender)));
        answer.await.unwrap_or_default()
    }

    /// Members in the order in which they should hold a key of a domain, by this node's view.
    pub async fn candidates(&self, domain: &str, key: u64) -> Vec<Candidacy> {
        let (answer, candidates) = oneshot::channel();
        drop(self.commands.send(Command::Candidates { domain: Name::from(domain), key, answer }));
        candidates.await.unwrap_or_default()
    }
}
