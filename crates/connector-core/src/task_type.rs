//! The key by which a connector is found.

use std::fmt;

use flyteidl2::connector::TaskCategory;

/// A task type: its name and version. Both must match exactly (FC §1.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskType {
    name: String,
    version: i32,
}

impl TaskType {
    /// The type of that name and version.
    pub fn new(name: impl Into<String>, version: i32) -> Self {
        Self { name: name.into(), version }
    }

    /// Its name, such as `databricks`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    pub fn version(&self) -> i32 {
        self.version
    }
}

impl fmt::Display for TaskType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (version {})", self.name, self.version)
    }
}

impl From<TaskCategory> for TaskType {
    fn from(wire: TaskCategory) -> Self {
        Self::new(wire.name, wire.version)
    }
}

impl From<&TaskType> for TaskCategory {
    fn from(task_type: &TaskType) -> Self {
        Self { name: task_type.name.clone(), version: task_type.version }
    }
}
