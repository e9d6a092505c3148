//! What a log that is not written any more still holds for the receiver, read again from its start: what is in memory elsewhere as well.

use std::io;

use model::Batch;

use super::{Log, Losses};
use crate::spool::segment::{Found, Reader};

/// A batch that nobody has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Where it came from.
    pub source: u64,
    /// Its time, milliseconds since the epoch.
    pub timestamp: i64,
    /// Its record.
    pub record: u64,
    /// How many samples it has.
    pub samples: u32,
}

impl Log {
    /// What nobody has acknowledged, the first `max` batches of it, in the order of records.
    pub fn left(&self, max: usize) -> io::Result<Vec<Left>> {
        let mut all = Vec::new();
        for segment in &self.segments {
            let mut reader = Reader::open(segment)?;
            while all.len() < max {
                match reader.next(segment)? {
                    Found::End => break,
                    Found::Corrupt => {}
                    Found::Batch(packed) if self.acknowledged.contains(packed.record) => {}
                    Found::Batch(packed) => {
                        let (source, timestamp, record, samples) = (packed.source, packed.timestamp, packed.record, packed.samples);
                        all.push(Left { source, timestamp, record, samples });
                    }
                }
            }
        }
        Ok(all)
    }

    /// Lets [`Log::read_left`] begin at the oldest record.
    pub fn rewind(&mut self) {
        let first = self.segments.front();
        (self.cursor, self.cursor_samples) = first.map_or((self.next, self.samples), |segment| (segment.first, segment.samples_before));
        self.reader = None;
    }

    /// As [`Log::read`], of those records that are `wanted`.
    pub fn read_left(&mut self, max_bytes: usize, losses: &mut Losses, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Batch)> {
        self.read_some(max_bytes, losses, wanted)
    }
}
