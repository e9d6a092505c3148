//! The cluster's metrics: under Alloy's names where Alloy has them and the value means the same here, its own ones as
//! `collector_cluster_*`. Counters are counters and count once, which Alloy's are not all and don't all do. Serving them is the
//! caller's part.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto,
};

use crate::{
    membership::State,
    ownership::{Counters, GAP_BOUNDS, LATENCY_BOUNDS_MS},
    transport::{Reason, Step, frame::Kind, protocol::Protocols},
};

/// All metrics of one node's cluster.
pub(crate) struct Metrics {
    // Alloy's: transport. "Packets" are rounds of gossip, "stream packets" all other messages.
    packets_sent: IntCounter,
    packets_received: IntCounter,
    packet_bytes_sent: IntCounter,
    packet_bytes_received: IntCounter,
    messages_sent: IntCounter,
    messages_received: IntCounter,
    message_bytes_sent: IntCounter,
    message_bytes_received: IntCounter,
    packets_unsent: IntCounter,
    packets_unread: IntCounter,
    messages_unsent: IntCounter,
    messages_unread: IntCounter,
    streams: IntGauge,
    /// Rounds of gossip that wait to be read.
    pub(crate) rx_queue_length: IntGauge,
    /// Messages that wait to be sent, over all peers.
    pub(crate) tx_queue_length: IntGauge,
    /// Bytes of all frames sent, handshakes included, as the connection gets them.
    pub(crate) wire_sent: IntCounter,
    /// Bytes of all frames received.
    pub(crate) wire_received: IntCounter,
    // Alloy's: node.
    info: IntGaugeVec,
    peers: IntGaugeVec,
    /// The Lamport time: the highest version of any member's record.
    pub(crate) lamport_time: IntGauge,
    gossip_events: IntCounterVec,
    gossip_broadcasts: IntCounterVec,
    /// Components that are told about changes of ownership.
    pub(crate) observers: IntGauge,
    /// Whether a change of members waits to be worked into ownership.
    pub(crate) updating: IntGauge,
    /// Signs that this node itself is in trouble; 0 is well.
    pub(crate) health_score: IntGauge,
    /// How long it took to work a change of members into ownership.
    pub(crate) update_duration: Histogram,
    alive_peers: IntGauge,
    /// Whether components may work: the fleet has reached its wanted size.
    pub(crate) ready: IntGauge,
    /// The wanted size.
    pub(crate) minimum_size: IntGauge,
    // Own ones.
    rejected: IntCounterVec,
    join_failures: IntCounterVec,
    /// Gossip that came faster than it was read.
    pub(crate) gossip_dropped: IntCounter,
    /// Members that were declared gone without a goodbye.
    pub(crate) members_lost: IntCounter,
    /// Whether another process has this node's name.
    pub(crate) name_conflict: IntGauge,
    /// Whether a majority hears this node, or the fleet follows `both`.
    pub(crate) quorum: IntGauge,
    /// Members of the electorate.
    pub(crate) electors: IntGauge,
    /// Whether members have different partition policies.
    pub(crate) policy_mixed: IntGauge,
    /// Ownership messages that were under way for too long to count.
    pub(crate) late_messages: IntCounter,
    /// Keys held here.
    pub(crate) target_set_mismatch: IntGauge,
    pub(crate) held_keys: IntGauge,
    /// Slots that were refused because this node had been late or had lost the key meanwhile.
    pub(crate) slots_refused: IntCounter,
    /// Offset of the wall clock from the clock that slots follow, in seconds.
    pub(crate) clock_offset: Gauge,
    /// Epoch of the table of placement that this node goes by.
    pub(crate) placement_epoch: IntGauge,
    /// Keys in it.
    pub(crate) placement_keys: IntGauge,
    /// Keys that tables of this node's writing have moved.
    pub(crate) placement_moves: IntCounter,
    /// What this node's keys weigh.
    pub(crate) load: IntGauge,
    /// The busiest node's load over the mean of all.
    pub(crate) load_ratio: Gauge,
    clock_skew: GaugeVec,
    skews_shown: Mutex<BTreeSet<Arc<str>>>,
    ownership: Ownership,
}

