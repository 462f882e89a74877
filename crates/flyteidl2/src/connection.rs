//! `Debug` for `Connection`.

use crate::core::Connection;
use std::collections::BTreeSet;
use std::fmt;

impl fmt::Debug for Connection {
    /// Prints names only: secret values are in clear text, and configuration values may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("task_type", &self.task_type)
            .field("secrets", &self.secrets.keys().collect::<BTreeSet<_>>())
            .field("configs", &self.configs.keys().collect::<BTreeSet<_>>())
            .finish()
    }
}
