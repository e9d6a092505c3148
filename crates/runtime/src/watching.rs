//! Reloads the configuration when it changes on disk: told by the system where it can, and by looking every few seconds where it can't
//! (network file systems, exhausted watches, a symbolic link further up that was turned elsewhere). SIGHUP and HTTP belong to the product.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::watch::Watcher;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::controller::{Controller, WeakController};
use crate::error::LoadError;
use crate::source::{Source, SourceError};

/// How the watch paces itself.
#[derive(Clone, Copy)]
struct Pace {
    /// Editors and Kubernetes change files in several steps: a change is looked at when this long nothing more happened …
    quiet: Duration,
    /// … but at the latest after this time, for a directory that never rests.
    longest: Duration,
    /// How often to look though nothing was told.
    poll: Duration,
    /// Of which folders the system is to tell.
    folders: fn(&Path) -> BTreeSet<PathBuf>,
}

const PACE: Pace =
    Pace { quiet: Duration::from_millis(250), longest: Duration::from_secs(2), poll: Duration::from_secs(10), folders: folders_of };

/// Watches the file or directory of `source` and loads it whenever its content differs from what `controller` tried to load last. Ends when
/// the controller is shut down or its last handle dropped; at once if there is nothing to watch.
#[must_use]
pub fn watch(controller: &Controller, source: &Source) -> JoinHandle<()> {
    start(controller, source, PACE)
}

fn start(controller: &Controller, source: &Source, pace: Pace) -> JoinHandle<()> {
    let watch = source.path().map(|path| {
        let mut watch = Watch {
            path: path.to_owned(),
            source: source.clone(),
            controller: controller.downgrade(),
            watcher: Watcher::new(),
            pace,
            empty: None,
            unreadable: None,
        };
        // Before the task runs, so that no change in between is missed.
        watch.attach();
        watch
    });
    controller.data().spawn(async {
        if let Some(watch) = watch {
            watch.run().await;
        }
    })
}

struct Watch {
    path: PathBuf,
    source: Source,
    controller: WeakController,
    watcher: Watcher,
    pace: Pace,
    /// Hash of a configuration that was found empty.
    empty: Option<String>,
    /// Why the configuration could not be read last time, so that it is told once.
    unreadable: Option<String>,
}

impl Watch {
    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.watcher.changed() => self.wait_for_quiet().await,
                () = sleep(self.pace.poll) => {}
            }
            let Some(controller) = self.controller.upgrade() else { return };
            self.look(&controller).await;
            self.attach();
        }
    }

    async fn wait_for_quiet(&self) {
        let end = Instant::now() + self.pace.longest;
        while Instant::now() < end {
            let quiet = (Instant::now() + self.pace.quiet).min(end);
            if timeout_at(quiet, self.watcher.changed()).await.is_err() {
                return;
            }
        }
    }

    /// Has the system tell. Done again and again, because a folder may have been replaced.
    fn attach(&mut self) {
        for blind in self.watcher.watch((self.pace.folders)(&self.path)) {
            tracing::debug!(directory = %blind.folder.display(), error = blind.cause, "the system does not tell of changes; looking now and then instead");
        }
    }

    async fn look(&mut self, controller: &Controller) {
        let source = self.source.clone();
        let Ok(read) = controller.data().spawn_blocking(move || source.read_again()).await else { return };
        match read {
            Ok(source) => {
                self.unreadable = None;
                if controller.loads().borrow().attempted_hash.as_deref() != Some(source.hash()) && self.is_believed(&source) {
                    load(controller, source, &self.path).await;
                }
            }
            Err(error) => self.tell_unreadable(&error),
        }
    }

    /// A file that is being rewritten in place is empty for a moment. Loading that would stop everything, so an empty configuration counts
    /// when it is found a second time.
    fn is_believed(&mut self, source: &Source) -> bool {
        let empty = source.files().all(|(_, text)| text.trim().is_empty()).then(|| source.hash().to_owned());
        let believed = empty.is_none() || empty == self.empty;
        self.empty = empty;
        believed
    }

    fn tell_unreadable(&mut self, error: &SourceError) {
        let message = error.to_string();
        if self.unreadable.as_ref() != Some(&message) {
            tracing::warn!(error = message, "the watched configuration can't be read; the old one runs on");
            self.unreadable = Some(message);
        }
    }
}

