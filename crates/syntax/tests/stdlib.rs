//! The standard library, as tables.

mod expressions;

use expressions::{error, evaluate, evaluate_in, value, warnings};
use syntax::{Severity, Stability, StdlibOptions, stdlib};

fn assert_values(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        assert_eq!(value(expression), *expected, "{expression}");
    }
}

fn assert_errors(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        assert_eq!(error(expression), *expected, "{expression}");
    }
}

#[test]
fn constants_are_in_gos_spelling() {
    assert_values(&[("constants.version", "\"v1.2.3\"")]);
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        assert_values(&[("constants.os", "\"linux\""), ("constants.arch", "\"amd64\"")]);
        assert_ne!(value("constants.hostname"), "\"\"");
    }
}

#[test]
fn an_unknown_version_is_v0() {
    let scope = stdlib::root(&StdlibOptions::default());
    assert_eq!(evaluate_in("constants.version", &scope).unwrap().to_string(), "\"v0.0.0\"");
}

#[test]
fn the_environment_is_empty_where_it_is_not_set() {
    let path = std::env::var("PATH").unwrap();
    assert_eq!(evaluate("sys.env(\"PATH\")").unwrap().as_str(), Some(path.as_str()));
    assert_values(&[("sys.env(\"SURELY_NOT_SET_ANYWHERE\")", "\"\""), ("sys.env(\"\")", "\"\""), ("sys.env(\"A=B\")", "\"\"")]);
}

#[test]
fn coalesce_skips_what_is_empty() {
    assert_values(&[
        ("coalesce()", "null"),
        ("coalesce(null, 0, false, \"\", [], {}, 5, 6)", "5"),
        ("coalesce(null, 0)", "0"),
        ("coalesce(null)", "null"),
        ("coalesce(open)", "\"open\""),
        ("coalesce(0.0, \"b\")", "\"b\""),
    ]);
}

#[test]
fn nonsensitive_opens_secrets_and_accepts_texts() {
    assert_values(&[
        ("convert.nonsensitive(secret)", "\"hunter2\""),
        ("convert.nonsensitive(closed)", "\"hunter3\""),
        ("convert.nonsensitive(\"plain\")", "\"plain\""),
    ]);
}

