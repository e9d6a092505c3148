//! What one node tells the next about the targets of a key that it hands over: whose they are, which series it left alive, so that those
//! which don't come again get their markers, and the time of the last samples. Own binary form, read with suspicion.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use model::{Chunk, Labels, Layout, LayoutBuilder};

use crate::target::MAX_LABELS;

/// The first byte; another form gets another one. 1 was one target without its labels.
const VERSION: u8 = 2;

/// The state of a target between two nodes.
#[derive(Debug, Clone)]
pub struct Handover {
    /// The target's name within its job.
    pub(crate) id: u64,
    /// The labels of its series.
    pub labels: Labels,
    /// The series that have samples and no staleness markers.
    pub live: Arc<Layout>,
    /// The time of the last scrape's samples, in milliseconds since the epoch; samples to come must be later.
    pub last_timestamp: i64,
}

/// Bytes that are no handover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a target's state from another node can't be read: {0}")]
pub struct HandoverError(&'static str);

impl Handover {
    /// Writes the state of a key's targets, in at most `max` bytes. A target whose series don't fit goes without them; `None` if that is
    /// still too much.
    #[must_use]
    pub fn encode(targets: &[Self], max: usize) -> Option<Bytes> {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        put(&mut out, targets.len() as u64);
        for target in targets {
            target.encode_head(&mut out);
        }
        // Without series, each of them takes one more byte.
        let mut spare = max.checked_sub(out.len() + targets.len())?;
        for target in targets {
            let before = out.len();
            if !target.encode_series(&mut out, spare + 1) {
                out.truncate(before);
                put(&mut out, 0);
            }
            spare -= out.len() - before - 1;
        }
        Some(out.freeze())
    }

    fn encode_head(&self, out: &mut BytesMut) {
        out.put_u64(self.id);
        out.put_i64(self.last_timestamp);
        put(out, self.labels.len() as u64);
        for text in self.labels.iter().flat_map(|(name, value)| [name, value]) {
            put_text(out, text);
        }
    }

    /// Writes the series if they take at most `max` bytes; else it has written something.
    fn encode_series(&self, out: &mut BytesMut, max: usize) -> bool {
        // What the chunks hold is a good lower bound: saves writing what is too large anyway.
        let least: usize = self.live.chunks().iter().map(|chunk| chunk.heap_bytes() / 3).sum();
        if least > max {
            return false;
        }
        let most = out.len() + max;
        put(out, self.live.chunks().len() as u64);
        self.live.chunks().iter().all(|chunk| {
            encode_chunk(chunk, out);
            out.len() <= most
        }) && out.len() <= most
    }

    /// Reads the state of a key's targets.
    ///
    /// # Errors
    /// [`HandoverError`] if it isn't one, whatever it is.
    pub fn decode(bytes: &[u8]) -> Result<Vec<Self>, HandoverError> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(HandoverError("unknown version"));
        }
        let mut targets = Vec::new();
        for _ in 0..input.count()? {
            targets.push(decode_head(&mut input)?);
        }
        for target in &mut targets {
            let mut builder = LayoutBuilder::default();
            for _ in 0..input.count()? {
                decode_chunk(&mut input, &mut builder)?;
            }
            target.live = Arc::new(builder.finish());
        }
        if !input.0.is_empty() {
            return Err(HandoverError("something follows the last chunk"));
        }
        Ok(targets)
    }
}

fn decode_head(input: &mut Input<'_>) -> Result<Handover, HandoverError> {
    let (id, last_timestamp) = (input.fixed()?, input.fixed()?.cast_signed());
    let mut labels: Vec<(&str, &str)> = Vec::new();
    for _ in 0..input.count()? {
        let label = (input.text()?, input.text()?);
        push_label(&mut labels, label)?;
    }
    if labels.len() > MAX_LABELS {
        return Err(HandoverError("a target with too many labels"));
    }
    Ok(Handover { id, labels: labels.into_iter().collect(), live: Arc::default(), last_timestamp })
}

/// Adds a label, which has to be in order.
fn push_label<'a>(labels: &mut Vec<(&'a str, &'a str)>, label: (&'a str, &'a str)) -> Result<(), HandoverError> {
    if label.1.is_empty() || labels.last().is_some_and(|last| last.0 >= label.0) {
        return Err(HandoverError("labels out of order or without a value"));
    }
    labels.push(label);
    Ok(())
}

fn encode_chunk(chunk: &Chunk, out: &mut BytesMut) {
    put(out, chunk.symbol_count() as u64);
    for symbol in 0..chunk.symbol_count() {
        put_text(out, chunk.symbol(symbol as u16));
    }
    put(out, chunk.len() as u64);
    for series in chunk.iter() {
        put(out, series.symbols().len() as u64);
        for (name, value) in series.symbols() {
            put(out, u64::from(*name));
            put(out, u64::from(*value));
        }
    }
}

fn decode_chunk(input: &mut Input<'_>, builder: &mut LayoutBuilder) -> Result<(), HandoverError> {
    let mut symbols = Vec::new();
    for _ in 0..input.count()? {
        symbols.push(input.text()?);
    }
    for _ in 0..input.count()? {
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for _ in 0..input.count()? {
            let label = (input.symbol(&symbols)?, input.symbol(&symbols)?);
            push_label(&mut labels, label)?;
        }
        builder.push(labels.iter().copied()).map_err(|_| HandoverError("a series with too many labels"))?;
    }
    builder.cut();
    Ok(())
}

