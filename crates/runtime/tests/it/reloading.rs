//! From one configuration to the next.

use std::time::Duration;

use runtime::{LoadError, Source};
use syntax::ToValue as _;

use crate::support::{Cue, World};

const CHAIN: &str = r#"
    fake.node "a" { value = 1 }
    fake.node "b" { value = fake.node.a.out }"#;

#[tokio::test]
async fn what_is_equal_is_left_alone_though_its_text_changed() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    world.reload("fake.node \"b\" { value = 0 + fake.node.a.out } // moved\n fake.node \"a\" { value = 2 - 1 }").await.unwrap();
    assert_eq!(world.stage.script(), [""; 0]);
}

#[tokio::test]
async fn what_changed_is_updated_in_place_and_its_dependants_follow() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    world.reload(&CHAIN.replace('1', "2")).await.unwrap();
    world.stage.see("update fake.node.b 2 0").await;
    assert_eq!(world.stage.script(), ["update fake.node.a 2 0", "update fake.node.b 2 0"]);
}

#[tokio::test]
async fn what_is_new_is_built_and_started_beside_what_runs() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    world.reload(&format!("{CHAIN}\n fake.node \"c\" {{ value = fake.node.b.out }}")).await.unwrap();
    world.stage.see("run fake.node.c").await;
    assert_eq!(world.stage.script(), ["build fake.node.c", "run fake.node.c"]);
    assert_eq!(world.controller.component("fake.node.c").await.unwrap().exports[0].to_string(), "out = 1\n");
}

#[tokio::test]
async fn what_is_gone_is_stopped_as_removed_and_no_longer_seen() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    world.reload("fake.node \"a\" { value = 1 }").await.unwrap();
    world.stage.see("end fake.node.b").await;
    assert_eq!(world.stage.script(), ["stop fake.node.b Removed", "end fake.node.b"]);
    assert_eq!(world.controller.components().len(), 1);
    assert!(world.controller.component("fake.node.b").await.is_none());
    assert_eq!(world.controller.components()[0].referenced_by, [""; 0]);
}

#[tokio::test]
async fn a_structural_error_keeps_the_old_graph_with_its_blocks() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    let hash = world.controller.config_hash();
    let error = world.reload("fake.node \"a\" { value = 5 }\n fake.node \"b\" { value = 6 }\n nonsense { }").await.unwrap_err();
    assert!(matches!(error, LoadError::Rejected(_)));
    assert_eq!(world.controller.config_hash(), hash);
    // What is evaluated next is the old block of `b`, not `value = 6`.
    world.stage.cue("fake.node.a", Cue::Export(7_i64.to_value()));
    world.stage.see("update fake.node.b 7 0").await;
    assert_eq!(world.stage.script(), ["update fake.node.b 7 0"]);
}

#[tokio::test]
async fn a_wrong_value_keeps_the_old_graph_too() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    let hash = world.controller.config_hash();
    let error = world.reload("fake.node \"a\" { value = 2 }\n fake.node \"b\" { count = \"many\" }").await.unwrap_err();
    assert!(matches!(error, LoadError::Rejected(_)), "{error}");
    assert_eq!(world.controller.config_hash(), hash);
    assert_eq!(world.stage.script(), [""; 0]);
    assert!(world.controller.unhealthy().is_empty());
}

#[tokio::test]
async fn an_evaluation_error_keeps_that_components_arguments_and_changes_the_rest() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    let broken = "fake.node \"a\" { value = 2 }\n fake.node \"b\" { inputs = [fake.node.a.out.missing] }\n fake.node \"c\" { }";
    let error = world.reload(broken).await.unwrap_err();
    assert!(matches!(error, LoadError::Degraded(_)), "{error}");
    assert!(error.is_adopted());
    world.stage.see("update fake.node.a 2 0").await;
    world.stage.see("run fake.node.c").await;
    assert_eq!(world.stage.only(&["update", "stop"]), ["update fake.node.a 2 0"]);
    let (state, message) = world.health("fake.node.b");
    assert_eq!(state, "unhealthy");
    assert!(message.starts_with("component evaluation failed: test.alloy:2:28: "), "{message}");
    assert_eq!(world.controller.unhealthy(), ["fake.node.b"]);
    let detail = world.controller.component("fake.node.b").await.unwrap();
    assert_eq!(detail.arguments[0].to_string(), "value = 1\n");

    world.reload("fake.node \"a\" { value = 2 }\n fake.node \"b\" { value = 1 }").await.unwrap();
    assert_eq!(world.health("fake.node.b").0, "healthy");
    assert!(world.stage.only(&["update"]).is_empty());
}

