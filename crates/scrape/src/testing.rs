//! Targets and a transport for the tests: real HTTP over loopback.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::fetch::{Send, Transport, TransportError};

/// What a body does when its pieces are sent.
#[derive(Clone)]
pub(crate) enum Then {
    End,
    Hang,
    Repeat(Bytes),
}

/// A body in pieces.
#[derive(Clone)]
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    then: Then,
}

impl Pieces {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Bytes>, then: Then) -> Self {
        Self { pieces: pieces.into_iter().collect(), then }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(piece) = self.pieces.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &self.then {
            Then::End => Poll::Ready(None),
            Then::Hang => Poll::Pending,
            Then::Repeat(piece) => Poll::Ready(Some(Ok(Frame::data(piece.clone())))),
        }
    }
}

/// A target's answer: 200, text, this body.
pub(crate) fn text(body: impl Into<Bytes>) -> Response<Pieces> {
    let mut response = Response::new(Pieces::new([body.into()], Then::End));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}

/// A target. It stops when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// A target that answers every request with what `answer` gives.
    pub(crate) async fn start(answer: impl Fn(Request<Incoming>) -> Response<Pieces> + std::marker::Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::accept(move |stream| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    let response = answer(request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// A target that answers whatever it is asked with these bytes, and closes.
    pub(crate) async fn raw(bytes: &'static [u8]) -> Self {
        Self::accept(move |mut stream| async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
        })
        .await
    }

    /// Closes the port; only then it comes back.
    pub(crate) async fn stop(&self) {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    async fn accept<F>(serve: impl Fn(TcpStream) -> F + std::marker::Send + 'static) -> Self
    where
        F: Future<Output = ()> + std::marker::Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { address, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A transport without anything: one connection per request.
pub(crate) struct Plain;

impl Transport for Plain {
    fn send(&self, mut request: Request<Full<Bytes>>) -> Send<'_> {
        Box::pin(async move {
            let failed = |error: &dyn std::error::Error| TransportError::new(&error.to_string());
            let authority = request.uri().authority().cloned().ok_or(TransportError::new("no host"))?;
            let stream = TcpStream::connect(authority.as_str()).await.map_err(|error| failed(&error))?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
            tokio::spawn(connection);
            let path = request.uri().path_and_query().map_or("/".to_owned(), ToString::to_string);
            request.headers_mut().insert(header::HOST, HeaderValue::try_from(authority.as_str()).unwrap());
            *request.uri_mut() = path.parse().unwrap();
            sender.send_request(request).await.map(|response| response.map(Into::into)).map_err(|error| failed(&error))
        })
    }
}
