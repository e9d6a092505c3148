//! A receiver that answers by script and remembers what it got, and what tests need around it.
#![allow(dead_code)] // not every test file uses all of it
#![allow(clippy::unwrap_used, clippy::expect_used)] // clippy.toml allows them in test functions only

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{BufferConfig, Config, Content, Delivery, Dialect, Metrics, Post, PostError, QueueConfig, Response, Tally};
use http::HeaderMap;
use model::{Batch, Labels, Layout, LayoutBuilder};
use parking_lot::Mutex;
use prometheus::Registry;
use prost::Message as _;
use proto::prometheus::{Exemplar, Histogram, Label, TimeSeries, WriteRequest};
use proto::write_v2;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

pub const NOW: i64 = 1_763_637_480_123;

/// How to answer a request.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    Text(u16, &'static str),
    /// 200 after a while.
    Slow(Duration),
    /// 503, when so much time has passed on the wall clock.
    Later(Duration),
    /// 200, and the headers say that all was written.
    Taken,
    /// So many samples, histograms and exemplars were written, say the headers.
    Written(u16, [usize; 3]),
    /// 415 to a message of 2.0, else 204.
    OnlyV1,
    /// 415 to zstd, else as `Taken`.
    OnlySnappy,
    /// The connection breaks.
    Broken,
    /// No answer at all.
    Silence,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub status: u16,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn is_v2(&self) -> bool {
        self.header("content-type").ends_with("io.prometheus.write.v2.Request")
    }

    /// The request without its compression.
    pub fn plain(&self) -> Vec<u8> {
        match self.header("content-encoding") {
            "zstd" => zstd::bulk::decompress(&self.body, 64 << 20).expect("a zstd frame"),
            encoding => {
                assert_eq!(encoding, "snappy");
                snap::raw::Decoder::new().decompress_vec(&self.body).expect("a snappy block")
            }
        }
    }

    /// The request; one of version 2 as the request of version 1 that says the same.
    pub fn message(&self) -> WriteRequest {
        let plain = self.plain();
        if self.is_v2() { as_v1(write_v2::Request::decode(&plain[..]).unwrap()) } else { WriteRequest::decode(&plain[..]).unwrap() }
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for series in self.message().timeseries {
            tally += Tally { samples: series.samples.len(), histograms: series.histograms.len(), exemplars: series.exemplars.len() };
        }
        tally
    }
}

fn as_v1(request: write_v2::Request) -> WriteRequest {
    let labels = |refs: &[u32]| -> Vec<Label> {
        let pairs = refs.chunks(2).map(|pair| (&request.symbols[pair[0] as usize], &request.symbols[pair[1] as usize]));
        pairs.map(|(name, value)| Label { name: name.clone(), value: value.clone() }).collect()
    };
    let series = request.timeseries.iter().map(|series| TimeSeries {
        labels: labels(&series.labels_refs),
        samples: series.samples.iter().map(|s| proto::prometheus::Sample { value: s.value, timestamp: s.timestamp }).collect(),
        exemplars: series
            .exemplars
            .iter()
            .map(|e| Exemplar { labels: labels(&e.labels_refs), value: e.value, timestamp: e.timestamp })
            .collect(),
        histograms: series.histograms.iter().map(|h| Histogram { sum: h.sum, timestamp: h.timestamp, ..Default::default() }).collect(),
    });
    WriteRequest { timeseries: series.collect(), metadata: Vec::new() }
}

/// A sample of a request: series, timestamp, value.
pub type Sample = (String, i64, f64);

#[derive(Default)]
struct State {
    script: VecDeque<Answer>,
    otherwise: Option<Answer>,
    got: Vec<Got>,
    /// Samples in requests that were answered with 200.
    taken: usize,
    under_way: usize,
    most_under_way: usize,
}

#[derive(Clone, Default)]
pub struct Receiver {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Receiver {
    /// Answers so, one request after the other, then with 200.
    pub fn answering(script: impl IntoIterator<Item = Answer>) -> Self {
        let receiver = Self::default();
        receiver.state.lock().script.extend(script);
        receiver
    }

    /// Answers so the next requests.
    pub fn next(&self, script: impl IntoIterator<Item = Answer>) {
        self.state.lock().script.extend(script);
    }

    /// Answers so whenever the script is at its end.
    pub fn otherwise(&self, answer: Answer) {
        self.state.lock().otherwise = Some(answer);
    }

    pub fn got(&self) -> Vec<Got> {
        self.state.lock().got.clone()
    }

    pub fn most_under_way(&self) -> usize {
        self.state.lock().most_under_way
    }

    /// The samples of requests that were answered with 200, in order of arrival.
    pub fn samples(&self) -> Vec<Sample> {
        self.got().iter().filter(|got| got.status == 200).flat_map(|got| samples_of(got.message())).collect()
    }

    /// The timestamps of each series that were taken, in order of arrival.
    pub fn by_series(&self) -> BTreeMap<String, Vec<i64>> {
        let mut all: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (series, timestamp, _) in self.samples() {
            all.entry(series).or_default().push(timestamp);
        }
        all
    }

    /// Waits until `count` requests came.
    pub async fn requests(&self, count: usize) -> Vec<Got> {
        self.until(|state| state.got.len() >= count).await;
        self.got()
    }

    /// Waits until `count` samples were taken.
    pub async fn taken(&self, count: usize) -> Vec<Sample> {
        self.until(|state| state.taken >= count).await;
        self.samples()
    }