#[tokio::test]
async fn a_component_that_was_never_built_holds_back_its_new_dependants_only() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    let config = |error: &str| {
        format!(
            r#"
            fake.node "new" {{ build_error = "{error}" }}
            fake.node "a" {{ value = 1 }}
            fake.node "b" {{ value = fake.node.new.out }}
            fake.node "c" {{ inputs = [fake.node.new.out] }}"#
        )
    };
    let error = world.reload(&config("not today")).await.unwrap_err();
    assert_eq!(error.to_string(), "test.alloy:2:13: Failed to build component: building component: not today");
    assert_eq!(world.stage.script(), [""; 0]);
    for (id, state) in [("new", "unhealthy"), ("b", "unhealthy"), ("c", "unhealthy"), ("a", "healthy")] {
        assert_eq!(world.health(&format!("fake.node.{id}")).0, state, "{id}");
    }
    assert_eq!(world.health("fake.node.c").1, "component evaluation failed: it refers to fake.node.new, which could not be built");

    world.reload(&config("")).await.unwrap();
    world.stage.see("update fake.node.b null 0").await;
    world.stage.see("run fake.node.c").await;
    assert_eq!(world.stage.only(&["build"]), ["build fake.node.new", "build fake.node.c"]);
}

#[tokio::test]
async fn what_exited_is_built_anew_by_a_reload() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.a").await;
    world.stage.cue("fake.node.a", Cue::Return(Err("broke")));
    world.health_becomes("fake.node.a", "exited").await;
    world.reload(CHAIN).await.unwrap();
    world.stage.see("run fake.node.a").await;
    // Its receiver is another one now, but `b` refers to `out` alone.
    assert_eq!(world.stage.script(), ["build fake.node.a", "run fake.node.a"]);
    assert_eq!(world.health("fake.node.a").0, "healthy");
}

#[tokio::test]
async fn what_a_predecessor_left_behind_can_not_speak_for_its_successor() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.a").await;
    world.stage.hold("fake.node.a");
    world.stage.cue("fake.node.a", Cue::Haunt(99_i64.to_value()));
    world.health_becomes("fake.node.a", "exited").await;
    world.reload(CHAIN).await.unwrap();
    world.stage.see("run fake.node.a").await;
    world.stage.release("fake.node.a");
    world.stage.see("haunted fake.node.a").await;
    let exports = world.controller.component("fake.node.a").await.unwrap().exports;
    assert_eq!(exports[0].to_string(), "out = 1\n");
}

#[tokio::test]
async fn what_was_removed_and_comes_back_begins_anew() {
    let world = World::running(CHAIN).await;
    world.stage.see("run fake.node.b").await;
    world.stage.cue("fake.node.a", Cue::Export(5_i64.to_value()));
    world.stage.see("update fake.node.b 5 0").await;
    world.reload("").await.unwrap();
    world.reload(CHAIN).await.unwrap();
    world.stage.see("run fake.node.b").await;
    let exports = world.controller.component("fake.node.b").await.unwrap().exports;
    assert_eq!(exports[0].to_string(), "out = 1\n");
}

#[tokio::test(start_paused = true)]
async fn two_components_of_one_id_never_run_at_once() {
    let world = World::running("fake.node \"a\" { }").await;
    world.stage.see("run fake.node.a").await;
    world.stage.hold("fake.node.a");
    world.reload("").await.unwrap();
    // It does not finish; for its successor's sake it is aborted.
    world.reload("fake.node \"a\" { }").await.unwrap();
    world.stage.see("run fake.node.a").await;
    world.stage.release("fake.node.a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.stage.script(), ["build fake.node.a", "run fake.node.a"]);
}

#[tokio::test]
async fn reloading_takes_what_was_loaded_last_even_if_that_failed() {
    let world = World::running(CHAIN).await;
    world.load("fake.node \"other\" { }").await.unwrap();
    world.controller.reload().await.unwrap();
    assert_eq!(world.controller.components().len(), 1);
    world.load("nonsense { }").await.unwrap_err();
    assert!(world.controller.reload().await.unwrap_err().to_string().contains("nonsense"));
}

#[tokio::test]
async fn every_load_is_told_of() {
    let world = World::new();
    let mut loads = world.controller.loads();
    assert_eq!(loads.borrow_and_update().attempts, 0);
    world.load("").await.unwrap();
    let first = loads.borrow_and_update().clone();
    assert_eq!((first.attempts, first.error.as_deref()), (1, None));
    assert_eq!(first.running_hash, first.attempted_hash);
    world.load("nonsense { }").await.unwrap_err();
    let second = loads.borrow_and_update().clone();
    assert_eq!(second.attempts, 2);
    assert_eq!(second.running_hash, first.running_hash);
    assert_ne!(second.attempted_hash, first.attempted_hash);
    assert!(second.error.unwrap().contains("nonsense"));
}

#[tokio::test]
async fn a_file_that_vanished_is_told_of_and_the_old_graph_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.alloy");
    std::fs::write(&path, CHAIN).unwrap();
    let world = World::new();
    world.controller.load(Source::read(&path).unwrap()).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = world.controller.reload().await.unwrap_err();
    assert!(matches!(error, LoadError::Source(_)));
    assert!(world.controller.loads().borrow().error.as_ref().unwrap().contains("c.alloy"));
    assert_eq!(world.controller.components().len(), 2);
    std::fs::write(&path, "").unwrap();
    world.controller.reload().await.unwrap();
    assert!(world.controller.components().is_empty());
}
