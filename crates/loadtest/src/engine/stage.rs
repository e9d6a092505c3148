//! Everything that runs: targets, judge, receiver, fleet; and the agenda by which the scenario's steps come.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::{BATCH_DEADLINE, fill, template, templates, written};
use super::screen::Screen;
use super::story::{Mark, Moment, Story};
use super::watch::{Watch, ask_all};
use super::{EngineError, EngineOptions};
use crate::clock::{millis, now_ms};
use crate::fleet::{Fleet, FleetError, FleetOptions, State};
use crate::judge::{Judge, JudgeOptions};
use crate::process::Stopped;
use crate::receiver::Receiver;
use crate::report::{Evidence, Report};
use crate::scenario::{Allow, BASIS, Scenario};
use crate::targets::{TargetOptions, Targets};

/// How often the table is renewed; with many targets, as many seconds as they have thousands, since each node lists its own each time.
const REDRAW: Duration = Duration::from_secs(1);
/// How long the first samples may take after all nodes are ready, besides two intervals.
const FIRST_SAMPLES: Duration = Duration::from_secs(30);
/// How long the last samples may take to the receiver, besides two intervals: a backlog comes with them.
const LAST_SAMPLES: Duration = Duration::from_secs(60);
/// How long one may wait with a configuration of the user's: Alloy's default.
const USUAL_DEADLINE: Duration = Duration::from_secs(5);
/// How long a scrape and a request may be on their way.
const ON_THE_WAY: Duration = Duration::from_millis(500);
/// Samples that the judge keeps of a series at least and at most, whatever the length of the run.
const HISTORY: (usize, usize) = (128, 4096);

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) targets: Targets,
    pub(crate) judge: Arc<Judge>,
    pub(crate) receiver: Receiver,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) story: Story,
    /// The configuration in force.
    pub(crate) config: Mutex<String>,
    /// Of each step that brings one, its configuration.
    pub(crate) templates: Vec<Option<String>>,
    pub(crate) watch: Mutex<Watch>,
    /// How old a sample may be that a node has not sent yet.
    pub(crate) unsent: Duration,
}

impl Stage {
    /// Starts targets, receiver and fleet, and waits until every target has been received once. The story begins then.
    pub(crate) async fn set(options: EngineOptions, scenario: Scenario, screen: &Screen) -> Result<Self, EngineError> {
        let template = scenario.fleet.config.as_deref().map(template).transpose()?;
        let templates = templates(&scenario)?;
        let listed = scenario.load.targets(BASIS);
        let targets = Targets::start(TargetOptions { targets: scenario.most_targets(), ..listed.clone() }).await?;
        targets.announce(listed.targets);
        screen.line(&opening(&scenario));
        let judge = Judge::new(judged(&scenario, &targets));
        let receiver = Receiver::start(judge.clone()).await.map_err(EngineError::Receiver)?;
        let unsent = ON_THE_WAY + if template.is_some() { USUAL_DEADLINE } else { BATCH_DEADLINE.min(scenario.interval()) };
        let fill = |text: &String| fill(text, &targets, &receiver, &scenario);
        let config = template.as_ref().map_or_else(|| written(&targets, &receiver, &scenario), fill);
        let templates = templates.iter().map(|template| template.as_ref().map(fill)).collect();
        let fleet = Arc::new(Fleet::start(fleet(options, &scenario, config.clone())).await?);
        screen.line(&format!("all nodes are ready; waiting for the first samples of {} targets", targets.announced()));
        first_samples(&targets, &judge, &fleet, FIRST_SAMPLES + 2 * scenario.interval()).await?;
        let story = Story::new(now_ms(), scenario.steps.len());
        judge.expect((0..targets.announced()).map(Targets::instance), story.times().begun_ms);
        let (config, watch) = (Mutex::new(config), Mutex::default());
        Ok(Self { scenario, targets, judge, receiver, fleet, story, config, templates, watch, unsent })
    }

    /// Plays the scenario to its end, and until its last step is done.
    pub(crate) async fn play(self: &Arc<Self>) -> Result<(), EngineError> {
        self.look().await;
        self.watch.lock().begin();
        self.mark(Mark::Start);
        let mut doing: JoinSet<Result<(), EngineError>> = JoinSet::new();
        for (at, mark) in agenda(&self.scenario) {
            let due = sleep_until(self.story.times().begun + at);
            tokio::pin!(due);
            loop {
                tokio::select! {
                    () = &mut due => break,
                    Some(done) = doing.join_next() => done??,
                }
            }
            match mark {
                Mark::Step(number) => {
                    let cast = self.begin(number).await?;
                    let stage = Arc::clone(self);
                    doing.spawn(async move { stage.perform(number, cast).await });
                }
                Mark::Over(_) | Mark::Start => self.mark(mark),
                Mark::Last | Mark::End => {}
            }
        }
        while let Some(done) = doing.join_next().await {
            done??;
        }
        Ok(())
    }

    /// Notes down how things stand.
    pub(crate) fn mark(&self, mark: Mark) {
        let at_ms = now_ms();
        // What a node had scraped and not sent is lost with it: those slots belong to the fault.
        let fault = matches!(mark, Mark::Step(number) if self.scenario.steps[number].action.is_fault());
        self.story.mark(Moment {
            mark,
            at_ms,
            slots_ms: if fault { at_ms - millis(self.unsent) } else { at_ms },
            totals: self.judge.totals(),
            missing_stale: self.judge.missing_stale(at_ms),
            moves: self.watch.lock().moves(),
        });
    }

    /// Asks all nodes how they are.
    async fn look(&self) {
        let answers = ask_all(&self.fleet).await;
        self.watch.lock().hear(answers);
    }

