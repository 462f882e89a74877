//! No token in a message, in `Debug` or in a log line, and no body in a log line.

use std::{
    error::Error as StdError,
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use databricks_client::{
    Credentials, Environment, Error, RunId, SubjectToken,
    jobs::SubmitRun,
    statements::{Binding, Delivery, Statement},
};
use databricks_emulator::{CannedResponse, Emulator, Endpoint, StatementRows, StatementScript};
use serde_json::json;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::{
    child,
    raw::{Fate, listen},
    workspace::{answer, body, builder, once},
};

const TOKEN: &str = "dapi-canary-7c1e";
const BODY: &str = "body-canary-91aa";

/// Keeps every event of every level, and every field of every span.
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

/// Everything that an error shows.
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
async fn an_authority_that_repeats_what_it_was_sent_is_not_quoted() {
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
    let told = shown(&client.get_run(RunId::try_from(7).unwrap()).await.unwrap_err());
    assert!(told.contains("invalid_grant") && told.contains("[redacted]"), "{told}");
    assert!(!told.contains(TOKEN), "{told}");
}

#[tokio::test]
async fn neither_errors_nor_logs_show_a_token_and_logs_show_no_body() {
    // Tests in other threads would decide for the whole process which events nobody wants.
    if child::server().is_none() {
        child::run(
            "redaction::neither_errors_nor_logs_show_a_token_and_logs_show_no_body",
            "its own",
            &[],
        );
        return;
    }
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let credentials = Credentials::personal_access_token("mine", TOKEN.to_owned().into());
    let pool = builder().retry(once()).build().unwrap();
    let submission = SubmitRun::new(body(json!({"run_name": BODY})));
    let run_id = RunId::try_from(7).unwrap();
    let mut told = format!("{pool:?} {credentials:?}");

    // A proxy that sends back what it was sent, as JSON, as a page, as text and as a header.
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
    write!(told, "{client:?}").unwrap();
    let refused = client.submit_run(&submission).await.unwrap_err();
    assert_eq!(refused.api_message(), Some("Bearer [redacted]"));
    told += &shown(&refused);
    told += &shown(&client.get_run(run_id).await.unwrap_err());
    told += &shown(&client.cancel_run(run_id).await.unwrap_err());
    told += &shown(&client.get_run_output(run_id).await.unwrap_err());

    let (address, _requests) = listen(vec![Fate::Drop]);
    let client = pool.client(&address.parse().unwrap(), credentials.clone());
    told += &shown(&client.submit_run(&submission).await.unwrap_err());

    let good = MockServer::start().await;
    Mock::given(any())
        .respond_with(answer(200, json!({"run_id": 7, "run_name": BODY})))
        .mount(&good)
        .await;
    let client = pool.client(&good.uri().parse().unwrap(), credentials);
    client.get_run(run_id).await.unwrap();
    drop(guard);

    let log = log.0.lock().unwrap().clone();
    assert!(!told.contains(TOKEN), "{told}");
    assert!(!log.contains(TOKEN), "{log}");
    assert!(!log.contains(BODY), "{log}");
    // The events are there, one an attempt, with what an operator looks for.
    assert_eq!(log.matches("message=databricks request").count(), 6, "{log}");
    for field in ["path=\"/api/2.2/jobs/runs/submit\"", "method=POST", "attempt=1", "status=400"] {
        assert!(log.contains(field), "{field}: {log}");
    }
}

#[tokio::test]
async fn neither_errors_nor_logs_show_a_link_to_rows_nor_what_it_asks_to_say() {
    if child::server().is_none() {
        child::run(
            "redaction::neither_errors_nor_logs_show_a_link_to_rows_nor_what_it_asks_to_say",
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
    let pool = builder().retry(once()).extra_roots_pem(emulator.certificate_pem().into());
    let token = Credentials::personal_access_token("mine", TOKEN.to_owned().into());
    let client = pool.build().unwrap().client(&emulator.https_host().parse().unwrap(), token);
    let statement = Statement::new("w", "SELECT n FROM t WHERE n = :n")
        .bind("n", Binding::text("bound-canary-3b"))
        .delivered(Delivery::ExternalLinks);
    assert_eq!(client.run_statement(&statement).await.unwrap().rows().len(), 1);
    let refused = CannedResponse::json(403, "canary of the storage");
    emulator.answer_next(Endpoint::FollowExternalLink, refused, 2);
    let mut told = shown(&client.run_statement(&statement).await.unwrap_err());
    emulator.set_external_link_base("https://elsewhere.example");
    told += &shown(&client.run_statement(&statement).await.unwrap_err());
    drop(guard);
    let log = log.0.lock().unwrap().clone();
    for secret in
        [TOKEN, BODY, "Signature", "header-canary-5d", "canary of the storage", "bound-canary-3b"]
    {
        assert!(!told.contains(secret), "{secret} in {told}");
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    assert!(log.contains("path=\"/api/2.0/sql/statements\""), "{log}");
}
