//! A request in the making, and the memory that making it takes again and again.

use std::ops::AddAssign;

use bytes::Bytes;

use super::tally::Tally;
use super::wire::{self, put_varint};

/// Room at the start of a request for the length of the decoded block; lengths are far below 2³².
const PREFIX: usize = 5;

/// A request in the making.
pub struct Request {
    /// [`PREFIX`] free bytes, then snappy elements.
    pub(super) bytes: Vec<u8>,
    /// Bytes that it decodes to.
    pub(super) plain_len: usize,
    /// What is in it, and what was left out on the way.
    pub counted: Counted,
}

/// What became of rows.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// What is sent.
    pub sent: Tally,
    /// Left out because write relabelling dropped the series.
    pub dropped: Tally,
    /// Left out because it is older than the endpoint takes.
    pub too_old: Tally,
    /// Histograms that the version of remote write can't carry.
    pub unsupported: usize,
    /// The latest timestamp that is sent, in milliseconds.
    pub latest: i64,
}

impl Default for Counted {
    fn default() -> Self {
        Self { sent: Tally::default(), dropped: Tally::default(), too_old: Tally::default(), unsupported: 0, latest: i64::MIN }
    }
}

impl AddAssign for Counted {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.dropped += other.dropped;
        self.too_old += other.too_old;
        self.unsupported += other.unsupported;
        self.latest = self.latest.max(other.latest);
    }
}

/// Memory that ordinary encoding uses again and again; one per shard.
pub struct Scratch {
    pub(super) labels: Vec<u8>,
    pub(super) plain: Vec<u8>,
    packed: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Request {
    /// An empty request with room for `capacity` compressed bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX + capacity);
        bytes.resize(PREFIX, 0);
        Self { bytes, plain_len: 0, counted: Counted::default() }
    }

    /// The body to send.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let mut prefix = Vec::with_capacity(PREFIX);
        put_varint(&mut prefix, self.plain_len as u64);
        let start = PREFIX - prefix.len();
        self.bytes[start..PREFIX].copy_from_slice(&prefix);
        Bytes::from(self.bytes).slice(start..)
    }

    /// Appends what is in `scratch.plain`, compressed, without the length that snappy puts before it.
    pub(super) fn add_plain(&mut self, scratch: &mut Scratch) {
        let len = scratch.plain.len();
        if len == 0 {
            return;
        }
        scratch.packed.resize(scratch.packed.len().max(snap::raw::max_compress_len(len)), 0);
        // It fails only for buffers that are too small or texts beyond 4 GiB; neither can be here.
        let Ok(packed) = scratch.snappy.compress(&scratch.plain, &mut scratch.packed) else {
            debug_assert!(false, "the buffer has the size that the compressor asks for");
            return;
        };
        self.bytes.extend_from_slice(&scratch.packed[wire::varint_len(len as u64)..packed]);
        self.plain_len += len;
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self { labels: Vec::new(), plain: Vec::new(), packed: Vec::new(), snappy: snap::raw::Encoder::new() }
    }
}

impl Scratch {
    /// Gives back what an unusually large piece took.
    pub(super) fn shrink(&mut self) {
        const KEEP: usize = 1 << 20;
        for buffer in [&mut self.plain, &mut self.packed] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
    }
}
