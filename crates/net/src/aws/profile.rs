//! AWS' files: `~/.aws/credentials` with keys and `~/.aws/config` with the rest, in sections per profile.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use syntax::Secret;

use super::Keys;
use crate::environment::Environment;
use crate::file;

/// What a profile says, by lower-case name. Of both files, the one with keys goes first.
#[derive(Default)]
pub(super) struct Profile(HashMap<String, String>);

impl Profile {
    /// A value that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The keys that it holds itself.
    pub(super) fn keys(&self) -> Option<Keys> {
        let (id, secret) = (self.get("aws_access_key_id")?, self.get("aws_secret_access_key")?);
        Some(Keys { id: id.to_owned(), secret: Secret::new(secret), session_token: self.get("aws_session_token").map(Secret::new) })
    }
}

/// Both files.
pub(super) struct Profiles {
    config: PathBuf,
    credentials: PathBuf,
}

impl Profiles {
    /// Where the environment says that they are, or in the home directory.
    pub(super) fn new(environment: &Environment) -> Self {
        let home = environment.get("HOME").unwrap_or_default();
        let path =
            |variable: &str, name: &str| environment.get(variable).map_or_else(|| Path::new(&home).join(".aws").join(name), PathBuf::from);
        Self { config: path("AWS_CONFIG_FILE", "config"), credentials: path("AWS_SHARED_CREDENTIALS_FILE", "credentials") }
    }

    /// Reads a profile; `None` if neither file has it.
    ///
    /// # Errors
    /// A file that is there can't be read.
    pub(super) fn read(&self, name: &str) -> Result<Option<Profile>, String> {
        let mut found: Option<Profile> = None;
        // In the file of keys a section is a profile; in the other one, all but the default are called `profile NAME`.
        for (path, has_prefix) in [(&self.config, true), (&self.credentials, false)] {
            if path.exists() {
                let (_, content) = file::read(path)?;
                let text = String::from_utf8(content).map_err(|_| format!("{} is not UTF-8 text", path.display()))?;
                for (key, value) in section(&text, name, has_prefix) {
                    found.get_or_insert_default().0.insert(key, value);
                }
            }
        }
        Ok(found)
    }

    /// Both files, for errors.
    pub(super) fn shown(&self) -> String {
        format!("{} or {}", self.credentials.display(), self.config.display())
    }
}

/// The settings of a section. Those of one that is there and empty are told by an empty name.
fn section(text: &str, wanted: &str, has_prefix: bool) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_inside = is_profile(name.trim(), wanted, has_prefix);
            if is_inside {
                found.push((String::new(), String::new()));
            }
        } else if is_inside
            && !line.starts_with([' ', '\t']) // what is indented belongs to the setting before, as `s3 =` has it
            && let Some((key, value)) = trimmed.split_once('=')
        {
            found.push((key.trim().to_lowercase(), without_comment(value).trim().to_owned()));
        }
    }
    found
}

fn is_profile(section: &str, wanted: &str, has_prefix: bool) -> bool {
    let prefixed = section.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t'])).map(str::trim);
    match (has_prefix, wanted) {
        (true, "default") => section == "default" || prefixed == Some("default"),
        (true, _) => prefixed == Some(wanted),
        (false, _) => section == wanted,
    }
}

/// A comment begins behind white space; keys may hold `#`.
fn without_comment(value: &str) -> &str {
    let begins = |at: &usize| value[..*at].ends_with([' ', '\t']);
    let at = value.match_indices(['#', ';']).map(|(at, _)| at).find(begins);
    at.map_or(value, |at| &value[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, credentials: &str, name: &str) -> Option<Profile> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        Profiles::new(&Environment::of([("HOME", home.path().to_str().unwrap())])).read(name).unwrap()
    }

    const CREDENTIALS: &str = "[default]\naws_access_key_id = A\naws_secret_access_key = S#1 # note\n\n[other]\nAWS_ACCESS_KEY_ID=B\n\
                               aws_secret_access_key = T\naws_session_token=U\n";

    #[test]
    fn keys_come_from_the_profile_that_is_asked_for() {
        let keys = read("", CREDENTIALS, "default").unwrap().keys().unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose(), keys.session_token), ("A", "S#1", None));
        let keys = read("", CREDENTIALS, "other").unwrap().keys().unwrap();
        assert_eq!((keys.id.as_str(), keys.secret.expose(), keys.session_token), ("B", "T", Some(Secret::new("U"))));
        assert!(read("", CREDENTIALS, "third").is_none());
    }

    #[test]
    fn both_files_make_one_profile_and_the_file_of_keys_goes_first() {
        let config =
            "; comment\n[profile other]\nregion = eu-central-1\naws_access_key_id = wrong\ns3 =\n  region = nested\n[other]\nregion = no\n";
        let profile = read(config, CREDENTIALS, "other").unwrap();
        assert_eq!((profile.get("region"), profile.keys().unwrap().id.as_str()), (Some("eu-central-1"), "B"));
        assert_eq!(read("[default]\nregion = a", "", "default").unwrap().get("region"), Some("a"));
        assert_eq!(read("[profile default]\nregion = b", "", "default").unwrap().get("region"), Some("b"));
        assert!(read("[profile empty]\n", "", "empty").unwrap().keys().is_none());
    }

    #[test]
    fn files_may_be_elsewhere_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, CREDENTIALS).unwrap();
        let environment = Environment::of([("HOME", "/nowhere"), ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap())]);
        assert!(Profiles::new(&environment).read("other").unwrap().is_some());
        let profiles = Profiles::new(&Environment::of([("HOME", "/nowhere")]));
        assert!(profiles.read("other").unwrap().is_none());
        assert_eq!(profiles.shown(), "/nowhere/.aws/credentials or /nowhere/.aws/config");
    }
}
