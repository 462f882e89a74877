//! What the operator decides about the logs of runs.

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;

use crate::task_files::{LogFiles, ObjectStores};

/// How the logs of runs are read.
#[derive(Debug, Clone)]
pub struct LogReading {
    /// Where logs are that clusters deliver to S3.
    pub files: Arc<dyn LogFiles>,
    /// What seals the tokens of pages; every replica needs the same. None: whoever reads the source can make a token,
    /// which gains nothing but another place in a log that may be read anyway.
    pub token_key: Option<SecretString>,
    /// How long the answer waits when a log that goes on has nothing new.
    pub pause: Duration,
}

impl Default for LogReading {
    fn default() -> Self {
        Self {
            files: Arc::new(ObjectStores::new()),
            token_key: None,
            pause: Duration::from_secs(1),
        }
    }
}
