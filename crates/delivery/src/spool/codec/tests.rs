//! Records come back as they were written; what is no record is refused.

use model::{Counts, Details, Exemplar, Histogram, LayoutBuilder, ResetHint, Span};
use proptest::prelude::*;

use super::*;

fn layout(series: &[Vec<(String, String)>]) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for labels in series {
        builder.push(labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))).unwrap();
    }
    Arc::new(builder.finish())
}

/// A layout with these families, one after the other over the series; 0 is none.
fn layout_with(series: &[Vec<(String, String)>], families: &[usize]) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for (labels, family) in series.iter().zip(families.iter().cycle()) {
        let metadata = (*family > 0).then(|| {
            let kind = TYPES[family % TYPES.len()];
            Metadata { family: format!("f{family}").into(), kind, help: "what \"it\" is".into(), unit: "s".into() }.shared()
        });
        builder.push_with(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), metadata.as_ref()).unwrap();
    }
    Arc::new(builder.finish())
}

fn any_counts() -> impl Strategy<Value = Counts> {
    let integer = (any::<u64>(), any::<u64>(), prop::collection::vec(any::<i64>(), 0..6), prop::collection::vec(any::<i64>(), 0..6));
    let float = (0.0..1e9, 0.0..1e9, prop::collection::vec(0.0..1e9, 0..6), prop::collection::vec(0.0..1e9, 0..6));
    prop_oneof![
        integer.prop_map(|(count, zero_count, positive, negative)| Counts::Integer {
            count,
            zero_count,
            positive: positive.into(),
            negative: negative.into()
        }),
        float.prop_map(|(count, zero_count, positive, negative)| Counts::Float {
            count,
            zero_count,
            positive: positive.into(),
            negative: negative.into()
        }),
    ]
}

fn any_spans() -> impl Strategy<Value = Box<[Span]>> {
    prop::collection::vec((any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length }), 0..4).prop_map(Into::into)
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let hint = prop::sample::select(vec![ResetHint::Unknown, ResetHint::Yes, ResetHint::No, ResetHint::Gauge]);
    let bounds = prop::collection::vec(-1e9..1e9, 0..4);
    (-53_i32..9, -1e9..1e9, any_counts(), any_spans(), any_spans(), bounds, hint).prop_map(
        |(schema, sum, counts, positive_spans, negative_spans, bounds, reset_hint)| Histogram {
            schema,
            zero_threshold: sum / 2.0,
            sum,
            counts,
            positive_spans,
            negative_spans,
            custom_values: bounds.into(),
            reset_hint,
        },
    )
}

fn any_exemplar() -> impl Strategy<Value = Exemplar> {
    (prop::collection::btree_map("[a-z]{1,3}", "\\PC{1,9}", 0..3), -1e9..1e9, any::<Option<i64>>())
        .prop_map(|(labels, value, timestamp)| Exemplar { labels: labels.into_iter().collect(), value, timestamp })
}

/// Details of batches with 30 rows.
fn any_details() -> impl Strategy<Value = Details> {
    let histograms = prop::collection::btree_map(0_u32..30, any_histogram(), 0..4);
    let exemplars = prop::collection::vec((0_u32..30, any_exemplar()), 0..6);
    let created = prop::collection::btree_map(0_u32..30, any::<i64>(), 0..30);
    (histograms, exemplars, created).prop_map(|(histograms, mut exemplars, created)| {
        exemplars.sort_by_key(|(row, _)| *row);
        Details { histograms: histograms.into_iter().collect(), exemplars: exemplars.into(), created: created.into_iter().collect() }
    })
}

type Sample<'a> = (Vec<(&'a str, &'a str)>, i64, u64);

fn series(batch: &Batch) -> Vec<Sample<'_>> {
    batch.iter().map(|(labels, timestamp, value)| (labels.iter().collect(), timestamp, value.to_bits())).collect()
}

