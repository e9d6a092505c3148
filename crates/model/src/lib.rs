//! What telemetry is made of inside the collector: label sets, layouts (the immutable list of a target's series) and batches (a column
//! of values over a layout). Pure data: no I/O, no clock, no configuration. Parsing belongs to `exposition`, sending to `delivery`.

mod batch;
mod chunk;
mod details;
mod histogram;
pub mod labels;
mod layout;
mod metadata;
pub mod re2;
mod receive;
pub mod relabel;
pub mod stale;
pub mod transform;

pub use batch::Batch;
pub use chunk::{Chunk, ChunkBuilder, Full, MAX_CHUNK_SERIES, SeriesRef};
pub use details::{Details, Exemplar};
pub use histogram::{
    BucketLimit, CUSTOM_BUCKETS_SCHEMA, Counts, EXPONENTIAL_SCHEMAS, Histogram, InvalidHistogram, ResetHint, Span, max_schema,
};
pub use labels::{Labels, LabelsBuilder};
pub use layout::{Layout, LayoutBuilder};
pub use metadata::{Metadata, MetricType};
pub use receive::{ConsumeMetrics, Refused};
