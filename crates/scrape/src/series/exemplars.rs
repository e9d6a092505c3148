//! Which exemplars of a scrape are new. Targets expose an exemplar until there is another one, so most of what comes was there before;
//! what is known of each series' latest one decides, as in Prometheus' exemplar storage (`tsdb/exemplar.go`).

use std::cmp::Ordering;

use exposition::MAX_EXEMPLAR_CHARS;
use hashbrown::HashMap;
use model::Exemplar;

/// The latest exemplar of a series, as far as it has to be recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Latest {
    labels: u64,
    value: f64,
    timestamp: i64,
    /// The target gave the timestamp.
    given: bool,
}

/// The latest exemplars by row.
pub(super) type Memory = HashMap<u32, Latest>;

/// Whether an exemplar is one that Prometheus would store.
pub(super) fn is_valid(exemplar: &Exemplar) -> bool {
    let chars = |text: &str| text.chars().count();
    exemplar.labels.iter().map(|(name, value)| chars(name) + chars(value)).sum::<usize>() <= MAX_EXEMPLAR_CHARS
}

/// Exemplars that are new, in row order and by time within a row.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Sorted {
    pub(super) new: Vec<(u32, Exemplar)>,
    /// Those that are older than the latest one of their series. As in Prometheus, only of series that brought no other.
    pub(super) out_of_order: usize,
}

/// Takes the new ones out of the exemplars of a scrape, and remembers them. `time_of` is the time of a row's sample, which is that of
/// exemplars without one.
pub(super) fn sort_out(memory: &mut Memory, exemplars: Vec<(u32, Exemplar)>, time_of: impl Fn(u32) -> i64) -> Sorted {
    let candidate = |(row, exemplar)| (row, Latest::new(&exemplar, time_of(row)), exemplar);
    let mut candidates: Vec<(u32, Latest, Exemplar)> = exemplars.into_iter().map(candidate).collect();
    candidates.sort_by(|one, other| one.0.cmp(&other.0).then_with(|| one.1.cmp(&other.1)));
    let mut sorted = Sorted::default();
    let (mut series, mut count, mut late) = (None, 0, 0);
    for (row, candidate, exemplar) in candidates {
        if series != Some(row) {
            sorted.end_series(count, late);
            (series, count, late) = (Some(row), 0, 0);
        }
        count += 1;
        match memory.get(&row).map(|known| (known.is_same(&candidate), candidate.cmp(known))) {
            Some((true, _)) => {}
            Some((_, Ordering::Less)) => late += 1,
            _ => {
                memory.insert(row, candidate);
                sorted.new.push((row, exemplar));
            }
        }
    }
    sorted.end_series(count, late);
    sorted
}

impl Sorted {
    fn end_series(&mut self, count: usize, late: usize) {
        self.out_of_order += if late == count { late } else { 0 };
    }
}

impl Latest {
    fn new(exemplar: &Exemplar, sample_time: i64) -> Self {
        let Exemplar { labels, value, timestamp } = exemplar;
        Self { labels: labels.stable_hash(), value: *value, timestamp: timestamp.unwrap_or(sample_time), given: timestamp.is_some() }
    }

    /// Without times of their own, the time makes no difference: it is that of the scrape.
    fn is_same(&self, other: &Self) -> bool {
        let timed = self.given || other.given;
        self.labels == other.labels && self.value == other.value && (!timed || self.timestamp == other.timestamp)
    }

    /// By time, then by value. That labels decide last only keeps sets of one time from coming again and again.
    fn cmp(&self, other: &Self) -> Ordering {
        let values = self.value.partial_cmp(&other.value).unwrap_or(Ordering::Equal);
        self.timestamp.cmp(&other.timestamp).then(values).then(self.labels.cmp(&other.labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemplar(trace: &str, value: f64, timestamp: Option<i64>) -> Exemplar {
        Exemplar { labels: [("trace_id", trace)].into_iter().collect(), value, timestamp }
    }

    /// The traces that are new, and how many are out of order.
    fn scrape(memory: &mut Memory, now: i64, exemplars: &[(u32, Exemplar)]) -> (Vec<String>, usize) {
        let sorted = sort_out(memory, exemplars.to_vec(), |_| now);
        let traces = sorted.new.iter().map(|(row, exemplar)| format!("{row}:{}", exemplar.labels.get("trace_id").unwrap()));
        (traces.collect(), sorted.out_of_order)
    }

    #[test]
    fn an_exemplar_that_stays_is_new_once() {
        let mut memory = Memory::new();
        let (with, without) = (exemplar("a", 1.0, Some(500)), exemplar("a", 1.0, None));
        assert_eq!(scrape(&mut memory, 1000, &[(0, with.clone()), (1, without.clone())]), (vec!["0:a".to_owned(), "1:a".to_owned()], 0));
        assert_eq!(scrape(&mut memory, 2000, &[(0, with.clone()), (1, without.clone())]), (vec![], 0));
        let newer = [(0, exemplar("a", 1.0, Some(501))), (1, exemplar("b", 1.0, None))];
        assert_eq!(scrape(&mut memory, 3000, &newer), (vec!["0:a".to_owned(), "1:b".to_owned()], 0));
        assert_eq!(scrape(&mut memory, 4000, &[(1, without)]), (vec!["1:a".to_owned()], 0), "another one than the last");
    }

    #[test]
    fn older_ones_are_counted_if_the_series_has_no_other() {
        let mut memory = Memory::new();
        scrape(&mut memory, 1000, &[(0, exemplar("a", 1.0, Some(500)))]);
        let (older, newer) = (exemplar("b", 1.0, Some(400)), exemplar("c", 1.0, Some(600)));
        assert_eq!(scrape(&mut memory, 2000, &[(0, older.clone())]), (vec![], 1));
        assert_eq!(scrape(&mut memory, 2000, &[(0, newer), (0, older)]), (vec!["0:c".to_owned()], 0));
        assert_eq!(scrape(&mut memory, 3000, &[(0, exemplar("d", 0.5, Some(600)))]), (vec![], 1), "a smaller value at the same time");
    }

    #[test]
    fn a_set_of_one_time_comes_once() {
        let mut memory = Memory::new();
        let set: Vec<(u32, Exemplar)> = ["a", "b", "c", "d"].map(|trace| (7, exemplar(trace, 1.0, Some(500)))).to_vec();
        let (mut first, _) = scrape(&mut memory, 1000, &set);
        first.sort();
        assert_eq!(first, ["7:a", "7:b", "7:c", "7:d"]);
        assert_eq!(scrape(&mut memory, 2000, &set).0, Vec::<String>::new());
    }

    #[test]
    fn they_come_by_row_and_time() {
        let given = [(3, exemplar("late", 1.0, Some(9))), (1, exemplar("x", 1.0, None)), (3, exemplar("early", 1.0, Some(8)))];
        assert_eq!(scrape(&mut Memory::new(), 1000, &given).0, ["1:x", "3:early", "3:late"]);
    }

    #[test]
    fn long_labels_are_none() {
        assert!(is_valid(&exemplar(&"ü".repeat(120), 1.0, None)), "characters count, not bytes");
        assert!(!is_valid(&exemplar(&"ü".repeat(121), 1.0, None)));
    }
}
