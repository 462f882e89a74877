//! A plain client of one emulator.

use databricks_emulator::{DEFAULT_TOKEN, Emulator};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// Nothing that a test waits for takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The status and the body of an answer.
pub(crate) type Answer = (StatusCode, Value);

pub(crate) fn plain() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Client {
    pub(crate) fn of(emulator: &Emulator) -> Self {
        Self { http: plain(), base: emulator.http_url() }
    }

    /// Of the emulator at this address.
    pub(crate) fn at(url: &str) -> Self {
        Self { http: plain(), base: url.to_owned() }
    }

    /// Over HTTPS, with the emulator's certificate as the only root.
    pub(crate) fn over_tls(emulator: &Emulator) -> Self {
        let root = reqwest::Certificate::from_pem(emulator.certificate_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
        Self { http, base: format!("https://{}", emulator.https_host()) }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let request =
            self.http.request(method, format!("{}{path}", self.base)).bearer_auth(DEFAULT_TOKEN);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    /// Whether there is any answer.
    pub(crate) async fn reaches(&self) -> bool {
        self.http.get(&self.base).send().await.is_ok()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Submits, and returns the run id.
    pub(crate) async fn submit(&self, body: &Value) -> i64 {
        let (status, answer) = self.post("/api/2.2/jobs/runs/submit", body).await;
        assert_eq!(status, 200, "{answer}");
        answer["run_id"].as_i64().unwrap()
    }

    /// Reads a run, which is a poll.
    pub(crate) async fn run(&self, run_id: i64) -> Value {
        let (status, answer) = self.get(&format!("/api/2.2/jobs/runs/get?run_id={run_id}")).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Polls to the end.
    pub(crate) async fn ended_run(&self, run_id: i64) -> Value {
        for _ in 0..20 {
            let run = self.run(run_id).await;
            if run["end_time"] != 0 {
                return run;
            }
        }
        panic!("run {run_id} does not end");
    }

    /// Polls until what is executed has ended.
    pub(crate) async fn executed_run(&self, run_id: i64) -> Value {
        let ended = async {
            loop {
                let run = self.run(run_id).await;
                if run["end_time"] != 0 {
                    return run;
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the run does not end")
    }

    pub(crate) async fn output(&self, run_id: i64) -> Answer {
        self.get(&format!("/api/2.2/jobs/runs/get-output?run_id={run_id}")).await
    }

    pub(crate) async fn cancel(&self, run_id: i64) -> Answer {
        self.post("/api/2.2/jobs/runs/cancel", &json!({"run_id": run_id})).await
    }
}

pub(crate) async fn emulator() -> Emulator {
    Emulator::builder().start().await.unwrap()
}

pub(crate) fn python_task(task_key: &str) -> Value {
    json!({"task_key": task_key, "new_cluster": {"num_workers": 1}, "spark_python_task": {"python_file": "dbfs:/a.py"}})
}

/// A body with one task.
pub(crate) fn named(run_name: &str) -> Value {
    json!({"run_name": run_name, "tasks": [python_task("main")]})
}
