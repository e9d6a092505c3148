//! One scrape over real HTTP on loopback: answers good and bad, limits, deadlines.

use std::io::Write;
use std::sync::Arc;

use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Uri};
use model::Labels;

use super::*;
use crate::config::Config;
use crate::series::Rules;
use crate::testing::{Pieces, Plain, Server, Then, text};

const LIMIT: u64 = 128 << 10;

/// A target's state and what it is scraped with.
struct Scraper {
    series: TargetSeries,
    pool: Pool,
    terms: Terms,
    now: i64,
}

impl Scraper {
    fn new() -> Self {
        let terms = Terms {
            timeout: Duration::from_secs(20),
            limit: BodyLimit::new(0, LIMIT),
            fallback: Some(ScrapeProtocol::PrometheusText0_0_4),
            max_memory: usize::MAX,
        };
        let series = TargetSeries::new(1, Labels::empty(), Arc::new(Rules::default()));
        Self { series, pool: Pool::new(1), terms, now: 0 }
    }

    async fn scrape_with(&mut self, transport: &dyn Transport, server: &Server) -> Outcome {
        self.now += 1000;
        let uri: Uri = format!("http://{}/metrics?a=b", server.address).parse().unwrap();
        let request = RequestParts::new(uri, Arc::new(shared_headers(&Config::default())), self.terms.timeout);
        scrape(transport, &request, self.terms, (&mut self.series, self.now), &self.pool).await
    }

    async fn scrape(&mut self, server: &Server) -> Outcome {
        self.scrape_with(&Plain, server).await
    }

    async fn error(&mut self, server: &Server) -> String {
        self.scrape(server).await.result.expect_err("must fail").to_string()
    }
}

fn values(outcome: &Outcome) -> Vec<f64> {
    let scraped = outcome.result.as_ref().unwrap_or_else(|error| panic!("{error}"));
    scraped.batches.iter().flat_map(|batch| batch.values.to_vec()).collect()
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap().into()
}

