//! `prometheus.enrich`: copies labels of discovered targets to the series that match them. Done once per chunk of series, not per sample.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use component::{BuildError, Component, Context, Event, Fanout, MetricsReceiver, RunError, Setup, Stability, Target};
use model::transform::LayoutMapper;
use model::{Batch, ConsumeMetrics, Labels, LabelsBuilder, Refused};
use prometheus::IntGauge;
use syntax::Block;

/// Separates values in a key: it can't occur in UTF-8, so no two lists of values run together.
const SEPARATOR: u8 = 0xff;

/// Adds labels of discovered targets to metrics.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Where the metrics should be forwarded to, after enrichment.
    #[syntax(required)]
    pub forward_to: Vec<MetricsReceiver>,
    /// List of targets from a discovery component.
    #[syntax(required)]
    pub targets: Vec<Target>,
    /// Map of target label name to metric label name. All entries must match for enrichment.
    pub target_to_metric_match: BTreeMap<String, String>,
    /// Deprecated, use target_to_metric_match: the label from discovered targets to match against.
    pub target_match_label: String,
    /// Deprecated, use target_to_metric_match: the label from incoming metrics to match against; by default the one of the targets.
    pub metrics_match_label: String,
    /// List of labels to copy from discovered targets to metrics. If empty, all labels are copied.
    pub labels_to_copy: Vec<String>,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        if !self.target_to_metric_match.is_empty() {
            return Ok(()); // it takes precedence over the older ones
        }
        if self.target_match_label.is_empty() && self.metrics_match_label.is_empty() {
            return Err("at least one match mechanism must be specified: set target_match_label or target_to_metric_match".to_owned());
        }
        if self.target_match_label.is_empty() {
            return Err("target_match_label must be set when using legacy match fields".to_owned());
        }
        Ok(())
    }

    /// Which target label must equal which metric label.
    fn pairs(&self) -> Vec<(&str, &str)> {
        if !self.target_to_metric_match.is_empty() {
            return self.target_to_metric_match.iter().map(|(target, metric)| (target.as_str(), metric.as_str())).collect();
        }
        let metric = if self.metrics_match_label.is_empty() { &self.target_match_label } else { &self.metrics_match_label };
        vec![(&self.target_match_label, metric)]
    }
}

/// Exports of `prometheus.enrich`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// The input receiver where samples are sent to be enriched.
    #[syntax(required)]
    pub receiver: MetricsReceiver,
}

/// The component.
pub struct Enrich {
    receiver: MetricsReceiver,
    step: Arc<ArcSwap<Step>>,
    size: IntGauge,
}

/// One generation of targets: replaced as a whole, so that no batch sees old edits with new targets.
struct Step {
    lookup: Lookup,
    cache: LayoutMapper,
    next: Fanout,
}

impl Component for Enrich {
    const NAME: &'static str = "prometheus.enrich";
    const STABILITY: Stability = Stability::Experimental;
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let next = Fanout::new(arguments.forward_to.clone(), setup.registry()).map_err(BuildError::new)?;
        let size = IntGauge::new("alloy_prometheus_target_cache_size", "Total size of targets cache").map_err(BuildError::new)?;
        setup.registry().register(Box::new(size.clone())).map_err(BuildError::new)?;
        let step = Arc::new(ArcSwap::from_pointee(Step::new(&arguments, next)));
        let receiver = MetricsReceiver::new(setup.id());
        receiver.fill(Entrance(step.clone()));
        let component = Self { receiver: receiver.clone(), step, size };
        component.show_size();
        Ok((component, Exports { receiver }))
    }

    async fn run(self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("enriching");
        loop {
            match context.next().await {
                Event::Update(arguments) => self.update(&arguments),
                Event::Debug(_) => {}
                Event::Stop(_) => break,
            }
        }
        self.receiver.close();
        Ok(())
    }
}

impl Enrich {
    fn update(&self, arguments: &Arguments) {
        let next = self.step.load().next.with_receivers(arguments.forward_to.clone());
        self.step.store(Arc::new(Step::new(arguments, next)));
        self.show_size();
    }

    fn show_size(&self) {
        self.size.set(self.step.load().lookup.targets.len() as i64);
    }
}

