//! The arguments: what is decoded, what is refused, and that secrets stay hidden.
#![allow(clippy::unwrap_used)]

use net::{Client, ClientOptions, CloudAuthConfig, HttpClientConfig, TlsVersion};
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
        ("proxy_url = \"ftp://u:hunter2@h\"", "has the scheme \"ftp\"; only http, https, socks5 and socks5h are supported"),
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
fn proxies_of_every_kind_are_taken() {
    for scheme in ["http", "https", "socks5", "socks5h"] {
        let config = decode(&format!("proxy_url = \"{scheme}://me:hunter2@proxy:3128\"")).unwrap();
        assert!(Client::new(&config, ClientOptions::default()).is_ok());
        assert_eq!(config.proxy.proxy_url.to_string().trim_end_matches('/'), format!("{scheme}://me:xxxxx@proxy:3128"));
    }
}

fn cloud(source: &str) -> Result<CloudAuthConfig, String> {
    syntax::decode_str(source, &Scope::new()).map_err(|error| error.to_string())
}

const ID: &str = "12345678-90ab-cdef-1234-567890ABCDEF";

#[test]
fn clouds_have_alloys_defaults() {
    let config = cloud("sigv4 {\n}").unwrap();
    assert_eq!(config.sigv4.as_ref().unwrap().service_name, "aps");
    let config = cloud(&format!("azuread {{\n workload_identity {{\n client_id = \"{ID}\"\n tenant_id = \"{ID}\"\n}}\n}}")).unwrap();
    let azuread = config.azuread.unwrap();
    assert_eq!((azuread.cloud.as_str(), azuread.scope.as_str()), ("AzurePublic", ""));
    assert_eq!(azuread.workload_identity.unwrap().token_file_path, "/var/run/secrets/azure/tokens/azure-identity-token");
    assert_eq!(cloud("google_iam {\n}").unwrap().google_iam.unwrap().credentials_file, "");
}

#[test]
fn secrets_of_clouds_are_not_shown() {
    let oauth = format!("oauth {{\n client_id = \"{ID}\"\n client_secret = \"hunter2\"\n tenant_id = \"t\"\n}}");
    let config = cloud(&format!("sigv4 {{\n access_key = \"A\"\n secret_key = \"hunter2\"\n}}\nazuread {{\n {oauth}\n}}")).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert!(!format!("{:?}", config.to_body()).contains("hunter2"));
}

#[test]
fn there_is_at_most_one_way_to_authenticate() {
    let message = "at most one of sigv4, azuread, google_iam, basic_auth, oauth2, bearer_token & bearer_token_file must be configured";
    for (clouds, http, is_good) in [
        ("", "basic_auth {\n}", true),
        ("sigv4 {\n}", "", true),
        ("sigv4 {\n}\ngoogle_iam {\n}", "", false),
        ("sigv4 {\n}", "basic_auth {\n}", false),
        ("google_iam {\n}", "bearer_token = \"t\"", false),
        ("google_iam {\n}", "bearer_token_file = \"/t\"", false),
        ("google_iam {\n}", "authorization {\n}", false),
    ] {
        let result = cloud(clouds).unwrap().check_with(&decode(http).unwrap());
        assert_eq!(result, if is_good { Ok(()) } else { Err(message.to_owned()) }, "{clouds} {http}");
    }
}

#[test]
fn what_clouds_cannot_take_is_refused_in_alloys_words() {
    let identity = |id: &str| format!("managed_identity {{\n client_id = \"{id}\"\n}}");
    let oauth = |secret: &str, tenant: &str| {
        format!("azuread {{\n oauth {{\n client_id = \"{ID}\"\n client_secret = \"{secret}\"\n tenant_id = \"{tenant}\"\n}}\n}}")
    };
    for (source, part) in [
        ("sigv4 {\n access_key = \"A\"\n}".to_owned(), "must provide an AWS SigV4 access key and secret key if credentials are specified"),
        ("sigv4 {\n external_id = \"A\"\n}".to_owned(), "external_id can only be used with role_arn"),
        ("azuread {\n}".to_owned(), "must provide an Azure Managed Identity, Azure Workload Identity, Azure OAuth or Azure SDK"),
        (format!("azuread {{\n {}\n sdk {{\n tenant_id = \"\"\n}}\n}}", identity(ID)), "cannot provide multiple authentication methods"),
        (format!("azuread {{\n cloud = \"AzureMoon\"\n {}\n}}", identity(ID)), "AzureMoon"),
        (format!("azuread {{\n scope = \"a;b\"\n {}\n}}", identity(ID)), "the provided scope contains invalid characters"),
        (format!("azuread {{\n {}\n}}", identity("")), "must provide an Azure Managed Identity client_id in the Azure AD config"),
        (
            format!("azuread {{\n {}\n}}", identity("12345678_90ab-cdef-1234-567890ABCDEF")),
            "the provided Azure Managed Identity client_id is invalid",
        ),
        (oauth("", "t"), "must provide an Azure OAuth client_secret"),
        (oauth("s", "a/../b"), "the provided Azure OAuth tenant_id is invalid"),
    ] {
        let error = cloud(&source).unwrap_err();
        assert!(error.contains(part), "{source}: {error}");
    }
    for id in [ID, "1234567890abcdef1234567890abcdef", &format!("{{{ID}}}"), &format!("urn:uuid:{ID}")] {
        assert!(cloud(&format!("azuread {{\n {}\n}}", identity(id))).is_ok(), "{id}");
    }
}
