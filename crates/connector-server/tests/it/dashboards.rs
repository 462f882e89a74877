//! `deploy/dashboards`: what its dashboard and its rules name, this server tells.

mod day;
mod files;
mod nightly;
mod prometheus;
mod promql;
mod replica;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use connector_server::registry;
use databricks_connector::Config;
use databricks_emulator::{
    Calls, CannedResponse, Emulator, Endpoint, Fault, FaultRule, RetryAfter, When,
};
use flyteidl2::{
    connector::{CreateTaskRequest, GetTaskRequest},
    core::{Connection, task_execution::Phase},
};
use serde_json::json;
use tokio::net::TcpSocket;
use tonic::{Code, Request, Status};

use self::{
    files::{Alert, Asked, alerts, asked_by_dashboard, asked_by_rules, dashboard, panels, read},
    promql::{ADDED, Sample, names, samples},
};
use crate::{
    databricks::{captured, category, configured, pointed_at},
    server::{Running, config, start},
};

/// What the environment says of a nightly run.
#[expect(clippy::disallowed_methods, reason = "whoever built the programs says where they are")]
fn said(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

fn variable(name: &str) -> String {
    said(name)
        .unwrap_or_else(|| panic!("{name} is not set: run `cargo xtask nightly --only prometheus`"))
}

/// Less than the wait that a workspace asks for below, and far more than it.
const HASTY: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(30);

async fn get(server: &Running, resource_meta: &[u8], timeout: Duration) {
    let mut request = Request::new(GetTaskRequest {
        resource_meta: resource_meta.to_vec(),
        task_category: Some(category()),
        ..GetTaskRequest::default()
    });
    request.set_timeout(timeout);
    server.tasks().get_task(request).await.unwrap();
}

/// A service principal of the fake workspaces: its id and its secret.
const PRINCIPAL: (&str, &str) = ("principal", "secret");

/// The same task with a credential of its own, whose tokens are asked for.
fn as_principal(mut request: CreateTaskRequest) -> CreateTaskRequest {
    let secrets =
        [("databricks_client_id", PRINCIPAL.0), ("databricks_client_secret", PRINCIPAL.1)];
    request.connection = Some(Connection {
        secrets: secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Connection::default()
    });
    request
}

/// Creates a task that is none of those before.
async fn create(server: &Running, host: &str, number: u32) -> Result<Vec<u8>, Status> {
    let mut request = pointed_at(captured("40_executor_first_attempt"), host);
    request.output_prefix = format!("{}-{number}", request.output_prefix);
    let mut tasks = server.tasks();
    Ok(Box::pin(tasks.create_task(request)).await?.into_inner().resource_meta)
}

/// What the server tells after a day on which everything went wrong.
async fn told() -> Vec<Sample> {
    let emulator = Emulator::builder()
        .token("dapi-connector")
        .service_principal(PRINCIPAL.0, PRINCIPAL.1)
        .start()
        .await
        .unwrap();
    let host = emulator.https_host();
    // A workspace that nobody listens at: its port is taken and stays so.
    let taken = TcpSocket::new_v4().unwrap();
    taken.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let lost = format!("localhost:{}", taken.local_addr().unwrap().port());
    let access_token_hosts = vec![host.clone(), lost.clone()];
    let databricks = Config { access_token_hosts, ..configured(&emulator) };
    let server = start(config(), registry(databricks).unwrap()).await;

    let strike = |endpoint, fault| {
        emulator.inject(FaultRule::on_calls(Calls::to([endpoint]), When::once(fault)));
    };
    let run = create(&server, &host, 1).await.unwrap();
    // Who has no time goes without, and who comes next waits.
    strike(Endpoint::GetRun, Fault::RateLimited(RetryAfter::Seconds(2)));
    get(&server, &run, HASTY).await;
    get(&server, &run, PATIENT).await;
    for fault in [
        Fault::Answer(CannedResponse::json(403, "{}")),
        Fault::Answer(CannedResponse::json(503, "{}")),
    ] {
        strike(Endpoint::GetRun, fault);
        get(&server, &run, PATIENT).await;
    }

    // Ten failures in a row, of which a call makes six, and then a call that is not sent.
    let meta = json!({"databricks_instance": lost, "run_id": "1"}).to_string();
    for _ in 0..3 {
        get(&server, meta.as_bytes(), PATIENT).await;
    }

    // A principal whose secret is wrong, and one whose run ends well.
    let mut request = as_principal(pointed_at(captured("40_executor_first_attempt"), &host));
    let secrets = &mut request.connection.as_mut().unwrap().secrets;
    secrets.insert("databricks_client_secret".to_owned(), "wrong".to_owned());
    let refused = Box::pin(server.tasks().create_task(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let request = as_principal(pointed_at(captured("40_executor_first_attempt"), &host));
    let connection = request.connection.clone();
    let created = Box::pin(server.tasks().create_task(request)).await.unwrap().into_inner();
    let mut phase = Phase::Undefined;
    while phase != Phase::Succeeded {
        let get = GetTaskRequest {
            resource_meta: created.resource_meta.clone(),
            task_category: Some(category()),
            connection: connection.clone(),
            ..GetTaskRequest::default()
        };
        let answer = server.tasks().get_task(get).await.unwrap().into_inner();
        phase = answer.resource.unwrap().phase();
    }

    // Longer than anybody waits, whether told so or finding it so.
    strike(Endpoint::SubmitRun, Fault::RateLimited(RetryAfter::Seconds(60)));
    for number in [2, 3] {
        let refused = create(&server, &host, number).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    }
    samples(&server.page("/metrics").await.1)
}

/// What is wrong with it.
fn unmet(asked: &Asked, told: &[Sample]) -> Vec<String> {
    let Asked { place, expression, shown } = asked;
    let names = names(expression);
    assert!(!names.selectors.is_empty(), "{place} asks for nothing: {expression}");
    let mut known: BTreeSet<&str> = ADDED.into();
    let mut unmet = Vec::new();
    for selector in &names.selectors {
        let selected: Vec<&Sample> =
            told.iter().filter(|sample| selector.selects(sample)).collect();
        if selected.is_empty() {
            unmet.push(format!("{place}: nothing is {selector:?}"));
        }
        let labels = selected.iter().flat_map(|sample| &sample.labels);
        known.extend(labels.map(|(name, _)| name.as_str()));
    }
    let unknown = names.labels.iter().filter(|label| !known.contains(label.as_str()));
    unmet.extend(unknown.map(|label| format!("{place}: nothing has the label {label}")));
    let kept = |label: &&String| {
        !names.labels.contains(*label)
            && !names.made.contains(*label)
            && !ADDED.contains(&label.as_str())
    };
    unmet.extend(shown.iter().filter(kept).map(|label| format!("{place} shows no {label}")));
    unmet
}

#[tokio::test]
async fn every_metric_and_label_of_dashboard_and_rules_is_told() {
    let told = told().await;
    let asked: Vec<Asked> = asked_by_dashboard().into_iter().chain(asked_by_rules()).collect();
    let unmet: Vec<String> = asked.iter().flat_map(|asked| unmet(asked, &told)).collect();
    assert!(unmet.is_empty(), "{}", unmet.join("\n"));
}

#[test]
fn every_panel_has_its_place_its_unit_and_says_what_to_do() {
    let dashboard = dashboard();
    let mut cells = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another's");
        let of = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        for x in of("x")..of("x") + of("w") {
            assert!(x < 24, "{title} is beyond the edge");
            for y in of("y")..of("y") + of("h") {
                let other = cells.insert((x, y), title);
                assert_eq!(other, None, "{title} lies over another panel");
            }
        }
    }
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().unwrap().len() > 30, "{title} explains nothing");
        let defaults = &panel["fieldConfig"]["defaults"];
        let has_unit = defaults["unit"].is_string() || panel["type"] == "state-timeline";
        assert!(has_unit, "{title} has no unit");
    }
}

#[test]
fn five_alerts_have_a_page_a_test_that_fires_and_one_that_clears() {
    let page = read("docs/alerts.md");
    let tests = read("deploy/dashboards/alerts.test.yml");
    let alerts = alerts();
    assert_eq!(alerts.len(), 5);
    for Alert { name, text, .. } in alerts {
        assert!(page.contains(&format!("\n## {name}\n")), "docs/alerts.md has no part {name}");
        let link = format!("docs/alerts.md#{}\n", name.to_lowercase());
        assert!(text.contains(&link), "{name} does not lead to {link}");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} is never seen firing");
        let quiet = format!("alertname: {name}, exp_alerts: []");
        assert!(tests.contains(&quiet), "{name} is never seen quiet");
    }
}
