//! Shards: each sends the batches of its lane, one request at a time, so that the samples of a series arrive in order. How many there are
//! is decided in [`sizing`].

pub(crate) mod sizing;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Config;
use crate::dialect::{Compression, Dialect, Negotiation, Next};
use crate::encode::{Counted, Encoder, Message, Request, Scratch, Tally};
use crate::queue::Step;
use crate::retry::{Asked, Backoff, Verdict, judge};
use crate::send::{self, Post, PostError, Response};
use crate::shared::Shared;

/// A receiver that has not answered for so long is taken for one that fails, as far as memory is concerned.
const SLOW: Duration = Duration::from_secs(2);

/// What all shards of an endpoint need.
pub(crate) struct Sender<P> {
    pub config: Config,
    pub encoders: Encoders,
    pub negotiation: Negotiation,
    pub shared: Arc<Shared>,
    pub post: P,
}

/// An encoder for each message.
pub(crate) struct Encoders {
    pub v1: Encoder,
    pub v2: Encoder,
}

impl Encoders {
    pub fn of(&self, message: Message) -> &Encoder {
        match message {
            Message::V1 => &self.v1,
            Message::V2 => &self.v2,
        }
    }
}

/// A shard. Runs until it is aborted; those beyond the present number of lanes just wait.
pub(crate) struct Shard<P> {
    lane: usize,
    sender: Arc<Sender<P>>,
    scratch: Box<Scratch>,
    /// Bytes of the last request: the next one will take about as many.
    last_bytes: usize,
}

/// A request, and the part of the lane that it covers.
struct Built {
    request: Request,
    whole: usize,
    part: usize,
    rows: usize,
}

/// How an attempt to get rid of a request ended.
enum Outcome {
    /// It is done with: delivered or rejected.
    Done,
    /// Some of its samples may be too old by now, or the receiver did not understand it: make it again.
    Rebuild,
}

/// The attempts at one request.
struct Attempts {
    count: u32,
    backoff: Backoff,
}

impl<P: Post> Shard<P> {
    pub fn new(lane: usize, sender: Arc<Sender<P>>) -> Self {
        Self { lane, sender, scratch: Box::default(), last_bytes: 0 }
    }

