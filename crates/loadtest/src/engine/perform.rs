//! What each step does, to whom.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::EngineError;
use super::config::refresh;
use super::stage::Stage;
use super::story::{Done, Mark};
use crate::clock::{millis, now_ms};
use crate::fleet::{CutMode, Node, State};
use crate::receiver::{Failure, Lasts};
use crate::scenario::{Action, Change, Picked, ReceiverFault, TargetChange};
use crate::targets::Targets;

/// The nodes that a step happens to: their places in the fleet.
pub(super) type Cast = Vec<usize>;

impl Stage {
    /// Chooses who a step happens to and notes down how things stand right before it.
    pub(super) async fn begin(&self, number: usize) -> Result<Cast, EngineError> {
        let action = &self.scenario.steps[number].action;
        let cast = self.cast(number, action)?;
        let share = if action.is_fault() { Some(self.share(&cast).await) } else { None };
        let nodes = cast.iter().map(|place| format!("node-{}", place + 1)).collect();
        self.mark(Mark::Step(number));
        self.story.begin(number, Done { at_ms: now_ms(), nodes, share, took: None });
        Ok(cast)
    }

    fn cast(&self, number: usize, action: &Action) -> Result<Cast, EngineError> {
        let picked = match action {
            Action::Leave(picked) | Action::Kill(picked) | Action::Pause(picked, _) | Action::Cut(picked, ..) => *picked,
            Action::Restart(Some(node), _) => Picked::one(*node),
            Action::Restart(None, _) | Action::Configure(..) => return Ok(self.running()),
            Action::Join(_) | Action::Receiver(..) | Action::Targets(_) => return Ok(Vec::new()),
        };
        let mut running: Vec<usize> = self.running().iter().map(|place| place + 1).collect();
        let seed = self.scenario.load.seed.unwrap_or(1);
        let mut cast = Vec::new();
        for turn in 0..picked.count {
            let chosen = picked.node.among(&running, seed, (number as u64) << 16 | turn as u64);
            let nobody = || EngineError::Nobody { word: action.word(), choice: picked.node };
            cast.push(running.remove(chosen.ok_or_else(nobody)?) - 1);
        }
        Ok(cast)
    }

    /// Places of the nodes that run, in the order of their joining.
    fn running(&self) -> Cast {
        let nodes = self.fleet.nodes();
        nodes.iter().enumerate().filter(|(_, node)| node.state() == State::Running).map(|(place, _)| place).collect()
    }

    /// The targets of nodes, as they say themselves right now; of one that does not answer, as it said last.
    async fn share(&self, cast: &Cast) -> HashSet<String> {
        let mut share = HashSet::new();
        for node in self.nodes(cast) {
            match node.targets().await {
                Ok(targets) => share.extend(targets.into_iter().filter_map(|t| t.labels.get("instance").cloned())),
                Err(_) => share.extend(self.watch.lock().held_by(node.name())),
            }
        }
        share
    }

    fn nodes(&self, cast: &Cast) -> Vec<Arc<Node>> {
        cast.iter().filter_map(|place| self.fleet.node(*place).ok()).collect()
    }

    /// Does it, and notes down how long it took.
    pub(super) async fn perform(self: Arc<Self>, number: usize, cast: Cast) -> Result<(), EngineError> {
        let begun = Instant::now();
        let mut joined = Vec::new();
        match &self.scenario.steps[number].action {
            Action::Join(count) => joined = self.join(*count).await?,
            Action::Leave(picked) => self.leave(&cast, picked.apart).await?,
            Action::Kill(picked) => self.kill(&cast, picked.apart).await,
            Action::Pause(_, lasts) => self.pause(&cast, *lasts).await,
            Action::Cut(_, lasts, mode) => self.cut(&cast, *lasts, *mode).await,
            Action::Restart(_, apart) => self.restart(&cast, *apart).await?,
            Action::Receiver(fault, lasts) => self.fault(*fault, *lasts).await?,
            Action::Targets(change) => self.change(*change),
            Action::Configure(change, apart) => self.configure(number, change, &cast, *apart).await?,
        }
        self.story.finish(number, joined, begun.elapsed());
        Ok(())
    }

    async fn join(&self, count: usize) -> Result<Vec<String>, EngineError> {
        let begun = Instant::now();
        self.story.tell(match count {
            1 => "a node is started to join the fleet".to_owned(),
            count => format!("{count} nodes are started to join the fleet"),
        });
        let joined: Vec<String> = self.fleet.join_several(count).await?.iter().map(|n| n.name().to_owned()).collect();
        self.story.tell(format!("{} joined: ready after {}", joined.join(", "), seconds(begun.elapsed())));
        Ok(joined)
    }

    async fn leave(self: &Arc<Self>, cast: &Cast, apart: Duration) -> Result<(), EngineError> {
        let mut leaves: JoinSet<Result<(), EngineError>> = JoinSet::new();
        for (turn, place) in cast.iter().copied().enumerate() {
            wait(turn, apart).await;
            let stage = Arc::clone(self);
            leaves.spawn(async move { stage.leave_one(place).await });
        }
        while let Some(left) = leaves.join_next().await {
            left??;
        }
        Ok(())
    }

