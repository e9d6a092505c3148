//! Somebody who speaks the protocol between nodes by hand, well or badly: written after its description (frames, handshake, MACs), not with
//! the crate's own code, so that it also says when what crosses the wire has changed.

#![allow(dead_code, reason = "every test file uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy lets only functions marked as tests unwrap; these serve nothing else")]

use std::{convert::Infallible, net::SocketAddr};

use bytes::{Buf, Bytes, BytesMut};
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http_body_util::BodyExt;
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, sync::mpsc, task::AbortHandle};

pub const PATH: &str = "/api/v1/cluster/stream";
pub const CONTENT_TYPE: &str = "application/vnd.collector.cluster";

/// What a frame carries.
pub mod kind {
    pub const HELLO: u8 = 0;
    pub const CHALLENGE: u8 = 1;
    pub const PROOF: u8 = 2;
    pub const ACCEPT: u8 = 3;
    pub const REJECT: u8 = 4;
    pub const GOSSIP: u8 = 5;
    pub const OWNERSHIP: u8 = 6;
    pub const MEMBERS: u8 = 7;
    pub const REQUEST: u8 = 8;
}

/// What a stream is for.
#[derive(Clone, Copy)]
pub enum Intent {
    Link = 1,
    Check = 2,
}

#[derive(Clone, PartialEq, Message)]
pub struct Member {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    #[prost(string, tag = "3")]
    pub addr: String,
    #[prost(uint32, tag = "4")]
    pub state: u32,
    #[prost(uint32, tag = "5")]
    pub phase: u32,
    #[prost(bool, tag = "6")]
    pub ready: bool,
    #[prost(uint64, tag = "7")]
    pub counter: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub protocol: u32,
    #[prost(string, tag = "2")]
    pub cluster: String,
    #[prost(message, optional, tag = "3")]
    pub sender: Option<Member>,
    #[prost(bytes = "vec", tag = "4")]
    pub nonce: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub keyed: bool,
    #[prost(uint32, tag = "6")]
    pub intent: u32,
}

