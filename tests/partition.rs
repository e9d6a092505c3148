//! A fleet of real processes, each in a network namespace of its own, whose links are really cut. The namespaces are made without
//! privileges; where the kernel does not allow that, the test fails and says so.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use loadtest::process::Process;
use serde_json::Value;
use support::calm::calmly;
use support::{collector, until};
use tokio::process::{Child, Command};

const NODES: usize = 3;
const TARGETS: u64 = 12;

/// A switch and a namespace per node, in a namespace of their own. They vanish with the process that holds them.
struct Island {
    holder: Child,
}

impl Island {
    async fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "--mount", "sleep", "600"]).kill_on_drop(true).stdin(Stdio::null());
        let island = Self { holder: command.spawn().expect("unshare (util-linux) runs") };
        let mut script = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip link add hub type bridge && ip link set hub up".to_owned();
        for node in 1..=NODES {
            write!(
                script,
                " && ip netns add n{node} && ip link add v{node} type veth peer name eth0 netns n{node} && ip link set v{node} master hub up \
                 && ip -n n{node} addr add 10.77.0.{node}/24 dev eth0 && ip -n n{node} link set eth0 up && ip -n n{node} link set lo up"
            )
            .unwrap();
        }
        // Right after its start the holder may not have its namespaces yet.
        until("its namespaces are there", Duration::from_secs(10), || async {
            std::fs::read_link("/proc/self/ns/net").ok() != std::fs::read_link(format!("/proc/{}/ns/net", island.pid())).ok()
        })
        .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let made = island.enter().args(["sh", "-c", &script]).output().await.unwrap();
        assert!(made.status.success(), "network namespaces can't be made: {}", String::from_utf8_lossy(&made.stderr));
        island
    }

    fn pid(&self) -> u32 {
        self.holder.id().unwrap()
    }

    /// A command within the island, which follows.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--user", "--mount", "--net", "--preserve-credentials"]).kill_on_drop(true);
        command
    }

    /// The same in a node's namespace.
    fn at(&self, node: usize) -> Command {
        let mut command = self.enter();
        command.args(["ip", "netns", "exec", &format!("n{node}")]);
        command
    }

    async fn link(&self, node: usize, state: &str) {
        assert!(self.enter().args(["ip", "link", "set", &format!("v{node}"), state]).status().await.unwrap().success());
    }

    fn start(&self, node: usize, policy: &str, folder: &Path) -> Process {
        let mut command = self.at(node);
        let peers = (1..=NODES).map(|peer| format!("10.77.0.{peer}:12345")).collect::<Vec<_>>().join(",");
        command.arg(collector()).args(["join", "--cluster.insecure"]).arg(format!("--cluster.partition-policy={policy}"));
        command.arg(format!("--peers={peers}")).arg(format!("--cluster.wait-for-size={NODES}"));
        command.arg(format!("--cluster.node-name=node-{node}")).arg(format!("--server.http.listen-addr=10.77.0.{node}:12345"));
        command.arg(format!("--storage.path={}", folder.join(format!("data-{node}")).display())).arg(folder.join("config.alloy"));
        Process::spawn(&format!("node-{node}"), command, &folder.join(format!("node-{node}.log"))).unwrap()
    }

    /// How many targets a node has by its own word.
    async fn targets(&self, node: usize) -> Option<u64> {
        let mut command = self.at(node);
        command.arg(collector()).args(["cluster", "nodes", "--output", "json", "--server"]).arg(format!("10.77.0.{node}:12345"));
        let told: Vec<Value> = serde_json::from_slice(&command.output().await.unwrap().stdout).ok()?;
        let name = format!("node-{node}");
        told.iter().find(|told| told["name"] == name.as_str())?["targets"].as_u64()
    }

    async fn targets_of(&self, nodes: &[usize]) -> Option<u64> {
        let mut sum = 0;
        for node in nodes {
            sum += self.targets(*node).await?;
        }
        Some(sum)
    }
}

/// A fleet that has come to rest.
async fn fleet(policy: &str, folder: &Path) -> (Island, Vec<Process>) {
    let targets: Vec<_> = (1..=TARGETS).map(|port| format!("{{\"__address__\" = \"127.0.0.1:{port}\"}}")).collect();
    let config = format!(
        "prometheus.scrape \"dead\" {{\n\ttargets = [{}]\n\tforward_to = []\n\tscrape_interval = \"1s\"\n\tscrape_timeout = \"1s\"\n\t\
         clustering {{\n\t\tenabled = true\n\t}}\n}}\n",
        targets.join(", ")
    );
    std::fs::write(folder.join("config.alloy"), config).unwrap();
    let island = Island::new().await;
    let nodes: Vec<Process> = (1..=NODES).map(|node| island.start(node, policy, folder)).collect();
    until("all share", Duration::from_secs(30), || async {
        island.targets_of(&[1, 2, 3]).await == Some(TARGETS) && island.targets(1).await.is_some_and(|share| share > 0)
    })
    .await;
    (island, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_of_a_cut_scrape_everything_and_share_again_within_ten_seconds_after_the_heal() {
    calmly(async || {
        let folder = tempfile::tempdir().unwrap();
        let (island, _nodes) = fleet("both", folder.path()).await;
        let share = island.targets(1).await.unwrap();
        island.link(1, "down").await;
        until("each side has all targets", Duration::from_secs(20), || async {
            island.targets(1).await == Some(TARGETS) && island.targets_of(&[2, 3]).await == Some(TARGETS)
        })
        .await;
        island.link(1, "up").await;
        until("all share again", Duration::from_secs(10), || async {
            island.targets(1).await == Some(share) && island.targets_of(&[1, 2, 3]).await == Some(TARGETS)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_link_is_cut_stops_before_the_majority_takes_over_and_shares_again_after_the_heal() {
    calmly(async || {
        let folder = tempfile::tempdir().unwrap();
        let (island, nodes) = fleet("majority", folder.path()).await;
        let (cut_off, others) = (1, [2, 3]);
        let share = island.targets(cut_off).await.unwrap();

        island.link(cut_off, "down").await;
        let began = Instant::now();
        loop {
            let taken = island.targets_of(&others).await;
            let kept = island.targets(cut_off).await;
            if taken == Some(TARGETS) {
                assert_eq!(kept, Some(0), "it had stopped before");
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "not taken over: {taken:?}, {kept:?}");
        }
        let log = std::fs::read_to_string(nodes[cut_off - 1].log()).unwrap();
        assert!(log.contains("no majority of the fleet hears this node"), "{log}");

        island.link(cut_off, "up").await;
        until("all share again", Duration::from_secs(20), || async {
            island.targets(cut_off).await == Some(share) && island.targets_of(&[1, 2, 3]).await == Some(TARGETS)
        })
        .await;
    })
    .await;
}
