//! Receivers of metrics as the language passes them, and the fan-out to several.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use model::{Batch, ConsumeMetrics, Refused};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use syntax::{Capsule, FromValue, ToValue, Value, ValueError};

/// The name of the capsule in messages.
const RECEIVER: &str = "MetricsReceiver";

/// Where metrics can be sent: a slot that a component fills. Restarting the component fills the slot anew and rewires nobody.
///
/// Fill it while the component is built: run loops are started one after the other without waiting for each other's first step, so a slot
/// that is filled only there refuses the first batches.
#[derive(Clone)]
pub struct MetricsReceiver(Arc<Slot>);

struct Slot {
    owner: Box<str>,
    consumer: ArcSwapOption<Box<dyn ConsumeMetrics>>,
    /// Whether batches are refused though there is a consumer.
    closed: AtomicBool,
}

impl MetricsReceiver {
    /// An empty slot of the component `owner`; it refuses batches until it is filled.
    pub fn new(owner: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Slot { owner: owner.into(), consumer: ArcSwapOption::empty(), closed: AtomicBool::new(false) }))
    }

    /// Puts `consumer` into the slot; batches go there from now on.
    pub fn fill(&self, consumer: impl ConsumeMetrics + 'static) {
        self.0.consumer.store(Some(Arc::new(Box::new(consumer))));
        self.0.closed.store(false, Ordering::Release);
    }

    /// Refuses batches as closed from now on. What the consumer has taken is still its own: it goes on to say whether that is acknowledged.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
    }

    /// Empties the slot: batches are refused as closed.
    pub fn clear(&self) {
        self.0.consumer.store(None);
    }

    /// The component that the slot belongs to.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.0.owner
    }
}

impl ConsumeMetrics for MetricsReceiver {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        match &*self.0.consumer.load() {
            Some(consumer) if !self.0.closed.load(Ordering::Acquire) => consumer.consume(batch),
            _ => Err(Refused::Closed),
        }
    }

    fn flush(&self) {
        if let Some(consumer) = &*self.0.consumer.load() {
            consumer.flush();
        }
    }

    fn hold(&self, source: u64) {
        if let Some(consumer) = &*self.0.consumer.load() {
            consumer.hold(source);
        }
    }

    fn release(&self, source: u64) {
        if let Some(consumer) = &*self.0.consumer.load() {
            consumer.release(source);
        }
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.0.consumer.load().as_ref().is_none_or(|consumer| consumer.is_acknowledged(source))
    }
}

impl std::fmt::Debug for MetricsReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MetricsReceiver({})", self.0.owner)
    }
}

/// Receivers are equal when they are the same slot.
impl PartialEq for MetricsReceiver {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Capsule for MetricsReceiver {
    fn type_name(&self) -> &str {
        RECEIVER
    }

    fn equals(&self, other: &dyn Capsule) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FromValue for MetricsReceiver {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        syntax::capsule_from_value::<Self>(value, RECEIVER).map(|receiver| (*receiver).clone())
    }

    fn type_name() -> String {
        RECEIVER.to_owned()
    }

