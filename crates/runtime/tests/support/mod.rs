//! Fake components that tests direct, and a runtime around them.
//!
//! Each fake writes what happens to it into the [`Stage`]'s script, and takes cues from there: so tests wait for events and never sleep.

mod fakes;
mod stage;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use component::{Registration, Services};
use parking_lot::Mutex;
use runtime::{Controller, LoadError, LoadReport, LoggingConfig, Options, Source};
use tokio::runtime::Handle;

pub use stage::{Cue, Stage};

/// What the tests' configurations may use.
pub static FAMILIES: &[&[Registration]] = &[fakes::COMPONENTS];

/// Long enough for any machine; a test that needs it has failed.
pub const LONG: Duration = Duration::from_secs(20);

/// A controller with fakes, and its stage.
pub struct World {
    pub controller: Controller,
    pub stage: Stage,
    pub logging: Arc<Mutex<Vec<LoggingConfig>>>,
    pub storage: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let stage = Stage::default();
        let storage = tempfile::tempdir().unwrap();
        let logging = Arc::new(Mutex::new(Vec::new()));
        let mut options = options(&stage, storage.path(), logging.clone());
        change(&mut options);
        Self { controller: Controller::start(options).unwrap(), stage, logging, storage }
    }

    /// A world in which `config` is loaded.
    pub async fn running(config: &str) -> Self {
        let world = Self::new();
        world.load(config).await.unwrap_or_else(|error| panic!("{}", error.render(false)));
        world
    }

    pub async fn load(&self, config: &str) -> Result<LoadReport, LoadError> {
        self.controller.load(Source::text("test.alloy", config)).await
    }

    /// Loads and forgets what the script had before.
    pub async fn reload(&self, config: &str) -> Result<LoadReport, LoadError> {
        self.stage.forget();
        self.load(config).await
    }

    /// State and message of a component's health.
    pub fn health(&self, id: &str) -> (&'static str, String) {
        let info = self.controller.components().into_iter().find(|info| info.local_id == id).unwrap();
        (info.health.state.as_str(), info.health.message)
    }

    /// Waits until the component's health is like that; for what happens without an entry in the script.
    pub async fn health_becomes(&self, id: &str, state: &str) -> String {
        let look = async {
            loop {
                match self.health(id) {
                    (found, message) if found == state => return message,
                    _ => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        tokio::time::timeout(LONG, look).await.unwrap_or_else(|_| panic!("{id} is {:?}", self.health(id)))
    }
}

fn options(stage: &Stage, storage: &Path, logging: Arc<Mutex<Vec<LoggingConfig>>>) -> Options {
    let script = stage.clone();
    Options {
        families: FAMILIES,
        stability: syntax::Stability::GenerallyAvailable,
        version: "1.2.3".to_owned(),
        storage: storage.to_owned(),
        services: Services::default().with(stage.clone()),
        data: Handle::current(),
        cluster_name: "fleet".to_owned(),
        removal_deadline: LONG,
        on_logging: Arc::new(move |config| {
            script.write(format!("log {:?}", config.level));
            logging.lock().push(config);
        }),
    }
}
