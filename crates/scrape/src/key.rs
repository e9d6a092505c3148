//! The key of a target, which places it on a node of a fleet: a hash of what is scraped, not of the labels that its series get. Labels
//! that differ from node to node, like the name of the host, so make no other target of it.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Labels;
use xxhash_rust::xxh3::xxh3_64;

use crate::target::{ADDRESS, INTERVAL, JOB, METRICS_PATH, PARAM, SCHEME};

/// Ends each name and each value: a byte that UTF-8 never has.
const END: u8 = 0xff;

/// Which labels make a target's key beside the usual ones, and which of the usual ones do not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyLabels {
    /// Labels that tell targets of one URL and job apart, as they are after relabelling. A target without one does without it.
    pub included: Vec<String>,
    /// Of `__address__`, `__metrics_path__`, `__param_<name>`, `__scheme__` and `job` those that are not part of it. Others never are.
    pub excluded: Vec<String>,
}

/// What a key is made of.
pub(crate) struct KeyParts<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) address: &'a str,
    pub(crate) path: &'a str,
    /// By name; several values in their order.
    pub(crate) params: &'a BTreeMap<&'a str, Vec<&'a str>>,
    /// If the target says it itself.
    pub(crate) interval: Option<Duration>,
    /// The labels of its series; they have a `job`.
    pub(crate) labels: &'a Labels,
    pub(crate) discovered: &'a Labels,
}

impl KeyParts<'_> {
    /// The key: the 64-bit xxh3, with its default secret and seed 0, over pairs of a name and a value, each followed by the byte `0xff`:
    ///
    /// 1. `__address__`: as it is in the URL
    /// 2. `__metrics_path__`: as it was given, with a `/` before it if it is not empty and begins with none
    /// 3. `__param_` and the parameter's name, not escaped: the value, not escaped. Names in the order of their bytes, several values of
    ///    one name as several pairs in the order of the URL
    /// 4. `__scheme__`
    /// 5. `__scrape_interval__`: milliseconds as a decimal number; only if the target brings that label. All targets of a key have one
    ///    interval so, and a job's other interval leaves its targets where they are. It can't be excluded
    /// 6. `job`: the label of the target's series
    /// 7. each included label: its name and value, in the order of the bytes of the names; left out if the target does not have it
    ///
    /// 1 to 4 and 6 are left out, name and all, if the name is excluded. The same on every node, version and architecture.
    pub(crate) fn key(&self, labels: &KeyLabels) -> u64 {
        let mut text = Text { bytes: Vec::with_capacity(160), excluded: &labels.excluded };
        text.add(&[ADDRESS], &[self.address]);
        let slash = if self.path.is_empty() || self.path.starts_with('/') { "" } else { "/" };
        text.add(&[METRICS_PATH], &[slash, self.path]);
        for (name, values) in self.params {
            values.iter().for_each(|value| text.add(&[PARAM, name], &[value]));
        }
        text.add(&[SCHEME], &[self.scheme]);
        if let Some(interval) = self.interval {
            text.push(&[INTERVAL], &[&interval.as_millis().to_string()]);
        }
        text.add(&[JOB], &[self.labels.get(JOB).unwrap_or_default()]);
        self.add_included(&labels.included, &mut text);
        xxh3_64(&text.bytes)
    }

    fn add_included(&self, included: &[String], text: &mut Text<'_>) {
        if included.is_empty() {
            return;
        }
        let mut names: Vec<&str> = included.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            if let Some(value) = self.labels.get(name).or_else(|| self.discovered.get(name)) {
                text.push(&[name], &[value]);
            }
        }
    }
}

/// What is hashed: gathered first, since that is quicker than a hasher that takes it piece by piece.
struct Text<'a> {
    bytes: Vec<u8>,
    excluded: &'a [String],
}

