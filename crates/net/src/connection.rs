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
    /// None when it has come to its end. It is dropped then, as that is what tells those who wait for something of it.
    driver: Option<http1::Connection<Stream, Full<Bytes>>>,
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
        Ok(Box::new(Self { sender, driver: Some(driver) }))
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        });
        answered.await.map_err(|mut failed| Unanswered { is_unsent: failed.take_message().is_some(), error: failed.into_error() })
    }

    /// Lets the connection read and write what it can.
    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            self.driver = None; // if with an error, that has reached whoever waits for the answer
        }
    }

    /// The stream, if it can serve another request: the answer has come to its end, nothing follows it, and the server keeps it open.
    fn into_free_stream(mut self) -> Option<Stream> {
        self.drive(&mut Context::from_waker(Waker::noop()));
        // Ready: hyper has written all of the last request, as streams write vectored and so nothing is copied into a buffer of its own.
        let parts = self.driver.filter(|_| self.sender.is_ready())?.into_parts();
        parts.read_buf.is_empty().then_some(parts.io)
    }
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
            connection.drive(context);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stream::Open;

    #[tokio::test]
    async fn a_connection_that_is_closed_before_the_request_is_seen_says_so_at_once() {
        // As after a FIN: there is nothing to read any more, and writing works.
        let half_closed = tokio::io::join(tokio::io::empty(), tokio::io::sink());
        let mut connection = Http1::new(Stream::new(Box::new(half_closed), false, false, Open::new(0)), 8192).await.unwrap();
        let request = Request::get("/").body(Full::default()).unwrap();
        let unanswered = tokio::time::timeout(Duration::from_secs(5), connection.exchange(request)).await.unwrap().unwrap_err();
        assert!(unanswered.is_unsent || unanswered.error.is_incomplete_message(), "{}", unanswered.error);
    }
}
