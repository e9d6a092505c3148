//! From batches to the bytes of remote write 1.0 requests: `snappy(WriteRequest)`. Series that come again and again are filled into
//! templates (`template`); what comes once, or with timestamps that templates can't hold, is encoded and compressed the ordinary way.
//! Both give snappy fragments that are put end to end under one length. Sending them is left to `shards`.

mod cache;
mod outgoing;
mod snappy;
mod template;
#[cfg(test)]
mod tests;
mod wire;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use model::{Batch, Chunk, Labels, MAX_CHUNK_SERIES};

use cache::{Lookup, TemplateCache};
use outgoing::Outgoing;
pub use outgoing::Relabel;
use template::{Fragment, STAMP_RANGE, Stamps, Template};
pub(crate) use wire::put_varint;

/// A request is cut at this many bytes before compression, however few samples it has: Prometheus refuses more than 32 MiB.
const MAX_PLAIN: usize = 16 << 20;
/// Room at the start of a request for the length of the decoded block; lengths are below [`MAX_PLAIN`] plus one fragment, so below 2³².
const PREFIX: usize = 5;

/// Encodes the batches of one endpoint.
pub struct Encoder {
    outgoing: Outgoing,
    templates: TemplateCache,
    max_samples: usize,
}

/// A request in the making.
pub struct Request {
    /// [`PREFIX`] free bytes, then snappy elements.
    bytes: Vec<u8>,
    plain_len: usize,
    /// Samples in it.
    pub samples: usize,
    /// Samples left out because write relabelling dropped their series.
    pub dropped: usize,
    /// Samples left out because they are older than the endpoint takes.
    pub too_old: usize,
    /// The latest timestamp in it, in milliseconds.
    pub latest: i64,
}

/// Memory that ordinary encoding uses again and again; one per shard.
pub struct Scratch {
    labels: Vec<u8>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    snappy: snap::raw::Encoder,
}

/// Rows of one chunk within a batch, with their columns.
struct Piece<'a> {
    chunk: &'a Arc<Chunk>,
    rows: Range<usize>,
    values: &'a [f64],
    timestamp: i64,
    timestamps: Option<&'a [i64]>,
}

impl Encoder {
    /// An encoder whose requests have at most `max_samples` (at least 1) samples.
    #[must_use]
    pub fn new(external: Labels, relabel: Option<Relabel>, max_samples: usize) -> Self {
        Self { outgoing: Outgoing::new(external, relabel), templates: TemplateCache::default(), max_samples: max_samples.max(1) }
    }

    /// Adds the rows of `batch` from `from` on, as far as the request has room, without samples before `oldest` (milliseconds). Returns the
    /// row to go on from with the next request, which is the batch's length if all went in. `from` must be 0 or such a row.
    pub fn add(&self, request: &mut Request, batch: &Batch, from: usize, oldest: i64, scratch: &mut Scratch) -> usize {
        let step = self.max_samples.min(MAX_CHUNK_SERIES);
        let mut first = 0;
        for chunk in batch.layout.chunks() {
            for start in (0..chunk.len()).step_by(step) {
                let at = first + start;
                let rows = start..chunk.len().min(start + step);
                let all = at..at + rows.len();
                let timestamps = batch.timestamps.as_ref().map(|timestamps| &timestamps[all.clone()]);
                let piece = Piece { chunk, rows, values: &batch.values[all], timestamp: batch.timestamp, timestamps };
                if at >= from && !self.add_piece(request, &piece, start / step, oldest, scratch) {
                    return at;
                }
            }
            first += chunk.len();
        }
        batch.len()
    }

    /// Lets go the templates of chunks that are gone.
    pub fn sweep(&self) {
        self.templates.sweep();
    }

    /// Bytes of all templates, and how many were ever made.
    #[must_use]
    pub fn template_usage(&self) -> (usize, u64) {
        self.templates.usage()
    }

