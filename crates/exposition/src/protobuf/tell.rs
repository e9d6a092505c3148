//! From a metric to its series: which there are, what identifies them, and what is told about them.

use model::{MetricType, ResetHint};
use xxhash_rust::xxh3::xxh3_64;

use super::HistogramForms;
use super::error::{Malformed, ProtobufReason};
use super::histogram::{Bucket, Item, Items};
use super::metric::{self, Exemplar, LabelPair, Labels, Metric, Pieces, Quantile, Time, field};
use super::wire::{Cursor, Nested, find};
use crate::float::open_metrics_float;
use crate::nhcb::ClassicHistogram;
use crate::number::normal;
use crate::render::SeriesText;
use crate::visitor::{Visitor, known};

/// Why a message is not gone through to its end.
pub(super) enum Halt<E> {
    Bad(ProtobufReason),
    Refused(E),
}

impl<E, R: Into<ProtobufReason>> From<R> for Halt<E> {
    fn from(reason: R) -> Self {
        Self::Bad(reason.into())
    }
}

/// Memory that is used again for each metric.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    metric: Metric,
    others: Others,
}

#[derive(Debug, Default)]
struct Others {
    text: SeriesText,
    labels: Vec<u8>,
    classic: ClassicHistogram,
}

impl Scratch {
    /// Gives memory back beyond `max` bytes per piece.
    pub(super) fn shrink(&mut self, max: usize) {
        self.others.text.shrink(max);
        self.others.labels.clear();
        self.others.labels.shrink_to(max);
    }
}

/// What the series of a family have in common.
pub(super) struct FamilySeries<'a> {
    /// UTF-8.
    pub(super) name: &'a [u8],
    /// Of the name.
    pub(super) hash: u64,
    pub(super) kind: MetricType,
    pub(super) forms: HistogramForms,
}

/// One of the series of a metric.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// The only one, or the native histogram.
    Plain,
    Count,
    Sum,
    /// With its upper bound.
    Bucket(f64),
    /// With its quantile.
    Quantile(f64),
}

impl Role {
    fn suffix(self) -> &'static str {
        match self {
            Self::Plain | Self::Quantile(_) => "",
            Self::Count => "_count",
            Self::Sum => "_sum",
            Self::Bucket(_) => "_bucket",
        }
    }

    /// The label that only this series has.
    fn label(self) -> Option<(&'static str, f64)> {
        match self {
            Self::Bucket(bound) => Some(("le", bound)),
            Self::Quantile(quantile) => Some(("quantile", quantile)),
            _ => None,
        }
    }

    /// A number for the role and one for its label.
    #[inline]
    fn code(self) -> (u64, u64) {
        match self {
            Self::Plain => (0, 0),
            Self::Count => (1, 0),
            Self::Sum => (2, 0),
            Self::Bucket(bound) => (3, bound.to_bits()),
            Self::Quantile(quantile) => (4, quantile.to_bits()),
        }
    }
}

impl FamilySeries<'_> {
    /// Tells the series of the metric in `message`.
    pub(super) fn tell<V: Visitor>(&self, message: &[u8], scratch: &mut Scratch, visitor: &mut V) -> Result<(), Halt<V::Error>> {
        let field = match self.kind {
            MetricType::Gauge => field::GAUGE,
            MetricType::Counter => field::COUNTER,
            MetricType::Unknown => field::UNTYPED,
            _ => return self.tell_any(message, scratch, visitor),
        };
        let Some((labels, value)) = metric::plain(message, field) else { return self.tell_any(message, scratch, visitor) };
        let series = self.series(xxh3_64(labels));
        let others = &mut scratch.others;
        let mut telling = Telling { family: self, message, series, timestamp: None, created: None, scratch: others, visitor };
        telling.sample(Role::Plain, value).map(drop)
    }

    fn tell_any<V: Visitor>(&self, message: &[u8], scratch: &mut Scratch, visitor: &mut V) -> Result<(), Halt<V::Error>> {
        let Scratch { metric, others: scratch } = scratch;
        metric.read(message)?;
        let series = self.series(labels_hash(message, metric.labels, &mut scratch.labels)?);
        let created = match self.kind {
            MetricType::Counter => metric.counter.created,
            MetricType::Summary => metric.summary.created,
            MetricType::Histogram | MetricType::GaugeHistogram => metric.histogram.created,
            _ => None,
        };
        let timestamp = Some(metric.timestamp).filter(|timestamp| *timestamp != 0);
        let created = created.map(Time::millis).filter(|created| *created != 0);
        let mut telling = Telling { family: self, message, series, timestamp, created, scratch, visitor };
        match self.kind {
            MetricType::Gauge => telling.sample(Role::Plain, metric.gauge).map(drop),
            MetricType::Counter => telling.counter(metric),
            MetricType::Summary => telling.summary(metric),
            MetricType::Histogram | MetricType::GaugeHistogram => telling.histogram(metric),
            _ => telling.sample(Role::Plain, metric.untyped).map(drop),
        }
    }

    /// What identifies a metric of the family. Not symmetric, as names may be labels elsewhere; its lowest bits tell roles apart.
    fn series(&self, labels: u64) -> u64 {
        self.hash.rotate_left(32) ^ labels
    }
}

