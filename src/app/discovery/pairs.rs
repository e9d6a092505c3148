//! The language of `--cluster.discover-peers`: `key=value` pairs with spaces between them, either in double quotes with Go's escapes if it
//! has spaces, quotes or backslashes in it. Errors name a pair by its place and show nothing of it.

use anyhow::{Result, bail};

/// The pairs, in the order in which they were written.
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads the flag.
    ///
    /// # Errors
    /// It is no list of pairs, or names a key twice.
    pub fn parse(flag: &str) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut rest = flag.trim();
        while !rest.is_empty() {
            let number = pairs.len() + 1;
            let wrong = |problem: &str| anyhow::anyhow!("--cluster.discover-peers: pair {number} {problem}");
            let (key, after) = word(rest).map_err(wrong)?;
            if key.is_empty() {
                return Err(wrong("has no key; put values with = in them into double quotes"));
            }
            let Some(after) = after.trim_start_matches(' ').strip_prefix('=') else {
                return Err(wrong("has no = after its key; put values with spaces in them into double quotes"));
            };
            let after = after.trim_start_matches(' ');
            let (value, after) = word(after).map_err(wrong)?;
            if after.starts_with('=') {
                return Err(wrong("has a second =; put its value into double quotes"));
            }
            if pairs.iter().any(|(known, _)| *known == key) {
                return Err(wrong("has a key that was given before"));
            }
            pairs.push((key, value));
            rest = after.trim_start_matches(' ');
        }
        Ok(Self(pairs))
    }

    /// The value of a key; empty if it is not given.
    pub fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(known, _)| known == key).map_or("", |(_, value)| value)
    }

    /// Refuses keys that nobody understands.
    ///
    /// # Errors
    /// Names the place of the first, and those that are known.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        match self.0.iter().position(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(at) => bail!("--cluster.discover-peers: pair {} has an unknown key; there are {}", at + 1, known.join(", ")),
        }
    }
}

/// A word and what follows it.
fn word(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '=']).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let (mut word, mut characters) = (String::new(), quoted.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((word, &quoted[at + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => word.push(escaped),
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                _ => return Err("has an escape that is none of \\\" \\\\ \\n \\t"),
            },
            character => word.push(character),
        }
    }
    Err("has a quote that is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(flag: &str) -> Vec<(String, String)> {
        Pairs::parse(flag).unwrap().0
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn pairs_are_read_as_go_discover_reads_them() {
        let expected = owned(&[("provider", "k8s"), ("namespace", "monitoring")]);
        assert_eq!(pairs("provider=k8s namespace=monitoring"), expected);
        assert_eq!(pairs("  provider = k8s   namespace= \"monitoring\" "), expected);
        let selector = owned(&[("provider", "k8s"), ("label_selector", "app=a, component in (x, \"y\")")]);
        assert_eq!(pairs(r#"provider=k8s label_selector="app=a, component in (x, \"y\")""#), selector);
        assert_eq!(pairs(r#""some key"="some \\ value""#), owned(&[("some key", "some \\ value")]));
    }

    #[test]
    fn what_is_no_list_of_pairs_is_refused_by_place_and_not_shown() {
        for (flag, part) in [
            ("hunter2", "pair 1 has no ="),
            ("a=b hunter2", "pair 2 has no ="),
            ("a=b =hunter2", "pair 2 has no key"),
            ("a=hunter2=b", "pair 1 has a second ="),
            ("a=\"hunter2", "pair 1 has a quote"),
            ("a=\"hunter2\\x\"", "pair 1 has an escape"),
            ("a=hunter2 a=hunter2", "pair 2 has a key that was given before"),
        ] {
            let error = Pairs::parse(flag).err().unwrap().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{flag}: {error}");
        }
    }
}
