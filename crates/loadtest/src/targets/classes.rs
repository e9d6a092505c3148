//! Which target has which size: targets of one size share their shape and their texts, which are rendered once a tick for each group.

use std::sync::Arc;

use parking_lot::Mutex;

use super::body::Rest;
use super::options::{Size, TargetOptions};
use super::render::{Edition, mix, render};
use super::shape::Shape;

/// All sizes, and who has which.
#[derive(Debug)]
pub(crate) struct Classes {
    classes: Vec<Class>,
    /// The class of each target, and its place among those of the class.
    of_target: Vec<(u8, u32)>,
}

#[derive(Debug)]
struct Class {
    series: usize,
    shape: Shape,
    /// The newest text of each group.
    groups: Vec<Mutex<Option<Text>>>,
}

#[derive(Debug)]
struct Text {
    of: Edition,
    rest: Arc<Rest>,
}

impl Classes {
    pub(crate) fn new(options: &TargetOptions) -> Self {
        let one = [Size { share: 1.0, series: options.series }];
        let sizes = if options.mix.is_empty() { &one[..] } else { &options.mix };
        let counts = apportion(sizes, options.targets);
        let class = |(size, count): (&Size, &usize)| Class {
            series: size.series,
            shape: Shape::new(size.series - 1, options.churn.map_or(0.0, |c| c.fraction)).with_more_labels(options.more_label_bytes),
            groups: (0..options.groups.min(*count).max(1)).map(|_| Mutex::new(None)).collect(),
        };
        Self { classes: sizes.iter().zip(&counts).map(class).collect(), of_target: deal(&counts, options.seed) }
    }

    /// Series of a target, `probe_seq` included; 0 for one that there is not.
    pub(crate) fn series(&self, target: usize) -> usize {
        self.of_target.get(target).map_or(0, |(class, _)| self.classes[usize::from(*class)].series)
    }

    /// The text of a target in an edition, which is given the number of the target's group; the first to ask in a tick renders it.
    pub(crate) fn text(&self, target: usize, edition: impl FnOnce(usize) -> Edition) -> Arc<Rest> {
        let (class, place) = self.of_target.get(target).copied().unwrap_or_default();
        let class = &self.classes[usize::from(class)];
        let group = place as usize % class.groups.len();
        let edition = edition(group);
        let mut cached = class.groups[group].lock();
        match &*cached {
            Some(text) if text.of == edition => Arc::clone(&text.rest),
            _ => {
                let rest = Arc::new(Rest::new(render(&class.shape, edition)));
                *cached = Some(Text { of: edition, rest: Arc::clone(&rest) });
                rest
            }
        }
    }
}

/// How many targets each size gets: its share rounded down, and one more to those with the largest remainders until all are dealt.
fn apportion(sizes: &[Size], targets: usize) -> Vec<usize> {
    let wanted: Vec<f64> = sizes.iter().map(|s| s.share * targets as f64).collect();
    let mut counts: Vec<usize> = wanted.iter().map(|w| w.floor() as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by(|a, b| wanted[*b].fract().total_cmp(&wanted[*a].fract()).then(a.cmp(b)));
    let left = targets.saturating_sub(counts.iter().sum());
    for at in order.iter().cycle().take(left) {
        counts[*at] += 1;
    }
    counts
}

/// Deals the sizes to the targets in an order that the seed chooses, so that large ones don't stand side by side.
fn deal(counts: &[usize], seed: u64) -> Vec<(u8, u32)> {
    let targets = counts.iter().sum();
    let mut order: Vec<usize> = (0..targets).collect();
    if counts.len() > 1 {
        order.sort_by_key(|target| mix(seed, *target as u64));
    }
    let mut dealt = vec![(0, 0); targets];
    let mut next = order.into_iter();
    for (class, count) in counts.iter().enumerate() {
        for (place, target) in next.by_ref().take(*count).enumerate() {
            dealt[target] = (class as u8, place as u32);
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(all: &[(f64, usize)]) -> Vec<Size> {
        all.iter().map(|(share, series)| Size { share: *share, series: *series }).collect()
    }

    #[test]
    fn every_target_gets_a_size_and_shares_are_kept_to_within_one() {
        let mix = sizes(&[(0.9, 5), (0.09, 50), (0.01, 500)]);
        for (targets, expected) in [(100, [90, 9, 1]), (60, [54, 5, 1]), (10, [9, 1, 0]), (1, [1, 0, 0])] {
            assert_eq!(apportion(&mix, targets), expected, "{targets} targets");
        }
    }

    #[test]
    fn the_seed_chooses_who_is_large() {
        let options = TargetOptions { targets: 100, mix: sizes(&[(0.9, 5), (0.1, 50)]), ..TargetOptions::default() };
        let large = |seed| {
            let classes = Classes::new(&TargetOptions { seed, ..options.clone() });
            (0..100).filter(|t| classes.series(*t) == 50).collect::<Vec<_>>()
        };
        assert_eq!((large(1).len(), large(1)), (10, large(1)));
        assert_ne!(large(1), large(2));
        assert!(large(1).windows(2).any(|pair| pair[1] - pair[0] > 1), "not all in a row");
    }
}
