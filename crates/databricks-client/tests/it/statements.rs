//! SQL statements against the emulator over HTTPS.

use std::time::Duration;

use databricks_client::{
    Client, ClientPool, ClientPoolBuilder, Credentials, ErrorKind, Host,
    statements::{Binding, Disposition, Statement},
};
use databricks_emulator::{
    CannedResponse, Emulator, Endpoint, RecordedAuthorization, StatementOutcome, StatementRows,
    StatementScript,
};
use serde_json::json;

use crate::wait::eventually;

const TOKEN: &str = "dapi-canary";

async fn workspace(script: StatementScript) -> Emulator {
    let emulator = Emulator::builder().token(TOKEN).warehouse("w-1").start().await.unwrap();
    emulator.set_statement_script("FROM t", script);
    emulator
}

fn client_with(
    emulator: &Emulator,
    change: impl FnOnce(ClientPoolBuilder) -> ClientPoolBuilder,
) -> Client {
    let builder = ClientPool::builder().extra_root_certs_pem(emulator.certificate_pem().into());
    let host = Host::parse(&emulator.https_host()).unwrap();
    let token = Credentials::personal_access_token("test", TOKEN.to_owned().into());
    change(builder).build().unwrap().client(&host, token)
}

fn client(emulator: &Emulator) -> Client {
    client_with(emulator, |builder| builder)
}

fn statement() -> Statement {
    Statement::new("w-1", "SELECT n, who FROM t WHERE who = :who AND n < :most")
        .bind("who", Binding::text("x' OR 1=1 --"))
        .bind("most", Binding::bigint(i64::MAX))
}

fn five_rows() -> StatementScript {
    let rows = [["1", ":who"], ["2", "b"], ["3", "c"], ["4", "d"], ["5", "e"]];
    let rows = StatementRows::new([("n", "BIGINT"), ("who", "STRING")], rows);
    StatementScript { rows_per_chunk: 2, ..StatementScript::rows(rows) }
}

/// Returns the first column.
fn numbers(rows: &databricks_client::statements::StatementRows) -> Vec<&str> {
    rows.rows().iter().map(|row| row[0].as_deref().unwrap()).collect()
}

#[tokio::test]
async fn statement_is_polled_and_all_chunks_are_read() {
    let script = StatementScript { pending_polls: 1, running_polls: 1, ..five_rows() };
    let emulator = workspace(script).await;
    let rows = client(&emulator).run_statement(&statement()).await.unwrap();
    assert_eq!(rows.columns(), ["n", "who"]);
    assert_eq!(numbers(&rows), ["1", "2", "3", "4", "5"]);
    assert!(!rows.is_truncated());
    // Bound values are sent separately from the text.
    assert_eq!(rows.rows()[0][1].as_deref(), Some("x' OR 1=1 --"));
    let accepted = &emulator.statements()[0];
    assert_eq!((accepted.warehouse_id.as_str(), accepted.state.as_str()), ("w-1", "SUCCEEDED"));
    assert!(!accepted.statement.contains("OR 1=1"));
    let sent = emulator.requests()[0].body.clone().unwrap();
    assert_eq!(sent["wait_timeout"], "0s");
    assert_eq!(
        sent["parameters"][1],
        json!({"name": "most", "type": "BIGINT", "value": "9223372036854775807"})
    );
    let asked: Vec<String> = emulator
        .requests()
        .iter()
        .skip(1)
        .map(|request| request.path.rsplit('/').next().unwrap().chars().last().unwrap().to_string())
        .collect();
    assert_eq!(asked, ["1", "1", "1", "1", "2"], "three polls of statement 1, then chunks 1 and 2");
}

