//! Changed exports and who follows them.

use syntax::{ToValue as _, Value};

use crate::support::{Cue, World};

fn number(value: i64) -> Cue {
    Cue::Export(value.to_value())
}

#[tokio::test]
async fn a_change_travels_down_a_chain() {
    let world = World::running(
        r#"
        fake.node "a" { value = 0 }
        fake.node "b" { value = fake.node.a.out + 1 }
        fake.node "c" { value = fake.node.b.out + 1 }
        fake.node "bystander" { }"#,
    )
    .await;
    world.stage.see("run fake.node.bystander").await;
    world.stage.forget();
    world.stage.cue("fake.node.a", number(10));
    world.stage.see("update fake.node.c 12 0").await;
    assert_eq!(world.stage.script(), ["update fake.node.b 11 0", "update fake.node.c 12 0"]);
}

#[tokio::test]
async fn equal_arguments_are_no_update() {
    let world = World::running(
        r#"
        fake.node "a" { value = 0 }
        fake.node "sign" { value = fake.node.a.out > 0 }
        fake.node "copy" { value = fake.node.a.out }"#,
    )
    .await;
    world.stage.see("run fake.node.copy").await;
    world.stage.forget();
    for value in [1, 2, 3] {
        world.stage.cue("fake.node.a", number(value));
        world.stage.see(&format!("update fake.node.copy {value} 0")).await;
    }
    world.stage.see("update fake.node.sign true 0").await;
    assert_eq!(world.stage.script().iter().filter(|line| line.contains("sign")).count(), 1);
}

#[tokio::test]
async fn the_last_of_many_changes_arrives() {
    let world = World::running("fake.node \"a\" { value = 0 }\n fake.node \"b\" { value = fake.node.a.out }").await;
    world.stage.see("run fake.node.a").await;
    for value in 1..=1000 {
        world.stage.cue("fake.node.a", number(value));
    }
    world.stage.see("update fake.node.b 1000 0").await;
}

#[tokio::test]
async fn the_sides_of_a_diamond_meet_again() {
    let world = World::running(
        r#"
        fake.node "top" { value = 1 }
        fake.node "left" { value = fake.node.top.out * 10 }
        fake.node "right" { value = fake.node.top.out * 100 }
        fake.node "bottom" { value = fake.node.left.out + fake.node.right.out }"#,
    )
    .await;
    world.stage.see("run fake.node.bottom").await;
    world.stage.cue("fake.node.top", number(2));
    world.stage.see("update fake.node.bottom 220 0").await;
}

#[tokio::test]
async fn an_error_keeps_the_last_good_arguments_until_it_is_mended() {
    let world = World::running("fake.node \"a\" { value = 1 }\n fake.node \"b\" { count = fake.node.a.out }").await;
    world.stage.see("run fake.node.b").await;
    world.stage.forget();
    world.stage.cue("fake.node.a", Cue::Export("many".to_value()));
    let message = world.health_becomes("fake.node.b", "unhealthy").await;
    assert!(message.starts_with("component evaluation failed: test.alloy:2:26: fake.node.a.out "), "{message}");
    let arguments = world.controller.component("fake.node.b").await.unwrap().arguments;
    assert_eq!(arguments[0].to_string(), "count = 1\n");
    assert_eq!(world.stage.script(), [""; 0]);
    world.stage.cue("fake.node.a", number(2));
    world.stage.see("update fake.node.b null 2").await;
    world.health_becomes("fake.node.b", "healthy").await;
}

#[tokio::test]
async fn a_mended_error_with_the_old_arguments_is_healthy_without_update() {
    let world = World::running("fake.node \"a\" { value = 1 }\n fake.node \"b\" { count = fake.node.a.out }").await;
    world.stage.see("run fake.node.b").await;
    world.stage.forget();
    world.stage.cue("fake.node.a", Cue::Export("many".to_value()));
    world.health_becomes("fake.node.b", "unhealthy").await;
    world.stage.cue("fake.node.a", number(1));
    world.health_becomes("fake.node.b", "healthy").await;
    assert_eq!(world.stage.script(), [""; 0]);
}

