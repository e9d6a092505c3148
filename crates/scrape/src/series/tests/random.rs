//! Random scrapes against a model that does what the rules say in the plainest way: maps instead of layouts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Series names to values; the order is the body's.
type Body = Vec<(u16, i32)>;

/// What has to come out: samples and markers by name.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    samples: BTreeMap<u16, i32>,
    stale: Vec<u16>,
    duplicates: usize,
}

fn expect(alive: &mut BTreeMap<u16, ()>, body: &Body) -> Expected {
    let mut expected = Expected::default();
    for (name, value) in body {
        match expected.samples.entry(*name) {
            std::collections::btree_map::Entry::Occupied(_) => expected.duplicates += 1,
            std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(*value)),
        }
    }
    expected.stale = alive.keys().filter(|name| !expected.samples.contains_key(name)).copied().collect();
    *alive = expected.samples.keys().map(|name| (*name, ())).collect();
    expected
}

fn got(scraped: &Scraped) -> Expected {
    let mut got = Expected { duplicates: scraped.counts.duplicates, ..Expected::default() };
    for batch in &scraped.batches {
        for (series, _, value) in batch.iter() {
            let name: u16 = series.metric_name()[1..].parse().unwrap();
            if is_stale(value) {
                got.stale.push(name);
            } else {
                assert!(got.samples.insert(name, value as i32).is_none(), "twice");
            }
        }
    }
    got.stale.sort_unstable();
    got
}

/// The text of a series: three spellings, by turns.
fn line(name: u16, value: i32, spelling: u8) -> String {
    match spelling % 16 {
        0 => format!("s{name}{{}} {value}\n"),
        1 => format!("s{name}{{x=\"\"}} {value}\n"),
        _ => format!("s{name} {value}\n"),
    }
}

fn body() -> impl Strategy<Value = Body> {
    // Runs of neighbours in order, shuffled among each other: much stays in place and much doesn't.
    let run = (0_u16..60, 0_u16..20, any::<i16>())
        .prop_map(|(start, len, value)| (start..start + len).map(|name| (name, i32::from(value) + i32::from(name))).collect::<Vec<_>>());
    prop::collection::vec(run, 0..5).prop_map(|runs| runs.concat())
}

proptest! {
    #[test]
    fn scrapes_bring_what_the_plain_model_says(
        bodies in prop::collection::vec((body(), any::<bool>()), 1..12),
        spellings in prop::collection::vec(any::<u8>(), 80),
    ) {
        let mut target = Target::new(Rules::default());
        let mut alive = BTreeMap::new();
        for (round, (body, fail)) in bodies.iter().enumerate() {
            let spelt = |name: u16| spellings[(usize::from(name) + round / 3) % spellings.len()];
            let mut text: String = body.iter().map(|(name, value)| line(*name, *value, spelt(*name))).collect();
            if *fail && round % 3 == 2 {
                text.push_str("{ this is wrong\n");
                prop_assert!(target.try_scrape(&text).is_err());
                let stale: usize = target.series.end(target.now).iter().map(Batch::len).sum();
                prop_assert_eq!(stale, alive.len());
                alive.clear();
                continue;
            }
            let expected = expect(&mut alive, body);
            let scraped = target.scrape(&text);
            prop_assert_eq!(got(&scraped), expected, "round {}: {}", round, text);
            prop_assert_eq!(target.series.layout().len(), alive.len());
        }
    }
}
