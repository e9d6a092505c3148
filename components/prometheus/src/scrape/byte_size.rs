//! A number of bytes, as Alloy takes it: a number, or a text with units like `10MB` or `1.5MiB`, both of 1024.

use syntax::{FromValue, Shape, ToValue, Value, ValueError};

/// The letters of units in the order of their size.
const SCALES: &str = "KMGTPE";

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromValue for ByteSize {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        match value {
            Value::String(text) => parse(text).map(Self).ok_or_else(|| {
                ValueError::custom(format!(
                    "{text:?} is not a number of bytes: write a number, or one with a unit like \"10MB\" or \"1MiB\""
                ))
            }),
            other => u64::from_value(other).map(Self),
        }
    }

    fn type_name() -> String {
        u64::type_name()
    }

    fn shape() -> Shape {
        Shape::Scalar
    }
}

impl ToValue for ByteSize {
    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

/// Numbers with units, one after another; a number alone is bytes.
fn parse(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.parse() {
        return Some(bytes);
    }
    let (mut rest, mut total) = (text, 0.0);
    loop {
        let (number, after) = rest.split_at(rest.find(|char: char| !char.is_ascii_digit() && char != '.')?);
        let (unit, after) = after.split_at(after.find(|char: char| !char.is_ascii_alphabetic()).unwrap_or(after.len()));
        total += number.parse::<f64>().ok()? * scale(unit)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    // 2^63 is the first number that Go's type can't hold.
    (total < 9_223_372_036_854_775_808.0).then_some(total as u64)
}

fn scale(unit: &str) -> Option<f64> {
    let prefix = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))?;
    if prefix.is_empty() {
        return (unit == "B").then_some(1.0);
    }
    let at = SCALES.find(prefix).filter(|_| prefix.len() == 1)?;
    Some(1024_f64.powi(at as i32 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_with_units_are_sizes() {
        let cases = [
            ("0", 0),
            ("123", 123),
            ("123B", 123),
            ("1KB", 1024),
            ("1KiB", 1024),
            ("1.5MiB", 3 << 19),
            ("2GB", 2 << 30),
            ("1MB1KB", 1_049_600),
        ];
        for (text, bytes) in cases {
            assert_eq!(ByteSize::from_value(&text.to_value()).unwrap(), ByteSize(bytes), "{text}");
        }
        assert_eq!(ByteSize::from_value(&10_u64.to_value()).unwrap(), ByteSize(10));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "x", "MB", "-1", "1kb", "1XB", "1 MB", "1.MB.", "9EB", "1iB", "1KMB", "ü"] {
            let error = ByteSize::from_value(&text.to_value()).unwrap_err().to_string();
            assert!(error.contains("is not a number of bytes"), "{text}: {error}");
        }
        assert!(ByteSize::from_value(&(-1_i64).to_value()).is_err());
    }
}
