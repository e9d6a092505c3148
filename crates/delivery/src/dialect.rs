//! How an endpoint is spoken to: the message and compression that are configured, or less as long as its receiver does not understand them.
//! Pure; `shards` asks before each request and tells what came of it.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::encode::Message;

/// What was not understood is tried again so much later: receivers get updated, and a try costs up to three requests that are sent again.
const RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Snappy's block format, which every receiver takes.
    #[default]
    Snappy,
    /// Zstandard, which some take: half the bytes for ten times the time.
    Zstd,
}

/// A message and how it is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The message.
    pub message: Message,
    /// The compression.
    pub compression: Compression,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.message {
            Message::V1 => "remote write 1.0",
            Message::V2 => "remote write 2.0",
        })?;
        f.write_str(match self.compression {
            Compression::Snappy => "",
            Compression::Zstd => " with zstd",
        })
    }
}

/// What a receiver does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It did not say.
    Unknown,
    /// The message.
    Message,
    /// The compression.
    Compression,
}

/// See the module.
pub(crate) struct Negotiation {
    wanted: Dialect,
    state: Mutex<State>,
}

struct State {
    now: Dialect,
    /// Whether a request in this dialect was taken.
    confirmed: bool,
    /// Whether the receiver is known not to decompress zstd, whatever the message.
    no_zstd: bool,
    /// When to try the wanted dialect again.
    retry_at: Option<Instant>,
    /// What was settled on before, so that the same outcome is not news.
    known: Option<Dialect>,
}

/// What to do after a request was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send again, in the dialect that is current now.
    SendAgain {
        /// The dialect that was given up, if this request made the difference and it was not known before.
        news: Option<Dialect>,
    },
    /// There is nothing less to fall back to.
    GiveUp,
}

impl Negotiation {
    pub fn new(wanted: Dialect) -> Self {
        Self { wanted, state: Mutex::new(State { now: wanted, confirmed: false, no_zstd: false, retry_at: None, known: None }) }
    }

    /// The dialect to use now, and whether the receiver is known to understand it.
    pub fn current(&self, now: Instant) -> (Dialect, bool) {
        let mut state = self.state.lock();
        if state.retry_at.is_some_and(|at| at <= now) {
            *state = State { now: self.wanted, confirmed: false, no_zstd: false, retry_at: None, known: Some(state.now) };
        }
        (state.now, state.confirmed)
    }

    /// Notes that the receiver took a request in `dialect`; true if that is news.
    pub fn understood(&self, dialect: Dialect) -> bool {
        let mut state = self.state.lock();
        if state.now != dialect || std::mem::replace(&mut state.confirmed, true) {
            return false;
        }
        state.known.replace(dialect).is_some_and(|known| known != dialect)
    }

    /// Notes that the receiver did not understand `dialect`.
    pub fn not_understood(&self, dialect: Dialect, what: Foreign, now: Instant) -> Next {
        let mut state = self.state.lock();
        if state.now != dialect {
            return Next::SendAgain { news: None }; // another request has been through this already
        }
        state.no_zstd |= what == Foreign::Compression;
        let Some(less) = self.less(dialect, what, state.no_zstd) else { return Next::GiveUp };
        (state.now, state.confirmed) = (less, false);
        state.retry_at.get_or_insert(now + RETRY_AFTER);
        Next::SendAgain { news: state.known.is_none().then_some(dialect) }
    }

