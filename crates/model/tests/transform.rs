//! Edits by chunk and by layout: what comes out, what is done again, what is forgotten.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::relabel::{Action, Config, Rules};
use model::transform::{LayoutMapper, map_chunk};
use model::{Batch, Chunk, ChunkBuilder, Details, Exemplar, Labels, LabelsBuilder, Layout, LayoutBuilder, MAX_CHUNK_SERIES};
use proptest::prelude::*;

fn chunk(names: &[&str]) -> Arc<Chunk> {
    let mut builder = ChunkBuilder::default();
    for name in names {
        builder.push([("__name__", *name), ("job", "j")].into_iter()).unwrap();
    }
    Arc::new(builder.finish())
}

/// A layout with a chunk per list of names.
fn layout(chunks: &[&[&str]]) -> Arc<Layout> {
    Arc::new(Layout::new(chunks.iter().map(|names| chunk(names)).collect()))
}

fn batch(layout: &Arc<Layout>) -> Batch {
    let values: Vec<f64> = (0..layout.len()).map(|at| at as f64).collect();
    Batch::new(7, layout.clone(), 1000, values)
}

fn names(batch: &Batch) -> Vec<(String, f64)> {
    batch.iter().map(|(series, _, value)| (series.metric_name().to_owned(), value)).collect()
}

fn drop_b(labels: &mut LabelsBuilder) -> bool {
    labels.get("__name__") != Some("b")
}

fn add_label(labels: &mut LabelsBuilder) -> bool {
    labels.set("added", "yes");
    true
}

#[test]
fn an_edit_without_effect_gives_the_same_chunk() {
    let original = chunk(&["a", "b"]);
    let mapped = map_chunk(&original, &mut |_| true);
    assert!(mapped.unchanged && mapped.rows.is_none());
    assert!(Arc::ptr_eq(&mapped.chunks[0], &original));
}

