//! `io.prometheus.write.v2.Request`, remote write 2.0; field numbers are those of prometheus/prometheus
//! `prompb/io/prometheus/write/v2/types.proto`. Strings stand once per request and are referred to by number.
//!
//! What is wrong with one series costs only that series: the rest is taken, and the answer is 400 with what was written
//! (<https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/#partial-write>).

use super::histogram;
use super::identity::{Identity, LastPlace, Place};
use super::parsed::{Parsed, Said, Series, Symbol};
use super::wire::{Malformed, Reader, Value};
use super::{Refusals, Rejected, TOO_FAR};

/// Most strings of a request: each takes two bytes on the wire at least, and sixteen times as many in memory.
const MAX_SYMBOLS: usize = 1 << 20;

/// What matters beside the request itself.
pub(super) struct Reading<'r> {
    pub identity: &'r Identity,
    /// The latest timestamp that is taken, in milliseconds.
    pub newest: i64,
    /// Whether what is said about series is used at all.
    pub uses_metadata: bool,
}

/// Reads a request; what is wrong with single series goes to `refusals`.
///
/// # Errors
/// [`Rejected`] if the request is no such message: nothing of it is taken.
pub(super) fn parse(request: &[u8], reading: &Reading<'_>, into: &mut Parsed, refusals: &mut Refusals) -> Result<(), Rejected> {
    symbols(request, reading.identity, into)?;
    let mut reader = Reader::new(request);
    let mut last = LastPlace::default();
    while let Some((number, value)) = reader.field()? {
        if number == 5 {
            series(value.bytes()?, request, reading, &mut last, into, refusals)?;
        }
    }
    Ok(())
}

/// Strings usually come before the series that refer to them, but need not.
fn symbols(request: &[u8], identity: &Identity, into: &mut Parsed) -> Result<(), Malformed> {
    let mut reader = Reader::new(request);
    while let Some((number, value)) = reader.field()? {
        if number == 4 {
            if into.symbols.len() >= MAX_SYMBOLS {
                return Err(Malformed("there are more than 1048576 symbols in the request; send several requests"));
            }
            let text = value.bytes()?;
            let (from, to) = (text.position() as u32, text.end() as u32);
            into.symbols.push(Symbol { from, to, hash: identity.of(text.rest()) });
        }
    }
    Ok(())
}

/// The text of a symbol, if there is one.
pub(super) fn text<'a>(request: &'a [u8], symbols: &[Symbol], number: u64) -> Option<&'a [u8]> {
    let symbol = symbols.get(usize::try_from(number).ok()?)?;
    request.get(symbol.from as usize..symbol.to as usize)
}

fn series<'a>(
    message: Reader<'a>,
    request: &'a [u8],
    reading: &Reading<'_>,
    last: &mut LastPlace<'a>,
    into: &mut Parsed,
    refusals: &mut Refusals,
) -> Result<(), Rejected> {
    let (first_row, first_exemplar) = (into.rows.len(), into.exemplars.len());
    let mut said = Said::default();
    let (mut labels, mut label_fields) = (None, 0);
    let mut rest = message;
    while let Some((number, value)) = rest.field()? {
        match number {
            1 => {
                label_fields += 1;
                labels = Some(value);
            }
            2 => sample(value.bytes()?, reading.newest, into, refusals)?,
            3 => {
                let timed = histogram::read(value.bytes()?, into)?;
                if timed.timestamp > reading.newest {
                    refusals.add(|| TOO_FAR.to_owned());
                } else if let Err(flaw) = &timed.histogram {
                    refusals.add(|| flaw.to_string());
                } else {
                    timed.push(into)?;
                }
            }
            4 => {
                let exemplar = value.bytes()?;
                into.push_exemplar(exemplar.position(), exemplar.end())?;
            }
            5 => said = metadata(value.bytes()?)?,
            _ => {}
        }
    }
    let rows = into.rows.len() - first_row;
    let labels = match labels {
        Some(Value::Bytes(packed)) if label_fields == 1 => References::Packed(packed),
        _ => References::Fields(message),
    };
    match identify(labels, request, said, reading, into)? {
        Err(reason) => {
            refusals.invalid(rows, || reason);
            into.take_back(first_row);
        }
        Ok(_) if rows == 0 && into.exemplars.len() == first_exemplar => refusals.add(|| NOTHING.to_owned()),
        Ok((key, place)) => {
            let last_row = (rows > 0).then(|| into.rows.len() as u32 - 1);
            let (from, to) = (message.position() as u32, message.end() as u32);
            into.push_series(Series { key, from, to, said, last_row, source: last.source(place) })?;
        }
    }
    Ok(())
}

/// Why a series without anything is refused.
pub(super) const NOTHING: &str = "a time series must have at least one sample or histogram";

fn sample(message: Reader<'_>, newest: i64, into: &mut Parsed, refusals: &mut Refusals) -> Result<(), Malformed> {
    let (value, timestamp, start) = read_sample(message)?;
    if timestamp > newest {
        refusals.add(|| TOO_FAR.to_owned());
        return Ok(());
    }
    let row = into.push_row(value, timestamp)?;
    if start != 0 {
        into.created.push((row, start));
    }
    Ok(())
}

