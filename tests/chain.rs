//! A chain of real processes: a collector scrapes synthetic targets and pushes into another one, which pushes into a judge. What goes in
//! comes out once, also while the second is killed, and while strangers push rubbish into it.
//!
//! Whether scrapes come on time is not looked at here: on a busy machine some come late. What the first collector's scrapes brought is
//! counted, and compared with what the judge got.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadtest::fleet::metric_sum;
use loadtest::judge::{Judge, JudgeOptions, Totals};
use loadtest::process::{Process, Signal};
use loadtest::receiver::Receiver;
use loadtest::targets::{TargetOptions, Targets};
use support::{collector, free_port, get, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

const TARGETS: usize = 6;
const SERIES: usize = 300;
/// Samples of a round of scrapes, with the five that a scrape adds.
const ROUND: u64 = TARGETS as u64 * (SERIES as u64 + 5);
const PUSH: &str = "/api/v1/metrics/write";
/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

/// Requests of 500 samples cut the targets of 300 series in other places every time.
const QUEUE: &str = "queue_config {\nbatch_send_deadline = \"300ms\"\nmax_samples_per_send = 500\nmax_backoff = \"200ms\"\n}";

/// How the first one writes.
const V1: &str = "";
const V2_ZSTD: &str = "protobuf_message = \"io.prometheus.write.v2.Request\"\ncompression = \"zstd\"";

/// Targets, the two collectors, and the judge.
struct Chain {
    folder: tempfile::TempDir,
    targets: Targets,
    judge: Arc<Judge>,
    _receiver: Receiver,
    first: Process,
    first_api: String,
    second: Option<Process>,
    /// Where the second takes pushes, and where it answers.
    push: String,
    second_api: String,
}

impl Chain {
    /// Starts everything and waits until all targets have been received. `http` goes into the block of the second's server.
    async fn start(strict: bool, wire: &str, http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets = Targets::start(TargetOptions { targets: TARGETS, series: SERIES, ..TargetOptions::default() }).await.unwrap();
        let judge = Judge::new(JudgeOptions { strict, ..JudgeOptions::new(Duration::from_secs(1)) });
        let receiver = Receiver::start(judge.clone()).await.unwrap();
        let [push, first_api, second_api] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let second = format!(
            "prometheus.receive_http \"in\" {{\nhttp {{\nlisten_address = \"127.0.0.1\"\nlisten_port = {}\n{http}\n}}\n\
             accepted_remote_write_protobuf_messages = [\"prometheus.WriteRequest\", \"io.prometheus.write.v2.Request\"]\n\
             append_metadata = true\nforward_to = [prometheus.remote_write.out.receiver]\n}}\n\
             prometheus.remote_write \"out\" {{\nendpoint {{\nurl = {:?}\n{QUEUE}\n}}\n}}\n",
            push.rsplit(':').next().unwrap(),
            receiver.url()
        );
        let first = format!(
            "discovery.http \"probe\" {{\nurl = {:?}\nrefresh_interval = \"500ms\"\n}}\n\
             prometheus.scrape \"probe\" {{\ntargets = discovery.http.probe.targets\nforward_to = [prometheus.remote_write.out.receiver]\n\
             job_name = \"probe\"\nscrape_interval = \"1s\"\nscrape_timeout = \"1s\"\n}}\n\
             prometheus.remote_write \"out\" {{\nendpoint {{\nurl = \"http://{push}{PUSH}\"\n{wire}\n{QUEUE}\n}}\n}}\n",
            targets.sd_url()
        );
        std::fs::write(folder.path().join("second.alloy"), second).unwrap();
        std::fs::write(folder.path().join("first.alloy"), first).unwrap();
        let second = run(folder.path(), "second", &second_api).await;
        let first = run(folder.path(), "first", &first_api).await;
        let chain = Self { folder, targets, judge, _receiver: receiver, first, first_api, second: Some(second), push, second_api };
        until("all targets are received", PATIENCE, || async { chain.judge.targets_seen() == TARGETS }).await;
        chain
    }

    /// How many samples the first one's scrapes have brought.
    async fn scraped(&self) -> u64 {
        metric(&self.first_api, "prometheus_forwarded_samples_total", "prometheus.scrape.probe").await as u64
    }

    /// The sum of the second's series of this name that have this label.
    async fn second_metric(&self, name: &str, label: &str) -> f64 {
        metric(&self.second_api, name, label).await
    }

    /// Waits until `rounds` more rounds of scrapes have been made.
    async fn scrape(&self, rounds: u64) {
        let enough = self.scraped().await + rounds * ROUND;
        until("more is scraped", PATIENCE, || async { self.scraped().await >= enough }).await;
    }

    /// Lets the targets go, so that all series end, and waits until nothing is under way any more. How many samples were scraped, and what
    /// the judge has seen.
    async fn end(&self) -> (u64, Totals) {
        self.targets.announce(0);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut before = None;
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = (self.scraped().await, self.judge.totals().samples);
            let pending = "prometheus_remote_storage_samples_pending";
            let waits = metric(&self.first_api, pending, "").await + self.second_metric(pending, "").await;
            if before == Some(now) && waits == 0.0 {
                return (now.0, self.judge.totals());
            }
            assert!(tokio::time::Instant::now() < deadline, "{waits} samples still wait: {}", self.logs());
            before = Some(now);
        }
    }

    fn logs(&self) -> String {
        let second = self.second.as_ref().map(Process::log_tail).unwrap_or_default();
        format!("first:\n{}\nsecond:\n{second}", self.first.log_tail())
    }
}

