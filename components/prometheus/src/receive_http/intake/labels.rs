//! Labels of series that are not known yet: read out of the request, checked as Prometheus checks them, and brought into the form that
//! chunks have.

use std::sync::Arc;

use model::labels::METRIC_NAME;
use model::{Labels, Metadata, MetricType};

use super::parsed::{Said, Series, Symbol};
use super::wire::{Malformed, Reader};
use super::{Version, v1, v2};

/// Names and values of a series' labels.
type Pairs<'a> = Vec<(&'a str, &'a str)>;

/// A chunk takes no series with more labels (`model::ChunkBuilder::push`).
const MAX_LABELS: usize = 32_767;
/// Most characters of an exemplar's names and values together (OpenMetrics 1.0, "Exemplars"; Prometheus drops longer ones).
const MAX_EXEMPLAR: usize = 128;

/// The labels under which type and unit are sent.
const TYPE: &str = "__type__";
const UNIT: &str = "__unit__";

/// Where labels are read from.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    pub request: &'a [u8],
    pub symbols: &'a [Symbol],
    pub version: Version,
}

/// A label as it stands in the request.
type Pair<'a> = (&'a [u8], &'a [u8]);

impl<'a> Texts<'a> {
    /// The labels of a message, one more than a series may have at most; references were checked before.
    fn pairs(&self, message: Reader<'a>) -> Result<Vec<Pair<'a>>, Malformed> {
        let mut pairs = Vec::new();
        let mut push = |name, value| {
            if pairs.len() <= MAX_LABELS {
                pairs.push((name, value));
            }
        };
        match self.version {
            Version::V1 => v1::each_label(message, push)?,
            Version::V2 => {
                v2::each_label(message, |name, value| push(self.symbol(name), self.symbol(value)))?;
            }
        }
        Ok(pairs)
    }

    fn symbol(&self, number: u64) -> &'a [u8] {
        v2::text(self.request, self.symbols, number).unwrap_or_default()
    }

    /// The labels of a series: sorted, without empty ones, checked. With `type_and_unit`, those that metadata make instead of any others.
    ///
    /// # Errors
    /// The outer one if the message is broken, the inner one if the labels can't be a series'.
    pub fn of_series(&self, series: &Series, type_and_unit: bool) -> Result<Result<Pairs<'a>, String>, Malformed> {
        let mut pairs = self.pairs(Reader::part(self.request, series.from as usize, series.to as usize))?;
        let (kind, unit) = (metric_type(series.said.kind), self.symbol(u64::from(series.said.unit)));
        if type_and_unit && (kind != MetricType::Unknown || !unit.is_empty()) {
            pairs.retain(|(name, _)| *name != TYPE.as_bytes() && *name != UNIT.as_bytes());
            if kind != MetricType::Unknown {
                pairs.push((TYPE.as_bytes(), type_name(kind).as_bytes()));
            }
            pairs.push((UNIT.as_bytes(), unit)); // left out below if it is empty
        }
        Ok(checked(pairs))
    }

    /// What a series' message says about its family; none if it says nothing.
    pub fn metadata(&self, said: Said, name: &str) -> Option<Arc<Metadata>> {
        let text = |number: u32| std::str::from_utf8(self.symbol(u64::from(number))).unwrap_or_default();
        let (kind, help, unit) = (metric_type(said.kind), text(said.help), text(said.unit));
        if kind == MetricType::Unknown && help.is_empty() && unit.is_empty() {
            return None;
        }
        Some(Metadata { family: family(name, kind).into(), kind, help: help.into(), unit: unit.into() }.shared())
    }

    /// The labels of an exemplar; none if Prometheus would drop it.
    pub fn of_exemplar(&self, message: Reader<'a>) -> Result<Option<Labels>, Malformed> {
        let pairs = self.pairs(message)?;
        let mut labels = Vec::with_capacity(pairs.len().min(MAX_EXEMPLAR));
        let mut characters = 0;
        for (name, value) in pairs {
            let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else { return Ok(None) };
            characters += name.chars().count() + value.chars().count();
            if characters > MAX_EXEMPLAR {
                return Ok(None);
            }
            labels.push((name, value));
        }
        Ok(Some(labels.into_iter().collect()))
    }
}

