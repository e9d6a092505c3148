//! Which exemplars are handed on. Prometheus scrapes more than it stores; what it would not store (`tsdb/agent`: `validateExemplar`) is
//! taken out here already.

use model::{Exemplar, Labels};

/// How many characters the names and values of an exemplar's labels may have together (Prometheus: `ExemplarMaxLabelSetLength`).
pub const MAX_EXEMPLAR_CHARS: usize = 128;

/// Why an exemplar is not handed on. That is no error of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedExemplar {
    /// Too long.
    #[error("exemplar labels have more than {MAX_EXEMPLAR_CHARS} characters")]
    TooLong,
    /// A name more than once among labels with values.
    #[error("exemplar label occurs twice")]
    DuplicateLabel,
    /// A quoted name with nothing in it, for a value.
    #[error("exemplar label without a name")]
    NoName,
    /// A quoted name that is not UTF-8.
    #[error("exemplar label is not UTF-8")]
    NotUtf8,
}

/// The exemplar with these labels, in whatever order; those without a value are left out. `timestamp` is in milliseconds since the epoch.
///
/// # Errors
/// [`RefusedExemplar`] if Prometheus would not store it.
pub fn exemplar_of<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    value: f64,
    timestamp: Option<i64>,
) -> Result<Exemplar, RefusedExemplar> {
    let (mut given, mut chars) = (0, 0);
    let valued = labels.into_iter().filter(|(_, value)| !value.is_empty());
    let labels: Labels = valued
        .inspect(|(name, value)| {
            given += 1;
            chars += name.chars().count() + value.chars().count();
        })
        .collect();
    if labels.len() < given {
        return Err(RefusedExemplar::DuplicateLabel);
    }
    if labels.get("").is_some() {
        return Err(RefusedExemplar::NoName);
    }
    if chars > MAX_EXEMPLAR_CHARS {
        return Err(RefusedExemplar::TooLong);
    }
    Ok(Exemplar { labels, value, timestamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_lose_empty_values() {
        let exemplar = exemplar_of([("b", "2"), ("c", ""), ("a", "1"), ("b", "")], 0.5, Some(7)).unwrap();
        assert_eq!(exemplar.labels.to_string(), r#"{a="1", b="2"}"#);
        assert_eq!((exemplar.value, exemplar.timestamp), (0.5, Some(7)));
        assert!(exemplar_of([], 1.0, None).unwrap().labels.is_empty());
    }

    #[test]
    fn what_prometheus_would_not_store_is_refused() {
        assert_eq!(exemplar_of([("a", "1"), ("a", "1")], 1.0, None), Err(RefusedExemplar::DuplicateLabel));
        assert_eq!(exemplar_of([("", "1")], 1.0, None), Err(RefusedExemplar::NoName));
        assert!(exemplar_of([("", "")], 1.0, None).is_ok());
        let longest = "ü".repeat(MAX_EXEMPLAR_CHARS - 2);
        assert!(exemplar_of([("äb", longest.as_str())], 1.0, None).is_ok());
        assert_eq!(exemplar_of([("äbc", longest.as_str())], 1.0, None), Err(RefusedExemplar::TooLong));
    }
}
