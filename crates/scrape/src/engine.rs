//! The running scrape job: a target set, a slot-driven schedule and the scrapes. One light task per job holds the schedule, and one task
//! lives as long as each scrape, so that a target that waits costs its state and an entry in a heap, and one that another node scrapes
//! costs its labels.

mod driver;
mod entry;
mod inbox;
mod job;
mod leaving;
mod release;
mod schedule;
mod set;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use model::{ConsumeMetrics, Labels, Refused};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::fetch::Transport;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::slots::{Clock, Slots};
use crate::target::{Health, Target, TargetError};
use driver::Driver;
use inbox::{Inbox, Order, Released as ReleasedReply};
use job::Job;
use set::build;

/// Idle workbenches of a job: as many bodies as are usually read at once. Slow targets make more for a while.
const IDLE_WORKBENCHES: usize = 4;

/// What an engine works with.
#[derive(Clone)]
pub struct Parts {
    /// Takes the batches.
    pub sink: Arc<dyn ConsumeMetrics>,
    /// Sends the requests.
    pub transport: Arc<dyn Transport>,
    /// Where slots begin and who may scrape in them.
    pub slots: Arc<dyn Slots>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub metrics: Metrics,
}

/// Which targets of the set this node scrapes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// All of them.
    #[default]
    All,
    /// Those that [`Engine::own`] names.
    Assigned,
}

/// What the end of an engine means for its targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody scrapes them any more: their series get staleness markers.
    Removed,
    /// They will be scraped again, by this node after a restart or by another one: no markers.
    Continued,
}

/// What became of a list of discovered targets.
#[derive(Debug, Default)]
pub struct Synced {
    /// The targets' keys, each once, with milliseconds from slot to slot. In key order.
    pub keys: Vec<(u64, u64)>,
    /// How many targets there are; several may have one key.
    pub targets: usize,
    /// Label sets that are no targets, by their place in the list.
    pub failures: Vec<(usize, TargetError)>,
    /// Label sets that are targets, but the same as others.
    pub duplicates: usize,
}

/// A discovered label set that is not scraped.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// As it was discovered.
    pub discovered: Labels,
    /// Why.
    pub reason: DropReason,
}

/// Why a label set is not scraped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// It is no target.
    #[error(transparent)]
    Invalid(TargetError),
    /// Another one has the same URL and the same labels for its series.
    #[error("the same as another target")]
    Duplicate,
}

/// What a key's targets leave to the node that takes it over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Released {
    /// The last slot that a scrape was begun in here.
    pub last_slot: Option<u64>,
    /// For [`Engine::own`] on the other node.
    pub state: Option<Bytes>,
}

/// How a job does altogether.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Targets of the set.
    pub targets: usize,
    /// Those that this node scrapes.
    pub owned: usize,
    /// Owned targets whose last scrape was good.
    pub up: usize,
    /// Owned targets whose last scrape failed.
    pub down: usize,
    /// The error of one of those.
    pub error: Option<Box<str>>,
    /// Owned targets of whose last scrape the receivers refused a part.
    pub refusing: usize,
    /// Why, for one of those.
    pub refused: Option<Refused>,
    /// Label sets that are not scraped, duplicates included.
    pub dropped: usize,
}

/// What the handle and the running parts of an engine share.
struct Shared {
    parts: Parts,
    pool: Pool,
    inbox: Inbox,
    /// Ends scrapes that are under way.
    cancel: CancellationToken,
    known: Mutex<Known>,
}

/// What is known of the job and its targets.
struct Known {
    job: Arc<Job>,
    discovered: Vec<Labels>,
    /// By key, and by name within a key.
    targets: Arc<[Arc<Target>]>,
    dropped: Arc<[Dropped]>,
    dropped_count: usize,
}

/// A running scrape job. Dropping it ends it at once, as [`Ending::Continued`] does.
pub struct Engine {
    shared: Arc<Shared>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts a job without targets on the current runtime.
    ///
    /// # Errors
    /// [`ConfigError`] if it can't work.
    pub fn start(config: Config, parts: Parts) -> Result<Self, ConfigError> {
        let job = Arc::new(Job::new(config, parts.transport.clone(), None, &parts.metrics)?);
        parts.metrics.pools.inc();
        job.show_limit(&parts.metrics);
        let known = Known { job: job.clone(), discovered: Vec::new(), targets: Arc::default(), dropped: Arc::default(), dropped_count: 0 };
        let shared = Arc::new(Shared {
            parts,
            pool: Pool::new(IDLE_WORKBENCHES),
            inbox: Inbox::default(),
            cancel: CancellationToken::new(),
            known: Mutex::new(known),
        });
        let driver = tokio::spawn(Driver::new(shared.clone(), job).run());
        Ok(Self { shared, driver: Mutex::new(Some(driver)) })
    }

