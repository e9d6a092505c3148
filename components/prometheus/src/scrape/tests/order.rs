//! What the barrier is for: a target moves while its former holder can't get rid of its samples, and the receiver takes nothing that is
//! older than what it has. Remote writes as they are in this respect: a queue each, and sources that are kept back.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Takes samples in time order; what comes later than a newer one of its series is refused and counted.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    newest: BTreeMap<String, i64>,
    samples: usize,
    disorders: usize,
}

impl Receiver {
    fn take(&self, batch: &Batch) {
        let mut received = self.0.lock();
        for (series, at, _) in batch.iter() {
            let newest = received.newest.entry(series.to_labels().to_string()).or_insert(i64::MIN);
            let fits = *newest < at;
            *newest = at.max(*newest);
            received.samples += usize::from(fits);
            received.disorders += usize::from(!fits);
        }
    }
}

/// What a node has not delivered yet.
#[derive(Clone)]
struct Queue {
    waiting: Arc<Mutex<VecDeque<Batch>>>,
    held: Arc<Mutex<HashSet<u64>>>,
    receiver: Receiver,
    /// Whether the receiver can be reached from here.
    reached: Arc<AtomicBool>,
}

impl Queue {
    fn new(receiver: &Receiver, reached: bool) -> Self {
        let reached = Arc::new(AtomicBool::new(reached));
        Self { waiting: Arc::default(), held: Arc::default(), receiver: receiver.clone(), reached }
    }

    fn deliver(&self) {
        if self.reached.load(Ordering::Relaxed) {
            let held = self.held.lock();
            self.waiting.lock().retain(|batch| {
                let stays = held.contains(&batch.source);
                if !stays {
                    self.receiver.take(batch);
                }
                stays
            });
        }
    }
}

impl ConsumeMetrics for Queue {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        self.waiting.lock().push_back(batch);
        self.deliver();
        Ok(())
    }

    fn hold(&self, source: u64) {
        self.held.lock().insert(source);
    }

    fn release(&self, source: u64) {
        self.held.lock().remove(&source);
        self.deliver();
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.held.lock().contains(&source) || !self.waiting.lock().iter().any(|batch| batch.source == source)
    }
}

/// A target goes from a node that can't reach the receiver to one that can; the first can again once the second has scraped. How many
/// samples were refused.
async fn refused_after_a_move(barrier: bool) -> usize {
    for _ in 0..10 {
        if let Some(refused) = refused_after_one_move(barrier).await {
            return refused;
        }
    }
    panic!("this process stands still again and again");
}

/// `None` if the nodes stood still for so long that the target was not handed over but taken, as from one that died.
async fn refused_after_one_move(barrier: bool) -> Option<usize> {
    let metrics = [prometheus::Registry::new(), prometheus::Registry::new()];
    let (network, address, judge) = (Network::new(), target("m 1\n").await, Receiver::default());
    let (before, after) = (Queue::new(&judge, false), Queue::new(&judge, true));
    let a = fleet_node_in(&metrics[0], &network, "a", 1, &[]);
    let by_a = follow(&a, arguments(&address, &receiver(before.clone())), |_| {});
    until(|| before.waiting.lock().len() > 3).await;
    let key = a.holders().await[0].key;
    let takes_it = |name: &String| cluster::ring::Ring::new(["a", name.as_str()]).owner(key) == Some(name.as_str());
    let name = (0..).map(|number| format!("b{number}")).find(takes_it).unwrap();
    let b = fleet_node_in(&metrics[1], &network, &name, 2, &["10.0.0.1:1"]);
    let by_b = follow(&b, arguments(&address, &receiver(after.clone())), |scrape| {
        if !barrier {
            scrape.replicas.iter_mut().for_each(Replica::drop_barrier);
        }
    });
    until(|| judge.0.lock().samples > 10 || after.waiting.lock().len() > 3).await;
    before.reached.store(true, Ordering::Relaxed);
    before.deliver();
    until(|| before.waiting.lock().is_empty() && after.waiting.lock().len() < 2 && judge.0.lock().samples > 30).await;
    by_a.abort();
    by_b.abort();
    let families = metrics.iter().flat_map(prometheus::Registry::gather);
    let fences = families.filter(|family| family.name() == "collector_cluster_fences_total");
    let fences: f64 = fences.flat_map(|family| family.get_metric().to_vec()).map(|metric| metric.get_counter().get_value()).sum();
    let refused = judge.0.lock().disorders;
    (fences == 0.0).then_some(refused)
}

#[tokio::test]
async fn what_the_former_holder_still_has_arrives_before_what_the_next_one_scrapes() {
    assert_eq!(refused_after_a_move(true).await, 0);
}

#[tokio::test]
async fn without_the_barrier_the_receiver_would_refuse_samples() {
    assert!(refused_after_a_move(false).await > 0);
}

/// More keys than fit into one question: a leaver calls none of them done, and has to hear about all of them before it goes.
#[tokio::test]
async fn a_former_holder_is_asked_about_every_key() {
    const KEYS: u64 = 5_000;
    let network = Network::new();
    let (a, b) = (fleet_node(&network, "a", 1, &[]), fleet_node(&network, "b", 2, &["10.0.0.1:1"]));
    until(|| [&a, &b].iter().all(|node| node.peers().len() == 2)).await;
    let asked: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let noted = asked.clone();
    a.on_request("scrape.acknowledged prometheus.scrape.x", move |keys: bytes::Bytes| {
        let keys = keys.as_chunks::<8>().0;
        noted.lock().extend(keys.iter().map(|key| u64::from_le_bytes(*key)));
        let none_is_done = bytes::Bytes::from(vec![0; keys.len()]);
        async move { Ok(none_is_done) }
    });
    let sink: Arc<dyn ConsumeMetrics> = Arc::new(Queue::new(&Receiver::default(), true));
    let barrier = barrier::Barrier::new(b.clone(), "prometheus.scrape.x", sink);
    (0..KEYS).for_each(|key| barrier.wait_for("a", key));
    until(|| asked.lock().len() == KEYS as usize).await;
}
