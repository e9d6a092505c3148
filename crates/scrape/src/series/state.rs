//! What stays of a target from scrape to scrape.

use std::sync::Arc;

use exposition::ClassicHistograms;
use hashbrown::HashMap;
use model::{Batch, Labels, Layout, stale::STALE_NAN};

use super::comments::Runs;
use super::exemplars::Memory;
use super::format::Format;
use super::fresh;
use super::index::Elsewhere;
use super::layouts;
use super::rules::Rules;
use super::session::{Scratch, Session};

/// The last timestamp of a series that had none of its own.
pub(super) const NO_STAMP: i64 = i64::MIN;

/// The rows of a layout as they are recognised: one entry per series in each column.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Hashes of the texts.
    pub(super) texts: Vec<u64>,
    /// Lengths of the texts; 0 if longer than 65 535 bytes or of several lines.
    pub(super) lens: Vec<u16>,
    /// Hashes of the labels, see [`super::fresh::id`]. Only while series come and go: most targets need them once.
    pub(super) ids: Option<Vec<u32>>,
    /// Scrapes in a row that did not need them.
    idle: u8,
}

/// Scrapes without a change after which hashes of labels are let go.
const MAX_IDLE: u8 = 8;

impl Rows {
    pub(super) fn with_capacity(rows: usize) -> Self {
        Self { texts: Vec::with_capacity(rows), lens: Vec::with_capacity(rows), ids: None, idle: 0 }
    }

    pub(super) fn push(&mut self, text: u64, len: u16) {
        self.texts.push(text);
        self.lens.push(len);
    }

    /// Sees to the hashes of the labels. `layout` is the rows' own.
    pub(super) fn need_ids(&mut self, layout: &Layout) {
        self.idle = 0;
        if self.ids.is_none() && !self.texts.is_empty() {
            let mut ids = Vec::with_capacity(self.texts.len());
            ids.extend(layout.iter().map(|series| fresh::id(series.iter())));
            self.ids = Some(ids);
        }
    }

    /// Notes a scrape that brought no change.
    pub(super) fn unchanged(&mut self) {
        self.idle = self.idle.saturating_add(1);
        if self.idle > MAX_IDLE {
            self.ids = None;
        }
    }
}

/// The series of one target, as its last successful scrape left them.
pub struct TargetSeries {
    pub(super) source: u64,
    pub(super) rules: Arc<Rules>,
    /// The target's labels that go to every series.
    pub(super) labels: Labels,
    pub(super) layout: Arc<Layout>,
    pub(super) rows: Rows,
    /// Per row the last timestamp that the target gave, or [`NO_STAMP`]; only if any series has one.
    pub(super) stamps: Option<Box<[i64]>>,
    /// The format of the last body.
    pub(super) format: Format,
    pub(super) elsewhere: Elsewhere,
    /// Other texts of series that a row already stands for, by hash. Only valid with the layout they were found with.
    pub(super) aliases: Option<Box<HashMap<u64, u32>>>,
    pub(super) runs: Runs,
    /// What is remembered of classic histograms; only where they are converted outside of their parser.
    pub(super) classic: Option<Box<ClassicHistograms>>,
    /// The series have samples that no staleness marker has ended yet.
    pub(super) alive: bool,
    /// The latest exemplars; only if any series has one.
    pub(super) exemplars: Option<Box<Memory>>,
    /// The time of the latest samples or staleness markers that did not have their own, here or where the series were inherited from.
    pub(super) last_time: i64,
    /// Series that somebody else scraped before, or this target under other rules: what of them doesn't come again gets a marker.
    pub(super) inherited: Option<Arc<Layout>>,
}

impl TargetSeries {
    /// A target that has not been scraped. `source` is the routing key of its batches, `labels` are those of every series (`job`,
    /// `instance` and the like, without names that begin with `__`).
    #[must_use]
    pub fn new(source: u64, labels: Labels, rules: Arc<Rules>) -> Self {
        Self {
            source,
            rules,
            labels,
            layout: Arc::default(),
            rows: Rows::default(),
            stamps: None,
            format: Format::default(),
            elsewhere: Elsewhere::default(),
            aliases: None,
            runs: Runs::default(),
            classic: None,
            alive: false,
            exemplars: None,
            last_time: i64::MIN,
            inherited: None,
        }
    }

