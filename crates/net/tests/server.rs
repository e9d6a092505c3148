//! The server of components that are pushed to: what it answers, whom it lets in, and how it bounds those who dawdle.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use net::server::{Answer, Memory, ReadError, Reply, RequestBody, ServeError, Server, ServerConfig, ServerMetrics};
use prometheus::{Encoder as _, Registry, TextEncoder};
use support::{Authority, client, fetch, quoted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const LIMIT: usize = 64 << 10;

/// Echoes the body; `/wait` waits to be let go first.
struct Echo {
    memory: Memory,
    waiting: Arc<Notify>,
    go: Arc<Notify>,
}

impl Answer for Echo {
    fn route(&self, path: &str) -> &'static str {
        if path == "/echo" { "echo" } else { "other" }
    }

    fn answer(self: Arc<Self>, request: Request<RequestBody>) -> BoxFuture<'static, Reply> {
        let (memory, waiting, go) = (self.memory.clone(), self.waiting.clone(), self.go.clone());
        Box::pin(async move {
            if request.uri().path() == "/wait" {
                waiting.notify_one();
                go.notified().await;
            }
            let (status, body) = match RequestBody::read(request, LIMIT, &memory).await {
                Ok((_, body)) => (StatusCode::OK, Bytes::copy_from_slice(&body)),
                Err(error) => (status(&error), error.to_string().into()),
            };
            Response::builder().status(status).body(Full::new(body)).unwrap()
        })
    }
}

fn status(error: &ReadError) -> StatusCode {
    match error {
        ReadError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ReadError::Busy => StatusCode::SERVICE_UNAVAILABLE,
        ReadError::Late => StatusCode::REQUEST_TIMEOUT,
        _ => StatusCode::BAD_REQUEST,
    }
}

struct Stage {
    server: Server,
    registry: Registry,
    waiting: Arc<Notify>,
    go: Arc<Notify>,
}

fn config(http: &str) -> ServerConfig {
    let source = format!("http {{\nlisten_address = \"127.0.0.1\"\nlisten_port = 0\n{http}\n}}");
    syntax::decode_str(&source, &syntax::Scope::new()).unwrap()
}

fn start(http: &str) -> Stage {
    start_with_memory(http, 1 << 20)
}