    fn stand_in() -> Option<Self> {
        Some(Self::new(""))
    }
}

impl ToValue for MetricsReceiver {
    fn to_value(&self) -> Value {
        Value::capsule(self.clone())
    }
}

/// Whether data goes to whoever exports this value, rather than to whoever refers to it: the direction in which a graph is drawn.
#[must_use]
pub fn is_receiver(value: &Value) -> bool {
    value.downcast::<MetricsReceiver>().is_some()
}

/// Sends each batch to several receivers: `forward_to`. One receiver that refuses costs the others nothing.
pub struct Fanout {
    receivers: Vec<MetricsReceiver>,
    metrics: Arc<FanoutMetrics>,
}

/// Registered once per component; fan-outs come and go with the arguments.
struct FanoutMetrics {
    latency: Histogram,
    forwarded: IntCounter,
    refused: IntCounterVec,
}

impl Fanout {
    /// A fan-out with its metrics registered in `registry`.
    ///
    /// # Errors
    /// The registry has them already: one fan-out per component, changed with [`Fanout::with_receivers`].
    pub fn new(receivers: Vec<MetricsReceiver>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = FanoutMetrics {
            latency: Histogram::with_opts(HistogramOpts::new(
                "prometheus_fanout_latency",
                "Write latency for sending to direct and indirect components",
            ))?,
            forwarded: IntCounter::new("prometheus_forwarded_samples_total", "Total number of samples sent to downstream components.")?,
            refused: IntCounterVec::new(
                Opts::new("collector_refused_samples_total", "Samples that a downstream component did not take."),
                &["receiver"],
            )?,
        };
        registry.register(Box::new(metrics.latency.clone()))?;
        registry.register(Box::new(metrics.forwarded.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        Ok(Self { receivers, metrics: Arc::new(metrics) })
    }

    /// The same metrics with other receivers.
    #[must_use]
    pub fn with_receivers(&self, receivers: Vec<MetricsReceiver>) -> Self {
        Self { receivers, metrics: self.metrics.clone() }
    }
}

impl Fanout {
    /// How many receivers [`Fanout::offer`] can tell apart.
    pub const MAX_OFFERED: usize = u64::BITS as usize;

    /// Gives the batch to those receivers that do not have it yet, for sources that can come again with what was refused: `taken` names
    /// those that have it (bit n for the nth receiver) and is brought up to date. Of more receivers than [`Fanout::MAX_OFFERED`], the last
    /// ones share a bit: configurations must not have so many.
    ///
    /// # Errors
    /// The last refusal, if a receiver still lacks the batch.
    pub fn offer(&self, batch: &Batch, taken: &mut u64) -> Result<(), Refused> {
        let start = Instant::now();
        let mut outcome = Ok(());
        for (at, receiver) in self.receivers.iter().enumerate() {
            let bit = 1 << at.min(Self::MAX_OFFERED - 1);
            if *taken & bit == 0 {
                match self.give(receiver, batch.clone()) {
                    Ok(()) => *taken |= bit,
                    Err(refused) => outcome = Err(refused),
                }
            }
        }
        self.metrics.latency.observe(start.elapsed().as_secs_f64());
        if outcome.is_ok() {
            self.metrics.forwarded.inc_by(batch.len() as u64);
        }
        outcome
    }
}

impl ConsumeMetrics for Fanout {
    /// Gives the batch to every receiver.
    ///
    /// # Errors
    /// The last refusal, if no receiver took the batch though there are some.
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let start = Instant::now();
        let samples = batch.len() as u64;
        let Some((last, others)) = self.receivers.split_last() else { return Ok(()) };
        let mut outcome = Err(Refused::Closed);
        for receiver in others {
            outcome = self.give(receiver, batch.clone()).or(outcome);
        }
        outcome = self.give(last, batch).or(outcome);
        self.metrics.latency.observe(start.elapsed().as_secs_f64());
        if outcome.is_ok() {
            self.metrics.forwarded.inc_by(samples);
        }
        outcome
    }

    fn flush(&self) {
        self.receivers.iter().for_each(ConsumeMetrics::flush);
    }

    fn hold(&self, source: u64) {
        self.receivers.iter().for_each(|receiver| receiver.hold(source));
    }

    fn release(&self, source: u64) {
        self.receivers.iter().for_each(|receiver| receiver.release(source));
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.receivers.iter().all(|receiver| receiver.is_acknowledged(source))
    }
}

impl Fanout {
    fn give(&self, receiver: &MetricsReceiver, batch: Batch) -> Result<(), Refused> {
        let samples = batch.len() as u64;
        receiver.consume(batch).inspect_err(|_| self.metrics.refused.with_label_values(&[receiver.owner()]).inc_by(samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Layout;
    use parking_lot::Mutex;

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<Batch>>>);

    impl ConsumeMetrics for Collected {
        fn consume(&self, batch: Batch) -> Result<(), Refused> {
            self.0.lock().push(batch);
            Ok(())
        }
    }

    fn batch() -> Batch {
        Batch::new(1, Arc::new(Layout::default()), 5, vec![])
    }

    #[test]
    fn a_receiver_refuses_until_it_is_filled_and_after_it_is_cleared() {
        let receiver = MetricsReceiver::new("prometheus.remote_write.a");
        assert_eq!(receiver.consume(batch()), Err(Refused::Closed));
        let collected = Collected::default();
        receiver.fill(collected.clone());
        assert_eq!(receiver.consume(batch()), Ok(()));
        receiver.clear();
        assert_eq!(receiver.consume(batch()), Err(Refused::Closed));
        assert_eq!(collected.0.lock().len(), 1);
    }

    /// Has something that is not acknowledged.
    struct Waiting;

    impl ConsumeMetrics for Waiting {
        fn consume(&self, _: Batch) -> Result<(), Refused> {
            Ok(())
        }

        fn is_acknowledged(&self, _: u64) -> bool {
            false
        }
    }

    #[test]
    fn a_closed_receiver_refuses_and_still_knows_what_is_not_acknowledged() {
        let receiver = MetricsReceiver::new("prometheus.remote_write.a");
        receiver.fill(Waiting);
        receiver.close();
        assert_eq!((receiver.consume(batch()), receiver.is_acknowledged(1)), (Err(Refused::Closed), false));
        receiver.clear();
        assert!(receiver.is_acknowledged(1));
        receiver.fill(Waiting);
        assert_eq!(receiver.consume(batch()), Ok(()));
    }

    #[test]
    fn one_refusing_receiver_costs_the_others_nothing() {
        let (good, bad) = (MetricsReceiver::new("good"), MetricsReceiver::new("bad"));
        let collected = Collected::default();
        good.fill(collected.clone());
        let fanout = Fanout::new(vec![good, bad.clone()], &Registry::new()).unwrap();
        assert_eq!(fanout.consume(batch()), Ok(()));
        assert_eq!(collected.0.lock().len(), 1);
        assert_eq!(fanout.with_receivers(vec![bad]).consume(batch()), Err(Refused::Closed));
        assert_eq!(fanout.with_receivers(vec![]).consume(batch()), Ok(()));
    }

    #[test]
    fn what_is_offered_again_goes_only_to_those_who_lack_it() {
        let (good, bad) = (MetricsReceiver::new("good"), MetricsReceiver::new("bad"));
        let (first, second) = (Collected::default(), Collected::default());
        good.fill(first.clone());
        let fanout = Fanout::new(vec![good, bad.clone()], &Registry::new()).unwrap();
        let mut taken = 0;
        assert_eq!(fanout.offer(&batch(), &mut taken), Err(Refused::Closed));
        assert_eq!(taken, 0b01);
        bad.fill(second.clone());
        assert_eq!(fanout.offer(&batch(), &mut taken), Ok(()));
        assert_eq!((taken, first.0.lock().len(), second.0.lock().len()), (0b11, 1, 1));
        assert_eq!(fanout.with_receivers(vec![]).offer(&batch(), &mut 0), Ok(()), "nobody wants it");
    }

    #[test]
    fn a_receiver_passes_through_the_language_as_the_same_slot() {
        let receiver = MetricsReceiver::new("a");
        assert_eq!(MetricsReceiver::from_value(&receiver.to_value()).unwrap(), receiver);
        assert!(is_receiver(&receiver.to_value()) && !is_receiver(&"text".to_value()));
        let error = MetricsReceiver::from_value(&"text".to_value()).unwrap_err().to_string();
        assert!(error.contains("MetricsReceiver"), "{error}");
    }
}