/// An open stream, for the gauge of open streams.
pub(crate) struct OpenStream(IntGauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If names are taken in the registry: two clusters can't share one.
    pub(crate) fn new(cluster: &str, registry: &Registry) -> Result<Self, prometheus::Error> {
        let new = Maker { cluster, registry };
        Self {
            packets_sent: new.counter("cluster_transport_tx_packets_total", "Rounds of gossip sent")?,
            packets_received: new.counter("cluster_transport_rx_packets_total", "Rounds of gossip received")?,
            packet_bytes_sent: new.counter("cluster_transport_tx_bytes_total", "Bytes of gossip sent, before compression")?,
            packet_bytes_received: new.counter("cluster_transport_rx_bytes_total", "Bytes of gossip received, after decompression")?,
            messages_sent: new.counter("cluster_transport_stream_tx_packets_total", "Messages other than gossip sent")?,
            messages_received: new.counter("cluster_transport_stream_rx_packets_total", "Messages other than gossip received")?,
            message_bytes_sent: new.counter("cluster_transport_stream_tx_bytes_total", "Bytes of messages other than gossip sent")?,
            message_bytes_received: new
                .counter("cluster_transport_stream_rx_bytes_total", "Bytes of messages other than gossip received")?,
            packets_unsent: new.counter(
                "cluster_transport_tx_packets_failed_total",
                "Rounds of gossip that found no stream or no room, or lost their stream",
            )?,
            packets_unread: new
                .counter("cluster_transport_rx_packets_failed_total", "Rounds of gossip that came too fast or make no sense")?,
            messages_unsent: new.counter(
                "cluster_transport_stream_tx_packets_failed_total",
                "Messages other than gossip that found no stream or no room, or lost their stream",
            )?,
            messages_unread: new
                .counter("cluster_transport_stream_rx_packets_failed_total", "Messages other than gossip that make no sense")?,
            streams: new.gauge("cluster_transport_streams", "Open streams, both directions")?,
            rx_queue_length: new.gauge("cluster_transport_rx_packet_queue_length", "Rounds of gossip that wait to be read")?,
            tx_queue_length: new.gauge("cluster_transport_tx_packet_queue_length", "Messages that wait to be sent, over all peers")?,
            wire_sent: new
                .counter("collector_cluster_wire_sent_bytes_total", "Bytes sent to peers, after compression, before HTTP/2 and TLS")?,
            wire_received: new.counter(
                "collector_cluster_wire_received_bytes_total",
                "Bytes received from peers, before decompression, after HTTP/2 and TLS",
            )?,
            info: new.gauges("cluster_node_info", "The node's state, as a label", "state")?,
            peers: new.gauges("cluster_node_peers", "Live members by state, this node included", "state")?,
            lamport_time: new.gauge("cluster_node_lamport_time", "Lamport time: grows with each change of any member")?,
            gossip_events: new.counters("cluster_node_gossip_received_events_total", "News about members received", "event")?,
            gossip_broadcasts: new.counters(
                "cluster_node_gossip_broadcasts_total",
                "News about this node pushed to all members",
                "event",
            )?,
            observers: new.gauge("cluster_node_update_observers", "Components that are told about changes of ownership")?,
            updating: new.gauge("cluster_node_updating", "1 while a change of members waits to be worked into ownership")?,
            health_score: new.gauge(
                "cluster_node_gossip_health_score",
                "Signs that this node is in trouble, 0 if none: members without a stream, and 1 if it stood still in the last minute",
            )?,
            update_duration: new.histogram("cluster_node_update_duration_seconds", "Time to work a change of members into ownership")?,
            alive_peers: new.gauge("cluster_node_gossip_alive_peers", "Live members, this node included")?,
            ready: new.gauge("cluster_ready_for_traffic", "1 once the fleet has reached its wanted size")?,
            minimum_size: new.gauge("cluster_minimum_size", "The size that a new fleet waits for before it works")?,
            rejected: new.counters("collector_cluster_rejected_peers_total", "Streams refused by the failed check", "reason")?,
            join_failures: new.counters("collector_cluster_join_failures_total", "Attempts to reach a peer by the failed step", "step")?,
            gossip_dropped: new
                .counter("collector_cluster_gossip_dropped_total", "Rounds of gossip that came faster than they were read")?,
            members_lost: new.counter("collector_cluster_members_lost_total", "Members declared gone without a goodbye")?,
            name_conflict: new.gauge("collector_cluster_name_conflict", "1 while another process has this node's name")?,
            target_set_mismatch: new.gauge(
                "collector_cluster_target_set_mismatch",
                "Members of the same configuration whose discovered targets have differed from this node's for 2 minutes",
            )?,
            quorum: new
                .gauge("collector_cluster_quorum", "1 while a majority of the fleet hears this node; always 1 under the policy both")?,
            electors: new.gauge("collector_cluster_electors", "Members whose majority counts; 0 under the policy both")?,
            policy_mixed: new.gauge("collector_cluster_policy_mixed", "1 while members have different partition policies")?,
            late_messages: new
                .counter("collector_cluster_late_messages_total", "Ownership messages that were under way for too long to count")?,
            held_keys: new.gauge("collector_cluster_held_keys", "Keys held by this node")?,
            slots_refused: new
                .counter("collector_cluster_slots_refused_total", "Slots not begun because the node had been late or the key had moved")?,
            clock_offset: new.register(Gauge::with_opts(
                new.opts("collector_cluster_clock_offset_seconds", "Offset of the wall clock from the clock that slots follow"),
            )?)?,
            placement_epoch: new.gauge("collector_cluster_placement_epoch", "Epoch of the table of placement that this node goes by")?,
            placement_keys: new.gauge("collector_cluster_placement_keys", "Keys that have a place in the table of placement")?,
            placement_moves: new
                .counter("collector_cluster_placement_moves_total", "Keys moved by tables of placement that this node has written")?,
            load: new.gauge("collector_cluster_load", "Work in a minute that the keys held here take: samples, for scrapes")?,
            load_ratio: new.register(Gauge::with_opts(
                new.opts("collector_cluster_load_ratio", "The busiest node's load over the mean of all, as this node knows them"),
            )?)?,
            clock_skew: new.register(GaugeVec::new(
                new.opts("collector_cluster_clock_skew_seconds", "By how much a live member's clock is ahead of this node's"),
                &["peer"],
            )?)?,
            skews_shown: Mutex::default(),
            ownership: new.register(Ownership::new(cluster)?)?,
        }
        .with_constants(&new)
    }

    fn with_constants(self, new: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let version = new.gauge("cluster_node_gossip_proto_version", "Version of the protocol between peers")?;
        version.set(i64::from(Protocols::SPOKEN.newest()));
        // Alloy's alert on name conflicts takes a rate, which needs the series before the first one.
        self.gossip_events.with_label_values(&["node_conflict"]);
        for reason in Reason::ALL {
            self.rejected.with_label_values(&[reason.as_str()]);
        }
        for step in Step::ALL {
            self.join_failures.with_label_values(&[step.as_str()]);
        }
        Ok(self)
    }

    pub(crate) fn open_stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }

    pub(crate) fn sent(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packets_sent } else { &self.messages_sent }
    }

    pub(crate) fn sent_bytes(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packet_bytes_sent } else { &self.message_bytes_sent }
    }

    pub(crate) fn received(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packets_received } else { &self.messages_received }
    }

    pub(crate) fn received_bytes(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packet_bytes_received } else { &self.message_bytes_received }
    }

    /// A message found no stream or no room, or was lost with its stream.
    pub(crate) fn unsent(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packets_unsent } else { &self.messages_unsent }
    }

    /// A message came that could not be taken: it makes no sense, or it is gossip and came too fast.
    pub(crate) fn unread(&self, kind: Kind) -> &IntCounter {
        if kind == Kind::Gossip { &self.packets_unread } else { &self.messages_unread }
    }

    pub(crate) fn rejected(&self, reason: Reason) -> IntCounter {
        self.rejected.with_label_values(&[reason.as_str()])
    }

    /// A peer or a join address could not be reached.
    pub(crate) fn join_failed(&self, step: Step) {
        self.join_failures.with_label_values(&[step.as_str()]).inc();
    }

    /// News about a member; the events' names are Alloy's.
    pub(crate) fn gossip_event(&self, event: &str) {
        self.gossip_events.with_label_values(&[event]).inc();
    }

    /// News about this node went to all members.
    pub(crate) fn broadcast(&self, event: &str) {
        self.gossip_broadcasts.with_label_values(&[event]).inc();
    }

    /// The state of this node, and live members by state without it.
    pub(crate) fn members(&self, own: State, others: impl Fn(State) -> usize) {
        let mut total = 0;
        for state in State::ALL {
            let count = others(state) + usize::from(state == own);
            self.peers.with_label_values(&[state.as_str()]).set(count as i64);
            total += count;
        }
        self.alive_peers.set(total as i64);
        self.info.reset();
        self.info.with_label_values(&[own.as_str()]).set(1);
    }

    /// By how many milliseconds the clocks of live members are ahead; those that are not named are shown no more.
    pub(crate) fn clock_skews(&self, skews: impl Iterator<Item = (Arc<str>, i64)>) {
        let mut shown = self.skews_shown.lock();
        let mut gone = std::mem::take(&mut *shown);
        for (peer, ahead_ms) in skews {
            self.clock_skew.with_label_values(&[&*peer]).set(ahead_ms as f64 / 1000.0);
            gone.remove(&peer);
            shown.insert(peer);
        }
        for peer in gone {
            // Shown before, so it is there.
            drop(self.clock_skew.remove_label_values(&[&*peer]));
        }
    }

    /// The ownership machine's totals.
    pub(crate) fn ownership(&self, counters: &Counters) {
        *self.ownership.counters.lock() = counters.clone();
    }
}

