//! Tests of `prometheus.scrape` over a real target on loopback.

use std::path::Path;

use component::{MetricsReceiver, Services, Target};
use parking_lot::Mutex;
use syntax::{Scope, ToValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

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
    let source =
        "targets = [target]\nforward_to = [to]\nscrape_interval = \"100ms\"\nscrape_timeout = \"100ms\"\nclustering {\nenabled = true\n}\n";
    syntax::decode_str(&format!("{source}{more}"), &scope).unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("within ten seconds");
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
    scrape.try_update(arguments("127.0.0.1:1", &to), &setup).unwrap();
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
    let batches = collected.0.lock().clone();
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
    scrape.update(arguments_with(&address, &to, "honor_metadata = true"), &setup);
    assert!(setup.health().get().message.contains("the last good arguments stay"), "{}", setup.health().get().message);
    assert!(!scrape.arguments.honor_metadata);
    scrape.end(Stop::Exit).await;
}
