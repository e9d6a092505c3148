//! When to send again: what an answer means, how long to wait, and what `Retry-After` says. Pure; the waiting is done by `shards`.
//! Rules: the remote write specification's "Retries & Backoff", with jitter, which Prometheus lacks, so that a fleet does not return in step.

use std::time::{Duration, SystemTime};

use crate::dialect::{Compression, Dialect, Foreign};
use crate::encode::{Message, Tally};
use crate::send::{PostError, Response};

/// A receiver can't make us wait longer than this; longer pauses are for people, and a queue would overflow meanwhile.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// `Retry-After` is stretched by up to this part, so that not all senders come back at once.
const RETRY_AFTER_JITTER: f64 = 0.1;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it, or most of it.
    Delivered {
        /// What it says that it did not write.
        lost: Tally,
    },
    /// To be sent again, not before this time if the receiver named one.
    Again(Option<Duration>),
    /// The receiver will never take it, or not all of it.
    Rejected {
        /// What it did not write.
        lost: Tally,
    },
    /// The receiver does not understand this.
    Foreign(Foreign),
}

/// A request, as far as it matters for what an answer means.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What was sent.
    pub sent: Tally,
    /// How.
    pub dialect: Dialect,
    /// Whether the receiver took a request in this dialect before.
    pub confirmed: bool,
    /// Whether 429 means "later".
    pub retry_on_429: bool,
}

/// What an answer means. `now` is for `Retry-After` with a date.
pub fn judge(answer: &Result<Response, PostError>, asked: Asked, now: SystemTime) -> Verdict {
    let Ok(response) = answer else { return Verdict::Again(None) };
    let zstd = asked.dialect.compression == Compression::Zstd;
    let v2 = asked.dialect.message == Message::V2;
    match response.status {
        // A receiver of 1.0 that does not look at the content type finds nothing in a message of 2.0 and is content.
        200..300 if v2 && response.written.is_none() => Verdict::Foreign(Foreign::Message),
        200..300 => Verdict::Delivered { lost: response.written.map_or(Tally::default(), |written| asked.sent.without(written)) },
        429 if asked.retry_on_429 => Verdict::Again(retry_after(response, now)),
        500..600 => Verdict::Again(retry_after(response, now)),
        415 if v2 || zstd => Verdict::Foreign(Foreign::Unknown),
        // Receivers that can't decompress a request find it malformed.
        400 if zstd && !asked.confirmed => Verdict::Foreign(Foreign::Compression),
        _ => Verdict::Rejected { lost: asked.sent.without(response.written.unwrap_or_default()) },
    }
}

