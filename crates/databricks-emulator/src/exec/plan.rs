//! What to execute for a submitted run. Pure.

use crate::validate::{Submission, SubmittedTask};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// A file of the workspace with its arguments and variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its path in the workspace.
    pub(super) file: String,
    pub(super) parameters: Vec<String>,
    /// The `spark_env_vars` of the task's own cluster. Other compute takes none.
    pub(super) environment: BTreeMap<String, String>,
    /// How long it may take: the `timeout_seconds` of the task or of the run, whichever is less.
    pub(super) limit: Option<Duration>,
}

impl Plan {
    /// Reads it from a submission, or says why that cannot be executed.
    pub(super) fn of(submission: &Submission) -> Result<Self, String> {
        let only =
            "the emulator executes runs of one spark_python_task whose file is in the workspace";
        let [task] = submission.tasks.as_slice() else {
            return Err(format!("{only}; this run has {} tasks", submission.tasks.len()));
        };
        let no = |why: &str| Err(format!("{only}; task {} {why}", task.key));
        if task.kind != "spark_python_task" {
            return no(&format!("is a {}", task.kind));
        }
        let work = |field: &str| task.body.get(&task.kind).and_then(|work| work.get(field));
        if work("source").and_then(Value::as_str) == Some("GIT") {
            return no("takes its file from git");
        }
        let file = work("python_file").and_then(Value::as_str).unwrap_or_default();
        if !file.starts_with('/') {
            return no(&format!("names python_file '{file}'"));
        }
        let parameters = work("parameters").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            file: file.to_owned(),
            parameters: parameters.filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
            environment: cluster_environment(task),
            limit: [&task.body, submission.body.as_ref()].into_iter().filter_map(limit).min(),
        })
    }
}

/// 0 is no limit (DA §1.1).
fn limit(object: &Map<String, Value>) -> Option<Duration> {
    let seconds = object.get("timeout_seconds").and_then(Value::as_u64);
    seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn cluster_environment(task: &SubmittedTask) -> BTreeMap<String, String> {
    let cluster = task.body.get("new_cluster").and_then(|cluster| cluster.get("spark_env_vars"));
    let variables = cluster.and_then(Value::as_object).into_iter().flatten();
    variables.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::ApiVersion;
    use crate::validate;
    use serde_json::json;

    fn plan(body: &Value) -> Result<Plan, String> {
        Plan::of(&validate::submission(body.to_string().as_bytes(), ApiVersion::V2_2).unwrap())
    }

    #[test]
    fn a_python_file_comes_with_its_parameters_and_the_variables_of_its_own_cluster() {
        let task = |compute: &Value| {
            let mut task = json!({"task_key": "main", "spark_python_task":
                {"python_file": "/Workspace/Users/me/f.py", "parameters": ["a", "b c"]}});
            task.as_object_mut().unwrap().extend(compute.as_object().unwrap().clone());
            json!({"tasks": [task], "environments": [{"environment_key": "e", "spec": {}}]})
        };
        let own = plan(&task(&json!({"new_cluster": {"spark_env_vars": {"K": "v"}}}))).unwrap();
        assert_eq!(own.file, "/Workspace/Users/me/f.py");
        assert_eq!(own.parameters, ["a", "b c"]);
        assert_eq!(own.environment, BTreeMap::from([("K".to_owned(), "v".to_owned())]));
        for compute in [json!({"existing_cluster_id": "c"}), json!({"environment_key": "e"})] {
            assert_eq!(
                plan(&task(&compute)).unwrap(),
                Plan { environment: BTreeMap::new(), ..own.clone() }
            );
        }
    }

    #[test]
    fn the_shorter_limit_counts() {
        let limit = |of_run: u64, of_task: u64| {
            let task = json!({"task_key": "t", "existing_cluster_id": "c", "timeout_seconds": of_task,
                "spark_python_task": {"python_file": "/a.py"}});
            plan(&json!({"tasks": [task], "timeout_seconds": of_run})).unwrap().limit
        };
        assert_eq!(limit(0, 0), None);
        assert_eq!(limit(7, 0), Some(Duration::from_secs(7)));
        assert_eq!(limit(7, 5), Some(Duration::from_secs(5)));
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        let check = |tasks: Value, said: &str| {
            let git = json!({"git_url": "https://x", "git_provider": "gitHub", "git_branch": "b"});
            let reason = plan(&json!({"tasks": tasks, "git_source": git})).unwrap_err();
            assert!(reason.contains(said), "{reason}");
        };
        let python = |key: &str, work: Value| json!({"task_key": key, "existing_cluster_id": "c", "spark_python_task": work});
        check(
            json!([{"task_key": "n", "notebook_task": {"notebook_path": "n"}}]),
            "task n is a notebook_task",
        );
        check(
            json!([python("g", json!({"python_file": "a.py", "source": "GIT"}))]),
            "takes its file from git",
        );
        check(json!([python("d", json!({"python_file": "dbfs:/a.py"}))]), "'dbfs:/a.py'");
        let file = || json!({"python_file": "/a.py"});
        check(json!([python("one", file()), python("two", file())]), "this run has 2 tasks");
    }
}
