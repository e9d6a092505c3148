//! Tokens from stand-ins for Azure's services.

use std::time::Duration;

use super::*;
use crate::error::Step;
use crate::support::{Answer, Asked, Server, ok, status};

const CLIENT: &str = "00000000-0000-0000-0000-0000000000aa";
const TENANT: &str = "00000000-0000-0000-0000-0000000000bb";

fn granted(_: &Asked) -> Answer {
    ok(r#"{"token_type":"Bearer","expires_in":3600,"access_token":"granted"}"#)
}

/// Tokens by these arguments, with the stand-in for the token server, if there is one.
fn tokens(block: &str, authority: Option<&Server>, environment: Environment) -> AzureTokens {
    let config: AzureAdConfig = syntax::decode_str(block, &syntax::Scope::new()).unwrap();
    let options = ClientOptions { environment, ..ClientOptions::default() };
    let mut tokens = AzureTokens::new(&config, &options).unwrap();
    if let Some(server) = authority {
        tokens.authority = server.url("");
    }
    tokens
}

fn form(asked: &Asked) -> Vec<(String, String)> {
    url::form_urlencoded::parse(&asked.body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn an_application_shows_its_secret() {
    let server = Server::plain(granted).await;
    let block = format!("oauth {{\n client_id = \"{CLIENT}\"\n client_secret = \"hunter2&\"\n tenant_id = \"my.tenant\"\n}}");
    let tokens = tokens(&block, Some(&server), Environment::of([]));
    for _ in 0..3 {
        assert_eq!(tokens.header().await.unwrap(), "Bearer granted");
    }
    assert_eq!(server.count(), 1);
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("POST", "/my.tenant/oauth2/v2.0/token"));
    let expected = [("grant_type", "client_credentials"), ("client_id", CLIENT), ("scope", scope(AzureCloud::Public))];
    assert_eq!(form(&asked), pairs(&[&expected[..], &[("client_secret", "hunter2&")]].concat()));
}

#[tokio::test]
async fn a_token_is_renewed_at_half_of_its_lifetime() {
    let server = Server::plain(granted).await;
    let environment = Environment::of([("AZURE_POD_IDENTITY_AUTHORITY_HOST", &server.url(""))]);
    let tokens = tokens(&format!("managed_identity {{\n client_id = \"{CLIENT}\"\n}}"), None, environment);
    for (seconds, asked) in [(0, 1), (1700, 1), (110, 2)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        tokens.header().await.unwrap();
        assert_eq!(server.count(), asked, "{seconds} s later");
    }
}

#[tokio::test]
async fn a_workload_shows_its_token_and_a_rotated_one_the_next_time() {
    let server = Server::plain(granted).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let block = format!(
        "scope = \"https://x.example/.default\"\nworkload_identity {{\n client_id = \"{CLIENT}\"\n tenant_id = \"{TENANT}\"\n \
         token_file_path = \"{}\"\n}}",
        file.display()
    );
    let tokens = tokens(&block, Some(&server), Environment::of([]));
    let error = tokens.fetch().await.unwrap_err();
    assert!(error.step == Step::Credentials && error.cause.starts_with("azuread: token_file_path: cannot read"), "{error}");
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert_eq!(tokens.fetch().await.unwrap().lifetime, Some(Duration::from_secs(3600)));
        let asked = server.last();
        assert_eq!(asked.uri.path(), format!("/{TENANT}/oauth2/v2.0/token"));
        let shown = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", token)];
        assert_eq!(form(&asked)[2..], pairs(&[&[("scope", "https://x.example/.default")][..], &shown].concat()));
    }
}

#[tokio::test]
async fn a_machine_asks_its_metadata_service() {
    let server = Server::plain(granted).await;
    let environment = Environment::of([("AZURE_POD_IDENTITY_AUTHORITY_HOST", &server.url("/"))]);
    let block = format!("cloud = \"AzureChina\"\nmanaged_identity {{\n client_id = \"{CLIENT}\"\n}}");
    assert_eq!(tokens(&block, None, environment).header().await.unwrap(), "Bearer granted");
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("GET", METADATA_PATH));
    let query = format!("api-version=2018-02-01&resource=https%3A%2F%2Fmonitor.azure.cn%2F&client_id={CLIENT}");
    assert_eq!((asked.uri.query(), asked.header("metadata")), (Some(query.as_str()), Some("true")));
}

const METADATA_PATH: &str = "/metadata/identity/oauth2/token";

