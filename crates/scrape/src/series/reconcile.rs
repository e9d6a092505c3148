//! Finds series that came under a new text but with labels that are known: the same series written in another way.

use hashbrown::hash_table::Entry;
use hashbrown::{HashMap, HashTable};
use model::Chunk;

use super::columns::UNSEEN;
use super::fresh::Fresh;
use super::index::Elsewhere;
use super::state::NO_STAMP;
use super::visit::Visit;

/// New series by their labels: of several with the same ones the first.
struct ByLabels<'a> {
    fresh: &'a Fresh,
    numbers: HashTable<u32>,
    filter: u64,
}

impl<'a> ByLabels<'a> {
    fn new(fresh: &'a Fresh) -> Self {
        Self { fresh, numbers: HashTable::with_capacity(fresh.len()), filter: 0 }
    }

    /// Adds a series, unless there is one with its labels already: that one's number.
    fn add(&mut self, number: u32) -> Option<u32> {
        let Self { fresh, numbers, filter } = self;
        let (id, labels) = (fresh.ids[number as usize], fresh.series(number));
        *filter |= 1 << (id % 64);
        let same = |other: &u32| fresh.ids[*other as usize] == id && fresh.series(*other).iter().eq(labels.iter());
        match numbers.entry(spread(id), same, |other| spread(fresh.ids[*other as usize])) {
            Entry::Occupied(first) => Some(*first.get()),
            Entry::Vacant(place) => {
                place.insert(number);
                None
            }
        }
    }

    /// The series with the labels of a chunk's row, whose hash this is.
    fn find(&self, id: u32, chunk: &Chunk, row: usize) -> Option<u32> {
        let Self { fresh, numbers, filter } = self;
        // One bit for each of 64 groups of hashes: next to a few new series most rows need no look-up.
        if filter & (1 << (id % 64)) == 0 {
            return None;
        }
        let labels = chunk.series(row);
        let same = |number: &u32| fresh.ids[*number as usize] == id && fresh.series(*number).iter().eq(labels.iter());
        numbers.find(spread(id), same).copied()
    }
}

/// A table looks at the highest bits first, which ids don't have.
fn spread(id: u32) -> u64 {
    u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Numbers of new series with the labels of others, and the rows of those.
struct SameLabels {
    /// With those of an earlier new series.
    seconds: Vec<(u32, u32)>,
    /// With those of a row of the layout.
    rows: Vec<(u32, u32)>,
}

/// Which new series are none.
struct Settled {
    /// By number.
    all: Vec<bool>,
    /// Those of a row whose old text didn't come, by their number in the columns: that row.
    anew: HashMap<u32, u32>,
}

impl Visit<'_> {
    /// Settles new texts of known labels. A series whose old text didn't come is the same one, spelt anew; of one that came in two
    /// spellings the first counts. Returns which new series are none, by number.
    pub(super) fn reconcile(&mut self) -> Vec<bool> {
        let mut settled = Settled { all: vec![false; self.columns.fresh.len()], anew: HashMap::new() };
        let same = self.same_labels();
        for (number, row) in same.seconds {
            self.second_spelling(number, row);
            settled.all[number as usize] = true;
        }
        for (number, row) in same.rows {
            if self.columns.is_seen(row as usize) {
                self.second_spelling(number, row);
            } else {
                self.spelt_anew(number, row);
                settled.anew.insert(self.rows as u32 + number, row);
            }
            settled.all[number as usize] = true;
        }
        self.follow(&settled);
        settled.all
    }

    /// New series with the labels of others. What is told of their families is told of the rows that they are.
    fn same_labels(&mut self) -> SameLabels {
        self.target.rows.need_ids(&self.target.layout);
        let (fresh, rows) = (&self.columns.fresh, self.rows as u32);
        let mut by_labels = ByLabels::new(fresh);
        let seconds = (0..fresh.len() as u32).filter_map(|number| Some((number, rows + by_labels.add(number)?))).collect();
        let (mut same, mut row) = (SameLabels { seconds, rows: Vec::new() }, 0);
        let ids = self.target.rows.ids.as_deref().unwrap_or_default();
        for chunk in self.target.layout.chunks() {
            for at in 0..chunk.len() {
                if let Some(number) = by_labels.find(ids[row], chunk, at) {
                    same.rows.push((number, row as u32));
                    let told = fresh.series(number).metadata().filter(|told| chunk.metadata(at) != Some(*told));
                    self.columns.families.changed.extend(told.map(|told| (row as u32, told.clone())));
                }
                row += 1;
            }
        }
        same
    }

    /// A new series is one that also came under another text, as `row`.
    fn second_spelling(&mut self, number: u32, row: u32) {
        self.counts.duplicates += 1;
        // Rows beyond the layout will be others after the commit: such a text is learnt again in the next scrape.
        if (row as usize) < self.rows {
            let text = self.columns.fresh.texts[number as usize];
            self.target.aliases.get_or_insert_default().insert(text, row);
        }
    }

    /// A new series is the one of `row`, whose old text didn't come.
    fn spelt_anew(&mut self, number: u32, row: u32) {
        let (own, at) = (self.rows + number as usize, row as usize);
        let columns = &mut *self.columns;
        columns.values[at] = std::mem::replace(&mut columns.values[own], UNSEEN);
        if !columns.stamps.is_empty() {
            columns.stamps.resize(columns.values.len(), NO_STAMP);
            columns.stamps[at] = columns.stamps[own];
        }
        self.seen += 1;
        self.target.rows.texts[at] = columns.fresh.texts[number as usize];
        self.target.rows.lens[at] = columns.fresh.lens[number as usize];
        self.target.elsewhere = Elsewhere::default();
        self.target.runs.clear();
    }

    /// What is known of series beside their values goes where they went: of second spellings nowhere.
    fn follow(&mut self, settled: &Settled) {
        let rows = self.rows;
        let is_settled = |row: u32| (row as usize).checked_sub(rows).is_some_and(|number| settled.all[number]);
        let new_row = |row: u32| if is_settled(row) { settled.anew.get(&row).copied() } else { Some(row) };
        let columns = &mut *self.columns;
        columns.details.renumber(new_row);
        columns.omitted.retain_mut(|row| new_row(*row).map(|new| *row = new).is_some());
        columns.extras.retain_mut(|extra| new_row(extra.row).map(|new| extra.row = new).is_some());
    }
}