async fn metric(api: &str, name: &str, label: &str) -> f64 {
    let (_, text) = get(&format!("http://{api}/metrics")).await;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name) && line.contains(label)).collect();
    metric_sum(&lines.join("\n"), name).unwrap_or_default()
}

async fn run(folder: &Path, name: &str, api: &str) -> Process {
    let mut command = Command::new(collector());
    command.args(["run", "--stability.level=experimental"]).arg(format!("--server.http.listen-addr={api}"));
    command.arg(format!("--storage.path={}", folder.join(name).display())).arg(folder.join(format!("{name}.alloy")));
    let process = Process::spawn(name, command, &folder.join(format!("{name}.log"))).unwrap();
    process.ready(&format!("http://{api}/-/ready"), PATIENCE).await.unwrap();
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_once_and_ends_with_its_markers() {
    let chain = Chain::start(true, V1, "").await;
    chain.scrape(4).await;
    chain.targets.announce(TARGETS - 1);
    until("the last target's series end", PATIENCE, || async { chain.judge.totals().markers >= SERIES as u64 }).await;
    let (scraped, totals) = chain.end().await;
    let shown = || format!("{totals:?}\n{}", chain.logs());
    assert_eq!(totals.samples, scraped, "{}", shown());
    assert!(totals.markers >= totals.series, "each series ends: {}", shown());
    assert_eq!((totals.resends, totals.disorders, totals.conflicts), (0, 0, 0), "{}", shown());
    assert_eq!((totals.bad_labels, totals.refused_requests, totals.foreign), (0, 0, 0), "{}", shown());
    let known = chain.second_metric("collector_receive_http_series_total", "known=\"true\"").await;
    println!("{scraped} samples, {:.0} % of series known", 100.0 * known / scraped as f64);
    assert!(known > 0.0, "{}", shown());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_receiver_costs_only_what_it_had_acknowledged_and_not_written() {
    let mut chain = Chain::start(false, V2_ZSTD, "").await;
    chain.scrape(3).await;
    assert_eq!(chain.second_metric("collector_receive_http_rejected_requests_total", "").await, 0.0, "2.0 and zstd are understood at once");
    let second = chain.second.take().unwrap();
    second.signal(Signal::Kill);
    second.ended().await;
    chain.scrape(6).await;
    chain.second = Some(run(chain.folder.path(), "second", &chain.second_api).await);
    chain.scrape(3).await;
    let (scraped, totals) = chain.end().await;
    let shown = || format!("{totals:?}\n{}", chain.logs());
    let lost = scraped.saturating_sub(totals.samples);
    println!("{scraped} samples, {lost} lost, {} sent again", totals.resends);
    // What is acknowledged is on disk half a second later. What came while it was dead was six rounds, and the first one held them.
    assert!(lost <= 3 * ROUND, "{lost} lost: {}", shown());
    assert_eq!((totals.conflicts, totals.bad_labels, totals.foreign), (0, 0, 0), "{}", shown());
}

/// What the second answers to raw bytes; empty if it only hangs up.
async fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await; // it may hang up in the middle
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {PUSH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-encoding: snappy\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A snappy block of `len` bytes, all the same as the first, in copies of 64.
fn bomb(first: u8, len: usize) -> Vec<u8> {
    let mut block = Vec::new();
    let mut rest = len;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.extend([rest as u8, 0, first]);
    block.extend([(63 << 2) | 2, 1, 0].repeat((len - 1) / 64));
    block
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_push_rubbish_are_answered_and_cost_the_others_nothing() {
    let chain = Chain::start(true, V1, "conn_limit = 40\nserver_read_timeout = \"20s\"").await;
    let pid = chain.second.as_ref().unwrap().pid();
    let before = resident(pid);
    let head = |line: &str| format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (small, huge) = (bomb(0, 64 * 16 + 1), bomb(0x0a, (32 << 20) + 65));
    for (request, status) in [
        (b"garbage\r\n\r\n".to_vec(), "400"),
        (post(b"garbage"), "400"),
        (post(&small), "400"),
        (post(&small[..small.len() - 4]), "400"),
        (post(&huge), "400"),
        (post(&[0xff; 64]), "400"),
        (head(&format!("GET {PUSH} HTTP/1.1")).into_bytes(), "405"),
        (head("POST /api/v1/write HTTP/1.1").into_bytes(), "404"),
        (head(&format!("POST {PUSH} HTTP/1.1\r\ncontent-type: text/plain")).into_bytes(), "415"),
    ] {
        let answer = raw(&chain.push, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    push_bombs(&chain).await;
    let turned_away = crowd(&chain).await;
    assert!(turned_away >= 15, "{turned_away}");
    let broken = |reason: &'static str| chain.second_metric("collector_server_broken_connections_total", reason);
    until("the slow ones are cut off", PATIENCE, || async { broken("reason=\"timeout\"").await >= 30.0 }).await;
    assert!(broken("reason=\"limit\"").await >= 15.0);
    assert!(chain.second_metric("collector_receive_http_rejected_requests_total", "").await >= 20.0);
    let grown = resident(pid).saturating_sub(before) >> 20;
    chain.scrape(1).await;
    let (scraped, totals) = chain.end().await;
    let shown = || format!("{totals:?}\n{}", chain.logs());
    println!("{scraped} samples, memory grew by {grown} MiB");
    assert_eq!((totals.samples, totals.resends, totals.refused_requests), (scraped, 0, 0), "{}", shown());
    assert!(grown <= 2 * 32, "memory grew by {grown} MiB: {}", shown());
}

/// Largest blocks that are taken at all, several at a time and again and again.
async fn push_bombs(chain: &Chain) {
    let full = Arc::new(post(&bomb(0x0a, (32 << 20) - 63)));
    for _ in 0..4 {
        let at_once = (0..4).map(|_| {
            let (push, full) = (chain.push.clone(), full.clone());
            tokio::spawn(async move { raw(&push, &full).await })
        });
        for answer in at_once.collect::<Vec<_>>() {
            let answer = answer.await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
        }
    }
}

/// More connections than there are places, none of which says a whole request; how many of them are told so.
async fn crowd(chain: &Chain) -> usize {
    let mut all = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(&chain.push).await.unwrap();
        let _ = stream.write_all(format!("POST {PUSH} HTTP/1.1\r\nhost: ").as_bytes()).await; // some are turned away at once
        all.push(stream);
    }
    let answers = all.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut answer = String::new();
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
            answer
        })
    });
    let mut turned_away = 0;
    for answer in answers.collect::<Vec<_>>() {
        turned_away += usize::from(answer.await.unwrap().starts_with("HTTP/1.1 503"));
    }
    turned_away
}