async fn load(controller: &Controller, source: Source, path: &Path) {
    let config = path.display().to_string();
    match controller.load(source).await {
        Ok(report) => {
            tracing::info!(config, components = report.components, "configuration changed and was reloaded");
            for warning in &report.warnings.diagnostics {
                tracing::warn!(config, warning = warning.to_string(), "configuration");
            }
        }
        Err(LoadError::Stopped) => {}
        Err(error) if error.is_adopted() => {
            tracing::error!(config, error = error.to_string(), "configuration changed and was reloaded with errors");
        }
        Err(error) => tracing::error!(config, error = error.to_string(), "configuration changed but can't be loaded; the old one runs on"),
    }
}

/// The directory itself, or the one of the file: the file alone would be lost when it is replaced. And the same for what it links to.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let real = path.canonicalize().ok();
    let both = [Some(path.to_owned()), real].into_iter().flatten();
    let directory = |path: PathBuf| if path.is_dir() { Some(path) } else { path.parent().map(Path::to_owned) };
    let named = both.filter_map(directory).map(|path| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::{LoadStatus, Options};
    use component::Services;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::Arc;
    use tokio::runtime::Handle;

    /// Told by the system alone.
    const TOLD: Pace =
        Pace { quiet: Duration::from_millis(20), longest: Duration::from_millis(200), poll: Duration::from_secs(3600), ..PACE };
    /// By looking alone.
    const POLLED: Pace = Pace { poll: Duration::from_millis(20), folders: |_| BTreeSet::new(), ..PACE };

    struct Watched {
        controller: Controller,
        loads: tokio::sync::watch::Receiver<LoadStatus>,
        task: JoinHandle<()>,
        storage: tempfile::TempDir,
    }

    impl Watched {
        /// With a configuration in `config.alloy` of a directory, made by `prepare`.
        async fn start(pace: Pace, prepare: impl FnOnce(&Path) -> PathBuf) -> Self {
            let storage = tempfile::tempdir().unwrap();
            let path = prepare(storage.path());
            let controller = Controller::start(Options {
                families: &[],
                stability: syntax::Stability::GenerallyAvailable,
                version: String::new(),
                storage: storage.path().join("data"),
                services: Services::default(),
                data: Handle::current(),
                cluster_name: String::new(),
                removal_deadline: Duration::from_secs(1),
                on_logging: Arc::new(|_| {}),
            })
            .unwrap();
            let source = Source::read(&path).unwrap();
            controller.load(source.clone()).await.unwrap();
            let loads = controller.loads();
            let task = start(&controller, &source, pace);
            Self { controller, loads, task, storage }
        }

        /// The status after the next load.
        async fn next(&mut self) -> LoadStatus {
            self.loads.changed().await.unwrap();
            self.loads.borrow_and_update().clone()
        }

        fn dir(&self) -> &Path {
            self.storage.path()
        }

        /// Puts a whole file in place of `config.alloy` in one step.
        fn put(&self, text: &str) {
            let elsewhere = self.dir().join("data");
            fs::create_dir_all(&elsewhere).unwrap();
            fs::write(elsewhere.join("next"), text).unwrap();
            fs::rename(elsewhere.join("next"), self.dir().join("config.alloy")).unwrap();
        }
    }

    fn plain_file(dir: &Path) -> PathBuf {
        let path = dir.join("config.alloy");
        fs::write(&path, "logging { }").unwrap();
        path
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_written_in_place_is_loaded() {
        let mut watched = Watched::start(TOLD, plain_file).await;
        fs::write(watched.dir().join("config.alloy"), "logging {\n}").unwrap();
        let status = watched.next().await;
        assert_eq!((status.attempts, status.error), (2, None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_replaced_by_renaming_is_loaded_every_time() {
        let mut watched = Watched::start(TOLD, plain_file).await;
        for text in ["logging {\n}", "logging {\n\n}"] {
            let next = watched.dir().join("config.alloy~");
            fs::write(&next, text).unwrap();
            fs::rename(next, watched.dir().join("config.alloy")).unwrap();
            assert_eq!(watched.next().await.error, None);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_links_of_a_config_map_are_followed_when_they_are_swapped() {
        let revision = |dir: &Path, name: &str, text: &str| {
            fs::create_dir(dir.join(name)).unwrap();
            fs::write(dir.join(name).join("config.alloy"), text).unwrap();
        };
        let mut watched = Watched::start(TOLD, |dir| {
            revision(dir, "..1", "logging { }");
            symlink("..1", dir.join("..data")).unwrap();
            symlink("..data/config.alloy", dir.join("config.alloy")).unwrap();
            dir.join("config.alloy")
        })
        .await;
        for name in ["..2", "..3"] {
            revision(watched.dir(), name, &format!("logging {{ }} // {name}"));
            symlink(name, watched.dir().join("..data_tmp")).unwrap();
            fs::rename(watched.dir().join("..data_tmp"), watched.dir().join("..data")).unwrap();
            assert_eq!(watched.next().await.error, None);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_file_in_a_directory_is_loaded() {
        let mut watched = Watched::start(TOLD, |dir| plain_file(dir).parent().unwrap().to_owned()).await;
        fs::write(watched.dir().join("other.alloy"), "livedebugging { }").unwrap();
        assert_eq!(watched.next().await.error, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn changes_are_found_by_looking_where_the_system_does_not_tell() {
        let mut watched = Watched::start(POLLED, |dir| {
            fs::create_dir(dir.join("far")).unwrap();
            let real = plain_file(&dir.join("far"));
            symlink("far", dir.join("near")).unwrap();
            dir.join("near").join(real.file_name().unwrap())
        })
        .await;
        fs::create_dir(watched.dir().join("other")).unwrap();
        fs::write(watched.dir().join("other/config.alloy"), "logging {\n}").unwrap();
        fs::remove_file(watched.dir().join("near")).unwrap();
        symlink("other", watched.dir().join("near")).unwrap();
        assert_eq!(watched.next().await.error, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broken_file_is_tried_once_and_a_mended_one_again() {
        let mut watched = Watched::start(POLLED, plain_file).await;
        let good = watched.controller.config_hash();
        watched.put("nonsense.block \"a\" { }");
        let broken = watched.next().await;
        assert!(broken.error.unwrap().contains("nonsense.block"));
        assert_eq!(broken.running_hash, good);
        // Several looks later …
        sleep(POLLED.poll * 5).await;
        assert_eq!(watched.loads.borrow().attempts, 2);
        watched.put("logging {\n}");
        assert_eq!(watched.next().await.error, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_file_changes_nothing_until_it_is_back() {
        let mut watched = Watched::start(POLLED, plain_file).await;
        fs::remove_file(watched.dir().join("config.alloy")).unwrap();
        sleep(POLLED.poll * 5).await;
        assert_eq!(watched.loads.borrow().attempts, 1);
        watched.put("logging {\n}");
        assert_eq!(watched.next().await.error, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_empty_file_counts_only_when_it_stays_empty() {
        let mut watched = Watched::start(TOLD, plain_file).await;
        watched.put("");
        sleep(TOLD.longest * 2).await;
        assert_eq!(watched.loads.borrow().attempts, 1);
        // Several times, for what is told together is looked at once.
        while !watched.loads.has_changed().unwrap() {
            watched.put("");
            sleep(TOLD.longest).await;
        }
        assert_eq!(watched.next().await.error, None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_watch_ends_with_the_controller() {
        let watched = Watched::start(POLLED, plain_file).await;
        watched.controller.shutdown(Duration::from_secs(1)).await;
        watched.task.await.unwrap();
        let Watched { controller, task, .. } = Watched::start(POLLED, plain_file).await;
        drop(controller);
        task.await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_text_has_nothing_to_watch() {
        let watched = Watched::start(POLLED, plain_file).await;
        start(&watched.controller, &Source::text("t", ""), POLLED).await.unwrap();
    }
}
