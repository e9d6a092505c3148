//! Writes a shape as exposition text: the values of one tick and group. Deterministic: the same seed, group and tick give the same text.

use std::fmt::Write as _;

use super::catalogue::UNIT_STATES;
use super::shape::{Family, Habit, Kind, Series, Shape};

/// Which text of a shape is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edition {
    /// Chooses the values of a run.
    pub(crate) seed: u64,
    /// Targets of one group show the same values.
    pub(crate) group: u64,
    /// How often values have moved.
    pub(crate) tick: u64,
    /// The generation of churning series; `None` leaves them without the label.
    pub(crate) generation: Option<u64>,
    /// Whether series change places within their family.
    pub(crate) shuffle: bool,
}

/// The text of all families.
pub(crate) fn render(shape: &Shape, edition: Edition) -> String {
    let mut text = String::with_capacity(shape.series() * 100);
    let mut first = 0;
    for family in &shape.families {
        render_family(&mut text, family, first, edition);
        first += family.series.len() as u64;
    }
    text
}

fn render_family(text: &mut String, family: &Family, first: u64, edition: Edition) {
    let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
    for part in ["# HELP ", family.name, " ", family.help, "\n# TYPE ", family.name, " ", kind, "\n"] {
        text.push_str(part);
    }
    for index in order(family.series.len(), first, edition) {
        let series = &family.series[index];
        text.push_str(family.name);
        push_labels(text, series, edition.generation);
        text.push(' ');
        push_float(text, value(series.habit, index as u64, first, edition));
        text.push('\n');
    }
}

/// The places of a family's series: as declared, or shuffled anew each tick (Fisher–Yates).
fn order(len: usize, first: u64, edition: Edition) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    if edition.shuffle {
        for last in (1..len).rev() {
            let random = mix(edition.seed ^ edition.tick ^ (edition.group << 32), first ^ ((last as u64) << 20));
            places.swap(last, (random % (last as u64 + 1)) as usize);
        }
    }
    places
}

fn push_labels(text: &mut String, series: &Series, generation: Option<u64>) {
    let generation = generation.filter(|_| series.churns);
    if series.labels.is_empty() && generation.is_none() {
        return;
    }
    text.push('{');
    text.push_str(&series.labels);
    if let Some(generation) = generation {
        let comma = if series.labels.is_empty() { "" } else { "," };
        push(text, format_args!("{comma}rev=\"{generation}\""));
    }
    text.push('}');
}

/// The value of a family's `index`-th series in an edition, `first` being the family's place in the shape; counters never fall from tick to tick.
fn value(habit: Habit, index: u64, first: u64, edition: Edition) -> f64 {
    let Edition { seed, group, tick, .. } = edition;
    let of_series = mix(seed ^ (group << 32), first + index);
    let of_tick = mix(of_series, tick);
    let unit = (of_tick >> 11) as f64 / (1_u64 << 53) as f64;
    match habit {
        Habit::Constant(value) => value,
        Habit::Active => f64::from(u8::from(index.is_multiple_of(UNIT_STATES.len() as u64))),
        Habit::Counter(rate) => {
            let rate = u64::from(rate);
            (of_series % (rate * 100_000) + tick * rate + of_tick % rate) as f64
        }
        Habit::Seconds => (of_series % 10_000_000 + tick * 90 + of_tick % 90) as f64 / 100.0,
        Habit::Bytes => (of_series % 1_000_000 + 50_000 + of_tick % 10_000) as f64 * 4096.0,
        Habit::Level(level) => (u64::from(level) + of_tick % (u64::from(level) / 20 + 1)) as f64,
        Habit::Small => (of_tick % 10) as f64,
        Habit::Load => (unit * 400.0).round() / 100.0,
        Habit::Duration => (unit * 1e7).round() / 1e9,
        Habit::Clock => 1_763_600_000.0 + tick as f64 + (unit * 1e6).round() / 1e6,
    }
}