fn gzipped(body: Pieces) -> Response<Pieces> {
    let mut response = text("").map(|_| body);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

#[tokio::test]
async fn a_target_is_asked_as_prometheus_asks_and_its_answer_taken() {
    let (seen, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |request| {
        seen.send(request).unwrap();
        text("a 1\nb 2")
    })
    .await;
    let outcome = Scraper::new().scrape(&server).await;
    assert_eq!(values(&outcome), [1.0, 2.0]);
    assert_eq!((outcome.body_size, outcome.counts.scraped), (7, 2));
    let request = asked.recv().await.unwrap();
    assert_eq!(request.uri(), "/metrics?a=b");
    assert_eq!(request.headers()["accept-encoding"], "gzip");
    assert_eq!(request.headers()["x-prometheus-scrape-timeout-seconds"], "20");
}

#[tokio::test]
async fn the_real_client_fits() {
    let server = Server::start(|request| {
        let agent = request.headers()["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("collector/"), "{agent}");
        text("a 1\n")
    })
    .await;
    let client = net::Client::new(&net::HttpClientConfig::default(), net::ClientOptions::default()).unwrap();
    let mut scraper = Scraper::new();
    assert_eq!(values(&scraper.scrape_with(&client, &server).await), [1.0]);
    drop(server);
    let error = scraper.scrape_with(&client, &Server::raw(b"").await).await.result.unwrap_err();
    assert!(matches!(error, ScrapeError::Transport(_)), "{error}");
}

#[tokio::test]
async fn compressed_bodies_are_taken_as_they_come() {
    let body: String = (0..6_000).map(|n| format!("metric_{n} {n}\n")).collect();
    let len = body.len();
    let packed = gzip(body.as_bytes());
    let server = Server::start(move |_| gzipped(Pieces::new(packed.chunks(1000).map(Bytes::copy_from_slice), Then::End))).await;
    let mut scraper = Scraper::new();
    for _ in 0..3 {
        let outcome = scraper.scrape(&server).await;
        assert_eq!((values(&outcome).len(), outcome.body_size), (6_000, len as i64));
    }
}

#[tokio::test]
async fn damaged_compression_fails_the_scrape_and_harms_nobody_after() {
    let packed = gzip(&b"a 1\n".repeat(1000));
    let cut = packed.slice(..packed.len() - 3);
    let server = Server::start(move |_| gzipped(Pieces::new([cut.clone()], Then::End))).await;
    let mut scraper = Scraper::new();
    assert_eq!(scraper.error(&server).await, "gzip: unexpected end of the body");
    let plain = Server::start(|_| gzipped(Pieces::new([Bytes::from_static(b"a 1\n")], Then::End))).await;
    assert_eq!(scraper.error(&plain).await, "gzip: invalid header");
    let good = Server::start(|_| gzipped(Pieces::new([gzip(b"a 1\n")], Then::End))).await;
    assert_eq!(values(&scraper.scrape(&good).await), [1.0]);
}

#[tokio::test]
async fn other_statuses_are_failures() {
    for (status, shown) in [(500, "500 Internal Server Error"), (404, "404 Not Found"), (204, "204 No Content"), (302, "302 Found")] {
        let server = Server::start(move |_| {
            let mut response = text("a 1\n");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        })
        .await;
        let outcome = Scraper::new().scrape(&server).await;
        assert_eq!(outcome.result.unwrap_err().to_string(), format!("server returned HTTP status {shown}"));
        assert_eq!((outcome.body_size, outcome.counts), (0, Counts::default()));
    }
}

#[tokio::test]
async fn a_garbage_body_fails_the_scrape_and_the_series_stay_known() {
    let mut scraper = Scraper::new();
    let good = Server::start(|_| text("a 1\nb 2\n")).await;
    let layout = scraper.scrape(&good).await.result.unwrap().batches.remove(0).layout;
    let garbage = Server::start(|_| text(&b"a 1\nx 2\n<html>\xff\n"[..])).await;
    let outcome = scraper.scrape(&garbage).await;
    assert_eq!((outcome.counts.scraped, outcome.body_size), (2, 16));
    assert_eq!(
        outcome.result.unwrap_err().to_string(),
        "the target's answer can't be parsed: line 3: expected a metric name, `{` or `#` in \"<html>\\xff\""
    );
    let again = scraper.scrape(&good).await.result.unwrap();
    assert!(Arc::ptr_eq(&again.batches[0].layout, &layout));
}

#[tokio::test]
async fn garbage_instead_of_http_fails_the_scrape() {
    let server = Server::raw(b"SSH-2.0-OpenSSH_9.6\r\n").await;
    assert!(!Scraper::new().error(&server).await.is_empty());
}

#[tokio::test]
async fn the_content_type_matters_only_if_there_is_content() {
    let html = |body: &'static str| {
        Server::start(move |_| {
            let mut response = text(body);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            response
        })
    };
    let mut scraper = Scraper::new();
    assert_eq!(values(&scraper.scrape(&html("a 1\n").await).await), [1.0], "the fallback format helps");
    scraper.terms.fallback = None;
    let error = scraper.error(&html("a 1\n").await).await;
    assert_eq!(error, "received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target");
    assert!(scraper.scrape(&html("").await).await.result.is_ok());
    let open_metrics = |body: &'static str| {
        Server::start(move |_| {
            let mut response = text(body);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/openmetrics-text; version=1.0.0"));
            response
        })
    };
    assert_eq!(values(&scraper.scrape(&open_metrics("a 1\n# EOF\n").await).await), [1.0]);
    let error = scraper.error(&open_metrics("a 1\n").await).await;
    assert!(error.contains("can't be parsed"), "{error}");
}

#[tokio::test]
async fn an_encoding_that_was_not_asked_for_is_named_if_the_body_can_t_be_read() {
    let encoded = |encoding: &'static str, body: &'static [u8]| {
        Server::start(move |_| {
            let mut response = text(body);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            response
        })
    };
    for encoding in ["zstd", "deflate", "br", "GZIP", "gzip, zstd", "identity", "utf-8", ""] {
        let outcome = Scraper::new().scrape(&encoded(encoding, b"a 1\n").await).await;
        assert_eq!(values(&outcome), [1.0], "as in Prometheus, what is said of plain text doesn't matter: {encoding:?}");
    }
    for encoding in ["zstd", "GZIP", "gzip, zstd"] {
        let error = Scraper::new().error(&encoded(encoding, b"\x28\xb5\x2f\xfd\x00").await).await;
        assert_eq!(error, format!("unsupported Content-Encoding {encoding:?}"));
    }
}

