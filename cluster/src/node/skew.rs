//! Members whose clocks are off: shown as a metric and in the list of peers, and told once each in the log. What is measured
//! is `transport::skew`; that no series goes back in time in spite of it is the ownership machine's and the scrape engine's part.

use std::collections::BTreeMap;

use super::driver::Driver;
use crate::{ownership::Name, slots::REPORTED_OFFSET_MS, transport::skew::Skew};

/// Below this a clock that was told to be off counts as right again, in milliseconds: half, so that one on the border is not
/// told over and over.
const RECOVERED_MS: u64 = REPORTED_OFFSET_MS / 2;

impl Driver {
    /// Looks at the clocks of the live members.
    pub(super) fn watch_clocks(&mut self) {
        let alive = self.table.alive().map(|record| record.identity.name.clone());
        let skews: BTreeMap<Name, Skew> = alive.filter_map(|name| Some((name.clone(), self.local.skews.of(&name)?))).collect();
        self.local.skews.retain(|peer| skews.contains_key(peer));
        self.local.metrics.clock_skews(skews.iter().map(|(name, skew)| (name.clone(), skew.ahead_ms)));
        self.state.skewed.retain(|peer| skews.contains_key(peer));
        for (peer, skew) in skews {
            self.judge_clock(peer, skew);
        }
        self.update_peers();
    }

    fn judge_clock(&mut self, peer: Name, skew: Skew) {
        if skew.at_least_ms() > REPORTED_OFFSET_MS {
            if self.state.skewed.insert(peer.clone()) {
                tracing::warn!(
                    %peer,
                    ahead_ms = skew.ahead_ms,
                    remedy = "let NTP set the clocks of all nodes",
                    "a member's clock differs from this node's: after a crash its targets may miss or repeat a slot"
                );
            }
        } else if skew.ahead_ms.unsigned_abs() < RECOVERED_MS && self.state.skewed.remove(&peer) {
            tracing::info!(%peer, ahead_ms = skew.ahead_ms, "a member's clock agrees with this node's again");
        }
    }
}
