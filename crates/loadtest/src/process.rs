//! One real process: started with its output in a file, signalled by its id, reaped, and killed when dropped. Knows nothing of what runs
//! in it: fleets and comparisons build on it.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal as UnixSignal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::http::Client;

/// How much of a log an error quotes.
const TAIL_BYTES: u64 = 4096;
/// Between two looks whether a process is ready; cheap, and small against any start.
const READY_POLL: Duration = Duration::from_millis(50);

/// Why a process did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("{name}: can't start {program}: {source}; give the path of an executable file")]
    Start {
        /// The process.
        name: String,
        /// What was to be run.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Its log file could not be made.
    #[error("{name}: can't write its log {path}: {source}")]
    Log {
        /// The process.
        name: String,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("{name}: ended before it was ready ({status}); the end of its log:\n{log}")]
    Ended {
        /// The process.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        log: String,
    },
    /// It was not ready in time.
    #[error("{name}: not ready within {within:?} at {url}: {last}; the end of its log:\n{log}")]
    NotReady {
        /// The process.
        name: String,
        /// Where it was asked.
        url: String,
        /// How long was waited.
        within: Duration,
        /// The last answer.
        last: String,
        /// The end of its output.
        log: String,
    },
    /// It was told to end and did not.
    #[error("{name}: still running {within:?} after SIGTERM, so it was killed; the end of its log:\n{log}")]
    Stuck {
        /// The process.
        name: String,
        /// How long was waited.
        within: Duration,
        /// The end of its output.
        log: String,
    },
}

/// What a process can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: end in order.
    Terminate,
    /// SIGKILL: end at once.
    Kill,
    /// SIGSTOP: stand still.
    Pause,
    /// SIGCONT: go on.
    Resume,
}

/// How a process ended after it was asked to.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// From the signal to the end.
    pub took: Duration,
    /// Its exit status.
    pub status: ExitStatus,
}

/// A running or ended process.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    ended: watch::Receiver<Option<ExitStatus>>,
    reaper: JoinHandle<()>,
}

impl Process {
    /// Starts a command with its output in the file `log`, which is appended to. It gets a process group of its own, so that Ctrl-C in a
    /// terminal reaches only the program that watches over it.
    ///
    /// # Errors
    /// The log can't be written or the program not run.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let log_error = |source| ProcessError::Log { name: name.to_owned(), path: log.to_owned(), source };
        let out = std::fs::File::options().create(true).append(true).open(log).map_err(log_error)?;
        let err = out.try_clone().map_err(log_error)?;
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).kill_on_drop(true);
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let start_error = |source| ProcessError::Start { name: name.to_owned(), program, source };
        let child = command.spawn().map_err(start_error)?;
        let pid = child.id().unwrap_or_default();
        let (tell, ended) = watch::channel(None);
        let reaper = tokio::spawn(reap(child, tell));
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), ended, reaper })
    }

    /// What it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id; of another process, perhaps, once it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output is.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended; `None` while it runs.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.exit_status().is_none()) else { return };
        let signal = match signal {
            Signal::Terminate => UnixSignal::TERM,
            Signal::Kill => UnixSignal::KILL,
            Signal::Pause => UnixSignal::STOP,
            Signal::Resume => UnixSignal::CONT,
        };
        // Fails only if it ended just now.
        let _ = kill_process(pid, signal);
    }

    /// Waits for its end.
    pub async fn ended(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|s| *s);
        status.unwrap_or_default()
    }

    /// SIGTERM, and SIGKILL if it runs on for longer than `within`.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn stop(&self, within: Duration) -> Result<Stopped, ProcessError> {
        let begun = Instant::now();
        self.signal(Signal::Terminate);
        match tokio::time::timeout(within, self.ended()).await {
            Ok(status) => Ok(Stopped { took: begun.elapsed(), status }),
            Err(_) => {
                self.signal(Signal::Kill);
                self.ended().await;
                Err(ProcessError::Stuck { name: self.name.clone(), within, log: self.log_tail() })
            }
        }
    }

    /// Waits until a page answers 200.
    ///
    /// # Errors
    /// It ended before, or took longer than `within`.
    pub async fn ready(&self, url: &str, within: Duration) -> Result<(), ProcessError> {
        let client = Client::new(Duration::from_secs(2));
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exit_status() {
                return Err(ProcessError::Ended { name: self.name.clone(), status: status.to_string(), log: self.log_tail() });
            }
            let last = match client.get(url).await {
                Ok((http::StatusCode::OK, _)) => return Ok(()),
                Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body[..body.len().min(200)]).trim()),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(ProcessError::NotReady { name: self.name.clone(), url: url.to_owned(), within, last, log: self.log_tail() });
            }
            tokio::select! {
                _ = self.ended() => {}
                () = tokio::time::sleep(READY_POLL) => {}
            }
        }
    }

    /// The end of its output, up to 4 KiB.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|e| format!("({}: {e})", self.log.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::Kill);
        // Drops the child, which tokio kills (again) and reaps.
        self.reaper.abort();
    }
}

