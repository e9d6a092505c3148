//! The flags of `run` and `join`: Alloy's under their own names, each also as a `COLLECTOR_*` environment variable. A flag whose feature
//! is not there yet is refused with a message that says so, rather than ignored.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

/// Flags of a running collector.
#[derive(Args, Clone)]
pub struct RunFlags {
    /// Address of the one listener: API, /metrics, health, cluster
    #[arg(
        long = "server.http.listen-addr",
        env = "COLLECTOR_SERVER_HTTP_LISTEN_ADDR",
        default_value = "127.0.0.1:12345",
        value_name = "HOST:PORT"
    )]
    pub listen_addr: String,
    /// Name under which components reach this collector's own listener without the network
    #[arg(
        long = "server.http.memory-addr",
        env = "COLLECTOR_SERVER_HTTP_MEMORY_ADDR",
        default_value = "alloy.internal:12345",
        value_name = "HOST:PORT"
    )]
    pub memory_addr: String,
    /// Path below which the API is served
    #[arg(long = "server.http.ui-path-prefix", env = "COLLECTOR_SERVER_HTTP_UI_PATH_PREFIX", default_value = "/", value_name = "PATH")]
    pub ui_path_prefix: String,
    /// Folder for what must outlive a restart
    #[arg(long = "storage.path", env = "COLLECTOR_STORAGE_PATH", default_value = "data-alloy/", value_name = "FOLDER")]
    pub storage_path: PathBuf,
    /// Lowest stability of components that may be used
    #[arg(long = "stability.level", env = "COLLECTOR_STABILITY_LEVEL", default_value = "generally-available", value_name = "LEVEL")]
    pub stability_level: syntax::Stability,
    /// How long components may take to stop
    #[arg(long = "feature.component-shutdown-deadline", env = "COLLECTOR_FEATURE_COMPONENT_SHUTDOWN_DEADLINE", default_value = "10m",
          value_parser = go_duration, value_name = "DURATION")]
    pub component_shutdown_deadline: Duration,
    /// Largest body of one scrape after decompression; a component's body_size_limit applies below it
    #[arg(long = "scrape.max-body-size", env = "COLLECTOR_SCRAPE_MAX_BODY_SIZE", default_value = "256MiB", value_parser = byte_size, value_name = "SIZE")]
    pub scrape_max_body_size: u64,
    #[command(flatten)]
    pub cluster: ClusterFlags,
    #[command(flatten)]
    foreign: ForeignFlags,
}