/// A well-mixed number out of two (the finaliser of splitmix64).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_add(b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Writes a float as Go's exporters do (`strconv` format `g`, shortest): exponents from 10⁶ on and below 10⁻⁴. Parsers then pay for
/// exponents as they do in the field.
fn push_float(text: &mut String, value: f64) {
    let exponent = if value == 0.0 || !value.is_finite() { 0 } else { value.abs().log10().floor() as i32 };
    if (-4..6).contains(&exponent) {
        push(text, format_args!("{value}"));
        return;
    }
    let short = format!("{value:e}");
    let (digits, power) = short.split_once('e').unwrap_or((&short, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |p| ('-', p));
    push(text, format_args!("{digits}e{sign}{power:0>2}"));
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    let written = text.write_fmt(what);
    debug_assert!(written.is_ok(), "a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Edition = Edition { seed: 1, group: 0, tick: 0, generation: None, shuffle: false };

    fn samples(text: &str) -> Vec<(&str, f64)> {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        lines.map(|l| l.rsplit_once(' ').map(|(series, value)| (series, value.parse().expect("a float"))).expect("a sample")).collect()
    }

    #[test]
    fn floats_look_like_those_of_go() {
        let go = [
            (0.0, "0"),
            (804.0, "804"),
            (576_927.0, "576927"),
            (1_445_721.0, "1.445721e+06"),
            (281_337_856.0, "2.81337856e+08"),
            (64.49, "64.49"),
            (0.000_407_37, "0.00040737"),
            (0.000_090_055, "9.0055e-05"),
            (9.223_372_036_854_776e18, "9.223372036854776e+18"),
        ];
        for (value, text) in go {
            let mut out = String::new();
            push_float(&mut out, value);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn text_per_sample_is_that_of_the_reference_corpus() {
        let text = render(&Shape::new(1000, 0.0), FIRST);
        assert_eq!(samples(&text).len(), 1000);
        let per_sample = text.len() as f64 / 1000.0;
        assert!((76.0..=88.0).contains(&per_sample), "{per_sample} bytes a sample, not about 82");
    }

    #[test]
    fn counters_grow_and_constants_stay() {
        let shape = Shape::new(1000, 0.0);
        let (now, later) = (render(&shape, FIRST), render(&shape, Edition { tick: 1, ..FIRST }));
        let (now, later) = (samples(&now), samples(&later));
        for (a, b) in now.iter().zip(&later) {
            assert_eq!(a.0, b.0, "same places");
            assert!(!a.0.contains("_total") || b.1 >= a.1, "{} fell from {} to {}", a.0, a.1, b.1);
        }
        let changed = now.iter().zip(&later).filter(|(a, b)| a.1 != b.1).count();
        assert!((400..=750).contains(&changed), "{changed} of 1000 changed");
    }

    #[test]
    fn groups_show_different_values_under_the_same_names() {
        let shape = Shape::new(200, 0.0);
        let (a, b) = (render(&shape, FIRST), render(&shape, Edition { group: 1, ..FIRST }));
        assert_ne!(a, b);
        assert!(samples(&a).iter().zip(&samples(&b)).all(|(a, b)| a.0 == b.0));
    }

    #[test]
    fn churning_series_change_their_identity_with_the_generation() {
        let shape = Shape::new(1000, 0.1);
        let with = |generation| render(&shape, Edition { generation: Some(generation), ..FIRST });
        let (a, b) = (with(0), with(1));
        let differing = samples(&a).iter().zip(&samples(&b)).filter(|(a, b)| a.0 != b.0).count();
        assert!((99..=100).contains(&differing), "{differing} of 1000 churned");
        assert!(b.contains("rev=\"1\""));
    }

    #[test]
    fn shuffling_moves_lines_within_their_family_only() {
        let shape = Shape::new(1000, 0.0);
        let (plain, shuffled) = (render(&shape, FIRST), render(&shape, Edition { shuffle: true, ..FIRST }));
        let again = render(&shape, Edition { shuffle: true, tick: 1, ..FIRST });
        let (plain, mut shuffled, again) = (samples(&plain), samples(&shuffled), samples(&again));
        let families = |s: &[(&str, f64)]| s.iter().map(|(n, _)| n.split('{').next().map(str::to_owned)).collect::<Vec<_>>();
        assert_eq!(families(&plain), families(&shuffled));
        assert_ne!(plain, shuffled);
        assert!(shuffled.iter().zip(&again).any(|(a, b)| a.0 != b.0), "another order each tick");
        let mut plain = plain;
        plain.sort_by(|a, b| a.0.cmp(b.0));
        shuffled.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(plain, shuffled, "nothing lost or changed");
    }
}