#[tokio::test]
async fn external_links_are_followed_over_https_without_the_token() {
    let mut script = five_rows();
    script.link_headers.insert("x-amz-server-side-encryption".to_owned(), "key".to_owned());
    let emulator = workspace(script).await;
    let linked = statement().disposition(Disposition::ExternalLinks);
    let rows = client(&emulator).run_statement(&linked).await.unwrap();
    assert_eq!(numbers(&rows), ["1", "2", "3", "4", "5"]);
    let requests = emulator.requests();
    let (links, calls): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.path.starts_with("/emulator-storage/"));
    assert_eq!(links.len(), 3);
    for link in links {
        assert_eq!(link.authorization, RecordedAuthorization::Missing);
        assert!(!format!("{link:?}").contains(TOKEN));
    }
    assert!(calls.iter().all(|call| call.authorization != RecordedAuthorization::Missing));
}

#[tokio::test]
async fn expired_link_is_requested_again_once() {
    let emulator = workspace(five_rows()).await;
    let ended = CannedResponse { status: 403, ..CannedResponse::default() };
    emulator.answer_next(Endpoint::FollowExternalLink, ended.clone(), 1);
    let linked = statement().disposition(Disposition::ExternalLinks);
    let rows = client(&emulator).run_statement(&linked).await.unwrap();
    assert_eq!(rows.rows().len(), 5);
    emulator.answer_next(Endpoint::FollowExternalLink, ended, 2);
    let error = client(&emulator).run_statement(&linked).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Forbidden, Some(403)));
    assert!(!error.to_string().contains("Signature"), "{error}");
}

#[tokio::test]
async fn link_to_an_unlisted_host_is_not_followed() {
    let emulator = workspace(five_rows()).await;
    let other = Emulator::builder().certificates_from(&emulator).start().await.unwrap();
    let linked = statement().disposition(Disposition::ExternalLinks);
    for base in [format!("https://{}", other.https_host()), emulator.http_url()] {
        emulator.set_external_link_base(&base);
        let error = client(&emulator).run_statement(&linked).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{base}");
        assert!(!error.to_string().contains("Signature"), "{error}");
    }
    assert_eq!(other.requests(), []);
    // A listed host receives requests, but no token. It does not know the link.
    emulator.set_external_link_base(&format!("https://{}", other.https_host()));
    let listing =
        client_with(&emulator, |pool| pool.external_link_hosts(["localhost:*".parse().unwrap()]));
    let error = listing.run_statement(&linked).await.unwrap_err();
    assert_eq!(error.status(), Some(403));
    let seen: Vec<_> = other.requests().into_iter().map(|seen| seen.authorization).collect();
    assert_eq!(seen, [RecordedAuthorization::Missing, RecordedAuthorization::Missing]);
}

#[tokio::test]
async fn redirect_from_a_storage_is_not_followed() {
    let emulator = workspace(five_rows()).await;
    let other = Emulator::builder().certificates_from(&emulator).start().await.unwrap();
    let away = CannedResponse { status: 302, ..CannedResponse::default() }
        .with_header("location", format!("https://{}/emulator-storage/a/0", other.https_host()));
    emulator.answer_next(Endpoint::FollowExternalLink, away, 2);
    let linked = statement().disposition(Disposition::ExternalLinks);
    let error = client(&emulator).run_statement(&linked).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Decode, Some(302)));
    assert_eq!(other.requests(), []);
}

