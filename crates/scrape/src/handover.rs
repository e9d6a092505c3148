//! What one node tells the next about a target that it hands over: which series it left alive, so that those which don't come again get
//! their markers, and the time of the last samples. Own binary form, read with suspicion.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use model::{Chunk, Layout, LayoutBuilder};

/// The first byte; another form gets another one.
const VERSION: u8 = 1;

/// The state of a target between two nodes.
#[derive(Debug, Clone)]
pub struct Handover {
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
    /// Writes the state, in at most `max` bytes: `None` if it takes more.
    #[must_use]
    pub fn encode(&self, max: usize) -> Option<Bytes> {
        // What the chunks hold is a good lower bound: saves writing what is too large anyway.
        let least: usize = self.live.chunks().iter().map(|chunk| chunk.heap_bytes() / 3).sum();
        if least > max {
            return None;
        }
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        out.put_i64(self.last_timestamp);
        put(&mut out, self.live.chunks().len() as u64);
        for chunk in self.live.chunks() {
            encode_chunk(chunk, &mut out);
            if out.len() > max {
                return None;
            }
        }
        Some(out.freeze())
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`HandoverError`] if it isn't one, whatever it is.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandoverError> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(HandoverError("unknown version"));
        }
        let timestamp = input.take(8)?;
        let last_timestamp = timestamp.iter().fold(0, |value, byte| (value << 8) | i64::from(*byte));
        let mut builder = LayoutBuilder::default();
        for _ in 0..input.count()? {
            decode_chunk(&mut input, &mut builder)?;
        }
        if !input.0.is_empty() {
            return Err(HandoverError("something follows the last chunk"));
        }
        Ok(Self { live: Arc::new(builder.finish()), last_timestamp })
    }
}

fn encode_chunk(chunk: &Chunk, out: &mut BytesMut) {
    put(out, chunk.symbol_count() as u64);
    for symbol in 0..chunk.symbol_count() {
        let text = chunk.symbol(symbol as u16);
        put(out, text.len() as u64);
        out.put_slice(text.as_bytes());
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
        let len = input.count()?;
        symbols.push(std::str::from_utf8(input.take(len)?).map_err(|_| HandoverError("a label that is not UTF-8"))?);
    }
    for _ in 0..input.count()? {
        let mut labels: Vec<(&str, &str)> = Vec::new();
        for _ in 0..input.count()? {
            let label = (input.symbol(&symbols)?, input.symbol(&symbols)?);
            if label.1.is_empty() || labels.last().is_some_and(|last| last.0 >= label.0) {
                return Err(HandoverError("labels out of order or without a value"));
            }
            labels.push(label);
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

    fn handover(series: usize) -> Handover {
        let mut builder = LayoutBuilder::default();
        for n in 0..series {
            let (name, value) = (format!("m{}", n % 7), format!("ü{n}"));
            builder.push([("__name__", name.as_str()), ("job", "j"), ("x", value.as_str())].into_iter()).unwrap();
        }
        Handover { live: Arc::new(builder.finish()), last_timestamp: 1_700_000_000_123 }
    }

    fn series(layout: &Layout) -> Vec<String> {
        layout.iter().map(|series| series.to_labels().to_string()).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 1300] {
            let before = handover(count);
            let bytes = before.encode(1 << 20).unwrap();
            let after = Handover::decode(&bytes).unwrap();
            assert_eq!(series(&after.live), series(&before.live));
            assert_eq!(after.last_timestamp, before.last_timestamp);
            assert!(bytes.len() < 30 + 20 * count, "{} bytes for {count} series", bytes.len());
        }
    }

    #[test]
    fn what_is_too_large_is_not_written() {
        assert!(handover(1300).encode(1000).is_none());
        let bytes = handover(10).encode(10_000).unwrap();
        assert!(handover(10).encode(bytes.len()).is_some());
        assert!(handover(10).encode(bytes.len() - 1).is_none());
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = handover(3).encode(10_000).unwrap();
        for cut in 0..good.len() {
            assert!(Handover::decode(&good[..cut]).is_err(), "{cut}");
        }
        assert!(Handover::decode(&[&good[..], &[0]].concat()).is_err());
        let mut other = good.to_vec();
        other[0] = 2;
        assert_eq!(Handover::decode(&other).unwrap_err(), HandoverError("unknown version"));
        // One chunk, two symbols, one series with the same label twice.
        let twice = [&[1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 1, b'a', 1, b'b', 1, 2, 0, 1, 0, 1][..]].concat();
        assert_eq!(Handover::decode(&twice).unwrap_err(), HandoverError("labels out of order or without a value"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..200, good in any::<bool>()) {
            if good {
                let mut damaged = handover(5).encode(10_000).unwrap().to_vec();
                let at = at % damaged.len();
                damaged[at] = bytes.first().copied().unwrap_or(0);
                bytes = damaged;
            }
            let _ = Handover::decode(&bytes);
        }
    }
}
