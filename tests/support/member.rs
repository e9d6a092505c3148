//! Single members of a fleet, each with flags of its own, and what becomes of two that do not belong together.

use std::path::Path;
use std::time::Duration;

use loadtest::fleet::metric_sum;
use loadtest::process::Process;
use tokio::process::Command;

use super::{collector, free_port, get, until};

/// Targets that refuse, shared by the fleet.
pub const CONFIG: &str = "prometheus.scrape \"dead\" {\n\ttargets = [{\"__address__\" = \"127.0.0.1:1\"}, {\"__address__\" = \"127.0.0.1:2\"}, \
                      {\"__address__\" = \"127.0.0.1:3\"}, \
                      {\"__address__\" = \"127.0.0.1:3\", \"shard\" = \"2\"}]\n\tforward_to = []\n\tscrape_interval = \"1s\"\n\tscrape_timeout = \"1s\"\n\tclustering {\n\t\t\
                      enabled = true\n\t}\n}\n";

/// Two targets of [`CONFIG`] have it.
pub const SHARED_URL: &str = "http://127.0.0.1:3/metrics";

/// A node with flags of its own.
pub fn node(folder: &Path, name: &str, peer: Option<&str>, flags: &[String]) -> (Process, String) {
    node_with(folder, name, peer, flags, &[])
}

/// The same with an environment of its own.
pub fn node_with(folder: &Path, name: &str, peer: Option<&str>, flags: &[String], environment: &[(&str, String)]) -> (Process, String) {
    let config = folder.join("config.alloy");
    std::fs::write(&config, CONFIG).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(collector());
    match peer {
        Some(peer) => command.arg("join").arg(format!("--peers={peer}")),
        None => command.args(["run", "--cluster.enabled"]),
    };
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.args(flags).arg(format!("--cluster.node-name={name}")).arg(format!("--server.http.listen-addr={address}"));
    command.arg(format!("--storage.path={}", folder.join(name).display())).arg(config);
    (Process::spawn(name, command, &folder.join(format!("{name}.log"))).unwrap(), address)
}

/// Adds up the series of a name that have a label: `name|label="value"`.
pub async fn counter(address: &str, series: &str) -> f64 {
    let (_, text) = get(&format!("http://{address}/metrics")).await;
    let (name, label) = series.split_once('|').unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(name) && line.contains(label)).collect();
    metric_sum(&lines.join("\n"), name).unwrap_or_default()
}

/// Starts a node and one that must not join it; both sides have to say why, and the first goes on.
pub async fn refused(ours: Vec<String>, theirs: Vec<String>, step: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (_first, address) = node(folder.path(), "first", None, &ours);
    _first.ready(&format!("http://{address}/-/ready"), Duration::from_secs(20)).await.unwrap();
    let (second, other) = node(folder.path(), "second", Some(&address), &theirs);
    until("the second says why it is not ready", Duration::from_secs(20), || async {
        let (status, text) = ready(&other).await;
        status == 503 && text.contains(&format!("step {step}"))
    })
    .await;
    assert!(counter(&other, &format!("collector_cluster_join_failures_total|step=\"{step}\"")).await >= 1.0);
    assert!(counter(&address, &format!("collector_cluster_rejected_peers_total|reason=\"{step}\"")).await >= 1.0);
    let log = std::fs::read_to_string(second.log()).unwrap();
    assert!(log.contains(&format!("failed at step {step}")), "{log}");
    assert_eq!(ready(&address).await.0, 200, "the first goes on");
}

/// `/-/ready`, or 0 while nobody listens yet.
pub async fn ready(address: &str) -> (u16, String) {
    if tokio::net::TcpStream::connect(address).await.is_err() {
        return (0, String::new());
    }
    get(&format!("http://{address}/-/ready")).await
}
