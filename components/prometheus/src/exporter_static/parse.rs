//! Reads the text format as Alloy reads it here: `expfmt`'s parser with names of the legacy scheme. It is stricter than a scrape in some
//! ways (types come before samples, nothing twice) and looser in others (lines may be indented, types in any case).

use std::collections::HashMap;

use super::family::{Family, Kind, Metric, Points};

/// What is wrong with the text, and where.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(super) struct ParseError {
    /// From 1.
    line: usize,
    message: String,
}

/// All families with samples, in the order of the text.
pub(super) fn parse(text: &str) -> Result<Vec<Family>, ParseError> {
    let mut families = Families::default();
    for (number, line) in text.split('\n').enumerate() {
        let rest = blanks(line);
        let outcome = match rest.strip_prefix('#') {
            Some(comment) => families.comment(blanks(comment)),
            None if rest.is_empty() => Ok(()),
            None => families.sample(rest),
        };
        outcome.map_err(|message| ParseError { line: number + 1, message })?;
    }
    families.all.retain(|family| !family.metrics.is_empty());
    Ok(families.all)
}

/// What a name says about a sample of a summary or histogram.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Own,
    Sum,
    Count,
}

#[derive(Default)]
struct Families {
    all: Vec<Family>,
    by_name: HashMap<String, usize>,
    /// Summaries and histograms by family and sorted labels.
    joined: HashMap<(usize, Vec<(String, String)>), usize>,
}

impl Families {
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let (keyword, rest) = word(comment);
        if !["HELP", "TYPE"].contains(&keyword) || blanks(rest).is_empty() {
            return Ok(());
        }
        let (name, rest) = name(blanks(rest)).ok_or("invalid metric name in comment")?;
        if rest.is_empty() {
            return Ok(());
        }
        if !rest.starts_with([' ', '\t']) {
            return Err("invalid metric name in comment".to_owned());
        }
        let (at, _) = self.family_of(&name)?;
        let (family, text) = (&mut self.all[at], blanks(rest));
        match keyword {
            _ if text.is_empty() => {}
            "HELP" if family.help.is_some() => return Err(format!("second HELP line for metric name {name:?}")),
            "HELP" => family.help = Some(unescaped(text)?),
            _ if family.kind.is_some() => return Err(format!("second TYPE line for metric name {name:?}, or TYPE reported after samples")),
            _ => family.kind = Some(Kind::parse(text.trim_end()).ok_or_else(|| format!("unknown metric type {text:?}"))?),
        }
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let mut labels = Vec::new();
        let mut rest = line;
        let mut metric = None;
        if !line.starts_with('{') {
            let (own, after) = name(line).ok_or("invalid metric name")?;
            (metric, rest) = (Some(own), blanks(after));
        }
        if let Some(inside) = rest.strip_prefix('{') {
            rest = read_labels(inside, &mut metric, &mut labels)?;
        }
        let metric = metric.ok_or("invalid metric name")?;
        let (value, rest) = word(blanks(rest));
        let value = exposition::parse_value(value.as_bytes()).map_err(|_| format!("expected float as value, got {value:?}"))?;
        let (stamp, rest) = word(blanks(rest));
        let stamp = (!stamp.is_empty()).then(|| stamp.parse().map_err(|_| format!("expected integer as timestamp, got {stamp:?}")));
        if !blanks(rest).is_empty() {
            return Err(format!("spurious string after timestamp: {:?}", blanks(rest)));
        }
        self.add(&metric, labels, value, stamp.transpose()?)
    }

    /// The family that a name belongs to, and as what; a new one if there is none.
    fn family_of(&mut self, name: &str) -> Result<(usize, Part), String> {
        if !is_legacy(name, true) {
            return Err(format!("invalid metric name {name:?}"));
        }
        if let Some(at) = self.by_name.get(name) {
            return Ok((*at, Part::Own));
        }
        for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum), ("_bucket", Part::Own)] {
            let Some(at) = name.strip_suffix(suffix).filter(|base| !base.is_empty()).and_then(|base| self.by_name.get(base)) else {
                continue;
            };
            match self.all[*at].kind {
                Some(Kind::Histogram | Kind::GaugeHistogram) => return Ok((*at, part)),
                Some(Kind::Summary) if suffix != "_bucket" => return Ok((*at, part)),
                _ => {}
            }
        }
        let at = self.all.len();
        self.all.push(Family { name: name.to_owned(), help: None, kind: None, metrics: Vec::new() });
        self.by_name.insert(name.to_owned(), at);
        Ok((at, Part::Own))
    }

    fn add(&mut self, name: &str, mut labels: Vec<(String, String)>, value: f64, stamp: Option<i64>) -> Result<(), String> {
        let (at, part) = self.family_of(name)?;
        let family = &mut self.all[at];
        let kind = *family.kind.get_or_insert(Kind::Untyped);
        let Some(own_label) = kind.own_label() else {
            family.metrics.push(Metric { labels, timestamp: stamp, points: Points::One(value) });
            return Ok(());
        };
        let own = match labels.iter().position(|(name, _)| name == own_label) {
            None => None,
            Some(label) => {
                let text = labels.remove(label).1;
                let float = exposition::parse_value(text.as_bytes());
                Some(float.map_err(|_| format!("expected float as value for {own_label:?} label, got {text:?}"))?)
            }
        };
        let mut sorted = labels.clone();
        sorted.sort();
        let metrics = &mut family.metrics;
        let metric = *self.joined.entry((at, sorted)).or_insert_with(|| {
            metrics.push(Metric { labels, timestamp: None, points: Points::Many { parts: Vec::new(), sum: 0.0, count: 0.0 } });
            metrics.len() - 1
        });
        let metric = &mut metrics[metric];
        metric.timestamp = stamp.or(metric.timestamp);
        let Points::Many { parts, sum, count } = &mut metric.points else { return Ok(()) };
        if kind != Kind::Summary && part != Part::Sum && value < 0.0 {
            return Err(format!("negative bucket population or count for histogram {:?}", family.name));
        }
        match (part, own) {
            (Part::Sum, _) => *sum = value,
            (Part::Count, _) => *count = if kind == Kind::Summary { value.trunc() } else { value },
            (Part::Own, Some(own)) if !own.is_nan() => parts.push((own, value)),
            (Part::Own, _) => {} // a sample that is no part of a summary or histogram is left out
        }
        Ok(())
    }
}

