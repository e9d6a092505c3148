//! What the nodes say of themselves while a scenario is played, each asked in turn: for the live table, and for the report what each has done
//! and cost. Gaps and duplicates that the judge has seen meanwhile are put down to the node that holds the target.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::clock::{millis, now_ms};
use crate::fleet::{Fleet, Node, State, metric_sum};
use crate::judge::{Judge, Live};
use crate::measure::ProcessStats;
use crate::report::NodeCost;

/// The counter of sent samples: Alloy's name, and so the collector's.
const SENT: &str = "prometheus_remote_storage_samples_total";
/// How long a look may take; a node that does not answer meanwhile shows its last figures.
const LOOK: Duration = Duration::from_millis(900);

/// From one look to the next, with a look that takes as long as it may and some slack.
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_millis(2_200);

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
    nodes: BTreeMap<String, Seen>,
    live: HashMap<String, Live>,
    /// Holder by target; the last one known.
    holders: HashMap<String, String>,
    moves: u64,
    samples: Option<(Instant, u64)>,
    standstills: Standstills,
}

/// How long the machine kept somebody from working, so that a promise may have been broken for want of a processor.
#[derive(Debug, Default)]
struct Standstills {
    looked: Option<Instant>,
    /// What each process had waited for a processor, by its ID.
    waited: HashMap<u32, f64>,
    longest: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    answer: Answer,
    rate: Option<f64>,
    sent: Option<(Instant, f64)>,
    gaps: u64,
    duplicates: u64,
    spent: Spent,
}

/// What a node has done and cost since the story began, over all of its processes.
#[derive(Debug, Default)]
struct Spent {
    pid: u32,
    /// Of earlier processes.
    before: (f64, f64),
    /// Of this one when the story began: CPU seconds, samples.
    base: (f64, f64),
    /// Of this one, last seen.
    last: (f64, f64),
    rss_bytes: u64,
    peak_rss_bytes: u64,
    /// When it was first and last seen to run.
    seen: Option<(Instant, Instant)>,
}

/// What a node answered; `None` where it did not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    targets: Option<Vec<String>>,
    sent: Option<f64>,
    state: Option<String>,
    process: Option<(u32, ProcessStats)>,
}

impl Watch {
    /// Takes in the answers of one look.
    pub(crate) fn hear(&mut self, answers: Vec<(String, Answer)>) {
        self.holds(&answers);
        self.standstills.look(answers.iter().filter_map(|(_, answer)| answer.process));
        for (name, answer) in answers {
            let seen = self.nodes.entry(name).or_default();
            if let Some(sent) = answer.sent {
                let now = Instant::now();
                seen.rate = seen.sent.map(|(at, before)| (sent - before).max(0.0) / (now - at).as_secs_f64().max(0.001));
                seen.sent = Some((now, sent));
            }
            if let Some((pid, stats)) = answer.process {
                seen.spent.add(pid, stats, answer.sent);
            }
            seen.answer = answer;
        }
    }

    /// Who holds what; a target that two list for a moment stays with the one that had it.
    fn holds(&mut self, answers: &[(String, Answer)]) {
        let mut listed: HashMap<&str, Vec<&str>> = HashMap::new();
        for (name, answer) in answers {
            for target in answer.targets.iter().flatten() {
                listed.entry(target).or_default().push(name);
            }
        }
        for (target, names) in listed {
            match self.holders.get(target) {
                Some(holder) if names.contains(&holder.as_str()) => {}
                before => {
                    self.moves += u64::from(before.is_some());
                    self.holders.insert(target.to_owned(), names[0].to_owned());
                }
            }
        }
    }

    /// The story begins: what the nodes have cost until now was their start.
    pub(crate) fn begin(&mut self) {
        for seen in self.nodes.values_mut() {
            seen.spent.base = seen.spent.last;
            seen.spent.seen = seen.spent.seen.map(|(_, last)| (last, last));
        }
        self.moves = 0;
        self.standstills.longest = Duration::ZERO;
    }

    /// The longest that a node or the load test itself could not run within a second though it would have.
    pub(crate) fn stood_still(&self) -> Duration {
        self.standstills.longest
    }

    /// How many targets have changed their holder, as far as it was seen.
    pub(crate) fn moves(&self) -> u64 {
        self.moves
    }

    /// The targets of a node, as they were last seen.
    pub(crate) fn held_by(&self, name: &str) -> Vec<String> {
        self.holders.iter().filter(|(_, holder)| *holder == name).map(|(target, _)| target.clone()).collect()
    }

    /// What each node has done and cost.
    pub(crate) fn costs(&self, fleet: &Fleet) -> Vec<NodeCost> {
        let cost = |node: &Arc<Node>| {
            let seen = self.nodes.get(node.name())?;
            let targets = seen.answer.targets.as_ref().filter(|_| node.is_alive()).map(Vec::len);
            Some(seen.spent.cost(node.name(), &state(node.state(), None), targets))
        };
        fleet.nodes().iter().filter_map(cost).collect()
    }

