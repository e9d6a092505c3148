//! Targets or judge alone, for a fleet that runs elsewhere, such as in Kubernetes: each serves until it is ended, and tells from time to time
//! how it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clock::{millis, now_ms};
use crate::http::{Client, FetchError};
use crate::judge::{Judge, JudgeOptions, Report, Window};
use crate::process::interrupted;
use crate::receiver::{Pages, Receiver};
use crate::report::short;
use crate::targets::{TargetOptions, Targets, TargetsError};

/// How often a line tells how it goes.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often the list of targets is read, of which the judge expects samples.
const READ_EVERY: Duration = Duration::from_secs(10);
/// How long reading it may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Samples of each followed series that the judge keeps: at an interval of 15 s, half a day.
const HISTORY: usize = 2880;

/// What a judge alone is told.
#[derive(Clone, Debug)]
pub struct JudgeAlone {
    /// Where it receives remote write and answers for its report.
    pub listen: SocketAddr,
    /// The scrape interval of what it judges.
    pub interval: Duration,
    /// Judge only series of this job.
    pub job: Option<String>,
    /// Where the targets are listed that must be there (HTTP service discovery); without it, each is expected from its first sample on.
    pub expect: Option<String>,
    /// How long it judges; without it, until it is ended.
    pub length: Option<Duration>,
    /// The report on standard output as JSON.
    pub json: bool,
}

/// How a judge alone ended.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Whether it was ended by a signal.
    pub interrupted: bool,
    /// Whether there was something to judge, and no gap, duplicate, refused sample or wrong marker in it.
    pub passed: bool,
}

/// Why a judge alone could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// Its address can't be had.
    #[error("can't listen at {address}: {source}; give an address of this machine with a port that is free")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The list of targets can't be read.
    #[error("the targets that are to be expected: {0}; --expect takes the URL of their service discovery")]
    Expect(#[from] FetchError),
}

/// Serves targets until a signal ends it.
///
/// # Errors
/// An option out of its range, or an address that can't be had.
pub async fn targets(options: TargetOptions, listen: SocketAddr, advertised: Option<String>) -> Result<(), TargetsError> {
    let (tick, targets) = (options.tick, Targets::listen(options, listen, advertised).await?);
    let series: usize = (0..targets.len()).map(|t| targets.series(t)).sum();
    println!("{} targets with {series} series at http://{}; service discovery: {}", targets.len(), targets.listening(), targets.sd_url());
    let tell = async {
        let mut before = (Instant::now(), targets.served_total());
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            let now = (Instant::now(), targets.served_total());
            let rate = (now.1 - before.1) as f64 / (now.0 - before.0).as_secs_f64();
            let wanted = targets.len() as f64 / tick.as_secs_f64();
            println!("{} scrapes/s of {} that one fleet makes; {} altogether", short(rate), short(wanted), now.1);
            before = now;
        }
    };
    tokio::select! {
        () = interrupted() => Ok(()),
        () = tell => Ok(()),
    }
}

/// Judges until its time is over or a signal ends it, and prints the report.
///
/// # Errors
/// An address that can't be had, or a list of targets that can't be read at the beginning.
pub async fn judge(options: JudgeAlone) -> Result<Judged, AloneError> {
    let told = JudgeOptions { job: options.job.clone(), max_samples: HISTORY, ..JudgeOptions::new(options.interval) };
    let judge = Judge::new(told);
    let begun_ms = now_ms();
    let pages = pages(Arc::clone(&judge), begun_ms, options.interval);
    let listening = Receiver::listen(options.listen, judge.clone(), pages).await;
    let receiver = listening.map_err(|source| AloneError::Listen { address: options.listen, source })?;
    let mut expected = Expected::default();
    if let Some(url) = &options.expect {
        expected.read(url, &judge, options.interval).await?;
    }
    tell(&options, &format!("remote write: {}; report: http://{}/report", receiver.url(), receiver.address()));
    let interrupted = tokio::select! {
        () = interrupted() => true,
        () = over(options.length) => false,
        never = watch(&options, &judge, &mut expected) => match never {},
    };
    let report = judge.report(window(begun_ms, options.interval, None), |_| None);
    print(&options, &report);
    Ok(Judged { interrupted, passed: flawless(&report) })
}

