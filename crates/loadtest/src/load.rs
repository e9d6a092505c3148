//! The load that a run is given: how many targets of which sizes, scraped how often, and how they behave. One set of options for every
//! program of this crate and for the section `targets` of a scenario; what is not said is taken from the run's own basis.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Deserializer};

use crate::clock::parse_duration;
use crate::targets::{Churn, Size, TargetOptions};

/// How often churning series change where nothing else is said.
const CHURN_EVERY: Duration = Duration::from_secs(600);

/// The load, as far as it was given. Each program says in its help what it takes for the rest.
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// Synthetic targets
    #[arg(long, value_name = "COUNT")]
    #[serde(rename = "count")]
    pub targets: Option<usize>,
    /// Series of each target
    #[arg(long, value_name = "COUNT", conflicts_with = "mix")]
    pub series: Option<usize>,
    /// Targets of several sizes, as shares and their series: 90%:500,9%:5000,1%:100000
    #[arg(long, value_name = "SHARE:SERIES,…")]
    #[serde(deserialize_with = "from_text")]
    pub mix: Option<Mix>,
    /// How often each target is scraped
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub interval: Option<Duration>,
    /// Share of the series that get a new identity from time to time, as when pods are replaced: 5%
    #[arg(long, value_name = "SHARE")]
    #[serde(deserialize_with = "from_text")]
    pub churn: Option<Share>,
    /// How often they do [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub churn_every: Option<Duration>,
    /// Let lines change places from scrape to scrape
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub shuffle: Option<bool>,
    /// Bytes of labels that each series gets besides its own, as pods have them
    #[arg(long, value_name = "BYTES")]
    pub label_bytes: Option<usize>,
    /// How long each target takes to answer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "duration")]
    pub latency: Option<Duration>,
    /// Share of the scrapes that are answered with 503: 1%
    #[arg(long, value_name = "SHARE")]
    #[serde(deserialize_with = "from_text")]
    pub failure_rate: Option<Share>,
    /// Chooses values, failures, and who is meant by `any` in a scenario
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// What a run takes where its load says nothing.
#[derive(Clone, Copy, Debug)]
pub struct Basis {
    /// Targets.
    pub targets: usize,
    /// Series of each.
    pub series: usize,
    /// How often each is scraped.
    pub interval: Duration,
}

impl Load {
    /// This load, and where it says nothing, the other.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let sized = self.series.is_some() || self.mix.is_some();
        let (series, mix) = if sized { (self.series, self.mix.clone()) } else { (below.series, below.mix.clone()) };
        Self {
            targets: self.targets.or(below.targets),
            series,
            mix,
            interval: self.interval.or(below.interval),
            churn: self.churn.or(below.churn),
            churn_every: self.churn_every.or(below.churn_every),
            shuffle: self.shuffle.or(below.shuffle),
            label_bytes: self.label_bytes.or(below.label_bytes),
            latency: self.latency.or(below.latency),
            failure_rate: self.failure_rate.or(below.failure_rate),
            seed: self.seed.or(below.seed),
        }
    }

    /// How often each target is scraped.
    #[must_use]
    pub fn interval(&self, basis: Basis) -> Duration {
        self.interval.unwrap_or(basis.interval)
    }

    /// The targets of this load; values move once an interval, and no log is kept.
    #[must_use]
    pub fn targets(&self, basis: Basis) -> TargetOptions {
        let usual = TargetOptions::default();
        let every = self.churn_every.unwrap_or(CHURN_EVERY);
        TargetOptions {
            targets: self.targets.unwrap_or(basis.targets),
            series: self.series.unwrap_or(basis.series),
            mix: self.mix.clone().unwrap_or_default().0,
            tick: self.interval(basis),
            churn: self.churn.map(|share| Churn { fraction: share.0, every, targets: 1.0 }),
            shuffle: self.shuffle.unwrap_or_default(),
            more_label_bytes: self.label_bytes.unwrap_or_default(),
            latency: self.latency.unwrap_or_default(),
            failure_rate: self.failure_rate.map_or(0.0, |share| share.0),
            log_per_target: 0,
            seed: self.seed.unwrap_or(usual.seed),
            ..usual
        }
    }
}

