//! Numbers: one type to the language, three kinds inside.

use std::cmp::Ordering;
use std::fmt;

/// A number. Arithmetic promotes unsigned to signed to float.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A signed integer.
    Int(i64),
    /// An unsigned integer; literals above `i64::MAX`.
    Uint(u64),
    /// A float.
    Float(f64),
}

impl Number {
    /// As a float, rounded to the nearest.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the language's own conversion")]
    pub const fn to_f64(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Uint(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    /// As a signed integer: floats are truncated towards zero and capped, unsigned ones wrap.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        match self {
            Self::Int(n) => n,
            Self::Uint(n) => n.cast_signed(),
            #[expect(clippy::cast_possible_truncation, reason = "the language's own conversion")]
            Self::Float(n) => n as i64,
        }
    }

    /// As an unsigned integer: floats are truncated towards zero and capped, signed ones wrap.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        match self {
            Self::Int(n) => n.cast_unsigned(),
            Self::Uint(n) => n,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the language's own")]
            Self::Float(n) => n as u64,
        }
    }

    /// Whether this is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        match self {
            Self::Int(n) => n == 0,
            Self::Uint(n) => n == 0,
            Self::Float(n) => n == 0.0,
        }
    }
}

/// By value, across kinds: the arithmetic kind is that of the promotion.
impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(&b)),
            (Self::Float(_), _) | (_, Self::Float(_)) => self.to_f64().partial_cmp(&other.to_f64()),
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Int(a), Self::Uint(b)) => Some(u64::try_from(a).map_or(Ordering::Less, |a| a.cmp(&b))),
            (Self::Uint(a), Self::Int(b)) => Some(u64::try_from(b).map_or(Ordering::Greater, |b| a.cmp(&b))),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

/// Floats in the shortest form without exponent that reads back as the same number.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(n) => n.fmt(f),
            Self::Uint(n) => n.fmt(f),
            Self::Float(n) if n.is_nan() => f.write_str("NaN"),
            Self::Float(n) if n.is_infinite() => f.write_str(if *n > 0.0 { "+Inf" } else { "-Inf" }),
            Self::Float(n) => n.fmt(f),
        }
    }
}