/// A hash of the labels as they lie in the message.
fn labels_hash(message: &[u8], labels: Labels, buffer: &mut Vec<u8>) -> Result<u64, Malformed> {
    if !labels.scattered {
        return Ok(xxh3_64(&message[labels.start..labels.end]));
    }
    buffer.clear();
    let mut cursor = Cursor::new(message);
    while let Some(label) = find(&mut cursor, field::LABEL)? {
        buffer.extend_from_slice(&(label.len() as u64).to_le_bytes());
        buffer.extend_from_slice(label);
    }
    Ok(xxh3_64(buffer))
}

/// One metric, on the way to the visitor.
struct Telling<'a, V> {
    family: &'a FamilySeries<'a>,
    message: &'a [u8],
    /// Hash of the family's name and the labels.
    series: u64,
    timestamp: Option<i64>,
    created: Option<i64>,
    scratch: &'a mut Others,
    visitor: &'a mut V,
}

impl<V: Visitor> Telling<'_, V> {
    fn counter(&mut self, metric: &Metric) -> Result<(), Halt<V::Error>> {
        let row = self.sample(Role::Plain, metric.counter.value)?;
        if metric.counter.has_exemplar {
            self.exemplar(row, Pieces::Nested(Nested::new(self.message, field::COUNTER, field::COUNTER_EXEMPLAR)), false)?;
        }
        Ok(())
    }

    fn summary(&mut self, metric: &Metric) -> Result<(), Halt<V::Error>> {
        self.sample(Role::Count, metric.summary.count as f64)?;
        self.sample(Role::Sum, metric.summary.sum)?;
        let mut quantiles = Nested::new(self.message, field::SUMMARY, field::QUANTILE);
        while let Some(quantile) = quantiles.next()? {
            let quantile = Quantile::read(quantile)?;
            self.sample(Role::Quantile(quantile.quantile), quantile.value)?;
        }
        Ok(())
    }

    fn histogram(&mut self, metric: &Metric) -> Result<(), Halt<V::Error>> {
        let HistogramForms { native, keep_classic, convert_classic } = self.family.forms;
        if native && metric.histogram.is_native() {
            let histogram = metric.histogram.native(self.message, self.reset_hint())?;
            self.native(metric, histogram)?;
            return if keep_classic && !metric.histogram.buckets.is_empty() { self.classic(metric) } else { Ok(()) };
        }
        if keep_classic || !convert_classic {
            self.classic(metric)?;
        }
        if convert_classic {
            let mut histogram = self.converted(metric)?;
            histogram.reset_hint = self.reset_hint();
            self.native(metric, histogram)?;
        }
        Ok(())
    }

    fn reset_hint(&self) -> ResetHint {
        if self.family.kind == MetricType::GaugeHistogram { ResetHint::Gauge } else { ResetHint::Unknown }
    }

    /// A native histogram, and its exemplars that have timestamps: others can't be told from those of the scrape before. Without ones of
    /// its own it has those of the classic buckets.
    fn native(&mut self, metric: &Metric, histogram: model::Histogram) -> Result<(), Halt<V::Error>> {
        let row = self.row(Role::Plain)?;
        self.visitor.histogram(row, histogram, self.timestamp).map_err(Halt::Refused)?;
        self.tell_created(row);
        if !metric.histogram.has_exemplars && !metric.histogram.is_intricate {
            return Ok(());
        }
        let mut items = Items::of_metric(self.message);
        while let Some(item) = items.next()? {
            match item {
                Item::Exemplar(exemplar) => self.exemplar(row, Pieces::One(Some(exemplar)), true)?,
                Item::Bucket(bucket) if !metric.histogram.has_exemplars => self.bucket_exemplar(row, bucket, true)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The series of a classic histogram. Buckets behind the infinite one are not told, and if there is none, the total stands in.
    fn classic(&mut self, metric: &Metric) -> Result<(), Halt<V::Error>> {
        self.sample(Role::Count, metric.histogram.count())?;
        self.sample(Role::Sum, metric.histogram.sum)?;
        if metric.histogram.is_intricate {
            return self.intricate_buckets(metric);
        }
        for (bound, count) in &metric.histogram.buckets {
            self.sample(Role::Bucket(*bound), *count)?;
            if *bound == f64::INFINITY {
                return Ok(());
            }
        }
        self.sample(Role::Bucket(f64::INFINITY), metric.histogram.count()).map(drop)
    }

    /// The buckets of a histogram that has exemplars, or more buckets than were listed.
    fn intricate_buckets(&mut self, metric: &Metric) -> Result<(), Halt<V::Error>> {
        let mut items = Items::of_metric(self.message);
        while let Some(item) = items.next()? {
            let Item::Bucket(message) = item else { continue };
            let bucket = Bucket::read(message)?;
            let row = self.sample(Role::Bucket(bucket.upper_bound), bucket.count())?;
            if bucket.has_exemplar {
                self.bucket_exemplar(row, message, false)?;
            }
            if bucket.upper_bound == f64::INFINITY {
                return Ok(());
            }
        }
        self.sample(Role::Bucket(f64::INFINITY), metric.histogram.count()).map(drop)
    }

    fn converted(&mut self, metric: &Metric) -> Result<model::Histogram, ProtobufReason> {
        let classic = &mut self.scratch.classic;
        classic.clear();
        classic.count(metric.histogram.count());
        classic.sum(normal(metric.histogram.sum));
        if !metric.histogram.is_intricate {
            metric.histogram.buckets.iter().for_each(|(bound, count)| classic.bucket(*bound, *count));
            return Ok(classic.convert()?);
        }
        let mut items = Items::of_metric(self.message);
        while let Some(item) = items.next()? {
            if let Item::Bucket(bucket) = item {
                let bucket = Bucket::read(bucket)?;
                classic.bucket(bucket.upper_bound, bucket.count());
            }
        }
        Ok(classic.convert()?)
    }

    fn sample(&mut self, role: Role, value: f64) -> Result<u32, Halt<V::Error>> {
        let row = self.row(role)?;
        self.visitor.sample(row, normal(value), self.timestamp).map_err(Halt::Refused)?;
        self.tell_created(row);
        Ok(row)
    }

    fn tell_created(&mut self, row: u32) {
        if let Some(created) = self.created {
            self.visitor.created(row, created);
        }
    }

    fn bucket_exemplar(&mut self, row: u32, bucket: &[u8], timed: bool) -> Result<(), Malformed> {
        self.exemplar(row, Pieces::Field(Cursor::new(bucket), field::BUCKET_EXEMPLAR), timed)
    }

    /// Tells the exemplar that is in `pieces`, unless it has no timestamp and needs one (`timed`).
    fn exemplar(&mut self, row: u32, mut pieces: Pieces<'_>, timed: bool) -> Result<(), Malformed> {
        if let Some(exemplar) = Exemplar::read(&mut pieces)?.filter(|exemplar| !timed || exemplar.timestamp.is_some()) {
            self.visitor.exemplar(row, exemplar);
        }
        Ok(())
    }

    fn row(&mut self, role: Role) -> Result<u32, Halt<V::Error>> {
        let (code, bits) = role.code();
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.series ^ code).to_le_bytes());
        id[8..].copy_from_slice(&bits.to_le_bytes());
        match known(self.visitor, &id) {
            Some(row) => Ok(row),
            None => self.learn(role, &id),
        }
    }

    #[cold]
    fn learn(&mut self, role: Role, id: &[u8]) -> Result<u32, Halt<V::Error>> {
        let text = &mut self.scratch.text;
        text.begin(metric::text(self.family.name).unwrap_or_default(), role.suffix());
        let mut cursor = Cursor::new(self.message);
        while let Some(label) = find(&mut cursor, field::LABEL)? {
            let (name, value) = LabelPair::checked(label)?;
            text.label(name, value);
        }
        if let Some((name, value)) = role.label() {
            text.label(name, &open_metrics_float(value));
        }
        text.end();
        self.visitor.learn(text.series(id, self.family.kind)).map_err(Halt::Refused)
    }
}