/// Makes and registers metrics that carry the cluster's name.
struct Maker<'a> {
    cluster: &'a str,
    registry: &'a Registry,
}

impl Maker<'_> {
    fn opts(&self, name: &str, help: &str) -> Opts {
        let opts = Opts::new(name, help);
        // Alloy's transport metrics carry no cluster name.
        if name.starts_with("cluster_transport_") { opts } else { opts.const_label("cluster_name", self.cluster) }
    }

    fn register<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(self.opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(self.opts(name, help), &[label])?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(self.opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(self.opts(name, help), &[label])?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::new(name, help).const_label("cluster_name", self.cluster);
        self.register(Histogram::with_opts(opts)?)
    }
}

type Total = (&'static str, &'static str, fn(&Counters) -> u64);

/// The machine counts for itself; these are the names of its totals.
const TOTALS: [Total; 12] = [
    ("collector_cluster_moves_in_total", "Keys taken over from a peer", |totals| totals.moves_in),
    ("collector_cluster_moves_out_total", "Keys that a peer took over", |totals| totals.moves_out),
    ("collector_cluster_claims_total", "Keys claimed while nobody held them", |totals| totals.claims),
    ("collector_cluster_claims_forced_total", "Claims that went on without the answer of a live peer", |totals| totals.claims_forced),
    ("collector_cluster_wants_sent_total", "Keys asked for, repetitions included", |totals| totals.wants_sent),
    ("collector_cluster_busy_received_total", "Refusals because a peer's view differed", |totals| totals.busy_received),
    ("collector_cluster_grants_resent_total", "Grants sent again for want of an acknowledgement", |totals| totals.grants_resent),
    ("collector_cluster_grants_declined_total", "Grants that a peer declined", |totals| totals.grants_declined),
    ("collector_cluster_states_dropped_total", "States too large to hand over with their key", |totals| totals.states_dropped),
    ("collector_cluster_duplicates_stopped_total", "Keys stopped because another node held them too", |totals| totals.duplicates_stopped),
    ("collector_cluster_fences_total", "Times that this node was late and stopped all its keys", |totals| totals.fences),
    ("collector_cluster_stale_messages_total", "Messages for or from an earlier life of a node", |totals| totals.stale_messages),
];

