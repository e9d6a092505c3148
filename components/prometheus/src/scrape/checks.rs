//! What may go with what in the arguments of `prometheus.scrape`, as Alloy judges it, and what follows from it.

use scrape::{Escaping, ScrapeProtocol};

use super::Arguments;
use super::arguments::DEFAULT_PROTOCOLS;

impl Arguments {
    /// Whether native histograms are taken.
    pub(super) fn native_histograms(&self) -> bool {
        self.scrape_native_histograms || self.enable_protobuf_negotiation
    }

    /// The protocols to ask for: those that are configured, or the default.
    pub(super) fn protocols(&self) -> Vec<&str> {
        let proto_first = self.native_histograms() && self.scrape_protocols == DEFAULT_PROTOCOLS;
        proto_first.then_some("PrometheusProto").into_iter().chain(self.scrape_protocols.iter().map(String::as_str)).collect()
    }

    /// How targets are to write names that are not valid in the legacy scheme.
    pub(super) fn escaping(&self) -> Escaping {
        let named = |escaping: &Escaping| escaping.as_str() == self.metric_name_escaping_scheme;
        let default = if self.metric_name_validation_scheme == "utf8" { Escaping::AllowUtf8 } else { Escaping::Underscores };
        Escaping::ALL.into_iter().find(named).unwrap_or(default)
    }

    /// Alloy's documentation spells the default of the fallback with underscores where the protocol's name has dots; both are taken.
    pub(super) fn fallback(&self) -> String {
        self.scrape_fallback_protocol.replace('_', ".")
    }

    /// Whether the arguments can work together.
    ///
    /// # Errors
    /// A text that names the argument.
    pub(super) fn validate(&self) -> Result<(), String> {
        self.validate_times()?;
        self.validate_protocols()?;
        self.validate_names()?;
        self.validate_clustering()
    }

    fn validate_times(&self) -> Result<(), String> {
        let (timeout, interval) = (self.scrape_timeout, self.scrape_interval);
        if timeout > interval {
            let [timeout, interval] = [timeout, interval].map(syntax::format_duration);
            return Err(format!("scrape_timeout ({timeout}) greater than scrape_interval ({interval})"));
        }
        if interval.is_zero() || timeout.is_zero() {
            return Err("scrape_interval and scrape_timeout must be greater than 0".to_owned());
        }
        Ok(())
    }

    fn validate_protocols(&self) -> Result<(), String> {
        if self.enable_protobuf_negotiation && self.scrape_protocols != DEFAULT_PROTOCOLS {
            return Err("enable_protobuf_negotiation and scrape_protocols can't both be set; use scrape_protocols".to_owned());
        }
        for (at, protocol) in self.scrape_protocols.iter().enumerate() {
            known(protocol, "scrape_protocols")?;
            if self.scrape_protocols[..at].contains(protocol) {
                return Err(format!("scrape_protocols has {protocol:?} twice"));
            }
        }
        if self.scrape_protocols.is_empty() {
            return Err("scrape_protocols must not be empty".to_owned());
        }
        if self.native_histograms() && !self.protocols().contains(&"PrometheusProto") {
            return Err("scrape_native_histograms needs \"PrometheusProto\" in scrape_protocols".to_owned());
        }
        if self.scrape_fallback_protocol.is_empty() { Ok(()) } else { known(&self.fallback(), "scrape_fallback_protocol") }
    }

    fn validate_names(&self) -> Result<(), String> {
        let (validation, escaping) = (self.metric_name_validation_scheme.as_str(), self.metric_name_escaping_scheme.as_str());
        if !["legacy", "utf8"].contains(&validation) {
            return Err(format!("metric_name_validation_scheme is {validation:?}; use \"legacy\" or \"utf8\""));
        }
        if !escaping.is_empty() && !Escaping::ALL.iter().any(|known| known.as_str() == escaping) {
            let known = Escaping::ALL.map(Escaping::as_str).join(", ");
            return Err(format!("metric_name_escaping_scheme is {escaping:?}; known are {known}"));
        }
        if escaping == Escaping::AllowUtf8.as_str() && validation != "utf8" {
            return Err("metric_name_escaping_scheme = \"allow-utf-8\" needs metric_name_validation_scheme = \"utf8\"".to_owned());
        }
        Ok(())
    }

