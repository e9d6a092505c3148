//! The whole engine over real sockets and real time, with the real client.

use super::*;
use crate::slots::{Solo, SystemClock};
use crate::testing::Server;

/// A job over the real client with an interval of 40 ms.
fn start(server: &Server) -> (Engine, Arc<Sink>) {
    let sink = Arc::new(Sink::default());
    let parts = Parts {
        sink: sink.clone(),
        transport: Arc::new(net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap()),
        slots: Arc::new(Solo),
        clock: Arc::new(SystemClock::default()),
        metrics: Metrics::register(&Registry::new()).unwrap(),
    };
    let config = Config { scrape_interval: Duration::from_millis(40), scrape_timeout: Duration::from_millis(40), ..config() };
    let engine = Engine::start(config, parts).unwrap();
    engine.set_targets(vec![target(&server.address.to_string())]);
    (engine, sink)
}

/// The batches of good scrapes, reports apart, as soon as there are so many.
async fn batches(sink: &Sink, count: usize) -> Vec<Batch> {
    loop {
        let news = sink.news.notified();
        let is_report = |batch: &Batch| batch.layout.iter().next().is_some_and(|series| series.metric_name() == "up");
        let found: Vec<Batch> = sink.batches.lock().iter().filter(|batch| !is_report(batch)).cloned().collect();
        if found.len() >= count {
            return found;
        }
        news.await;
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
    let (engine, sink) = start(&server);
    let found = batches(&sink, 4).await;
    for batch in &found[1..4] {
        assert!(found[0].layout.chunks().iter().zip(batch.layout.chunks()).all(|(one, other)| Arc::ptr_eq(one, other)));
        assert_eq!(batch.len(), 1500);
    }
    engine.stop(Ending::Continued).await;
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
    let (engine, sink) = start(&server);
    // The third scrape has the marker of the one more, too.
    let found = batches(&sink, 4).await;
    let lens: Vec<usize> = found[..4].iter().map(Batch::len).collect();
    assert_eq!(lens, [1500, 1501, 1500, 1]);
    assert!(is_stale(found[3].values[0]));
    let shared = |one: &Batch, other: &Batch| {
        one.layout.chunks().iter().filter(|chunk| other.layout.chunks().iter().any(|c| Arc::ptr_eq(chunk, c))).count()
    };
    assert_eq!(shared(&found[0], &found[1]), 2, "of three chunks");
    assert_eq!(shared(&found[1], &found[2]), 4, "of five: the one more had a chunk of its own");
    engine.stop(Ending::Continued).await;
}

#[tokio::test]
async fn a_target_that_vanishes_is_down_and_its_series_end() {
    let server = Server::start(|_| text("a 1\n")).await;
    let (engine, sink) = start(&server);
    batches(&sink, 1).await;
    server.stop().await;
    let found = batches(&sink, 2).await;
    let last = loop {
        let found = sink.batches.lock().clone();
        if let Some(stale) = found.iter().find(|batch| is_stale(batch.values[0])) {
            break stale.clone();
        }
        sink.news.notified().await;
    };
    assert_eq!(last.layout.iter().next().unwrap().metric_name(), "a");
    assert!(found.len() >= 2);
    while engine.overview().down == 0 {
        sink.news.notified().await;
    }
    let error = engine.overview().error.unwrap();
    assert!(error.contains("refused"), "{error}");
    engine.stop(Ending::Removed).await;
}
