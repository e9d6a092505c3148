//! Exposition formats as HTTP names them: what is asked for, and what an answer says it is.

use std::fmt;
use std::str::FromStr;

use crate::media_type;
use crate::series::Format;

/// A format that a target can be asked for. Named as in `scrape_protocols`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum ScrapeProtocol {
    PrometheusProto,
    OpenMetricsText1_0_0,
    OpenMetricsText0_0_1,
    PrometheusText1_0_0,
    PrometheusText0_0_4,
}

/// All formats with their names and media types.
const PROTOCOLS: [(ScrapeProtocol, &str, &str); 5] = [
    (
        ScrapeProtocol::PrometheusProto,
        "PrometheusProto",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
    (ScrapeProtocol::OpenMetricsText1_0_0, "OpenMetricsText1.0.0", "application/openmetrics-text;version=1.0.0"),
    (ScrapeProtocol::OpenMetricsText0_0_1, "OpenMetricsText0.0.1", "application/openmetrics-text;version=0.0.1"),
    (ScrapeProtocol::PrometheusText1_0_0, "PrometheusText1.0.0", "text/plain;version=1.0.0"),
    (ScrapeProtocol::PrometheusText0_0_4, "PrometheusText0.0.4", "text/plain;version=0.0.4"),
];

impl ScrapeProtocol {
    /// Alloy's default of `scrape_protocols`.
    pub const DEFAULT: [Self; 4] =
        [Self::OpenMetricsText1_0_0, Self::OpenMetricsText0_0_1, Self::PrometheusText1_0_0, Self::PrometheusText0_0_4];

    /// How its bodies are read.
    #[must_use]
    pub fn format(self) -> Format {
        match self {
            Self::PrometheusProto => Format::Protobuf,
            Self::OpenMetricsText1_0_0 | Self::OpenMetricsText0_0_1 => Format::OpenMetrics,
            Self::PrometheusText1_0_0 | Self::PrometheusText0_0_4 => Format::PrometheusText,
        }
    }

    fn media_type(self) -> &'static str {
        let (media_type, _) = self.row().2.split_once(';').unwrap_or((self.row().2, ""));
        media_type
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        PROTOCOLS.iter().find(|(protocol, ..)| *protocol == self).unwrap_or(&PROTOCOLS[4])
    }
}

impl fmt::Display for ScrapeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().1)
    }
}

/// A name that no format has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown scrape protocol {0:?}, supported: OpenMetricsText0.0.1, OpenMetricsText1.0.0, PrometheusProto, PrometheusText0.0.4, PrometheusText1.0.0"
)]
pub struct UnknownProtocol(String);

impl FromStr for ScrapeProtocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, UnknownProtocol> {
        PROTOCOLS.iter().find(|(_, known, _)| *known == name).map(|row| row.0).ok_or_else(|| UnknownProtocol(name.to_owned()))
    }
}

/// How names that are not valid in the legacy scheme are to be written, as `metric_name_escaping_scheme` names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Escaping {
    AllowUtf8,
    #[default]
    Underscores,
    Dots,
    Values,
}

impl Escaping {
    /// All schemes.
    pub const ALL: [Self; 4] = [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];

    /// The scheme's name in the `Accept` header and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }
}

