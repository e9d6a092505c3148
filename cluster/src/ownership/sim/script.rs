//! What happens to a fleet in a run: drawn from the seed, before the run begins.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::node::COPY;

/// The kind of trouble a run is about. What the judge tolerates depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Joins, leaves, rolling restarts.
    Planned,
    /// The same, and nodes that see different keys, sooner or later.
    Sets,
    /// The same as planned, with one message in a hundred lost without a trace.
    Lossy,
    /// Nodes die without a word, some come back.
    Crash,
    /// A node stands still for seconds and goes on.
    Stall,
    /// The fleet is cut in two and healed.
    Partition,
    /// The same and worse under the policy `majority`: no key ever has two holders.
    Majority,
}

/// The classes of small seeds, in turn.
pub(super) const CLASSES: [Class; 6] = [Class::Planned, Class::Sets, Class::Lossy, Class::Crash, Class::Stall, Class::Partition];
/// Seeds from here on are of the class [`Class::Majority`].
pub(super) const MAJORITY_SEEDS: u64 = 1_000_000_000;

/// Something that is done to the fleet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    /// Start a node (again). It gets a new incarnation.
    Start(usize),
    /// Ask a node to leave.
    Leave(usize),
    /// A node leaves and starts again so many ms after it has gone.
    Restart(usize, u64),
    /// Kill a node.
    Crash(usize),
    /// Stop a node for so many ms.
    Stall(usize, u64),
    /// Cut the fleet: nodes with their bit set against the others.
    Cut(u32),
    /// Cut the way from one node to another, in this direction only.
    Sever(usize, usize),
    /// All cuts are over.
    Heal,
    /// Break the stream from one node to another for so many ms; what is on it is lost.
    Break(usize, usize, u64),
    /// A node discovers a key, or loses sight of it.
    Discover(usize, usize, bool),
    /// A table is written that sends some keys elsewhere; drawn from this number.
    Place(u64),
}

impl Op {
    /// How long the operation itself lasts.
    fn lasts_ms(&self) -> u64 {
        match self {
            Self::Stall(_, length) | Self::Restart(_, length) => *length,
            _ => 0,
        }
    }
}

/// A key of the run.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyPlan {
    pub(super) domain: usize,
    pub(super) key: u64,
    pub(super) interval_ms: u64,
    /// Bit per node that never sees it on its own.
    pub(super) hidden: u32,
}

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) class: Class,
    /// Nodes that ever exist.
    pub(super) nodes: usize,
    /// Offset of each node's clock in ms.
    pub(super) skews: Vec<i64>,
    pub(super) keys: Vec<KeyPlan>,
    /// Every key of the first domain is scraped by two nodes.
    pub(super) copies: bool,
    /// (ms since the start, what), sorted.
    pub(super) ops: Vec<(u64, Op)>,
    pub(super) end_ms: u64,
}

/// Until here the first nodes have come up.
const WARM_MS: u64 = 18_000;
/// After the last operation the fleet has so long to come to rest.
const REST_MS: u64 = 22_000;

/// Half of the planned runs.
fn has_copies(seed: u64) -> bool {
    Script::class_of(seed) == Class::Planned && seed % 12 == 6
}

impl Script {
    /// Whether nothing else happens to the nodes around a time.
    pub(super) fn is_quiet_around(&self, at_ms: u64) -> bool {
        let disturbs = |op: &Op| matches!(op, Op::Start(_) | Op::Leave(_) | Op::Restart(..) | Op::Crash(_));
        let near = self.ops.iter().filter(|(at, op)| disturbs(op) && at.abs_diff(at_ms) < 15_000);
        near.count() <= 1
    }

    /// The class of a seed's run.
    pub(super) fn class_of(seed: u64) -> Class {
        if seed >= MAJORITY_SEEDS {
            return Class::Majority;
        }
        CLASSES[usize::try_from(seed % CLASSES.len() as u64).unwrap()]
    }

