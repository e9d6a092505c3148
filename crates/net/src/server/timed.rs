//! A connection with deadlines: for the request that is coming in, for the answer that the client takes, and for idleness. hyper has one
//! timer for the first and the last, and none for the answer; Alloy's users have three.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a connection's requests tell its socket.
#[derive(Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    running: AtomicUsize,
    /// Whoever reads, while a request runs: idleness begins with the request's end, and nothing else would wake it then.
    reader: AtomicWaker,
}

impl Activity {
    /// Notes that a request's head is there; it runs until the result is dropped.
    pub fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        Running(self.clone())
    }
}

/// A request that is being answered.
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        self.0.reader.wake();
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// From the first byte of a request to its head's last; its body has as long again.
    pub read: Duration,
    /// From a moment at which the client takes nothing to one at which it does.
    pub write: Duration,
    /// Without a request.
    pub idle: Duration,
}

/// See the module.
pub(super) struct Timed<S> {
    stream: S,
    timeouts: Timeouts,
    activity: Arc<Activity>,
    /// Requests that had begun when the reading deadline was set.
    begun: u64,
    /// Whether the deadline is that of a request that is coming in, not that of idleness.
    incoming: bool,
    reading: Pin<Box<Sleep>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// A connection that has been opened just now: its first request is expected like one that has begun.
    pub fn new(stream: S, timeouts: Timeouts, activity: Arc<Activity>) -> Self {
        let reading = Box::pin(sleep(timeouts.read));
        Self { stream, timeouts, activity, begun: 0, incoming: true, reading, writing: None }
    }

    /// Sets the deadline anew if a request has begun since it was set.
    fn settle(&mut self) {
        let begun = self.activity.begun.load(Relaxed);
        if begun != self.begun {
            self.begun = begun;
            self.incoming = false;
            self.reading.as_mut().reset(Instant::now() + self.timeouts.idle);
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what.to_owned())
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.settle();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                if !this.incoming && this.activity.running.load(Relaxed) == 0 {
                    this.incoming = true;
                    this.reading.as_mut().reset(Instant::now() + this.timeouts.read);
                }
                Poll::Ready(outcome)
            }
            // While a request runs, its body has a deadline of its own.
            Poll::Pending if this.activity.running.load(Relaxed) > 0 => {
                this.activity.reader.register(cx.waker());
                this.begun = this.begun.wrapping_sub(1); // idleness counts from the request's end
                Poll::Pending
            }
            Poll::Pending if this.reading.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Err(timed_out(if this.incoming { "the request did not come in time" } else { "idle for too long" })))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Timed<S> {
    /// Bounds how long the client may take nothing.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let write = self.timeouts.write;
        let deadline = self.writing.get_or_insert_with(|| Box::pin(sleep(write)));
        match deadline.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the answer was not taken in time"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(30), write: Duration::from_secs(20), idle: Duration::from_secs(120) };

    fn pair() -> (Timed<DuplexStream>, DuplexStream, Arc<Activity>) {
        let (server, client) = duplex(4);
        let activity = Arc::new(Activity::default());
        (Timed::new(server, TIMEOUTS, activity.clone()), client, activity)
    }

    async fn read(server: &mut Timed<DuplexStream>) -> io::Result<usize> {
        server.read(&mut [0; 16]).await
    }

    /// Seconds until reading gives up.
    async fn gives_up(server: &mut Timed<DuplexStream>) -> u64 {
        let began = Instant::now();
        let error = read(server).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_connects_and_says_nothing_is_cut_off() {
        let (mut server, _client, _) = pair();
        assert_eq!(gives_up(&mut server).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_does_not_move_the_deadline() {
        let (mut server, mut client, _) = pair();
        let began = Instant::now();
        let trickle = async {
            for _ in 0..100 {
                sleep(Duration::from_secs(7)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            loop {
                if let Err(error) = read(&mut server).await {
                    return error;
                }
            }
        };
        tokio::select! {
            () = trickle => panic!("it was not cut off"),
            error = reading => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        }
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_deadline_holds_and_counts_from_the_end_of_the_last() {
        let (mut server, mut client, activity) = pair();
        client.write_all(b"get").await.unwrap();
        read(&mut server).await.unwrap();
        let running = activity.begin();
        // hyper looks whether the client has gone while the request runs.
        assert!(
            tokio::time::timeout(Duration::from_secs(1000), read(&mut server)).await.is_err(),
            "a running request has no deadline here"
        );
        drop(running);
        assert_eq!(gives_up(&mut server).await, 120);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_answered_at_once_is_followed_by_idleness() {
        let (mut server, mut client, activity) = pair();
        client.write_all(b"get").await.unwrap();
        read(&mut server).await.unwrap();
        drop(activity.begin());
        assert_eq!(gives_up(&mut server).await, 120);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_request_has_the_read_deadline_again() {
        let (mut server, mut client, activity) = pair();
        drop(activity.begin());
        client.write_all(b"ge").await.unwrap();
        read(&mut server).await.unwrap();
        assert_eq!(gives_up(&mut server).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let (mut server, mut client, _) = pair();
        server.write_all(b"four").await.unwrap();
        let began = Instant::now();
        assert_eq!(server.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 20);
        client.read_exact(&mut [0; 4]).await.unwrap();
        server.write_all(b"then").await.unwrap();
    }
}
