//! From the labels that a target exposes to the labels of the series: the target's own labels are added, conflicts resolved, and the
//! result judged.

use exposition::LabelBuffer;
use model::{Labels, MetricType, labels::METRIC_NAME};

use super::error::{SeriesError, beginning};
use super::rules::{NameValidation, Rules};

/// More labels than any series needs, and safely below what a chunk can hold (32 767).
pub(super) const MAX_LABELS: usize = 30_000;

/// What a conflicting exposed label's name is prefixed with, as often as it takes to be unique.
const EXPORTED: &str = "exported_";

/// What is said of a series in labels, with `enable_type_and_unit_labels`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Schema<'a> {
    /// Empty for none.
    kind: &'static str,
    /// Empty for none.
    unit: &'a str,
}

const TYPE: &str = "__type__";
const UNIT: &str = "__unit__";

impl<'a> Schema<'a> {
    pub(super) fn new(kind: MetricType, unit: &'a str) -> Self {
        let kind = match kind {
            MetricType::Unknown => "",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        };
        Self { kind, unit }
    }

    fn labels(self) -> impl Iterator<Item = (&'static str, &'a str)> {
        [(TYPE, self.kind), (UNIT, self.unit)].into_iter().filter(|(_, value)| !value.is_empty())
    }
}

/// Puts `exposed`, its schema and the target's labels together, in name order and without empty values. The schema wins over exposed
/// labels of its names.
pub(super) fn merge(exposed: &LabelBuffer, schema: Schema<'_>, target: &Labels, honor: bool, into: &mut LabelBuffer) {
    into.clear();
    let said = |name: &str| (name == TYPE && !schema.kind.is_empty()) || (name == UNIT && !schema.unit.is_empty());
    let exposed_labels = || exposed.iter().filter(|(name, value)| !value.is_empty() && !said(name));
    schema.labels().for_each(|(name, value)| into.push(name, value));
    if honor {
        // An exposed label counts even if it is empty: so a target can keep a label away.
        target.iter().filter(|(name, _)| exposed.get(name).is_none()).for_each(|(name, value)| into.push(name, value));
        exposed_labels().for_each(|(name, value)| into.push(name, value));
    } else {
        target.iter().for_each(|(name, value)| into.push(name, value));
        let free = |name: &str| target.get(name).is_none();
        exposed_labels().filter(|(name, _)| free(name)).for_each(|(name, value)| into.push(name, value));
        export_conflicts(exposed, target, into);
    }
    // Names are unique by now.
    let _ = into.sort();
}

/// Adds the exposed labels whose names are the target's, under other names. Shorter names first, so that chains of `exported_` come out
/// as in Prometheus.
fn export_conflicts(exposed: &LabelBuffer, target: &Labels, into: &mut LabelBuffer) {
    let mut conflicts: Vec<(&str, &str)> = exposed.iter().filter(|(name, value)| !value.is_empty() && target.get(name).is_some()).collect();
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, value) in conflicts {
        let mut name = format!("{EXPORTED}{name}");
        while into.get(&name).is_some() {
            name.insert_str(0, EXPORTED);
        }
        into.push(&name, value);
    }
}

/// Judges the labels of a series in name order.
pub(super) fn check(labels: &LabelBuffer, rules: &Rules) -> Result<(), SeriesError> {
    let metric = labels.get(METRIC_NAME).ok_or(SeriesError::NoName)?;
    let valid = labels.iter().all(|(name, _)| is_valid(name, false, rules.names)) && is_valid(metric, true, rules.names);
    if !valid {
        return Err(SeriesError::InvalidName { series: shown(labels.iter()) });
    }
    check_limits(labels, metric, rules)?;
    if labels.len() > MAX_LABELS {
        return Err(SeriesError::TooManyLabels { series: shown(labels.iter()), labels: labels.len() });
    }
    Ok(())
}

