//! What a target says about metric families while its body comes in: which family new series belong to, and which known series have to
//! hear something new about theirs.
//!
//! As in Prometheus, what was told last holds for the series that follow, as long as their names belong to that family
//! (`scrape/scrape.go`: `isSeriesPartOfFamily`). Comments that are recognised are not told again: what follows them is what it was, so
//! a steady target costs nothing here.

use std::ops::Range;
use std::sync::Arc;

use exposition::Entry;
use model::{Layout, Metadata, MetricType};

use super::format::Format;
use super::layouts::Cursor;

/// What holds for the series to come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Nothing was told yet.
    #[default]
    Nothing,
    /// What was told last in this body.
    Told,
    /// Comments were recognised: what is known of this row.
    Row(u32),
}

/// What was told in one scrape. The texts' memory is used again.
#[derive(Debug, Default)]
pub(super) struct Families {
    kept: bool,
    format: Format,
    source: Source,
    family: String,
    kind: MetricType,
    help: String,
    unit: String,
    /// The one shared value that says what was told last, once somebody needed it.
    shared: Option<Arc<Metadata>>,
    /// The first row behind what was told last that was not compared with it.
    since: usize,
    cursor: Cursor,
    /// Known series of whose families something new was told.
    pub(super) changed: Vec<(u32, Arc<Metadata>)>,
}

impl Families {
    /// Makes it ready for a body of a format. `kept`: series keep what is told of their families.
    pub(super) fn reset(&mut self, kept: bool, format: Format) {
        (self.kept, self.format) = (kept, format);
        (self.source, self.shared, self.since) = (Source::Nothing, None, 0);
        self.cursor.reset();
        self.changed.clear();
    }

    /// Takes a line about a family. `next` is the row that is expected after it.
    pub(super) fn tell(&mut self, entry: Entry<'_>, layout: &Layout, next: usize) {
        self.compare(layout, next);
        let (Entry::Help { family, .. } | Entry::Type { family, .. } | Entry::Unit { family, .. }) = entry;
        self.begin(family, layout);
        self.shared = None;
        match entry {
            Entry::Help { text, .. } => {
                self.help.clear();
                self.help.push_str(&self.format.unescape_help(text));
            }
            Entry::Type { kind, .. } => self.kind = kind,
            Entry::Unit { unit, .. } => {
                self.unit.clear();
                self.unit.push_str(unit);
            }
        }
    }

    /// Goes over to a family, unless it is the one that was told of last.
    fn begin(&mut self, family: &str, layout: &Layout) {
        let known = match self.source {
            Source::Row(row) => self.cursor.series(layout, row as usize).and_then(|series| series.metadata().cloned()),
            _ => None,
        };
        if let Some(known) = known.filter(|known| &*known.family == family) {
            (self.kind, self.help, self.unit) = (known.kind, known.help.to_string(), known.unit.to_string());
            self.family = family.to_owned();
        } else if self.source != Source::Told || self.family != family {
            self.kind = MetricType::Unknown;
            [&mut self.family, &mut self.help, &mut self.unit].into_iter().for_each(String::clear);
            self.family.push_str(family);
        }
        self.source = Source::Told;
    }

    /// Comments before `row` were recognised: of what follows is known what there is to say.
    pub(super) fn recognised(&mut self, layout: &Layout, row: usize) {
        self.compare(layout, row);
        self.source = Source::Row(row as u32);
    }

    /// The series that comes next is that of `row` instead of `next`.
    pub(super) fn jump(&mut self, layout: &Layout, next: usize, row: usize) {
        self.compare(layout, next);
        self.since = row;
    }

    /// A series has come that does not move the expected row, which is `next`.
    pub(super) fn stay(&mut self, next: usize) {
        self.since = self.since.min(next);
    }

    /// Compares the rows up to `next` with what was told before them.
    pub(super) fn compare(&mut self, layout: &Layout, next: usize) {
        let rows = std::mem::replace(&mut self.since, next)..next;
        if self.kept && self.source == Source::Told {
            self.compare_rows(layout, rows);
        }
    }

    fn compare_rows(&mut self, layout: &Layout, rows: Range<usize>) {
        for row in rows {
            let Some(series) = self.cursor.series(layout, row) else { return };
            let is_news = !series.metadata().is_some_and(|known| self.says_anew(known));
            if is_news && belongs(series.metric_name(), &self.family, self.kind) {
                let told = self.shared();
                self.changed.push((row as u32, told));
            }
        }
    }

