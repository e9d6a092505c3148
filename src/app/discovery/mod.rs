//! `--cluster.discover-peers`: which sources of peers there are, and how the flag names one, as in go-discover, whose language Alloy's users
//! have in their files. Its text is never shown: other sources' arguments are secrets, and whoever mistypes one may show it otherwise.

mod kubeconfig;
mod kubernetes;
mod pairs;

use std::sync::Arc;

use anyhow::{Result, bail};
use cluster::PeerDiscovery;

use kubernetes::{Kubernetes, Surroundings};
use pairs::Pairs;

/// What go-discover has and this program has not.
const ELSEWHERE: [&str; 15] = [
    "aliyun",
    "aws",
    "azure",
    "digitalocean",
    "gce",
    "hcp",
    "linode",
    "mdns",
    "os",
    "packet",
    "scaleway",
    "softlayer",
    "tencentcloud",
    "triton",
    "vsphere",
];

/// The source that the flag names; `None` if the flag is empty.
///
/// # Errors
/// The flag can't be read, or names a source that is not supported, or arguments that this source does not know.
pub fn of(flag: &str) -> Result<Option<Arc<dyn PeerDiscovery>>> {
    if flag.trim().is_empty() {
        return Ok(None);
    }
    let pairs = Pairs::parse(flag)?;
    match pairs.get("provider") {
        "k8s" => Ok(Some(Arc::new(Kubernetes::new(&pairs, Surroundings::of_process())?))),
        "" => bail!("--cluster.discover-peers names no provider; give provider=k8s, or peers with --cluster.join-addresses"),
        other if ELSEWHERE.contains(&other) => bail!(
            "--cluster.discover-peers: the provider {other} is not supported, only k8s is; give the peers' DNS name with \
             --cluster.join-addresses, which is resolved again and again"
        ),
        _ => bail!("--cluster.discover-peers: the provider is not known; only k8s is supported"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(flag: &str) -> String {
        let error = of(flag).unwrap_err().to_string();
        assert!(error.contains("--cluster.discover-peers") && !error.contains("hunter2"), "{error}");
        error
    }

    #[test]
    fn an_empty_flag_is_no_source() {
        assert!(of("").unwrap().is_none());
        assert!(of(" ").unwrap().is_none());
    }

    #[test]
    fn other_sources_are_refused_by_name_and_nothing_else_is_shown() {
        for provider in ELSEWHERE {
            let error = refusal(&format!("provider={provider} secret_access_key=hunter2"));
            assert!(error.contains(&format!("the provider {provider} ")) && error.contains("only k8s"), "{error}");
        }
        assert!(refusal("secret_access_key=hunter2").contains("provider=k8s"));
        assert!(refusal("provider=hunter2").contains("not known"));
        assert!(refusal("provider=k8s hunter2=x").contains("pair 2"));
    }
}
