//! A segment: a file of records that is read without any other. Its name says which record is its first and how many samples were written
//! before it, so that what a segment holds is known without reading it: the next segment's numbers are its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use model::{Batch, Chunk};

use super::codec::{self, Budget, Content, PackedBatch};
use super::record::{self, Next, Records};

const SUFFIX: &str = "v1";

/// A segment on disk.
pub(super) struct Segment {
    pub path: PathBuf,
    /// Number of its first record.
    pub first: u64,
    /// Samples written before it.
    pub samples_before: u64,
    /// Bytes that are written and whole.
    pub bytes: u64,
    /// The chunks that this process wrote into it, by number: as long as they live they need not be read again.
    live: Vec<Weak<Chunk>>,
}

impl Segment {
    /// A segment that does not exist yet.
    pub fn new(directory: &Path, first: u64, samples_before: u64) -> Self {
        let path = directory.join(format!("{first:020}-{samples_before:020}.{SUFFIX}"));
        Self { path, first, samples_before, bytes: 0, live: Vec::new() }
    }

    /// The segment that `path` is, if its name is one.
    pub fn found(path: PathBuf, bytes: u64) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (first, samples_before) = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.split_once('-')?;
        let (first, samples_before) = (first.parse().ok()?, samples_before.parse().ok()?);
        Some(Self { path, first, samples_before, bytes, live: Vec::new() })
    }
}

/// Appends to the newest segment.
pub(super) struct Writer {
    file: File,
    /// Numbers of chunks that the segment has, by [`Chunk::id`].
    chunks: HashMap<u64, u32>,
    /// What is to be written next.
    buffer: Vec<u8>,
    /// Whether something was written since the last [`Writer::sync`].
    unsynced: bool,
}

impl Writer {
    /// Creates the segment's file.
    pub fn create(segment: &Segment) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(&segment.path)?;
        Ok(Self { file, chunks: HashMap::new(), buffer: Vec::new(), unsynced: false })
    }

    /// Prepares a record for `batch` and those of its chunks that the segment does not have.
    pub fn prepare(&mut self, segment: &mut Segment, record: u64, batch: &Batch) {
        let numbers: Vec<u32> = batch.layout.chunks().iter().map(|chunk| self.number(segment, chunk)).collect();
        record::put(&mut self.buffer, |out| codec::put_batch(out, record, batch, &numbers));
    }

    fn number(&mut self, segment: &mut Segment, chunk: &Arc<Chunk>) -> u32 {
        let next = self.chunks.len() as u32; // a segment has fewer bytes than 2³² chunks
        *self.chunks.entry(chunk.id()).or_insert_with(|| {
            segment.live.push(Arc::downgrade(chunk));
            record::put(&mut self.buffer, |out| codec::put_chunk(out, next, chunk));
            next
        })
    }

    /// Bytes that are prepared.
    pub fn prepared(&self) -> usize {
        self.buffer.len()
    }

    /// Writes what is prepared. After an error the writer is of no use; what the file has beyond `segment.bytes` is cut off.
    pub fn write(&mut self, segment: &mut Segment) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        match written {
            Ok(()) => {
                segment.bytes += self.buffer.len() as u64;
                self.unsynced = true;
            }
            // If cutting fails too, the reader skips the torn record by its checksum.
            Err(_) => drop(self.file.set_len(segment.bytes)),
        }
        self.buffer.clear();
        self.buffer.shrink_to(1 << 20);
        written
    }

    /// Makes every write fail from now on.
    #[cfg(test)]
    pub fn break_file(&mut self, segment: &Segment) {
        self.file = File::open(&segment.path).unwrap();
    }

    /// Whether [`Writer::sync`] would do something.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Makes what was written survive a loss of power.
    pub fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

/// Reads the batches of a segment.
pub(super) struct Reader {
    records: Records,
    chunks: HashMap<u32, Arc<Chunk>>,
}

/// What [`Reader::next`] found.
pub(super) enum Found {
    /// A batch, not unpacked yet.
    Batch(PackedBatch),
    /// A record that can't be used.
    Corrupt,
    /// Nothing more.
    End,
}

impl Reader {
    /// Opens a segment at its beginning.
    pub fn open(segment: &Segment) -> io::Result<Self> {
        Ok(Self { records: Records::open(&segment.path)?, chunks: HashMap::new() })
    }

    /// The next batch, as far as `segment` is written.
    pub fn next(&mut self, segment: &Segment) -> io::Result<Found> {
        loop {
            let content = match self.records.next(segment.bytes)? {
                Next::End => return Ok(Found::End),
                Next::Damaged => return Ok(Found::Corrupt),
                Next::Record(content) => content,
            };
            if let Some(number) = codec::chunk_number(&content)
                && let Some(chunk) = segment.live.get(number as usize).and_then(Weak::upgrade)
            {
                self.chunks.insert(number, chunk);
                continue;
            }
            match codec::read(&content, &mut Budget::of_disk()) {
                Ok(Content::Chunk(number, chunk)) => drop(self.chunks.insert(number, Arc::new(chunk))),
                Ok(Content::Batch(batch)) => return Ok(Found::Batch(batch)),
                Err(_) => return Ok(Found::Corrupt),
            }
        }
    }

    /// Unpacks a batch that this reader found; none if it or a chunk that it uses is corrupt.
    pub fn unpack(&self, batch: &PackedBatch) -> Option<Batch> {
        let chunks = batch.chunks().iter().map(|number| self.chunks.get(number).cloned());
        batch.unpack(chunks.collect::<Option<_>>()?, &mut Budget::of_disk()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_name() {
        let segment = Segment::new(Path::new("/x"), 42, 1_000_000);
        let found = Segment::found(segment.path.clone(), 7).unwrap();
        assert_eq!((found.first, found.samples_before, found.bytes), (42, 1_000_000, 7));
        for other in ["acknowledged", "lock", "1-2.v2", "a-b.v1", "1.v1", "x1-2.v1"] {
            assert!(Segment::found(Path::new("/x").join(other), 0).is_none(), "{other}");
        }
    }
}
