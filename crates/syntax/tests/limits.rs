//! What no input may do: panic, overflow the stack, grow without bound, or change when formatted twice.

#![allow(clippy::unwrap_used, reason = "tests may panic, and so may what serves them")]

use proptest::prelude::*;
use syntax::{MAX_SOURCE_BYTES, Scope, StdlibOptions, stdlib};

/// Parses, formats, evaluates, compares and drops, as deep as it goes, on a thread with as little stack as any of ours.
fn exercise(source: String) -> Vec<String> {
    let run = move || {
        let (file, diagnostics) = syntax::parse("f", &source);
        let scope = stdlib::root(&StdlibOptions::default());
        for attribute in file.body.attributes() {
            let _ = syntax::eval(&attribute.value, &scope)
                .map(|value| (value.to_string(), syntax::json::value(&value), value.clone() == value));
        }
        let _ = syntax::references_in_body(&file.body);
        let _ = file.clone() == file;
        let _ = syntax::format("f", &source);
        diagnostics.iter().map(ToString::to_string).collect()
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap()
}

#[test]
fn nesting_has_a_bound_that_is_told() {
    let deep = 20_000;
    for source in [
        format!("x = {}", "(".repeat(deep)),
        format!("x = {}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("x = {}", "[".repeat(deep)),
        format!("x = {}1{}", "[".repeat(deep), "]".repeat(deep)),
        format!("x = {}", "{a = ".repeat(deep)),
        format!("x = {}1", "!".repeat(deep)),
        format!("x = {}1", "-".repeat(deep)),
        format!("x = {}1", "1 ^ ".repeat(deep)),
        format!("x = {}", "f(".repeat(deep)),
        format!("x = a{}", "[b".repeat(deep)),
        "a {\n".repeat(deep),
        format!("{}{}", "a {\n".repeat(deep), "}\n".repeat(deep)),
        format!("x = {}", "a {\n".repeat(deep)),
        format!("x = 1{}", " + 1".repeat(deep)),
        format!("x = a{}", ".b".repeat(deep)),
        format!("x = a{}", "()".repeat(deep)),
        format!("x = a{}", "[0]".repeat(deep)),
    ] {
        let start: String = source.chars().take(30).collect();
        let errors = exercise(source);
        assert!(!errors.is_empty(), "{start}");
        assert!(errors.len() <= 1000, "{start}: {} errors", errors.len());
        let told = errors.iter().any(|error| error.contains("nested too deeply") || error.contains("expression too long"));
        assert!(told, "{start}: {errors:?}");
    }
}

#[test]
fn nesting_below_the_bound_works() {
    for source in [
        format!("x = {}1{}", "(".repeat(100), ")".repeat(100)),
        format!("x = {}1{}", "[".repeat(100), "]".repeat(100)),
        format!("{}{}", "a {\n".repeat(100), "}\n".repeat(100)),
        format!("x = 1{}", " + 1".repeat(500)),
        format!("x = {{a = 1}}{}", "[\"a\"]".repeat(400)),
        format!("x = [{}]", "1, ".repeat(20_000)),
        format!("x = {{{}}}", (0..5_000).map(|n| format!("a{n} = 1, ")).collect::<String>()),
    ] {
        let start: String = source.chars().take(30).collect();
        assert_eq!(exercise(source), Vec::<String>::new(), "{start}");
    }
}

#[test]
fn a_tree_may_not_be_higher_than_its_bound_however_it_is_built() {
    // Each level of brackets holds a chain whose far end holds the next level.
    let mut source = "1".to_owned();
    for _ in 0..60 {
        source = format!("({source}{})", " + 1".repeat(400));
    }
    let errors = exercise(format!("x = {source}"));
    assert!(errors.iter().any(|error| error.contains("expression too long")), "{errors:?}");
}

#[test]
fn the_number_of_diagnostics_has_a_bound() {
    let (_, diagnostics) = syntax::parse("f", &"a = @\n".repeat(5_000));
    assert_eq!(diagnostics.len(), 1000);
    let (_, diagnostics) = syntax::parse("f", &format!("{}x = \n", "# c\n".repeat(5_000)));
    assert_eq!(diagnostics.len(), 1000);
    assert!(diagnostics.has_errors(), "errors come before warnings");
}

#[test]
fn the_size_of_a_source_has_a_bound() {
    let source = " ".repeat(MAX_SOURCE_BYTES + 1);
    let (file, diagnostics) = syntax::parse("f", &source);
    assert!(file.body.statements.is_empty());
    assert_eq!(diagnostics.to_string(), "f: the file has 67108865 bytes; at most 67108864 are read");
    assert!(syntax::source_from_bytes("f", source.as_bytes()).is_err());
}

/// Texts that look like configurations: pieces of the language in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a",
        "b.c",
        " = ",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "\n",
        "\n\n",
        " ",
        "\t",
        "\r\n",
        "1",
        "2.5",
        "1e5",
        "\"s\"",
        "`r`",
        "'q'",
        "`two\nlines`",
        "null",
        "true",
        "+",
        "-",
        "*",
        "^",
        "&&",
        "==",
        "!",
        "// c\n",
        "/* d */",
        "/* e\nf */",
        "# g\n",
        "a = 1\n",
        "b {\n",
        "}\n",
        "c \"l\" { }\n",
        "x = [\n\t1,\n]\n",
        "{k = 1, \"l\" = 2}",
        "é",
        "|",
        "@",
        "\\",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Configurations that parse, with comments and line breaks in odd places.
fn statements() -> impl Strategy<Value = String> {
    let before = prop::sample::select(vec!["", " ", "/* c */"]);
    let after = prop::sample::select(vec!["", " ", "/* c */", " /* d\ne */ ", "\n", " // c\n"]);
    let line = prop::sample::select(vec!["\n", " // f\n", "\n\n\n", " /* g */\n", "\n// h\n", "\n\t# i\n\n"]);
    let value = prop::sample::select(vec![
        "1",
        "[1, 2]",
        "[\n1,\n2,\n]",
        "{a = 1, bb = 2}",
        "{\na = 1,\nbb = 2, // j\n}",
        "f(\n1,\n)",
        "'k'",
        "a.b[0]",
        "1 +\n2",
        "`l\nm`",
    ]);
    let statement = (before, after, value, line, any::<bool>(), 1..6_usize).prop_map(|(before, after, value, line, block, length)| {
        let name = "n".repeat(length);
        if block {
            format!("{name}{before}\"l\" {{{line}x{before}= {value}{line}}}{line}")
        } else {
            format!("{name}{before}={after}{value}{line}")
        }
    });
    prop::collection::vec(statement, 0..8).prop_map(|statements| statements.concat())
}

/// Formats; what comes out must parse without any warning, mean the same, and stay as it is.
fn check_format(source: &str) -> Result<bool, TestCaseError> {
    let Ok(formatted) = syntax::format("f", source) else { return Ok(false) };
    let (file, diagnostics) = syntax::parse("f", &formatted);
    prop_assert!(diagnostics.is_empty(), "{source:?} became {formatted:?}: {diagnostics}");
    let again = syntax::format("f", &formatted).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
    prop_assert_eq!(&again, &formatted, "from {:?}", source);
    let (original, _) = syntax::parse("f", source);
    prop_assert_eq!(original.comments.len(), file.comments.len(), "comments of {:?}", source);
    prop_assert_eq!(meaning(&original), meaning(&file), "meaning of {:?}", source);
    Ok(true)
}

/// Values of the attributes at top level.
fn meaning(file: &syntax::ast::File) -> Vec<Result<String, String>> {
    let evaluate = |attribute: &syntax::ast::Attribute| match syntax::eval(&attribute.value, &Scope::new()) {
        Ok(value) => Ok(value.to_string()),
        Err(errors) => Err(errors.iter().map(|error| error.message.clone()).collect()),
    };
    file.body.attributes().map(evaluate).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let lossy = String::from_utf8_lossy(&bytes);
        let source = syntax::source_from_bytes("f", &bytes).unwrap_or(&lossy);
        let (file, diagnostics) = syntax::parse("f", source);
        let sources: syntax::Sources = [("f", source)].into_iter().collect();
        let _ = diagnostics.render(&sources, true);
        let _ = syntax::references_in_body(&file.body);
        check_format(source)?;
    }

    #[test]
    fn any_pieces_of_the_language_are_read_and_formatted_once_and_for_all(source in pieces()) {
        let (file, diagnostics) = syntax::parse("f", &source);
        let sources: syntax::Sources = [("f", source.as_str())].into_iter().collect();
        let _ = diagnostics.render(&sources, false);
        meaning(&file);
        check_format(&source)?;
    }

    #[test]
    fn comments_and_line_breaks_survive_formatting(source in statements()) {
        prop_assert!(check_format(&source)?, "{source:?} does not parse: {}", syntax::parse("f", &source).1);
    }

    #[test]
    fn what_a_value_prints_reads_back_as_the_value(text in any::<String>(), key in "[^`\\r\\x00\u{feff}]{0,8}", number in prop::num::f64::NORMAL) {
        use syntax::{Number, Object, Value};
        let number = Value::Number(Number::Float(number));
        let value = Value::array(vec![Value::String(text.into()), number]);
        let value = Value::object(Object::from_iter([(key, value)]));
        let (file, diagnostics) = syntax::parse("f", &format!("x = {value}"));
        prop_assert!(diagnostics.is_empty(), "{value}: {diagnostics}");
        let attribute = file.body.attributes().next().unwrap();
        prop_assert_eq!(syntax::eval(&attribute.value, &Scope::new()).unwrap(), value);
    }

    #[test]
    fn formatting_values_never_panics(format in "[%a-z0-9 .*+#\\[\\]-]{0,12}", number in any::<i64>(), float in any::<f64>(), text in ".{0,5}") {
        let (file, _) = syntax::parse("f", "x = string.format(format, number, float, text, [number], {a = float})");
        let scope = stdlib::root(&StdlibOptions::default())
            .with("format", syntax::ToValue::to_value(&format))
            .with("number", syntax::ToValue::to_value(&number))
            .with("float", syntax::ToValue::to_value(&float))
            .with("text", syntax::ToValue::to_value(&text));
        let attribute = file.body.attributes().next().unwrap();
        prop_assert!(syntax::eval(&attribute.value, &scope).is_ok());
    }
}
