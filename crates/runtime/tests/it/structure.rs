//! What is wrong with a configuration: golden files in `tests/broken`, renewed by `UPDATE_GOLDEN=1`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use runtime::{LoadError, Source, validate};
use syntax::{Diagnostics, Severity, Stability};

use crate::support::{FAMILIES, World};

fn shown(diagnostics: &Diagnostics) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        writeln!(text, "{severity} {diagnostic}").unwrap();
        if let Some(help) = &diagnostic.help {
            writeln!(text, "    {help}").unwrap();
        }
    }
    text
}

fn source(name: &str) -> Source {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken").join(format!("{name}.alloy"));
    Source::text(format!("{name}.alloy"), fs::read_to_string(path).unwrap())
}

fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

async fn rejected(world: &World, source: Source) -> Diagnostics {
    match world.controller.load(source).await {
        Err(LoadError::Rejected(findings)) => findings.diagnostics,
        other => panic!("{other:?}"),
    }
}

/// Loading and checking say the same about the structure, and loading builds nothing.
async fn wrong_structure(name: &str) {
    let world = World::new();
    let found = shown(&rejected(&world, source(name)).await);
    expect(name, &found);
    assert_eq!(shown(&checked(&source(name))), found);
    assert!(world.stage.script().is_empty());
    assert!(world.controller.components().is_empty());
}

fn checked(source: &Source) -> Diagnostics {
    validate(source, FAMILIES, Stability::GenerallyAvailable, "1.2.3")
}

macro_rules! golden {
    ($($name:ident),*) => {$(
        #[tokio::test]
        async fn $name() {
            wrong_structure(stringify!($name)).await;
        }
    )*};
}

golden!(unknown_names, labels, duplicates, stability, references, cycles, not_supported, top_level, syntax, evaluation);

#[tokio::test]
async fn what_only_building_finds_is_told_by_the_load_and_nothing_runs() {
    let world = World::new();
    let config = r#"
        fake.node "good" { }
        fake.node "bad" { build_error = "the moon is not in the right phase" }
        fake.node "late" { count = fake.node.words.out }
        fake.node "words" { value = "many" }"#;
    assert_eq!(shown(&checked(&Source::text("test.alloy", config))), "");
    let found = shown(&rejected(&world, Source::text("test.alloy", config)).await);
    let expected = "error test.alloy:3:9: Failed to build component: building component: the moon is not in the right phase\n\
                    error test.alloy:4:36: fake.node.words.out should be number, got string\n";
    assert_eq!(found, expected);
    // What could be built was, but nothing of it runs.
    assert_eq!(world.stage.only(&["build", "run"]), ["build fake.node.good", "build fake.node.words"]);
    assert!(world.controller.components().is_empty());
    assert_eq!(world.controller.config_hash(), None);
}

#[test]
fn checking_builds_nothing() {
    let found = checked(&Source::text("test.alloy", r#"fake.node "a" { build_panic = "never asked" }"#));
    assert!(found.is_empty(), "{found}");
}

#[test]
fn checking_warns_of_what_should_be_changed_and_knows_the_version() {
    let config = "fake.node \"a\" {\n\tvalue = to_upper(\"x\")\n\tcount = constants.version\n}";
    let found = shown(&checked(&Source::text("test.alloy", config)));
    assert!(found.starts_with("warning test.alloy:2:10: "), "{found}");
    assert!(found.contains("error test.alloy:3:10: constants.version should be number"), "{found}");
}

#[tokio::test]
async fn a_lower_stability_opens_the_gate() {
    let world = World::with(|options| options.stability = Stability::Experimental);
    world.load(r#"fake.experimental "a" { }"#).await.unwrap();
}

#[tokio::test]
async fn a_component_that_shadows_the_library_loads_with_a_warning() {
    let world = World::new();
    let config = r#"
        string.fake "a" { }
        fake.node "b" {
            value  = string.to_upper("works")
            inputs = [string.fake.a]
        }"#;
    let report = world.load(config).await.unwrap();
    assert_eq!(
        shown(&report.warnings.diagnostics),
        "warning test.alloy:2:9: component string.fake.a shadows string of the standard library\n"
    );
    assert_eq!(report.components, 2);
}

#[tokio::test]
async fn deprecated_names_and_live_debugging_are_warned_of() {
    let world = World::new();
    let config = r#"
        livedebugging { enabled = true }
        fake.node "a" { value = to_upper("x") }"#;
    let report = world.load(config).await.unwrap();
    let messages: Vec<&str> = report.warnings.diagnostics.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("live debugging is not supported yet"), "{messages:?}");
    assert!(messages[1].contains("to_upper"), "{messages:?}");
}

#[tokio::test]
async fn the_files_of_a_directory_are_one_unit() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.alloy"), r#"fake.node "b" { value = fake.node.a.out }"#).unwrap();
    fs::write(dir.path().join("a.alloy"), r#"fake.node "a" { value = 1 }"#).unwrap();
    let world = World::new();
    world.controller.load(Source::read(dir.path()).unwrap()).await.unwrap();
    assert_eq!(world.stage.only(&["build"]), ["build fake.node.a", "build fake.node.b"]);
    fs::write(dir.path().join("c.alloy"), r#"fake.node "a" { }"#).unwrap();
    let error = world.controller.reload().await.unwrap_err().to_string();
    let first = dir.path().join("a.alloy").display().to_string();
    assert!(error.contains("c.alloy:1:1: block fake.node.a already declared at") && error.contains(&format!("{first}:1:1")), "{error}");
}

#[tokio::test]
async fn rendering_shows_the_text() {
    let world = World::new();
    let error = world.load("fake.nod \"a\" { }\n").await.unwrap_err();
    assert!(error.render(false).contains("test.alloy:1:1: cannot find the definition of component name \"fake.nod\""));
    assert!(!error.is_adopted());
}