const HANDOVER: (&str, &str) = ("collector_cluster_handover_seconds", "Time from the first want of a key to its start on this node");

const GAP: (&str, &str) = (
    "collector_cluster_handover_gap_slots",
    "Slots between the last one that the old holder of a key began and the first one that this node is to begin",
);

#[derive(Clone)]
struct Ownership {
    counters: Arc<Mutex<Counters>>,
    cluster: String,
    descs: Arc<Vec<Desc>>,
}

impl Ownership {
    fn new(cluster: &str) -> Result<Self, prometheus::Error> {
        let names = TOTALS.iter().map(|(name, help, _)| (*name, *help)).chain([HANDOVER, GAP]);
        let labels = std::collections::HashMap::from([("cluster_name".to_owned(), cluster.to_owned())]);
        let descs: Result<Vec<_>, _> = names.map(|(name, help)| Desc::new(name.into(), help.into(), Vec::new(), labels.clone())).collect();
        Ok(Self { counters: Arc::default(), cluster: cluster.to_owned(), descs: Arc::new(descs?) })
    }

    fn family(&self, (name, help): (&str, &str), kind: proto::MetricType, fill: impl FnOnce(&mut proto::Metric)) -> proto::MetricFamily {
        let mut label = proto::LabelPair::default();
        label.set_name("cluster_name".into());
        label.set_value(self.cluster.clone());
        let mut metric = proto::Metric::from_label(vec![label]);
        fill(&mut metric);
        let mut family = proto::MetricFamily::default();
        family.set_name(name.into());
        family.set_help(help.into());
        family.set_field_type(kind);
        family.set_metric(vec![metric]);
        family
    }

    /// A histogram of values that were counted in buckets with these upper bounds and one without.
    fn histogram(&self, names: (&str, &str), bounds: impl Iterator<Item = f64>, counts: &[u64], sum: f64) -> proto::MetricFamily {
        let mut cumulative = 0;
        let buckets = bounds.zip(counts).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        self.family(names, proto::MetricType::HISTOGRAM, |metric| metric.set_histogram(histogram))
    }

