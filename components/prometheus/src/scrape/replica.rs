//! One complete set of the component's series: an engine, and the keys that this node holds of it. Without clustering there is one; with
//! a replication factor there are as many, each held by other nodes and told apart by a label.

use std::sync::Arc;
use std::time::Duration;

use cluster::ownership::{Holder, Phase, StartReason};
use cluster::{ClaimEvent, Claims, Cluster, Stopping, domain_of_rank};
use component::{BuildError, Setup, Target};
use futures_util::future::select_all;
use scrape::fetch::Transport;
use scrape::{Ending, Engine, Metrics, Parts};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::barrier::Barrier;
use super::ownership::{self, Share};
use super::{Arguments, Sink, job};
use crate::targets::{Place, PoolTargets, TargetBoard, TargetSource};

/// How long a component that is removed waits for something to happen to its keys: 5 s for whoever still has the component, and as long as a
/// handover may take.
const FAREWELL: Duration = Duration::from_secs(8);
/// How often it looks whether it is still needed, while nothing happens.
const LOOK: Duration = Duration::from_millis(100);
/// See the module.
pub(super) struct Replica {
    /// Its name in the fleet: the component's ID, for further ones with a number.
    domain: String,
    rank: u32,
    pub(super) engine: Arc<Engine>,
    sink: Arc<Sink>,
    share: Arc<Share>,
    barrier: Option<Arc<Barrier>>,
    claims: Option<Claims>,
    /// Keys that are being handed over.
    leaving: JoinSet<()>,
    place: Option<Place>,
}

/// How many replicas this node takes part in: those of a fleet, and alone the first.
pub(super) fn wanted(arguments: &Arguments, setup: &Setup) -> u32 {
    let in_fleet = setup.services().get::<Cluster>().is_some();
    let factor = arguments.clustering.as_ref().filter(|clustering| clustering.enabled && in_fleet);
    factor.map_or(1, |clustering| clustering.replication_factor as u32)
}

/// What the cluster says next to one of the replicas, by its place in the list; never, without claims.
pub(super) async fn next_claim(replicas: &mut [Replica]) -> (usize, Option<ClaimEvent>) {
    if let [one] = replicas {
        return (0, one.next_claim().await);
    }
    let waiting = replicas.iter_mut().map(|replica| Box::pin(replica.next_claim()));
    let (event, rank, _) = select_all(waiting).await;
    (rank, event)
}

impl Replica {
    /// Starts the replica of a rank, from 0.
    pub(super) fn start(rank: u32, arguments: &Arguments, setup: &Setup, sink: &Arc<Sink>, metrics: &Metrics) -> Result<Self, BuildError> {
        let cluster = setup.services().get::<Cluster>().as_deref().cloned();
        let domain = domain_of_rank(setup.id(), rank);
        let share = Arc::new(Share::new(cluster.clone()));
        let parts = Parts {
            sink: sink.clone(),
            transport: job::transport(arguments, setup)?,
            slots: share.clone(),
            clock: share.clone(),
            metrics: metrics.clone(),
        };
        let assigned = share.is_shared(arguments);
        share.set_assigned(assigned);
        let engine = Engine::start(job::config(arguments, setup, assigned, rank)?, parts).map_err(BuildError::new)?;
        let engine = Arc::new(engine);
        let source = Arc::new(Known { domain: domain.clone(), engine: engine.clone() });
        let place = setup.services().get::<TargetBoard>().map(|board| board.put(&domain, source));
        let barrier = cluster.map(|cluster| Barrier::new(cluster, &domain, sink.clone()));
        Ok(Self { domain, rank, engine, sink: sink.clone(), share, barrier, claims: None, leaving: JoinSet::new(), place })
    }

    /// Goes by other arguments.
    pub(super) fn reload(&mut self, arguments: &Arguments, transport: Option<Arc<dyn Transport>>, setup: &Setup) -> Result<(), BuildError> {
        let assigned = self.share.is_shared(arguments);
        let config = job::config(arguments, setup, assigned, self.rank)?;
        self.share.set_assigned(assigned);
        self.engine.reload(config, transport).map_err(BuildError::new)?;
        Ok(())
    }

    /// Hands the targets to the engine and, in a fleet, their keys to the cluster.
    pub(super) fn claim(&mut self, targets: &[Target]) {
        let synced = self.engine.set_targets(targets.iter().map(|target| target.0.clone()).collect());
        match (self.share.is_assigned(), &self.claims) {
            (true, None) => {
                self.claims = self.share.claims(&self.domain);
                if let Some(claims) = &self.claims {
                    claims.weigh_with(ownership::weigher(self.engine.clone()));
                }
            }
            (false, Some(_)) => {
                self.lose_all();
            }
            _ => {}
        }
        if let Some(claims) = &self.claims {
            let spec = |(key, interval_ms)| cluster::ownership::KeySpec { key, interval_ms };
            claims.set_keys(synced.keys.into_iter().map(spec).collect());
        }
    }

