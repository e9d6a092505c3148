//! The text of a template: the series of a chunk as a request has them, with symbols instead of what is filled in later. Versions differ in
//! how they name a series; a sample looks the same in both.

use hashbrown::HashMap;
use model::{Chunk, SeriesRef};

use super::Message;
use super::outgoing::Outgoing;
use super::snappy::{NUMBER_BYTES, Symbol};
use super::symbols::MAX_TEMPLATE_PLACES;
use super::template::Stamps;
use super::value::Hole;
use super::wire::{self, STAMP, v2};

/// Longer texts get no template: compressing one takes sixteen times its size. 2 KiB for each of 512 series; labels of such length don't
/// come by the thousand, and a template would hardly be smaller than they are.
const MAX_TEXT: usize = 1 << 20;

/// The value of a row: which bytes are open, and the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowValue {
    pub hole: Hole,
    pub bits: u64,
    /// The start time, where the version has one.
    pub created: Option<i64>,
}

/// A text that can have no template: it is too long, or has too many strings.
#[derive(Debug)]
pub(super) struct Unfit;

/// See the module.
pub(super) struct Text<'a> {
    outgoing: &'a Outgoing,
    stamps: Stamps,
    symbols: Vec<Symbol>,
    names: Names<'a>,
}

enum Names<'a> {
    /// Labels in full; the buffer is for one series.
    Labels(Vec<u8>),
    Places(Places<'a>),
}

/// The strings of a text of version 2, numbered as they come.
struct Places<'a> {
    chunk: &'a Chunk,
    in_chunk: HashMap<&'a str, u16>,
    numbers: HashMap<Box<str>, u16>,
    strings: Strings,
    /// Those of one series.
    refs: Vec<u16>,
}

/// Where the strings of a template are: with the chunk if it has them, else here.
#[derive(Clone, Default)]
pub(super) struct Strings {
    sources: Vec<Source>,
    own: Vec<Box<str>>,
    /// Bytes that they take in a request's table at most.
    pub bytes: usize,
}

#[derive(Clone, Copy)]
enum Source {
    Symbol(u16),
    Help(u16),
    Unit(u16),
    Own(u16),
}

impl<'a> Text<'a> {
    pub fn new(chunk: &'a Chunk, outgoing: &'a Outgoing, message: Message, stamps: Stamps) -> Self {
        let names = match message {
            Message::V1 => Names::Labels(Vec::new()),
            Message::V2 => Names::Places(Places::new(chunk)),
        };
        Self { outgoing, stamps, symbols: Vec::new(), names }
    }

    /// Appends a series; gives the place of its value, none if the series is not sent.
    pub fn push(&mut self, series: SeriesRef<'a>, value: RowValue) -> Result<Option<usize>, Unfit> {
        let start = v2::start(value.created.filter(|_| matches!(self.names, Names::Places(_))));
        let sample = wire::SAMPLE_FIXED + STAMP + start.map_or(0, |start| 1 + wire::varint_len(start as u64));
        let at = match &mut self.names {
            Names::Labels(labels) => {
                labels.clear();
                if !self.outgoing.labels(series, |name, value| wire::put_label(labels, name, value)) {
                    return Ok(None);
                }
                put_head(&mut self.symbols, wire::SERIES, labels.len() + 2 + sample);
                put_bytes(&mut self.symbols, labels);
                put_sample(&mut self.symbols, sample, self.stamps, value, start)
            }
            Names::Places(places) => {
                if !places.read(self.outgoing, series)? {
                    return Ok(None);
                }
                let metadata = places.metadata(series)?;
                let refs = NUMBER_BYTES * places.refs.len();
                let head = 1 + wire::varint_len(refs as u64);
                put_head(&mut self.symbols, v2::SERIES, head + refs + 2 + sample + metadata.len());
                put_head(&mut self.symbols, v2::REFS, refs);
                places.refs.iter().for_each(|&number| self.symbols.extend(Symbol::number(number)));
                let at = put_sample(&mut self.symbols, sample, self.stamps, value, start);
                self.symbols.extend(metadata);
                at
            }
        };
        if self.symbols.len() > MAX_TEXT { Err(Unfit) } else { Ok(Some(at)) }
    }

    /// The text, and the strings that its numbers stand for.
    pub fn finish(self) -> (Vec<Symbol>, Strings) {
        match self.names {
            Names::Labels(_) => (self.symbols, Strings::default()),
            Names::Places(places) => (self.symbols, places.strings),
        }
    }
}

impl<'a> Places<'a> {
    fn new(chunk: &'a Chunk) -> Self {
        let symbols = 0..chunk.symbol_count() as u16; // a chunk has at most 65 535
        let in_chunk = symbols.map(|symbol| (chunk.symbol(symbol), symbol)).collect();
        Self { chunk, in_chunk, numbers: HashMap::new(), strings: Strings::default(), refs: Vec::new() }
    }

