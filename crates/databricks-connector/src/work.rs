//! What runs: Flyte's runtime through an entrypoint, or work of the user's own.

use connector_core::{CreateContext, Error};
use flyteidl2::core::task_template::Target;
use serde_json::{Map, Value, json};

use crate::{arguments, execution::Execution, json};

/// The repository, commit and file of the entrypoint that the Python plugin pins (FC §4.1).
const ENTRYPOINT_REPOSITORY: &str = "https://github.com/flyteorg/flytetools";
const ENTRYPOINT_PROVIDER: &str = "gitHub";
const ENTRYPOINT_COMMIT: &str = "194364210c47c49ce66c419e8fb68d6f9c06fd7e";
const ENTRYPOINT_FILE: &str = "flyteplugins/databricks/entrypoint.py";

/// The work of one task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// Flyte's runtime, started by a Python file that gets its arguments.
    Entrypoint {
        /// The `spark_python_task` as far as the user wrote it.
        task: Map<String, Value>,
    },
    /// The user's own work; it stays in the task as written.
    Own,
}

impl Work {
    /// Decides what runs, and takes what describes an entrypoint out of the user's keys.
    ///
    /// A top-level `python_file`, or a `spark_python_task` without parameters, is an entrypoint of the user's and gets
    /// the runtime's arguments. A `spark_python_task` with parameters, or any other kind of task, is the user's own
    /// work.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when a field has the wrong type.
    pub(crate) fn take(
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
    ) -> Result<Self, Error> {
        let python_file = json::optional_text(run.remove("python_file"), "python_file")?;
        if task.iter().any(|(key, value)| {
            key.ends_with("_task") && key != "spark_python_task" && json::is_given(value)
        }) {
            return Ok(Self::Own);
        }
        let mut python =
            json::optional_object(task.remove("spark_python_task"), "spark_python_task")?;
        if python.get("parameters").is_some_and(json::is_given) {
            task.insert("spark_python_task".to_owned(), Value::Object(python));
            return Ok(Self::Own);
        }
        if let Some(file) = python_file
            && !python.get("python_file").is_some_and(json::is_given)
        {
            python.insert("python_file".to_owned(), Value::String(file));
        }
        Ok(Self::Entrypoint { task: python })
    }

    /// Writes the work into the run-level and task-level keys.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when the task has no arguments for Flyte's runtime.
    pub(crate) fn write(
        self,
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
        cx: &CreateContext,
        execution: &Execution,
    ) -> Result<(), Error> {
        let Self::Entrypoint { task: mut python } = self else { return Ok(()) };
        let args = match &cx.template.target {
            Some(Target::Container(container)) if !container.args.is_empty() => &container.args,
            Some(Target::K8sPod(_)) => {
                return Err(Error::invalid_task("the task has a pod template, whose arguments this connector cannot read yet")
                    .with_hint("run the task without a pod template, or give it work of its own in `databricks_conf`"));
            }
            _ => {
                return Err(Error::invalid_task(
                    "the task has no container arguments to run Flyte's runtime with",
                )
                .with_hint(
                    "run a Flyte function, or give the task work of its own in `databricks_conf`",
                ));
            }
        };
        let file =
            json::optional_text(python.remove("python_file"), "spark_python_task.python_file")?
                .unwrap_or_else(|| ENTRYPOINT_FILE.to_owned());
        let source = json::optional_text(python.remove("source"), "spark_python_task.source")?
            .unwrap_or_else(|| source_of(&file).to_owned());
        if source == "GIT" && !run.get("git_source").is_some_and(json::is_given) {
            run.insert(
                "git_source".to_owned(),
                json!({
                    "git_url": ENTRYPOINT_REPOSITORY,
                    "git_provider": ENTRYPOINT_PROVIDER,
                    "git_commit": ENTRYPOINT_COMMIT,
                }),
            );
        }
        python.insert("python_file".to_owned(), Value::String(file));
        python.insert("source".to_owned(), Value::String(source));
        python.insert("parameters".to_owned(), json!(arguments::complete(args, execution)));
        task.insert("spark_python_task".to_owned(), Value::Object(python));
        Ok(())
    }
}

/// Repository paths are relative; workspace paths are absolute, and cloud paths have a scheme (DA §1.2).
fn source_of(file: &str) -> &'static str {
    if file.starts_with('/') || file.contains(":/") { "WORKSPACE" } else { "GIT" }
}