/// How long the receiver asks to wait: seconds or an HTTP date (RFC 9110, 10.2.3); nothing if it can't be read.
fn retry_after(response: &Response, now: SystemTime) -> Option<Duration> {
    let text = response.retry_after.as_deref()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// The pauses between attempts of one request.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses of `min`, doubling up to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { next: min, max }
    }

    /// The next pause: at least what the receiver `asked`, otherwise between half and all of the step. `random` is from 0 to 1.
    pub fn pause(&mut self, asked: Option<Duration>, random: f64) -> Duration {
        if let Some(asked) = asked.filter(|asked| !asked.is_zero()) {
            return asked.mul_f64(1.0 + RETRY_AFTER_JITTER * random);
        }
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(0.5 + 0.5 * random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Tally = Tally { samples: 10, histograms: 3, exemplars: 2 };

    fn answer(status: u16, retry_after: Option<&str>) -> Result<Response, PostError> {
        Ok(Response { status, retry_after: retry_after.map(Into::into), ..Response::default() })
    }

    fn asked(message: Message, compression: Compression) -> Asked {
        Asked { sent: SENT, dialect: Dialect { message, compression }, confirmed: false, retry_on_429: true }
    }

    fn plain() -> Asked {
        asked(Message::V1, Compression::Snappy)
    }

    fn verdict(status: u16, retry_after: Option<&str>) -> Verdict {
        // 1994-11-06 08:49:37 UTC
        judge(&answer(status, retry_after), plain(), SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    /// The verdict on an answer that says how many samples were written.
    fn written(status: u16, asked: Asked, samples: Option<usize>) -> Verdict {
        let written = samples.map(|samples| Tally { samples, histograms: 3, exemplars: 0 });
        judge(&Ok(Response { status, written, ..Response::default() }), asked, SystemTime::now())
    }

    const ALL: Verdict = Verdict::Delivered { lost: Tally { samples: 0, histograms: 0, exemplars: 0 } };
    const NEVER: Verdict = Verdict::Rejected { lost: SENT };

    #[test]
    fn success_is_delivered_and_server_errors_come_again() {
        for status in [200, 202, 204] {
            assert_eq!(verdict(status, None), ALL);
        }
        for status in [500, 502, 503, 504, 599, 429] {
            assert_eq!(verdict(status, None), Verdict::Again(None), "{status}");
        }
        assert_eq!(judge(&Err(PostError("refused".into())), plain(), SystemTime::now()), Verdict::Again(None));
    }

    #[test]
    fn what_the_receiver_will_never_take_is_rejected() {
        for status in [301, 400, 401, 403, 404, 408, 409, 413, 415, 422] {
            assert_eq!(verdict(status, Some("1")), NEVER, "{status}");
        }
        let rejects_429 = Asked { retry_on_429: false, ..plain() };
        assert_eq!(judge(&answer(429, None), rejects_429, SystemTime::now()), NEVER, "if 429 is not to be sent again");
    }

    #[test]
    fn success_that_does_not_say_what_was_written_is_none_on_2_0() {
        let v2 = asked(Message::V2, Compression::Snappy);
        for status in [200, 204] {
            assert_eq!(written(status, v2, None), Verdict::Foreign(Foreign::Message));
            assert_eq!(written(status, v2, Some(10)), Verdict::Delivered { lost: Tally { exemplars: 2, ..Tally::default() } });
            assert_eq!(written(status, plain(), None), ALL);
        }
    }

    #[test]
    fn what_was_not_written_is_lost_and_the_rest_is_not() {
        for asked in [plain(), asked(Message::V2, Compression::Snappy)] {
            let lost = Tally { samples: 6, histograms: 0, exemplars: 2 };
            assert_eq!(written(400, asked, Some(4)), Verdict::Rejected { lost });
            assert_eq!(written(200, asked, Some(4)), Verdict::Delivered { lost });
            assert_eq!(written(500, asked, Some(4)), Verdict::Again(None), "all of it again, if the receiver wants that");
        }
    }

    #[test]
    fn unsupported_is_told_from_malformed_by_what_was_sent() {
        use Compression::{Snappy, Zstd};
        let verdict = |status, asked| judge(&answer(status, None), asked, SystemTime::now());
        let foreign = Verdict::Foreign;
        assert_eq!(verdict(415, asked(Message::V2, Snappy)), foreign(Foreign::Unknown));
        assert_eq!(verdict(415, asked(Message::V1, Zstd)), foreign(Foreign::Unknown));
        assert_eq!(verdict(400, asked(Message::V2, Snappy)), NEVER, "a receiver of 2.0 means the samples");
        assert_eq!(verdict(400, asked(Message::V1, Zstd)), foreign(Foreign::Compression));
        assert_eq!(verdict(400, Asked { confirmed: true, ..asked(Message::V1, Zstd) }), NEVER, "it took zstd before");
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_date_and_is_bounded() {
        let wait = |text| verdict(503, Some(text));
        let seconds = |seconds| Verdict::Again(Some(Duration::from_secs(seconds)));
        assert_eq!(wait("7"), seconds(7));
        assert_eq!(wait(" 0 "), seconds(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT"), seconds(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:07 GMT"), seconds(0), "in the past");
        assert_eq!(wait("86400"), seconds(300));
        assert_eq!(wait("99999999999999999999"), Verdict::Again(None));
        assert_eq!(wait("soon"), Verdict::Again(None));
        assert_eq!(verdict(429, Some("7")), seconds(7));
    }

    #[test]
    fn pauses_double_up_to_the_maximum_with_jitter() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(30), ms(200));
        assert_eq!([(); 5].map(|()| backoff.pause(None, 1.0)), [ms(30), ms(60), ms(120), ms(200), ms(200)]);
        assert_eq!(backoff.pause(None, 0.0), ms(100));
        assert_eq!(Backoff::new(ms(30), ms(200)).pause(None, 0.0), ms(15));
    }

    #[test]
    fn a_pause_that_the_receiver_asked_for_is_never_shortened_and_does_not_double() {
        let mut backoff = Backoff::new(Duration::from_millis(30), Duration::from_secs(5));
        let asked = Some(Duration::from_secs(10));
        assert_eq!(backoff.pause(asked, 0.0), Duration::from_secs(10));
        assert_eq!(backoff.pause(asked, 1.0), Duration::from_secs(11));
        assert_eq!(backoff.pause(Some(Duration::ZERO), 1.0), Duration::from_millis(30));
    }
}