/// A share, 0 to 1; people write `5%` or `0.05`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub f64);

/// What a share must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a share: write 0% to 100%, or a number from 0 to 1")]
pub struct BadShare(String);

impl FromStr for Share {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let bad = || BadShare(text.to_owned());
        let (number, whole) = text.trim().strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        let share = number.trim().parse::<f64>().map_err(|_| bad())? / whole;
        Some(Self(share)).filter(|s| (0.0..=1.0).contains(&s.0)).ok_or_else(bad)
    }
}

/// Shares of the targets and their sizes; people write `90%:500,10%:5000`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mix(pub Vec<Size>);

/// What a mix must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMix {
    /// One of its parts can't be read.
    #[error("{0:?} is no part of a mix: write shares of the targets with their series, such as 90%:500,9%:5000,1%:100000")]
    Part(String),
    /// Its shares are not the whole.
    #[error("the shares of the mix add up to {0} %, not to 100 %")]
    Sum(String),
}

impl FromStr for Mix {
    type Err = BadMix;

    fn from_str(text: &str) -> Result<Self, BadMix> {
        let size = |part: &str| {
            let (share, series) = part.split_once(':')?;
            Some(Size { share: share.parse::<Share>().ok()?.0, series: series.trim().parse().ok().filter(|s| *s > 0)? })
        };
        let part = |part: &str| size(part).ok_or_else(|| BadMix::Part(part.to_owned()));
        let sizes = text.split(',').map(part).collect::<Result<Vec<_>, _>>()?;
        let sum: f64 = sizes.iter().map(|s| s.share).sum();
        if (sum - 1.0).abs() > 0.001 {
            return Err(BadMix::Sum(format!("{:.1}", sum * 100.0)));
        }
        Ok(Self(sizes))
    }
}

/// Reads a value that people write as text.
pub(crate) fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Reads a duration, such as `500ms` or `1m30s`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text).map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIS: Basis = Basis { targets: 60, series: 500, interval: Duration::from_secs(2) };

    #[test]
    fn what_is_not_said_is_taken_from_below_and_then_from_the_basis() {
        let given = Load { series: Some(7), ..Load::default() };
        let file = Load { targets: Some(9), mix: Some("100%:5".parse().unwrap()), shuffle: Some(true), ..Load::default() };
        let load = given.over(&file);
        let targets = load.targets(BASIS);
        assert_eq!((targets.targets, targets.series, targets.mix.len(), targets.shuffle), (9, 7, 0, true), "the given size hides the mix");
        assert_eq!((load.interval(BASIS), targets.tick, targets.churn.is_none()), (BASIS.interval, BASIS.interval, true));
        assert_eq!(Load::default().over(&file).targets(BASIS).mix, [Size { share: 1.0, series: 5 }]);
    }

    #[test]
    fn churn_is_a_share_of_the_series_of_all_targets() {
        let load = Load { churn: Some("5%".parse().unwrap()), ..Load::default() };
        let churn = load.targets(BASIS).churn.unwrap();
        assert_eq!((churn.fraction, churn.every, churn.targets), (0.05, Duration::from_secs(600), 1.0));
    }

    #[test]
    fn shares_are_read_as_people_write_them() {
        assert_eq!(["5%", "0.05", " 100 %", "0"].map(|t| t.parse::<Share>().unwrap().0), [0.05, 0.05, 1.0, 0.0]);
        for text in ["", "%", "101%", "-1%", "NaN", "five"] {
            assert!(text.parse::<Share>().unwrap_err().to_string().contains("0% to 100%"), "{text}");
        }
    }

    #[test]
    fn a_mix_is_read_and_must_be_whole() {
        let mix: Mix = "90%:500,9%:5000,1%:100000".parse().unwrap();
        assert_eq!(mix.0.iter().map(|s| s.series).collect::<Vec<_>>(), [500, 5000, 100_000]);
        assert_eq!("90%:500".parse::<Mix>(), Err(BadMix::Sum("90.0".to_owned())));
        for part in ["", "500", "50%:0", "50%:x", "200%:5"] {
            assert_eq!(part.parse::<Mix>(), Err(BadMix::Part(part.to_owned())));
        }
    }
}
