//! Streams as HTTP/2 requests: one POST per stream on a connection of its own, its body carrying what the opener says and the
//! response's body what the other side answers. Over TLS or in plain text (h2c with prior knowledge) on the collector's one
//! listener.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use http_body_util::{BodyDataStream, BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::AbortHandle,
};

use super::{
    ConnectError, Connector, PIPE_CHUNKS, PeerTls, Pipe, Reason,
    alloy::{self, ALLOY},
    inbound::Inbound,
    tls::{self, Verdict},
};

/// Where peers open their streams.
pub const PATH: &str = "/api/v1/cluster/stream";

/// Tells this protocol from whatever else may answer.
const CONTENT_TYPE: &str = "application/vnd.collector.cluster";

/// Window of a stream and its connection, bytes: what may be on its way at once. At 100 ms between regions this still moves
/// 10 MiB/s.
const WINDOW: u32 = 1024 * 1024;

/// Body type of the answers.
pub type StreamBody = BoxBody<Bytes, Infallible>;

/// How a request reached the listener, which says so in the request's extensions. Nothing said counts as [`Self::Plain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// In plain text.
    Plain,
    /// Over TLS, without a client certificate.
    Encrypted,
    /// Over TLS, with a client certificate that was checked against the fleet's authority.
    Verified,
}

/// Whether requests on `path` belong to the cluster: its own streams, and what Alloy's nodes send to each other.
pub fn takes(path: &str) -> bool {
    path == PATH || path.starts_with(ALLOY)
}

/// Opens streams over TCP, and TLS if there is any.
#[derive(Debug, Default)]
pub(crate) struct Http2 {
    pub(crate) tls: Option<Arc<dyn PeerTls>>,
}

#[async_trait]
impl Connector for Http2 {
    async fn connect(&self, addr: SocketAddr) -> Result<Pipe, ConnectError> {
        let socket = TcpStream::connect(addr).await.map_err(tcp_error)?;
        socket.set_nodelay(true).map_err(tcp_error)?;
        match &self.tls {
            None => open(addr, socket, None).await,
            Some(tls) => {
                let (stream, verdict) = tls::encrypt(&**tls, addr, socket).await?;
                open(addr, stream, Some(verdict)).await
            }
        }
    }
}

/// Opens the stream on a connection; with TLS there is a verdict to look at if that fails.
async fn open<S>(addr: SocketAddr, stream: S, verdict: Option<Verdict>) -> Result<Pipe, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| match &verdict {
        Some(verdict) => tls::broken(verdict),
        None => ConnectError::NotOurs(format!("the port does not answer in HTTP/2: {error}")),
    };
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let connection = Connection(tokio::spawn(connection).abort_handle());
    let (outgoing, body) = channel();
    let scheme = if verdict.is_some() { "https" } else { "http" };
    let request = Request::post(format!("{scheme}://{addr}{PATH}"))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, CONTENT_TYPE)
        .body(body.boxed())
        .map_err(|error| ConnectError::NotOurs(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    if let Err(error) = check_response(&response, verdict.is_some()) {
        let is_strange = matches!(error, ConnectError::NotOurs(_)) && response.status() != StatusCode::SERVICE_UNAVAILABLE;
        return Err(if is_strange && alloy::answers(&mut sender, scheme, addr).await { ConnectError::Alloy } else { error });
    }
    Ok(Pipe { outgoing, incoming: Box::pin(Incoming2 { body: BodyDataStream::new(response.into_body()), connection }) })
}

fn check_response(response: &Response<Incoming>, is_tls: bool) -> Result<(), ConnectError> {
    let status = response.status();
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == CONTENT_TYPE);
    match status {
        StatusCode::OK if ours => Ok(()),
        StatusCode::UPGRADE_REQUIRED => Err(tls::required(is_tls)),
        StatusCode::SERVICE_UNAVAILABLE => Err(ConnectError::NotOurs("the peer takes no further streams at the moment (503)".into())),
        status => Err(ConnectError::NotOurs(format!("{PATH} answered {status}, not as a cluster endpoint"))),
    }
}

fn tcp_error(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        _ => ConnectError::Unreachable(error.to_string()),
    }
}

/// Ends the connection with its only stream.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Incoming2 {
    body: BodyDataStream<Incoming>,
    #[expect(dead_code, reason = "held for its drop")]
    connection: Connection,
}

impl Stream for Incoming2 {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_next_unpin(context).map_err(|error| error.to_string())
    }
}

/// A body that sends what is put into a channel, as the peer makes room.
struct ChannelBody(mpsc::Receiver<Bytes>);

fn channel() -> (mpsc::Sender<Bytes>, ChannelBody) {
    let (sender, receiver) = mpsc::channel(PIPE_CHUNKS);
    (sender, ChannelBody(receiver))
}

impl Body for ChannelBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// Answers a request whose path the cluster [`takes`]: a stream if it is one, else why not. The sender's address and its
/// [`Channel`] are taken from the request's extensions if the listener put them there; the [`SocketAddr`] is only used in logs.
pub(crate) fn serve(inbound: &Inbound, request: Request<Incoming>) -> Response<StreamBody> {
    let remote = request.extensions().get::<SocketAddr>().copied();
    if request.uri().path() != PATH {
        inbound.refuse(remote, Reason::Alloy, "it speaks the protocol of Grafana Alloy's clusters");
        return refusal(StatusCode::MISDIRECTED_REQUEST, "that is a collector node: it forms no fleet with Grafana Alloy");
    }
    if let Some((status, message)) = unfit(&request) {
        return refusal(status, message);
    }
    if !inbound.has_room() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many cluster streams are being opened, or this node is going");
    }
    if inbound.needs_tls {
        let channel = request.extensions().get().copied().unwrap_or(Channel::Plain);
        if channel != Channel::Verified {
            let detail = if channel == Channel::Plain { "it does not speak TLS" } else { "it shows no certificate" };
            inbound.refuse(remote, Reason::Tls, detail);
            return refusal(StatusCode::UPGRADE_REQUIRED, "cluster streams need TLS with a certificate of the fleet's authority");
        }
    }
    let (outgoing, body) = channel();
    let incoming = BodyDataStream::new(request.into_body()).map(|chunk| chunk.map_err(|error| error.to_string()));
    let pipe = Pipe { outgoing, incoming: Box::pin(incoming) };
    tokio::spawn(inbound.clone().serve(pipe, remote));
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    response
}

fn unfit<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    if request.version() != Version::HTTP_2 {
        return Some((
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "cluster streams need HTTP/2 end to end: is there a proxy between the nodes that speaks HTTP/1?",
        ));
    }
    if request.method() != Method::POST {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "cluster streams are opened with POST"));
    }
    let ours = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == CONTENT_TYPE);
    (!ours).then_some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "this path is for streams between collectors"))
}

fn refusal(status: StatusCode, message: &'static str) -> Response<StreamBody> {
    let mut response = Response::new(Full::new(Bytes::from_static(message.as_bytes())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
