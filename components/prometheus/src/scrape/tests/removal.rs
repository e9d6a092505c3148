//! A block that is taken out of the configuration of one node after the other: as long as one has it, its targets are scraped as if nothing
//! had happened, and with the last one their series end.

use model::Labels;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

/// A node with the component, which gets other arguments when it is told so, and is removed when nobody tells it anything any more.
struct Member {
    cluster: Cluster,
    collected: Collected,
    orders: mpsc::UnboundedSender<Arguments>,
    running: JoinHandle<()>,
}

impl Member {
    fn start(network: &Network, name: &str, last: u8, peers: &[&str], address: &str) -> Self {
        Self::start_with(network, name, last, peers, address, "")
    }

    /// With more arguments.
    fn start_with(network: &Network, name: &str, last: u8, peers: &[&str], address: &str, more: &str) -> Self {
        let (cluster, collected) = (fleet_node(network, name, last, peers), Collected::default());
        let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default().with(cluster.clone()));
        let (mut scrape, _) = Scrape::build(arguments_with(address, &receiver(collected.clone()), more), &setup).unwrap();
        let (orders, mut told) = mpsc::unbounded_channel();
        let running = tokio::spawn(async move {
            loop {
                tokio::select! {
                    (rank, event) = replica::next_claim(&mut scrape.replicas) => scrape.replicas[rank].follow(event),
                    order = told.recv() => match order {
                        Some(arguments) => scrape.update(arguments, &setup).await,
                        None => break,
                    },
                }
            }
            scrape.end(Stop::Removed).await;
        });
        Self { cluster, collected, orders, running }
    }

    async fn remove(self) -> (Cluster, Collected) {
        drop(self.orders);
        self.running.await.unwrap();
        (self.cluster, self.collected)
    }
}

/// When `m` was sampled, and when it was ended.
fn of_m(collected: &[&Collected]) -> (Vec<i64>, Vec<i64>) {
    of_copy(collected, None)
}

/// The same of one of several copies.
fn of_copy(collected: &[&Collected], copy: Option<&str>) -> (Vec<i64>, Vec<i64>) {
    let batches: Vec<Batch> = collected.iter().flat_map(|collected| collected.0.lock().clone()).collect();
    let of_copy = |labels: &Labels| copy.is_none() || labels.get("__replica__") == copy;
    let all = batches.iter().flat_map(Batch::iter).filter(|(series, ..)| series.metric_name() == "m" && of_copy(&series.to_labels()));
    let (ends, samples): (Vec<_>, Vec<_>) = all.map(|(_, at, value)| (at, value)).partition(|(_, value)| model::stale::is_stale(*value));
    let times = |list: Vec<(i64, f64)>| {
        let mut times: Vec<i64> = list.into_iter().map(|(at, _)| at).collect();
        times.sort_unstable();
        times
    };
    (times(samples), times(ends))
}

#[tokio::test]
async fn a_block_that_is_removed_node_by_node_ends_its_series_with_the_last() {
    let (network, address) = (Network::new(), target("m 1\n").await);
    let a = Member::start(&network, "a", 1, &[], &address);
    until(|| a.collected.value("m") == Some(1.0)).await;
    let b = Member::start(&network, "b", 2, &["10.0.0.1:1"], &address);
    until(|| [&a, &b].iter().all(|node| node.cluster.peers().len() == 2)).await;
    // Whoever has it is the first.
    let is_holder = async |node: &Member| node.cluster.holders().await.iter().any(|holder| holder.since_ms.is_some());
    let (first, last) = if is_holder(&b).await { (b, a) } else { (a, b) };

    let (_still_there, of_first) = first.remove().await;
    let before = of_m(&[&of_first]).0.into_iter().max().unwrap();
    until(|| of_m(&[&last.collected]).0.iter().filter(|at| **at > before).count() > 3).await;
    let of_both = [&of_first, &last.collected.clone()];
    let (samples, ends) = of_m(&of_both);
    assert_eq!(ends, [0; 0], "while one node has the block, nothing ends");
    assert!(samples.windows(2).all(|pair| pair[0] < pair[1]), "each slot once: {samples:?}");

    let (_, of_last) = last.remove().await;
    let (samples, ends) = of_m(&[&of_first, &of_last]);
    assert!(ends.len() == 1 && ends[0] > samples[samples.len() - 1], "{ends:?} after {samples:?}");
}

#[tokio::test]
async fn a_copy_that_a_lower_factor_takes_away_goes_on_where_it_is_still_wanted() {
    let clustering = |factor: u32| format!("clustering {{\n\tenabled = true\n\treplication_factor = {factor}\n}}");
    let (network, address) = (Network::new(), target("m 1\n").await);
    let start = |name, last, peers: &[&str]| Member::start_with(&network, name, last, peers, &address, &clustering(2));
    let mut members = vec![start("a", 1, &[]), start("b", 2, &["10.0.0.1:1"]), start("c", 3, &["10.0.0.1:1"])];
    let newest = |member: &Member| of_copy(&[&member.collected], Some("r1")).0.last().copied();
    until(|| members.iter().any(|member| newest(member).is_some()) && members[0].cluster.peers().len() == 3).await;
    // Whoever scraped it last.
    members.sort_by_key(newest);
    let first = members.pop().unwrap();

    first.orders.send(arguments_with(&address, &receiver(first.collected.clone()), &clustering(1))).unwrap();
    let told = newest(&first);
    until(|| members.iter().any(|member| newest(member) > told)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all: Vec<&Collected> = members.iter().chain([&first]).map(|member| &member.collected).collect();
    let (samples, ends) = of_copy(&all, Some("r1"));
    assert_eq!(ends, [0; 0], "while one node wants the copy, nothing of it ends");
    assert!(samples.windows(2).all(|pair| pair[0] < pair[1]), "each slot once: {samples:?}");
}
