//! `collector fmt`: the canonical form of a configuration.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use syntax::{Diagnostics, Sources};

#[derive(Args)]
pub struct Fmt {
    /// Write the result back into the file
    #[arg(short, long, conflicts_with = "test")]
    write: bool,
    /// Only tell whether the file is formatted: exit 1 if not
    #[arg(short, long)]
    test: bool,
    /// The file; `-` or nothing for standard input
    file: Option<PathBuf>,
}

impl Fmt {
    pub fn execute(self) -> Result<ExitCode> {
        let file = self.file.as_ref().filter(|file| file.as_os_str() != "-");
        let (name, source) = match file {
            Some(file) if file.is_dir() => bail!("{} is a folder; fmt takes one file", file.display()),
            Some(file) => {
                (file.display().to_string(), std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?)
            }
            None if self.write => bail!("-w needs a file to write to; standard input has none"),
            None => ("<stdin>".to_owned(), stdin()?),
        };
        let formatted = match syntax::format(&name, &source) {
            Ok(formatted) => formatted,
            Err(diagnostics) => return Ok(report(&diagnostics, &name, &source)),
        };
        if self.test {
            return Ok(if formatted == source { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match file {
            Some(_) if self.write && formatted == source => {}
            Some(file) if self.write => replace(file, &formatted)?,
            _ => std::io::stdout().write_all(formatted.as_bytes())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn stdin() -> Result<String> {
    let mut source = String::new();
    std::io::stdin().read_to_string(&mut source).context("can't read standard input")?;
    Ok(source)
}

/// Writes beside the file and renames, so that a full disk leaves the old one.
fn replace(file: &std::path::Path, text: &str) -> Result<()> {
    let beside = file.with_extension("alloy.tmp");
    let permissions = std::fs::metadata(file)?.permissions();
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, permissions))
        .and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside); // it may not even exist
    }
    written.with_context(|| format!("can't write {}", file.display()))
}

fn report(diagnostics: &Diagnostics, name: &str, source: &str) -> ExitCode {
    let mut sources = Sources::new();
    sources.insert(name, source);
    eprintln!("{}", diagnostics.render(&sources, super::run::colour()));
    ExitCode::FAILURE
}