    /// As [`Families::says`]. What was found to say the same is kept: the series behind it have the same one.
    fn says_anew(&mut self, known: &Arc<Metadata>) -> bool {
        if self.shared.as_ref().is_some_and(|shared| Arc::ptr_eq(shared, known)) {
            return true;
        }
        let same = self.says(known);
        if same {
            self.shared = Some(known.clone());
        }
        same
    }

    fn says(&self, known: &Metadata) -> bool {
        let Metadata { family, kind, help, unit } = known;
        *kind == self.kind && **family == *self.family && **unit == *self.unit && **help == *self.help
    }

    fn shared(&mut self) -> Arc<Metadata> {
        let Self { family, kind, help, unit, shared, .. } = self;
        let text = |text: &str| text.into();
        let told = || Metadata { family: text(family), kind: *kind, help: text(help), unit: text(unit) };
        shared.get_or_insert_with(|| told().shared()).clone()
    }

    /// Whether what holds is what is known of a row.
    pub(super) fn hold_of(&mut self, layout: &Layout, row: usize) -> bool {
        let known = self.cursor.series(layout, row).and_then(|series| series.metadata());
        match self.source {
            Source::Nothing => known.is_none(),
            Source::Told => known.is_some_and(|known| self.says(known)),
            Source::Row(_) => self.holding(layout).as_ref() == known,
        }
    }

    /// What is known of the family that a new series of this name belongs to, if anything was said of it.
    pub(super) fn of(&mut self, name: &str, layout: &Layout) -> Option<Arc<Metadata>> {
        self.holding(layout).filter(|metadata| belongs(name, &metadata.family, metadata.kind))
    }

    /// What holds for the series to come.
    fn holding(&mut self, layout: &Layout) -> Option<Arc<Metadata>> {
        match self.source {
            Source::Nothing => None,
            Source::Told => Some(self.shared()),
            Source::Row(row) => self.cursor.series(layout, row as usize)?.metadata().cloned(),
        }
    }

    /// The unit that was told last.
    pub(super) fn unit(&self) -> &str {
        if self.source == Source::Told { &self.unit } else { "" }
    }
}

/// Whether a series of this name belongs to a family (Prometheus: `isSeriesPartOfFamily`).
fn belongs(name: &str, family: &str, kind: MetricType) -> bool {
    let (suffixes, own): (&[&str], &str) = match kind {
        MetricType::Counter => (&["_total"], "_total"),
        MetricType::Histogram => (&["_bucket", "_sum", "_count"], ""),
        MetricType::GaugeHistogram => (&["_bucket", "_gsum", "_gcount"], ""),
        MetricType::Summary => (&["_sum", "_count"], ""),
        MetricType::Info => (&["_info"], "_info"),
        MetricType::Gauge | MetricType::StateSet | MetricType::Unknown => (&[], ""),
    };
    if !name.starts_with(family) {
        return false;
    }
    let stem = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    // Counters and infos may be declared with their suffixes.
    stem == family.strip_suffix(own).unwrap_or(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_belong_to_families_by_suffixes_of_the_type() {
        use MetricType::{Counter, Gauge, GaugeHistogram, Histogram, Info, StateSet, Summary, Unknown};
        let cases = [
            ("a", "a", Gauge, true),
            ("a", "a", Unknown, true),
            ("a_total", "a", Gauge, false),
            ("b", "a", Gauge, false),
            ("ab", "a", Unknown, false),
            ("a", "ab", Counter, false),
            ("a_total", "a", Counter, true),
            ("a_total", "a_total", Counter, true),
            ("a", "a", Counter, true),
            ("a_created", "a", Counter, false),
            ("h_bucket", "h", Histogram, true),
            ("h_sum", "h", Histogram, true),
            ("h_count", "h", Histogram, true),
            ("h", "h", Histogram, true),
            ("h_gsum", "h", Histogram, false),
            ("h_gsum", "h", GaugeHistogram, true),
            ("h_gcount", "h", GaugeHistogram, true),
            ("h_sum", "h", GaugeHistogram, false),
            ("s_sum", "s", Summary, true),
            ("s_bucket", "s", Summary, false),
            ("i_info", "i", Info, true),
            ("i_info", "i_info", Info, true),
            ("s", "s", StateSet, true),
        ];
        for (name, family, kind, expected) in cases {
            assert_eq!(belongs(name, family, kind), expected, "{name} of {family}, a {kind:?}");
        }
    }
}
