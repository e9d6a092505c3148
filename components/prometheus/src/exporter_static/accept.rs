//! Which format a scraper wants, by its `Accept` header (RFC 9110 §12.5.1), as client_golang decides it between OpenMetrics and text.

use http::HeaderMap;
use http::header::ACCEPT;

/// Whether OpenMetrics is wanted rather than text. A scraper that would take anything gets text.
pub(super) fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let value = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut clauses: Vec<Clause<'_>> = value.split(',').map(Clause::parse).filter(|clause| clause.weight > 0.0).collect();
    clauses.sort_by(|a, b| b.weight.total_cmp(&a.weight)); // of equals, the first one
    clauses.iter().find_map(Clause::open_metrics).unwrap_or(false)
}

/// One of the formats that are asked for.
struct Clause<'a> {
    media: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut clause = Self { media: parts.next().unwrap_or_default(), version: None, weight: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim() {
                "q" => clause.weight = value.trim().parse().unwrap_or(0.0),
                "version" => clause.version = Some(value.trim()),
                _ => {}
            }
        }
        clause
    }

    /// Whether it is one of the two: true for OpenMetrics, false for text.
    fn open_metrics(&self) -> Option<bool> {
        match (self.media, self.version) {
            ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => Some(true),
            ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        wants_open_metrics(&headers)
    }

    #[test]
    fn the_heaviest_format_that_there_is_wins() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert!(wants(prometheus));
        assert!(wants("application/vnd.google.protobuf;q=0.9,application/openmetrics-text;q=0.5"));
        assert!(!wants("text/plain;version=0.0.4;q=0.7,application/openmetrics-text;q=0.5"));
        assert!(!wants("application/openmetrics-text;version=9.9.9,text/plain;q=0.1"));
        assert!(!wants("application/openmetrics-text;q=0"));
        assert!(!wants("*/*") && !wants("") && !wants("text/html") && !wants_open_metrics(&HeaderMap::new()));
    }
}