    /// Shows what goes on, for ever.
    pub(crate) async fn show(&self, screen: &Screen) -> std::convert::Infallible {
        let every = REDRAW.max(Duration::from_millis(self.targets.len() as u64));
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
            let mut view = self.watch.lock().view(&self.fleet, &self.judge, self.scenario.interval());
            view.whole = self.scenario.length();
            view.elapsed = self.story.elapsed();
            view.load = load(&self.scenario, self.targets.announced());
            screen.show(&view, &self.story.events());
        }
    }

    /// Ends all faults, waits for the last samples, and weighs everything.
    pub(crate) async fn weigh(&self, screen: &Screen) -> Report {
        let end_ms = now_ms();
        self.look().await;
        self.heal().await;
        screen.line("");
        screen.line("waiting for the last samples");
        self.last_samples(end_ms).await;
        self.mark(Mark::End);
        let mut moments = self.story.moments();
        if let Some(last) = moments.last_mut() {
            (last.at_ms, last.slots_ms) = (end_ms, end_ms);
        }
        let (nodes, stood_still) = {
            let watch = self.watch.lock();
            (watch.costs(&self.fleet), watch.stood_still())
        };
        Report::of(&Evidence {
            scenario: &self.scenario,
            judge: &self.judge,
            targets: &self.targets,
            received: self.receiver.received(),
            begun_ms: self.story.times().begun_ms,
            moments,
            done: self.story.done(),
            events: self.story.events(),
            nodes,
            stood_still_ms: u64::try_from(stood_still.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Makes everything well that a step was broken off in.
    async fn heal(&self) {
        self.receiver.faults().heal();
        // Where its port is lost, what is missing is told as gaps.
        let _ = self.receiver.open().await;
        self.fleet.heal_all();
        self.fleet.nodes().iter().filter(|node| node.state() == State::Paused).for_each(|node| node.resume());
    }

    /// Waits until every listed target has a sample from after the end; not for ever, since some may never get one.
    async fn last_samples(&self, end_ms: i64) {
        let listed: Vec<String> = (0..self.targets.announced()).map(Targets::instance).collect();
        let deadline = Instant::now() + LAST_SAMPLES + 2 * self.scenario.interval();
        while Instant::now() < deadline {
            let live = self.judge.live();
            if listed.iter().all(|target| live.get(target).is_some_and(|l| l.newest_ms >= end_ms)) {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends all nodes in order.
    pub(crate) async fn stop_all(&self) -> Vec<(String, Result<Stopped, FleetError>)> {
        self.fleet.stop_all().await
    }
}

/// When what is to be done or noted.
fn agenda(scenario: &Scenario) -> Vec<(Duration, Mark)> {
    let steps = scenario.steps.iter().enumerate();
    let mut agenda: Vec<(Duration, Mark)> = steps.clone().map(|(number, step)| (step.at, Mark::Step(number))).collect();
    // Who costs nothing is never over.
    let costly = steps.filter(|(_, step)| scenario.allow(step) != Allow::NOTHING);
    agenda.extend(costly.map(|(number, step)| (scenario.over(step), Mark::Over(number))));
    agenda.sort_by_key(|(at, mark)| (*at, matches!(mark, Mark::Step(_))));
    agenda.push((scenario.length(), Mark::Last));
    agenda
}

async fn first_samples(targets: &Targets, judge: &Judge, fleet: &Fleet, within: Duration) -> Result<(), EngineError> {
    let deadline = Instant::now() + within;
    loop {
        let seen = judge.targets_seen();
        if seen >= targets.announced() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let log = fleet.node(0).map(|n| n.log_tail()).unwrap_or_default();
            return Err(EngineError::NoSamples { seen, targets: targets.announced(), within, log });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The judge of a scenario: it remembers the whole of it, within bounds.
fn judged(scenario: &Scenario, targets: &Targets) -> JudgeOptions {
    let usual = JudgeOptions::new(scenario.interval());
    let slots = scenario.length().as_nanos() / scenario.interval().as_nanos().max(1);
    let series: usize = (0..targets.len()).map(|t| targets.series(t)).sum();
    JudgeOptions {
        // Some more slots before the beginning and after the end.
        max_samples: usize::try_from(slots + slots / 4).unwrap_or(usize::MAX).clamp(HISTORY.0, HISTORY.1),
        // What churns has several names in time.
        max_series: usual.max_series.max(series * 3),
        max_targets: usual.max_targets.max(targets.len()),
        ..usual
    }
}

fn fleet(options: EngineOptions, scenario: &Scenario, config: String) -> FleetOptions {
    FleetOptions {
        nodes: scenario.nodes(),
        cluster_name: options.cluster_name,
        runner: options.runner,
        relays: scenario.cuts(),
        arguments: scenario.fleet.arguments.clone(),
        environment: scenario.fleet.environment.clone(),
        dir: options.dir,
        ..FleetOptions::new(options.binary, config)
    }
}

fn opening(scenario: &Scenario) -> String {
    let targets = scenario.load.targets(BASIS).targets;
    format!("{}: starting {} nodes, {}, for {:?}", scenario.name, scenario.nodes(), load(scenario, targets), scenario.length())
}

/// `60 targets × 500 series every 2s`
fn load(scenario: &Scenario, targets: usize) -> String {
    let options = scenario.load.targets(BASIS);
    let series = match &options.mix[..] {
        [] => options.series.to_string(),
        mix => mix.iter().map(|s| s.series.to_string()).collect::<Vec<_>>().join("/"),
    };
    format!("{targets} targets × {series} series every {:?}", scenario.interval())
}
