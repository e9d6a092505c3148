//! Details of a batch in its record: lists behind their lengths, rows as steps from the one before.
//!
//! ```text
//! histograms ( step, kind u8, schema, zero threshold f64, sum f64, count, zero count, spans and counts of both sides, custom values )
//! exemplars  ( step, value f64, timestamp or none, labels ( name, value ) )
//! created    ( step, timestamp )
//! ```
//! Whole numbers are varints, those that can be negative with the sign in the lowest bit; counts of float histograms are f64.

use model::{Counts, Details, Exemplar, Histogram, ResetHint, Span};

use super::Malformed;
use super::input::Input;
use crate::encode::put_varint;

/// In the kind of a histogram: its counts are floats.
const FLOAT: u8 = 4;
const HINTS: [ResetHint; 4] = [ResetHint::Unknown, ResetHint::Yes, ResetHint::No, ResetHint::Gauge];

/// Appends all lists.
pub(super) fn put(out: &mut Vec<u8>, details: &Details) {
    put_rows(out, &details.histograms, put_histogram);
    put_rows(out, &details.exemplars, |out, exemplar| {
        put_f64(out, exemplar.value);
        out.push(u8::from(exemplar.timestamp.is_some()));
        exemplar.timestamp.into_iter().for_each(|timestamp| put_signed(out, timestamp));
        put_list(out, &exemplar.labels.iter().collect::<Vec<_>>(), |out, (name, value)| {
            put_text(out, name);
            put_text(out, value);
        });
    });
    put_rows(out, &details.created, |out, at| put_signed(out, *at));
}

/// Reads all lists; rows are below `rows`.
pub(super) fn read(input: &mut Input<'_>, rows: u32) -> Result<Details, Malformed> {
    Ok(Details {
        histograms: read_rows(input, rows, read_histogram)?,
        exemplars: read_rows(input, rows, |input| {
            let value = input.f64()?;
            let timestamp = if input.u8()? > 0 { Some(input.signed()?) } else { None };
            let labels = input.list(|input| Ok((input.text()?, input.text()?)))?;
            Ok(Exemplar { labels: labels.iter().copied().collect(), value, timestamp })
        })?,
        created: read_rows(input, rows, Input::signed)?,
    })
}

fn put_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    let is_float = matches!(histogram.counts, Counts::Float { .. });
    out.push(histogram.reset_hint as u8 | if is_float { FLOAT } else { 0 });
    put_signed(out, i64::from(histogram.schema));
    put_f64(out, histogram.zero_threshold);
    put_f64(out, histogram.sum);
    match &histogram.counts {
        Counts::Integer { count, zero_count, positive, negative } => {
            put_varint(out, *count);
            put_varint(out, *zero_count);
            [positive, negative].into_iter().for_each(|deltas| put_list(out, deltas, |out, delta| put_signed(out, *delta)));
        }
        Counts::Float { count, zero_count, positive, negative } => {
            put_f64(out, *count);
            put_f64(out, *zero_count);
            [positive, negative].into_iter().for_each(|counts| put_list(out, counts, |out, count| put_f64(out, *count)));
        }
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_list(out, spans, |out, span| {
            put_signed(out, i64::from(span.offset));
            put_varint(out, u64::from(span.length));
        });
    }
    put_list(out, &histogram.custom_values, |out, bound| put_f64(out, *bound));
}

fn read_histogram(input: &mut Input<'_>) -> Result<Histogram, Malformed> {
    let kind = input.u8()?;
    let schema = i32::try_from(input.signed()?).map_err(|_| Malformed)?;
    let (zero_threshold, sum) = (input.f64()?, input.f64()?);
    let counts = if kind & FLOAT == 0 {
        let (count, zero_count) = (input.varint()?, input.varint()?);
        Counts::Integer { count, zero_count, positive: input.list(Input::signed)?, negative: input.list(Input::signed)? }
    } else {
        let (count, zero_count) = (input.f64()?, input.f64()?);
        Counts::Float { count, zero_count, positive: input.list(Input::f64)?, negative: input.list(Input::f64)? }
    };
    let span = |input: &mut Input<'_>| {
        let offset = i32::try_from(input.signed()?).map_err(|_| Malformed)?;
        Ok(Span { offset, length: u32::try_from(input.varint()?).map_err(|_| Malformed)? })
    };
    let (positive_spans, negative_spans) = (input.list(span)?, input.list(span)?);
    let custom_values = input.list(Input::f64)?;
    let reset_hint = HINTS[usize::from(kind & 3)];
    Ok(Histogram { schema, zero_threshold, sum, counts, positive_spans, negative_spans, custom_values, reset_hint })
}

fn put_rows<T>(out: &mut Vec<u8>, rows: &[(u32, T)], put: impl Fn(&mut Vec<u8>, &T)) {
    let mut before = 0;
    put_list(out, rows, |out, (row, what)| {
        put_varint(out, u64::from(row.saturating_sub(std::mem::replace(&mut before, *row))));
        put(out, what);
    });
}

fn read_rows<'a, T>(
    input: &mut Input<'a>,
    rows: u32,
    mut one: impl FnMut(&mut Input<'a>) -> Result<T, Malformed>,
) -> Result<Box<[(u32, T)]>, Malformed> {
    let mut row = 0_u64;
    input.list(|input| {
        row = row.checked_add(input.varint()?).filter(|row| *row < u64::from(rows)).ok_or(Malformed)?;
        Ok((row as u32, one(input)?))
    })
}

fn put_list<T>(out: &mut Vec<u8>, all: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    put_varint(out, all.len() as u64);
    all.iter().for_each(|one| put(out, one));
}

fn put_f64(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Appends a text behind its length.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
