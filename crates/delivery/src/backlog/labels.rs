//! The external labels of the endpoint that leaves, on what it gives away: those of the next endpoint may differ, and the series are to be
//! called as they were.

use std::sync::Arc;

use hashbrown::HashMap;
use model::{Batch, Chunk, Labels, Layout, LayoutBuilder};

/// See the module.
pub(super) struct Labeller {
    external: Labels,
    /// Labelled chunks by the number of what they were made of. A chunk that was nearly full becomes two.
    known: HashMap<u64, Vec<Arc<Chunk>>>,
}

impl Labeller {
    pub fn new(external: Labels) -> Self {
        Self { external, known: HashMap::new() }
    }

    /// The batch with the external labels on its series, as far as they don't have such labels.
    pub fn label(&mut self, batch: Batch) -> Batch {
        if self.external.is_empty() {
            return batch;
        }
        let mut chunks = Vec::new();
        for chunk in batch.layout.chunks() {
            let labelled = self.known.entry(chunk.id()).or_insert_with(|| labelled(chunk, &self.external));
            chunks.extend(labelled.iter().cloned());
        }
        Batch { layout: Arc::new(Layout::new(chunks)), ..batch }
    }

    /// Lets go what was made.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

fn labelled(chunk: &Arc<Chunk>, external: &Labels) -> Vec<Arc<Chunk>> {
    let mut builder = LayoutBuilder::default();
    for series in chunk.iter() {
        let missing = external.iter().filter(|(name, _)| series.get(name).is_none());
        let mut labels: Vec<(&str, &str)> = series.iter().chain(missing).collect();
        labels.sort_unstable_by_key(|(name, _)| *name);
        if builder.push_with(labels.into_iter(), series.metadata()).is_err() {
            return vec![chunk.clone()]; // as many labels as no receiver takes
        }
    }
    builder.finish().chunks().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_get_the_labels_that_they_do_not_have_and_stay_in_order() {
        let mut builder = LayoutBuilder::default();
        builder.push([("__name__", "a"), ("job", "own")].into_iter()).unwrap();
        builder.push([("__name__", "b")].into_iter()).unwrap();
        let batch = Batch::new(1, Arc::new(builder.finish()), 5, vec![1.0, 2.0]);
        let mut labeller = Labeller::new([("job", "external"), ("dc", "x")].into_iter().collect());
        let labelled = labeller.label(batch.clone());
        let text = |batch: &Batch| -> Vec<String> {
            let of =
                |series: model::SeriesRef<'_>| series.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
            batch.layout.iter().map(of).collect()
        };
        assert_eq!(text(&labelled), ["__name__=a,dc=x,job=own", "__name__=b,dc=x,job=external"]);
        assert!(Arc::ptr_eq(&labeller.label(batch.clone()).layout.chunks()[0], &labelled.layout.chunks()[0]));
        assert_eq!(text(&Labeller::new(Labels::empty()).label(batch.clone())), text(&batch));
    }
}
