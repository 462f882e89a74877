//! The workload of a single task: a Flyte function, or a task type that the user wrote.

use connector_core::Error;
use serde_json::{Map, Value};

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

/// Task types that need an environment on serverless compute (databricks-api.md#task-types).
const NEEDS_ENVIRONMENT: [&str; 3] = ["spark_python_task", "python_wheel_task", "dbt_task"];

/// What a task runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Workload {
    /// The Flyte function, started by a Python file that gets the arguments of Flyte's runtime. Holds the user's
    /// `spark_python_task`, which is empty when the connector chooses the file.
    FlyteFunction(Map<String, Value>),
    /// A task type that the user wrote, such as `notebook_task`. It stays in the task as written.
    TaskType(String),
}

impl Workload {
    /// Decides what runs, and takes the user's entrypoint out of the keys.
    ///
    /// A top-level `python_file`, or a `spark_python_task` without parameters, is the user's entrypoint for the Flyte
    /// function. A `spark_python_task` with parameters, or any other task type, is the user's own workload.
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
        let written = task.iter().find(|(key, value)| {
            key.ends_with("_task") && *key != "spark_python_task" && json::is_set(value)
        });
        if let Some((task_type, _)) = written {
            return Ok(Self::TaskType(task_type.clone()));
        }
        let mut python =
            json::optional_object(task.remove("spark_python_task"), "spark_python_task")?;
        if let Some(file) = python_file
            && !json::has(&python, "python_file")
        {
            python.insert("python_file".to_owned(), Value::String(file));
        }
        if json::has(&python, "parameters") {
            task.insert("spark_python_task".to_owned(), Value::Object(python));
            return Ok(Self::TaskType("spark_python_task".to_owned()));
        }
        let has_file = json::has(&python, "python_file");
        Ok(Self::FlyteFunction(if has_file { python } else { Map::new() }))
    }

    /// True if the task must name compute.
    pub(crate) fn needs_compute(&self) -> bool {
        NEEDS_COMPUTE.contains(&self.task_type())
    }

    /// True if the task needs an environment on serverless compute.
    pub(crate) fn needs_environment(&self) -> bool {
        NEEDS_ENVIRONMENT.contains(&self.task_type())
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
