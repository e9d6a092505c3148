//! Join addresses: what `--cluster.join-addresses` accepts and which socket addresses it stands for. The rules are Alloy's: an
//! optional port (else the node's own listen port), a prefix that names the kind of lookup, or without one the first of IP,
//! A/AAAA and SRV that yields something. Peers that are discovered otherwise are one more address here. Dialling what comes out is
//! `node`'s business.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use hickory_resolver::{TokioResolver, net::NetError, proto::rr::RData};
use tokio::time::timeout;

use crate::{
    discovery::{DiscoveryError, PeerDiscovery},
    transport::Step,
};

/// Longest wait for the lookups of one address.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a discovery: it may take several requests.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// Most addresses taken from one name: more is no list of peers.
const MAX_ADDRESSES: usize = 1024;

/// Which lookups an address asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// IP, else A/AAAA, else SRV.
    Any,
    /// `dns+`: A/AAAA.
    Ip,
    /// `dnssrv+` and `dnssrvnoa+`: SRV. Both end in the addresses of the targets; that `noa` leaves their lookup to the
    /// dialler makes no difference here.
    Srv,
}

/// One entry of the list of join addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAddress {
    text: String,
    lookup: Lookup,
    host: String,
    port: Option<u16>,
}

/// A join address that can't be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("join address \"{text}\": {problem}; write host, host:port or [ip6]:port, with dns+, dnssrv+ or dnssrvnoa+ before it if wanted")]
pub struct JoinAddressError {
    text: String,
    problem: &'static str,
}

impl FromStr for JoinAddress {
    type Err = JoinAddressError;

    fn from_str(text: &str) -> Result<Self, JoinAddressError> {
        let text = text.trim();
        let error = |problem| JoinAddressError { text: text.to_owned(), problem };
        let (lookup, rest) = prefix(text);
        let (host, port) = host_and_port(rest).map_err(error)?;
        if host.is_empty() {
            return Err(error("the host is missing"));
        }
        if host.contains(|character: char| character.is_whitespace() || character.is_control() || character == '/') {
            return Err(error("a host has no spaces or slashes"));
        }
        Ok(Self { text: text.to_owned(), lookup, host: host.to_owned(), port })
    }
}

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a node looks for peers.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Address(JoinAddress),
    Discovery(Arc<dyn PeerDiscovery>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Discovery(discovery) => write!(f, "--cluster.discover-peers ({})", discovery.name()),
        }
    }
}

fn prefix(text: &str) -> (Lookup, &str) {
    const PREFIXES: [(&str, Lookup); 3] = [("dns+", Lookup::Ip), ("dnssrv+", Lookup::Srv), ("dnssrvnoa+", Lookup::Srv)];
    PREFIXES.into_iter().find_map(|(prefix, lookup)| text.strip_prefix(prefix).map(|rest| (lookup, rest))).unwrap_or((Lookup::Any, text))
}

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), &'static str> {
    const BAD_PORT: &str = "the port is not a number from 1 to 65535";
    let port = |text: &str| text.parse().ok().filter(|port| *port != 0).ok_or(BAD_PORT);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        return match rest.strip_prefix(':') {
            Some(text) => Ok((host, Some(port(text)?))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err("only :port may follow the bracket"),
        };
    }
    match text.split_once(':') {
        // More than one colon and no brackets: an IPv6 address without port.
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, text)) => Ok((host, Some(port(text)?))),
        None => Ok((text, None)),
    }
}

/// Why a lookup gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The name servers say that there is no such name or record.
    #[error("the name has no such records")]
    Absent,
    /// No answer, or one that says nothing about the name.
    #[error("{0}")]
    Failed(String),
}

/// The lookups that join addresses need.
#[async_trait]
pub trait Dns: Send + Sync + 'static {
    /// A and AAAA records, including those that the hosts file gives.
    ///
    /// # Errors
    /// No records, or no answer.
    async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, LookupError>;

    /// The targets of SRV records.
    ///
    /// # Errors
    /// No records, or no answer.
    async fn srv_targets(&self, name: &str) -> Result<Vec<String>, LookupError>;
}

/// Resolves over the system's name servers, hosts file and search list.
pub struct SystemDns {
    resolver: Result<TokioResolver, String>,
}

impl SystemDns {
    /// Reads the system's configuration; a failure shows at the first lookup, since addresses that are IPs need none.
    pub fn new() -> Self {
        let built = TokioResolver::builder_tokio().and_then(|mut builder| {
            // Peers come and go faster than records' lifetimes; a cached answer would hide a newcomer.
            builder.options_mut().cache_size = 0;
            builder.build()
        });
        Self { resolver: built.map_err(|error| format!("the system's DNS configuration is unusable: {error}")) }
    }

    fn resolver(&self) -> Result<&TokioResolver, LookupError> {
        self.resolver.as_ref().map_err(|error| LookupError::Failed(error.clone()))
    }
}

impl Default for SystemDns {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Dns for SystemDns {
    async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let found = self.resolver()?.lookup_ip(host).await.map_err(lookup_error)?;
        Ok(found.iter().collect())
    }

    async fn srv_targets(&self, name: &str) -> Result<Vec<String>, LookupError> {
        let found = self.resolver()?.srv_lookup(name).await.map_err(lookup_error)?;
        let targets = found.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(srv.target.to_utf8()),
            _ => None,
        });
        Ok(targets.collect())
    }
}

fn lookup_error(error: NetError) -> LookupError {
    if error.is_nx_domain() || error.is_no_records_found() { LookupError::Absent } else { LookupError::Failed(error.to_string()) }
}

