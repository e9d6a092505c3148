//! The agents that are compared: how each is configured and started for the same job. Flags and files are those of the agents' own
//! documentation (Debian 12: Prometheus 2.42, vmagent 1.79.5).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::alloy::Pipeline;

/// What an agent has to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its own empty directory.
    pub dir: PathBuf,
    /// The configuration file, in that directory.
    pub config: PathBuf,
    /// The port on 127.0.0.1 for its own HTTP server.
    pub port: u16,
    /// Where the targets are listed (HTTP service discovery).
    pub sd_url: String,
    /// Where samples go (remote write 1.0).
    pub write_url: String,
    /// How often each target is scraped.
    pub interval: Duration,
    /// How many endpoints samples go to; only the collector knows more than one.
    pub endpoints: usize,
    /// How many rules relabel metrics on the way; only the collector knows any.
    pub relabel_rules: usize,
}

/// One agent: a program, its configuration and its arguments for a job.
#[derive(Clone, Debug)]
pub struct Agent {
    /// What it is called in the table.
    pub name: String,
    /// The program.
    pub binary: PathBuf,
    /// Name of the configuration file.
    pub config_file: &'static str,
    /// Writes the configuration.
    pub config: fn(&Job) -> String,
    /// Writes the arguments.
    pub arguments: fn(&Job) -> Vec<String>,
    /// Further arguments.
    pub extra: Vec<String>,
    /// The page that answers 200 when it is ready.
    pub ready: &'static str,
}

impl Agent {
    /// The collector, one node without a cluster.
    #[must_use]
    pub fn collector(binary: &Path) -> Self {
        Self {
            name: "collector".to_owned(),
            binary: binary.to_owned(),
            config_file: "config.alloy",
            config: |job| {
                let (sd_url, write_url) = (job.sd_url.clone(), job.write_url.clone());
                let pipeline = Pipeline::new(sd_url, write_url, job.interval);
                Pipeline { clustering: false, endpoints: job.endpoints, relabel_rules: job.relabel_rules, ..pipeline }.to_string()
            },
            arguments: |job| {
                vec![
                    "run".to_owned(),
                    format!("--server.http.listen-addr=127.0.0.1:{}", job.port),
                    format!("--storage.path={}", job.dir.join("data").display()),
                    job.config.display().to_string(),
                ]
            },
            extra: Vec::new(),
            ready: "/-/ready",
        }
    }

    /// VictoriaMetrics' vmagent.
    #[must_use]
    pub fn vmagent(binary: &Path) -> Self {
        Self {
            name: "vmagent".to_owned(),
            binary: binary.to_owned(),
            config_file: "scrape.yml",
            config: scrape_yaml,
            arguments: |job| {
                vec![
                    format!("-promscrape.config={}", job.config.display()),
                    format!("-remoteWrite.url={}", job.write_url),
                    format!("-remoteWrite.tmpDataPath={}", job.dir.join("data").display()),
                    format!("-httpListenAddr=127.0.0.1:{}", job.port),
                ]
            },
            extra: Vec::new(),
            ready: "/health",
        }
    }

    /// Prometheus in agent mode.
    #[must_use]
    pub fn prometheus(binary: &Path) -> Self {
        Self {
            name: "prometheus-agent".to_owned(),
            binary: binary.to_owned(),
            config_file: "prometheus.yml",
            config: |job| format!("{}remote_write:\n- url: {}\n", scrape_yaml(job), job.write_url),
            arguments: |job| {
                vec![
                    "--enable-feature=agent".to_owned(),
                    format!("--config.file={}", job.config.display()),
                    format!("--storage.agent.path={}", job.dir.join("data").display()),
                    format!("--web.listen-address=127.0.0.1:{}", job.port),
                ]
            },
            extra: Vec::new(),
            ready: "/-/ready",
        }
    }
}

/// Scraping in Prometheus' configuration format.
fn scrape_yaml(job: &Job) -> String {
    let (interval, timeout) = (job.interval.as_millis(), job.interval.min(Duration::from_secs(10)).as_millis());
    format!(
        "global:\n  scrape_interval: {interval}ms\n  scrape_timeout: {timeout}ms\n\
         scrape_configs:\n- job_name: probe\n  http_sd_configs:\n  - url: {}\n",
        job.sd_url
    )
}
