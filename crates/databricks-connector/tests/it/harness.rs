//! A connector with an emulated workspace, and captured requests.

use std::time::{Duration, Instant};

use connector_core::{
    CallContext, Connection, Connector, CreateContext, Resource, TaskType, value,
};
use databricks_connector::{Config, DatabricksConnector, RunMeta};
use databricks_emulator::{Emulator, Script};
use prometheus_client::{encoding::text::encode, registry::Registry};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

pub(crate) use crate::fixtures::create_context;

pub const TOKEN: &str = "dapi-emulator";

/// Polls after which a run that has not ended fails the test.
const MAX_POLLS: usize = 100;

pub struct Harness {
    pub emulator: Emulator,
    pub connector: DatabricksConnector,
}

impl Harness {
    /// Starts a workspace, and a connector that has its own token for it.
    pub async fn start() -> Self {
        Self::with(|config| config).await
    }

    pub async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let emulator = Emulator::builder().token(TOKEN).start().await.unwrap();
        let config = Config {
            instance: Some(emulator.http_url()),
            access_token: Some(SecretString::from(TOKEN)),
            ..Config::default()
        };
        Self { connector: DatabricksConnector::new(change(config)).unwrap(), emulator }
    }

    /// Returns the captured request for this workspace, with these fields merged into its `databricksConf`.
    pub fn request(&self, name: &str, conf: Value) -> CreateContext {
        let own = create_context(name).custom().unwrap().remove("databricksConf");
        let mut merged = own.and_then(|own| own.as_object().cloned()).unwrap_or_default();
        if let Value::Object(conf) = conf {
            merged.extend(conf);
        }
        self.request_with_conf(name, &Value::Object(merged))
    }

    /// Returns the captured request for this workspace, with exactly this `databricksConf`.
    pub fn request_with_conf(&self, name: &str, conf: &Value) -> CreateContext {
        with_custom(create_context(name), |custom| {
            custom.insert("databricksInstance".to_owned(), json!(self.emulator.http_url()));
            custom.insert("databricksConf".to_owned(), conf.clone());
        })
    }

    /// Starts a run that follows the script.
    pub async fn started(&self, script: Script) -> RunMeta {
        self.emulator.set_script("scripted", script);
        let cx = self.request("40_executor_first_attempt", json!({"run_name": "scripted"}));
        self.connector.create(cx).await.unwrap()
    }

    /// Returns the connector's metrics in the OpenMetrics text format.
    pub fn scrape(&self) -> String {
        let mut registry = Registry::default();
        self.connector.register_metrics(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    pub async fn get(&self, meta: &RunMeta) -> Resource {
        self.connector.get(call(), meta.clone()).await.unwrap()
    }

    /// Polls until the run has ended.
    pub async fn end_of(&self, meta: &RunMeta) -> Resource {
        self.end_with_prefix(meta, "").await
    }

    /// Polls with an output prefix until the run has ended.
    pub async fn end_with_prefix(&self, meta: &RunMeta, output_prefix: &str) -> Resource {
        for _ in 0..MAX_POLLS {
            let cx = call().with_output_prefix(output_prefix);
            let resource = self.connector.get(cx, meta.clone()).await.unwrap();
            if resource.phase.is_terminal() {
                return resource;
            }
        }
        panic!("the run has not ended after {MAX_POLLS} polls");
    }
}

/// Returns the request with a changed `custom` section.
pub fn with_custom(
    mut cx: CreateContext,
    change: impl FnOnce(&mut Map<String, Value>),
) -> CreateContext {
    let mut custom = cx.custom().unwrap();
    change(&mut custom);
    cx.template.custom = Some(value::struct_from_json(&custom));
    cx
}

pub fn call() -> CallContext {
    call_within(Duration::from_secs(20))
}

pub fn call_within(timeout: Duration) -> CallContext {
    CallContext::new(TaskType::new("databricks", 0)).with_deadline(Some(Instant::now() + timeout))
}

pub fn with_token(token: &str) -> CallContext {
    let token = SecretString::from(token.to_owned());
    call().with_connection(Connection::new().with_secret("databricks_token", token))
}

pub fn meta(host: &str, run_id: &str) -> RunMeta {
    serde_json::from_value(json!({"databricks_instance": host, "run_id": run_id})).unwrap()
}

/// Returns the resource meta as Flyte stores it.
pub fn stored(meta: &RunMeta) -> Map<String, Value> {
    match serde_json::to_value(meta).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}
