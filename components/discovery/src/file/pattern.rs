//! Paths of which the last element may hold wildcards.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// A configured path.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    folder: PathBuf,
    name: Name,
}

#[derive(Clone, Debug)]
enum Name {
    Literal(String),
    Wildcard(GlobMatcher),
}

/// What Prometheus takes, in lower or upper case but not mixed.
const EXTENSIONS: [&str; 6] = ["json", "yml", "yaml", "JSON", "YML", "YAML"];

impl Pattern {
    /// Reads a path; refuses those that Prometheus refuses: another extension, or `*` before the last element.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let invalid = || format!("path name {text:?} is not valid for file discovery");
        let path = Path::new(text);
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(invalid)?;
        let (stem, extension) = name.rsplit_once('.').ok_or_else(invalid)?;
        let folder = watch::folder_of(path);
        if !EXTENSIONS.contains(&extension) || stem.matches('*').count() > 1 || folder.to_string_lossy().contains('*') {
            return Err(invalid());
        }
        let name = if name.contains(['*', '?', '[', '\\']) {
            Name::Wildcard(glob(name).map_err(|_| invalid())?)
        } else {
            Name::Literal(name.to_owned())
        };
        Ok(Self { text: text.to_owned(), folder, name })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where matching files lie.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files that match now, in the order of their names, spelled as the pattern is. A folder that is not there holds none.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, String> {
        let spelled = |name: &str| Path::new(&self.text).with_file_name(name);
        let matcher = match &self.name {
            // A dangling link exists too: reading it says what is wrong.
            Name::Literal(name) => {
                let path = spelled(name);
                return Ok(if std::fs::symlink_metadata(&path).is_ok() { vec![path] } else { Vec::new() });
            }
            Name::Wildcard(matcher) => matcher,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot list {}: {error}", self.folder.display())),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut found: Vec<PathBuf> = names.filter(|name| matcher.is_match(name)).map(|name| spelled(&name)).collect();
        found.sort_unstable();
        Ok(found)
    }
}

/// Braces mean nothing in Go's patterns.
fn glob(name: &str) -> Result<GlobMatcher, globset::Error> {
    let escaped: String = name.chars().map(|c| if matches!(c, '{' | '}') { format!("[{c}]") } else { c.to_string() }).collect();
    Ok(GlobBuilder::new(&escaped).literal_separator(true).backslash_escape(true).build()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_prometheus_takes() {
        for taken in ["a.json", "/x/y.yml", "/x/*.yaml", "x-*-y.YML", "./*.json", "/x/a?.json", "/x/[ab].json", "/x.y/a.b.json"] {
            assert!(Pattern::new(taken).is_ok(), "{taken}");
        }
        for refused in ["", "a", "a.txt", "/x/", "a.Json", "/*/a.json", "*/a.json", "a*b*.json", "/x/[a.json", "json"] {
            assert_eq!(Pattern::new(refused).unwrap_err(), format!("path name {refused:?} is not valid for file discovery"));
        }
    }

    #[test]
    fn matching_files_are_found_in_order_with_the_patterns_spelling() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a.json", ".hidden.json", "c.yml", "{x}.json", "ab.json"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = |name: &str| {
            let pattern = Pattern::new(&format!("{}/./{name}", folder.path().display())).unwrap();
            let files = pattern.files().unwrap();
            assert!(files.iter().all(|file| file.starts_with(folder.path())));
            files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("*.json"), [".hidden.json", "a.json", "ab.json", "b.json", "{x}.json"]);
        assert_eq!(found("[ab].json"), ["a.json", "b.json"]);
        assert_eq!(found("a?.json"), ["ab.json"]);
        assert_eq!(found("{x}*.json"), ["{x}.json"]);
        assert_eq!(found("c.yml"), ["c.yml"]);
        assert!(found("d.yml").is_empty());
        assert!(Pattern::new("/no/such/folder/*.json").unwrap().files().unwrap().is_empty());
    }
}
