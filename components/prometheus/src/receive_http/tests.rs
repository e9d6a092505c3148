//! The component over real sockets on loopback, its receivers in memory.

use std::path::Path;

use bytes::Bytes;
use component::{MetricsReceiver, Services, Stability, StabilityLevel};
use http::{Request, Response};
use http_body_util::Full;
use model::{Batch, ConsumeMetrics, Refused};
use parking_lot::Mutex;
use prometheus::{Encoder as _, TextEncoder};
use prost::Message as _;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use syntax::{Scope, ToValue};

use super::*;

/// Keeps what it takes; refuses while it is told to.
#[derive(Clone, Default)]
struct Collected {
    batches: Arc<Mutex<Vec<Batch>>>,
    refuse: Arc<Mutex<Option<Refused>>>,
    /// Takes so many batches before it refuses.
    room: Arc<Mutex<Option<usize>>>,
}

impl ConsumeMetrics for Collected {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        if let Some(refused) = *self.refuse.lock() {
            return Err(refused);
        }
        if let Some(room) = &mut *self.room.lock() {
            *room = room.checked_sub(1).ok_or(Refused::Full)?;
        }
        self.batches.lock().push(batch);
        Ok(())
    }
}

impl Collected {
    fn samples(&self) -> usize {
        self.batches.lock().iter().map(Batch::len).sum()
    }
}

struct Stage {
    component: ReceiveHttp,
    setup: Setup,
    receivers: Vec<(MetricsReceiver, Collected)>,
}

impl Stage {
    fn new(receivers: usize, more: &str) -> Self {
        let services = Services::default().with(StabilityLevel(Stability::Experimental));
        let setup = Setup::detached("prometheus.receive_http.x", Path::new("/nowhere"), services);
        let receivers: Vec<_> = (0..receivers)
            .map(|n| {
                let (slot, collected) = (MetricsReceiver::new(format!("to{n}")), Collected::default());
                slot.fill(collected.clone());
                (slot, collected)
            })
            .collect();
        let arguments = arguments(&receivers, more);
        let (component, _) = ReceiveHttp::build(arguments, &setup).unwrap();
        Self { component, setup, receivers }
    }

    fn collected(&self, at: usize) -> &Collected {
        &self.receivers[at].1
    }

    fn metric(&self, line: &str) -> bool {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.setup.registry().gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap().lines().any(|shown| shown == line)
    }

    async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answered {
        send_to(self.component.server.address(), request, body).await
    }

    async fn push(&self, message: &WriteRequest) -> Answered {
        self.send(v1(), packed(message)).await
    }
}

