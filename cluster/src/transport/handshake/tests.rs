//! Tests of the handshake: what the code beside it promises, case by case.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::*;
use crate::{
    membership::{Identity, Phase, State},
    metrics::Metrics,
    transport::{Company, Pulses, skew::Skews},
};

fn local(name: &str, cluster: &str, key: Option<&str>) -> Local {
    let last = name.bytes().fold(0, u8::wrapping_add);
    let identity = Identity { name: name.into(), generation: 1, addr: SocketAddr::from(([10, 0, 0, last], 1)) };
    let record = Record {
        identity,
        state: State::Viewer,
        phase: Phase::Joining,
        ready: false,
        left: false,
        counter: 1,
        version: "0.1.0".into(),
        config_hash: String::new(),
        placement: crate::placement::Version::default(),
        load: 0,
        zone: String::new(),
        targets: None,
        policy: crate::quorum::PartitionPolicy::Majority,
    };
    Local {
        cluster: cluster.into(),
        key: Arc::new(ArcSwapOption::from_pointee(key.map(|key| Key::new(key.as_bytes()).unwrap()))),
        protocols: Protocols::SPOKEN,
        record: Arc::new(Mutex::new(record)),
        pulses: Pulses::default(),
        company: Company::default(),
        skews: Skews::new(crate::node::Clock::virtual_from(std::time::Duration::from_secs(1_700_000_000))),
        metrics: Arc::new(Metrics::new(cluster, &prometheus::Registry::new()).unwrap()),
    }
}

fn pipes() -> (Pipe, Pipe) {
    let (one, from_one) = mpsc::channel(8);
    let (other, from_other) = mpsc::channel(8);
    let chunks = |receiver| -> crate::transport::frame::Chunks {
        Box::pin(futures_util::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
            receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
        }))
    };
    (Pipe { outgoing: one, incoming: chunks(from_other) }, Pipe { outgoing: other, incoming: chunks(from_one) })
}

async fn admit_all(hello: PeerHello, me: Record) -> Result<Members, Reject> {
    Ok(Members { sender: Some(Member::from(&me)), others: vec![Member::from(&hello.peer)], ..Members::default() })
}

async fn shake(opener: &Local, accepter: &Local) -> (Result<Session, DialError>, Result<Session, Refused>) {
    let (dialled, accepted) = pipes();
    let me = accepter.record();
    tokio::join!(open(dialled, opener, Intent::Link), accept(accepted, accepter, |hello| admit_all(hello, me)),)
}

async fn refusal(opener: &Local, accepter: &Local) -> (Reason, String, Option<Reason>) {
    let (opened, accepted) = shake(opener, accepter).await;
    let Err(DialError::Rejected { reason, detail, .. }) = opened else { panic!("the stream was opened") };
    (reason, detail, accepted.err().map(|refused| refused.reason))
}

const KEY: &str = "0123456789abcdef";

#[tokio::test(start_paused = true)]
async fn both_sides_learn_who_is_there_and_frames_pass() {
    for key in [None, Some(KEY)] {
        let (a, b) = (local("a", "blue", key), local("b", "blue", key));
        let (opened, accepted) = shake(&a, &b).await;
        let (mut opened, mut accepted) = (opened.unwrap(), accepted.ok().unwrap());
        assert_eq!((opened.peer.identity.clone(), accepted.peer.identity.clone()), (b.identity(), a.identity()));
        assert_eq!(accepted.intent, Intent::Link);
        assert_eq!(opened.members.others.len(), 1);
        opened.writer.send(Kind::Ping, Bytes::new()).await.unwrap();
        assert_eq!(accepted.reader.next().await.unwrap().unwrap().kind, Kind::Ping);
        accepted.writer.send(Kind::Pong, Bytes::new()).await.unwrap();
        assert_eq!(opened.reader.next().await.unwrap().unwrap().kind, Kind::Pong);
    }
}