fn checked(mut pairs: Vec<Pair<'_>>) -> Result<Vec<(&str, &str)>, String> {
    if pairs.len() > MAX_LABELS {
        return Err(format!("a series has more than {MAX_LABELS} labels"));
    }
    if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
        pairs.sort_by(|a, b| a.0.cmp(b.0));
    }
    let mut labels: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(pair.0), std::str::from_utf8(pair.1)) else {
            return Err(format!("labels are not UTF-8: {}", shown(&pairs)));
        };
        labels.push((name, value));
    }
    if let Some(twice) = labels.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(format!("label {:?} comes twice in {}", twice[0].0, shown(&pairs)));
    }
    if labels.first().is_some_and(|(name, _)| name.is_empty()) {
        return Err(format!("a label has no name in {}", shown(&pairs)));
    }
    labels.retain(|(_, value)| !value.is_empty());
    if !labels.iter().any(|(name, _)| *name == METRIC_NAME) {
        return Err(format!("there is no metric name in {}", shown(&pairs)));
    }
    Ok(labels)
}

/// Labels for a message, cut to what a line holds.
fn shown(pairs: &[Pair<'_>]) -> String {
    const MOST: usize = 200;
    let mut text = String::from("{");
    for (name, value) in pairs {
        if text.len() > MOST {
            text.push('…');
            break;
        }
        let cut = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
        text.push_str(&format!("{}={:?}, ", cut(name), cut(value)));
    }
    format!("{}}}", text.trim_end_matches(", "))
}

fn metric_type(kind: u8) -> MetricType {
    match kind {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}

/// As Prometheus spells types in labels.
fn type_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Unknown => "unknown",
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::GaugeHistogram => "gaugehistogram",
        MetricType::Summary => "summary",
        MetricType::Info => "info",
        MetricType::StateSet => "stateset",
    }
}

/// The family that a series belongs to: the message does not name it.
fn family(name: &str, kind: MetricType) -> &str {
    let suffixes: &[&str] = match kind {
        MetricType::Histogram => &["_bucket", "_count", "_sum"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).filter(|family| !family.is_empty()).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<'a>(pairs: &[(&'a str, &'a str)]) -> Result<Vec<(&'a str, &'a str)>, String> {
        checked(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect())
    }

    #[test]
    fn labels_are_sorted_and_empty_ones_left_out() {
        assert_eq!(check(&[("b", "2"), ("__name__", "m"), ("c", ""), ("a", "1")]).unwrap(), [("__name__", "m"), ("a", "1"), ("b", "2")]);
    }

    #[test]
    fn labels_that_no_series_can_have_are_refused_with_the_reason() {
        for (labels, reason) in [
            (&[("a", "1")][..], "no metric name"),
            (&[("__name__", "")], "no metric name"),
            (&[], "no metric name"),
            (&[("__name__", "m"), ("", "1")], "no name"),
            (&[("__name__", "m"), ("a", "1"), ("a", "")], "\"a\" comes twice"),
        ] {
            let error = check(labels).unwrap_err();
            assert!(error.contains(reason), "{labels:?}: {error}");
        }
        assert!(checked(vec![(b"__name__", b"m"), (b"a", b"\xff")]).unwrap_err().contains("UTF-8"));
        let wide: Vec<(String, String)> = (0..=MAX_LABELS).map(|n| (format!("n{n:05}"), "v".to_owned())).collect();
        let pairs = wide.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        assert!(checked(pairs).unwrap_err().contains("32767 labels"));
    }

    #[test]
    fn messages_are_short_however_long_the_labels_are() {
        let value = "v".repeat(1 << 20);
        let error = check(&[("a", &value), ("b", &value), ("c", &value)]).unwrap_err();
        assert!(error.len() < 1000 && error.contains('…'), "{} bytes", error.len());
    }

    #[test]
    fn families_lose_the_suffixes_of_their_type_only() {
        assert_eq!(family("http_seconds_bucket", MetricType::Histogram), "http_seconds");
        assert_eq!(family("http_seconds", MetricType::Histogram), "http_seconds");
        assert_eq!(family("rpc_sum", MetricType::Summary), "rpc");
        assert_eq!(family("word_count", MetricType::Gauge), "word_count");
        assert_eq!(family("_sum", MetricType::Summary), "_sum");
    }
}
