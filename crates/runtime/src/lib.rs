//! Runs a configuration: reads and checks it, builds the graph of components that it describes, evaluates their arguments in order of
//! their references and again whenever exports change, starts and stops them, and says how they are.
//!
//! The crate knows components only as [`component::Registration`]s. Listening for HTTP, signals and the command line belong to the
//! product, and so does applying the log's settings.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # async fn product(data: tokio::runtime::Handle) -> Result<(), Box<dyn std::error::Error>> {
//! static FAMILIES: &[&[component::Registration]] = &[];
//! let controller = runtime::Controller::start(runtime::Options {
//!     families: FAMILIES,
//!     stability: syntax::Stability::GenerallyAvailable,
//!     version: "1.0.0".to_owned(),
//!     storage: "data-alloy".into(),
//!     services: component::Services::default(),
//!     data,
//!     cluster_name: String::new(),
//!     removal_deadline: Duration::from_secs(600),
//!     on_logging: Arc::new(|logging| println!("{:?}", logging.level)),
//! })?;
//! let source = runtime::Source::read("config.alloy".as_ref())?;
//! if let Err(error) = controller.load(source.clone()).await {
//!     eprintln!("{}", error.render(false));
//!     return Err("could not perform the initial load successfully".into());
//! }
//! let watching = runtime::watch(&controller, &source);
//! // … until a signal comes:
//! let unfinished = controller.shutdown(Duration::from_secs(600)).await;
//! assert!(unfinished.is_empty());
//! # drop(watching);
//! # Ok(())
//! # }
//! ```

mod alloy;
mod catalog;
mod controller;
mod drain;
mod engine;
mod error;
mod evaluate;
mod graph;
mod info;
mod live;
mod metrics;
mod module;
mod plan;
mod setting;
mod source;
mod watching;

pub use catalog::Families;
pub use controller::{Controller, LoadReport, LoadStatus, Options};
pub use error::{Findings, LoadError};
pub use info::{ComponentDetail, ComponentInfo};
pub use plan::validate;
pub use setting::{LogFormat, LogLevel, LoggingConfig};
pub use source::{Source, SourceError};
pub use watching::watch;
