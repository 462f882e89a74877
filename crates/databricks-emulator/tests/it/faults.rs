//! Injected faults on the wire, and their counts.

use crate::client::{Client, emulator, named, plain, wait_until};
use databricks_emulator::{
    Calls, CannedResponse, ConnectionFault, DEFAULT_TOKEN, Emulator, Endpoint, Fault, FaultPlan,
    FaultRule, HeaderValue, RetryAfter, RunCall, RunCalls, RunFault, SlowBody, TokenClock, When,
};
use reqwest::{Method, Response};
use serde_json::json;
use std::time::{Duration, SystemTime};

const SUBMIT: &str = "/api/2.2/jobs/runs/submit";
const LIST: &str = "/api/2.2/jobs/runs/list";

fn on(endpoint: Endpoint, when: When<Fault>) -> FaultRule {
    FaultRule::on_calls(Calls::to([endpoint]), when).named("rule")
}

/// Submits a run.
async fn submit(emulator: &Emulator) -> Result<Response, reqwest::Error> {
    let client = plain().post(format!("{}{SUBMIT}", emulator.http_url()));
    client.bearer_auth(DEFAULT_TOKEN).json(&named("etl")).send().await
}

async fn list(emulator: &Emulator) -> Result<Response, reqwest::Error> {
    let client = plain().get(format!("{}{LIST}", emulator.http_url()));
    client.bearer_auth(DEFAULT_TOKEN).send().await
}

/// An HTTPS client with a connection pool.
fn https_client(emulator: &Emulator) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(emulator.certificate_pem().as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
}

#[tokio::test]
async fn drop_before_prevents_the_call_and_drop_after_does_not() {
    let emulator = emulator().await;
    let script = When::Script(vec![Some(Fault::DropBefore), Some(Fault::DropAfter)]);
    emulator.inject(on(Endpoint::SubmitRun, script));
    assert!(!submit(&emulator).await.unwrap_err().is_connect());
    assert_eq!(emulator.runs().len(), 0);
    assert!(!submit(&emulator).await.unwrap_err().is_connect());
    assert_eq!(emulator.runs().len(), 1);
    assert_eq!(submit(&emulator).await.unwrap().status(), 200);

    let seen: Vec<_> = emulator.requests().into_iter().map(|one| (one.status, one.fault)).collect();
    let rule = || Some("rule".to_owned());
    assert_eq!(seen, [(0, rule()), (200, rule()), (200, None)]);
    assert_eq!(emulator.fault_count("rule"), 2);
}

#[tokio::test]
async fn http2_fault_breaks_the_call_and_not_the_connection() {
    let emulator = emulator().await;
    let client = https_client(&emulator);
    let list = || {
        let url = format!("https://{}{LIST}", emulator.https_host());
        client.get(url).bearer_auth(DEFAULT_TOKEN).send()
    };
    assert_eq!(list().await.unwrap().version(), reqwest::Version::HTTP_2);
    for fault in [Fault::DropBefore, Fault::DropAfter] {
        emulator.inject(on(Endpoint::ListRuns, When::once(fault)));
        assert!(!list().await.unwrap_err().is_connect());
        assert_eq!(list().await.unwrap().status(), 200);
    }
    emulator.inject(on(Endpoint::ListRuns, When::once(Fault::CutBody(1))));
    let response = list().await.unwrap();
    assert!(response.status() == 200 && response.bytes().await.is_err());
}

#[tokio::test]
async fn cut_body_breaks_after_its_limit_and_slow_body_is_complete() {
    let emulator = emulator().await;
    emulator.inject(on(Endpoint::SubmitRun, When::once(Fault::CutBody(10))));
    let mut cut = submit(&emulator).await.unwrap();
    assert_eq!(cut.status(), 200);
    assert_eq!(cut.chunk().await.unwrap().unwrap().len(), 10);
    assert!(cut.chunk().await.is_err());

    emulator.inject(on(Endpoint::SubmitRun, When::once(Fault::CutBody(1000))));
    assert!(submit(&emulator).await.unwrap().text().await.unwrap().ends_with('}'));

    let slow_body = SlowBody { piece: 7.try_into().unwrap(), pause: Duration::from_millis(1) };
    emulator.inject(on(Endpoint::SubmitRun, When::once(Fault::SlowBody(slow_body))));
    let mut slow = submit(&emulator).await.unwrap();
    assert!(slow.chunk().await.unwrap().unwrap().len() <= 7);
    assert!(slow.text().await.unwrap().ends_with('}'));
}

