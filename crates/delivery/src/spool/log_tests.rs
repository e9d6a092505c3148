//! The log in a directory of its own: writing, reading, acknowledging, restarts, damage, limits.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Batch, Layout, LayoutBuilder};
use proptest::prelude::*;
use tempfile::TempDir;

use super::log::{Log, Losses};

const LARGE: u64 = 1 << 30;

fn layout(name: &str, series: usize) -> Arc<Layout> {
    let mut builder = LayoutBuilder::default();
    for i in 0..series {
        builder.push([("__name__", format!("{name}_{i}").as_str()), ("job", "test")].into_iter()).unwrap();
    }
    Arc::new(builder.finish())
}

/// Values that don't compress, so that sizes are known.
fn batch(layout: &Arc<Layout>, timestamp: i64) -> Batch {
    let noise = |i: usize| f64::from_bits((i as u64 + 1).wrapping_mul(timestamp as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Batch::new(1, layout.clone(), timestamp, (0..layout.len()).map(noise).collect::<Vec<_>>())
}

fn open(directory: &Path, max_bytes: u64) -> Log {
    let mut log = Log::open(directory, max_bytes, true).unwrap();
    log.recover(&mut Losses::default()).unwrap();
    log
}

fn append(log: &mut Log, batch: &Batch, in_memory: bool) -> u64 {
    log.append(&[(batch, in_memory)], &mut Losses::default()).unwrap()
}

/// Everything that is to be read: records and timestamps.
fn read(log: &mut Log) -> Vec<(u64, i64)> {
    let mut losses = Losses::default();
    let all = log.read(usize::MAX, &mut losses).into_iter().map(|(record, batch)| (record, batch.timestamp)).collect();
    assert_eq!(losses, Losses::default());
    all
}

fn segments(directory: &TempDir) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "v1")).collect();
    segments.sort();
    segments
}

/// Changes a byte of the newest segment behind the first place where `text` stands.
fn damage(directory: &TempDir, at: impl Fn(&[u8]) -> usize) {
    let path = segments(directory).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_stays_in_memory_is_not_read_and_what_does_not_comes_back_as_it_was() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 700));
    let mut log = open(directory.path(), LARGE);
    assert_eq!(append(&mut log, &batch(&layout, 1), true), 0);
    assert!(!log.is_behind());
    assert_eq!(append(&mut log, &batch(&layout, 2), false), 1);
    assert_eq!((log.is_behind(), log.unread_samples()), (true, 700));
    let back = log.read(usize::MAX, &mut Losses::default()).pop().unwrap();
    assert_eq!(back.0, 1);
    assert!(
        back.1.iter().zip(batch(&layout, 2).iter()).all(|(a, b)| a.0.iter().eq(b.0.iter()) && a.1 == b.1 && a.2.to_bits() == b.2.to_bits())
    );
    assert!(Arc::ptr_eq(&back.1.layout.chunks()[1], &layout.chunks()[1]), "a chunk that lives is not read again");
    assert_eq!((log.is_behind(), log.unread_samples()), (false, 0));
    append(&mut log, &batch(&layout, 3), true);
    append(&mut log, &batch(&layout, 4), false);
    assert_eq!(read(&mut log), [(3, 4)]);
}

#[test]
fn reading_stops_at_the_wanted_size_and_goes_on_there() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..5).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), false), at as u64));
    assert_eq!(log.read(100, &mut Losses::default()).len(), 2);
    assert_eq!(read(&mut log), [(2, 2), (3, 3), (4, 4)]);
}

#[test]
fn after_a_restart_what_was_not_acknowledged_is_read_in_order() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..3).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    (3..6).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), false), at as u64));
    log.acknowledge(&[0, 2, 4]);
    log.save().unwrap();
    drop((log, layout));

    let mut log = open(directory.path(), LARGE);
    assert!(log.is_behind());
    assert_eq!(read(&mut log), [(1, 1), (3, 3), (5, 5)]);
    let again = self::layout("b", 10);
    assert_eq!(append(&mut log, &batch(&again, 6), false), 6, "numbers go on");
    assert_eq!(read(&mut log), [(6, 6)]);
    log.acknowledge(&[1, 3, 5, 6]);
    log.save().unwrap();
    drop(log);
    let log = open(directory.path(), LARGE);
    assert!(!log.is_behind());
    assert!(segments(&directory).is_empty(), "nothing is needed any more");
    drop(log);
    let mut log = open(directory.path(), LARGE);
    append(&mut log, &batch(&again, 7), true);
    drop(log);
    assert_eq!(read(&mut open(directory.path(), LARGE)), [(7, 7)], "old acknowledgements don't hit new records");
}

#[test]
fn acknowledgements_that_were_not_saved_are_only_sent_again() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..3).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    log.acknowledge(&[0]);
    log.save().unwrap();
    log.acknowledge(&[1]);
    drop(log);
    assert_eq!(read(&mut open(directory.path(), LARGE)), [(1, 1), (2, 2)]);
}

