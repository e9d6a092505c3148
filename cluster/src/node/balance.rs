//! The table of placement between nodes: the first participant by name writes it, from what all say that they hold; everybody tells
//! in its record which one it goes by, and fetches a newer one from whoever has it. Without the author the last table stands, and the
//! next participant by name writes the next. What the table says is `placement`'s business; keys move by it as after a join.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Peer, RequestError,
    ask::Asker,
    claims::Weigher,
    driver::{Command, Driver},
    owner::Effects,
};
use crate::{
    membership::State,
    metrics::Metrics,
    ownership::Name,
    placement::{Forecast, HEAVIEST, Proposal, Refusals, Report, Table, Weighed, forecast, plan},
};

/// Pause between two looks at the members.
const TICK: Duration = Duration::from_millis(500);

/// Members must have been the same for so long before keys are weighed: after a start or a crash changes come in bursts.
const SETTLED: Duration = Duration::from_secs(3);

/// Pause between two looks at the loads. They change with what targets expose, which is slow.
const PERIOD: Duration = Duration::from_secs(30);

/// Pause until the next try, if members did not answer or did not agree on members or table.
const RETRY: Duration = Duration::from_secs(1);

/// A table that would move nothing is written this long after the last one: what has become heavy meanwhile gets a place of its own.
const RENEWAL: Duration = Duration::from_secs(300);

/// Pause between two weighings of what this node holds.
const WEIGHING: Duration = Duration::from_secs(10);

/// Members that are asked at a time.
const ASKED_AT_ONCE: usize = 16;

/// Questions to members.
const TABLE: &str = "placement.table";
const REPORT: &str = "placement.report";

/// What a report is to list: the heaviest keys, or all.
const HEAVIEST_ONLY: &[u8] = b"heaviest";
const ALL: &[u8] = b"all";

/// What the driver knows about placement at one moment.
pub(crate) struct Snapshot {
    pub(crate) table: Arc<Table>,
    pub(crate) proposal: Arc<Proposal>,
    /// Keys held here, without their weights.
    pub(crate) held: Vec<Weighed>,
    pub(crate) weighers: Vec<(Name, Weigher)>,
}

impl Snapshot {
    /// What is held here, weighed by the components. Takes some milliseconds with 100,000 keys.
    fn report(self, limit: usize) -> Report {
        let weights = self.weighers.into_iter().map(|(domain, weigher)| (domain, weigher().into_iter().collect::<HashMap<_, _>>()));
        let weights: HashMap<Name, HashMap<u64, u64>> = weights.collect();
        let weighed = |key: Weighed| Weighed { weight: weights.get(&key.domain).and_then(|keys| keys.get(&key.key)).copied(), ..key };
        let keys = self.held.into_iter().map(weighed).collect();
        Report::new(self.table.version(), self.proposal.members_hash(), keys, limit)
    }
}

/// Why there is no forecast.
#[derive(Debug, thiserror::Error)]
pub enum ForecastError {
    /// A member to be removed is none, or one to be added is one.
    #[error("{0}")]
    Members(String),
    /// A member did not say what it holds.
    #[error("{member} did not tell what it holds: {error}")]
    Silent {
        /// Who.
        member: String,
        /// Why.
        error: RequestError,
    },
    /// The node has shut down.
    #[error("the cluster node has shut down")]
    Stopped,
}

/// The task that keeps this node's table up to date, and writes it while this node is the author.
pub(crate) struct Balancer {
    asker: Asker,
    commands: mpsc::UnboundedSender<Command>,
    metrics: Arc<Metrics>,
    /// The participants, and since when they are the same.
    participants: Vec<String>,
    since: Instant,
    /// The participants for whom was last planned.
    planned_for: Vec<String>,
    next_plan: Instant,
    last_written: Option<Instant>,
    next_weighing: Instant,
    refusals: Refusals,
}

impl Balancer {
    pub(crate) fn new(asker: Asker, commands: mpsc::UnboundedSender<Command>, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        let balancer = Self {
            asker,
            commands,
            metrics,
            participants: Vec::new(),
            since: now,
            planned_for: Vec::new(),
            next_plan: now,
            last_written: None,
            next_weighing: now + WEIGHING,
            refusals: Refusals::default(),
        };
        balancer.answer_members();
        balancer
    }

    fn answer_members(&self) {
        let commands = self.commands.clone();
        self.asker.handlers.set(TABLE, move |_| {
            let commands = commands.clone();
            async move { Ok(packed(&snapshot(&commands).await.ok_or("this node has shut down")?.table)) }
        });
        let commands = self.commands.clone();
        self.asker.handlers.set(REPORT, move |body| {
            let commands = commands.clone();
            async move {
                let limit = if body == ALL { usize::MAX } else { HEAVIEST };
                let report = own_report(&commands, limit).await.ok_or("this node has shut down")?;
                Ok(report.encode().into())
            }
        });
    }