#[tokio::test]
async fn bodies_are_bounded_after_decoding() {
    let plain = Server::start(|_| text("metric_a 1\nmetric_b 2\n")).await;
    let packed = Server::start(|_| gzipped(Pieces::new([gzip(b"metric_a 1\nmetric_b 2\n")], Then::End))).await;
    let mut scraper = Scraper::new();
    for server in [&plain, &packed] {
        scraper.terms.limit = BodyLimit::new(22, LIMIT);
        let outcome = scraper.scrape(server).await;
        assert_eq!(outcome.body_size, -1);
        assert_eq!(outcome.result.unwrap_err().to_string(), "body size limit exceeded: 22 bytes or more (body_size_limit)");
        scraper.terms.limit = BodyLimit::new(23, LIMIT);
        assert_eq!(values(&scraper.scrape(server).await), [1.0, 2.0]);
    }
    assert_eq!(BodyLimit::new(LIMIT + 1, LIMIT).option, "--scrape.max-body-size");
}

#[tokio::test]
async fn endless_bodies_and_bombs_end_at_the_limit() {
    let line = Bytes::from("a_rather_long_metric_name_that_comes_again_and_again 1\n".repeat(100));
    let endless = Server::start(move |_| text("").map(|_| Pieces::new([], Then::Repeat(line.clone())))).await;
    let bomb = gzip(&b"# comment\n".repeat(300_000));
    assert!(bomb.len() < 60_000, "small on the wire");
    let bomb = Server::start(move |_| gzipped(Pieces::new([bomb.clone()], Then::End))).await;
    let one_line = Server::start(|_| text("").map(|_| Pieces::new([], Then::Repeat(Bytes::from(vec![b'x'; 10_000]))))).await;
    // Empty deflate blocks for ever: input without output.
    let start = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]);
    let nothing = Bytes::from([0, 0, 0, 0xff, 0xff].repeat(1000));
    let hollow = Server::start(move |_| gzipped(Pieces::new([start.clone()], Then::Repeat(nothing.clone())))).await;
    for server in [&endless, &bomb, &hollow] {
        let error = Scraper::new().error(server).await;
        assert_eq!(error, "body size limit exceeded: 131072 bytes or more (--scrape.max-body-size)");
    }
    assert!(Scraper::new().error(&one_line).await.contains("body size limit exceeded"));
}

#[tokio::test]
async fn the_timeout_covers_the_whole_scrape() {
    let begins = |pieces: Vec<Bytes>| Server::start(move |_| text("").map(|_| Pieces::new(pieces.clone(), Then::Hang)));
    let mut scraper = Scraper::new();
    scraper.terms.timeout = Duration::from_millis(40);
    for server in [begins(vec![]).await, begins(vec![Bytes::from_static(b"a 1\n")]).await] {
        let began = Instant::now();
        assert_eq!(scraper.error(&server).await, "scrape timed out after 40ms (scrape_timeout)");
        assert!(began.elapsed() >= Duration::from_millis(40));
    }
    // A slow answer that never stops is no excuse.
    let drip = Server::start(|_| text("").map(|_| Pieces::new([], Then::Repeat(Bytes::from_static(b"#\n"))))).await;
    scraper.terms.limit = BodyLimit::new(0, u64::MAX);
    assert_eq!(scraper.error(&drip).await, "scrape timed out after 40ms (scrape_timeout)");
}

#[tokio::test]
async fn a_connection_that_breaks_fails_the_scrape() {
    let server = Server::raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\na 1\n").await;
    let error = Scraper::new().error(&server).await;
    assert!(error.starts_with("the answer broke off: "), "{error}");
}

#[tokio::test]
async fn a_target_that_is_gone_fails_the_scrape() {
    let server = Server::start(|_| text("a 1\n")).await;
    let mut scraper = Scraper::new();
    scraper.scrape(&server).await.result.unwrap();
    server.stop().await;
    let error = scraper.error(&server).await;
    assert!(error.contains("refused"), "{error}");
}
