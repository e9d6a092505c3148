//! The text formats that the parser reads. Which one a body is in says its `Content-Type`; choosing by it is the caller's.

use std::borrow::Cow;

use crate::buffer::unescape_into;
use crate::visitor::unescape_help;

/// A text format. Versions of a format differ only in what exporters write, not in what Prometheus reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`, versions 0.0.4 and 1.0.0.
    #[default]
    PrometheusText,
    /// `application/openmetrics-text`, versions 0.0.1 and 1.0.0.
    OpenMetrics {
        /// Whether the `_created` lines of counters, histograms and summaries are told as [`crate::Visitor::created`] of the series
        /// that they belong to, instead of as samples (Prometheus: `OpenMetricsSkipSTSeries`, which its scrape loop sets for start
        /// timestamps).
        skip_created: bool,
    },
}

impl Format {
    /// The text of [`crate::Entry::Help`] with its escapes resolved: `\\` and `\n`, and `\"` in OpenMetrics.
    #[must_use]
    pub fn unescape_help(self, text: &str) -> Cow<'_, str> {
        if self == Self::PrometheusText || !text.contains('\\') {
            return unescape_help(text);
        }
        let mut out = String::with_capacity(text.len());
        unescape_into(&mut out, text);
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_escaped_in_the_help_of_open_metrics_only() {
        let text = r#"a\nb\\n\"c\t"#;
        assert_eq!(Format::OpenMetrics { skip_created: false }.unescape_help(text), "a\nb\\n\"c\\t");
        assert_eq!(Format::PrometheusText.unescape_help(text), "a\nb\\n\\\"c\\t");
        assert!(matches!(Format::OpenMetrics { skip_created: true }.unescape_help("plain"), Cow::Borrowed("plain")));
    }
}