    async fn next_claim(&mut self) -> Option<ClaimEvent> {
        match &mut self.claims {
            Some(claims) => claims.next_event().await,
            None => std::future::pending().await,
        }
    }

    /// Does what the cluster says of a key.
    pub(super) fn follow(&mut self, event: Option<ClaimEvent>) {
        match event {
            Some(ClaimEvent::Start(start)) => {
                if let (Some(barrier), StartReason::Handover { from }) = (&self.barrier, &start.reason) {
                    barrier.wait_for(from, start.key);
                }
                if let (Some(barrier), StartReason::Returned { .. }) = (&self.barrier, &start.reason) {
                    barrier.came_back(start.key);
                }
                self.share.hold(start.key, start.hold);
                self.engine.own(start.key, start.first_slot, start.state);
            }
            Some(ClaimEvent::Stop(stop)) => {
                self.share.lose(stop.key);
                match stop.handover {
                    Some(handover) => {
                        self.barrier.iter().for_each(|barrier| barrier.handed_on(stop.key));
                        while self.leaving.try_join_next().is_some() {}
                        self.leaving.spawn(ownership::hand_over(&self.engine, self.sink.clone(), stop.key, handover));
                    }
                    None if stop.reason == Stopping::Undiscovered => self.engine.retire(stop.key),
                    None => self.engine.disown(stop.key),
                }
            }
            // The node has left its fleet: nothing is held any more.
            None => self.lose_all(),
        }
    }

    /// The board does not show its targets any more.
    pub(super) fn leave_board(&mut self) {
        self.place = None;
    }

    /// The component, or this set of it, is removed here, and other nodes may have it still, as configurations change node by node: they take
    /// the targets with their series. Those that nobody wants end.
    pub(super) async fn remove(mut self) {
        self.take_leave().await;
        if let Some(barrier) = &self.barrier {
            barrier.answer_until_delivered();
        }
        self.end(Ending::Removed).await;
    }

    /// Returns when each key has been taken by another node, or nobody wants it.
    async fn take_leave(&mut self) {
        self.claim(&[]);
        let mut heard = Instant::now();
        while self.claims.is_some() {
            if let Ok(event) = timeout(LOOK, self.next_claim()).await {
                self.follow(event);
                heard = Instant::now();
            } else if !self.is_needed().await {
                return;
            } else if heard.elapsed() > FAREWELL {
                tracing::warn!(domain = self.domain, "not all targets of what was removed could be handed over in time; their series end");
                return;
            }
        }
    }

    /// Whether other nodes may still want something: a key, or the state of one that they do not take after all.
    async fn is_needed(&mut self) -> bool {
        while self.leaving.try_join_next().is_some() {}
        let Some(cluster) = self.share.cluster() else { return false };
        let open = |holder: &Holder| *holder.domain == *self.domain && !matches!(holder.phase, Phase::Idle | Phase::Wanting);
        !self.leaving.is_empty() || self.share.holds_any() || cluster.holders().await.iter().any(open)
    }

    /// The process ends: nothing is told to be delivered any more.
    pub(super) fn exits(&self) {
        self.barrier.iter().for_each(|barrier| barrier.exits());
    }

    /// Ends the scraping: what is under way is given up.
    pub(super) async fn end(mut self, ending: Ending) {
        self.engine.stop(ending).await;
        // No scrape is under way any more, so that nobody waits.
        while self.leaving.join_next().await.is_some() {}
        if let (Some(barrier), Ending::Continued) = (&self.barrier, ending) {
            barrier.tell().await;
        }
    }

    /// What the engine was given is void. If nothing is shared it scrapes all targets now.
    fn lose_all(&mut self) {
        self.claims = None;
        self.share.lose_all();
        self.engine.disown_all();
    }
}

#[cfg(test)]
impl Replica {
    /// A deliberate fault: what is taken over is sent on at once.
    pub(super) fn drop_barrier(&mut self) {
        self.barrier = None;
    }
}

/// What the board knows of this replica.
struct Known {
    domain: String,
    engine: Arc<Engine>,
}

impl TargetSource for Known {
    fn targets(&self) -> PoolTargets {
        PoolTargets { pool: self.domain.clone(), targets: self.engine.targets(), dropped: self.engine.dropped().0 }
    }

    fn counts(&self) -> (usize, usize) {
        let overview = self.engine.overview();
        (overview.owned, overview.targets)
    }
}
