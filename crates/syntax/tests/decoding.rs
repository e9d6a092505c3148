//! What decoding and the static check say about wrong bodies.

mod blocks;

use std::collections::BTreeMap;
use std::time::Duration;

use blocks::{Arguments, Queue, decode, messages, parsed, scope};
use syntax::{Block as _, Sources, Value};

#[test]
fn every_error_of_a_body_is_told_in_order() {
    let errors = decode(
        r#"
intervall = "1m"
interval = 5
interval = "1m"
queue {
	capacity = "many"
	x = 1
}
queue { }
rule { }
url { }
labels = {}
labels { nested { } }
labels "l" { }
type = nope
basic_auth "l" {
	username = "a"
}
stage.xml { }
stage.match { }
"#,
    )
    .unwrap_err();
    assert_eq!(
        messages(&errors),
        [
            "f:2:1: unrecognized attribute name \"intervall\"",
            "f:3:12: 5 time: missing unit in duration \"5\"",
            "f:4:1: attribute \"interval\" may only be provided once",
            "f:6:13: \"many\" should be number, got string",
            "f:7:2: unrecognized attribute name \"x\"",
            "f:9:1: block \"queue\" may only be specified once",
            "f:10:1: block \"rule\" requires non-empty label",
            "f:11:1: \"url\" must be an attribute, but is used as a block",
            "f:12:1: \"labels\" must be a block, but is used as an attribute",
            "f:13:10: nested blocks not supported here",
            "f:14:1: block \"labels\" may only be specified once",
            "f:15:8: identifier \"nope\" does not exist",
            "f:16:1: block \"basic_auth\" does not support specifying labels",
            "f:16:1: missing required attribute \"password\"",
            "f:19:1: unrecognized block name \"stage.xml\"",
            "f:20:1: missing required attribute \"selector\"",
        ]
    );
    let first = errors.iter().next().unwrap();
    assert_eq!(first.help.as_deref(), Some("did you mean `interval`?"));
}

#[test]
fn what_is_missing_comes_after_what_is_wrong_and_points_at_the_header() {
    let file = parsed("comp.onent \"a\" {\n\tlimit = true\n}");
    let block = file.body.blocks().next().unwrap();
    let errors = Arguments::decode_component(block, &scope()).unwrap_err();
    assert_eq!(messages(&errors), ["f:2:10: true should be number, got bool", "f:1:1: missing required attribute \"url\""]);
    let last = errors.iter().next_back().unwrap();
    assert_eq!(last.span, block.header_span());
    assert_eq!(errors.to_string(), "f:2:10: true should be number, got bool (and 1 more diagnostics)");
}

#[test]
fn a_label_that_a_map_cannot_have_is_told() {
    let errors = decode("url = \"x\"\nlabels \"l\" { }").unwrap_err();
    assert_eq!(messages(&errors), ["f:2:1: block \"labels\" requires empty label"]);
}

#[test]
fn validation_runs_last_on_squashed_and_nested_blocks_too() {
    let errors = decode("url = \"x\"\ninsecure = true\nca_file = \"c\"").unwrap_err();
    assert_eq!(messages(&errors), ["f:1:1: insecure excludes ca_file"]);
    let errors = decode("url = \"x\"\nbasic_auth {\n\tusername = \"\"\n\tpassword = \"\"\n}").unwrap_err();
    assert_eq!(messages(&errors), ["f:2:1: username must not be empty"]);
    // Not on top of other errors.
    let errors = decode("insecure = true\nca_file = \"c\"").unwrap_err();
    assert_eq!(messages(&errors), ["f:1:1: missing required attribute \"url\""]);
}

#[test]
fn null_unsets_what_has_no_zero_value_and_zeroes_the_rest() {
    let arguments = decode("url = null\ninterval = null\nlimit = null").unwrap();
    assert_eq!((arguments.url.as_str(), arguments.interval, arguments.limit), ("", Duration::ZERO, None));
}