/// Owns the child: waits for its end and tells it.
async fn reap(mut child: Child, tell: watch::Sender<Option<ExitStatus>>) {
    let status = child.wait().await.unwrap_or_default();
    tell.send_replace(Some(status));
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Waits for Ctrl-C or SIGTERM. Whoever runs processes must wait for it and drop them: they don't get the terminal's signals.
pub async fn interrupted() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminate => {}
        () = interrupt => {}
    }
}

/// A free loopback port, held until it is let go right before a process takes it.
#[derive(Debug)]
pub(crate) struct Port {
    held: TcpListener,
    number: u16,
}

impl Port {
    /// A port that the system gives.
    pub(crate) fn hold() -> std::io::Result<Self> {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let number = held.local_addr()?.port();
        Ok(Self { held, number })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Lets it go.
    pub(crate) fn release(self) -> u16 {
        drop(self.held);
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::spawn("sh", command, &dir.path().join("log")).unwrap();
        (dir, process)
    }

    #[tokio::test]
    async fn a_process_ends_when_asked_and_tells_how_long_it_took() {
        let (_dir, process) = shell("trap 'exit 7' TERM; echo on; while :; do sleep 0.01; done");
        while !process.log_tail().contains("on") {
            tokio::task::yield_now().await;
        }
        assert!(process.exit_status().is_none());
        let stopped = process.stop(Duration::from_secs(20)).await.unwrap();
        assert_eq!(stopped.status.code(), Some(7));
        assert_eq!(process.exit_status(), Some(stopped.status));
    }

    #[tokio::test]
    async fn a_process_that_will_not_end_is_killed_and_named() {
        let (_dir, process) = shell("trap '' TERM; echo deaf; while :; do sleep 0.01; done");
        while !process.log_tail().contains("deaf") {
            tokio::task::yield_now().await;
        }
        let error = process.stop(Duration::from_millis(50)).await.unwrap_err().to_string();
        assert!(error.contains("still running 50ms after SIGTERM") && error.ends_with("deaf\n"), "{error}");
        assert!(process.exit_status().is_some());
    }

    #[tokio::test]
    async fn an_early_end_is_told_with_the_end_of_the_log() {
        let (_dir, process) = shell("echo first; echo 'the port is taken' >&2; exit 3");
        let error = process.ready("http://127.0.0.1:1/-/ready", Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(&error, ProcessError::Ended { log, .. } if log.contains("the port is taken")), "{error}");
    }

    #[tokio::test]
    async fn a_process_that_is_never_ready_is_told_with_the_last_answer() {
        let (_dir, process) = shell("sleep 60");
        let port = Port::hold().unwrap().release();
        let error = process.ready(&format!("http://127.0.0.1:{port}/"), Duration::ZERO).await.unwrap_err();
        assert!(matches!(&error, ProcessError::NotReady { last, .. } if last.contains("refused")), "{error}");
    }

    #[tokio::test]
    async fn dropping_kills() {
        let (_dir, process) = shell("sleep 60");
        let mut ended = process.ended.clone();
        let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
        drop(process);
        // Either the reaper still saw the end or it was aborted before: both close the channel, after the kill was sent.
        while ended.changed().await.is_ok() {}
        while rustix::process::test_kill_process(pid).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn pause_and_resume_reach_the_process() {
        let (_dir, process) = shell("while :; do sleep 0.01; done");
        let state = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
        };
        process.signal(Signal::Pause);
        while state(process.pid()) != 'T' {
            tokio::task::yield_now().await;
        }
        process.signal(Signal::Resume);
        while state(process.pid()) == 'T' {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_missing_program_is_named_with_the_remedy() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let spawned = runtime.block_on(async { Process::spawn("node-1", Command::new("/does/not/exist"), &dir.path().join("log")) });
        let error = spawned.unwrap_err().to_string();
        assert!(error.starts_with("node-1: can't start /does/not/exist:"), "{error}");
    }
}
