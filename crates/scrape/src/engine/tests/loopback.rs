//! The whole engine over real sockets, with the real client. Only the wall clock is the test's, so that no scrape is ever late.

use super::*;
use crate::slots::Solo;
use crate::testing::Server;

/// Also the timeout: far more than a scrape takes on any machine.
const INTERVAL: Duration = Duration::from_secs(60);

/// A wall clock that goes on when it is told to.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A job of one target over the real client.
struct Real {
    engine: Engine,
    sink: Arc<Sink>,
    clock: Arc<Turned>,
    target: Labels,
}

impl Real {
    fn start(server: &Server) -> Self {
        let (sink, clock) = (Arc::new(Sink::default()), Arc::new(Turned(AtomicI64::new(EPOCH))));
        let parts = Parts {
            sink: sink.clone(),
            transport: Arc::new(net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap()),
            slots: Arc::new(Solo),
            clock: clock.clone(),
            metrics: Metrics::register(&Registry::new()).unwrap(),
        };
        let config = Config { scrape_interval: INTERVAL, scrape_timeout: INTERVAL, ..config() };
        Self { engine: Engine::start(config, parts).unwrap(), sink, clock, target: target(&server.address.to_string()) }
    }

    /// Lets slots pass until `found` finds what it looks for among the batches.
    async fn until<T>(&self, found: impl Fn(&Self, &[Batch]) -> Option<T>) -> T {
        loop {
            let news = self.sink.news.notified();
            let batches = self.sink.batches.lock().clone();
            if let Some(found) = found(self, &batches) {
                return found;
            }
            self.clock.0.fetch_add(INTERVAL.as_millis() as i64, Ordering::Relaxed);
            // Makes the engine look at the clock.
            self.engine.set_targets(vec![self.target.clone()]);
            // A slot that passes while a scrape is under way brings nothing.
            drop(tokio::time::timeout(Duration::from_millis(50), news).await);
        }
    }

    /// The batches of good scrapes, reports apart, as soon as there are so many.
    async fn batches(&self, count: usize) -> Vec<Batch> {
        let is_report = |batch: &Batch| batch.layout.iter().next().is_some_and(|series| series.metric_name() == "up");
        self.until(|_, batches| {
            let found: Vec<Batch> = batches.iter().filter(|batch| !is_report(batch)).cloned().collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

#[tokio::test]
async fn series_in_another_order_each_time_share_one_layout() {
    let turn = AtomicUsize::new(1);
    let server = Server::start(move |_| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let mut lines: Vec<String> = (0..1500).map(|n| format!("m{n} {n}\n")).collect();
        lines.rotate_left(turn * 7 % 1500);
        if turn.is_multiple_of(2) {
            lines.reverse();
        }
        text(lines.concat())
    })
    .await;
    let job = Real::start(&server);
    let found = job.batches(4).await;
    for batch in &found[1..4] {
        assert!(found[0].layout.chunks().iter().zip(batch.layout.chunks()).all(|(one, other)| Arc::ptr_eq(one, other)));
        assert_eq!(batch.len(), 1500);
    }
    job.engine.stop(Ending::Continued).await;
}

#[tokio::test]
async fn one_series_more_or_less_replaces_one_chunk() {
    let turn = AtomicUsize::new(0);
    let server = Server::start(move |_| {
        let extra = turn.fetch_add(1, Ordering::Relaxed) == 1;
        let lines = (0..1500).map(|n| if n == 700 && extra { format!("more 1\nm{n} {n}\n") } else { format!("m{n} {n}\n") });
        text(lines.collect::<String>())
    })
    .await;
    let job = Real::start(&server);
    // The third scrape has the marker of the one more, too.
    let found = job.batches(4).await;
    let lens: Vec<usize> = found[..4].iter().map(Batch::len).collect();
    assert_eq!(lens, [1500, 1501, 1500, 1]);
    assert!(is_stale(found[3].values[0]));
    let shared = |one: &Batch, other: &Batch| {
        one.layout.chunks().iter().filter(|chunk| other.layout.chunks().iter().any(|c| Arc::ptr_eq(chunk, c))).count()
    };
    assert_eq!(shared(&found[0], &found[1]), 2, "of three chunks");
    assert_eq!(shared(&found[1], &found[2]), 4, "of five: the one more had a chunk of its own");
    job.engine.stop(Ending::Continued).await;
}

#[tokio::test]
async fn a_target_that_vanishes_is_down_and_its_series_end() {
    let server = Server::start(|_| text("a 1\n")).await;
    let job = Real::start(&server);
    job.batches(1).await;
    server.stop().await;
    let last = job.until(|_, batches| batches.iter().find(|batch| is_stale(batch.values[0])).cloned()).await;
    assert_eq!(last.layout.iter().next().unwrap().metric_name(), "a");
    let error = job.until(|job, _| job.engine.overview().error.filter(|_| job.engine.overview().down > 0)).await;
    assert!(error.contains("refused"), "{error}");
    job.engine.stop(Ending::Removed).await;
}