fn check_limits(labels: &LabelBuffer, metric: &str, rules: &Rules) -> Result<(), SeriesError> {
    let breached = |length: usize, limit: usize| limit > 0 && length > limit;
    if breached(labels.len(), rules.label_limit) {
        return Err(SeriesError::LabelLimit { metric: beginning(metric), labels: labels.len(), limit: rules.label_limit });
    }
    for (name, value) in labels.iter() {
        let (metric, limit) = (|| beginning(metric), rules.label_name_length_limit);
        if breached(name.len(), limit) {
            return Err(SeriesError::LabelNameLength { metric: metric(), name: beginning(name), length: name.len(), limit });
        }
        let limit = rules.label_value_length_limit;
        if breached(value.len(), limit) {
            let (name, length) = (beginning(name), value.len());
            return Err(SeriesError::LabelValueLength { metric: metric(), name, value: beginning(value), length, limit });
        }
    }
    Ok(())
}

fn is_valid(name: &str, metric: bool, scheme: NameValidation) -> bool {
    if scheme == NameValidation::Utf8 {
        return !name.is_empty();
    }
    let allowed = |byte: u8, first: bool| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => true,
        b':' => metric,
        b'0'..=b'9' => !first,
        _ => false,
    };
    !name.is_empty() && name.bytes().enumerate().all(|(at, byte)| allowed(byte, at == 0))
}