    /// Everything that is shown.
    pub(crate) fn view(&mut self, fleet: &Fleet, judge: &Judge, interval: Duration) -> View {
        let live = judge.live();
        let late = late(&live, interval);
        let (gaps, duplicates) = self.put_down(live);
        let samples_per_second = self.rate(judge.totals().samples);
        let rows = fleet.nodes().iter().map(|n| self.row(n)).collect();
        View { rows, gaps, duplicates, late, samples_per_second, ..View::default() }
    }

    /// Puts new gaps and duplicates down to the holders of their targets; returns the sums over all targets.
    fn put_down(&mut self, live: HashMap<String, Live>) -> (u64, u64) {
        for (target, now) in &live {
            let before = self.live.get(target).copied().unwrap_or_default();
            let Some(seen) = self.holders.get(target).and_then(|holder| self.nodes.get_mut(holder)) else { continue };
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
            rss_bytes: answer.and_then(|a| a.process).map(|(_, stats)| stats.rss_bytes),
        }
    }
}

impl Standstills {
    /// Takes in what the nodes have waited; what this process has is read here.
    fn look(&mut self, nodes: impl Iterator<Item = (u32, ProcessStats)>) {
        let own = std::process::id();
        let own = ProcessStats::read(own).ok().map(|stats| (own, stats));
        let now: HashMap<u32, f64> = nodes.chain(own).map(|(pid, stats)| (pid, stats.cpu_wait_seconds)).collect();
        let since_then = |(pid, waited): (&u32, &f64)| Some(waited - self.waited.get(pid)?);
        let waited = now.iter().filter_map(since_then).fold(0.0, f64::max);
        // A machine that stood still as a whole made nobody wait, and the next look late.
        let late = self.looked.map_or(Duration::ZERO, |looked| looked.elapsed().saturating_sub(LONGEST_BETWEEN_LOOKS));
        self.longest = self.longest.max(late).max(Duration::from_secs_f64(waited));
        (self.waited, self.looked) = (now, Some(Instant::now()));
    }
}

impl Spent {
    fn add(&mut self, pid: u32, stats: ProcessStats, sent: Option<f64>) {
        if pid != self.pid {
            let (cpu, samples) = self.own();
            self.before = (self.before.0 + cpu, self.before.1 + samples);
            (self.pid, self.base, self.last) = (pid, (0.0, 0.0), (0.0, 0.0));
        }
        self.last = (stats.cpu_seconds, sent.unwrap_or(self.last.1));
        self.rss_bytes = stats.rss_bytes;
        self.peak_rss_bytes = self.peak_rss_bytes.max(stats.peak_rss_bytes);
        let now = Instant::now();
        self.seen = Some((self.seen.map_or(now, |(first, _)| first), now));
    }

    /// Of this process since the story began.
    fn own(&self) -> (f64, f64) {
        (self.last.0 - self.base.0, (self.last.1 - self.base.1).max(0.0))
    }