fn start_with_memory(http: &str, memory: usize) -> Stage {
    let (registry, waiting, go) = (Registry::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let metrics = ServerMetrics::register("test_server", &registry).unwrap();
    let answer = Arc::new(Echo { memory: Memory::new(memory), waiting: waiting.clone(), go: go.clone() });
    let server = Server::start(&config(http).http, metrics, answer).unwrap();
    Stage { server, registry, waiting, go }
}

impl Stage {
    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    fn metrics(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Waits for a line of the metrics: they are written a moment after the answer.
    async fn shows(&self, line: &str) {
        while !self.metrics().lines().any(|shown| shown == line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Everything until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await; // a reset is an end as well
    String::from_utf8(text).unwrap()
}

async fn post(stream: &mut TcpStream, path: &str, body: &str) {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn requests_are_answered_and_measured_under_alloys_names() {
    let stage = start("");
    let mut stream = stage.connect().await;
    post(&mut stream, "/echo", "hello").await;
    assert!(rest(&mut stream).await.ends_with("\r\n\r\nhello"));
    stage.shows("test_server_request_duration_seconds_count{method=\"POST\",route=\"echo\",status_code=\"200\",ws=\"false\"} 1").await;
    stage.shows("test_server_request_message_bytes_sum{method=\"POST\",route=\"echo\"} 5").await;
    stage.shows("test_server_response_message_bytes_sum{method=\"POST\",route=\"echo\"} 5").await;
    stage.shows("test_server_tcp_connections{protocol=\"http\"} 0").await;
    stage.shows("test_server_tcp_connections_limit{protocol=\"http\"} 0").await;
    stage.shows("test_server_inflight_requests{method=\"POST\",route=\"echo\"} 0").await;
}

#[tokio::test]
async fn invented_methods_and_paths_make_no_new_metrics() {
    let stage = start("");
    for invented in ["AAAA /x1", "BBBB /x2"] {
        let mut stream = stage.connect().await;
        stream.write_all(format!("{invented} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        rest(&mut stream).await;
    }
    stage.shows("test_server_request_duration_seconds_count{method=\"other\",route=\"other\",status_code=\"200\",ws=\"false\"} 2").await;
}

#[tokio::test]
async fn http2_is_understood_without_tls() {
    let stage = start("");
    let builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).http2_only(true).clone();
    let client = builder.build_http::<Full<Bytes>>();
    let request = Request::post(format!("http://{}/echo", stage.address())).body(Full::from("two")).unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_2));
}

#[tokio::test]
async fn too_many_connections_are_turned_away_with_an_answer_and_counted() {
    let stage = start("conn_limit = 1");
    let first = stage.connect().await;
    stage.shows("test_server_tcp_connections{protocol=\"http\"} 1").await;
    let mut second = stage.connect().await;
    post(&mut second, "/echo", "x").await;
    let answer = rest(&mut second).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert_eq!(answer.split("\r\n\r\n").nth(1).unwrap().len(), 34, "as long as it says");
    stage.shows("collector_server_broken_connections_total{reason=\"limit\"} 1").await;
    drop(first);
    stage.shows("test_server_tcp_connections{protocol=\"http\"} 0").await;
    // The place is free when the connection's task has ended.
    loop {
        let mut third = stage.connect().await;
        post(&mut third, "/echo", "y").await;
        if rest(&mut third).await.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_cut_off_and_counted() {
    let stage = start("server_read_timeout = \"50ms\"");
    let mut silent = stage.connect().await;
    let mut slow = stage.connect().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost:").await.unwrap();
    assert_eq!(rest(&mut silent).await, "");
    assert!(!rest(&mut slow).await.starts_with("HTTP/1.1 200"));
    stage.shows("collector_server_broken_connections_total{reason=\"timeout\"} 2").await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_with_408() {
    let stage = start("server_read_timeout = \"50ms\"");
    let mut slow = stage.connect().await;
    slow.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nbegun").await.unwrap();
    assert!(rest(&mut slow).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_the_idle_timeout() {
    let stage = start("server_idle_timeout = \"50ms\"");
    let mut stream = stage.connect().await;
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_declared_or_not() {
    let stage = start("");
    let body = "x".repeat(LIMIT + (LIMIT / 2));
    let mut declared = stage.connect().await;
    post(&mut declared, "/echo", &body).await;
    assert!(rest(&mut declared).await.starts_with("HTTP/1.1 413"));

    let mut chunked = stage.connect().await;
    let head = "POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    chunked.write_all(format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    assert!(rest(&mut chunked).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let stage = start("");
    let mut endless = stage.connect().await;
    endless.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    while endless.write_all(chunk.as_bytes()).await.is_ok() {}
    stage.shows("test_server_request_duration_seconds_count{method=\"POST\",route=\"echo\",status_code=\"413\",ws=\"false\"} 1").await;
}

#[tokio::test]
async fn bodies_share_a_bound_and_give_back_what_they_took() {
    let stage = start_with_memory("", 8 << 10);
    let mut large = stage.connect().await;
    large.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 8000\r\n\r\n").await.unwrap();
    large.write_all(&[b'x'; 7000]).await.unwrap();
    let other = || async {
        let mut other = stage.connect().await;
        post(&mut other, "/echo", &"y".repeat(4000)).await;
        rest(&mut other).await
    };
    // Until what was sent has come in, the other one finds room.
    while !other().await.starts_with("HTTP/1.1 503") {}
    large.write_all(&[b'x'; 1000]).await.unwrap();
    let mut answer = [0; 12];
    large.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    while !other().await.starts_with("HTTP/1.1 200") {}
}

#[tokio::test]
async fn a_shutdown_finishes_what_runs_and_accepts_nothing_more() {
    let stage = start("");
    let (address, go) = (stage.address(), stage.go.clone());
    let mut idle = stage.connect().await;
    let mut running = stage.connect().await;
    post(&mut running, "/wait", "kept").await;
    stage.waiting.notified().await;
    let stopping = tokio::spawn(stage.server.shutdown(Duration::from_secs(60)));
    assert_eq!(rest(&mut idle).await, "", "nobody waits for those that say nothing");
    while TcpStream::connect(address).await.is_ok() {}
    assert!(!stopping.is_finished());
    go.notify_one();
    assert!(rest(&mut running).await.ends_with("kept"));
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_breaks_off_what_is_not_done_at_the_deadline() {
    let stage = start("");
    let mut running = stage.connect().await;
    post(&mut running, "/wait", "").await;
    stage.waiting.notified().await;
    stage.server.shutdown(Duration::from_millis(20)).await;
    assert_eq!(rest(&mut running).await, "");
}

#[tokio::test]
async fn dropping_the_server_frees_its_address() {
    let stage = start("");
    let address = stage.address();
    drop(stage);
    while std::net::TcpListener::bind(address).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_remedy() {
    let stage = start("");
    let mut config = config("").http;
    config.listen_port = stage.address().port();
    let metrics = ServerMetrics::register("other", &Registry::new()).unwrap();
    let answer = Arc::new(Echo { memory: Memory::new(0), waiting: Arc::default(), go: Arc::default() });
    let error = Server::start(&config, metrics, answer).err().unwrap();
    assert!(matches!(error, ServeError::Listen { .. }));
    let error = error.to_string();
    assert!(error.contains(&stage.address().to_string()) && error.contains("listen_port"), "{error}");
}

fn tls(signed: &support::Signed, more: &str) -> String {
    format!("tls {{\ncert_pem = {}\nkey_pem = {}\n{more}\n}}", quoted(&signed.cert), quoted(&signed.key))
}

/// What a client that trusts `ca` and shows `own` is told.
async fn ask(stage: &Stage, ca: &Authority, own: Option<&support::Signed>) -> Result<String, net::Error> {
    let own = own.map(|own| format!("cert_pem = {}\nkey_pem = {}\n", quoted(&own.cert), quoted(&own.key))).unwrap_or_default();
    let client = client(&format!("tls_config {{\nca_pem = {}\n{own}}}", quoted(&ca.pem)));
    fetch(&client, &format!("https://{}/echo", stage.address())).await.map(|(status, _)| status.to_string())
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let (ca, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let server = ca.sign("127.0.0.1");
    let (known, stranger) = (clients.sign("me"), strangers.sign("me"));
    let checked = |kind: &str| tls(&server, &format!("client_auth_type = {kind:?}\nclient_ca_pem = {}", quoted(&clients.pem)));
    let unchecked = |kind: &str| tls(&server, &format!("client_auth_type = {kind:?}"));
    for (config, without, with_known, with_stranger) in [
        (tls(&server, ""), true, true, true),
        (unchecked("RequestClientCert"), true, true, true),
        (unchecked("RequireAnyClientCert"), false, true, true),
        (checked("VerifyClientCertIfGiven"), true, true, false),
        (checked("RequireAndVerifyClientCert"), false, true, false),
    ] {
        let stage = start(&config);
        assert_eq!(ask(&stage, &ca, None).await.is_ok(), without, "{config}");
        assert_eq!(ask(&stage, &ca, Some(&known)).await.is_ok(), with_known, "{config}");
        assert_eq!(ask(&stage, &ca, Some(&stranger)).await.is_ok(), with_stranger, "{config}");
    }
}

#[tokio::test]
async fn a_failed_handshake_is_counted_and_delays_nobody() {
    let ca = Authority::new();
    let stage = start(&tls(&ca.sign("127.0.0.1"), ""));
    let _silent = stage.connect().await;
    let mut plain = stage.connect().await;
    post(&mut plain, "/echo", "secret").await;
    assert!(!rest_bytes(&mut plain).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(ask(&stage, &ca, None).await.unwrap(), "200");
    stage.shows("collector_server_broken_connections_total{reason=\"tls\"} 1").await;
}

async fn rest_bytes(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await; // a reset is an end as well
    bytes
}

#[tokio::test]
async fn certificate_files_are_read_again_and_a_broken_one_leaves_the_last_in_force() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        std::fs::write(folder.path().join("next"), text).unwrap();
        std::fs::rename(folder.path().join("next"), folder.path().join(name)).unwrap();
    };
    let signed = old.sign("127.0.0.1");
    put("cert.pem", &signed.cert);
    put("key.pem", &signed.key);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let stage = start(&format!("tls {{\ncert_file = {:?}\nkey_file = {:?}\n}}", path("cert.pem"), path("key.pem")));
    assert!(ask(&stage, &old, None).await.is_ok());
    put("cert.pem", "half written");
    assert!(ask(&stage, &old, None).await.is_ok());
    let signed = new.sign("127.0.0.1");
    put("key.pem", &signed.key);
    put("cert.pem", &signed.cert);
    assert!(ask(&stage, &new, None).await.is_ok());
    assert!(ask(&stage, &old, None).await.is_err());
}

#[tokio::test]
async fn after_a_change_nobody_stays_in_whom_it_would_not_let_in() {
    let mut stage = start("");
    let mut idle = stage.connect().await;
    idle.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    let mut running = stage.connect().await;
    post(&mut running, "/wait", "kept").await;
    stage.waiting.notified().await;

    let ca = Authority::new();
    let changed = config(&tls(&ca.sign("127.0.0.1"), "")).http;
    assert!(stage.server.listens_as(&changed));
    stage.server.change(&changed).unwrap();
    rest(&mut idle).await;
    stage.go.notify_one();
    assert!(rest(&mut running).await.ends_with("kept"), "a running request is finished");
    assert!(ask(&stage, &ca, None).await.is_ok(), "the address is the same");

    let mut moved = changed.clone();
    moved.listen_port = 1;
    assert!(!stage.server.listens_as(&moved));
    let broken = config("tls {\ncert_pem = \"nonsense\"\nkey_pem = \"hunter2\"\n}").http;
    let error = stage.server.change(&broken).unwrap_err().to_string();
    assert!(error.contains("tls.cert_pem") && !error.contains("hunter2"), "{error}");
    assert!(ask(&stage, &ca, None).await.is_ok(), "the old arguments stay");
}
