//! When to send again: what an answer means, how long to wait, and what `Retry-After` says. Pure; the waiting is done by `shards`.
//! Rules: the remote write specification's "Retries & Backoff", with jitter, which Prometheus lacks, so that a fleet does not return in step.

use std::time::{Duration, SystemTime};

use crate::send::{PostError, Response};

/// A receiver can't make us wait longer than this; longer pauses are for people, and a queue would overflow meanwhile.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// `Retry-After` is stretched by up to this part, so that not all senders come back at once.
const RETRY_AFTER_JITTER: f64 = 0.1;

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Delivered,
    /// To be sent again, not before this time if the receiver named one.
    Again(Option<Duration>),
    /// The receiver will never take it.
    Rejected,
}

/// What an answer means. `now` is for `Retry-After` with a date.
pub fn judge(answer: &Result<Response, PostError>, retry_on_429: bool, now: SystemTime) -> Verdict {
    let Ok(response) = answer else { return Verdict::Again(None) };
    match response.status {
        200..300 => Verdict::Delivered,
        429 if retry_on_429 => Verdict::Again(retry_after(response, now)),
        500..600 => Verdict::Again(retry_after(response, now)),
        _ => Verdict::Rejected,
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

    fn answer(status: u16, retry_after: Option<&str>) -> Result<Response, PostError> {
        Ok(Response { status, retry_after: retry_after.map(Into::into), body_excerpt: "".into() })
    }

    fn verdict(status: u16, retry_after: Option<&str>) -> Verdict {
        // 1994-11-06 08:49:37 UTC
        judge(&answer(status, retry_after), true, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn success_is_delivered_and_server_errors_come_again() {
        for status in [200, 202, 204] {
            assert_eq!(verdict(status, None), Verdict::Delivered);
        }
        for status in [500, 502, 503, 504, 599, 429] {
            assert_eq!(verdict(status, None), Verdict::Again(None), "{status}");
        }
        assert_eq!(judge(&Err(PostError("refused".into())), true, SystemTime::now()), Verdict::Again(None));
    }

    #[test]
    fn what_the_receiver_will_never_take_is_rejected() {
        for status in [301, 400, 401, 403, 404, 408, 409, 413, 415, 422] {
            assert_eq!(verdict(status, Some("1")), Verdict::Rejected, "{status}");
        }
        assert_eq!(judge(&answer(429, None), false, SystemTime::now()), Verdict::Rejected, "if 429 is not to be sent again");
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
