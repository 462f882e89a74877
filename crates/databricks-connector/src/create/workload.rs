//! What runs: Flyte's runtime through an entrypoint, or work of the user's own.

use connector_core::Error;
use serde_json::{Map, Value, json};

use crate::{
    create::{arguments, flyte_function::FlyteSide},
    task::json,
};

/// The repository, commit and file of the entrypoint that the Python plugin pins (FC §4.1).
const ENTRYPOINT_REPOSITORY: &str = "https://github.com/flyteorg/flytetools";
const ENTRYPOINT_PROVIDER: &str = "gitHub";
const ENTRYPOINT_COMMIT: &str = "194364210c47c49ce66c419e8fb68d6f9c06fd7e";
const ENTRYPOINT_FILE: &str = "flyteplugins/databricks/entrypoint.py";

/// Kinds of work that run on compute which the task must name (DA §1.2). SQL, pipelines, other jobs and conditions
/// bring or need none, and a kind that is not known today decides for itself.
const ON_COMPUTE: [&str; 6] = [
    "spark_python_task",
    "python_wheel_task",
    "spark_jar_task",
    "spark_submit_task",
    "notebook_task",
    "dbt_task",
];

/// Kinds of work that need an environment on serverless compute (DA §1.2).
const IN_ENVIRONMENT: [&str; 3] = ["spark_python_task", "python_wheel_task", "dbt_task"];

/// The work of one task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// Flyte's runtime, started by a Python file that gets its arguments.
    Runtime(RuntimeFile),
    /// The user's own work, which stays in the task as written; its kind is the key of the task's type.
    Own {
        /// Such as `notebook_task`.
        kind: String,
    },
}

/// The Python file that starts Flyte's runtime.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RuntimeFile {
    /// The user's: a `spark_python_task` as far as the user wrote it.
    Users(Map<String, Value>),
    /// The connector's choice.
    Ours(Entrypoint),
}

