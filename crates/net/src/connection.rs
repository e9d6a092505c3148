//! A connection, and the answers that come on it.
//!
//! With HTTP/1.1 a connection serves one request at a time, so it needs no task of its own: whoever waits for the answer, or reads its
//! body, drives it. That saves two changes of tasks for each piece that comes, which for small answers cost more than reading them. And
//! between requests only the stream is kept: hyper's buffers, 16 KiB and more, are taken anew for each. An HTTP/2 connection serves many
//! requests at once and has its task.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;

use crate::pool::Place;
use crate::stream::Stream;

/// An HTTP/1.1 connection that serves a request.
pub(crate) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Stream, Full<Bytes>>,
    /// The driver has come to its end and must not be asked again.
    ended: bool,
}

/// No answer came.
pub(crate) struct Unanswered {
    pub(crate) error: hyper::Error,
    /// The request was not sent, not even in part.
    pub(crate) is_unsent: bool,
}

impl Http1 {
    pub(crate) async fn new(stream: Stream, max_buffer: usize) -> hyper::Result<Box<Self>> {
        let (sender, driver) = http1::Builder::new().max_buf_size(max_buffer).handshake(stream).await?;
        Ok(Box::new(Self { sender, driver, ended: false }))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let Self { sender, driver, ended, .. } = self;
        let mut answer = pin!(sender.try_send_request(request));
        let answered = poll_fn(|context| {
            drive(driver, ended, context);
            answer.as_mut().poll(context)
        });
        answered.await.map_err(|mut failed| Unanswered { is_unsent: failed.take_message().is_some(), error: failed.into_error() })
    }

    /// The stream, if it can serve another request: the answer has come to its end, nothing follows it, and the server keeps it open.
    fn into_free_stream(mut self) -> Option<Stream> {
        drive(&mut self.driver, &mut self.ended, &mut Context::from_waker(Waker::noop()));
        let is_free = !self.ended && self.sender.is_ready();
        let parts = self.driver.into_parts();
        (is_free && parts.read_buf.is_empty()).then_some(parts.io)
    }
}

/// Lets a connection read and write what it can.
fn drive(driver: &mut http1::Connection<Stream, Full<Bytes>>, ended: &mut bool, context: &mut Context<'_>) {
    // An error reaches whoever waits for the answer.
    *ended = *ended || Pin::new(driver).poll(context).is_ready();
}

/// The body of an answer. Reading it to its end frees its connection for further requests; dropping it before closes an HTTP/1.1
/// connection.
pub struct AnswerBody {
    incoming: Incoming,
    /// The connection that it comes on, and where that goes afterwards.
    connection: Option<(Box<Http1>, Place)>,
}

impl AnswerBody {
    pub(crate) fn new(incoming: Incoming, connection: Box<Http1>, place: Place) -> Self {
        let mut answer = Self { incoming, connection: Some((connection, place)) };
        answer.release_at_end();
        answer
    }

    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((connection, place)) = self.connection.take()
            && let Some(stream) = connection.into_free_stream()
        {
            place.give_back(stream);
        }
    }
}

impl From<Incoming> for AnswerBody {
    /// The body of an answer whose connection somebody else drives.
    fn from(incoming: Incoming) -> Self {
        Self { incoming, connection: None }
    }
}

impl fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerBody")
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let mut frame = Pin::new(&mut this.incoming).poll_frame(context);
        if let (Poll::Pending, Some((connection, _))) = (&frame, &mut this.connection) {
            drive(&mut connection.driver, &mut connection.ended, context);
            frame = Pin::new(&mut this.incoming).poll_frame(context);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) => this.release_at_end(),
            Poll::Ready(None) => this.release(),
            Poll::Ready(Some(Err(_))) => this.connection = None,
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
