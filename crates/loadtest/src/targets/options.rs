//! What synthetic targets can be told to be like, and which of that makes no sense.

use std::net::SocketAddr;
use std::time::Duration;

/// Most targets of one server; each costs about 100 bytes and its log.
const MAX_TARGETS: usize = 1_000_000;
/// Most series of one target.
const MAX_SERIES: usize = 2_000_000;
/// Most sizes of a mix; each has texts of its own.
const MAX_SIZES: usize = 64;

/// Series that end and begin anew under another label value, as pods do that are replaced.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// Which share of the series, 0 to 1.
    pub fraction: f64,
    /// How often they change.
    pub every: Duration,
    /// Which share of the targets has such series, 0 to 1; rounded up to whole groups.
    pub targets: f64,
}

/// A share of the targets and how many series each of them has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Which share of the targets, 0 to 1; the shares of a mix add up to 1.
    pub share: f64,
    /// Series of each, `probe_seq` included.
    pub series: usize,
}

/// What the targets are like.
#[derive(Clone, Debug)]
pub struct TargetOptions {
    /// How many there are.
    pub targets: usize,
    /// Series of each, `probe_seq` included, where `mix` says nothing.
    pub series: usize,
    /// Shares of the targets that have other sizes; empty for all of one size.
    pub mix: Vec<Size>,
    /// How often values move; scrapes within one tick see the same values. Best the scrape interval.
    pub tick: Duration,
    /// How many different sets of values there are at a time, for each size; rendering costs this many texts a tick.
    pub groups: usize,
    /// Listeners over which the targets are spread.
    pub listeners: usize,
    /// Series that change identity.
    pub churn: Option<Churn>,
    /// Whether lines change places within their family from tick to tick.
    pub shuffle: bool,
    /// Bytes of labels that each series gets besides its own, as pods have them; 0 for none.
    pub more_label_bytes: usize,
    /// Wait before each answer.
    pub latency: Duration,
    /// Share of scrapes, 0 to 1, that are answered with 503 and not counted in `probe_seq`.
    pub failure_rate: f64,
    /// Scrapes that each target's log keeps; 0 keeps none.
    pub log_per_target: usize,
    /// Chooses values and failures.
    pub seed: u64,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            targets: 60,
            series: 500,
            mix: Vec::new(),
            tick: Duration::from_secs(1),
            groups: 8,
            listeners: 1,
            churn: None,
            shuffle: false,
            more_label_bytes: 0,
            latency: Duration::ZERO,
            failure_rate: 0.0,
            log_per_target: 4096,
            seed: 1,
        }
    }
}

/// Why targets could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TargetsError {
    /// An option is out of its range.
    #[error("synthetic targets: {option} is {value}, but must be {range}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// No listener could be opened.
    #[error("synthetic targets: can't listen at {address}: {source}; give an address of this machine with a port that is free")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
}

/// Whether everything is within its range.
pub(crate) fn check(options: &TargetOptions) -> Result<(), TargetsError> {
    let share = |f: f64| (0.0..=1.0).contains(&f);
    let wrong = |option, value: String, range| Err(TargetsError::Option { option, value, range });
    let mix = || options.mix.iter().map(|s| format!("{}:{}", s.share, s.series)).collect::<Vec<_>>().join(",");
    match options {
        o if !(1..=MAX_TARGETS).contains(&o.targets) => wrong("targets", o.targets.to_string(), "1 to 1000000"),
        o if !(1..=MAX_SERIES).contains(&o.series) => wrong("series", o.series.to_string(), "1 to 2000000"),
        o if o.mix.iter().any(|s| !(1..=MAX_SERIES).contains(&s.series)) => wrong("series in the mix", mix(), "1 to 2000000"),
        o if o.mix.iter().any(|s| !share(s.share)) || o.mix.len() > MAX_SIZES => wrong("mix", mix(), "at most 64 shares of 0 to 1"),
        o if !o.mix.is_empty() && (o.mix.iter().map(|s| s.share).sum::<f64>() - 1.0).abs() > 0.001 => {
            wrong("the sum of the mix's shares", mix(), "1, or 100 %")
        }
        o if o.tick.is_zero() => wrong("tick", "0".to_owned(), "above 0"),
        o if !(1..=1024).contains(&o.groups) => wrong("groups", o.groups.to_string(), "1 to 1024"),
        o if !(1..=256).contains(&o.listeners) => wrong("listeners", o.listeners.to_string(), "1 to 256"),
        o if !share(o.failure_rate) => wrong("failure rate", o.failure_rate.to_string(), "0 to 1"),
        o if o.churn.is_some_and(|c| !share(c.fraction) || !share(c.targets) || c.every.is_zero()) => {
            wrong("churn", format!("{:?}", o.churn), "fractions of 0 to 1 and a period above 0")
        }
        o if o.more_label_bytes > 4096 => wrong("more label bytes", o.more_label_bytes.to_string(), "0 to 4096"),
        _ => Ok(()),
    }
}