#[test]
fn if_it_is_unknown_what_was_acknowledged_all_is_sent_again() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..2).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    log.acknowledge(&[0]);
    log.save().unwrap();
    drop(log);
    fs::write(directory.path().join("acknowledged"), b"nonsense").unwrap();
    assert_eq!(read(&mut open(directory.path(), LARGE)), [(0, 0), (1, 1)]);
}

#[test]
fn a_corrupt_batch_is_skipped_and_counted_and_does_not_block_what_follows() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..3).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    drop(log);
    let third_from_end = |bytes: &[u8]| bytes.len() * 3 / 4;
    damage(&directory, third_from_end);
    let mut log = open(directory.path(), LARGE);
    let mut losses = Losses::default();
    let left: Vec<u64> = log.read(usize::MAX, &mut losses).into_iter().map(|(record, _)| record).collect();
    assert_eq!(left.len(), 2);
    assert_eq!((losses.corrupt_records, losses.dropped), (1, 0));
    log.acknowledge(&left);
    append(&mut log, &batch(&layout, 9), false);
    assert_eq!(segments(&directory).len(), 1, "the damaged segment is done with");
}

#[test]
fn samples_of_records_that_are_gone_are_counted_once_the_segment_ends() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), 8 << 10); // segments of 1 KiB
    (0..20).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    drop(log);
    let first = segments(&directory).remove(0);
    let mut bytes = fs::read(&first).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(first, bytes).unwrap();
    let (mut log, mut losses) = (open(directory.path(), 8 << 10), Losses::default());
    assert_eq!(log.read(usize::MAX, &mut losses).len(), 19);
    assert_eq!(losses, Losses { dropped: 0, corrupt_records: 1, corrupt_samples: 10 });
    assert_eq!((log.is_behind(), log.unread_samples()), (false, 0));
}

#[test]
fn a_corrupt_chunk_costs_the_batches_that_use_it_and_no_others() {
    let (directory, first, second) = (tempfile::tempdir().unwrap(), layout("first", 10), layout("second", 10));
    let mut log = open(directory.path(), LARGE);
    for at in 0..4 {
        append(&mut log, &batch(if at % 2 == 0 { &first } else { &second }, at), true);
    }
    drop((log, first));
    damage(&directory, |bytes| bytes.windows(5).position(|text| text == b"first").unwrap());
    let mut log = open(directory.path(), LARGE);
    let mut losses = Losses::default();
    let left: Vec<u64> = log.read(usize::MAX, &mut losses).into_iter().map(|(record, _)| record).collect();
    assert_eq!(left, [1, 3]);
    assert_eq!(losses, Losses { dropped: 0, corrupt_records: 3, corrupt_samples: 20 });
}

#[test]
fn a_segment_that_was_cut_short_by_a_crash_gives_what_is_whole() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    (0..3).for_each(|at| assert_eq!(append(&mut log, &batch(&layout, at), true), at as u64));
    drop(log);
    let path = segments(&directory).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    let (mut log, mut losses) = (Log::open(directory.path(), LARGE, true).unwrap(), Losses::default());
    log.recover(&mut losses).unwrap();
    assert_eq!(losses.corrupt_records, 1);
    assert_eq!(append(&mut log, &batch(&layout, 7), false), 2, "the lost record's number is free");
    assert_eq!(read(&mut log), [(0, 0), (1, 1), (2, 7)]);
}

#[test]
fn segments_are_self_contained_and_go_when_they_are_acknowledged() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 100));
    let mut log = open(directory.path(), 32 << 10); // segments of 4 KiB: a few batches each
    let records: Vec<u64> = (0..20).map(|at| append(&mut log, &batch(&layout, at), true)).collect();
    assert_eq!(segments(&directory).len(), 5, "each has four");
    log.acknowledge(&records[..10]);
    assert_eq!(segments(&directory).len(), 3);
    log.save().unwrap();
    drop((log, layout));
    let mut log = open(directory.path(), 32 << 10);
    assert_eq!(read(&mut log), (10..20).map(|at| (at as u64, at)).collect::<Vec<_>>());
}

#[test]
fn the_size_limit_drops_the_oldest_samples_and_counts_them() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 100));
    let (mut log, mut losses) = (open(directory.path(), 16 << 10), Losses::default());
    for at in 0..100 {
        log.append(&[(&batch(&layout, at), false)], &mut losses).unwrap();
        assert!(log.bytes() <= 16 << 10);
    }
    let left = read(&mut log);
    assert_eq!(left.last(), Some(&(99, 99)));
    assert!(left.len() >= 8 && left.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
    assert_eq!(losses.dropped, 100 * (100 - left.len() as u64));
}

