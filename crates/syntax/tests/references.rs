//! References of expressions, and scopes.

use std::sync::Arc;

use syntax::{Object, Scope, Value};

fn found(source: &str) -> Vec<String> {
    let (file, diagnostics) = syntax::parse("f", source);
    assert!(diagnostics.is_empty(), "{diagnostics}");
    syntax::references_in_body(&file.body).iter().map(|reference| format!("{} {}", reference.span().start, reference.dotted())).collect()
}

#[test]
fn chains_are_as_long_as_they_can_be_and_end_at_calls_and_indices() {
    assert_eq!(found("x = a.b.c"), ["1:5 a.b.c"]);
    assert_eq!(found("x = a.b[0].c"), ["1:5 a.b"]);
    assert_eq!(found("x = a.b(c.d).e"), ["1:5 a.b", "1:9 c.d"]);
    assert_eq!(found("x = a[b.c]"), ["1:5 a", "1:7 b.c"]);
    assert_eq!(found("x = (a.b).c"), ["1:6 a.b"]);
    assert_eq!(found("x = {a = b, \"c\" = [d.e]}"), ["1:10 b", "1:20 d.e"]);
    assert_eq!(found("x = -a + !b.c ^ 2"), ["1:6 a", "1:11 b.c"]);
    assert_eq!(found("x = 1"), Vec::<String>::new());
}

#[test]
fn blocks_within_blocks_are_walked_in_order() {
    assert_eq!(found("a = b\nc {\n\td = e.f\n\tg \"h\" {\n\t\ti = j\n\t}\n}\nk = l"), ["1:5 b", "3:6 e.f", "5:7 j", "8:5 l"]);
}

#[test]
fn each_fragment_has_its_place() {
    let (file, _) = syntax::parse("f", "x = prometheus . scrape\n.y");
    let errors = syntax::references_in_body(&file.body);
    let places: Vec<String> = errors[0].path.iter().map(|(name, span)| format!("{name} {}-{}", span.start, span.end)).collect();
    assert_eq!(places, ["prometheus 1:5-1:15", "scrape 1:18-1:24"]);
    assert_eq!(&*errors[0].file, "f");
}

#[test]
fn a_child_scope_shadows_its_parent() {
    let parent = Scope::new().with("a", Value::Bool(true)).with("b", Value::Bool(true));
    let child = parent.child().with("a", Value::Null);
    assert_eq!(child.lookup("a"), Some(&Value::Null));
    assert_eq!(child.lookup("b"), Some(&Value::Bool(true)));
    assert_eq!(child.lookup("c"), None);
    assert_eq!(parent.lookup("a"), Some(&Value::Bool(true)));
}

#[test]
fn values_are_put_under_a_path_beside_what_is_there() {
    let mut scope = Scope::new();
    scope.insert_path(&["a", "b", "one"], Value::Bool(true));
    scope.insert_path(&["a", "b", "two"], Value::Bool(false));
    scope.insert_path(&["a", "c"], Value::Null);
    scope.insert_path(&[], Value::Null);
    assert_eq!(scope.lookup("a").unwrap().to_string(), "{b = {one = true, two = false}, c = null}");
    scope.insert_path(&["a", "b"], Value::object(Object::new()));
    assert_eq!(scope.lookup("a").unwrap().to_string(), "{b = {}, c = null}");
}

#[test]
fn large_values_are_shared_not_copied() {
    let items = Arc::new(vec![Value::Bool(true); 1000]);
    let scope = Scope::new().with("a", Value::Array(items.clone()));
    let (file, _) = syntax::parse("f", "x = a");
    let attribute = file.body.attributes().next().unwrap();
    let Value::Array(evaluated) = syntax::eval(&attribute.value, &scope).unwrap() else { panic!("an array") };
    assert!(Arc::ptr_eq(&items, &evaluated));
}

#[test]
fn warnings_that_nobody_takes_do_not_pile_up() {
    let warnings = syntax::Warnings::new();
    let scope = syntax::stdlib::root(&syntax::StdlibOptions::default()).collecting(&warnings);
    let (file, _) = syntax::parse("f", "x = trim_space(\"a\")");
    let attribute = file.body.attributes().next().unwrap();
    for _ in 0..2_000 {
        syntax::eval(&attribute.value, &scope).unwrap();
    }
    assert_eq!(warnings.take().len(), 1000);
    assert!(warnings.take().is_empty());
}
