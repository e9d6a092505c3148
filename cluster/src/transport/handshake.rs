//! How a stream opens: hello, challenge, proof, accept. Version and cluster name are checked first, then the key on both
//! sides, then whether the node may have its name and can be reached at the address it advertises. Each failed check has its
//! own answer, so that both sides can say which it was. After the handshake every frame carries a MAC if there is a key.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use prost::Message;
use tokio::time::timeout;

use super::{
    DialError, HANDSHAKE_TIMEOUT, Local, Pipe, Reason,
    frame::{Frame, FrameError, FrameReader, FrameWriter, Kind},
    protocol::Protocols,
    wire::{Accept, Challenge, Hello, Intent, Member, Members, Proof, Reject, SQUEEZE},
};
use crate::{
    auth::{self, Key, Seal, Tag},
    membership::Record,
};

/// Longest frame before the peer has shown who it is, bytes.
const MAX_STRANGER_FRAME: usize = 16 * 1024;

const NONCE_BYTES: usize = 32;

/// A stream after its handshake.
pub(crate) struct Session {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
    /// Who is at the other end.
    pub(crate) peer: Record,
    /// What it said about the fleet; empty on the accepting side.
    pub(crate) members: Members,
    /// What the stream is for.
    pub(crate) intent: Intent,
}

/// A peer that has passed version, name and key.
#[derive(Debug, Clone)]
pub(crate) struct PeerHello {
    pub(crate) peer: Record,
    pub(crate) intent: Intent,
    /// The hash of whom it holds for alive; 0 if it did not say.
    pub(crate) company: u64,
}

/// A hello that fits.
struct Greeting {
    hello: PeerHello,
    /// Ways of compression that the opener knows.
    compression: u32,
    /// The version of the protocol that both speak.
    protocol: u32,
}

/// A stream that was not accepted.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// Name and advertised address as claimed, if the hello came that far.
    pub(crate) claimed: Option<(String, SocketAddr)>,
}

/// Opens a stream over `pipe`, all steps within [`HANDSHAKE_TIMEOUT`].
pub(crate) async fn open(pipe: Pipe, local: &Local, intent: Intent) -> Result<Session, DialError> {
    timeout(HANDSHAKE_TIMEOUT, open_unbounded(pipe, local, intent)).await.map_err(|_| DialError::Handshake)?
}

async fn open_unbounded(pipe: Pipe, local: &Local, intent: Intent) -> Result<Session, DialError> {
    let mut reader = FrameReader::new(pipe.incoming, super::frame::MAX_PAYLOAD).counting(local.metrics.wire_received.clone());
    let mut writer = FrameWriter::new(pipe.outgoing).counting(local.metrics.wire_sent.clone());
    let key = local.key.load_full();
    let hello = Hello {
        protocol: local.protocols.newest(),
        oldest_protocol: local.protocols.oldest(),
        cluster: local.cluster.to_string(),
        sender: Some(Member::from(&local.record())),
        nonce: nonce(),
        keyed: key.is_some(),
        intent: intent.to_wire(),
        company: local.company.get(),
        compression: SQUEEZE,
    }
    .encode_to_vec();
    writer.send(Kind::Hello, hello.clone()).await?;
    let challenge = expect(&mut reader, Kind::Challenge).await?;
    let compression = check_challenge(&challenge, local, key.is_some())?;
    let transcript = auth::transcript(&hello, &challenge);
    let tag = key.as_ref().map(|key| key.opener_proof(&transcript).to_vec()).unwrap_or_default();
    writer.send(Kind::Proof, Proof { tag }.encode_to_vec()).await?;
    let accept = expect(&mut reader, Kind::Accept).await?;
    let members = check_accept(&accept, key.as_deref(), &transcript)?;
    let peer = members.sender.as_ref().and_then(Member::record).ok_or_else(|| nonsense("the peer's record"))?;
    let (outgoing, incoming) = seals(key.as_deref(), &transcript);
    establish(&mut reader, &mut writer, (incoming, outgoing), compression);
    Ok(Session { reader, writer, peer, members, intent })
}