    /// Takes other rules, which may differ from the last ones only in limits.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Takes over series that were scraped elsewhere up to `last_time`: those that the next scrape doesn't bring get staleness markers.
    pub fn inherit(&mut self, layout: Arc<Layout>, last_time: i64) {
        self.last_time = self.last_time.max(last_time);
        self.inherited = if layout.is_empty() { None } else { Some(layout) };
    }

    /// Begins a scrape whose samples are of `timestamp` (milliseconds since the epoch) unless they have their own, and whose body comes
    /// in `format`.
    pub fn begin<'a>(&'a mut self, timestamp: i64, format: Format, scratch: &'a mut Scratch) -> Session<'a> {
        self.elsewhere.begin();
        if std::mem::replace(&mut self.format, format) != format {
            self.forget_texts();
        }
        if self.rules.histograms.convert_classic && format != Format::Protobuf {
            self.classic.get_or_insert_default().begin();
        } else {
            self.classic = None;
        }
        Session::new(self, timestamp, format, scratch)
    }

    /// Forgets how series are written: in another format the same text may be wrong, or another series. The series stay known by their
    /// labels.
    fn forget_texts(&mut self) {
        let rows = &mut self.rows;
        // Different numbers, as they may go into an index.
        (0..).zip(&mut rows.texts).for_each(|(row, text)| *text = row);
        rows.lens.fill(0);
        self.elsewhere = Elsewhere::default();
        (self.aliases, self.classic) = (None, None);
        self.runs.clear();
    }

    /// Notes that a scrape failed, or that there will be no other: staleness markers for all series that have none yet.
    /// The series stay known, so that they are not new when they come again.
    pub fn end(&mut self, timestamp: i64) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut mark = |layout: Arc<Layout>| {
            if !layout.is_empty() {
                let values: Arc<[f64]> = std::iter::repeat_n(STALE_NAN, layout.len()).collect();
                batches.push(Batch::new(self.source, layout, timestamp, values));
            }
        };
        if self.alive {
            mark(self.tracked());
        }
        if let Some(inherited) = self.inherited.take() {
            mark(inherited);
        }
        (self.alive, self.last_time) = (false, self.last_time.max(timestamp));
        batches
    }

    /// The series that have samples and no staleness marker yet: what someone who takes the target over has to know to end them.
    #[must_use]
    pub fn live(&self) -> Arc<Layout> {
        match &self.inherited {
            Some(inherited) if !self.alive => inherited.clone(),
            // Nobody inherits and then scrapes without settling the inheritance.
            _ if self.alive => self.tracked(),
            _ => Arc::default(),
        }
    }

    /// The layout of the last successful scrape.
    #[must_use]
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The rules that series are taken by.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Bytes of heap that the state holds beside the layout.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let rows = &self.rows;
        8 * rows.texts.capacity()
            + 2 * rows.lens.capacity()
            + rows.ids.as_ref().map_or(0, |ids| 4 * ids.capacity())
            + self.stamps.as_ref().map_or(0, |stamps| 8 * stamps.len())
            + self.elsewhere.heap_bytes()
            + self.aliases.as_ref().map_or(0, |aliases| aliases.allocation_size())
            + self.exemplars.as_ref().map_or(0, |memory| memory.allocation_size())
            + self.classic.as_ref().map_or(0, |classic| size_of::<ClassicHistograms>() + classic.heap_bytes())
            + self.runs.heap_bytes()
    }

    /// Whether a row gets a staleness marker when its series ends.
    pub(super) fn is_tracked(&self, row: usize) -> bool {
        self.rules.track_timestamps_staleness || self.stamps.as_ref().is_none_or(|stamps| stamps[row] == NO_STAMP)
    }

    fn tracked(&self) -> Arc<Layout> {
        let untracked: Vec<u32> = (0..self.rows.texts.len() as u32).filter(|row| !self.is_tracked(*row as usize)).collect();
        layouts::without(&self.layout, &untracked)
    }
}

impl std::fmt::Debug for TargetSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetSeries")
            .field("labels", &self.labels)
            .field("series", &self.layout.len())
            .field("alive", &self.alive)
            .finish()
    }
}