#[derive(Debug)]
struct Answered {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

async fn send_to(address: std::net::SocketAddr, request: http::request::Builder, body: impl Into<Bytes>) -> Answered {
    let client = net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap();
    let mut request = request.body(Full::new(body.into())).unwrap();
    *request.uri_mut() = format!("http://{address}{}", request.uri().path()).parse().unwrap();
    let response: Response<_> = client.send(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = net::read_body(response, 1 << 20).await.unwrap();
    Answered { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
}

fn arguments(receivers: &[(MetricsReceiver, Collected)], more: &str) -> Arguments {
    let scope = Scope::new().with("to", receivers.iter().map(|(slot, _)| slot.to_value()).collect::<Vec<_>>().to_value());
    let both = "accepted_remote_write_protobuf_messages = [\"prometheus.WriteRequest\", \"io.prometheus.write.v2.Request\"]";
    let http = if more.contains("http {") { "" } else { "http {\nlisten_address = \"127.0.0.1\"\nlisten_port = 0\n}" };
    let messages = if more.contains("accepted_") { "" } else { both };
    syntax::decode_str(&format!("forward_to = to\n{messages}\n{http}\n{more}"), &scope).unwrap()
}

fn v1() -> http::request::Builder {
    Request::post(handler::PATH).header("content-type", "application/x-protobuf").header("content-encoding", "snappy")
}

fn v2() -> http::request::Builder {
    let content_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    Request::post(handler::PATH).header("content-type", content_type).header("content-encoding", "snappy")
}

fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A sample of each of several targets, so that a request is several batches.
fn message(targets: usize) -> WriteRequest {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let one = |n: usize| TimeSeries {
        labels: vec![label("__name__", "up".into()), label("instance", format!("i{n}"))],
        samples: vec![Sample { value: n as f64, timestamp: now() }],
        ..TimeSeries::default()
    };
    WriteRequest { timeseries: (0..targets).map(one).collect(), metadata: vec![] }
}

fn packed(message: &WriteRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

#[tokio::test]
async fn a_push_goes_to_every_receiver_and_is_answered_with_204() {
    let stage = Stage::new(2, "");
    let answered = stage.push(&message(3)).await;
    assert_eq!((answered.status, answered.text.as_str()), (204, ""));
    assert!(!answered.headers.keys().any(|name| name.as_str().starts_with("x-prometheus-remote-write")), "that would mean 2.0");
    assert_eq!((stage.collected(0).samples(), stage.collected(1).samples()), (3, 3));
    assert!(stage.metric("prometheus_forwarded_samples_total 3"));
    assert!(stage.metric("collector_receive_http_series_total{known=\"false\"} 3"));
}

#[tokio::test]
async fn senders_of_2_0_are_told_what_was_written() {
    let stage = Stage::new(1, "");
    // Symbols "", "__name__", "m"; a series of 1, 2 with a sample and one of 1, 0, which has no name.
    let request = [
        0x22, 0, 0x22, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 0x22, 1, b'm', // symbols
        0x2a, 6, 0x0a, 2, 1, 2, 0x12, 0,
    ];
    let body = |request: &[u8]| snap::raw::Encoder::new().compress_vec(request).unwrap();
    let answered = stage.send(v2(), body(&request)).await;
    let header = |answered: &Answered, name: &str| {
        answered.headers.get(format!("x-prometheus-remote-write-{name}-written")).map(|value| value.to_str().unwrap().to_owned())
    };
    let written = |answered: &Answered| ["samples", "histograms", "exemplars"].map(|name| header(answered, name).unwrap());
    assert_eq!((answered.status, written(&answered)), (204, ["1", "0", "0"].map(str::to_owned)));
    let with_bad = [&request[..], &[0x2a, 6, 0x0a, 2, 1, 0, 0x12, 0]].concat();
    let answered = stage.send(v2(), body(&with_bad)).await;
    assert_eq!((answered.status, written(&answered)), (400, ["1", "0", "0"].map(str::to_owned)));
    assert!(answered.text.contains("no metric name"), "{}", answered.text);
    assert_eq!(stage.collected(0).samples(), 2);
    assert!(stage.metric("prometheus_api_remote_write_invalid_labels_samples_total 1"));
}

#[tokio::test]
async fn what_prometheus_does_not_take_is_refused_with_its_status() {
    let stage = Stage::new(1, "");
    let body = packed(&message(1));
    let post = |path: &'static str| Request::post(path);
    for (request, body, status, part) in [
        (Request::get(handler::PATH), Vec::new(), 405, "POST"),
        (post("/api/v1/write"), body.clone(), 404, "/api/v1/metrics/write"),
        (post(handler::PATH).header("content-type", "text/plain"), body.clone(), 415, "application/x-protobuf"),
        (post(handler::PATH).header("content-type", "application/x-protobuf;proto=x.Y"), body.clone(), 415, "x.Y"),
        (v1().header("content-encoding", "zstd"), body.clone(), 415, "snappy and zstd"),
        (post(handler::PATH).header("content-encoding", "zstd"), body.clone(), 400, "zstd"),
        (post(handler::PATH).header("content-encoding", "gzip"), body.clone(), 415, "gzip encoding"),
        (v1(), b"garbage".to_vec(), 400, "snappy"),
        (v1(), Vec::new(), 400, "snappy"),
        (v1(), body[..body.len() - 3].to_vec(), 400, "snappy"),
        (v1(), vec![0; intake::MAX_REQUEST + 1], 413, "33554432"),
    ] {
        let shown = format!("{request:?}");
        let answered = stage.send(request, body).await;
        assert_eq!(answered.status, status, "{shown}: {answered:?}");
        assert!(answered.text.contains(part), "{shown}: {answered:?}");
        assert!(!answered.headers.contains_key("retry-after"));
    }
    assert_eq!(stage.collected(0).samples(), 0);
    assert_eq!(stage.send(post(handler::PATH), body).await.status, 204, "without any headers it is 1.0 in snappy");
    for (reason, count) in [("method", 1), ("unsupported", 4), ("malformed", 4), ("too_large", 1)] {
        assert!(stage.metric(&format!("collector_receive_http_rejected_requests_total{{reason=\"{reason}\"}} {count}")), "{reason}");
    }
}

#[tokio::test]
async fn zstd_is_taken_as_well() {
    let stage = Stage::new(1, "");
    let body = zstd::bulk::compress(&message(3).encode_to_vec(), 1).unwrap();
    let request = Request::post(handler::PATH).header("content-encoding", "zstd");
    assert_eq!(stage.send(request, body).await.status, 204);
    assert_eq!(stage.collected(0).samples(), 3);
}

#[tokio::test]
async fn version_2_0_is_refused_unless_it_is_configured() {
    let stage = Stage::new(1, "accepted_remote_write_protobuf_messages = [\"prometheus.WriteRequest\"]");
    let answered = stage.send(v2(), packed(&message(1))).await;
    assert_eq!(answered.status, 415);
    assert!(answered.text.contains("io.prometheus.write.v2.Request"), "{}", answered.text);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_was_refused_and_nothing_handed_on_twice() {
    let stage = Stage::new(2, "");
    let message = message(100);
    *stage.collected(1).room.lock() = Some(7);
    let answered = stage.push(&message).await;
    assert_eq!(answered.status, 503, "{answered:?}");
    assert_eq!(answered.headers.get("retry-after").unwrap(), "1");
    let (all, part) = (stage.collected(0).batches.lock().len(), stage.collected(1).batches.lock().len());
    assert!(all > 20 && part == 7, "{all} and {part}");
    *stage.collected(1).room.lock() = None;
    assert_eq!(stage.push(&message).await.status, 204);
    for receiver in [0, 1] {
        assert_eq!(stage.collected(receiver).samples(), 100, "each has each sample once");
        assert_eq!(stage.collected(receiver).batches.lock().len(), all);
    }
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_is_not_handed_on_again() {
    let stage = Stage::new(1, "");
    let message = message(5);
    assert_eq!(stage.push(&message).await.status, 204);
    let again = stage.send(v1().header("retry-attempt", "1"), packed(&message)).await;
    assert_eq!(again.status, 204);
    assert_eq!(stage.collected(0).samples(), 5);
    assert!(stage.metric("collector_receive_http_repeated_requests_total 1"));
    // Whoever does not say that it is a repetition may mean it.
    assert_eq!(stage.push(&message).await.status, 204);
    assert_eq!(stage.collected(0).samples(), 10);
}

#[tokio::test]
async fn receivers_that_refuse_show_in_the_health_until_they_take_again() {
    let stage = Stage::new(1, "");
    for refused in [Refused::Full, Refused::Closed] {
        *stage.collected(0).refuse.lock() = Some(refused);
        assert_eq!(stage.push(&message(1)).await.status, 503);
        stage.component.report(&stage.setup, None);
        assert!(stage.setup.health().get().message.contains(&refused.to_string()));
    }
    *stage.collected(0).refuse.lock() = None;
    assert_eq!(stage.push(&message(1)).await.status, 204);
    stage.component.report(&stage.setup, None);
    assert!(stage.setup.health().get().message.starts_with("listening on 127.0.0.1:"));
}

#[tokio::test]
async fn without_receivers_pushes_are_taken_and_forgotten() {
    let stage = Stage::new(0, "");
    assert_eq!(stage.push(&message(1)).await.status, 204);
}

#[tokio::test]
async fn new_arguments_take_effect_while_it_runs() {
    let mut stage = Stage::new(2, "");
    let address = stage.component.server.address();
    let only_second = arguments(&stage.receivers[1..], "accepted_remote_write_protobuf_messages = [\"prometheus.WriteRequest\"]");
    stage.component.update(only_second, &stage.setup).unwrap();
    assert_eq!(stage.component.server.address(), address, "the server goes on");
    assert_eq!(stage.push(&message(2)).await.status, 204);
    assert_eq!((stage.collected(0).samples(), stage.collected(1).samples()), (0, 2));
    assert_eq!(stage.send(v2(), packed(&message(1))).await.status, 415);

    let moved = arguments(&stage.receivers, "http {\nlisten_address = \"localhost\"\nlisten_port = 0\n}\nappend_metadata = true");
    stage.component.update(moved, &stage.setup).unwrap();
    assert_ne!(stage.component.server.address(), address);
    assert!(stage.component.intake.load().options().append_metadata);
    assert_eq!(stage.push(&message(1)).await.status, 204);
}

#[tokio::test]
async fn arguments_that_cannot_be_had_leave_the_last_good_ones() {
    let mut stage = Stage::new(1, "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let http = format!("http {{\nlisten_address = \"127.0.0.1\"\nlisten_port = {port}\n}}");
    let error = stage.component.update(arguments(&[], &http), &stage.setup).unwrap_err().to_string();
    assert!(error.contains(&port.to_string()), "{error}");
    assert_eq!(stage.push(&message(1)).await.status, 204);
    assert_eq!(stage.collected(0).samples(), 1, "receivers too");
    assert!(ReceiveHttp::build(arguments(&[], &http), &Setup::detached("y", Path::new("/nowhere"), Services::default())).is_err());
}

#[tokio::test]
async fn progress_with_other_receivers_counts_for_nothing() {
    let mut stage = Stage::new(2, "");
    let message = message(1);
    *stage.collected(1).refuse.lock() = Some(Refused::Full);
    assert_eq!(stage.push(&message).await.status, 503);
    // The second is now the only one, and the first bit is its.
    stage.component.update(arguments(&stage.receivers[1..], ""), &stage.setup).unwrap();
    *stage.collected(1).refuse.lock() = None;
    assert_eq!(stage.push(&message).await.status, 204);
    assert_eq!((stage.collected(0).samples(), stage.collected(1).samples()), (1, 1));
}