impl Step {
    fn new(arguments: &Arguments, next: Fanout) -> Self {
        // The edits of all series that exist are remembered, as in `prometheus.relabel`.
        Self { lookup: Lookup::new(arguments), cache: LayoutMapper::new(usize::MAX), next }
    }
}

struct Entrance(Arc<ArcSwap<Step>>);

impl ConsumeMetrics for Entrance {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let step = self.0.load();
        let mut edit = |labels: &mut LabelsBuilder| {
            step.lookup.enrich(labels);
            true
        };
        let Some(batch) = step.cache.map(batch, &mut edit) else { return Ok(()) };
        step.next.consume(batch)
    }

    fn flush(&self) {
        self.0.load().next.flush();
    }

    fn hold(&self, source: u64) {
        self.0.load().next.hold(source);
    }

    fn release(&self, source: u64) {
        self.0.load().next.release(source);
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.0.load().next.is_acknowledged(source)
    }
}

/// Finds the target of a series.
struct Lookup {
    /// Labels of series whose values make the key.
    metric_labels: Vec<String>,
    /// What is copied, by key.
    targets: HashMap<Box<[u8]>, Labels>,
}

impl Lookup {
    fn new(arguments: &Arguments) -> Self {
        let pairs = arguments.pairs();
        let mut targets = HashMap::new();
        for Target(target) in &arguments.targets {
            let Some(key) = key(pairs.iter().map(|(label, _)| target.get(label))) else { continue };
            let wanted = |name: &str| arguments.labels_to_copy.is_empty() || arguments.labels_to_copy.iter().any(|copied| copied == name);
            // Of several targets with the same values, the last one counts.
            targets.insert(key.into(), target.iter().filter(|(name, _)| wanted(name)).collect());
        }
        Self { metric_labels: pairs.into_iter().map(|(_, metric)| metric.to_owned()).collect(), targets }
    }

    fn enrich(&self, labels: &mut LabelsBuilder) {
        let Some(key) = key(self.metric_labels.iter().map(|name| labels.get(name))) else { return };
        let Some(copied) = self.targets.get(&*key) else { return };
        for (name, value) in copied.iter() {
            labels.set(name, value);
        }
    }
}

