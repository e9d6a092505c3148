//! `cargo xtask test`: the whole test suite with everything that it needs. No test is skipped because something is missing: what is
//! missing is brought, or the run fails.

use anyhow::Result;

use crate::{debian, run};

/// Where the end-to-end tests find Debian's programs.
const DEBIAN_ROOT: &str = "COLLECTOR_TEST_DEBIAN_ROOT";

/// Runs `cargo test --workspace` with `arguments` behind it.
///
/// # Errors
/// A package can't be brought, or a test fails.
pub fn run(arguments: &[String]) -> Result<()> {
    let root = debian::fetch(&debian::TEST_PACKAGES)?;
    run::succeed(run::cargo().args(["test", "--workspace"]).args(arguments).env(DEBIAN_ROOT, root))
}