#[tokio::test]
async fn an_app_asks_the_service_that_variables_name() {
    let server = Server::plain(granted).await;
    let environment = Environment::of([("IDENTITY_ENDPOINT", &server.url("/msi/token")), ("IDENTITY_HEADER", "hunter2")]);
    let block = format!("managed_identity {{\n client_id = \"{CLIENT}\"\n}}");
    assert_eq!(tokens(&block, None, environment).header().await.unwrap(), "Bearer granted");
    let asked = server.last();
    assert_eq!((asked.uri.path(), asked.header("x-identity-header")), ("/msi/token", Some("hunter2")));
    assert!(asked.uri.query().unwrap().starts_with("api-version=2019-08-01&resource="));
    for (variables, kind) in [
        (vec![("IDENTITY_ENDPOINT", "http://x")], "Azure Arc"),
        (vec![("IDENTITY_ENDPOINT", "http://x"), ("IDENTITY_HEADER", "h"), ("IDENTITY_SERVER_THUMBPRINT", "t")], "Service Fabric"),
        (vec![("MSI_ENDPOINT", "http://x")], "Cloud Shell"),
    ] {
        let error = tokens(&block, None, environment_of(&variables)).header().await.unwrap_err();
        assert!(error.cause.contains(kind) && error.cause.contains("not supported"), "{error}");
    }
}

fn environment_of(variables: &[(&str, &str)]) -> Environment {
    let mut all = [("", ""); 4];
    all[..variables.len()].copy_from_slice(variables);
    Environment::of(all)
}

#[tokio::test]
async fn the_sdk_block_takes_what_it_finds() {
    let (authority, machine) = (Server::plain(granted).await, Server::plain(granted).await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt").unwrap();
    let (host, file) = (machine.url(""), file.to_str().unwrap().to_owned());
    let machine_host = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", host.as_str());
    for (variables, of_authority, part) in [
        (vec![("AZURE_CLIENT_ID", CLIENT), ("AZURE_TENANT_ID", "t1"), ("AZURE_CLIENT_SECRET", "s"), machine_host], true, "client_secret=s"),
        (vec![("AZURE_CLIENT_ID", CLIENT), ("AZURE_FEDERATED_TOKEN_FILE", &file), machine_host], true, "client_assertion=jwt"),
        (vec![("AZURE_CLIENT_ID", CLIENT), machine_host], false, ""),
        (vec![machine_host], false, ""),
    ] {
        let before = authority.count();
        let tokens = tokens("sdk {\n tenant_id = \"t2\"\n}", Some(&authority), environment_of(&variables));
        assert_eq!(tokens.header().await.unwrap(), "Bearer granted");
        assert_eq!(authority.count() - before, usize::from(of_authority), "{variables:?}");
        if of_authority {
            assert!(String::from_utf8_lossy(&authority.last().body).contains(part));
        }
    }
    assert_eq!(authority.asked.lock().iter().map(|asked| asked.uri.path()[..4].to_owned()).collect::<Vec<_>>(), ["/t1/", "/t2/"]);
    let with_id: Vec<bool> = machine.asked.lock().iter().map(|asked| asked.uri.query().unwrap().contains("client_id")).collect();
    assert_eq!(with_id, [true, false]);
}

#[tokio::test]
async fn refusals_are_told_without_secrets() {
    let server = Server::plain(|_| {
        let body = r#"{"error":"invalid_client","error_description":"hunter2"}"#;
        http::Response::builder().status(401).body(body.into()).unwrap()
    })
    .await;
    let block = format!("oauth {{\n client_id = \"{CLIENT}\"\n client_secret = \"hunter2\"\n tenant_id = \"t\"\n}}");
    let error = tokens(&block, Some(&server), Environment::of([])).header().await.unwrap_err();
    assert_eq!(error.cause, "azuread: cannot fetch token: 401 Unauthorized: invalid_client");
    let silent = Server::plain(|_| ok(r#"{"access_token":"t"}"#)).await;
    let error = tokens(&block, Some(&silent), Environment::of([])).header().await.unwrap_err();
    assert!(error.cause.contains("how long"), "{error}");
    let machine = Server::plain(|_| status(503)).await;
    let environment = Environment::of([("AZURE_POD_IDENTITY_AUTHORITY_HOST", &machine.url(""))]);
    let error = tokens("sdk {\n tenant_id = \"\"\n}", None, environment).header().await.unwrap_err();
    assert!(error.cause.contains("AZURE_CLIENT_SECRET") && error.cause.contains("503"), "{error}");
}

#[test]
fn every_cloud_has_its_servers() {
    for cloud in AzureCloud::ALL {
        let name = authority(*cloud).strip_prefix("https://login.").unwrap();
        assert!(!name.ends_with('/') && scope(*cloud).ends_with("//.default"), "{name}");
    }
    let government = tokens("cloud = \"AzureGovernment\"\nsdk {\n tenant_id = \"\"\n}", None, Environment::of([]));
    assert_eq!(
        (government.authority.as_str(), government.scope.as_str()),
        ("https://login.microsoftonline.us", "https://monitor.azure.us//.default")
    );
}
