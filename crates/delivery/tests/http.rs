//! The endpoint over real HTTP/1.1 on loopback, with an implementation of [`Post`] as a component would write one.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in test functions only

mod receiver;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delivery::{Delivery, EXCERPT, Metrics, Post, PostError, Response};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prometheus::Registry;
use receiver::{Target, config, decode};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// A client without authentication.
struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Post for Http {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response, PostError> {
        let error = |error: &dyn std::error::Error| PostError(error.to_string().into());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.parse().map_err(|e: http::uri::InvalidUri| error(&e))?;
        *request.headers_mut() = headers;
        let response = self.client.request(request).await.map_err(|e| error(&e))?;
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).map(Into::into);
        let (status, written) = (response.status().as_u16(), delivery::written(response.headers()));
        let body = Limited::new(response.into_body(), 64 * EXCERPT).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Response { status, retry_after, written, body_excerpt: String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]).into() })
    }
}

type Arrived = Arc<Mutex<Vec<(StatusCode, HeaderMap, Bytes)>>>;

/// Answers one connection's requests: every third with 503, every fifth with 400.
async fn answer(request: Request<Incoming>, arrived: Arrived) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut arrived = arrived.lock();
    let (status, text) = match arrived.len() + 1 {
        n if n % 3 == 0 => (StatusCode::SERVICE_UNAVAILABLE, "later"),
        n if n % 5 == 0 => (StatusCode::BAD_REQUEST, "never"),
        _ => (StatusCode::NO_CONTENT, ""),
    };
    arrived.push((status, head.headers, body));
    let mut response = http::Response::new(Full::from(text));
    *response.status_mut() = status;
    Ok(response)
}

/// A receiver on a port that the system gives.
async fn serve(arrived: Arrived) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let arrived = arrived.clone();
            let service = service_fn(move |request| answer(request, arrived.clone()));
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

#[tokio::test]
async fn requests_cross_a_real_connection_and_only_rejected_ones_are_missing() {
    let arrived = Arrived::default();
    let address = serve(arrived.clone()).await;
    let post = Http { client: Client::builder(TokioExecutor::new()).build_http(), url: format!("http://{address}/api/v1/push") };
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let delivery = Delivery::start(config(|config| config.queue.max_samples_per_send = 100), post, &metrics, &Handle::current()).unwrap();
    let target = Target::new(1, 100);
    for scrape in 0..10 {
        delivery.consumer().consume(target.batch(scrape)).unwrap();
    }
    assert_eq!(delivery.shutdown(Duration::from_secs(20)).await.lost, 0);

    let arrived = arrived.lock();
    let with = |status: StatusCode| arrived.iter().filter(move |one| one.0 == status);
    assert!(with(StatusCode::SERVICE_UNAVAILABLE).count() >= 3);
    let of_scrape = |body: &Bytes| decode(body)[0].1 - receiver::NOW;
    let judged: Vec<i64> = arrived.iter().filter(|one| one.0 != StatusCode::SERVICE_UNAVAILABLE).map(|one| of_scrape(&one.2)).collect();
    assert_eq!(judged, (0..10).collect::<Vec<i64>>(), "each scrape was judged once, in order");
    assert!(with(StatusCode::BAD_REQUEST).count() >= 1);
    for (_, headers, body) in with(StatusCode::NO_CONTENT) {
        assert_eq!(headers.get("x-prometheus-remote-write-version").unwrap(), "0.1.0");
        assert_eq!(headers.get("content-length").unwrap().to_str().unwrap(), body.len().to_string());
        assert_eq!(decode(body), target.samples(of_scrape(body)));
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again_until_the_deadline() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port(); // closed again at once
    let post = Http { client: Client::builder(TokioExecutor::new()).build_http(), url: format!("http://127.0.0.1:{port}/") };
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let delivery = Delivery::start(config(|_| {}), post, &metrics, &Handle::current()).unwrap();
    delivery.consumer().consume(Target::new(1, 10).batch(0)).unwrap();
    assert_eq!(delivery.shutdown(Duration::from_millis(200)).await.lost, 10);
}
