//! Runs a component of the family outside of any runtime, and servers that it can ask.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses its part

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use component::{Host, InstanceControl, Registration, RunError, Services, Stop, Target};
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use syntax::{FromValue, Scope, Value};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Far more than anything here takes.
const SOON: Duration = Duration::from_secs(60);

/// A running component.
pub struct Running {
    pub exports: Value,
    registration: &'static Registration,
    control: InstanceControl,
    changed: mpsc::UnboundedReceiver<Value>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Running {
    /// Builds and runs the component `name` with the arguments in `body`.
    pub fn start(name: &str, body: &str) -> Result<Self, String> {
        let registration = discovery_components::COMPONENTS.iter().find(|registration| registration.name == name).unwrap();
        let (sender, changed) = mpsc::unbounded_channel();
        let host = Host {
            id: format!("{name}.test").into(),
            module_path: "/".into(),
            local_id: format!("{name}.test"),
            data_path: std::env::temp_dir(),
            services: Services::default(),
            on_export: Arc::new(move |value| drop(sender.send(value))),
        };
        let arguments = decode(registration, body)?;
        let instance = registration.build(&arguments, host).map_err(|error| error.to_string())?;
        Ok(Self { exports: instance.exports, registration, control: instance.control, changed, task: tokio::spawn(instance.run) })
    }

    pub fn update(&self, body: &str) {
        assert!(self.control.update(decode(self.registration, body).unwrap()));
    }

    /// The next exports that differ from the last.
    pub async fn next(&mut self) -> Value {
        self.exports = tokio::time::timeout(SOON, self.changed.recv()).await.expect("no new exports").unwrap();
        self.exports.clone()
    }

    /// The targets in the next exports, as text.
    pub async fn next_targets(&mut self) -> Vec<String> {
        self.next().await;
        self.targets("targets")
    }

    /// Exported targets, as text.
    pub fn targets(&self, field: &str) -> Vec<String> {
        let value = self.exports.to_object().unwrap().get(field).unwrap().clone();
        Vec::<Target>::from_value(&value).unwrap().iter().map(|target| target.0.to_string()).collect()
    }

    /// Waits until the health is as wanted: `unhealthy: no answer`. Health can only be looked at.
    pub async fn until(&self, state: &str, part: &str) -> String {
        let wait = async {
            loop {
                let health = self.control.health();
                if health.state.as_str() == state && health.message.contains(part) {
                    return health.message;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{state} {part:?} awaited: {:?}", self.control.health()))
    }

    pub async fn debug_info(&self) -> String {
        format!("{:?}", self.control.debug_info().await)
    }

    /// The component's metrics in text format.
    pub fn metrics(&self) -> String {
        prometheus::TextEncoder::new().encode_to_string(&self.control.registry().gather()).unwrap()
    }

    /// Whether no exports came that were not looked at.
    pub fn is_quiet(&mut self) -> bool {
        self.changed.try_recv().is_err()
    }

    pub async fn stop(self) {
        self.control.stop(Stop::Removed);
        tokio::time::timeout(SOON, self.task).await.expect("did not stop").unwrap().unwrap();
    }
}

fn decode(registration: &Registration, body: &str) -> Result<Arc<dyn component::ErasedArguments>, String> {
    let (file, diagnostics) = syntax::parse("test", &format!("{} \"test\" {{\n{body}\n}}", registration.name));
    assert!(!diagnostics.has_errors(), "{diagnostics}");
    registration.decode(file.body.blocks().next().unwrap(), &Scope::new()).map_err(|error| error.to_string())
}

pub type Answer = Response<Full<Bytes>>;

/// An HTTP server that keeps the headers of each request.
pub struct Server {
    pub url: String,
    pub asked: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Server {
    /// `answer` gets the number of the request, from 0; `None` never answers.
    pub async fn start(answer: impl Fn(usize) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sd", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
        let (seen, answer) = (asked.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let number = seen.lock().len();
                    seen.lock().push(request.headers().clone());
                    let answer = answer(number);
                    async move {
                        match answer {
                            Some(answer) => Ok::<_, Infallible>(answer),
                            None => std::future::pending().await,
                        }
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { url, asked }
    }
}

/// A JSON answer.
pub fn json(body: &str) -> Answer {
    Response::builder().header("content-type", "application/json").body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}
