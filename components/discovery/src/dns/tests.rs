//! Lookups against a server of our own on loopback.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, NS, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::*;

/// What the server answers; a name that is missing does not exist.
type Zone = Arc<Mutex<HashMap<(String, RecordType), Result<Vec<RData>, ResponseCode>>>>;

async fn server() -> (SocketAddr, Zone) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Zone::default();
    let answers = zone.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let request = Message::from_vec(&buffer[..len]).unwrap();
            let query = request.queries[0].clone();
            let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
            reply.metadata.recursion_available = true;
            reply.add_query(query.clone());
            let key = (query.name().to_ascii().to_lowercase(), query.query_type());
            match answers.lock().get(&key) {
                Some(Ok(data)) => {
                    reply.add_answers(data.iter().map(|data| Record::from_rdata(query.name().clone(), 60, data.clone())));
                }
                Some(Err(code)) => reply.metadata.response_code = *code,
                None => reply.metadata.response_code = ResponseCode::NXDomain,
            }
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (address, zone)
}

fn resolver(address: SocketAddr) -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.options_mut().attempts = 0;
    builder.build().unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

async fn dns(source: &str) -> (Dns, Zone, Metrics, Registry) {
    let (address, zone) = server().await;
    let arguments = syntax::decode_str(source, &syntax::Scope::new()).unwrap();
    let registry = Registry::new();
    let metrics = Dns::metrics(&registry).unwrap();
    (Dns { resolver: Some(resolver(address)), ..Dns::new(arguments).unwrap() }, zone, metrics, registry)
}

fn shown(refreshed: &Refreshed) -> Vec<String> {
    refreshed.targets.as_ref().unwrap().iter().map(|target| target.0.to_string()).collect()
}

#[tokio::test]
async fn srv_records_bring_their_ports() {
    let (mut dns, zone, metrics, _) = dns(r#"names = ["_http._tcp.example.org"]"#).await;
    let records = vec![RData::SRV(SRV::new(0, 0, 9101, name("b.example.org."))), RData::SRV(SRV::new(0, 0, 9100, name("a.example.org.")))];
    zone.lock().insert(("_http._tcp.example.org.".into(), RecordType::SRV), Ok(records));
    assert_eq!(
        shown(&dns.refresh(&metrics).await),
        [
            r#"{__address__="a.example.org:9100", __meta_dns_name="_http._tcp.example.org", __meta_dns_srv_record_port="9100", __meta_dns_srv_record_target="a.example.org."}"#,
            r#"{__address__="b.example.org:9101", __meta_dns_name="_http._tcp.example.org", __meta_dns_srv_record_port="9101", __meta_dns_srv_record_target="b.example.org."}"#,
        ]
    );
}

#[tokio::test]
async fn addresses_get_the_configured_port_whatever_the_way_to_them() {
    let (mut dns, zone, metrics, _) = dns("names = [\"h.example\"]\ntype = \"a\"\nport = 80").await;
    let records =
        vec![RData::CNAME(CNAME(name("x.example."))), RData::A(A(Ipv4Addr::new(10, 0, 0, 2))), RData::A(A(Ipv4Addr::new(10, 0, 0, 1)))];
    zone.lock().insert(("h.example.".into(), RecordType::A), Ok(records));
    let expected =
        [r#"{__address__="10.0.0.1:80", __meta_dns_name="h.example"}"#, r#"{__address__="10.0.0.2:80", __meta_dns_name="h.example"}"#];
    assert_eq!(shown(&dns.refresh(&metrics).await), expected, "sorted, however they come");
}

#[tokio::test]
async fn aaaa_mx_and_ns_records_are_understood() {
    for (kind, data, expected) in [
        ("AAAA", RData::AAAA(AAAA("fe80::1".parse().unwrap())), r#"{__address__="[fe80::1]:80", __meta_dns_name="h."}"#),
        (
            "MX",
            RData::MX(MX::new(1, name("mail.h."))),
            r#"{__address__="mail.h:80", __meta_dns_mx_record_target="mail.h.", __meta_dns_name="h."}"#,
        ),
        ("NS", RData::NS(NS(name("ns.h."))), r#"{__address__="ns.h:80", __meta_dns_name="h.", __meta_dns_ns_record_target="ns.h."}"#),
    ] {
        let (mut dns, zone, metrics, _) = dns(&format!("names = [\"h.\"]\ntype = \"{kind}\"\nport = 80")).await;
        zone.lock().insert(("h.".into(), data.record_type()), Ok(vec![data]));
        assert_eq!(shown(&dns.refresh(&metrics).await), [expected]);
    }
}

#[tokio::test]
async fn a_failing_name_keeps_its_targets_and_a_vanished_one_loses_them() {
    let (mut dns, zone, metrics, registry) = dns("names = [\"a.\", \"b.\"]\ntype = \"A\"\nport = 80").await;
    let address = |last| RData::A(A(Ipv4Addr::new(10, 0, 0, last)));
    zone.lock().insert(("a.".into(), RecordType::A), Ok(vec![address(1)]));
    zone.lock().insert(("b.".into(), RecordType::A), Ok(vec![address(2)]));
    let first = dns.refresh(&metrics).await;
    assert!(first.failures.is_empty());
    zone.lock().insert(("a.".into(), RecordType::A), Err(ResponseCode::ServFail));
    zone.lock().insert(("b.".into(), RecordType::A), Ok(vec![address(3)]));
    let second = dns.refresh(&metrics).await;
    let expected = [r#"{__address__="10.0.0.1:80", __meta_dns_name="a."}"#, r#"{__address__="10.0.0.3:80", __meta_dns_name="b."}"#];
    assert_eq!(shown(&second), expected);
    assert!(second.failures.len() == 1 && second.failures[0].contains("\"a.\""), "{:?}", second.failures);
    zone.lock().remove(&("a.".into(), RecordType::A));
    zone.lock().insert(("b.".into(), RecordType::A), Ok(Vec::new()));
    let third = dns.refresh(&metrics).await;
    assert!(shown(&third).is_empty() && third.failures.is_empty(), "no such name and no such record are answers: {third:?}");
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("prometheus_sd_dns_lookups_total 6") && text.contains("prometheus_sd_dns_lookup_failures_total 1"), "{text}");
}

#[test]
fn arguments_are_checked() {
    let check = |source: &str| syntax::decode_str::<Arguments>(source, &syntax::Scope::new()).map_err(|error| error.to_string());
    assert_eq!(check("names = [\"a\"]").unwrap().record_type, "SRV");
    assert!(check("names = [\"a\"]\ntype = \"A\"").unwrap_err().contains("a port is required"));
    assert!(check("names = [\"a\"]\ntype = \"TXT\"").unwrap_err().contains("invalid DNS-SD records type TXT"));
    assert!(check("names = [\"a\"]\nrefresh_interval = \"0s\"").unwrap_err().contains("refresh_interval"));
    assert!(check("").unwrap_err().contains("names"));
}
