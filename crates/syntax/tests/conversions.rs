//! Conversions on assignment: what fits what, and how it is told.

mod expressions;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use expressions::{evaluate, value};
use syntax::{
    Capsule, FromValue, Number, Object, OptionalSecret, Secret, ToValue, Value, ValueError, capsule_from_value, format_duration,
    parse_duration,
};

fn convert<T: FromValue>(expression: &str) -> Result<T, String> {
    let value = evaluate(expression).unwrap_or_else(|errors| panic!("{expression}: {errors}"));
    T::from_value(&value).map_err(|error| error.to_string())
}

#[test]
fn numbers_become_texts_without_exponent() {
    for (expression, expected) in [
        ("1", "1"),
        ("1.0", "1"),
        ("0.1", "0.1"),
        ("1e21", "1000000000000000000000"),
        ("1e-7", "0.0000001"),
        ("18446744073709551615", "18446744073709551615"),
    ] {
        assert_eq!(convert::<String>(expression).unwrap(), expected);
    }
    assert_eq!(convert::<String>("true"), Err("should be string, got bool".to_owned()));
    assert_eq!(convert::<String>("[1]"), Err("should be string, got array".to_owned()));
}

#[test]
fn texts_become_numbers_in_three_ways() {
    assert_eq!(convert::<i64>("\"-5\""), Ok(-5));
    assert_eq!(convert::<f64>("\"1.5\""), Ok(1.5));
    assert_eq!(convert::<f64>("\"1e3\""), Ok(1000.0));
    assert_eq!(convert::<u64>("\"18446744073709551615\""), Ok(u64::MAX));
    for wrong in ["\"-1.5\"", "\"\"", "\"abc\"", "\"+1\"", "\"0x10\"", "\" 1\"", "true", "[1]"] {
        let got = if wrong.starts_with('"') {
            "string"
        } else if wrong == "true" {
            "bool"
        } else {
            "array"
        };
        assert_eq!(convert::<f64>(wrong), Err(format!("should be number, got {got}")), "{wrong}");
    }
}

#[test]
fn floats_lose_their_fraction_and_what_is_out_of_range_is_refused() {
    assert_eq!(convert::<i32>("2.9"), Ok(2));
    assert_eq!(convert::<i32>("-2.9"), Ok(-2));
    assert_eq!(convert::<u16>("70000"), Err("should be between 0 and 65535, got 70000".to_owned()));
    assert_eq!(convert::<u8>("-1"), Err("should be between 0 and 255, got -1".to_owned()));
    assert_eq!(convert::<u64>("1e30"), Err(format!("should be between 0 and {}, got 1{}", u64::MAX, "0".repeat(30))));
}

#[test]
fn nothing_becomes_a_bool() {
    assert_eq!(convert::<bool>("\"true\""), Err("should be bool, got string".to_owned()));
    assert_eq!(convert::<bool>("1"), Err("should be bool, got number".to_owned()));
    assert_eq!(convert::<bool>("true"), Ok(true));
}

#[test]
fn null_is_the_zero_value() {
    assert_eq!(convert::<String>("null"), Ok(String::new()));
    assert_eq!(convert::<u64>("null"), Ok(0));
    assert_eq!(convert::<bool>("null"), Ok(false));
    assert_eq!(convert::<Duration>("null"), Ok(Duration::ZERO));
    assert_eq!(convert::<Vec<String>>("null"), Ok(vec![]));
    assert_eq!(convert::<BTreeMap<String, u64>>("null"), Ok(BTreeMap::new()));
    assert_eq!(convert::<Option<String>>("null"), Ok(None));
    assert_eq!(convert::<Vec<String>>("[null]"), Ok(vec![String::new()]));
}

#[test]
fn errors_in_containers_tell_the_way() {
    assert_eq!(convert::<Vec<u64>>("[1, \"x\"]"), Err("[1] should be number, got string".to_owned()));
    assert_eq!(convert::<BTreeMap<String, Vec<u64>>>("{a = [1], b = [1, [2]]}"), Err(".b[1] should be number, got array".to_owned()));
    assert_eq!(convert::<Vec<u64>>("{}"), Err("should be array, got object".to_owned()));
    assert_eq!(convert::<BTreeMap<String, u64>>("[]"), Err("should be object, got array".to_owned()));
}

