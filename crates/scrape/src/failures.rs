//! The file to which failed scrapes are written (`scrape_failure_log_file`): an object per line, with the fields that Prometheus writes
//! except for the place in its source. As there, a failure is one of getting the body; what the body holds is another matter.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use prometheus::IntCounter;
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::fetch::ScrapeError;

/// Lines that wait for the disk; more are lost and counted, lest a slow disk hold up scrapes.
const MAX_WAITING: usize = 1024;

/// The log of one file. It is written to by a task of its own, which ends with the log.
#[derive(Debug)]
pub(crate) struct FailureLog {
    path: PathBuf,
    lines: Sender<String>,
    lost: IntCounter,
}

impl FailureLog {
    /// Makes the log of the file that is configured: none if it is none, the present one if it is that of the same file.
    ///
    /// # Errors
    /// The file can't be opened or created.
    pub(crate) fn configured(path: Option<&Path>, present: Option<&Arc<Self>>, lost: &IntCounter) -> io::Result<Option<Arc<Self>>> {
        let Some(path) = path else { return Ok(None) };
        match present.filter(|present| present.path == path) {
            Some(present) => Ok(Some(present.clone())),
            None => Self::open(path, lost.clone()).map(|log| Some(Arc::new(log))),
        }
    }

    fn open(path: &Path, lost: IntCounter) -> io::Result<Self> {
        open(path)?;
        let (lines, waiting) = mpsc::channel(MAX_WAITING);
        tokio::spawn(keep_writing(path.to_owned(), waiting, lost.clone()));
        Ok(Self { path: path.to_owned(), lines, lost })
    }

    /// Writes a failure down, if it is of the kind. Never waits.
    pub(crate) fn write(&self, target: &str, error: &ScrapeError) {
        if !is_logged(error) {
            return;
        }
        let time = Timestamp::now().to_string();
        let mut line = json!({ "time": time, "level": "ERROR", "msg": error.to_string(), "target": target }).to_string();
        line.push('\n');
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = self.lines.try_send(line) {
            self.lost.inc();
        }
    }
}

/// Whether the body could not be got.
fn is_logged(error: &ScrapeError) -> bool {
    match error {
        ScrapeError::Timeout(_)
        | ScrapeError::Transport(_)
        | ScrapeError::Status(_)
        | ScrapeError::Gzip(_)
        | ScrapeError::Broken(_)
        | ScrapeError::BodySize { .. } => true,
        ScrapeError::ContentType(_) | ScrapeError::Encoding(_) | ScrapeError::Series(_) | ScrapeError::TargetLimit { .. } => false,
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

async fn keep_writing(path: PathBuf, mut waiting: Receiver<String>, lost: IntCounter) {
    let (mut lines, mut failing) = (Vec::new(), false);
    while waiting.recv_many(&mut lines, MAX_WAITING).await > 0 {
        let (text, count, path) = (lines.concat(), lines.len() as u64, path.clone());
        lines.clear();
        // Opened anew each time: so whoever moves the file away gets a new one.
        let written = tokio::task::spawn_blocking(move || open(&path)?.write_all(text.as_bytes())).await;
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = &error {
            lost.inc_by(count);
            if !failing {
                tracing::warn!(%error, "failed scrapes can't be written to their file");
            }
        }
        failing = error.is_some();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fetch::TransportError;

    fn counter() -> IntCounter {
        IntCounter::new("lost", "Lost.").unwrap()
    }

    fn failure(text: &str) -> ScrapeError {
        TransportError::new(text).into()
    }

    /// The lines of a file, as soon as there are so many.
    async fn lines(path: &Path, count: usize) -> Vec<serde_json::Value> {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= count && text.ends_with('\n') {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_failure_is_a_line_and_what_is_wrong_with_a_body_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.log");
        let log = FailureLog::configured(Some(&path), None, &counter()).unwrap().unwrap();
        log.write("http://a/metrics", &ScrapeError::TargetLimit { targets: 2, limit: 1 });
        log.write("http://a/metrics", &crate::series::SeriesError::NoName.into());
        log.write("http://a/metrics", &failure("connection \"refused\"\n"));
        log.write("http://b/metrics", &ScrapeError::Status("503 Service Unavailable".into()));
        let lines = lines(&path, 2).await;
        assert_eq!(lines[0]["msg"], "connection \"refused\"\n");
        assert_eq!((&lines[0]["level"], &lines[0]["target"]), (&json!("ERROR"), &json!("http://a/metrics")));
        assert!(lines[0]["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(lines[1]["msg"], "server returned HTTP status 503 Service Unavailable");
        assert_eq!(lines.len(), 2);
    }

    #[tokio::test]
    async fn a_file_that_was_moved_away_is_made_anew_and_one_that_is_there_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.log");
        std::fs::write(&path, "{}\n").unwrap();
        let log = FailureLog::configured(Some(&path), None, &counter()).unwrap().unwrap();
        log.write("t", &failure("one"));
        assert_eq!(lines(&path, 2).await[1]["msg"], "one");
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        log.write("t", &failure("two"));
        assert_eq!(lines(&path, 1).await[0]["msg"], "two");
        let again = FailureLog::configured(Some(&path), Some(&log), &counter()).unwrap().unwrap();
        assert!(Arc::ptr_eq(&log, &again));
        assert!(FailureLog::configured(None, Some(&log), &counter()).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_file_that_can_t_be_written_is_an_error_at_first_and_counted_later() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("folder");
        assert!(FailureLog::configured(Some(&inside.join("failures.log")), None, &counter()).is_err());
        std::fs::create_dir(&inside).unwrap();
        let lost = counter();
        let log = FailureLog::configured(Some(&inside.join("failures.log")), None, &lost).unwrap().unwrap();
        std::fs::remove_dir_all(&inside).unwrap();
        log.write("t", &failure("one"));
        while lost.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn lines_that_the_disk_has_no_time_for_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let lost = counter();
        let log = FailureLog::configured(Some(&folder.path().join("failures.log")), None, &lost).unwrap().unwrap();
        // The task has no turn before this one waits.
        (0..MAX_WAITING + 3).for_each(|_| log.write("t", &failure("x")));
        assert_eq!(lost.get(), 3);
    }
}
