//! `collector cluster`: what a fleet looks like, asked of any of its nodes.

mod explain;
mod simulate;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use clap::{Args, Subcommand, ValueEnum};
use net::{Client, ClientOptions, HttpClientConfig, read_body};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The whole fleet's targets, some hundred bytes each: enough for more than a hundred thousand.
const MAX_ANSWER: usize = 256 << 20;
/// A node asks the others for at most two seconds, then it answers for those that it heard.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ask a fleet who is in it and who scrapes what
#[derive(Args)]
pub struct Cluster {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// The nodes, and how many targets each scrapes
    Nodes(Asked),
    /// The targets, and which node scrapes each
    Targets(Asked),
    /// Everything about a target: where it comes from, who scrapes it, why, and who would be next
    Explain(explain::Explain),
    /// Where targets would go if nodes came or went
    Simulate(simulate::Simulate),
}

#[derive(Args)]
struct Asked {
    /// Any node of the fleet: HOST:PORT, or the URL of its UI
    #[arg(long, default_value = "127.0.0.1:12345", value_name = "HOST:PORT|URL")]
    server: String,
    /// How the answer is printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `/api/v0/web/peers`, as far as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Peer {
    name: String,
    addr: String,
    state: String,
    #[serde(default)]
    target_keys: Option<u64>,
    #[serde(default)]
    targets_differ: bool,
    #[serde(default)]
    version: String,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    load: u64,
    #[serde(default)]
    clock_skew_seconds: Option<f64>,
}

/// A line of `nodes`.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Node {
    name: String,
    address: String,
    state: String,
    /// Targets that it scrapes.
    targets: u64,
    /// Samples of their last scrapes.
    samples: u64,
    /// Keys of targets that it has discovered, its own and others'.
    known: Option<u64>,
    /// Whether these have differed from those of the node that was asked, for longer than discoveries lag.
    differs: bool,
    version: String,
    zone: String,
    /// What its targets cost, in samples a second; a few seconds old.
    load: f64,
    /// By how much its clock is ahead of that of the node that was asked, in seconds; none for that node itself.
    clock_skew_seconds: Option<f64>,
}

impl Cluster {
    pub fn execute(self) -> Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        print!("{}", runtime.block_on(self.question.answer())?);
        Ok(ExitCode::SUCCESS)
    }
}

impl Question {
    async fn answer(self) -> Result<String> {
        match self {
            Self::Nodes(asked) => {
                let targets = asked.targets().await?;
                let nodes = nodes(asked.get("/api/v0/web/peers").await?, &targets);
                asked.print(&nodes, |nodes| nodes_table(nodes))
            }
            Self::Targets(asked) => asked.print(&asked.targets().await?, |targets| targets_table(targets)),
            Self::Explain(explain) => explain.answer().await,
            Self::Simulate(simulate) => simulate.answer().await,
        }
    }
}

impl Asked {
    /// As a table or as JSON, as was asked for.
    fn print<T: Serialize>(&self, answer: &T, table: impl FnOnce(&T) -> String) -> Result<String> {
        match self.output {
            Output::Table => Ok(table(answer)),
            Output::Json => json(answer),
        }
    }

    /// The data of an answer in the shape of Prometheus' API. What nodes did not say is told on standard error.
    async fn data(&self, path: &str) -> Result<Value> {
        let mut answer: Value = self.get(path).await?;
        warn(&answer);
        Ok(answer["data"].take())
    }

    /// The active targets of the whole fleet.
    async fn targets(&self) -> Result<Vec<Value>> {
        match self.data("/api/v1/targets?scope=cluster&state=active").await?["activeTargets"].take() {
            Value::Array(targets) => Ok(targets),
            _ => bail!("--server does not answer like a collector: there are no activeTargets in its answer"),
        }
    }

