//! A way to a node on which somebody listens: it notes what is said to the node, and can repeat a piece of it.

#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::AbortHandle,
};

/// What begins an HTTP/2 connection, before its frames.
const PREFACE: usize = 24;
/// Length, type, flags, stream.
const HEADER: usize = 9;
const DATA: u8 = 0;

/// What was said, by connection.
type Recorded = Arc<Mutex<Vec<Said>>>;

#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    /// Where the last piece of a body ends.
    end_of_data: usize,
}

/// A running relay.
pub struct Relay {
    pub addr: SocketAddr,
    recorded: Recorded,
    repeat: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// A relay to the node at `to`.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (recorded, repeat) = (Recorded::default(), Arc::<AtomicBool>::default());
        let shared = (recorded.clone(), repeat.clone());
        let task = tokio::spawn(async move {
            while let Ok((from, _)) = listener.accept().await {
                let (recorded, repeat) = shared.clone();
                let Ok(to) = TcpStream::connect(to).await else { continue };
                let number = recorded.lock().len();
                recorded.lock().push(Said::default());
                let ((from, mut back), (mut answers, to)) = (from.into_split(), to.into_split());
                // Either side may go at any time.
                tokio::spawn(async move { drop(copy(&mut answers, &mut back).await) });
                tokio::spawn(async move { drop(pass(from, to, recorded, number, repeat).await) });
            }
        });
        Self { addr, recorded, repeat, task: task.abort_handle() }
    }

    /// What was said so far, by connection, without a goodbye: a stream that is reset at once is not even looked at.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.recorded.lock().iter().map(|recorded| recorded.bytes[..recorded.end_of_data].to_vec()).collect()
    }

    /// The next piece of a body is said twice.
    pub fn repeat_next_data(&self) {
        self.repeat.store(true, Ordering::Relaxed);
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    recorded: Recorded,
    number: usize,
    repeat: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let mut preface = vec![0; PREFACE];
    from.read_exact(&mut preface).await?;
    recorded.lock()[number].bytes.extend(&preface);
    to.write_all(&preface).await?;
    loop {
        let mut frame = vec![0; HEADER];
        from.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize;
        frame.resize(HEADER + length, 0);
        from.read_exact(&mut frame[HEADER..]).await?;
        note(&mut recorded.lock()[number], &frame);
        to.write_all(&frame).await?;
        if frame[3] == DATA && length > 0 && repeat.swap(false, Ordering::Relaxed) {
            to.write_all(&frame).await?;
        }
    }
}

fn note(said: &mut Said, frame: &[u8]) {
    said.bytes.extend(frame);
    if frame[3] == DATA {
        said.end_of_data = said.bytes.len();
    }
}

/// Says to a node what somebody else has said to it. The connection stays open until the caller has seen what comes of it.
pub async fn say(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // It may have closed before all was said.
    drop(socket.write_all(bytes).await);
    socket
}
