//! Where a configuration comes from: a file, a directory whose `*.alloy` files are one unit, or a text. Reading checks size and
//! encoding; parsing belongs to [`crate::plan`], noticing changes to [`crate::watching`].

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use syntax::{Diagnostics, MAX_SOURCE_BYTES, Sources, source_from_bytes};

/// How many files of a directory are read at most: far above any configuration, so that pointing at a wrong directory fails quickly.
const MAX_FILES: usize = 4096;
/// Ending of the files of a directory that belong to the configuration.
const ENDING: &str = "alloy";

/// A configuration as it was read, and where it can be read again.
#[derive(Clone, Debug)]
pub struct Source {
    origin: Origin,
    /// File names as diagnostics show them, in the order in which the files make up the unit.
    names: Vec<String>,
    texts: Sources,
    hash: String,
}

#[derive(Clone, Debug)]
enum Origin {
    /// Nothing to read again: a text, or what came through a pipe.
    Once,
    File(PathBuf),
    Directory(PathBuf),
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system refuses.
    #[error("could not read the configuration {}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// A directory without anything to load.
    #[error("the directory {} holds no *.alloy files; name a file, or a directory that holds some", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory with too many files.
    #[error("the directory {} holds more than {MAX_FILES} *.alloy files", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// More text than is read.
    #[error("the configuration {} is larger than {MAX_SOURCE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("{0}")]
    Encoding(Diagnostics),
}

impl Source {
    /// Reads a file, or the `*.alloy` files at the top of a directory, sorted by name, as one unit. What is no regular file (a pipe) is
    /// read once and kept. Blocks the thread.
    ///
    /// # Errors
    /// It can't be read, is too large or not UTF-8, or a directory holds nothing to load.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let kind = fs::metadata(path).map_err(|error| io_error(path, error))?.file_type();
        let files = if kind.is_dir() { files_of(path)? } else { vec![path.to_owned()] };
        let mut left = MAX_SOURCE_BYTES;
        let mut texts = Vec::with_capacity(files.len());
        for file in files {
            let text = read_file(&file, left)?.ok_or_else(|| SourceError::TooLarge { path: path.to_owned() })?;
            left -= text.len();
            texts.push((file.display().to_string(), text));
        }
        let origin = match kind {
            directory if directory.is_dir() => Origin::Directory(path.to_owned()),
            file if file.is_file() => Origin::File(path.to_owned()),
            _ => Origin::Once,
        };
        Ok(Self::new(origin, texts))
    }

    /// A text with the name that diagnostics show. Reading it again yields the same.
    #[must_use]
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Origin::Once, vec![(name.into(), text.into())])
    }

    fn new(origin: Origin, texts: Vec<(String, String)>) -> Self {
        let hash = hash(&texts);
        let names = texts.iter().map(|(name, _)| name.clone()).collect();
        Self { origin, names, texts: texts.into_iter().collect(), hash }
    }

    /// Reads the same place again. Blocks the thread.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_again(&self) -> Result<Self, SourceError> {
        self.path().map_or_else(|| Ok(self.clone()), Self::read)
    }

    /// The file or directory; none for a text or a pipe.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::Once => None,
            Origin::File(path) | Origin::Directory(path) => Some(path),
        }
    }

    /// The directory that the configuration lies in, for the variable `module_path`; `.` for a text or a pipe.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let directory = match &self.origin {
            Origin::Directory(path) => Some(path.as_path()),
            Origin::File(path) => path.parent(),
            Origin::Once => None,
        };
        directory.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The texts by file name, for drawing excerpts.
    #[must_use]
    pub const fn texts(&self) -> &Sources {
        &self.texts
    }

    /// SHA-256 in hexadecimal: of a single file's text, or of all names and texts.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Names and texts in the order of the unit.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().filter_map(|name| Some((name.as_str(), self.texts.get(name)?)))
    }
}

fn io_error(path: &Path, error: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), error }
}

