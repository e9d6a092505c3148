//! OpenMetrics' text format as Prometheus' lexer reads it (`model/textparse/openmetricslex.l`, `openmetricsparse.go`): the parts of a
//! line. Leading the visitor through the lines belongs to `parser`.
//!
//! Unlike in the older format exactly one space stands between the parts of a line and none within braces, there are no blank lines and
//! no free comments, and the body ends with `# EOF`. Raw newlines are allowed in quoted names and nowhere else. That lexer skips NULs
//! inside of HELP, TYPE and UNIT lines and label values, those right behind the closing quote included; anywhere else they are wrong.

pub(crate) mod comment;
pub(crate) mod series;
pub(crate) mod starts;
pub(crate) mod tail;