impl Text<'_> {
    /// A pair whose name and value come in pieces, unless it is excluded.
    fn add(&mut self, name: &[&str], value: &[&str]) {
        if self.excluded.is_empty() || !self.excluded.contains(&name.concat()) {
            self.push(name, value);
        }
    }

    fn push(&mut self, name: &[&str], value: &[&str]) {
        for pieces in [name, value] {
            pieces.iter().for_each(|piece| self.bytes.extend_from_slice(piece.as_bytes()));
            self.bytes.push(END);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Target};

    fn config() -> Config {
        Config { job_name: "jobs".to_owned(), ..Config::default() }
    }

    fn key_of(config: &Config, labels: &[(&str, &str)]) -> u64 {
        let address = [("__address__", "h:9100")];
        Target::new(&address.into_iter().chain(labels.iter().copied()).collect(), config).unwrap().key
    }

    fn key(labels: &[(&str, &str)]) -> u64 {
        key_of(&config(), labels)
    }

    fn with_lists(included: &[&str], excluded: &[&str]) -> Config {
        let [included, excluded] = [included, excluded].map(|list| list.iter().map(|name| (*name).to_owned()).collect());
        Config { key_labels: KeyLabels { included, excluded }, ..config() }
    }

    #[test]
    fn keys_are_fixed_for_all_time() {
        let bytes = b"__address__\xffh:9100\xff__metrics_path__\xff/metrics\xff__scheme__\xffhttp\xffjob\xffjobs\xff";
        assert_eq!(key(&[]), xxh3_64(bytes));
        assert_eq!(key(&[]), PINNED);
        let labels =
            [("__param_b", "2"), ("__param_a", "x&y"), ("__scheme__", "https"), ("__scrape_interval__", "1m"), ("job", "j"), ("z", "1")];
        let bytes = b"__address__\xffh:9100\xff__metrics_path__\xff/metrics\xff__param_a\xffx&y\xff__param_b\xff2\xff__scheme__\xffhttps\
                      \xff__scrape_interval__\xff60000\xffjob\xffj\xffinstance\xffh:9100\xffz\xff1\xff";
        let config = with_lists(&["z", "instance", "absent", "z"], &[]);
        assert_eq!(key_of(&config, &labels), xxh3_64(bytes));
        assert_eq!(key_of(&config, &labels), PINNED_WITH_ALL);
    }

    // Computed with another implementation of xxh3 over the bytes above: nodes of all versions and architectures must come to the same.
    const PINNED: u64 = 16_342_355_674_446_065_352;
    const PINNED_WITH_ALL: u64 = 8_618_206_526_293_785_008;

    #[test]
    fn what_is_scraped_makes_the_key_and_other_labels_do_not() {
        let base = key(&[]);
        for same in [("__meta_pod", "p"), ("team", "a"), ("instance", "i"), ("__tmp", "x"), ("__metrics_path__", "metrics")] {
            assert_eq!(key(&[same]), base, "{same:?}");
        }
        let others = [("__address__", "other"), ("__metrics_path__", "/m"), ("__param_x", "1"), ("__scheme__", "https"), ("job", "j")];
        for other in others.into_iter().chain([("__scrape_interval__", "60s")]) {
            assert_ne!(key(&[other]), base, "{other:?}");
        }
        assert_eq!(key(&[("__scrape_interval__", "1m")]), key(&[("__scrape_interval__", "60s")]));
    }

    #[test]
    fn what_the_job_says_counts_like_what_the_target_says() {
        let params = [("x".to_owned(), vec!["1".to_owned(), "2".to_owned()])];
        let config =
            Config { metrics_path: "/m".into(), scheme: "https".into(), job_name: "j".into(), params: params.into(), ..Config::default() };
        let said = [("__metrics_path__", "/m"), ("__scheme__", "https"), ("job", "j"), ("__param_x", "1")];
        assert_ne!(key_of(&config, &[]), key(&said), "the parameter has a second value");
        assert_eq!(key_of(&Config { params: [("x".to_owned(), vec!["1".to_owned()])].into(), ..config.clone() }, &[]), key(&said));
        let slower = Config { scrape_interval: Duration::from_secs(120), ..config.clone() };
        assert_eq!(key_of(&config, &[]), key_of(&slower, &[]), "a job's interval moves nobody");
    }

    #[test]
    fn lists_take_labels_in_and_parts_out() {
        let shards = with_lists(&["shard"], &[]);
        assert_ne!(key_of(&shards, &[("shard", "1")]), key_of(&shards, &[("shard", "2")]));
        assert_eq!(key_of(&shards, &[]), key(&[]), "a target without the label does without it");
        assert_ne!(key_of(&with_lists(&["__meta_zone"], &[]), &[("__meta_zone", "a")]), key(&[]));
        let unsigned = with_lists(&[], &["__param_sig", "__address__"]);
        let sig = |sig| key_of(&unsigned, &[("__param_sig", sig), ("__param_x", "1")]);
        assert_eq!(sig("a"), sig("b"));
        assert_eq!(sig("a"), key_of(&unsigned, &[("__address__", "elsewhere"), ("__param_x", "1")]));
        assert_ne!(sig("a"), key_of(&unsigned, &[("__param_x", "2")]));
        let never = with_lists(&[], &["__scrape_interval__", "no such label"]);
        assert_eq!(
            key_of(&never, &[("__scrape_interval__", "5s"), ("__scrape_timeout__", "1s")]),
            key(&[("__scrape_interval__", "5s"), ("__scrape_timeout__", "1s")])
        );
    }

    #[test]
    fn pieces_do_not_run_into_each_other() {
        assert_ne!(key(&[("__param_a", "bc")]), key(&[("__param_ab", "c")]));
        assert_ne!(key(&[("__param_a", "1"), ("__param_b", "2")]), key(&[("__param_a", "2"), ("__param_b", "1")]));
    }
}