/// Reads labels up to the closing brace, and in `{"name", a="b"}` the metric's name; what follows.
fn read_labels<'a>(mut rest: &'a str, metric: &mut Option<String>, labels: &mut Vec<(String, String)>) -> Result<&'a str, String> {
    loop {
        rest = blanks(rest);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let (label, after) = name(rest).ok_or("invalid label name")?;
        let after = blanks(after);
        rest = match after.strip_prefix('=') {
            Some(after) => {
                if label == "__name__" {
                    return Err("label name \"__name__\" is reserved".to_owned());
                }
                if !is_legacy(&label, false) {
                    return Err(format!("invalid label name {label:?}"));
                }
                if labels.iter().any(|(other, _)| *other == label) {
                    return Err(format!("duplicate label names: {label:?}"));
                }
                let quoted = blanks(after).strip_prefix('"').ok_or("expected '\"' at start of label value")?;
                let (value, after) = read_quoted(quoted)?;
                labels.push((label, value));
                blanks(after)
            }
            None if metric.is_none() && after.starts_with([',', '}']) => {
                *metric = Some(label);
                after
            }
            None => return Err(format!("expected '=' after label name {label:?}")),
        };
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err("unexpected end of label value".to_owned()),
        }
    }
}

/// A text up to its closing quote, and what follows.
fn read_quoted(rest: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = rest.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &rest[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => return Err(format!("invalid escape sequence '\\{other}'")),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("quoted text without an end".to_owned())
}

/// A name, quoted or not, and what follows; none if there is none.
fn name(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        return read_quoted(quoted).ok();
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    (end > 0 && !text.starts_with(|c: char| c.is_ascii_digit())).then(|| (text[..end].to_owned(), &text[end..]))
}

/// Whether a name is one of the legacy scheme; only metrics may have colons.
fn is_legacy(name: &str, metric: bool) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || (metric && c == ':');
    !name.is_empty() && name.chars().all(fits) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Help text with its escapes resolved.
fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, if character == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(escaped @ ('\\' | '"'))) => out.push(escaped),
            ('\\', Some(other)) => return Err(format!("invalid escape sequence '\\{other}'")),
            ('\\', None) => {}
            (other, _) => out.push(other),
        }
    }
    Ok(out)
}

