//! From batches to the bytes of requests: `snappy(WriteRequest)` of remote write 1.0, `snappy(Request)` of 2.0. Series that come again and again are filled into
//! templates (`template`); what comes once, or with timestamps that templates can't hold, is encoded and compressed the ordinary way.
//! Both give snappy fragments that are put end to end under one length. Sending them is left to `shards`.

mod cache;
mod extras;
mod fill;
mod outgoing;
mod request;
mod rows;
mod snappy;
mod symbols;
mod tally;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod value;
mod wire;

use std::ops::Range;
use std::sync::Arc;

use model::{Batch, Chunk, Labels, MAX_CHUNK_SERIES, stale};

pub use cache::TemplateUsage;
use cache::{Lookup, MIN_SENDS, TemplateCache};
use extras::Extras;
use outgoing::Outgoing;
pub use outgoing::Relabel;
pub(crate) use request::metadata_request;
pub use request::{Counted, Request, Scratch};
use rows::Wanted;
use symbols::MAX_TEMPLATE_PLACES;
pub use tally::Tally;
use template::{Filling, Known, Stamps, Style, Template};
pub(crate) use wire::put_varint;

/// A request is cut at this many bytes before compression, however few samples it has: Prometheus refuses more than 32 MiB.
const MAX_PLAIN: usize = 16 << 20;
/// If more than this part of a template's rows changed that had been constant, it is made anew.
const REBUILD_PART: usize = 8;
/// A new template takes the place of one that works if it has at most this many eighths of its open bytes.
const BETTER_EIGHTHS: usize = 7;

/// The message that requests are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Message {
    /// `prometheus.WriteRequest`, of remote write 1.0.
    #[default]
    V1,
    /// `io.prometheus.write.v2.Request`, of remote write 2.0.
    V2,
}

/// What is sent beside float samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Whether exemplars are.
    pub exemplars: bool,
    /// Whether native histograms are.
    pub native_histograms: bool,
}

impl Default for Content {
    /// The defaults of `prometheus.remote_write`.
    fn default() -> Self {
        Self { exemplars: true, native_histograms: false }
    }
}

/// Encodes the batches of one endpoint.
pub struct Encoder {
    outgoing: Outgoing,
    content: Content,
    message: Message,
    templates: TemplateCache,
    max_samples: usize,
    /// [`MAX_PLAIN`], but for tests.
    max_plain: usize,
}

/// A chunk within a batch, with its columns.
struct Part<'a> {
    chunk: &'a Arc<Chunk>,
    values: &'a [f64],
    timestamp: i64,
    timestamps: Option<&'a [i64]>,
    extras: Extras<'a>,
    oldest: i64,
}

/// The template that a part is sent by.
struct Chosen {
    template: Arc<Template>,
    stamps: Stamps,
    sends: u32,
}

impl Encoder {
    /// An encoder whose requests have at most `max_samples` (at least 1) samples, histograms and exemplars.
    #[must_use]
    pub fn new(external: Labels, relabel: Option<Relabel>, content: Content, message: Message, max_samples: usize) -> Self {
        let outgoing = Outgoing::new(external, relabel);
        Self { outgoing, content, message, templates: TemplateCache::default(), max_samples: max_samples.max(1), max_plain: MAX_PLAIN }
    }

    /// An empty request with room for `capacity` compressed bytes.
    #[must_use]
    pub fn request(&self, capacity: usize, scratch: &mut Scratch) -> Request {
        Request::new(self.message, capacity, scratch)
    }

    /// Adds the rows of `batch` from `from` on, as far as the request has room, without samples before `oldest` (milliseconds). Returns the
    /// row to go on from with the next request, which is the batch's length if all went in. `from` must be 0 or such a row.
    pub fn add(&self, request: &mut Request, batch: &Batch, from: usize, oldest: i64, scratch: &mut Scratch) -> usize {
        let mut first = 0;
        for chunk in batch.layout.chunks() {
            let rows = first..first + chunk.len();
            if rows.end > from {
                let timestamps = batch.timestamps.as_ref().map(|timestamps| &timestamps[rows.clone()]);
                let (values, extras) = (&batch.values[rows.clone()], Extras::of(batch.details.as_deref(), &rows));
                let part = Part { chunk, values, timestamp: batch.timestamp, timestamps, extras, oldest };
                let done = self.add_part(request, &part, from.saturating_sub(first), scratch);
                if done < chunk.len() {
                    return first + done;
                }
            }
            first = rows.end;
        }
        batch.len()
    }

