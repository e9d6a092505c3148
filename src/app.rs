//! A running collector: what is started in which order, what happens meanwhile, and in which order it ends.
//!
//! Nothing is started before the configuration has passed the static check. Then: listener, cluster (as a viewer), components, and only
//! when those run is the node admitted to its fleet. It ends the other way round: hand over, flush, say goodbye, close.

mod discovery;
mod files;
pub mod fleet;
mod narrate;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use component::Services;
use prometheus_components::{SelfMetrics, TargetBoard};
use runtime::{Controller, Source};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::cli::{RunFlags, VERSION, colour};
use crate::http::{self, Api, Listener, MAX_CONNECTIONS, Metrics, Phase, Places};
use crate::logging::Logging;
use crate::registry;
use crate::shutdown::{Signals, Wish};

/// What a leaving node may take to hand its keys over; then it goes anyway.
const HANDOVER_DEADLINE: Duration = Duration::from_secs(10);
/// What components may take to flush when the process ends, unless `--feature.component-shutdown-deadline` is less. Together with the
/// handover it stays below the 25 s that a leave may take and the 30 s that Kubernetes gives.
const FLUSH_DEADLINE: Duration = Duration::from_secs(13);

/// What a run needs to know.
pub struct Options {
    /// The command line.
    pub flags: RunFlags,
    /// File or folder.
    pub config: PathBuf,
    /// Whether stderr tells how the joining goes.
    pub narrate: bool,
}

