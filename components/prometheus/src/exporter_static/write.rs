//! Families as text 0.0.4 and as OpenMetrics 1.0, the way `expfmt` writes them.

use std::fmt::Write as _;

use super::family::{Family, Kind, Metric, Points};

/// The text format.
pub(super) fn text(families: &[Family]) -> String {
    let mut page = Page { out: String::new(), open_metrics: false };
    families.iter().for_each(|family| page.family(family, &family.name, &family.name));
    page.out
}

/// OpenMetrics; none if a histogram has fractional counts, which it does not allow.
pub(super) fn open_metrics(families: &[Family]) -> Option<String> {
    let mut page = Page { out: String::new(), open_metrics: true };
    for family in families {
        if matches!(family.kind, Some(Kind::Histogram | Kind::GaugeHistogram)) && !family.metrics.iter().all(is_whole) {
            return None;
        }
        // A counter's family has no suffix, its samples have; without it, it can be no counter here.
        let is_counter = family.kind == Some(Kind::Counter);
        let described = family.name.strip_suffix("_total").filter(|name| is_counter && !name.is_empty()).unwrap_or(&family.name);
        page.family(family, described, &family.name);
    }
    page.out.push_str("# EOF\n");
    Some(page.out)
}

fn is_whole(metric: &Metric) -> bool {
    match &metric.points {
        Points::One(_) => true,
        Points::Many { parts, count, .. } => parts.iter().map(|(_, value)| value).chain([count]).all(|value| value.fract() == 0.0),
    }
}

struct Page {
    out: String,
    open_metrics: bool,
}

impl Page {
    fn family(&mut self, family: &Family, described: &str, name: &str) {
        if let Some(help) = &family.help {
            let help = escaped(help, self.open_metrics);
            let _ = writeln!(self.out, "# HELP {described} {help}"); // writing to a string never fails
        }
        let kind = family.kind.unwrap_or(Kind::Untyped);
        let _ = writeln!(self.out, "# TYPE {described} {}", self.type_name(kind, name));
        for metric in &family.metrics {
            match &metric.points {
                Points::One(value) => self.sample(name, "", metric, None, *value),
                Points::Many { parts, sum, count } => self.joined(name, kind, metric, parts, (*sum, *count)),
            }
        }
    }

    fn type_name(&self, kind: Kind, name: &str) -> &'static str {
        match kind {
            Kind::Counter if self.open_metrics && !name.ends_with("_total") => "unknown",
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Untyped if self.open_metrics => "unknown",
            Kind::Untyped => "untyped",
            Kind::GaugeHistogram if self.open_metrics => "gaugehistogram",
            Kind::Histogram | Kind::GaugeHistogram => "histogram",
        }
    }

    fn joined(&mut self, name: &str, kind: Kind, metric: &Metric, parts: &[(f64, f64)], (sum, count): (f64, f64)) {
        let (suffix, label) = if kind == Kind::Summary { ("", "quantile") } else { ("_bucket", "le") };
        for (own, value) in parts {
            self.sample(name, suffix, metric, Some((label, *own)), *value);
        }
        if kind != Kind::Summary && !parts.iter().any(|(bound, _)| *bound == f64::INFINITY) {
            self.sample(name, suffix, metric, Some((label, f64::INFINITY)), count);
        }
        self.sample(name, "_sum", metric, None, sum);
        self.sample(name, "_count", metric, None, count);
    }

    fn sample(&mut self, name: &str, suffix: &str, metric: &Metric, own: Option<(&str, f64)>, value: f64) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut open = '{';
        for (name, value) in &metric.labels {
            let _ = write!(self.out, "{open}{name}=\"{}\"", escaped(value, true));
            open = ',';
        }
        if let Some((label, bound)) = own {
            let _ = write!(self.out, "{open}{label}=\"{}\"", self.float(bound));
            open = ',';
        }
        if open == ',' {
            self.out.push('}');
        }
        let _ = write!(self.out, " {}", self.float(value));
        match metric.timestamp {
            Some(millis) if self.open_metrics => {
                let _ = write!(self.out, " {}", millis as f64 / 1000.0);
            }
            Some(millis) => {
                let _ = write!(self.out, " {millis}");
            }
            None => {}
        }
        self.out.push('\n');
    }

    fn float(&self, value: f64) -> String {
        let text = exposition::open_metrics_float(value);
        match text.strip_suffix(".0") {
            Some(whole) if !self.open_metrics => whole.to_owned(),
            _ => text,
        }
    }
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    const TEXT: &str = "# HELP http_requests_total The \"total\" number.\n# TYPE http_requests_total counter\n\
        http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363123\n\
        # TYPE plain counter\nplain 1.458255915e9\n\
        free{path=\"C:\\\\DIR\"} NaN\n\
        # TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"1000000\"} 4\nh_sum 5.5\nh_count 7\n\
        # TYPE s summary\ns{quantile=\"0.5\"} -Inf\ns_sum 2\ns_count 3\n";

    #[test]
    fn the_text_format_is_written_as_expfmt_writes_it() {
        let expected = "# HELP http_requests_total The \"total\" number.\n# TYPE http_requests_total counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363123\n\
            # TYPE plain counter\nplain 1.458255915e+09\n\
            # TYPE free untyped\nfree{path=\"C:\\\\DIR\"} NaN\n\
            # TYPE h histogram\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"1e+06\"} 4\nh_bucket{le=\"+Inf\"} 7\nh_sum 5.5\nh_count 7\n\
            # TYPE s summary\ns{quantile=\"0.5\"} -Inf\ns_sum 2\ns_count 3\n";
        let page = text(&parse(TEXT).unwrap());
        assert_eq!(page, expected);
        assert_eq!(text(&parse(&page).unwrap()), page, "what is written is read as the same");
    }

    #[test]
    fn open_metrics_is_written_as_expfmt_writes_it() {
        let expected = "# HELP http_requests The \\\"total\\\" number.\n# TYPE http_requests counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027.0 1395066363.123\n\
            # TYPE plain unknown\nplain 1.458255915e+09\n\
            # TYPE free unknown\nfree{path=\"C:\\\\DIR\"} NaN\n\
            # TYPE h histogram\nh_bucket{le=\"1.0\"} 3.0\nh_bucket{le=\"1e+06\"} 4.0\nh_bucket{le=\"+Inf\"} 7.0\nh_sum 5.5\nh_count 7.0\n\
            # TYPE s summary\ns{quantile=\"0.5\"} -Inf\ns_sum 2.0\ns_count 3.0\n# EOF\n";
        assert_eq!(open_metrics(&parse(TEXT).unwrap()).unwrap(), expected);
    }

    #[test]
    fn fractional_counts_have_no_place_in_open_metrics() {
        let families = parse("# TYPE h histogram\nh_bucket{le=\"1\"} 0.5\nh_count 0.5\n").unwrap();
        assert!(open_metrics(&families).is_none());
        assert!(text(&families).contains("h_bucket{le=\"1\"} 0.5\n"));
    }
}
