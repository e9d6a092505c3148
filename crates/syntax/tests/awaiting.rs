//! Decoding blocks some of whose values are not known yet.

use syntax::{Block, Diagnostics, FromValue, Scope, ToValue as _, Value, ValueError, decode_str};

/// Comes from a component only.
#[derive(Clone, Debug, PartialEq)]
struct Wire(&'static str);

impl FromValue for Wire {
    fn from_value(value: &Value) -> Result<Self, ValueError> {
        Err(ValueError::mismatch("wire", value))
    }

    fn type_name() -> String {
        "wire".to_owned()
    }

    fn stand_in() -> Option<Self> {
        Some(Self("stand-in"))
    }
}

impl syntax::ToValue for Wire {
    fn to_value(&self) -> Value {
        Value::Null
    }
}

#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Arguments::check")]
struct Arguments {
    #[syntax(attr, required)]
    to: Vec<Wire>,
    low: i64,
    high: i64,
    names: Vec<String>,
    #[syntax(block)]
    inner: Option<Inner>,
}

impl Arguments {
    fn check(&self) -> Result<(), String> {
        assert_eq!(self.to, [Wire("stand-in")], "no list is empty only because its values are not known yet");
        if self.low > self.high { Err("low is greater than high".to_owned()) } else { Ok(()) }
    }
}

#[derive(Block, Clone, Debug, PartialEq)]
#[syntax(validate = "Inner::check")]
struct Inner {
    password: String,
    user: String,
}

impl Inner {
    fn check(&self) -> Result<(), String> {
        if self.user.is_empty() && !self.password.is_empty() { Err("a password needs a user".to_owned()) } else { Ok(()) }
    }
}

fn decode(body: &str) -> Result<Arguments, Vec<String>> {
    let scope = Scope::new().with("known", 7_i64.to_value()).awaiting(["a.b.c".into(), "late".into()]);
    decode_str(body, &scope).map_err(|errors: Diagnostics| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn hooks_run_where_only_wires_are_open() {
    assert!(decode("to = [a.b.c.out]\nlow = 1\nhigh = known").is_ok());
    assert_eq!(decode("to = a.b.c.all\nlow = 8\nhigh = known"), Err(vec!["1:1: low is greater than high".to_owned()]));
}

#[test]
fn a_value_that_is_not_known_yet_is_no_error_and_no_default() {
    assert_eq!(decode("to = [late]\nlow = 5\nhigh = late.value"), Err(vec![]), "5 > 0 would be said of the default");
    assert_eq!(decode("to = [late]\ninner {\n\tpassword = \"p\"\n\tuser = late\n}"), Err(vec![]));
    assert_eq!(decode("to = [late]\nnames = [\"x\", late.y]"), Err(vec![]));
}

#[test]
fn what_is_wrong_beside_it_is_told() {
    let errors = decode("to = [late]\nlow = late\nhigh = \"x\"\nextra = 1\ninner {\n\tpassword = \"p\"\n}").unwrap_err();
    assert_eq!(
        errors,
        ["3:8: \"x\" should be number, got string", "4:1: unrecognized attribute name \"extra\"", "5:1: a password needs a user",]
    );
    assert_eq!(decode("to = [late]\nnames = { x = late }").unwrap_err().len(), 1, "an object is no list, whatever is in it");
}

#[test]
fn only_whole_names_are_awaited() {
    let errors = decode("to = [late]\nlow = later\nhigh = a.b.cc").unwrap_err();
    assert_eq!(errors, ["2:7: identifier \"later\" does not exist", "3:8: identifier \"a\" does not exist"]);
}
