//! Keeps samples of a target that has moved in order: those of this node are kept back in the queues of remote writes until the receivers
//! have what the former holder had scraped. Receivers refuse what comes out of order, and the former holder may have a backlog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, RequestError};
use model::ConsumeMetrics;
use parking_lot::Mutex;

/// Pause between two questions to a former holder. Its samples are usually acknowledged before this node's first scrape.
const PAUSE: Duration = Duration::from_millis(200);
/// Keys in one question: 32 KiB.
const MAX_ASKED: usize = 4_096;

/// See the module. Dropping it lets nothing go: the queues do when they close.
pub(super) struct Barrier {
    cluster: Cluster,
    /// The question: has everything of these keys been acknowledged?
    kind: String,
    sink: Arc<dyn ConsumeMetrics>,
    /// Keys that are kept back, by former holder.
    waiting: Mutex<BTreeMap<String, BTreeSet<u64>>>,
}

impl Barrier {
    /// A barrier of the component `id`, which answers others from now on.
    pub(super) fn new(cluster: Cluster, id: &str, sink: Arc<dyn ConsumeMetrics>) -> Arc<Self> {
        let kind = format!("scrape.acknowledged {id}");
        let judged = Arc::downgrade(&sink);
        cluster.on_request(&kind, move |keys: Bytes| {
            let answer = answer(&judged, &keys);
            async move { answer }
        });
        Arc::new(Self { cluster, kind, sink, waiting: Mutex::default() })
    }

    /// Keeps back what comes of `key` until `from` has delivered what it had.
    pub(super) fn wait_for(self: &Arc<Self>, from: &str, key: u64) {
        self.sink.hold(key);
        let mut waiting = self.waiting.lock();
        let idle = waiting.is_empty();
        waiting.entry(from.to_owned()).or_default().insert(key);
        if idle {
            tokio::spawn(Self::ask_until_done(Arc::downgrade(self)));
        }
    }

    /// Asks until nothing waits any more, or the component is gone.
    async fn ask_until_done(barrier: Weak<Self>) {
        loop {
            {
                let Some(barrier) = barrier.upgrade() else { return };
                let peers: Vec<String> = barrier.waiting.lock().keys().cloned().collect();
                for peer in peers {
                    barrier.ask(&peer).await;
                }
                if barrier.waiting.lock().is_empty() {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, peer: &str) {
        let keys: Vec<u64> = self.waiting.lock().get(peer).into_iter().flatten().copied().take(MAX_ASKED).collect();
        let question: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        match self.cluster.request(peer, &self.kind, question.into()).await {
            Ok(answer) if answer.len() == keys.len() => {
                let done = keys.iter().zip(&answer).filter(|(_, done)| **done != 0).map(|(key, _)| *key);
                self.let_go(peer, done.collect());
            }
            // It is gone, or does not have the component any more: nobody will send what it had.
            Ok(_) | Err(RequestError::UnknownPeer(_) | RequestError::Failed(_) | RequestError::Stopped) => {
                let all = self.waiting.lock().get(peer).cloned().unwrap_or_default();
                self.let_go(peer, all);
            }
            // Asked again; the queues keep nothing back for ever.
            Err(error) => tracing::debug!(peer, %error, "a former holder did not say whether its samples are delivered"),
        }
    }

    fn let_go(&self, peer: &str, keys: BTreeSet<u64>) {
        let mut waiting = self.waiting.lock();
        if let Some(left) = waiting.get_mut(peer) {
            left.retain(|key| !keys.contains(key));
            if left.is_empty() {
                waiting.remove(peer);
            }
        }
        // A key that has gone to and fro waits for all who had it.
        let free = |key: &&u64| !waiting.values().any(|others| others.contains(key));
        keys.iter().filter(free).for_each(|key| self.sink.release(*key));
    }
}

/// A byte for each key: 1 if all that this node scraped of it has been judged by the receivers.
fn answer(sink: &Weak<dyn ConsumeMetrics>, keys: &[u8]) -> Result<Bytes, String> {
    let sink = sink.upgrade().ok_or("the component is gone")?;
    let (keys, rest) = keys.as_chunks::<8>();
    if !rest.is_empty() {
        return Err("the question makes no sense".to_owned());
    }
    Ok(keys.iter().map(|key| u8::from(sink.is_acknowledged(u64::from_le_bytes(*key)))).collect())
}

#[cfg(test)]
mod tests {
    use model::{Batch, Refused};

    use super::*;

    /// Has everything of even sources.
    struct Even;

    impl ConsumeMetrics for Even {
        fn consume(&self, _: Batch) -> Result<(), Refused> {
            Ok(())
        }

        fn is_acknowledged(&self, source: u64) -> bool {
            source.is_multiple_of(2)
        }
    }

    #[test]
    fn each_key_is_answered_for_itself_and_a_component_that_is_gone_says_so() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let weak = Arc::downgrade(&sink);
        let question: Vec<u8> = [2_u64, 3, 4].iter().flat_map(|key| key.to_le_bytes()).collect();
        assert_eq!(answer(&weak, &question).unwrap(), Bytes::from_static(&[1, 0, 1]));
        assert!(answer(&weak, &question[1..]).is_err());
        drop(sink);
        assert!(answer(&weak, &question).is_err());
    }
}