    fn validate_clustering(&self) -> Result<(), String> {
        let Some(clustering) = &self.clustering else { return Ok(()) };
        let most = u64::from(cluster::MAX_RANKS);
        if !(1..=most).contains(&clustering.replication_factor) {
            return Err(format!("clustering: replication_factor is {}, but must be 1 to {most}", clustering.replication_factor));
        }
        match clustering.included_labels.iter().find(|name| clustering.excluded_labels.contains(name)) {
            Some(both) => Err(format!("clustering: {both:?} is in included_labels and in excluded_labels; remove it from one of them")),
            None => Ok(()),
        }
    }

    /// The arguments in use that are not settled yet.
    pub(super) fn experimental(&self) -> impl Iterator<Item = &'static str> {
        let experimental = [
            ("honor_metadata", self.honor_metadata),
            ("enable_type_and_unit_labels", self.enable_type_and_unit_labels),
            ("start_timestamp_zero_ingestion", self.start_timestamp_zero_ingestion),
        ];
        experimental.into_iter().filter_map(|(name, used)| used.then_some(name))
    }
}

fn known(protocol: &str, argument: &str) -> Result<(), String> {
    protocol.parse::<ScrapeProtocol>().map(drop).map_err(|error| format!("{argument}: {error}"))
}

#[cfg(test)]
mod tests {
    use syntax::Scope;

    use super::*;

    fn decode(more: &str) -> Result<Arguments, String> {
        syntax::decode_str(&format!("targets = []\nforward_to = []\n{more}"), &Scope::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_name() {
        for (source, part) in [
            ("scrape_interval = \"5s\"", "scrape_timeout (10s) greater than scrape_interval (5s)"),
            ("scrape_protocols = [\"Text\"]", "scrape_protocols: unknown scrape protocol \"Text\""),
            ("scrape_protocols = [\"PrometheusText0.0.4\", \"PrometheusText0.0.4\"]", "scrape_protocols has \"PrometheusText0.0.4\" twice"),
            ("scrape_protocols = []", "scrape_protocols must not be empty"),
            ("scrape_fallback_protocol = \"x\"", "scrape_fallback_protocol: unknown scrape protocol"),
            ("scrape_native_histograms = true\nscrape_protocols = [\"PrometheusText0.0.4\"]", "needs \"PrometheusProto\""),
            ("enable_protobuf_negotiation = true\nscrape_protocols = [\"PrometheusProto\"]", "can't both be set"),
            ("metric_name_validation_scheme = \"x\"", "metric_name_validation_scheme"),
            ("metric_name_escaping_scheme = \"x\"", "known are allow-utf-8, underscores, dots, values"),
            ("metric_name_escaping_scheme = \"allow-utf-8\"", "needs metric_name_validation_scheme = \"utf8\""),
            ("body_size_limit = \"10 apples\"", "is not a number of bytes"),
            ("clustering { }", "enabled"),
            (
                "clustering {\nenabled = true\nincluded_labels = [\"a\", \"b\"]\nexcluded_labels = [\"b\"]\n}",
                "\"b\" is in included_labels and",
            ),
        ] {
            let error = decode(source).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
        }
    }

    #[test]
    fn native_histograms_put_protobuf_first_unless_protocols_are_given() {
        let proto_first = ["PrometheusProto", "OpenMetricsText1.0.0", "OpenMetricsText0.0.1", "PrometheusText1.0.0", "PrometheusText0.0.4"];
        for source in ["scrape_native_histograms = true", "enable_protobuf_negotiation = true"] {
            let arguments = decode(source).unwrap();
            assert_eq!(arguments.protocols(), proto_first, "{source}");
            assert!(arguments.native_histograms(), "{source}");
        }
        let given = "scrape_native_histograms = true\nscrape_protocols = [\"PrometheusText0.0.4\", \"PrometheusProto\"]";
        assert_eq!(decode(given).unwrap().protocols(), ["PrometheusText0.0.4", "PrometheusProto"]);
    }

    #[test]
    fn the_escaping_scheme_follows_the_validation_scheme() {
        for (source, escaping) in [
            ("", Escaping::Underscores),
            ("metric_name_validation_scheme = \"utf8\"", Escaping::AllowUtf8),
            ("metric_name_validation_scheme = \"utf8\"\nmetric_name_escaping_scheme = \"dots\"", Escaping::Dots),
            ("metric_name_escaping_scheme = \"values\"", Escaping::Values),
        ] {
            assert_eq!(decode(source).unwrap().escaping(), escaping, "{source}");
        }
    }

    #[test]
    fn experimental_arguments_are_known_as_such() {
        for name in ["honor_metadata", "enable_type_and_unit_labels", "start_timestamp_zero_ingestion"] {
            assert_eq!(decode(&format!("{name} = true")).unwrap().experimental().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(decode("scrape_native_histograms = true").unwrap().experimental().count(), 0);
    }
}
