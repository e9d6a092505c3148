//! A chain of real processes: a collector scrapes synthetic targets and pushes into another one, which pushes into a judge. What goes in
//! comes out once, also while the second is killed, and while strangers push rubbish into it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loadtest::clock::now_ms;
use loadtest::fleet::metric_sum;
use loadtest::judge::{Judge, JudgeOptions, Report, Window};
use loadtest::process::{Process, Signal};
use loadtest::receiver::Receiver;
use loadtest::targets::{TargetOptions, Targets};
use support::{collector, free_port, get, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_MS: i64 = 1000;
const TARGETS: usize = 6;
const SERIES: usize = 300;
/// What a crash may cost of what was acknowledged: what is not on disk yet (spec: nothing older than a second), and half a slot.
const CRASH_MS: i64 = 1500;
const PUSH: &str = "/api/v1/metrics/write";

/// Requests of 500 samples cut the targets of 300 series in other places every time.
const QUEUE: &str = "queue_config {\nbatch_send_deadline = \"300ms\"\nmax_samples_per_send = 500\nmax_backoff = \"200ms\"\n}";

/// Targets, the two collectors, and the judge.
struct Chain {
    folder: tempfile::TempDir,
    targets: Targets,
    judge: Arc<Judge>,
    _receiver: Receiver,
    first: Process,
    second: Option<Process>,
    /// Where the second takes pushes, and where it answers.
    push: String,
    second_api: String,
    begun: i64,
}

impl Chain {
    /// Starts everything and waits until all targets have been received.
    async fn start(strict: bool, http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets = Targets::start(TargetOptions { targets: TARGETS, series: SERIES, ..TargetOptions::default() }).await.unwrap();
        let judge = Judge::new(JudgeOptions { strict, ..JudgeOptions::new(INTERVAL) });
        let receiver = Receiver::start(judge.clone()).await.unwrap();
        let (push, second_api) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let port = push.rsplit(':').next().unwrap();
        let second = format!(
            "prometheus.receive_http \"in\" {{\nhttp {{\nlisten_address = \"127.0.0.1\"\nlisten_port = {port}\n{http}\n}}\n\
             forward_to = [prometheus.remote_write.out.receiver]\n}}\n\
             prometheus.remote_write \"out\" {{\nendpoint {{\nurl = {:?}\n{QUEUE}\n}}\n}}\n",
            receiver.url()
        );
        let first = format!(
            "discovery.http \"probe\" {{\nurl = {:?}\nrefresh_interval = \"500ms\"\n}}\n\
             prometheus.scrape \"probe\" {{\ntargets = discovery.http.probe.targets\nforward_to = [prometheus.remote_write.out.receiver]\n\
             job_name = \"probe\"\nscrape_interval = \"1s\"\nscrape_timeout = \"1s\"\n}}\n\
             prometheus.remote_write \"out\" {{\nendpoint {{\nurl = \"http://{push}{PUSH}\"\n{QUEUE}\n}}\n}}\n",
            targets.sd_url()
        );
        std::fs::write(folder.path().join("second.alloy"), second).unwrap();
        std::fs::write(folder.path().join("first.alloy"), first).unwrap();
        let second = run(folder.path(), "second", &second_api).await;
        let first = run(folder.path(), "first", &format!("127.0.0.1:{}", free_port())).await;
        let (begun, second) = (now_ms(), Some(second));
        let chain = Self { folder, targets, judge, _receiver: receiver, first, second, push, second_api, begun };
        until("all targets are received", Duration::from_secs(30), || async { chain.judge.targets_seen() == TARGETS }).await;
        chain
    }

    /// What was seen from two seconds after the beginning until now, once it has had time to arrive.
    async fn report(&self) -> Report {
        let window = Window { from_ms: self.begun + 2 * INTERVAL_MS, to_ms: now_ms() };
        pause(3).await;
        self.judge.report(window, |instance| self.targets.by_instance(instance).map(|target| self.targets.served(target)))
    }

    /// The sum of the second's series of this name that have this label.
    async fn second_metric(&self, name: &str, label: &str) -> f64 {
        let (_, text) = get(&format!("http://{}/metrics", self.second_api)).await;
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name) && line.contains(label)).collect();
        metric_sum(&lines.join("\n"), name).unwrap_or_default()
    }

    fn logs(&self) -> String {
        let second = self.second.as_ref().map(Process::log_tail).unwrap_or_default();
        format!("first:\n{}\nsecond:\n{second}", self.first.log_tail())
    }
}