    /// Runs until the node has shut down.
    pub(crate) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.commands.is_closed() {
            ticks.tick().await;
            let peers = self.asker.peers.load_full();
            let now = Instant::now();
            self.watch(&peers, now);
            if let Some(peer) = ahead(&peers)
                && let Some(table) = fetch(self.asker.clone(), peer).await
            {
                self.adopt(table);
            }
            self.weigh(now).await;
            if self.is_author(&peers) && now >= self.since + SETTLED && now >= self.next_plan {
                let again = self.write().await;
                self.next_plan = Instant::now() + again;
            }
        }
    }

    /// Notes who takes part, and how their loads compare.
    fn watch(&mut self, peers: &[Peer], now: Instant) {
        self.metrics.load_ratio.set(ratio(participants(peers).map(|peer| peer.load)));
        let participants: Vec<String> = participants(peers).map(|peer| peer.name.clone()).collect();
        if participants != self.participants {
            (self.participants, self.since, self.next_plan) = (participants, now, now);
            // Who did not know a key may have been replaced by one that does.
            self.refusals = Refusals::default();
        }
    }

    /// Whether this node is the one that writes.
    fn is_author(&self, peers: &[Peer]) -> bool {
        participants(peers).min_by(|one, other| one.name.cmp(&other.name)).is_some_and(|first| first.is_self && first.ready)
    }

    fn adopt(&self, table: Table) {
        // Without a node nobody goes by it.
        drop(self.commands.send(Command::Adopt(Arc::new(table))));
    }

    /// Tells what this node's keys weigh, for others to see.
    async fn weigh(&mut self, now: Instant) {
        if now < self.next_weighing {
            return;
        }
        self.next_weighing = now + WEIGHING;
        if let Some(report) = own_report(&self.commands, HEAVIEST).await {
            drop(self.commands.send(Command::Load(report.load())));
        }
    }

    /// Plans, and writes a table if it is worth it. Returns when to look again.
    async fn write(&mut self) -> Duration {
        let Some(Snapshot { table, proposal, .. }) = snapshot(&self.commands).await else { return PERIOD };
        let members = proposal.ring().members();
        let asked = ask_all(&self.asker, members, HEAVIEST_ONLY).await;
        let mut reports = Vec::with_capacity(asked.len());
        for (member, answer) in members.iter().zip(asked) {
            match answer {
                Ok(report) if (report.version, report.members) == (table.version(), proposal.members_hash()) => reports.push(report),
                Ok(_) => return RETRY,
                // An earlier release does not answer: while the fleet is upgraded, the table stands.
                Err(error) => {
                    tracing::debug!(%member, %error, "no table of placement is written: a member did not tell what it holds");
                    return if matches!(error, RequestError::Failed(_)) { PERIOD } else { RETRY };
                }
            }
        }
        let Some(plan) = plan(&proposal, &table, &reports, &self.asker.me, &mut self.refusals) else { return RETRY * 5 };
        let others = self.planned_for != self.participants;
        self.planned_for.clone_from(&self.participants);
        let old = self.last_written.is_none_or(|at| at.elapsed() >= RENEWAL);
        if plan.moved > 0 || ((others || old) && !plan.table.says_the_same(&table)) {
            self.last_written = Some(Instant::now());
            self.metrics.placement_moves.inc_by(plan.moved as u64);
            tracing::info!(
                epoch = plan.table.version().epoch,
                keys = plan.table.len(),
                moved = plan.moved,
                "a table of placement was written"
            );
            self.adopt(plan.table);
        }
        PERIOD
    }
}

impl Driver {
    /// Goes by another table, if it is newer, and tells so.
    pub(super) fn adopt(&mut self, table: Arc<Table>) -> Effects {
        let version = table.version();
        if version <= self.owner.table().version() {
            return Effects::default();
        }
        self.local.metrics.placement_epoch.set(version.epoch as i64);
        self.local.metrics.placement_keys.set(table.len() as i64);
        tracing::debug!(epoch = version.epoch, author = table.author(), keys = table.len(), "this node goes by another table of placement");
        self.change_record(|record| record.placement = version);
        self.owner.adopt(table)
    }

    /// Tells the load, unless it has hardly changed: each change goes to all members.
    pub(super) fn tell_load(&mut self, load: u64) {
        self.local.metrics.load.set(load as i64);
        let told = self.local.record().load;
        if load.abs_diff(told) > told / 20 {
            self.change_record(|record| record.load = load);
        }
    }
}