#[tokio::test(start_paused = true)]
async fn another_cluster_name_is_refused_and_both_names_are_said() {
    let (reason, detail, counted) = refusal(&local("a", "blue", None), &local("b", "green", None)).await;
    assert_eq!((reason, counted), (Reason::Name, Some(Reason::Name)));
    assert!(detail.contains("\"green\"") && detail.contains("\"blue\""), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn another_key_is_refused_by_the_accepter() {
    let other = local("b", "blue", Some("fedcba9876543210"));
    let (reason, detail, counted) = refusal(&local("a", "blue", Some(KEY)), &other).await;
    assert_eq!((reason, counted), (Reason::Key, Some(Reason::Key)));
    assert!(detail.contains("differs"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn a_key_on_one_side_only_is_refused_whichever_side_it_is() {
    let (keyed, bare) = (local("a", "blue", Some(KEY)), local("b", "blue", None));
    let (reason, detail, _) = refusal(&keyed, &bare).await;
    assert_eq!(reason, Reason::Key);
    assert!(detail.contains("peer it dialled has none"), "{detail}");
    let (reason, detail, _) = refusal(&bare, &keyed).await;
    assert_eq!(reason, Reason::Key);
    assert!(detail.contains("requires a cluster key"), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn an_accepter_that_only_pretends_to_have_the_key_is_found_out() {
    let a = local("a", "blue", Some(KEY));
    let (dialled, accepted) = pipes();
    let impostor = async {
        let mut reader = FrameReader::new(accepted.incoming, MAX_STRANGER_FRAME);
        let mut writer = FrameWriter::new(accepted.outgoing);
        reader.next().await.unwrap();
        writer
            .send(Kind::Challenge, Challenge { nonce: nonce(), keyed: true, compression: SQUEEZE, protocol: 1 }.encode_to_vec())
            .await
            .unwrap();
        reader.next().await.unwrap();
        let body = Members { sender: Some(Member::from(&local("b", "blue", None).record())), ..Members::default() };
        let accept = Accept { body: body.encode_to_vec(), tag: vec![0; 32] };
        writer.send(Kind::Accept, accept.encode_to_vec()).await.unwrap();
        writer
    };
    let (opened, _writer) = tokio::join!(open(dialled, &a, Intent::Link), impostor);
    assert!(matches!(opened.err(), Some(DialError::Rejected { reason: Reason::Key, .. })));
}

#[tokio::test(start_paused = true)]
async fn another_protocol_version_is_refused_with_both_versions() {
    let b = local("b", "blue", None);
    let (dialled, accepted) = pipes();
    let stranger = async {
        let mut writer = FrameWriter::new(dialled.outgoing);
        let hello = Hello { protocol: 99, cluster: "blue".into(), nonce: nonce(), ..Hello::default() };
        writer.send(Kind::Hello, hello.encode_to_vec()).await.unwrap();
        let mut reader = FrameReader::new(dialled.incoming, MAX_STRANGER_FRAME);
        Reject::decode(reader.next().await.unwrap().unwrap().payload).unwrap()
    };
    let me = b.record();
    let (reject, refused) = tokio::join!(stranger, accept(accepted, &b, |hello| admit_all(hello, me)));
    assert_eq!(Reason::from_wire(reject.reason), Reason::Version);
    assert!(reject.detail.contains('1') && reject.detail.contains("99"), "{}", reject.detail);
    assert_eq!(refused.err().unwrap().reason, Reason::Version);
}

#[tokio::test(start_paused = true)]
async fn the_last_word_of_the_node_reaches_the_opener() {
    let (a, b) = (local("a", "blue", Some(KEY)), local("b", "blue", Some(KEY)));
    let (dialled, accepted) = pipes();
    let conflict = |_| async { Err(Reject { generation: 7, ..Reason::Conflict.reject("taken") }) };
    let (opened, refused) = tokio::join!(open(dialled, &a, Intent::Join), accept(accepted, &b, conflict));
    let expected = DialError::Rejected { reason: Reason::Conflict, detail: "taken".into(), generation: 7 };
    assert_eq!(opened.err(), Some(expected));
    assert_eq!(refused.err().unwrap().claimed, Some(("a".into(), a.identity().addr)));
}

#[tokio::test(start_paused = true)]
async fn garbage_in_place_of_a_hello_is_refused_as_such() {
    let b = local("b", "blue", None);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0xff, 0xff], &[0, 0, 0, 2, 5, 0]] {
        let (dialled, accepted) = pipes();
        dialled.outgoing.send(Bytes::copy_from_slice(bytes)).await.unwrap();
        let me = b.record();
        let refused = accept(accepted, &b, |hello| admit_all(hello, me)).await.err().unwrap();
        assert_eq!(refused.reason, Reason::Protocol, "{bytes:?}: {}", refused.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up_on_both_sides() {
    let b = local("b", "blue", None);
    let (dialled, accepted) = pipes();
    let me = b.record();
    let refused = accept(accepted, &b, |hello| admit_all(hello, me)).await.err().unwrap();
    assert_eq!(refused.reason, Reason::Protocol);
    drop(dialled);
    let (dialled, _silent) = pipes();
    assert_eq!(open(dialled, &b, Intent::Link).await.err(), Some(DialError::Handshake));
}

/// What an accepter chooses for an opener that knows these ways of compression.
async fn chosen(offered: u32) -> u32 {
    let b = local("b", "blue", None);
    let (dialled, accepted) = pipes();
    let me = b.record();
    let opener = async {
        let mut writer = FrameWriter::new(dialled.outgoing);
        let sender = Some(Member::from(&local("a", "blue", None).record()));
        let hello =
            Hello { protocol: 1, cluster: "blue".into(), sender, nonce: nonce(), intent: 1, compression: offered, ..Hello::default() };
        writer.send(Kind::Hello, hello.encode_to_vec()).await.unwrap();
        let mut reader = FrameReader::new(dialled.incoming, MAX_STRANGER_FRAME);
        let challenge = Challenge::decode(reader.next().await.unwrap().unwrap().payload).unwrap();
        writer.send(Kind::Proof, Proof::default().encode_to_vec()).await.unwrap();
        (challenge.compression, reader)
    };
    let ((compression, _reader), accepted) = tokio::join!(opener, accept(accepted, &b, |hello| admit_all(hello, me)));
    assert!(accepted.is_ok());
    compression
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_an_earlier_release_is_served_without_compression_and_a_later_one_with_what_both_know() {
    assert_eq!(chosen(0).await, 0);
    assert_eq!(chosen(SQUEEZE).await, SQUEEZE);
    assert_eq!(chosen(SQUEEZE | 4).await, SQUEEZE);
}

#[tokio::test(start_paused = true)]
async fn gossip_passes_compressed_in_both_directions_and_is_counted_as_it_is_on_the_wire() {
    let (a, b) = (local("a", "blue", Some(KEY)), local("b", "blue", Some(KEY)));
    let (opened, accepted) = shake(&a, &b).await;
    let (mut opened, mut accepted) = (opened.unwrap(), accepted.unwrap());
    let (before, digest) = (a.metrics.wire_sent.get(), Bytes::from(vec![7; 4000]));
    for _ in 0..2 {
        opened.writer.send(Kind::Gossip, digest.clone()).await.unwrap();
        assert_eq!(accepted.reader.next().await.unwrap().unwrap().payload, digest);
        accepted.writer.send(Kind::Gossip, digest.clone()).await.unwrap();
        assert_eq!(opened.reader.next().await.unwrap().unwrap().payload, digest);
    }
    assert!(a.metrics.wire_sent.get() - before < 300);
    assert_eq!(a.metrics.wire_sent.get(), b.metrics.wire_received.get());
}

/// A node that speaks these versions.
fn speaking(name: &str, oldest: u32, newest: u32) -> Local {
    Local { protocols: Protocols::new(oldest, newest), ..local(name, "blue", None) }
}

#[tokio::test(start_paused = true)]
async fn releases_that_follow_one_another_understand_each_other_in_both_directions() {
    let (before, after) = (speaking("a", 1, 1), speaking("b", 1, 2));
    for (opener, accepter) in [(&before, &after), (&after, &before), (&after, &speaking("c", 2, 3))] {
        let (opened, accepted) = shake(opener, accepter).await;
        assert!(opened.is_ok() && accepted.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn releases_too_far_apart_say_what_each_of_them_speaks() {
    let (opened, accepted) = shake(&speaking("a", 2, 3), &speaking("b", 1, 1)).await;
    assert!(opened.err().unwrap().to_string().contains("this peer speaks cluster protocol 1, the node 2 to 3"));
    assert_eq!(accepted.err().unwrap().reason, Reason::Version);
}
