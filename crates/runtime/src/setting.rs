//! Config blocks: what configures the process rather than a component. They are nodes of the graph like components, because their
//! expressions may refer to some, but they export nothing and have nothing that runs. Applying the log's settings belongs to the product.

use std::sync::Arc;

use component::ErasedArguments;
use syntax::{Block, Diagnostic, Diagnostics, FromValue, Schema, Scope, Shape, ToValue, Value, ValueError, ast, text_from_value};

/// Config blocks of Alloy that are recognised but whose feature is not there.
const NOT_YET: &[&str] = &["argument", "declare", "export", "foreach", "http", "remotecfg", "tracing"];
/// Blocks that bring code from elsewhere; their feature is not there either.
const IMPORTS: &str = "import.";
/// Alloy's services that have no block.
const UNCONFIGURED: &[&str] = &["cluster", "otel", "ui"];

/// The config blocks that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// `logging`
    Logging,
    /// `livedebugging`
    LiveDebugging,
    /// `labelstore`
    LabelStore,
}

impl Setting {
    /// The block with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "logging" => Some(Self::Logging),
            "livedebugging" => Some(Self::LiveDebugging),
            "labelstore" => Some(Self::LabelStore),
            _ => None,
        }
    }

    /// What the block takes.
    pub fn schema(self) -> &'static Schema {
        match self {
            Self::Logging => LoggingConfig::schema(),
            Self::LiveDebugging => LiveDebugging::schema(),
            Self::LabelStore => LabelStore::schema(),
        }
    }

    /// Evaluates the block.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn decode(self, block: &ast::Block, scope: &Scope) -> Result<Arc<dyn ErasedArguments>, Diagnostics> {
        match self {
            Self::Logging => erased::<LoggingConfig>(block, scope),
            Self::LiveDebugging => erased::<LiveDebugging>(block, scope),
            Self::LabelStore => erased::<LabelStore>(block, scope),
        }
    }
}

fn erased<T: Block + PartialEq + Send + Sync + 'static>(
    block: &ast::Block,
    scope: &Scope,
) -> Result<Arc<dyn ErasedArguments>, Diagnostics> {
    T::decode_component(block, scope).map(|arguments| Arc::new(arguments) as Arc<dyn ErasedArguments>)
}

/// Why a block that is no component can't be had; none if the name means nothing special.
pub(crate) fn refused(name: &str) -> Option<String> {
    if NOT_YET.contains(&name) || name.starts_with(IMPORTS) {
        return Some(format!("block {name:?} is not supported yet"));
    }
    UNCONFIGURED.contains(&name).then(|| format!("service {name:?} does not support being configured"))
}

/// The name by which other blocks use what a refused block would have defined: `declare "x"` makes blocks `x`, `import.file "x"` makes
/// blocks `x.…`. Complaining about those as well would only hide the cause.
pub(crate) fn namespace(block: &ast::Block) -> Option<&str> {
    let name = block.full_name();
    if name == "declare" || name.starts_with(IMPORTS) { block.label() } else { None }
}

/// The names of all config blocks, for suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ["logging", "livedebugging", "labelstore"].into_iter().chain(NOT_YET.iter().copied())
}

/// The `logging` block: how the process writes its log.
#[derive(Clone, Debug, Default, PartialEq, Block)]
#[syntax(validate = "LoggingConfig::check")]
pub struct LoggingConfig {
    /// Level below which lines are dropped: `debug`, `info`, `warn` or `error`.
    pub level: LogLevel,
    /// Format of the lines: `logfmt` or `json`.
    pub format: LogFormat,
    /// Where lines are written.
    destination: LogDestination,
    /// Receivers of log lines. Not supported yet.
    write_to: Vec<Value>,
}

impl LoggingConfig {
    fn check(&self) -> Result<(), String> {
        match self.write_to.as_slice() {
            [] => Ok(()),
            _ => Err("write_to is not supported yet; leave it out, and collect what the process writes to stderr".to_owned()),
        }
    }
}

/// The `livedebugging` block. Live debugging is not there; the block is accepted because configurations carry it along.
#[derive(Clone, Debug, PartialEq, Block)]
struct LiveDebugging {
    /// Whether components stream what passes through them.
    enabled: bool,
}

/// The `labelstore` block; always empty.
#[derive(Clone, Debug, PartialEq, Block)]
struct LabelStore {}