#[test]
fn value_errors_lead_into_literals_and_print_the_way_from_there() {
    let scope = scope().with(
        "key_value",
        Value::object(
            [("object", Value::object([("field1", Value::array(vec![Value::Bool(true)]))].into_iter().collect()))].into_iter().collect(),
        ),
    );
    #[derive(syntax::Block, Debug)]
    struct Deep {
        #[syntax(required)]
        map: BTreeMap<String, BTreeMap<String, Vec<u64>>>,
    }
    let decode = |source: &str| Deep::decode(&parsed(source).body, &scope).unwrap_err().to_string();
    assert_eq!(decode("map = key_value"), "f:1:7: key_value.object.field1[0] should be number, got bool");
    assert_eq!(decode("map = {a = key_value}"), "f:1:12: key_value.object should be array, got object");
    assert_eq!(decode("map = {a = ({b = [1, (2), true]})}"), "f:1:27: true should be number, got bool");
    assert_eq!(decode("map = {a = {b = 1}}"), "f:1:17: 1 should be array, got number");
}

#[test]
fn messages_about_secrets_do_not_quote_them() {
    let errors = decode("url = \"x\"\nheaders = {\"a\" = [\"hunter2\"]}").unwrap_err();
    assert_eq!(messages(&errors), ["f:2:11: headers.a should be secret, got array"]);
    let file = parsed("url = \"x\"\nheaders = {\"a\" = [\"hunter2\"]}");
    let errors = syntax::check(Arguments::schema(), &file.body);
    assert_eq!(messages(&errors), ["f:2:11: headers.a should be secret, got array"]);
}

#[test]
fn the_static_check_finds_what_can_be_known_without_values() {
    let file = parsed(
        r#"
intervall = "1m"
interval = "5"
kind = 1
limit = [a.b]
headers = [1]
rule "r" {
	source_labels = "a"
}
rule "s" {
	source_labels = ["a", b.c, ["x"]]
}
rule "t" {
	source_labels = some.list
}
basic_auth {
	password = unknown.secret
}
queue {
	capacity = unknown
	capacity = -1
}
labels {
	x = [unknown]
	y = {}
}
"#,
    );
    let errors = syntax::check(Arguments::schema(), &file.body);
    assert_eq!(
        messages(&errors),
        [
            "f:2:1: unrecognized attribute name \"intervall\"",
            "f:3:12: time: missing unit in duration \"5\"",
            "f:4:1: unrecognized attribute name \"kind\"",
            "f:5:9: expected number, got array",
            "f:6:11: headers should be object, got array",
            "f:8:18: expected array, got string",
            "f:11:29: expected string, got array",
            "f:16:1: missing required attribute \"username\"",
            "f:21:2: attribute \"capacity\" may only be provided once",
            "f:24:6: expected string, got array",
            "f:25:6: expected string, got object",
            "f:1:1: missing required attribute \"url\"",
        ]
    );
}

#[test]
fn the_static_check_of_a_component_ignores_its_label() {
    let file = parsed("comp \"a\" { }");
    let block = file.body.blocks().next().unwrap();
    assert_eq!(messages(&syntax::check_component(Queue::schema(), block)), Vec::<String>::new());
    assert_eq!(messages(&syntax::check_block(Queue::schema(), block)), ["f:1:1: block \"comp\" does not support specifying labels"]);
}

#[test]
fn suggestions_are_drawn_below_the_excerpt() {
    let source = "url = \"x\"\nintervall = \"1m\"\n";
    let errors = decode(source).unwrap_err();
    let sources: Sources = [("f", source)].into_iter().collect();
    assert_eq!(
        errors.render(&sources, false),
        r#"Error: f:2:1: unrecognized attribute name "intervall"

1 | url = "x"
2 | intervall = "1m"
  | ^^^^^^^^^
3 |
  = help: did you mean `interval`?
"#
    );
}
