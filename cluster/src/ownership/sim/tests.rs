//! Runs many seeds, and shows that broken rules are noticed.

use super::super::mutant::Mutant;
use super::fleet::Fleet;
use super::judge::Summary;
use super::script::{CLASSES, Class, MAJORITY_SEEDS, Script};
use crate::quorum;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 3_000;
/// The same under the policy `majority`.
const MAJORITY_RUNS: u64 = 200;

fn run(seed: u64, mutant: Option<Mutant>, verbose: bool) -> Result<Summary, String> {
    run_with(seed, |script| Fleet::new(script, mutant, verbose))
}

fn run_with(seed: u64, fleet: impl FnOnce(Script) -> Fleet) -> Result<Summary, String> {
    let mut fleet = fleet(Script::of(seed));
    let class = fleet.script.class;
    if fleet.log.verbose {
        println!("{:#?}", fleet.script);
    }
    fleet.run();
    fleet.judge().map_err(|violation| format!("seed {seed} ({class:?}): {violation}; replay with SIM_SEED={seed}"))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// Runs seeds on as many threads as there are cores; the outcome does not depend on their number.
fn run_all(seeds: std::ops::Range<u64>) -> (Vec<Summary>, Vec<String>) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<(u64, Result<Summary, String>)> = std::thread::scope(|scope| {
        let part = |first| {
            let seeds = seeds.clone().skip(first).step_by(threads);
            move || seeds.map(|seed| (seed, run(seed, None, false))).collect::<Vec<_>>()
        };
        let handles: Vec<_> = (0..threads).map(|first| scope.spawn(part(first))).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let mut totals = vec![Summary::default(); CLASSES.len()];
    let mut failures = Vec::new();
    for (seed, outcome) in outcomes {
        match outcome {
            Ok(summary) => totals[(seed % CLASSES.len() as u64) as usize].add(&summary),
            Err(failure) => failures.push(failure),
        }
    }
    (totals, failures)
}

#[test]
fn every_key_is_scraped_once_per_slot_whatever_happens_to_the_fleet() {
    if let Some(seed) = number("SIM_SEED") {
        println!("{:?}", run(seed, None, true).unwrap());
        return;
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let (totals, failures) = run_all(first..first + seeds);
    for (class, total) in CLASSES.iter().zip(&totals) {
        println!("{class:?}: {total:?}");
    }
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
}

#[test]
fn under_majority_no_key_ever_has_two_holders() {
    let seeds = number("SIM_MAJORITY_SEEDS").unwrap_or(MAJORITY_RUNS);
    let (totals, failures) = run_all(MAJORITY_SEEDS..MAJORITY_SEEDS + seeds);
    let mut all = Summary::default();
    totals.iter().for_each(|total| all.add(total));
    println!("Majority: {all:?}");
    assert!(failures.is_empty(), "{} of {seeds} seeds failed:\n{}", failures.len(), failures[..failures.len().min(20)].join("\n"));
}

/// Runs in which a deliberate fault must show.
const MUTANT_RUNS: u64 = 1_500;

/// Each deliberate fault, and a class of runs that is to notice it.
const MUTANTS: [(Mutant, Class); 12] = [
    (Mutant::NoAnswerAwaited, Class::Planned),
    (Mutant::NoFence, Class::Stall),
    (Mutant::NoGrantResend, Class::Lossy),
    (Mutant::WrongTieBreak, Class::Sets),
    (Mutant::PhaseByHost, Class::Planned),
    (Mutant::NoTrail, Class::Planned),
    (Mutant::CurrentSlotOnClaim, Class::Crash),
    (Mutant::NoQuery, Class::Sets),
    (Mutant::NothingLeft, Class::Sets),
    (Mutant::CopiesTogether, Class::Planned),
    (Mutant::DuplicateKept, Class::Partition),
    (Mutant::AnyIncarnation, Class::Crash),
];

#[test]
fn each_broken_rule_is_noticed() {
    let mut missed = Vec::new();
    for (mutant, class) in MUTANTS {
        let mut seeds = (0..).filter(|seed| Script::class_of(*seed) == class).take(MUTANT_RUNS as usize);
        match seeds.find_map(|seed| run(seed, Some(mutant), false).err()) {
            Some(violation) => println!("{mutant:?}: {violation}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not noticed within {MUTANT_RUNS} runs: {missed:?}");
}

/// Deliberate faults in the policy `majority`.
const QUORUM_MUTANTS: [quorum::Mutant; 4] =
    [quorum::Mutant::NoLease, quorum::Mutant::LossOfOneSuffices, quorum::Mutant::CrashShrinks, quorum::Mutant::ChangesAskNobody];

#[test]
fn each_broken_rule_of_the_majority_is_noticed() {
    let is_doubled = |violation: &String| violation.contains("is held by node-") || violation.contains("scraped twice");
    let mut missed = Vec::new();
    for mutant in QUORUM_MUTANTS {
        let broken = |script| {
            let mut fleet = Fleet::new(script, None, false);
            fleet.quorum_mutant = Some(mutant);
            fleet
        };
        match (MAJORITY_SEEDS..MAJORITY_SEEDS + MUTANT_RUNS).find_map(|seed| run_with(seed, broken).err().filter(is_doubled)) {
            Some(violation) => println!("{mutant:?}: {violation}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not noticed within {MUTANT_RUNS} runs: {missed:?}");
}

#[test]
fn a_run_replays_exactly_from_its_seed() {
    for seed in 0..12 {
        let trace = |_| {
            let mut fleet = Fleet::new(Script::of(seed), None, false);
            fleet.run();
            (fleet.judge().unwrap(), fleet.log.digest())
        };
        assert_eq!(trace(0), trace(1), "seed {seed}");
    }
}
