//! What targets say about metric families, sent from time to time beside remote write 1.0, whose series can't carry it. As in Prometheus:
//! every interval all that is known, in requests of bounded size, one after the other, sent again until the receiver has judged them.
//! With 2.0 metadata goes with each series, and this sends nothing.

mod families;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use model::Metadata;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

pub(crate) use families::Families;

use crate::config::MetadataConfig;
use crate::dialect::{Compression, Next};
use crate::encode::{Message, Scratch, Tally, metadata_request};
use crate::retry::{Asked, Backoff, Verdict, judge};
use crate::send::{self, Post};
use crate::shards::{Sender, describe};

/// Sends what is known every interval; never ends.
pub(crate) async fn run<P: Post>(sender: Arc<Sender<P>>, config: MetadataConfig) {
    let mut ticks = interval_at(Instant::now() + config.interval, config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (families, dropped) = sender.shared.families.collect();
        sender.shared.metrics.metadata_dropped.inc_by(dropped as u64);
        for families in families.chunks(config.max_per_send) {
            send(&sender, families).await;
        }
    }
}

/// Sends one request until the receiver has judged it.
async fn send<P: Post>(sender: &Sender<P>, families: &[Arc<Metadata>]) {
    let Sender { config, shared, negotiation, .. } = sender;
    let metrics = &shared.metrics;
    let mut backoff = Backoff::new(config.queue.min_backoff, config.queue.max_backoff);
    let mut attempts = 0_u32;
    loop {
        let (dialect, confirmed) = negotiation.current(Instant::now());
        if dialect.message != Message::V1 {
            return; // it goes with the series now
        }
        let body = body(families, dialect.compression);
        let mut headers = send::headers(&config.user_agent, dialect);
        if attempts > 0 {
            headers.insert(send::RETRY_ATTEMPT, attempts.into());
        }
        let answer = attempt(sender, headers, &body).await;
        let asked = Asked { sent: Tally::default(), dialect, confirmed, retry_on_429: config.queue.retry_on_http_429 };
        match judge(&answer, asked, SystemTime::now()) {
            Verdict::Delivered { .. } => {
                metrics.metadata.inc_by(families.len() as u64);
                metrics.metadata_bytes.inc_by(body.len() as u64);
                return;
            }
            Verdict::Again(asked) => {
                attempts = attempts.saturating_add(1);
                metrics.metadata_retried.inc_by(families.len() as u64);
                shared.metadata_failed(&describe(&answer), true);
                sleep(backoff.pause(asked, rand::random())).await;
            }
            Verdict::Foreign(what) => match negotiation.not_understood(dialect, what, Instant::now()) {
                Next::SendAgain { news } => shared.fell_back(Tally::default(), news, &describe(&answer)),
                Next::GiveUp => return failed(sender, families, &describe(&answer)),
            },
            Verdict::Rejected { .. } => return failed(sender, families, &describe(&answer)),
        }
    }
}

fn failed<P: Post>(sender: &Sender<P>, families: &[Arc<Metadata>], message: &str) {
    sender.shared.metrics.metadata_failed.inc_by(families.len() as u64);
    sender.shared.metadata_failed(message, false);
}

async fn attempt<P: Post>(sender: &Sender<P>, headers: HeaderMap, body: &Bytes) -> Result<send::Response, send::PostError> {
    let answer = timeout(sender.config.remote_timeout, sender.post.post(headers, body.clone())).await;
    answer.unwrap_or_else(|_| Err(send::PostError("no answer to metadata in time".into())))
}

fn body(families: &[Arc<Metadata>], compression: Compression) -> Bytes {
    let mut scratch = Scratch::default(); // once a minute: nothing to keep
    let body = metadata_request(families, &mut scratch);
    match compression {
        Compression::Snappy => body,
        Compression::Zstd => scratch.to_zstd(&body).unwrap_or(body),
    }
}