#[tokio::test]
async fn delayed_call_is_executed_after_its_client_disconnects() {
    let emulator = emulator().await;
    let hour = Duration::from_hours(1);
    emulator.inject(on(Endpoint::SubmitRun, When::once(Fault::DelayAfter(hour))));
    let client = plain().post(format!("{}{SUBMIT}", emulator.http_url()));
    let call = client.bearer_auth(DEFAULT_TOKEN).json(&named("etl"));
    tokio::select! {
        response = call.send() => panic!("{response:?}"),
        () = wait_until("the run exists", async || !emulator.runs().is_empty()) => {}
    }

    emulator
        .inject(on(Endpoint::SubmitRun, When::once(Fault::DelayBefore(Duration::from_millis(20)))));
    let client = plain().post(format!("{}{SUBMIT}", emulator.http_url()));
    let call = client.bearer_auth(DEFAULT_TOKEN).json(&named("etl"));
    tokio::select! {
        response = call.send() => panic!("{response:?}"),
        () = wait_until("the second fault", async || emulator.fault_count("rule") == 2) => {}
    }
    wait_until("the second run exists", async || emulator.runs().len() == 2).await;
}

#[tokio::test]
async fn rate_limits_redirects_and_content_types_are_returned_as_configured() {
    let emulator = emulator().await;
    emulator.inject(on(
        Endpoint::SubmitRun,
        When::Script(vec![
            Some(Fault::RateLimited(RetryAfter::Absent)),
            Some(Fault::RateLimited(RetryAfter::Seconds(3))),
            Some(Fault::RateLimited(RetryAfter::DateIn(3600))),
            Some(Fault::Redirect(HeaderValue::from_static("/login.html?x=1"))),
            Some(Fault::Answer(CannedResponse::json(418, "{}").with_header("x-a", "b"))),
            None,
            Some(Fault::ContentType(HeaderValue::from_static("text/html"))),
        ]),
    ));
    // Does not follow redirects.
    let client = reqwest::Client::builder().no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut responses = Vec::new();
    for _ in 0..7 {
        let call = client.post(format!("{}{SUBMIT}", emulator.http_url()));
        responses.push(call.bearer_auth(DEFAULT_TOKEN).json(&named("etl")).send().await.unwrap());
    }
    let status: Vec<_> = responses.iter().map(|response| response.status().as_u16()).collect();
    assert_eq!(status, [429, 429, 429, 302, 418, 200, 200]);
    let header = |place: usize, name| {
        responses[place].headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!((header(0, "retry-after"), header(1, "retry-after").as_deref()), (None, Some("3")));
    let date = httpdate::parse_http_date(&header(2, "retry-after").unwrap()).unwrap();
    let left = date.duration_since(SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_hours(1), "{left:?}");
    assert_eq!(header(3, "location").as_deref(), Some("/login.html?x=1"));
    assert_eq!(header(4, "x-a").as_deref(), Some("b"));
    assert_eq!(header(6, "content-type").as_deref(), Some("text/html"));
    assert_eq!(emulator.runs().len(), 2, "replaced calls have no effect");
}

#[tokio::test]
async fn run_faults_delete_a_run_or_show_an_earlier_state() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let (etl, other) = (client.submit(&named("etl")).await, client.submit(&named("other")).await);
    let state = |run: serde_json::Value| run["status"]["state"].as_str().unwrap().to_owned();
    let early = Some(RunFault::EarlierState(1.try_into().unwrap()));
    let script = vec![None, None, early, None, Some(RunFault::Deleted)];
    let rule = FaultRule::on_runs(
        RunCalls::to([RunCall::GetRun]).of_run_named("etl"),
        When::Script(script),
    );
    emulator.inject(rule);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(state(client.run(etl).await));
    }
    assert_eq!(seen, ["QUEUED", "PENDING", "QUEUED", "RUNNING"]);
    let path = format!("/api/2.2/jobs/runs/get?run_id={etl}");
    assert_eq!(client.get(&path).await.0, 400);
    assert!(emulator.run(etl).is_none());
    assert_eq!(state(client.run(other).await), "QUEUED");
}

#[tokio::test]
async fn wrong_clock_affects_expiring_tokens_only() {
    let lifetime = Duration::from_hours(1);
    let builder = Emulator::builder().token("lasting").expiring_token("fresh", lifetime);
    let emulator = builder.expiring_token("stale", Duration::from_secs(20)).start().await.unwrap();
    let ask = async |token: &str| {
        let call = plain().get(format!("{}{LIST}", emulator.http_url())).bearer_auth(token);
        let response = call.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap().contains("(token expired)"))
    };
    assert_eq!([ask("fresh").await, ask("stale").await], [(200, false), (403, true)]);
    let skew = |clock| on(Endpoint::ListRuns, When::once(Fault::TokenClock(clock)));
    emulator.inject(skew(TokenClock::Ahead(lifetime)));
    assert_eq!([ask("fresh").await, ask("fresh").await], [(401, false), (200, false)]);
    emulator.inject(skew(TokenClock::Behind(lifetime)));
    assert_eq!([ask("stale").await, ask("stale").await], [(200, false), (403, true)]);
    emulator.inject(skew(TokenClock::Ahead(lifetime)));
    assert_eq!(ask("lasting").await, (200, false));
}

