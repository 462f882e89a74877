//! Credentials that Databricks refuses, in each of its forms, and hosts that several workspaces share.

use std::{sync::Arc, time::Duration};

use connector_core::{Connection, Connector, ErrorKind, Phase};
use databricks_connector::{Config, DatabricksConnector, Identity, Workspaces};
use databricks_emulator::{CannedResponse, Emulator, Endpoint, Script};
use secrecy::SecretString;
use serde_json::json;

use crate::harness::{Harness, TOKEN, call, stored, with_custom};

/// Answers by which Databricks rejects a token.
fn rejections() -> Vec<CannedResponse> {
    let text = |status, body: &str| CannedResponse {
        status,
        body: body.into(),
        content_type: "text/plain".to_owned(),
        ..CannedResponse::default()
    };
    vec![
        text(400, "Invalid Token"),
        CannedResponse::json(
            400,
            r#"{"error_code": "BAD_REQUEST", "message": "Unable to load OAuth Config"}"#,
        ),
        CannedResponse::html(
            400,
            "<html><title>Error 400 io.jsonwebtoken.IncorrectClaimException: Expected aud claim to be: x</title></html>",
        ),
        CannedResponse::json(
            400,
            r#"{"message": "Error while parsing token: io.jsonwebtoken.ExpiredJwtException: JWT expired at 2023"}"#,
        ),
        CannedResponse::json(403, r#"{"error_code": 403, "message": "JWT has expired"}"#),
        text(401, ""),
        text(400, "").with_header("X-Databricks-Reason-Phrase", "Invalid access token."),
    ]
}

/// Returns a connector for this workspace whose own credential is a service principal.
fn with_principal(emulator: &Emulator, secret: &str) -> DatabricksConnector {
    let text = format!(
        "[workspace.main]\nhost = \"{}\"\nauth = {{ type = \"oauth-m2m\", client_id = \"principal\", client_secret_env = \"SECRET\" }}\n",
        emulator.http_url()
    );
    let secret = secret.to_owned();
    let environment = Arc::new(move |name: &str| (name == "SECRET").then(|| secret.clone()));
    let workspaces = Workspaces::parse(&text, &(environment as _)).unwrap();
    let config = Config { instance: Some(emulator.http_url()), workspaces, ..Config::default() };
    DatabricksConnector::new(config).unwrap()
}

#[tokio::test]
async fn rejected_token_is_named_on_create_in_each_form() {
    for rejection in rejections() {
        let harness = Harness::start().await;
        let status = rejection.status;
        harness.emulator.answer_next(Endpoint::SubmitRun, rejection.clone(), 1);
        let cx = harness.request("40_executor_first_attempt", json!({}));
        let error = harness.connector.create(cx).await.unwrap_err();
        let expected =
            if status == 403 { ErrorKind::Forbidden } else { ErrorKind::Unauthenticated };
        assert_eq!(error.kind(), expected, "{rejection:?}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains("token is valid"), "{rejection:?}: {hint}");
    }
}

#[tokio::test]
async fn rejected_token_ends_the_task_and_its_delete_after_the_grace_period_in_each_form() {
    for rejection in rejections() {
        let harness =
            Harness::with(|config| Config { refusal_patience: Duration::ZERO, ..config }).await;
        let meta = harness.started(Script::success()).await;
        for endpoint in [Endpoint::GetRun, Endpoint::CancelRun] {
            harness.emulator.answer_next(endpoint, rejection.clone(), 100);
        }
        harness.get(&meta).await;
        let resource = harness.get(&meta).await;
        assert_eq!(resource.phase, Phase::Failed, "{rejection:?}: {}", resource.message);
        assert!(resource.message.contains("token is valid"), "{}", resource.message);
        harness.connector.delete(call(), meta).await.unwrap();
    }
}

#[tokio::test]
async fn rejected_token_is_renewed_once_in_each_form() {
    for rejection in rejections() {
        let emulator =
            Emulator::builder().service_principal("principal", "s3cret").start().await.unwrap();
        let harness = Harness { connector: with_principal(&emulator, "s3cret"), emulator };
        harness.emulator.answer_next(Endpoint::SubmitRun, rejection.clone(), 1);
        let cx = harness.request("40_executor_first_attempt", json!({}));
        harness
            .connector
            .create(cx)
            .await
            .unwrap_or_else(|error| panic!("{rejection:?}: {error:?}"));
    }
}

#[tokio::test]
async fn check_reports_a_rejected_token_in_each_form() {
    for rejection in rejections() {
        let harness = Harness::start().await;
        harness.emulator.answer_next(Endpoint::Me, rejection.clone(), 1);
        let check = harness.connector.check().await.remove(0);
        assert!(matches!(check.identity, Identity::Rejected(_)), "{rejection:?}: {check:?}");
    }
}

#[tokio::test]
async fn words_of_the_token_endpoint_reach_the_user_without_advice_about_expiry() {
    for (body, words, advice) in [
        (
            "Source IP address: 203.0.113.7 is blocked by Databricks IP ACL",
            "203.0.113.7",
            "IP access list",
        ),
        (
            r#"{"error": "invalid_client", "error_description": "Client authentication failed"}"#,
            "Client authentication failed",
            "id and secret",
        ),
        (
            r#"{"error_code": "403", "message": "Unknown client"}"#,
            "Unknown client",
            "id and secret",
        ),
    ] {
        let emulator =
            Emulator::builder().service_principal("principal", "s3cret").start().await.unwrap();
        let harness = Harness { connector: with_principal(&emulator, "s3cret"), emulator };
        harness.emulator.answer_next(Endpoint::MintToken, CannedResponse::json(403, body), 1);
        let cx = harness.request("40_executor_first_attempt", json!({}));
        let error = harness.connector.create(cx).await.unwrap_err();
        let text = format!("{}; {}", databricks_client::error_chain(&error), error.hint().unwrap());
        assert!(text.contains(words) && text.contains(advice), "{text}");
        assert!(!text.contains("expired"), "{text}");
    }
}

#[tokio::test]
async fn address_outside_the_access_list_gets_its_own_advice() {
    let harness = Harness::start().await;
    let body = r#"{"error_code": "403", "message": "Source IP address: 203.0.113.7 is blocked by Databricks IP ACL for workspace: 123"}"#;
    harness.emulator.answer_next(Endpoint::SubmitRun, CannedResponse::json(403, body), 1);
    let cx = harness.request("40_executor_first_attempt", json!({}));
    let error = harness.connector.create(cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    let hint = error.hint().unwrap();
    assert!(hint.contains("IP access list") && !hint.contains("permission"), "{hint}");
}

#[tokio::test]
async fn token_is_taken_out_of_quotes_and_a_copied_header() {
    for secret in [
        format!("\"{TOKEN}\""),
        format!("Bearer {TOKEN}"),
        format!("\u{feff}{TOKEN}\r\n"),
        format!("'Bearer {TOKEN}'"),
    ] {
        let harness = Harness::with(|config| Config { access_token: None, ..config }).await;
        let mut cx = harness.request("40_executor_first_attempt", json!({}));
        cx.connection =
            Connection::new().with_secret("databricks_token", SecretString::from(secret.clone()));
        harness.connector.create(cx).await.unwrap_or_else(|error| panic!("{secret:?}: {error:?}"));
    }
}

/// Returns the workspace id that each request of the workspace named.
fn named_workspaces(harness: &Harness) -> Vec<Option<String>> {
    let requests = harness.emulator.requests();
    requests
        .iter()
        .map(|request| request.header("x-databricks-org-id").map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn workspace_id_of_a_shared_host_is_sent_on_every_call_and_after_a_restart() {
    let harness = Harness::start().await;
    let address = format!("{}/?o=1140651659712345", harness.emulator.http_url());
    let cx = with_custom(harness.request("42_executor_pkl", json!({})), |custom| {
        custom.insert("databricksInstance".to_owned(), json!(address));
    });
    let meta = harness.connector.create(cx).await.unwrap();
    let meta_of_flyte = stored(&meta);
    assert_eq!(meta_of_flyte["databricks_instance"], json!(harness.emulator.http_url()));
    assert_eq!(meta_of_flyte["workspace_id"], json!("1140651659712345"));

    let config = Config {
        instance: Some(harness.emulator.http_url()),
        access_token: Some(SecretString::from(TOKEN)),
        ..Config::default()
    };
    let restarted = DatabricksConnector::new(config).unwrap();
    restarted.get(call(), meta.clone()).await.unwrap();
    restarted.delete(call(), meta).await.unwrap();
    let named = named_workspaces(&harness);
    assert!(named.len() >= 6, "{named:?}");
    assert!(named.iter().all(|id| id.as_deref() == Some("1140651659712345")), "{named:?}");
}

#[tokio::test]
async fn workspace_id_of_the_configured_host_is_used_for_tasks_that_name_none() {
    let harness = Harness::with(|config| Config {
        instance: config.instance.map(|instance| format!("{instance}/?o=77")),
        ..config
    })
    .await;
    let cx = harness.request("40_executor_first_attempt", json!({}));
    let meta = harness.connector.create(cx).await.unwrap();
    assert_eq!(stored(&meta)["workspace_id"], json!("77"));
    // A task of another workspace on that host does not get the credential.
    let other = format!("{}/?o=78", harness.emulator.http_url());
    let cx = with_custom(harness.request("40_executor_first_attempt", json!({})), |custom| {
        custom.insert("databricksInstance".to_owned(), json!(other));
    });
    let error = harness.connector.create(cx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    let named = named_workspaces(&harness);
    assert!(named.iter().all(|id| id.as_deref() == Some("77")), "{named:?}");
}
