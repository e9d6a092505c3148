//! Finds series that came under a new text but with labels that are known: the same series written in another way.

use hashbrown::HashMap;

use super::columns::UNSEEN;
use super::state::NO_STAMP;
use super::visit::Visit;

impl Visit<'_> {
    /// Settles new texts of known labels. A series whose old text didn't come is the same one, spelt anew; of one that came in two
    /// spellings the first counts. Returns which new series are none, by number.
    pub(super) fn reconcile(&mut self) -> Vec<bool> {
        let mut settled = vec![false; self.columns.fresh.len()];
        let mut by_id: HashMap<u32, Vec<u32>> = HashMap::with_capacity(settled.len());
        for number in 0..settled.len() as u32 {
            let fresh = &self.columns.fresh;
            let same_id = by_id.entry(fresh.ids[number as usize]).or_default();
            let first = same_id.iter().find(|other| fresh.series(**other).iter().eq(fresh.series(number).iter())).copied();
            match first {
                None => same_id.push(number),
                Some(first) => {
                    self.second_spelling(number, self.rows as u32 + first);
                    settled[number as usize] = true;
                }
            }
        }
        // Where what is known beside the values goes: of second spellings nowhere.
        let mut anew = HashMap::new();
        for (row, number) in self.same_labels(&by_id) {
            if self.columns.is_seen(row as usize) {
                self.second_spelling(number, row);
            } else {
                self.spelt_anew(number, row);
                anew.insert(self.rows as u32 + number, row);
            }
            settled[number as usize] = true;
        }
        let is_settled = |row: u32| (row as usize).checked_sub(self.rows).is_some_and(|number| settled[number]);
        self.columns.details.renumber(|row| if is_settled(row) { anew.get(&row).copied() } else { Some(row) });
        settled
    }

    /// Rows of the layout with the labels of a new series: (row, number of the new series). What is told of those series' families is
    /// told of the rows.
    fn same_labels(&mut self, by_id: &HashMap<u32, Vec<u32>>) -> Vec<(u32, u32)> {
        let (mut found, mut row) = (Vec::new(), 0);
        let fresh = &self.columns.fresh;
        for chunk in self.target.layout.chunks() {
            for at in 0..chunk.len() {
                if let Some(numbers) = by_id.get(&self.target.rows.ids[row])
                    && let Some(number) = numbers.iter().find(|number| fresh.series(**number).iter().eq(chunk.series(at).iter()))
                {
                    found.push((row as u32, *number));
                    let told = fresh.series(*number).metadata().filter(|told| chunk.metadata(at) != Some(*told));
                    self.columns.families.changed.extend(told.map(|told| (row as u32, told.clone())));
                }
                row += 1;
            }
        }
        found
    }

    /// A new series is one that also came under another text, as `row`.
    fn second_spelling(&mut self, number: u32, row: u32) {
        self.counts.duplicates += 1;
        // Rows beyond the layout will be others after the commit: such a text is learnt again in the next scrape.
        if (row as usize) < self.rows {
            let text = self.columns.fresh.texts[number as usize];
            self.target.aliases.get_or_insert_default().insert(text, row);
        }
        let own = self.rows as u32 + number;
        self.columns.omitted.retain(|row| *row != own);
        self.columns.extras.retain(|extra| extra.row != own);
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
        columns.omitted.iter_mut().filter(|row| **row as usize == own).for_each(|omitted| *omitted = row);
        columns.extras.iter_mut().filter(|extra| extra.row as usize == own).for_each(|extra| extra.row = row);
        self.seen += 1;
        self.target.rows.texts[at] = columns.fresh.texts[number as usize];
        self.target.rows.lens[at] = columns.fresh.lens[number as usize];
        self.target.index = None;
        self.target.runs.clear();
    }
}
