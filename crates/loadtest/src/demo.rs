//! `collector demo`: a fleet of real processes scrapes synthetic targets into a judge, while a live table shows who does what. On the way one
//! node joins, one leaves in order and one is killed; the verdict says what that cost. A planned change must cost nothing.

mod screen;
mod timeline;
mod verdict;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::alloy::Pipeline;
use crate::clock::{millis, now_ms};
use crate::fleet::{Fleet, FleetError, FleetOptions};
use crate::judge::{Judge, JudgeOptions, Window};
use crate::process::interrupted;
use crate::receiver::Receiver;
use crate::targets::{TargetOptions, Targets, TargetsError};
use screen::Screen;
use timeline::{Story, Times};
pub use verdict::Verdict;
use verdict::{Evidence, judge};
use view::Watch;

/// How often the table is renewed.
const REDRAW: Duration = Duration::from_secs(1);
/// How long the first samples may take after all nodes are ready, besides two intervals.
const FIRST_SAMPLES: Duration = Duration::from_secs(30);
/// How long the last samples may take to the receiver, besides one interval: batches wait up to a second, or an interval.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a sender may wait for a full batch.
const BATCH_DEADLINE: Duration = Duration::from_secs(1);

/// What a demo runs.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The collector's binary; usually the running program itself.
    pub binary: PathBuf,
    /// Nodes at the start, at least 2.
    pub nodes: usize,
    /// Targets.
    pub targets: usize,
    /// Series of each target.
    pub series: usize,
    /// How often each target is scraped.
    pub interval: Duration,
    /// How long it runs from the first samples on.
    pub for_: Duration,
    /// In how much time the fleet promises to notice and replace a killed node; a crash may cost the slots that fit into it.
    pub detection: Duration,
    /// Lines instead of a table that is redrawn; anyway so when standard output is no terminal.
    pub plain: bool,
    /// Further arguments for every node.
    pub arguments: Vec<String>,
    /// Further environment for every node.
    pub environment: Vec<(String, String)>,
    /// Keep configuration, logs and storage here.
    pub dir: Option<PathBuf>,
}

impl DemoOptions {
    /// Three nodes, 60 targets of 500 series every two seconds, for a minute.
    #[must_use]
    pub fn new(binary: PathBuf) -> Self {
        Self {
            binary,
            nodes: 3,
            targets: 60,
            series: 500,
            interval: Duration::from_secs(2),
            for_: Duration::from_secs(60),
            // The goal of spec/reliability.md §7 for the SIGKILL of a peer.
            detection: Duration::from_secs(8),
            plain: false,
            arguments: Vec::new(),
            environment: Vec::new(),
            dir: None,
        }
    }

    fn check(&self) -> Result<(), DemoError> {
        let least = 4 * (self.detection + 2 * self.interval);
        if self.nodes < 2 {
            return Err(DemoError::Options("--nodes must be at least 2: one node leaves and one is killed".to_owned()));
        }
        if self.interval < Duration::from_millis(100) {
            return Err(DemoError::Options("--interval must be at least 100ms".to_owned()));
        }
        if self.for_ < least {
            let seconds = least.as_secs_f64().ceil();
            return Err(DemoError::Options(format!(
                "--for must be at least {seconds}s with this interval: a quarter of it has to hold the detection of a crash and two intervals"
            )));
        }
        Ok(())
    }
}

/// Why a demo broke off without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// An option that makes no sense.
    #[error("{0}")]
    Options(String),
    /// The targets could not be started.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// The receiver could not be started.
    #[error("can't start the receiver: {0}")]
    Receiver(std::io::Error),
    /// A node did not do what it should.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The samples did not come.
    #[error(
        "only {seen} of {targets} targets were scraped and received within {within:?} after all nodes were ready; the end of the first node's log:\n{log}"
    )]
    NoSamples {
        /// Targets that were received.
        seen: usize,
        /// Targets that there are.
        targets: usize,
        /// How long was waited.
        within: Duration,
        /// The end of the first node's log.
        log: String,
    },
}

/// Everything that runs.
pub(crate) struct Stage {
    options: DemoOptions,
    targets: Targets,
    judge: Arc<Judge>,
    receiver: Receiver,
    fleet: Fleet,
}

/// Runs a demo and prints it; Ctrl-C and SIGTERM end it early, and in order. The verdict is printed too.
///
/// # Errors
/// What can't be started, or a fleet that never scrapes.
pub async fn run(options: DemoOptions) -> Result<Verdict, DemoError> {
    options.check()?;
    let screen = Screen::new(options.plain);
    let story = Story::default();
    tokio::select! {
        verdict = play(options, &screen, &story) => verdict,
        () = interrupted() => {
            // Whatever runs is dropped here, and so ended.
            screen.finish("interrupted: the processes are ended, there is no verdict");
            Ok(Verdict::interrupted())
        }
    }
}

