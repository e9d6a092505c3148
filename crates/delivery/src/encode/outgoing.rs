//! What a series is called on its way out: external labels, then the endpoint's write relabelling. Done once per chunk and template, or per
//! request for batches that have no template.

use std::sync::Arc;

use model::{Labels, LabelsBuilder, SeriesRef};

/// The write relabelling of an endpoint: edits the labels of a series, external labels included, and says whether to keep it. It must give
/// the same answer for the same labels every time, as answers are cached.
pub type Relabel = Arc<dyn Fn(&mut LabelsBuilder) -> bool + Send + Sync>;

/// Labels of outgoing series.
pub(crate) struct Outgoing {
    external: Labels,
    relabel: Option<Relabel>,
}

impl Outgoing {
    pub fn new(external: Labels, relabel: Option<Relabel>) -> Self {
        Self { external, relabel }
    }

    /// Calls `take` with the labels of a series as they are sent, in name order. False, without a call, if the series is not sent.
    pub fn labels(&self, series: SeriesRef<'_>, mut take: impl FnMut(&str, &str)) -> bool {
        match &self.relabel {
            None if self.external.is_empty() => all(series.iter(), take),
            None => all(Merged::new(series.iter(), self.external.iter()), take),
            Some(relabel) => {
                let mut labels: LabelsBuilder = Merged::new(series.iter(), self.external.iter()).collect();
                let sent = relabel(&mut labels) && !labels.is_empty();
                if sent {
                    labels.iter().for_each(|(name, value)| take(name, value));
                }
                sent
            }
        }
    }
}

fn all<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, mut take: impl FnMut(&str, &str)) -> bool {
    let mut any = false;
    for (name, value) in labels {
        take(name, value);
        any = true;
    }
    any
}

/// Two label lists in name order as one; where both have a name, the first list's label is taken (Prometheus: a series' own label beats
/// the external one).
struct Merged<A: Iterator, B: Iterator> {
    own: std::iter::Peekable<A>,
    other: std::iter::Peekable<B>,
}

impl<'a, A, B> Merged<A, B>
where
    A: Iterator<Item = (&'a str, &'a str)>,
    B: Iterator<Item = (&'a str, &'a str)>,
{
    fn new(own: A, other: B) -> Self {
        Self { own: own.peekable(), other: other.peekable() }
    }
}

impl<'a, A, B> Iterator for Merged<A, B>
where
    A: Iterator<Item = (&'a str, &'a str)>,
    B: Iterator<Item = (&'a str, &'a str)>,
{
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (Some(own), Some(other)) = (self.own.peek(), self.other.peek()) else {
            return self.own.next().or_else(|| self.other.next());
        };
        if own.0 > other.0 {
            return self.other.next();
        }
        if own.0 == other.0 {
            self.other.next();
        }
        self.own.next()
    }
}

#[cfg(test)]
mod tests {
    use model::LayoutBuilder;

    use super::*;

    /// The labels that are sent for a series of `labels`, as text.
    fn sent(outgoing: &Outgoing, labels: &[(&str, &str)]) -> Vec<String> {
        let mut builder = LayoutBuilder::default();
        builder.push(labels.iter().copied()).unwrap();
        let (layout, mut all) = (builder.finish(), Vec::new());
        let sent = outgoing.labels(layout.chunks()[0].series(0), |name, value| all.push(format!("{name}={value}")));
        assert_eq!(sent, !all.is_empty());
        all
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().copied().collect()
    }

    #[test]
    fn without_rules_the_labels_go_out_as_they_are() {
        let outgoing = Outgoing::new(Labels::empty(), None);
        assert_eq!(sent(&outgoing, &[("__name__", "up"), ("job", "a")]), ["__name__=up", "job=a"]);
    }

    #[test]
    fn external_labels_are_sorted_in_and_never_replace_a_series_own() {
        let outgoing = Outgoing::new(labels(&[("a", "1"), ("job", "external"), ("z", "26")]), None);
        assert_eq!(sent(&outgoing, &[("__name__", "up"), ("job", "own"), ("k", "v")]), ["__name__=up", "a=1", "job=own", "k=v", "z=26"]);
    }

    #[test]
    fn write_relabelling_sees_external_labels_and_its_edits_come_out_sorted() {
        let relabel: Relabel = Arc::new(|labels| {
            assert_eq!(labels.get("dc"), Some("x"));
            labels.set("a", "first").remove("job");
            true
        });
        let outgoing = Outgoing::new(labels(&[("dc", "x")]), Some(relabel));
        assert_eq!(sent(&outgoing, &[("__name__", "up"), ("job", "own")]), ["__name__=up", "a=first", "dc=x"]);
    }

    #[test]
    fn a_series_that_is_dropped_or_loses_all_labels_is_not_sent() {
        let dropping = Outgoing::new(Labels::empty(), Some(Arc::new(|labels| labels.get("keep").is_some())));
        assert!(sent(&dropping, &[("__name__", "up")]).is_empty());
        assert_eq!(sent(&dropping, &[("keep", "1")]), ["keep=1"]);
        let emptying = Outgoing::new(
            Labels::empty(),
            Some(Arc::new(|labels| {
                labels.clear();
                true
            })),
        );
        assert!(sent(&emptying, &[("__name__", "up")]).is_empty());
    }
}
