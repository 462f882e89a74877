//! Errors, `Debug` output and logs contain no token, and logs no body.

use std::{
    error::Error as StdError,
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use databricks_client::{
    Credentials, Environment, Error, RunId, SubjectToken,
    jobs::Submission,
    statements::{Binding, Disposition, Statement},
};
use databricks_emulator::{CannedResponse, Emulator, Endpoint, StatementRows, StatementScript};
use secrecy::SecretString;
use serde_json::json;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::{
    child_process,
    fixture::{answer, body, builder, once},
    raw_server::{Reply, listen},
};

const TOKEN: &str = "dapi-canary-7c1e";
const BODY: &str = "body-canary-91aa";

/// Records all events and the fields of all spans.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Returns everything that an error shows.
fn shown(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(text, " {error} {error:?}").unwrap();
        cause = error.source();
    }
    for part in [error.api_code(), error.api_message(), error.request_id()] {
        text.push_str(part.unwrap_or_default());
    }
    text
}

#[tokio::test]
async fn echoed_secret_in_a_token_error_is_redacted() {
    let server = MockServer::start().await;
    let address = server.uri();
    let repeat = move |request: &Request| {
        if request.method == "GET" {
            return answer(200, json!({"token_endpoint": format!("{address}/oidc/v1/token")}));
        }
        let sent = String::from_utf8_lossy(&request.body).into_owned();
        answer(400, json!({"error": "invalid_grant", "error_description": sent}))
    };
    Mock::given(any()).respond_with(repeat).mount(&server).await;
    let read: Environment = Arc::new(|_name| Some(TOKEN.to_owned()));
    let subject = SubjectToken::Variable("ANY".to_owned(), read);
    let credentials = Credentials::token_federation("federated", None, subject);
    let pool = builder().retry(once()).build().unwrap();
    let client = pool.client(&server.uri().parse().unwrap(), credentials);
    let output = shown(&client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err());
    assert!(output.contains("invalid_grant") && output.contains("[redacted]"), "{output}");
    assert!(!output.contains(TOKEN), "{output}");
}

#[tokio::test]
async fn secret_that_a_token_error_repeats_as_it_was_sent_is_redacted() {
    const SECRET: &str = "canary~secret/7c1e";
    let server = MockServer::start().await;
    let address = server.uri();
    let repeat = move |request: &Request| {
        if request.method == "GET" {
            return answer(200, json!({"token_endpoint": format!("{address}/oidc/v1/token")}));
        }
        let sent = request.headers.get("authorization").unwrap().to_str().unwrap();
        let encoded = "canary%7Esecret%2F7c1e";
        ResponseTemplate::new(403).set_body_string(format!("<pre>{sent} {encoded}</pre>"))
    };
    Mock::given(any()).respond_with(repeat).mount(&server).await;
    let secret = SecretString::from(SECRET);
    let credentials = Credentials::oauth_m2m("principal", "principal", secret);
    let pool = builder().retry(once()).build().unwrap();
    let client = pool.client(&server.uri().parse().unwrap(), credentials);
    let output = shown(&client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err());
    assert!(output.contains("Basic [redacted] [redacted]"), "{output}");
}

