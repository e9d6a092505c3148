//! The arguments: what is decoded, what is refused, and that secrets stay hidden.
#![allow(clippy::unwrap_used)]

use net::{Client, ClientOptions, HttpClientConfig, TlsVersion};
use syntax::{Block, Scope};

fn decode(source: &str) -> Result<HttpClientConfig, String> {
    syntax::decode_str(source, &Scope::new()).map_err(|error| error.to_string())
}

const EVERYTHING: &str = r#"
    proxy_url = "http://me:hunter2@proxy:3128"
    no_proxy = "example.org"
    proxy_connect_header = { "X-A" = ["hunter2"] }
    follow_redirects = false
    enable_http2 = false
    http_headers = { "X-B" = ["hunter2"] }
    oauth2 {
        client_id = "id"
        client_secret = "hunter2"
        token_url = "https://token/"
        scopes = ["a"]
        endpoint_params = { p = "q" }
        proxy_url = "http://other:3128"
        tls_config {
            key_pem = "hunter2"
            cert_pem = "c"
        }
    }
    tls_config {
        ca_pem = "c"
        cert_file = "/c"
        key_file = "/k"
        server_name = "s"
        insecure_skip_verify = true
        min_version = "TLS12"
    }
"#;

#[test]
fn an_empty_body_means_the_defaults() {
    let config = decode("").unwrap();
    assert_eq!(config, HttpClientConfig::default());
    assert!(config.follow_redirects && config.enable_http2.is_none());
    assert_eq!(HttpClientConfig::defaults(), Some(config));
}

#[test]
fn every_argument_is_understood_and_no_secret_is_shown() {
    let config = decode(EVERYTHING).unwrap();
    assert_eq!(config.tls_config.min_version, Some(TlsVersion::Tls12));
    assert_eq!(config.oauth2.as_ref().unwrap().proxy.proxy_url.to_string(), "http://other:3128");
    assert_eq!(config.http_headers["X-B"][0].expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert!(!format!("{:?}", config.to_body()).contains("hunter2"), "{:?}", config.to_body());
}

#[test]
fn arguments_that_exclude_each_other_are_refused_in_alloys_words() {
    let one_auth = "at most one of basic_auth, authorization, oauth2, bearer_token & bearer_token_file must be configured";
    for (source, message) in [
        ("bearer_token = \"a\"\nbearer_token_file = \"/b\"", one_auth),
        ("bearer_token = \"a\"\nbasic_auth {\n}", one_auth),
        ("authorization {\n}\nbasic_auth {\n}", one_auth),
        (
            "basic_auth {\n password = \"a\"\n password_file = \"/b\"\n}",
            "at most one of basic_auth password & password_file must be configured",
        ),
        (
            "authorization {\n credentials = \"a\"\n credentials_file = \"/b\"\n}",
            "at most one of authorization credentials & credentials_file must be configured",
        ),
        ("authorization {\n type = \"Basic\"\n}", "authorization type cannot be set to \"basic\", use \"basic_auth\" block instead"),
        ("oauth2 {\n}", "oauth2 client_id must be configured"),
        ("oauth2 {\n client_id = \"a\"\n}", "either oauth2 client_secret or client_secret_file must be configured"),
        ("oauth2 {\n client_id = \"a\"\n client_secret = \"b\"\n}", "oauth2 token_url must be configured"),
        ("tls_config {\n ca_pem = \"a\"\n ca_file = \"/b\"\n}", "at most one of ca_pem and ca_file must be configured"),
        (
            "tls_config {\n cert_pem = \"a\"\n}",
            "exactly one of key_pem or key_file must be configured when a client certificate is configured",
        ),
        ("tls_config {\n key_file = \"/a\"\n}", "exactly one of cert_pem or cert_file must be configured when a client key is configured"),
        ("no_proxy = \"a\"", "if no_proxy is configured, proxy_url must also be configured"),
        (
            "proxy_from_environment = true\nproxy_url = \"http://a\"",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        ),
        ("http_headers = { \"Authorization\" = [\"hunter2\"] }", "setting header \"Authorization\" is not allowed"),
        ("http_headers = { \"A B\" = [\"hunter2\"] }", "\"A B\" is not a header name"),
        ("http_headers = { \"A\" = [\"hunter2\\n\"] }", "the value of header \"A\" holds characters that no header can hold"),
        ("tls_config {\n min_version = \"TLS9\"\n}", "TLS9"),
        ("proxy_url = \"socks5://u:hunter2@h\"", "has the scheme \"socks5\"; only http and https are supported"),
    ] {
        let error = decode(source).unwrap_err();
        assert!(error.contains(message) && !error.contains("hunter2\n"), "{source}: {error}");
    }
}

#[test]
fn an_empty_proxy_url_is_none() {
    assert_eq!(decode("proxy_url = \"\"").unwrap(), HttpClientConfig::default());
}

#[test]
fn what_is_not_supported_is_refused_by_name_when_the_client_is_built() {
    let config = decode("proxy_url = \"https://proxy:3128\"").unwrap();
    let error = Client::new(&config, ClientOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "proxy_url: only proxies that are reached with http:// are supported");
}
