//! Tests of `prometheus.scrape` over a real target on loopback.

mod order;
mod removal;

use std::path::Path;

use cluster::{Clock, Cluster, Config, memory::Network};
use component::{MetricsReceiver, Services, Target};
use parking_lot::Mutex;
use syntax::{Scope, ToValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::TargetBoard;

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Batch>>>);

impl ConsumeMetrics for Collected {
    fn consume(&self, batch: Batch) -> Result<(), Refused> {
        self.0.lock().push(batch);
        Ok(())
    }
}

impl Collected {
    fn value(&self, name: &str) -> Option<f64> {
        let batches = self.0.lock();
        let samples = batches
            .iter()
            .flat_map(|batch| batch.iter().map(|(series, _, value)| (series.metric_name().to_owned(), value)).collect::<Vec<_>>());
        samples.filter(|(metric, _)| metric == name).map(|(_, value)| value).next_back()
    }
}

/// A target that answers every request on any path with `body`.
async fn target(body: &'static str) -> String {
    typed_target("text/plain", body).await
}

async fn typed_target(content_type: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all((head + body).as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn arguments(address: &str, to: &MetricsReceiver) -> Arguments {
    arguments_with(address, to, "")
}

fn arguments_with(address: &str, to: &MetricsReceiver, more: &str) -> Arguments {
    let target = Target([("__address__", address)].into_iter().collect());
    let scope = Scope::new().with("to", to.to_value()).with("target", target.to_value());
    let clustering = if more.contains("clustering") { "" } else { "clustering {\nenabled = true\n}\n" };
    let source = format!("targets = [target]\nforward_to = [to]\nscrape_interval = \"300ms\"\nscrape_timeout = \"300ms\"\n{clustering}");
    syntax::decode_str(&format!("{source}{more}"), &scope).unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("within a minute");
}

#[tokio::test]
async fn outside_a_fleet_everything_is_scraped_though_clustering_is_asked_for() {
    let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
    to.fill(collected.clone());
    let board = TargetBoard::default();
    let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default().with(board.clone()));
    let arguments = arguments(&target("m{a=\"1\"} 42\n").await, &to);
    let (scrape, _) = Scrape::build(arguments, &setup).unwrap();
    until(|| collected.value("m") == Some(42.0)).await;
    until(|| collected.value("up") == Some(1.0)).await;
    assert_eq!(board.counts(), (1, 1));
    let batches = collected.0.lock().clone();
    let labels = batches.iter().flat_map(|batch| batch.layout.iter().map(|series| series.to_labels()).collect::<Vec<_>>()).next().unwrap();
    assert_eq!(labels.get("job"), Some("prometheus.scrape.x"), "the component's ID names the job");
    scrape.end(Stop::Removed).await;
}

#[tokio::test]
async fn a_removed_target_gets_its_markers_and_a_dead_one_shows_in_the_health() {
    let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
    to.fill(collected.clone());
    let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default());
    let good = arguments(&target("m 1\n").await, &to);
    let (mut scrape, _) = Scrape::build(good, &setup).unwrap();
    until(|| collected.value("m") == Some(1.0)).await;

    // Nobody listens on port 1.
    scrape.try_update(arguments("127.0.0.1:1", &to), &setup).await.unwrap();
    until(|| collected.value("m").is_some_and(model::stale::is_stale)).await;
    until(|| collected.value("up") == Some(0.0)).await;
    until(|| {
        scrape.report(&setup);
        setup.health().get().state == component::HealthState::Unhealthy
    })
    .await;
    assert!(setup.health().get().message.contains("none of 1 targets can be scraped"), "{}", setup.health().get().message);
    scrape.end(Stop::Exit).await;
}

#[tokio::test]
async fn what_is_experimental_needs_the_process_leave_and_then_works() {
    let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
    to.fill(collected.clone());
    let body = "# HELP c Help.\n# TYPE c counter\nc_total 1\nc_created 0.5\n# EOF\n";
    let address = typed_target("application/openmetrics-text", body).await;
    let names = ["honor_metadata", "enable_type_and_unit_labels", "start_timestamp_zero_ingestion"];
    let more = names.map(|name| format!("{name} = true\n")).concat();
    let arguments = arguments_with(&address, &to, &more);
    let build = |services| Scrape::build(arguments.clone(), &Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), services));
    let error = build(Services::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("honor_metadata") && error.contains("--stability.level"), "{error}");
    let (scrape, _) = build(Services::default().with(component::StabilityLevel(syntax::Stability::Experimental))).unwrap();
    until(|| collected.value("c_total") == Some(1.0)).await;
    let mut batches = collected.0.lock().clone();
    // On a busy machine the first scrapes may have come too late.
    let is_report = |batch: &Batch| batch.layout.iter().next().is_some_and(|series| series.metric_name() == "up");
    let late = batches.iter().take_while(|batch| is_report(batch)).count();
    batches.drain(..late);
    let zero = batches[0].iter().next().map(|(series, at, value)| (series.to_labels().to_string(), at, value));
    let labels = format!("{{__name__=\"c_total\", __type__=\"counter\", instance=\"{address}\", job=\"prometheus.scrape.x\"}}");
    assert_eq!(zero, Some((labels, 500, 0.0)));
    let help = batches[1].layout.iter().next().unwrap().metadata().map(|said| said.help.to_string());
    assert_eq!(help.as_deref(), Some("Help."));
    scrape.end(Stop::Exit).await;
}

