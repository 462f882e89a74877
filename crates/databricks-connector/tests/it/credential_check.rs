//! The check of every credential type against a workspace.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use databricks_connector::{
    Config, DatabricksConnector, Identity, SecretAccess, SecretContent, SecretError, SecretFuture,
    SecretNamespaces, SecretReader, TokenEndpoints, WorkspaceCheck, Workspaces,
};
use databricks_emulator::Emulator;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use secrecy::SecretString;
use serde_json::json;

const SECRET: &str = "canary-client-secret";
const TOKEN: &str = "dapi-emulator";

/// Returns a key set, and a token that it verifies.
fn issued() -> (String, String) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("k1".to_owned());
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("k1".to_owned());
    let claims = json!({"sub": "system:serviceaccount:flyte:connector", "aud": "databricks", "exp": 4_000_000_000_u64});
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    (json!({ "keys": [jwk] }).to_string(), token)
}

/// Returns each credential type of a workspaces file, with its settings.
fn kinds(folder: &Path) -> Vec<(&'static str, &'static str, String)> {
    let file = |name: &str| format!("\"{}\"", folder.join(name).display());
    let (token, secret, jwt) = (file("token"), file("secret"), file("jwt"));
    let azure = "tenant_id = \"t\", client_id = \"principal\"";
    vec![
        ("by-variable", "pat", "type = \"pat\", token_env = \"TOKEN\"".to_owned()),
        ("by-file", "pat", format!("type = \"pat\", token_file = {token}")),
        (
            "m2m",
            "oauth-m2m",
            format!(
                "type = \"oauth-m2m\", client_id = \"principal\", client_secret_file = {secret}"
            ),
        ),
        ("file", "file-oidc", format!("type = \"file-oidc\", token_file = {jwt}")),
        ("env", "env-oidc", "type = \"env-oidc\", token_env = \"JWT\"".to_owned()),
        (
            "azure",
            "azure-client-secret",
            format!("type = \"azure-client-secret\", {azure}, client_secret_env = \"SECRET\""),
        ),
        ("machine", "azure-msi", "type = \"azure-msi\"".to_owned()),
        (
            "workload",
            "azure-workload-identity",
            format!("type = \"azure-workload-identity\", {azure}, token_file = {jwt}"),
        ),
        ("google", "google-id", "type = \"google-id\"".to_owned()),
        ("standard", "oauth-m2m", "type = \"environment\"".to_owned()),
    ]
}

async fn checks(wrong: bool) -> Vec<WorkspaceCheck> {
    let (jwks, jwt) = issued();
    let secret = if wrong { "canary-another" } else { SECRET };
    let token = if wrong { "dapi-canary-another" } else { TOKEN };
    let emulator = Emulator::builder()
        .token(TOKEN)
        .service_principal("principal", SECRET)
        .trust_issuer(if wrong { issued().0 } else { jwks }, None)
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("token", token), ("secret", secret), ("jwt", &jwt)] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let host = emulator.http_url();
    let text: Vec<String> = kinds(folder.path())
        .into_iter()
        .map(|(name, _, auth)| {
            format!("[workspace.{name}]\nhost = \"{host}\"\nauth = {{ {auth} }}\n")
        })
        .collect();
    let secret = secret.to_owned();
    let token = token.to_owned();
    let variables = move |name: &str| match name {
        "TOKEN" => Some(token.clone()),
        "JWT" => Some(jwt.clone()),
        "SECRET" | "DATABRICKS_CLIENT_SECRET" => Some(secret.clone()),
        "DATABRICKS_CLIENT_ID" => Some("principal".to_owned()),
        _ => None,
    };
    let workspaces = Workspaces::parse(&text.concat(), &(Arc::new(variables) as _)).unwrap();
    let cloud = Some(emulator.cloud_url());
    let token_endpoints = TokenEndpoints {
        azure_login: cloud.clone(),
        azure_metadata: cloud.clone(),
        google_metadata: cloud.clone(),
        google_iam: cloud,
    };
    let config = Config { workspaces, token_endpoints, ..Config::default() };
    let checks = DatabricksConnector::new(config).unwrap().check().await;
    assert!(emulator.runs().is_empty());
    checks
}

#[tokio::test]
async fn every_credential_type_is_checked_by_name() {
    let checks = checks(false).await;
    let kinds = kinds(Path::new("/"));
    assert_eq!(checks.len(), kinds.len());
    for (check, (name, kind, _)) in checks.iter().zip(kinds) {
        assert!(check.is_good(), "{check:?}");
        assert_eq!((check.name.as_str(), check.kind), (name, kind));
        assert_eq!(check.can_submit, Ok(true));
    }
}

#[tokio::test]
async fn rejected_credential_is_reported_without_its_secret() {
    for check in checks(true).await {
        // The emulated clouds issue tokens to every caller on the machine.
        let is_machine = matches!(check.kind, "azure-msi" | "google-id");
        assert_eq!(check.is_good(), is_machine, "{check:?}");
        assert!(!format!("{check:?}").contains("canary"), "{check:?}");
    }
}

/// Secrets by namespace.
#[derive(Debug)]
struct Cluster;

impl SecretReader for Cluster {
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str) -> SecretFuture<'a> {
        assert_eq!(name, "databricks-token");
        let given = |text: &str| Some(SecretString::from(text.to_owned()));
        let found = match namespace {
            "with-token" => {
                Ok(Some(SecretContent { token: given(TOKEN), ..SecretContent::default() }))
            }
            "with-principal" => Ok(Some(SecretContent {
                client_id: given("principal"),
                client_secret: given(SECRET),
                ..SecretContent::default()
            })),
            "forbidden" => Err(SecretError::Permanent("403: no Role".to_owned())),
            _ => Ok(None),
        };
        Box::pin(async move { found })
    }
}

#[tokio::test]
async fn secrets_of_listed_namespaces_are_checked_at_the_default_workspace() {
    let emulator = Emulator::builder()
        .token(TOKEN)
        .service_principal("principal", SECRET)
        .start()
        .await
        .unwrap();
    let names = ["absent", "forbidden", "with-principal", "with-token"].map(str::to_owned);
    let namespaces = SecretNamespaces::Listed(BTreeSet::from(names));
    let config = Config {
        instance: Some(emulator.http_url()),
        namespace_secrets: Some(SecretAccess { reader: Arc::new(Cluster), namespaces }),
        ..Config::default()
    };
    let checks = DatabricksConnector::new(config).unwrap().check().await;
    let results: Vec<(&str, &str, bool)> =
        checks.iter().map(|check| (check.name.as_str(), check.kind, check.is_good())).collect();
    assert_eq!(
        results,
        [
            ("absent/databricks-token", "-", true),
            ("forbidden/databricks-token", "-", false),
            ("with-principal/databricks-token", "oauth-m2m", true),
            ("with-token/databricks-token", "pat", true),
        ]
    );
    let Identity::Unknown(why) = &checks[1].identity else { panic!("{checks:?}") };
    assert!(why.contains("no Role") && why.contains("forbidden"), "{why}");
}
