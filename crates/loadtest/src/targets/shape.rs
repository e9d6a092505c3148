//! The shape of a synthetic target: which series it exposes and how each one's value moves. Shared by all targets of a server; the text is
//! made in `render`.

use std::fmt::Write as _;

use super::catalogue::{COLLECTORS, CPU_MODES, FAMILIES, Template, UNIT_STATES};
use super::render::mix;

/// The type that `# TYPE` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// Over what a family's series differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    Host,
    Cpu,
    CpuMode,
    Disk,
    Network,
    Filesystem,
    Collector,
    Unit,
}

/// How a value moves from tick to tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Habit {
    /// Always the same.
    Constant(f64),
    /// 1 for the first state of each unit, 0 for the others.
    Active,
    /// Whole numbers, growing by this much a tick.
    Counter(u32),
    /// Seconds with two digits, growing.
    Seconds,
    /// Bytes in whole pages, going up and down.
    Bytes,
    /// Whole numbers around this one.
    Level(u32),
    /// Whole numbers below ten.
    Small,
    /// A load average with two digits.
    Load,
    /// A fraction of a second with nine digits.
    Duration,
    /// A wall clock with fractions.
    Clock,
}

/// One series: its labels as text, without braces.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) labels: String,
    pub(crate) habit: Habit,
    /// Whether it gets a new identity each churn period.
    pub(crate) churns: bool,
}

/// Series of a pod where a shape has labels of pods; cAdvisor writes a few more.
const SERIES_PER_POD: usize = 25;

/// A family with its series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) series: Vec<Series>,
}

/// All families of a target.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) families: Vec<Family>,
}

/// How many processors, disks, networks, file systems and units a shape has: grown in turn until the series suffice.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    cpus: usize,
    disks: usize,
    networks: usize,
    filesystems: usize,
    units: usize,
}

impl Sizes {
    fn of(self, dimension: Dimension) -> usize {
        match dimension {
            Dimension::Host => 1,
            Dimension::Cpu => self.cpus,
            Dimension::CpuMode => self.cpus * CPU_MODES.len(),
            Dimension::Disk => self.disks,
            Dimension::Network => self.networks,
            Dimension::Filesystem => self.filesystems,
            Dimension::Collector => COLLECTORS.len(),
            Dimension::Unit => self.units * UNIT_STATES.len(),
        }
    }

    fn series(self) -> usize {
        FAMILIES.iter().map(|(_, _, dimension, ..)| self.of(*dimension)).sum()
    }

    /// The smallest host with at least `series` series.
    fn for_series(series: usize) -> Self {
        let mut sizes = Self::default();
        for turn in 0.. {
            if sizes.series() >= series {
                break;
            }
            match turn % 5 {
                0 => sizes.cpus += 1,
                1 => sizes.networks += 1,
                2 => sizes.disks += 1,
                3 => sizes.filesystems += 1,
                // A host has many more units than disks.
                _ => sizes.units += 4,
            }
        }
        sizes
    }
}

impl Shape {
    /// A shape of exactly `series` series, of which the fraction `churn` (0 to 1) changes identity, spread evenly.
    pub(crate) fn new(series: usize, churn: f64) -> Self {
        let sizes = Sizes::for_series(series);
        let mut left = series;
        let mut spread = 0.0;
        let mut families = Vec::new();
        for template in FAMILIES {
            let count = sizes.of(template.2).min(left);
            left -= count;
            if count > 0 {
                families.push(family(template, count, churn, &mut spread));
            }
        }
        Self { families }
    }

