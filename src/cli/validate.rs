//! `collector validate`: everything that can be said of a configuration without building its components.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use syntax::Stability;

use super::run::colour;
use crate::registry;

#[derive(Args)]
pub struct Validate {
    /// Lowest stability of components that may be used
    #[arg(long = "stability.level", env = "COLLECTOR_STABILITY_LEVEL", default_value = "generally-available", value_name = "LEVEL")]
    stability_level: Stability,
    /// File, or folder whose *.alloy files are one configuration
    #[arg(value_name = "FILE|DIR")]
    config: PathBuf,
}

impl Validate {
    pub fn execute(self) -> Result<ExitCode> {
        let source = runtime::Source::read(&self.config)?;
        let diagnostics = runtime::validate(&source, registry::FAMILIES, self.stability_level, super::VERSION);
        if !diagnostics.is_empty() {
            eprintln!("{}", diagnostics.render(source.texts(), colour()));
        }
        if !diagnostics.has_errors() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("Error: validation failed");
        Ok(ExitCode::FAILURE)
    }
}
