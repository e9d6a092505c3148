//! What expressions mean, as tables: the facts of the language that were checked against Alloy.

mod expressions;

use expressions::{error, value};

/// Expressions and their values as the language spells them.
fn assert_values(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        assert_eq!(value(expression), *expected, "{expression}");
    }
}

/// Expressions and the messages of their errors.
fn assert_errors(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        assert_eq!(error(expression), *expected, "{expression}");
    }
}

#[test]
fn numbers_are_octal_after_a_zero_and_become_floats_when_too_large() {
    assert_values(&[
        ("0", "0"),
        ("010", "8"),
        ("08", "8"),
        ("00", "0"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709552000"),
        ("1.", "1"),
        (".5", "0.5"),
        ("1.5e3", "1500"),
        ("1e-2", "0.01"),
        ("-9223372036854775808", "-9223372036854775808"),
    ]);
    assert_errors(&[("1e400", "1e400 is out of the range of numbers")]);
}

#[test]
fn operators_bind_and_associate_as_in_alloy() {
    assert_values(&[
        ("-2^2", "4"),
        ("2^3^2", "512"),
        ("1<2==true", "true"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("true || false && false", "true"),
        ("!true == false", "true"),
        ("1 + 1 == 2 && 3 > 2", "true"),
    ]);
}

#[test]
fn arithmetic_truncates_wraps_and_promotes() {
    assert_values(&[
        ("5 / 2", "2"),
        ("-5 / 2", "-2"),
        ("5.0 / 2", "2.5"),
        ("-5 % 3", "-2"),
        ("5 % -3", "2"),
        ("5.5 % 2", "1.5"),
        ("9223372036854775807 + 1", "-9223372036854775808"),
        ("18446744073709551615 + 18446744073709551615", "18446744073709551614"),
        ("(-2) ^ 3", "-8"),
        ("2 ^ 0", "1"),
        ("0 ^ 5", "0"),
        ("2 ^ 63", "-9223372036854775808"),
        ("2 ^ 0.5 > 1.41", "true"),
        // Alloy returns the base, which nobody was promised.
        ("2 ^ -1", "0.5"),
    ]);
    assert_errors(&[("1 / 0", "0 divide by zero error"), ("1 % 0", "0 divide by zero error"), ("1.5 / 0.0", "0.0 divide by zero error")]);
}

#[test]
fn a_huge_exponent_takes_no_time() {
    assert_eq!(value("3 ^ 9223372036854775807"), "-6148914691236517205");
}

#[test]
fn equality_takes_any_types_and_looks_deep() {
    assert_values(&[
        ("1 == 1.0", "true"),
        ("1 == \"1\"", "false"),
        ("null == null", "true"),
        ("null == false", "false"),
        ("[1, [2]] == [1.0, [2]]", "true"),
        ("[1] == [1, 2]", "false"),
        ("{a = 1, b = [2]} == {b = [2], a = 1}", "true"),
        ("{a = 1} != {a = 2}", "true"),
        ("string.join == string.join", "false"),
    ]);
}

#[test]
fn order_compares_numbers_and_texts_by_bytes() {
    assert_values(&[
        ("1 < 1.5", "true"),
        ("-1 < 18446744073709551615", "true"),
        ("\"a\" < \"b\"", "true"),
        ("\"Z\" < \"a\"", "true"),
        ("\"é\" > \"z\"", "true"),
        ("2 >= 2.0", "true"),
        ("1 <= 0", "false"),
    ]);
    assert_errors(&[
        ("\"a\" < 1", "1 should be string, got number"),
        ("1 < \"a\"", "\"a\" should be number, got string"),
        ("true < false", "true should be one of [number string] for binop <, got bool"),
    ]);
}

#[test]
fn logic_takes_bools_only_and_looks_at_both_sides() {
    assert_values(&[("true && false", "false"), ("false || true", "true"), ("!false", "true")]);
    assert_errors(&[
        ("true || 1", "1 should be one of [bool] for binop ||, got number"),
        ("false && nope", "identifier \"nope\" does not exist"),
        ("!1", "1 should be bool, got number"),
        ("-\"a\"", "\"a\" should be number, got string"),
    ]);
}

#[test]
fn addition_joins_texts_and_mixes_nothing() {
    assert_values(&[("\"a\" + \"b\" + \"c\"", "\"abc\"")]);
    assert_errors(&[
        ("\"a\" + 1", "1 should be string, got number"),
        ("1 + \"a\"", "\"a\" should be number, got string"),
        ("true + 1", "true should be one of [number string capsule] for binop +, got bool"),
        ("[1] + [2]", "[1] should be one of [number string capsule] for binop +, got array"),
        ("\"a\" - \"b\"", "\"a\" should be one of [number] for binop -, got string"),
    ]);
}

#[test]
fn fields_and_items_are_found_or_told_missing() {
    assert_values(&[
        ("{a = {b = 1}}.a.b", "1"),
        ("{a = 1}[\"a\"]", "1"),
        ("{a = 1}[\"b\"]", "null"),
        ("[1, 2, 3][1]", "2"),
        ("[1, 2, 3][1.9]", "2"),
        ("{a = 1, a = 2}.a", "2"),
    ]);
    assert_errors(&[
        ("{a = 1}.b", "field \"b\" does not exist"),
        ("[1][1]", "1 index 1 is out of range of array with length 1"),
        ("[1][-1]", "-1 index -1 is out of range of array with length 1"),
        ("[1][\"a\"]", "\"a\" should be number, got string"),
        ("{a = 1}[1]", "1 should be string, got number"),
        ("\"abc\"[0]", "\"abc\" expected object or array, got string"),
        ("\"abc\".x", "\"abc\" cannot access field \"x\" on value of type string"),
        ("null.x", "null cannot access field \"x\" on value of type null"),
        ("1(2)", "1 should be function, got number"),
    ]);
}

#[test]
fn texts_unescape_and_raw_ones_do_not() {
    assert_values(&[
        (r#""\x41\u00e9\U0001F600\101""#, "\"Aé😀A\""),
        (r#""\a\b\f\v""#, r#""\u0007\u0008\u000c\u000b""#),
        (r#""\"\\\n\r\t""#, r#""\"\\\n\r\t""#),
        (r"`a\nb`", r#""a\\nb""#),
        ("`a\r\nb`", r#""a\nb""#),
        (r"'a\nb'", r#""a\\nb""#),
        // Raw bytes that happen to be UTF-8.
        (r#""\xc3\xa9" == "é""#, "true"),
    ]);
}

#[test]
fn quoted_keys_are_taken_as_they_are_written() {
    assert_values(&[(r#"{"a b" = 1}["a b"]"#, "1"), (r#"{"a\"b" = 1}[`a\"b`]"#, "1"), (r#"{"" = 1}[""]"#, "1"), ("{`raw` = 1}.raw", "1")]);
}

#[test]
fn a_missing_name_suggests_the_nearest_one() {
    let failed = expressions::evaluate("constnts.os").unwrap_err();
    let first = failed.iter().next().unwrap();
    assert_eq!(first.help.as_deref(), Some("did you mean `constants`?"));
    let failed = expressions::evaluate("string.spilt(\"a\", \"\")").unwrap_err();
    assert_eq!(failed.iter().next().unwrap().help.as_deref(), Some("did you mean `split`?"));
    let failed = expressions::evaluate("completely_different").unwrap_err();
    assert_eq!(failed.iter().next().unwrap().help, None);
}

#[test]
fn long_expressions_are_cut_in_messages() {
    let message = error(&format!("[\"{}\"] + 1", "x".repeat(1000)));
    assert!(message.len() < 250, "{message}");
    assert!(message.contains(" … should be one of"), "{message}");
}
