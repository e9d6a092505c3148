//! `prometheus.relabel`: edits or drops series on their way. Rules are applied once per chunk of series, not per sample.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use component::{BuildError, Component, Context, Event, Fanout, MetricsReceiver, RelabelRules, RuleBlock, RunError, Setup};
use model::relabel::{NameScheme, Rules};
use model::transform::LayoutMapper;
use model::{Batch, ConsumeMetrics, Refused};
use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};
use syntax::Block;

/// The default of `max_cache_size`. Unless another is given, edits are remembered for as long as their series exist, however many there
/// are: forgetting some of a fleet's series on every round would make the cache useless.
const DEFAULT_CACHE: usize = 100_000;

/// Edits, keeps or drops series by relabelling rules.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Where the metrics go after relabelling.
    #[syntax(required)]
    pub forward_to: Vec<MetricsReceiver>,
    /// How many series the edits are remembered of. At the default, those of all series that exist.
    #[syntax(default = DEFAULT_CACHE)]
    pub max_cache_size: usize,
    /// Accepted for compatibility: edits are remembered exactly as long as their series exist.
    pub cache_ttl: Duration,
    /// A relabelling rule.
    #[syntax(block)]
    pub rule: Vec<RuleBlock>,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        if self.max_cache_size == 0 {
            return Err("max_cache_size must be greater than 0".to_owned());
        }
        self.rules().map(drop)
    }

    /// Alloy lets this component write names of the legacy scheme only.
    fn rules(&self) -> Result<Rules, String> {
        RuleBlock::compile_for(&self.rule, NameScheme::Legacy)
    }

    fn cache(&self) -> LayoutMapper {
        LayoutMapper::new(if self.max_cache_size == DEFAULT_CACHE { usize::MAX } else { self.max_cache_size })
    }
}

/// Exports of `prometheus.relabel`.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// Takes the metrics to relabel.
    #[syntax(required)]
    pub receiver: MetricsReceiver,
    /// The rules of this component.
    #[syntax(required)]
    pub rules: RelabelRules,
}

/// The component.
pub struct Relabel {
    receiver: MetricsReceiver,
    stage: Arc<Stage>,
}

/// What a batch passes through.
struct Stage {
    step: ArcSwap<Step>,
    processed: IntCounter,
    written: IntCounter,
}

/// One generation of rules: replaced as a whole, so that no batch sees old edits with new rules.
struct Step {
    rules: Arc<Rules>,
    cache: LayoutMapper,
    next: Fanout,
}

impl Component for Relabel {
    const NAME: &'static str = "prometheus.relabel";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let rules = Arc::new(arguments.rules().map_err(BuildError::new)?);
        let next = Fanout::new(arguments.forward_to.clone(), setup.registry()).map_err(BuildError::new)?;
        let counter = |name: &str, help: &str| IntCounter::new(name, help).map_err(BuildError::new);
        let stage = Arc::new(Stage {
            step: ArcSwap::from_pointee(Step { rules: rules.clone(), cache: arguments.cache(), next }),
            processed: counter("alloy_prometheus_relabel_metrics_processed", "Total number of metrics processed")?,
            written: counter("alloy_prometheus_relabel_metrics_written", "Total number of metrics written")?,
        });
        register(&stage, setup).map_err(BuildError::new)?;
        let receiver = MetricsReceiver::new(setup.id());
        receiver.fill(Entrance(stage.clone()));
        let exports = Exports { receiver: receiver.clone(), rules: RelabelRules(rules) };
        Ok((Self { receiver, stage }, exports))
    }

    async fn run(self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("relabelling");
        loop {
            match context.next().await {
                Event::Update(arguments) => match self.update(&arguments) {
                    Ok(exports) => {
                        context.export(exports);
                        context.health().healthy("relabelling");
                    }
                    Err(error) => context.health().unhealthy(format!("the last good rules stay: {error}")),
                },
                Event::Debug(_) => {}
                Event::Stop(_) => break,
            }
        }
        self.receiver.close();
        Ok(())
    }
}

impl Relabel {
    fn update(&self, arguments: &Arguments) -> Result<Exports, String> {
        let rules = Arc::new(arguments.rules()?);
        let next = self.stage.step.load().next.with_receivers(arguments.forward_to.clone());
        self.stage.step.store(Arc::new(Step { rules: rules.clone(), cache: arguments.cache(), next }));
        Ok(Exports { receiver: self.receiver.clone(), rules: RelabelRules(rules) })
    }
}

struct Entrance(Arc<Stage>);

impl ConsumeMetrics for Entrance {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        let stage = &self.0;
        stage.processed.inc_by(batch.len() as u64);
        let step = stage.step.load();
        let Some(batch) = step.cache.map(batch, &mut |labels| step.rules.apply(labels)) else { return Ok(()) };
        stage.written.inc_by(batch.len() as u64);
        step.next.consume(batch)
    }

    fn flush(&self) {
        self.0.step.load().next.flush();
    }

    fn hold(&self, source: u64) {
        self.0.step.load().next.hold(source);
    }

    fn release(&self, source: u64) {
        self.0.step.load().next.release(source);
    }

    fn is_acknowledged(&self, source: u64) -> bool {
        self.0.step.load().next.is_acknowledged(source)
    }
}