async fn over(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// Tells how it goes and reads the list of targets again, for ever.
async fn watch(options: &JudgeAlone, judge: &Judge, expected: &mut Expected) -> std::convert::Infallible {
    let mut read = Instant::now();
    let mut before = judge.totals().samples;
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        if let Some(url) = options.expect.as_ref().filter(|_| read.elapsed() >= READ_EVERY) {
            read = Instant::now();
            if let Err(error) = expected.read(url, judge, options.interval).await {
                tell(options, &format!("the list of targets stays as it was: {error}"));
            }
        }
        let totals = judge.totals();
        let rate = (totals.samples - before) as f64 / TELL_EVERY.as_secs_f64();
        before = totals.samples;
        tell(
            options,
            &format!(
                "{} targets, {} series, {} samples/s; over all series {} gaps, {} duplicates, {} refused, {} false markers",
                judge.targets_seen(),
                totals.series,
                short(rate),
                totals.gaps,
                totals.duplicates,
                totals.disorders + totals.conflicts,
                totals.false_stale
            ),
        );
    }
}

/// Where the report is JSON, standard output is for the report alone.
fn tell(options: &JudgeAlone, line: &str) {
    if options.json { eprintln!("{line}") } else { println!("{line}") }
}

fn print(options: &JudgeAlone, report: &Report) {
    if options.json {
        println!("{:#}", page(report));
        return;
    }
    let totals = &report.totals;
    println!(
        "\n{} slots of {} targets: {} gaps ({} never scraped, {} lost), {} duplicates, {} partial; {} samples refused, {} markers missing, {} false",
        report.expected,
        report.targets,
        report.gaps,
        report.never_scraped,
        report.lost,
        report.duplicates,
        report.partial,
        totals.disorders + totals.conflicts,
        report.missing_stale,
        totals.false_stale
    );
    println!("{}", if flawless(report) { "PASSED" } else { "FAILED" });
}

fn flawless(report: &Report) -> bool {
    let totals = &report.totals;
    let flaws = [report.gaps, report.duplicates, report.partial, report.missing_stale];
    let refused = [totals.disorders, totals.conflicts, totals.false_stale];
    report.expected > 0 && flaws.iter().chain(&refused).all(|count| *count == 0)
}

/// `/report` for the whole time, `/report?last=5m` for its end; `/-/ready` for who waits.
fn pages(judge: Arc<Judge>, begun_ms: i64, interval: Duration) -> Pages {
    Arc::new(move |path, query| match path {
        "/-/ready" => Some(json!("ready")),
        "/report" => {
            let last = query.split('&').find_map(|pair| pair.strip_prefix("last="));
            match last.map(crate::clock::parse_duration).transpose() {
                Ok(last) => Some(page(&judge.report(window(begun_ms, interval, last), |_| None))),
                Err(error) => Some(json!({ "error": format!("last: {error}") })),
            }
        }
        _ => None,
    })
}

fn page(report: &Report) -> Value {
    let mut page = report.to_json();
    page["passed"] = json!(flawless(report));
    page
}

/// From the beginning, or a while ago, until what is surely delivered: batches wait for seconds, and what is on its way is no gap.
fn window(begun_ms: i64, interval: Duration, last: Option<Duration>) -> Window {
    const ON_THE_WAY: Duration = Duration::from_secs(10);
    let to_ms = now_ms() - millis(interval + ON_THE_WAY);
    let from_ms = last.map_or(begun_ms, |last| (to_ms - millis(last)).max(begun_ms));
    Window { from_ms, to_ms }
}

/// The targets that must be there.
#[derive(Default)]
struct Expected(Vec<String>);

/// A group of targets in service discovery.
#[derive(Deserialize)]
struct Group {
    targets: Vec<String>,
    #[serde(default)]
    labels: std::collections::HashMap<String, String>,
}

impl Expected {
    /// Reads the list; what is new must be there some intervals later, what is gone need not be there any more.
    async fn read(&mut self, url: &str, judge: &Judge, interval: Duration) -> Result<(), FetchError> {
        let groups: Vec<Group> = Client::new(READ_WITHIN).get_json(url).await?;
        let mut listed: Vec<String> = Vec::new();
        for group in groups {
            match group.labels.get("instance") {
                Some(instance) => listed.push(instance.clone()),
                None => listed.extend(group.targets),
            }
        }
        listed.sort_unstable();
        let now = now_ms();
        // A fleet reads its list once a minute by default.
        let from = now + millis(Duration::from_secs(60) + 2 * interval);
        judge.expect(listed.iter().filter(|target| self.0.binary_search(target).is_err()).cloned(), from);
        self.0.iter().filter(|target| listed.binary_search(target).is_err()).for_each(|target| judge.retire(target, now));
        self.0 = listed;
        Ok(())
    }
}
