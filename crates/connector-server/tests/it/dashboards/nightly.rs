//! Dashboard and alerts in a real Prometheus that scrapes two replicas through failures.

use std::{collections::BTreeSet, path::Path, time::Duration};

use regex::Regex;
use serde_json::{Value, json};

use super::{
    alerts, dashboard, optional_variable,
    outage::{Outage, WORKSPACE_NAMES},
    prometheus::{Prometheus, check_metrics, now},
    queries::{Query, dashboard_queries, panels, read},
    replica::Replica,
};
use crate::eventually::until;

/// Default duration of the scenario in seconds; `FLYTE_TEST_DAY` overrides it.
const DEFAULT_SECONDS: &str = "100";

/// The alert for missing replicas, which fires last.
const DOWN: &str = "FlyteConnectorDown";

/// The alert that stays active for an hour.
const ONE_HOUR: &str = "FlyteConnectorRunsUnaccounted";

/// Returns the rules scaled to the short scenario: ranges of ten seconds, pending for one.
fn accelerated_rules() -> String {
    let rules = read("deploy/dashboards/alerts.yml").replace("[5m]", "[10s]");
    Regex::new(r"for: [0-9]+m").unwrap().replace_all(&rules, "for: 1s").into_owned()
}

/// Replaces dashboard variables as Grafana does when "All" is selected.
fn substitute(expression: &str, interval: &str) -> String {
    let expression = expression.replace("$__rate_interval", interval);
    Regex::new(r#""\$[a-z]+""#).unwrap().replace_all(&expression, "\".*\"").into_owned()
}

fn has_value(series: &[Value]) -> bool {
    let values = series.iter().flat_map(|series| series["values"].as_array().unwrap());
    values.into_iter().any(|value| value[1].as_str().unwrap() != "NaN")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus; run `cargo xtask nightly --only prometheus`"]
async fn expressions_have_values_and_alerts_fire_under_failures() {
    let folder = tempfile::tempdir().unwrap();
    let seconds: u64 =
        optional_variable("FLYTE_TEST_DAY").as_deref().unwrap_or(DEFAULT_SECONDS).parse().unwrap();
    let mut outage = Outage::prepare(folder.path(), Duration::from_secs(seconds)).await;
    let targets: Vec<String> = outage.replicas.iter().map(Replica::metrics_address).collect();
    let workspaces: Vec<(&str, String)> = WORKSPACE_NAMES
        .into_iter()
        .zip([outage.prod.https_host(), outage.dev.https_host()])
        .collect();
    let prometheus =
        Prometheus::start(folder.path(), &targets, &accelerated_rules(), &workspaces).await;
    let start = now();
    Box::pin(outage.run()).await;
    let times = (start, now());

    // All failures are over, so their alerts must clear.
    until("the alerts have cleared", async || {
        prometheus.firing().await.iter().all(|alert| alert == ONE_HOUR)
    })
    .await;
    for replica in &outage.replicas {
        check_metrics(&replica.metrics().await);
    }
    let interval = format!("{}s", (seconds / 40).max(10));
    let mut without = Vec::new();
    let queries = dashboard_queries();
    for Query { place, expression, .. } in &queries {
        let series = prometheus.range_query(&substitute(expression, &interval), times, "1").await;
        if !has_value(&series) {
            without.push(format!("{place}: {expression}"));
        }
    }
    assert!(without.is_empty(), "without a value:\n{}", without.join("\n"));
    println!("{} expressions of the dashboard have values in Prometheus", queries.len());

    if let Some(path) = optional_variable("FLYTE_TEST_HISTORY") {
        let history = history(&prometheus, times, &interval).await;
        std::fs::write(Path::new(&path), history.to_string()).unwrap();
    }

    for replica in &mut outage.replicas {
        replica.stop().await;
    }
    until("the alert for missing replicas fires", async || {
        prometheus.firing().await.iter().any(|alert| alert == DOWN)
    })
    .await;
    let fired = prometheus.range_query(r#"ALERTS{alertstate="firing"}"#, (start, now()), "1").await;
    let fired: BTreeSet<&str> =
        fired.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap()).collect();
    let alerts = alerts();
    let expected: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(fired, expected);
    println!("fired: {}", fired.into_iter().collect::<Vec<&str>>().join(", "));
}

/// Returns the data of every panel, for `deploy/dashboards/draw.py`.
async fn history(prometheus: &Prometheus, times: (f64, f64), interval: &str) -> Value {
    let step = ((times.1 - times.0) / 300.0).max(1.0);
    let mut shown = serde_json::Map::new();
    for panel in panels(&dashboard()) {
        let mut targets = Vec::new();
        for target in panel["targets"].as_array().unwrap() {
            let expression = substitute(target["expr"].as_str().unwrap(), interval);
            targets.push(prometheus.range_query(&expression, times, &step.to_string()).await);
        }
        shown.insert(panel["id"].to_string(), json!(targets));
    }
    json!({"start": times.0, "end": times.1, "step": step, "panels": shown})
}