    /// Lets go the templates of chunks that are gone.
    pub fn sweep(&self) {
        self.templates.sweep();
    }

    /// Lets go all templates: the endpoint is spoken to in another way.
    pub fn clear(&self) {
        self.templates.clear();
    }

    /// What all templates come to.
    #[must_use]
    pub fn template_usage(&self) -> TemplateUsage {
        self.templates.usage()
    }

    /// Adds the rows of a part from `from` on; says up to which row there was room.
    fn add_part(&self, request: &mut Request, part: &Part<'_>, from: usize, scratch: &mut Scratch) -> usize {
        let step = self.step();
        let mut chosen = self.choose(part);
        let mut from = from;
        while from < part.chunk.len() {
            let piece = from..part.chunk.len().min((from / step + 1) * step);
            let by_template = chosen.as_mut().filter(|_| from.is_multiple_of(step));
            let done = by_template.and_then(|chosen| self.add_by_template(request, part, &piece, chosen, scratch));
            let done = done.unwrap_or_else(|| self.add_ordinary(request, part, &piece, scratch));
            if done < piece.end {
                return done;
            }
            from = done;
        }
        from
    }

    /// Rows of a piece: what goes into a request, or does not, as a whole.
    fn step(&self) -> usize {
        self.max_samples.min(MAX_CHUNK_SERIES)
    }

    /// The template to use, if the part fits one.
    fn choose(&self, part: &Part<'_>) -> Option<Chosen> {
        let stamps = part.stamps()?;
        let build = |before: &[f64]| {
            let style = Style { outgoing: &self.outgoing, message: self.message, step: self.step() };
            Template::build(part.chunk, style, stamps, Known { before, now: part.values, extras: part.extras }).map(Arc::new)
        };
        match self.templates.look_up(part.chunk, stamps, part.values) {
            Lookup::Ready(template, sends) | Lookup::Review(template, _, sends) if !template.is_for(part.extras, self.message) => {
                if sends >= MIN_SENDS {
                    self.templates.forget(part.chunk, stamps, part.values);
                }
                None
            }
            Lookup::Ready(template, sends) => Some(Chosen { template, stamps, sends }),
            Lookup::Ordinary => None,
            Lookup::Build(before) => {
                let template = build(&before);
                self.templates.put(part.chunk, stamps, template.clone());
                Some(Chosen { template: template?, stamps, sends: 0 })
            }
            Lookup::Review(old, before, sends) => {
                let open = old.open_bytes_with(Known { before: &before, now: part.values, extras: part.extras }, self.step());
                if open * 8 > old.open_bytes() * BETTER_EIGHTHS {
                    return Some(Chosen { template: old, stamps, sends });
                }
                let template = build(&before);
                self.templates.renewed(part.chunk, stamps, template.clone());
                Some(Chosen { template: template?, stamps, sends })
            }
        }
    }