async fn run(folder: &Path, name: &str, api: &str) -> Process {
    let mut command = Command::new(collector());
    command.arg("run").arg(format!("--server.http.listen-addr={api}"));
    command.arg(format!("--storage.path={}", folder.join(name).display())).arg(folder.join(format!("{name}.alloy")));
    let process = Process::spawn(name, command, &folder.join(format!("{name}.log"))).unwrap();
    process.ready(&format!("http://{api}/-/ready"), Duration::from_secs(20)).await.unwrap();
    process
}

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_in_comes_out_once_and_ends_with_its_markers() {
    let chain = Chain::start(true, "").await;
    pause(4).await;
    let gone = TARGETS - 1;
    chain.targets.announce(gone);
    chain.judge.retire(&Targets::instance(gone), now_ms());
    until("the last target's series end", Duration::from_secs(10), || async { chain.judge.totals().markers >= SERIES as u64 }).await;
    pause(2).await;
    let report = chain.report().await;
    let shown = || format!("{}\n{}", report.to_json(), chain.logs());
    assert_eq!((report.gaps, report.lost, report.duplicates, report.partial, report.missing_stale), (0, 0, 0, 0, 0), "{}", shown());
    let totals = report.totals;
    assert_eq!((totals.gaps, totals.duplicates, totals.disorders, totals.conflicts, totals.resends), (0, 0, 0, 0, 0), "{}", shown());
    assert_eq!((totals.false_stale, totals.late_stale, totals.bad_labels, totals.refused_requests), (0, 0, 0, 0), "{}", shown());
    assert!(report.filled >= 30, "{}", shown());
    let known = chain.second_metric("collector_receive_http_series_total", "known=\"true\"").await;
    let new = chain.second_metric("collector_receive_http_series_total", "known=\"false\"").await;
    println!("{known} series were known, {new} were new");
    assert!(known > 0.0, "{}", shown());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_receiver_costs_only_what_it_had_acknowledged_and_not_written() {
    let mut chain = Chain::start(false, "").await;
    pause(3).await;
    let killed = now_ms();
    let second = chain.second.take().unwrap();
    second.signal(Signal::Kill);
    second.ended().await;
    pause(4).await;
    chain.second = Some(run(chain.folder.path(), "second", &chain.second_api).await);
    pause(5).await;
    let report = chain.report().await;
    let shown = || format!("killed at {killed}: {}\n{}", report.to_json(), chain.logs());
    for target in &report.worst {
        let before_the_kill = |at: &&i64| (killed - CRASH_MS..killed + INTERVAL_MS / 2).contains(*at);
        let elsewhere: Vec<&i64> = target.missing_at_ms.iter().filter(|at| !before_the_kill(at)).collect();
        assert!(elsewhere.is_empty(), "{} lost what the first still had, at {elsewhere:?}: {}", target.target, shown());
        assert!(target.gaps <= 2, "{}", shown());
    }
    assert_eq!((report.duplicates, report.totals.conflicts, report.totals.false_stale), (0, 0, 0), "{}", shown());
    assert!(report.filled >= TARGETS as u64 * 9, "{}", shown());
}

/// What the second answers to raw bytes; empty if it only hangs up.
async fn raw(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(request).await; // it may hang up in the middle
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
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
    let chain = Chain::start(true, "conn_limit = 40\nserver_read_timeout = \"5s\"").await;
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
    // Largest blocks that are taken at all, several at a time and again and again.
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
    // More connections than there are places, none of which says a whole request.
    let mut loris = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(&chain.push).await.unwrap();
        let _ = stream.write_all(b"POST /api/v1/metrics/write HTTP/1.1\r\nhost: ").await; // some are turned away at once
        loris.push(stream);
    }
    let answers = loris.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let mut answer = String::new();
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await;
            answer
        })
    });
    let mut turned_away = 0;
    for answer in answers.collect::<Vec<_>>() {
        turned_away += usize::from(answer.await.unwrap().starts_with("HTTP/1.1 503"));
    }
    assert!(turned_away >= 15, "{turned_away}");
    until("the slow ones are cut off", Duration::from_secs(20), || async {
        chain.second_metric("collector_server_broken_connections_total", "reason=\"timeout\"").await >= 30.0
    })
    .await;
    let report = chain.report().await;
    let shown = || format!("{}\n{}", report.to_json(), chain.logs());
    assert_eq!((report.gaps, report.duplicates, report.totals.refused_requests), (0, 0, 0), "{}", shown());
    let grown = resident(pid).saturating_sub(before) >> 20;
    println!("memory grew by {grown} MiB");
    assert!(grown <= 2 * 32, "memory grew by {grown} MiB: {}", shown());
    assert!(chain.second_metric("collector_receive_http_rejected_requests_total", "").await >= 20.0);
    assert!(chain.second_metric("collector_server_broken_connections_total", "").await >= 45.0);
}