    /// Takes over a list of discovered targets in place of the last one. Targets that stay are scraped on undisturbed; those that go
    /// get staleness markers at their next slot, or a minute from now if that is sooner. With [`Ownership::Assigned`] they wait until
    /// [`Engine::retire`] tells that nobody else goes on with them, at most a minute.
    pub fn set_targets(&self, discovered: Vec<Labels>) -> Synced {
        let mut known = self.shared.known.lock();
        known.discovered = discovered;
        self.sync(&mut known)
    }

    /// Changes the job's arguments. Targets whose series stay the same keep their state. The HTTP client is replaced if there is one.
    ///
    /// # Errors
    /// [`ConfigError`] if the job can't work so; it goes on as before then.
    pub fn reload(&self, config: Config, transport: Option<Arc<dyn Transport>>) -> Result<Synced, ConfigError> {
        let began = Instant::now();
        let metrics = &self.shared.parts.metrics;
        metrics.reloads.inc();
        let interval = crate::duration::format(config.scrape_interval);
        let mut known = self.shared.known.lock();
        let transport = transport.unwrap_or_else(|| known.job.transport.clone());
        let job = Job::new(config, transport, Some(&known.job), metrics).inspect_err(|_| metrics.reloads_failed.inc())?;
        known.job = Arc::new(job);
        known.job.show_limit(metrics);
        let synced = self.sync(&mut known);
        metrics.reload_length.observe(&interval, began.elapsed().as_secs_f64());
        Ok(synced)
    }

    fn sync(&self, known: &mut Known) -> Synced {
        let began = Instant::now();
        let set = build(&known.discovered, &known.job.config, &known.targets);
        known.targets = set.targets;
        known.dropped = set.dropped.into();
        known.dropped_count = set.synced.failures.len() + set.synced.duplicates;
        known.job.count_sync(&self.shared.parts.metrics, &set.synced, began.elapsed());
        self.shared.inbox.set(known.job.clone(), known.targets.clone());
        set.synced
    }

    /// Gives this node a key, as [`Ownership::Assigned`] wants it, with all of its targets from a slot on: if that has begun, the current
    /// slot is scraped at once. `state` is what [`Engine::release`] gave on another node; what it says of targets whose labels are not
    /// known here ends with the next scrape. A key that is not in the target set is remembered with its state until [`Engine::disown`],
    /// [`Engine::retire`] or [`Engine::release`], and a target
    /// that comes to a key whose others are scraped begins at the next slot.
    pub fn own(&self, key: u64, first_slot: u64, state: Option<Bytes>) {
        self.shared.inbox.order(key, Order::Own { first_slot, state });
    }

    /// Takes a key from this node, with all of its targets. Nothing is said about its series: another node goes on with them.
    pub fn disown(&self, key: u64) {
        self.shared.inbox.order(key, Order::Disown);
    }

    /// Takes a key from this node whose targets have left the set, and which no other node goes on with: their series get staleness
    /// markers at their next slot.
    pub fn retire(&self, key: u64) {
        self.shared.inbox.order(key, Order::Retire);
    }

    /// Takes all keys from this node, as [`Engine::disown`] does.
    pub fn disown_all(&self) {
        self.shared.inbox.disown_all();
    }

    /// Takes a key from this node in favour of another one, and gives what that one needs, its targets' state in at most `max_state` bytes.
    /// Begins no further scrape, but waits for those that are under way. The order is given with the call, so that an
    /// [`Engine::own`] after it is an order of its own; the future only waits.
    pub fn release(&self, key: u64, max_state: usize) -> impl Future<Output = Released> + Send + use<> {
        let (reply, released) = oneshot::channel();
        self.shared.inbox.release(key, ReleasedReply { max_state, reply });
        async move { released.await.unwrap_or_default() }
    }

    /// The targets in key order.
    #[must_use]
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        self.shared.known.lock().targets.clone()
    }

    /// Label sets that are not scraped, at most 1 000, and how many there are.
    #[must_use]
    pub fn dropped(&self) -> (Arc<[Dropped]>, usize) {
        let known = self.shared.known.lock();
        (known.dropped.clone(), known.dropped_count)
    }

    /// How the job does altogether. Looks at each target.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let (targets, dropped) = {
            let known = self.shared.known.lock();
            (known.targets.clone(), known.dropped_count)
        };
        let mut overview = Overview { targets: targets.len(), dropped, ..Overview::default() };
        for target in targets.iter() {
            let status = target.status.lock();
            if !status.owned {
                continue;
            }
            overview.owned += 1;
            overview.up += usize::from(status.health == Health::Up);
            overview.down += usize::from(status.health == Health::Down);
            if status.health == Health::Down && overview.error.is_none() {
                overview.error = Some(status.last_error.clone());
            }
            overview.refusing += usize::from(status.refused.is_some());
            overview.refused = overview.refused.or(status.refused);
        }
        overview
    }

    /// Ends the job. Scrapes that are under way are given up; comes back when everything has been handed on.
    pub async fn stop(&self, ending: Ending) {
        self.shared.inbox.stop(ending);
        let driver = self.driver.lock().take();
        if let Some(driver) = driver {
            let _ = driver.await;
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.inbox.stop(Ending::Continued);
    }
}
