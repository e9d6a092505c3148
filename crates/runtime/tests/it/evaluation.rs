//! The first load: order, scopes, and what components are given.

use std::path::Path;

use runtime::{LoadError, LogFormat, LogLevel, Source};
use syntax::ToValue as _;

use crate::support::{Cue, LONG, World};

#[tokio::test]
async fn whoever_is_referred_to_is_built_and_started_first_else_the_source_decides() {
    let world = World::running(
        r#"
        fake.node "scrape" {
            inputs     = [fake.node.discovery.out]
            forward_to = [fake.node.write.receiver]
        }
        fake.node "write" { }
        fake.node "discovery" { }
        fake.node "lonely" { }"#,
    )
    .await;
    let order = ["discovery", "write", "scrape", "lonely"];
    assert_eq!(world.stage.only(&["build"]), order.map(|label| format!("build fake.node.{label}")));
    let listed: Vec<String> = world.controller.components().into_iter().map(|info| info.local_id).collect();
    assert_eq!(listed, order.map(|label| format!("fake.node.{label}")));
    for label in order {
        world.stage.see(&format!("run fake.node.{label}")).await;
    }
    assert_eq!(world.stage.only(&["run"]), order.map(|label| format!("run fake.node.{label}")));
}

#[tokio::test]
async fn exports_library_and_module_path_are_in_scope() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.alloy");
    let config = r#"
        fake.node "a" { value = {list = [1, 2], version = constants.version} }
        fake.node "b" { value = [fake.node.a.out.list[1] + 1, fake.node.a.out.version, module_path] }"#;
    std::fs::write(&path, config).unwrap();
    let world = World::new();
    world.controller.load(Source::read(&path).unwrap()).await.unwrap();
    let detail = world.controller.component("fake.node.b").await.unwrap();
    let shown = detail.exports.iter().map(ToString::to_string).collect::<String>();
    assert!(shown.contains(&format!("[3, \"v1.2.3\", {:?}]", dir.path().display().to_string())), "{shown}");
}

#[tokio::test]
async fn a_component_gets_its_id_and_a_folder_of_its_own() {
    let world = World::running(r#"fake.node "a" { serve = true }"#).await;
    let (handler, _) = world.controller.http_handler("fake.node.a").unwrap();
    let reply = handler.call(http::Request::get("/").body(bytes::Bytes::new()).unwrap()).await;
    assert_eq!(reply.body(), "fake.node.a /");
    // The runtime makes no folders; whether one is needed is the component's business.
    assert!(!Path::new(world.storage.path()).join("fake.node.a").exists());
}

#[tokio::test]
async fn a_failed_first_load_leaves_nothing_and_can_be_followed_by_a_good_one() {
    let world = World::new();
    let config = |error: &str| format!("fake.node \"a\" {{ }}\nfake.node \"b\" {{ build_error = \"{error}\" }}");
    let error = world.load(&config("no")).await.unwrap_err();
    assert!(matches!(error, LoadError::Rejected(_)), "{error}");
    assert_eq!(error.to_string(), "test.alloy:2:1: Failed to build component: building component: no");
    assert!(world.stage.only(&["run"]).is_empty());
    world.load(&config("")).await.unwrap();
    world.stage.see("run fake.node.b").await;
    // Built anew: what the failed load had built is gone.
    assert_eq!(world.stage.only(&["build"]), ["build fake.node.a", "build fake.node.a", "build fake.node.b"]);
}

#[tokio::test]
async fn a_panic_while_building_is_an_error_at_the_block() {
    let world = World::new();
    let error = world.load("fake.node \"a\" { build_panic = \"ouch\" }").await.unwrap_err();
    assert_eq!(error.to_string(), "test.alloy:1:1: Failed to build component: panicked: ouch");
}

#[tokio::test]
async fn reloading_without_a_configuration_is_refused() {
    let error = World::new().controller.reload().await.unwrap_err();
    assert!(matches!(error, LoadError::NothingLoaded));
}

#[tokio::test]
async fn the_log_is_set_at_every_change_and_reset_without_a_block() {
    let world = World::running("").await;
    world.load("").await.unwrap();
    let levels = || world.logging.lock().iter().map(|config| config.level).collect::<Vec<_>>();
    assert_eq!(levels(), [LogLevel::Info]);
    world.load("logging { level = \"debug\"\n format = \"json\" }").await.unwrap();
    assert_eq!(world.logging.lock().last().unwrap().format, LogFormat::Json);
    world.load("logging { format = \"json\"\n level = \"debug\" }").await.unwrap();
    assert_eq!(levels(), [LogLevel::Info, LogLevel::Debug]);
    world.load("").await.unwrap();
    assert_eq!(levels(), [LogLevel::Info, LogLevel::Debug, LogLevel::Info]);
}

#[tokio::test]
async fn the_log_is_set_before_anything_is_built_unless_it_refers_to_it() {
    let world = World::running(
        r#"
        fake.node "a" { }
        fake.node "level" { value = "warn" }
        logging { level = fake.node.level.out }"#,
    )
    .await;
    assert_eq!(world.stage.only(&["log", "build"]), ["build fake.node.level", "log Warn", "build fake.node.a"]);
}

#[tokio::test]
async fn the_log_can_be_set_by_a_component() {
    let world = World::running(
        r#"
        fake.node "level" { value = "warn" }
        logging { level = fake.node.level.out }"#,
    )
    .await;
    assert_eq!(world.logging.lock().last().unwrap().level, LogLevel::Warn);
    world.stage.see("run fake.node.level").await;
    world.stage.cue("fake.node.level", Cue::Export("error".to_value()));
    tokio::time::timeout(LONG, async {
        while world.logging.lock().last().unwrap().level != LogLevel::Error {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn secrets_are_shown_nowhere() {
    let world = World::running(r#"fake.node "a" { password = "hunter2" }"#).await;
    let shown = world.controller.component_json("fake.node.a").await.unwrap().to_string();
    assert!(shown.contains("(secret)") && !shown.contains("hunter2"), "{shown}");
    let error = world.load("fake.node \"a\" {\n password = \"hunter2\"\n count = \"x\"\n}").await.unwrap_err();
    assert!(!error.to_string().contains("hunter2") && !world.health("fake.node.a").1.contains("hunter2"));
}
