//! The log of a run, and what must be true of it: each key scraped once in each slot, but for what a fault may cost.

use std::collections::BTreeMap;
use std::fmt::Arguments;

use super::fleet::{Fleet, START_MS};
use super::gossip::{DETECT_MS, SETTLE_MS, SPREAD_MS};
use super::node::{CLUSTER, COPY, domain_of};
use super::script::{Class, KeyPlan};
use crate::ownership::{Holder, Name, Phase};
use crate::slots::SlotClock;

/// The largest difference of two clocks.
const SKEW_MS: u64 = 1_000;
/// By then every key has been scraped for the first time, but for its interval.
const COLD_START_MS: u64 = 12_000;
/// After a heal and the spreading of its news, so long may two nodes hold a key: query, status, and one lost frame.
const REUNION_MS: u64 = 4_000;

/// A scrape: which node, and when.
type Scrape = (usize, u64);

/// What happened in a run.
#[derive(Debug)]
pub(super) struct Log {
    /// By domain and key, by nominal instant.
    scrapes: BTreeMap<(Name, u64), BTreeMap<u64, Vec<Scrape>>>,
    /// Spans of time in which scrapes may be missing.
    faults: Vec<(u64, u64)>,
    key_faults: Vec<(u64, u64, u64)>,
    /// When a key's series were ended.
    ends: BTreeMap<(Name, u64), Vec<u64>>,
    /// When the fleet was cut, and the sides as bits.
    pub(super) cut: Option<(u64, u32)>,
    pub(super) healed_at: Option<u64>,
    violations: Vec<String>,
    pub(super) verbose: bool,
}

/// What a run amounted to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) scrapes: usize,
    pub(super) moves: u64,
    pub(super) claims: u64,
    pub(super) missed: usize,
    pub(super) doubled: usize,
    pub(super) fences: u64,
    pub(super) duplicates_stopped: u64,
    pub(super) returned: u64,
    pub(super) resent: u64,
}

impl Log {
    pub(super) fn new(verbose: bool) -> Self {
        Self {
            scrapes: BTreeMap::new(),
            faults: Vec::new(),
            key_faults: Vec::new(),
            ends: BTreeMap::new(),
            cut: None,
            healed_at: None,
            violations: Vec::new(),
            verbose,
        }
    }

    /// A line of the log, if anybody wants to read it.
    pub(super) fn note(&self, now: u64, line: Arguments<'_>) {
        if self.verbose {
            println!("{:>7} {line}", since_start(now));
        }
    }

    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// From one time to another scrapes may be missing.
    pub(super) fn fault(&mut self, from: u64, to: u64) {
        self.faults.push((from, to));
    }

    /// The same for one key.
    pub(super) fn key_fault(&mut self, key: u64, from: u64, to: u64) {
        self.key_faults.push((key, from, to));
    }

    pub(super) fn ended(&mut self, domain: &Name, key: u64, now: u64) {
        self.ends.entry((domain.clone(), key)).or_default().push(now);
    }

    pub(super) fn scraped(&mut self, domain: &Name, key: u64, instant: u64, node: usize, now: u64) {
        self.note(now, format_args!("node-{node} scrapes {key:x} for {}", since_start(instant)));
        self.scrapes.entry((domain.clone(), key)).or_default().entry(instant).or_default().push((node, now));
    }

    /// All scrapes, with who did them and when.
    pub(super) fn digest(&self) -> String {
        format!("{:?}", self.scrapes)
    }

    fn may_miss(&self, key: u64, instant: u64) -> bool {
        let within = |from: u64, to: u64| instant + SKEW_MS >= from && instant <= to + SKEW_MS;
        self.faults.iter().any(|(from, to)| within(*from, *to))
            || self.key_faults.iter().any(|(of, from, to)| *of == key && within(*from, *to))
    }

    /// How many scrapes of a key the faults may cost: of each the slots that begin within it.
    fn may_miss_at_most(&self, plan: &KeyPlan) -> u64 {
        let own = self.key_faults.iter().filter(|(key, ..)| *key == plan.key).map(|(_, from, to)| (*from, *to));
        own.chain(self.faults.iter().copied()).map(|(from, to)| (to - from).div_ceil(plan.interval_ms)).sum()
    }
}