    /// Reads the labels of a series into `refs`; false if it is not sent.
    fn read(&mut self, outgoing: &Outgoing, series: SeriesRef<'_>) -> Result<bool, Unfit> {
        let mut refs = std::mem::take(&mut self.refs);
        refs.clear();
        let sent = outgoing.labels(series, |name, value| {
            for text in [name, value] {
                let source = self.in_chunk.get(text).map(|&symbol| Source::Symbol(symbol));
                refs.push(self.number(text, source));
            }
        });
        self.refs = refs;
        if self.numbers.len() < MAX_TEMPLATE_PLACES { Ok(sent) } else { Err(Unfit) }
    }

    /// What is known of the series' family, encoded.
    fn metadata(&mut self, series: SeriesRef<'_>) -> Result<Vec<Symbol>, Unfit> {
        let Some(metadata) = series.metadata() else { return Ok(Vec::new()) };
        let family = self.chunk.families().iter().position(|family| std::sync::Arc::ptr_eq(family, metadata)).ok_or(Unfit)? as u16;
        let mut content = Vec::new();
        put_bytes(&mut content, &[v2::TYPE, v2::type_number(metadata.kind)]);
        for (key, text, source) in [(v2::HELP, &metadata.help, Source::Help(family)), (v2::UNIT, &metadata.unit, Source::Unit(family))] {
            if !text.is_empty() {
                content.push(Symbol::byte(key));
                content.extend(Symbol::number(self.number(text, Some(source))));
            }
        }
        let mut field = Vec::new();
        put_head(&mut field, v2::METADATA, content.len());
        field.extend(content);
        Ok(field)
    }

    /// The number of a string, which is at `source` or has to be kept.
    fn number(&mut self, text: &str, source: Option<Source>) -> u16 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        // More than there can be are noticed after each series, whose strings fit into sixteen bits.
        let number = self.numbers.len() as u16;
        self.numbers.insert(text.into(), number);
        self.strings.push(text, source);
        number
    }
}

impl Strings {
    fn push(&mut self, text: &str, source: Option<Source>) {
        let source = source.unwrap_or_else(|| {
            self.own.push(text.into());
            Source::Own((self.own.len() - 1) as u16)
        });
        self.sources.push(source);
        self.bytes += 1 + wire::varint_len(text.len() as u64) + text.len();
    }

    /// All texts in the order of their numbers. `chunk` is the one that they were read from.
    pub fn texts<'a>(&'a self, chunk: &'a Chunk) -> impl ExactSizeIterator<Item = &'a str> {
        self.sources.iter().map(|source| match *source {
            Source::Symbol(symbol) => chunk.symbol(symbol),
            Source::Help(family) => &chunk.families()[usize::from(family)].help,
            Source::Unit(family) => &chunk.families()[usize::from(family)].unit,
            Source::Own(at) => &self.own[usize::from(at)],
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Gives back room that was kept for more.
    pub fn shrink(mut self) -> Self {
        self.sources.shrink_to_fit();
        self.own.shrink_to_fit();
        self
    }

    /// Bytes of heap.
    pub fn heap_bytes(&self) -> usize {
        let own: usize = self.own.iter().map(|text| size_of::<Box<str>>() + text.len()).sum();
        size_of_val(&*self.sources) + own
    }
}

/// Appends a sample with holes for what changes; gives the place of its value.
fn put_sample(text: &mut Vec<Symbol>, len: usize, stamps: Stamps, value: RowValue, start: Option<i64>) -> usize {
    put_head(text, wire::SAMPLE, len);
    text.push(Symbol::byte(wire::VALUE));
    let at = text.len();
    let bytes = value.bits.to_le_bytes().into_iter().enumerate();
    text.extend(bytes.map(|(index, byte)| if value.hole.is_open(index) { Symbol::HOLE } else { Symbol::byte(byte) }));
    text.push(Symbol::byte(wire::TIMESTAMP));
    text.extend((0..STAMP as u8).map(|index| if stamps == Stamps::Own { Symbol::HOLE } else { Symbol::stamp(index) }));
    if let Some(start) = start {
        put_head(text, v2::START, start as usize);
    }
    at
}

/// Appends a key and a length, or another varint.
fn put_head(text: &mut Vec<Symbol>, key: u8, number: usize) {
    let mut head = vec![key];
    wire::put_varint(&mut head, number as u64);
    put_bytes(text, &head);
}

fn put_bytes(text: &mut Vec<Symbol>, bytes: &[u8]) {
    text.extend(bytes.iter().map(|&byte| Symbol::byte(byte)));
}
