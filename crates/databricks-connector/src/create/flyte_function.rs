//! The `spark_python_task` that runs a Flyte function: which entrypoint starts it, and with which arguments.

use connector_core::Error;
use serde_json::{Map, Value, json};

use super::{arguments, compute::Compute, flyte_task::FlyteTask};
use crate::{config::Entrypoint, task::json};

/// The repository, commit and file of the entrypoint that the Python plugin pins (flyte-contract.md#entrypoint-v2).
const ENTRYPOINT_REPOSITORY: &str = "https://github.com/flyteorg/flytetools";
const ENTRYPOINT_PROVIDER: &str = "gitHub";
const ENTRYPOINT_COMMIT: &str = "194364210c47c49ce66c419e8fb68d6f9c06fd7e";
const ENTRYPOINT_FILE: &str = "flyteplugins/databricks/entrypoint.py";

/// A `spark_python_task`, complete except for its `python_file`.
#[derive(Debug)]
pub(crate) struct PythonTask {
    pub(crate) fields: Map<String, Value>,
    pub(crate) file: PythonFile,
    /// The pod template whose arguments name the inputs, which must be written before the run starts.
    pub(crate) pod_template: Option<String>,
}

/// The Python file that starts Flyte's runtime.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PythonFile {
    /// A path that is known now: the user's file, or one in a repository.
    Path(String),
    /// The connector's script. Its path is known once it is in the workspace.
    Uploaded,
}

impl PythonTask {
    /// Builds the task around the user's file, else around an entrypoint. Adds the repository of the entrypoint to the run
    /// where needed.
    ///
    /// # Errors
    ///
    /// `InvalidTask` when the task has no arguments for Flyte's runtime; `FailedPrecondition` for a pod template that
    /// cannot be rendered.
    pub(crate) fn build(
        users_file: Option<String>,
        run: &mut Map<String, Value>,
        environment_key: Option<String>,
        compute: Compute,
        flyte: &FlyteTask,
        configured: Entrypoint,
    ) -> Result<Self, Error> {
        let container = &flyte.container;
        let mut parameters = arguments::of_runtime(flyte)?;
        // For a plain container the executor has already written the inputs.
        let pod_template =
            container.pod_template.clone().filter(|_| arguments::name_inputs(&container.args));
        let has_repository = json::has(run, "git_source");
        let file = match users_file {
            Some(file) => PythonFile::Path(file),
            // The repository of the user does not contain the connector's file.
            None if has_repository || is_script_needed(compute, flyte, configured) => {
                parameters.splice(0..0, script_options(environment_key, compute, flyte));
                PythonFile::Uploaded
            }
            None => PythonFile::Path(ENTRYPOINT_FILE.to_owned()),
        };
        let source = file.source();
        if source == "GIT" && !has_repository {
            run.insert(
                "git_source".to_owned(),
                json!({
                    "git_url": ENTRYPOINT_REPOSITORY,
                    "git_provider": ENTRYPOINT_PROVIDER,
                    "git_commit": ENTRYPOINT_COMMIT,
                }),
            );
        }
        let fields = Map::from_iter([
            ("source".to_owned(), json!(source)),
            ("parameters".to_owned(), json!(parameters)),
        ]);
        Ok(Self { fields, file, pod_template })
    }

    /// Returns the task with its `python_file`. `script` is the path of the connector's script, if it is needed.
    pub(crate) fn into_value(self, script: Option<String>) -> Value {
        let Self { mut fields, file, .. } = self;
        let path = match file {
            PythonFile::Path(path) => path,
            PythonFile::Uploaded => script.unwrap_or_default(),
        };
        fields.insert("python_file".to_owned(), Value::String(path));
        Value::Object(fields)
    }
}

/// True if the connector's script is configured, or if the entrypoint from the repository cannot run the function: without
/// a cluster, with a pickled function or no code bundle, or with variables that only the script passes on
/// (flyte-contract.md#entrypoint-v2).
fn is_script_needed(compute: Compute, flyte: &FlyteTask, configured: Entrypoint) -> bool {
    let container = &flyte.container;
    configured == Entrypoint::Workspace
        || compute == Compute::Serverless
        || container.has_pickle()
        || !container.has_bundle()
        || (!compute.carries_environment() && flyte.has_variables_beyond_arguments())
}

/// Returns the options of the connector's script: the packages that it installs on serverless compute, and the
/// variables that the compute does not carry.
fn script_options(
    environment_key: Option<String>,
    compute: Compute,
    flyte: &FlyteTask,
) -> Vec<String> {
    let mut options = Vec::new();
    if compute == Compute::Serverless {
        options
            .extend(environment_key.into_iter().flat_map(|key| ["--environment".to_owned(), key]));
        for requirement in &flyte.plugin_requirements {
            options.extend(["--plugin".to_owned(), requirement.clone()]);
        }
    }
    if !compute.carries_environment() {
        for (name, value) in &flyte.environment {
            options.extend(["--env".to_owned(), format!("{}={}", encoded(name), encoded(value))]);
        }
    }
    options
}

/// Encodes a value so that Databricks finds no reference such as `{{job.id}}` in it and replaces nothing
/// (databricks-api.md#parameter-references). The script decodes it.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('{', "%7B").replace('}', "%7D")
}

impl PythonFile {
    /// Returns the `source` of the file. Repository paths are relative; workspace paths are absolute, and cloud paths have
    /// a scheme (databricks-api.md#task-types).
    fn source(&self) -> &'static str {
        match self {
            Self::Path(path) if !path.starts_with('/') && !path.contains(":/") => "GIT",
            Self::Path(_) | Self::Uploaded => "WORKSPACE",
        }
    }
}
