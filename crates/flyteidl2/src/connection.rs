//! What may be printed of a connection.

use crate::core::Connection;
use std::collections::BTreeSet;
use std::fmt;

impl fmt::Debug for Connection {
    /// Names only: a connection brings secret values in the clear, and its settings may hold some as well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("task_type", &self.task_type)
            .field("secrets", &self.secrets.keys().collect::<BTreeSet<_>>())
            .field("configs", &self.configs.keys().collect::<BTreeSet<_>>())
            .finish()
    }
}