    /// Errors don't show the address as it was given: a URL may hold a password.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let base = if self.server.contains("://") { self.server.clone() } else { format!("http://{}", self.server) };
        let url = format!("{}{path}", base.trim_end_matches('/'));
        let request = http::Request::get(&url).body(Bytes::new().into()).context("--server is neither HOST:PORT nor a URL")?;
        let options = ClientOptions { timeout: Some(PATIENCE), ..ClientOptions::default() };
        let answer = Client::new(&HttpClientConfig::default(), options)?.send(request).await;
        let answer = answer.map_err(|error| anyhow!("{error}; is --server the address of a node?"))?;
        let status = answer.status();
        let body = read_body(answer, MAX_ANSWER).await?;
        if !status.is_success() {
            let said = serde_json::from_slice::<Value>(&body).ok().and_then(|said| said["error"].as_str().map(str::to_owned));
            match said {
                Some(said) => bail!("{said}"),
                None => bail!("--server answered {status} to {path}"),
            }
        }
        serde_json::from_slice(&body).with_context(|| format!("--server does not answer like a collector to {path}"))
    }
}

fn warn(answer: &Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        eprintln!("Warning: {warning}");
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn nodes(peers: Vec<Peer>, targets: &[Value]) -> Vec<Node> {
    let mut shares: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for target in targets {
        let share = shares.entry(target["owner"].as_str().unwrap_or_default()).or_default();
        share.0 += 1;
        share.1 += target["samples"].as_u64().unwrap_or_default();
    }
    let mut nodes: Vec<Node> = peers
        .into_iter()
        .map(|peer| {
            let (targets, samples) = shares.remove(&*peer.name).unwrap_or_default();
            let Peer { name, addr: address, state, target_keys: known, targets_differ: differs, version, zone, load, .. } = peer;
            let (load, clock_skew_seconds) = (load as f64 / 60.0, peer.clock_skew_seconds);
            Node { name, address, state, targets, samples, known, differs, version, zone, load, clock_skew_seconds }
        })
        .collect();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    // Targets of nobody, and of nodes that have gone while they were counted.
    let rest = shares.into_iter().map(|(name, (targets, samples))| {
        let name = if name.is_empty() { "(nobody)" } else { name };
        Node { name: name.to_owned(), targets, samples, ..Node::default() }
    });
    nodes.extend(rest);
    nodes
}

fn nodes_table(nodes: &[Node]) -> String {
    let row = |node: &Node| {
        let Node { name, address, state, targets, samples, known, differs, version, zone, load, clock_skew_seconds } = node;
        let known = known.map(|known| known.to_string()).unwrap_or_default() + if *differs { " (differs)" } else { "" };
        // Of what nobody has there is no load.
        let load = if state.is_empty() { String::new() } else { format!("{load:.1}") };
        let skew = clock_skew_seconds.map(|skew| format!("{skew:+.3} s")).unwrap_or_default();
        let [name, address, state, zone, version] = [name, address, state, zone, version].map(Clone::clone);
        [name, address, state, targets.to_string(), samples.to_string(), load, known, zone, skew, version]
    };
    let head = ["NODE", "ADDRESS", "STATE", "TARGETS", "SAMPLES", "SAMPLES/S", "KNOWN", "ZONE", "CLOCK", "VERSION"];
    table(head, nodes.iter().map(row).collect())
}

fn targets_table(targets: &[Value]) -> String {
    let text = |target: &Value, field: &str| target[field].as_str().unwrap_or_default().to_owned();
    let mut rows: Vec<[String; 6]> = targets
        .iter()
        .zip(names(targets))
        .map(|(target, name)| {
            let owner = match text(target, "owner") {
                nobody if nobody.is_empty() => "(nobody)".to_owned(),
                owner => owner,
            };
            let [pool, health, error] = ["scrapePool", "health", "lastError"].map(|field| text(target, field));
            [name, pool, owner, health, target["samples"].as_u64().unwrap_or_default().to_string(), error]
        })
        .collect();
    rows.sort();
    table(["TARGET", "JOB", "NODE", "HEALTH", "SAMPLES", "ERROR"], rows)
}

/// What targets are called: by their URL, and where several of a job have the same, by their labels too.
fn names(targets: &[Value]) -> impl Iterator<Item = String> {
    let place = |target: &Value| (target["scrapePool"].to_string(), target["scrapeUrl"].to_string());
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    targets.iter().for_each(|target| *counts.entry(place(target)).or_default() += 1);
    targets.iter().map(move |target| {
        let url = target["scrapeUrl"].as_str().unwrap_or_default();
        let Some(labels) = target["labels"].as_object().filter(|_| counts.get(&place(target)).is_some_and(|count| *count > 1)) else {
            return url.to_owned();
        };
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{url} {{{}}}", labels.join(", "))
    })
}

/// Columns as wide as they must be, two spaces apart.
fn table<const COLUMNS: usize>(head: [&str; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    let head = head.map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let written = write!(line, "{cell:width$}  ");
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(url: &str, owner: &str, samples: u64) -> Value {
        json!({ "scrapeUrl": url, "scrapePool": "node", "owner": owner, "health": "up", "samples": samples, "lastError": "" })
    }

    fn peer(name: &str, known: u64) -> Peer {
        let state = "participant".to_owned();
        let clock_skew_seconds = (known < 3).then_some(-0.25);
        Peer {
            name: name.to_owned(),
            addr: format!("{name}:1"),
            state,
            target_keys: Some(known),
            targets_differ: known < 3,
            version: "1.0".to_owned(),
            zone: "east".to_owned(),
            load: 90,
            clock_skew_seconds,
        }
    }

    #[test]
    fn each_node_has_its_share_and_what_nobody_scrapes_is_shown() {
        let targets = [target("http://a", "n1", 5), target("http://b", "n1", 6), target("http://c", "", 0)];
        let expected = "NODE      ADDRESS  STATE        TARGETS  SAMPLES  SAMPLES/S  KNOWN        ZONE  CLOCK     VERSION\n\
                        n1        n1:1     participant  2        11       1.5        3            east            1.0\n\
                        n2        n2:1     participant  0        0        1.5        2 (differs)  east  -0.250 s  1.0\n\
                        (nobody)                        1        0\n";
        assert_eq!(nodes_table(&nodes(vec![peer("n2", 2), peer("n1", 3)], &targets)), expected);
    }

    #[tokio::test]
    async fn no_error_shows_a_password() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let strange = format!("http://me:hunter2@{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                socket.readable().await.unwrap();
                socket.try_read(&mut [0; 4096]).unwrap();
                socket.try_write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            }
        });
        for server in [strange, "http://me:hunter2@not a host".to_owned(), "http://me:hunter2@127.0.0.1:1".to_owned()] {
            let error = format!("{:#}", Asked { server, output: Output::Json }.targets().await.unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn targets_of_one_url_are_told_apart_by_their_labels() {
        let of = |shard: &str| {
            let mut target = target("http://a", "n1", 5);
            target["labels"] = json!({ "shard": shard, "job": "j" });
            target
        };
        let expected = "TARGET                         JOB   NODE  HEALTH  SAMPLES  ERROR\n\
                        http://a {job=\"j\", shard=\"1\"}  node  n1    up      5\n\
                        http://a {job=\"j\", shard=\"2\"}  node  n1    up      5\n\
                        http://b                       node  n1    up      1\n";
        assert_eq!(targets_table(&[of("2"), target("http://b", "n1", 1), of("1")]), expected);
    }

    #[test]
    fn each_target_has_its_node() {
        let expected = "TARGET    JOB   NODE      HEALTH  SAMPLES  ERROR\n\
                        http://a  node  n1        up      5\n\
                        http://c  node  (nobody)  up      0\n";
        assert_eq!(targets_table(&[target("http://c", "", 0), target("http://a", "n1", 5)]), expected);
    }
}