/// Flags of clustering.
#[derive(Args, Clone)]
pub struct ClusterFlags {
    /// Share the scraping with the other members of a fleet
    #[arg(long = "cluster.enabled", env = "COLLECTOR_CLUSTER_ENABLED", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub enabled: bool,
    /// Name of this node, unique in the fleet [default: the host's name]
    #[arg(long = "cluster.node-name", env = "COLLECTOR_CLUSTER_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address under which the others reach this node [default: from the interfaces]
    #[arg(long = "cluster.advertise-address", env = "COLLECTOR_CLUSTER_ADVERTISE_ADDRESS", value_name = "HOST:PORT")]
    pub advertise_address: Option<String>,
    /// Interfaces whose address is advertised, first match; `all` for any
    #[arg(
        long = "cluster.advertise-interfaces",
        env = "COLLECTOR_CLUSTER_ADVERTISE_INTERFACES",
        value_delimiter = ',',
        default_value = "eth0,en0",
        value_name = "NAMES"
    )]
    pub advertise_interfaces: Vec<String>,
    /// Members to join: HOST[:PORT], also with dns+, dnssrv+ or dnssrvnoa+ before it
    #[arg(long = "cluster.join-addresses", env = "COLLECTOR_CLUSTER_JOIN_ADDRESSES", value_delimiter = ',', value_name = "ADDRESSES")]
    pub join_addresses: Vec<String>,
    /// Where to ask for members instead, as in `provider=k8s label_selector="app=collector"`
    #[arg(
        long = "cluster.discover-peers",
        env = "COLLECTOR_CLUSTER_DISCOVER_PEERS",
        default_value = "",
        hide_env_values = true,
        value_name = "PAIRS"
    )]
    pub discover_peers: String,
    /// How often the join addresses are tried again; 0s for never
    #[arg(long = "cluster.rejoin-interval", env = "COLLECTOR_CLUSTER_REJOIN_INTERVAL", default_value = "60s", value_parser = go_duration, value_name = "DURATION")]
    pub rejoin_interval: Duration,
    /// How many of the discovered addresses are joined; 0 for all
    #[arg(long = "cluster.max-join-peers", env = "COLLECTOR_CLUSTER_MAX_JOIN_PEERS", default_value_t = 5, value_name = "N")]
    pub max_join_peers: usize,
    /// Name of the fleet; nodes of another name are refused
    #[arg(long = "cluster.name", env = "COLLECTOR_CLUSTER_NAME", default_value = "", value_name = "NAME")]
    pub name: String,
    /// Where this node is, such as an availability zone: copies of a target are scraped in different zones
    #[arg(long = "cluster.zone", env = "COLLECTOR_CLUSTER_ZONE", default_value = "", value_name = "NAME")]
    pub zone: String,
    /// A new fleet waits for this many nodes before it scrapes; 0 for no wait
    #[arg(long = "cluster.wait-for-size", env = "COLLECTOR_CLUSTER_WAIT_FOR_SIZE", default_value_t = 0, value_name = "N")]
    pub wait_for_size: usize,
    /// How long it waits at most; 0s for ever
    #[arg(long = "cluster.wait-timeout", env = "COLLECTOR_CLUSTER_WAIT_TIMEOUT", default_value = "0s", value_parser = go_duration, value_name = "DURATION")]
    pub wait_timeout: Duration,
    /// Speak TLS with the other members, and let nobody join without a certificate of the same authority
    #[arg(long = "cluster.enable-tls", env = "COLLECTOR_CLUSTER_ENABLE_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub enable_tls: Option<bool>,
    /// File with the authority's certificate
    #[arg(long = "cluster.tls-ca-path", env = "COLLECTOR_CLUSTER_TLS_CA_PATH", value_name = "FILE")]
    pub tls_ca_path: Option<String>,
    /// File with this node's certificate
    #[arg(long = "cluster.tls-cert-path", env = "COLLECTOR_CLUSTER_TLS_CERT_PATH", value_name = "FILE")]
    pub tls_cert_path: Option<String>,
    /// File with this node's private key
    #[arg(long = "cluster.tls-key-path", env = "COLLECTOR_CLUSTER_TLS_KEY_PATH", value_name = "FILE")]
    pub tls_key_path: Option<String>,
    /// Name that the members' certificates bear [default: the address of each]
    #[arg(long = "cluster.tls-server-name", env = "COLLECTOR_CLUSTER_TLS_SERVER_NAME", value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// What the sides of a split fleet do: `both` work, or only the one with a `majority` of the members
    #[arg(long = "cluster.partition-policy", env = "COLLECTOR_CLUSTER_PARTITION_POLICY", default_value_t = cluster::PartitionPolicy::Both, value_name = "POLICY")]
    pub partition_policy: cluster::PartitionPolicy,
    /// With `majority`: after how long a member that is gone without a goodbye no longer counts; 0s for never
    #[arg(long = "cluster.forget-after", env = "COLLECTOR_CLUSTER_FORGET_AFTER", default_value = "1h", value_parser = go_duration, value_name = "DURATION")]
    pub forget_after: Duration,
    /// File with the key that all members share; peers without it are refused
    #[arg(long = "cluster.key-file", env = "COLLECTOR_CLUSTER_KEY_FILE", value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Let anybody who reaches the listener join, though it is not on loopback
    #[arg(long = "cluster.insecure", env = "COLLECTOR_CLUSTER_INSECURE", num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", value_name = "BOOL")]
    pub insecure: bool,
}

/// Alloy's flags that have nothing behind them here: accepted where their wish is already fulfilled, refused otherwise.
#[derive(Args, Clone)]
struct ForeignFlags {
    #[arg(long = "server.http.enable-pprof", env = "COLLECTOR_SERVER_HTTP_ENABLE_PPROF", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_pprof: Option<bool>,
    #[arg(long = "server.http.disable-support-bundle", env = "COLLECTOR_SERVER_HTTP_DISABLE_SUPPORT_BUNDLE", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    disable_support_bundle: Option<bool>,
    #[arg(long = "server.http.enable-graphql", env = "COLLECTOR_SERVER_HTTP_ENABLE_GRAPHQL", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_graphql: Option<bool>,
    #[arg(long = "server.http.enable-graphql-playground", env = "COLLECTOR_SERVER_HTTP_ENABLE_GRAPHQL_PLAYGROUND", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_graphql_playground: Option<bool>,
    #[arg(long = "disable-reporting", env = "COLLECTOR_DISABLE_REPORTING", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    disable_reporting: Option<bool>,
    #[arg(long = "feature.community-components.enabled", env = "COLLECTOR_FEATURE_COMMUNITY_COMPONENTS_ENABLED", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    community_components: Option<bool>,
    #[arg(long = "feature.prometheus.direct-fanout.enabled", env = "COLLECTOR_FEATURE_PROMETHEUS_DIRECT_FANOUT_ENABLED", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    direct_fanout: Option<bool>,
    #[arg(
        long = "feature.prometheus.metric-validation-scheme",
        env = "COLLECTOR_FEATURE_PROMETHEUS_METRIC_VALIDATION_SCHEME",
        hide = true
    )]
    metric_validation_scheme: Option<String>,
    #[arg(long = "config.format", env = "COLLECTOR_CONFIG_FORMAT", hide = true)]
    config_format: Option<String>,
    #[arg(long = "config.bypass-conversion-errors", env = "COLLECTOR_CONFIG_BYPASS_CONVERSION_ERRORS", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    bypass_conversion_errors: Option<bool>,
    #[arg(long = "config.extra-args", env = "COLLECTOR_CONFIG_EXTRA_ARGS", hide = true, allow_hyphen_values = true)]
    config_extra_args: Option<String>,
    #[arg(long = "cluster.use-discovery-v1", env = "COLLECTOR_CLUSTER_USE_DISCOVERY_V1", hide = true, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    use_discovery_v1: Option<bool>,
    #[arg(long = "windows.priority", env = "COLLECTOR_WINDOWS_PRIORITY", hide = true)]
    windows_priority: Option<String>,
}

