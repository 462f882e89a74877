//! A connector, a workspace, and real requests.

use std::time::Duration;

use connector_core::{
    CallContext, Connection, Connector, CreateContext, Resource, TaskType, value,
};
use databricks_connector::{Config, DatabricksConnector, RunMeta};
use databricks_emulator::{Emulator, Script};
use prometheus_client::{encoding::text::encode, registry::Registry};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::fixtures::create_context;

pub const TOKEN: &str = "dapi-emulator";

pub struct World {
    pub emulator: Emulator,
    pub connector: DatabricksConnector,
}

impl World {
    /// A workspace and a connector that has a token of its own for it.
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

    /// The request of that name, for this workspace, with other `databricksConf` fields laid over its own.
    pub fn request(&self, name: &str, conf: Value) -> CreateContext {
        let mut cx = create_context(name);
        let mut custom = cx.custom().unwrap();
        custom.insert("databricksInstance".to_owned(), json!(self.emulator.http_url()));
        if let (Some(own), Value::Object(over)) =
            (custom.get_mut("databricksConf").and_then(Value::as_object_mut), conf)
        {
            own.extend(over);
        }
        cx.template.custom = Some(value::struct_from_json(&custom));
        cx
    }

    /// Starts a run whose life the script tells.
    pub async fn started(&self, script: Script) -> RunMeta {
        self.emulator.set_script("scripted", script);
        let cx = self.request("40_executor_first_attempt", json!({"run_name": "scripted"}));
        self.connector.create(cx).await.unwrap()
    }

    /// The connector's metrics in the OpenMetrics text format.
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
}

pub fn call() -> CallContext {
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    CallContext::new(TaskType::new("databricks", 0)).with_deadline(Some(deadline))
}

pub fn with_token(token: &str) -> CallContext {
    let token = SecretString::from(token.to_owned());
    call().with_connection(Connection::new().with_secret("databricks_token", token))
}

pub fn meta(host: &str, run_id: &str) -> RunMeta {
    serde_json::from_value(json!({"databricks_instance": host, "run_id": run_id})).unwrap()
}

/// The meta as Flyte stores it.
pub fn stored(meta: &RunMeta) -> Map<String, Value> {
    match serde_json::to_value(meta).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}
