//! What the driver of a run's cluster writes while it works, and how it is delivered.

use serde::{Deserialize, Serialize};

/// The logs that clusters deliver to where their `cluster_log_conf` says (DA §5.1), a part at every poll that sees the run
/// RUNNING, and the rest at the first that sees its end. Every task of the run with such a cluster writes the same. What
/// goes to S3 is not delivered: a test puts it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogDelivery {
    /// What is written to stdout.
    pub stdout: String,
    /// What is written to stderr.
    pub stderr: String,
    /// How many lines of each are delivered at once. 0 is 1.
    pub lines: u32,
    /// After how many deliveries the files are rotated. 0: never.
    pub rotate_every: u32,
}

impl Default for LogDelivery {
    fn default() -> Self {
        Self { stdout: String::new(), stderr: String::new(), lines: 10, rotate_every: 0 }
    }
}