    fn histograms(&self, counters: &Counters) -> [proto::MetricFamily; 2] {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let latency = LATENCY_BOUNDS_MS.iter().map(|bound| seconds(*bound));
        let gap = GAP_BOUNDS.iter().map(|bound| *bound as f64);
        [
            self.histogram(HANDOVER, latency, &counters.handover_latency, seconds(counters.handover_latency_sum_ms)),
            self.histogram(GAP, gap, &counters.handover_gap, counters.handover_gap_sum as f64),
        ]
    }
}

impl Collector for Ownership {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let counters = self.counters.lock().clone();
        let totals = TOTALS.iter().map(|(name, help, total)| {
            let mut counter = proto::Counter::default();
            counter.set_value(total(&counters) as f64);
            self.family((name, help), proto::MetricType::COUNTER, |metric| metric.set_counter(counter))
        });
        totals.chain(self.histograms(&counters)).collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    fn text(registry: &Registry) -> String {
        TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn metrics_carry_the_cluster_name_and_the_state_as_in_alloy() {
        let registry = Registry::new();
        let metrics = Metrics::new("blue", &registry).unwrap();
        metrics.members(State::Participant, |state| if state == State::Participant { 2 } else { 0 });
        metrics.members(State::Terminating, |state| if state == State::Participant { 2 } else { 0 });
        let text = text(&registry);
        for line in [
            "cluster_node_info{cluster_name=\"blue\",state=\"terminating\"} 1",
            "cluster_node_peers{cluster_name=\"blue\",state=\"participant\"} 2",
            "cluster_node_peers{cluster_name=\"blue\",state=\"terminating\"} 1",
            "cluster_node_gossip_alive_peers{cluster_name=\"blue\"} 3",
            "cluster_ready_for_traffic{cluster_name=\"blue\"} 0",
            "collector_cluster_rejected_peers_total{cluster_name=\"blue\",reason=\"key\"} 0",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("cluster_node_info{cluster_name=\"blue\",state=\"participant\"}"));
    }

    #[test]
    fn the_machines_totals_and_latencies_show_as_it_counted_them() {
        let registry = Registry::new();
        let metrics = Metrics::new("blue", &registry).unwrap();
        let mut counters = Counters { moves_in: 3, handover_latency_sum_ms: 1500, handover_gap_sum: 2, ..Counters::default() };
        counters.handover_gap[0] = 5;
        counters.handover_gap[2] = 1;
        counters.handover_latency[0] = 2;
        counters.handover_latency[LATENCY_BOUNDS_MS.len()] = 1;
        metrics.ownership(&counters);
        let text = text(&registry);
        for line in [
            "collector_cluster_moves_in_total{cluster_name=\"blue\"} 3",
            "collector_cluster_handover_seconds_bucket{cluster_name=\"blue\",le=\"0.01\"} 2",
            "collector_cluster_handover_seconds_bucket{cluster_name=\"blue\",le=\"10\"} 2",
            "collector_cluster_handover_seconds_bucket{cluster_name=\"blue\",le=\"+Inf\"} 3",
            "collector_cluster_handover_seconds_sum{cluster_name=\"blue\"} 1.5",
            "collector_cluster_handover_gap_slots_bucket{cluster_name=\"blue\",le=\"0\"} 5",
            "collector_cluster_handover_gap_slots_bucket{cluster_name=\"blue\",le=\"2\"} 6",
            "collector_cluster_handover_gap_slots_sum{cluster_name=\"blue\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn skews_are_those_of_the_live_members() {
        let registry = Registry::new();
        let metrics = Metrics::new("blue", &registry).unwrap();
        metrics.clock_skews([("a".into(), -1_500), ("b".into(), 3)].into_iter());
        metrics.clock_skews([("b".into(), 4), ("c".into(), 0)].into_iter());
        let text = text(&registry);
        let shown: Vec<_> = text.lines().filter(|line| line.starts_with("collector_cluster_clock_skew_seconds")).collect();
        let series = |peer, value| format!("collector_cluster_clock_skew_seconds{{cluster_name=\"blue\",peer=\"{peer}\"}} {value}");
        assert_eq!(shown, [series("b", "0.004"), series("c", "0")]);
    }

    #[test]
    fn one_registry_takes_one_cluster() {
        let registry = Registry::new();
        let _first = Metrics::new("blue", &registry).unwrap();
        assert!(Metrics::new("blue", &registry).is_err());
    }
}