impl RunFlags {
    /// Checks what clap can't: flags without their feature, and flags that contradict each other.
    ///
    /// # Errors
    /// Names the flag, the reason and the remedy.
    pub fn check(&self) -> Result<()> {
        self.foreign.check()?;
        self.cluster.check()?;
        let cluster = &self.cluster;
        let guarded = cluster.key_file.is_some() || cluster.tls() || cluster.insecure;
        if cluster.enabled && !guarded && !binds_loopback(&self.listen_addr) {
            bail!(
                "clustering on {}, which others can reach, would let anybody join: give --cluster.key-file=FILE (a key that all members \
                 share) or --cluster.enable-tls with --cluster.tls-ca-path, --cluster.tls-cert-path and --cluster.tls-key-path \
                 (certificates of one authority), or listen on 127.0.0.1, or accept the risk with --cluster.insecure",
                self.listen_addr
            );
        }
        Ok(())
    }
}

impl ClusterFlags {
    /// Whether members speak TLS with each other.
    pub fn tls(&self) -> bool {
        self.enable_tls == Some(true)
    }

    fn check(&self) -> Result<()> {
        if !self.join_addresses.is_empty() && !self.discover_peers.is_empty() {
            bail!("--cluster.join-addresses (or --peers) and --cluster.discover-peers exclude each other; leave one of them out");
        }
        let files = [
            ("--cluster.tls-ca-path", &self.tls_ca_path),
            ("--cluster.tls-cert-path", &self.tls_cert_path),
            ("--cluster.tls-key-path", &self.tls_key_path),
        ];
        if self.tls() {
            let missing: Vec<&str> = files.iter().filter(|(_, path)| path.is_none()).map(|(flag, _)| *flag).collect();
            if !missing.is_empty() {
                bail!("--cluster.enable-tls needs {} too", missing.join(", "));
            }
        }
        let given = files.into_iter().chain([("--cluster.tls-server-name", &self.tls_server_name)]).find(|(_, value)| value.is_some());
        match given {
            // Told explicitly that there is to be no TLS, one need not take the files away.
            Some((flag, _)) if self.enable_tls.is_none() => {
                bail!("{flag} has no effect without --cluster.enable-tls; give that too, or --cluster.enable-tls=false")
            }
            _ => Ok(()),
        }
    }
}

impl ForeignFlags {
    fn check(&self) -> Result<()> {
        let on = |flag: Option<bool>| flag == Some(true);
        let unsupported = [
            ("--server.http.enable-pprof", on(self.enable_pprof)),
            ("--server.http.disable-support-bundle=false", self.disable_support_bundle == Some(false)),
            ("--server.http.enable-graphql", on(self.enable_graphql)),
            ("--server.http.enable-graphql-playground", on(self.enable_graphql_playground)),
            ("--feature.community-components.enabled", on(self.community_components)),
            ("--config.bypass-conversion-errors", on(self.bypass_conversion_errors)),
            ("--config.extra-args", self.config_extra_args.is_some()),
        ];
        if let Some((flag, _)) = unsupported.iter().find(|(_, given)| *given) {
            bail!("{flag} is not supported yet; leave it out");
        }
        match self.config_format.as_deref() {
            None | Some("alloy") => Ok(()),
            Some(other) => bail!("--config.format={other} is not supported yet; only `alloy` is"),
        }
    }
}

fn binds_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    address.parse::<SocketAddr>().map_or(host == "localhost", |address| address.ip().is_loopback())
}

/// A duration as Alloy's flags take it: `10s`, `1m30s`, `0`.
pub fn go_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    syntax::parse_duration(text).map_err(|error| format!("{error}; expected a duration such as 10s or 1m30s"))
}