    /// Adds a piece, the `nth` of its chunk; false if there is no room for it.
    fn add_piece(&self, request: &mut Request, piece: &Piece<'_>, nth: usize, oldest: i64, scratch: &mut Scratch) -> bool {
        let Some(template) = self.template(piece, oldest) else { return self.add_ordinary(request, piece, oldest, scratch) };
        let Some(fragment) = template.fragment(nth) else { return self.add_ordinary(request, piece, oldest, scratch) };
        if !self.has_room(request, fragment.samples(), fragment.plain_len()) {
            return false;
        }
        request.add_fragment(fragment, piece);
        true
    }

    /// The template to use, if the piece fits one.
    fn template(&self, piece: &Piece<'_>, oldest: i64) -> Option<Arc<Template>> {
        let fits = |timestamp: &i64| *timestamp >= oldest && STAMP_RANGE.contains(timestamp);
        let stamps = match piece.timestamps {
            None if fits(&piece.timestamp) => Stamps::Shared,
            Some(timestamps) if timestamps.iter().all(fits) => Stamps::Own,
            _ => return None,
        };
        match self.templates.look_up(piece.chunk, stamps) {
            Lookup::Ready(template) => Some(template),
            Lookup::Ordinary => None,
            Lookup::Build => {
                let step = self.max_samples.min(MAX_CHUNK_SERIES);
                let template = Template::build(piece.chunk, &self.outgoing, stamps, step).map(Arc::new);
                self.templates.put(piece.chunk, stamps, template.clone());
                template
            }
        }
    }

    fn add_ordinary(&self, request: &mut Request, piece: &Piece<'_>, oldest: i64, scratch: &mut Scratch) -> bool {
        scratch.plain.clear();
        let (mut samples, mut too_old, mut latest) = (0, 0, i64::MIN);
        self.outgoing.each(piece.chunk, piece.rows.clone(), &mut scratch.labels, |row, labels| {
            let row = row - piece.rows.start;
            let timestamp = piece.timestamps.map_or(piece.timestamp, |timestamps| timestamps[row]);
            if timestamp < oldest {
                too_old += 1;
                return;
            }
            wire::put_series(&mut scratch.plain, labels, piece.values[row], timestamp);
            samples += 1;
            latest = latest.max(timestamp);
        });
        if !self.has_room(request, samples, scratch.plain.len()) {
            return false;
        }
        request.add_plain(scratch);
        request.samples += samples;
        request.too_old += too_old;
        request.dropped += piece.rows.len() - samples - too_old;
        request.latest = request.latest.max(latest);
        scratch.shrink();
        true
    }

    /// Whether as much fits into the request; anything fits into an empty one.
    fn has_room(&self, request: &Request, samples: usize, plain_len: usize) -> bool {
        let fits = request.samples + samples <= self.max_samples && request.plain_len + plain_len <= MAX_PLAIN;
        fits || request.samples == 0
    }
}

impl Request {
    /// An empty request with room for `capacity` compressed bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX + capacity);
        bytes.resize(PREFIX, 0);
        Self { bytes, plain_len: 0, samples: 0, dropped: 0, too_old: 0, latest: i64::MIN }
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

    fn add_fragment(&mut self, fragment: &Fragment, piece: &Piece<'_>) {
        let latest = match piece.timestamps {
            None => {
                fragment.put_shared(&mut self.bytes, piece.values, piece.timestamp);
                piece.timestamp
            }
            Some(timestamps) => {
                fragment.put_own(&mut self.bytes, piece.values, timestamps);
                timestamps.iter().copied().max().unwrap_or(i64::MIN)
            }
        };
        self.plain_len += fragment.plain_len();
        self.samples += fragment.samples();
        self.dropped += piece.rows.len() - fragment.samples();
        if fragment.samples() > 0 {
            self.latest = self.latest.max(latest);
        }
    }

    /// Appends what is in `scratch.plain`, compressed, without the length that snappy puts before it.
    fn add_plain(&mut self, scratch: &mut Scratch) {
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
    fn shrink(&mut self) {
        const KEEP: usize = 1 << 20;
        for buffer in [&mut self.plain, &mut self.packed] {
            if buffer.capacity() > KEEP {
                *buffer = Vec::new();
            }
        }
    }
}
