//! Shards: each sends the batches of its lane, one request at a time, so that the samples of a series arrive in order. How many there are
//! is decided in [`sizing`].

pub(crate) mod sizing;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::config::Config;
use crate::encode::{Counted, Encoder, Request, Scratch, Tally};
use crate::queue::Step;
use crate::retry::{Backoff, Verdict, judge};
use crate::send::{self, Post, PostError, Response};
use crate::shared::Shared;

/// What all shards of an endpoint need.
pub(crate) struct Sender<P> {
    pub config: Config,
    pub headers: HeaderMap,
    pub encoder: Arc<Encoder>,
    pub shared: Arc<Shared>,
    pub post: P,
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
    /// Some of its samples may be too old by now: make it again.
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
            let Built { request, whole, part, rows } = self.build();
            let counted = request.counted;
            let body = request.finish();
            self.last_bytes = body.len();
            let began = Instant::now();
            let done = counted.sent.total() == 0 || matches!(self.deliver(&body, &counted, &mut attempts).await, Outcome::Done);
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
    fn build(&mut self) -> Built {
        let Sender { encoder, shared, .. } = &*self.sender;
        let oldest = self.oldest();
        let mut request = Request::new(self.last_bytes + self.last_bytes / 8);
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
    async fn deliver(&self, body: &Bytes, counted: &Counted, attempts: &mut Attempts) -> Outcome {
        let Sender { config, shared, .. } = &*self.sender;
        loop {
            let answer = self.attempt(body.clone(), counted.sent, attempts.count).await;
            match judge(&answer, config.queue.retry_on_http_429, SystemTime::now()) {
                Verdict::Delivered => shared.delivered(counted.latest),
                Verdict::Rejected => shared.rejected(counted.sent, &describe(&answer)),
                Verdict::Again(asked) => {
                    attempts.count = attempts.count.saturating_add(1);
                    shared.retrying(counted.sent, attempts.count, &describe(&answer));
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

    async fn attempt(&self, body: Bytes, sent: Tally, retries: u32) -> Result<Response, PostError> {
        let Sender { config, headers, shared, post, .. } = &*self.sender;
        let mut headers = headers.clone();
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

/// An answer that is no success, in words.
fn describe(answer: &Result<Response, PostError>) -> String {
    match answer {
        Err(error) => error.to_string(),
        Ok(response) => format!("status {}: {}", response.status, send::excerpt(response.body_excerpt.trim())),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
