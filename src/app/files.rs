//! How many files the process may have open: connections, targets and receivers are files too. Most systems allow 1,024 and let a
//! process that needs more say so.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one, as programs in Go do by themselves. What can't be raised stays as it is.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}
