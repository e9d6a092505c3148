//! Files whose content is needed again and again and may be replaced at any time: read when their stamp has changed.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;
use syntax::Secret;

/// Secrets, certificates and keys are far smaller; anything larger is another file by mistake.
const MAX_FILE: u64 = 4 << 20;

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    /// A replaced file of the same size and age (Kubernetes swaps links) still has another number.
    number: u64,
}

impl Stamp {
    /// The present stamp; links are followed.
    pub(crate) fn of(path: &Path) -> Result<Self, String> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata)).map_err(|error| failed(path, &error))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let number = 0;
        Self { modified: metadata.modified().ok(), len: metadata.len(), number }
    }
}

/// Reads a whole file, up to 4 MiB.
pub(crate) fn read(path: &Path) -> Result<(Stamp, Vec<u8>), String> {
    let file = File::open(path).map_err(|error| failed(path, &error))?;
    let stamp = file.metadata().map(|metadata| Stamp::from(&metadata)).map_err(|error| failed(path, &error))?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|error| failed(path, &error))?;
    if content.len() as u64 > MAX_FILE {
        return Err(format!("{} is larger than {MAX_FILE} bytes", path.display()));
    }
    Ok((stamp, content))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// A secret in a file.
#[derive(Debug)]
pub(crate) struct SecretFile {
    path: PathBuf,
    known: Mutex<Option<(Stamp, Secret)>>,
}

impl SecretFile {
    pub(crate) fn new(path: &str) -> Self {
        Self { path: path.into(), known: Mutex::new(None) }
    }

    /// The content without surrounding white space. Costs a `stat` if the file has not changed.
    pub(crate) fn secret(&self) -> Result<Secret, String> {
        let stamp = Stamp::of(&self.path)?;
        let mut known = self.known.lock();
        if let Some((_, secret)) = known.as_ref().filter(|(at, _)| *at == stamp) {
            return Ok(secret.clone());
        }
        let (stamp, content) = read(&self.path)?;
        let text = std::str::from_utf8(&content).map_err(|_| format!("{} is not UTF-8 text", self.path.display()))?;
        let secret = Secret::new(text.trim());
        *known = Some((stamp, secret.clone()));
        Ok(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_again_when_its_file_is_replaced_or_rewritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = SecretFile::new(path.to_str().unwrap());
        assert!(file.secret().unwrap_err().contains("cannot read"));
        std::fs::write(&path, " one\n").unwrap();
        assert_eq!(file.secret().unwrap().expose(), "one");
        std::fs::write(folder.path().join("next"), "two").unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
        assert_eq!(file.secret().unwrap().expose(), "two");
        std::fs::write(&path, "three!").unwrap();
        assert_eq!(file.secret().unwrap().expose(), "three!");
    }

    #[test]
    fn a_huge_file_is_not_read_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(&path).unwrap_err().contains("larger than"));
    }
}
