//! Keeps samples of a target that has moved in order: those of this node are kept back in the queues of remote writes until the receivers
//! have what the former holders had scraped. Receivers refuse what comes out of order, and former holders may have a backlog.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, RequestError};
use futures_util::future::join_all;
use model::ConsumeMetrics;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// Pause between two questions to a former holder. Its samples are usually acknowledged before this node's first scrape.
const PAUSE: Duration = Duration::from_millis(200);
/// As the process ends, those who took keys may take so long to ask for whom else they have to wait.
const TELLING: Duration = Duration::from_secs(2);
/// How long a component that was removed answers for a backlog that is not delivered: an outage. Who asks later waits no longer.
const ANSWERING: Duration = Duration::from_secs(3_600);
/// Keys in one question: 32 KiB.
const MAX_ASKED: usize = 4_096;

/// See the module. Dropping it lets nothing go: the queues do when they close, or give it to other nodes.
pub(super) struct Barrier {
    cluster: Cluster,
    /// The question: has everything of these keys been acknowledged?
    kind: String,
    me: String,
    sink: Arc<dyn ConsumeMetrics>,
    standing: Arc<Standing>,
}

/// How the keys stand; outlives the component, as others ask until the node is gone.
struct Standing {
    sink: Weak<dyn ConsumeMetrics>,
    waiting: Mutex<Waiting>,
    /// Keys that have been handed on, and whose new holders have not asked yet.
    untold: Mutex<BTreeSet<u64>>,
    all_told: Notify,
    /// Keys that have been handed on, and of which the receivers may not have everything yet.
    given: Mutex<BTreeSet<u64>>,
    /// The process ends: what was not delivered is given to other nodes.
    exiting: AtomicBool,
}

/// Keys that are kept back, by former holder, and whether they have been handed on since.
type Waiting = BTreeMap<String, BTreeMap<u64, bool>>;

/// What a former holder says.
#[derive(Debug, PartialEq)]
struct Answer {
    /// Keys of which it has nothing to send any more.
    done: BTreeSet<u64>,
    /// Others for whom it waits itself, or has waited, with the keys.
    others: Vec<(String, Vec<u64>)>,
}

impl Barrier {
    /// A barrier of the component `id`, which answers others from now on.
    pub(super) fn new(cluster: Cluster, id: &str, sink: Arc<dyn ConsumeMetrics>) -> Arc<Self> {
        let kind = format!("scrape.acknowledged {id}");
        let me = cluster.peers().iter().find(|peer| peer.is_self).map(|peer| peer.name.clone()).unwrap_or_default();
        let standing = Arc::new(Standing::new(&sink));
        let asked = standing.clone();
        cluster.on_request(&kind, move |keys: Bytes| {
            let answer = asked.answer(&keys);
            async move { answer }
        });
        Arc::new(Self { cluster, kind, me, sink, standing })
    }

    /// Keeps back what comes of `key` until `from` has delivered what it had.
    pub(super) fn wait_for(self: &Arc<Self>, from: &str, key: u64) {
        self.sink.hold(key);
        let mut waiting = self.standing.waiting.lock();
        let idle = waiting.is_empty();
        waiting.entry(from.to_owned()).or_default().insert(key, false);
        if idle {
            tokio::spawn(Self::ask_until_done(Arc::downgrade(self)));
        }
    }

    /// `key` goes to another node, which waits for what has come of it here.
    pub(super) fn handed_on(&self, key: u64) {
        self.standing.note_given(key, &*self.sink);
        if self.standing.hand_on(key) {
            self.sink.hold(key);
        }
    }

    /// `key` was not taken by the node that it was handed on to.
    pub(super) fn came_back(&self, key: u64) {
        self.standing.given.lock().remove(&key);
        self.standing.note_told(&[key]);
    }

