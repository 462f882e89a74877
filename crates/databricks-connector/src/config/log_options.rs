//! The operator's settings for reading the logs of runs.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use task_storage::{LogStorage, ObjectStores};

/// Settings for reading the logs of runs.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Reads logs that clusters deliver to S3.
    pub storage: Arc<dyn LogStorage>,
    /// Signs page tokens; every replica needs the same key. Without one a public constant is used: a forged token then
    /// only selects another position in a log that its holder may read anyway.
    pub token_key: Option<SecretString>,
    /// Delay before an empty page of a log that is still being written, so that callers do not poll in a tight loop.
    pub empty_page_delay: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            storage: Arc::new(ObjectStores::new()),
            token_key: None,
            empty_page_delay: Duration::from_secs(1),
        }
    }
}
