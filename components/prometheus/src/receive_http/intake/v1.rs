//! `prometheus.WriteRequest`, remote write 1.0; field numbers are those of prometheus/prometheus `prompb/remote.proto` and `types.proto`.
//! Metadata entries are read over, as Prometheus does: they belong to no series.

use super::histogram;
use super::identity::{Identity, LastPlace, Place};
use super::parsed::{Parsed, Said, Series};
use super::wire::{Malformed, Reader, Value};
use super::{Rejected, TOO_FAR};

const LABEL: u8 = 0x0a;

/// Reads a request. `newest` is the latest timestamp that is taken, in milliseconds.
///
/// # Errors
/// [`Rejected`] for everything that Prometheus answers with 400: nothing of such a request is taken.
pub(super) fn parse(request: &[u8], identity: &Identity, newest: i64, into: &mut Parsed) -> Result<(), Rejected> {
    let mut reader = Reader::new(request);
    let mut last = LastPlace::default();
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            series(value.bytes()?, request, identity, newest, &mut last, into)?;
        }
    }
    Ok(())
}

fn series<'a>(
    message: Reader<'a>,
    request: &'a [u8],
    identity: &Identity,
    newest: i64,
    last: &mut LastPlace<'a>,
    into: &mut Parsed,
) -> Result<(), Rejected> {
    let (first_row, first_exemplar) = (into.rows.len(), into.exemplars.len());
    let mut rest = message;
    let mut place = Place::default();
    while rest.rest().first() == Some(&LABEL) {
        rest.varint()?;
        find_place(rest.bytes()?, &mut place)?;
    }
    let labels_end = rest.position();
    let mut scattered = false;
    while let Some((number, value)) = rest.field()? {
        match number {
            1 => {
                find_place(value.bytes()?, &mut place)?;
                scattered = true;
            }
            2 => {
                let (value, timestamp) = sample(value.bytes()?)?;
                in_time(timestamp, newest)?;
                into.push_row(value, timestamp)?;
            }
            3 => {
                let exemplar = value.bytes()?;
                into.push_exemplar(exemplar.position(), exemplar.end())?;
            }
            4 => {
                let timed = histogram::read(value.bytes()?, into)?;
                in_time(timed.timestamp, newest)?;
                timed.push(into)?;
            }
            _ => {}
        }
    }
    if into.rows.len() == first_row && into.exemplars.len() == first_exemplar {
        return Ok(());
    }
    let (from, to) = (message.position(), message.end());
    let key = if scattered { scattered_key(message, identity)? } else { identity.of(&request[from..labels_end]) };
    let last_row = (into.rows.len() > first_row).then(|| into.rows.len() as u32 - 1);
    let source = last.source(place);
    Ok(into.push_series(Series { key, from: from as u32, to: to as u32, said: Said::default(), last_row, source })?)
}

fn in_time(timestamp: i64, newest: i64) -> Result<(), Rejected> {
    if timestamp > newest { Err(Rejected(TOO_FAR.to_owned())) } else { Ok(()) }
}

/// The key of a series whose labels do not stand together at its beginning.
fn scattered_key(message: Reader<'_>, identity: &Identity) -> Result<u128, Malformed> {
    let mut all = Vec::new();
    each_label(message, |name, value| {
        for part in [name, value] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
    })?;
    Ok(identity.of(&all))
}

/// Calls `take` with name and value of every label of a `TimeSeries` or `Exemplar`, in the order of the wire.
pub(super) fn each_label<'a>(mut message: Reader<'a>, mut take: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), Malformed> {
    while let Some((number, value)) = message.field()? {
        if number == 1 {
            let (name, value) = label(value.bytes()?)?;
            take(name, value);
        }
    }
    Ok(())
}

#[inline]
fn label(message: Reader<'_>) -> Result<(&[u8], &[u8]), Malformed> {
    // As everybody writes it: 1 name, 2 value, both short.
    if let [0x0a, name_len @ 0..0x80, rest @ ..] = message.rest()
        && let Some((name, [0x12, value_len @ 0..0x80, value @ ..])) = rest.split_at_checked(usize::from(*name_len))
        && value.len() == usize::from(*value_len)
    {
        return Ok((name, value));
    }
    any_label(message)
}

fn any_label(mut message: Reader<'_>) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut name, mut text) = (&[][..], &[][..]);
    while let Some((number, value)) = message.field()? {
        match number {
            1 => name = value.bytes()?.rest(),
            2 => text = value.bytes()?.rest(),
            _ => {}
        }
    }
    Ok((name, text))
}

/// Notes a label that decides about the way. Whether the others are whole is found out when they are needed: those of known series were.
#[inline]
fn find_place<'a>(message: Reader<'a>, place: &mut Place<'a>) -> Result<(), Malformed> {
    match message.rest() {
        [0x0a, 3 | 8, ..] => note_place(message, place),
        [0x0a, 0..0x80, ..] => Ok(()),
        _ => note_place(message, place),
    }
}

fn note_place<'a>(message: Reader<'a>, place: &mut Place<'a>) -> Result<(), Malformed> {
    let (name, value) = label(message)?;
    match name {
        b"__name__" => place.name = value,
        b"instance" => place.instance = value,
        b"job" => place.job = value,
        _ => {}
    }
    Ok(())
}

#[inline]
fn sample(message: Reader<'_>) -> Result<(f64, i64), Malformed> {
    // As everybody writes it: 1 value, 2 timestamp.
    if let Some(([0x09, bits @ ..], [0x10, stamp @ ..])) = message.rest().split_first_chunk::<9>() {
        let mut rest = Reader::new(stamp);
        let timestamp = rest.varint()?;
        if rest.is_empty() {
            return Ok((f64::from_le_bytes(*bits), timestamp as i64));
        }
    }
    any_sample(message)
}

fn any_sample(mut message: Reader<'_>) -> Result<(f64, i64), Malformed> {
    let (mut value, mut timestamp) = (0.0, 0);
    while let Some((number, field)) = message.field()? {
        match number {
            1 => value = field.double()?,
            2 => timestamp = field.varint()? as i64, // int64 is a two's complement varint
            _ => {}
        }
    }
    Ok((value, timestamp))
}

/// An exemplar's value and timestamp; 0 means that it has none.
pub(super) fn exemplar(mut message: Reader<'_>) -> Result<(f64, i64), Malformed> {
    let (mut value, mut timestamp) = (0.0, 0);
    while let Some((number, field)) = message.field()? {
        match (number, field) {
            (2, field) => value = field.double()?,
            (3, Value::Varint(number)) => timestamp = number as i64,
            (3, _) => return Err(Malformed("an exemplar's timestamp has the wrong wire type")),
            _ => {}
        }
    }
    Ok((value, timestamp))
}
