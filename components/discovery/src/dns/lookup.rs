//! One name's records as targets.

use component::Target;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolveHosts;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use model::{Labels, LabelsBuilder};

/// The kinds of records that targets are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Srv,
    A,
    Aaaa,
    Mx,
    Ns,
}

impl Kind {
    /// In upper or lower case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "SRV" => Some(Self::Srv),
            "A" => Some(Self::A),
            "AAAA" => Some(Self::Aaaa),
            "MX" => Some(Self::Mx),
            "NS" => Some(Self::Ns),
            _ => None,
        }
    }

    fn record_type(self) -> RecordType {
        match self {
            Self::Srv => RecordType::SRV,
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Mx => RecordType::MX,
            Self::Ns => RecordType::NS,
        }
    }
}

/// A resolver with the system's servers and search list. It remembers nothing: refresh_interval says how old an answer may be.
pub(super) fn system_resolver() -> Result<TokioResolver, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot use the system's DNS configuration (/etc/resolv.conf): {error}");
    let mut builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
    builder.options_mut().cache_size = 0;
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|error| failed(&error))
}

/// The targets of `name`; none if it does not exist or has no such records.
///
/// # Errors
/// No server gave an answer that tells.
pub(super) async fn targets(resolver: &TokioResolver, name: &str, kind: Kind, port: u16) -> Result<Vec<Target>, String> {
    let found = match resolver.lookup(name, kind.record_type()).await {
        Ok(found) => found,
        Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
        Err(error) => return Err(format!("could not resolve {name:?}: {error}")),
    };
    let mut targets: Vec<Labels> = found.answers().iter().filter_map(|record| target(name, &record.data, port)).collect();
    // Servers rotate their answers; that is no change.
    targets.sort_unstable();
    Ok(targets.into_iter().map(Target).collect())
}

/// One record; `None` for those on the way to it (CNAME).
fn target(name: &str, data: &RData, port: u16) -> Option<Labels> {
    let mut labels = LabelsBuilder::default();
    let address = match data {
        RData::A(address) => host_port(&address.to_string(), port),
        RData::AAAA(address) => host_port(&address.to_string(), port),
        RData::SRV(record) => {
            labels.set("__meta_dns_srv_record_target", &record.target.to_ascii());
            labels.set("__meta_dns_srv_record_port", &record.port.to_string());
            host_port(&unrooted(&record.target), record.port)
        }
        RData::MX(record) => {
            labels.set("__meta_dns_mx_record_target", &record.exchange.to_ascii());
            host_port(&unrooted(&record.exchange), port)
        }
        RData::NS(record) => {
            labels.set("__meta_dns_ns_record_target", &record.0.to_ascii());
            host_port(&unrooted(&record.0), port)
        }
        _ => return None,
    };
    labels.set("__address__", &address).set("__meta_dns_name", name);
    Some(labels.build())
}

fn unrooted(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_owned()
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
