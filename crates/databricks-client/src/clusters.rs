//! Clusters: where a run's work happened, and why that ended (DA §1.10).

mod events;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{
    Client, Error, int64,
    open_enum::open_enum,
    request::{Endpoint, Request},
};

pub use events::{ClusterEvent, ClusterEventDetails, ListClusterEvents};

open_enum! {
    /// Where a cluster is in its life.
    ClusterState {
        Error = "ERROR",
        Pending = "PENDING",
        Resizing = "RESIZING",
        Restarting = "RESTARTING",
        Running = "RUNNING",
        Terminated = "TERMINATED",
        Terminating = "TERMINATING",
        Unknown = "UNKNOWN",
    }
}

open_enum! {
    /// Whose doing the end of a cluster was. Not the same words as those for the end of a run.
    ClusterTerminationType {
        ClientError = "CLIENT_ERROR",
        CloudFailure = "CLOUD_FAILURE",
        ServiceFault = "SERVICE_FAULT",
        Success = "SUCCESS",
    }
}

/// One cluster.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct Cluster {
    /// Its id.
    pub cluster_id: Option<String>,
    /// Where it is in its life.
    pub state: Option<ClusterState>,
    /// The same in words, such as the progress of its start.
    pub state_message: Option<String>,
    /// Why it ended, once it has.
    pub termination_reason: Option<TerminationReason>,
    /// The machine of the driver, once there is one.
    pub driver: Option<SparkNode>,
    /// The machines of the workers, while there are any.
    #[serde(deserialize_with = "known_or_none")]
    pub executors: Option<Vec<SparkNode>>,
    /// How many workers it shall have; it may have fewer.
    #[serde(deserialize_with = "int64::optional")]
    pub num_workers: Option<i64>,
    /// Its Spark context. A number here, too large for a double; text in a run's `cluster_instance`.
    #[serde(deserialize_with = "int64::optional")]
    pub spark_context_id: Option<i64>,
    /// Who made it: `JOB` for one that lives for a run, others for one that outlives it.
    pub cluster_source: Option<String>,
    /// Where its logs are delivered to, if anywhere.
    #[serde(deserialize_with = "known_or_none")]
    pub cluster_log_conf: Option<ClusterLogConf>,
    /// How that went last.
    #[serde(deserialize_with = "known_or_none")]
    pub cluster_log_status: Option<LogSyncStatus>,
    /// When it ended, in milliseconds since the epoch.
    #[serde(deserialize_with = "int64::optional")]
    pub terminated_time: Option<i64>,
}

/// Where the logs of a cluster are delivered to: one of these (DA §5.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClusterLogConf {
    /// A folder of DBFS.
    pub dbfs: Option<LogFolder>,
    /// A folder of a Unity Catalog volume.
    pub volumes: Option<LogFolder>,
    /// A folder of an S3 bucket.
    pub s3: Option<LogFolder>,
}

/// A folder that logs are delivered to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogFolder {
    /// Its address, such as `dbfs:/logs`, `/Volumes/c/s/v/logs` or `s3://bucket/logs`.
    pub destination: String,
    /// The region of a bucket.
    pub region: Option<String>,
}

/// How the delivery of logs went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LogSyncStatus {
    /// When it was tried last, in milliseconds since the epoch.
    #[serde(deserialize_with = "int64::optional")]
    pub last_attempted: Option<i64>,
    /// Why that failed, if it did.
    pub last_exception: Option<String>,
}

/// What is no such thing must not hide the rest of the cluster.
fn known_or_none<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(deserializer)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Why a cluster ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TerminationReason {
    /// One of about two hundred words, such as `DRIVER_OUT_OF_MEMORY`.
    pub code: Option<String>,
    /// Whose doing it was.
    #[serde(rename = "type")]
    pub kind: Option<ClusterTerminationType>,
    /// Further facts by name, such as `databricks_error_message`. What is neither text, number nor flag is left out.
    #[serde(deserialize_with = "texts")]
    pub parameters: BTreeMap<String, String>,
}

/// One machine of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SparkNode {
    /// Databricks' id of it.
    pub node_id: Option<String>,
    /// The cloud's id of it.
    pub instance_id: Option<String>,
    /// Its address in its own network.
    pub private_ip: Option<String>,
    /// Its public name.
    pub public_dns: Option<String>,
}

/// Values as text; the service documents text, and nothing else in them is worth a failed read.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let text = |(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Number(_) | Value::Bool(_) => Some((name, value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(values.into_iter().filter_map(text).collect())
}

impl Client {
    /// A cluster, up to 60 days after its end.
    ///
    /// # Errors
    ///
    /// [`Error`]; `Invalid` when the workspace says that there is no such cluster (DA §3.3).
    pub async fn get_cluster(&self, cluster_id: &str) -> Result<Cluster, Error> {
        let query = [("cluster_id", cluster_id.to_owned())];
        self.call(&Request::get(Endpoint::Fixed("/api/2.1/clusters/get"), &query)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Cluster {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_spark_context_id_keeps_every_digit() {
        for json in [
            r#"{"spark_context_id": 2683025026034934417}"#,
            r#"{"spark_context_id": "2683025026034934417"}"#,
        ] {
            assert_eq!(read(json).spark_context_id, Some(2_683_025_026_034_934_417), "{json}");
        }
        assert_eq!(read(r#"{"spark_context_id": null}"#), Cluster::default());
    }

    #[test]
    fn unknown_words_and_strange_parameters_are_no_error() {
        let cluster = read(
            r#"{"state": "HIBERNATING", "executors": [1], "termination_reason": {
                "code": "NOVEL", "type": "NOVEL_TYPE",
                "parameters": {"a": "x", "b": 7, "c": true, "d": null, "e": {}}}}"#,
        );
        assert_eq!(cluster.state, Some(ClusterState::Other("HIBERNATING".to_owned())));
        let reason = cluster.termination_reason.unwrap();
        assert_eq!(reason.kind, Some(ClusterTerminationType::Other("NOVEL_TYPE".to_owned())));
        let expected = [("a", "x"), ("b", "7"), ("c", "true")];
        assert_eq!(
            reason.parameters,
            expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
        );
        assert_eq!(
            read(r#"{"termination_reason": {"parameters": null}}"#).termination_reason,
            Some(TerminationReason::default())
        );
    }
}
