//! The fake components: `fake.node`, which can do everything, and one per stability.

use std::sync::Arc;

use bytes::Bytes;
use component::{
    BuildError, Component, ComponentHttp, Context, Event, HttpReply, HttpRequest, MetricsReceiver, NoExports, Registration, RunError, Setup,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::Gauge;
use syntax::{Block, Secret, Stability, Value};
use tokio::sync::mpsc;

use super::stage::{Cue, Stage};

pub static COMPONENTS: &[Registration] =
    &[Registration::of::<Node>(), Registration::of::<Experimental>(), Registration::of::<Other>(), Registration::of::<Shadowing>()];

/// Passes `value` on as `out`, refers to whatever stands in `inputs`, and misbehaves on demand.
pub struct Node {
    arguments: Arguments,
    stage: Arc<Stage>,
    cues: mpsc::UnboundedReceiver<Cue>,
    receiver: MetricsReceiver,
}

#[derive(Clone, Debug, PartialEq, Block)]
pub struct Arguments {
    /// Exported as `out`.
    value: Value,
    /// References.
    inputs: Vec<Value>,
    /// Receivers, as `forward_to` has them.
    forward_to: Vec<MetricsReceiver>,
    /// A typed attribute.
    count: i64,
    /// Never shown.
    password: Secret,
    /// The build fails with this message.
    build_error: String,
    /// The build panics with this message.
    build_panic: String,
    /// The build waits until the test lets it.
    build_blocks: bool,
    /// Answers HTTP requests.
    serve: bool,
    /// Holds nothing any more once it is told to stop.
    lets_go: bool,
}

#[derive(Clone, Debug, PartialEq, Block)]
pub struct Exports {
    out: Value,
    #[syntax(attr, required)]
    receiver: MetricsReceiver,
}

impl Component for Node {
    const NAME: &'static str = "fake.node";
    type Arguments = Arguments;
    type Exports = Exports;

    fn build(arguments: Arguments, setup: &Setup) -> Result<(Self, Exports), BuildError> {
        let stage = setup.services().get::<Stage>().unwrap();
        // Building happens inside the data runtime.
        tokio::runtime::Handle::try_current().map_err(BuildError::new)?;
        if arguments.build_blocks {
            stage.write(format!("building {}", setup.id()));
            stage.wait_for_builds();
        }
        if !arguments.build_error.is_empty() {
            return Err(BuildError::new(&arguments.build_error));
        }
        assert!(arguments.build_panic.is_empty(), "{}", arguments.build_panic);
        stage.write(format!("build {}", setup.id()));
        let built = Gauge::new("fake_built", "A fake was built.").unwrap();
        built.set(1.0);
        setup.registry().register(Box::new(built)).unwrap();
        if arguments.serve {
            setup.serve(Arc::new(Echo(setup.id().to_owned())));
        }
        setup.health().healthy("fine");
        let receiver = MetricsReceiver::new(setup.id());
        let exports = Exports { out: arguments.value.clone(), receiver: receiver.clone() };
        let cues = stage.enter(setup.id());
        Ok((Self { arguments, stage, cues, receiver }, exports))
    }

    async fn run(mut self, mut context: Context<Self>) -> Result<(), RunError> {
        let id = context.setup().id().to_owned();
        self.stage.write(format!("run {id}"));
        loop {
            tokio::select! {
                event = context.next() => match event {
                    Event::Update(arguments) => {
                        self.stage.write(format!("update {id} {} {}", arguments.value, arguments.count));
                        self.arguments = arguments;
                        self.export(&mut context, self.arguments.value.clone());
                    }
                    Event::Debug(reply) => reply.send(&DebugInfo { value: self.arguments.value.clone() }),
                    Event::Stop(reason) => {
                        self.stage.write(format!("stop {id} {reason:?}"));
                        if self.arguments.lets_go {
                            context.setup().let_go();
                        }
                        self.stage.until_released(&id).await;
                        self.stage.write(format!("end {id}"));
                        return Ok(());
                    }
                },
                Some(cue) = self.cues.recv() => match cue {
                    Cue::Export(value) => self.export(&mut context, value),
                    Cue::Healthy(message) => context.health().healthy(message),
                    Cue::Unhealthy(message) => context.health().unhealthy(message),
                    Cue::Return(result) => return result.map_err(RunError::new),
                    Cue::Panic(message) => panic!("{message}"),
                    Cue::Haunt(value) => {
                        tokio::spawn(async move {
                            self.stage.until_released(&id).await;
                            self.export(&mut context, value);
                            self.stage.write(format!("haunted {id}"));
                        });
                        return Ok(());
                    }
                },
            }
        }
    }
}

impl Node {
    fn export(&self, context: &mut Context<Self>, out: Value) {
        context.export(Exports { out, receiver: self.receiver.clone() });
    }
}

#[derive(Clone, Debug, PartialEq, Block)]
struct DebugInfo {
    value: Value,
}

/// Answers with who was asked for what.
struct Echo(String);

impl ComponentHttp for Echo {
    fn call(&self, request: HttpRequest) -> BoxFuture<'static, HttpReply> {
        let body = format!("{} {}", self.0, request.uri().path());
        async move { http::Response::new(Bytes::from(body)) }.boxed()
    }
}

/// A component that only waits for its stop.
macro_rules! waiting {
    ($type:ident, $name:literal, $stability:expr) => {
        pub struct $type;

        impl Component for $type {
            const NAME: &'static str = $name;
            const STABILITY: Stability = $stability;
            type Arguments = NoExports;
            type Exports = NoExports;

            fn build(_: NoExports, _: &Setup) -> Result<(Self, NoExports), BuildError> {
                Ok((Self, NoExports {}))
            }

            async fn run(self, mut context: Context<Self>) -> Result<(), RunError> {
                context.stopped().await;
                Ok(())
            }
        }
    };
}

waiting!(Experimental, "fake.experimental", Stability::Experimental);
waiting!(Other, "other.kind.deep", Stability::GenerallyAvailable);
waiting!(Shadowing, "string.fake", Stability::GenerallyAvailable);