fn register(stage: &Arc<Stage>, setup: &Setup) -> Result<(), prometheus::Error> {
    setup.registry().register(Box::new(stage.processed.clone()))?;
    setup.registry().register(Box::new(stage.written.clone()))?;
    setup.registry().register(Box::new(CacheMetrics::new(stage.clone())?))
}

/// The cache's own counters, read when somebody looks.
struct CacheMetrics {
    stage: Arc<Stage>,
    counters: [IntCounter; 3],
    size: IntGauge,
    /// What was read last: new rules bring a new cache that counts from zero, while counters never go back.
    last: Mutex<[u64; 3]>,
}

impl CacheMetrics {
    fn new(stage: Arc<Stage>) -> Result<Self, prometheus::Error> {
        let counters = [
            IntCounter::new("alloy_prometheus_relabel_cache_hits", "Total number of cache hits")?,
            IntCounter::new("alloy_prometheus_relabel_cache_misses", "Total number of cache misses")?,
            IntCounter::new("alloy_prometheus_relabel_cache_deletes", "Total number of cache deletes")?,
        ];
        let size = IntGauge::new("alloy_prometheus_relabel_cache_size", "Total size of relabel cache")?;
        Ok(Self { stage, counters, size, last: Mutex::default() })
    }
}

impl Collector for CacheMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.iter().flat_map(Collector::desc).chain(self.size.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.stage.step.load().cache.stats();
        let now = [stats.hits, stats.misses, stats.deletes];
        let mut last = self.last.lock();
        for ((counter, now), last) in self.counters.iter().zip(now).zip(*last) {
            counter.inc_by(if now < last { now } else { now - last });
        }
        *last = now;
        drop(last);
        self.size.set(stats.size as i64);
        self.counters.iter().flat_map(Collector::collect).chain(self.size.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use component::Services;
    use model::LayoutBuilder;
    use syntax::{Scope, ToValue};

    #[derive(Clone, Default)]
    struct Collected(Arc<Mutex<Vec<Batch>>>);

    impl ConsumeMetrics for Collected {
        fn consume(&self, batch: Batch) -> Result<(), Refused> {
            self.0.lock().push(batch);
            Ok(())
        }
    }

    fn arguments(rules: &str, to: &MetricsReceiver) -> Arguments {
        let scope = Scope::new().with("to", to.to_value());
        syntax::decode_str(&format!("forward_to = [to]\n{rules}"), &scope).unwrap()
    }

    fn built(rules: &str) -> (Relabel, Exports, Collected, MetricsReceiver) {
        let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
        to.fill(collected.clone());
        let setup = Setup::detached("prometheus.relabel.x", std::path::Path::new("/nowhere"), Services::default());
        let (relabel, exports) = Relabel::build(arguments(rules, &to), &setup).unwrap();
        (relabel, exports, collected, to)
    }

    fn batch() -> Batch {
        let mut layout = LayoutBuilder::default();
        layout.push([("__name__", "a"), ("x", "1")].into_iter()).unwrap();
        layout.push([("__name__", "b"), ("x", "2")].into_iter()).unwrap();
        Batch::new(7, Arc::new(layout.finish()), 1000, vec![1.0, 2.0])
    }

    #[test]
    fn series_are_dropped_and_edited_with_their_values() {
        let (_relabel, exports, collected, _) = built(
            "rule {\nsource_labels = [\"__name__\"]\nregex = \"a\"\naction = \"drop\"\n}\nrule {\ntarget_label = \"y\"\nreplacement = \"new\"\n}",
        );
        exports.receiver.consume(batch()).unwrap();
        let got = collected.0.lock();
        assert_eq!(got.len(), 1);
        let (series, timestamp, value) = got[0].iter().next().unwrap();
        assert_eq!((series.metric_name(), series.get("y"), timestamp, value), ("b", Some("new"), 1000, 2.0));
        assert_eq!(got[0].len(), 1);
    }

    #[test]
    fn new_rules_apply_from_the_next_batch_on() {
        let (relabel, exports, collected, to) = built("");
        exports.receiver.consume(batch()).unwrap();
        let drop_all = "rule {\nsource_labels = [\"__name__\"]\nregex = \".*\"\naction = \"drop\"\n}";
        relabel.update(&arguments(drop_all, &to)).unwrap();
        exports.receiver.consume(batch()).unwrap();
        assert_eq!(collected.0.lock().len(), 1);
    }

    #[test]
    fn an_unchanged_layout_is_handed_on_as_it_is() {
        let (_relabel, exports, collected, _) = built("");
        let batch = batch();
        exports.receiver.consume(batch.clone()).unwrap();
        assert!(Arc::ptr_eq(&collected.0.lock()[0].layout, &batch.layout));
    }

    #[test]
    fn wrong_rules_are_refused_when_decoded() {
        let scope = Scope::new().with("to", MetricsReceiver::new("to").to_value());
        let wrong = "forward_to = [to]\nrule {\nregex = \"(\"\n}";
        assert!(syntax::decode_str::<Arguments>(wrong, &scope).is_err());
    }
}