/// The configuration's files in a directory, sorted. Hidden ones are left out: Kubernetes and editors keep theirs there.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| io_error(directory, error))? {
        let path = entry.map_err(|error| io_error(directory, error))?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        // `is_file` follows symbolic links, as the files of a ConfigMap are.
        if !hidden && path.extension().is_some_and(|ending| ending == ENDING) && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(SourceError::TooMany { path: directory.to_owned() });
        }
    }
    if files.is_empty() {
        return Err(SourceError::Empty { path: directory.to_owned() });
    }
    files.sort();
    Ok(files)
}

/// A file's text; none if it has more than `limit` bytes.
fn read_file(path: &Path, limit: usize) -> Result<Option<String>, SourceError> {
    let file = fs::File::open(path).map_err(|error| io_error(path, error))?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| io_error(path, error))?;
    if bytes.len() > limit {
        return Ok(None);
    }
    let text = source_from_bytes(&path.display().to_string(), &bytes).map_err(SourceError::Encoding)?;
    Ok(Some(text.to_owned()))
}

fn hash(texts: &[(String, String)]) -> String {
    let mut hasher = Sha256::new();
    match texts {
        // As `sha256sum` has it, so that people can compare.
        [(_, text)] => hasher.update(text),
        many => {
            for (name, text) in many {
                // Lengths keep ("ab", "c") and ("a", "bc") apart.
                hasher.update((name.len() as u64).to_be_bytes());
                hasher.update(name);
                hasher.update((text.len() as u64).to_be_bytes());
                hasher.update(text);
            }
        }
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &Source) -> Vec<String> {
        source.files().map(|(name, _)| Path::new(name).file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_read_and_hashed_like_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.alloy");
        fs::write(&path, "abc").unwrap();
        let source = Source::read(&path).unwrap();
        assert_eq!(source.hash(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(source.texts().get(&path.display().to_string()), Some("abc"));
        assert_eq!(source.directory(), dir.path());
    }

    #[test]
    fn a_directory_is_its_alloy_files_sorted_without_hidden_and_nested_ones() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.alloy", "a.alloy", ".hidden.alloy", "notes.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::create_dir(dir.path().join("sub.alloy")).unwrap();
        let source = Source::read(dir.path()).unwrap();
        assert_eq!(names(&source), ["a.alloy", "b.alloy"]);
        assert_eq!(source.directory(), dir.path());
    }

    #[test]
    fn an_empty_directory_and_a_missing_file_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let empty = Source::read(dir.path()).unwrap_err().to_string();
        assert!(empty.contains("holds no *.alloy files") && empty.contains(&dir.path().display().to_string()), "{empty}");
        let missing = Source::read(&dir.path().join("gone.alloy")).unwrap_err().to_string();
        assert!(missing.contains("gone.alloy") && missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn other_encodings_are_refused_with_file_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.alloy");
        fs::write(&path, b"\xff\xfea\0").unwrap();
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.contains("c.alloy") && error.contains("UTF-16"), "{error}");
        fs::write(&path, b"a = \"\xc3\x28\"").unwrap();
        let error = Source::read(&path).unwrap_err().to_string();
        assert!(error.contains("c.alloy:1:6"), "{error}");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused_before_it_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big.alloy");
        fs::File::create(&path).unwrap().set_len(MAX_SOURCE_BYTES as u64 * 1000).unwrap();
        let error = Source::read(&path).unwrap_err();
        assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn the_hash_of_a_directory_tells_names_and_texts_apart() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_ne!(hash(&[pair("a", "x"), pair("b", "")]), hash(&[pair("a", ""), pair("b", "x")]));
        assert_ne!(hash(&[pair("a", "bc"), pair("d", "")]), hash(&[pair("ab", "c"), pair("d", "")]));
    }

    #[test]
    fn reading_again_sees_the_new_text_of_a_file_and_the_old_of_a_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.alloy");
        fs::write(&path, "a").unwrap();
        let source = Source::read(&path).unwrap();
        fs::write(&path, "b").unwrap();
        assert_ne!(source.read_again().unwrap().hash(), source.hash());
        let text = Source::text("t", "a");
        assert_eq!(text.read_again().unwrap().hash(), text.hash());
    }
}
