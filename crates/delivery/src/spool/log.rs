//! The queue's part on disk: segments in a directory, written at one end and read at the other, and what of them was acknowledged.
//! Blocking; `spool` calls it off the data path.
//!
//! Records are numbered in the order in which they are written. Those that are in memory as well are passed over when reading.

mod left;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use model::Batch;
use tracing::warn;

use super::acknowledged::Acknowledged;
use super::segment::{Found, Reader, Segment, Writer};

pub(crate) use left::Left;

/// Segments are cut at this size: large enough that repeating the layouts of a million series (about 20 MB) costs little, and 64 of them
/// fit into the default limit, which is the step in which the oldest samples are dropped.
const SEGMENT_BYTES: u64 = 128 << 20;
/// With a small limit, segments are this part of it.
const SEGMENTS_AT_LEAST: u64 = 8;
/// A segment that is wholly acknowledged is replaced if it is larger than this; smaller ones are not worth the file operations.
const REPLACE_BYTES: u64 = 1 << 20;

/// See the module.
pub(crate) struct Log {
    directory: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
    max_bytes: u64,
    segment_bytes: u64,
    /// Whether what was written is made to survive a loss of power.
    fsync: bool,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Appends to the last segment.
    writer: Option<Writer>,
    /// Reads the segment with this first record.
    reader: Option<(u64, Reader)>,
    /// Number of the next record to be written.
    next: u64,
    /// Samples ever written.
    samples: u64,
    /// Records below are in memory or done with.
    cursor: u64,
    /// Samples ever written before the cursor.
    cursor_samples: u64,
    acknowledged: Acknowledged,
    unsaved: bool,
}

/// What happened to samples and records beside being written and read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Samples dropped with the oldest segments because of the size limit.
    pub dropped: u64,
    /// Records that could not be read.
    pub corrupt_records: u64,
    /// Samples in records that could not be read.
    pub corrupt_samples: u64,
}

