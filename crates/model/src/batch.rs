//! A batch: what one scrape (or push) brought, as a column of values over a layout.

use std::sync::Arc;

use crate::details::Details;
use crate::layout::Layout;

/// One value for each series of a layout, at one time. Owned by whoever holds it; fan-out clones `Arc`s of the layout and copies of the
/// column only where two receivers want one.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Routing key of the source (a target's stable hash, a push connection's number): batches of one source keep their order on every
    /// way through the collector; batches of different sources may overtake each other. A series must not change its source while
    /// samples of it are under way.
    pub source: u64,
    /// The series, in the order of the columns.
    pub layout: Arc<Layout>,
    /// Milliseconds since the epoch, of every sample that has no timestamp of its own.
    pub timestamp: i64,
    /// `values[i]` belongs to series `i`; as long as the layout.
    pub values: Arc<[f64]>,
    /// Milliseconds since the epoch per series, where the target gave timestamps; as long as the layout if there.
    pub timestamps: Option<Arc<[i64]>>,
    /// Native histograms, exemplars and start times of the rows that have any; never empty if there.
    pub details: Option<Arc<Details>>,
}

impl Batch {
    /// A batch whose samples all have one timestamp. `source` is the routing key; `values` must be as long as the layout.
    #[must_use]
    pub fn new(source: u64, layout: Arc<Layout>, timestamp: i64, values: impl Into<Arc<[f64]>>) -> Self {
        let values = values.into();
        debug_assert_eq!(values.len(), layout.len());
        Self { source, layout, timestamp, values, timestamps: None, details: None }
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The same batch with details; without any if they are empty.
    #[must_use]
    pub fn with_details(self, details: Details) -> Self {
        Self { details: (!details.is_empty()).then(|| Arc::new(details)), ..self }
    }

    /// The timestamp of sample `at`, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp_of(&self, at: usize) -> i64 {
        self.timestamps.as_ref().map_or(self.timestamp, |all| all[at])
    }

    /// All samples in order, as (labels, timestamp, value): for tests and slow paths.
    pub fn iter(&self) -> impl Iterator<Item = (crate::SeriesRef<'_>, i64, f64)> {
        self.layout.iter().enumerate().map(|(at, series)| (series, self.timestamp_of(at), self.values[at]))
    }
}
