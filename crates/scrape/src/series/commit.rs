//! The end of a good scrape: columns become batches, and where series came or went, the layout gets the chunks it needs.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Batch, Details, LayoutBuilder, SeriesRef, stale::STALE_NAN};

use super::columns::{Columns, Extra};
use super::details;
use super::exemplars::{self, Memory};
use super::fresh;
use super::index::Elsewhere;
use super::layouts::{self, Finder};
use super::plan::Plan;
use super::session::Scraped;
use super::state::{NO_STAMP, Rows};
use super::visit::Visit;

/// Takes over what a scrape brought.
pub(super) fn commit(mut visit: Visit<'_>) -> Scraped {
    let mut stale = LayoutBuilder::default();
    let mut scraped = Scraped::default();
    visit.columns.fresh.finish();
    let settled = if visit.columns.fresh.is_empty() { Vec::new() } else { visit.reconcile() };
    let added = settled.iter().filter(|settled| !**settled).count();
    visit.retell();
    let extras = visit.extras();
    let same = visit.seen == visit.rows && added == 0;
    if same {
        visit.columns.values.truncate(visit.rows);
        visit.columns.stamps.truncate(visit.rows);
        visit.target.elsewhere.end();
        visit.target.rows.unchanged();
        visit.target.runs.learn(&mut visit.columns.runs);
    } else {
        visit.mark_vanished(&mut stale);
        let plan = Plan::new(&visit, &settled);
        visit.apply(plan);
    }
    visit.settle_inheritance(&mut stale);
    let (details, zeros) = visit.details();
    let main = visit.main_batch().with_details(details);
    visit.remember_stamps();
    (visit.target.alive, visit.target.last_time) = (true, visit.timestamp);
    let main = (!main.is_empty()).then_some(main);
    scraped.batches.extend([zeros, main, extras].into_iter().flatten());
    let stale = stale.finish();
    if !stale.is_empty() {
        let values: Arc<[f64]> = std::iter::repeat_n(STALE_NAN, stale.len()).collect();
        scraped.batches.push(Batch::new(visit.target.source, Arc::new(stale), visit.timestamp, values));
    }
    (scraped.counts, scraped.dropped) = (visit.counts, visit.dropped);
    scraped.counts.added = added;
    scraped
}

