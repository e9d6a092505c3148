//! What the live table shows: each node asked in turn, and what the judge has seen meanwhile put down to the node that owns the target.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::clock::{millis, now_ms};
use crate::fleet::{Fleet, Node, State, metric_sum};
use crate::judge::{Judge, Live};
use crate::measure::ProcessStats;

/// The counter of sent samples: Alloy's name, and so the collector's.
const SENT: &str = "prometheus_remote_storage_samples_total";
/// How long a look may take; a node that does not answer meanwhile shows its last figures.
const LOOK: Duration = Duration::from_millis(900);

/// One row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) targets: Option<usize>,
    pub(crate) samples_per_second: Option<f64>,
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    pub(crate) rss_bytes: Option<u64>,
}

/// One look at the fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) load: String,
    pub(crate) elapsed: Duration,
    pub(crate) whole: Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) gaps: u64,
    pub(crate) duplicates: u64,
    /// Targets whose newest sample came longer ago than two and a half intervals.
    pub(crate) late: usize,
    pub(crate) samples_per_second: f64,
}

/// What was seen before.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    nodes: HashMap<String, Seen>,
    live: HashMap<String, Live>,
    /// Owner by target; the last one known.
    owners: HashMap<String, String>,
    samples: Option<(Instant, u64)>,
}

#[derive(Debug, Default)]
struct Seen {
    answer: Answer,
    rate: Option<f64>,
    sent: Option<(Instant, f64)>,
    gaps: u64,
    duplicates: u64,
}

/// What a node answered; `None` where it did not.
#[derive(Clone, Debug, Default)]
struct Answer {
    targets: Option<Vec<String>>,
    sent: Option<f64>,
    state: Option<String>,
}

impl Watch {
    /// Asks all nodes at once and puts everything together.
    pub(crate) async fn look(&mut self, fleet: &Fleet, judge: &Judge, interval: Duration) -> View {
        let nodes = fleet.nodes();
        let mut asked = JoinSet::new();
        for node in nodes.iter().filter(|n| n.is_alive()).cloned() {
            asked.spawn(async move { (node.name().to_owned(), tokio::time::timeout(LOOK, ask(node)).await.unwrap_or_default()) });
        }
        for (name, answer) in asked.join_all().await {
            self.hear(name, answer);
        }
        let live = judge.live();
        let late = late(&live, interval);
        let (gaps, duplicates) = self.put_down(live);
        let samples_per_second = self.rate(judge.totals().samples);
        let rows = nodes.iter().map(|n| self.row(n)).collect();
        View { rows, gaps, duplicates, late, samples_per_second, ..View::default() }
    }

    /// Takes in a node's answer.
    fn hear(&mut self, name: String, answer: Answer) {
        for target in answer.targets.iter().flatten() {
            self.owners.insert(target.clone(), name.clone());
        }
        let seen = self.nodes.entry(name).or_default();
        if let Some(sent) = answer.sent {
            let now = Instant::now();
            seen.rate = seen.sent.map(|(at, before)| (sent - before).max(0.0) / (now - at).as_secs_f64().max(0.001));
            seen.sent = Some((now, sent));
        }
        seen.answer = answer;
    }

    /// Puts new gaps and duplicates down to the owners of their targets; returns the sums over all targets.
    fn put_down(&mut self, live: HashMap<String, Live>) -> (u64, u64) {
        for (target, now) in &live {
            let before = self.live.get(target).copied().unwrap_or_default();
            let Some(seen) = self.owners.get(target).and_then(|owner| self.nodes.get_mut(owner)) else { continue };
            seen.gaps += now.gaps - before.gaps;
            seen.duplicates += now.duplicates - before.duplicates;
        }
        self.live = live;
        let sum = |of: fn(&Live) -> u64| self.live.values().map(of).sum();
        (sum(|l| l.gaps), sum(|l| l.duplicates))
    }

    fn rate(&mut self, samples: u64) -> f64 {
        let now = Instant::now();
        let before = self.samples.replace((now, samples));
        before.map_or(0.0, |(at, before)| samples.saturating_sub(before) as f64 / (now - at).as_secs_f64().max(0.001))
    }

