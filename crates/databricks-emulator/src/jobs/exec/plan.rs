//! What to execute for a submitted run.

use crate::jobs::validation::{Submission, SubmittedTask};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// The file, arguments and environment of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExecPlan {
    /// The path of the file in the workspace.
    pub(super) file: String,
    pub(super) parameters: Vec<String>,
    /// The `spark_env_vars` of the task's `new_cluster`. Other compute has none.
    pub(super) environment: BTreeMap<String, String>,
    /// The dependencies of the task's serverless environment. Other compute has none.
    pub(super) dependencies: Option<Vec<String>>,
    /// The smaller `timeout_seconds` of the task and the run.
    pub(super) timeout: Option<Duration>,
}

impl ExecPlan {
    /// Reads the plan from a submission, or returns why the run cannot be executed.
    pub(super) fn new(submission: &Submission) -> Result<Self, String> {
        let rule = "the emulator executes only runs of one spark_python_task whose file is in the workspace";
        let [task] = submission.tasks.as_slice() else {
            return Err(format!("{rule}; this run has {} tasks", submission.tasks.len()));
        };
        let reject = |reason: &str| Err(format!("{rule}; task {} {reason}", task.key));
        if task.kind != "spark_python_task" {
            return reject(&format!("is a {}", task.kind));
        }
        let parameter =
            |field: &str| task.body.get(&task.kind).and_then(|fields| fields.get(field));
        if parameter("source").and_then(Value::as_str) == Some("GIT") {
            return reject("has source GIT");
        }
        let file = parameter("python_file").and_then(Value::as_str).unwrap_or_default();
        if !file.starts_with('/') {
            return reject(&format!("has python_file '{file}'"));
        }
        let parameters = parameter("parameters").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            file: file.to_owned(),
            parameters: parameters.filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
            environment: cluster_environment(task),
            dependencies: dependencies(task, &submission.body),
            timeout: [&task.body, submission.body.as_ref()].into_iter().filter_map(timeout).min(),
        })
    }
}

/// 0 means no timeout (databricks-api.md#runs-submit).
fn timeout(object: &Map<String, Value>) -> Option<Duration> {
    let seconds = object.get("timeout_seconds").and_then(Value::as_u64);
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn cluster_environment(task: &SubmittedTask) -> BTreeMap<String, String> {
    let cluster = task.body.get("new_cluster").and_then(|cluster| cluster.get("spark_env_vars"));
    let variables = cluster.and_then(Value::as_object).into_iter().flatten();
    variables.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// Returns the dependencies of the environment that the task names.
fn dependencies(task: &SubmittedTask, run: &Map<String, Value>) -> Option<Vec<String>> {
    let key = task.body.get("environment_key")?;
    let environments = run.get("environments").and_then(Value::as_array).into_iter().flatten();
    let named = environments.into_iter().find(|entry| entry.get("environment_key") == Some(key));
    let dependencies = named.and_then(|entry| entry.get("spec")?.get("dependencies")?.as_array());
    let texts = dependencies.into_iter().flatten().filter_map(Value::as_str);
    Some(texts.map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::endpoint::ApiVersion;
    use crate::jobs::validation;
    use serde_json::json;

    fn plan(body: &Value) -> Result<ExecPlan, String> {
        ExecPlan::new(
            &validation::submission(body.to_string().as_bytes(), ApiVersion::V2_2).unwrap(),
        )
    }

    #[test]
    fn plan_has_parameters_and_the_variables_of_a_new_cluster() {
        let task = |compute: &Value| {
            let mut task = json!({"task_key": "main", "spark_python_task":
                {"python_file": "/Workspace/Users/me/f.py", "parameters": ["a", "b c"]}});
            task.as_object_mut().unwrap().extend(compute.as_object().unwrap().clone());
            json!({"tasks": [task], "environments": [
                {"environment_key": "other", "spec": {"dependencies": ["x"]}},
                {"environment_key": "e", "spec": {"dependencies": ["a==1", "b"]}},
            ]})
        };
        let own = plan(&task(&json!({"new_cluster": {"spark_env_vars": {"K": "v"}}}))).unwrap();
        assert_eq!(own.file, "/Workspace/Users/me/f.py");
        assert_eq!(own.parameters, ["a", "b c"]);
        assert_eq!(own.environment, BTreeMap::from([("K".to_owned(), "v".to_owned())]));
        assert_eq!(own.dependencies, None);
        let serverless = Some(vec!["a==1".to_owned(), "b".to_owned()]);
        for (compute, dependencies) in [
            (json!({"existing_cluster_id": "c"}), None),
            (json!({"environment_key": "e"}), serverless),
        ] {
            assert_eq!(
                plan(&task(&compute)).unwrap(),
                ExecPlan { environment: BTreeMap::new(), dependencies, ..own.clone() }
            );
        }
    }

    #[test]
    fn shorter_timeout_wins() {
        let timeout = |of_run: u64, of_task: u64| {
            let task = json!({"task_key": "t", "existing_cluster_id": "c", "timeout_seconds": of_task,
                "spark_python_task": {"python_file": "/a.py"}});
            plan(&json!({"tasks": [task], "timeout_seconds": of_run})).unwrap().timeout
        };
        assert_eq!(timeout(0, 0), None);
        assert_eq!(timeout(7, 0), Some(Duration::from_secs(7)));
        assert_eq!(timeout(7, 5), Some(Duration::from_secs(5)));
    }

    #[test]
    fn other_runs_are_rejected_with_the_reason() {
        let check = |tasks: Value, expected: &str| {
            let git = json!({"git_url": "https://x", "git_provider": "gitHub", "git_branch": "b"});
            let reason = plan(&json!({"tasks": tasks, "git_source": git})).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        };
        let python = |key: &str, work: Value| json!({"task_key": key, "existing_cluster_id": "c", "spark_python_task": work});
        check(
            json!([{"task_key": "n", "notebook_task": {"notebook_path": "n"}}]),
            "task n is a notebook_task",
        );
        check(
            json!([python("g", json!({"python_file": "a.py", "source": "GIT"}))]),
            "has source GIT",
        );
        check(json!([python("d", json!({"python_file": "dbfs:/a.py"}))]), "'dbfs:/a.py'");
        let file = || json!({"python_file": "/a.py"});
        check(json!([python("one", file()), python("two", file())]), "this run has 2 tasks");
    }
}
