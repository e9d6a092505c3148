//! `/metrics`: the program's own metrics, those of the runtime and of every component, of the cluster, and of the process.

use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, GaugeVec, Opts, Registry, TextEncoder};

use super::{Api, on_data};

/// What the program says of itself, whatever its configuration.
pub struct Metrics {
    registry: Registry,
}

impl Metrics {
    /// Registers the program's metrics.
    ///
    /// # Errors
    /// Never in practice: the names are fixed and unique.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let labels = &["branch", "goversion", "revision", "version", "goos", "goarch", "tags"];
        let build =
            GaugeVec::new(Opts::new("alloy_build_info", "A metric with a constant '1' value labeled by version and platform."), labels)?;
        build.with_label_values(&["", "", "", version, std::env::consts::OS, goarch(), "collector"]).set(1.0);
        registry.register(Box::new(build))?;
        registry.register(Box::new(process::Process::new()?))?;
        Ok(Self { registry })
    }

    /// Where other parts of the program (the cluster) register theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// All metrics in the Prometheus text format.
pub async fn exposition(State(api): State<Api>) -> Response {
    let data = api.data.clone();
    let text = on_data(&data, async move { exposition_of(&api.controller, &api.metrics) }).await.unwrap_or_default();
    ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

/// What `/metrics` shows, families sorted by name; also what `prometheus.exporter.self` serves.
pub fn exposition_of(controller: &runtime::Controller, own: &Metrics) -> Bytes {
    let mut families = controller.gather();
    families.extend(own.registry.gather());
    families.sort_by(|a, b| a.name().cmp(b.name()));
    encode(&families).into()
}

fn encode(families: &[MetricFamily]) -> Vec<u8> {
    let mut text = Vec::new();
    for family in families.iter().filter(|family| !family.get_metric().is_empty()) {
        if let Err(error) = TextEncoder::new().encode(std::slice::from_ref(family), &mut text) {
            tracing::warn!(family = family.name(), %error, "a metric could not be shown");
        }
    }
    text
}

/// CPU, memory and start time of the process, under Alloy's and under the usual names.
mod process {
    use super::{MetricFamily, SystemTime};
    use prometheus::core::{Collector, Desc};
    use prometheus::{Counter, Gauge};

    pub struct Process {
        cpu: [Counter; 2],
        resident: [Gauge; 2],
        virtual_: [Gauge; 2],
        start: [Gauge; 2],
        descs: Vec<Desc>,
    }

    impl Process {
        pub fn new() -> Result<Self, prometheus::Error> {
            let gauges = |name: &str, help: &str| -> Result<[Gauge; 2], prometheus::Error> {
                Ok([Gauge::new(format!("process_{name}"), help)?, Gauge::new(format!("alloy_resources_process_{name}"), help)?])
            };
            let cpu = |prefix| Counter::new(format!("{prefix}_cpu_seconds_total"), "Total user and system CPU time spent in seconds.");
            let mut process = Self {
                cpu: [cpu("process")?, cpu("alloy_resources_process")?],
                resident: gauges("resident_memory_bytes", "Resident memory size in bytes.")?,
                virtual_: gauges("virtual_memory_bytes", "Virtual memory size in bytes.")?,
                start: gauges("start_time_seconds", "Start time of the process since unix epoch in seconds.")?,
                descs: Vec::new(),
            };
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            process.start.iter().for_each(|gauge| gauge.set(now.as_secs_f64()));
            process.descs = process.all().flat_map(|metric| metric.desc().into_iter().cloned()).collect();
            Ok(process)
        }

        fn all(&self) -> impl Iterator<Item = &dyn Collector> {
            let gauges = [&self.resident, &self.virtual_, &self.start].into_iter().flatten().map(|gauge| gauge as &dyn Collector);
            self.cpu.iter().map(|counter| counter as &dyn Collector).chain(gauges)
        }

        fn read(&self) -> Option<()> {
            let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
            for counter in &self.cpu {
                counter.inc_by((seconds - counter.get()).max(0.0));
            }
            let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
            let mut pages = statm.split(' ').filter_map(|field| field.parse::<f64>().ok());
            let page = rustix::param::page_size() as f64;
            let (size, resident) = (pages.next()?, pages.next()?);
            self.virtual_.iter().for_each(|gauge| gauge.set(size * page));
            self.resident.iter().for_each(|gauge| gauge.set(resident * page));
            Some(())
        }
    }

    impl Collector for Process {
        fn desc(&self) -> Vec<&Desc> {
            self.descs.iter().collect()
        }

        fn collect(&self) -> Vec<MetricFamily> {
            let _ = self.read(); // without /proc the memory stays at its last value
            self.all().flat_map(Collector::collect).collect()
        }
    }
}