/// Milliseconds since the start of the run, negative for slots that began before.
fn since_start(instant: u64) -> i64 {
    instant.cast_signed() - START_MS.cast_signed()
}

impl Fleet {
    /// Judges a run that has ended.
    pub(super) fn judge(&mut self) -> Result<Summary, String> {
        self.check_leavers();
        let mut summary = Summary::default();
        if self.lost_its_majority() {
            self.log.fault(START_MS, self.now);
        }
        for plan in self.script.keys.clone() {
            self.judge_key(&plan, &mut summary);
        }
        if !self.lost_its_majority() {
            self.judge_rest();
        }
        for counters in self.nodes.values().map(|node| node.machine.counters()) {
            summary.moves += counters.moves_in;
            summary.claims += counters.claims;
            summary.fences += counters.fences;
            summary.duplicates_stopped += counters.duplicates_stopped;
            summary.returned += counters.grants_declined;
            summary.resent += counters.grants_resent;
        }
        match self.log.violations.as_slice() {
            [] => Ok(summary),
            [first, ..] => Err(format!("{first} ({} violations)", self.log.violations.len())),
        }
    }

    fn judge_key(&mut self, plan: &KeyPlan, summary: &mut Summary) {
        let clock = SlotClock::new(CLUSTER, plan.key, plan.interval_ms);
        let scrapes = self.log.scrapes.get(&(domain_of(plan.domain), plan.key)).cloned().unwrap_or_default();
        let name = format!("key {:x} (every {} ms)", plan.key, plan.interval_ms);
        let Some(first) = scrapes.keys().next().copied() else {
            if self.lost_its_majority() {
                return;
            }
            return self.log.violation(format!("{name} never scraped"));
        };
        for (instant, scrapers) in &scrapes {
            summary.scrapes += scrapers.len();
            summary.doubled += scrapers.len() - 1;
            if clock.instant(clock.slot_at(*instant)) != *instant {
                self.log.violation(format!("{name} scraped for {}, which is no slot", since_start(*instant)));
            }
            if scrapers.len() > 1 && !self.may_double(*instant, scrapers) {
                self.log.violation(format!("{name} scraped twice for {}: {scrapers:?}", since_start(*instant)));
            }
        }
        self.judge_sides(plan, &scrapes);
        self.judge_ends(plan, &scrapes);
        // Keys that come into view late are expected once somebody has scraped them.
        let cold = if self.script.class == Class::Sets { first } else { clock.instant(clock.next_after(START_MS + COLD_START_MS)) };
        let end = self.now - SKEW_MS;
        let slots = (clock.slot_at(first.min(cold))..).map(|slot| clock.instant(slot)).take_while(|instant| *instant < end);
        let missed: Vec<u64> = slots.filter(|instant| !scrapes.contains_key(instant)).collect();
        summary.missed += missed.len();
        for instant in missed.iter().filter(|instant| !self.log.may_miss(plan.key, **instant)).copied().collect::<Vec<_>>() {
            self.log.violation(format!("{name} not scraped for {}", since_start(instant)));
        }
        let most = self.log.may_miss_at_most(plan);
        if missed.len() as u64 > most {
            self.log.violation(format!("{name} not scraped {} times, the faults excuse {most}", missed.len()));
        }
    }

    /// Two scrapes in a slot are tolerated on two sides of a cut, and until its heal has come through.
    fn may_double(&self, instant: u64, scrapers: &[Scrape]) -> bool {
        // Under `majority` there is no log of a cut: nothing excuses a second scrape.
        let (Some((from, sides)), [(a, _), (b, at)]) = (self.log.cut, scrapers) else { return false };
        let healed = self.log.healed_at.unwrap_or(self.now);
        let apart = (sides >> a) & 1 != (sides >> b) & 1 && *at <= healed;
        let reuniting = *at > healed && *at <= healed + SPREAD_MS + REUNION_MS;
        instant + SKEW_MS >= from && (apart || reuniting)
    }