    /// The script of a seed.
    pub(super) fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let class = Self::class_of(seed);
        // Two copies on two nodes, while a third is restarted.
        let first = rng.random_range(2..=5).max(if has_copies(seed) { 3 } else { 2 });
        let nodes = first + 3;
        let mut script = Self {
            seed,
            class,
            nodes,
            skews: (0..nodes).map(|_| rng.random_range(-500..=500)).collect(),
            keys: Vec::new(),
            copies: has_copies(seed),
            ops: (0..first).map(|node| (if node == 0 { 0 } else { rng.random_range(0..2_000) }, Op::Start(node))).collect(),
            end_ms: 0,
        };
        script.draw_keys(&mut rng);
        match class {
            Class::Planned if script.copies => script.draw_spaced_changes(&mut rng, first),
            Class::Planned | Class::Lossy | Class::Sets => script.draw_changes(&mut rng, first, 3..=8),
            Class::Crash => script.draw_crashes(&mut rng, first),
            Class::Stall => script.draw_stalls(&mut rng, first),
            Class::Partition => script.draw_partition(&mut rng, first),
            Class::Majority => script.draw_majority(&mut rng, first),
        }
        if class == Class::Sets {
            script.draw_discoveries(&mut rng);
        }
        script.draw_breaks(&mut rng);
        script.draw_tables();
        script.ops.sort_by_key(|(at, _)| *at);
        script.end_ms = script.ops.iter().map(|(at, op)| at + op.lasts_ms()).max().unwrap() + REST_MS;
        script
    }

    fn draw_keys(&mut self, rng: &mut StdRng) {
        let domains = rng.random_range(1..=2);
        for _ in 0..rng.random_range(8..=30) {
            let hidden = match self.class {
                // Somebody of the first two, which mostly stay, sees every key.
                Class::Sets if rng.random_bool(0.5) => rng.random::<u32>() & !(1 << rng.random_range(0..2)),
                _ => 0,
            };
            self.keys.push(KeyPlan {
                domain: rng.random_range(0..domains),
                key: rng.random(),
                interval_ms: [3_000, 5_000, 10_000, 15_000][rng.random_range(0..4)],
                hidden,
            });
        }
        if self.copies {
            let copies = self.keys.iter().filter(|plan| plan.domain == 0).map(|plan| KeyPlan { domain: COPY, ..*plan });
            self.keys.extend(copies.collect::<Vec<_>>());
        }
    }

    /// Joins, leaves and restarts, so that there are always two nodes to hold two copies: who goes has gone when the next begins to.
    fn draw_spaced_changes(&mut self, rng: &mut StdRng, first: usize) {
        let (mut at, mut next, mut staying) = (WARM_MS, first, first);
        for _ in 0..rng.random_range(3..=7) {
            let node = rng.random_range(0..staying);
            let op = match rng.random_range(0..3) {
                0 if next < self.nodes => Op::Start(next),
                1 if staying > 3 => Op::Leave(staying - 1),
                _ => Op::Restart(node, rng.random_range(0..3_000)),
            };
            next += usize::from(matches!(op, Op::Start(_)));
            staying -= usize::from(matches!(op, Op::Leave(_)));
            at += if matches!(op, Op::Start(_)) { rng.random_range(0..3_000) } else { rng.random_range(12_000..18_000) };
            self.ops.push((at, op));
        }
    }

    /// Joins, leaves and restarts, often while the one before is still under way. Returns when they end.
    fn draw_changes(&mut self, rng: &mut StdRng, first: usize, count: std::ops::RangeInclusive<u32>) {
        let mut at = WARM_MS;
        let mut next = first;
        let mut free: Vec<usize> = (0..first).collect();
        for _ in 0..rng.random_range(count) {
            at += if rng.random_bool(0.3) { rng.random_range(0..300) } else { rng.random_range(500..12_000) };
            match rng.random_range(0..3) {
                0 if next < self.nodes => {
                    self.ops.push((at, Op::Start(next)));
                    next += 1;
                }
                1 if free.len() > 2 && self.class != Class::Sets => {
                    let node = free.swap_remove(rng.random_range(0..free.len()));
                    self.ops.push((at, Op::Leave(node)));
                }
                // One of the first two always stays in view of every key.
                _ if free.len() > 1 && self.class != Class::Sets => {
                    let node = free.swap_remove(rng.random_range(0..free.len()));
                    self.ops.push((at, Op::Restart(node, rng.random_range(0..5_000))));
                }
                _ if free.len() > 2 => {
                    let node = free.swap_remove(rng.random_range(2..free.len()));
                    self.ops.push((at, Op::Leave(node)));
                }
                _ => {}
            }
        }
    }

    fn draw_crashes(&mut self, rng: &mut StdRng, first: usize) {
        self.draw_changes(rng, first, 0..=2);
        let at = rng.random_range(WARM_MS..40_000);
        let node = rng.random_range(0..first);
        self.ops.push((at, Op::Crash(node)));
        if rng.random_bool(0.5) {
            self.ops.push((at + rng.random_range(200..15_000), Op::Start(node)));
        }
        if first > 3 && rng.random_bool(0.3) {
            let other = (node + 1) % first;
            self.ops.push((at + rng.random_range(0..3_000), Op::Crash(other)));
        }
    }

    fn draw_stalls(&mut self, rng: &mut StdRng, first: usize) {
        self.draw_changes(rng, first, 0..=2);
        for _ in 0..rng.random_range(1..=2) {
            let length = [2_000, 4_000, 8_000, 20_000][rng.random_range(0..4)] + rng.random_range(0..1_000);
            self.ops.push((rng.random_range(WARM_MS..45_000), Op::Stall(rng.random_range(0..first), length)));
        }
    }

    fn draw_partition(&mut self, rng: &mut StdRng, first: usize) {
        let sides = rng.random_range(1..(1 << first) - 1);
        let at = rng.random_range(WARM_MS..30_000);
        self.ops.push((at, Op::Cut(sides)));
        let heal = at + rng.random_range(1_000..30_000);
        self.ops.push((heal, Op::Heal));
        if rng.random_bool(0.4) {
            self.ops.push((rng.random_range(at..heal + 5_000), Op::Start(first)));
        }
    }

    /// How many nodes begin.
    pub(super) fn first_nodes(&self) -> usize {
        self.nodes - 3
    }

    /// When all cuts are over.
    pub(super) fn heal_ms(&self) -> u64 {
        self.ops.iter().filter(|(_, op)| *op == Op::Heal).map(|(at, _)| *at).max().unwrap_or(0)
    }

    /// When something is done to the fleet for the first and for the last time after it has come up.
    pub(super) fn first_op_ms(&self) -> u64 {
        self.ops.iter().map(|(at, _)| *at).find(|at| *at > 2_000).unwrap_or(0)
    }

    pub(super) fn last_op_ms(&self) -> u64 {
        self.ops.iter().map(|(at, op)| at + op.lasts_ms()).max().unwrap_or(0)
    }

    /// Whether a cut and its heal are all that happens to a fleet.
    pub(super) fn is_plain_cut(&self) -> Option<u32> {
        let mut cuts = self.ops.iter().filter_map(|(_, op)| if let Op::Cut(sides) = op { Some(*sides) } else { None });
        let disturbed = |(at, op): &(u64, Op)| !matches!(op, Op::Cut(_) | Op::Heal | Op::Break(..)) && *at > 2_000;
        let sides = cuts.next().filter(|_| !self.ops.iter().any(disturbed))?;
        cuts.next().is_none().then_some(sides)
    }

    /// Cuts that change, links that fail in one direction, and whatever else may happen meanwhile.
    fn draw_majority(&mut self, rng: &mut StdRng, first: usize) {
        let at = rng.random_range(WARM_MS..30_000);
        let heal = at + rng.random_range(1_000..30_000);
        self.ops.push((at, Op::Cut(rng.random_range(1..(1 << first) - 1))));
        self.ops.push((heal, Op::Heal));
        if rng.random_bool(0.3) {
            return;
        }
        if rng.random_bool(0.2) {
            // Numbers for one side, that are no electors yet when the cut comes.
            let since = rng.random_range(at - 4_000..at + 1_000);
            self.ops.extend((first..self.nodes).map(|node| (since, Op::Start(node))));
        }
        for _ in 0..rng.random_range(1..=5) {
            let when = rng.random_range(at - 8_000..heal + 5_000);
            let node = rng.random_range(0..first);
            let op = match rng.random_range(0..8) {
                0 | 1 => Op::Start(rng.random_range(first..self.nodes)),
                2 => Op::Crash(node),
                3 => Op::Start(node),
                4 => Op::Leave(node),
                5 => Op::Restart(node, rng.random_range(0..3_000)),
                6 if when < heal => Op::Cut(rng.random_range(1..(1 << self.nodes) - 1)),
                _ if when < heal => Op::Sever(node, rng.random_range(0..self.nodes)),
                _ => continue,
            };
            self.ops.push((when, op));
        }
    }

    /// Keys that come into view late, or go from one node's view while others keep it.
    fn draw_discoveries(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(3..15) {
            let node = rng.random_range(0..self.nodes);
            let key = rng.random_range(0..self.keys.len());
            let at = rng.random_range(WARM_MS..50_000);
            self.ops.push((at, Op::Discover(node, key, rng.random_bool(0.6))));
        }
    }

    /// Tables of placement, in half of all runs, but for those in which news have no time of their own (`Majority`). They have a generator of their own, so that the rest of a run is the same
    /// with and without them.
    fn draw_tables(&mut self) {
        if self.seed % 4 >= 2 || self.class == Class::Majority {
            return;
        }
        let mut rng = StdRng::seed_from_u64(self.seed ^ 0x7ab1e);
        for _ in 0..rng.random_range(1..=4) {
            self.ops.push((rng.random_range(2_000..45_000), Op::Place(rng.random())));
        }
    }

    fn draw_breaks(&mut self, rng: &mut StdRng) {
        for _ in 0..rng.random_range(0..12) {
            let (from, to) = (rng.random_range(0..self.nodes), rng.random_range(0..self.nodes));
            let at = rng.random_range(0..50_000);
            self.ops.push((at, Op::Break(from, to, rng.random_range(20..500))));
        }
    }
}