impl Log {
    /// Opens a directory, which is created if missing, and locks it. [`Log::recover`] must follow.
    pub fn open(directory: &Path, max_bytes: u64, fsync: bool) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let lock = File::create(directory.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another process or endpoint uses it"),
            fs::TryLockError::Error(error) => error,
        })?;
        let mut segments: Vec<Segment> = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            segments.extend(Segment::found(entry.path(), entry.metadata()?.len()));
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        Ok(Self {
            directory: directory.to_owned(),
            _lock: lock,
            max_bytes,
            segment_bytes: (max_bytes / SEGMENTS_AT_LEAST).min(SEGMENT_BYTES),
            fsync,
            segments: segments.into(),
            writer: None,
            reader: None,
            next: 0,
            samples: 0,
            cursor: 0,
            cursor_samples: 0,
            acknowledged: Acknowledged::default(),
            unsaved: false,
        })
    }

    /// Finds out where an earlier process stopped. Reads the newest segment.
    pub fn recover(&mut self, losses: &mut Losses) -> io::Result<()> {
        self.acknowledged = Acknowledged::load(&self.directory).or_else(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                warn!(directory = %self.directory.display(), "what the receiver acknowledged is unknown: all that is on disk is sent again");
                Ok(Acknowledged::default())
            }
            _ => Err(error),
        })?;
        self.next = self.acknowledged.end();
        self.find_end(losses)?;
        let first = self.segments.front();
        self.cursor = first.map_or(self.next, |segment| segment.first);
        self.cursor_samples = first.map_or(self.samples, |segment| segment.samples_before);
        self.acknowledged.insert(0, self.cursor);
        self.remove_acknowledged();
        Ok(())
    }

    /// Finds the number of the next record, and the samples before it.
    fn find_end(&mut self, losses: &mut Losses) -> io::Result<()> {
        let Some(last) = self.segments.back() else { return Ok(()) };
        (self.next, self.samples) = (self.next.max(last.first), last.samples_before);
        let mut reader = Reader::open(last)?;
        let mut torn = 0; // at the end: nobody reads there again, as the lost record's number is used again
        loop {
            match reader.next(last)? {
                Found::End => break,
                Found::Corrupt => torn += 1,
                Found::Batch(batch) => {
                    torn = 0;
                    self.next = self.next.max(batch.record + 1);
                    self.samples += u64::from(batch.samples);
                }
            }
        }
        losses.corrupt_records += torn;
        Ok(())
    }

    /// Whether records are to be read.
    pub fn is_behind(&self) -> bool {
        self.cursor < self.next
    }

    /// Samples in records that are to be read.
    pub fn unread_samples(&self) -> u64 {
        self.samples.saturating_sub(self.cursor_samples)
    }

    /// Bytes that all segments may have.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Writes all of these batches, each with whether it stays in memory, or none. Gives the number of the first one's record; the others
    /// follow it. Those that stay in memory must come first, and may be there only while nothing is to be read.
    pub fn append(&mut self, batches: &[(&Batch, bool)], losses: &mut Losses) -> io::Result<u64> {
        let written = self.open_segment().and_then(|()| self.write(batches, losses));
        if written.is_err() {
            self.writer = None; // what it knows of the segment's chunks is not true any more
        }
        written
    }

    /// Makes sure that there is a writer whose segment has room.
    fn open_segment(&mut self) -> io::Result<()> {
        if self.segments.back().is_some_and(|segment| segment.bytes >= self.segment_bytes)
            && let Some(mut full) = self.writer.take()
            && self.fsync
        {
            full.sync()?;
        }
        if self.writer.is_none() {
            if let Some(unused) = self.segments.pop_back_if(|last| last.first == self.next) {
                fs::remove_file(&unused.path)?; // nothing was written to it: its name is free again
            }
            let segment = Segment::new(&self.directory, self.next, self.samples);
            self.writer = Some(Writer::create(&segment)?);
            self.segments.push_back(segment);
        }
        Ok(())
    }

    fn write(&mut self, batches: &[(&Batch, bool)], losses: &mut Losses) -> io::Result<u64> {
        let first = self.next;
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else { return Ok(first) };
        for (record, (batch, _)) in (first..).zip(batches) {
            writer.prepare(segment, record, batch);
        }
        let bytes = writer.prepared() as u64;
        while self.segments.len() > 1 && self.bytes() + bytes > self.max_bytes {
            self.drop_oldest(losses);
        }
        let too_large = bytes > self.max_bytes;
        if too_large {
            self.writer = None; // forgets what was prepared
        } else if let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) {
            writer.write(segment)?;
        }
        for (batch, in_memory) in batches {
            let samples = batch.len() as u64;
            if too_large && !in_memory {
                losses.dropped += samples;
                self.acknowledged.insert(self.next, self.next + 1);
            }
            let passed = self.cursor == self.next && (*in_memory || too_large);
            self.next += 1;
            self.samples += if too_large { 0 } else { samples };
            if passed {
                (self.cursor, self.cursor_samples) = (self.next, self.samples);
            }
        }
        Ok(first)
    }

    /// Reads batches with their records, about `max_bytes` of columns and details, in order.
    pub fn read(&mut self, max_bytes: usize, losses: &mut Losses) -> Vec<(u64, Batch)> {
        self.read_some(max_bytes, losses, |_| true)
    }

    /// The same, and passes over records that are not `wanted`.
    fn read_some(&mut self, max_bytes: usize, losses: &mut Losses, wanted: impl Fn(u64) -> bool) -> Vec<(u64, Batch)> {
        let (mut read, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes && self.is_behind() {
            let Some(at) = self.segments.iter().rposition(|segment| segment.first <= self.cursor) else { break };
            match self.next_batch(at, losses, &wanted) {
                Ok(Some((record, batch))) => {
                    bytes += size_of::<f64>() * batch.len() + batch.details.as_ref().map_or(0, |details| details.heap_bytes());
                    read.push((record, batch));
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(segment = %self.segments[at].path.display(), %error, "the rest of a segment can't be read and is skipped");
                    losses.corrupt_records += 1;
                    self.finish_segment(at, losses);
                }
            }
        }
        read
    }

    /// Goes one step on in segment `at`: a batch that is to be sent, or none if there was something else.
    fn next_batch(&mut self, at: usize, losses: &mut Losses, wanted: &impl Fn(u64) -> bool) -> io::Result<Option<(u64, Batch)>> {
        let segment = &self.segments[at];
        let reader = match &mut self.reader {
            Some((first, reader)) if *first == segment.first => reader,
            reader => &mut reader.insert((segment.first, Reader::open(segment)?)).1,
        };
        match reader.next(segment)? {
            Found::Batch(packed) if packed.record < self.cursor => {}
            Found::Batch(packed) => {
                // What lies between was corrupt: nobody will acknowledge it.
                self.acknowledged.insert(self.cursor, packed.record);
                self.cursor = packed.record + 1;
                self.cursor_samples += u64::from(packed.samples);
                if self.acknowledged.contains(packed.record) || !wanted(packed.record) {
                    return Ok(None);
                }
                if let Some(batch) = reader.unpack(&packed) {
                    return Ok(Some((packed.record, batch)));
                }
                losses.corrupt_records += 1;
                losses.corrupt_samples += u64::from(packed.samples);
                self.acknowledge(&[packed.record]);
            }
            Found::Corrupt => losses.corrupt_records += 1,
            Found::End => self.finish_segment(at, losses),
        }
        Ok(None)
    }

    /// Ends reading segment `at`. Samples that were written to it and not found are lost.
    fn finish_segment(&mut self, at: usize, losses: &mut Losses) {
        self.reader = None;
        let (end, samples) = self.end_of(at);
        if self.cursor <= end {
            losses.corrupt_samples += samples.saturating_sub(self.cursor_samples);
            self.pass(end, samples);
        }
    }

    /// Number of the first record behind segment `at`, and the samples written before that.
    fn end_of(&self, at: usize) -> (u64, u64) {
        self.segments.get(at + 1).map_or((self.next, self.samples), |next| (next.first, next.samples_before))
    }

    /// Moves the cursor on without reading; what it passes is done with.
    fn pass(&mut self, end: u64, samples: u64) {
        self.acknowledged.insert(self.cursor, end);
        self.unsaved = true;
        (self.cursor, self.cursor_samples) = (end, samples);
    }

    /// Notes that the receiver has judged these records. Segments that are not needed any more are removed.
    pub fn acknowledge(&mut self, records: &[u64]) {
        for &record in records {
            self.acknowledged.insert(record, record + 1);
            self.unsaved = true;
        }
        self.remove_acknowledged();
    }

    fn remove_acknowledged(&mut self) {
        while let Some(first) = self.segments.front() {
            let (end, samples) = self.end_of(0);
            let in_use = self.segments.len() == 1 && self.writer.is_some() && first.bytes < REPLACE_BYTES;
            if end > self.acknowledged.below() || in_use {
                return;
            }
            self.remove_first();
            if self.cursor < end {
                (self.cursor, self.cursor_samples) = (end, samples);
            }
        }
    }

    fn drop_oldest(&mut self, losses: &mut Losses) {
        let (end, samples) = self.end_of(0);
        self.remove_first();
        if self.cursor < end {
            losses.dropped += samples.saturating_sub(self.cursor_samples);
            self.pass(end, samples);
        }
    }

    fn remove_first(&mut self) {
        let Some(segment) = self.segments.pop_front() else { return };
        if self.segments.is_empty() {
            self.writer = None;
        }
        self.reader.take_if(|(first, _)| *first == segment.first);
        if let Err(error) = fs::remove_file(&segment.path) {
            warn!(segment = %segment.path.display(), %error, "a segment that is not needed any more can't be removed");
        }
    }

    /// Writes down what was acknowledged, if it changed.
    pub fn save(&mut self) -> io::Result<()> {
        if self.unsaved {
            self.acknowledged.save(&self.directory)?;
            self.unsaved = false;
        }
        Ok(())
    }

    /// Makes what was written survive a loss of power, if that is wanted.
    pub fn sync(&mut self) -> io::Result<()> {
        self.writer.as_mut().filter(|_| self.fsync).map_or(Ok(()), Writer::sync)
    }

    /// Makes writing fail until a new segment is begun.
    #[cfg(test)]
    pub fn break_writer(&mut self) {
        self.writer.as_mut().unwrap().break_file(self.segments.back().unwrap());
    }

    /// Whether [`Log::save`] or [`Log::sync`] would do something.
    pub fn is_unsaved(&self) -> bool {
        self.unsaved || self.writer.as_ref().is_some_and(|writer| self.fsync && writer.is_unsynced())
    }
}