/// Where the connector's own choice of entrypoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Entrypoint {
    /// The repository, commit and file of the Python plugin, or the file in a repository of the user's. Work that it
    /// cannot run takes the other one.
    #[default]
    Git,
    /// The script that the connector uploads to the workspace.
    Workspace,
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
        notebook_of_v1(run, task)?;
        let own = task.iter().find(|(key, value)| {
            key.ends_with("_task") && *key != "spark_python_task" && json::is_given(value)
        });
        if let Some((kind, _)) = own {
            return Ok(Self::Own { kind: kind.clone() });
        }
        let mut python =
            json::optional_object(task.remove("spark_python_task"), "spark_python_task")?;
        if let Some(file) = python_file
            && !python.get("python_file").is_some_and(json::is_given)
        {
            python.insert("python_file".to_owned(), Value::String(file));
        }
        if python.get("parameters").is_some_and(json::is_given) {
            task.insert("spark_python_task".to_owned(), Value::Object(python));
            return Ok(Self::Own { kind: "spark_python_task".to_owned() });
        }
        Ok(Self::Runtime(if python.get("python_file").is_some_and(json::is_given) {
            RuntimeFile::Users(python)
        } else {
            RuntimeFile::Ours(Entrypoint::Git)
        }))
    }

    /// Takes the connector's own script where it is configured, or where the one from the repository cannot run:
    /// without a cluster, with a pickled function or no code at all, or with variables that only the script can hand
    /// on (FC §4.1). A repository of the user's stays the user's.
    pub(crate) fn choose_entrypoint(
        &mut self,
        configured: Entrypoint,
        carries_environment: bool,
        on_cluster: bool,
        flyte: &FlyteSide<'_>,
    ) {
        let Self::Runtime(RuntimeFile::Ours(entrypoint)) = self else { return };
        let container = &flyte.container;
        let needs_script = !on_cluster
            || container.has_pickle()
            || !container.has_archive()
            || (!carries_environment && flyte.has_variables_of_its_own());
        if configured == Entrypoint::Workspace || needs_script {
            *entrypoint = Entrypoint::Workspace;
        }
    }

    /// Whether the connector's own script must be in the workspace before the run starts.
    pub(crate) fn needs_script(&self) -> bool {
        matches!(self, Self::Runtime(RuntimeFile::Ours(Entrypoint::Workspace)))
    }

    /// Whether the task must name compute.
    pub(crate) fn needs_compute(&self) -> bool {
        ON_COMPUTE.contains(&self.kind())
    }

    /// Whether it needs an environment on serverless compute.
    pub(crate) fn needs_environment(&self) -> bool {
        IN_ENVIRONMENT.contains(&self.kind())
    }

    /// Whether Flyte's runtime does the work.
    pub(crate) fn is_runtime(&self) -> bool {
        matches!(self, Self::Runtime(_))
    }

    fn kind(&self) -> &str {
        match self {
            Self::Runtime(_) => "spark_python_task",
            Self::Own { kind } => kind,
        }
    }

    /// Writes the work into the run-level and task-level keys. Without a cluster of its own, or on a cluster that is
    /// there already, the script gets the variables as arguments.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when the task has no arguments for Flyte's runtime.
    pub(crate) fn write(
        self,
        run: &mut Map<String, Value>,
        task: &mut Map<String, Value>,
        flyte: &FlyteSide<'_>,
        carries_environment: bool,
    ) -> Result<(), Error> {
        let Self::Runtime(file) = self else { return Ok(()) };
        let container = &flyte.container;
        if container.args.is_empty() {
            return Err(Error::invalid_task(
                "the task has no container arguments to run Flyte's runtime with",
            )
            .with_hint(
                "run a Flyte function, or give the task work of its own in `databricks_conf`",
            ));
        }
        let variables = flyte.variables();
        if let Some(template) = &container.pod_template
            && let Some(variable) = arguments::first_unknown(&container.args, &variables)
        {
            return Err(Error::failed_precondition(format!(
                "the pod template `{template}` uses the variable `{variable}`, whose value the connector does not know"
            ))
            .with_hint("run the task without a pod template, or write the value into the template's arguments"));
        }
        let mut parameters = arguments::complete(&container.args, &flyte.execution, &variables);
        let (mut python, file) = match file {
            RuntimeFile::Users(mut python) => {
                let file = json::optional_text(
                    python.remove("python_file"),
                    "spark_python_task.python_file",
                )?;
                (python, file.unwrap_or_default())
            }
            RuntimeFile::Ours(Entrypoint::Git) => (Map::new(), ENTRYPOINT_FILE.to_owned()),
            RuntimeFile::Ours(Entrypoint::Workspace) => {
                if !carries_environment {
                    let variables = flyte.environment();
                    let pairs = variables
                        .iter()
                        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
                    let given: Vec<String> =
                        pairs.flat_map(|pair| ["--env".to_owned(), pair]).collect();
                    parameters.splice(0..0, given);
                }
                // The path is known when the script is in the workspace.
                (Map::new(), "/".to_owned())
            }
        };
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
        python.insert("parameters".to_owned(), json!(parameters));
        task.insert("spark_python_task".to_owned(), Value::Object(python));
        Ok(())
    }
}

/// `notebookPath` and `notebookBaseParameters`, as the v1 plugin took them (FC §4.2).
fn notebook_of_v1(
    run: &mut Map<String, Value>,
    task: &mut Map<String, Value>,
) -> Result<(), Error> {
    let path = json::optional_text(run.remove("notebookPath"), "notebookPath")?;
    let parameters = run.remove("notebookBaseParameters");
    let Some(path) = path else { return Ok(()) };
    let source = if path.starts_with('/') || !run.get("git_source").is_some_and(json::is_given) {
        "WORKSPACE"
    } else {
        "GIT"
    };
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

/// Repository paths are relative; workspace paths are absolute, and cloud paths have a scheme (DA §1.2).
fn source_of(file: &str) -> &'static str {
    if file.starts_with('/') || file.contains(":/") { "WORKSPACE" } else { "GIT" }
}