    pub async fn run(mut self) {
        let shared = self.sender.shared.clone();
        loop {
            match shared.with(|queue| queue.step(self.lane, Instant::now())) {
                Step::Send => self.send().await,
                Step::Wait(None) => shared.woken(self.lane).await,
                Step::Wait(Some(until)) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = shared.woken(self.lane) => {}
                },
            }
        }
    }

    /// Sends one request, however long it takes.
    async fn send(&mut self) {
        let queue = &self.sender.config.queue;
        let mut attempts = Attempts { count: 0, backoff: Backoff::new(queue.min_backoff, queue.max_backoff) };
        loop {
            let (dialect, _) = self.sender.negotiation.current(Instant::now());
            let Built { request, whole, part, rows } = self.build(dialect.message);
            let counted = request.counted;
            let body = self.finish(request, dialect.compression);
            let began = Instant::now();
            let done = counted.sent.total() == 0 || matches!(self.deliver(&body, &counted, dialect, &mut attempts).await, Outcome::Done);
            let (whole, part) = if done { (whole, part) } else { (0, 0) };
            self.sender.shared.change(|queue| queue.complete(self.lane, whole, part, Instant::now()));
            if done {
                self.sender.shared.metrics.left_out(&counted);
                self.sender.shared.went(rows, began.elapsed());
                return;
            }
        }
    }

    /// Makes a request of what is first in the lane.
    fn build(&mut self, message: Message) -> Built {
        let Sender { encoders, shared, .. } = &*self.sender;
        let encoder = encoders.of(message);
        let oldest = self.oldest();
        let mut request = encoder.request(self.last_bytes + self.last_bytes / 8, &mut self.scratch);
        let (mut whole, mut part, mut rows) = (0, 0, 0);
        while let Some((batch, from)) = shared.with(|queue| queue.peek(self.lane, whole)) {
            let to = encoder.add(&mut request, &batch, from, oldest, &mut self.scratch);
            rows += to - from;
            if to < batch.len() {
                part = to;
                break;
            }
            whole += 1;
        }
        let dropped = request.counted.dropped;
        shared.with(|queue| queue.note_kept(rows.saturating_sub(dropped.samples + dropped.histograms), rows));
        Built { request, whole, part, rows }
    }

    /// The body of a request. If zstd gets no memory, the request goes out as it is, and the receiver's refusal leads to snappy.
    fn finish(&mut self, request: Request, compression: Compression) -> Bytes {
        let body = request.finish(&mut self.scratch);
        self.last_bytes = body.len();
        match compression {
            Compression::Snappy => body,
            Compression::Zstd => self.scratch.to_zstd(&body).unwrap_or(body),
        }
    }

    /// The oldest timestamp that is sent, in milliseconds.
    fn oldest(&self) -> i64 {
        let limit = self.sender.config.queue.sample_age_limit;
        if limit.is_zero() {
            return i64::MIN;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or(i64::MAX) - i64::try_from(limit.as_millis()).unwrap_or(i64::MAX)
    }

    /// Sends the same bytes until the receiver has judged them.
    async fn deliver(&self, body: &Bytes, counted: &Counted, dialect: Dialect, attempts: &mut Attempts) -> Outcome {
        let Sender { config, shared, negotiation, .. } = &*self.sender;
        let sent = counted.sent;
        loop {
            let answer = self.noted(self.attempt(body.clone(), sent, dialect, attempts.count)).await;
            let (current, confirmed) = negotiation.current(Instant::now());
            let confirmed = confirmed && current == dialect;
            let asked = Asked { sent, dialect, confirmed, retry_on_429: config.queue.retry_on_http_429 };
            match judge(&answer, asked, SystemTime::now()) {
                Verdict::Delivered { lost } => {
                    if negotiation.understood(dialect) {
                        shared.understood(dialect);
                    }
                    shared.delivered(counted.latest);
                    if lost.total() > 0 {
                        shared.rejected(lost, &format!("{}, but not everything was written", describe(&answer)));
                    }
                }
                Verdict::Rejected { lost } => shared.rejected(lost, &describe(&answer)),
                Verdict::Foreign(what) => match negotiation.not_understood(dialect, what, Instant::now()) {
                    Next::SendAgain { news } => {
                        shared.fell_back(sent, news, &describe(&answer));
                        return Outcome::Rebuild;
                    }
                    Next::GiveUp => shared.rejected(sent, &describe(&answer)),
                },
                Verdict::Again(asked) => {
                    attempts.count = attempts.count.saturating_add(1);
                    shared.with(|queue| queue.note_failing());
                    shared.retrying(sent, attempts.count, &describe(&answer));
                    sleep(attempts.backoff.pause(asked, rand::random())).await;
                    if config.queue.sample_age_limit.is_zero() {
                        continue;
                    }
                    return Outcome::Rebuild;
                }
            }
            return Outcome::Done;
        }
    }

    /// Waits for an attempt, and notes if that takes long.
    async fn noted<T>(&self, attempt: impl Future<Output = T>) -> T {
        let mut attempt = pin!(attempt);
        match timeout(SLOW, &mut attempt).await {
            Ok(answer) => answer,
            Err(_) => {
                self.sender.shared.with(|queue| queue.note_failing());
                attempt.await
            }
        }
    }

    async fn attempt(&self, body: Bytes, sent: Tally, dialect: Dialect, retries: u32) -> Result<Response, PostError> {
        let Sender { config, shared, post, .. } = &*self.sender;
        let mut headers = send::headers(&config.user_agent, dialect);
        if retries > 0 {
            headers.insert(send::RETRY_ATTEMPT, HeaderValue::from(retries));
        }
        shared.metrics.count(sent, |kind| &kind.total);
        shared.metrics.bytes.inc_by(body.len() as u64);
        let began = Instant::now();
        let answer = timeout(config.remote_timeout, post.post(headers, body)).await;
        shared.metrics.duration.observe(began.elapsed().as_secs_f64());
        answer.unwrap_or_else(|_| Err(PostError(format!("no answer within {}", seconds(config.remote_timeout)).into())))
    }
}

/// An answer in words.
pub(crate) fn describe(answer: &Result<Response, PostError>) -> String {
    match answer {
        Err(error) => error.to_string(),
        Ok(response) => format!("status {}: {}", response.status, send::excerpt(response.body_excerpt.trim())),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
