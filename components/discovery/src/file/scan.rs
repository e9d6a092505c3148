//! Reads the files of several patterns. Blocks: files may lie on a network.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use component::Target;

use super::pattern::Pattern;
use crate::groups;

/// The largest file that is read: about half a million targets.
const MAX_FILE: u64 = 64 << 20;

/// What the patterns match now.
pub(super) struct Found {
    /// Each file with its content, or why it can't be read.
    pub(super) files: Vec<(PathBuf, Result<Content, String>)>,
    /// Folders that could not be listed.
    pub(super) problems: Vec<String>,
    /// Patterns that match nothing.
    pub(super) missing: Vec<String>,
}

pub(super) struct Content {
    pub(super) targets: Vec<Target>,
    pub(super) modified: Option<SystemTime>,
}

pub(super) fn scan(patterns: &[Pattern]) -> Found {
    let (mut paths, mut problems, mut missing) = (BTreeSet::new(), Vec::new(), Vec::new());
    for pattern in patterns {
        match pattern.files() {
            Ok(files) if files.is_empty() => missing.push(pattern.text().to_owned()),
            Ok(files) => paths.extend(files),
            Err(error) => problems.push(error),
        }
    }
    let files = paths.into_iter().map(|path| (path.clone(), read(&path).map_err(|error| format!("{}: {error}", path.display()))));
    Found { files: files.collect(), problems, missing }
}

fn read(path: &Path) -> Result<Content, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut text = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    let name = path.to_string_lossy();
    let meta = ("__meta_filepath", &*name);
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let targets = if is_json {
        groups::from_json(&text, meta)?
    } else {
        groups::from_yaml(std::str::from_utf8(&text).map_err(|_| "is not UTF-8 text")?, meta)?
    };
    Ok(Content { targets, modified })
}