/// Says where keys would be if `add` came and `remove` went.
pub(super) async fn predict(
    asker: &Asker,
    commands: &mpsc::UnboundedSender<Command>,
    add: Vec<Name>,
    remove: Vec<Name>,
) -> Result<Forecast, ForecastError> {
    let Snapshot { table, proposal, .. } = snapshot(commands).await.ok_or(ForecastError::Stopped)?;
    let members = proposal.ring().members();
    if let Some(stranger) = remove.iter().find(|name| !members.contains(name)) {
        let known = members.join(", ");
        return Err(ForecastError::Members(format!("{stranger} owns nothing here and can't be removed; the members are {known}")));
    }
    if let Some(known) = add.iter().find(|name| members.contains(name)) {
        return Err(ForecastError::Members(format!("{known} is a member already and can't be added")));
    }
    if remove.len() >= members.len() + add.len() {
        return Err(ForecastError::Members("nobody would be left".to_owned()));
    }
    let mut reports = Vec::with_capacity(members.len());
    for (member, answer) in members.iter().zip(ask_all(asker, members, ALL).await) {
        let report = answer.map_err(|error| ForecastError::Silent { member: member.to_string(), error })?;
        reports.push((member.clone(), report));
    }
    Ok(forecast(&proposal, &table, &reports, &add, &remove))
}

/// Who goes by a newer table than this node.
fn ahead(peers: &[Peer]) -> Option<String> {
    let own = peers.iter().find(|peer| peer.is_self).map(|peer| peer.placement).unwrap_or_default();
    let newer = peers.iter().filter(|peer| peer.placement > own);
    newer.max_by_key(|peer| peer.placement).map(|peer| peer.name.clone())
}

async fn fetch(asker: Asker, peer: String) -> Option<Table> {
    match asker.request(&peer, TABLE, Bytes::new()).await {
        Ok(answer) => {
            let table = unpacked(answer);
            if table.is_none() {
                tracing::warn!(peer, "a table of placement makes no sense and was dropped");
            }
            table
        }
        Err(error) => {
            tracing::debug!(peer, %error, "a newer table of placement could not be fetched");
            None
        }
    }
}

fn participants(peers: &[Peer]) -> impl Iterator<Item = &Peer> {
    peers.iter().filter(|peer| peer.state == State::Participant)
}

/// The largest load over the mean; 0 while nothing has been weighed.
fn ratio(loads: impl Iterator<Item = u64>) -> f64 {
    let loads: Vec<u64> = loads.collect();
    let sum: u64 = loads.iter().sum();
    let largest = loads.iter().max().copied().unwrap_or(0);
    if sum == 0 { 0.0 } else { largest as f64 * loads.len() as f64 / sum as f64 }
}

/// Asks members for their reports; the answers are in the members' order.
async fn ask_all(asker: &Asker, members: &[Name], what: &'static [u8]) -> Vec<Result<Report, RequestError>> {
    // Collected first: a stream over a borrowing closure would not be `Send` to the compiler.
    let asking: Vec<_> = members.iter().map(|member| ask(asker.clone(), member.clone(), what)).collect();
    futures_util::stream::iter(asking).buffered(ASKED_AT_ONCE).collect().await
}

async fn ask(asker: Asker, member: Name, what: &'static [u8]) -> Result<Report, RequestError> {
    let answer = asker.request(&member, REPORT, Bytes::from_static(what)).await?;
    Report::decode(&answer).ok_or_else(|| RequestError::Failed("a report that makes no sense".to_owned()))
}

async fn snapshot(commands: &mpsc::UnboundedSender<Command>) -> Option<Snapshot> {
    let (sender, answer) = oneshot::channel();
    commands.send(Command::Placement(sender)).ok()?;
    answer.await.ok()
}

/// What this node holds, weighed off the control runtime's thread.
async fn own_report(commands: &mpsc::UnboundedSender<Command>, limit: usize) -> Option<Report> {
    let snapshot = snapshot(commands).await?;
    tokio::task::spawn_blocking(move || snapshot.report(limit)).await.ok()
}

/// A table with its epoch.
fn packed(table: &Table) -> Bytes {
    let mut bytes = BytesMut::with_capacity(size_of::<u64>() + table.encoded().len());
    bytes.put_u64(table.version().epoch);
    bytes.extend_from_slice(table.encoded());
    bytes.freeze()
}

fn unpacked(answer: Bytes) -> Option<Table> {
    let epoch = u64::from_be_bytes(*answer.first_chunk()?);
    Table::decode(epoch, answer.slice(size_of::<u64>()..)).inspect_err(|error| tracing::debug!(%error, "a table was not decoded")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Version;

    #[test]
    fn a_packed_table_comes_out_as_it_went_in() {
        let table = Table::following(Version { epoch: 4, digest: 0 }, "a", vec![Name::from("a")], std::collections::BTreeMap::new());
        assert_eq!(unpacked(packed(&table)), Some(table));
        assert_eq!(unpacked(Bytes::from_static(b"short")), None);
    }

    #[test]
    fn the_ratio_is_the_largest_load_over_the_mean() {
        assert!((ratio([1, 2, 3].into_iter()) - 1.5).abs() < 1e-9);
        assert!(ratio([0, 0].into_iter()).abs() < 1e-9);
        assert!(ratio(std::iter::empty()).abs() < 1e-9);
    }
}
