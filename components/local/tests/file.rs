//! `local.file` over real files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use component::{ErasedArguments, Host, InstanceControl, Registration, RunError, Services, Stop};
use syntax::{FromValue, OptionalSecret, Scope, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(60);

struct Running {
    first: OptionalSecret,
    control: InstanceControl,
    changed: mpsc::UnboundedReceiver<Value>,
    task: JoinHandle<Result<(), RunError>>,
}

fn registration() -> &'static Registration {
    local_components::COMPONENTS.iter().find(|registration| registration.name == "local.file").unwrap()
}

fn decode(body: &str) -> Result<Arc<dyn ErasedArguments>, String> {
    let (file, diagnostics) = syntax::parse("test", &format!("local.file \"test\" {{\n{body}\n}}"));
    assert!(!diagnostics.has_errors(), "{diagnostics}");
    registration().decode(file.body.blocks().next().unwrap(), &Scope::new()).map_err(|error| error.to_string())
}

fn content(exports: &Value) -> OptionalSecret {
    OptionalSecret::from_value(exports.to_object().unwrap().get("content").unwrap()).unwrap()
}

impl Running {
    fn start(body: &str) -> Result<Self, String> {
        let (sender, changed) = mpsc::unbounded_channel();
        let host = Host {
            id: "local.file.test".into(),
            module_path: "/".into(),
            local_id: "local.file.test".into(),
            data_path: std::env::temp_dir(),
            services: Services::default(),
            on_export: Arc::new(move |value| drop(sender.send(value))),
        };
        let instance = registration().build(&decode(body)?, host).map_err(|error| error.to_string())?;
        let first = content(&instance.exports);
        Ok(Self { first, control: instance.control, changed, task: tokio::spawn(instance.run) })
    }

    async fn next(&mut self) -> OptionalSecret {
        content(&tokio::time::timeout(SOON, self.changed.recv()).await.expect("no new exports").unwrap())
    }

    /// Waits for a health; it can only be looked at.
    async fn until(&self, state: &str, part: &str) {
        let wait = async {
            loop {
                let health = self.control.health();
                if health.state.as_str() == state && health.message.contains(part) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{state} {part:?} awaited: {:?}", self.control.health()));
    }

    async fn stop(self) {
        self.control.stop(Stop::Removed);
        tokio::time::timeout(SOON, self.task).await.expect("did not stop").unwrap().unwrap();
    }
}

fn arguments(path: &Path, more: &str) -> String {
    format!("filename = \"{}\"\n{more}", path.display())
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn the_content_is_there_from_the_start_and_follows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "one\n").unwrap();
    let mut running = Running::start(&arguments(&path, "poll_frequency = \"1h\"")).unwrap();
    assert_eq!(running.first, OptionalSecret::plain("one\n"));
    running.until("healthy", "read file").await;
    replace(&path, "two");
    assert_eq!(running.next().await.expose(), "two");
    fs::write(&path, "three").unwrap();
    assert_eq!(running.next().await.expose(), "three");
    let metrics = prometheus::TextEncoder::new().encode_to_string(&running.control.registry().gather()).unwrap();
    assert!(metrics.contains("local_file_timestamp_last_accessed_unix_seconds{"), "{metrics}");
    running.stop().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_leaves_the_content_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut running = Running::start(&arguments(&path, "poll_frequency = \"1h\"")).unwrap();
    fs::remove_file(&path).unwrap();
    running.until("unhealthy", "failed to read file").await;
    fs::write(folder.path().join("b"), [0xff, 0xfe]).unwrap();
    fs::rename(folder.path().join("b"), &path).unwrap();
    running.until("unhealthy", "not UTF-8").await;
    assert!(running.changed.try_recv().is_err(), "the content of before stays");
    replace(&path, "back");
    assert_eq!(running.next().await.expose(), "back");
    running.until("healthy", "read file").await;
    running.stop().await;
}

#[tokio::test]
async fn a_secret_stays_one_and_the_mark_can_be_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "hunter2").unwrap();
    let mut running = Running::start(&arguments(&path, "is_secret = true")).unwrap();
    assert_eq!(running.first, OptionalSecret::hidden("hunter2"));
    assert!(!format!("{:?}", running.first).contains("hunter2"));
    running.control.update(decode(&arguments(&path, "")).unwrap());
    assert_eq!(running.next().await, OptionalSecret::plain("hunter2"));
    running.stop().await;
}

#[tokio::test]
async fn polling_alone_sees_changes_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "one").unwrap();
    let mut running = Running::start(&arguments(&path, "detector = \"poll\"\npoll_frequency = \"10ms\"")).unwrap();
    replace(&path, "two");
    assert_eq!(running.next().await.expose(), "two");
    running.stop().await;
}

#[tokio::test]
async fn another_file_is_followed_after_an_update() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, next) = (folder.path().join("a"), other.path().join("b"));
    fs::write(&path, "one").unwrap();
    let mut running = Running::start(&arguments(&path, "")).unwrap();
    running.control.update(decode(&arguments(&next, "")).unwrap());
    running.until("unhealthy", "b: No such file").await;
    fs::write(&next, "two").unwrap();
    assert_eq!(running.next().await.expose(), "two");
    running.stop().await;
}

#[tokio::test]
async fn wrong_arguments_and_missing_files_are_refused() {
    for (body, part) in [
        ("", "filename"),
        ("filename = \"/no/such/file\"", "failed to read file: /no/such/file"),
        ("filename = \"/x\"\npoll_frequency = \"0s\"", "poll_frequency must be greater than 0"),
        ("filename = \"/x\"\ndetector = \"guess\"", "guess"),
    ] {
        let error = Running::start(body).err().unwrap();
        assert!(error.contains(part), "{body}: {error}");
    }
}
