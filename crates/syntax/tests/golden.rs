//! Golden files: `golden/format/*.alloy` beside their formatted text, `golden/diagnostics/*.alloy` beside the drawn
//! diagnostics. `UPDATE_GOLDEN=1 cargo test -p syntax --test golden` renews the answers.

#![allow(clippy::unwrap_used, reason = "tests may panic, and so may what serves them")]

use std::fs;
use std::path::{Path, PathBuf};

use syntax::{Severity, Sources};

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "alloy")).collect();
    files.sort();
    assert!(!files.is_empty(), "no inputs in {}", folder.display());
    files
}

/// Compares with the answer beside the input, or renews it.
fn compare(input: &Path, extension: &str, actual: &str) {
    let answer = input.with_extension(extension);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&answer, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&answer).unwrap_or_else(|error| panic!("{}: {error}", answer.display()));
    assert_eq!(actual, expected, "{} differs; UPDATE_GOLDEN=1 renews it", answer.display());
}

#[test]
fn formatted_texts_are_as_expected_and_stay_so_when_formatted_again() {
    for input in inputs("format") {
        let source = fs::read_to_string(&input).unwrap();
        let name = input.file_name().unwrap().to_str().unwrap();
        let formatted = syntax::format(name, &source).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        compare(&input, "formatted", &formatted);
        assert_eq!(syntax::format(name, &formatted).unwrap(), formatted, "{name}: formatting is not stable");
        let (_, diagnostics) = syntax::parse(name, &formatted);
        assert!(diagnostics.is_empty(), "{name}: formatted text is not portable: {diagnostics}");
    }
}

#[test]
fn diagnostics_are_drawn_as_expected() {
    for input in inputs("diagnostics") {
        let source = fs::read_to_string(&input).unwrap();
        let name = input.file_name().unwrap().to_str().unwrap();
        let (_, diagnostics) = syntax::parse(name, &source);
        assert!(!diagnostics.is_empty(), "{name} has nothing wrong");
        let sources: Sources = [(name, source.as_str())].into_iter().collect();
        compare(&input, "drawn", &diagnostics.render(&sources, false));
    }
}

#[test]
fn a_portable_alternative_is_a_warning_that_names_it_not_an_error() {
    let (_, diagnostics) = syntax::parse("f", "# c\na = 'x'\n");
    let found: Vec<_> = diagnostics.iter().map(|d| (d.severity, d.help.clone().unwrap())).collect();
    assert_eq!(
        found,
        [
            (Severity::Warning, "write // c, which Alloy understands as well".to_owned()),
            (Severity::Warning, "write \"x\", which Alloy understands as well".to_owned()),
        ]
    );
}
