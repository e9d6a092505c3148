//! Metric families as `expfmt` has them: samples of summaries and histograms joined under one name.

/// A family.
#[derive(Debug, PartialEq)]
pub(super) struct Family {
    pub name: String,
    pub help: Option<String>,
    /// None until a TYPE line or the first sample.
    pub kind: Option<Kind>,
    pub metrics: Vec<Metric>,
}

/// Types that the text can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Summary,
    Untyped,
    Histogram,
    GaugeHistogram,
}

impl Kind {
    /// In any case, as `expfmt` tolerates it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            "summary" => Some(Self::Summary),
            "untyped" => Some(Self::Untyped),
            "histogram" => Some(Self::Histogram),
            "gauge_histogram" | "gaugehistogram" => Some(Self::GaugeHistogram),
            _ => None,
        }
    }

    /// The label that tells a summary's or histogram's samples apart.
    pub fn own_label(self) -> Option<&'static str> {
        match self {
            Self::Summary => Some("quantile"),
            Self::Histogram | Self::GaugeHistogram => Some("le"),
            _ => None,
        }
    }
}

/// One metric of a family: a sample, or all samples of a summary or histogram.
#[derive(Debug, PartialEq)]
pub(super) struct Metric {
    /// In the order of the text, without the family's own label.
    pub labels: Vec<(String, String)>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    pub points: Points,
}

/// The values.
#[derive(Debug, PartialEq)]
pub(super) enum Points {
    One(f64),
    /// Quantiles or buckets with their values, in the order of the text.
    Many {
        parts: Vec<(f64, f64)>,
        sum: f64,
        count: f64,
    },
}
