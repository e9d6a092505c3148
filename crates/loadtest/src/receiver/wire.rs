//! Reads a remote write 1.0 request in place: no allocation per series, so that receiving costs little beside what is measured. Types that
//! own their data are in `proto`; field numbers are those of prometheus/prometheus `prompb/remote.proto` and `types.proto`.

/// The bytes are not a write request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a remote write 1.0 request: {0}")]
pub struct Malformed(&'static str);

/// How much a request holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Time series, each once per request.
    pub series: u64,
    /// Float samples.
    pub samples: u64,
    /// Native histogram samples.
    pub histograms: u64,
}

/// One time series of a request.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    message: &'a [u8],
}

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix milliseconds.
    pub ts_ms: i64,
    /// The value's bits, which tell staleness markers from other NaN.
    pub bits: u64,
}

/// The time series of a request, in order.
pub fn series(request: &[u8]) -> impl Iterator<Item = Result<Series<'_>, Malformed>> {
    Fields { rest: request }.filter_map(|field| match field {
        Ok((1, Value::Bytes(message))) => Some(Ok(Series { message })),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    })
}

/// Counts without looking into labels and samples.
///
/// # Errors
/// Bytes that are no write request.
pub fn count(request: &[u8]) -> Result<Counts, Malformed> {
    let mut counts = Counts::default();
    for one in series(request) {
        counts.series += 1;
        for field in (Fields { rest: one?.message }) {
            match field? {
                (2, Value::Bytes(_)) => counts.samples += 1,
                (4, Value::Bytes(_)) => counts.histograms += 1,
                _ => {}
            }
        }
    }
    Ok(counts)
}

impl<'a> Series<'a> {
    /// Name and value of each label, in the order of the wire.
    pub fn labels(&self) -> impl Iterator<Item = Result<(&'a str, &'a str), Malformed>> + use<'a> {
        self.messages(1).map(|message| label(message?))
    }

    /// The float samples, in the order of the wire.
    pub fn samples(&self) -> impl Iterator<Item = Result<Sample, Malformed>> + use<'a> {
        self.messages(2).map(|message| sample(message?))
    }

    /// The embedded messages of one field.
    fn messages(&self, wanted: u32) -> impl Iterator<Item = Result<&'a [u8], Malformed>> + use<'a> {
        Fields { rest: self.message }.filter_map(move |field| match field {
            Ok((number, Value::Bytes(message))) if number == wanted => Some(Ok(message)),
            Ok(_) => None,
            Err(malformed) => Some(Err(malformed)),
        })
    }
}

fn label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    for field in (Fields { rest: message }) {
        match field? {
            (1, Value::Bytes(bytes)) => name = utf8(bytes)?,
            (2, Value::Bytes(bytes)) => value = utf8(bytes)?,
            _ => {}
        }
    }
    Ok((name, value))
}

fn sample(message: &[u8]) -> Result<Sample, Malformed> {
    let mut sample = Sample { ts_ms: 0, bits: 0 };
    for field in (Fields { rest: message }) {
        match field? {
            (1, Value::Fixed64(bits)) => sample.bits = bits,
            // int64 is a two's complement varint: the cast restores the sign.
            (2, Value::Varint(ts)) => sample.ts_ms = ts as i64,
            _ => {}
        }
    }
    Ok(sample)
}

fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a label is not UTF-8"))
}

/// A field's value, as far as the wire type tells it.
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of one message; stops after the first error.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Malformed("a field number is too large"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(usize::try_from(len).map_err(|_| Malformed("a length is too large"))?)?)
            }
            5 => {
                self.array::<4>()?;
                Value::Fixed32
            }
            _ => return Err(Malformed("a field has an unknown wire type")),
        };
        Ok((number, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed("a number is cut off or too long"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed("a field is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("a field is cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One series `{a="b"}` with the samples (1.5 at -1) and (NaN at 7), a metadata entry and an unknown field.
    const REQUEST: &[u8] = &[
        0x0a, 41, // timeseries
        0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b', // label
        0x12, 20, 0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, // sample
        0x12, 9, 0x09, 2, 0, 0, 0, 0, 0, 0xf0, 0x7f, // stale marker without a timestamp
        0x1a, 0, // metadata
        0x25, 1, 2, 3, 4, // field 4, fixed32
    ];

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let all: Vec<Series<'_>> = series(REQUEST).collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].labels().collect::<Result<Vec<_>, _>>().unwrap(), [("a", "b")]);
        let samples: Vec<Sample> = all[0].samples().collect::<Result<_, _>>().unwrap();
        assert_eq!(samples, [Sample { ts_ms: -1, bits: 1.5_f64.to_bits() }, Sample { ts_ms: 0, bits: model::stale::STALE_NAN_BITS }]);
        assert_eq!(count(REQUEST), Ok(Counts { series: 1, samples: 2, histograms: 0 }));
        assert_eq!(count(&[]), Ok(Counts::default()));
    }

    #[test]
    fn every_cut_is_an_error_or_a_whole_prefix_and_never_a_panic() {
        let inner = 43;
        for end in 1..REQUEST.len() {
            let result = count(&REQUEST[..end]);
            let whole = [inner, inner + 2].contains(&end);
            assert_eq!(result.is_ok(), whole, "cut at {end}: {result:?}");
        }
    }

    #[test]
    fn absurd_lengths_and_numbers_are_refused() {
        assert!(count(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "longer than the request");
        assert!(count(&[0xff; 16]).is_err(), "a varint without an end");
        assert!(count(&[0x0b]).is_err(), "groups are not used");
    }
}