    /// The component is removed, and its queues may stay: goes on to ask for whom it waits, and to say whether what it has handed on has been
    /// delivered, until all of it has.
    pub(super) fn answer_until_delivered(self: &Arc<Self>) {
        let barrier = self.clone();
        tokio::spawn(timeout(ANSWERING, async move {
            while !barrier.is_done() {
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    fn is_done(&self) -> bool {
        let mut given = self.standing.given.lock();
        given.retain(|key| !self.sink.is_acknowledged(*key));
        given.is_empty() && self.standing.waiting.lock().is_empty()
    }

    /// The process ends: from now on nothing is said to be delivered, as it may have to go to other nodes. Who waits hears that this node
    /// has gone when it has.
    pub(super) fn exits(&self) {
        self.standing.exiting.store(true, Ordering::Release);
    }

    /// Waits until those who took keys have heard for whom else they have to wait, as nobody tells them later.
    pub(super) async fn tell(&self) {
        if timeout(TELLING, self.standing.told()).await.is_err() {
            tracing::debug!("not all nodes that took targets have asked for whom they have to wait");
        }
    }

    /// Asks until nothing waits any more, or the component is gone.
    async fn ask_until_done(barrier: Weak<Self>) {
        loop {
            {
                let Some(barrier) = barrier.upgrade() else { return };
                let peers: Vec<String> = barrier.standing.waiting.lock().keys().cloned().collect();
                join_all(peers.iter().map(|peer| barrier.ask(peer))).await;
                if barrier.standing.waiting.lock().is_empty() {
                    return;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, peer: &str) {
        let keys: Vec<u64> = self.standing.waiting.lock().get(peer).into_iter().flat_map(BTreeMap::keys).copied().collect();
        // All of them, in each round: a leaver has to hear about every key, and calls none of them done.
        for part in keys.chunks(MAX_ASKED) {
            if !self.ask_for(peer, part).await {
                return;
            }
        }
    }

    /// Asks about some keys. Whether there is somebody to ask about others.
    async fn ask_for(&self, peer: &str, keys: &[u64]) -> bool {
        let question: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
        match self.cluster.request(peer, &self.kind, question.into()).await {
            Ok(bytes) => match Answer::read(&bytes, keys) {
                Some(answer) => {
                    self.standing.wait_for_others(peer, &answer.others, &self.me);
                    self.let_go(peer, &answer.done);
                }
                None => tracing::debug!(peer, "a former holder gave an answer that can't be read"),
            },
            // It is gone, or does not have the component any more: nobody will send what it had.
            Err(RequestError::UnknownPeer(_) | RequestError::Failed(_) | RequestError::Stopped) => {
                let all = self.standing.waiting.lock().get(peer).into_iter().flat_map(BTreeMap::keys).copied().collect();
                self.let_go(peer, &all);
                return false;
            }
            // Asked again; the queues keep nothing back for ever.
            Err(error) => {
                tracing::debug!(peer, %error, "a former holder did not say whether its samples are delivered");
                return false;
            }
        }
        true
    }

    fn let_go(&self, peer: &str, keys: &BTreeSet<u64>) {
        self.standing.end_waiting(peer, keys).into_iter().for_each(|key| self.sink.release(key));
    }
}

impl Standing {
    fn new(sink: &Arc<dyn ConsumeMetrics>) -> Self {
        Self {
            sink: Arc::downgrade(sink),
            waiting: Mutex::default(),
            untold: Mutex::default(),
            all_told: Notify::new(),
            given: Mutex::default(),
            exiting: AtomicBool::new(false),
        }
    }

    /// A byte for each key: 1 if all that this node had of it until it last handed it on has been judged by the receivers, here and at
    /// those who had it before. Then those others, each with the keys by their places in the question.
    fn answer(&self, keys: &[u8]) -> Result<Bytes, String> {
        let (keys, rest) = keys.as_chunks::<8>();
        if !rest.is_empty() || keys.len() > MAX_ASKED {
            return Err("the question makes no sense".to_owned());
        }
        let exiting = self.exiting.load(Ordering::Acquire);
        let sink = self.sink.upgrade();
        if sink.is_none() && !exiting {
            return Err("the component is gone".to_owned());
        }
        let keys: Vec<u64> = keys.iter().map(|key| u64::from_le_bytes(*key)).collect();
        self.note_told(&keys);
        let waiting = self.waiting.lock();
        let handed_on = |key: &u64| waiting.values().any(|keys| keys.get(key) == Some(&true));
        let done = |key: &u64| !exiting && !handed_on(key) && sink.as_ref().is_some_and(|sink| sink.is_acknowledged(*key));
        let mut out: Vec<u8> = keys.iter().map(|key| u8::from(done(key))).collect();
        for (peer, waits) in &*waiting {
            let places: Vec<u16> = (0..).zip(&keys).filter(|(_, key)| waits.get(key) == Some(&true)).map(|(place, _)| place).collect();
            if !places.is_empty() && peer.len() <= cluster::MAX_NAME_BYTES {
                out.push(peer.len() as u8);
                out.extend_from_slice(peer.as_bytes());
                out.extend_from_slice(&(places.len() as u16).to_le_bytes()); // as many as keys at most
                places.iter().for_each(|place| out.extend_from_slice(&place.to_le_bytes()));
            }
        }
        Ok(out.into())
    }

    /// Waits for those for whom `peer` waits as well, as it may leave before them.
    fn wait_for_others(&self, peer: &str, others: &[(String, Vec<u64>)], me: &str) {
        let mut waiting = self.waiting.lock();
        for (other, keys) in others.iter().filter(|(other, _)| other != me && other != peer) {
            let still: Vec<(u64, bool)> =
                waiting.get(peer).into_iter().flat_map(|of_peer| keys.iter().filter_map(|key| Some((*key, *of_peer.get(key)?)))).collect();
            for (key, handed_on) in still {
                waiting.entry(other.clone()).or_default().entry(key).or_insert(handed_on);
            }
        }
    }

    /// Whether `key` is waited for; what this node has of it is waited for in turn from now on.
    fn hand_on(&self, key: u64) -> bool {
        let mut waiting = self.waiting.lock();
        let mut any = false;
        for handed_on in waiting.values_mut().filter_map(|keys| keys.get_mut(&key)) {
            (*handed_on, any) = (true, true);
        }
        if any {
            self.untold.lock().insert(key);
        }
        any
    }

    /// A key goes to another node. Now and then those are forgotten of which nothing is left to be delivered.
    fn note_given(&self, key: u64, sink: &dyn ConsumeMetrics) {
        let mut given = self.given.lock();
        given.insert(key);
        if given.len() >= MAX_ASKED && given.len().is_power_of_two() {
            given.retain(|key| !sink.is_acknowledged(*key));
        }
    }

    /// Those who took keys have asked for them, or have not taken them.
    fn note_told(&self, keys: &[u64]) {
        let mut untold = self.untold.lock();
        for key in keys {
            untold.remove(key);
        }
        if untold.is_empty() {
            self.all_told.notify_waiters();
        }
    }

    async fn told(&self) {
        loop {
            let mut notified = std::pin::pin!(self.all_told.notified());
            notified.as_mut().enable();
            if self.untold.lock().is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Waits for `peer` no longer; those of `keys` for which nobody is waited any more. A key that has gone to and fro waits for all who
    /// had it.
    fn end_waiting(&self, peer: &str, keys: &BTreeSet<u64>) -> Vec<u64> {
        let mut waiting = self.waiting.lock();
        if let Some(left) = waiting.get_mut(peer) {
            left.retain(|key, _| !keys.contains(key));
            if left.is_empty() {
                waiting.remove(peer);
            }
        }
        keys.iter().filter(|key| !waiting.values().any(|others| others.contains_key(key))).copied().collect()
    }
}

impl Answer {
    /// Reads an answer to a question for `keys`; none if it makes no sense.
    fn read(bytes: &[u8], keys: &[u64]) -> Option<Self> {
        let (done, mut rest) = bytes.split_at_checked(keys.len())?;
        let done = keys.iter().zip(done).filter(|(_, done)| **done != 0).map(|(key, _)| *key).collect();
        let mut others = Vec::new();
        while let Some((len, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(*len))?;
            let (count, after) = after.split_first_chunk()?;
            let (places, after) = after.split_at_checked(2 * usize::from(u16::from_le_bytes(*count)))?;
            let key = |place: &[u8; 2]| keys.get(usize::from(u16::from_le_bytes(*place))).copied();
            let keys = places.as_chunks().0.iter().map(key).collect::<Option<_>>()?;
            others.push((String::from_utf8(name.to_vec()).ok()?, keys));
            rest = after;
        }
        Some(Self { done, others })
    }
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

    fn standing(sink: &Arc<dyn ConsumeMetrics>, waiting: &[(&str, u64, bool)]) -> Standing {
        let standing = Standing::new(sink);
        for (peer, key, handed_on) in waiting {
            standing.waiting.lock().entry((*peer).to_owned()).or_default().insert(*key, *handed_on);
        }
        standing
    }

    const KEYS: [u64; 3] = [2, 3, 4];

    fn ask(standing: &Standing) -> Answer {
        let question: Vec<u8> = KEYS.iter().flat_map(|key| key.to_le_bytes()).collect();
        Answer::read(&standing.answer(&question).unwrap(), &KEYS).unwrap()
    }

    fn answer(done: &[u64], others: &[(&str, &[u64])]) -> Answer {
        let others = others.iter().map(|(peer, keys)| ((*peer).to_owned(), keys.to_vec()));
        Answer { done: done.iter().copied().collect(), others: others.collect() }
    }

    #[test]
    fn each_key_is_answered_for_itself_and_a_component_that_is_gone_says_so() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let standing = standing(&sink, &[]);
        assert_eq!(ask(&standing), answer(&[2, 4], &[]));
        assert!(standing.answer(&[0; 7]).is_err());
        drop(sink);
        assert!(standing.answer(&[0; 8]).is_err());
    }

    #[test]
    fn while_the_process_ends_nothing_is_delivered_though_the_component_is_gone() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let standing = standing(&sink, &[("a", 2, true)]);
        standing.exiting.store(true, Ordering::Release);
        drop(sink);
        assert_eq!(ask(&standing), answer(&[], &[("a", &[2])]));
    }

    #[test]
    fn what_was_handed_on_is_not_delivered_before_that_of_earlier_holders() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let standing = standing(&sink, &[("a", 2, true), ("b", 2, true), ("b", 4, false)]);
        let of_both: &[(&str, &[u64])] = &[("a", &[2]), ("b", &[2])];
        assert_eq!(ask(&standing), answer(&[4], of_both), "of key 4 the question is about what came before the wait");
        assert!(standing.hand_on(4) && !standing.hand_on(3));
        assert_eq!(ask(&standing), answer(&[], &[("a", &[2]), ("b", &[2, 4])]));
    }

    #[tokio::test]
    async fn a_key_that_was_handed_on_is_told_when_it_was_asked_for() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let standing = standing(&sink, &[("a", 2, false)]);
        timeout(TELLING, standing.told()).await.unwrap();
        standing.hand_on(2);
        assert!(timeout(Duration::ZERO, standing.told()).await.is_err());
        let asking = async { ask(&standing) };
        tokio::join!(standing.told(), asking);
    }

    #[test]
    fn whoever_had_it_before_is_waited_for_as_well() {
        let sink: Arc<dyn ConsumeMetrics> = Arc::new(Even);
        let standing = standing(&sink, &[("b", 2, false)]);
        let told = [("a".to_owned(), vec![2, 4]), ("me".to_owned(), vec![2])];
        standing.wait_for_others("b", &told, "me");
        assert_eq!(standing.end_waiting("b", &[2].into()), [0; 0]);
        assert_eq!(standing.end_waiting("a", &[2].into()), [2]);
        assert!(standing.waiting.lock().is_empty());
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_none() {
        let good = [&[1, 0, 1, 1, b'a'][..], &[1, 0, 2, 0]].concat();
        assert_eq!(Answer::read(&good, &KEYS), Some(answer(&[2, 4], &[("a", &[4])])));
        assert!((0..good.len()).filter(|len| *len != 3).all(|len| Answer::read(&good[..len], &KEYS).is_none()));
        assert_eq!(Answer::read(&[&good[..7], &[3, 0]].concat(), &KEYS), None, "a place that was not asked for");
    }
}
