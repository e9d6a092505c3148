//! The remote-write receiver over real HTTP, with requests that a sender encodes.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that can't go on has failed

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use loadtest::receiver::{Accept, Failure, Lasts, Received, Receiver, Refused, Sink, wire};
use parking_lot::Mutex;
use prost::Message as _;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

const HEADERS: [(&str, &str); 2] = [("content-encoding", "snappy"), ("content-type", "application/x-protobuf")];

fn request(series: usize, samples: usize) -> WriteRequest {
    let label = |name: &str, value: String| Label { name: name.into(), value };
    let one = |s: usize| TimeSeries {
        labels: vec![label("__name__", "up".into()), label("instance", format!("target-{s}"))],
        samples: (0..samples).map(|i| Sample { value: i as f64, timestamp: 1000 + i as i64 }).collect(),
        ..TimeSeries::default()
    };
    WriteRequest { timeseries: (0..series).map(one).collect(), ..WriteRequest::default() }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

async fn post(receiver: &Receiver, body: Vec<u8>, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::post(receiver.url());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = client.request(request.body(Full::from(body)).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

/// Keeps every request.
#[derive(Default)]
struct Keep(Mutex<Vec<(Vec<u8>, i64)>>);

impl Accept for Keep {
    fn accept(&self, request: &[u8], arrival_ms: i64) -> Result<wire::Counts, Refused> {
        self.0.lock().push((request.to_vec(), arrival_ms));
        Ok(wire::count(request)?)
    }
}

#[tokio::test]
async fn a_sink_counts_requests_samples_and_bytes() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    let plain = request(3, 5).encode_to_vec();
    let packed = pack(&plain);
    let (status, _, body) = post(&receiver, packed.clone(), &HEADERS).await;
    assert_eq!((status, body.as_str()), (StatusCode::NO_CONTENT, ""));
    let expected = Received {
        requests: 1,
        accepted: 1,
        wire_bytes: packed.len() as u64,
        decoded_bytes: plain.len() as u64,
        series: 3,
        samples: 15,
        histograms: 0,
    };
    assert_eq!(receiver.received(), expected);
}

#[tokio::test]
async fn what_is_accepted_gets_the_very_bytes_that_were_sent() {
    let keep = Arc::new(Keep::default());
    let receiver = Receiver::start(keep.clone()).await.unwrap();
    // The second is shorter: nothing of the first may be left in the buffer.
    let bodies = [request(50, 2).encode_to_vec(), request(1, 1).encode_to_vec()];
    for body in &bodies {
        assert_eq!(post(&receiver, pack(body), &HEADERS).await.0, StatusCode::NO_CONTENT);
    }
    let kept = keep.0.lock();
    assert!(kept.iter().map(|(b, _)| b).eq(&bodies));
    assert!(kept[0].1 > 1_600_000_000_000 && kept[0].1 <= kept[1].1, "arrival in Unix milliseconds");
}

#[tokio::test]
async fn a_declared_length_beyond_the_bound_is_refused_before_it_is_allocated() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    // A snappy block that declares 4 GiB - 1 and holds one byte.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'x'];
    let (status, _, body) = post(&receiver, bomb, &HEADERS).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("declares 4294967295 bytes"), "{body}");
}

#[tokio::test]
async fn what_is_no_write_request_is_refused_with_the_reason() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    let (status, _, body) = post(&receiver, pack(&[0xff; 16]), &HEADERS).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("not a remote write 1.0 request"), "{body}");
    let (status, _, body) = post(&receiver, vec![5, 0x80], &HEADERS).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body.contains("snappy"), "{body}");
    assert_eq!((receiver.received().requests, receiver.received().accepted), (2, 0));
}

#[tokio::test]
async fn wrong_headers_and_paths_are_refused() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    let body = || pack(&request(1, 1).encode_to_vec());
    let v2 = ("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
    for headers in [&HEADERS[..1], &HEADERS[1..], &[HEADERS[0], v2], &[("content-encoding", "gzip"), HEADERS[1]]] {
        assert_eq!(post(&receiver, body(), headers).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{headers:?}");
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let get = |url: String| client.get(url.parse().unwrap());
    assert_eq!(get(receiver.url()).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(get(format!("http://{}/", receiver.address())).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_ordered_failure_takes_nothing_and_then_ends() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    receiver.faults().fail(Failure { status: 429, retry_after: Some(Duration::from_secs(2)) }, Lasts::Requests(1));
    let body = || pack(&request(1, 1).encode_to_vec());
    let (status, headers, _) = post(&receiver, body(), &HEADERS).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (StatusCode::TOO_MANY_REQUESTS, "2"));
    assert_eq!(receiver.received().samples, 0);
    assert_eq!(post(&receiver, body(), &HEADERS).await.0, StatusCode::NO_CONTENT);
    assert_eq!(receiver.answers().iter().map(|a| a.status).collect::<Vec<_>>(), [429, 204]);
}

#[tokio::test]
async fn a_delayed_answer_has_taken_the_request_all_the_same() {
    let keep = Arc::new(Keep::default());
    let receiver = Receiver::start(keep.clone()).await.unwrap();
    receiver.faults().delay(Duration::from_secs(600));
    let body = pack(&request(1, 1).encode_to_vec());
    let pending = post(&receiver, body, &HEADERS);
    tokio::pin!(pending);
    while keep.0.lock().is_empty() {
        tokio::select! {
            answer = &mut pending => panic!("answered without the delay: {answer:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_refuses_connections_and_comes_back_at_its_address() {
    let receiver = Receiver::start(Arc::new(Sink)).await.unwrap();
    let address = receiver.address();
    receiver.shut().await.unwrap();
    receiver.shut().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    receiver.open().await.unwrap();
    let (status, ..) = post(&receiver, pack(&request(1, 1).encode_to_vec()), &HEADERS).await;
    assert_eq!((status, receiver.address()), (StatusCode::NO_CONTENT, address));
}
