//! The program's own log: logfmt or JSON lines on stderr with Alloy's keys (`ts`, `level`, `msg`, then the event's fields), level and
//! format changeable while running (the `logging` block).

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::{LogFormat, LogLevel, LoggingConfig};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Crates of other people, whose routine events say nothing to an operator below `debug`.
const QUIET: &[&str] = &["h2", "hyper", "hyper_util", "rustls", "hickory_resolver", "hickory_proto", "notify"];

/// Crates that warn of each message of a peer that is not as it should be: a peer must not fill the log. `cluster` tells of them.
const SILENT: &[&str] = &["chitchat"];

/// The handle with which the log is changed.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<Targets, tracing_subscriber::Registry>,
    json: Arc<AtomicBool>,
}

impl Logging {
    /// Installs the log for the process: level `info`, logfmt.
    pub fn install() -> Self {
        let json = Arc::new(AtomicBool::new(false));
        let (filter, handle) = reload::Layer::new(targets(Level::INFO));
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).event_format(Lines { json: json.clone() });
        // Only a second subscriber in one process fails, and there is none.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self { filter: handle, json }
    }

    /// Applies a `logging` block.
    pub fn apply(&self, config: &LoggingConfig) {
        self.json.store(config.format == LogFormat::Json, Ordering::Relaxed);
        let level = match config.level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        };
        if let Err(error) = self.filter.reload(targets(level)) {
            tracing::warn!(%error, "the log's level could not be changed");
        }
    }
}

fn targets(level: Level) -> Targets {
    let [quiet, silent] =
        if level >= Level::DEBUG { [LevelFilter::DEBUG, LevelFilter::DEBUG] } else { [LevelFilter::WARN, LevelFilter::ERROR] };
    let targets = Targets::new().with_default(level).with_targets(QUIET.iter().map(|name| (*name, quiet)));
    targets.with_targets(SILENT.iter().map(|name| (*name, silent)))
}

/// One event, one line.
struct Lines {
    json: Arc<AtomicBool>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Lines {
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = if self.json.load(Ordering::Relaxed) { Line::json() } else { Line::logfmt() };
        line.pair("ts", &jiff::Timestamp::now().to_string());
        line.pair("level", level_name(*event.metadata().level()));
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.pair("msg", &fields.message);
        for (name, value) in &fields.others {
            line.pair(name, value);
        }
        writeln!(writer, "{}", line.finish())
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The fields of an event as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push((name, format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push((name, value.to_owned())),
        }
    }
}

/// A line under construction.
enum Line {
    Logfmt(String),
    Json(String),
}

impl Line {
    fn logfmt() -> Self {
        Self::Logfmt(String::new())
    }

    fn json() -> Self {
        Self::Json("{".to_owned())
    }

    fn pair(&mut self, name: &str, value: &str) {
        match self {
            Self::Logfmt(line) => {
                if !line.is_empty() {
                    line.push(' ');
                }
                let bare = !value.is_empty() && value.bytes().all(|b| b > b' ' && b < 0x7f && !matches!(b, b'"' | b'=' | b'\\'));
                // Writing to a string never fails.
                let _ = if bare { write!(line, "{name}={value}") } else { write!(line, "{name}={value:?}") };
            }
            Self::Json(line) => {
                if line.len() > 1 {
                    line.push(',');
                }
                let quoted = |text: &str| serde_json::Value::from(text).to_string();
                let _ = write!(line, "{}:{}", quoted(name), quoted(value));
            }
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Logfmt(line) => line,
            Self::Json(line) => line + "}",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logfmt_quotes_what_needs_it() {
        let mut line = Line::logfmt();
        line.pair("a", "plain");
        line.pair("b", "two words");
        line.pair("c", "say \"hi\"\n");
        line.pair("d", "");
        assert_eq!(line.finish(), r#"a=plain b="two words" c="say \"hi\"\n" d="""#);
    }

    #[test]
    fn json_lines_are_json() {
        let mut line = Line::json();
        line.pair("msg", "say \"hi\"\n");
        line.pair("n", "1");
        let value: serde_json::Value = serde_json::from_str(&line.finish()).unwrap();
        assert_eq!(value["msg"], "say \"hi\"\n");
    }

    #[test]
    fn foreign_crates_are_quiet_unless_debugging() {
        assert!(!targets(Level::INFO).would_enable("chitchat::server", &Level::INFO));
        assert!(targets(Level::INFO).would_enable("cluster", &Level::INFO));
        assert!(targets(Level::DEBUG).would_enable("chitchat::server", &Level::DEBUG));
    }
}