/// Returns the compression that the peer has chosen.
fn check_challenge(payload: &[u8], local: &Local, keyed: bool) -> Result<u32, DialError> {
    let challenge = Challenge::decode(payload).map_err(|_| nonsense("the challenge"))?;
    if !local.protocols.contains(challenge.protocol.max(1)) {
        return Err(rejected(
            Reason::Version,
            format!("the peer chose cluster protocol {}, this node speaks {}", challenge.protocol, local.protocols),
        ));
    }
    if challenge.keyed != keyed {
        return Err(rejected(Reason::Key, one_sided_key(keyed)));
    }
    if challenge.nonce.len() != NONCE_BYTES {
        return Err(nonsense("the challenge's nonce"));
    }
    Ok(challenge.compression)
}

/// From here on both sides speak as agreed.
fn establish(reader: &mut FrameReader, writer: &mut FrameWriter, (incoming, outgoing): (Option<Seal>, Option<Seal>), compression: u32) {
    reader.established(incoming);
    writer.established(outgoing);
    if compression & SQUEEZE != 0 {
        reader.squeezed();
        writer.squeezed();
    }
}

fn check_accept(payload: &[u8], key: Option<&Key>, transcript: &Tag) -> Result<Members, DialError> {
    let accept = Accept::decode(payload).map_err(|_| nonsense("the acceptance"))?;
    if let Some(key) = key
        && !auth::same(&key.accepter_proof(transcript, &accept.body), &accept.tag)
    {
        return Err(rejected(Reason::Key, "the peer could not prove that it has this node's cluster key"));
    }
    Members::decode(accept.body.as_slice()).map_err(|_| nonsense("the list of members"))
}

/// Answers a stream that a peer opened. `admit` has the last word, after version, name and key.
pub(crate) async fn accept<A, F>(pipe: Pipe, local: &Local, admit: A) -> Result<Session, Refused>
where
    A: FnOnce(PeerHello) -> F,
    F: Future<Output = Result<Members, Reject>>,
{
    let mut writer = FrameWriter::new(pipe.outgoing).counting(local.metrics.wire_sent.clone());
    let reader = FrameReader::new(pipe.incoming, MAX_STRANGER_FRAME).counting(local.metrics.wire_received.clone());
    let mut claimed = None;
    let steps = accept_steps(reader, &mut writer, local, admit, &mut claimed);
    let outcome = match timeout(HANDSHAKE_TIMEOUT, steps).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Reason::Protocol.reject("the handshake took too long")),
    };
    match outcome {
        Ok((reader, peer, intent)) => Ok(Session { reader, writer, peer, members: Members::default(), intent }),
        Err(reject) => {
            // The peer may be gone already; the refusal is counted and logged on this side either way.
            let sent = writer.send(Kind::Reject, reject.encode_to_vec()).await;
            tracing::debug!(reason = reject.reason, sent = sent.is_ok(), "cluster stream refused");
            Err(Refused { reason: Reason::from_wire(reject.reason), detail: reject.detail, claimed })
        }
    }
}

async fn accept_steps<A, F>(
    mut reader: FrameReader,
    writer: &mut FrameWriter,
    local: &Local,
    admit: A,
    claimed: &mut Option<(String, SocketAddr)>,
) -> Result<(FrameReader, Record, Intent), Reject>
where
    A: FnOnce(PeerHello) -> F,
    F: Future<Output = Result<Members, Reject>>,
{
    let hello = receive(&mut reader, Kind::Hello).await?;
    let key = local.key.load_full();
    let greeting = check_hello(&hello, local, key.is_some(), claimed)?;
    let compression = greeting.compression & SQUEEZE;
    let challenge = Challenge { nonce: nonce(), keyed: key.is_some(), compression, protocol: greeting.protocol }.encode_to_vec();
    writer.send(Kind::Challenge, challenge.clone()).await.map_err(broken)?;
    let proof = receive(&mut reader, Kind::Proof).await?;
    let transcript = auth::transcript(&hello, &challenge);
    let key = check_proof(&proof, key.as_deref(), &transcript)?;
    let (peer, intent) = (greeting.hello.peer.clone(), greeting.hello.intent);
    let members = admit(greeting.hello).await?;
    let body = members.encode_to_vec();
    let tag = key.as_ref().map(|key| key.accepter_proof(&transcript, &body).to_vec()).unwrap_or_default();
    writer.send(Kind::Accept, Accept { body, tag }.encode_to_vec()).await.map_err(broken)?;
    establish(&mut reader, writer, seals(key.as_ref(), &transcript), compression);
    Ok((reader, peer, intent))
}

