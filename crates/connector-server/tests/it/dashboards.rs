//! Checks `deploy/dashboards` against the server: every metric and label that dashboard and alerts query is exported.
//!
//! [`queries`] reads the files, [`promql`] finds the names in an expression. The other modules run a real Prometheus
//! ([`nightly`]).

mod nightly;
mod outage;
mod prometheus;
mod promql;
mod queries;
mod replica;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{CannedResponse, Emulator, Endpoint, Fault, RetryAfter};
use flyteidl2::{
    connector::{CreateTaskRequest, GetTaskRequest},
    core::{Connection, task_execution::Phase},
};
use serde_json::json;
use tonic::{Code, Request, Status};

use self::{
    promql::{ADDED_LABELS, Sample, names, samples},
    queries::{Alert, Query, alert_queries, alerts, dashboard, dashboard_queries, panels, read},
};
use crate::{
    fixtures::create_request_for,
    server::{Running, config, start},
    workspace::{connector_config, inject_once, task_category, unreachable_host},
};

/// Reads a variable that `cargo xtask nightly` sets.
#[expect(clippy::disallowed_methods, reason = "xtask passes the paths of the programs")]
fn optional_variable(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn variable(name: &str) -> String {
    optional_variable(name)
        .unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask nightly --only prometheus`"))
}

/// Shorter than the `Retry-After` below, and much longer.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

async fn get(server: &Running, resource_meta: &[u8], timeout: Duration) {
    let mut request = Request::new(GetTaskRequest {
        resource_meta: resource_meta.to_vec(),
        task_category: Some(task_category()),
        ..GetTaskRequest::default()
    });
    request.set_timeout(timeout);
    server.tasks().get_task(request).await.unwrap();
}

/// Client id and secret of a service principal of the emulators.
const PRINCIPAL: (&str, &str) = ("principal", "secret");

/// Returns the request with the service principal as its credential.
fn with_principal(mut request: CreateTaskRequest) -> CreateTaskRequest {
    let secrets =
        [("databricks_client_id", PRINCIPAL.0), ("databricks_client_secret", PRINCIPAL.1)];
    request.connection = Some(Connection {
        secrets: secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Connection::default()
    });
    request
}

/// Creates a task; a new `number` makes it a new task.
async fn create(server: &Running, host: &str, number: u32) -> Result<Vec<u8>, Status> {
    let mut request = create_request_for("40_executor_first_attempt", host);
    request.output_prefix = format!("{}-{number}", request.output_prefix);
    let mut tasks = server.tasks();
    Ok(Box::pin(tasks.create_task(request)).await?.into_inner().resource_meta)
}

/// Runs a server through every kind of failure. Returns the metrics that it exports.
async fn samples_after_failures() -> Vec<Sample> {
    let emulator = Emulator::builder()
        .token("dapi-connector")
        .service_principal(PRINCIPAL.0, PRINCIPAL.1)
        .start()
        .await
        .unwrap();
    let host = emulator.https_host();
    let (_socket, unreachable) = unreachable_host();
    let access_token_hosts = vec![host.clone(), unreachable.clone()];
    let databricks = Config { access_token_hosts, ..connector_config(&emulator) };
    let server = start(config(), registry(databricks).unwrap()).await;

    let run = create(&server, &host, 1).await.unwrap();
    // The first call exceeds its deadline, the second waits for the rate limit.
    inject_once(&emulator, Endpoint::GetRun, Fault::RateLimited(RetryAfter::Seconds(2)));
    get(&server, &run, SHORT_TIMEOUT).await;
    get(&server, &run, LONG_TIMEOUT).await;
    for fault in [
        Fault::Answer(CannedResponse::json(403, "{}")),
        Fault::Answer(CannedResponse::json(503, "{}")),
    ] {
        inject_once(&emulator, Endpoint::GetRun, fault);
        get(&server, &run, LONG_TIMEOUT).await;
    }

    // Each call makes six attempts; ten failures in a row open the circuit breaker, so the last call is not sent.
    let meta = json!({"databricks_instance": unreachable, "run_id": "1"}).to_string();
    for _ in 0..3 {
        get(&server, meta.as_bytes(), LONG_TIMEOUT).await;
    }

    // A principal with a wrong secret, and one whose run succeeds.
    let mut request = with_principal(create_request_for("40_executor_first_attempt", &host));
    let secrets = &mut request.connection.as_mut().unwrap().secrets;
    secrets.insert("databricks_client_secret".to_owned(), "wrong".to_owned());
    let status = Box::pin(server.tasks().create_task(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let request = with_principal(create_request_for("40_executor_first_attempt", &host));
    let connection = request.connection.clone();
    let created = Box::pin(server.tasks().create_task(request)).await.unwrap().into_inner();
    let mut phase = Phase::Undefined;
    while phase != Phase::Succeeded {
        let get = GetTaskRequest {
            resource_meta: created.resource_meta.clone(),
            task_category: Some(task_category()),
            connection: connection.clone(),
            ..GetTaskRequest::default()
        };
        let response = server.tasks().get_task(get).await.unwrap().into_inner();
        phase = response.resource.unwrap().phase();
    }

    // A delay beyond the deadline: the first call gets it from the workspace, the second from the rate limit.
    inject_once(&emulator, Endpoint::SubmitRun, Fault::RateLimited(RetryAfter::Seconds(60)));
    for number in [2, 3] {
        let status = create(&server, &host, number).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    samples(&server.page("/metrics").await.1)
}

/// Returns the metrics and labels of a query that the server does not export.
fn missing(query: &Query, samples: &[Sample]) -> Vec<String> {
    let Query { place, expression, shown } = query;
    let names = names(expression);
    assert!(!names.selectors.is_empty(), "{place} selects no metric: {expression}");
    let mut known: BTreeSet<&str> = ADDED_LABELS.into();
    let mut missing = Vec::new();
    for selector in &names.selectors {
        let selected: Vec<&Sample> =
            samples.iter().filter(|sample| selector.matches(sample)).collect();
        if selected.is_empty() {
            missing.push(format!("{place}: no sample matches {selector:?}"));
        }
        let labels = selected.iter().flat_map(|sample| &sample.labels);
        known.extend(labels.map(|(name, _)| name.as_str()));
    }
    let unknown = names.labels.iter().filter(|label| !known.contains(label.as_str()));
    missing.extend(unknown.map(|label| format!("{place}: no sample has the label {label}")));
    let is_lost = |label: &&String| {
        !names.labels.contains(*label)
            && !names.quoted.contains(*label)
            && !ADDED_LABELS.contains(&label.as_str())
    };
    missing.extend(
        shown
            .iter()
            .filter(is_lost)
            .map(|label| format!("{place}: the expression drops the label {label}")),
    );
    missing
}

#[tokio::test]
async fn every_metric_and_label_of_dashboard_and_alerts_is_exported() {
    let samples = samples_after_failures().await;
    let queries = dashboard_queries().into_iter().chain(alert_queries());
    let missing: Vec<String> = queries.flat_map(|query| missing(&query, &samples)).collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn panels_have_position_unit_and_description() {
    let dashboard = dashboard();
    let mut cells = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: duplicate id");
        let grid = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        for x in grid("x")..grid("x") + grid("w") {
            assert!(x < 24, "{title} exceeds the grid");
            for y in grid("y")..grid("y") + grid("h") {
                let other = cells.insert((x, y), title);
                assert_eq!(other, None, "{title} overlaps another panel");
            }
        }
    }
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().unwrap().len() > 30, "{title} has no description");
        let defaults = &panel["fieldConfig"]["defaults"];
        let has_unit = defaults["unit"].is_string() || panel["type"] == "state-timeline";
        assert!(has_unit, "{title} has no unit");
    }
}

#[test]
fn alerts_are_documented_and_tested_firing_and_quiet() {
    let page = read("docs/alerts.md");
    let tests = read("deploy/dashboards/alerts.test.yml");
    let alerts = alerts();
    assert_eq!(alerts.len(), 5);
    for Alert { name, text, .. } in alerts {
        assert!(page.contains(&format!("\n## {name}\n")), "docs/alerts.md has no section {name}");
        let link = format!("docs/alerts.md#{}\n", name.to_lowercase());
        assert!(text.contains(&link), "{name} has no runbook_url {link}");
        assert!(tests.contains(&format!("alertname: {name}\n")), "no test of {name} firing");
        let quiet = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&quiet), "no test of {name} quiet");
    }
}
