//! docker-compose.yml without an engine: the file's own commands and configurations, started as processes. Host names become addresses on
//! loopback and paths in containers become files here; nothing else is changed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests fail by panicking

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use loadtest::process::Process;
use serde_json::Value;
use support::{PATIENCE, debian, free_port, get, until};
use tokio::process::Command;

/// A service of the file.
struct Service {
    name: String,
    command: Vec<String>,
    /// (host path, path in the container)
    volumes: Vec<(String, String)>,
}

fn services() -> Vec<Service> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let services = file["services"].as_object().unwrap();
    let strings =
        |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect() };
    let service = |(name, service): (&String, &Value)| {
        // Merge keys: what a service does not say comes from what it merges.
        let field = |field: &str| if service[field].is_null() { &service["<<"][field] } else { &service[field] };
        let volumes = strings(field("volumes")).into_iter().map(|volume| {
            let mut parts = volume.split(':');
            (parts.next().unwrap().to_owned(), parts.next().unwrap().to_owned())
        });
        Service { name: name.clone(), command: strings(field("command")), volumes: volumes.collect() }
    };
    services.iter().map(service).collect()
}

/// The file's host names on loopback: every `host:port` that the file uses gets a port of its own.
struct Network(BTreeMap<String, u16>);

impl Network {
    fn of(services: &[Service]) -> Self {
        let port = |name: &str| match name {
            name if name.starts_with("collector") => 12345,
            name if name.starts_with("node-exporter") => 9100,
            _ => 9090,
        };
        Self(services.iter().map(|service| (format!("{}:{}", service.name, port(&service.name)), free_port())).collect())
    }

    fn address(&self, service: &str) -> String {
        let port = self.0.iter().find(|(name, _)| name.starts_with(&format!("{service}:"))).unwrap().1;
        format!("127.0.0.1:{port}")
    }

    fn translate(&self, service: &str, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, port) in &self.0 {
            text = text.replace(name, &format!("127.0.0.1:{port}"));
        }
        let own = self.address(service);
        for any in ["=0.0.0.0:12345", "=:9100", "=:9090"] {
            text = text.replace(any, &format!("={own}"));
        }
        text
    }
}

fn program(service: &str) -> PathBuf {
    match service {
        name if name.starts_with("collector") => support::collector(),
        name if name.starts_with("node-exporter") => debian("prometheus-node-exporter"),
        _ => debian("prometheus"),
    }
}

/// Starts a service with its own command; its files are copied below `folder` with host names translated.
fn start(service: &Service, network: &Network, folder: &Path) -> Process {
    let own = folder.join(&service.name);
    let data = own.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let mut command = Command::new(program(&service.name));
    for argument in &service.command {
        let mut argument = network.translate(&service.name, argument);
        for (host, inside) in &service.volumes {
            if argument.contains(inside) {
                let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(host)).unwrap();
                let copy = own.join(Path::new(inside).file_name().unwrap());
                std::fs::write(&copy, network.translate(&service.name, &source)).unwrap();
                argument = argument.replace(inside, copy.to_str().unwrap());
            }
        }
        for inside in ["/var/lib/collector", "/prometheus"] {
            argument = argument.replace(&format!("={inside}"), &format!("={}", data.display()));
        }
        command.arg(argument);
    }
    Process::spawn(&service.name, command, &folder.join(format!("{}.log", service.name))).unwrap()
}

async fn count(prometheus: &str, query: &str) -> usize {
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let (_, body) = get(&format!("http://{prometheus}/api/v1/query?query={query}")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    body["data"]["result"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_brings_up_a_fleet_that_scrapes_every_exporter_into_prometheus() {
    let folder = tempfile::tempdir().unwrap();
    let services = services();
    assert_eq!(services.len(), 7, "three collectors, three exporters, one Prometheus");
    let network = Network::of(&services);
    let processes: Vec<Process> = services.iter().map(|service| start(service, &network, folder.path())).collect();
    for (service, process) in services.iter().zip(&processes).filter(|(service, _)| service.name.starts_with("collector")) {
        let ready = format!("http://{}/-/ready", network.address(&service.name));
        process.ready(&ready, Duration::from_secs(60)).await.unwrap();
    }
    let prometheus = network.address("prometheus");
    processes.last().unwrap().ready(&format!("http://{prometheus}/-/ready"), Duration::from_secs(60)).await.unwrap();
    until("every exporter is up", Duration::from_secs(60), || async { count(&prometheus, "up{job=\"node\"} == 1").await == 3 }).await;
    until("every collector sends its own metrics", Duration::from_secs(60), || async {
        count(&prometheus, "up{job=\"integrations/self\"} == 1").await >= 1
    })
    .await;

    let (_, peers) = get(&format!("http://{}/api/v0/web/peers", network.address("collector-2"))).await;
    let peers: Value = serde_json::from_str(&peers).unwrap();
    assert_eq!(peers.as_array().unwrap().len(), 3, "{peers}");
    for process in &processes[..3] {
        let stopped = process.stop(PATIENCE).await.unwrap();
        assert!(stopped.status.success() && stopped.took < Duration::from_secs(25), "{:?}: {}", stopped, process.log_tail());
    }
}