#[tokio::test]
async fn token_requests_get_faults() {
    let emulator = Emulator::builder().service_principal("me", "s").start().await.unwrap();
    let mint = async || {
        let form = plain().post(format!("{}/oidc/v1/token", emulator.http_url()));
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        form.body("grant_type=client_credentials&client_id=me&client_secret=s").send().await
    };
    emulator.inject(on(
        Endpoint::MintToken,
        When::Script(vec![
            Some(Fault::Answer(CannedResponse::json(503, "{}"))),
            Some(Fault::DropBefore),
            Some(Fault::DropAfter),
        ]),
    ));
    assert_eq!(mint().await.unwrap().status(), 503);
    assert!(mint().await.is_err());
    assert_eq!(emulator.tokens_minted(), 0);
    assert!(mint().await.is_err());
    assert_eq!(emulator.tokens_minted(), 1);
    assert_eq!(mint().await.unwrap().status(), 200);
    assert_eq!(emulator.fault_count("rule"), 3);
}

#[tokio::test]
async fn connection_faults_close_open_https_connections_and_break_new_ones() {
    let emulator = emulator().await;
    let client = https_client(&emulator);
    let url = format!("https://{}{LIST}", emulator.https_host());
    let call = async || client.get(&url).bearer_auth(DEFAULT_TOKEN).send().await;
    assert_eq!(call().await.unwrap().status(), 200);
    for fault in [
        ConnectionFault::Closed,
        ConnectionFault::NotTls,
        ConnectionFault::UntrustedCertificate,
        ConnectionFault::ExpiredCertificate,
    ] {
        let name = format!("{fault:?}");
        emulator.inject(FaultRule::on_connections(When::Always(fault)).named(&name));
        let mut tries = 0;
        // The first call may still fail on the closed connection.
        while emulator.fault_count(&name) == 0 {
            tries += 1;
            assert!(tries < 100 && call().await.is_err(), "{name}");
        }
        assert!(call().await.unwrap_err().is_connect(), "{name}");
        assert!(emulator.remove_fault(&name));
        assert_eq!(call().await.unwrap().status(), 200, "{name}");
    }
    assert_eq!(list(&emulator).await.unwrap().status(), 200, "plain HTTP is not affected");
}

#[tokio::test]
async fn same_seed_and_calls_give_the_same_faults() {
    let plan = |seed| {
        let plan = format!(
            r#"{{"seed": {seed}, "rules": [{{"on": "calls", "probability": 0.4, "fault": {{"answer": {{"status": 503}}}}}}]}}"#
        );
        plan.parse::<FaultPlan>().unwrap()
    };
    let mut seen = Vec::new();
    for seed in [5, 5, 6] {
        let emulator = Emulator::builder().faults(plan(seed)).start().await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..30 {
            statuses.push(list(&emulator).await.unwrap().status().as_u16());
        }
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
    assert!(seen[0].contains(&200) && seen[0].contains(&503));
}

#[tokio::test]
async fn admin_api_sets_and_counts_faults() {
    let emulator = emulator().await;
    let client = Client::of(&emulator);
    let plan = json!({"rules": [{"name": "a/b", "on": ["list_runs"], "fault": {"answer": {"status": 503, "body": {}}}}]});
    assert_eq!(client.call(Method::PUT, "/emulator/v1/faults", Some(&plan)).await.0, 204);
    let rule = json!({"on": ["me"], "times": 1, "fault": {"rate_limited": "unsaid"}});
    assert_eq!(client.post("/emulator/v1/faults", &rule).await.0, 204);
    assert_eq!(client.get(LIST).await.0, 503);
    assert_eq!(client.get("/api/2.0/preview/scim/v2/Me").await.0, 429);
    assert_eq!(
        client.get("/emulator/v1/faults").await.1,
        json!([{"name": "a/b", "struck": 1, "waiting": true}, {"name": "rule-2", "struck": 1, "waiting": false}])
    );
    let (_, requests) = client.get("/emulator/v1/requests").await;
    assert_eq!(requests[0]["fault"], "a/b");
    let path = "/emulator/v1/faults/a%2Fb";
    assert_eq!(client.call(Method::DELETE, path, None).await.0, 204);
    assert_eq!(client.call(Method::DELETE, path, None).await.0, 404);
    assert_eq!(client.get(LIST).await.0, 200);

    for (method, bad, place) in [
        (Method::PUT, json!({"rules": [{"on": ["me"], "fault": "run_deleted"}]}), "rules[0].fault"),
        (Method::POST, json!({"on": "calls", "fault": "drop"}), "the rule.fault"),
    ] {
        let (status, response) = client.call(method, "/emulator/v1/faults", Some(&bad)).await;
        assert_eq!(status, 400);
        assert!(response["message"].as_str().unwrap().contains(place), "{response}");
    }
}
