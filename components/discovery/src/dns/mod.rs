//! `discovery.dns`: finds targets by DNS records (Prometheus' DNS service discovery).

mod lookup;

use std::collections::BTreeMap;
use std::time::Duration;

use component::Target;
use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use prometheus::{IntCounter, Registry};
use syntax::Block;

use crate::metrics::counter;
use crate::shape::{Discovery, Refreshed, check_interval};

/// Discovers targets from DNS records.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// DNS names to look up.
    #[syntax(required)]
    pub names: Vec<String>,
    /// How often to query DNS for updates.
    #[syntax(default = Duration::from_secs(30))]
    pub refresh_interval: Duration,
    /// Type of DNS record to query: `SRV`, `A`, `AAAA`, `MX` or `NS`.
    #[syntax(name = "type", default = "SRV")]
    pub record_type: String,
    /// Port to use for collecting metrics. Not used for SRV records.
    pub port: u16,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        check_interval(self.refresh_interval)?;
        match self.kind() {
            None => Err(format!("invalid DNS-SD records type {}", self.record_type)),
            Some(lookup::Kind::Srv) => Ok(()),
            Some(_) if self.port == 0 => Err("a port is required in DNS-SD configs for all record types except SRV".to_owned()),
            Some(_) => Ok(()),
        }
    }

    fn kind(&self) -> Option<lookup::Kind> {
        lookup::Kind::from_name(&self.record_type)
    }
}

/// `discovery.dns`.
pub struct Dns {
    arguments: Arguments,
    kind: lookup::Kind,
    /// Instead of the system's servers, in tests.
    resolver: Option<TokioResolver>,
    /// The last good targets of each name.
    known: BTreeMap<String, Vec<Target>>,
}

/// What Prometheus counts of DNS discovery.
pub struct Metrics {
    lookups: IntCounter,
    failures: IntCounter,
}

impl Discovery for Dns {
    const NAME: &'static str = "discovery.dns";
    type Arguments = Arguments;
    type Metrics = Metrics;

    fn metrics(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        Ok(Metrics {
            lookups: counter(registry, "prometheus_sd_dns_lookups_total", "The number of DNS-SD lookups.")?,
            failures: counter(registry, "prometheus_sd_dns_lookup_failures_total", "The number of DNS-SD lookup failures.")?,
        })
    }

    fn new(arguments: Arguments) -> Result<Self, String> {
        let kind = arguments.kind().ok_or_else(|| format!("invalid DNS-SD records type {}", arguments.record_type))?;
        Ok(Self { arguments, kind, resolver: None, known: BTreeMap::new() })
    }

    fn interval(&self) -> Duration {
        self.arguments.refresh_interval
    }

    /// Looks all names up at once. A name that does not exist has no targets; one that can't be looked up keeps its last good ones.
    async fn refresh(&mut self, metrics: &Metrics) -> Refreshed {
        // The system's configuration is read each time: it changes when networks do.
        let resolver = match &self.resolver {
            Some(resolver) => resolver.clone(),
            None => match lookup::system_resolver() {
                Ok(resolver) => resolver,
                Err(error) => return Refreshed::failed(error),
            },
        };
        let Arguments { names, port, .. } = &self.arguments;
        let answers = join_all(names.iter().map(|name| lookup::targets(&resolver, name, self.kind, *port))).await;
        let mut failures = Vec::new();
        for (name, answer) in names.iter().zip(answers) {
            metrics.lookups.inc();
            match answer {
                Ok(targets) => drop(self.known.insert(name.clone(), targets)),
                Err(error) => {
                    metrics.failures.inc();
                    failures.push(error);
                }
            }
        }
        let targets = names.iter().filter_map(|name| self.known.get(name)).flatten().cloned().collect();
        Refreshed { targets: Some(targets), failures, ..Refreshed::default() }
    }
}

#[cfg(test)]
mod tests;
