//! Summaries, which the metrics library doesn't have: quantiles of the latest observations, so that dashboards made for Prometheus'
//! summaries go on working.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary};

/// The quantiles that Prometheus has in these summaries.
const QUANTILES: [f64; 5] = [0.01, 0.05, 0.5, 0.9, 0.99];
/// Quantiles are of at most so many observations, the latest.
const WINDOW: usize = 512;
/// Label values beyond this many are counted together: intervals come from targets' labels, which may be anything.
const MAX_VALUES: usize = 64;
/// The label value of those.
const OTHERS: &str = "other";

#[derive(Default)]
struct Observed {
    count: u64,
    sum: f64,
    latest: VecDeque<f64>,
}

/// A summary per value of one label. Cloning shares it.
#[derive(Clone)]
pub struct Summaries {
    name: String,
    help: String,
    label: String,
    desc: Desc,
    observed: Arc<Mutex<BTreeMap<String, Observed>>>,
}

impl Summaries {
    /// Summaries by the values of `label`.
    ///
    /// # Errors
    /// A name is not valid.
    pub fn new(name: &str, help: &str, label: &str) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), vec![label.to_owned()], Default::default())?;
        Ok(Self { name: name.to_owned(), help: help.to_owned(), label: label.to_owned(), desc, observed: Arc::default() })
    }

    /// Adds an observation.
    pub fn observe(&self, value: &str, observation: f64) {
        let mut observed = self.observed.lock();
        if !observed.contains_key(value) {
            let value = if observed.len() < MAX_VALUES { value } else { OTHERS };
            observed.entry(value.to_owned()).or_default();
        }
        let value = if observed.contains_key(value) { value } else { OTHERS };
        let Some(entry) = observed.get_mut(value) else { return };
        entry.count += 1;
        entry.sum += observation;
        if entry.latest.len() == WINDOW {
            entry.latest.pop_front();
        }
        entry.latest.push_back(observation);
    }
}

impl Observed {
    fn summary(&self) -> Summary {
        let mut sorted: Vec<f64> = self.latest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quantiles = QUANTILES.map(|quantile| {
            // Nearest rank.
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            let mut entry = Quantile::default();
            entry.set_quantile(quantile);
            entry.set_value(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN));
            entry
        });
        let mut summary = Summary::default();
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum);
        summary.set_quantile(quantiles.to_vec());
        summary
    }
}

impl Collector for Summaries {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let observed = self.observed.lock();
        if observed.is_empty() {
            return Vec::new();
        }
        let metric = |(value, observed): (&String, &Observed)| {
            let mut label = LabelPair::default();
            label.set_name(self.label.clone());
            label.set_value(value.clone());
            let mut metric = Metric::from_label(vec![label]);
            metric.set_summary(observed.summary());
            metric
        };
        let mut family = MetricFamily::default();
        family.set_name(self.name.clone());
        family.set_help(self.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(observed.iter().map(metric).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder, Registry, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut out = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn quantiles_are_of_the_latest_observations() {
        let (registry, summaries) = (Registry::new(), Summaries::new("s", "Help.", "interval").unwrap());
        registry.register(Box::new(summaries.clone())).unwrap();
        assert_eq!(text(&registry), "", "nothing observed, nothing shown");
        (0..1000).for_each(|_| summaries.observe("1s", 1.0));
        (1..=100).for_each(|n| summaries.observe("15s", f64::from(n)));
        let text = text(&registry);
        for line in ["s{interval=\"15s\",quantile=\"0.5\"} 50", "s{interval=\"15s\",quantile=\"0.99\"} 99", "s_count{interval=\"1s\"} 1000"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.starts_with("# HELP s Help.\n# TYPE s summary\n"));
    }

    #[test]
    fn label_values_are_bounded() {
        let summaries = Summaries::new("s", "h", "l").unwrap();
        (0..1000).for_each(|n| summaries.observe(&n.to_string(), 1.0));
        let family = summaries.collect().remove(0);
        assert_eq!(family.get_metric().len(), MAX_VALUES + 1);
        let total: u64 = family.get_metric().iter().map(|metric| metric.get_summary().sample_count()).sum();
        assert_eq!(total, 1000);
    }
}
