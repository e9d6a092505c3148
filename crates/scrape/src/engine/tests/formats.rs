//! What targets are asked for and answer, and what targets may say of their histograms.

use prost::Message;
use proto::client::{BucketSpan, Histogram, Metric, MetricFamily, MetricType};

use super::*;
use crate::protocol::ScrapeProtocol;
use crate::series::{HistogramForms, Rules};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A target as a client library makes it: answers in the best of the formats that it is asked for.
fn library(request: &Request<Incoming>) -> Act {
    let accept = request.headers()[header::ACCEPT].to_str().unwrap();
    let first = accept.split(',').next().unwrap();
    if first.contains("protobuf") {
        Act::Typed(PROTOBUF, histogram())
    } else if first.contains("openmetrics") {
        Act::Typed(OPEN_METRICS, b"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n# EOF\n".to_vec())
    } else {
        answer("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n")
    }
}

/// Two observations in one bucket.
fn histogram() -> Vec<u8> {
    let histogram = Histogram {
        sample_count: 2,
        sample_sum: 3.0,
        positive_span: vec![BucketSpan { offset: 0, length: 1 }],
        positive_delta: vec![2],
        ..Histogram::default()
    };
    let family = MetricFamily {
        name: "h".to_owned(),
        r#type: MetricType::Histogram as i32,
        metric: vec![Metric { histogram: Some(histogram), ..Metric::default() }],
        ..MetricFamily::default()
    };
    family.encode_length_delimited_to_vec()
}

/// The names of a job's first batch, the number of native histograms among them.
async fn first_batch(config: Config, labels: &[(&str, &str)]) -> (String, usize) {
    let bench = Bench::new(config, library);
    bench.engine.set_targets(vec![[("__address__", "t")].into_iter().chain(labels.iter().copied()).collect()]);
    bench.until(3.0).await;
    let batch = bench.sink.batches.lock()[0].clone();
    let names: Vec<String> = batch.layout.iter().map(|series| series.metric_name().to_owned()).collect();
    (names.join(" "), batch.details.map_or(0, |details| details.histograms.len()))
}

#[tokio::test(start_paused = true)]
async fn a_target_answers_in_what_it_is_asked_for_first() {
    let asked = |protocols: &[ScrapeProtocol]| Config { scrape_protocols: protocols.to_vec(), ..config() };
    let classic = ("h_bucket h_sum h_count".to_owned(), 0);
    assert_eq!(first_batch(config(), &[]).await, classic);
    assert_eq!(first_batch(asked(&[ScrapeProtocol::PrometheusText0_0_4]), &[]).await, classic);
    let mut proto_first = asked(&[ScrapeProtocol::PrometheusProto, ScrapeProtocol::PrometheusText0_0_4]);
    assert_eq!(first_batch(proto_first.clone(), &[]).await, ("h_count h_sum h_bucket".to_owned(), 0));
    proto_first.rules.histograms.native = true;
    assert_eq!(first_batch(proto_first, &[]).await, ("h".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_target_may_want_other_histograms_than_its_job() {
    let rules = Rules { histograms: HistogramForms { native: true, ..HistogramForms::default() }, ..Rules::default() };
    let native = Config { rules, scrape_protocols: vec![ScrapeProtocol::PrometheusProto], ..config() };
    assert_eq!(first_batch(native.clone(), &[]).await, ("h".to_owned(), 1));
    assert_eq!(first_batch(native.clone(), &[("__scrape_native_histograms__", "false")]).await, ("h_count h_sum h_bucket".to_owned(), 0));
    let convert = ("__convert_classic_histograms_to_nhcb__", "true");
    assert_eq!(first_batch(config(), &[convert]).await, ("h".to_owned(), 1));
    let both = [convert, ("__always_scrape_classic_histograms__", "true")];
    assert_eq!(first_batch(config(), &both).await, ("h_bucket h_sum h_count h".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_wants_other_histograms_from_now_on_ends_those_it_had() {
    let bench = Bench::new(config(), library);
    bench.engine.set_targets(vec![target("t")]);
    bench.until(3.0).await;
    bench.take();
    let labels = [("__address__", "t"), ("__convert_classic_histograms_to_nhcb__", "true")];
    bench.engine.set_targets(vec![labels.into_iter().collect()]);
    bench.until(13.0).await;
    let lines = bench.take();
    assert!(lines.contains(&"h @12.5 3".to_owned()), "{lines:?}");
    assert!(lines.contains(&"up @12.5 1".to_owned()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.ends_with("stale")).count(), 3, "the target is the same one: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn bucket_limits_are_counted() {
    let histograms = HistogramForms { convert_classic: true, ..HistogramForms::default() };
    let rules = Rules { histograms, bucket_limit: 1, ..Rules::default() };
    let body = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n";
    let bench = Bench::new(Config { rules, ..config() }, move |_| answer(body));
    bench.engine.set_targets(vec![target("t")]);
    bench.until(3.0).await;
    assert_eq!(bench.parts.metrics.exceeded_bucket_limit.get(), 1);
    assert!(bench.status().last_error.starts_with("native_histogram_bucket_limit exceeded"), "{}", bench.status().last_error);
}

#[tokio::test(start_paused = true)]
async fn the_report_has_metadata_where_they_are_honoured() {
    let told = async |honor_metadata| {
        let rules = Rules { honor_metadata, ..Rules::default() };
        let bench = Bench::new(Config { rules, ..config() }, |_| answer("# TYPE a gauge\na 1\n"));
        bench.engine.set_targets(vec![target("t")]);
        bench.until(3.0).await;
        let batches = bench.sink.batches.lock().clone();
        batches.iter().flat_map(|batch| batch.layout.iter()).filter(|series| series.metadata().is_some()).count()
    };
    assert_eq!((told(true).await, told(false).await), (6, 0));
}

#[tokio::test]
async fn failed_scrapes_are_written_to_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("failures.log");
    // No machine is too slow for this timeout; the first slot comes after a quarter of it.
    let config = Config {
        scrape_interval: Duration::from_secs(2),
        scrape_timeout: Duration::from_secs(2),
        failure_log: Some(path.clone()),
        ..config()
    };
    let bench = Bench::new(config.clone(), |_| Act::Status(503));
    bench.engine.set_targets(vec![target("t")]);
    let line = loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            break serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(
        (&line["msg"], &line["target"]),
        (&"server returned HTTP status 503 Service Unavailable".into(), &"http://t/metrics".into())
    );
    let nowhere = Config { failure_log: Some(folder.path().join("none/failures.log")), ..config };
    let error = bench.engine.reload(nowhere, None).unwrap_err().to_string();
    assert!(error.starts_with("scrape_failure_log_file") && error.contains("none/failures.log"), "{error}");
}
