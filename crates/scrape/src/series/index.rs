//! Finds the row of a text that is not at its expected place. Built when a target first needs it, dropped when it hasn't for a while:
//! most targets write their series in one order for ever.

use hashbrown::HashTable;

/// Scrapes in a row without a miss after which the index is dropped.
const MAX_IDLE: u8 = 8;

/// So many times per scrape all rows are looked through before an index is built, which costs about twenty looks: most targets that
/// change do so by a few series.
const MAX_LOOKS: u8 = 8;

/// Finds rows that are not where they are expected.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    index: Option<Index>,
    /// Times that all rows were looked through in this scrape.
    looks: u8,
}

impl Elsewhere {
    /// The row of a text.
    pub(super) fn find(&mut self, text: u64, texts: &[u64]) -> Option<u32> {
        if self.index.is_none() && self.looks < MAX_LOOKS {
            self.looks += 1;
            return look_through(text, texts);
        }
        self.index.get_or_insert_with(|| Index::new(texts)).find(text, texts)
    }

    /// Whether so much was looked for that an index was built.
    pub(super) fn is_indexed(&self) -> bool {
        self.index.is_some()
    }

    /// Notes the beginning of a scrape.
    pub(super) fn begin(&mut self) {
        self.looks = 0;
    }

    /// Notes the end of a scrape that left the rows as they were.
    pub(super) fn end(&mut self) {
        if self.index.as_mut().is_some_and(|index| !index.keep()) {
            self.index = None;
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.rows.allocation_size())
    }
}

/// Blocks are compared without a branch per text, which the compiler makes vector instructions of.
fn look_through(text: u64, texts: &[u64]) -> Option<u32> {
    const BLOCK: usize = 64;
    let has = |block: &&[u64]| block.iter().fold(false, |found, other| found | (*other == text));
    let nth = texts.chunks(BLOCK).position(|block| has(&block))?;
    let at = texts[nth * BLOCK..].iter().position(|other| *other == text)?;
    Some((nth * BLOCK + at) as u32)
}

/// From the hash of a text to its row.
#[derive(Debug)]
struct Index {
    rows: HashTable<u32>,
    idle: u8,
}

impl Index {
    fn new(texts: &[u64]) -> Self {
        let mut rows = HashTable::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            rows.insert_unique(*text, row as u32, |row| texts[*row as usize]);
        }
        Self { rows, idle: 0 }
    }

    fn find(&mut self, text: u64, texts: &[u64]) -> Option<u32> {
        self.idle = 0;
        self.rows.find(text, |row| texts[*row as usize] == text).copied()
    }

    /// Counts a scrape; whether the index is still worth its memory.
    fn keep(&mut self) -> bool {
        self.idle += 1;
        self.idle <= MAX_IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_found_and_no_other() {
        let texts: Vec<u64> = (0..1000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut index = Index::new(&texts);
        for (row, text) in texts.iter().enumerate() {
            assert_eq!(index.find(*text, &texts), Some(row as u32));
        }
        assert_eq!(index.find(1, &texts), None);
    }

    #[test]
    fn a_few_texts_are_found_without_an_index() {
        let texts: Vec<u64> = (0..1000).collect();
        let mut elsewhere = Elsewhere::default();
        for text in [0, 63, 64, 130, 999] {
            assert_eq!(elsewhere.find(text, &texts), Some(text as u32));
        }
        assert_eq!(elsewhere.find(1000, &texts), None);
        assert!(!elsewhere.is_indexed());
        let looked = |elsewhere: &mut Elsewhere| (0..=MAX_LOOKS.into()).for_each(|text| assert!(elsewhere.find(text, &texts).is_some()));
        looked(&mut elsewhere);
        assert!(elsewhere.is_indexed() && elsewhere.heap_bytes() > 0);
        elsewhere.end();
        assert!(elsewhere.is_indexed());
    }

    #[test]
    fn it_is_dropped_when_nobody_has_asked_for_a_while() {
        let mut index = Index::new(&[1]);
        for _ in 0..MAX_IDLE {
            assert!(index.keep());
        }
        index.find(1, &[1]);
        assert!(index.keep());
        for _ in 1..MAX_IDLE {
            assert!(index.keep());
        }
        assert!(!index.keep());
    }
}
