//! How an endpoint is doing: what its component shows as health and debug information, and how often it is logged.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Something that went wrong and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Since when, or when last, if it is a thing of a moment.
    pub at: SystemTime,
    /// What happened, without secrets.
    pub message: Box<str>,
}

impl Failure {
    pub(crate) fn now(message: impl Into<Box<str>>) -> Self {
        Self { at: SystemTime::now(), message: message.into() }
    }
}

/// How an endpoint is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When the receiver last took a request.
    pub delivered_at: Option<SystemTime>,
    /// Requests fail and are sent again; since when, and the last reason.
    pub retrying: Option<Failure>,
    /// The last request that the receiver will never take, if any since the start.
    pub rejected: Option<Failure>,
    /// The disk can't be written; since when, and the last reason.
    pub disk: Option<Failure>,
    /// Shards that send in parallel.
    pub shards: usize,
    /// Samples in memory that are not acknowledged.
    pub pending_samples: usize,
    /// Bytes of memory that they take.
    pub queue_bytes: usize,
    /// Samples on disk that are not in memory.
    pub disk_samples: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
}

/// Lets a message through now and then, and counts the rest.
#[derive(Debug, Default)]
pub(crate) struct Occasionally {
    last: Option<Instant>,
    suppressed: u64,
}

impl Occasionally {
    /// Whether to log now: how many were suppressed since the last time, or none if this one is.
    pub fn check(&mut self, now: Instant, every: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + every) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Lets the next one through. True if any was let through since the last reset.
    pub fn reset(&mut self) -> bool {
        std::mem::take(self).last.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_once_an_interval_and_say_how_many_did_not() {
        let (mut occasionally, now, every) = (Occasionally::default(), Instant::now(), Duration::from_secs(10));
        assert_eq!(occasionally.check(now, every), Some(0));
        assert_eq!(occasionally.check(now, every), None);
        assert_eq!(occasionally.check(now + every / 2, every), None);
        assert_eq!(occasionally.check(now + every, every), Some(2));
        assert!(occasionally.reset());
        assert!(!occasionally.reset());
        assert_eq!(occasionally.check(now + every, every), Some(0));
    }
}
