//! Runs Prometheus and promtool. `cargo xtask nightly --only prometheus` builds them.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, Url};
use serde_json::Value;

use super::variable;
use crate::{eventually::until, process::free_port};

/// A Prometheus server that scrapes every second. Dropping it kills the process.
pub struct Prometheus {
    child: Child,
    address: String,
    client: Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Returns the current Unix time in seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Asserts that `promtool check metrics` reports no problem.
pub fn check_metrics(metrics: &str) {
    let mut promtool = Command::new(variable("FLYTE_TEST_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && stderr.is_empty(), "promtool check metrics: {stderr}");
}

impl Prometheus {
    /// Starts Prometheus with these targets and rules. `workspaces` maps names to hosts: the label `workspace` shows the name.
    pub async fn start(
        folder: &Path,
        targets: &[String],
        rules: &str,
        workspaces: &[(&str, String)],
    ) -> Self {
        std::fs::write(folder.join("alerts.yml"), rules).unwrap();
        let targets = targets.join("\", \"");
        let mut config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [alerts.yml]\n\
             scrape_configs:\n\
             - job_name: flyteconnector\n\
             \x20 static_configs: [{{targets: [\"{targets}\"]}}]\n\
             \x20 metric_relabel_configs:\n"
        );
        for (name, host) in workspaces {
            let rule = "source_labels: [workspace], target_label: workspace";
            writeln!(config, "  - {{{rule}, regex: \"{host}\", replacement: \"{name}\"}}").unwrap();
        }
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let log = File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new(variable("FLYTE_TEST_PROMETHEUS"))
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("history").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let prometheus = Self { child, address, client };
        until("Prometheus is ready", async || {
            let url = format!("http://{}/-/ready", prometheus.address);
            let response = prometheus.client.get(url).send().await;
            response.is_ok_and(|response| response.status().is_success())
        })
        .await;
        prometheus
    }

    async fn query(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let response = self.client.get(url).send().await.unwrap();
        let response: Value = response.json().await.unwrap();
        assert_eq!(response["status"], "success", "{parameters:?}: {response}");
        response["data"]["result"].clone()
    }

    /// Evaluates an expression now.
    async fn instant_query(&self, expression: &str) -> Vec<Value> {
        self.query("query", &[("query", expression)]).await.as_array().unwrap().clone()
    }

    /// Evaluates an expression between two times, in steps of `step` seconds.
    pub async fn range_query(&self, expression: &str, times: (f64, f64), step: &str) -> Vec<Value> {
        let (start, end) = (times.0.to_string(), times.1.to_string());
        let parameters = [("query", expression), ("start", &start), ("end", &end), ("step", step)];
        self.query("query_range", &parameters).await.as_array().unwrap().clone()
    }

    /// Returns the names of the alerts that fire now.
    pub async fn firing(&self) -> Vec<String> {
        let alerts = self.instant_query(r#"ALERTS{alertstate="firing"}"#).await;
        alerts
            .iter()
            .map(|alert| alert["metric"]["alertname"].as_str().unwrap().to_owned())
            .collect()
    }
}
