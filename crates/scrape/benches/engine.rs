//! The whole engine over loopback, with the real client: CPU time of the scraping thread per sample.
//! Prints a table; arguments: targets, interval in milliseconds, seconds.

#![allow(clippy::unwrap_used)] // a benchmark stops at the first surprise

#[allow(dead_code)] // each bench uses some of its bodies
#[path = "../../exposition/benches/corpus/mod.rs"]
mod corpus;

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{Batch, ConsumeMetrics, Labels, Refused};
use prometheus::Registry;
use scrape::{Config, Ending, Engine, Metrics, Parts, Solo, SystemClock};

/// Samples of one scrape: those of the body and five of the report.
const SAMPLES: f64 = 1018.0;

/// Counts samples and forgets them.
#[derive(Default)]
struct Count(AtomicU64);

impl ConsumeMetrics for Count {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn main() {
    // Under `cargo test` and `cargo bench --bench` alike there may be options for other harnesses.
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let [targets, interval, seconds] = [0, 1, 2].map(|at| numbers.get(at).copied().unwrap_or([500, 1000, 6][at]));
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let address = serve();
    println!("{targets} targets each {interval} ms, {seconds} s");
    println!("body   samples/s  ns CPU/sample  us CPU/scrape  RSS MiB (serving included)");
    for compressed in [false, true] {
        measure(address, compressed, targets, Duration::from_millis(interval), Duration::from_secs(seconds));
    }
}

fn measure(address: SocketAddr, compressed: bool, targets: u64, interval: Duration, time: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sink = Arc::new(Count::default());
        let parts = Parts {
            sink: sink.clone(),
            transport: Arc::new(net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap()),
            slots: Arc::new(Solo),
            clock: Arc::new(SystemClock::default()),
            metrics: Metrics::register(&Registry::new()).unwrap(),
        };
        let config = Config {
            job_name: "bench".to_owned(),
            scrape_interval: interval,
            scrape_timeout: interval,
            enable_compression: compressed,
            ..Config::default()
        };
        let engine = Engine::start(config, parts).unwrap();
        let target = |n: u64| -> Labels {
            // A path of its own gives each a key, and so a phase, of its own.
            let (address, instance, path) = (address.to_string(), format!("host-{n}:9100"), format!("/{n}/metrics"));
            [("__address__", address.as_str()), ("__metrics_path__", &path), ("instance", &instance)].into_iter().collect()
        };
        engine.set_targets((0..targets).map(target).collect());
        tokio::time::sleep(interval * 3).await;
        let (samples, cpu) = (sink.0.load(Ordering::Relaxed), cpu_ns());
        tokio::time::sleep(time).await;
        let (samples, cpu) = (sink.0.load(Ordering::Relaxed) - samples, cpu_ns() - cpu);
        let overview = engine.overview();
        assert_eq!(overview.up as u64, targets, "{overview:?}");
        let scrapes = samples as f64 / SAMPLES;
        println!(
            "{:5}  {:9.0}  {:13.1}  {:13.1}  {:7.1}",
            if compressed { "gzip" } else { "plain" },
            samples as f64 / time.as_secs_f64(),
            cpu as f64 / samples as f64,
            cpu as f64 / scrapes / 1000.0,
            rss() as f64 / f64::from(1 << 20),
        );
        engine.stop(Ending::Continued).await;
    });
}

/// A target in a thread of its own, so that its CPU time doesn't count.
fn serve() -> SocketAddr {
    let bodies: Arc<Vec<(Bytes, Bytes)>> = Arc::new((1..9).map(|seed| (corpus::body(seed).into(), gzip(&corpus::body(seed)))).collect());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let turn = Arc::new(AtomicU64::new(0));
            while let Ok((stream, _)) = listener.accept().await {
                let (bodies, turn) = (bodies.clone(), turn.clone());
                let service = service_fn(move |request| {
                    let (plain, packed) = bodies[turn.fetch_add(1, Ordering::Relaxed) as usize % bodies.len()].clone();
                    async move { Ok::<_, Infallible>(answer(&request, plain, packed)) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    address
}

fn answer(request: &Request<Incoming>, plain: Bytes, packed: Bytes) -> Response<Full<Bytes>> {
    let compressed = request.headers().get(header::ACCEPT_ENCODING).is_some_and(|encoding| encoding == "gzip");
    let mut response = Response::new(Full::new(if compressed { packed } else { plain }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    if compressed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(text: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap().into()
}

/// CPU time of this thread in nanoseconds.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse().unwrap()
}

/// Resident memory of the process in bytes.
fn rss() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
}