/// The `Accept` header: the formats with falling weights, and at last anything, as Prometheus writes it.
pub(crate) fn accept(protocols: &[ScrapeProtocol], escaping: Escaping) -> String {
    let (mut weight, mut header) = (PROTOCOLS.len() + 1, String::new());
    for protocol in protocols {
        header.push_str(protocol.row().2);
        // Older versions of the formats have no escaping.
        if matches!(protocol, ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0) {
            header.push_str(";escaping=");
            header.push_str(escaping.as_str());
        }
        header.push_str(&format!(";q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

/// Why an answer's format can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// No content type, and nothing to fall back to.
    #[error("non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target")]
    Blank,
    /// A content type that is not written as one, and nothing to fall back to.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Invalid(Box<str>),
    /// A content type that is no exposition format, and nothing to fall back to.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(Box<str>),
}

/// How the body of an answer with this `Content-Type` is to be read.
///
/// # Errors
/// [`ContentTypeError`] if it can't be: matters only if there is a body.
pub(crate) fn check_content_type(header: Option<&str>, fallback: Option<ScrapeProtocol>) -> Result<Format, ContentTypeError> {
    let header = header.unwrap_or_default();
    let shown = || header.chars().take(100).collect();
    let media_type = media_type::parse(header);
    let known = |media_type: &str| PROTOCOLS.iter().find(|row| row.0.media_type().eq_ignore_ascii_case(media_type)).map(|row| row.0);
    match (media_type.and_then(known).or(fallback), media_type) {
        (Some(protocol), _) => Ok(protocol.format()),
        (None, _) if header.is_empty() => Err(ContentTypeError::Blank),
        (None, None) => Err(ContentTypeError::Invalid(shown())),
        (None, Some(_)) => Err(ContentTypeError::Unsupported(shown())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (protocol, name, _) in PROTOCOLS {
            assert_eq!(name.parse(), Ok(protocol));
            assert_eq!(protocol.to_string(), name);
        }
        assert!("text".parse::<ScrapeProtocol>().unwrap_err().to_string().starts_with("unknown scrape protocol \"text\""));
    }

    #[test]
    fn formats_are_asked_for_in_their_order_as_prometheus_does() {
        let text = "text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let open_metrics = |q: [u8; 2]| {
            let [new, old] = q;
            format!(
                "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.{new},application/openmetrics-text;version=0.0.1;q=0.{old}"
            )
        };
        assert_eq!(accept(&ScrapeProtocol::DEFAULT, Escaping::Underscores), format!("{},{text}", open_metrics([6, 5])));
        let all: Vec<ScrapeProtocol> = PROTOCOLS.map(|row| row.0).to_vec();
        let proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6";
        let text = "text/plain;version=1.0.0;escaping=underscores;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(accept(&all, Escaping::Underscores), format!("{proto},{},{text}", open_metrics([5, 4])));
        assert_eq!(accept(&[ScrapeProtocol::PrometheusText0_0_4], Escaping::AllowUtf8), "text/plain;version=0.0.4;q=0.6,*/*;q=0.5");
        for escaping in Escaping::ALL {
            let header = accept(&[ScrapeProtocol::PrometheusText1_0_0], escaping);
            assert_eq!(header, format!("text/plain;version=1.0.0;escaping={};q=0.6,*/*;q=0.5", escaping.as_str()));
        }
    }

    #[test]
    fn the_content_type_decides_and_the_fallback_helps() {
        use ContentTypeError::{Blank, Invalid, Unsupported};
        let text = Ok(Format::PrometheusText);
        let fallback = Some(ScrapeProtocol::PrometheusText0_0_4);
        let cases = [
            (Some("text/plain"), text.clone(), text.clone()),
            (Some("text/plain; version=0.0.4; charset=utf-8"), text.clone(), text.clone()),
            (Some("Text/Plain;version=1.0.0"), text.clone(), text.clone()),
            (None, text.clone(), Err(Blank)),
            (Some(""), text.clone(), Err(Blank)),
            (Some("text/html; x=y"), text.clone(), Err(Unsupported("text/html; x=y".into()))),
            (Some("text/plain; charset"), text.clone(), Err(Invalid("text/plain; charset".into()))),
            (Some(";"), text.clone(), Err(Invalid(";".into()))),
            (Some("application/openmetrics-text; version=1.0.0"), Ok(Format::OpenMetrics), Ok(Format::OpenMetrics)),
            (Some("application/OpenMetrics-text"), Ok(Format::OpenMetrics), Ok(Format::OpenMetrics)),
            (Some("application/vnd.google.protobuf; encoding=delimited"), Ok(Format::Protobuf), Ok(Format::Protobuf)),
        ];
        assert_eq!(check_content_type(None, Some(ScrapeProtocol::PrometheusProto)), Ok(Format::Protobuf));
        for (header, with, without) in cases {
            assert_eq!(check_content_type(header, fallback), with, "{header:?}");
            assert_eq!(check_content_type(header, None), without, "{header:?}");
        }
    }
}