/// A challenge, a proof, an acceptance: bytes first, whatever they are.
#[derive(Clone, PartialEq, Message)]
pub struct First {
    #[prost(bytes = "vec", tag = "1")]
    pub bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Reject {
    #[prost(uint32, tag = "1")]
    pub reason: u32,
    #[prost(string, tag = "2")]
    pub detail: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Members {
    #[prost(message, optional, tag = "1")]
    pub sender: Option<Member>,
    #[prost(message, repeated, tag = "2")]
    pub others: Vec<Member>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Question {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub kind: String,
}

/// A node that does not exist.
pub fn nobody(name: &str) -> Member {
    Member { name: name.to_owned(), generation: 1, addr: "127.0.0.1:9".to_owned(), counter: 1, ..Member::default() }
}

/// A well-formed hello.
pub fn hello(cluster: &str, sender: Member, intent: Intent, keyed: bool) -> Hello {
    Hello { protocol: 1, cluster: cluster.to_owned(), sender: Some(sender), nonce: vec![7; 32], keyed, intent: intent as u32 }
}

/// An open stream.
pub struct Stranger {
    pub sender: mpsc::Sender<Bytes>,
    body: Incoming,
    buffer: BytesMut,
    sealing: Option<(Hmac<Sha256>, u64)>,
    sealed: bool,
    connection: AbortHandle,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Stranger {
    /// Opens a stream and says nothing.
    pub async fn dial(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect(addr).await.unwrap();
        let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let connection = tokio::spawn(connection).abort_handle();
        let (sender, receiver) = mpsc::channel::<Bytes>(4);
        let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
            let chunk = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(chunk)), receiver))
        });
        let request = Request::post(format!("http://{addr}{PATH}")).header("content-type", CONTENT_TYPE);
        let request = request.body(http_body_util::StreamBody::new(Box::pin(chunks))).unwrap();
        let response = requests.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { sender, body: response.into_body(), buffer: BytesMut::new(), sealing: None, sealed: false, connection }
    }

    /// Shakes hands as `hello` has it; what the node says at the end, or how it refuses.
    pub async fn shake(&mut self, hello: &Hello, secret: Option<&str>) -> Result<Members, Reject> {
        let hello = hello.encode_to_vec();
        self.send(kind::HELLO, &hello).await;
        let challenge = self.expect(kind::CHALLENGE).await?;
        let transcript = transcript(&hello, &challenge);
        let derived = |label: &str| derive(secret.unwrap_or_default(), label, &transcript);
        let tag = secret.map(|_| derived("collector cluster opener").to_vec()).unwrap_or_default();
        self.send(kind::PROOF, &First { bytes: tag }.encode_to_vec()).await;
        let accept = self.expect(kind::ACCEPT).await?;
        if secret.is_some() {
            let key = derived("collector cluster frames of the opener");
            self.sealing = Some((Hmac::new_from_slice(&key).unwrap(), 0));
            self.sealed = true;
        }
        Ok(Members::decode(&*First::decode(accept).unwrap().bytes).unwrap())
    }

    async fn expect(&mut self, kind: u8) -> Result<Bytes, Reject> {
        match self.next().await {
            Some((got, payload)) if got == kind => Ok(payload),
            Some((kind::REJECT, payload)) => Err(Reject::decode(payload).unwrap()),
            other => panic!("{other:?} in place of {kind}"),
        }
    }

    /// Sends a message, cut into frames if it is long; whether the stream still took it.
    pub async fn send(&mut self, kind: u8, payload: &[u8]) -> bool {
        let pieces: Vec<_> = payload.chunks(256 * 1024).collect();
        if pieces.is_empty() {
            return self.send_frame(kind, false, &[]).await;
        }
        for (index, piece) in pieces.iter().enumerate() {
            if !self.send_frame(kind, index + 1 < pieces.len(), piece).await {
                return false;
            }
        }
        true
    }

    pub async fn send_frame(&mut self, kind: u8, more: bool, payload: &[u8]) -> bool {
        let header = [kind, u8::from(more)];
        let mac = self.sealing.as_mut().map(|(key, sequence)| {
            let mut mac = key.clone();
            mac.update(&sequence.to_be_bytes());
            mac.update(&header);
            mac.update(payload);
            *sequence += 1;
            mac.finalize().into_bytes().to_vec()
        });
        let mac = mac.unwrap_or_default();
        let length = (header.len() + payload.len() + mac.len()) as u32;
        self.sender.send([&length.to_be_bytes()[..], &header, payload, &mac].concat().into()).await.is_ok()
    }

    /// The next frame; `None` once the node has ended the stream.
    pub async fn next(&mut self) -> Option<(u8, Bytes)> {
        loop {
            if let Some(prefix) = self.buffer.first_chunk::<4>() {
                let length = u32::from_be_bytes(*prefix) as usize;
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    let mut frame = self.buffer.split_to(length).freeze();
                    frame.truncate(length - if self.sealed { 32 } else { 0 });
                    return Some((frame[0], frame.slice(2..)));
                }
            }
            let chunk = self.body.frame().await?.ok()?;
            self.buffer.extend_from_slice(&chunk.into_data().unwrap_or_default());
        }
    }

    /// Reads until the node ends the stream; how often it said something.
    pub async fn ended(&mut self) -> usize {
        let mut frames = 0;
        while self.next().await.is_some() {
            frames += 1;
        }
        frames
    }
}

/// Which process answers at an address, as it describes itself.
pub async fn ask(addr: SocketAddr, cluster: &str, secret: Option<&str>) -> Member {
    let mut stranger = Stranger::dial(addr).await;
    let hello = hello(cluster, nobody("curious"), Intent::Check, secret.is_some());
    stranger.shake(&hello, secret).await.unwrap().sender.unwrap()
}

/// A stream as `member`, which has to be a member already.
pub async fn pose_as(member: Member, at: SocketAddr, cluster: &str, secret: Option<&str>) -> Stranger {
    let mut stranger = Stranger::dial(at).await;
    stranger.shake(&hello(cluster, member, Intent::Link, secret.is_some()), secret).await.unwrap();
    stranger
}

/// A want of the ownership protocol: 16,384 keys at most.
pub fn want(from: u64, to: u64, domain: &str, claim: u64, keys: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend(from.to_le_bytes());
    bytes.extend(to.to_le_bytes());
    bytes.extend((domain.len() as u16).to_le_bytes());
    bytes.extend(domain.as_bytes());
    bytes.extend(claim.to_le_bytes());
    bytes.extend((keys.len() as u32).to_le_bytes());
    keys.for_each(|key| bytes.extend(key.to_le_bytes()));
    bytes
}

/// A round of gossip that names nodes and says nothing else.
pub fn gossip(cluster: &str, names: impl ExactSizeIterator<Item = String>) -> Vec<u8> {
    let mut bytes = vec![0x53, 0xb0, 0, 0];
    bytes.extend((names.len() as u16).to_le_bytes());
    for name in names {
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend([4, 127, 0, 0, 1, 9, 0]);
        bytes.extend([1; 24]);
    }
    bytes.extend((cluster.len() as u16).to_le_bytes());
    bytes.extend(cluster.as_bytes());
    bytes
}

fn transcript(hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [hello, challenge] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn derive(secret: &str, label: &str, transcript: &[u8; 32]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    for part in [label.as_bytes(), transcript] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
