//! Task types.

use std::fmt;

use flyteidl2::connector::TaskCategory;

/// A task type (Flyte's `TaskCategory`): name and version. Flyte selects a connector by an exact match of both
/// (flyte-contract.md#routing).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskType {
    name: String,
    version: i32,
}

impl TaskType {
    /// Creates a task type.
    pub fn new(name: impl Into<String>, version: i32) -> Self {
        Self { name: name.into(), version }
    }

    /// Returns the name, such as `databricks`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the version.
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
