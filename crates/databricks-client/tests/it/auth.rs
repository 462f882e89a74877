//! Each kind of credential, against a workspace and its token endpoints.

use std::{fs, sync::Arc, time::Duration};

use databricks_client::{
    AzureCloud, Client, ClientPool, ClientSecret, Credentials, Environment, ErrorKind, Host,
    SubjectToken, TokenEndpoints,
    jobs::{ListRuns, Submission},
};
use databricks_emulator::{
    CannedResponse, Emulator, EmulatorBuilder, Endpoint, RecordedAuthorization,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use secrecy::SecretString;
use serde_json::json;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header},
};

use crate::wait::eventually;

const SECRET: &str = "canary-client-secret";

/// An identity provider that the workspace trusts.
struct Issuer {
    key: EncodingKey,
    jwks: String,
}

impl Issuer {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some("k1".to_owned());
        Self { key, jwks: json!({ "keys": [jwk] }).to_string() }
    }

    fn token(&self, audience: &str) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        let claims = json!({"sub": "system:serviceaccount:flyte:connector", "aud": audience, "exp": 4_000_000_000_u64});
        jsonwebtoken::encode(&header, &claims, &self.key).unwrap()
    }
}

async fn emulator(change: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Emulator {
    change(Emulator::builder().service_principal("principal", SECRET)).start().await.unwrap()
}

fn client(emulator: &Emulator, credentials: Credentials) -> Client {
    let pool = ClientPool::builder().build().unwrap();
    pool.client(&Host::parse(&emulator.http_url()).unwrap(), credentials)
}

fn m2m() -> Credentials {
    Credentials::oauth_m2m("the principal", "principal", SecretString::from(SECRET))
}

fn token_endpoints(emulator: &Emulator) -> TokenEndpoints {
    let url = Some(emulator.cloud_url());
    TokenEndpoints {
        azure_login: url.clone(),
        azure_metadata: url.clone(),
        google_metadata: url.clone(),
        google_iam: url,
    }
}

async fn lists(client: &Client) -> Result<(), ErrorKind> {
    client.list_runs(&ListRuns::default()).await.map(|_page| ()).map_err(|error| error.kind())
}

#[tokio::test]
async fn service_principal_is_accepted_and_its_token_is_reused() {
    let emulator = emulator(|builder| builder).await;
    let client = client(&emulator, m2m());
    for _ in 0..3 {
        lists(&client).await.unwrap();
    }
    assert_eq!(emulator.tokens_minted(), 1);
    let agent = emulator.requests()[0].header("user-agent").unwrap().to_owned();
    assert!(agent.ends_with("auth/oauth-m2m"), "{agent}");
}

#[tokio::test]
async fn concurrent_calls_share_one_token_fetch() {
    let emulator = emulator(|builder| builder).await;
    let client = client(&emulator, m2m());
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { lists(&client).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(emulator.tokens_minted(), 1);
}

#[tokio::test]
async fn token_endpoint_that_is_down_receives_one_request_per_second() {
    let server = MockServer::start().await;
    let down = ResponseTemplate::new(503);
    Mock::given(any()).respond_with(down).mount(&server).await;
    let pool = ClientPool::builder().build().unwrap();
    let client = pool.client(&Host::parse(&server.uri()).unwrap(), m2m());
    let deadline = std::time::Instant::now() + Duration::from_millis(600);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone().with_deadline(Some(deadline));
            tokio::spawn(async move { client.list_runs(&ListRuns::default()).await.unwrap_err() })
        })
        .collect();
    for call in calls {
        let error = call.await.unwrap();
        assert!(error.is_retryable() && !error.may_have_effect(), "{error:?}");
        assert!(error.to_string().contains("returned 503 to the token request"), "{error}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn expired_token_is_replaced_and_the_call_is_retried() {
    let emulator = emulator(|builder| builder).await;
    let client = client(&emulator, m2m());
    lists(&client).await.unwrap();
    for (left, minted) in [(Duration::ZERO, 2), (Duration::from_secs(10), 3)] {
        emulator.expire_tokens_in(left);
        lists(&client).await.unwrap();
        assert_eq!(emulator.tokens_minted(), minted, "{left:?}");
    }
}

#[tokio::test]
async fn second_rejected_token_fails_the_call() {
    // Each token expires too soon to be accepted.
    let emulator = emulator(|builder| builder.token_lifetime(Duration::from_secs(20))).await;
    assert_eq!(lists(&client(&emulator, m2m())).await, Err(ErrorKind::Forbidden));
    assert_eq!(emulator.tokens_minted(), 2);
}

#[tokio::test]
async fn login_page_with_status_200_repeats_only_a_submission_with_a_token() {
    for (token, sent) in [(None, 1), (Some("once"), 2)] {
        let emulator = emulator(|builder| builder).await;
        let client = client(&emulator, m2m());
        lists(&client).await.unwrap();
        let page = CannedResponse::html(200, "<html>sign in</html>");
        emulator.answer_next(Endpoint::SubmitRun, page, 1);
        let mut run = Submission::new(serde_json::Map::new());
        if let Some(token) = token {
            run = run.with_idempotency_token(token);
        }
        // The run may have been started.
        let _error = client.submit_run(&run).await;
        let submissions =
            emulator.requests().iter().filter(|seen| seen.path.ends_with("submit")).count();
        assert_eq!(submissions, sent, "{token:?}");
    }
}

/// Advances the clock of the client. The emulator uses the system clock.
async fn advance(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn stale_token_is_refreshed_in_the_background() {
    let emulator = emulator(|builder| builder.token_lifetime(Duration::from_secs(100))).await;
    let client = client(&emulator, m2m());
    lists(&client).await.unwrap();
    advance(45).await;
    lists(&client).await.unwrap();
    assert_eq!(emulator.tokens_minted(), 1, "the token is in the first half of its lifetime");
    advance(10).await;
    lists(&client).await.unwrap();
    eventually(|| emulator.tokens_minted() == 2).await;
}

#[tokio::test]
async fn error_of_a_wrong_secret_names_the_endpoint_and_not_the_secret() {
    let emulator = emulator(|builder| builder).await;
    let wrong = Credentials::oauth_m2m("x", "principal", SecretString::from("canary-wrong"));
    let error = client(&emulator, wrong).list_runs(&ListRuns::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("/oidc/v1/token returned 401") && text.contains("invalid_client"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert!(!error.may_have_effect());
    assert!(emulator.requests().is_empty(), "no request was sent to the API");
}

#[tokio::test]
async fn token_endpoint_on_another_host_receives_no_secret() {
    let other = emulator(|builder| builder).await;
    let hostile = emulator(|builder| builder.oidc_base(other.http_url())).await;
    assert_eq!(lists(&client(&hostile, m2m())).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(other.tokens_minted(), 0);
}

#[tokio::test]
async fn subject_token_in_a_file_or_variable_is_read_for_each_exchange() {
    let issuer = Issuer::new();
    let emulator = emulator(|builder| {
        builder.trust_issuer(issuer.jwks.clone(), Some("databricks".to_owned()))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, issuer.token("other-audience")).unwrap();
    let credentials = Credentials::token_federation(
        "the service account",
        Some("principal".to_owned()),
        SubjectToken::File(path.clone()),
    );
    let client_of_file = client(&emulator, credentials);
    assert_eq!(lists(&client_of_file).await, Err(ErrorKind::Unauthenticated));
    fs::write(&path, format!("{}\n", issuer.token("databricks"))).unwrap();
    lists(&client_of_file).await.unwrap();
    assert!(emulator.requests()[0].header("user-agent").unwrap().ends_with("auth/file-oidc"));

    let token = issuer.token("databricks");
    let read: Environment = Arc::new(move |_name| Some(token.clone()));
    let subject = SubjectToken::Variable("DATABRICKS_OIDC_TOKEN".to_owned(), read);
    lists(&client(&emulator, Credentials::token_federation("v", None, subject))).await.unwrap();
}

#[tokio::test]
async fn client_secret_file_is_read_for_each_request_and_never_shown() {
    let emulator = emulator(|builder| builder).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "canary-before-the-rotation\n").unwrap();
    let secret = ClientSecret::file(&path);
    assert!(!format!("{secret:?}").contains("canary"));
    let client = client(&emulator, Credentials::oauth_m2m("x", "principal", secret));
    let error = client.list_runs(&ListRuns::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    fs::write(&path, SECRET).unwrap();
    lists(&client).await.unwrap();
    // The token is cached, so the secret is not needed.
    fs::remove_file(&path).unwrap();
    lists(&client).await.unwrap();
}

#[tokio::test]
async fn absent_subject_token_is_a_transient_error() {
    let emulator = emulator(|builder| builder).await;
    let absent = SubjectToken::File("/nowhere/token".into());
    let credentials = Credentials::token_federation("f", None, absent);
    let client = client(&emulator, credentials)
        .with_deadline(Some(std::time::Instant::now() + Duration::from_millis(200)));
    let error = client.list_runs(&ListRuns::default()).await.unwrap_err();
    assert!(error.is_retryable() && !error.may_have_effect(), "{error:?}");
    assert!(error.to_string().contains("the token file /nowhere/token cannot be read"), "{error}");
}

#[tokio::test]
async fn token_file_is_read_again_after_ten_seconds() {
    let emulator = emulator(|builder| builder.token("dapi-right")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "dapi-wrong").unwrap();
    let client = client(&emulator, Credentials::token_file("mounted", &path));
    assert_eq!(lists(&client).await, Err(ErrorKind::Forbidden));
    fs::write(&path, "dapi-right\n").unwrap();
    advance(11).await;
    lists(&client).await.unwrap();
}

#[tokio::test]
async fn azure_client_secret_workload_identity_and_managed_identity_are_accepted() {
    let issuer = Issuer::new();
    let emulator = emulator(|builder| builder.trust_issuer(issuer.jwks.clone(), None)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, issuer.token("api://AzureADTokenExchange")).unwrap();
    let azure = AzureCloud {
        workspace_resource_id: Some("/subscriptions/s/workspaces/w".to_owned()),
        ..AzureCloud::default()
    };
    let plain = AzureCloud::default();
    for (credentials, kind, tokens) in [
        (
            Credentials::azure_client_secret(
                "a",
                "t",
                "principal",
                SecretString::from(SECRET),
                azure.clone(),
            ),
            "azure-client-secret",
            2,
        ),
        (
            Credentials::azure_workload_identity(
                "a",
                "t",
                "principal",
                SubjectToken::File(path),
                azure,
            ),
            "azure-workload-identity",
            2,
        ),
        (Credentials::azure_managed_identity("a", None, plain), "azure-msi", 1),
    ] {
        let before = emulator.tokens_minted();
        let client =
            client(&emulator, credentials.with_token_endpoints(token_endpoints(&emulator)));
        lists(&client).await.unwrap();
        assert_eq!(emulator.tokens_minted() - before, tokens, "{kind}");
        let request = emulator.requests().pop().unwrap();
        assert!(request.header("user-agent").unwrap().ends_with(kind));
        let resource = request.header("x-databricks-azure-workspace-resource-id");
        assert_eq!(resource.is_some(), tokens == 2, "{kind}");
        assert_eq!(request.header("x-databricks-azure-sp-management-token").is_some(), tokens == 2);
    }
    let wrong = Credentials::azure_client_secret(
        "a",
        "t",
        "principal",
        SecretString::from("canary-wrong"),
        AzureCloud::default(),
    );
    let wrong = client(&emulator, wrong.with_token_endpoints(token_endpoints(&emulator)));
    assert_eq!(lists(&wrong).await, Err(ErrorKind::Unauthenticated));
}

#[tokio::test]
async fn google_account_and_impersonated_account_are_accepted() {
    let emulator = emulator(|builder| builder).await;
    for account in [None, Some("other@project.iam.gserviceaccount.com".to_owned())] {
        let credentials = Credentials::google_id_token("g", account);
        let client =
            client(&emulator, credentials.with_token_endpoints(token_endpoints(&emulator)));
        lists(&client).await.unwrap();
        let request = emulator.requests().pop().unwrap();
        assert!(request.header("x-databricks-gcp-sa-access-token").is_some());
        let RecordedAuthorization::Present { accepted, .. } = request.authorization else {
            panic!()
        };
        assert!(accepted);
    }
    assert_eq!(emulator.tokens_minted(), 4);
}

#[tokio::test]
async fn every_request_names_the_workspace_of_a_shared_host() {
    let server = MockServer::start().await;
    let body = json!({"token_endpoint": format!("{}/token", server.uri()), "access_token": "t"});
    Mock::given(header("x-databricks-org-id", "12"))
        .respond_with(ResponseTemplate::new(200).set_body_json(body))
        .mount(&server)
        .await;
    let pool = ClientPool::builder().build().unwrap();
    let host = Host::parse(&format!("{}/?o=12", server.uri())).unwrap();
    lists(&pool.client(&host, m2m())).await.unwrap();
    let paths: Vec<_> = server.received_requests().await.unwrap();
    let paths: Vec<&str> = paths.iter().map(|request| request.url.path()).collect();
    assert_eq!(
        paths,
        ["/oidc/.well-known/oauth-authorization-server", "/token", "/api/2.2/jobs/runs/list"]
    );
}
