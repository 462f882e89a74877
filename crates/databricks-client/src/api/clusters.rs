//! The Clusters API: the state of a cluster and why it terminated (databricks-api.md#clusters).

mod events;

use std::collections::BTreeMap;

use crate::{
    Client, Error,
    api::{
        json::{deserializable, read_objects, readable},
        open_enum::open_enum,
    },
    http::request::{Endpoint, Request},
};

pub use events::{ClusterEvent, ClusterEventDetails, ListClusterEvents};

open_enum! {
    /// The state of a cluster.
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
    /// Which side terminated a cluster. The values differ from those for runs.
    ClusterTerminationType {
        ClientError = "CLIENT_ERROR",
        CloudFailure = "CLOUD_FAILURE",
        ServiceFault = "SERVICE_FAULT",
        Success = "SUCCESS",
    }
}

/// A cluster.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names are the API's")]
pub struct Cluster {
    /// The cluster id.
    pub cluster_id: Option<String>,
    /// The state.
    pub state: Option<ClusterState>,
    /// A message about the state, such as the progress of the start.
    pub state_message: Option<String>,
    /// Why the cluster terminated.
    pub termination_reason: Option<TerminationReason>,
    /// The node of the driver, once it exists.
    pub driver: Option<SparkNode>,
    /// The nodes of the workers, while they exist.
    pub executors: Option<Vec<SparkNode>>,
    /// The target number of workers.
    pub num_workers: Option<i64>,
    /// The id of the Spark context. A number here, too large for a double; a string in `cluster_instance` of a run.
    pub spark_context_id: Option<i64>,
    /// The creator of the cluster. `JOB` for a cluster that exists for one run.
    pub cluster_source: Option<String>,
    /// Where logs are delivered, if configured.
    pub cluster_log_conf: Option<ClusterLogConf>,
    /// The status of the last log delivery.
    pub cluster_log_status: Option<LogSyncStatus>,
    /// When the cluster terminated, in milliseconds since the epoch.
    pub terminated_time: Option<i64>,
}

/// Where the logs of a cluster are delivered. One field is set (databricks-api.md#delivered-logs).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterLogConf {
    /// A folder of DBFS.
    pub dbfs: Option<LogFolder>,
    /// A folder of a Unity Catalog volume.
    pub volumes: Option<LogFolder>,
    /// A folder of an S3 bucket.
    pub s3: Option<LogFolder>,
}

/// A folder for delivered logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFolder {
    /// The path or URL, such as `dbfs:/logs`, `/Volumes/c/s/v/logs` or `s3://bucket/logs`.
    pub destination: String,
    /// The region of a bucket.
    pub region: Option<String>,
}

/// The status of the log delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSyncStatus {
    /// The last attempt, in milliseconds since the epoch.
    pub last_attempted: Option<i64>,
    /// The error of the last attempt, if it failed.
    pub last_exception: Option<String>,
}

/// Why a cluster terminated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TerminationReason {
    /// One of about two hundred codes, such as `DRIVER_OUT_OF_MEMORY`.
    pub code: Option<String>,
    /// The side that terminated the cluster.
    pub kind: Option<ClusterTerminationType>,
    /// Further values by name, such as `databricks_error_message`. Values other than strings, numbers and truth values are
    /// left out.
    pub parameters: BTreeMap<String, String>,
}

/// One node of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SparkNode {
    /// The node id of Databricks.
    pub node_id: Option<String>,
}

read_objects! {
    Cluster {
        cluster_id, state, state_message, termination_reason, driver, executors, num_workers,
        spark_context_id, cluster_source, cluster_log_conf, cluster_log_status, terminated_time,
    }
    ClusterLogConf { dbfs, volumes, s3 }
    LogFolder { destination, region }
    LogSyncStatus { last_attempted, last_exception }
    TerminationReason { code, kind = "type", parameters }
    SparkNode { node_id }
}
readable!(Cluster, ClusterLogConf, LogFolder, LogSyncStatus, TerminationReason, SparkNode);
deserializable!(Cluster);

impl Client {
    /// Returns a cluster. Available for 60 days after its termination.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). `Invalid` if the cluster does not exist (databricks-api.md#missing-runs).
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
    fn spark_context_id_keeps_all_digits() {
        for json in [
            r#"{"spark_context_id": 2683025026034934417}"#,
            r#"{"spark_context_id": "2683025026034934417"}"#,
        ] {
            assert_eq!(read(json).spark_context_id, Some(2_683_025_026_034_934_417), "{json}");
        }
        assert_eq!(read(r#"{"spark_context_id": null}"#), Cluster::default());
    }

    #[test]
    fn unknown_values_and_parameters_are_accepted() {
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
