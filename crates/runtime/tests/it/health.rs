//! How components are.

use crate::support::{Cue, World};

const ONE: &str = "fake.node \"a\" { }";

async fn running() -> World {
    let world = World::running(ONE).await;
    world.stage.see("run fake.node.a").await;
    world
}

#[tokio::test]
async fn a_running_component_is_what_it_says_of_itself() {
    let world = running().await;
    assert_eq!(world.health("fake.node.a").0, "healthy");
    world.stage.cue("fake.node.a", Cue::Unhealthy("the receiver refuses"));
    assert_eq!(world.health_becomes("fake.node.a", "unhealthy").await, "the receiver refuses");
    assert_eq!(world.controller.unhealthy(), ["fake.node.a"]);
    world.stage.cue("fake.node.a", Cue::Healthy("writes again"));
    assert_eq!(world.health_becomes("fake.node.a", "healthy").await, "writes again");
    assert!(world.controller.unhealthy().is_empty());
}

#[tokio::test]
async fn a_component_that_says_nothing_is_unknown() {
    let world = World::running("other.kind.deep \"a\" { }").await;
    assert_eq!(world.health("other.kind.deep.a"), ("unknown", "component created".to_owned()));
}

#[tokio::test]
async fn returning_is_shown_as_exited_and_no_more_as_unhealthy() {
    let world = running().await;
    world.stage.cue("fake.node.a", Cue::Unhealthy("bad"));
    world.stage.cue("fake.node.a", Cue::Return(Ok(())));
    assert_eq!(world.health_becomes("fake.node.a", "exited").await, "component shut down cleanly");
    assert!(world.controller.unhealthy().is_empty());
}

#[tokio::test]
async fn returning_an_error_is_shown_with_it() {
    let world = running().await;
    world.stage.cue("fake.node.a", Cue::Return(Err("address in use")));
    assert_eq!(world.health_becomes("fake.node.a", "exited").await, "component shut down with error: address in use");
}

#[tokio::test]
async fn a_panic_ends_that_component_alone() {
    let world = World::running("fake.node \"a\" { }\n fake.node \"b\" { }").await;
    world.stage.see("run fake.node.b").await;
    world.stage.cue("fake.node.a", Cue::Panic("index out of bounds"));
    let message = world.health_becomes("fake.node.a", "exited").await;
    assert_eq!(message, "component shut down with error: panicked: index out of bounds");
    assert_eq!(world.health("fake.node.b").0, "healthy");
    world.load("fake.node \"b\" { value = 1 }").await.unwrap();
    world.stage.see("update fake.node.b 1 0").await;
}

#[tokio::test]
async fn an_evaluation_error_is_worse_than_what_the_component_says() {
    let world = running().await;
    world.load("fake.node \"a\" { count = fake.node.words.out }\nfake.node \"words\" { value = \"many\" }").await.unwrap_err();
    assert_eq!(world.health("fake.node.a").0, "unhealthy");
    world.stage.cue("fake.node.a", Cue::Healthy("never better"));
    world.stage.cue("fake.node.a", Cue::Return(Ok(())));
    world.health_becomes("fake.node.a", "exited").await;
}