/// A size in bytes with an optional unit: `1048576`, `256MiB`, `1GB`.
pub fn byte_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 8] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("B", 1), ("", 1)];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = UNITS.iter().find(|(unit, _)| *unit == &text[digits.len()..]);
    let size = digits.trim().parse::<u64>().ok().zip(unit).and_then(|(number, (_, factor))| number.checked_mul(*factor));
    size.ok_or_else(|| format!("{text} is not a size; expected bytes or a unit, such as 256MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        run: RunFlags,
    }

    fn parse(flags: &[&str]) -> RunFlags {
        Flags::try_parse_from([&["x"], flags].concat()).map(|flags| flags.run).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_defaults_are_alloys_and_pass() {
        let flags = parse(&[]);
        flags.check().unwrap();
        assert_eq!(flags.listen_addr, "127.0.0.1:12345");
        assert_eq!(flags.cluster.advertise_interfaces, ["eth0", "en0"]);
        assert_eq!(flags.cluster.rejoin_interval, Duration::from_secs(60));
        assert_eq!(flags.component_shutdown_deadline, Duration::from_secs(600));
        assert!(!flags.cluster.enabled);
    }

    #[test]
    fn booleans_are_given_as_in_go() {
        assert!(parse(&["--cluster.enabled"]).cluster.enabled);
        assert!(parse(&["--cluster.enabled=true"]).cluster.enabled);
        assert!(!parse(&["--cluster.enabled=false"]).cluster.enabled);
    }

    #[test]
    fn a_flag_without_its_feature_is_refused_by_name() {
        for flag in ["--server.http.enable-pprof", "--server.http.enable-graphql", "--config.format=static"] {
            let error = parse(&[flag]).check().unwrap_err().to_string();
            assert!(error.contains("not supported yet") && error.contains(flag.split('=').next().unwrap()), "{error}");
        }
        parse(&["--disable-reporting", "--server.http.enable-pprof=false", "--cluster.use-discovery-v1"]).check().unwrap();
    }

    #[test]
    fn an_open_cluster_off_loopback_is_refused_and_names_the_ways_out() {
        let error = parse(&["--cluster.enabled", "--server.http.listen-addr=0.0.0.0:12345"]).check().unwrap_err().to_string();
        for flag in ["--cluster.key-file", "--cluster.insecure", "--cluster.enable-tls", "--cluster.tls-ca-path"] {
            assert!(error.contains(flag), "{error}");
        }
        parse(&[&["--cluster.enabled", "--server.http.listen-addr=0.0.0.0:1"], &TLS[..]].concat()).check().unwrap();
        parse(&["--cluster.enabled", "--server.http.listen-addr=0.0.0.0:1", "--cluster.insecure"]).check().unwrap();
        parse(&["--cluster.enabled", "--server.http.listen-addr=0.0.0.0:1", "--cluster.key-file=k"]).check().unwrap();
        parse(&["--cluster.enabled", "--server.http.listen-addr=[::1]:1"]).check().unwrap();
    }

    const TLS: [&str; 4] = ["--cluster.enable-tls", "--cluster.tls-ca-path=a", "--cluster.tls-cert-path=c", "--cluster.tls-key-path=k"];

    #[test]
    fn tls_needs_all_its_files_and_files_need_tls() {
        assert!(parse(&TLS).cluster.tls());
        parse(&TLS).check().unwrap();
        for missing in &TLS[1..] {
            let given: Vec<&str> = TLS.into_iter().filter(|flag| flag != missing).collect();
            let error = parse(&given).check().unwrap_err().to_string();
            assert!(error.contains(missing.split('=').next().unwrap()), "{error}");
        }
        for alone in [TLS[1], TLS[2], TLS[3], "--cluster.tls-server-name=n"] {
            let error = parse(&[alone]).check().unwrap_err().to_string();
            assert!(error.contains(alone.split('=').next().unwrap()) && error.contains("--cluster.enable-tls"), "{error}");
            parse(&[alone, "--cluster.enable-tls=false"]).check().unwrap();
        }
    }

    #[test]
    fn peers_are_named_or_discovered() {
        let error = parse(&["--cluster.discover-peers=provider=k8s token=hunter2", "--cluster.join-addresses=a"]).check().unwrap_err();
        assert!(error.to_string().contains("exclude each other") && !error.to_string().contains("hunter2"), "{error}");
        parse(&["--cluster.discover-peers=provider=k8s"]).check().unwrap();
        parse(&["--cluster.discover-peers=", "--cluster.join-addresses=a"]).check().unwrap();
    }

    #[test]
    fn sizes_have_units_and_a_bound() {
        assert_eq!(byte_size("256MiB"), Ok(256 << 20));
        assert_eq!(byte_size("12"), Ok(12));
        assert_eq!(byte_size("1 KB"), Ok(1000));
        for bad in ["", "MiB", "1XB", "99999999999GiB", "-1"] {
            assert!(byte_size(bad).is_err(), "{bad}");
        }
    }
}