/// Writes a batch with its chunks and reads it again.
fn round_trip(batch: &Batch) -> Batch {
    let (mut chunks, mut numbers) = (Vec::new(), Vec::new());
    for (number, chunk) in batch.layout.chunks().iter().enumerate() {
        let mut out = Vec::new();
        put_chunk(&mut out, number as u32, chunk);
        assert_eq!(chunk_number(&out), Some(number as u32));
        let Ok(Content::Chunk(_, chunk)) = read(&out, &mut Budget::of_disk()) else { panic!("a chunk") };
        chunks.push(Arc::new(chunk));
        numbers.push(number as u32);
    }
    let mut out = Vec::new();
    put_batch(&mut out, 7, batch, &numbers);
    assert_eq!(chunk_number(&out), None);
    let Ok(Content::Batch(packed)) = read(&out, &mut Budget::of_disk()) else { panic!("a batch") };
    assert_eq!((packed.record, packed.samples as usize, packed.chunks()), (7, batch.len(), &numbers[..]));
    packed.unpack(chunks, &mut Budget::of_disk()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_batch_comes_back_as_it_was_written(
        series_labels in prop::collection::vec(prop::collection::btree_map("[a-z]{1,3}", "\\PC{1,20}", 1..5), 0..30),
        source: u64, timestamp: i64,
        values in prop::collection::vec(any::<u64>(), 30),
        timestamps in prop::option::of(prop::collection::vec(any::<i64>(), 30)),
    ) {
        let labels: Vec<Vec<(String, String)>> = series_labels.into_iter().map(|labels| labels.into_iter().collect()).collect();
        let values: Vec<f64> = values.into_iter().map(f64::from_bits).take(labels.len()).collect();
        let mut batch = Batch::new(source, layout(&labels), timestamp, values);
        batch.timestamps = timestamps.map(|all| all[..batch.len()].into());
        let back = round_trip(&batch);
        prop_assert_eq!((back.source, back.timestamp), (source, timestamp));
        prop_assert_eq!(series(&back), series(&batch));
    }

    #[test]
    fn details_and_families_come_back(details in any_details(), families in prop::collection::vec(0_usize..5, 1..6)) {
        let labels: Vec<Vec<(String, String)>> = (0..30).map(|i| vec![("__name__".to_owned(), format!("m{i}"))]).collect();
        let batch = Batch::new(1, layout_with(&labels, &families), 5, vec![1.0; 30]).with_details(details);
        let back = round_trip(&batch);
        prop_assert_eq!(&back.details, &batch.details);
        let known = |batch: &Batch| batch.layout.iter().map(|series| series.metadata().cloned()).collect::<Vec<_>>();
        prop_assert_eq!(known(&back), known(&batch));
        prop_assert_eq!(series(&back), series(&batch));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 1_u8..5) {
        let content = [&[kind][..], &bytes].concat();
        if let Ok(Content::Batch(packed)) = read(&content, &mut Budget::of_disk()) {
            drop(packed.unpack(Vec::new(), &mut Budget::of_disk()));
        }
    }

    #[test]
    fn details_that_are_garbage_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(details) = details::read(&mut Input(&bytes), 30) {
            prop_assert!(details.created.iter().all(|(row, _)| *row < 30));
        }
    }
}

#[test]
fn batches_without_details_and_chunks_without_families_are_written_as_ever() {
    let batch = Batch::new(1, layout(&[vec![("a".into(), "b".into())]]), 0, vec![1.0]);
    let (mut chunk, mut record) = (Vec::new(), Vec::new());
    put_chunk(&mut chunk, 0, &batch.layout.chunks()[0]);
    put_batch(&mut record, 7, &batch, &[0]);
    // As written by the first version: symbols "a" and "b", one series of one label.
    let plain = [2, 0, 0, 0, 1, b'a', 1, b'b', 1, 0, 1, 0, 0, 0, 1, 0];
    let mut expected = vec![1, 0, 0, 0, 0];
    pack(&mut expected, &plain);
    assert_eq!(chunk, expected);
    let header = [vec![2, 7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1], vec![0; 7], vec![0; 8], vec![0], vec![1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let mut expected = header;
    pack(&mut expected, &1.0_f64.to_le_bytes());
    assert_eq!(record, expected);
}

#[test]
fn rows_of_details_beyond_the_batch_are_refused() {
    let details = Details { created: Box::new([(3, 1)]), ..Details::default() };
    let mut out = Vec::new();
    details::put(&mut out, &details);
    assert_eq!(details::read(&mut Input(&out), 4).ok(), Some(details));
    assert!(details::read(&mut Input(&out), 3).is_err());
}

#[test]
fn nothing_is_unpacked_beyond_the_budget_or_what_the_format_can_hold() {
    let batch = Batch::new(1, layout(&[vec![("a".into(), "b".into())]]), 0, vec![1.0]);
    let mut out = Vec::new();
    put_chunk(&mut out, 0, &batch.layout.chunks()[0]);
    let plain = 16;
    let mut budget = Budget(plain);
    assert!(read(&out, &mut budget).is_ok() && budget.0 == 0);
    assert!(read(&out, &mut Budget(plain - 1)).is_err());
    // A length of a gigabyte in front of a few bytes.
    let lie = [&[CHUNK, 0, 0, 0, 0][..], &[0x80, 0x80, 0x80, 0x80, 0x04], &[0; 20]].concat();
    assert!(read(&lie, &mut Budget::of_disk()).is_err());
}

#[test]
fn counters_and_zeros_take_little_space() {
    let labels: Vec<Vec<(String, String)>> = (0..512).map(|i| vec![("__name__".to_owned(), format!("m{i}"))]).collect();
    let values: Vec<f64> = (0..512).map(|i| if i % 3 == 0 { 0.0 } else { f64::from(i * 37) }).collect();
    let mut out = Vec::new();
    put_batch(&mut out, 1, &Batch::new(1, layout(&labels), 0, values), &[0]);
    assert!(out.len() < 4 * 512, "{} bytes", out.len());
}

#[test]
fn a_batch_whose_chunks_have_another_size_is_refused() {
    let batch = Batch::new(1, layout(&[vec![("a".into(), "b".into())]]), 0, vec![1.0]);
    let mut out = Vec::new();
    put_batch(&mut out, 1, &batch, &[0]);
    let Ok(Content::Batch(packed)) = read(&out, &mut Budget::of_disk()) else { panic!("a batch") };
    assert!(packed.unpack(Vec::new(), &mut Budget::of_disk()).is_err());
}
