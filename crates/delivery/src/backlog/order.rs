//! The order in which a backlog goes: each source's batches in the order of their times. On disk they may stand otherwise: what was held
//! back was written before what another node gave later, and is newer.

use hashbrown::HashMap;

use crate::spool::Left;

/// Passes over the log in which the batches of every source come in the order of their times.
pub(super) struct Passes {
    /// Those that don't go with the first pass.
    later: HashMap<u64, u32>,
    /// Above the highest record that was looked at.
    end: u64,
    count: u32,
}

impl Passes {
    /// The passes for these batches.
    pub fn of(mut left: Vec<Left>) -> Self {
        let end = left.iter().map(|one| one.record + 1).max().unwrap_or(0);
        left.sort_unstable_by_key(|one| (one.source, one.timestamp, one.record));
        let (mut later, mut count) = (HashMap::new(), u32::from(!left.is_empty()));
        let mut pass = 0;
        let before = std::iter::once(None).chain(left.iter().map(Some));
        for (before, one) in before.zip(&left) {
            match before.filter(|before| before.source == one.source) {
                None => pass = 0,
                Some(before) => pass += u32::from(before.record > one.record),
            }
            if pass > 0 {
                later.insert(one.record, pass);
                count = count.max(pass + 1);
            }
        }
        Self { later, end, count }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether a record goes with this pass.
    pub fn has(&self, pass: u32, record: u64) -> bool {
        record < self.end && self.later.get(&record).copied().unwrap_or(0) == pass
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What goes, in the order in which it does: sources and times.
    fn sent(log: &[(u64, i64)]) -> Vec<(u64, i64)> {
        let left = |(record, (source, timestamp))| Left { source, timestamp, record, samples: 1 };
        let passes = Passes::of((0..).zip(log.iter().copied()).map(left).collect());
        let passes = &passes;
        let of_pass = |pass| (0..).zip(log).filter(move |(record, _)| passes.has(pass, *record)).map(|(_, one)| *one);
        (0..passes.count()).flat_map(of_pass).collect()
    }

    #[test]
    fn what_is_in_order_goes_in_one_pass_and_what_was_given_later_goes_before_what_was_held() {
        assert_eq!(sent(&[(1, 1), (2, 1), (1, 2)]), [(1, 1), (2, 1), (1, 2)]);
        // Old, held, given, new.
        let log = [(1, 1), (1, 10), (2, 5), (1, 4), (1, 5), (1, 11)];
        assert_eq!(sent(&log), [(1, 1), (2, 5), (1, 4), (1, 5), (1, 10), (1, 11)]);
        assert_eq!(Passes::of(Vec::new()).count(), 0);
    }

    proptest! {
        #[test]
        fn all_goes_once_and_in_order(log in prop::collection::vec((0_u64..3, 0_i64..12), 0..30)) {
            let sent = sent(&log);
            let (mut expected, mut got) = (log.clone(), sent.clone());
            expected.sort_unstable();
            got.sort_unstable();
            prop_assert_eq!(expected, got);
            for source in 0..3 {
                prop_assert!(sent.iter().filter(|one| one.0 == source).map(|one| one.1).is_sorted());
            }
        }
    }
}
