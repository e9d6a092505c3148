//! What can be wrong with a message, and which one it is.

use crate::nhcb::ConvertError;

/// At most this many characters of a family's name are shown.
const MAX_SHOWN: usize = 64;

/// A message that is not in the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("message {message}{}: {reason}", of_family(family))]
pub struct ProtobufError {
    /// Number of the message in the body, from 1.
    pub message: u64,
    /// How the family's name begins; empty if it isn't known.
    pub family: Box<str>,
    /// What is wrong.
    pub reason: ProtobufReason,
}

impl ProtobufError {
    pub(super) fn new(message: u64, family: &[u8], reason: ProtobufReason) -> Self {
        Self { message, family: String::from_utf8_lossy(family).chars().take(MAX_SHOWN).collect(), reason }
    }
}

fn of_family(family: &str) -> String {
    if family.is_empty() { String::new() } else { format!(" (family {family:?})") }
}

/// How bytes fail to be a message. Small, as every number that is read may turn out so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A message, or the number that says how long it is, goes on behind the end of the body or of what it is part of.
    #[error("unexpected end")]
    Truncated,
    /// A number of more than ten bytes.
    #[error("a number has more than ten bytes")]
    Varint,
    /// A field number or wire type that can't be.
    #[error("illegal tag")]
    Tag,
    /// A field of another type than the format gives it.
    #[error("field {field} has a wrong wire type")]
    WireType {
        /// The field's number in its message.
        field: u32,
    },
}

/// What is wrong with a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufReason {
    /// The bytes are no message of the format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The length of a message has more than five bytes.
    #[error("invalid length")]
    Length,
    /// The message is longer than the parser's bound.
    #[error("message has {length} bytes, more than {max}")]
    TooLong {
        /// Bytes of the message.
        length: u64,
        /// The bound in bytes.
        max: usize,
    },
    /// A name that is empty or not UTF-8.
    #[error("invalid metric name")]
    MetricName,
    /// Help text that is not UTF-8.
    #[error("help text is not UTF-8")]
    HelpUtf8,
    /// A type that is none of the format.
    #[error("unknown metric type {0}")]
    MetricType(i32),
    /// A label's name that is empty or not UTF-8.
    #[error("invalid label name")]
    LabelName,
    /// A label's value that is not UTF-8.
    #[error("label value is not UTF-8")]
    ValueUtf8,
    /// A native histogram with more or fewer buckets than its spans name.
    #[error("{side} side: spans require {needed} buckets, have {buckets}")]
    Buckets {
        /// `positive` or `negative`.
        side: &'static str,
        /// Buckets that the spans name.
        needed: u64,
        /// Buckets that are there.
        buckets: usize,
    },
    /// A native histogram with more buckets or spans than any can use.
    #[error("native histogram with more than {max} buckets or spans")]
    TooManyBuckets {
        /// The bound.
        max: usize,
    },
    /// A classic histogram that can't be converted.
    #[error("can't convert a classic histogram to a native one: {0}")]
    Convert(#[from] ConvertError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_message_family_and_reason() {
        let error = ProtobufError::new(3, b"http_requests", Malformed::WireType { field: 2 }.into());
        assert_eq!(error.to_string(), "message 3 (family \"http_requests\"): field 2 has a wrong wire type");
        assert_eq!(ProtobufError::new(1, b"", Malformed::Truncated.into()).to_string(), "message 1: unexpected end");
        assert!(ProtobufError::new(1, &[b'x'; 1000], Malformed::Tag.into()).family.len() == 64);
    }
}