    /// What to try after `dialect`: the message without compression of its own, then the older message in the same order.
    fn less(&self, dialect: Dialect, what: Foreign, no_zstd: bool) -> Option<Dialect> {
        let may_be_compression = dialect.compression == Compression::Zstd && what != Foreign::Message;
        match (may_be_compression, dialect.message) {
            (true, message) => Some(Dialect { message, compression: Compression::Snappy }),
            (false, Message::V2) if what != Foreign::Compression => {
                let compression = if no_zstd { Compression::Snappy } else { self.wanted.compression };
                Some(Dialect { message: Message::V1, compression })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Dialect = Dialect { message: Message::V1, compression: Compression::Snappy };
    const V2: Dialect = Dialect { message: Message::V2, compression: Compression::Snappy };
    const V1_ZSTD: Dialect = Dialect { message: Message::V1, compression: Compression::Zstd };
    const V2_ZSTD: Dialect = Dialect { message: Message::V2, compression: Compression::Zstd };

    fn again(news: Option<Dialect>) -> Next {
        Next::SendAgain { news }
    }

    /// What is tried if the receiver only says that it does not understand.
    fn tried(wanted: Dialect) -> Vec<Dialect> {
        let (negotiation, now) = (Negotiation::new(wanted), Instant::now());
        let mut tried = vec![wanted];
        while negotiation.not_understood(negotiation.current(now).0, Foreign::Unknown, now) != Next::GiveUp {
            tried.push(negotiation.current(now).0);
        }
        tried
    }

    #[test]
    fn everything_less_is_tried_and_the_oldest_is_never_given_up() {
        assert_eq!(tried(V1), [V1]);
        assert_eq!(tried(V1_ZSTD), [V1_ZSTD, V1]);
        assert_eq!(tried(V2), [V2, V1]);
        assert_eq!(tried(V2_ZSTD), [V2_ZSTD, V2, V1_ZSTD, V1]);
    }

    #[test]
    fn only_what_is_foreign_is_given_up() {
        let (negotiation, now) = (Negotiation::new(V2_ZSTD), Instant::now());
        assert_eq!(negotiation.not_understood(V2_ZSTD, Foreign::Message, now), again(Some(V2_ZSTD)));
        assert_eq!(negotiation.current(now), (V1_ZSTD, false));
        assert_eq!(negotiation.not_understood(V1_ZSTD, Foreign::Compression, now), again(Some(V1_ZSTD)));
        assert_eq!(negotiation.current(now), (V1, false));
        let prometheus = Negotiation::new(V2_ZSTD);
        prometheus.not_understood(V2_ZSTD, Foreign::Compression, now);
        prometheus.not_understood(V2, Foreign::Message, now);
        assert_eq!(prometheus.current(now).0, V1, "zstd was not understood with 2.0 either");
        let other = Negotiation::new(V2);
        assert_eq!(other.not_understood(V2, Foreign::Compression, now), Next::GiveUp);
    }

    #[test]
    fn requests_that_were_under_way_change_nothing() {
        let (negotiation, now) = (Negotiation::new(V2), Instant::now());
        negotiation.not_understood(V2, Foreign::Message, now);
        assert_eq!(negotiation.not_understood(V2, Foreign::Message, now), again(None));
        assert!(!negotiation.understood(V2));
        assert_eq!(negotiation.current(now), (V1, false));
        assert!(!negotiation.understood(V1));
        assert_eq!(negotiation.current(now), (V1, true));
    }

    #[test]
    fn what_was_given_up_is_tried_again_later_without_news_if_nothing_changed() {
        let (negotiation, start) = (Negotiation::new(V2), Instant::now());
        negotiation.not_understood(V2, Foreign::Message, start);
        negotiation.understood(V1);
        assert_eq!(negotiation.current(start + RETRY_AFTER / 2).0, V1);
        let later = start + RETRY_AFTER;
        assert_eq!(negotiation.current(later), (V2, false));
        assert_eq!(negotiation.not_understood(V2, Foreign::Message, later), again(None), "known already");
        assert!(!negotiation.understood(V1));
        let later = later + RETRY_AFTER;
        assert_eq!(negotiation.current(later).0, V2);
        assert!(negotiation.understood(V2), "the receiver was updated: that is news");
        assert_eq!(negotiation.current(later + 2 * RETRY_AFTER), (V2, true));
    }
}