#[tokio::test]
async fn what_could_not_be_built_is_tried_again_when_its_inputs_change() {
    let world = World::running("fake.node \"a\" { value = \"no\" }").await;
    let config = r#"
        fake.node "a" { value = "no" }
        fake.node "b" { build_error = fake.node.a.out }
        fake.node "c" { value = fake.node.b.out }"#;
    world.load(config).await.unwrap_err();
    world.stage.see("run fake.node.a").await;
    world.stage.forget();
    world.stage.cue("fake.node.a", Cue::Export("still no".to_value()));
    world.stage.cue("fake.node.a", Cue::Export("".to_value()));
    world.stage.see("run fake.node.c").await;
    assert_eq!(world.stage.only(&["build"]), ["build fake.node.b", "build fake.node.c"]);
    assert_eq!(world.stage.only(&["run"]), ["run fake.node.b", "run fake.node.c"]);
    assert_eq!(world.health("fake.node.b").0, "healthy");
    assert_eq!(world.health("fake.node.c").0, "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_evaluation_delays_nobody_else() {
    let world = World::running("fake.node \"switch\" { value = \"no\" }\n fake.node \"a\" { value = 0 }").await;
    let config = r#"
        fake.node "switch" { value = "no" }
        fake.node "slow" {
            build_error  = fake.node.switch.out
            build_blocks = fake.node.switch.out == ""
        }
        fake.node "a" { value = 0 }
        fake.node "b" { value = fake.node.a.out }"#;
    world.load(config).await.unwrap_err();
    world.stage.see("run fake.node.b").await;
    world.stage.cue("fake.node.switch", Cue::Export("".to_value()));
    world.stage.see("building fake.node.slow").await;
    world.stage.cue("fake.node.a", number(1));
    world.stage.see("update fake.node.b 1 0").await;
    world.stage.let_builds_go_on();
    world.stage.see("run fake.node.slow").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluations_of_one_component_do_not_overtake_each_other() {
    let config = r#"
        fake.node "switch" { value = "no" }
        fake.node "a" { value = 0 }
        fake.node "slow" {
            value        = fake.node.a.out
            build_error  = fake.node.switch.out
            build_blocks = fake.node.switch.out == ""
        }
        fake.node "b" { value = fake.node.a.out }"#;
    let world = World::running("").await;
    world.load(config).await.unwrap_err();
    world.stage.see("run fake.node.b").await;
    world.stage.cue("fake.node.switch", Cue::Export("".to_value()));
    world.stage.see("building fake.node.slow").await;
    world.stage.cue("fake.node.a", number(1));
    world.stage.see("update fake.node.b 1 0").await;
    world.stage.let_builds_go_on();
    world.stage.see("update fake.node.slow 1 0").await;
    assert_eq!(world.stage.only(&["building"]).len(), 1);
}

#[tokio::test]
async fn exports_of_what_exited_can_still_be_read() {
    let world = World::running("fake.node \"a\" { value = 1 }").await;
    world.stage.see("run fake.node.a").await;
    world.stage.cue("fake.node.a", number(5));
    world.stage.cue("fake.node.a", Cue::Return(Ok(())));
    world.health_becomes("fake.node.a", "exited").await;
    let exports = world.controller.component("fake.node.a").await.unwrap().exports;
    assert_eq!(exports[0].to_string(), "out = 5\n");
}

#[tokio::test]
async fn what_exited_comes_back_when_its_arguments_change_and_only_then() {
    let world = World::running(
        r#"
        fake.node "a" { value = 0 }
        fake.node "b" { value = fake.node.a.out > 0 }
        fake.node "c" { value = fake.node.a.out }"#,
    )
    .await;
    world.stage.see("run fake.node.c").await;
    world.stage.cue("fake.node.b", Cue::Panic("first"));
    world.health_becomes("fake.node.b", "exited").await;
    world.stage.forget();
    world.stage.cue("fake.node.a", number(-1));
    world.stage.see("update fake.node.c -1 0").await;
    assert_eq!(world.health("fake.node.b").0, "exited");
    world.stage.cue("fake.node.a", number(1));
    world.stage.see("run fake.node.b").await;
    assert_eq!(world.stage.only(&["build"]), ["build fake.node.b"]);
    assert_eq!(world.health("fake.node.b").0, "healthy");
}

#[tokio::test]
async fn any_value_passes_through() {
    let world = World::running("fake.node \"a\" { }\n fake.node \"b\" { value = fake.node.a.out }").await;
    world.stage.see("run fake.node.a").await;
    world.stage.cue("fake.node.a", Cue::Export(Value::array(vec!["x".to_value(), Value::Null])));
    world.stage.see("update fake.node.b [\"x\", null] 0").await;
}