    async fn leave_one(&self, place: usize) -> Result<(), EngineError> {
        let name = self.fleet.node(place)?.name().to_owned();
        self.story.tell(format!("{name} is told to leave (SIGTERM)"));
        let stopped = self.fleet.stop(place).await?;
        self.story.tell(format!("{name} left: ended after {} with {}", seconds(stopped.took), stopped.status));
        Ok(())
    }

    async fn kill(&self, cast: &Cast, apart: Duration) {
        for (turn, node) in self.nodes(cast).iter().enumerate() {
            wait(turn, apart).await;
            node.kill();
            self.story.tell(format!("{} is killed (SIGKILL)", node.name()));
        }
    }

    async fn pause(&self, cast: &Cast, lasts: Duration) {
        let nodes = self.nodes(cast);
        nodes.iter().for_each(|node| node.pause());
        self.story.tell(format!("{} stand still (SIGSTOP) for {lasts:?}", names(&nodes)));
        sleep(lasts).await;
        nodes.iter().for_each(|node| node.resume());
        self.story.tell(format!("{} go on (SIGCONT)", names(&nodes)));
    }

    async fn cut(&self, cast: &Cast, lasts: Duration, mode: CutMode) {
        let nodes = self.nodes(cast);
        let how = if mode == CutMode::Stall { "nothing gets through" } else { "connections are reset" };
        let cut = self.fleet.cut(&nodes, mode);
        self.story.tell(format!("{} cut off from the others for {lasts:?}: {how}", names(&nodes)));
        sleep(lasts).await;
        self.fleet.heal(cut);
        self.story.tell(format!("{} reach the others again", names(&nodes)));
    }

    async fn restart(&self, cast: &Cast, apart: Duration) -> Result<(), EngineError> {
        for (turn, place) in cast.iter().copied().enumerate() {
            wait(turn, apart).await;
            let begun = Instant::now();
            self.fleet.stop(place).await?;
            self.fleet.restart(place).await?;
            self.story.tell(format!("node-{} was restarted: ready again after {}", place + 1, seconds(begun.elapsed())));
        }
        Ok(())
    }

    async fn fault(&self, fault: ReceiverFault, lasts: Duration) -> Result<(), EngineError> {
        let faults = self.receiver.faults();
        match fault {
            ReceiverFault::Down => self.receiver.shut().await.map_err(EngineError::Receiver)?,
            ReceiverFault::Fails(status) => faults.fail(Failure { status, retry_after: None }, Lasts::For(lasts)),
            ReceiverFault::Slow(delay) => faults.delay(delay),
        }
        let told = match fault {
            ReceiverFault::Down => "is down".to_owned(),
            ReceiverFault::Fails(status) => format!("answers {status}"),
            ReceiverFault::Slow(delay) => format!("answers {delay:?} late"),
        };
        self.story.tell(format!("the receiver {told} for {lasts:?}"));
        sleep(lasts).await;
        match fault {
            ReceiverFault::Down => self.receiver.open().await.map_err(EngineError::Receiver)?,
            ReceiverFault::Fails(_) => {}
            ReceiverFault::Slow(_) => faults.delay(Duration::ZERO),
        }
        self.story.tell("the receiver is well again".to_owned());
        Ok(())
    }

    fn change(&self, change: TargetChange) {
        let (listed, now) = (self.targets.announced(), now_ms());
        match change {
            TargetChange::Add(more) => {
                self.targets.announce(listed + more);
                // The list is read again, and who takes a target begins with a whole slot.
                let from = now + millis(refresh(&self.scenario) + 3 * self.scenario.interval());
                self.judge.expect((listed..self.targets.announced()).map(Targets::instance), from);
                self.story.tell(format!("{more} targets more are listed"));
            }
            TargetChange::Remove(fewer) => {
                let left = listed.saturating_sub(fewer);
                self.targets.announce(left);
                (left..listed).for_each(|target| self.judge.retire(&Targets::instance(target), now));
                self.story.tell(format!("{fewer} targets fewer are listed"));
            }
            TargetChange::Churn => {
                self.targets.churn();
                self.story.tell("series that churn get other names".to_owned());
            }
        }
    }

    async fn configure(&self, number: usize, change: &Change, cast: &Cast, apart: Duration) -> Result<(), EngineError> {
        let text = match (change, &self.templates[number]) {
            (Change::Append(blocks), _) => format!("{}\n{blocks}\n", self.config.lock()),
            (Change::Template(_), template) => template.clone().unwrap_or_default(),
        };
        self.config.lock().clone_from(&text);
        self.fleet.set_config(&text);
        for (turn, node) in self.nodes(cast).iter().enumerate() {
            wait(turn, apart).await;
            node.reconfigure(&text).await?;
            self.story.tell(format!("{} has another configuration", node.name()));
        }
        Ok(())
    }
}

/// Waits before all but the first.
async fn wait(turn: usize, apart: Duration) {
    if turn > 0 {
        sleep(apart).await;
    }
}

fn names(nodes: &[Arc<Node>]) -> String {
    nodes.iter().map(|n| n.name()).collect::<Vec<_>>().join(", ")
}

/// `1.2 s`
fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
