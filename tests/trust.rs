//! Fleets of real processes over TLS: who gets in, what both sides say when somebody does not, new certificates without a restart, and
//! strangers who open connections and say nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use loadtest::process::Process;
use support::member::{counter, node, ready, refused};
use support::papers::{Authority, flags};
use support::{PATIENCE, collector, get, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

const HERE: &str = "127.0.0.1";

fn papers(folder: &Path, name: &str, by: &Authority, trusted: &[&Authority]) -> Vec<String> {
    let folder: PathBuf = folder.join(name);
    by.write(&folder, HERE, trusted);
    flags(&folder)
}

async fn members(address: &str) -> usize {
    let (_, text) = get(&format!("http://{address}/api/v0/web/peers")).await;
    text.matches("\"participant\"").count()
}

async fn started(folder: &Path, name: &str, peer: Option<&str>, flags: &[String]) -> (Process, String) {
    let (process, address) = node(folder, name, peer, flags);
    process.ready(&format!("http://{address}/-/ready"), PATIENCE).await.unwrap();
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_share_the_work_over_tls_and_their_pages_are_there_with_and_without_it() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (_first, address) = started(folder, "first", None, &papers(folder, "1", &ca, &[&ca])).await;
    let (_second, _) = started(folder, "second", Some(&address), &papers(folder, "2", &ca, &[&ca])).await;
    let (_third, third) = started(folder, "third", Some(&address), &papers(folder, "3", &ca, &[&ca])).await;
    until("three members", PATIENCE, || async { members(&address).await == 3 && members(&third).await == 3 }).await;
    assert_eq!(counter(&address, "collector_cluster_rejected_peers_total|reason").await, 0.0);
    let mut config = net::HttpClientConfig::default();
    config.tls_config.ca_pem.clone_from(&ca.pem);
    for http2 in [true, false] {
        let client = net::Client::new(&config, net::ClientOptions { http2, ..net::ClientOptions::default() }).unwrap();
        let request = http::Request::get(format!("https://{address}/-/ready")).body(Bytes::new().into()).unwrap();
        assert_eq!(client.send(request).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_node_and_a_fleet_with_tls_refuse_each_other_and_both_say_so() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let tls = papers(folder.path(), "tls", &ca, &[&ca]);
    refused(tls.clone(), Vec::new(), "tls").await;
    refused(Vec::new(), tls, "tls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_certificate_of_another_authority_is_refused_and_both_say_so() {
    let (ours, theirs, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    // It trusts our authority, and its own, which signed its certificate.
    let stranger = papers(folder.path(), "theirs", &theirs, &[&ours, &theirs]);
    refused(papers(folder.path(), "ours", &ours, &[&ours]), stranger, "tls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_besides_both_must_fit() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let with_key = |name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, format!("{name}-0123456789abcdef\n")).unwrap();
        [papers(folder.path(), &format!("papers-{name}"), &ca, &[&ca]), vec![format!("--cluster.key-file={}", file.display())]].concat()
    };
    refused(with_key("ours"), with_key("theirs"), "key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_and_a_new_key_are_used_without_a_restart() {
    let (old, new, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let key = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        vec![format!("--cluster.key-file={}", file.display())]
    };
    let [first_key, second_key] = ["the-first-key-of-all", "the-second-key-of-all"];
    let flags = [papers(folder, "papers", &old, &[&old]), key("key", first_key)].concat();
    let (first, address) = started(folder, "first", None, &flags).await;
    new.write(&folder.join("papers"), HERE, &[&new]);
    key("key", &format!("{second_key}\n{first_key}\n"));
    let told = |part: &'static str| {
        let log = std::fs::read_to_string(first.log()).unwrap();
        async move { log.contains(part) }
    };
    until("the new certificates are used", PATIENCE, || told("kind=certificates")).await;
    until("the new key is used", PATIENCE, || told("kind=key")).await;
    let newcomer = [papers(folder, "new", &new, &[&new]), key("new-key", second_key)].concat();
    let (_second, _) = started(folder, "second", Some(&address), &newcomer).await;
    until("two members", PATIENCE, || async { members(&address).await == 2 }).await;
    std::fs::write(folder.join("papers/cert.pem"), "rubbish").unwrap();
    until("rubbish is told", PATIENCE, || async {
        counter(&address, "collector_cluster_credentials_stale|kind=\"certificates\"").await == 1.0
    })
    .await;
    let log = std::fs::read_to_string(first.log()).unwrap();
    assert!(log.contains("holds no PEM certificate"), "{log}");
    assert_eq!((ready(&address).await.0, members(&address).await), (200, 2), "the last good ones stay in force");
}

#[tokio::test]
async fn files_that_no_fleet_would_accept_are_refused_at_the_start() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let config = folder.path().join("config.alloy");
    std::fs::write(&config, "").unwrap();
    let old = folder.path().join("old");
    ca.write_until(&old, HERE, &[&ca], 2020);
    for (papers, part) in [(flags(&old), "expired at 2020-01-01"), (flags(Path::new("/nowhere")), "--cluster.tls-ca-path: cannot read")] {
        let mut command = Command::new(collector());
        command.args(["run", "--cluster.enabled", "--server.http.listen-addr=127.0.0.1:0"]).args(papers).arg(&config).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains(part), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_half_open_connections_keep_nobody_out() {
    let (ca, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    let (_first, address) = started(folder, "first", None, &papers(folder, "1", &ca, &[&ca])).await;
    // One end of each is in this process.
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let (mut strangers, hello) = (Vec::new(), [0x16, 0x03, 0x01, 0x02, 0x00]);
    // On a slow machine those that came first time out before they are crowded out.
    while strangers.len() < 5_000 || counter(&address, "collector_server_connections_crowded_out_total|").await < 900.0 {
        assert!(strangers.len() < 15_000, "nobody gives way");
        for _ in 0..500 {
            let mut stranger = TcpStream::connect(&address).await.unwrap();
            // The beginning of a handshake. Those that came first may be gone by the time it is sent.
            let _ = stranger.write_all(&hello).await;
            strangers.push(stranger);
        }
    }
    assert_eq!(ready(&address).await.0, 200);
    let (_second, _) = started(folder, "second", Some(&address), &papers(folder, "2", &ca, &[&ca])).await;
    until("two members", PATIENCE, || async { members(&address).await == 2 }).await;
    drop(strangers);
}