#[tokio::test]
async fn errors_and_logs_contain_no_token_and_logs_no_body() {
    // In a child process, since the interest in events is global to a process.
    if child_process::server().is_none() {
        child_process::run(
            "redaction::errors_and_logs_contain_no_token_and_logs_no_body",
            "its own",
            &[],
        );
        return;
    }
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let credentials = Credentials::personal_access_token("mine", TOKEN.to_owned().into());
    let pool = builder().retry(once()).build().unwrap();
    let submission = Submission::new(body(json!({"run_name": BODY})));
    let run_id = RunId::try_from(7).unwrap();
    let mut output = format!("{pool:?} {credentials:?}");

    // A proxy that echoes the token as JSON, HTML, text and in a header.
    let echo = |request: &Request| {
        let authorization = request.headers.get("authorization").unwrap().to_str().unwrap();
        match request.url.path().rsplit('/').next() {
            Some("submit") => answer(400, json!({"error_code": "X", "message": authorization})),
            Some("get") => ResponseTemplate::new(502)
                .set_body_raw(format!("<html><pre>{authorization}</pre></html>"), "text/html"),
            Some("cancel") => ResponseTemplate::new(500).set_body_string(authorization),
            _ => ResponseTemplate::new(302)
                .insert_header("location", format!("/login?{authorization}").as_str()),
        }
    };
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(echo).mount(&server).await;
    let client = pool.client(&server.uri().parse().unwrap(), credentials.clone());
    write!(output, "{client:?}").unwrap();
    let error = client.submit_run(&submission).await.unwrap_err();
    assert_eq!(error.api_message(), Some("Bearer [redacted]"));
    output += &shown(&error);
    output += &shown(&client.get_run(run_id).await.unwrap_err());
    output += &shown(&client.cancel_run(run_id).await.unwrap_err());
    output += &shown(&client.get_run_output(run_id).await.unwrap_err());

    let (address, _requests) = listen(vec![Reply::Close]);
    let client = pool.client(&address.parse().unwrap(), credentials.clone());
    output += &shown(&client.submit_run(&submission).await.unwrap_err());

    let good = MockServer::start().await;
    Mock::given(any())
        .respond_with(answer(200, json!({"run_id": 7, "run_name": BODY})))
        .mount(&good)
        .await;
    let client = pool.client(&good.uri().parse().unwrap(), credentials);
    client.get_run(run_id).await.unwrap();
    drop(guard);

    let log = log.0.lock().unwrap().clone();
    assert!(!output.contains(TOKEN), "{output}");
    assert!(!log.contains(TOKEN), "{log}");
    assert!(!log.contains(BODY), "{log}");
    // One event for each attempt, with these fields.
    assert_eq!(log.matches("message=databricks request").count(), 6, "{log}");
    for field in ["path=\"/api/2.2/jobs/runs/submit\"", "method=POST", "attempt=1", "status=400"] {
        assert!(log.contains(field), "{field}: {log}");
    }
}

#[tokio::test]
async fn errors_and_logs_contain_no_external_link_and_no_header_of_it() {
    if child_process::server().is_none() {
        child_process::run(
            "redaction::errors_and_logs_contain_no_external_link_and_no_header_of_it",
            "its own",
            &[],
        );
        return;
    }
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let emulator = Emulator::builder().token(TOKEN).warehouse("w").start().await.unwrap();
    let rows = StatementRows::new([("n", "STRING")], [[BODY]]);
    let mut script = StatementScript::rows(rows);
    script.link_headers.insert("x-amz-key".to_owned(), "header-canary-5d".to_owned());
    emulator.set_statement_script("FROM t", script);
    let pool = builder().retry(once()).extra_root_certs_pem(emulator.certificate_pem().into());
    let token = Credentials::personal_access_token("mine", TOKEN.to_owned().into());
    let client = pool.build().unwrap().client(&emulator.https_host().parse().unwrap(), token);
    let statement = Statement::new("w", "SELECT n FROM t WHERE n = :n")
        .bind("n", Binding::text("bound-canary-3b"))
        .disposition(Disposition::ExternalLinks);
    assert_eq!(client.run_statement(&statement).await.unwrap().rows().len(), 1);
    let refused = CannedResponse::json(403, "canary-of-the-storage");
    emulator.answer_next(Endpoint::FollowExternalLink, refused, 2);
    let mut output = shown(&client.run_statement(&statement).await.unwrap_err());
    emulator.set_external_link_base("https://elsewhere.example");
    output += &shown(&client.run_statement(&statement).await.unwrap_err());
    drop(guard);
    let log = log.0.lock().unwrap().clone();
    for secret in
        [TOKEN, BODY, "Signature", "header-canary-5d", "canary-of-the-storage", "bound-canary-3b"]
    {
        assert!(!output.contains(secret), "{secret} in {output}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    assert!(log.contains("path=\"/api/2.0/sql/statements\""), "{log}");
}
