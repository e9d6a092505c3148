//! How diagnostics print and are drawn.

use std::sync::Arc;

use syntax::{Diagnostic, Diagnostics, Position, Severity, Sources, Span};

fn diagnostic(file: &str, start: (u32, u32), end: (u32, u32), message: &str) -> Diagnostic {
    let position = |(line, column): (u32, u32)| Position { offset: 0, line, column };
    let file: Arc<str> = file.into();
    Diagnostic::error(&file, Span::new(position(start), position(end)), message)
}

/// Draws one error in the file `t`.
fn drawn(source: &str, start: (u32, u32), end: (u32, u32)) -> String {
    let sources: Sources = [("t", source)].into_iter().collect();
    Diagnostics::from(diagnostic("t", start, end, "msg")).render(&sources, false)
}

#[test]
fn one_line_is_marked_from_start_to_end_with_a_line_around() {
    assert_eq!(
        drawn("before\n\tattr = 1\nafter\nfar\n", (2, 2), (2, 6)),
        "Error: t:2:2: msg\n\n1 | before\n2 |     attr = 1\n  |     ^^^^\n3 | after\n"
    );
}

#[test]
fn an_empty_span_marks_one_character_even_behind_the_line() {
    assert_eq!(drawn("foo,bar", (1, 4), (1, 4)), "Error: t:1:4: msg\n\n1 | foo,bar\n  |    ^\n");
    assert_eq!(drawn("foo", (1, 4), (1, 4)), "Error: t:1:4: msg\n\n1 | foo\n  |    ^\n");
}

#[test]
fn line_numbers_are_padded_to_the_widest() {
    let source = (1..=11).map(|n| format!("L{n}\n")).collect::<String>();
    assert_eq!(drawn(&source, (9, 1), (9, 3)), "Error: t:9:1: msg\n\n 8 | L8\n 9 | L9\n   | ^^\n10 | L10\n");
}

#[test]
fn several_lines_get_a_gutter_and_two_rows_of_marks() {
    let source = "BEGIN\nbefore START\nTEXT\n\tTEXT\n\t\tDONE after\nEND";
    assert_eq!(
        drawn(source, (2, 8), (5, 7)),
        "Error: t:2:8: msg\n\n\
         1 |   BEGIN\n\
         2 |   before START\n\
        \x20 |  ________^^^^^\n\
         3 | | TEXT\n\
         4 | |     TEXT\n\
         5 | |         DONE after\n\
        \x20 | |_________^^^^\n\
         6 |   END\n"
    );
}

#[test]
fn several_diagnostics_are_kept_apart_by_a_blank_line() {
    let all: Diagnostics = [diagnostic("t", (1, 1), (1, 2), "one"), diagnostic("u", (1, 1), (1, 2), "two")].into_iter().collect();
    let sources: Sources = [("t", "a"), ("u", "b")].into_iter().collect();
    assert_eq!(all.render(&sources, false), "Error: t:1:1: one\n\n1 | a\n  | ^\n\nError: u:1:1: two\n\n1 | b\n  | ^\n");
}

#[test]
fn without_its_source_only_the_message_is_shown() {
    let all = Diagnostics::from(diagnostic("t", (7, 1), (7, 2), "msg").with_help(Some("do this")));
    assert_eq!(all.render(&Sources::new(), false), "Error: t:7:1: msg\n  help: do this\n");
    let other: Sources = [("t", "too\nshort")].into_iter().collect();
    assert_eq!(all.render(&other, false), "Error: t:7:1: msg\n  help: do this\n");
}

#[test]
fn very_long_lines_are_cut() {
    let text = drawn(&"x".repeat(1_000_000), (1, 2), (1, 1_000_000));
    assert!(text.len() < 1000, "{}", text.len());
    assert!(text.contains(" …\n"));
}

#[test]
fn colour_marks_severity_and_message() {
    let sources: Sources = [("t", "a")].into_iter().collect();
    let file: Arc<str> = "t".into();
    let warning = Diagnostic::warning(&file, Span::new(Position { offset: 0, line: 1, column: 1 }, Position::default()), "msg");
    assert_eq!(
        Diagnostics::from(warning).render(&sources, true),
        "\u{1b}[33;1mWarning: \u{1b}[0m\u{1b}[1mt:1:1: msg\u{1b}[0m\n\n1 | a\n  | ^\n"
    );
}

#[test]
fn a_list_prints_its_first_and_counts_the_rest() {
    let mut all = Diagnostics::new();
    assert_eq!(all.to_string(), "no errors");
    all.push(diagnostic("t", (1, 2), (1, 3), "one"));
    assert_eq!(all.to_string(), "t:1:2: one");
    all.push(diagnostic("", (0, 0), (0, 0), "two"));
    all.push(diagnostic("t", (0, 0), (0, 0), "three"));
    assert_eq!(all.to_string(), "t:1:2: one (and 2 more diagnostics)");
    let each: Vec<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(each, ["t:1:2: one", "two", "t: three"]);
}

#[test]
fn errors_and_warnings_can_be_told_apart() {
    let file: Arc<str> = "t".into();
    let warning = Diagnostic::warning(&file, Span::default(), "w");
    let mut all = Diagnostics::from(warning);
    assert!(!all.has_errors());
    assert_eq!(all.clone().into_result(5), Ok(5));
    all.push(diagnostic("t", (1, 1), (1, 1), "e"));
    assert!(all.clone().into_result(5).is_err());
    let (errors, warnings) = all.split();
    assert!(errors.iter().all(|d| d.severity == Severity::Error) && errors.len() == 1);
    assert_eq!(warnings.len(), 1);
}

#[test]
fn files_of_other_encodings_are_refused_by_name() {
    let message = |bytes: &[u8]| syntax::source_from_bytes("f", bytes).unwrap_err().to_string();
    assert_eq!(message(b"\xff\xfea\0"), "f: the file is encoded in UTF-16");
    assert_eq!(message(b"\xfe\xff\0a"), "f: the file is encoded in UTF-16");
    assert_eq!(message(b"\xff\xfe\0\0"), "f: the file is encoded in UTF-32");
    assert_eq!(message(b"\0\0\xfe\xff"), "f: the file is encoded in UTF-32");
    assert_eq!(message(b"a = 1\nb = \"\xff\""), "f:2:6: illegal UTF-8 encoding");
    assert_eq!(syntax::source_from_bytes("f", b"\xef\xbb\xbfa = 1").unwrap(), "\u{feff}a = 1");
}