/// Writes a number in groups of seven bits, lowest first.
fn put(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

fn put_text(out: &mut BytesMut, text: &str) {
    put(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

/// What is still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], HandoverError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(HandoverError("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, HandoverError> {
        Ok(self.take(1)?[0])
    }

    /// A number of eight bytes.
    fn fixed(&mut self) -> Result<u64, HandoverError> {
        Ok(self.take(8)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn text(&mut self) -> Result<&'a str, HandoverError> {
        let len = self.count()?;
        std::str::from_utf8(self.take(len)?).map_err(|_| HandoverError("a label that is not UTF-8"))
    }

    /// A number of things. Each takes a byte at least, so there can't be more than bytes: nothing is allocated for a lie.
    fn count(&mut self) -> Result<usize, HandoverError> {
        let number = self.number()?;
        if number > self.0.len() as u64 { Err(HandoverError("it ends too early")) } else { Ok(number as usize) }
    }

    fn symbol(&mut self, symbols: &[&'a str]) -> Result<&'a str, HandoverError> {
        let number = self.number()?;
        usize::try_from(number).ok().and_then(|at| symbols.get(at)).copied().ok_or(HandoverError("a symbol that is not there"))
    }

    fn number(&mut self) -> Result<u64, HandoverError> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
            if shift > 56 {
                return Err(HandoverError("a number is too large"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handover(id: u64, series: usize) -> Handover {
        let mut builder = LayoutBuilder::default();
        for n in 0..series {
            let (name, value) = (format!("m{}", n % 7), format!("ü{n}"));
            builder.push([("__name__", name.as_str()), ("job", "j"), ("x", value.as_str())].into_iter()).unwrap();
        }
        let labels = [("instance", "i"), ("job", "j")].into_iter().collect();
        Handover { id, labels, live: Arc::new(builder.finish()), last_timestamp: 1_700_000_000_123 }
    }

    fn shown(targets: &[Handover]) -> Vec<(u64, i64, String, Vec<String>)> {
        let series = |layout: &Layout| layout.iter().map(|series| series.to_labels().to_string()).collect();
        targets.iter().map(|target| (target.id, target.last_timestamp, target.labels.to_string(), series(&target.live))).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for counts in [vec![], vec![0], vec![1], vec![1300], vec![3, 0, 700]] {
            let before: Vec<Handover> = (u64::MAX - 9..).zip(&counts).map(|(id, count)| handover(id, *count)).collect();
            let bytes = Handover::encode(&before, 1 << 20).unwrap();
            assert_eq!(shown(&Handover::decode(&bytes).unwrap()), shown(&before));
            assert!(bytes.len() < 3 + 60 * counts.len() + 20 * counts.iter().sum::<usize>(), "{} bytes for {counts:?}", bytes.len());
        }
    }

    #[test]
    fn series_that_are_too_many_are_not_written_and_the_target_is() {
        let targets = [handover(1, 3), handover(2, 1300), handover(3, 4)];
        let all = Handover::encode(&targets, 1 << 20).unwrap();
        assert_eq!(Handover::encode(&targets, all.len()).unwrap(), all);
        for max in [all.len() - 1, 1000] {
            let bytes = Handover::encode(&targets, max).unwrap();
            assert!(bytes.len() <= max);
            let counts: Vec<usize> = Handover::decode(&bytes).unwrap().iter().map(|target| target.live.len()).collect();
            // The last one's series can be the one byte too much.
            assert_eq!(counts, if max == 1000 { [3, 0, 4] } else { [3, 1300, 0] });
        }
        assert!(Handover::encode(&targets, 100).is_none());
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = Handover::encode(&[handover(1, 3), handover(2, 1)], 10_000).unwrap();
        for cut in 0..good.len() {
            assert!(Handover::decode(&good[..cut]).is_err(), "{cut}");
        }
        assert!(Handover::decode(&[&good[..], &[0]].concat()).is_err());
        let mut other = good.to_vec();
        other[0] = 1;
        assert_eq!(Handover::decode(&other).unwrap_err(), HandoverError("unknown version"));
        // One target without labels; one chunk, two symbols, one series with the same label twice.
        let twice = [&[2, 1][..], &[0; 16], &[0], &[1, 2, 1, b'a', 1, b'b', 1, 2, 0, 1, 0, 1]].concat();
        assert_eq!(Handover::decode(&twice).unwrap_err(), HandoverError("labels out of order or without a value"));
        let twice = [&[2, 1][..], &[0; 16], &[2, 1, b'a', 1, b'b', 1, b'a', 1, b'b', 0]].concat();
        assert_eq!(Handover::decode(&twice).unwrap_err(), HandoverError("labels out of order or without a value"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, good in any::<bool>()) {
            if good {
                let mut damaged = Handover::encode(&[handover(1, 5), handover(2, 2)], 10_000).unwrap().to_vec();
                let at = at % damaged.len();
                damaged[at] = bytes.first().copied().unwrap_or(0);
                bytes = damaged;
            }
            let _ = Handover::decode(&bytes);
        }
    }
}
