//! Questions between nodes: the asker's side waits for answers ([`Pending`]), the other side finds who can give them
//! ([`Handlers`]). What is asked and answered is the callers' business; here are the bounds of time and size.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::timeout};

use crate::transport::wire::{Response, clean};

/// Longest body of a question or an answer, bytes. The targets of 100,000 scrape targets with 20 labels each stay below it.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// Longest wait for an answer, also on the side that gives it.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Questions of this node that may wait for an answer.
const MAX_PENDING: usize = 4096;

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No live member has this name.
    #[error("no live cluster member is named \"{0}\"")]
    UnknownPeer(String),
    /// There is no stream to the peer at the moment.
    #[error("there is no stream to the cluster member \"{0}\" at the moment")]
    NotConnected(String),
    /// The question or its answer is longer than [`MAX_BODY_BYTES`].
    #[error("{0} bytes exceed the limit of {MAX_BODY_BYTES} for a message between cluster members")]
    TooLarge(usize),
    /// No answer within [`REQUEST_TIMEOUT`].
    #[error("the cluster member did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    /// Too many questions wait for answers.
    #[error("{MAX_PENDING} questions to cluster members wait for answers already")]
    Busy,
    /// The peer answered that it could not.
    #[error("the cluster member answered: {0}")]
    Failed(String),
    /// The node has shut down.
    #[error("the cluster node has shut down")]
    Stopped,
}

type Answer = Result<Bytes, RequestError>;

/// The stream that a question went over, and who waits for its answer.
type Asked = (u64, oneshot::Sender<Answer>);

/// Questions that wait for answers; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Pending {
    next_id: Arc<AtomicU64>,
    waiting: Arc<Mutex<HashMap<u64, Asked>>>,
}

/// A question that was registered. Dropping it gives the wait up.
pub(crate) struct Waiting {
    pub(crate) id: u64,
    answer: oneshot::Receiver<Answer>,
    pending: Pending,
}

impl Pending {
    /// Registers a question that goes over the stream `session`.
    pub(crate) fn register(&self, session: u64) -> Result<Waiting, RequestError> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MAX_PENDING {
            return Err(RequestError::Busy);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        waiting.insert(id, (session, sender));
        Ok(Waiting { id, answer, pending: self.clone() })
    }

    /// Takes an answer that came over `session`; one that nobody waits for, or that another peer gives, is ignored.
    pub(crate) fn answer(&self, session: u64, response: Response) {
        let mut waiting = self.waiting.lock();
        if waiting.get(&response.id).is_none_or(|(expected, _)| *expected != session) {
            return;
        }
        let Some((_, sender)) = waiting.remove(&response.id) else { return };
        let answer = match response.error.is_empty() {
            true => Ok(response.body),
            false => Err(RequestError::Failed(clean(&response.error))),
        };
        // Whoever asked may have given up.
        drop(sender.send(answer));
    }

    /// The stream is gone: its questions get no answers.
    pub(crate) fn fail(&self, session: u64, peer: &str) {
        let failed: Vec<_> = self.waiting.lock().extract_if(|_, (over, _)| *over == session).collect();
        for (_, (_, sender)) in failed {
            drop(sender.send(Err(RequestError::NotConnected(peer.to_owned()))));
        }
    }
}

impl Waiting {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Answer {
        match timeout(REQUEST_TIMEOUT, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(RequestError::Stopped),
            Err(_) => Err(RequestError::TimedOut),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.waiting.lock().remove(&self.id);
    }
}

type Handling = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;
type Handler = Arc<dyn Fn(Bytes) -> Handling + Send + Sync>;

/// Who answers which kind of question; clones share the table.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    table: Arc<ArcSwap<HashMap<String, Handler>>>,
}

impl Handlers {
    /// From now on `handler` answers questions of `kind`, in place of an earlier one.
    pub(crate) fn set<H, F>(&self, kind: &str, handler: H)
    where
        H: Fn(Bytes) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Bytes, String>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |body| Box::pin(handler(body)));
        self.table.rcu(|table| {
            let mut table = HashMap::clone(table);
            table.insert(kind.to_owned(), handler.clone());
            table
        });
    }

    /// Answers a question.
    pub(crate) async fn handle(&self, kind: &str, body: Bytes) -> Result<Bytes, String> {
        let handler = self.table.load().get(kind).cloned();
        let handler = handler.ok_or_else(|| format!("this node answers no questions of kind \"{}\"", clean(kind)))?;
        let answer = timeout(REQUEST_TIMEOUT, handler(body)).await.map_err(|_| RequestError::TimedOut.to_string())??;
        match answer.len() {
            length if length > MAX_BODY_BYTES => Err(RequestError::TooLarge(length).to_string()),
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(id: u64, error: &str) -> Response {
        Response { id, error: error.into(), body: Bytes::from_static(b"body") }
    }

    #[tokio::test]
    async fn an_answer_reaches_the_question_it_belongs_to() {
        let pending = Pending::default();
        let (first, second) = (pending.register(1).unwrap(), pending.register(1).unwrap());
        pending.answer(1, response(second.id, ""));
        pending.answer(1, response(first.id, "no idea"));
        assert_eq!(first.answer().await, Err(RequestError::Failed("no idea".into())));
        assert_eq!(second.answer().await, Ok(Bytes::from_static(b"body")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_from_another_peer_is_ignored() {
        let pending = Pending::default();
        let waiting = pending.register(1).unwrap();
        pending.answer(2, response(waiting.id, ""));
        assert_eq!(waiting.answer().await, Err(RequestError::TimedOut));
        assert!(pending.waiting.lock().is_empty(), "given up questions are forgotten");
    }

    #[tokio::test]
    async fn a_broken_stream_fails_its_questions_at_once() {
        let pending = Pending::default();
        let (lost, kept) = (pending.register(1).unwrap(), pending.register(2).unwrap());
        pending.fail(1, "a");
        assert_eq!(lost.answer().await, Err(RequestError::NotConnected("a".into())));
        pending.answer(2, response(kept.id, ""));
        assert!(kept.answer().await.is_ok());
    }

    #[tokio::test]
    async fn questions_that_wait_are_bounded() {
        let pending = Pending::default();
        let waiting: Vec<_> = (0..MAX_PENDING).map(|_| pending.register(1).unwrap()).collect();
        assert_eq!(pending.register(1).err(), Some(RequestError::Busy));
        drop(waiting);
        assert!(pending.register(1).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn handlers_answer_by_kind_within_bounds_of_time_and_size() {
        let handlers = Handlers::default();
        handlers.set("echo", |body| async { Ok(body) });
        handlers.set("slow", |_| std::future::pending());
        handlers.set("huge", |_| async { Ok(Bytes::from(vec![0; MAX_BODY_BYTES + 1])) });
        assert_eq!(handlers.handle("echo", Bytes::from_static(b"x")).await, Ok(Bytes::from_static(b"x")));
        for (kind, part) in [("slow", "10 s"), ("huge", "limit"), ("other", "no questions of kind \"other\"")] {
            let error = handlers.handle(kind, Bytes::new()).await.unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