/// Runs until a signal ends it.
///
/// # Errors
/// What keeps it from starting, other than the configuration's diagnostics, which are printed here.
pub fn run(options: Options) -> Result<ExitCode> {
    let source = Source::read(&options.config)?;
    let findings = runtime::validate(&source, registry::FAMILIES, options.flags.stability_level, VERSION);
    if findings.has_errors() {
        return Ok(refused(&findings.render(source.texts(), colour())));
    }
    let logging = Logging::install();
    files::raise_limit();
    let socket = http::bind(&options.flags.listen_addr)?;
    let (control, data) = runtimes()?;
    let outcome = control.block_on(App { options, logging, data: data.handle().clone() }.run(source, socket));
    data.shutdown_timeout(Duration::from_secs(1));
    control.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Says why the configuration does not run: all of it at once.
fn refused(findings: &str) -> ExitCode {
    eprintln!("{findings}");
    eprintln!("Error: could not perform the initial load successfully");
    ExitCode::FAILURE
}

/// The control runtime has one thread of its own, so that load on the other never makes the node look dead.
fn runtimes() -> Result<(Runtime, Runtime)> {
    let control = Builder::new_multi_thread().worker_threads(1).max_blocking_threads(4).thread_name("control").enable_all().build()?;
    let data = Builder::new_multi_thread().thread_name("data").enable_all().build()?;
    Ok((control, data))
}

struct App {
    options: Options,
    logging: Logging,
    data: Handle,
}

impl App {
    async fn run(self, source: Source, socket: std::net::TcpListener) -> Result<ExitCode> {
        let mut signals = Signals::listen()?;
        let address = socket.local_addr()?;
        let metrics = Arc::new(Metrics::new(VERSION)?);
        let fleet = fleet::start(&self.options, address, metrics.registry())?;
        let cluster = fleet.as_ref().map(|fleet| fleet.cluster.clone());
        let targets = TargetBoard::default();
        let controller = self.controller(address, cluster.clone(), &metrics, &targets)?;
        let phase = Phase::default();
        let api = Api {
            controller: controller.clone(),
            cluster: cluster.clone(),
            targets,
            metrics,
            phase: phase.clone(),
            data: self.data.clone(),
        };
        if let Some(cluster) = &cluster {
            http::answer_peers(&api, cluster);
        }
        let (stop, stopped) = watch::channel(false);
        let places = Places::new(MAX_CONNECTIONS, api.metrics.registry())?;
        let listener = Listener::new(http::routes(api.clone(), &self.options.flags.ui_path_prefix), fleet, places);
        let serving = tokio::spawn(listener.serve(socket, stopped));
        tracing::info!(address = %address, version = VERSION, "listening");

        let code = match self.load(&controller, &source).await {
            Err(code) => code,
            Ok(()) => {
                self.admit(&controller, cluster.as_ref(), &api.targets);
                phase.ready();
                self.until_exit(&controller, &source, &mut signals).await
            }
        };
        phase.leaving();
        tokio::select! {
            () = self.end(&controller, cluster.as_ref()) => {}
            // What was not sent is on disk, but for the last half second.
            () = second_exit(&mut signals) => tracing::warn!("told to exit a second time: stopping at once"),
        }
        stop.send_replace(true);
        serving.await.context("the listener ended early")??;
        Ok(code)
    }

    /// First load: with any error, nothing runs.
    async fn load(&self, controller: &Controller, source: &Source) -> Result<(), ExitCode> {
        match controller.load(source.clone()).await {
            Ok(report) => {
                if !report.warnings.diagnostics.is_empty() {
                    eprintln!("{}", report.warnings.render(colour()));
                }
                Ok(())
            }
            Err(error) => Err(refused(&error.render(colour()))),
        }
    }

    fn admit(&self, controller: &Controller, cluster: Option<&cluster::Cluster>, targets: &TargetBoard) {
        let Some(cluster) = cluster else { return };
        if self.options.narrate {
            tokio::spawn(narrate::tell(cluster.clone(), targets.clone()));
        }
        cluster.set_config_hash(controller.config_hash().unwrap_or_default());
        cluster.participate();
        let (cluster, mut loads) = (cluster.clone(), controller.loads());
        tokio::spawn(async move {
            while loads.changed().await.is_ok() {
                let hash = loads.borrow_and_update().running_hash.clone();
                cluster.set_config_hash(hash.unwrap_or_default());
            }
        });
    }

    async fn until_exit(&self, controller: &Controller, source: &Source, signals: &mut Signals) -> ExitCode {
        let watching = runtime::watch(controller, source);
        loop {
            match signals.next().await {
                Wish::Exit => break,
                Wish::Reload => {
                    let controller = controller.clone();
                    // Its outcome is logged by the controller and shown in its metrics.
                    self.data.spawn(async move { controller.reload().await });
                }
            }
        }
        watching.abort();
        ExitCode::SUCCESS
    }

    /// Hands over while the components still run, then lets them flush. The node stays in the fleet meanwhile: what can't be flushed goes
    /// to others, who hold back what is newer until this one says goodbye.
    async fn end(&self, controller: &Controller, cluster: Option<&cluster::Cluster>) {
        if let Some(cluster) = cluster {
            tracing::info!("leaving the fleet");
            let report = cluster.drain(HANDOVER_DEADLINE).await;
            if !report.drained {
                tracing::warn!(keys = report.keys_left, "some keys were not taken over in time");
            }
        }
        let deadline = FLUSH_DEADLINE.min(self.options.flags.component_shutdown_deadline);
        let unfinished = controller.shutdown(deadline).await;
        if !unfinished.is_empty() {
            tracing::warn!(components = unfinished.join(", "), "did not finish within the deadline");
        }
        if let Some(cluster) = cluster {
            cluster.farewell().await;
        }
        tracing::info!("stopped");
    }

    fn controller(
        &self,
        address: std::net::SocketAddr,
        cluster: Option<cluster::Cluster>,
        metrics: &Arc<Metrics>,
        targets: &TargetBoard,
    ) -> Result<Controller> {
        let flags = &self.options.flags;
        let own = metrics.clone();
        let late = Arc::new(std::sync::OnceLock::<Controller>::new());
        let for_self = late.clone();
        let exposition = Arc::new(move || match for_self.get() {
            Some(controller) => http::exposition_of(controller, &own),
            None => Bytes::new(),
        });
        let mut services = Services::default()
            .with(SelfMetrics { exposition, memory_addr: flags.memory_addr.as_str().into() })
            .with(targets.clone())
            .with(net::InternalAddress { name: flags.memory_addr.clone(), dial: loopback_of(address) })
            .with(component::StabilityLevel(flags.stability_level))
            .with(prometheus_components::ScrapeLimits { max_body_size: flags.scrape_max_body_size });
        if let Some(cluster) = cluster {
            services = services.with(cluster);
        }
        let logging = self.logging.clone();
        let controller = Controller::start(runtime::Options {
            families: registry::FAMILIES,
            services,
            storage: flags.storage_path.clone(),
            stability: flags.stability_level,
            version: VERSION.to_owned(),
            cluster_name: flags.cluster.name.clone(),
            removal_deadline: flags.component_shutdown_deadline,
            data: self.data.clone(),
            on_logging: Arc::new(move |config| logging.apply(&config)),
        })?;
        let _ = late.set(controller.clone()); // only set here
        Ok(controller)
    }
}

/// The next SIGINT or SIGTERM.
async fn second_exit(signals: &mut Signals) {
    while signals.next().await != Wish::Exit {}
}

/// Where the own listener is reached from inside, whatever address it is bound to.
fn loopback_of(address: std::net::SocketAddr) -> std::net::SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    (ip, address.port()).into()
}