/// What is to be said about evaluated settings though they are right.
pub(crate) fn warning(arguments: &dyn ErasedArguments, block: &ast::Block) -> Option<Diagnostic> {
    let live = arguments.as_any_ref().downcast_ref::<LiveDebugging>()?;
    live.enabled
        .then(|| Diagnostic::warning(block.file(), block.header_span(), "live debugging is not supported yet; the block has no effect"))
}

/// A text of which only a few are allowed.
trait Word: Copy + PartialEq + 'static {
    /// Spellings, and their meaning if it is there.
    const WORDS: &'static [(&'static str, Option<Self>)];

    fn read(value: &Value) -> Result<Self, ValueError> {
        let text = text_from_value(value)?;
        match Self::WORDS.iter().find(|(word, _)| *word == text) {
            Some((_, Some(meaning))) => Ok(*meaning),
            Some((_, None)) => Err(ValueError::custom(format!("is not supported here; use {}", Self::known()))),
            None => Err(ValueError::custom(format!("should be {}", Self::known()))),
        }
    }

    fn known() -> String {
        let words: Vec<String> = Self::WORDS.iter().filter(|(_, meaning)| meaning.is_some()).map(|(word, _)| format!("{word:?}")).collect();
        words.join(" or ")
    }

    fn write(self) -> Value {
        let word = Self::WORDS.iter().find(|(_, meaning)| *meaning == Some(self));
        word.map_or(Value::Null, |(word, _)| word.to_value())
    }
}

/// From which level on lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the levels")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `key=value`
    #[default]
    Logfmt,
    /// An object per line.
    Json,
}

/// Where lines are written; Alloy's second destination, `windows_event_log`, is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LogDestination {
    #[default]
    Stderr,
}

impl Word for LogLevel {
    const WORDS: &'static [(&'static str, Option<Self>)] =
        &[("error", Some(Self::Error)), ("warn", Some(Self::Warn)), ("info", Some(Self::Info)), ("debug", Some(Self::Debug))];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Option<Self>)] = &[("logfmt", Some(Self::Logfmt)), ("json", Some(Self::Json))];
}

impl Word for LogDestination {
    const WORDS: &'static [(&'static str, Option<Self>)] = &[("stderr", Some(Self::Stderr)), ("windows_event_log", None)];
}

/// The conversions of the language for types that are words.
macro_rules! words {
    ($($word:ty),*) => {$(
        impl FromValue for $word {
            fn from_value(value: &Value) -> Result<Self, ValueError> {
                Self::read(value)
            }

            fn type_name() -> String {
                "string".to_owned()
            }

            fn shape() -> Shape {
                Shape::Scalar
            }
        }

        impl ToValue for $word {
            fn to_value(&self) -> Value {
                self.write()
            }
        }
    )*};
}

words!(LogLevel, LogFormat, LogDestination);

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(body: &str) -> Result<LoggingConfig, String> {
        syntax::decode_str(body, &Scope::new()).map_err(|diagnostics| diagnostics.to_string())
    }

    #[test]
    fn logging_has_alloys_defaults_and_words() {
        assert_eq!(logging("").unwrap(), LoggingConfig::default());
        let config = logging("level = \"debug\"\nformat = \"json\"\ndestination = \"stderr\"\nwrite_to = []").unwrap();
        assert_eq!((config.level, config.format), (LogLevel::Debug, LogFormat::Json));
    }

    #[test]
    fn unknown_words_are_answered_with_the_known_ones() {
        let error = logging("level = \"loud\"").unwrap_err();
        assert!(error.contains("\"loud\" should be \"error\" or \"warn\" or \"info\" or \"debug\""), "{error}");
    }

    #[test]
    fn destinations_and_receivers_that_are_not_there_are_refused() {
        let error = logging("destination = \"windows_event_log\"").unwrap_err();
        assert!(error.contains("\"windows_event_log\" is not supported here; use \"stderr\""), "{error}");
        let error = logging("write_to = [1]").unwrap_err();
        assert!(error.contains("write_to is not supported yet"), "{error}");
    }

    #[test]
    fn blocks_whose_feature_is_missing_are_refused_by_name_and_others_are_not() {
        assert_eq!(refused("import.git").as_deref(), Some("block \"import.git\" is not supported yet"));
        assert_eq!(refused("declare").as_deref(), Some("block \"declare\" is not supported yet"));
        assert_eq!(refused("cluster").as_deref(), Some("service \"cluster\" does not support being configured"));
        assert_eq!(refused("local.file"), None);
        assert_eq!(refused("logging"), None);
    }
}