/// Value, timestamp, start timestamp; 0 for what is not there.
#[inline]
fn read_sample(mut message: Reader<'_>) -> Result<(f64, i64, i64), Malformed> {
    let (mut value, mut timestamp, mut start) = (0.0, 0, 0);
    // As everybody writes it: 1 value, 2 timestamp, and mostly nothing more.
    if let Some(([0x09, bits @ ..], [0x10, stamp @ ..])) = message.rest().split_first_chunk::<9>() {
        let mut rest = Reader::new(stamp);
        (value, timestamp) = (f64::from_le_bytes(*bits), rest.varint()? as i64);
        message = rest;
    }
    while let Some((number, field)) = message.field()? {
        match number {
            1 => value = field.double()?,
            2 => timestamp = field.varint()? as i64, // int64 is a two's complement varint
            3 => start = field.varint()? as i64,
            _ => {}
        }
    }
    Ok((value, timestamp, start))
}

fn metadata(mut message: Reader<'_>) -> Result<Said, Malformed> {
    let mut said = Said::default();
    while let Some((number, value)) = message.field()? {
        match number {
            1 => said.kind = u8::try_from(value.varint()?).unwrap_or_default(), // what is not known is unspecified
            3 => said.help = value.varint()? as u32,
            4 => said.unit = value.varint()? as u32,
            _ => {}
        }
    }
    Ok(said)
}

/// Key and place of a series, or why it can't have any.
fn identify<'a>(
    labels: References<'a>,
    request: &'a [u8],
    said: Said,
    reading: &Reading<'_>,
    parsed: &Parsed,
) -> Result<Result<(u128, Place<'a>), String>, Malformed> {
    let symbols = &parsed.symbols;
    let identity = reading.identity;
    let (mut key, mut place) = (0, Place::default());
    let mut wrong = None;
    let even = labels.each(|name, value| {
        let (Some(name_symbol), Some(value_symbol)) = (at(symbols, name), at(symbols, value)) else {
            let size = symbols.len();
            wrong.get_or_insert_with(|| format!("labels refer to symbols {name} and {value}, but there are only {size}"));
            return;
        };
        key = identity.then(key, name_symbol.hash.wrapping_add(value_symbol.hash.rotate_left(37)));
        // The few labels that decide about the way are told by their lengths first.
        if matches!(name_symbol.to - name_symbol.from, 3 | 8) {
            let text = |symbol: &Symbol| &request[symbol.from as usize..symbol.to as usize];
            match text(name_symbol) {
                b"__name__" => place.name = text(value_symbol),
                b"instance" => place.instance = text(value_symbol),
                b"job" => place.job = text(value_symbol),
                _ => {}
            }
        }
    })?;
    if !even {
        wrong.get_or_insert_with(|| "there is a label without a value".to_owned());
    }
    let (Some(help), Some(unit)) = (at(symbols, u64::from(said.help)), at(symbols, u64::from(said.unit))) else {
        let size = symbols.len();
        return Ok(Err(format!("metadata refers to symbols {} and {}, but there are only {size}", said.help, said.unit)));
    };
    if reading.uses_metadata {
        key = [u128::from(said.kind), help.hash, unit.hash].into_iter().fold(key, |key, part| identity.then(key, part));
    }
    Ok(wrong.map_or(Ok((key, place)), Err))
}

fn at(symbols: &[Symbol], number: u64) -> Option<&Symbol> {
    symbols.get(usize::try_from(number).ok()?)
}

/// Calls `take` with the references of every label of a `TimeSeries` or `Exemplar`; false if the last one has no value.
pub(super) fn each_label(message: Reader<'_>, take: impl FnMut(u64, u64)) -> Result<bool, Malformed> {
    References::Fields(message).each(take)
}

/// Where a message's references to symbols are.
enum References<'a> {
    /// In one packed field, as everybody writes them.
    Packed(Reader<'a>),
    /// Anywhere in the message.
    Fields(Reader<'a>),
}

impl References<'_> {
    /// See [`each_label`].
    #[inline]
    fn each(self, mut take: impl FnMut(u64, u64)) -> Result<bool, Malformed> {
        let mut message = match self {
            Self::Packed(mut packed) => {
                while !packed.is_empty() {
                    let name = packed.varint()?;
                    if packed.is_empty() {
                        return Ok(false);
                    }
                    take(name, packed.varint()?);
                }
                return Ok(true);
            }
            Self::Fields(message) => message,
        };
        let mut name = None;
        let mut reference = |number: u64| match name.take() {
            None => name = Some(number),
            Some(name) => take(name, number),
        };
        while let Some((number, value)) = message.field()? {
            match (number, value) {
                (1, Value::Varint(one)) => reference(one),
                (1, value) => {
                    let mut packed = value.bytes()?;
                    while !packed.is_empty() {
                        reference(packed.varint()?);
                    }
                }
                _ => {}
            }
        }
        Ok(name.is_none())
    }
}