#[test]
fn dropped_series_leave_their_rows_out() {
    let mapped = map_chunk(&chunk(&["a", "b", "c"]), &mut drop_b);
    assert_eq!(mapped.rows.as_deref(), Some(&[0, 2][..]));
    assert!(!mapped.unchanged);
    assert_eq!(mapped.chunks[0].iter().map(|series| series.metric_name()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn if_all_are_dropped_no_chunk_is_left() {
    let mapped = map_chunk(&chunk(&["b", "b"]), &mut drop_b);
    assert!(mapped.chunks.is_empty() && !mapped.unchanged);
    assert_eq!(mapped.rows.as_deref(), Some(&[][..]));
}

#[test]
fn changed_labels_keep_all_rows_and_equal_series_stay_two() {
    let mapped = map_chunk(&chunk(&["a", "b"]), &mut |labels| {
        labels.set("__name__", "same");
        true
    });
    assert!(mapped.rows.is_none() && !mapped.unchanged);
    assert_eq!(mapped.chunks[0].len(), 2);
    assert_eq!(mapped.chunks[0].series(0).to_labels(), mapped.chunks[0].series(1).to_labels());
}

#[test]
fn new_strings_that_do_not_fit_into_one_chunk_make_two() {
    let all: Vec<String> = (0..MAX_CHUNK_SERIES).map(|at| format!("m{at}")).collect();
    let original = chunk(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut count = 0;
    let mapped = map_chunk(&original, &mut |labels| {
        for _ in 0..100 {
            count += 1;
            labels.set(&format!("l{count}"), &format!("v{count}"));
        }
        true
    });
    assert!(mapped.chunks.len() > 1 && mapped.rows.is_none());
    let left: Vec<&str> = mapped.chunks.iter().flat_map(|chunk| chunk.iter()).map(|series| series.metric_name()).collect();
    assert_eq!(left, all);
}

#[test]
fn a_series_that_no_chunk_can_hold_is_dropped_and_counted() {
    let mapped = map_chunk(&chunk(&["a", "b", "c"]), &mut |labels| {
        if labels.get("__name__") == Some("b") {
            for at in 0..33_000 {
                labels.set(&format!("l{at:06}"), "v");
            }
        }
        true
    });
    assert_eq!(mapped.too_wide, 1);
    assert_eq!(mapped.rows.as_deref(), Some(&[0, 2][..]));
}

#[test]
fn values_and_timestamps_are_gathered_over_all_chunks() {
    let layout = layout(&[&["a", "b", "c"], &["d"], &["b"], &["e", "b"]]);
    let mapper = LayoutMapper::new(1000);
    let mut input = batch(&layout);
    input.timestamps = Some((0..7).map(|at| 100 + at).collect());
    for _ in 0..2 {
        let output = mapper.map(input.clone(), &mut drop_b).unwrap();
        assert_eq!(names(&output), [("a".into(), 0.0), ("c".into(), 2.0), ("d".into(), 3.0), ("e".into(), 5.0)]);
        assert_eq!(output.timestamps.as_deref(), Some(&[100, 102, 103, 105][..]));
        assert_eq!((output.source, output.timestamp), (7, 1000));
        assert!(Arc::ptr_eq(&output.layout.chunks()[1], &layout.chunks()[1]), "an unchanged chunk is handed on as it is");
    }
}

#[test]
fn a_layout_is_edited_once_and_comes_out_as_the_same_layout() {
    let layout = layout(&[&["a", "b"], &["c"]]);
    let mapper = LayoutMapper::new(1000);
    let calls = AtomicUsize::new(0);
    let mut edit = |labels: &mut LabelsBuilder| {
        calls.fetch_add(1, Ordering::Relaxed);
        add_label(labels)
    };
    let input = batch(&layout);
    let first = mapper.map(input.clone(), &mut edit).unwrap();
    let second = mapper.map(input.clone(), &mut edit).unwrap();
    assert!(Arc::ptr_eq(&first.layout, &second.layout));
    assert!(Arc::ptr_eq(&first.values, &input.values), "where all rows are left, values are shared");
    assert_eq!(calls.into_inner(), 3);
    let stats = mapper.stats();
    assert_eq!((stats.hits, stats.misses, stats.size, stats.deletes), (3, 3, 3, 0));
}

#[test]
fn a_changed_chunk_leaves_the_others_known() {
    let before = layout(&[&["a"], &["b"]]);
    let after = Arc::new(Layout::new(vec![before.chunks()[0].clone(), chunk(&["c"])]));
    let mapper = LayoutMapper::new(1000);
    let first = mapper.map(batch(&before), &mut add_label).unwrap();
    let second = mapper.map(batch(&after), &mut add_label).unwrap();
    assert!(Arc::ptr_eq(&first.layout.chunks()[0], &second.layout.chunks()[0]));
    assert_eq!((mapper.stats().hits, mapper.stats().misses), (1, 3));
}

#[test]
fn nothing_left_is_no_batch_and_nothing_changed_is_the_same_batch() {
    let mapper = LayoutMapper::new(1000);
    assert!(mapper.map(batch(&layout(&[&["b"], &["b"]])), &mut drop_b).is_none());
    let untouched = layout(&[&["a"], &["c"]]);
    let output = mapper.map(batch(&untouched), &mut drop_b).unwrap();
    assert!(Arc::ptr_eq(&output.layout, &untouched));
}

#[test]
fn entries_die_with_their_chunks() {
    let mapper = LayoutMapper::new(1_000_000);
    let kept = layout(&[&["a"]]);
    mapper.map(batch(&kept), &mut add_label).unwrap();
    let mut probes = Vec::new();
    for edit in [add_label as fn(&mut LabelsBuilder) -> bool, drop_b] {
        for _ in 0..500 {
            let gone = layout(&[&["x", "y"], &["z"]]);
            probes.push(Arc::downgrade(&gone.chunks()[0]));
            let output = mapper.map(batch(&gone), &mut { edit }).unwrap();
            probes.push(Arc::downgrade(&output.layout.chunks()[0]));
        }
    }
    assert!(mapper.stats().size < 1000, "swept on the way: {:?}", mapper.stats());
    mapper.sweep();
    let stats = mapper.stats();
    assert_eq!((stats.size, stats.deletes), (1, 3000));
    assert!(probes.iter().all(|probe| probe.strong_count() == 0), "no chunk is held, neither edited nor unchanged");
    assert_eq!(mapper.map(batch(&kept), &mut |_| panic!("known")).unwrap().layout.iter().next().unwrap().get("added"), Some("yes"));
}

#[test]
fn a_full_mapper_still_edits_and_keeps_what_it_knows() {
    let mapper = LayoutMapper::new(3);
    let (known, other) = (layout(&[&["a", "b"]]), layout(&[&["c", "d"]]));
    mapper.map(batch(&known), &mut add_label).unwrap();
    for _ in 0..3 {
        let output = mapper.map(batch(&other), &mut add_label).unwrap();
        assert_eq!(output.layout.iter().filter(|series| series.get("added") == Some("yes")).count(), 2);
    }
    assert_eq!((mapper.stats().misses, mapper.stats().size), (8, 2));
    assert!(mapper.map(batch(&known), &mut |_| panic!("known")).is_some());
    drop(known);
    mapper.map(batch(&other), &mut add_label).unwrap();
    assert_eq!(mapper.stats().size, 2, "room that has become free is found");
    assert!(mapper.map(batch(&other), &mut |_| panic!("known")).is_some());
}

#[test]
fn clearing_forgets_all() {
    let mapper = LayoutMapper::new(100);
    let layout = layout(&[&["a", "b"]]);
    mapper.map(batch(&layout), &mut |_| true).unwrap();
    mapper.clear();
    assert_eq!((mapper.stats().size, mapper.stats().deletes), (0, 2));
    assert_eq!(names(&mapper.map(batch(&layout), &mut drop_b).unwrap()), [("a".to_owned(), 0.0)], "new rules hold at once");
}

#[test]
fn threads_share_a_mapper_and_get_the_same_layouts() {
    let mapper = LayoutMapper::new(10_000);
    let layouts: Vec<_> = (0..20).map(|_| layout(&[&["a", "b"], &["c"]])).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for layout in layouts.iter().cycle().take(200) {
                    let output = mapper.map(batch(layout), &mut drop_b).unwrap();
                    assert_eq!(names(&output), [("a".into(), 0.0), ("c".into(), 2.0)]);
                }
            });
        }
    });
    assert_eq!(mapper.stats().size, 60);
}

