//! The derives: schema, decoding, defaults, and rendering.

mod blocks;

use std::collections::BTreeMap;
use std::time::Duration;

use blocks::{Arguments, FULL, Queue, Stage, decode, messages, parsed, scope};
use syntax::{Block as _, Field, FieldKind, Secret, Statement, Value};

#[test]
fn the_schema_lists_fields_in_order_with_docs_and_defaults() {
    let schema = Arguments::schema();
    let names: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "url",
            "interval",
            "type",
            "headers",
            "limit",
            "basic_auth",
            "queue",
            "rule",
            "stage.json",
            "stage.match",
            "insecure",
            "ca_file",
            "labels"
        ]
    );
    assert_eq!(schema.doc, "Fetches things.\nFrom far away.");
    let field = |name: &str| schema.field(name).unwrap();
    assert_eq!(field("interval").default.as_deref(), Some("\"1m0s\""));
    assert_eq!(field("interval").doc, "How often.");
    assert_eq!(field("type").default.as_deref(), Some("\"plain\""));
    assert_eq!(field("limit").default, None);
    assert_eq!(field("headers").type_name, "map(secret)");
    assert_eq!(field("stage.json").doc, "Parses JSON.");
    let required: Vec<&str> = schema.fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
    assert_eq!(required, ["url"]);
    let repeated: Vec<&str> = schema.fields.iter().filter(|f| f.repeated).map(|f| f.name.as_str()).collect();
    assert_eq!(repeated, ["rule", "stage.json", "stage.match"]);
    let nested = field("basic_auth").nested.unwrap()();
    assert!(nested.fields.iter().all(|field| field.required && field.kind == FieldKind::Attribute));
    assert_eq!(field("rule").nested.unwrap()().label().map(|label| label.name.as_str()), Some("label"));
    assert_eq!(field("labels").nested.unwrap()().map_of.as_ref().unwrap().name, "string");
}

#[test]
fn a_full_body_decodes_with_blocks_in_source_order() {
    let arguments = decode(FULL).unwrap();
    assert_eq!(arguments.url, "http://localhost");
    assert_eq!(arguments.interval, Duration::from_secs(90));
    assert_eq!(arguments.kind, "plain");
    assert_eq!(arguments.headers["X-Token"].expose(), "hunter2");
    assert_eq!(arguments.basic_auth.as_ref().unwrap().username, "u");
    assert_eq!(arguments.queue.capacity, 10_000);
    let rules: Vec<&str> = arguments.rule.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["one", "two"]);
    assert!(matches!(arguments.stages.as_slice(), [Stage::Json(_), Stage::Matching(inner), Stage::Json(_)] if inner.stages.len() == 1));
    assert!(arguments.tls.insecure);
    assert_eq!(arguments.labels, BTreeMap::from([("job".to_owned(), "x".to_owned()), ("n".to_owned(), "1".to_owned())]));
}

#[test]
fn the_body_shows_what_differs_from_the_defaults() {
    let body = decode(FULL).unwrap().to_body();
    let text: String = body.iter().map(ToString::to_string).collect();
    assert_eq!(
        syntax::format("f", &text.replace("(secret)", "\"(secret)\"")).unwrap(),
        r#"url      = "http://localhost"
interval = "1m30s"
headers  = {"X-Token" = "(secret)"}

basic_auth {
	username = "u"
	password = "(secret)"
}

rule "one" {
	source_labels = ["a"]
}

rule "two" { }

stage.json {
	expressions = {a = "b"}
}

stage.match {
	selector = "x"

	stage.json { }
}

stage.json { }
insecure = true

labels {
	job = "x"
	n   = "1"
}
"#
    );
    assert_eq!(decode("url = \"x\"").unwrap().to_body(), [Statement::attribute("url", Value::String("x".into()))]);
}

#[test]
fn what_is_shown_decodes_to_the_same_again() {
    let arguments = decode(&FULL.replace("headers = {\"X-Token\" = \"hunter2\"}", "").replace("hunter2", "(secret)")).unwrap();
    let text: String = arguments.to_body().iter().map(ToString::to_string).collect();
    assert_eq!(decode(&text.replace("(secret)", "\"(secret)\"")).unwrap(), arguments);
}

#[test]
fn bodies_become_json_in_alloys_shape() {
    let arguments = decode("url = \"x\"\nlimit = 5\nheaders = {b = \"hunter2\", a = \"hunter2\"}\nrule \"r\" { }").unwrap();
    let json = syntax::json::statements(&arguments.to_body());
    assert_eq!(
        json,
        serde_json::json!([
            {"name": "url", "type": "attr", "value": {"type": "string", "value": "x"}},
            {"name": "headers", "type": "attr", "value": {"type": "object", "value": [
                {"key": "a", "value": {"type": "capsule", "value": "(secret)"}},
                {"key": "b", "value": {"type": "capsule", "value": "(secret)"}},
            ]}},
            {"name": "limit", "type": "attr", "value": {"type": "number", "value": 5}},
            {"name": "rule", "type": "block", "label": "r", "body": []},
        ])
    );
}

#[test]
fn exports_become_an_object_with_every_field() {
    #[derive(syntax::Block, Debug)]
    struct Exports {
        targets: Vec<BTreeMap<String, String>>,
        content: Option<Secret>,
    }
    let exports = Exports { targets: vec![BTreeMap::from([("a".to_owned(), "b".to_owned())])], content: Some(Secret::new("s")) };
    assert_eq!(exports.to_value().to_string(), "{content = (secret), targets = [{a = \"b\"}]}");
    assert_eq!(Exports::defaults().unwrap().to_value().to_string(), "{content = null, targets = []}");
    assert!(Arguments::defaults().is_none(), "url has no default");
}

#[test]
fn an_absent_block_with_required_fields_is_missing_unless_it_may_be() {
    #[derive(syntax::Block, Debug)]
    struct Outer {
        #[syntax(block)]
        inner: Inner,
        #[syntax(block, required)]
        list: Vec<Queue>,
        #[syntax(block, default = Queue { capacity: 1 })]
        queue: Queue,
    }
    #[derive(syntax::Block, Debug)]
    struct Inner {
        #[syntax(required)]
        name: String,
    }
    let errors = Outer::decode(&parsed("").body, &scope()).unwrap_err();
    assert_eq!(messages(&errors), ["f:1:1: missing required block \"inner\"", "f:1:1: missing required block \"list\""]);
    assert!(Outer::schema().field("inner").unwrap().required);
    let outer = Outer::decode(&parsed("inner {\n\tname = \"a\"\n}\nlist { }").body, &scope()).unwrap();
    assert_eq!((outer.inner.name.as_str(), outer.list.len(), outer.queue.capacity), ("a", 1, 1));
    assert_eq!(outer.to_body().len(), 2, "the queue has its default");
    let outer = Outer::decode(&parsed("inner {\n\tname = \"a\"\n}\nlist { }\nqueue { }").body, &scope()).unwrap();
    assert_eq!(outer.queue.capacity, 10_000, "a present block has its own defaults");
}

#[test]
fn doc_comments_of_fields_reach_the_schema_whole() {
    #[derive(syntax::Block, Debug)]
    struct Documented {
        /// First line,
        /// second line.
        ///
        /// Next paragraph.
        field: bool,
        password: Secret,
    }
    let fields: &[Field] = &Documented::schema().fields;
    assert_eq!(fields[1].default.as_deref(), Some("\"\""), "an empty secret is no secret");
    assert_eq!(fields[0].doc, "First line,\nsecond line.\n\nNext paragraph.");
}
