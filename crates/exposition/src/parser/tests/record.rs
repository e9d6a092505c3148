//! A visitor that remembers what it is told.

use std::collections::HashMap;

use model::Exemplar;

use crate::buffer::LabelBuffer;
use crate::series::Series;
use crate::visitor::{Comments, Entry, Visitor};

/// Writes down everything that it is told. `memory` makes it recognise series, as a scrape does.
#[derive(Default)]
pub(super) struct Record {
    pub(super) memory: bool,
    pub(super) rows: HashMap<Vec<u8>, u32>,
    pub(super) order: Vec<Vec<u8>>,
    pub(super) next: usize,
    pub(super) learnt: Vec<String>,
    pub(super) samples: Vec<(String, u64, Option<i64>)>,
    pub(super) entries: Vec<String>,
    pub(super) comments: HashMap<Vec<u8>, Comments>,
    pub(super) skipped: u64,
    /// All but comments and learning, a line for each.
    pub(super) log: Vec<String>,
}

impl Visitor for Record {
    type Error = String;

    fn expected_len(&self) -> usize {
        let next = self.order.get(self.next).filter(|text| self.memory && !text.contains(&b'\n'));
        next.map_or(0, Vec::len)
    }

    fn expected(&mut self, text: &[u8]) -> Option<u32> {
        (self.order[self.next] == text).then_some(self.next as u32)
    }

    fn find(&mut self, text: &[u8]) -> Option<u32> {
        if self.memory { self.rows.get(text).copied() } else { None }
    }

    fn learn(&mut self, series: Series<'_>) -> Result<u32, String> {
        let mut labels = LabelBuffer::default();
        series.labels(&mut labels).map_err(|error| error.to_string())?;
        self.learnt.push(labels.iter().map(|(name, value)| format!("{name}={value:?} ")).collect());
        let row = self.order.len() as u32;
        self.rows.insert(series.text().to_vec(), row);
        self.order.push(series.text().to_vec());
        Ok(row)
    }

    fn sample(&mut self, row: u32, value: f64, timestamp: Option<i64>) -> Result<(), String> {
        let text = String::from_utf8_lossy(&self.order[row as usize]).into_owned();
        let at = timestamp.map_or(String::new(), |at| format!(" @{at}"));
        self.log.push(format!("{text} {value}{at}"));
        self.samples.push((text, value.to_bits(), timestamp));
        self.next = row as usize + 1;
        Ok(())
    }

    fn exemplar(&mut self, row: u32, exemplar: Exemplar) {
        let text = String::from_utf8_lossy(&self.order[row as usize]).into_owned();
        let at = exemplar.timestamp.map_or(String::new(), |at| format!(" @{at}"));
        self.log.push(format!("{text} # {} {}{at}", exemplar.labels, exemplar.value));
    }

    fn created(&mut self, row: u32, created: i64) {
        let text = String::from_utf8_lossy(&self.order[row as usize]).into_owned();
        self.log.push(format!("{text} since {created}"));
    }

    fn metadata(&mut self, entry: Entry<'_>) {
        self.entries.push(format!("{entry:?}"));
    }

    fn expected_comments(&mut self, rest: &[u8]) -> Option<Comments> {
        let (text, known) = self.comments.iter().find(|(text, _)| rest.starts_with(text))?;
        assert_eq!(text.len(), known.len);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count() as u64, known.lines);
        self.skipped += known.lines;
        Some(*known)
    }

    fn learn_comments(&mut self, text: &[u8], comments: Comments) {
        if self.memory {
            self.comments.insert(text.to_vec(), comments);
        }
    }
}
