//! The family `prometheus.*`. Each component is a file or folder and one line in [`COMPONENTS`]; the engines behind them are the crates
//! `scrape` and `delivery`.

pub mod echo;
pub mod enrich;
mod exporter;
pub mod exporter_self;
pub mod exporter_static;
pub mod receive_http;
pub mod relabel;
pub mod remote_write;
pub mod scrape;
mod targets;

use component::Registration;

pub use exporter_self::SelfMetrics;
pub use scrape::ScrapeLimits;
pub use targets::{PoolTargets, TargetBoard, TargetSource};

/// The components of this family.
pub static COMPONENTS: &[Registration] = &[
    Registration::of::<echo::Echo>(),
    Registration::of::<enrich::Enrich>(),
    Registration::of::<exporter_self::ExporterSelf>(),
    Registration::of::<exporter_static::ExporterStatic>(),
    Registration::of::<receive_http::ReceiveHttp>(),
    Registration::of::<relabel::Relabel>(),
    Registration::of::<remote_write::RemoteWrite>(),
    Registration::of::<scrape::Scrape>(),
];
