//! How a component is: what it says of itself. The runtime merges it with build, evaluation and exit state; the worst wins.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

/// From best to worst; the order decides which of two states is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthState {
    /// It works: a scrape that fails on every target or a write that is refused is not healthy.
    Healthy,
    /// Nothing is known yet.
    Unknown,
    /// It runs, but does not do its work.
    Unhealthy,
    /// It no longer runs.
    Exited,
}

impl HealthState {
    /// The spelling of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Unhealthy => "unhealthy",
            Self::Exited => "exited",
        }
    }
}

/// A state with its reason and since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The state.
    pub state: HealthState,
    /// The reason, for people.
    pub message: String,
    /// When it was last set.
    pub updated: SystemTime,
}

impl Health {
    /// A health that begins now.
    pub fn now(state: HealthState, message: impl Into<String>) -> Self {
        Self { state, message: message.into(), updated: SystemTime::now() }
    }

    /// The worse of two; of equals the newer.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        let keep_self = (self.state, self.updated) >= (other.state, other.updated);
        if keep_self { self } else { other }
    }
}

/// Where a component writes its health and the runtime reads it.
#[derive(Clone, Debug)]
pub struct HealthCell(Arc<Mutex<Health>>);

impl Default for HealthCell {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Health::now(HealthState::Unknown, "component created"))))
    }
}

impl HealthCell {
    /// It works. Keeps the time of the first report if nothing changed.
    pub fn healthy(&self, message: impl Into<String>) {
        self.set(HealthState::Healthy, message.into());
    }

    /// It does not do its work; `message` names the cause.
    pub fn unhealthy(&self, message: impl Into<String>) {
        self.set(HealthState::Unhealthy, message.into());
    }

    /// The present health.
    #[must_use]
    pub fn get(&self) -> Health {
        self.0.lock().clone()
    }

    fn set(&self, state: HealthState, message: String) {
        let mut health = self.0.lock();
        if health.state != state || health.message != message {
            *health = Health::now(state, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_worst_state_wins_and_of_equals_the_newest() {
        let old = Health { updated: SystemTime::UNIX_EPOCH, ..Health::now(HealthState::Unhealthy, "old") };
        let new = Health { updated: SystemTime::UNIX_EPOCH + Duration::from_secs(1), ..Health::now(HealthState::Unhealthy, "new") };
        let fine = Health::now(HealthState::Healthy, "fine");
        assert_eq!(old.clone().worst(new.clone()).message, "new");
        assert_eq!(new.clone().worst(old).message, "new");
        assert_eq!(fine.worst(new).message, "new");
    }

    #[test]
    fn repeating_a_report_keeps_its_time() {
        let cell = HealthCell::default();
        cell.healthy("ok");
        let first = cell.get();
        cell.healthy("ok");
        assert_eq!(cell.get(), first);
        cell.unhealthy("broken");
        assert_eq!(cell.get().state, HealthState::Unhealthy);
    }
}