    fn cost(&self, name: &str, state: &str, targets: Option<usize>) -> NodeCost {
        let (cpu, samples) = self.own();
        let (cpu_seconds, samples) = (self.before.0 + cpu, self.before.1 + samples);
        let seconds = self.seen.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let per = |value: f64, of: f64| if of > 0.0 { Some(value / of) } else { None };
        NodeCost {
            name: name.to_owned(),
            state: state.to_owned(),
            targets,
            seconds,
            samples: samples as u64,
            samples_per_second: per(samples, seconds),
            cpu_seconds,
            cpu_us_per_sample: per(cpu_seconds * 1e6, samples),
            rss_bytes: self.rss_bytes,
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }
}

/// Asks all nodes that run, at once.
pub(crate) async fn ask_all(fleet: &Fleet) -> Vec<(String, Answer)> {
    let mut asked = JoinSet::new();
    for node in fleet.nodes().into_iter().filter(|n| n.is_alive()) {
        asked.spawn(async move {
            let stats = node.process().and_then(|p| Some((p.pid(), ProcessStats::read(p.pid()).ok()?)));
            let name = node.name().to_owned();
            let answer = tokio::time::timeout(LOOK, ask(node)).await.unwrap_or_default();
            (name, Answer { process: stats, ..answer })
        });
    }
    asked.join_all().await
}

async fn ask(node: Arc<Node>) -> Answer {
    let (targets, metrics, peers) = tokio::join!(node.targets(), node.metrics(), node.peers());
    let instance = |t: crate::fleet::ActiveTarget| t.labels.get("instance").cloned();
    Answer {
        targets: targets.ok().map(|all| all.into_iter().filter_map(instance).collect()),
        sent: metrics.ok().and_then(|text| metric_sum(&text, SENT)),
        state: peers.ok().and_then(|all| all.into_iter().find(|p| p.is_self)).map(|p| p.state),
        process: None,
    }
}

/// What the process does, or what the cluster says of a process that runs.
fn state(of: State, in_cluster: Option<String>) -> String {
    match of {
        State::Starting => "starting".to_owned(),
        State::Running => in_cluster.unwrap_or_else(|| "running".to_owned()),
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
        Answer { targets: Some(targets.iter().map(|t| (*t).to_owned()).collect()), sent: Some(0.0), ..Answer::default() }
    }

    fn live(all: &[(&str, u64, u64)]) -> HashMap<String, Live> {
        let one = |(target, gaps, duplicates): &(&str, u64, u64)| {
            ((*target).to_owned(), Live { gaps: *gaps, duplicates: *duplicates, ..Live::default() })
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn flaws_are_put_down_to_the_holder_of_their_time() {
        let mut watch = Watch::default();
        watch.hear(vec![("node-1".to_owned(), answer(&["a", "b"])), ("node-2".to_owned(), answer(&[]))]);
        assert_eq!(watch.put_down(live(&[("a", 1, 0), ("b", 0, 0)])), (1, 0));
        watch.hear(vec![("node-1".to_owned(), answer(&["b"])), ("node-2".to_owned(), answer(&["a"]))]);
        assert_eq!(watch.put_down(live(&[("a", 3, 1), ("b", 0, 0), ("nobody's", 1, 0)])), (4, 1));
        let flaws = |name: &str| (watch.nodes[name].gaps, watch.nodes[name].duplicates);
        assert_eq!((flaws("node-1"), flaws("node-2")), ((1, 0), (2, 1)));
    }

    #[test]
    fn the_state_is_that_of_the_process_before_that_of_the_cluster() {
        assert_eq!(state(State::Running, Some("participant".to_owned())), "participant");
        assert_eq!(state(State::Running, None), "running");
        assert_eq!(state(State::Stopped(Duration::from_millis(1250)), None), "left in 1.2 s");
        assert_eq!(state(State::Killed, Some("participant".to_owned())), "killed");
    }

    #[test]
    fn a_move_is_counted_once_and_not_where_two_list_a_target_for_a_moment() {
        let mut watch = Watch::default();
        let mut look = |one: &[&str], two: &[&str]| {
            watch.hear(vec![("node-1".to_owned(), answer(one)), ("node-2".to_owned(), answer(two))]);
            watch.moves()
        };
        assert_eq!([look(&["a", "b"], &[]), look(&["a", "b"], &["b"]), look(&["a"], &["b"]), look(&["a"], &[])], [0, 0, 1, 1]);
        assert_eq!(watch.held_by("node-2"), ["b"], "who does not answer keeps what it had");
    }

    #[test]
    fn the_cost_is_that_since_the_beginning_and_of_all_processes_of_a_node() {
        let stats = |cpu_seconds| ProcessStats { cpu_seconds, rss_bytes: 10, peak_rss_bytes: 20, cpu_wait_seconds: 0.0 };
        let mut spent = Spent::default();
        spent.add(7, stats(1.0), Some(1000.0));
        spent.base = spent.last;
        spent.add(7, stats(1.5), Some(3000.0));
        spent.add(8, stats(0.25), Some(500.0));
        let cost = spent.cost("node-1", "running", Some(3));
        assert_eq!((cost.cpu_seconds, cost.samples, cost.cpu_us_per_sample), (0.75, 2500, Some(300.0)));
        assert_eq!(Spent::default().cost("node-2", "failed", None).cpu_us_per_sample, None);
    }

    #[test]
    fn targets_without_a_sample_for_long_are_late() {
        let mut all = live(&[("a", 0, 0), ("b", 0, 0)]);
        all.insert("c".to_owned(), Live { last_arrival_ms: now_ms(), ..Live::default() });
        assert_eq!(late(&all, Duration::from_secs(60)), 2);
    }

    #[test]
    fn the_longest_wait_for_a_processor_between_two_looks_counts() {
        let waited = |cpu_wait_seconds| ProcessStats { cpu_seconds: 0.0, rss_bytes: 0, peak_rss_bytes: 0, cpu_wait_seconds };
        let mut standstills = Standstills::default();
        // Two that nobody else has.
        let (one, other) = (u32::MAX, u32::MAX - 1);
        for (first, second) in [(5.0, 100.0), (55.0, 100.0), (55.0, 120.0), (3.0, 120.0)] {
            standstills.look([(one, waited(first)), (other, waited(second))].into_iter());
        }
        assert_eq!(standstills.longest, Duration::from_secs(50), "what was waited before the first look is another matter");
    }
}
