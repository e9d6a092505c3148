//! From a list of discovered label sets to the targets of a job: each once, in key order.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use model::Labels;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::config::Config;
use crate::engine::{DropReason, Dropped, Synced};
use crate::target::Target;

/// Label sets that are not scraped are counted, and so many of them shown.
const MAX_DROPPED: usize = 1000;

pub(super) struct TargetSet {
    /// By key, and by name within a key.
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
    built.sort_by(|one, other| (one.key, one.id, &one.url).cmp(&(other.key, other.id, &other.url)));
    let mut names = Names::with_capacity(built.len());
    built.retain_mut(|target| match names.name(target.id, &target.url) {
        Some(id) => {
            target.id = id;
            true
        }
        None => {
            drop(&target.discovered, DropReason::Duplicate);
            synced.duplicates += 1;
            false
        }
    });
    built.sort_by_key(|target| (target.key, target.id));
    synced.targets = built.len();
    synced.keys = built.iter().map(|target| (target.key, target.interval_ms())).collect();
    synced.keys.dedup_by_key(|(key, _)| *key);
    TargetSet { targets: built.into_iter().map(|target| known(target, before)).collect(), dropped, synced }
}

/// The target as it was before, if it is the same; else it takes over what was known of its scrapes.
fn known(mut target: Target, before: &[Arc<Target>]) -> Arc<Target> {
    let place = (target.key, target.id);
    if let Ok(at) = before.binary_search_by_key(&place, |known| (known.key, known.id)) {
        if before[at].is_same(&target) {
            return before[at].clone();
        }
        target.status = before[at].status.clone();
    }
    Arc::new(target)
}

/// The targets of one key.
pub(super) fn of_key(targets: &[Arc<Target>], key: u64) -> &[Arc<Target>] {
    let from = targets.partition_point(|target| target.key < key);
    let count = targets[from..].iter().take_while(|target| target.key == key).count();
    &targets[from..from + count]
}

/// Tells targets apart whose series have the same labels.
struct Names {
    /// Labels with URLs.
    seen: HashSet<u64>,
    /// Targets by their labels.
    namesakes: HashMap<u64, u64>,
}

impl Names {
    fn with_capacity(targets: usize) -> Self {
        Self { seen: HashSet::with_capacity(targets), namesakes: HashMap::with_capacity(targets) }
    }

    /// The name of a target with these (hashed) labels, unless there was one with the same labels and URL.
    fn name(&mut self, labels: u64, url: &str) -> Option<u64> {
        if !self.seen.insert(xxh3_64_with_seed(url.as_bytes(), labels)) {
            return None;
        }
        let number = self.namesakes.entry(labels).or_default();
        *number += 1;
        Some(if *number == 1 { labels } else { xxh3_64_with_seed(&number.to_le_bytes(), labels) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyLabels;

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
            labels(&[("__address__", "a"), ("__scrape_interval__", "1m"), ("__tmp", "another key, the same series")]),
            labels(&[("__address__", "b")]),
            labels(&[("no", "address")]),
        ];
        let set = build(&discovered, &config(), &[]);
        assert_eq!((set.targets.len(), set.synced.targets, set.synced.keys.len()), (2, 2, 2));
        assert!(set.targets[0].key < set.targets[1].key);
        assert_eq!((set.synced.duplicates, set.synced.failures.len(), set.synced.failures[0].0), (2, 1, 4));
        let reasons: Vec<String> = set.dropped.iter().map(|dropped| dropped.reason.to_string()).collect();
        assert_eq!(reasons, ["no address (label __address__)", "the same as another target", "the same as another target"]);
        let reversed: Vec<Labels> = discovered.iter().rev().cloned().collect();
        assert_eq!(build(&reversed, &config(), &[]).synced.keys, set.synced.keys, "the order doesn't matter");
    }

    #[test]
    fn targets_of_one_url_with_different_labels_are_all_there_under_one_key() {
        let discovered = ["1", "2", "3"].map(|shard| labels(&[("__address__", "a"), ("shard", shard)]));
        let set = build(&discovered, &config(), &[]);
        assert_eq!((set.targets.len(), set.synced.targets, set.synced.duplicates), (3, 3, 0));
        let [(key, interval)] = set.synced.keys[..] else { panic!("{:?}", set.synced.keys) };
        assert_eq!((of_key(&set.targets, key).len(), interval), (3, 60_000));
        let spread = Config { key_labels: KeyLabels { included: vec!["shard".to_owned()], ..KeyLabels::default() }, ..config() };
        assert_eq!(build(&discovered, &spread, &[]).synced.keys.len(), 3);
    }

    #[test]
    fn targets_with_the_same_labels_and_other_urls_are_told_apart() {
        let discovered = ["/a", "/b", "/c"].map(|path| labels(&[("__address__", "a"), ("__metrics_path__", path)]));
        let set = build(&discovered, &config(), &[]);
        let ids: HashSet<u64> = set.targets.iter().map(|target| target.id).collect();
        assert_eq!((ids.len(), set.synced.keys.len()), (3, 3));
        assert!(ids.contains(&set.targets[0].labels.stable_hash()), "the first is named by its labels alone");
        let one_key =
            Config { key_labels: KeyLabels { excluded: vec!["__metrics_path__".to_owned()], ..KeyLabels::default() }, ..config() };
        let set = build(&discovered, &one_key, &[]);
        assert_eq!((set.targets.len(), set.synced.keys.len()), (3, 1));
    }

    #[test]
    fn the_targets_of_a_key_are_found() {
        let set = build(&["a", "b", "c"].map(|address| labels(&[("__address__", address)])), &config(), &[]).targets;
        for target in set.iter() {
            assert!(matches!(of_key(&set, target.key), [found] if Arc::ptr_eq(found, target)));
        }
        assert!(of_key(&set, set[1].key + 1).is_empty());
        assert!(of_key(&set, 0).is_empty() && of_key(&set, u64::MAX).is_empty() && of_key(&[], 1).is_empty());
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
