//! The story of a demo: at a quarter of its time a node joins, at half one leaves in order, at three quarters one is killed.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::clock::{millis, now_ms};
use crate::fleet::{Fleet, FleetError};
use crate::judge::{Judge, Totals};

/// When the story began and how long it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) begun_ms: i64,
    begun: Instant,
    whole: Duration,
}

impl Times {
    pub(crate) fn new(begun_ms: i64, whole: Duration) -> Self {
        Self { begun_ms, begun: Instant::now(), whole }
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn end_ms(self) -> i64 {
        self.begun_ms + millis(self.whole)
    }

    async fn quarter(self, quarters: u32) {
        sleep_until(self.begun + self.whole * quarters / 4).await;
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the story began.
    pub at: Duration,
    /// What happened.
    pub text: String,
}

/// What has happened so far.
#[derive(Debug, Default)]
pub(crate) struct Story(Mutex<Vec<Event>>);

impl Story {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().clone()
    }

    fn tell(&self, times: Times, text: String) {
        self.0.lock().push(Event { at: times.elapsed(), text });
    }
}

/// The kill.
#[derive(Debug)]
pub(crate) struct Crash {
    /// When, in Unix milliseconds.
    pub(crate) at_ms: i64,
    /// Who.
    pub(crate) name: String,
    /// What the judge had seen until then.
    pub(crate) totals_before: Totals,
}

/// Plays to the end.
pub(crate) async fn play(fleet: &Fleet, judge: &Judge, times: Times, story: &Story) -> Result<Crash, FleetError> {
    let founders = fleet.nodes().len();
    times.quarter(1).await;
    story.tell(times, "a node is started to join the fleet".to_owned());
    let begun = Instant::now();
    let joined = fleet.join().await?;
    story.tell(times, format!("{} joined: ready after {}", joined.name(), seconds(begun.elapsed())));

    times.quarter(2).await;
    let leaves = fleet.node(founders - 1)?;
    story.tell(times, format!("{} is told to leave (SIGTERM)", leaves.name()));
    let stopped = fleet.stop(founders - 1).await?;
    story.tell(times, format!("{} left: ended after {} with {}", leaves.name(), seconds(stopped.took), stopped.status));

    times.quarter(3).await;
    let killed = fleet.node(0)?;
    let totals_before = judge.totals();
    let at_ms = now_ms();
    killed.kill();
    story.tell(times, format!("{} is killed (SIGKILL)", killed.name()));

    times.quarter(4).await;
    Ok(Crash { at_ms, name: killed.name().to_owned(), totals_before })
}

/// `1.2 s`
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
