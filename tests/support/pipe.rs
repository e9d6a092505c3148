//! One collector between synthetic targets and a judging receiver: started, stopped, killed and started again on the same storage, and
//! at the end a report that compares what was served with what arrived.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use loadtest::alloy::Pipeline;
use loadtest::clock::now_ms;
use loadtest::judge::{Judge, JudgeOptions, Report, Window};
use loadtest::process::{Process, Signal};
use loadtest::receiver::Receiver;
use loadtest::targets::{TargetOptions, Targets};
use tempfile::TempDir;
use tokio::process::Command;

use super::{collector, debian_file, free_port, get, until};

pub const TARGETS: usize = 4;
pub const INTERVAL: Duration = Duration::from_millis(500);
const SERIES: usize = 20;

/// What the collector runs in.
enum Surroundings {
    Plain,
    /// Its storage is a disk of this size, which nobody else sees.
    SmallDisk(&'static str),
    /// Its wall clock is off by what this file says.
    Clock(PathBuf),
}

pub struct Pipe {
    pub receiver: Receiver,
    judge: Arc<Judge>,
    targets: Targets,
    folder: TempDir,
    address: String,
    surroundings: Surroundings,
    /// Further flags.
    flags: Vec<String>,
    process: Option<Process>,
    began_ms: i64,
}

impl Pipe {
    /// `endpoint`: more of the block `endpoint`.
    pub async fn start(endpoint: &str) -> Self {
        Self::with(SERIES, endpoint, Surroundings::Plain).await
    }

    /// Beside its own endpoint it has others: whole blocks. A polite end may not wait for them.
    pub async fn beside(endpoints: &str, flags: &[String]) -> Self {
        let anchor = "prometheus.remote_write \"probe\" {\n";
        let edit = |config: String| config.replace(anchor, &format!("{anchor}{endpoints}"));
        Self::configured(SERIES, edit, Surroundings::Plain, flags).await
    }

    pub async fn with_series(series: usize, endpoint: &str) -> Self {
        Self::with(series, endpoint, Surroundings::Plain).await
    }

    pub async fn on_small_disk(size: &'static str) -> Self {
        Self::with(SERIES, "", Surroundings::SmallDisk(size)).await
    }

    pub async fn under_clock(offset: &Path) -> Self {
        Self::with(SERIES, "", Surroundings::Clock(offset.to_owned())).await
    }

    async fn with(series: usize, endpoint: &str, surroundings: Surroundings) -> Self {
        let edit = |config: String| config.replacen("/api/v1/write\"\n", &format!("/api/v1/write\"\n\n\t\t{endpoint}\n"), 1);
        Self::configured(series, edit, surroundings, &[]).await
    }

    async fn configured(series: usize, edit: impl Fn(String) -> String, surroundings: Surroundings, flags: &[String]) -> Self {
        let began_ms = now_ms();
        let targets = TargetOptions { targets: TARGETS, series, tick: INTERVAL, groups: TARGETS, ..TargetOptions::default() };
        let targets = Targets::start(targets).await.unwrap();
        // What is wrong is counted, and taken: a sender that is refused would not send it again.
        let judge = Judge::new(JudgeOptions { strict: false, ..JudgeOptions::new(INTERVAL) });
        let receiver = Receiver::start(judge.clone()).await.unwrap();
        let pipeline = Pipeline {
            // Alone in a fleet: slots follow the clock as in any other.
            clustering: matches!(surroundings, Surroundings::Clock(_)),
            refresh: Duration::from_secs(1),
            batch_deadline: Some(Duration::from_millis(200)),
            ..Pipeline::new(targets.sd_url(), receiver.url(), INTERVAL)
        };
        let config = edit(pipeline.to_string());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.alloy"), config).unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut pipe = Self { receiver, judge, targets, folder, address, surroundings, flags: flags.to_vec(), process: None, began_ms };
        pipe.restart().await;
        pipe
    }