fn check_hello(payload: &[u8], local: &Local, keyed: bool, claimed: &mut Option<(String, SocketAddr)>) -> Result<Greeting, Reject> {
    let hello = Hello::decode(payload).map_err(|_| Reason::Protocol.reject("the hello can't be read"))?;
    let record = hello.sender.as_ref().and_then(Member::record);
    *claimed = record.as_ref().map(|record| (record.identity.name.to_string(), record.identity.addr));
    let theirs = Protocols::from_wire(hello.oldest_protocol, hello.protocol);
    let Some(protocol) = local.protocols.common(theirs) else {
        return Err(Reason::Version.reject(format!("this peer speaks cluster protocol {}, the node {theirs}", local.protocols)));
    };
    if hello.cluster != *local.cluster {
        let theirs = super::wire::clean(&hello.cluster);
        return Err(Reason::Name.reject(format!("this peer belongs to the cluster \"{}\", the node to \"{theirs}\"", local.cluster)));
    }
    if hello.keyed != keyed {
        return Err(Reason::Key.reject(one_sided_key(hello.keyed)));
    }
    if hello.nonce.len() != NONCE_BYTES {
        return Err(Reason::Protocol.reject("the hello's nonce has a wrong length"));
    }
    let intent = Intent::from_wire(hello.intent);
    match (record, intent) {
        (Some(peer), Some(intent)) => {
            let compression = hello.compression;
            Ok(Greeting { hello: PeerHello { peer, intent, company: hello.company }, compression, protocol })
        }
        _ => Err(Reason::Protocol.reject("the hello has no usable name and address")),
    }
}

/// The key that the opener has, if there are keys.
fn check_proof(payload: &[u8], key: Option<&Key>, transcript: &Tag) -> Result<Option<Key>, Reject> {
    let proof = Proof::decode(payload).map_err(|_| Reason::Protocol.reject("the proof can't be read"))?;
    let Some(key) = key else { return Ok(None) };
    let proven = key.proven(transcript, &proof.tag);
    proven.map(Some).ok_or_else(|| Reason::Key.reject("the node's cluster key differs from this peer's"))
}

/// The seals of the opener's and the accepter's frames.
fn seals(key: Option<&Key>, transcript: &Tag) -> (Option<Seal>, Option<Seal>) {
    key.map(|key| key.seals(transcript)).unzip()
}

/// The frame that has to come now, on the opening side; a refusal comes in its place.
async fn expect(reader: &mut FrameReader, kind: Kind) -> Result<Bytes, DialError> {
    match reader.next().await?.ok_or(FrameError::Closed)? {
        Frame { kind: Kind::Reject, payload } => Err(Reject::decode(payload).map_or_else(|_| nonsense("the refusal"), DialError::from)),
        frame if frame.kind == kind => Ok(frame.payload),
        frame => Err(nonsense(&format!("a {:?} frame", frame.kind))),
    }
}

/// The frame that has to come now, on the accepting side.
async fn receive(reader: &mut FrameReader, kind: Kind) -> Result<Bytes, Reject> {
    match reader.next().await {
        Ok(Some(frame)) if frame.kind == kind => Ok(frame.payload),
        Ok(Some(frame)) => Err(Reason::Protocol.reject(format!("a {:?} frame came in place of {kind:?}", frame.kind))),
        Ok(None) => Err(broken(FrameError::Closed)),
        Err(error) => Err(broken(error)),
    }
}

fn broken(error: FrameError) -> Reject {
    Reason::Protocol.reject(error.to_string())
}

fn nonsense(what: &str) -> DialError {
    rejected(Reason::Protocol, format!("{what} makes no sense in protocol version {}", Protocols::SPOKEN))
}

fn rejected(reason: Reason, detail: impl Into<String>) -> DialError {
    DialError::Rejected { reason, detail: detail.into(), generation: 0 }
}

fn one_sided_key(opener_has_one: bool) -> &'static str {
    if opener_has_one {
        "the node has a cluster key and the peer it dialled has none"
    } else {
        "the peer requires a cluster key and the node has none"
    }
}

fn nonce() -> Vec<u8> {
    rand::random::<[u8; NONCE_BYTES]>().to_vec()
}

#[cfg(test)]
mod tests;