#[test]
fn a_batch_larger_than_the_limit_is_lost_and_counted() {
    let (directory, small, large) = (tempfile::tempdir().unwrap(), layout("a", 1), layout("b", 5000));
    let (mut log, mut losses) = (open(directory.path(), 8 << 10), Losses::default());
    log.append(&[(&batch(&small, 1), false)], &mut losses).unwrap();
    log.append(&[(&batch(&large, 2), false)], &mut losses).unwrap();
    log.append(&[(&batch(&small, 3), false)], &mut losses).unwrap();
    assert_eq!(losses.dropped, 5000);
    assert_eq!(read(&mut log).into_iter().map(|(_, timestamp)| timestamp).collect::<Vec<_>>(), [1, 3]);
    assert!(log.bytes() < 8 << 10);
}

#[test]
fn what_fails_to_be_written_can_be_written_later() {
    let (directory, layout) = (tempfile::tempdir().unwrap(), layout("a", 10));
    let mut log = open(directory.path(), LARGE);
    let obstacle = directory.path().join(format!("{:020}-{:020}.v1", 0, 0));
    fs::create_dir(&obstacle).unwrap(); // where the first segment's file would be
    let failed = log.append(&[(&batch(&layout, 1), false)], &mut Losses::default());
    assert!(failed.is_err());
    assert!(!log.is_behind());
    fs::remove_dir(&obstacle).unwrap();
    append(&mut log, &batch(&layout, 1), false);
    assert_eq!(read(&mut log), [(0, 1)]);
}

#[test]
fn a_write_that_fails_leaves_nothing_that_later_ones_rely_on() {
    let (directory, first, second) = (tempfile::tempdir().unwrap(), layout("a", 10), layout("b", 10));
    let mut log = open(directory.path(), LARGE);
    append(&mut log, &batch(&first, 1), false);
    log.break_writer();
    assert!(log.append(&[(&batch(&second, 2), false)], &mut Losses::default()).is_err());
    assert_eq!(append(&mut log, &batch(&second, 2), false), 1);
    assert_eq!(read(&mut log), [(0, 1), (1, 2)]);
    drop((log, first, second)); // no chunk lives on
    assert_eq!(read(&mut open(directory.path(), LARGE)), [(0, 1), (1, 2)]);
}

#[test]
fn a_directory_has_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), LARGE);
    let error = Log::open(directory.path(), LARGE, true).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    drop(log);
    assert!(Log::open(directory.path(), LARGE, true).is_ok());
}

#[test]
fn files_of_others_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes.txt"), b"mine").unwrap();
    drop(open(directory.path(), LARGE));
    assert_eq!(fs::read(directory.path().join("notes.txt")).unwrap(), b"mine");
}

/// What a queue does to its log.
#[derive(Clone, Debug)]
enum Step {
    Write { in_memory: bool },
    Read(usize),
    Acknowledge(prop::sample::Index),
    Save,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|in_memory| Step::Write { in_memory }),
        2 => (1_usize..500).prop_map(Step::Read),
        4 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
        1 => Just(Step::Save),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever happens in whatever order: every batch is handed out, in order, until it is acknowledged, and none that was saved as
    /// acknowledged comes again.
    #[test]
    fn nothing_is_lost_and_nothing_saved_comes_again(steps in prop::collection::vec(step(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let layouts = [layout("a", 20), layout("b", 7)];
        let mut log = open(directory.path(), 64 << 10);
        let mut in_memory = Vec::<(u64, i64)>::new();
        let (mut ever, mut done, mut saved) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut written = 0;
        for step in steps {
            match step {
                Step::Write { in_memory: stays } => {
                    let stays = stays && !log.is_behind();
                    let record = append(&mut log, &batch(&layouts[written as usize % 2], written), stays);
                    in_memory.extend(stays.then_some((record, written)));
                    written += 1;
                }
                Step::Read(bytes) => {
                    let read = log.read(bytes, &mut Losses::default());
                    in_memory.extend(read.iter().map(|(record, batch)| (*record, batch.timestamp)));
                }
                Step::Acknowledge(which) => {
                    if !in_memory.is_empty() {
                        let (record, batch) = in_memory.remove(which.index(in_memory.len()));
                        log.acknowledge(&[record]);
                        done.insert(batch);
                        ever.insert(batch);
                    }
                }
                Step::Save => {
                    log.save().unwrap();
                    saved = done.clone();
                }
                Step::Crash => {
                    drop(log);
                    log = open(directory.path(), 64 << 10);
                    in_memory.clear();
                    done = saved.clone();
                }
            }
            prop_assert!(in_memory.is_sorted_by_key(|(record, _)| *record) && in_memory.is_sorted_by_key(|(_, batch)| *batch));
        }
        in_memory.extend(log.read(usize::MAX, &mut Losses::default()).iter().map(|(record, batch)| (*record, batch.timestamp)));
        for batch in 0..written {
            let there = in_memory.iter().filter(|(_, other)| *other == batch).count();
            prop_assert!(there == 1 || there == 0 && ever.contains(&batch), "batch {} is there {} times", batch, there);
            prop_assert!(there == 0 || !saved.contains(&batch), "batch {} comes again", batch);
        }
    }
}