proptest! {
    /// Mapping batch by batch equals relabelling sample by sample.
    #[test]
    fn batches_come_out_as_sample_by_sample(series in prop::collection::vec((0..5_u8, 0..4_u8), 0..40), cuts in prop::collection::vec(any::<bool>(), 40)) {
        let rules = Rules::new(vec![
            Config { source_labels: vec!["a".into()], regex: "v0|v3".into(), action: Action::Drop, ..Config::default() },
            Config { source_labels: vec!["b".into()], regex: "v(.)".into(), target_label: "c".into(), ..Config::default() },
            Config { regex: "b".into(), action: Action::LabelDrop, ..Config::default() },
        ]).unwrap();
        let mut builder = LayoutBuilder::default();
        for ((a, b), cut) in series.iter().zip(&cuts) {
            let (a, b) = (format!("v{a}"), format!("v{b}"));
            builder.push([("a", a.as_str()), ("b", b.as_str())].into_iter()).unwrap();
            if *cut {
                builder.cut();
            }
        }
        let input = batch(&Arc::new(builder.finish()));
        let expected: Vec<(Labels, f64)> = input.iter().filter_map(|(series, _, value)| {
            let mut labels: LabelsBuilder = series.iter().collect();
            rules.apply(&mut labels).then(|| (labels.build(), value))
        }).collect();
        let mapper = LayoutMapper::new(1000);
        for _ in 0..2 {
            let output = mapper.map(input.clone(), &mut |labels| rules.apply(labels));
            let got: Vec<(Labels, f64)> = output.iter().flat_map(|out| out.iter().map(|(s, _, v)| (s.to_labels(), v)).collect::<Vec<_>>()).collect();
            prop_assert_eq!(&got, &expected);
        }
    }
}

#[test]
fn details_go_with_their_series_across_chunks() {
    let layout = layout(&[&["a", "b"], &["c", "b", "d"], &["e"]]);
    let exemplar = |value| Exemplar { labels: Labels::empty(), value, timestamp: None };
    let details = Details {
        exemplars: (0..6).map(|row| (row, exemplar(f64::from(row)))).collect(),
        created: Box::new([(1, 10), (4, 40)]),
        ..Details::default()
    };
    let mapper = LayoutMapper::new(100);
    let mapped = mapper.map(batch(&layout).with_details(details), &mut drop_b).unwrap();
    let kept = mapped.details.as_ref().unwrap();
    let of_row = |row| kept.exemplars(row).iter().map(|(_, exemplar)| exemplar.value).collect::<Vec<_>>();
    let expected: Vec<Vec<f64>> = mapped.values.iter().map(|value| vec![*value]).collect();
    assert_eq!((0..mapped.len() as u32).map(of_row).collect::<Vec<_>>(), expected);
    assert_eq!(*kept.created, [(2, 40)]);
    let only_b = batch(&layout).with_details(Details { created: Box::new([(1, 10)]), ..Details::default() });
    assert!(mapper.map(only_b, &mut drop_b).unwrap().details.is_none(), "empty details are none");
}