#[test]
fn durations_are_read_as_in_go() {
    for (text, nanos) in [
        ("0", 0_u64),
        ("1ns", 1),
        ("1us", 1_000),
        ("1µs", 1_000),
        ("1.5ms", 1_500_000),
        ("1m30s", 90_000_000_000),
        ("1h", 3_600_000_000_000),
        (".5s", 500_000_000),
        ("+1s", 1_000_000_000),
        ("-0s", 0),
        ("1.0000000001s", 1_000_000_000),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
    }
    for (text, message) in [
        ("", "time: invalid duration \"\""),
        ("5", "time: missing unit in duration \"5\""),
        ("1d", "time: unknown unit \"d\" in duration \"1d\""),
        ("abc", "time: invalid duration \"abc\""),
        (".s", "time: invalid duration \".s\""),
        ("1h 2m", "time: unknown unit \"h \" in duration \"1h 2m\""),
        ("99999999h", "time: invalid duration \"99999999h\""),
        ("999999999999999999999999999999999999999999s", "time: invalid duration \"999999999999999999999999999999999999999999s\""),
        ("-1s", "duration \"-1s\" must not be negative"),
    ] {
        assert_eq!(parse_duration(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn durations_are_written_as_in_go() {
    for (nanos, text) in [
        (0_u64, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (3_300_000_000, "3.3s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_025_000_000_000, "1h23m45s"),
        (60_001_000_000, "1m0.001s"),
    ] {
        assert_eq!(format_duration(Duration::from_nanos(nanos)), text);
        assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)));
    }
}

#[test]
fn secrets_go_one_way() {
    assert_eq!(convert::<Secret>("\"x\"").unwrap().expose(), "x");
    assert_eq!(convert::<Secret>("closed").unwrap().expose(), "hunter3");
    assert_eq!(convert::<String>("secret"), Err("secrets may not be converted into strings".to_owned()));
    assert_eq!(convert::<String>("closed"), Err("secrets may not be converted into strings".to_owned()));
    assert_eq!(convert::<String>("open"), Ok("open".to_owned()));
    assert!(convert::<OptionalSecret>("secret").unwrap().is_secret());
    assert!(!convert::<OptionalSecret>("\"x\"").unwrap().is_secret());
    assert_eq!(convert::<Secret>("1"), Err("should be secret, got number".to_owned()));
}

#[test]
fn secrets_stay_secret_when_texts_are_added() {
    for expression in [
        "secret + \"a\"",
        "\"a\" + secret",
        "secret + secret",
        "secret + open",
        "open + secret",
        "closed + \"a\"",
        "\"a\" + closed",
        "closed + closed",
    ] {
        assert_eq!(value(expression), "(secret)", "{expression}");
    }
    assert_eq!(convert::<Secret>("\"a-\" + secret + \"-b\"").unwrap().expose(), "a-hunter2-b");
    assert_eq!(value("open + \"!\""), "\"open!\"");
    assert_eq!(value("\"!\" + open"), "\"!open\"");
    assert_eq!(value("open == \"open\""), "true");
}

#[test]
fn secrets_are_never_printed() {
    let secret = Secret::new("hunter2");
    let hidden = OptionalSecret::hidden("hunter2");
    for text in [
        format!("{secret} {secret:?}"),
        format!("{hidden} {hidden:?}"),
        format!("{:?}", Value::Secret(secret.clone())),
        Value::array(vec![Value::Secret(secret.clone()), Value::OptionalSecret(hidden.clone())]).to_string(),
        syntax::json::value(&Value::Secret(secret)).to_string(),
        syntax::json::value(&Value::OptionalSecret(hidden)).to_string(),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("(secret)"), "{text}");
    }
}

#[test]
fn bytes_become_text_when_assigned() {
    assert_eq!(convert::<String>("encoding.from_base64(\"aGk=\")"), Ok("hi".to_owned()));
    assert_eq!(convert::<Secret>("encoding.from_base64(\"aGk=\")").unwrap().expose(), "hi");
    assert_eq!(convert::<u64>("encoding.from_base64(\"MTI=\")"), Ok(12));
    assert_eq!(convert::<String>("\"\\xff\""), Err("is not valid UTF-8 text".to_owned()));
}

#[derive(Debug, PartialEq)]
struct Celsius(i32);

impl FromStr for Celsius {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix("°C").and_then(|n| n.parse().ok()).map(Self).ok_or_else(|| format!("{text:?} is no temperature"))
    }
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}°C", self.0)
    }
}

syntax::impl_text_value!(Celsius, "temperature");

syntax::text_enum! {
    /// What to do.
    pub enum Action {
        /// Keeps.
        Keep = "keep",
        /// Drops.
        Drop = "drop",
    }
}

#[test]
fn types_with_a_text_form_are_read_from_texts() {
    assert_eq!(convert::<Celsius>("\"21°C\""), Ok(Celsius(21)));
    assert_eq!(convert::<Celsius>("21"), Err("\"21\" is no temperature".to_owned()));
    assert_eq!(Celsius::type_name(), "temperature");
    assert_eq!(Celsius(3).to_value().as_str(), Some("3°C"));

    assert_eq!(convert::<Action>("\"drop\""), Ok(Action::Drop));
    assert_eq!(convert::<Action>("\"Drop\""), Err("\"Drop\" is none of keep, drop".to_owned()));
    assert_eq!(Action::ALL, [Action::Keep, Action::Drop]);
    assert_eq!(Action::Keep.to_string(), "keep");
}

#[derive(syntax::Object, Clone, Debug, PartialEq)]
struct Point {
    #[syntax(required)]
    x: i64,
    #[syntax(default = 7)]
    y: i64,
    #[syntax(name = "type")]
    kind: Option<String>,
}

