//! A request in the making, and the memory that making it takes again and again.

use std::ops::AddAssign;
use std::sync::Arc;

use bytes::Bytes;
use model::Metadata;

use super::Message;
use super::symbols::{Mark, Symbols};
use super::tally::Tally;
use super::wire::{self, put_varint};

/// Room at the start of a request for the length of the decoded block; lengths are far below 2³².
const PREFIX: usize = 5;

/// A request in the making.
pub struct Request {
    /// [`PREFIX`] free bytes, then snappy elements of series.
    pub(super) bytes: Vec<u8>,
    /// Bytes that the series decode to.
    series_len: usize,
    /// The strings that series name by their places; none in version 1.
    pub(super) symbols: Option<Symbols>,
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
    /// Labels of a series, encoded.
    pub(super) labels: Vec<u8>,
    /// Labels of an exemplar, encoded.
    pub(super) exemplar: Vec<u8>,
    pub(super) plain: Vec<u8>,
    packed: Vec<u8>,
    /// The table of the last request of version 2.
    symbols: Option<Symbols>,
    snappy: snap::raw::Encoder,
    /// Made when it is first wanted: it takes a megabyte.
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

/// Higher levels gain less than 2 % on such requests, for half as much time again.
const ZSTD_LEVEL: i32 = 1;

impl Request {
    /// An empty request with room for `capacity` compressed bytes.
    #[must_use]
    pub fn new(message: Message, capacity: usize, scratch: &mut Scratch) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX + capacity);
        bytes.resize(PREFIX, 0);
        let symbols = (message == Message::V2).then(|| scratch.symbols.take().unwrap_or_default());
        Self { bytes, series_len: 0, symbols, counted: Counted::default() }
    }

    /// Bytes that the request decodes to as it is.
    pub(super) fn plain_len(&self) -> usize {
        self.series_len + self.symbols.as_ref().map_or(0, |symbols| symbols.fields().len())
    }

    /// Whether nothing is sent with it yet.
    pub(super) fn is_empty(&self) -> bool {
        self.counted.sent.total() == 0
    }

    /// Forgets the strings that came since a mark: what they were for is not in the request.
    pub(super) fn rewind(&mut self, mark: Option<Mark>) {
        if let (Some(symbols), Some(mark)) = (&mut self.symbols, mark) {
            symbols.rewind(mark);
        }
    }

    /// Notes that elements were appended that decode to so many bytes.
    pub(super) fn appended(&mut self, plain_len: usize) {
        self.series_len += plain_len;
    }

    /// The body to send. Symbols come before the series that name them, for receivers that read but once.
    #[must_use]
    pub fn finish(mut self, scratch: &mut Scratch) -> Bytes {
        let mut prefix = Vec::with_capacity(PREFIX);
        put_varint(&mut prefix, self.plain_len() as u64);
        if let Some(symbols) = self.symbols.take() {
            let packed = scratch.pack(symbols.fields());
            let mut body = Vec::with_capacity(prefix.len() + packed.len() + self.bytes.len());
            [&prefix, packed, &self.bytes[PREFIX..]].into_iter().for_each(|part| body.extend_from_slice(part));
            scratch.symbols = Some(symbols.emptied());
            return Bytes::from(body);
        }
        let start = PREFIX - prefix.len();
        self.bytes[start..PREFIX].copy_from_slice(&prefix);
        Bytes::from(self.bytes).slice(start..)
    }

    /// Appends what is in `scratch.plain`, compressed.
    pub(super) fn add_plain(&mut self, scratch: &mut Scratch) {
        let plain = std::mem::take(&mut scratch.plain);
        self.bytes.extend_from_slice(scratch.pack(&plain));
        self.series_len += plain.len();
        scratch.plain = plain;
    }
}

/// A request of 1.0 that says what `families` are.
pub(crate) fn metadata_request(families: &[Arc<Metadata>], scratch: &mut Scratch) -> Bytes {
    scratch.plain.clear();
    families.iter().for_each(|family| wire::put_metadata(&mut scratch.plain, family));
    let mut request = Request::new(Message::V1, 0, scratch);
    request.add_plain(scratch);
    request.finish(scratch)
}

impl Default for Scratch {
    fn default() -> Self {
        let [labels, exemplar, plain, packed] = [(); 4].map(|()| Vec::new());
        Self { labels, exemplar, plain, packed, symbols: None, snappy: snap::raw::Encoder::new(), zstd: None }
    }
}

impl Scratch {
    /// Compresses `plain`, without the length that snappy puts before it.
    fn pack(&mut self, plain: &[u8]) -> &[u8] {
        if plain.is_empty() {
            return &[];
        }
        self.packed.resize(self.packed.len().max(snap::raw::max_compress_len(plain.len())), 0);
        // It fails only for buffers that are too small or texts beyond 4 GiB; neither can be here.
        let Ok(len) = self.snappy.compress(plain, &mut self.packed) else {
            debug_assert!(false, "the buffer has the size that the compressor asks for");
            return &[];
        };
        &self.packed[wire::varint_len(plain.len() as u64)..len]
    }

    /// The same request, compressed by zstd. Unpacking what templates packed costs a third of compressing it.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn to_zstd(&mut self, body: &[u8]) -> std::io::Result<Bytes> {
        let len = snap::raw::decompress_len(body).map_err(std::io::Error::other)?;
        self.plain.resize(len, 0);
        snap::raw::Decoder::new().decompress(body, &mut self.plain).map_err(std::io::Error::other)?;
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        let packed = zstd.compress(&self.plain)?;
        self.shrink();
        Ok(Bytes::from(packed))
    }

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