    /// A key that somebody knows all the time goes on: its series do not end.
    fn judge_ends(&mut self, plan: &KeyPlan, scrapes: &BTreeMap<u64, Vec<Scrape>>) {
        let ends = self.log.ends.get(&(domain_of(plan.domain), plan.key)).cloned().unwrap_or_default();
        for end in ends.into_iter().filter(|end| scrapes.keys().any(|instant| instant > end)) {
            self.log.violation(format!("the series of key {:x} ended at {}, and it was scraped on", plan.key, since_start(end)));
        }
    }

    /// While the fleet is cut each side scrapes every key, once it has noticed.
    fn judge_sides(&mut self, plan: &KeyPlan, scrapes: &BTreeMap<u64, Vec<Scrape>>) {
        let (Some((from, sides)), Some(healed)) = (self.log.cut, self.log.healed_at) else { return };
        let clock = SlotClock::new(CLUSTER, plan.key, plan.interval_ms);
        let mut slot = clock.next_after(from + DETECT_MS.end() + SETTLE_MS + SKEW_MS);
        while clock.instant(slot) + SKEW_MS < healed {
            let scrapers = scrapes.get(&clock.instant(slot)).map_or(&[][..], Vec::as_slice);
            for side in [0, 1] {
                let instant = clock.instant(slot);
                if !self.log.may_miss(plan.key, instant) && !scrapers.iter().any(|(node, _)| (sides >> node) & 1 == side) {
                    self.log.violation(format!("key {:x} not scraped on side {side} for {}", plan.key, since_start(instant)));
                }
            }
            slot += 1;
        }
    }

    /// At the end nothing is under way: each key that somebody knows has one holder, which is the one that should hold it.
    fn judge_rest(&mut self) {
        let mut holders: BTreeMap<(Name, u64), Vec<(Holder, usize)>> = BTreeMap::new();
        for node in self.nodes.values() {
            for holder in node.machine.holders() {
                holders.entry((holder.domain.clone(), holder.key)).or_default().push((holder, node.index));
            }
        }
        self.judge_copies(&holders);
        for ((_, key), entries) in holders {
            let held: Vec<usize> = entries.iter().filter(|(holder, _)| holder.phase == Phase::Held).map(|(_, node)| *node).collect();
            let moving = entries.iter().filter(|(holder, _)| !matches!(holder.phase, Phase::Held | Phase::Idle)).count();
            let proposals: Vec<_> = entries.iter().map(|(holder, node)| (*node, holder.proposed.clone())).collect();
            if held.len() != 1 || moving > 0 {
                self.log.violation(format!("key {key:x} is held by {held:?} in the end, {moving} under way, proposed {proposals:?}"));
            } else if proposals.iter().any(|(_, proposed)| proposed.as_deref() != Some(&*super::node::name_of(held[0]))) {
                self.log.violation(format!("key {key:x} is held by {held:?} in the end, but proposed are {proposals:?}"));
            }
        }
    }
}

impl Fleet {
    /// Two copies of a key are no use on one node.
    fn judge_copies(&mut self, holders: &BTreeMap<(Name, u64), Vec<(Holder, usize)>>) {
        for plan in self.script.keys.iter().filter(|plan| plan.domain == COPY) {
            let of = |domain| holders.get(&(domain_of(domain), plan.key)).into_iter().flatten();
            let held = |domain| of(domain).filter(|(holder, _)| holder.phase == Phase::Held).map(|(_, node)| *node).collect::<Vec<_>>();
            let [first, second] = [0, COPY].map(held);
            if first == second {
                self.log.violation(format!("both copies of key {:x} are held by {first:?}", plan.key));
            }
        }
    }
}

impl Summary {
    pub(super) fn add(&mut self, other: &Self) {
        self.scrapes += other.scrapes;
        self.moves += other.moves;
        self.claims += other.claims;
        self.missed += other.missed;
        self.doubled += other.doubled;
        self.fences += other.fences;
        self.duplicates_stopped += other.duplicates_stopped;
        self.returned += other.returned;
        self.resent += other.resent;
    }
}