/// Why a join address stands for nothing at the moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ResolveError {
    /// Whether the name servers answered that there is nothing, so that nobody can be there.
    pub absent: bool,
    /// What was tried and came of it.
    pub cause: String,
    /// `dns`, or `discovery`.
    pub step: Step,
    remedy: Cow<'static, str>,
}

impl ResolveError {
    fn dns(absent: bool, cause: String) -> Self {
        let remedy = if absent {
            "check the name; for a Kubernetes headless service set publishNotReadyAddresses so that starting pods are found"
        } else {
            "check the name servers in /etc/resolv.conf and whether this host reaches them"
        };
        Self { absent, cause, step: Step::Dns, remedy: remedy.into() }
    }

    /// Never absent: somebody may be there.
    fn discovery(error: DiscoveryError) -> Self {
        Self { absent: false, cause: error.cause, step: Step::Discovery, remedy: error.remedy }
    }

    /// What an operator can do.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Turns join addresses into socket addresses.
#[derive(Clone)]
pub struct Resolver {
    dns: Arc<dyn Dns>,
    default_port: u16,
}

impl Resolver {
    /// `default_port` is the node's own listen port, for addresses without one. Ports of SRV records are not used, as in
    /// Alloy: the SRV records of a Kubernetes service without a port name cover all its ports.
    pub fn new(dns: Arc<dyn Dns>, default_port: u16) -> Self {
        Self { dns, default_port }
    }

    /// The addresses that `source` stands for now, sorted, each once.
    pub(crate) async fn find(&self, source: &Source) -> Result<Vec<SocketAddr>, ResolveError> {
        match source {
            Source::Address(address) => self.resolve(address).await,
            Source::Discovery(discovery) => Ok(self.addrs(discovered(&**discovery).await?)),
        }
    }

    /// The addresses that `address` stands for now, sorted, each once.
    ///
    /// # Errors
    /// If there is none.
    pub async fn resolve(&self, address: &JoinAddress) -> Result<Vec<SocketAddr>, ResolveError> {
        let ips = timeout(LOOKUP_TIMEOUT, self.ips(address))
            .await
            .unwrap_or_else(|_| Err(ResolveError::dns(false, format!("DNS gave no answer within {} s", LOOKUP_TIMEOUT.as_secs()))));
        Ok(self.addrs(ips?.into_iter().map(|ip| (ip, address.port))))
    }

    fn addrs(&self, found: impl IntoIterator<Item = (IpAddr, Option<u16>)>) -> Vec<SocketAddr> {
        let with_port = |(ip, port): (IpAddr, Option<u16>)| SocketAddr::new(ip.to_canonical(), port.unwrap_or(self.default_port));
        let mut addrs: Vec<_> = found.into_iter().map(with_port).collect();
        addrs.sort_unstable();
        addrs.dedup();
        addrs.truncate(MAX_ADDRESSES);
        addrs
    }

    async fn ips(&self, address: &JoinAddress) -> Result<Vec<IpAddr>, ResolveError> {
        let host = &address.host;
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        match address.lookup {
            Lookup::Ip => self.ip_records(host).await,
            Lookup::Srv => self.srv_records(host).await,
            Lookup::Any => {
                let first = match self.ip_records(host).await {
                    Ok(ips) => return Ok(ips),
                    Err(error) => error,
                };
                self.srv_records(host)
                    .await
                    .map_err(|second| ResolveError::dns(first.absent && second.absent, format!("{first}; {second}")))
            }
        }
    }

    async fn ip_records(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        found("A/AAAA", host, self.dns.ips(host).await)
    }

    async fn srv_records(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let targets = found("SRV", name, self.dns.srv_targets(name).await)?;
        let mut ips = Vec::new();
        let mut first_error = None;
        for target in targets.into_iter().take(MAX_ADDRESSES) {
            let found = match target.parse() {
                Ok(ip) => Ok(vec![ip]),
                Err(_) => self.ip_records(&target).await,
            };
            match found {
                Ok(found) => ips.extend(found),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match first_error {
            Some(error) if ips.is_empty() => Err(error),
            _ => Ok(ips),
        }
    }
}

/// Asks the discovery. One that works finds at least the node itself: nobody at all is taken for a mistake in its arguments, and somebody
/// may be there.
async fn discovered(discovery: &dyn PeerDiscovery) -> Result<Vec<(IpAddr, Option<u16>)>, ResolveError> {
    let found = timeout(DISCOVERY_TIMEOUT, discovery.peers()).await.unwrap_or_else(|_| {
        let cause = format!("no answer within {} s", DISCOVERY_TIMEOUT.as_secs());
        Err(DiscoveryError { cause, remedy: "check whether this host reaches the source".into() })
    });
    match found.map_err(ResolveError::discovery)? {
        nobody if nobody.is_empty() => Err(ResolveError::discovery(DiscoveryError {
            cause: "it finds no peers, not even this node".to_owned(),
            remedy: "check its namespace, selectors or filters".into(),
        })),
        found => Ok(found),
    }
}

fn found<T>(records: &str, name: &str, result: Result<Vec<T>, LookupError>) -> Result<Vec<T>, ResolveError> {
    let error = match result {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => LookupError::Absent,
        Err(error) => error,
    };
    Err(ResolveError::dns(error == LookupError::Absent, format!("{records} lookup of {name}: {error}")))
}

#[cfg(test)]
mod tests;
