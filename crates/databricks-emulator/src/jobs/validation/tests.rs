use super::*;
use serde_json::json;

fn checked(version: ApiVersion, body: &Value) -> Result<Submission, ApiError> {
    submission(body.to_string().as_bytes(), version)
}

fn accepted(body: &Value) -> Submission {
    checked(ApiVersion::V2_2, body).unwrap()
}

/// Returns the error message for an invalid 2.2 body.
fn rejected(body: &Value) -> String {
    let error = checked(ApiVersion::V2_2, body).unwrap_err();
    assert_eq!(error.error_code, "INVALID_PARAMETER_VALUE");
    error.message
}

/// A task on an existing cluster, with additional keys.
fn task(keys: &Value) -> Value {
    let mut task = json!({"task_key": "etl", "existing_cluster_id": "c", "spark_python_task": {"python_file": "/a.py"}});
    for (key, value) in keys.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

fn one(keys: &Value) -> Value {
    json!({"tasks": [task(keys)]})
}

#[test]
fn simple_task_is_accepted() {
    let submission = accepted(&one(&json!({"max_retries": 2, "description": null})));
    assert_eq!(submission.run_name, "Untitled");
    assert_eq!(
        (submission.tasks[0].key.as_str(), submission.tasks[0].kind.as_str()),
        ("etl", "spark_python_task")
    );
    assert_eq!(submission.ignored_keys, Vec::<String>::new());
}

#[test]
fn body_that_is_not_a_json_object_is_malformed() {
    for bytes in [&b"{"[..], b"[]", b"", b"\xff", b"{\"a\": 1e999}"] {
        assert_eq!(
            submission(bytes, ApiVersion::V2_2).unwrap_err().error_code,
            "MALFORMED_REQUEST"
        );
    }
}

#[test]
fn integer_with_decimal_point_is_rejected() {
    for (number, shown) in [
        ("2.5", "2.5"),
        ("2.0", "2.0"),
        ("1e3", "1000"),
        ("9223372036854775808", "9223372036854775808"),
    ] {
        let body = format!(
            r#"{{"tasks": [{{"task_key": "etl", "new_cluster": {{"num_workers": {number}}}, "notebook_task": {{"notebook_path": "/n"}}}}]}}"#
        );
        let message = submission(body.as_bytes(), ApiVersion::V2_2).unwrap_err().message;
        assert!(
            message.contains("tasks[0].new_cluster.num_workers") && message.contains(shown),
            "{message}"
        );
    }
    assert!(rejected(&json!({"timeout_seconds": "3600"})).contains("tasks"));
    let body = json!({"timeout_seconds": "3600", "tasks": [task(&json!({}))]});
    assert_eq!(rejected(&body), "Field timeout_seconds must be a 64-bit integer, found a string.");
}

#[test]
fn error_names_the_field_with_the_wrong_type() {
    let cases = [
        (
            json!({"spark_python_task": {"python_file": 1}}),
            "tasks[0].spark_python_task.python_file must be a string",
        ),
        (
            json!({"spark_python_task": {"python_file": "/a", "parameters": ["a", 2]}}),
            "parameters[1] must be a string",
        ),
        (
            json!({"spark_python_task": {}}),
            "Missing required field: tasks[0].spark_python_task.python_file",
        ),
        (json!({"retry_on_timeout": "true"}), "tasks[0].retry_on_timeout must be a boolean"),
        (json!({"libraries": {}}), "tasks[0].libraries must be an array"),
        (
            json!({"libraries": [{"pypi": {}}]}),
            "Missing required field: tasks[0].libraries[0].pypi.package",
        ),
        (
            json!({"existing_cluster_id": null, "new_cluster": {"spark_conf": {"spark.a": 1}}}),
            "tasks[0].new_cluster.spark_conf.spark.a must be a string",
        ),
        (json!({"webhook_notifications": {"on_start": [{}, {}, {}, {}]}}), "at most 3 are allowed"),
        (json!({"depends_on": [{}]}), "Missing required field: tasks[0].depends_on[0].task_key"),
    ];
    for (keys, expected) in cases {
        let message = rejected(&one(&keys));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn every_task_needs_a_unique_key() {
    assert_eq!(
        rejected(&one(&json!({"task_key": null}))),
        "Missing required field: tasks[0].task_key."
    );
    assert!(rejected(&one(&json!({"task_key": ""}))).contains("tasks[0].task_key is empty"));
    let message = rejected(&json!({"tasks": [task(&json!({})), task(&json!({}))]}));
    assert!(message.starts_with("Duplicate task_key 'etl'"), "{message}");
}

#[test]
fn task_has_exactly_one_type_which_may_be_unknown() {
    assert!(rejected(&one(&json!({"spark_python_task": null}))).contains("has no task type"));
    let message = rejected(&one(&json!({"notebook_task": {"notebook_path": "/n"}})));
    assert!(message.contains("two task types, notebook_task and spark_python_task"), "{message}");

    let novel =
        accepted(&one(&json!({"spark_python_task": null, "quantum_task": {"qubits": 2.5}})));
    assert_eq!(novel.tasks[0].kind, "quantum_task");
    assert_eq!(novel.ignored_keys, Vec::<String>::new());
}

#[test]
fn task_has_at_most_one_kind_of_compute() {
    let message = rejected(&one(&json!({"new_cluster": {}})));
    assert!(message.contains("existing_cluster_id and new_cluster"), "{message}");
    let mut body = one(&json!({"environment_key": "e"}));
    body["environments"] = json!([{"environment_key": "e"}]);
    assert!(rejected(&body).contains("existing_cluster_id and serverless environment_key"));
    assert!(rejected(&one(&json!({"job_cluster_key": "j"}))).contains("job_cluster_key"));
    assert!(
        rejected(&json!({"job_clusters": [], "tasks": [task(&json!({}))]}))
            .contains("job_clusters")
    );
}

#[test]
fn serverless_python_wheel_and_dbt_tasks_need_an_environment() {
    let serverless = |kind: &str, work: Value, key: Value| {
        let mut task = json!({"task_key": "etl", "environment_key": key});
        task[kind] = work;
        json!({"environments": [{"environment_key": "e", "spec": {"client": "1"}}], "tasks": [task]})
    };
    let works = [
        ("spark_python_task", json!({"python_file": "/a.py"})),
        ("python_wheel_task", json!({"package_name": "p", "entry_point": "main"})),
        ("dbt_task", json!({"commands": ["dbt run"]})),
    ];
    for (kind, work) in works {
        let message = rejected(&serverless(kind, work.clone(), Value::Null));
        assert!(
            message.starts_with("An environment is required for serverless task etl"),
            "{message}"
        );
        assert!(
            rejected(&serverless(kind, work.clone(), json!("other")))
                .contains("'other', which is not in environments")
        );
        accepted(&serverless(kind, work, json!("e")));
    }
    let notebook = json!({"notebook_path": "/n"});
    assert!(
        rejected(&serverless("notebook_task", notebook.clone(), json!("e")))
            .contains("takes no environment_key")
    );
    accepted(&serverless("notebook_task", notebook, Value::Null));
    let twice = json!({"environments": [{"environment_key": "e"}, {"environment_key": "e"}], "tasks": [task(&json!({}))]});
    assert!(rejected(&twice).contains("environment_key 'e' twice"));
}

#[test]
fn git_source_is_required_for_source_git_and_names_a_known_provider() {
    let git = json!({"spark_python_task": {"python_file": "a.py", "source": "GIT"}});
    assert!(rejected(&one(&git)).contains("source GIT, but the run has no git_source"));
    let with = |source: Value| {
        let mut body = one(&git);
        body["git_source"] = source;
        body
    };
    let missing = rejected(&with(json!({"git_url": "https://example.com/r"})));
    assert!(missing.contains("git_source.git_provider") && missing.contains("gitHub"), "{missing}");
    let unknown =
        rejected(&with(json!({"git_url": "https://example.com/r", "git_provider": "svn"})));
    assert!(unknown.contains("Valid values are: gitHub"), "{unknown}");
    accepted(&with(
        json!({"git_url": "https://example.com/r", "git_provider": "gitHub", "git_commit": "1"}),
    ));
    let sql = json!({"spark_python_task": null, "sql_task": {"warehouse_id": "w", "file": {"path": "q.sql", "source": "GIT"}}});
    assert!(rejected(&one(&sql)).contains("source GIT"));
}

#[test]
fn fields_of_task_types_are_checked() {
    let wheel =
        json!({"package_name": "p", "entry_point": "m", "parameters": [], "named_parameters": {}});
    assert!(
        rejected(&one(&json!({"spark_python_task": null, "python_wheel_task": wheel})))
            .contains("not both")
    );
    let sql = json!({"spark_python_task": null, "sql_task": {"warehouse_id": "w"}});
    assert!(rejected(&one(&sql)).contains("exactly one of query"));
    let nested = json!({"task_key": "inner", "spark_python_task": {"python_file": "/a.py"}});
    let for_each = json!({"task_key": "etl", "for_each_task": {"inputs": "[1]", "task": nested}});
    assert!(rejected(&json!({"tasks": [for_each]})).contains("serverless task inner"));
}

#[test]
fn dependencies_are_known_tasks_without_cycles() {
    let on = |key: &str, upstream: &str| {
        task(&json!({"task_key": key, "depends_on": [{"task_key": upstream}]}))
    };
    assert!(rejected(&json!({"tasks": [on("a", "b")]})).contains("'b', which is not a task"));
    assert!(
        rejected(&json!({"tasks": [on("a", "b"), on("b", "a")]}))
            .contains("a, b depend on each other")
    );
    let good = accepted(&json!({"tasks": [on("a", "etl"), task(&json!({}))]}));
    assert_eq!(good.tasks[0].depends_on, ["etl"]);
}

#[test]
fn idempotency_token_has_at_most_64_characters() {
    let with = |token: String| json!({"idempotency_token": token, "tasks": [task(&json!({}))]});
    assert!(rejected(&with("é".repeat(65))).contains("65 characters"));
    assert_eq!(accepted(&with("é".repeat(64))).idempotency_token, Some("é".repeat(64)));
    assert_eq!(accepted(&with(String::new())).idempotency_token, None);
}

#[test]
fn run_has_between_1_and_1000_tasks() {
    assert!(rejected(&json!({"tasks": []})).contains("at least one task"));
    assert_eq!(rejected(&json!({"run_name": "r"})), "Missing required field: tasks.");
    let tasks = |count: usize| -> Value {
        let tasks: Vec<Value> =
            (0..count).map(|n| task(&json!({"task_key": format!("t{n}")}))).collect();
        json!({"tasks": tasks})
    };
    assert_eq!(accepted(&tasks(1000)).tasks.len(), 1000);
    assert!(rejected(&tasks(1001)).contains("at most 1000"));
}

#[test]
fn older_versions_accept_one_task_at_the_top_level() {
    let body = json!({
        "run_name": "legacy", "timeout_seconds": 60, "existing_cluster_id": "c", "max_retries": 1,
        "python_file": "entry.py", "spark_python_task": {"python_file": "/a.py"},
    });
    for (version, format) in
        [(ApiVersion::V2_0, RunFormat::SingleTask), (ApiVersion::V2_1, RunFormat::MultiTask)]
    {
        let submission = checked(version, &body).unwrap();
        let task = &submission.tasks[0];
        assert_eq!((task.key.as_str(), submission.format), ("main", format));
        assert_eq!(task.body["max_retries"], 1);
        assert_eq!(task.body.get("timeout_seconds"), None, "it is the run's");
        assert_eq!(submission.ignored_keys, ["python_file"]);
    }
    assert_eq!(rejected(&body), "Missing required field: tasks.");

    let float = json!({"existing_cluster_id": "c", "max_retries": 1.0, "spark_python_task": {"python_file": "/a.py"}});
    let message = checked(ApiVersion::V2_1, &float).unwrap_err().message;
    assert!(message.starts_with("Field max_retries must be a 64-bit integer"), "{message}");
}

#[test]
fn version_2_0_ignores_tasks() {
    let error = checked(ApiVersion::V2_0, &one(&json!({}))).unwrap_err();
    assert!(error.message.contains("has no task type"), "{}", error.message);
}

#[test]
fn unknown_keys_are_ignored_and_reported() {
    let mut body = one(&json!({"retries": 3, "new": {}}));
    body["spark_jar_task"] = json!({});
    body["colour"] = json!("blue");
    let mut ignored = accepted(&body).ignored_keys;
    ignored.sort();
    assert_eq!(ignored, ["colour", "spark_jar_task", "tasks[0].new", "tasks[0].retries"]);
}

#[test]
fn fields_of_a_run_are_checked() {
    let with = |keys: Value| {
        let mut body = one(&json!({}));
        body.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        body
    };
    let variables = |variables: Value| {
        with(json!({"environment_variables": [
            {"environment_variables_key": "k", "spec": {"variables": variables}}]}))
    };
    let many: Map<String, Value> = (0..21).map(|n| (format!("V{n}"), json!("x"))).collect();
    let environment =
        |spec: Value| with(json!({"environments": [{"environment_key": "e", "spec": spec}]}));
    for (body, said) in [
        (with(json!({"run_as": {}})), "run_as names 0 principals"),
        (with(json!({"run_as": {"user_name": "a", "group_name": "b"}})), "names 2 principals"),
        (
            with(json!({"access_control_list": [{"permission_level": "CAN_VIEW"}]})),
            "access_control_list[0] names 0 principals",
        ),
        (
            with(
                json!({"access_control_list": [{"user_name": "a", "permission_level": "CAN_FLY"}]}),
            ),
            "Valid values are: CAN_MANAGE",
        ),
        (with(json!({"queue": {}})), "queue.enabled"),
        (with(json!({"duration_target": "5h"})), "Valid values are: NO_FLEXIBILITY"),
        (with(json!({"performance_target": "FAST"})), "Valid values are: PERFORMANCE_OPTIMIZED"),
        (one(&json!({"run_if": "SOMETIMES"})), "Valid values are: ALL_DONE"),
        (variables(json!(many)), "21 variables; at most 20"),
        (variables(json!({"1A": "x"})), "'1A' is not a valid variable name"),
        (variables(json!({"A": "x".repeat(513)})), "513 characters; at most 512"),
        (
            environment(json!({"base_environment": "b", "environment_version": "3"})),
            "environment_version or base_environment, not both",
        ),
        (
            environment(json!({"project_environment": "p", "dependencies": []})),
            "project_environment excludes",
        ),
    ] {
        assert!(rejected(&body).contains(said), "{body}: {}", rejected(&body));
    }
    accepted(&variables(json!({"_A1": "x".repeat(512)})));
    accepted(&with(json!({"run_as": {"user_name": "a"}, "queue": {"enabled": true}})));
}

#[test]
fn cluster_has_at_most_45_tags() {
    let with = |count: usize| {
        let tags: Map<String, Value> = (0..count).map(|n| (format!("t{n}"), json!("x"))).collect();
        one(
            &json!({"existing_cluster_id": null, "new_cluster": {"num_workers": 1, "custom_tags": tags}}),
        )
    };
    accepted(&with(45));
    assert!(rejected(&with(46)).contains("46 custom_tags; at most 45"));
}

#[test]
fn paths_are_relative_in_git_and_absolute_elsewhere() {
    let git =
        json!({"git_url": "https://example.com/r", "git_provider": "gitHub", "git_branch": "m"});
    let with = |git_source: &Value, kind: &str, work: Value| {
        let mut body = one(&json!({"spark_python_task": null, kind: work}));
        body["git_source"] = git_source.clone();
        body
    };
    let python = |path: &str, source: &str| {
        with(&git, "spark_python_task", json!({"python_file": path, "source": source}))
    };
    let notebook = |git_source: &Value, path: &str| {
        with(git_source, "notebook_task", json!({"notebook_path": path}))
    };
    for body in [python("/a.py", "GIT"), notebook(&git, "/n")] {
        assert!(rejected(&body).contains("must be relative"), "{body}");
    }
    for body in [python("a.py", "WORKSPACE"), notebook(&Value::Null, "n")] {
        assert!(rejected(&body).contains("must be absolute"), "{body}");
    }
    accepted(&python("a.py", "GIT"));
    accepted(&python("dbfs:/a.py", "WORKSPACE"));
    accepted(&notebook(&git, "n"));
    accepted(&notebook(&git, "{{job.parameters.path}}"));
}
