//! A test client, and helpers for all tests.

use databricks_emulator::{DEFAULT_TOKEN, Emulator};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// The limit of every wait in a test.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_mins(1);

/// The status and the body of a response.
pub(crate) type Response = (StatusCode, Value);

/// Waits until a condition holds, and fails the test after [`TEST_TIMEOUT`].
pub(crate) async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(TEST_TIMEOUT, waiting).await.is_ok(), "timed out: {what}");
}

pub(crate) fn plain() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Client {
    pub(crate) fn of(emulator: &Emulator) -> Self {
        Self { http: plain(), base: emulator.http_url() }
    }

    /// A client of the emulator at this URL.
    pub(crate) fn at(url: &str) -> Self {
        Self { http: plain(), base: url.to_owned() }
    }

    /// An HTTPS client that trusts only the emulator's root certificate.
    pub(crate) fn over_tls(emulator: &Emulator) -> Self {
        let root = reqwest::Certificate::from_pem(emulator.certificate_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
        Self { http, base: format!("https://{}", emulator.https_host()) }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        let request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(DEFAULT_TOKEN);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    /// True if the emulator responds.
    pub(crate) async fn is_reachable(&self) -> bool {
        self.http.get(&self.base).send().await.is_ok()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Submits a run and returns its id.
    pub(crate) async fn submit(&self, body: &Value) -> i64 {
        let (status, response) = self.post("/api/2.2/jobs/runs/submit", body).await;
        assert_eq!(status, 200, "{response}");
        response["run_id"].as_i64().unwrap()
    }

    /// Polls a run.
    pub(crate) async fn run(&self, run_id: i64) -> Value {
        let (status, response) = self.get(&format!("/api/2.2/jobs/runs/get?run_id={run_id}")).await;
        assert_eq!(status, 200, "{response}");
        response
    }

    /// Polls a scripted run until it ends.
    pub(crate) async fn ended_run(&self, run_id: i64) -> Value {
        for _ in 0..20 {
            let run = self.run(run_id).await;
            if run["end_time"] != 0 {
                return run;
            }
        }
        panic!("run {run_id} does not end");
    }

    /// Polls an executed run until it ends.
    pub(crate) async fn executed_run(&self, run_id: i64) -> Value {
        let ended = async {
            loop {
                let run = self.run(run_id).await;
                if run["end_time"] != 0 {
                    return run;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(TEST_TIMEOUT, ended).await.expect("the run does not end")
    }

    pub(crate) async fn output(&self, run_id: i64) -> Response {
        self.get(&format!("/api/2.2/jobs/runs/get-output?run_id={run_id}")).await
    }

    pub(crate) async fn cancel(&self, run_id: i64) -> Response {
        self.post("/api/2.2/jobs/runs/cancel", &json!({"run_id": run_id})).await
    }
}

pub(crate) async fn emulator() -> Emulator {
    Emulator::builder().start().await.unwrap()
}

pub(crate) fn python_task(task_key: &str) -> Value {
    json!({"task_key": task_key, "new_cluster": {"num_workers": 1}, "spark_python_task": {"python_file": "dbfs:/a.py"}})
}

/// A submit body with one task.
pub(crate) fn named(run_name: &str) -> Value {
    json!({"run_name": run_name, "tasks": [python_task("main")]})
}