#[tokio::test]
async fn an_update_that_the_process_does_not_allow_changes_nothing() {
    let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
    to.fill(collected.clone());
    let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default());
    let address = target("m 1\n").await;
    let (mut scrape, _) = Scrape::build(arguments(&address, &to), &setup).unwrap();
    scrape.update(arguments_with(&address, &to, "honor_metadata = true"), &setup).await;
    assert!(setup.health().get().message.contains("the last good arguments stay"), "{}", setup.health().get().message);
    assert!(!scrape.arguments.honor_metadata);
    scrape.end(Stop::Exit).await;
}

/// A node of a fleet on a network in memory, and a component on it whose target has the label `host`. The component follows the cluster
/// until it is dropped.
async fn member(
    network: &Network,
    name: &str,
    last: u8,
    peers: &[&str],
    address: &str,
) -> (Cluster, Collected, tokio::task::JoinHandle<()>) {
    member_with(network, name, last, peers, address, "clustering {\n\tenabled = true\n}").await
}

/// The same with more of the block.
async fn member_with(
    network: &Network,
    name: &str,
    last: u8,
    peers: &[&str],
    address: &str,
    more: &str,
) -> (Cluster, Collected, tokio::task::JoinHandle<()>) {
    let collected = Collected::default();
    let cluster = fleet_node(network, name, last, peers);
    let (to, labels) = (receiver(collected.clone()), [("__address__", address), ("host", name)].into_iter().collect());
    let following = follow(&cluster, Arguments { targets: vec![Target(labels)], ..arguments_with(address, &to, more) }, |_| {});
    (cluster, collected, following)
}

fn receiver(sink: impl ConsumeMetrics + 'static) -> MetricsReceiver {
    let to = MetricsReceiver::new("to");
    to.fill(sink);
    to
}

fn fleet_node(network: &Network, name: &str, last: u8, peers: &[&str]) -> Cluster {
    fleet_node_in(&prometheus::Registry::new(), network, name, last, peers)
}

/// With its metrics.
fn fleet_node_in(metrics: &prometheus::Registry, network: &Network, name: &str, last: u8, peers: &[&str]) -> Cluster {
    let config = Config::new(name, format!("10.0.0.{last}:1").parse().unwrap()).joining(peers.iter().copied()).unwrap();
    let runtime = tokio::runtime::Handle::current();
    let cluster = Cluster::start_in_memory(config, network, Clock::system(), metrics, &runtime).unwrap();
    cluster.participate();
    cluster
}

/// A component on a node, which does what the cluster says until it is dropped.
fn follow(cluster: &Cluster, arguments: Arguments, change: impl FnOnce(&mut Scrape)) -> tokio::task::JoinHandle<()> {
    let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default().with(cluster.clone()));
    let (mut scrape, _) = Scrape::build(arguments, &setup).unwrap();
    change(&mut scrape);
    tokio::spawn(async move {
        loop {
            let (rank, event) = replica::next_claim(&mut scrape.replicas).await;
            scrape.replicas[rank].follow(event);
        }
    })
}

#[tokio::test]
async fn nodes_whose_targets_differ_in_a_label_scrape_a_target_once_and_end_what_the_other_began() {
    let (network, address) = (Network::new(), target("m 1\n").await);
    let (a, by_a, _a) = member(&network, "a", 1, &[], &address).await;
    until(|| by_a.value("m") == Some(1.0)).await;
    let (b, by_b, _b) = member(&network, "b", 2, &["10.0.0.1:1"], &address).await;
    until(|| [&a, &b].iter().all(|node| node.peers().len() == 2)).await;
    let scraped = |by: &Collected, host: &str, stale: bool| {
        let batches = by.0.lock();
        let samples =
            batches.iter().flat_map(|batch| batch.iter().map(|(series, at, value)| (series.to_labels(), at, value)).collect::<Vec<_>>());
        let wanted = samples.filter(|(labels, _, value)| labels.get("host") == Some(host) && model::stale::is_stale(*value) == stale);
        wanted.map(|(labels, at, _)| (labels.get("__name__").unwrap().to_owned(), at)).collect::<Vec<_>>()
    };
    // Whoever has it now, the other takes it over when the first leaves.
    let (leaver, left, stayer, rest) = if b.holders().await.iter().any(|holder| holder.since_ms.is_some()) {
        (&b, (&by_b, "b"), "a", &by_a)
    } else {
        (&a, (&by_a, "a"), "b", &by_b)
    };
    assert!(leaver.leave(Duration::from_secs(10)).await.drained);
    until(|| scraped(rest, stayer, false).iter().any(|(name, _)| name == "m")).await;
    until(|| scraped(rest, left.1, true).len() == 6).await;
    let last = scraped(left.0, left.1, false).iter().map(|(_, at)| *at).max().unwrap();
    let ended = scraped(rest, left.1, true);
    assert!(ended.iter().all(|(_, at)| *at > last), "m and five of the report end after their last samples");
    // Those of scrapes that failed meanwhile are before.
    assert!(scraped(left.0, left.1, true).iter().all(|(_, at)| *at <= last), "who gives it away ends nothing");
    let first = scraped(rest, stayer, false).iter().map(|(_, at)| *at).filter(|at| *at > last).min();
    assert_eq!(first, Some(ended[0].1), "by the scrape that goes on");
}

