//! Debian packages that tests and benchmarks run, unpacked under `target/debian` without root: apt keeps its state there too, so nothing
//! on the machine changes and no service is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::run;

/// What the test suite needs.
pub const TEST_PACKAGES: [&str; 3] = ["prometheus", "prometheus-node-exporter", "libfaketime"];

/// Downloads and unpacks packages; those that are there already are left as they are. Returns the root that they were unpacked into.
///
/// # Errors
/// The machine has no apt or dpkg, the archive can't be reached, or it has no such package.
pub fn fetch(packages: &[&str]) -> Result<PathBuf> {
    let root = run::target_dir().join("debian");
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !marker(&root, package).exists()).collect();
    if missing.is_empty() {
        return Ok(root);
    }
    let apt = Apt::new(&root.join("apt"))?;
    apt.update()?;
    for package in missing {
        eprintln!("bringing Debian's package {package}");
        unpack(&apt.download(package)?, &root)?;
        fs::write(marker(&root, package), "")?;
    }
    Ok(root)
}

fn marker(root: &Path, package: &str) -> PathBuf {
    root.join(format!(".{package}"))
}

fn unpack(package: &Path, root: &Path) -> Result<()> {
    run::succeed(Command::new("dpkg").arg("-x").arg(package).arg(root)).context("dpkg is needed to unpack Debian packages")
}

/// apt with a state of its own.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self> {
        for below in ["lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(folder.join(below))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        for (option, below) in [("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(below).display()));
        }
        // Root would drop to the user `_apt`, which can't write below target/.
        command.args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root", "-qq"]);
        command.current_dir(self.folder.join("packages"));
        command
    }

    fn update(&self) -> Result<()> {
        run::succeed(self.command().arg("update")).context("apt-get is needed to bring the tests' Debian packages")
    }

    fn download(&self, package: &str) -> Result<PathBuf> {
        run::succeed(self.command().args(["download", package]))?;
        let prefix = format!("{package}_");
        for entry in fs::read_dir(self.folder.join("packages"))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)) {
                return Ok(path);
            }
        }
        bail!("apt-get download {package} left no file in {}", self.folder.display())
    }
}
