//! The logs that the clusters of a run deliver.

use serde::{Deserialize, Serialize};

/// Driver logs that clusters deliver to the destination of their `cluster_log_conf` (databricks-api.md#delivered-logs).
///
/// A part is delivered at every poll while the run is RUNNING, and the rest at the first poll after its end. All tasks of
/// the run deliver the same logs. Logs with an S3 destination are not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogDelivery {
    /// The content of stdout.
    pub stdout: String,
    /// The content of stderr.
    pub stderr: String,
    /// The number of lines of each file per delivery. 0 means 1.
    pub lines: u32,
    /// Rotates the files after this many deliveries. 0: never.
    pub rotate_every: u32,
}

impl Default for LogDelivery {
    fn default() -> Self {
        Self { stdout: String::new(), stderr: String::new(), lines: 10, rotate_every: 0 }
    }
}
