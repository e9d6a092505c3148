//! Tests of join addresses: what the code beside it promises, case by case.

use std::collections::HashMap;

use super::*;

/// Name servers with fixed answers; names that are not listed are absent, `broken` fails.
#[derive(Default)]
struct Answers {
    ips: HashMap<&'static str, Vec<&'static str>>,
    srv: HashMap<&'static str, Vec<&'static str>>,
}

impl Answers {
    fn of<T>(answers: &HashMap<&str, Vec<&str>>, name: &str, parse: fn(&str) -> T) -> Result<Vec<T>, LookupError> {
        if name == "broken" {
            return Err(LookupError::Failed("SERVFAIL".into()));
        }
        let found = answers.get(name).ok_or(LookupError::Absent)?;
        Ok(found.iter().map(|text| parse(text)).collect())
    }
}

#[async_trait]
impl Dns for Answers {
    async fn ips(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        Self::of(&self.ips, host, |text| text.parse().unwrap())
    }

    async fn srv_targets(&self, name: &str) -> Result<Vec<String>, LookupError> {
        Self::of(&self.srv, name, str::to_owned)
    }
}

struct Silent;

#[async_trait]
impl Dns for Silent {
    async fn ips(&self, _: &str) -> Result<Vec<IpAddr>, LookupError> {
        std::future::pending().await
    }

    async fn srv_targets(&self, _: &str) -> Result<Vec<String>, LookupError> {
        std::future::pending().await
    }
}

async fn resolve(address: &str) -> Result<Vec<String>, ResolveError> {
    let answers = Answers {
        ips: HashMap::from([
            ("peers", vec!["10.0.0.2", "10.0.0.1", "10.0.0.2"]),
            ("both", vec!["10.1.0.1"]),
            ("pod-0.peers", vec!["10.0.0.3"]),
            ("six", vec!["fd00::1"]),
        ]),
        srv: HashMap::from([
            ("both", vec!["pod-0.peers"]),
            ("only-srv", vec!["pod-0.peers", "10.0.0.9", "gone.peers"]),
            ("dangling", vec!["gone.peers"]),
        ]),
    };
    let address = address.parse::<JoinAddress>().unwrap();
    let found = Resolver::new(Arc::new(answers), 12345).resolve(&address).await?;
    Ok(found.iter().map(SocketAddr::to_string).collect())
}

#[tokio::test]
async fn an_ip_needs_no_lookup_and_takes_the_own_port_if_it_has_none() {
    assert_eq!(resolve("10.9.9.9").await.unwrap(), ["10.9.9.9:12345"]);
    assert_eq!(resolve("10.9.9.9:80").await.unwrap(), ["10.9.9.9:80"]);
    assert_eq!(resolve("fd00::7").await.unwrap(), ["[fd00::7]:12345"]);
    assert_eq!(resolve("[fd00::7]:80").await.unwrap(), ["[fd00::7]:80"]);
    assert_eq!(resolve("[fd00::7]").await.unwrap(), ["[fd00::7]:12345"]);
}

#[tokio::test]
async fn a_name_gives_each_of_its_addresses_once_in_order() {
    assert_eq!(resolve("peers").await.unwrap(), ["10.0.0.1:12345", "10.0.0.2:12345"]);
    assert_eq!(resolve("dns+peers:99").await.unwrap(), ["10.0.0.1:99", "10.0.0.2:99"]);
    assert_eq!(resolve("six:99").await.unwrap(), ["[fd00::1]:99"]);
}

#[tokio::test]
async fn address_records_come_before_srv_unless_a_prefix_says_otherwise() {
    assert_eq!(resolve("both").await.unwrap(), ["10.1.0.1:12345"]);
    assert_eq!(resolve("dnssrv+both").await.unwrap(), ["10.0.0.3:12345"]);
    assert_eq!(resolve("dnssrvnoa+both:7").await.unwrap(), ["10.0.0.3:7"]);
    assert_eq!(resolve("only-srv").await.unwrap(), ["10.0.0.3:12345", "10.0.0.9:12345"]);
}

#[tokio::test]
async fn a_name_that_is_not_there_differs_from_name_servers_that_do_not_answer() {
    let absent = resolve("nobody").await.unwrap_err();
    assert!(absent.absent, "{absent}");
    assert!(absent.cause.contains("A/AAAA lookup of nobody") && absent.cause.contains("SRV"), "{absent}");
    let failed = resolve("broken").await.unwrap_err();
    assert!(!failed.absent && failed.cause.contains("SERVFAIL"), "{failed}");
    assert_ne!(absent.remedy(), failed.remedy());
    assert!(resolve("dns+only-srv").await.unwrap_err().absent);
    assert!(resolve("dnssrv+dangling").await.unwrap_err().cause.contains("gone.peers"));
}

#[tokio::test(start_paused = true)]
async fn name_servers_that_say_nothing_are_not_waited_for_longer_than_the_timeout() {
    let address = "peers".parse().unwrap();
    let error = Resolver::new(Arc::new(Silent), 1).resolve(&address).await.unwrap_err();
    assert!(!error.absent && error.cause.contains("5 s"), "{error}");
}

#[test]
fn an_address_that_cannot_be_meant_is_refused_with_its_text() {
    for text in ["", "dns+", "host:", "host:0", "host:65536", "host:http", "[fd00::1", "[fd00::1]x", "a b", "http://a/b"] {
        let error = text.parse::<JoinAddress>().unwrap_err();
        assert!(error.to_string().contains(&format!("\"{text}\"")), "{error}");
    }
}