#[tokio::test]
async fn result_above_the_limit_is_rejected() {
    let long = "y".repeat(3_000);
    let rows = StatementRows {
        columns: vec![("n".to_owned(), "STRING".to_owned())],
        rows: vec![vec![Some(long)]; 6],
    };
    let emulator =
        workspace(StatementScript { rows_per_chunk: 2, ..StatementScript::rows(rows) }).await;
    let unbound = Statement::new("w-1", "SELECT n FROM t");
    let small = client_with(&emulator, |pool| pool.max_response_bytes(10_000));
    for disposition in [Disposition::Inline, Disposition::ExternalLinks] {
        let error =
            small.run_statement(&unbound.clone().disposition(disposition)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{disposition:?}: {error}");
        let large =
            client(&emulator).run_statement(&unbound.clone().disposition(disposition)).await;
        assert_eq!(large.unwrap().rows().len(), 6);
    }
}

#[tokio::test]
async fn row_limit_marks_the_result_as_truncated() {
    let emulator = workspace(five_rows()).await;
    let rows = client(&emulator).run_statement(&statement().row_limit(3)).await.unwrap();
    assert_eq!((numbers(&rows), rows.is_truncated()), (vec!["1", "2", "3"], true));
    let rows = client(&emulator).run_statement(&statement().row_limit(5)).await.unwrap();
    assert!(!rows.is_truncated());
}

#[tokio::test]
async fn result_without_rows_is_empty() {
    let emulator = workspace(StatementScript::default()).await;
    for disposition in [Disposition::Inline, Disposition::ExternalLinks] {
        let rows =
            client(&emulator).run_statement(&statement().disposition(disposition)).await.unwrap();
        assert_eq!(rows.rows().len(), 0);
    }
}

#[tokio::test]
async fn failed_statement_reports_the_reason() {
    let emulator = workspace(StatementScript::failed(
        "BAD_REQUEST",
        "[INSUFFICIENT_PERMISSIONS] no",
        Some("42501"),
    ))
    .await;
    let error = client(&emulator).run_statement(&statement()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("42501, [INSUFFICIENT_PERMISSIONS] no"), "{error}");

    let closed =
        StatementScript { outcome: StatementOutcome::Closed, ..StatementScript::default() };
    emulator.set_statement_script("FROM t", closed);
    assert_eq!(
        client(&emulator).run_statement(&statement()).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );

    let nowhere = Statement::new("w-2", "SELECT 1 FROM t");
    assert_eq!(
        client(&emulator).run_statement(&nowhere).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let unbound = Statement::new("w-1", "SELECT :n FROM t");
    let error = client(&emulator).run_statement(&unbound).await.unwrap_err();
    assert!(error.to_string().contains("UNBOUND_SQL_PARAMETER"), "{error}");
}

#[tokio::test]
async fn only_an_idempotent_statement_is_retried() {
    let emulator = workspace(five_rows()).await;
    let busy =
        CannedResponse::json(503, r#"{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "x"}"#);
    emulator.answer_next(Endpoint::ExecuteStatement, busy.clone(), 1);
    let error = client(&emulator).run_statement(&statement()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    emulator.answer_next(Endpoint::ExecuteStatement, busy, 1);
    let rows = client(&emulator).run_statement(&statement().idempotent()).await.unwrap();
    assert_eq!(rows.rows().len(), 5);
}

async fn until_cancelled(emulator: &Emulator) {
    eventually(|| {
        emulator.statements().first().is_some_and(|statement| statement.state == "CANCELED")
    })
    .await;
}

#[tokio::test]
async fn statement_past_the_deadline_is_cancelled() {
    let emulator = workspace(StatementScript { running_polls: 1_000, ..five_rows() }).await;
    let client = client(&emulator).with_timeout(Duration::from_secs(1));
    let error = client.run_statement(&statement()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("the statement is RUNNING after"), "{error}");
    until_cancelled(&emulator).await;
}

#[tokio::test]
async fn statement_is_cancelled_when_its_caller_is_dropped() {
    let emulator = workspace(StatementScript { pending_polls: 1_000, ..five_rows() }).await;
    let patient = client(&emulator);
    let call = tokio::spawn(async move { patient.run_statement(&statement()).await });
    eventually(|| emulator.requests().len() >= 2).await;
    call.abort();
    until_cancelled(&emulator).await;
}

#[tokio::test]
async fn endless_chunks_are_an_error() {
    let emulator = workspace(five_rows()).await;
    let again = json!({"data_array": [["1", "a"]], "next_chunk_index": 1}).to_string();
    emulator.answer_next(Endpoint::GetStatementChunk, CannedResponse::json(200, again), 5);
    let error = client(&emulator).run_statement(&statement()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.to_string().contains("endless"), "{error}");
}
