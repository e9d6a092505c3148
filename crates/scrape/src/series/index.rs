//! Finds the row of a text that is not at its expected place. Built when a target first needs it, dropped when it hasn't for a while:
//! most targets write their series in one order for ever.

use hashbrown::HashTable;

/// Scrapes in a row without a miss after which the index is dropped.
const MAX_IDLE: u8 = 8;

/// From the hash of a text to its row.
#[derive(Debug)]
pub(super) struct Index {
    rows: HashTable<u32>,
    idle: u8,
}

impl Index {
    pub(super) fn new(texts: &[u64]) -> Self {
        let mut rows = HashTable::with_capacity(texts.len());
        for (row, text) in texts.iter().enumerate() {
            rows.insert_unique(*text, row as u32, |row| texts[*row as usize]);
        }
        Self { rows, idle: 0 }
    }

    pub(super) fn find(&mut self, text: u64, texts: &[u64]) -> Option<u32> {
        self.idle = 0;
        self.rows.find(text, |row| texts[*row as usize] == text).copied()
    }

    /// Counts a scrape; whether the index is still worth its memory.
    pub(super) fn keep(&mut self) -> bool {
        self.idle += 1;
        self.idle <= MAX_IDLE
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.rows.allocation_size()
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
