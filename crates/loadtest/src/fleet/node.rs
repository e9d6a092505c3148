//! One node of a fleet: its process, its files, and what has been done to it.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;

use super::status::Pages;
use super::{FleetError, Launch, Plan, system};
use crate::process::{Port, Process, ProcessError, Signal, Stopped};
use crate::relay::Relay;

/// Ports can be taken between their choice and the node's start; then another is tried this often.
const PORT_TRIES: usize = 5;

/// What a node does, as far as its fleet has brought it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not ready yet.
    Starting,
    /// Ready.
    Running,
    /// Stands still (SIGSTOP).
    Paused,
    /// Told to end.
    Stopping,
    /// Ended as it was told to, in this time.
    Stopped(Duration),
    /// Killed by its fleet.
    Killed,
    /// Ended by itself, or did not get ready.
    Failed,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    plan: Arc<Plan>,
    name: String,
    dir: PathBuf,
    inner: Mutex<Inner>,
    pages: Pages,
    relay: Option<Relay>,
}

#[derive(Debug)]
struct Inner {
    port: u16,
    /// Held until the process is about to take it.
    held: Option<Port>,
    state: State,
    process: Option<Arc<Process>>,
}

impl Node {
    pub(crate) fn new(plan: &Arc<Plan>, name: &str) -> Result<Self, FleetError> {
        let dir = plan.dir.join(name);
        std::fs::create_dir_all(&dir).map_err(|source| system(format!("can't make {}", dir.display()), source))?;
        let held = Port::hold().map_err(|source| system(format!("a port for {name}"), source))?;
        let relay = plan.options.relays.then(|| Relay::start(name, &plan.cuts)).transpose();
        let relay = relay.map_err(|source| system(format!("a relay for {name}"), source))?;
        let inner = Inner { port: held.number(), held: Some(held), state: State::Starting, process: None };
        Ok(Self { plan: Arc::clone(plan), name: name.to_owned(), dir, inner: Mutex::new(inner), pages: Pages::default(), relay })
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `127.0.0.1:port` of its listener.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.inner.lock().port)
    }

    /// `127.0.0.1:port` by which other nodes reach it.
    #[must_use]
    pub fn advertised(&self) -> String {
        self.relay.as_ref().map_or_else(|| self.address(), |relay| relay.address().to_string())
    }

    /// The address of one of its pages.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Where its configuration, storage and log are.
    #[must_use]
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// Its process; `None` before the first start.
    #[must_use]
    pub fn process(&self) -> Option<Arc<Process>> {
        self.inner.lock().process.clone()
    }

    /// What it does.
    #[must_use]
    pub fn state(&self) -> State {
        let inner = self.inner.lock();
        let ended = inner.process.as_ref().is_some_and(|p| p.exit_status().is_some());
        match inner.state {
            State::Starting | State::Running | State::Paused if ended => State::Failed,
            state => state,
        }
    }

    /// Whether its process runs, ready or not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.inner.lock().process.as_ref().is_some_and(|p| p.exit_status().is_none())
    }

    /// SIGKILL. Its end may be waited for at [`Node::process`].
    pub fn kill(&self) {
        self.signal(Signal::Kill, State::Killed);
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::Pause, State::Paused);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::Resume, State::Running);
    }

    /// The end of its log, up to 4 KiB.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process().map(|p| p.log_tail()).unwrap_or_default()
    }

    pub(crate) fn pages(&self) -> &Pages {
        &self.pages
    }

    fn signal(&self, signal: Signal, state: State) {
        let mut inner = self.inner.lock();
        if let Some(process) = &inner.process
            && process.exit_status().is_none()
        {
            process.signal(signal);
            inner.state = state;
        }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start(self: Arc<Self>, peers: Vec<String>) -> Result<(), FleetError> {
        let mut tries = PORT_TRIES;
        loop {
            let process = self.spawn(&peers)?;
            let ready = process.ready(&self.url("/-/ready"), self.plan.options.ready_within).await;
            tries -= 1;
            match ready {
                Ok(()) => {
                    self.inner.lock().state = State::Running;
                    return Ok(());
                }
                Err(ProcessError::Ended { log, .. }) if tries > 0 && log.contains("ddress already in use") => self.another_port()?,
                Err(error) => {
                    self.inner.lock().state = State::Failed;
                    return Err(error.into());
                }
            }
        }
    }

    fn spawn(&self, peers: &[String]) -> Result<Arc<Process>, FleetError> {
        let mut inner = self.inner.lock();
        inner.state = State::Starting;
        self.write_config(&self.plan.config.lock())?;
        if let Some(relay) = &self.relay {
            relay.lead_to((Ipv4Addr::LOCALHOST, inner.port).into());
        }
        drop(inner.held.take());
        let command = self.command(inner.port, peers);
        let process = Arc::new(Process::spawn(&self.name, command, &self.dir.join("log"))?);
        inner.process = Some(Arc::clone(&process));
        Ok(process)
    }

    /// Writes another configuration and has it loaded.
    ///
    /// # Errors
    /// The file can't be written, or the node refuses it.
    pub async fn reconfigure(&self, text: &str) -> Result<(), FleetError> {
        self.write_config(text)?;
        self.reload().await.map_err(|error| FleetError::Reload { name: self.name.clone(), reason: error.to_string() })
    }

    fn config(&self) -> PathBuf {
        self.dir.join("config.alloy")
    }

    fn write_config(&self, text: &str) -> Result<(), FleetError> {
        let config = self.config();
        std::fs::write(&config, text).map_err(|source| system(format!("can't write {}", config.display()), source))
    }

    fn another_port(&self) -> Result<(), FleetError> {
        let held = Port::hold().map_err(|source| system(format!("a port for {}", self.name), source))?;
        let mut inner = self.inner.lock();
        inner.port = held.number();
        inner.held = Some(held);
        Ok(())
    }

    fn command(&self, port: u16, peers: &[String]) -> Command {
        let options = &self.plan.options;
        let mut words = options.runner.iter().map(OsString::from).chain([options.binary.clone().into()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COLLECTOR_")) {
            command.env_remove(name);
        }
        command.envs(options.environment.iter().cloned()).current_dir(&self.dir);
        let advertised = self.relay.as_ref().map_or_else(|| format!("127.0.0.1:{port}"), |relay| relay.address().to_string());
        match options.launch {
            Launch::Join if !peers.is_empty() => command.arg("join").arg("--peers").arg(peers.join(",")),
            _ if peers.is_empty() => command.args(["run", "--cluster.enabled=true"]),
            _ => command.args(["run", "--cluster.enabled=true"]).arg(format!("--cluster.join-addresses={}", peers.join(","))),
        };
        command
            .arg(format!("--cluster.name={}", options.cluster_name))
            .arg(format!("--cluster.node-name={}", self.name))
            .arg(format!("--cluster.advertise-address={advertised}"))
            .arg(format!("--server.http.listen-addr=127.0.0.1:{port}"))
            .arg(format!("--storage.path={}", self.dir.join("data").display()))
            .args(&options.arguments)
            .arg(self.config());
        command
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&self) -> Result<Stopped, FleetError> {
        // A process that stands still can't end in order.
        if self.state() == State::Paused {
            self.resume();
        }
        let Some(process) = self.process() else {
            return Err(ProcessError::Ended { name: self.name.clone(), status: "never started".to_owned(), log: String::new() }.into());
        };
        if let Some(status) = process.exit_status() {
            return Err(ProcessError::Ended { name: self.name.clone(), status: status.to_string(), log: process.log_tail() }.into());
        }
        self.inner.lock().state = State::Stopping;
        let stopped = process.stop(self.plan.options.stop_within).await;
        self.inner.lock().state = stopped.as_ref().map_or(State::Killed, |s| State::Stopped(s.took));
        Ok(stopped?)
    }
}