/// How a series begins, for errors.
pub(super) fn shown<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Box<str> {
    let set: Labels = labels.take(8).collect();
    set.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(exposed: &[(&str, &str)], target: &[(&str, &str)], honor: bool) -> String {
        merged_with(Schema::default(), exposed, target, honor)
    }

    fn merged_with(schema: Schema<'_>, exposed: &[(&str, &str)], target: &[(&str, &str)], honor: bool) -> String {
        let (mut from, mut into) = (LabelBuffer::default(), LabelBuffer::default());
        exposed.iter().for_each(|(name, value)| from.push(name, value));
        from.sort().unwrap();
        merge(&from, schema, &target.iter().copied().collect(), honor, &mut into);
        into.iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[test]
    fn the_targets_labels_are_added() {
        let exposed = [("__name__", "m"), ("a", "1"), ("z", "")];
        for honor in [false, true] {
            assert_eq!(merged(&exposed, &[("b", "2")], honor), "__name__=m a=1 b=2 ");
        }
    }

    #[test]
    fn conflicts_are_renamed_unless_exposed_labels_are_honoured() {
        let (exposed, target) = ([("__name__", "m"), ("a", "x")], [("a", "t")]);
        assert_eq!(merged(&exposed, &target, false), "__name__=m a=t exported_a=x ");
        assert_eq!(merged(&exposed, &target, true), "__name__=m a=x ");
    }

    #[test]
    fn an_empty_exposed_label_keeps_the_targets_label_away_only_if_honoured() {
        let (exposed, target) = ([("__name__", "m"), ("instance", "")], [("instance", "i")]);
        assert_eq!(merged(&exposed, &target, false), "__name__=m instance=i ");
        assert_eq!(merged(&exposed, &target, true), "__name__=m ");
    }

    #[test]
    fn type_and_unit_are_labels_that_win_over_exposed_ones() {
        let exposed = [("__name__", "m"), ("__type__", "x"), ("__unit__", "y"), ("a", "1")];
        for honor in [false, true] {
            let of = |kind, unit| merged_with(Schema::new(kind, unit), &exposed, &[("job", "j")], honor);
            assert_eq!(of(MetricType::Counter, "bytes"), "__name__=m __type__=counter __unit__=bytes a=1 job=j ");
            assert_eq!(of(MetricType::GaugeHistogram, ""), "__name__=m __type__=gaugehistogram __unit__=y a=1 job=j ");
            assert_eq!(of(MetricType::Unknown, ""), "__name__=m __type__=x __unit__=y a=1 job=j ", "unknown is no type");
        }
    }

    #[test]
    fn chains_of_exported_come_out_as_in_prometheus() {
        // (exposed, target, merged): what Prometheus' own tests of conflicting prefixed labels expect.
        let cases: [(&[&str], &[&str], &str); 5] = [
            (&["foo"], &["foo"], "exported_foo=e:foo foo=t:foo "),
            (&["exported_foo"], &["foo"], "exported_foo=e:exported_foo foo=t:foo "),
            (&["exported_foo", "foo"], &["foo"], "exported_exported_foo=e:foo exported_foo=e:exported_foo foo=t:foo "),
            (&["foo"], &["foo", "exported_foo"], "exported_exported_foo=e:foo exported_foo=t:exported_foo foo=t:foo "),
            (
                &["exported_foo", "exported_exported_foo", "foo"],
                &["foo", "exported_foo"],
                "exported_exported_exported_exported_foo=e:exported_foo exported_exported_exported_foo=e:foo \
                 exported_exported_foo=e:exported_exported_foo exported_foo=t:exported_foo foo=t:foo ",
            ),
        ];
        for (exposed, target, expected) in cases {
            let labels = |names: &[&str], from: &str| -> Vec<(String, String)> {
                names.iter().map(|name| ((*name).to_owned(), format!("{from}:{name}"))).collect()
            };
            let (exposed, target) = (labels(exposed, "e"), labels(target, "t"));
            let exposed: Vec<_> = exposed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let target: Vec<_> = target.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(merged(&exposed, &target, false), expected);
        }
    }

    fn verdict(labels: &[(&str, &str)], rules: &Rules) -> Result<(), SeriesError> {
        let mut buffer = LabelBuffer::default();
        labels.iter().for_each(|(name, value)| buffer.push(name, value));
        buffer.sort().unwrap();
        check(&buffer, rules)
    }

    #[test]
    fn names_are_judged_by_the_scheme() {
        let legacy = Rules::default();
        let utf8 = Rules { names: NameValidation::Utf8, ..Rules::default() };
        type Pairs<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Pairs<'_>, bool, bool); 7] = [
            (&[("__name__", "a:b_1"), ("l_1", "ü")], true, true),
            (&[("__name__", "a.b")], false, true),
            (&[("__name__", "  a")], false, true),
            (&[("__name__", "1a")], false, true),
            (&[("__name__", "a"), ("l:m", "x")], false, true),
            (&[("__name__", "a"), ("1", "x")], false, true),
            (&[("__name__", "a"), ("", "x")], false, false),
        ];
        for (labels, in_legacy, in_utf8) in cases {
            assert_eq!(verdict(labels, &legacy).is_ok(), in_legacy, "{labels:?}");
            assert_eq!(verdict(labels, &utf8).is_ok(), in_utf8, "{labels:?}");
        }
        assert_eq!(verdict(&[("l", "x")], &utf8), Err(SeriesError::NoName));
    }

    #[test]
    fn limits_count_what_comes_out() {
        let labels = [("__name__", "metric"), ("name", "value")];
        let rules = |labels, name, value| Rules {
            label_limit: labels,
            label_name_length_limit: name,
            label_value_length_limit: value,
            ..Rules::default()
        };
        assert_eq!(verdict(&labels, &rules(2, 8, 6)), Ok(()));
        let text = |rules| verdict(&labels, &rules).unwrap_err().to_string();
        assert_eq!(text(rules(1, 0, 0)), "label_limit exceeded (metric: metric, number of labels: 2, limit: 1)");
        assert_eq!(text(rules(0, 7, 0)), "label_name_length_limit exceeded (metric: metric, label name: __name__, length: 8, limit: 7)");
        assert_eq!(
            text(rules(0, 0, 5)),
            "label_value_length_limit exceeded (metric: metric, label name: __name__, value: \"metric\", length: 6, limit: 5)"
        );
    }
}
