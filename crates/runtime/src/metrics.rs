//! The runtime's own metrics under Alloy's names, and the merge with those of all components. Serving them belongs to the product.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use component::HealthState;
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, Opts, Registry};

use crate::graph::Graph;

/// Bounds of Alloy's histograms of evaluations, in seconds.
const SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// From here on an evaluation counts as slow, as in Alloy.
const SLOW: Duration = Duration::from_secs(60);

/// The runtime's metrics.
pub(crate) struct Metrics {
    /// With the labels of the controller.
    controller: Registry,
    /// Without.
    config: Registry,
    pub evaluating: Gauge,
    pub queue: Gauge,
    waiting: Histogram,
    evaluation: Histogram,
    slow: CounterVec,
    successful: Gauge,
    success_time: Gauge,
    failures: IntCounter,
    cluster_name: String,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Never in practice: the names are fixed and unique.
    pub fn new(cluster_name: String) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
        let metrics = Self {
            controller: Registry::new_custom(None, Some(controller_labels()))?,
            config: Registry::new(),
            evaluating: Gauge::new("alloy_component_controller_evaluating", "Whether the graph or parts of it are being evaluated.")?,
            queue: Gauge::new("alloy_component_evaluation_queue_size", "Components that wait for evaluation.")?,
            waiting: histogram(
                "alloy_component_dependencies_wait_seconds",
                "Time from a change of exports to the evaluation of a dependant.",
            )?,
            evaluation: histogram("alloy_component_evaluation_seconds", "Time that evaluating a component took.")?,
            slow: CounterVec::new(
                Opts::new("alloy_component_evaluation_slow_seconds", "Time in evaluations that took longer than a minute."),
                &["component_id"],
            )?,
            successful: Gauge::new("alloy_config_last_load_successful", "Whether the last load of the configuration was successful.")?,
            success_time: Gauge::new(
                "alloy_config_last_load_success_timestamp_seconds",
                "When the configuration was last loaded successfully.",
            )?,
            failures: IntCounter::new("alloy_config_load_failures_total", "Failed loads of the configuration.")?,
            cluster_name,
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.controller.register(Box::new(self.evaluating.clone()))?;
        self.controller.register(Box::new(self.queue.clone()))?;
        self.controller.register(Box::new(self.waiting.clone()))?;
        self.controller.register(Box::new(self.evaluation.clone()))?;
        self.controller.register(Box::new(self.slow.clone()))?;
        self.config.register(Box::new(self.successful.clone()))?;
        self.config.register(Box::new(self.success_time.clone()))?;
        self.config.register(Box::new(self.failures.clone()))
    }

    /// A node was evaluated.
    pub fn evaluated(&self, id: &str, took: Duration) {
        self.evaluation.observe(took.as_secs_f64());
        if took >= SLOW {
            self.slow.with_label_values(&[id]).inc_by(took.as_secs_f64());
        }
    }

    /// A node's turn came.
    pub fn waited(&self, time: Duration) {
        self.waiting.observe(time.as_secs_f64());
    }

    /// The configuration was loaded, or failed to.
    pub fn loaded(&self, successful: bool) {
        self.successful.set(f64::from(u8::from(successful)));
        if successful {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.success_time.set(now.as_secs_f64());
        } else {
            self.failures.inc();
        }
    }

    /// These metrics, those that a graph and the hash of its configuration yield, and those of its components.
    pub fn gather(&self, graph: &Graph, hash: Option<&str>) -> Vec<MetricFamily> {
        let registries = [self.controller.gather(), self.config.gather()].into_iter();
        let components = graph.components().filter_map(|node| node.live.control()).map(|control| control.registry().gather());
        merge(registries.chain([self.of_graph(graph, hash).unwrap_or_default()]).chain(components).flatten())
    }

    /// What is cheaper to count when somebody asks than to keep up to date.
    fn of_graph(&self, graph: &Graph, hash: Option<&str>) -> Result<Vec<MetricFamily>, prometheus::Error> {
        let health = Opts::new("alloy_component_controller_running_components", "Components by their health.");
        let health = GaugeVec::new(health, &["health_type"])?;
        let states = [HealthState::Healthy, HealthState::Unknown, HealthState::Unhealthy, HealthState::Exited];
        states.iter().for_each(|state| health.with_label_values(&[state.as_str()]).set(0.0));
        let edges = GaugeVec::new(Opts::new("alloy_component_graph_connection", "References between components."), &["from", "to"])?;
        for node in graph.components() {
            health.with_label_values(&[node.live.health().state.as_str()]).inc();
            node.dependencies.iter().for_each(|to| edges.with_label_values(&[&*node.id, &*to.id]).set(1.0));
        }
        let labelled = Registry::new_custom(None, Some(controller_labels()))?;
        labelled.register(Box::new(health))?;
        labelled.register(Box::new(edges))?;
        let config = GaugeVec::new(Opts::new("alloy_config_hash", "SHA-256 of the running configuration."), &["sha256", "cluster_name"])?;
        if let Some(hash) = hash {
            config.with_label_values(&[hash, &self.cluster_name]).set(1.0);
        }
        let plain = Registry::new();
        plain.register(Box::new(config))?;
        Ok([labelled.gather(), plain.gather()].concat())
    }
}

/// Those of the root module.
fn controller_labels() -> HashMap<String, String> {
    HashMap::from([("controller_path".to_owned(), "/".to_owned()), ("controller_id".to_owned(), String::new())])
}

/// One family per name, sorted by it. A family whose type differs from that of the first with its name can't be shown and is left out.
fn merge(families: impl Iterator<Item = MetricFamily>) -> Vec<MetricFamily> {
    let mut merged: BTreeMap<String, MetricFamily> = BTreeMap::new();
    for mut family in families {
        match merged.entry(family.name().to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(family);
            }
            Entry::Occupied(mut entry) if entry.get().get_field_type() == family.get_field_type() => {
                entry.get_mut().mut_metric().extend(family.take_metric());
            }
            Entry::Occupied(entry) => tracing::debug!(family = entry.key(), "metrics of one name and different types"),
        }
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(component: &str, name: &str, value: f64) -> Registry {
        let labels = HashMap::from([("component_id".to_owned(), component.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).unwrap();
        let gauge = Gauge::new(name, "help").unwrap();
        gauge.set(value);
        registry.register(Box::new(gauge)).unwrap();
        registry
    }

    #[test]
    fn families_of_one_name_become_one_and_keep_their_labels() {
        let families = [registry("a", "x", 1.0), registry("b", "x", 2.0), registry("b", "w", 3.0)].into_iter().flat_map(|r| r.gather());
        let merged = merge(families);
        assert_eq!(merged.iter().map(|family| family.name().to_owned()).collect::<Vec<_>>(), ["w", "x"]);
        let values: Vec<f64> = merged[1].get_metric().iter().map(|metric| metric.get_gauge().get_value()).collect();
        assert_eq!(values, [1.0, 2.0]);
    }

    #[test]
    fn families_of_one_name_and_different_types_keep_the_first() {
        let other = Registry::new();
        other.register(Box::new(IntCounter::new("x", "help").unwrap())).unwrap();
        let merged = merge([registry("a", "x", 1.0), other].into_iter().flat_map(|r| r.gather()));
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].get_metric().len(), 1);
    }
}