/// The values of a label that the samples of a metric have.
fn values_of(collected: &Collected, metric: &str, label: &str) -> std::collections::BTreeSet<String> {
    let batches = collected.0.lock();
    let labels = batches.iter().flat_map(|batch| batch.layout.iter().map(|series| series.to_labels()).collect::<Vec<_>>());
    let of_metric = labels.filter(|labels| labels.get("__name__") == Some(metric));
    of_metric.filter_map(|labels| labels.get(label).map(str::to_owned)).collect()
}

#[tokio::test]
async fn with_a_replication_factor_each_node_scrapes_a_set_of_its_own_and_one_alone_scrapes_the_first() {
    const TWICE: &str = "clustering {\n\tenabled = true\n\treplication_factor = 2\n}";
    let (network, address) = (Network::new(), target("m 1\n").await);
    let (a, by_a, _a) = member_with(&network, "a", 1, &[], &address, TWICE).await;
    until(|| by_a.value("m") == Some(1.0)).await;
    assert_eq!(values_of(&by_a, "m", "__replica__"), ["r0".to_owned()].into(), "there is nobody for the second set");
    let (b, by_b, _b) = member_with(&network, "b", 2, &["10.0.0.1:1"], &address, TWICE).await;
    until(|| [&a, &b].iter().all(|node| node.peers().len() == 2)).await;
    until(|| by_b.value("m") == Some(1.0)).await;
    let by_both = || (values_of(&by_a, "up", "__replica__"), values_of(&by_b, "up", "__replica__"));
    until(|| by_both().0.union(&by_both().1).count() == 2).await;
    let held = |node: &Cluster| {
        let node = node.clone();
        async move { node.holders().await.into_iter().filter(|holder| holder.since_ms.is_some()).count() }
    };
    assert_eq!((held(&a).await, held(&b).await), (1, 1), "one set each");
}

#[tokio::test]
async fn replicas_come_and_go_with_the_arguments() {
    let clustering = |factor: u64, label: &str| {
        format!("clustering {{\n\tenabled = true\n\treplication_factor = {factor}\n\treplica_label = \"{label}\"\n}}")
    };
    let (network, address) = (Network::new(), target("m 1\n").await);
    let config = Config::new("a", "10.0.0.1:1".parse().unwrap());
    let runtime = tokio::runtime::Handle::current();
    let cluster = Cluster::start_in_memory(config, &network, Clock::system(), &prometheus::Registry::new(), &runtime).unwrap();
    let (to, collected) = (MetricsReceiver::new("to"), Collected::default());
    to.fill(collected.clone());
    let board = TargetBoard::default();
    let services = Services::default().with(cluster).with(board.clone());
    let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), services);
    let (mut scrape, _) = Scrape::build(arguments_with(&address, &to, &clustering(1, "x")), &setup).unwrap();
    assert_eq!(board.pools().len(), 1);
    scrape.update(arguments_with(&address, &to, &clustering(3, "copy")), &setup).await;
    let pools: Vec<_> = board.pools().into_iter().map(|pool| (pool.pool, pool.targets[0].labels.get("copy").map(str::to_owned))).collect();
    let named = |pool: &str, copy: &str| (pool.to_owned(), Some(copy.to_owned()));
    assert_eq!(pools, [named("prometheus.scrape.x", "r0"), named("prometheus.scrape.x#1", "r1"), named("prometheus.scrape.x#2", "r2")]);
    scrape.update(arguments_with(&address, &to, &clustering(2, "")), &setup).await;
    let labels: Vec<_> = board.pools().into_iter().map(|pool| pool.targets[0].labels.to_string()).collect();
    assert!(labels.len() == 2 && labels[0] == labels[1] && !labels[0].contains("r0"), "{labels:?}");
    scrape.update(arguments_with(&address, &to, ""), &setup).await;
    assert_eq!(board.pools().len(), 1);
    scrape.end(Stop::Exit).await;
}