/// Without spaces and tabs before it.
fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// Up to the next space or tab, and what follows.
fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Family {
        let mut families = parse(text).unwrap();
        assert_eq!(families.len(), 1, "{families:?}");
        families.remove(0)
    }

    fn failure(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn samples_keep_their_labels_values_and_times() {
        let family = one(
            "\n  # HELP m It \\\\ helps.\\nReally.\n\t# TYPE m CoUnTeR\n m{ b = \"x\\\"y\\\\\\n\" , a=\"1\", } 3 1395066363000\nm 1e2\n",
        );
        assert_eq!((family.name.as_str(), family.kind), ("m", Some(Kind::Counter)));
        assert_eq!(family.help.as_deref(), Some("It \\ helps.\nReally."));
        let first =
            Metric { labels: labels(&[("b", "x\"y\\\n"), ("a", "1")]), timestamp: Some(1_395_066_363_000), points: Points::One(3.0) };
        assert_eq!(family.metrics, [first, Metric { labels: vec![], timestamp: None, points: Points::One(100.0) }]);
    }

    #[test]
    fn what_has_no_type_is_untyped_and_what_has_no_samples_is_left_out() {
        assert_eq!(one("# TYPE lonely gauge\nsomething_weird{problem=\"division by zero\"} +Inf -3982045").kind, Some(Kind::Untyped));
        assert!(parse("# just a comment\n#\n# HELP\n# TYPE m\n").unwrap().is_empty());
    }

    #[test]
    fn a_histogram_is_joined_by_its_labels_in_any_order() {
        let text = "# TYPE h histogram\nh_bucket{a=\"1\",le=\"0.5\",b=\"2\"} 3\nh_bucket{b=\"2\",a=\"1\",le=\"+Inf\"} 4\nh_sum{a=\"1\",b=\"2\"} 9.5\n\
                    h_count{b=\"2\",a=\"1\"} 4\nh_count 1\n";
        let family = one(text);
        assert_eq!(family.metrics.len(), 2);
        let points = Points::Many { parts: vec![(0.5, 3.0), (f64::INFINITY, 4.0)], sum: 9.5, count: 4.0 };
        assert_eq!(family.metrics[0], Metric { labels: labels(&[("a", "1"), ("b", "2")]), timestamp: None, points });
    }

    #[test]
    fn a_summary_is_joined_and_others_of_its_names_are_not() {
        let text = "# TYPE s summary\ns{quantile=\"0.5\"} 4773\ns_sum 1.7e+07\ns_count 2693\ns_bucket{le=\"1\"} 5\n";
        let families = parse(text).unwrap();
        let points = Points::Many { parts: vec![(0.5, 4773.0)], sum: 1.7e7, count: 2693.0 };
        assert_eq!(families[0].metrics, [Metric { labels: vec![], timestamp: None, points }]);
        assert_eq!((families[1].name.as_str(), families[1].kind), ("s_bucket", Some(Kind::Untyped)));
    }

    #[test]
    fn a_quoted_name_may_stand_in_the_braces() {
        assert_eq!(one("{\"m\", a=\"1\"} 2").name, "m");
        assert_eq!(one("{a=\"1\", \"m\"} 2").metrics[0].labels, labels(&[("a", "1")]));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (text, line, part) in [
            ("m 1\nm{a=\"1\"} 1027 1395066363000 123\n", 2, "spurious string"),
            ("m one", 1, "expected float"),
            ("m", 1, "expected float"),
            ("m 1 soon", 1, "expected integer"),
            ("m{a=1} 1", 1, "start of label value"),
            ("m{a=\"1} 1", 1, "without an end"),
            ("m{a=\"1\" b=\"2\"} 1", 1, "unexpected end of label value"),
            ("m{a=\"1\",a=\"2\"} 1", 1, "duplicate label"),
            ("m{a} 1", 1, "expected '='"),
            ("m{a=\"\\x\"} 1", 1, "escape"),
            ("m{__name__=\"x\"} 1", 1, "reserved"),
            ("m{a:b=\"x\"} 1", 1, "invalid label name"),
            ("{a=\"1\"} 1", 1, "invalid metric name"),
            ("{\"a b\"} 1", 1, "invalid metric name"),
            ("1m 2", 1, "invalid metric name"),
            ("# TYPE m gauge\n# TYPE m gauge", 2, "second TYPE"),
            ("m 1\n# TYPE m gauge", 2, "TYPE reported after samples"),
            ("# HELP m a\n# HELP m b", 2, "second HELP"),
            ("# TYPE m whatever", 1, "unknown metric type"),
            ("# TYPE m{ gauge", 1, "invalid metric name in comment"),
            ("# TYPE h histogram\nh_bucket{le=\"x\"} 1", 2, "\"le\""),
            ("# TYPE h histogram\nh_bucket{le=\"1\"} -1", 2, "negative"),
        ] {
            let failure = failure(text);
            assert!(failure.starts_with(&format!("line {line}: ")) && failure.contains(part), "{text:?}: {failure}");
        }
    }
}
