//! What a scrape may bring and how it is to be taken: the part of a scrape configuration that concerns series.

use exposition::HistogramForms;

/// Which names are valid, as `metric_name_validation_scheme` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameValidation {
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*` for metrics, the same without colons for labels.
    #[default]
    Legacy,
    /// Any UTF-8 that is not empty.
    Utf8,
}

/// Rules for the series of a target. A limit of 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Exposed labels win over the target's; else they are renamed to `exported_…`.
    pub honor_labels: bool,
    /// Take the timestamps that the target gives.
    pub honor_timestamps: bool,
    /// Series with timestamps of their own get staleness markers too.
    pub track_timestamps_staleness: bool,
    /// More samples fail the scrape.
    pub sample_limit: usize,
    /// More labels at one series fail the scrape; the metric's name and the target's labels count.
    pub label_limit: usize,
    /// A longer label name (in bytes) fails the scrape.
    pub label_name_length_limit: usize,
    /// A longer label value (in bytes) fails the scrape.
    pub label_value_length_limit: usize,
    /// Names that are not valid by this fail the scrape.
    pub names: NameValidation,
    /// Which forms of histograms are taken.
    pub histograms: HistogramForms,
    /// Native histograms with more buckets are made coarser; those that can't be fail the scrape.
    pub bucket_limit: usize,
    /// Native histograms of a finer schema are made coarser, see [`model::max_schema`].
    pub max_schema: i32,
    /// Series keep what the target says about their families.
    pub honor_metadata: bool,
    /// Series get their type and unit as labels `__type__` and `__unit__`.
    pub type_and_unit_labels: bool,
    /// A sample of zero is written at the time at which a series says that its counting began.
    pub start_zeros: bool,
}

impl Rules {
    /// Whether it matters what the target says about families.
    pub(super) fn wants_families(&self) -> bool {
        self.honor_metadata || self.type_and_unit_labels
    }
}

impl Default for Rules {
    /// Alloy's defaults.
    fn default() -> Self {
        Self {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            sample_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            names: NameValidation::Legacy,
            histograms: HistogramForms::default(),
            bucket_limit: 0,
            max_schema: model::max_schema(0.0),
            honor_metadata: false,
            type_and_unit_labels: false,
            start_zeros: false,
        }
    }
}
