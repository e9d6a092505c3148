//! The family `local.*`: what lies on this machine. Each component is a file and one line in [`COMPONENTS`].

pub mod file;

use component::Registration;

/// The components of this family.
pub static COMPONENTS: &[Registration] = &[Registration::of::<file::LocalFile>()];
