//! A real Prometheus, and promtool. `cargo xtask nightly --only prometheus` builds them.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::{Client, Url};
use serde_json::Value;

use super::{replica::free_port, variable};

/// No start and no rule takes longer, by far.
const PATIENCE: Duration = Duration::from_mins(1);

/// It scrapes every second, and ends with this.
pub struct Prometheus {
    child: Child,
    address: String,
    client: Client,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What `promtool check metrics` says of these; it fails where something is wrong.
pub fn check_metrics(metrics: &str) {
    let mut promtool = Command::new(variable("FLYTE_TEST_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "promtool check metrics: {said}");
}

impl Prometheus {
    /// Scrapes these, and judges by these rules. `workspaces` are the names that take the place of hosts.
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
        prometheus
            .eventually("Prometheus is ready", async || {
                let url = format!("http://{}/-/ready", prometheus.address);
                let answer = prometheus.client.get(url).send().await;
                answer.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        prometheus
    }

    /// Asks four times a second until it is so.
    #[expect(clippy::future_not_send, reason = "the test awaits it where it is")]
    pub async fn eventually(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let asking = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        assert!(asked.is_ok(), "not within {} s: {what}", PATIENCE.as_secs());
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let url = Url::parse_with_params(&url, parameters).unwrap();
        let answer = self.client.get(url).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"]["result"].clone()
    }

    /// The series of an expression at this moment.
    pub async fn at_once(&self, expression: &str) -> Vec<Value> {
        self.ask("query", &[("query", expression)]).await.as_array().unwrap().clone()
    }

    /// The series of an expression between two times, every so many seconds.
    pub async fn over(&self, expression: &str, times: (f64, f64), step: &str) -> Vec<Value> {
        let (start, end) = (times.0.to_string(), times.1.to_string());
        let parameters = [("query", expression), ("start", &start), ("end", &end), ("step", step)];
        self.ask("query_range", &parameters).await.as_array().unwrap().clone()
    }

    /// The alerts that fire now.
    pub async fn firing(&self) -> Vec<String> {
        let alerts = self.at_once(r#"ALERTS{alertstate="firing"}"#).await;
        alerts
            .iter()
            .map(|alert| alert["metric"]["alertname"].as_str().unwrap().to_owned())
            .collect()
    }
}
