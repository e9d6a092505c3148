//! What `prometheus.receive_http` takes, with Alloy's defaults.

use component::{BuildError, Fanout, MetricsReceiver, Setup, Stability};
use net::server::ServerConfig;
use syntax::Block;

use super::intake::{Options, Version};

/// The message of remote write 1.0.
pub(super) const MESSAGE_1: &str = "prometheus.WriteRequest";
/// The message of remote write 2.0.
pub(super) const MESSAGE_2: &str = "io.prometheus.write.v2.Request";

/// Takes metrics that others push by Prometheus' remote write, at `/api/v1/metrics/write`.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// List of receivers to send metrics to. A request is acknowledged when all of them have taken it.
    #[syntax(required)]
    pub forward_to: Vec<MetricsReceiver>,
    /// Accepted remote write protobuf message types: `prometheus.WriteRequest`, and as an experimental feature
    /// `io.prometheus.write.v2.Request`.
    #[syntax(default = vec![MESSAGE_1.to_owned()])]
    pub accepted_remote_write_protobuf_messages: Vec<String>,
    /// Pass metric metadata to downstream components. Experimental; only remote write 2.0 brings any.
    pub append_metadata: bool,
    /// Add the metric type and unit as labels to the metric. Experimental; only remote write 2.0 brings them.
    pub enable_type_and_unit_labels: bool,
    /// The server.
    #[syntax(squash)]
    pub server: ServerConfig,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        if self.accepted_remote_write_protobuf_messages.is_empty() {
            return Err("accepted_remote_write_protobuf_messages must not be empty".to_owned());
        }
        if let Some(unknown) =
            self.accepted_remote_write_protobuf_messages.iter().find(|message| ![MESSAGE_1, MESSAGE_2].contains(&&***message))
        {
            return Err(format!("unsupported protobuf message {unknown:?}: valid values are {MESSAGE_1:?} and {MESSAGE_2:?}"));
        }
        if self.forward_to.len() > Fanout::MAX_OFFERED {
            return Err(format!("forward_to has more than {} receivers", Fanout::MAX_OFFERED));
        }
        Ok(())
    }

    /// Whether the product admits what is experimental of it.
    pub(super) fn admitted(&self, setup: &Setup) -> Result<(), BuildError> {
        let accepts = format!("{MESSAGE_2:?} in accepted_remote_write_protobuf_messages");
        for (used, what) in [
            (self.append_metadata, "attribute \"append_metadata\""),
            (self.enable_type_and_unit_labels, "attribute \"enable_type_and_unit_labels\""),
            (self.accepts(Version::V2), accepts.as_str()),
        ] {
            if used {
                setup.admits(Stability::Experimental, &format!("{what} of prometheus.receive_http"))?;
            }
        }
        Ok(())
    }

    pub(super) fn accepts(&self, version: Version) -> bool {
        let message = match version {
            Version::V1 => MESSAGE_1,
            Version::V2 => MESSAGE_2,
        };
        self.accepted_remote_write_protobuf_messages.iter().any(|accepted| accepted == message)
    }

    pub(super) fn options(&self) -> Options {
        Options { append_metadata: self.append_metadata, type_and_unit_labels: self.enable_type_and_unit_labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use component::{Services, StabilityLevel};
    use std::path::Path;
    use syntax::{Scope, ToValue};

    fn decode(source: &str) -> Result<Arguments, String> {
        let scope = Scope::new().with("to", MetricsReceiver::new("to").to_value());
        let forward = if source.contains("forward_to") { "" } else { "forward_to = []\n" };
        syntax::decode_str(&format!("{forward}{source}"), &scope).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_alloys() {
        let arguments = decode("").unwrap();
        assert!(arguments.accepts(Version::V1) && !arguments.accepts(Version::V2));
        assert_eq!(arguments.options(), Options::default());
        assert_eq!(arguments.server.http.listen_port, 8080);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (source, part) in [
            ("accepted_remote_write_protobuf_messages = []".to_owned(), "must not be empty"),
            ("accepted_remote_write_protobuf_messages = [\"prometheus.WriteRequest\", \"x\"]".to_owned(), "\"x\""),
            (format!("forward_to = [{}]", "to, ".repeat(65)), "more than 64"),
        ] {
            let error = decode(&source).unwrap_err();
            assert!(error.contains(part), "{source}: {error}");
        }
    }

    #[test]
    fn experimental_arguments_need_the_products_leave() {
        let setup = |level| Setup::detached("x", Path::new("/nowhere"), Services::default().with(StabilityLevel(level)));
        for (source, part) in [
            ("append_metadata = true", "append_metadata"),
            ("enable_type_and_unit_labels = true", "enable_type_and_unit_labels"),
            ("accepted_remote_write_protobuf_messages = [\"io.prometheus.write.v2.Request\"]", "io.prometheus.write.v2.Request"),
        ] {
            let arguments = decode(source).unwrap();
            let error = arguments.admitted(&setup(Stability::GenerallyAvailable)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("--stability.level"), "{error}");
            assert!(arguments.admitted(&setup(Stability::Experimental)).is_ok());
        }
        assert!(decode("").unwrap().admitted(&setup(Stability::GenerallyAvailable)).is_ok());
    }
}