    /// Starts the collector, with what an earlier one left.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "one runs");
        let data = self.folder.path().join("data");
        let mut command = match &self.surroundings {
            Surroundings::Plain => Command::new(collector()),
            Surroundings::SmallDisk(size) => {
                let mut command = Command::new("unshare");
                let script = format!("mount -t tmpfs -o size={size} tmpfs {} && exec \"$@\"", data.display());
                command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]).arg(collector());
                command
            }
            Surroundings::Clock(offset) => {
                let mut command = Command::new(collector());
                command
                    .env("LD_PRELOAD", debian_file(&format!("usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH)))
                    .env("FAKETIME_TIMESTAMP_FILE", offset);
                command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
                command
            }
        };
        command.arg("run").arg("--cluster.enabled").arg(format!("--server.http.listen-addr={}", self.address));
        command.arg(format!("--storage.path={}", data.display())).args(&self.flags).arg(self.folder.path().join("config.alloy"));
        let process = Process::spawn("collector", command, &self.folder.path().join("log")).unwrap();
        process.ready(&format!("http://{}/-/ready", self.address), Duration::from_secs(30)).await.unwrap();
        self.process = Some(process);
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Adds to the configuration and has it loaded.
    pub async fn add_blocks(&self, blocks: &str) {
        let path = self.folder.path().join("config.alloy");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}\n{blocks}")).unwrap();
        let (status, text) = self.get("/-/reload").await;
        assert_eq!(status, 200, "{text}");
    }

    /// SIGTERM; it must end well.
    pub async fn stop(&mut self) {
        let stopped = self.process.take().unwrap().stop(Duration::from_secs(25)).await.unwrap();
        assert!(stopped.status.success(), "{}", self.log());
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let process = self.process.take().unwrap();
        process.signal(Signal::Kill);
        process.ended().await;
    }

    /// Waits until samples of every target that are newer than now have arrived.
    pub async fn flows(&self) {
        let since = now_ms();
        until("new samples of all targets arrive", Duration::from_secs(30), || async {
            let live = self.judge.live();
            live.len() == TARGETS && self.newest_ms() > since
        })
        .await;
    }

    /// The timestamp of the newest sample that has arrived of all targets.
    pub fn newest_ms(&self) -> i64 {
        self.judge.live().values().map(|live| live.newest_ms).min().unwrap_or(i64::MIN)
    }

    /// Ends the collector politely and says what became of everything that was served since the start.
    pub async fn end(&mut self) -> Report {
        // A scrape may be late by as much as the machine is slow.
        let last_slot_ms = now_ms() - INTERVAL.as_millis() as i64;
        self.stop().await;
        let to_ms = match &self.surroundings {
            Surroundings::Clock(_) => last_slot_ms + 60_000,
            _ => last_slot_ms,
        };
        let window = Window { from_ms: self.began_ms - 60_000, to_ms };
        self.judge.report(window, |instance| Some(self.targets.served(self.targets.by_instance(instance)?)))
    }

    pub async fn get(&self, path: &str) -> (u16, String) {
        get(&format!("http://{}{path}", self.address)).await
    }

    pub async fn metrics(&self) -> String {
        self.get("/metrics").await.1
    }

    /// Samples that were dropped for a reason.
    pub async fn dropped(&self, reason: &str) -> f64 {
        let metrics = self.metrics().await;
        let name = "prometheus_remote_storage_samples_dropped_total";
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(name) && line.contains(&format!("\"{reason}\""))).collect();
        loadtest::fleet::metric_sum(&lines.join("\n"), name).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Where the queue of the only endpoint is.
    pub fn queue_folder(&self) -> PathBuf {
        let queues = self.folder.path().join("data/prometheus.remote_write.probe/queue");
        let mut folders = std::fs::read_dir(&queues).unwrap().map(|entry| entry.unwrap().path());
        folders.next().expect("the endpoint has a folder")
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.queue_folder()).unwrap().map(|entry| entry.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "v1")).collect()
    }

    pub fn disk_bytes(&self) -> u64 {
        // A segment may go between the listing and the look.
        self.segments().iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum()
    }

    /// Leaves no byte of the small disk free.
    pub fn fill_disk(&self) -> PathBuf {
        let inside = format!("/proc/{}/root{}", self.pid(), self.folder.path().join("data/ballast").display());
        let mut file = std::fs::File::create(&inside).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        inside.into()
    }

    pub fn free_disk(&self, ballast: &Path) {
        std::fs::remove_file(ballast).unwrap();
    }
}
