//! Promises about time, on machines that do other things too. A process that gets no processor for a third of a second misses what has to
//! be done every second, and the kernel knows: only then is a test whose promise was broken played again.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use loadtest::measure::ProcessStats;

/// Waiting for a processor within one [`LOOK`] that may break a promise at an interval of a second or less.
const ENOUGH: Duration = Duration::from_millis(300);
const LOOK: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 3;

/// Runs a test's body: again if it fails while a process of the test did not get to run. What fails on a calm machine fails at once.
pub async fn calmly(body: impl AsyncFn()) {
    for attempt in 1.. {
        let watch = Watch::start();
        let Err(panic) = AssertUnwindSafe(body()).catch_unwind().await else { return };
        let waited = watch.longest();
        if attempt == ATTEMPTS || waited < ENOUGH {
            resume_unwind(panic);
        }
        println!("a process of this test waited {waited:?} for a processor within {LOOK:?}: once more");
    }
}

/// Watches this process and those that it started, until it is dropped.
struct Watch {
    longest_ms: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn start() -> Self {
        let watch = Self { longest_ms: Arc::default(), ended: Arc::default() };
        let (longest, ended) = (watch.longest_ms.clone(), watch.ended.clone());
        // A thread of its own: it is kept from running as the others are.
        std::thread::spawn(move || {
            let (mut waited, mut looked) = (waiting_times(), Instant::now());
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                let (now, late) = (waiting_times(), looked.elapsed().saturating_sub(LOOK));
                let since_then = |(pid, time): (&u32, &Duration)| Some(time.saturating_sub(*waited.get(pid)?));
                let most = now.iter().filter_map(since_then).max().unwrap_or_default().max(late);
                longest.fetch_max(most.as_millis() as u64, Ordering::Relaxed);
                (waited, looked) = (now, Instant::now());
            }
        });
        watch
    }

    fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(Ordering::Relaxed))
    }
}

/// How long this process and its descendants have waited for a processor.
fn waiting_times() -> HashMap<u32, Duration> {
    let mut family = HashSet::new();
    add_descendants(std::process::id(), &mut family);
    let waited = |pid| Some((pid, Duration::from_secs_f64(ProcessStats::read(pid).ok()?.cpu_wait_seconds)));
    family.into_iter().filter_map(waited).collect()
}

fn add_descendants(pid: u32, family: &mut HashSet<u32>) {
    if !family.insert(pid) {
        return;
    }
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).for_each(|child| add_descendants(child, family));
    }
}