    /// Adds a piece by template and says up to which row there was room; none if the template can't be used this time.
    fn add_by_template(
        &self,
        request: &mut Request,
        part: &Part<'_>,
        piece: &Range<usize>,
        chosen: &mut Chosen,
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let nth = piece.start / self.step();
        let mut fragment = chosen.template.fragment(nth)?.clone();
        let extras = part.extras.within(piece);
        if self.message == Message::V2 && self.content.exemplars && extras.has_exemplars_beside_histograms() {
            return None; // an exemplar goes with its sample
        }
        let (places, string_bytes) = fragment.strings();
        let mark = request.symbols.as_ref().map(symbols::Symbols::mark);
        let mut counted = Counted::default();
        scratch.plain.clear();
        if !extras.is_empty() {
            let done;
            (done, counted) = self.encode_rows(part, piece.clone(), Wanted::Details, self.max_plain, scratch, request.symbols.as_mut());
            if done < piece.end {
                request.rewind(mark);
                return None; // too much for one request
            }
        }
        counted.sent.samples = fragment.samples();
        counted.dropped.samples = piece.len() - extras.histograms().len() - fragment.samples();
        let fits = request.symbols.as_ref().is_none_or(|symbols| symbols.len() + places <= MAX_TEMPLATE_PLACES);
        if !self.has_room(request, counted.sent, fragment.plain_len() + string_bytes + scratch.plain.len()) || !fits {
            request.rewind(mark);
            return if request.is_empty() { None } else { Some(piece.start) };
        }
        let filling = Filling {
            values: &part.values[piece.clone()],
            timestamp: part.timestamp,
            timestamps: part.timestamps.map(|timestamps| &timestamps[piece.clone()]),
        };
        while !fragment.put(&mut request.bytes, &filling, request.symbols.as_mut().map(|symbols| (&**part.chunk, symbols))) {
            let Some(wider) = self.amend(part, nth, filling.values, chosen) else {
                request.rewind(mark);
                return None;
            };
            fragment = wider;
        }
        request.appended(fragment.plain_len());
        request.add_plain(scratch);
        if fragment.samples() > 0 {
            counted.latest = counted.latest.max(filling.latest());
        }
        request.counted += counted;
        Some(piece.end)
    }

    /// Values changed that had been constant: widens the template for them, or gives it up; none if it can't be used this time.
    fn amend(&self, part: &Part<'_>, nth: usize, values: &[f64], chosen: &mut Chosen) -> Option<Arc<template::Fragment>> {
        let fragment = chosen.template.fragment(nth)?;
        let contradicting: Vec<usize> = fragment.contradicting(values).collect();
        if contradicting.iter().any(|&row| stale::is_stale(values[row])) {
            return None; // the series ended, or its target is away for a while: nothing to learn
        }
        if contradicting.len() * REBUILD_PART > fragment.samples() && chosen.sends >= MIN_SENDS {
            self.templates.forget(part.chunk, chosen.stamps, part.values);
            return None;
        }
        let template = fragment.widened(values).map(|wider| Arc::new(chosen.template.with(nth, wider)));
        self.templates.widened(part.chunk, chosen.stamps, template.clone());
        chosen.template = template?;
        chosen.template.fragment(nth).cloned()
    }

    /// Adds a piece, encoded row by row. If it is too large for any request, as much of it as fits into one.
    fn add_ordinary(&self, request: &mut Request, part: &Part<'_>, piece: &Range<usize>, scratch: &mut Scratch) -> usize {
        let mark = request.symbols.as_ref().map(symbols::Symbols::mark);
        let (done, counted) = self.encode_rows(part, piece.clone(), Wanted::All, self.max_plain, scratch, request.symbols.as_mut());
        if !self.has_room(request, counted.sent, scratch.plain.len()) {
            request.rewind(mark);
            return piece.start;
        }
        request.add_plain(scratch);
        request.counted += counted;
        scratch.shrink();
        done
    }

    /// Whether as much fits into the request; anything fits into an empty one.
    fn has_room(&self, request: &Request, more: Tally, plain_len: usize) -> bool {
        let sent = request.counted.sent.total() + more.total();
        request.is_empty() || sent <= self.max_samples && request.plain_len() + plain_len <= self.max_plain
    }
}

impl Part<'_> {
    /// Which kind of template holds the part's timestamps, if any does.
    fn stamps(&self) -> Option<Stamps> {
        let fits = |timestamp: &i64| *timestamp >= self.oldest && wire::STAMP_RANGE.contains(timestamp);
        match self.timestamps {
            None if fits(&self.timestamp) => Some(Stamps::Shared),
            Some(timestamps) if timestamps.iter().all(fits) => Some(Stamps::Own),
            _ => None,
        }
    }
}