async fn play(options: DemoOptions, screen: &Screen, story: &Story) -> Result<Verdict, DemoError> {
    screen.line(&format!(
        "starting {} nodes, {} targets of {} series every {:?}, for {:?}",
        options.nodes, options.targets, options.series, options.interval, options.for_
    ));
    let stage = Stage::set(options).await?;
    stage.first_samples(screen).await?;
    let times = Times::new(now_ms(), stage.options.for_);
    stage.judge.expect((0..stage.targets.len()).map(Targets::instance), times.begun_ms);
    let evidence = tokio::select! {
        evidence = stage.act(times, story) => evidence?,
        never = stage.show(times, screen, story) => match never {},
    };
    let verdict = judge(&evidence, &stage.options);
    screen.finish(&verdict.text);
    let ended = stage.fleet.stop_all().await;
    for (name, stopped) in ended {
        if let Err(error) = stopped {
            screen.line(&format!("{name} at the end: {error}"));
        }
    }
    Ok(verdict)
}

impl Stage {
    /// Starts targets, receiver and fleet.
    async fn set(options: DemoOptions) -> Result<Self, DemoError> {
        let load = TargetOptions { targets: options.targets, series: options.series, tick: options.interval, ..TargetOptions::default() };
        let targets = Targets::start(load).await?;
        let judge = Judge::new(JudgeOptions::new(options.interval));
        let receiver = Receiver::start(judge.clone()).await.map_err(DemoError::Receiver)?;
        let pipeline = Pipeline::new(targets.sd_url(), receiver.url(), options.interval);
        let config = Pipeline { batch_deadline: Some(BATCH_DEADLINE.min(options.interval)), ..pipeline }.to_string();
        let fleet = FleetOptions {
            nodes: options.nodes,
            cluster_name: "demo".to_owned(),
            arguments: options.arguments.clone(),
            environment: options.environment.clone(),
            dir: options.dir.clone(),
            ..FleetOptions::new(options.binary.clone(), config)
        };
        let fleet = Fleet::start(fleet).await?;
        Ok(Self { options, targets, judge, receiver, fleet })
    }

    /// Waits until every target has been received once.
    async fn first_samples(&self, screen: &Screen) -> Result<(), DemoError> {
        let (targets, within) = (self.targets.len(), FIRST_SAMPLES + 2 * self.options.interval);
        let deadline = Instant::now() + within;
        screen.line(&format!("all nodes are ready; waiting for the first samples of {targets} targets"));
        loop {
            let seen = self.judge.targets_seen();
            if seen >= targets {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let log = self.fleet.node(0).map(|n| n.log_tail()).unwrap_or_default();
                return Err(DemoError::NoSamples { seen, targets, within, log });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Plays the story and gathers what the judge says of it.
    async fn act(&self, times: Times, story: &Story) -> Result<Evidence, DemoError> {
        let crash = timeline::play(&self.fleet, &self.judge, times, story).await?;
        let interval = self.options.interval;
        tokio::time::sleep(interval + SETTLE.min(4 * interval)).await;
        // What a killed node had scraped within the last batch's wait may have died with it.
        let crash_from = crash.at_ms - millis(BATCH_DEADLINE.min(interval));
        let served = |instance: &str| self.targets.by_instance(instance).map(|t| self.targets.served(t));
        let window = |from_ms, to_ms| self.judge.report(Window { from_ms, to_ms }, served);
        Ok(Evidence {
            planned: window(times.begun_ms, crash_from),
            before_crash: crash.totals_before,
            after_crash: window(crash_from, times.end_ms()),
            killed: crash.name,
            events: story.events(),
            received: self.receiver.received(),
        })
    }

    /// Shows what goes on, for ever.
    async fn show(&self, times: Times, screen: &Screen, story: &Story) -> std::convert::Infallible {
        let mut watch = Watch::default();
        let mut ticks = tokio::time::interval(REDRAW);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut view = watch.look(&self.fleet, &self.judge, self.options.interval).await;
            // The wait for the last samples is not part of the story.
            view.elapsed = times.elapsed().min(self.options.for_);
            view.whole = self.options.for_;
            view.load = format!("{} targets × {} series every {:?}", self.options.targets, self.options.series, self.options.interval);
            screen.show(&view, &story.events());
        }
    }
}