    fn row(&self, node: &Node) -> Row {
        let seen = self.nodes.get(node.name());
        let alive = node.is_alive();
        let answer = seen.map(|s| &s.answer).filter(|_| alive);
        Row {
            name: node.name().to_owned(),
            state: state(node.state(), answer.and_then(|a| a.state.clone())),
            targets: answer.and_then(|a| a.targets.as_ref()).map(Vec::len),
            samples_per_second: seen.filter(|_| alive).and_then(|s| s.rate),
            gaps: seen.map_or(0, |s| s.gaps),
            duplicates: seen.map_or(0, |s| s.duplicates),
            rss_bytes: node.process().filter(|_| alive).and_then(|p| ProcessStats::read(p.pid()).ok()).map(|s| s.rss_bytes),
        }
    }
}

async fn ask(node: Arc<Node>) -> Answer {
    let (targets, metrics, peers) = tokio::join!(node.targets(), node.metrics(), node.peers());
    let instance = |t: crate::fleet::ActiveTarget| t.labels.get("instance").cloned();
    Answer {
        targets: targets.ok().map(|all| all.into_iter().filter_map(instance).collect()),
        sent: metrics.ok().and_then(|text| metric_sum(&text, SENT)),
        state: peers.ok().and_then(|all| all.into_iter().find(|p| p.is_self)).map(|p| p.state),
    }
}

/// What the process does, or what the cluster says of a process that runs.
fn state(of: State, in_cluster: Option<String>) -> String {
    match of {
        State::Starting => "starting".to_owned(),
        State::Running => in_cluster.unwrap_or_else(|| "no answer".to_owned()),
        State::Paused => "paused".to_owned(),
        State::Stopping => "leaving".to_owned(),
        State::Stopped(took) => format!("left in {:.1} s", took.as_secs_f64()),
        State::Killed => "killed".to_owned(),
        State::Failed => "failed".to_owned(),
    }
}

fn late(live: &HashMap<String, Live>, interval: Duration) -> usize {
    let oldest = now_ms() - millis(interval) * 5 / 2;
    live.values().filter(|l| l.last_arrival_ms < oldest).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(targets: &[&str]) -> Answer {
        Answer { targets: Some(targets.iter().map(|t| (*t).to_owned()).collect()), sent: Some(0.0), state: None }
    }

    fn live(all: &[(&str, u64, u64)]) -> HashMap<String, Live> {
        let one = |(target, gaps, duplicates): &(&str, u64, u64)| {
            ((*target).to_owned(), Live { gaps: *gaps, duplicates: *duplicates, ..Live::default() })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn flaws_are_put_down_to_the_owner_of_their_time() {
        let mut watch = Watch::default();
        watch.hear("node-1".to_owned(), answer(&["a", "b"]));
        watch.hear("node-2".to_owned(), answer(&[]));
        assert_eq!(watch.put_down(live(&[("a", 1, 0), ("b", 0, 0)])), (1, 0));
        watch.hear("node-2".to_owned(), answer(&["a"]));
        assert_eq!(watch.put_down(live(&[("a", 3, 1), ("b", 0, 0), ("nobody's", 1, 0)])), (4, 1));
        let flaws = |name: &str| (watch.nodes[name].gaps, watch.nodes[name].duplicates);
        assert_eq!((flaws("node-1"), flaws("node-2")), ((1, 0), (2, 1)));
    }

    #[test]
    fn the_state_is_that_of_the_process_before_that_of_the_cluster() {
        assert_eq!(state(State::Running, Some("participant".to_owned())), "participant");
        assert_eq!(state(State::Running, None), "no answer");
        assert_eq!(state(State::Stopped(Duration::from_millis(1250)), None), "left in 1.2 s");
        assert_eq!(state(State::Killed, Some("participant".to_owned())), "killed");
    }

    #[test]
    fn targets_without_a_sample_for_long_are_late() {
        let mut all = live(&[("a", 0, 0), ("b", 0, 0)]);
        all.insert("c".to_owned(), Live { last_arrival_ms: now_ms(), ..Live::default() });
        assert_eq!(late(&all, Duration::from_secs(60)), 2);
    }
}