impl Visit<'_> {
    /// A series of the layout or a new one, by its number in the columns.
    pub(super) fn series<'a>(&'a self, finder: &Finder<'a>, row: u32) -> SeriesRef<'a> {
        match (row as usize).checked_sub(self.rows) {
            Some(number) => self.columns.fresh.series(number as u32),
            None => finder.series(row as usize),
        }
    }

    /// Known series of whose families something else was told: their chunks are replaced.
    fn retell(&mut self) {
        let changed = &mut self.columns.families.changed;
        if changed.is_empty() {
            return;
        }
        // Stable: what was told last of a row stands first, and stays.
        changed.reverse();
        changed.sort_by_key(|(row, _)| *row);
        changed.dedup_by_key(|(row, _)| *row);
        self.target.layout = Arc::new(layouts::retold(&self.target.layout, changed));
        // Runs that said something else must not be recognised any more.
        self.target.runs.clear();
    }

    /// Rows whose series didn't come. Each gets a marker, unless it has had one or must have none.
    fn mark_vanished(&self, stale: &mut LayoutBuilder) {
        if !self.target.alive {
            return;
        }
        let mut row = 0;
        for chunk in self.target.layout.chunks() {
            for at in 0..chunk.len() {
                if !self.columns.is_seen(row) && self.target.is_tracked(row) {
                    layouts::push(stale, chunk.series(at));
                }
                row += 1;
            }
        }
    }

    /// Makes the planned layout the target's, and puts the columns into its order.
    fn apply(&mut self, plan: Plan) {
        let (known, fresh) = (&self.target.rows, &self.columns.fresh);
        let mut rows = Rows::with_capacity(plan.order.len());
        for from in &plan.order {
            match (*from as usize).checked_sub(self.rows) {
                Some(number) => rows.push(fresh.texts[number], fresh.lens[number]),
                None => rows.push(known.texts[*from as usize], known.lens[*from as usize]),
            }
        }
        if let Some(ids) = &known.ids {
            let id = |from: &u32| (*from as usize).checked_sub(self.rows).map_or_else(|| ids[*from as usize], |number| fresh.ids[number]);
            rows.ids = Some(plan.order.iter().map(id).collect());
        }
        let columns = &mut *self.columns;
        columns.values = plan.order.iter().map(|from| columns.values[*from as usize]).collect();
        if !columns.stamps.is_empty() {
            columns.stamps = plan.order.iter().map(|from| columns.stamps.get(*from as usize).copied().unwrap_or(NO_STAMP)).collect();
        }
        let memory = &mut self.target.exemplars;
        if !(columns.omitted.is_empty() && columns.extras.is_empty() && columns.details.is_empty() && memory.is_none()) {
            let at: HashMap<u32, u32> = plan.order.iter().enumerate().map(|(at, from)| (*from, at as u32)).collect();
            columns.omitted = columns.omitted.iter().filter_map(|from| at.get(from).copied()).collect();
            columns.extras.retain_mut(|extra| at.get(&extra.row).map(|row| extra.row = *row).is_some());
            columns.details.renumber(|row| at.get(&row).copied());
            // Series that vanished have no exemplars to come.
            let kept = memory.take().map(|memory| memory.iter().filter_map(|(row, latest)| Some((*at.get(row)?, *latest))).collect());
            *memory = kept.filter(|kept: &Memory| !kept.is_empty()).map(Box::new);
        }
        self.follow_runs(&plan.order);
        self.rows = plan.order.len();
        self.target.layout = Arc::new(plan.layout);
        self.target.rows = rows;
        self.target.elsewhere = Elsewhere::default();
        self.target.aliases = None;
    }

    /// Takes the runs of comments along to the new order of the rows.
    fn follow_runs(&mut self, order: &[u32]) {
        let Self { target, columns, rows, .. } = self;
        if target.rules.wants_families() {
            // Where runs stand for what is known of a row, they must stand before that row.
            target.runs.clear();
            return;
        }
        target.runs.learn(&mut columns.runs);
        let place = |row: usize| match (order[row] as usize).checked_sub(*rows) {
            Some(number) => columns.fresh.before[number],
            None => order[row],
        };
        target.runs.renumber(order.len(), place);
    }

    /// Inherited series that the scrape didn't bring.
    fn settle_inheritance(&mut self, stale: &mut LayoutBuilder) {
        let Some(inherited) = self.target.inherited.take() else { return };
        let mut by_id: HashMap<u32, Vec<SeriesRef<'_>>> = HashMap::with_capacity(self.rows);
        for series in self.target.layout.iter() {
            by_id.entry(fresh::id(series.iter())).or_default().push(series);
        }
        for series in inherited.iter() {
            let same_id = by_id.get(&fresh::id(series.iter()));
            if !same_id.is_some_and(|all| all.iter().any(|other| other.iter().eq(series.iter()))) {
                layouts::push(stale, series);
            }
        }
    }

    /// What rows have beside their values, and the batch of zero samples at the start times that are news.
    fn details(&mut self) -> (Details, Option<Batch>) {
        let Self { target, columns, timestamp, .. } = self;
        columns.omitted.sort_unstable();
        let Columns { details, omitted, stamps, .. } = &mut **columns;
        if details.is_empty() {
            return (Details::default(), None);
        }
        let rank = |row: u32| omitted.binary_search(&row).err().map(|before| row - before as u32);
        details.renumber(|row| rank(row).map(|_| row));
        details.sort();
        let time_of = |row: u32| stamps.get(row as usize).copied().filter(|stamp| *stamp != NO_STAMP).unwrap_or(*timestamp);
        if !details.exemplars.is_empty() {
            let sorted = exemplars::sort_out(target.exemplars.get_or_insert_default(), std::mem::take(&mut details.exemplars), time_of);
            (details.exemplars, self.dropped.exemplars_out_of_order) = (sorted.new, sorted.out_of_order);
        }
        let zeros = if target.rules.start_zeros {
            let last = |row: u32| target.stamps.as_ref().and_then(|stamps| stamps.get(row as usize)).copied().unwrap_or(NO_STAMP);
            let is_news = |(row, start): &&(u32, i64)| *start < time_of(*row) && *start > last(*row).max(target.last_time);
            let starts: Vec<(u32, i64)> = details.created.iter().filter(is_news).copied().collect();
            details::zeros(target.source, &target.layout, &starts, details, *timestamp)
        } else {
            None
        };
        details.renumber(rank);
        (details.take(), zeros)
    }

    fn main_batch(&mut self) -> Batch {
        let columns = &mut *self.columns;
        let layout = layouts::without(&self.target.layout, &columns.omitted);
        let kept = |row: usize| columns.omitted.binary_search(&(row as u32)).is_err();
        let values: Arc<[f64]> = if columns.omitted.is_empty() {
            Arc::from(columns.values.as_slice())
        } else {
            columns.values.iter().enumerate().filter(|(row, _)| kept(*row)).map(|(_, value)| *value).collect()
        };
        let mut batch = Batch::new(self.target.source, layout, self.timestamp, values);
        if !columns.stamps.is_empty() {
            columns.stamps.resize(self.rows, NO_STAMP);
            let own = |stamp: i64| if stamp == NO_STAMP { self.timestamp } else { stamp };
            let stamps = columns.stamps.iter().enumerate().filter(|(row, _)| kept(*row)).map(|(_, stamp)| own(*stamp));
            batch.timestamps = Some(stamps.collect());
        }
        batch
    }

    /// Keeps the last timestamps that the target gave, for the next scrape to compare.
    fn remember_stamps(&mut self) {
        let columns = &mut *self.columns;
        for extra in &columns.extras {
            if let Some(last) = columns.stamps.get_mut(extra.row as usize).filter(|last| **last != NO_STAMP) {
                *last = extra.stamp;
            }
        }
        let given = columns.stamps.iter().any(|stamp| *stamp != NO_STAMP);
        self.target.stamps = given.then(|| columns.stamps.as_slice().into());
    }

    /// Further samples of series, in the body's order: one batch in which a series may come more than once.
    fn extras(&mut self) -> Option<Batch> {
        if self.columns.extras.is_empty() {
            return None;
        }
        let mut extras = std::mem::take(&mut self.columns.extras);
        let (mut builder, finder) = (LayoutBuilder::default(), Finder::new(&self.target.layout));
        extras.iter().for_each(|extra| layouts::push(&mut builder, self.series(&finder, extra.row)));
        let values: Arc<[f64]> = extras.iter().map(|extra| extra.value).collect();
        let mut batch = Batch::new(self.target.source, Arc::new(builder.finish()), self.timestamp, values);
        batch.timestamps = Some(extras.iter().map(|extra| extra.stamp).collect());
        let histogram = |(at, extra): (usize, &mut Extra)| Some((at as u32, *extra.histogram.take()?));
        let histograms = extras.iter_mut().enumerate().filter_map(histogram).collect();
        self.columns.extras = extras;
        Some(batch.with_details(Details { histograms, ..Details::default() }))
    }
}
