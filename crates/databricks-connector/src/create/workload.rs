//! The workload of a single task: a Flyte function, or a task type that the user wrote.

use connector_core::Error;
use serde_json::{Map, Value};
use tracing::warn;

use super::flyte_task::FlyteTask;
use crate::task::json;

/// Task types that run on compute which the task must name (databricks-api.md#task-types). SQL, pipelines, other jobs and
/// conditions need none. An unknown type is not required to name any.
const NEEDS_COMPUTE: [&str; 6] = [
    "spark_python_task",
    "python_wheel_task",
    "spark_jar_task",
    "spark_submit_task",
    "notebook_task",
    "dbt_task",
];

/// What a task runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Workload {
    /// The Flyte function, started by a Python file that gets the arguments of Flyte's runtime: the user's top-level
    /// `python_file`, else an entrypoint that the connector chooses.
    FlyteFunction(Option<String>),
    /// A task type that the user wrote, such as `notebook_task`. It stays in the task as written.
    TaskType(String),
}

impl Workload {
    /// Decides what runs, and takes the user's entrypoint out of the keys: a task type that the user wrote is the user's
    /// work; without one the Flyte function runs.
    ///
    /// A top-level `python_file` beside a `spark_python_task` that lacks one is its file.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when a field has the wrong type.
    pub(crate) fn take(
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
    ) -> Result<Self, Error> {
        let python_file = json::optional_text(run.remove("python_file"), "python_file")?;
        take_v1_notebook(run, task)?;
        task.retain(|key, value| !key.ends_with("_task") || json::is_set(value));
        let Some(task_type) = task.keys().find(|key| key.ends_with("_task")).cloned() else {
            return Ok(Self::FlyteFunction(python_file));
        };
        if let Some(file) = python_file {
            match task.get_mut("spark_python_task").and_then(Value::as_object_mut) {
                Some(python) if !json::has(python, "python_file") => {
                    python.insert("python_file".to_owned(), Value::String(file));
                }
                _ => warn!(task_type, "`python_file` is dropped: the task has a task type"),
            }
        }
        Ok(Self::TaskType(task_type))
    }

    /// True if the task must name compute.
    pub(crate) fn needs_compute(&self) -> bool {
        NEEDS_COMPUTE.contains(&self.task_type())
    }

    /// True for the Flyte function.
    pub(crate) fn is_flyte_function(&self) -> bool {
        matches!(self, Self::FlyteFunction(_))
    }

    /// Returns the dependencies of the environment that the task needs on serverless compute, if the user names none
    /// (databricks-api.md#task-types). `None` for a workload that needs no environment.
    pub(crate) fn environment_dependencies(&self, flyte: &FlyteTask) -> Option<Vec<String>> {
        match self {
            Self::FlyteFunction(_) => Some(flyte.runtime_requirements.clone()),
            Self::TaskType(task_type) => match task_type.as_str() {
                "spark_python_task" | "python_wheel_task" => Some(Vec::new()),
                "dbt_task" => Some(vec!["dbt-databricks".to_owned()]),
                _ => None,
            },
        }
    }

    fn task_type(&self) -> &str {
        match self {
            Self::FlyteFunction(_) => "spark_python_task",
            Self::TaskType(task_type) => task_type,
        }
    }
}

/// Turns `notebookPath` and `notebookBaseParameters` of the v1 plugin (flyte-contract.md#connector-v1) into a
/// `notebook_task`.
fn take_v1_notebook(
    run: &mut Map<String, Value>,
    task: &mut Map<String, Value>,
) -> Result<(), Error> {
    let path = json::optional_text(run.remove("notebookPath"), "notebookPath")?;
    let parameters = run.remove("notebookBaseParameters");
    let Some(path) = path else { return Ok(()) };
    let is_in_workspace = path.starts_with('/') || !json::has(run, "git_source");
    let source = if is_in_workspace { "WORKSPACE" } else { "GIT" };
    let mut notebook = Map::new();
    notebook.insert("notebook_path".to_owned(), Value::String(path));
    notebook.insert("source".to_owned(), Value::String(source.to_owned()));
    let parameters = json::text_map(parameters, "notebookBaseParameters")?;
    if !parameters.is_empty() {
        notebook.insert("base_parameters".to_owned(), Value::Object(parameters));
    }
    task.entry("notebook_task").or_insert(Value::Object(notebook));
    Ok(())
}