    /// The same with labels of about `bytes` more on each series, as the kubelet writes them: each pod has the same ones on all of its
    /// series, which stand in many families.
    pub(crate) fn with_more_labels(mut self, bytes: usize) -> Self {
        const FRAME: usize = "namespace=\"\",pod=\"\",uid=\"\",".len();
        if bytes == 0 {
            return self;
        }
        let value = bytes.saturating_sub(FRAME);
        let random = |of: usize, len: usize| -> String {
            (0..).flat_map(|part| format!("{:016x}", mix(of as u64, part)).into_bytes()).map(char::from).take(len).collect()
        };
        let pods = self.series().div_ceil(SERIES_PER_POD);
        for (number, series) in self.families.iter_mut().flat_map(|family| &mut family.series).enumerate() {
            let pod = number % pods;
            // The name of a deployment, and the end that tells its pods apart.
            let (namespace, name, uid) = ("n".repeat(value / 4), "p".repeat(value / 4 - value / 8), random(pod, value / 2 + value / 8));
            let (end, uid) = uid.split_at(value / 8);
            let comma = if series.labels.is_empty() { "" } else { "," };
            let written = write!(series.labels, "{comma}namespace=\"{namespace}\",pod=\"{name}{end}\",uid=\"{uid}\"");
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        self
    }

    /// How many series it has.
    pub(crate) fn series(&self) -> usize {
        self.families.iter().map(|f| f.series.len()).sum()
    }
}

/// Expands a template into its first `count` series; `spread` carries the share of churning series from family to family.
fn family(template: &Template, count: usize, churn: f64, spread: &mut f64) -> Family {
    let (name, kind, dimension, habit, help) = *template;
    let series = (0..count).map(|index| {
        *spread += churn;
        let churns = *spread >= 1.0;
        if churns {
            *spread -= 1.0;
        }
        Series { labels: labels(dimension, index), habit, churns }
    });
    Family { name, help, kind, series: series.collect() }
}

/// The labels of the `index`-th series in a dimension, names in order.
fn labels(dimension: Dimension, index: usize) -> String {
    let mut text = String::new();
    let written = match dimension {
        Dimension::Host => Ok(()),
        Dimension::Cpu => write!(text, "cpu=\"{index}\""),
        Dimension::CpuMode => {
            let (cpu, mode) = (index / CPU_MODES.len(), CPU_MODES[index % CPU_MODES.len()]);
            write!(text, "cpu=\"{cpu}\",mode=\"{mode}\"")
        }
        Dimension::Disk => write!(text, "device=\"nvme{index}n1\""),
        // Names as container hosts have them: they bring the text to the length of the reference corpus.
        Dimension::Network => write!(text, "device=\"veth{:08x}\"", mix(index as u64, 1) >> 32),
        Dimension::Filesystem => {
            let volume = mix(index as u64, 2) >> 32;
            write!(text, "device=\"/dev/mapper/vg0-{volume:08x}\",fstype=\"ext4\",mountpoint=\"/var/lib/volumes/{volume:08x}\"")
        }
        Dimension::Unit => {
            let (unit, state) = (mix((index / UNIT_STATES.len()) as u64, 3) >> 32, UNIT_STATES[index % UNIT_STATES.len()]);
            write!(text, "name=\"worker-{unit:08x}.service\",state=\"{state}\",type=\"simple\"")
        }
        Dimension::Collector => write!(text, "collector=\"{}\"", COLLECTORS[index % COLLECTORS.len()]),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_shape_has_exactly_the_series_that_were_asked_for_and_each_once() {
        for wanted in [0, 1, 7, 100, 499, 1000, 5003] {
            let shape = Shape::new(wanted, 0.0);
            assert_eq!(shape.series(), wanted);
            let names: HashSet<_> = shape.families.iter().flat_map(|f| f.series.iter().map(|s| (f.name, s.labels.clone()))).collect();
            assert_eq!(names.len(), wanted, "no series twice");
        }
    }

    #[test]
    fn about_half_of_the_series_are_constant_as_on_a_real_host() {
        let shape = Shape::new(1000, 0.0);
        let constant =
            shape.families.iter().flat_map(|f| &f.series).filter(|s| matches!(s.habit, Habit::Constant(_) | Habit::Active)).count();
        assert!((400..=600).contains(&constant), "{constant} of 1000 constant");
    }

    #[test]
    fn more_labels_are_as_long_as_wanted() {
        let long = Shape::new(100, 0.0).with_more_labels(150);
        let plain = Shape::new(100, 0.0);
        let lengths = |shape: &Shape| shape.families.iter().flat_map(|f| &f.series).map(|s| s.labels.len()).sum::<usize>();
        let more = (lengths(&long) - lengths(&plain)) / 100;
        assert!((140..=150).contains(&more), "{more}");
        let uids: HashSet<&str> = long.families.iter().flat_map(|f| &f.series).filter_map(|s| s.labels.split("uid=").nth(1)).collect();
        assert_eq!(uids.len(), 4, "one for each pod");
    }

    #[test]
    fn churn_is_spread_over_the_families() {
        let shape = Shape::new(1000, 0.1);
        let churning = shape.families.iter().flat_map(|f| &f.series).filter(|s| s.churns).count();
        assert!((99..=100).contains(&churning), "{churning} of 1000 churn");
        assert!(shape.families.iter().filter(|f| f.series.iter().any(|s| s.churns)).count() > 20, "spread, not in one block");
    }
}