#[test]
fn paths_are_joined_and_cleaned() {
    assert_values(&[
        (r#"file.path_join("a", "b", "../c")"#, "\"a/c\""),
        (r#"file.path_join("/a/", "/b")"#, "\"/a/b\""),
        (r#"file.path_join("", "a", "")"#, "\"a\""),
        (r#"file.path_join("", "")"#, "\"\""),
        (r"file.path_join()", "\"\""),
        (r#"file.path_join("a/./b//c/..")"#, "\"a/b\""),
        (r#"file.path_join("../x", "..")"#, "\"..\""),
        (r#"file.path_join("/..", "a")"#, "\"/a\""),
        (r#"file.path_join("a", "..")"#, "\".\""),
        (r#"file.path_join("/")"#, "\"/\""),
    ]);
}

#[test]
fn arrays_are_concatenated() {
    assert_values(&[("array.concat()", "[]"), ("array.concat([1], [2, 3], [])", "[1, 2, 3]"), ("array.concat([1])", "[1]")]);
    assert_errors(&[
        ("array.concat([1], 2)", "2 should be array, got number"),
        ("array.concat([1], null)", "null should be array, got null"),
    ]);
}

#[test]
fn maps_are_combined_where_all_keys_agree_and_the_right_one_wins() {
    assert_values(&[
        (r#"array.combine_maps([{a = "1", b = 2}, {a = "2"}], [{a = "1", b = 3}], ["a"])"#, r#"[{a = "1", b = 3}]"#),
        (r#"array.combine_maps([{a = 1}], [{b = 1}], ["a"])"#, "[]"),
        // Numbers of different kinds differ.
        (r#"array.combine_maps([{a = 1}], [{a = 1.0}], ["a"])"#, "[]"),
        // Once per pair that does not match: that is how Alloy has it.
        (r#"array.combine_maps([{a = "1"}], [{a = "2"}, {a = "1"}, {a = "3"}], ["a"], true)"#, r#"[{a = "1"}, {a = "1"}, {a = "1"}]"#),
        (r#"array.combine_maps([{a = 1}], [], ["a"], true)"#, "[]"),
    ]);
    assert_errors(&[
        (r"array.combine_maps([{a = 1}], [{a = 1}], [])", "[] must not be empty: it lists the keys to compare"),
        (r"array.combine_maps([{a = 1}], [{a = 1}])", "array.combine_maps expected 3 or 4 args, got 2"),
        (r#"array.combine_maps([1], [{a = 1}], ["a"])"#, "1 should be object, got number"),
        (r#"array.combine_maps([], [], ["a"], 1)"#, "1 should be bool, got number"),
    ]);
}

#[test]
fn objects_are_grouped_in_order_of_appearance() {
    assert_values(&[
        (
            r#"array.group_by([{a = "y", n = 1}, {a = "x"}, {a = "y", n = 2}], "a", false)"#,
            r#"[{a = "y", items = [{a = "y", n = 1}, {a = "y", n = 2}]}, {a = "x", items = [{a = "x"}]}]"#,
        ),
        (r#"array.group_by([{b = "x"}], "a", true)"#, "[]"),
        (r#"array.group_by([{b = "x"}], "a", false)"#, r#"[{a = "", items = [{b = "x"}]}]"#),
        (r#"array.group_by([], "a", false)"#, "[]"),
    ]);
    assert_errors(&[
        (r#"array.group_by([{a = 1}], "a", false)"#, "1 should be string, got number"),
        (r#"array.group_by([], "a")"#, "array.group_by expected 3 args, got 2"),
        (r"array.group_by([], 1, false)", "1 should be string, got number"),
    ]);
}

#[test]
fn json_numbers_are_floats_and_yaml_integers_stay() {
    assert_values(&[
        (r"encoding.from_json(`{`+`}`)", "{}"),
        (r#"encoding.from_json(`{"a": 1, "b": [true, null, "x", 1.5]}`)"#, r#"{a = 1, b = [true, null, "x", 1.5]}"#),
        (r#"string.format("%T", encoding.from_json("1"))"#, "\"float64\""),
        (r#"string.format("%T", encoding.from_yaml("1"))"#, "\"int\""),
        ("encoding.from_yaml(`a: 1\nb: [x, 2.5, true, ~]\nc:\n  - d: e`)", "{a = 1, b = [\"x\", 2.5, true, null], c = [{d = \"e\"}]}"),
        // YAML 1.2 has two booleans; leading zeros are octal.
        ("encoding.from_yaml(`a: yes\nb: on\nc: TRUE\nd: 010\ne: 0x10`)", "{a = \"yes\", b = \"on\", c = true, d = 8, e = 16}"),
        ("encoding.from_yaml(`x: &d {a: 1}\ny:\n  <<: *d\n  b: 2`)", "{x = {a = 1}, y = {a = 1, b = 2}}"),
        ("encoding.from_yaml(``)", "null"),
    ]);
    assert!(error("encoding.from_json(\"nope\")").starts_with("\"nope\" is not valid JSON: "));
    assert!(error("encoding.from_yaml(\"a: [\")").starts_with("\"a: [\" is not valid YAML: "));
}

#[test]
fn objects_become_json_as_go_writes_it() {
    assert_values(&[
        (
            r#"encoding.to_json({b = "x<y>&", a = [1, 2.5, null, true], c = {d = 1e21, e = 1e20, f = 0.000001, g = 1e-7}})"#,
            r#""{\"a\":[1,2.5,null,true],\"b\":\"x\\u003cy\\u003e\\u0026\",\"c\":{\"d\":1e+21,\"e\":100000000000000000000,\"f\":0.000001,\"g\":1e-7}}""#,
        ),
        ("encoding.to_json({})", "\"{}\""),
    ]);
    assert_errors(&[
        ("encoding.to_json([1])", "[1] should be object, got array"),
        ("encoding.to_json({a = secret})", "{a = secret} secrets may not be converted into strings"),
    ]);
}

#[test]
fn base64_is_padded_and_decodes_to_bytes() {
    assert_values(&[
        (r#"encoding.from_base64("aGVsbG8=")"#, "\"hello\""),
        (r#"encoding.from_base64("aGVs\nbG8=")"#, "\"hello\""),
        (r#"encoding.to_base64("hello?>")"#, "\"aGVsbG8/Pg==\""),
        (r#"encoding.to_URLbase64("hello?>")"#, "\"aGVsbG8_Pg==\""),
        (r#"encoding.from_URLbase64("aGVsbG8_Pg==")"#, "\"hello?>\""),
        (r#"encoding.to_base64(encoding.from_base64("//8="))"#, "\"//8=\""),
        // An argument is an assignment: bytes become a text there.
        (r#"string.join([encoding.from_base64("YQ==")], "")"#, "\"a\""),
    ]);
    assert!(error(r#"encoding.from_base64("aGVsbG8")"#).contains("is not valid base64"));
    assert!(error(r#"encoding.from_base64("aGVsbG8=") + "x""#).contains("is bytes"));
    assert!(error(r#"string.trim_space(encoding.from_base64("//8="))"#).ends_with("is not valid UTF-8 text"));
}

#[test]
fn urls_are_encoded_like_forms() {
    assert_values(&[
        (r#"encoding.url_encode("a b&c=d/é~-_.*")"#, "\"a+b%26c%3Dd%2F%C3%A9~-_.%2A\""),
        (r#"encoding.url_decode("a+b%26c%3dd")"#, "\"a b&c=d\""),
    ]);
    assert_errors(&[
        (r#"encoding.url_decode("%zz")"#, r#""%zz" invalid URL escape "%zz""#),
        (r#"encoding.url_decode("100%")"#, r#""100%" invalid URL escape "%""#),
    ]);
}

#[test]
fn json_paths_always_yield_a_list() {
    let json = r#"`{"a": [{"b": 1, "n": "x"}, {"b": 2.5}], "c-d": {"e": null}, "0": 5}`"#;
    for (path, expected) in [
        ("$.a[*].b", "[1, 2.5]"),
        (".a[*].b", "[1, 2.5]"),
        ("a[1].b", "[2.5]"),
        ("$.a[-1].b", "[2.5]"),
        ("$.a[0:1].b", "[1]"),
        ("$..b", "[1, 2.5]"),
        ("$.a[?(@.b > 1)].b", "[2.5]"),
        ("$.a[?(@.n == 'x')].b", "[1]"),
        ("$.a[?(@.n)].b", "[1]"),
        ("$.a[0]['b','n']", "[1, \"x\"]"),
        ("$.nope", "[]"),
        ("$.c-d.e", "[null]"),
        ("$.0", "[5]"),
        ("", "[]"),
    ] {
        assert_eq!(value(&format!("json_path({json}, {path:?})")), expected, "{path}");
    }
    assert_eq!(error("json_path(`{}`, `$[`)"), "`$[` is not a valid JSONPath: expected selector");
    assert!(error("json_path(`nope`, `$.a`)").contains("is not valid JSON"));
}

#[test]
fn texts_are_cut_and_joined_as_in_go() {
    assert_values(&[
        (r#"string.join(["a", 1, 2.5], ",")"#, "\"a,1,2.5\""),
        (r#"string.join([], ",")"#, "\"\""),
        (r#"string.replace("abcabc", "b", "X")"#, "\"aXcaXc\""),
        (r#"string.replace("abc", "", "-")"#, "\"-a-b-c-\""),
        (r#"string.split("a,b,", ",")"#, r#"["a", "b", ""]"#),
        (r#"string.split("aé", "")"#, r#"["a", "é"]"#),
        (r#"string.split("", "")"#, "[]"),
        (r#"string.split("", ",")"#, r#"[""]"#),
        (r#"string.to_lower("ÀÉİΣ")"#, "\"àéiσ\""),
        (r#"string.to_upper("straße")"#, "\"STRAßE\""),
        (r#"string.trim("xyabcyx", "xy")"#, "\"abc\""),
        (r#"string.trim("abc", "")"#, "\"abc\""),
        (r#"string.trim_prefix("abcabc", "abc")"#, "\"abc\""),
        (r#"string.trim_suffix("abcabc", "abc")"#, "\"abc\""),
        (r#"string.trim_space("\t a b \n")"#, "\"a b\""),
    ]);
    assert_errors(&[
        (r#"string.join(",", ["a"])"#, r#""," should be array, got string"#),
        (r#"string.join([true], ",")"#, "true should be string, got bool"),
        ("string.trim_space()", "string.trim_space expected 1 args, got 0"),
        (r#"string.trim_space("a", "b")"#, "string.trim_space expected 1 args, got 2"),
        ("string.trim_space(secret)", "secret secrets may not be converted into strings"),
        ("string.format()", "string.format expected at least 1 args, got 0"),
    ]);
}

#[test]
fn format_never_fails_but_tells_mistakes_in_its_result() {
    for (format, arguments, expected) in [
        ("%d|%5d|%-5d|%05d|%+d|% d", "1, 2, 3, 4, 5, 6", "1|    2|3    |00004|+5| 6"),
        ("%x %X %#x %o %b %c %q %U", "255, 255, 255, 8, 5, 65, 65, 65", "ff FF 0xff 10 101 A 'A' U+0041"),
        ("%f %.2f %e %g %v", "1.5, 1.5, 1.5, 1.5, 1000000.0", "1.500000 1.50 1.500000e+00 1.5 1e+06"),
        ("%s %q %10s|%-4s|%.2s %x", r#""a", "b\"", "c", "d", "efg", "hi""#, "a \"b\\\"\"          c|d   |ef 6869"),
        ("%t %v %v", "true, false, null", "true false <nil>"),
        ("%v %v", "[1, \"a\", null], {b = 1, a = [true]}", "[1 a <nil>] map[a:[true] b:1]"),
        ("%#v", "[1, \"a\"]", "[]interface {}{1, \"a\"}"),
        ("%T %T %T", "1, 1.5, \"a\"", "int float64 string"),
        ("%d", "\"x\"", "%!d(string=x)"),
        ("%s", "5", "%!s(int=5)"),
        ("%s", "", "%!s(MISSING)"),
        ("%s", "\"a\", 1", "a%!(EXTRA int=1)"),
        ("100%", "", "100%!(NOVERB)"),
        ("%%", "", "%"),
        ("%z", "1", "%!z(int=1)"),
        ("%[2]d %[1]d", "1, 2", "2 1"),
        ("%[3]d", "1", "%!d(BADINDEX)"),
        ("%*d|%-*d|", "4, 1, 4, 2", "   1|2   |"),
        ("%.*f", "1, 2.25", "2.2"),
        ("%*d", "\"x\", 1", "%!(BADWIDTH)1"),
    ] {
        let comma = if arguments.is_empty() { "" } else { ", " };
        let evaluated = evaluate(&format!("string.format({format:?}{comma}{arguments})")).unwrap();
        assert_eq!(evaluated.as_str(), Some(expected), "{format} of {arguments}");
    }
}

#[test]
fn formatting_a_secret_yields_a_secret() {
    for expression in [
        "string.format(\"Bearer %s\", secret)",
        "string.format(\"%v\", [closed])",
        "string.format(\"%v\", {a = secret})",
        "string.format(\"x\", secret)",
    ] {
        assert_eq!(value(expression), "(secret)", "{expression}");
    }
    assert_eq!(value("convert.nonsensitive(string.format(\"Bearer %s\", secret))"), "\"Bearer hunter2\"");
    assert_eq!(value("string.format(\"%s\", open)"), "\"open\"");
}

#[test]
fn results_have_a_bound() {
    // Each call multiplies the length: without a bound the last one would need 10^12 bytes.
    let a = "\"aaaaaaaaaa\"";
    let squared = format!("string.replace({a}, \"\", {a})");
    let more = format!("string.replace(string.replace({squared}, \"\", {squared}), \"\", {squared})");
    let most = format!("string.replace({more}, \"\", {more})");
    assert!(error(&most).ends_with("yields more than 67108864 bytes"), "{}", error(&most));
}

#[test]
fn deprecated_names_work_and_leave_a_warning() {
    for (expression, old, new) in [
        ("env(\"NOT_SET_EITHER\")", "env", "sys.env"),
        ("nonsensitive(secret)", "nonsensitive", "convert.nonsensitive"),
        ("concat([1], [2])", "concat", "array.concat"),
        ("json_decode(\"1\")", "json_decode", "encoding.from_json"),
        ("yaml_decode(\"1\")", "yaml_decode", "encoding.from_yaml"),
        ("base64_decode(\"YQ==\")", "base64_decode", "encoding.from_base64"),
        ("format(\"%s\", \"a\")", "format", "string.format"),
        ("join([\"a\"], \"\")", "join", "string.join"),
        ("replace(\"a\", \"a\", \"b\")", "replace", "string.replace"),
        ("split(\"a\", \"a\")", "split", "string.split"),
        ("to_lower(\"A\")", "to_lower", "string.to_lower"),
        ("to_upper(\"a\")", "to_upper", "string.to_upper"),
        ("trim(\"a\", \"a\")", "trim", "string.trim"),
        ("trim_prefix(\"a\", \"a\")", "trim_prefix", "string.trim_prefix"),
        ("trim_suffix(\"a\", \"a\")", "trim_suffix", "string.trim_suffix"),
        ("trim_space(\"a\")", "trim_space", "string.trim_space"),
    ] {
        let found = warnings(expression);
        assert_eq!(found.len(), 1, "{expression}");
        let warning = found.iter().next().unwrap();
        assert_eq!(warning.severity, Severity::Warning);
        assert_eq!(warning.message, format!("{old:?} is deprecated; use {new:?} instead"));
        assert!(stdlib::is_name(old));
    }
    assert!(warnings("string.trim_space(\"a\")").is_empty());
}

#[test]
fn what_never_was_at_top_level_is_not() {
    for name in ["combine_maps", "group_by", "to_json", "url_encode", "url_decode", "path_join"] {
        assert_eq!(error(name), format!("identifier {name:?} does not exist"));
        assert!(!stdlib::is_name(name));
    }
}

#[test]
fn a_name_of_our_own_shadows_the_library_without_warning() {
    let warnings = syntax::Warnings::new();
    let scope = expressions::scope().with("env", syntax::Value::Bool(true)).collecting(&warnings);
    assert_eq!(evaluate_in("env", &scope).unwrap().to_string(), "true");
    assert!(warnings.take().is_empty());
    assert!(stdlib::is_name("env"));
}

#[test]
fn experimental_functions_are_gated_at_load_and_at_call() {
    let message = "function \"array.group_by\" is at stability level \"experimental\", which is below the minimum \
                   allowed stability level \"generally-available\". Use --stability.level command-line flag to enable \
                   \"experimental\" features";
    let scope = stdlib::root(&StdlibOptions::default());
    let failed = evaluate_in("array.group_by([], \"a\", true)", &scope).unwrap_err();
    assert_eq!(failed.iter().next().unwrap().message, format!("array.group_by {message}"));

    let (file, _) = syntax::parse("", "x = array.group_by([], \"a\", true)\ny = array.concat([])");
    let gates: Vec<Option<String>> =
        syntax::references_in_body(&file.body).iter().map(|reference| stdlib::gate(reference, Stability::GenerallyAvailable)).collect();
    assert_eq!(gates, [Some(message.to_owned()), None]);
    let found = syntax::references_in_body(&file.body);
    assert_eq!(stdlib::gate(&found[0], Stability::Experimental), None);
}
