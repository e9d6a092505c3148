//! Loads that differ from the plain one in one respect, and what each may cost next to it: the collector alone, one case after the other.

use super::compare::{CompareOptions, Measured};
use crate::targets::Churn;

/// One respect in which a load differs from the plain one.
pub struct Case {
    /// What it is called on the command line and in the table.
    pub name: &'static str,
    /// What is different.
    pub about: &'static str,
    /// How many times the plain case's CPU per scraped sample it may cost.
    pub bound: f64,
    /// Makes the plain load different.
    change: fn(&mut CompareOptions),
}

/// The plain case first.
pub static CASES: &[Case] = &[
    Case { name: "plain", about: "8 groups of targets with the same values", bound: 1.0, change: |_| {} },
    Case {
        name: "changing",
        about: "1 % of the targets change their layout every scrape",
        bound: 1.5,
        change: |options| {
            options.targets.groups = 100;
            churn(options, 0.01, 0.01);
        },
    },
    Case {
        name: "labels",
        about: "label sets of 200 bytes, as pods have them",
        bound: 1.5,
        change: |options| options.targets.more_label_bytes = 150,
    },
    Case { name: "relabel", about: "8 relabel rules", bound: 1.5, change: |options| options.relabel_rules = 8 },
    Case {
        name: "distinct",
        about: "every target has values of its own",
        bound: 1.5,
        change: |options| options.targets.groups = options.targets.targets.min(1024),
    },
    Case { name: "shuffled", about: "lines in another order every scrape", bound: 2.0, change: |options| options.targets.shuffle = true },
    Case {
        name: "turnover",
        about: "every target gains and loses one series every scrape",
        bound: 2.0,
        change: |options| {
            // The share is a hair more than one series, so that rounding leaves one.
            let one = 1.01 / options.targets.series as f64;
            churn(options, one, 1.0);
        },
    },
    Case { name: "endpoints", about: "three endpoints instead of one", bound: 2.0, change: |options| options.endpoints = 3 },
];

fn churn(options: &mut CompareOptions, fraction: f64, targets: f64) {
    options.targets.churn = Some(Churn { fraction, every: options.targets.tick, targets });
}

impl Case {
    /// The case of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }

    /// The plain load, made different.
    #[must_use]
    pub fn load(&self, plain: CompareOptions) -> CompareOptions {
        let mut options = plain;
        (self.change)(&mut options);
        options
    }
}

/// What a case cost.
pub struct Outcome {
    /// The case.
    pub case: &'static Case,
    /// The figures, per sample that was received.
    pub measured: Measured,
    /// How many endpoints received each sample.
    pub endpoints: usize,
}

impl Outcome {
    /// CPU time in microseconds per sample that was scraped.
    #[must_use]
    pub fn cpu_us(&self) -> f64 {
        self.measured.cpu_us_per_sample * self.endpoints as f64
    }
}

/// A table with a row per case: its CPU per scraped sample, how many times the first row's that is, and the bound.
#[must_use]
pub fn cases_table(outcomes: &[Outcome]) -> String {
    let plain = outcomes.first().map_or(f64::NAN, Outcome::cpu_us);
    let mut text = String::from("case       CPU µs/sample  × plain  bound  RSS B/series  wire B/sample  samples/scrape\n");
    for outcome in outcomes {
        let Measured { rss_bytes_per_series: rss, wire_bytes_per_sample: wire, samples_per_scrape, .. } = outcome.measured;
        let cpu = outcome.cpu_us();
        let per_scrape = samples_per_scrape / outcome.endpoints as f64;
        text.push_str(&format!(
            "{:<10} {cpu:>13.3}  {:>7.2}  {:>5.1}  {rss:>12.0}  {wire:>13.1}  {per_scrape:>14.1}\n",
            outcome.case.name,
            cpu / plain,
            outcome.case.bound,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::TargetOptions;

    #[test]
    fn each_case_differs_from_the_plain_one_and_has_a_name_of_its_own() {
        let second = std::time::Duration::from_secs(1);
        let plain = CompareOptions::new(TargetOptions { targets: 100, series: 1000, ..TargetOptions::default() }, second, second, second);
        let shown = |case: &Case| format!("{:?}", case.load(plain.clone()));
        for (at, case) in CASES.iter().enumerate().skip(1) {
            assert_ne!(shown(case), shown(&CASES[0]), "{}", case.name);
            assert!(CASES[..at].iter().all(|other| other.name != case.name));
            assert!(std::ptr::eq(Case::named(case.name).unwrap(), case));
        }
    }

    #[test]
    fn the_cost_is_that_of_a_scraped_sample() {
        let measured = Measured {
            agent: "collector".to_owned(),
            seconds: 10.0,
            scrapes: 100,
            expected_scrapes: 100,
            samples: 300_000,
            samples_per_scrape: 3000.0,
            cpu_seconds: 0.03,
            cpu_us_per_sample: 0.1,
            rss_bytes: 1,
            rss_bytes_per_series: 1.0,
            peak_rss_bytes: 1,
            wire_bytes_per_sample: 16.0,
            samples_per_request: 2000.0,
        };
        let one = |name, endpoints, cpu| Outcome {
            case: Case::named(name).unwrap(),
            measured: Measured { cpu_us_per_sample: cpu, ..measured.clone() },
            endpoints,
        };
        let text = cases_table(&[one("plain", 1, 0.2), one("endpoints", 3, 0.1)]);
        let last = text.lines().last().unwrap();
        assert!(last.contains("0.300") && last.contains("1.50") && last.ends_with("1000.0"), "{text}");
    }
}
