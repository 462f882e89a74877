//! Dashboard and rules in a real Prometheus that watches a day full of trouble.

use std::{collections::BTreeSet, path::Path, time::Duration};

use regex::Regex;
use serde_json::{Value, json};

use super::{
    alerts, dashboard,
    day::{Day, NAMES},
    files::{Asked, asked_by_dashboard, panels, read},
    prometheus::{Prometheus, check_metrics, now},
    replica::Replica,
    said,
};

/// How long the day is in seconds, unless `FLYTE_TEST_DAY` says otherwise.
const DAY: &str = "100";

/// The alert of replicas that are gone, which is the last.
const DOWN: &str = "FlyteConnectorDown";

/// What stays for an hour.
const LASTS: &str = "FlyteConnectorRunsUnaccounted";

/// The rules for a day that is so much shorter: they look back over ten seconds, and wait for one.
fn hurried() -> String {
    let rules = read("deploy/dashboards/alerts.yml").replace("[5m]", "[10s]");
    Regex::new(r"for: [0-9]+m").unwrap().replace_all(&rules, "for: 1s").into_owned()
}

/// An expression as Grafana sends it when all is chosen.
fn substituted(expression: &str, interval: &str) -> String {
    let expression = expression.replace("$__rate_interval", interval);
    Regex::new(r#""\$[a-z]+""#).unwrap().replace_all(&expression, "\".*\"").into_owned()
}

fn has_a_number(series: &[Value]) -> bool {
    let values = series.iter().flat_map(|series| series["values"].as_array().unwrap());
    values.into_iter().any(|value| value[1].as_str().unwrap() != "NaN")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it needs Prometheus, which `cargo xtask nightly --only prometheus` builds"]
async fn every_expression_has_values_and_every_alert_fires_when_a_prometheus_watches_a_bad_day() {
    let folder = tempfile::tempdir().unwrap();
    let seconds: u64 = said("FLYTE_TEST_DAY").as_deref().unwrap_or(DAY).parse().unwrap();
    let mut day = Day::prepared(folder.path(), Duration::from_secs(seconds)).await;
    let targets: Vec<String> = day.replicas.iter().map(Replica::scraped).collect();
    let workspaces: Vec<(&str, String)> =
        NAMES.into_iter().zip([day.prod.https_host(), day.dev.https_host()]).collect();
    let prometheus = Prometheus::start(folder.path(), &targets, &hurried(), &workspaces).await;
    let start = now();
    Box::pin(day.pass()).await;
    let times = (start, now());

    // The last trouble is over, and so is its alarm.
    prometheus
        .eventually("the alerts have cleared", async || {
            prometheus.firing().await.iter().all(|alert| alert == LASTS)
        })
        .await;
    for replica in &day.replicas {
        check_metrics(&replica.metrics().await);
    }
    let interval = format!("{}s", (seconds / 40).max(10));
    let mut without = Vec::new();
    let mut asked = 0;
    for Asked { place, expression, .. } in asked_by_dashboard() {
        let series = prometheus.over(&substituted(&expression, &interval), times, "1").await;
        asked += 1;
        if !has_a_number(&series) {
            without.push(format!("{place}: {expression}"));
        }
    }
    assert!(without.is_empty(), "without a value:\n{}", without.join("\n"));
    println!("{asked} expressions of the dashboard have values from a real Prometheus");

    if let Some(path) = said("FLYTE_TEST_HISTORY") {
        let history = history(&prometheus, times, &interval).await;
        std::fs::write(Path::new(&path), history.to_string()).unwrap();
    }

    for replica in &mut day.replicas {
        replica.stop().await;
    }
    prometheus
        .eventually("the end of all replicas is an alarm", async || {
            prometheus.firing().await.iter().any(|alert| alert == DOWN)
        })
        .await;
    let fired = prometheus.over(r#"ALERTS{alertstate="firing"}"#, (start, now()), "1").await;
    let fired: BTreeSet<&str> =
        fired.iter().map(|alert| alert["metric"]["alertname"].as_str().unwrap()).collect();
    let alerts = alerts();
    let wanted: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(fired, wanted);
    println!("fired: {}", fired.into_iter().collect::<Vec<&str>>().join(", "));
}

/// What every panel shows, for whoever draws it.
async fn history(prometheus: &Prometheus, times: (f64, f64), interval: &str) -> Value {
    let step = ((times.1 - times.0) / 300.0).max(1.0);
    let mut shown = serde_json::Map::new();
    for panel in panels(&dashboard()) {
        let mut targets = Vec::new();
        for target in panel["targets"].as_array().unwrap() {
            let expression = substituted(target["expr"].as_str().unwrap(), interval);
            targets.push(prometheus.over(&expression, times, &step.to_string()).await);
        }
        shown.insert(panel["id"].to_string(), json!(targets));
    }
    json!({"start": times.0, "end": times.1, "step": step, "panels": shown})
}