#[test]
fn objects_become_structs() {
    assert_eq!(convert::<Point>("{x = 1}"), Ok(Point { x: 1, y: 7, kind: None }));
    assert_eq!(convert::<Point>("{x = 1, y = 2, type = \"a\"}"), Ok(Point { x: 1, y: 2, kind: Some("a".to_owned()) }));
    assert_eq!(convert::<Vec<Point>>("[{y = 1}]"), Err("[0] is missing the required field \"x\"".to_owned()));
    assert_eq!(convert::<Point>("{x = \"a\"}"), Err(".x should be number, got string".to_owned()));
    assert_eq!(convert::<Point>("{x = 1, z = 1}"), Err("does not have field named \"z\"".to_owned()));
    assert_eq!(Point { x: 1, y: 2, kind: None }.to_value().to_string(), "{type = null, x = 1, y = 2}");
}

/// A capsule that can be read as an object.
#[derive(Debug, PartialEq)]
struct Target(BTreeMap<String, String>);

impl Capsule for Target {
    fn type_name(&self) -> &str {
        "Target"
    }

    fn equals(&self, other: &dyn Capsule) -> bool {
        other.as_any().downcast_ref::<Self>() == Some(self)
    }

    fn to_object(&self) -> Option<Object> {
        Some(self.0.iter().map(|(name, text)| (name.as_str(), text.to_value())).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A capsule that can be read as nothing.
#[derive(Debug)]
struct Receiver;

impl Capsule for Receiver {
    fn type_name(&self) -> &str {
        "Receiver"
    }

    fn equals(&self, other: &dyn Capsule) -> bool {
        std::ptr::eq(self.as_any(), other.as_any())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn capsules(expression: &str) -> Result<Value, syntax::Diagnostics> {
    let target = |host: &str| Value::capsule(Target(BTreeMap::from([("host".to_owned(), host.to_owned())])));
    let scope = expressions::scope()
        .with("target", target("a"))
        .with("same", target("a"))
        .with("other", target("b"))
        .with("receiver", Value::capsule(Receiver));
    expressions::evaluate_in(expression, &scope)
}

#[test]
fn capsules_with_fields_can_be_read_like_objects() {
    for (expression, expected) in [
        ("target.host", "\"a\""),
        ("target[\"host\"]", "\"a\""),
        ("target[\"nope\"]", "null"),
        ("target == same", "true"),
        ("target == other", "false"),
        ("receiver == receiver", "true"),
        ("array.combine_maps([target], [{host = \"a\", x = \"1\"}], [\"host\"])", "[{host = \"a\", x = \"1\"}]"),
        ("encoding.to_json({t = target})", "\"{\\\"t\\\":{\\\"host\\\":\\\"a\\\"}}\""),
    ] {
        assert_eq!(capsules(expression).unwrap().to_string(), expected, "{expression}");
    }
    for (expression, expected) in [
        ("target.nope", "field \"nope\" does not exist"),
        ("receiver.x", "receiver expected object or array or a capsule convertible to an object, got capsule"),
        ("receiver[0]", "receiver expected object or array or a capsule convertible to an object, got capsule"),
        ("secret.x", "secret expected object or array or a capsule convertible to an object, got capsule"),
        ("receiver + receiver", "receiver cannot be added: capsule(\"Receiver\")"),
        ("receiver < 1", "receiver should be one of [number string] for binop <, got capsule"),
    ] {
        assert_eq!(capsules(expression).unwrap_err().iter().next().unwrap().message, expected, "{expression}");
    }
    let map = BTreeMap::<String, String>::from_value(&capsules("target").unwrap()).unwrap();
    assert_eq!(map, BTreeMap::from([("host".to_owned(), "a".to_owned())]));
}

#[test]
fn capsules_come_back_as_their_own_type_or_are_refused_by_name() {
    let value = capsules("receiver").unwrap();
    let back: Arc<Receiver> = capsule_from_value(&value, "Receiver").unwrap();
    assert!(Value::Capsule(back) == value);
    let refused = |value: &Value| capsule_from_value::<Target>(value, "Target").unwrap_err().to_string();
    assert_eq!(refused(&value), "expected capsule(\"Target\"), got capsule(\"Receiver\")");
    assert_eq!(refused(&Value::Bool(true)), "expected capsule(\"Target\"), got bool");
    assert_eq!(refused(&Value::Secret(Secret::new("s"))), "expected capsule(\"Target\"), got capsule(\"alloytypes.Secret\")");
}

#[test]
fn a_value_error_reads_from_the_outside_in() {
    let error = ValueError::mismatch("number", &Value::Bool(true)).at_index(2).in_field("a").in_field("b");
    assert_eq!(error.to_string(), ".b.a[2] should be number, got bool");
    assert_eq!(error.static_reason(), "expected number, got bool");
    assert_eq!(ValueError::custom("is wrong").to_string(), "is wrong");
}

#[test]
fn numbers_keep_their_kind_but_compare_by_value() {
    assert_eq!(Number::Int(1), Number::Float(1.0));
    assert_ne!(Number::Int(-1), Number::Uint(u64::MAX));
    assert!(Number::Uint(u64::MAX) > Number::Int(i64::MAX));
    assert_eq!(5_u64.to_value(), Value::Number(Number::Int(5)));
    assert_eq!(u64::MAX.to_value().to_string(), u64::MAX.to_string());
}
