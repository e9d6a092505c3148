//! From a list of discovered label sets to the targets of a job: each once, in key order.

use std::sync::Arc;

use hashbrown::HashMap;
use model::Labels;

use crate::config::Config;
use crate::engine::{DropReason, Dropped, Synced};
use crate::target::Target;

/// Label sets that are not scraped are counted, and so many of them shown.
const MAX_DROPPED: usize = 1000;

pub(super) struct TargetSet {
    pub(super) targets: Arc<[Arc<Target>]>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) synced: Synced,
}

/// Builds the targets. What is known of the scrapes of those that were there before stays with them.
pub(super) fn build(discovered: &[Labels], config: &Config, before: &[Arc<Target>]) -> TargetSet {
    let (mut built, mut synced, mut dropped) = (Vec::with_capacity(discovered.len()), Synced::default(), Vec::new());
    let mut drop = |labels: &Labels, reason| {
        if dropped.len() < MAX_DROPPED {
            dropped.push(Dropped { discovered: labels.clone(), reason });
        }
    };
    for (place, labels) in discovered.iter().enumerate() {
        match Target::new(labels, config) {
            Ok(target) => built.push(target),
            Err(error) => {
                drop(labels, DropReason::Invalid(error.clone()));
                synced.failures.push((place, error));
            }
        }
    }
    // Of targets that are the same, the one with the smallest key stays: so all nodes choose the same, whatever the order.
    built.sort_by_key(|target| target.key);
    let mut seen = HashMap::with_capacity(built.len());
    let mut targets: Vec<Arc<Target>> = Vec::with_capacity(built.len());
    for mut target in built {
        let twice = targets.last().is_some_and(|last| last.key == target.key);
        if twice || seen.insert((target.labels.stable_hash(), target.url.clone()), ()).is_some() {
            drop(&target.discovered, DropReason::Duplicate);
            synced.duplicates += 1;
            continue;
        }
        synced.keys.push((target.key, target.interval_ms()));
        let known = before.binary_search_by_key(&target.key, |known| known.key).map(|at| &before[at]);
        targets.push(match known {
            Ok(known) if known.is_same(&target) => known.clone(),
            Ok(known) => {
                target.status = known.status.clone();
                Arc::new(target)
            }
            Err(_) => Arc::new(target),
        });
    }
    TargetSet { targets: targets.into(), dropped, synced }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config { job_name: "j".to_owned(), ..Config::default() }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn each_target_is_there_once_and_the_others_are_explained() {
        let discovered = [
            labels(&[("__address__", "a"), ("__meta_x", "1")]),
            labels(&[("__address__", "a"), ("__meta_x", "2")]),
            labels(&[("__address__", "a"), ("__tmp", "another key, the same series")]),
            labels(&[("__address__", "b")]),
            labels(&[("no", "address")]),
        ];
        let set = build(&discovered, &config(), &[]);
        assert_eq!(set.targets.len(), 2);
        assert!(set.targets[0].key < set.targets[1].key);
        assert_eq!((set.synced.duplicates, set.synced.failures.len(), set.synced.failures[0].0), (2, 1, 4));
        let reasons: Vec<String> = set.dropped.iter().map(|dropped| dropped.reason.to_string()).collect();
        assert_eq!(reasons, ["no address (label __address__)", "the same as another target", "the same as another target"]);
        let reversed: Vec<Labels> = discovered.iter().rev().cloned().collect();
        assert_eq!(build(&reversed, &config(), &[]).synced.keys, set.synced.keys, "the order doesn't matter");
    }

    #[test]
    fn a_targets_status_stays_with_it() {
        let before = build(&[labels(&[("__address__", "a")])], &config(), &[]).targets;
        before[0].status.lock().samples = 7;
        let after =
            build(&[labels(&[("__address__", "a"), ("__meta_new", "x")]), labels(&[("__address__", "b")])], &config(), &before).targets;
        let samples: usize = after.iter().map(|target| target.status().samples).sum();
        assert_eq!(samples, 7);
        let again = build(&[labels(&[("__address__", "b")])], &config(), &after).targets;
        assert!(after.iter().any(|target| Arc::ptr_eq(target, &again[0])), "and one that is the same is the same");
    }
}
