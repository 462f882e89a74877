//! Every kind of credential, against the workspace and the authorities that mint for it.

use std::{fs, sync::Arc, time::Duration};

use databricks_client::{
    Authorities, AzureCloud, Client, ClientPool, ClientSecret, Credentials, Environment, ErrorKind,
    Host, SubjectToken,
    jobs::{ListRuns, SubmitRun},
};
use databricks_emulator::{
    CannedResponse, Emulator, EmulatorBuilder, Endpoint, RecordedAuthorization,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use secrecy::SecretString;
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

const SECRET: &str = "canary-client-secret";

/// Somebody whose tokens the workspace takes in exchange.
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

fn authorities(emulator: &Emulator) -> Authorities {
    let url = Some(emulator.cloud_url());
    Authorities {
        azure_login: url.clone(),
        azure_machine: url.clone(),
        google_machine: url.clone(),
        google_iam: url,
    }
}

async fn lists(client: &Client) -> Result<(), ErrorKind> {
    client.list_runs(&ListRuns::default()).await.map(|_page| ()).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_principal_with_a_secret_is_let_in_and_its_token_is_used_again() {
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
async fn many_calls_at_once_mint_one_token() {
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
async fn many_calls_at_once_ask_an_authority_that_is_down_once_a_second() {
    let authority = MockServer::start().await;
    let down = ResponseTemplate::new(503);
    Mock::given(any()).respond_with(down).mount(&authority).await;
    let pool = ClientPool::builder().build().unwrap();
    let client = pool.client(&Host::parse(&authority.uri()).unwrap(), m2m());
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
        assert!(error.to_string().contains("answered 503 to the request for a token"), "{error}");
    }
    assert_eq!(authority.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_that_ended_or_ends_soon_is_replaced_once_and_the_call_repeated() {
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
async fn a_token_that_is_refused_again_ends_the_call() {
    // Every token that is minted here ends too soon to be taken.
    let emulator = emulator(|builder| builder.token_lifetime(Duration::from_secs(20))).await;
    assert_eq!(lists(&client(&emulator, m2m())).await, Err(ErrorKind::Forbidden));
    assert_eq!(emulator.tokens_minted(), 2);
}

/// Lets time pass for the client alone: the emulator's clock is the system's.
#[tokio::test]
async fn a_login_page_in_place_of_success_repeats_no_submission_that_has_no_token() {
    for (token, sent) in [(None, 1), (Some("once"), 2)] {
        let emulator = emulator(|builder| builder).await;
        let client = client(&emulator, m2m());
        lists(&client).await.unwrap();
        let page = CannedResponse::html(200, "<html>sign in</html>");
        emulator.answer_next(Endpoint::SubmitRun, page, 1);
        let mut run = SubmitRun::new(serde_json::Map::new());
        if let Some(token) = token {
            run = run.with_idempotency_token(token);
        }
        // The run may have been started behind the page.
        let _refused = client.submit_run(&run).await;
        let submits =
            emulator.requests().iter().filter(|seen| seen.path.ends_with("submit")).count();
        assert_eq!(submits, sent, "{token:?}");
    }
}

async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn an_ageing_token_is_renewed_beside_the_calls() {
    let emulator = emulator(|builder| builder.token_lifetime(Duration::from_secs(100))).await;
    let client = client(&emulator, m2m());
    lists(&client).await.unwrap();
    later(45).await;
    lists(&client).await.unwrap();
    assert_eq!(emulator.tokens_minted(), 1, "half of its life is not over");
    later(10).await;
    lists(&client).await.unwrap();
    // A hang is ended by the test runner.
    while emulator.tokens_minted() < 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wrong_secret_is_a_refusal_that_names_the_endpoint_and_not_the_secret() {
    let emulator = emulator(|builder| builder).await;
    let wrong = Credentials::oauth_m2m("x", "principal", SecretString::from("canary-wrong"));
    let error = client(&emulator, wrong).list_runs(&ListRuns::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("/oidc/v1/token answered 401") && text.contains("invalid_client"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert!(!error.may_have_effect());
    assert!(emulator.requests().is_empty(), "nothing was asked of the workspace");
}

#[tokio::test]
async fn a_workspace_that_names_a_token_endpoint_elsewhere_gets_no_secret() {
    let other = emulator(|builder| builder).await;
    let hostile = emulator(|builder| builder.oidc_base(other.http_url())).await;
    assert_eq!(lists(&client(&hostile, m2m())).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(other.tokens_minted(), 0);
}

#[tokio::test]
async fn a_token_in_a_file_or_a_variable_is_exchanged_and_read_again_each_time() {
    let issuer = Issuer::new();
    let emulator = emulator(|builder| {
        builder.trust_issuer(issuer.jwks.clone(), Some("databricks".to_owned()))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, issuer.token("somebody-else")).unwrap();
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
async fn a_secret_in_a_file_is_read_again_at_each_exchange_and_never_shown() {
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
    // The workspace takes the token and not the secret from then on.
    fs::remove_file(&path).unwrap();
    lists(&client).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_not_there_may_come() {
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
async fn a_token_file_is_read_again_after_a_few_seconds() {
    let emulator = emulator(|builder| builder.token("dapi-right")).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "dapi-wrong").unwrap();
    let client = client(&emulator, Credentials::token_file("mounted", &path));
    assert_eq!(lists(&client).await, Err(ErrorKind::Forbidden));
    fs::write(&path, "dapi-right\n").unwrap();
    later(11).await;
    lists(&client).await.unwrap();
}

#[tokio::test]
async fn azure_by_secret_by_assertion_and_by_machine() {
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
        let client = client(&emulator, credentials.with_authorities(authorities(&emulator)));
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
    let wrong = client(&emulator, wrong.with_authorities(authorities(&emulator)));
    assert_eq!(lists(&wrong).await, Err(ErrorKind::Unauthenticated));
}

#[tokio::test]
async fn google_as_the_machine_and_on_behalf_of_another_account() {
    let emulator = emulator(|builder| builder).await;
    for account in [None, Some("other@project.iam.gserviceaccount.com".to_owned())] {
        let credentials = Credentials::google_id_token("g", account);
        let client = client(&emulator, credentials.with_authorities(authorities(&emulator)));
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
