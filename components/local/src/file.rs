//! `local.file`: exports a file's content and follows its changes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use component::{BuildError, Component, Context, Event, RunError, Setup};
use prometheus::Gauge;
use syntax::{Block, OptionalSecret};
use tokio::time::{Instant, sleep_until};
use watch::{Watcher, folder_of};

/// The largest file that is exported. What is meant for expressions is far smaller.
const MAX_FILE: u64 = 16 << 20;
/// After a change was seen: how long to wait for the writer to finish, as in Alloy.
const SETTLE: Duration = Duration::from_millis(30);
/// Readings that events ask for are at least this far apart, as other files in the folder may change all the time.
const MIN_GAP: Duration = Duration::from_millis(100);

syntax::text_enum! {
    /// How changes of a file are noticed.
    pub enum Detector {
        /// By events of the file system, and by looking every `poll_frequency`.
        Fsnotify = "fsnotify",
        /// By looking every `poll_frequency` alone.
        Poll = "poll",
    }
}

/// Exposes the contents of a file on disk to other components.
#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::validate")]
pub struct Arguments {
    /// Path of the file on disk to watch.
    #[syntax(required)]
    pub filename: String,
    /// Which file change detector to use: `fsnotify` or `poll`.
    #[syntax(default = Detector::Fsnotify)]
    pub detector: Detector,
    /// How often to look for changes; with `fsnotify`, for those of which no event came.
    #[syntax(default = Duration::from_secs(60))]
    pub poll_frequency: Duration,
    /// Marks the file as containing a secret, which is never shown.
    pub is_secret: bool,
}

impl Arguments {
    fn validate(&self) -> Result<(), String> {
        if self.poll_frequency.is_zero() { Err("poll_frequency must be greater than 0".to_owned()) } else { Ok(()) }
    }
}

/// What the file holds.
#[derive(Block, Clone, Debug, PartialEq)]
pub struct Exports {
    /// The contents of the file; a secret if `is_secret` is set.
    #[syntax(required)]
    pub content: OptionalSecret,
}

/// The component.
pub struct LocalFile {
    arguments: Arguments,
    watcher: Watcher,
    last_accessed: Gauge,
    /// Why the last reading failed, so that it is logged once.
    failure: Option<String>,
}

impl Component for LocalFile {
    const NAME: &'static str = "local.file";
    type Arguments = Arguments;
    type Exports = Exports;

    /// Reads the file at once, as whoever refers to it needs the content to be evaluated.
    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let last_accessed = Gauge::new("local_file_timestamp_last_accessed_unix_seconds", "The last successful access in unix seconds")
            .map_err(BuildError::new)?;
        setup.registry().register(Box::new(last_accessed.clone())).map_err(BuildError::new)?;
        let mut watcher = Watcher::new();
        watch(&mut watcher, &arguments); // before reading, lest a change fall in between
        let content = read(Path::new(&arguments.filename)).map_err(BuildError::new)?;
        last_accessed.set(now());
        let exports = Exports { content: wrapped(content, &arguments) };
        Ok((Self { arguments, watcher, last_accessed, failure: None }, exports))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        context.health().healthy("read file");
        let mut last_read = Instant::now();
        loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => self.arguments = arguments,
                    Event::Debug(_) => continue,
                    Event::Stop(_) => return Ok(()),
                },
                () = self.watcher.changed() => sleep_until((Instant::now() + SETTLE).max(last_read + MIN_GAP)).await,
                () = sleep_until(last_read + self.arguments.poll_frequency) => {}
            }
            last_read = Instant::now();
            watch(&mut self.watcher, &self.arguments);
            self.read_again(&mut context).await;
        }
    }
}

impl LocalFile {
    async fn read_again(&mut self, context: &mut Context<Self>) {
        let path = PathBuf::from(&self.arguments.filename);
        // The file may lie on a network.
        let content =
            tokio::task::spawn_blocking(move || read(&path)).await.unwrap_or_else(|error| Err(format!("failed to read file: {error}")));
        match content {
            Ok(content) => {
                self.last_accessed.set(now());
                context.export(Exports { content: wrapped(content, &self.arguments) });
                context.health().healthy("read file");
                self.failure = None;
            }
            Err(error) => {
                if self.failure.as_ref() != Some(&error) {
                    tracing::error!(component_id = context.setup().id(), error, "the content of before stays");
                }
                context.health().unhealthy(error.clone());
                self.failure = Some(error);
            }
        }
    }
}

/// Watches the file's folder, if that is asked for. A folder that can't be watched is polled like any other.
fn watch(watcher: &mut Watcher, arguments: &Arguments) {
    let folder = (arguments.detector == Detector::Fsnotify).then(|| folder_of(Path::new(&arguments.filename)));
    for blind in watcher.watch(folder) {
        tracing::debug!(folder = %blind.folder.display(), error = blind.cause, "changes are only seen at poll_frequency");
    }
}

fn read(path: &Path) -> Result<String, String> {
    let failed = |cause: &dyn std::fmt::Display| format!("failed to read file: {}: {cause}", path.display());
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|error| failed(&error))?;
    if content.len() as u64 > MAX_FILE {
        return Err(failed(&format_args!("it is larger than {MAX_FILE} bytes")));
    }
    String::from_utf8(content).map_err(|_| failed(&"it is not UTF-8 text"))
}

fn wrapped(content: String, arguments: &Arguments) -> OptionalSecret {
    if arguments.is_secret { OptionalSecret::hidden(content) } else { OptionalSecret::plain(content) }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
