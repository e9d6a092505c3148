//! Which hosts are reached without a proxy: `no_proxy` and `NO_PROXY`, by the rules of Go's `golang.org/x/net/http/httpproxy`.

use std::net::IpAddr;

use url::Host;

/// A list of hosts.
#[derive(Default)]
pub(super) struct NoProxy {
    rules: Vec<Rule>,
}

/// A rule with a port is for that port only.
enum Rule {
    All,
    /// The addresses that share this many bits.
    Network(IpAddr, u8),
    Address(IpAddr, Option<u16>),
    /// `.example.org`, and whether `example.org` itself is meant too.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Comma-separated: `*`, `1.2.3.4`, `1.2.3.4:80`, `1.2.3.0/24`, `example.org`, `example.org:80`, `.example.org`, `*.example.org`. What
    /// is none of these spares nothing.
    pub(super) fn parse(list: &str) -> Self {
        Self { rules: list.split(',').filter_map(|entry| Rule::parse(&entry.trim().to_lowercase())).collect() }
    }

    /// Whether `host`, without brackets, is reached without a proxy. So are `localhost` and loopback addresses, always.
    pub(super) fn spares(&self, host: &str, port: u16) -> bool {
        let host = ascii(&host.to_lowercase());
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.rules.iter().any(|rule| rule.matches(&host, address, port))
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
            && bits <= if address.is_ipv4() { 32 } else { 128 }
        {
            return Some(Self::Network(address, bits));
        }
        let (host, port) = split_port(entry);
        if host.is_empty() {
            return None;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = if host.starts_with("*.") { &host[1..] } else { host };
        let itself = !host.starts_with('.');
        let name = ascii(host.trim_start_matches('.'));
        Some(Self::Domain { suffix: format!(".{name}"), itself, port })
    }

    fn matches(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        let is_port = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Network(network, bits) => address.is_some_and(|address| is_in(address, *network, *bits)),
            Self::Address(wanted, wanted_port) => address == Some(*wanted) && is_port(wanted_port),
            Self::Domain { suffix, itself, port } => {
                address.is_none() && (host.ends_with(suffix) || *itself && host == &suffix[1..]) && is_port(port)
            }
        }
    }
}

/// `host:port`, `[v6]:port` or a bare host.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let Some((host, port)) = entry.rsplit_once(':') else { return (entry, None) };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match (port.parse(), bare) {
        (Ok(port), Some(host)) => (host, Some(port)),
        (Ok(port), None) if !host.contains(':') => (host, Some(port)),
        _ => (entry, None),
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    // Shifting by the whole width is shifting to nothing.
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(32 - u32::from(bits)).unwrap_or(0) == 0,
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits() ^ n.to_bits()).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0,
        _ => false,
    }
}

/// Names outside of ASCII in their encoded form, in which URLs have them.
fn ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    match Host::parse(name) {
        Ok(Host::Domain(encoded)) => encoded,
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(list: &str, spared: &[&str], proxied: &[&str]) {
        let rules = NoProxy::parse(list);
        let split = |host: &str| -> (String, u16) {
            let (name, port) = split_port(host);
            (name.to_owned(), port.unwrap_or(80))
        };
        for (hosts, expected) in [(spared, true), (proxied, false)] {
            for host in hosts {
                let (name, port) = split(host);
                assert_eq!(rules.spares(&name, port), expected, "{list:?}: {host}");
            }
        }
    }

    #[test]
    fn loopback_is_always_spared() {
        check(
            "",
            &["localhost", "LOCALHOST:9100", "127.0.0.1", "127.9.9.9:81", "::1", "::ffff:127.0.0.1"],
            &["localhost.example", "10.0.0.1"],
        );
    }

    #[test]
    fn domains_mean_themselves_and_what_is_below() {
        check("example.org", &["example.org", "a.example.org", "A.b.Example.ORG:8080"], &["anexample.org", "example.org.evil", "org"]);
        check(".example.org", &["a.example.org"], &["example.org"]);
        check("*.example.org", &["a.example.org"], &["example.org", "example.com"]);
        check("example.org:81", &["example.org:81", "a.example.org:81"], &["example.org", "example.org:82"]);
        check("BÜCHER.example", &["bücher.example", "xn--bcher-kva.example"], &["bucher.example"]);
    }

    #[test]
    fn addresses_and_networks_mean_addresses_only() {
        check("10.1.2.3", &["10.1.2.3", "10.1.2.3:9100", "::ffff:10.1.2.3"], &["10.1.2.4", "10.1.2.3.example.org"]);
        check("10.1.2.3:81, [fd00::1]:82", &["10.1.2.3:81", "[fd00::1]:82"], &["10.1.2.3", "[fd00::1]:83"]);
        check("2.3, .2.3", &["1.2.3.example.2.3"], &["10.1.2.3"]);
        check("10.0.0.0/8", &["10.255.0.1", "::ffff:10.0.0.1"], &["11.0.0.1", "fd00::1"]);
        check("10.1.2.3/24", &["10.1.2.200"], &["10.1.3.1"]);
        check("fd00::/16", &["fd00:1::1"], &["fe00::1", "10.0.0.1"]);
        check("0.0.0.0/0", &["8.8.8.8"], &["fd00::1", "example.org"]);
        check("1.2.3.4/32,fd00::7/128", &["1.2.3.4", "fd00::7"], &["1.2.3.5", "fd00::8"]);
        check("fd00::1", &["fd00::1", "[fd00::1]:8080"], &["fd00::2"]);
    }

    #[test]
    fn a_star_spares_everything_and_rubbish_nothing() {
        check("10.0.0.1, *", &["example.org", "8.8.8.8", "fd00::1"], &[]);
        check(" , :80, 10.0.0.0/33, 10.0.0.0/x, [::1", &[], &["example.org", "10.0.0.1", "fd00::1"]);
        check(" a.example , b.example,", &["a.example", "b.example"], &["c.example"]);
    }
}