    fn keep(&self, got: Got) {
        let samples = if got.status == 200 { samples_of(got.message()).len() } else { 0 };
        let mut state = self.state.lock();
        state.taken += samples;
        state.got.push(got);
    }

    async fn until(&self, done: impl Fn(&State) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if done(&self.state.lock()) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(3600), waiting).await.expect("nothing more comes");
    }
}

impl Post for Receiver {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response, PostError> {
        let at = Instant::now();
        let answer = {
            let mut state = self.state.lock();
            state.under_way += 1;
            state.most_under_way = state.most_under_way.max(state.under_way);
            state.script.pop_front().or_else(|| state.otherwise.clone()).unwrap_or(Answer::Status(200))
        };
        let under_way = UnderWay(self.state.clone());
        let got = Got { at, headers, body, status: 0 };
        let mut written = None;
        let (status, retry_after, text) = match answer {
            Answer::OnlyV1 if got.is_v2() => (415, None, "what is that?"),
            Answer::OnlyV1 => (200, None, ""),
            Answer::OnlySnappy if got.header("content-encoding") == "zstd" => (415, None, "unknown encoding"),
            Answer::Taken | Answer::OnlySnappy => {
                written = Some(got.tally());
                (200, None, "")
            }
            Answer::Written(status, [samples, histograms, exemplars]) => {
                written = Some(Tally { samples, histograms, exemplars });
                (status, None, "out of order")
            }
            Answer::Status(status) => (status, None, ""),
            Answer::RetryAfter(status, after) => (status, Some(after.into()), ""),
            Answer::Text(status, text) => (status, None, text),
            Answer::Later(time) => {
                std::thread::sleep(time); // simulated time does not move the wall clock
                (503, None, "")
            }
            Answer::Broken => (0, None, ""),
            Answer::Silence => (1, None, ""),
            Answer::Slow(time) => {
                sleep(time).await;
                (200, None, "")
            }
        };
        drop(under_way);
        self.keep(Got { status, ..got });
        self.changed.notify_waiters();
        match status {
            0 => Err(PostError("connection reset".into())),
            1 => std::future::pending().await,
            _ => Ok(Response { status, retry_after, written, body_excerpt: text.into() }),
        }
    }
}

struct UnderWay(Arc<Mutex<State>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

/// The message of a body.
pub fn message(body: &[u8]) -> WriteRequest {
    let plain = snap::raw::Decoder::new().decompress_vec(body).expect("a snappy block");
    WriteRequest::decode(&plain[..]).expect("a write request")
}

/// The samples of a body.
pub fn decode(body: &[u8]) -> Vec<Sample> {
    samples_of(message(body))
}

fn samples_of(request: WriteRequest) -> Vec<Sample> {
    let all = request.timeseries.into_iter().flat_map(|series| {
        let name: Vec<String> = series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        series.samples.into_iter().map(move |sample| (name.join(","), sample.timestamp, sample.value))
    });
    all.collect()
}

/// A target: its layout stays the same.
pub struct Target {
    pub source: u64,
    pub layout: Arc<Layout>,
}

impl Target {
    pub fn new(source: u64, series: usize) -> Self {
        let mut builder = LayoutBuilder::default();
        for i in 0..series {
            let (name, target) = (format!("metric_{i}_total"), format!("t{source}"));
            builder.push([("__name__", name.as_str()), ("instance", target.as_str()), ("job", "test")].into_iter()).unwrap();
        }
        Self { source, layout: Arc::new(builder.finish()) }
    }

    /// A scrape at `NOW` plus `after` milliseconds; values are row plus `after`.
    pub fn batch(&self, after: i64) -> Batch {
        let values: Vec<f64> = (0..self.layout.len()).map(|row| (row as i64 + after) as f64).collect();
        Batch::new(self.source, self.layout.clone(), NOW + after, values)
    }

    /// What should arrive of [`Target::batch`].
    pub fn samples(&self, after: i64) -> Vec<Sample> {
        let batch = self.batch(after);
        let name =
            |labels: model::SeriesRef<'_>| labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        batch.iter().map(|(labels, timestamp, value)| (name(labels), timestamp, value)).collect()
    }
}

pub fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config {
        name: "test".into(),
        url: "http://user:secret@receiver:9009/api/v1/push".into(),
        user_agent: "collector/0.1.0".into(),
        external_labels: Labels::empty(),
        relabel: None,
        content: Content::default(),
        dialect: Dialect::default(),
        metadata: None,
        remote_timeout: Duration::from_secs(30),
        queue: QueueConfig::default(),
        buffer: BufferConfig::default(),
    };
    change(&mut config);
    config
}

/// A started endpoint, with its registry.
pub fn start(config: Config, receiver: &Receiver) -> (Delivery, Registry) {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let delivery = Delivery::start(config, receiver.clone(), &metrics, &Handle::current()).unwrap();
    (delivery, registry)
}

/// The value of a metric, summed over what has `label` (`name=value`, or all if empty); histograms give their count.
pub fn metric(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap_or_else(|| panic!("no metric {name}"));
    let has = |metric: &&prometheus::proto::Metric| {
        label.is_empty() || metric.get_label().iter().any(|pair| format!("{}={}", pair.name(), pair.value()) == label)
    };
    let value = |metric: &prometheus::proto::Metric| {
        metric.get_counter().get_value() + metric.get_gauge().get_value() + metric.get_histogram().get_sample_count() as f64
    };
    family.get_metric().iter().filter(has).map(value).sum()
}
