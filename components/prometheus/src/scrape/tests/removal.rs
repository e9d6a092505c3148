//! A block that is taken out of the configuration of one node after the other: as long as one has it, its targets are scraped as if nothing
//! had happened, and with the last one their series end.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A node with the component, which is removed when it is told so.
struct Member {
    cluster: Cluster,
    collected: Collected,
    remove: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Member {
    fn start(network: &Network, name: &str, last: u8, peers: &[&str], address: &str) -> Self {
        let (cluster, collected) = (fleet_node(network, name, last, peers), Collected::default());
        let setup = Setup::detached("prometheus.scrape.x", Path::new("/nowhere"), Services::default().with(cluster.clone()));
        let (mut scrape, _) = Scrape::build(arguments(address, &receiver(collected.clone())), &setup).unwrap();
        let (remove, mut removed) = oneshot::channel();
        let running = tokio::spawn(async move {
            loop {
                tokio::select! {
                    (rank, event) = replica::next_claim(&mut scrape.replicas) => scrape.replicas[rank].follow(event),
                    _ = &mut removed => break,
                }
            }
            scrape.end(Stop::Removed).await;
        });
        Self { cluster, collected, remove, running }
    }

    async fn remove(self) -> (Cluster, Collected) {
        self.remove.send(()).unwrap();
        self.running.await.unwrap();
        (self.cluster, self.collected)
    }
}

/// When `m` was sampled, and when it was ended.
fn of_m(collected: &[&Collected]) -> (Vec<i64>, Vec<i64>) {
    let batches: Vec<Batch> = collected.iter().flat_map(|collected| collected.0.lock().clone()).collect();
    let all = batches.iter().flat_map(Batch::iter).filter(|(series, ..)| series.metric_name() == "m");
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
