//! The family `discovery.*`: where targets come from. Each component is a file or folder and one line in [`COMPONENTS`]. A component that
//! asks somebody at intervals is a [`shape::Discovery`]: arguments plus one `refresh`.

pub mod dns;
pub mod file;
mod groups;
pub mod http;
mod metrics;
pub mod relabel;
pub mod shape;

use component::Registration;

/// The components of this family.
pub static COMPONENTS: &[Registration] = &[
    Registration::of::<shape::Discoverer<dns::Dns>>(),
    Registration::of::<shape::Discoverer<file::Files>>(),
    Registration::of::<shape::Discoverer<http::Http>>(),
    Registration::of::<relabel::Relabel>(),
];