/// The key of these values; none if one is missing.
fn key<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for value in values {
        key.extend_from_slice(value?.as_bytes());
        key.push(SEPARATOR);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use component::Services;
    use model::LayoutBuilder;
    use parking_lot::Mutex;
    use syntax::{Scope, ToValue};

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<Batch>>>);

    impl ConsumeMetrics for Collected {
        fn consume(&self, batch: Batch) -> Result<(), Refused> {
            self.0.lock().push(batch);
            Ok(())
        }
    }

    const TARGETS: &str = "targets = [\n{\"host\" = \"a\", \"zone\" = \"z1\", \"rack\" = \"r1\", \"__meta_x\" = \"m\"},\n\
                           {\"host\" = \"b\", \"zone\" = \"z2\"},\n{\"zone\" = \"lonely\"},\n]\n";

    fn decode(source: &str, to: &MetricsReceiver) -> Result<Arguments, String> {
        let scope = Scope::new().with("to", to.to_value());
        syntax::decode_str(&format!("forward_to = [to]\n{TARGETS}{source}"), &scope).map_err(|error| error.to_string())
    }

    struct Stage {
        component: Enrich,
        exports: Exports,
        collected: Collected,
        to: MetricsReceiver,
        setup: Setup,
    }

    fn stage(source: &str) -> Stage {
        let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
        to.fill(collected.clone());
        let setup = Setup::detached("prometheus.enrich.x", std::path::Path::new("/nowhere"), Services::default());
        let (component, exports) = Enrich::build(decode(source, &to).unwrap(), &setup).unwrap();
        Stage { component, exports, collected, to, setup }
    }

    impl Stage {
        /// What a series with these labels (and a name) becomes.
        fn enriched(&self, labels: &[(&str, &str)]) -> String {
            let mut layout = LayoutBuilder::default();
            layout.push([("__name__", "up")].into_iter().chain(labels.iter().copied())).unwrap();
            self.exports.receiver.consume(Batch::new(1, Arc::new(layout.finish()), 5, vec![1.0])).unwrap();
            let last = self.collected.0.lock().pop().unwrap();
            last.layout.iter().next().unwrap().to_labels().to_builder().remove("__name__").clone().build().to_string()
        }

        fn size(&self) -> f64 {
            let families = self.setup.registry().gather();
            let family = families.iter().find(|family| family.name() == "alloy_prometheus_target_cache_size").unwrap();
            family.get_metric()[0].get_gauge().get_value()
        }
    }

    #[test]
    fn a_series_gets_the_labels_of_its_target() {
        let stage = stage("target_to_metric_match = { \"host\" = \"instance\" }");
        assert_eq!(stage.enriched(&[("instance", "a")]), r#"{__meta_x="m", host="a", instance="a", rack="r1", zone="z1"}"#);
        assert_eq!(stage.enriched(&[("instance", "b"), ("zone", "own")]), r#"{host="b", instance="b", zone="z2"}"#);
        assert_eq!(stage.size(), 2.0, "a target without the label is left out");
    }

    #[test]
    fn what_matches_no_target_passes_as_it_is() {
        let stage = stage("target_to_metric_match = { \"host\" = \"instance\" }");
        assert_eq!(stage.enriched(&[("instance", "c")]), r#"{instance="c"}"#);
        assert_eq!(stage.enriched(&[]), "{}");
    }

    #[test]
    fn all_pairs_must_match_and_only_the_wanted_labels_are_copied() {
        let stage = stage("target_to_metric_match = { \"host\" = \"h\", \"rack\" = \"r\" }\nlabels_to_copy = [\"zone\", \"nowhere\"]");
        assert_eq!(stage.enriched(&[("h", "a"), ("r", "r1")]), r#"{h="a", r="r1", zone="z1"}"#);
        assert_eq!(stage.enriched(&[("h", "a"), ("r", "r2")]), r#"{h="a", r="r2"}"#);
        assert_eq!(stage.enriched(&[("h", "a")]), r#"{h="a"}"#);
        assert_eq!(stage.enriched(&[("h", "ar"), ("r", "1")]), r#"{h="ar", r="1"}"#, "values do not run together");
    }

    #[test]
    fn the_older_arguments_still_work_and_the_newer_takes_precedence() {
        let copy = "labels_to_copy = [\"zone\"]\n";
        let same = stage(&format!("{copy}target_match_label = \"host\""));
        assert_eq!(same.enriched(&[("host", "a")]), r#"{host="a", zone="z1"}"#);
        let other = stage(&format!("{copy}target_match_label = \"host\"\nmetrics_match_label = \"node\""));
        assert_eq!(other.enriched(&[("node", "b")]), r#"{node="b", zone="z2"}"#);
        let both = stage(&format!("{copy}target_match_label = \"rack\"\ntarget_to_metric_match = {{ \"host\" = \"host\" }}"));
        assert_eq!(both.enriched(&[("host", "b")]), r#"{host="b", zone="z2"}"#);
    }

    #[test]
    fn without_anything_to_match_by_it_is_refused() {
        let to = MetricsReceiver::new("to");
        assert!(decode("", &to).unwrap_err().contains("at least one match mechanism"));
        assert!(decode("metrics_match_label = \"x\"", &to).unwrap_err().contains("target_match_label must be set"));
    }

    #[test]
    fn new_targets_change_series_that_were_known() {
        let stage = stage("target_to_metric_match = { \"host\" = \"host\" }\nlabels_to_copy = [\"zone\"]");
        assert_eq!(stage.enriched(&[("host", "a")]), r#"{host="a", zone="z1"}"#);
        let mut arguments = decode("target_to_metric_match = { \"host\" = \"host\" }\nlabels_to_copy = [\"rack\"]", &stage.to).unwrap();
        arguments.targets.truncate(1);
        stage.component.update(&arguments);
        assert_eq!(stage.enriched(&[("host", "a")]), r#"{host="a", rack="r1"}"#);
        assert_eq!((stage.enriched(&[("host", "b")]), stage.size()), (r#"{host="b"}"#.to_owned(), 1.0));
    }
}
